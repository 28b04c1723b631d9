//! Retention holds: who still needs the log from where on.
//!
//! A hold keeps the log from its address on out of truncation's reach. It has a name, is counted,
//! and may carry a limit, so that a dead consumer cannot fill the disk unseen. The holds of this
//! file live as long as the process: a consumer takes its hold again after reopening, before
//! anything is truncated. Those that outlive it are `persistent_hold`'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use wal_format::Lsn;

use crate::error::{Error, Refusal};

/// What happens when a hold keeps more than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OverLimit {
    /// Appends are refused until the hold is advanced or dropped. Of a log of pages, only new work:
    /// transactions that run end, checkpoints are taken, and images logged of pages to be written.
    RefuseAppends,
    /// A warning event says so at every truncation.
    Warn,
    /// The next truncation drops the hold; its reader will find the log `Truncated`.
    DropHold,
}

/// How much a hold may keep, and what happens beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HoldLimit {
    /// Bytes between the hold and the reserved end of the log.
    pub bytes: u64,
    /// What happens beyond.
    pub over: OverLimit,
}

/// A hold as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HoldInfo {
    /// Its name, unique in this process.
    pub name: String,
    /// The log is kept from here on.
    pub lsn: Lsn,
    /// How much it may keep.
    pub limit: Option<HoldLimit>,
}

/// A hold and whose it is: a name may be taken again once truncation has dropped its first owner.
#[derive(Debug)]
struct Held {
    info: HoldInfo,
    owner: u64,
}

/// All holds of one log.
#[derive(Debug)]
pub(crate) struct Holds {
    /// Changed by hold, advance, drop and truncation, under its lock.
    by_name: Mutex<BTreeMap<String, Held>>,
    /// Persistent holds for which appends may be refused, as they were last read. Locked within
    /// the lock of `by_name`.
    persistent: Mutex<Vec<HoldInfo>>,
    /// Appends at or above this address are refused. Written under the lock of `by_name`, read
    /// without it: a stale value lets through the few appends that race with a change of holds.
    append_below: AtomicU64,
    /// Number of the next owner.
    next_owner: AtomicU64,
}

impl Default for Holds {
    fn default() -> Self {
        Self {
            by_name: Mutex::default(),
            persistent: Mutex::default(),
            append_below: AtomicU64::new(u64::MAX),
            next_owner: AtomicU64::new(0),
        }
    }
}

impl Holds {
    pub(crate) fn take(
        self: &Arc<Self>,
        name: &str,
        lsn: Lsn,
        limit: Option<HoldLimit>,
    ) -> Result<Hold, Error> {
        let mut by_name = self.by_name.lock();
        if by_name.contains_key(name) {
            return Err(Refusal::HoldExists { name: name.to_owned() }.into());
        }
        let owner = self.next_owner.fetch_add(1, Ordering::Relaxed);
        let info = HoldInfo { name: name.to_owned(), lsn, limit };
        by_name.insert(name.to_owned(), Held { info, owner });
        self.note_limits(&by_name);
        Ok(Hold { holds: Arc::clone(self), name: name.to_owned(), owner })
    }

    pub(crate) fn list(&self) -> Vec<HoldInfo> {
        self.by_name.lock().values().map(|held| held.info.clone()).collect()
    }

    /// Whether no hold is near a limit at which it refuses appends.
    #[inline]
    pub(crate) fn admits_without_a_look(&self, reserved: Lsn) -> bool {
        // Relaxed suffices: the value stands alone and publishes nothing else.
        reserved.get() < self.append_below.load(Ordering::Relaxed)
    }

    /// Refuses an append while a hold with [`OverLimit::RefuseAppends`] keeps too much.
    pub(crate) fn admit(&self, reserved: Lsn) -> Result<(), Error> {
        if self.admits_without_a_look(reserved) {
            return Ok(());
        }
        let by_name = self.by_name.lock();
        let persistent = self.persistent.lock();
        let mut holds = by_name.values().map(|held| &held.info).chain(persistent.iter());
        match holds.find(|hold| refuse_from(hold).is_some_and(|at| reserved.get() >= at)) {
            Some(hold) => Err(Refusal::HoldLimit {
                name: hold.name.clone(),
                limit_bytes: hold.limit.map_or(0, |limit| limit.bytes),
            }
            .into()),
            None => Ok(()),
        }
    }

    /// Whether a persistent hold may be what refuses appends.
    pub(crate) fn has_persistent(&self) -> bool {
        !self.persistent.lock().is_empty()
    }

    /// Takes note of the persistent holds for which appends may be refused.
    pub(crate) fn note_persistent(&self, refusing: Vec<HoldInfo>) {
        let by_name = self.by_name.lock();
        *self.persistent.lock() = refusing;
        self.note_limits(&by_name);
    }

    /// The lowest address held, after holds over their limit were warned of or dropped.
    pub(crate) fn lowest(&self, reserved: Lsn) -> Option<Lsn> {
        let mut by_name = self.by_name.lock();
        by_name.retain(|name, held| {
            let hold = &held.info;
            let kept_bytes = reserved.distance_from(hold.lsn).unwrap_or(0);
            match hold.limit {
                Some(limit) if kept_bytes > limit.bytes => {
                    tracing::warn!(
                        hold = %name, lsn = %hold.lsn, kept_bytes, limit_bytes = limit.bytes,
                        over = ?limit.over, "a retention hold keeps more than its limit"
                    );
                    limit.over != OverLimit::DropHold
                }
                _ => true,
            }
        });
        self.note_limits(&by_name);
        by_name.values().map(|held| held.info.lsn).min()
    }

    fn note_limits(&self, by_name: &BTreeMap<String, Held>) {
        let persistent = self.persistent.lock();
        let holds = by_name.values().map(|held| &held.info).chain(persistent.iter());
        let lowest = holds.filter_map(refuse_from).min().unwrap_or(u64::MAX);
        self.append_below.store(lowest, Ordering::Relaxed);
    }
}

fn refuse_from(hold: &HoldInfo) -> Option<u64> {
    let limit = hold.limit.filter(|limit| limit.over == OverLimit::RefuseAppends)?;
    Some(hold.lsn.get().saturating_add(limit.bytes))
}

/// A retention hold; dropping it lets go.
#[derive(Debug)]
pub struct Hold {
    holds: Arc<Holds>,
    name: String,
    owner: u64,
}

impl Hold {
    /// The name of the hold.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the log is kept from; `None` when truncation dropped the hold over its limit.
    #[must_use]
    pub fn lsn(&self) -> Option<Lsn> {
        let by_name = self.holds.by_name.lock();
        by_name.get(&self.name).filter(|held| held.owner == self.owner).map(|held| held.info.lsn)
    }

    /// Moves the hold forwards to `lsn`; moving backwards changes nothing, for what lies there may
    /// be gone.
    pub fn advance(&self, lsn: Lsn) {
        let mut by_name = self.holds.by_name.lock();
        if let Some(held) = by_name.get_mut(&self.name).filter(|held| held.owner == self.owner) {
            held.info.lsn = held.info.lsn.max(lsn);
        }
        self.holds.note_limits(&by_name);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut by_name = self.holds.by_name.lock();
        if by_name.get(&self.name).is_some_and(|held| held.owner == self.owner) {
            by_name.remove(&self.name);
        }
        self.holds.note_limits(&by_name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    fn limit(over: OverLimit) -> Option<HoldLimit> {
        Some(HoldLimit { bytes: 1000, over })
    }

    #[test]
    fn the_lowest_hold_counts_until_it_is_dropped_or_advanced() {
        let holds = Arc::new(Holds::default());
        let low = holds.take("low", lsn(8), None).unwrap();
        let high = holds.take("high", lsn(64), None).unwrap();
        assert_eq!(holds.lowest(lsn(800)), Some(lsn(8)));
        low.advance(lsn(80));
        assert_eq!(holds.lowest(lsn(800)), Some(lsn(64)));
        drop(high);
        assert_eq!(holds.lowest(lsn(800)), Some(lsn(80)));
        low.advance(lsn(8));
        assert_eq!(low.lsn(), Some(lsn(80)));
    }

    #[test]
    fn a_second_hold_of_the_same_name_is_refused() {
        let holds = Arc::new(Holds::default());
        let _first = holds.take("replica", lsn(8), None).unwrap();
        assert!(holds.take("replica", lsn(16), None).is_err());
    }

    #[test]
    fn a_hold_over_its_limit_refuses_warns_or_is_dropped_as_configured() {
        let holds = Arc::new(Holds::default());
        let refusing = holds.take("refusing", lsn(8), limit(OverLimit::RefuseAppends)).unwrap();
        assert!(holds.admit(lsn(1000)).is_ok());
        assert!(holds.admit(lsn(1008)).is_err());
        refusing.advance(lsn(1008));
        assert!(holds.admit(lsn(1016)).is_ok());
        let warning = holds.take("warning", lsn(8), limit(OverLimit::Warn)).unwrap();
        let dropping = holds.take("dropping", lsn(8), limit(OverLimit::DropHold)).unwrap();
        assert_eq!(holds.lowest(lsn(1600)), Some(lsn(8)));
        assert_eq!((warning.lsn(), dropping.lsn()), (Some(lsn(8)), None));
    }

    #[test]
    fn a_dropped_hold_does_not_touch_the_next_one_of_its_name() {
        let holds = Arc::new(Holds::default());
        let dead = holds.take("replica", lsn(8), limit(OverLimit::DropHold)).unwrap();
        assert_eq!(holds.lowest(lsn(8000)), None);
        let live = holds.take("replica", lsn(16), None).unwrap();
        dead.advance(lsn(80));
        assert_eq!((dead.lsn(), live.lsn()), (None, Some(lsn(16))));
        drop(dead);
        assert_eq!(holds.lowest(lsn(8000)), Some(lsn(16)));
    }
}
