//! The log itself: append, batches, transactions, checkpoints, truncation, reading, closing.
//!
//! Wiring only: positions and groups are `wal-commit`'s, segments are `wal-io`'s, what a crash
//! left is `wal-recovery`'s.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use wal_commit::{CommitStats, GroupCommit, Positions};
use wal_format::{CheckpointPointer, Epoch, LogId, Lsn, RecordDraft, RecordKind};
use wal_io::SegmentStore;
use wal_recovery::RecoveryReport;

use crate::active::ActiveWork;
use crate::error::{Error, Refusal};
use crate::holds::{Hold, HoldInfo, HoldLimit, Holds};
use crate::options::Options;
use crate::persistent_hold;
use crate::published::Publisher;
use crate::since::Since;
use crate::ticket::Ticket;

/// An open log. Clones share it; threads share it by reference.
///
/// Dropping the last clone never waits for a sync and never marks the log as cleanly closed: what
/// was not synced is as after a crash. [`close`](Self::close) does both.
///
/// A process that forks must not use the log in the child: both would write the same addresses.
#[derive(Clone, Debug)]
pub struct Wal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Shared {
    // Order of drop: the commit path ends its thread before the store gives back the lock (rule 15).
    pub(crate) commit: GroupCommit,
    // What each append looks at lies beside that, so it is not reordered.
    pub(crate) holds: Arc<Holds>,
    /// Only transactions on pages write into this log: it was recovered by a strategy that undoes.
    pub(crate) pages_only: bool,
    pub(crate) store: Arc<SegmentStore>,
    pub(crate) active: Mutex<ActiveWork>,
    /// Held while the head moves, and while a hold is taken: neither passes the other.
    pub(crate) truncation: Mutex<()>,
    /// Held while a checkpoint is completed: they are recorded in the order of their begins.
    pub(crate) completion: Mutex<()>,
    /// Where this opening began to append.
    pub(crate) opened_at: Lsn,
    pub(crate) options: Options,
    /// Set where figures are published.
    pub(crate) publisher: OnceLock<Publisher>,
    /// What was when the last upkeep took its checkpoint.
    pub(crate) since: Mutex<Since>,
    /// Set before anybody but the opening has the log.
    pub(crate) recovery: OnceLock<RecoveryReport>,
}

/// What a truncation did, and what kept it from doing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Truncated {
    /// The lowest address that is still there.
    pub head: Lsn,
    /// Segments that are gone from the log.
    pub segments: u64,
    /// How many of them are kept as files, to become the next segments
    /// ([`Options::recycled_segments`](crate::Options::recycled_segments)).
    pub recycled: u64,
    /// Bytes given back to the file system.
    pub bytes: u64,
    /// The address that was not to be passed: what was asked for, or the lowest obligation.
    pub limit: Lsn,
    /// Which obligation it was; `None` when the limit is what was asked for.
    pub held_by: Option<Obligation>,
}

/// Why a part of the log must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Obligation {
    /// Replay from the oldest retained checkpoint needs it (rule 5), or from one that has begun. In a
    /// log of pages this stands for what was dirty, running or in doubt when that checkpoint was
    /// taken: [`PageLog::oldest_needed`](crate::PageLog::oldest_needed) says whether it still is.
    Checkpoint,
    /// A transaction that is still running, or that commits behind the limit, began there.
    Transaction,
    /// A named hold keeps it.
    Hold,
}

/// Figures of a running log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Reserved, written and durable ends.
    pub positions: Positions,
    /// What the commit path did since the log was opened.
    pub commit: CommitStats,
    /// Lowest address that is still there.
    pub head: Lsn,
    /// Segment files, the ready successor included.
    pub segments: u64,
    /// Checkpoints to fall back on.
    pub checkpoints: u64,
    /// Transactions which have logged something and have not ended.
    pub active_transactions: u64,
    /// Pages that may be newer in memory than in storage; 0 for a log without pages.
    pub dirty_pages: u64,
    /// Bytes for which room is kept: rollbacks, ends of transactions, the next checkpoint; 0 for a
    /// log without pages.
    pub reserved_bytes: u64,
    /// Retention holds.
    pub holds: Vec<HoldInfo>,
}

impl Wal {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    pub(crate) const fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// As [`append`](Self::append), but never waits for room.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append); [`WouldBlock`](crate::ErrorKind::WouldBlock) when it would
    /// have to wait.
    pub fn try_append(&self, body: &[u8]) -> Result<Ticket, Error> {
        self.check_redo_only()?;
        self.admit(self.shared().commit.reserved())?;
        let parts = [body];
        let draft = RecordDraft::new(RecordKind::DATA, &parts);
        Ok(Ticket::new(self.shared.commit.try_append(&draft, &mut |_| {})?))
    }

    /// Appends all `bodies` as one atomic batch: after a crash all of them replay, or none.
    ///
    /// # Durability
    ///
    /// As [`append`](Self::append); one ticket for the whole batch.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append). [`Refused`](crate::ErrorKind::Refused) also for an empty batch,
    /// and for one larger than [`batch_bytes_max`](Self::batch_bytes_max) (rule 18).
    pub fn append_batch<B: AsRef<[u8]>>(&self, bodies: &[B]) -> Result<Ticket, Error> {
        self.check_redo_only()?;
        self.admit(self.shared().commit.reserved())?;
        let records: Vec<_> = bodies.iter().map(|body| (RecordKind::DATA, body.as_ref())).collect();
        Ok(Ticket::new(self.shared.commit.append_batch_unhooked(&records)?))
    }

    /// Bytes that the records of one batch may take in the log, headers included.
    #[must_use]
    pub fn batch_bytes_max(&self) -> u64 {
        self.shared.commit.batch_bytes_max()
    }

    /// Makes everything appended so far durable; returns the durable end.
    ///
    /// # Errors
    ///
    /// As [`Ticket::wait_durable`].
    pub fn sync(&self) -> Result<Lsn, Error> {
        Ok(self.shared.commit.sync()?)
    }

    /// Removes whole segments before `lsn`, as far as nothing needs them any more. Some of their
    /// files are kept to become the next segments
    /// ([`Options::recycled_segments`](crate::Options::recycled_segments)).
    ///
    /// What must stay (rule 5): everything from the replay start of the oldest retained
    /// checkpoint, and of each that has begun; from the first record of each transaction that is
    /// running, or that commits at `lsn` or later; from each hold, also of other processes.
    /// Without any checkpoint the caller says by calling that the engine no longer needs what lies
    /// before; a log which was opened with transactions in it is then kept whole until `lsn`
    /// reaches this opening.
    ///
    /// # Durability
    ///
    /// The new head is durable before any file is removed.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): nothing, or not everything, was removed; call again. Also when
    /// it cannot be known what is held. [`Closed`](crate::ErrorKind::Closed): nothing was removed.
    pub fn truncate_before(&self, lsn: Lsn) -> Result<Truncated, Error> {
        let shared = &self.shared;
        let _one_at_a_time = shared.truncation.lock();
        // From here to the end: no process places a hold that this would not see.
        let storage = shared.store.storage();
        let _no_hold_is_placed = persistent_hold::lock(storage.as_ref())?;
        let positions = self.positions();
        let asked = lsn.min(positions.durable);
        let persistent =
            persistent_hold::settle(storage.as_ref(), self.log_id(), positions.reserved)?;
        let kept = persistent_hold::lowest(&persistent);
        shared.holds.note_persistent(persistent_hold::refusing(persistent));
        let (limit, held_by) = self.truncation_limit(asked, kept, positions.reserved);
        shared.store.note_durable(positions.durable);
        let done = shared.store.truncate_before(limit).map_err(|error| self.superseded(error))?;
        shared.active.lock().truncated(done.head);
        let (head, bytes) = (done.head, done.bytes);
        let (segments, recycled) = (done.segments as u64, done.recycled as u64);
        Ok(Truncated { head, segments, recycled, bytes, limit, held_by })
    }

    /// The lowest of all obligations, at most `asked`, and which one it is.
    fn truncation_limit(
        &self,
        asked: Lsn,
        kept: Option<Lsn>,
        reserved: Lsn,
    ) -> (Lsn, Option<Obligation>) {
        let shared = &self.shared;
        let retained = shared.store.checkpoints().iter().map(|kept| kept.redo_from).min();
        let (begun, running) = {
            let active = shared.active.lock();
            (active.checkpoint_needs(), active.transactions_need(asked))
        };
        // Which records the transactions of earlier openings need is known only from a checkpoint.
        let earlier = retained.is_none()
            && asked < shared.opened_at
            && self.recovery().transactions.committed > 0
            || shared.pages_only && retained.is_none();
        let obligations = [
            (Obligation::Checkpoint, retained),
            (Obligation::Checkpoint, begun),
            (Obligation::Transaction, running),
            (Obligation::Transaction, earlier.then(|| shared.store.head())),
            (Obligation::Hold, shared.holds.lowest(reserved)),
            (Obligation::Hold, kept),
        ];
        let mut limit = (asked, None);
        for (obligation, lowest) in obligations {
            if let Some(lowest) = lowest.filter(|lowest| *lowest < limit.0) {
                limit = (lowest, Some(obligation));
            }
        }
        limit
    }

    /// Keeps the log from `lsn` on until the hold is dropped or advanced.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused): the name is taken.
    /// [`Truncated`](crate::ErrorKind::Truncated): `lsn` is gone already.
    pub fn hold(&self, name: &str, lsn: Lsn, limit: Option<HoldLimit>) -> Result<Hold, Error> {
        let _no_truncation_passes = self.shared.truncation.lock();
        let head = self.shared.store.head();
        if lsn < head {
            return Err(Refusal::Truncated { lsn, head }.into());
        }
        self.shared.holds.take(name, lsn, limit)
    }

    /// Waits until more than `lsn` is durable; returns the durable end.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](crate::ErrorKind::TimedOut), [`Closed`](crate::ErrorKind::Closed),
    /// [`Poisoned`](crate::ErrorKind::Poisoned).
    pub fn wait_beyond(&self, lsn: Lsn, timeout: Option<Duration>) -> Result<Lsn, Error> {
        Ok(self.shared.commit.wait_beyond(lsn, timeout)?)
    }

    /// Reserved, written and durable ends of the log; each is at most the one before.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.shared.commit.positions()
    }

    /// Whether anything can become durable: not with [`SyncMethod::None`](crate::SyncMethod::None).
    #[must_use]
    pub fn can_promise(&self) -> bool {
        self.shared.options.sync_method.can_promise()
    }

    /// Lowest address that is still there.
    #[must_use]
    pub fn head(&self) -> Lsn {
        self.shared.store.head()
    }

    /// Identity of the log.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.shared.store.log_id()
    }

    /// Which opening of the log this is.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shared.store.epoch()
    }

    /// Checkpoints to fall back on, oldest first.
    #[must_use]
    pub fn checkpoints(&self) -> Vec<CheckpointPointer> {
        self.shared.store.checkpoints()
    }

    /// What the opening found and replayed.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        self.shared.recovery.get_or_init(RecoveryReport::default)
    }

    /// Figures of the log as it runs.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        Stats {
            positions: shared.commit.positions(),
            commit: shared.commit.stats(),
            head: shared.store.head(),
            segments: shared.store.links().len() as u64,
            checkpoints: shared.store.checkpoints().len() as u64,
            active_transactions: shared.active.lock().transactions() as u64,
            dirty_pages: 0,
            reserved_bytes: shared.commit.earmarked_bytes(),
            holds: shared.holds.list(),
        }
    }

    /// Closes the log for all its clones: everything appended becomes durable, the next opening
    /// goes on where this one ended, and others may open it from now on. Readers stay usable.
    ///
    /// # Errors
    ///
    /// - [`Poisoned`](crate::ErrorKind::Poisoned): not everything may be durable. The log is closed,
    ///   but not cleanly; the next opening recovers it.
    /// - [`Io`](crate::ErrorKind::Io): everything is durable, but that could not be noted in the
    ///   control file, also because an earlier note failed. The next opening recovers the log.
    /// - [`Closed`](crate::ErrorKind::Closed): it was closed before.
    pub fn close(&self) -> Result<(), Error> {
        let shared = &self.shared;
        // A poisoned log keeps its lock until it is dropped (rule 15).
        let end = shared.commit.close()?;
        let mut marked = Ok(());
        if shared.options.sync_method.can_promise() {
            shared.store.note_durable(end);
            marked = shared.store.mark_clean(end);
        }
        if let Some(publisher) = shared.publisher.get() {
            publisher.stop(shared.store.storage().as_ref());
        }
        // A truncation under way removes files by name: others may not come in before it is done.
        let _no_truncation_is_under_way = shared.truncation.lock();
        shared.store.release();
        marked.map_err(Error::of_mark)
    }

    pub(crate) fn check_kind(&self, kind: RecordKind) -> Result<(), Error> {
        if kind.is_engine() {
            Ok(())
        } else {
            Err(Refusal::ReservedKind { kind: kind.get() }.into())
        }
    }

    /// Refuses what would put records among those of transactions on pages.
    pub(crate) fn check_redo_only(&self) -> Result<(), Error> {
        if self.shared.pages_only { Err(Refusal::PagesOnly.into()) } else { Ok(()) }
    }

    /// Appends for whoever uses the log without pages.
    pub(crate) fn append_draft(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<Ticket, Error> {
        self.check_redo_only()?;
        self.append_any(draft, reserved)
    }

    pub(crate) fn append_any(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<Ticket, Error> {
        self.admit(self.shared().commit.reserved())?;
        Ok(Ticket::new(self.shared.commit.append(draft, reserved)?))
    }

    /// First address that readers may not read: the durable end, or the written end of a log
    /// which is kept without syncs.
    pub(crate) fn readable_end(&self) -> Lsn {
        let positions = self.positions();
        let synced = self.shared.options.sync_method.can_promise();
        if synced { positions.durable } else { positions.written }
    }
}
