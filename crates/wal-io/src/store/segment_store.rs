//! The store: what it holds, under which lock, and what can be asked of it.
//!
//! Three locks, always taken in this order:
//!
//! - `growing`: held by whoever makes the chain longer, rests included, in which the commit path's own
//!   lock is taken: so nothing that takes it is called under that one;
//! - `work`: held by whole operations (truncate, checkpoint), I/O included, and by a preparation but
//!   in its rests;
//! - `chain`: held for moments, never during I/O, so neither a reader which asks for the links
//!   nor a commit which crosses into the next segment waits for a file to be made (rule 12).
//!
//! The other files of this folder implement the operations; the lock on the directory is let go
//! when the last user of the store, each appender included, is gone (rule 15).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use wal_format::{
    CheckpointPointer, ControlSlot, Epoch, LogId, Lsn, Predecessor, RecordSeed, SegmentFlags,
    SegmentHeader,
};

use super::directory::leaves_names_unknown;
use super::options::StoreOptions;
use super::retired_files::Recycled;
use crate::chain::{ChainLink, DeadReason, DeadSegment};
use crate::control_file::ControlFile;
use crate::error::IoError;
use crate::segment_name::SegmentName;
use crate::storage::{Storage, StorageLock};

/// The writer's side of one log directory. Shared through [`Arc`] by the commit path, the thread
/// that prepares segments, and readers in this process.
pub struct SegmentStore {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) options: StoreOptions,
    log_id: LogId,
    epoch: Epoch,
    /// Highest address noted as durable; only grows.
    durable: AtomicU64,
    /// Syncs by appenders since the last segment was prepared.
    pub(super) syncs: AtomicU64,
    /// What was noted as durable then.
    pub(super) durable_then: AtomicU64,
    /// How many files hold back space; a copy of what `work` knows, to be read without its lock.
    pub(super) held_back: AtomicU64,
    /// One at a time makes the chain longer. Taken before `work`, which is let go in the rests of a
    /// preparation.
    growing: Mutex<()>,
    pub(super) work: Mutex<Work>,
    pub(super) chain: Mutex<ChainState>,
    /// Given back by `release`, or dropped last: nothing of the store may write after it.
    lock: Mutex<Option<Box<dyn StorageLock>>>,
}

/// What whole operations change; behind `work`.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) control: ControlFile,
    /// Files off the chain, to be removed when the opening allows.
    pub(super) dead: Vec<DeadSegment>,
    /// Temporary files found by the opening.
    pub(super) temporary: Vec<String>,
    /// Files of zeros, each as long as a normal segment.
    pub(super) held_back: Vec<String>,
    /// Files of truncated segments, to become the next ones.
    pub(super) recycled: Recycled,
    /// Above every address that any file ever seen here could hold (rule 8).
    pub(super) address_end: Lsn,
    /// A rename or a sync of the directory failed: names are unknown.
    pub(super) broken: bool,
    /// The clean mark is written; nothing may follow it (rule 4).
    pub(super) closed: bool,
}

/// `work` in the hand of an operation that may let go of it for a while.
pub(super) type WorkGuard<'a> = MutexGuard<'a, Work>;

/// The chain as readers and appenders see it; behind `chain`.
#[derive(Debug)]
pub(super) struct ChainState {
    /// Oldest first. Every link is durable, and registered as newest before it is put here.
    pub(super) links: Vec<ChainLink>,
    /// Index of the highest link that an appender has entered; `None` before the opening has
    /// decided where appending goes on.
    pub(super) active: Option<usize>,
    /// Appenders write at or above this address only.
    pub(super) writable_from: Lsn,
}

impl SegmentStore {
    pub(super) fn assemble(
        storage: Arc<dyn Storage>,
        lock: Box<dyn StorageLock>,
        options: StoreOptions,
        work: Work,
        chain: ChainState,
    ) -> Arc<Self> {
        let slot = work.control.current();
        Arc::new(Self {
            log_id: slot.log_id,
            epoch: slot.epoch,
            durable: AtomicU64::new(slot.durable.get()),
            syncs: AtomicU64::new(0),
            durable_then: AtomicU64::new(slot.durable.get()),
            held_back: AtomicU64::new(work.held_back.len() as u64),
            storage,
            options,
            growing: Mutex::new(()),
            work: Mutex::new(work),
            chain: Mutex::new(chain),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Gives back the lock on the directory: the log was closed, cleanly or not, and nothing is in
    /// flight. The store changes nothing from now on; reading through it stays possible.
    pub fn release(&self) {
        // Under the lock of `work`, so that an operation under way ends first, or finds in its rest
        // that it may not go on (rule 15).
        let mut work = self.work.lock();
        work.closed = true;
        drop(self.lock.lock().take());
        tracing::info!(place = %self.storage.place(), end = %self.noted_durable(), "log closed");
    }

    /// The identity of the log.
    #[must_use]
    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The epoch of this opening; durable before anything is written under it (rule 17).
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The seed of the checksums of this opening's records.
    #[must_use]
    pub fn seed(&self) -> RecordSeed {
        RecordSeed::new(self.log_id, self.epoch)
    }

    /// Lowest base address retained.
    #[must_use]
    pub fn head(&self) -> Lsn {
        self.chain.lock().links.first().map_or(Lsn::FIRST, |link| link.name.base)
    }

    /// Looks whether another writer has taken the log over, although it is locked.
    ///
    /// # Errors
    ///
    /// [`IoError::Superseded`]: one has; nothing may be promised any more. [`IoError::Closed`],
    /// [`IoError::Failed`].
    pub fn check_epoch(&self) -> Result<(), IoError> {
        let mut work = self.work.lock();
        self.check_usable(&work)?;
        work.control.check_epoch()
    }

    /// The chain as it is now, oldest first; empty successors which stand ready come last.
    #[must_use]
    pub fn links(&self) -> Vec<ChainLink> {
        self.chain.lock().links.clone()
    }

    /// The storage that the log is kept in.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The options the store was opened with.
    #[must_use]
    pub const fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Retained checkpoints, oldest first.
    #[must_use]
    pub fn checkpoints(&self) -> Vec<CheckpointPointer> {
        self.work.lock().control.current().checkpoints.clone()
    }

    /// Remembers that everything below `durable` is durable. The next write of the control file
    /// carries it as evidence (rule 10).
    ///
    /// # Cost
    ///
    /// One atomic instruction, no I/O.
    pub fn note_durable(&self, durable: Lsn) {
        // Relaxed suffices: the value publishes nothing but itself, and only grows.
        self.durable.fetch_max(durable.get(), Ordering::Relaxed);
    }

    /// What is known to be durable: everything below this address.
    pub(super) fn noted_durable(&self) -> Lsn {
        Lsn::new(self.durable.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// What whole operations change, for one that makes the chain longer.
    pub(super) fn work_to_grow(&self) -> (MutexGuard<'_, ()>, WorkGuard<'_>) {
        (self.growing.lock(), self.work.lock())
    }

    /// Refuses what must not be done any more, or never again by this handle.
    pub(super) fn check_usable(&self, work: &Work) -> Result<(), IoError> {
        if work.closed {
            return Err(IoError::Closed { place: self.storage.place() });
        }
        if work.broken {
            return Err(IoError::Poisoned { name: self.storage.place() });
        }
        Ok(())
    }

    /// Writes one slot of the control file, with what is known to be durable.
    pub(super) fn update_control(
        &self,
        work: &mut Work,
        change: impl FnOnce(&mut ControlSlot),
    ) -> Result<(), IoError> {
        let durable = self.noted_durable();
        work.control.update(|slot| {
            slot.durable = slot.durable.max(durable);
            change(slot);
        })
    }

    /// As [`update_control`](Self::update_control), for both slots.
    pub(super) fn update_both_slots(
        &self,
        work: &mut Work,
        change: impl FnOnce(&mut ControlSlot),
    ) -> Result<(), IoError> {
        self.update_control(work, change)?;
        self.update_control(work, |_| ())
    }

    /// The header of a new segment of this opening.
    pub(super) fn new_header(
        &self,
        base: Lsn,
        capacity_bytes: u64,
        flags: SegmentFlags,
        predecessor: Option<Predecessor>,
        head: Lsn,
    ) -> SegmentHeader {
        SegmentHeader {
            log_id: self.log_id,
            base,
            epoch: self.epoch,
            capacity_bytes,
            created_unix_us: self.storage.unix_us(),
            flags,
            predecessor,
            head,
        }
    }
}

impl Work {
    /// Passes a result on, and remembers a failure after which no name is certain.
    pub(super) fn watch<T>(&mut self, result: Result<T, IoError>) -> Result<T, IoError> {
        if let Err(error) = &result {
            self.broken |= leaves_names_unknown(error);
        }
        result
    }

    /// Takes links off the chain.
    pub(super) fn bury(&mut self, links: impl IntoIterator<Item = ChainLink>, reason: DeadReason) {
        let dead = links.into_iter().map(|link| DeadSegment {
            name: link.name,
            file_bytes: link.file_bytes,
            capacity_bytes: Some(link.header.capacity_bytes),
            reason,
        });
        self.dead.extend(dead);
    }
}

impl ChainState {
    /// The last link; a store always has one once it is placed.
    pub(super) fn last(&self) -> Option<ChainLink> {
        self.links.last().copied()
    }

    pub(super) fn position(&self, name: SegmentName) -> Option<usize> {
        self.links.iter().position(|link| link.name == name)
    }

    /// Ends the chain at `predecessor`, capped where it says; returns what came after.
    pub(super) fn cap_at(&mut self, predecessor: &Predecessor) -> Result<Vec<ChainLink>, IoError> {
        let wrong =
            IoError::OutOfRange { what: "the predecessor of a segment", lsn: predecessor.end };
        let name = SegmentName { epoch: predecessor.epoch, base: predecessor.base };
        let Some(index) = self.position(name) else { return Err(wrong) };
        let Some(link) = self.links.get_mut(index) else { return Err(wrong) };
        if predecessor.end < link.name.base || predecessor.end > link.cap {
            return Err(wrong);
        }
        link.cap = predecessor.end;
        self.active = None;
        Ok(self.links.split_off(index + 1))
    }
}

/// A link as the predecessor of the one that follows it directly.
pub(super) const fn predecessor_of(link: &ChainLink, end: Lsn) -> Predecessor {
    Predecessor { base: link.name.base, epoch: link.name.epoch, end }
}

impl fmt::Debug for SegmentStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentStore")
            .field("place", &self.storage.place())
            .field("log_id", &self.log_id)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
