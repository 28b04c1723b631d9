//! Holds that outlive their process and may be placed by another one: each a small file in the
//! directory of the log, which every truncation reads.
//!
//! Who truncates, and who places, moves or drops a hold, has the storage's lock on holds meanwhile,
//! so that none is placed on what is being removed. `docs/design/0009-holds.md` argues it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wal_format::{HoldRecord, LogId, Lsn};
use wal_io::{
    FoundHold, HoldFault, IoError, IoOp, Storage, StorageLock, Survey, read_hold, read_holds,
    remove_hold, write_hold,
};

use crate::error::{Error, Refusal};
use crate::holds::{HoldInfo, HoldLimit, OverLimit};
use crate::place;

/// How long a hold or a truncation waits for another one to be done: each takes a few syncs.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Time between two tries to get the lock.
const LOCK_RETRY: Duration = Duration::from_millis(2);

/// A persistent hold as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersistentHoldInfo {
    /// Its name, unique in this log.
    pub name: String,
    /// The log is kept from here on; `None` where its file cannot be trusted: then all of it is.
    pub lsn: Option<Lsn>,
    /// How much it may keep.
    pub limit: Option<HoldLimit>,
    /// When it was placed, in microseconds since 1970; 0 where unknown.
    pub placed_unix_us: u64,
    /// When it was last moved, in microseconds since 1970; 0 where unknown.
    pub moved_unix_us: u64,
    /// The process which placed or last moved it, on the machine where that was. Numbers of
    /// processes are used again: for the information of people.
    pub owner: Option<u32>,
    /// Why its file cannot be trusted.
    pub fault: Option<HoldFault>,
}

impl PersistentHoldInfo {
    fn of(found: FoundHold) -> Self {
        let FoundHold { name, record } = found;
        match record {
            Ok(record) => Self {
                name,
                lsn: Some(record.lsn),
                limit: record.limit.map(limit_of),
                placed_unix_us: record.placed_unix_us,
                moved_unix_us: record.moved_unix_us,
                owner: Some(record.owner),
                fault: None,
            },
            Err(fault) => Self {
                name,
                lsn: None,
                limit: None,
                placed_unix_us: 0,
                moved_unix_us: 0,
                owner: None,
                fault: Some(fault),
            },
        }
    }
}

/// A hold which stays when its process ends, until it is [released](Self::release), or dropped by
/// name, or by a truncation because it is over its limit. Dropping this value changes nothing: a
/// consumer that comes back [takes it over](Self::take_over) by its name.
///
/// Any process may place one on a log that another one writes.
#[derive(Debug)]
pub struct PersistentHold {
    storage: Arc<dyn Storage>,
    log_id: LogId,
    name: String,
    /// When it was placed; tells it from a later one of its name.
    placed_unix_us: u64,
}

impl PersistentHold {
    /// Keeps the log in the directory `path` from `from` on, or from its head where that is
    /// `None`. The log may be open in another process.
    ///
    /// `name`: 1 to 128 ASCII letters, digits, `.`, `_` and `-`, not beginning with `.`.
    ///
    /// # Durability
    ///
    /// The hold is durable when this returns, and no truncation passes it from then on.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused): the name is taken or is none, or the place takes
    /// holds of the writer only. [`Truncated`](crate::ErrorKind::Truncated): `from` is gone
    /// already. [`NotALog`](crate::ErrorKind::NotALog), [`Io`](crate::ErrorKind::Io).
    ///
    /// # Cost
    ///
    /// Reads the headers of the segments; writes and syncs one small file, and its directory.
    pub fn place(
        path: impl AsRef<Path>,
        name: &str,
        from: Option<Lsn>,
        limit: Option<HoldLimit>,
    ) -> Result<Self, Error> {
        Self::place_in(place::readable(path.as_ref())?, name, from, limit)
    }

    /// As [`place`](Self::place), in any [`Storage`].
    ///
    /// # Errors
    ///
    /// As [`place`](Self::place).
    pub fn place_in(
        storage: Arc<dyn Storage>,
        name: &str,
        from: Option<Lsn>,
        limit: Option<HoldLimit>,
    ) -> Result<Self, Error> {
        let Some(_no_truncation_passes) = lock(storage.as_ref())? else {
            return Err(Refusal::NoSharedHolds { place: storage.place() }.into());
        };
        // Under the lock: what is the head now stays the head until the hold counts.
        let (log_id, head) = log_and_head(storage.as_ref())?;
        Self::write_new(storage, log_id, head, name, from.unwrap_or(head), limit)
    }

    /// The hold of this name which an earlier process left, if it is there still.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused): its file cannot be trusted; drop it by name.
    /// [`NotALog`](crate::ErrorKind::NotALog), [`Io`](crate::ErrorKind::Io).
    pub fn take_over(path: impl AsRef<Path>, name: &str) -> Result<Option<Self>, Error> {
        Self::take_over_in(place::readable(path.as_ref())?, name)
    }

    /// As [`take_over`](Self::take_over), in any [`Storage`].
    ///
    /// # Errors
    ///
    /// As [`take_over`](Self::take_over).
    pub fn take_over_in(storage: Arc<dyn Storage>, name: &str) -> Result<Option<Self>, Error> {
        let (log_id, _) = log_and_head(storage.as_ref())?;
        Self::found_in(storage, log_id, name)
    }

    pub(crate) fn found_in(
        storage: Arc<dyn Storage>,
        log_id: LogId,
        name: &str,
    ) -> Result<Option<Self>, Error> {
        match read_hold(storage.as_ref(), Some(log_id), name)? {
            None => Ok(None),
            Some(FoundHold { record: Err(fault), name }) => {
                Err(Refusal::HoldFault { name, fault }.into())
            }
            Some(FoundHold { record: Ok(record), name }) => {
                let placed_unix_us = record.placed_unix_us;
                Ok(Some(Self { storage, log_id, name, placed_unix_us }))
            }
        }
    }

    /// Writes a hold of which it is known that no truncation is under way, and where the head is.
    pub(crate) fn write_new(
        storage: Arc<dyn Storage>,
        log_id: LogId,
        head: Lsn,
        name: &str,
        lsn: Lsn,
        limit: Option<HoldLimit>,
    ) -> Result<Self, Error> {
        if lsn < head {
            return Err(Refusal::Truncated { lsn, head }.into());
        }
        if read_hold(storage.as_ref(), Some(log_id), name)?.is_some() {
            return Err(Refusal::HoldExists { name: name.to_owned() }.into());
        }
        let now = storage.unix_us();
        let record = HoldRecord {
            log_id,
            lsn: lsn.max(Lsn::FIRST),
            limit: limit.map(|limit| (limit.bytes, number_of(limit.over))),
            placed_unix_us: now,
            moved_unix_us: now,
            owner: std::process::id(),
            name: name.to_owned(),
        };
        write_hold(storage.as_ref(), &record)?;
        tracing::info!(place = %storage.place(), hold = name, lsn = %record.lsn, "hold placed");
        Ok(Self { storage, log_id, name: record.name, placed_unix_us: now })
    }

    /// The name of the hold.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the log is kept from; `None` when the hold was dropped, by name or over its limit.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io), [`Refused`](crate::ErrorKind::Refused): its file cannot be
    /// read, or not be trusted.
    pub fn lsn(&self) -> Result<Option<Lsn>, Error> {
        Ok(self.record()?.map(|record| record.lsn))
    }

    /// Moves the hold forwards to `lsn`; moving backwards changes nothing, for what lies there may
    /// be gone.
    ///
    /// # Durability
    ///
    /// The hold stands at `lsn` for good when this returns; after a crash before that it stands
    /// there or where it was.
    ///
    /// # Errors
    ///
    /// [`Truncated`](crate::ErrorKind::Truncated): the hold was dropped; what it kept may be gone.
    /// [`Io`](crate::ErrorKind::Io): it stands at one of the two places.
    ///
    /// # Cost
    ///
    /// A small file written and synced, and its directory: for now and then, not for every record.
    pub fn advance(&self, lsn: Lsn) -> Result<(), Error> {
        let _nobody_drops_it = lock(self.storage.as_ref())?;
        let Some(record) = self.record()? else {
            return Err(Refusal::HoldGone { name: self.name.clone() }.into());
        };
        if lsn <= record.lsn {
            return Ok(());
        }
        let (moved_unix_us, owner) = (self.storage.unix_us(), std::process::id());
        let moved = HoldRecord { lsn, moved_unix_us, owner, ..record };
        Ok(write_hold(self.storage.as_ref(), &moved)?)
    }

    /// Lets go for good.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): the hold is there still, or may come back with a crash; drop
    /// it by name.
    pub fn release(self) -> Result<(), Error> {
        let _one_at_a_time = lock(self.storage.as_ref())?;
        if self.record()?.is_some() {
            remove_hold(self.storage.as_ref(), &self.name)?;
        }
        Ok(())
    }

    /// The file, as long as it is that of this hold.
    fn record(&self) -> Result<Option<HoldRecord>, Error> {
        match read_hold(self.storage.as_ref(), Some(self.log_id), &self.name)? {
            None => Ok(None),
            Some(FoundHold { record: Ok(record), .. }) => {
                Ok((record.placed_unix_us == self.placed_unix_us).then_some(record))
            }
            Some(FoundHold { record: Err(fault), name }) => {
                Err(Refusal::HoldFault { name, fault }.into())
            }
        }
    }
}

/// The persistent holds on the log in the directory `path`, which may be open elsewhere.
///
/// # Errors
///
/// [`NotALog`](crate::ErrorKind::NotALog), [`Io`](crate::ErrorKind::Io). A hold that cannot be
/// trusted is listed, with its [`fault`](PersistentHoldInfo::fault).
pub fn persistent_holds(path: impl AsRef<Path>) -> Result<Vec<PersistentHoldInfo>, Error> {
    persistent_holds_in(place::readable(path.as_ref())?.as_ref())
}

/// As [`persistent_holds`], in any [`Storage`].
///
/// # Errors
///
/// As [`persistent_holds`].
pub fn persistent_holds_in(storage: &dyn Storage) -> Result<Vec<PersistentHoldInfo>, Error> {
    let (log_id, _) = log_and_head(storage)?;
    list(storage, log_id)
}

/// Drops the persistent hold `name` of the log in the directory `path`, whoever placed it; gives
/// what it was, or `None` if there is none. Whoever relies on it finds the log truncated.
///
/// # Durability
///
/// It is gone for good when this returns.
///
/// # Errors
///
/// [`NotALog`](crate::ErrorKind::NotALog); [`Io`](crate::ErrorKind::Io): call again.
pub fn drop_persistent_hold(
    path: impl AsRef<Path>,
    name: &str,
) -> Result<Option<PersistentHoldInfo>, Error> {
    drop_persistent_hold_in(place::readable(path.as_ref())?.as_ref(), name)
}

/// As [`drop_persistent_hold`], in any [`Storage`].
///
/// # Errors
///
/// As [`drop_persistent_hold`].
pub fn drop_persistent_hold_in(
    storage: &dyn Storage,
    name: &str,
) -> Result<Option<PersistentHoldInfo>, Error> {
    let _nobody_moves_it = lock(storage)?;
    let (log_id, _) = log_and_head(storage)?;
    // Only what is listed can be dropped: `name` may be anything, and lead anywhere.
    let found = list(storage, log_id)?.into_iter().find(|hold| hold.name == name);
    if found.is_some() {
        remove_hold(storage, name)?;
        tracing::info!(place = %storage.place(), hold = name, "hold dropped by name");
    }
    Ok(found)
}

/// The right to truncate or to change holds; `None` where a place has no such lock, and only the
/// writer, which has a lock of its own, does either.
pub(crate) fn lock(storage: &dyn Storage) -> Result<Option<Box<dyn StorageLock>>, Error> {
    let started = Instant::now();
    loop {
        let source = match storage.lock_holds() {
            Ok(lock) => return Ok(Some(lock)),
            Err(source) => source,
        };
        match source.kind() {
            std::io::ErrorKind::Unsupported => return Ok(None),
            std::io::ErrorKind::WouldBlock if started.elapsed() < LOCK_WAIT => {
                std::thread::sleep(LOCK_RETRY);
            }
            _ => {
                let what = format!("the holds of `{}`", storage.place());
                return Err(IoError::failed(IoOp::Lock, what, source).into());
            }
        }
    }
}

pub(crate) fn list(storage: &dyn Storage, log_id: LogId) -> Result<Vec<PersistentHoldInfo>, Error> {
    let found = read_holds(storage, Some(log_id))?;
    Ok(found.into_iter().map(PersistentHoldInfo::of).collect())
}

/// The holds that count now, after those over their limit were warned of or dropped. The caller
/// has the [`lock`].
pub(crate) fn settle(
    storage: &dyn Storage,
    log_id: LogId,
    reserved: Lsn,
) -> Result<Vec<PersistentHoldInfo>, Error> {
    let mut kept = Vec::new();
    for hold in list(storage, log_id)? {
        if let Some(fault) = hold.fault {
            tracing::warn!(hold = hold.name, %fault, "a hold that cannot be read keeps all of the log");
        }
        let kept_bytes = hold.lsn.and_then(|lsn| reserved.distance_from(lsn)).unwrap_or(0);
        match hold.limit {
            Some(limit) if kept_bytes > limit.bytes => {
                tracing::warn!(
                    hold = hold.name, lsn = ?hold.lsn, kept_bytes, limit_bytes = limit.bytes,
                    over = ?limit.over, owner = ?hold.owner, "a persistent hold keeps more than its limit"
                );
                if limit.over == OverLimit::DropHold {
                    remove_hold(storage, &hold.name)?;
                    continue;
                }
            }
            _ => {}
        }
        kept.push(hold);
    }
    Ok(kept)
}

/// The lowest address that any of `holds` keeps.
pub(crate) fn lowest(holds: &[PersistentHoldInfo]) -> Option<Lsn> {
    holds.iter().map(|hold| hold.lsn.unwrap_or(Lsn::FIRST)).min()
}

/// Those among `holds` for which appends may be refused.
pub(crate) fn refusing(holds: Vec<PersistentHoldInfo>) -> Vec<HoldInfo> {
    let refuses = |limit: HoldLimit| limit.over == OverLimit::RefuseAppends;
    holds
        .into_iter()
        .filter(|hold| hold.limit.is_some_and(refuses))
        .filter_map(|hold| Some(HoldInfo { lsn: hold.lsn?, name: hold.name, limit: hold.limit }))
        .collect()
}

fn log_and_head(storage: &dyn Storage) -> Result<(LogId, Lsn), Error> {
    let survey = Survey::read(storage)?;
    let no_log = || Refusal::NoLogThere { place: storage.place() };
    let log_id = survey.log_id.filter(|_| !survey.is_empty()).ok_or_else(no_log)?;
    let head = survey.links.first().map_or(Lsn::FIRST, |link| link.header.base);
    Ok((log_id, head))
}

/// As `docs/format.md` numbers them.
const fn number_of(over: OverLimit) -> u8 {
    match over {
        OverLimit::RefuseAppends => 1,
        OverLimit::Warn => 2,
        OverLimit::DropHold => 3,
    }
}

const fn limit_of((bytes, over): (u64, u8)) -> HoldLimit {
    let over = match over {
        1 => OverLimit::RefuseAppends,
        3 => OverLimit::DropHold,
        // A number of a newer program's: the log is kept, and somebody is told.
        _ => OverLimit::Warn,
    };
    HoldLimit { bytes, over }
}
