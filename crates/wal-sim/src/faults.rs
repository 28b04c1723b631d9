//! A plan of what goes wrong while the power is on.
//!
//! Knows calls and their order, not files or bytes: the disk asks before each call and does what
//! the answer says. Everything counts from 1, from the moment the plan is given to the disk.

use std::collections::BTreeMap;
use std::io;

use crate::fault_kind::{Call, FaultKind};
use crate::random::SimRng;

/// What goes wrong, and when. Given to a disk with `SimDisk::set_faults`.
///
/// ```
/// use wal_sim::{Call, Faults};
///
/// // The second sync fails, the fifth write takes 100 bytes, and the device holds a megabyte.
/// let faults = Faults::new().fail(Call::Sync, 2).short_write(5, 100).space_bytes(1 << 20);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Vec<Rule>,
    space_bytes: Option<u64>,
}

#[derive(Clone, Debug)]
struct Rule {
    call: Call,
    /// Only calls on files whose name, as it was when they were opened, contains this.
    name: Option<String>,
    /// The first matching call that is hit, from 1.
    first: u64,
    /// Every how many matching calls it is hit again; 0: once.
    every: u64,
    effect: Effect,
    seen: u64,
}

/// What the disk does instead of what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Reports a device error. A sync, or a sync of the directory, loses what it covered.
    Fail,
    /// Takes at most so many bytes, then reports a device error.
    FailAfter(usize),
    /// Transfers at most so many bytes.
    Short(usize),
    /// Does nothing and asks for the call to be made again.
    Interrupt,
    /// Does what was asked; then write-back fails in the background, to be reported by a sync.
    LoseWriteback,
    /// Does what was asked, later by so many microseconds of simulated time.
    Slow(u64),
}

impl Effect {
    /// What `call` meets with this effect.
    pub(crate) const fn kind(self, call: Call) -> FaultKind {
        match (self, call) {
            (Self::LoseWriteback, _) => FaultKind::WritebackLost,
            (Self::Slow(_), _) => FaultKind::SlowCall,
            (Self::Interrupt, _) => FaultKind::Interrupted,
            (Self::Short(_), Call::Read) => FaultKind::ShortRead,
            (Self::Short(_), _) => FaultKind::ShortWrite,
            (Self::Fail | Self::FailAfter(_), Call::Sync) => FaultKind::SyncFailed,
            (Self::Fail | Self::FailAfter(_), Call::SyncDir) => FaultKind::DirectorySyncFailed,
            (Self::Fail | Self::FailAfter(_), Call::Read) => FaultKind::ReadFailed,
            (Self::Fail | Self::FailAfter(_), Call::Write) => FaultKind::WriteFailed,
            (Self::Fail | Self::FailAfter(_), _) => FaultKind::CallFailed,
        }
    }
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The `nth` `call` fails, once.
    ///
    /// A failing sync behaves as on ext4, XFS and Btrfs: what it covered may never reach the
    /// device, the cache goes on showing it, no later sync writes it, and the error is reported
    /// once by each handle that was open. A failing sync of the directory is as forgetful. Any
    /// other failing call changes nothing.
    #[must_use]
    pub fn fail(self, call: Call, nth: u64) -> Self {
        self.rule(call, None, nth, 0, Effect::Fail)
    }

    /// As [`fail`](Self::fail), counting only calls on files whose name contains `name`.
    ///
    /// A handle keeps the name under which it was created or opened; a rename is known by the old
    /// name. Listing and syncing the directory have no name and never match.
    #[must_use]
    pub fn fail_on(self, call: Call, name: &str, nth: u64) -> Self {
        self.rule(call, Some(name), nth, 0, Effect::Fail)
    }

    /// The `nth` `call` fails, and every one after it.
    #[must_use]
    pub fn fail_from(self, call: Call, nth: u64) -> Self {
        self.rule(call, None, nth, 1, Effect::Fail)
    }

    /// The `nth` write takes at most `bytes`, rounded down to whole blocks, and then fails.
    #[must_use]
    pub fn fail_write_after(self, nth: u64, bytes: usize) -> Self {
        self.rule(Call::Write, None, nth, 0, Effect::FailAfter(bytes))
    }

    /// After the `nth` write the kernel fails to write its file back, and tells nobody.
    ///
    /// Each handle's next sync reports it, to whichever thread makes that call.
    #[must_use]
    pub fn fail_writeback(self, nth: u64) -> Self {
        self.rule(Call::Write, None, nth, 0, Effect::LoseWriteback)
    }

    /// The `nth` write takes at most `bytes`, rounded down to whole blocks but never to nothing.
    #[must_use]
    pub fn short_write(self, nth: u64, bytes: usize) -> Self {
        self.rule(Call::Write, None, nth, 0, Effect::Short(bytes))
    }

    /// Every write takes at most `bytes`, rounded as for [`short_write`](Self::short_write).
    #[must_use]
    pub fn short_writes(self, bytes: usize) -> Self {
        self.rule(Call::Write, None, 1, 1, Effect::Short(bytes))
    }

    /// Every read gives at most `bytes`, but never nothing.
    #[must_use]
    pub fn short_reads(self, bytes: usize) -> Self {
        self.rule(Call::Read, None, 1, 1, Effect::Short(bytes))
    }

    /// Every `nth` `call` does nothing and reports `Interrupted`. Meant for reads and writes.
    #[must_use]
    pub fn interrupt_every(self, call: Call, nth: u64) -> Self {
        self.rule(call, None, nth, nth, Effect::Interrupt)
    }

    /// Every `nth` `call` takes `us` microseconds longer, on the simulated clock. No real time
    /// passes; see `SimDisk::clock_us`.
    #[must_use]
    pub fn slow(self, call: Call, nth: u64, us: u64) -> Self {
        self.rule(call, None, nth, nth, Effect::Slow(us))
    }

    /// The files' lengths may add up to no more than `bytes`: then `StorageFull`.
    ///
    /// A write that fits in part is short. Writing over bytes which exist needs no space.
    #[must_use]
    pub fn space_bytes(mut self, bytes: u64) -> Self {
        self.space_bytes = Some(bytes);
        self
    }

    fn rule(
        mut self,
        call: Call,
        name: Option<&str>,
        first: u64,
        every: u64,
        effect: Effect,
    ) -> Self {
        let name = name.map(str::to_owned);
        self.rules.push(Rule { call, name, first, every, effect, seen: 0 });
        self
    }

    /// The rules of this plan, then those of another; the first that hits wins. The smaller device
    /// of the two.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.rules.extend(other.rules);
        self.space_bytes = self.space_bytes.into_iter().chain(other.space_bytes).min();
        self
    }

    /// A plan of one fault of kind `kind`, which hits one of the first `calls` calls it can hit.
    ///
    /// None for kinds that are no live fault, and where there is no such call. `space_bytes` is how
    /// much a run without faults needs: a device that fills holds less.
    pub(crate) fn drawn(
        kind: FaultKind,
        calls: &BTreeMap<Call, u64>,
        space_bytes: u64,
        rng: &mut SimRng,
    ) -> Option<Self> {
        let mut nth = |call: Call| {
            let count = calls.get(&call).copied().unwrap_or(0);
            (count > 0).then(|| 1 + rng.below(count))
        };
        let plan = Self::new();
        Some(match kind {
            FaultKind::SyncFailed => plan.fail(Call::Sync, nth(Call::Sync)?),
            FaultKind::DirectorySyncFailed => plan.fail(Call::SyncDir, nth(Call::SyncDir)?),
            FaultKind::WritebackLost => plan.fail_writeback(nth(Call::Write)?),
            FaultKind::WriteFailed => plan.fail_write_after(nth(Call::Write)?, rng.index(4096)),
            FaultKind::ReadFailed => plan.fail(Call::Read, nth(Call::Read)?),
            FaultKind::ShortWrite => plan.short_write(nth(Call::Write)?, rng.index(1024)),
            FaultKind::ShortRead if calls.contains_key(&Call::Read) => {
                plan.short_reads(1 + rng.index(512))
            }
            FaultKind::Interrupted => {
                let call = if rng.chance(128) { Call::Write } else { Call::Read };
                let count = calls.get(&call).copied().filter(|&count| count > 0)?;
                // Every second call at most, or a caller that tries again would never get on.
                plan.interrupt_every(call, (1 + rng.below(count)).max(2))
            }
            FaultKind::NoSpace if space_bytes > 0 => plan.space_bytes(rng.below(space_bytes)),
            FaultKind::CallFailed => {
                let others = [Call::Create, Call::Open, Call::Rename, Call::Remove, Call::SetLen];
                let made: Vec<Call> =
                    others.into_iter().filter(|call| calls.contains_key(call)).collect();
                let call = *made.get(rng.index(made.len()))?;
                plan.fail(call, 1 + rng.below(calls.get(&call).copied()?))
            }
            FaultKind::SlowCall => plan.slow(Call::Sync, nth(Call::Sync)?, 5_000_000),
            _ => return None,
        })
    }

    /// How many bytes the device holds.
    pub(crate) fn space(&self) -> Option<u64> {
        self.space_bytes
    }

    /// Counts a call; says what is to go wrong with it. The first rule given wins.
    pub(crate) fn meet(&mut self, call: Call, name: &str) -> Option<Effect> {
        let mut effect = None;
        for rule in &mut self.rules {
            if rule.meet(call, name) {
                effect = effect.or(Some(rule.effect));
            }
        }
        effect
    }
}

impl Rule {
    fn meet(&mut self, call: Call, name: &str) -> bool {
        if self.call != call || self.name.as_deref().is_some_and(|part| !name.contains(part)) {
            return false;
        }
        self.seen += 1;
        match self.seen.checked_sub(self.first) {
            None => false,
            Some(0) => true,
            Some(later) => self.every > 0 && later % self.every == 0,
        }
    }
}

/// The errors a simulated disk makes up, inside an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimError {
    /// The power was cut; nothing works any more.
    #[error("power is off")]
    PowerOff,
    /// The device failed the call.
    #[error("simulated device error")]
    Device,
    /// A sector has decayed and cannot be read.
    #[error("simulated unreadable sector")]
    Unreadable,
}

impl SimError {
    /// The made-up cause of `error`, if it has one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<SimError> for io::Error {
    fn from(error: SimError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(mut faults: Faults, calls: usize) -> Vec<usize> {
        (1..=calls).filter(|_| faults.meet(Call::Write, "file").is_some()).collect()
    }

    #[test]
    fn a_fault_hits_once_always_or_now_and_then() {
        assert_eq!(hits(Faults::new().fail(Call::Write, 3), 9), [3]);
        assert_eq!(hits(Faults::new().fail_from(Call::Write, 8), 9), [8, 9]);
        assert_eq!(hits(Faults::new().interrupt_every(Call::Write, 4), 9), [4, 8]);
    }

    #[test]
    fn only_the_call_and_the_name_asked_for_are_counted() {
        assert_eq!(hits(Faults::new().fail_on(Call::Write, "il", 2), 3), [2]);
        assert_eq!(hits(Faults::new().fail_on(Call::Write, "other", 1), 3), []);
        assert_eq!(hits(Faults::new().fail(Call::Sync, 1), 3), []);
    }

    #[test]
    fn a_made_up_error_is_known_again() {
        let error = io::Error::from(SimError::PowerOff);
        assert_eq!(SimError::of(&error), Some(SimError::PowerOff));
        assert_eq!(error.to_string(), "power is off");
        assert_eq!(SimError::of(&io::ErrorKind::NotFound.into()), None);
    }

    #[test]
    fn a_drawn_plan_hits_a_call_that_there_is() {
        let calls = BTreeMap::from([(Call::Write, 3), (Call::Sync, 2), (Call::Read, 5)]);
        let mut rng = SimRng::new(1);
        for _ in 0..50 {
            let plan = Faults::drawn(FaultKind::WritebackLost, &calls, 0, &mut rng).unwrap();
            assert_eq!(hits(plan, 3).len(), 1);
            for kind in [FaultKind::SyncFailed, FaultKind::ShortRead, FaultKind::Interrupted] {
                assert!(Faults::drawn(kind, &calls, 0, &mut rng).is_some(), "{kind}");
            }
            for kind in [FaultKind::DirectorySyncFailed, FaultKind::NoSpace, FaultKind::BitFlip] {
                assert!(Faults::drawn(kind, &calls, 0, &mut rng).is_none(), "{kind}");
            }
        }
    }
}
