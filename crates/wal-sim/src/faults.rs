//! A plan of what goes wrong while the power is on.
//!
//! Knows calls and their order, not files or bytes: the disk asks before each call and does what
//! the answer says. Everything counts from 1, from the moment the plan is given to the disk.

use std::fmt;
use std::io;

/// A call that a fault can hit, and that coverage is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Call {
    /// Listing the directory.
    List,
    /// Creating a file.
    Create,
    /// Opening a file.
    Open,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Changing a file's length.
    SetLen,
    /// Making a file's contents durable.
    Sync,
    /// Making the directory's entries durable.
    SyncDir,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
}

impl Call {
    /// Whether the call changes anything that a power cut could catch half-way.
    #[must_use]
    pub const fn changes(self) -> bool {
        !matches!(self, Self::List | Self::Open | Self::Read)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::SetLen => "set length",
            Self::Sync => "sync",
            Self::SyncDir => "sync directory",
            Self::Rename => "rename",
            Self::Remove => "remove",
        })
    }
}

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
}
