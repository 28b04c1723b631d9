//! What a log is asked to do, and where it starts.
//!
//! Plain values and their bounds. What a policy means for the commits of a user is decided by the
//! caller, with [`SyncPolicy::default_level`] as the answer that is used unless one is given.

use std::time::Duration;

use wal_format::layout::{BLOCK_BYTES, RECORD_HEADER_BYTES};
use wal_format::{Lsn, RecordSeed};

use crate::error::CommitError;
use crate::sync::FIXED;

/// How much a caller is promised. Each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// The record has an address. Survives nothing.
    Ordered,
    /// The backend took the bytes. Survives the death of the process, not a power loss.
    Written,
    /// A sync that covers the record and everything before it returned success. Survives a
    /// power loss, not the loss or decay of the device.
    Durable,
}

/// When the log syncs without being asked. A wait for [`Durability::Durable`] syncs under every
/// policy (rule 11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Every commit is durable when it returns; a leader never waits for company.
    EveryCommit,
    /// As `EveryCommit`, and a leader which had company last time lets others run before it takes
    /// the buffer, so that they join its sync: until all are back, or about what a sync took of late
    /// has passed, less where many commit. Whoever comes last may lead in its place. It yields and
    /// never sleeps, and a lone committer never waits.
    #[default]
    Group,
    /// As `Group`, but nobody leads in a leader's place, and it waits for the `√(2·L·λ / c)` commits that the square-root rule asks
    /// for: L is what a sync takes and λ how many commits arrive, both as measured of late. It
    /// waits for at most one sync's time, yields and never sleeps, and a lone committer never
    /// waits. `docs/design/0007-n-star.md` says when this is better than `Group`: seldom.
    SquareRoot {
        /// What a second of one commit's waiting is worth, in hundredths of a second of the
        /// device: `c`, as a percentage. 0 is taken for 1.
        wait_cost_percent: u32,
    },
    /// A commit is written when it returns, and durable at most this much later, plus one sync.
    ///
    /// Needs the helper threads ([`Threads::Helper`]).
    Periodic {
        /// Time between two syncs.
        every: Duration,
    },
    /// Nothing is synced unless somebody waits for it.
    Never,
}

impl SyncPolicy {
    /// The level that a commit waits for under this policy, unless the caller names another.
    #[must_use]
    pub const fn default_level(self) -> Durability {
        match self {
            Self::EveryCommit | Self::Group | Self::SquareRoot { .. } => Durability::Durable,
            Self::Periodic { .. } | Self::Never => Durability::Written,
        }
    }
}

/// Whether the log has threads of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Threads {
    /// One thread prepares segments ahead of need, another one syncs on behalf of futures,
    /// callbacks, waits with a timeout and [`SyncPolicy::Periodic`]. A blocking committer never
    /// needs either.
    #[default]
    Helper,
    /// Everything happens inside the calls of the users, so a single-threaded program runs the
    /// same way every time: segments are prepared after a flush or when an append needs one,
    /// a polled future syncs in the poll, a timeout cannot interrupt a sync.
    None,
}

/// How to run the commit path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitConfig {
    /// Memory for records on their way, in bytes: a part that is filled, and one for each flush
    /// that may be in flight, which is being written. Default 8 MiB.
    ///
    /// A part is also an upper bound for atomic batches (rule 18). At least
    /// [`CommitConfig::BUFFER_BYTES_MIN`], more with a backend that writes in blocks.
    pub buffer_bytes: usize,
    /// When to sync without being asked. Default [`SyncPolicy::Group`].
    pub policy: SyncPolicy,
    /// Whether the log has threads of its own. Default [`Threads::Helper`].
    pub threads: Threads,
    /// A sync is asked for, and not waited for, with each so many records appended. Default none.
    /// Needs [`Threads::Helper`].
    pub sync_after_records: Option<u64>,
    /// As `sync_after_records`, by bytes of log, headers included.
    pub sync_after_bytes: Option<u64>,
    /// A sync that takes longer raises a warning event and is counted. Default one second.
    pub slow_sync: Option<Duration>,
    /// How long nothing must happen before the one watermark record of an idle log is written
    /// (rule 10), to the resolution of this same time. `None` never writes one. Default one
    /// second. Needs [`Threads::Helper`]; without, call
    /// [`GroupCommit::mark_idle`](crate::GroupCommit::mark_idle).
    pub idle_after: Option<Duration>,
}

impl Default for CommitConfig {
    fn default() -> Self {
        Self {
            buffer_bytes: 8 << 20,
            policy: SyncPolicy::default(),
            threads: Threads::default(),
            sync_after_records: None,
            sync_after_bytes: None,
            slow_sync: Some(Duration::from_secs(1)),
            idle_after: Some(Duration::from_secs(1)),
        }
    }
}

/// The smallest part of a buffer that works.
const PART_BYTES_MIN: usize = CommitConfig::BUFFER_BYTES_MIN / 2;

/// Of parts of which records may use `usable` bytes, how many are written out by whoever appends:
/// few enough to still be near the processor, and enough to be worth the call.
pub(crate) fn write_out_bytes(usable: usize) -> usize {
    if FIXED { usable / 2 } else { (usable / 8).max(usable.min(WRITE_OUT_BYTES_MIN)) }
}

/// Bytes of the longest batch, where a part holds `usable` bytes and a mark of `mark_bytes` may have to go
/// before a batch.
pub(crate) fn batch_bytes_max(usable: u64, segment_bytes: u64, mark_bytes: u64) -> u64 {
    // The padding in front of a batch is at most 16 bytes longer than the batch: both
    // together, or one after the other, always fit into a part (rule 18).
    let together_max = (usable - 24).min(segment_bytes / 2) & !7;
    together_max - mark_bytes
}

const WRITE_OUT_BYTES_MIN: usize = 256 << 10;

impl CommitConfig {
    /// The smallest buffer that works, on a backend which does not write in blocks.
    pub const BUFFER_BYTES_MIN: usize = 512;

    /// Whether a sync is asked for after so many records or bytes.
    pub(crate) const fn limits_unasked(&self) -> bool {
        self.sync_after_records.is_some() || self.sync_after_bytes.is_some()
    }

    /// Bytes of each part of the buffer, when up to `slots` flushes are in flight.
    pub(crate) const fn part_bytes(&self, slots: usize) -> usize {
        self.buffer_bytes / (slots + 1)
    }

    /// Bytes that records may use of each part, when the backend writes in blocks of
    /// `block_bytes`: the rest is kept for the padding which ends a flush.
    pub(crate) fn usable_part_bytes(
        &self,
        slots: usize,
        block_bytes: usize,
    ) -> Result<usize, CommitError> {
        if block_bytes == 0 || !BLOCK_BYTES.is_multiple_of(block_bytes) {
            return Err(CommitError::Invalid {
                what: "the block size of the sink must divide 4096",
                value: block_bytes as u64,
            });
        }
        // A gap of 8 or 16 bytes takes one more block (rule 13): two blocks always suffice.
        let slack = if block_bytes > 1 { 2 * block_bytes } else { 0 };
        let usable = self.part_bytes(slots).saturating_sub(slack) & !7;
        if usable < PART_BYTES_MIN {
            return Err(CommitError::Invalid {
                what: "buffer_bytes is too small for these sinks",
                value: self.buffer_bytes as u64,
            });
        }
        Ok(usable)
    }

    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<(), CommitError> {
        let limits = [self.sync_after_records, self.sync_after_bytes];
        if limits.contains(&Some(0)) {
            let what =
                "a limit of what waits for a sync must not be zero; use every commit instead";
            return Err(CommitError::Invalid { what, value: 0 });
        }
        if let (Threads::None, Some(value)) = (self.threads, limits.into_iter().flatten().next()) {
            let what = "limits of what waits for a sync need the helper threads";
            return Err(CommitError::Invalid { what, value });
        }
        let SyncPolicy::Periodic { every } = self.policy else {
            return Ok(());
        };
        if every.is_zero() {
            let what = "the period of syncs must not be zero; use every commit instead";
            return Err(CommitError::Invalid { what, value: 0 });
        }
        if self.threads == Threads::None {
            let what = "periodic syncs need the helper threads; without them, use never and sync";
            return Err(CommitError::Invalid { what, value: 0 });
        }
        Ok(())
    }
}

/// Where the commit path takes the log over.
///
/// Whoever starts the commit path vouches that everything before `durable` is durable, and that
/// a sync of the sink makes what lies between `durable` and `end` durable (rule 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Where appending goes on.
    pub end: Lsn,
    /// Everything before this address is durable.
    pub durable: Lsn,
    /// End of the segment that holds `end`.
    pub active_end: Lsn,
    /// End of the successor which stands ready; `active_end` when there is none.
    pub ready_end: Lsn,
    /// What the checksums of this opening start from.
    pub seed: RecordSeed,
}

impl Start {
    /// Refuses a start that no log of ours can be at.
    pub(crate) fn check(&self, block_bytes: usize) -> Result<(), CommitError> {
        let invalid = |what, lsn: Lsn| Err(CommitError::Invalid { what, value: lsn.get() });
        if self.end > self.active_end || self.active_end > self.ready_end {
            return invalid("the start lies beyond the segments which are ready", self.end);
        }
        if self.durable > self.end {
            return invalid("more is said to be durable than there is", self.durable);
        }
        for end in [self.active_end, self.ready_end] {
            if !end.get().is_multiple_of(BLOCK_BYTES as u64) {
                return invalid("a segment must end at a multiple of 4096", end);
            }
        }
        let left = self.active_end.get() - self.end.get();
        if left != 0 && left < RECORD_HEADER_BYTES as u64 {
            return invalid("less than a record header is left in the segment", self.end);
        }
        if !self.end.get().is_multiple_of(block_bytes as u64) {
            let what = "the log does not end at a block boundary; \
                        close it cleanly with buffered I/O before opening it with direct I/O";
            return invalid(what, self.end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::{Epoch, LogId};

    fn start() -> Start {
        let lsn = |raw| Lsn::new(raw).unwrap();
        Start {
            end: lsn(8192),
            durable: lsn(8192),
            active_end: lsn(16384),
            ready_end: lsn(32768),
            seed: RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::FIRST),
        }
    }

    #[test]
    fn a_sound_start_is_accepted() {
        assert!(start().check(1).is_ok());
        assert!(start().check(4096).is_ok());
    }

    #[test]
    fn a_start_that_cannot_be_is_refused() {
        let lsn = |raw| Lsn::new(raw).unwrap();
        let refused = |start: Start, block| start.check(block).unwrap_err().to_string();
        let text = refused(Start { end: lsn(20480), ..start() }, 1);
        assert!(text.contains("beyond the segments"), "{text}");
        let text = refused(Start { durable: lsn(8200), ..start() }, 1);
        assert!(text.contains("more is said to be durable"), "{text}");
        let text = refused(Start { ready_end: lsn(32776), ..start() }, 1);
        assert!(text.contains("multiple of 4096"), "{text}");
    }

    #[test]
    fn r13_a_start_too_close_to_the_end_of_its_segment_is_refused() {
        let lsn = |raw| Lsn::new(raw).unwrap();
        for (left, fine) in [(0, true), (8, false), (16, false), (24, true)] {
            let end = lsn(16384 - left);
            assert_eq!(Start { end, ..start() }.check(1).is_ok(), fine, "{left} bytes left");
        }
    }

    #[test]
    fn r13_a_direct_start_inside_a_block_is_refused_and_says_what_to_do() {
        let end = Lsn::new(8192 + 24).unwrap();
        assert!(Start { end, ..start() }.check(1).is_ok());
        let text = Start { end, ..start() }.check(512).unwrap_err().to_string();
        assert!(text.contains("close it cleanly"), "{text}");
    }

    #[test]
    fn periodic_syncs_need_somebody_to_do_them() {
        let every = Duration::from_millis(5);
        let mut config =
            CommitConfig { policy: SyncPolicy::Periodic { every }, ..CommitConfig::default() };
        assert!(config.check().is_ok());
        config.threads = Threads::None;
        assert!(matches!(config.check(), Err(CommitError::Invalid { .. })));
        config.threads = Threads::Helper;
        config.policy = SyncPolicy::Periodic { every: Duration::ZERO };
        assert!(matches!(config.check(), Err(CommitError::Invalid { .. })));
    }

    #[test]
    fn limits_of_what_waits_for_a_sync_need_somebody_to_do_it_and_are_not_zero() {
        let limited = |records, threads| {
            let sync_after_records = Some(records);
            CommitConfig { sync_after_records, threads, ..CommitConfig::default() }.check()
        };
        assert!(limited(1, Threads::Helper).is_ok());
        assert!(matches!(limited(0, Threads::Helper), Err(CommitError::Invalid { .. })));
        assert!(matches!(limited(1, Threads::None), Err(CommitError::Invalid { .. })));
    }

    #[test]
    fn commits_wait_for_durability_unless_the_policy_says_otherwise() {
        let every = Duration::from_millis(5);
        assert_eq!(SyncPolicy::EveryCommit.default_level(), Durability::Durable);
        assert_eq!(SyncPolicy::Group.default_level(), Durability::Durable);
        let square_root = SyncPolicy::SquareRoot { wait_cost_percent: 100 };
        assert_eq!(square_root.default_level(), Durability::Durable);
        assert_eq!(SyncPolicy::Periodic { every }.default_level(), Durability::Written);
        assert_eq!(SyncPolicy::Never.default_level(), Durability::Written);
    }

    #[test]
    fn a_buffer_that_cannot_hold_a_block_is_refused() {
        let config = CommitConfig { buffer_bytes: 16 << 10, ..CommitConfig::default() };
        assert_eq!(config.usable_part_bytes(1, 1).unwrap(), 8 << 10);
        assert!(config.usable_part_bytes(1, 4096).is_err());
        assert!(config.usable_part_bytes(1, 0).is_err());
        assert!(config.usable_part_bytes(1, 3).is_err());
    }
}
