//! The same tree on the other strategy: redo only, no steal (a35).
//!
//! A transaction keeps its changes to itself until its commit is durable; then they are done to the
//! tree. So nothing uncommitted can be anywhere, and there is nothing to undo, to latch against or
//! to write ahead of. The pages are memory: an opening builds them from the last checkpoint, which
//! holds the contents, and from the commits since.
//!
//! Simplified: a checkpoint is one record, so the contents must fit into one, and commits wait
//! while it is copied.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use wal::{
    CheckpointPointer, CheckpointView, Fate, Lsn, MemoryStorage, PageId, RecoveryError, RedoOnly,
    RedoTarget, ReplayRecord, Storage, TxnId, Wal, WriteAhead,
};

use crate::changes::Changes;
use crate::error::Error;
use crate::file::PageFile;
use crate::ops::{self, Op};
use crate::options::Options;
use crate::page::Difference;
use crate::pool::Pool;
use crate::tree::{Core, Pair};

/// Kinds of the bytes that stand before a key and its value in a record.
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// Where records are eight bytes apart.
const LSN_STEP: u64 = 8;

/// A log for pages that need none: it gives out addresses, in order.
#[derive(Debug, Default)]
struct Unlogged(AtomicU64);

impl Unlogged {
    fn next(&self) -> Lsn {
        let number = self.0.fetch_add(LSN_STEP, Ordering::Relaxed);
        Lsn::FIRST.checked_add(number).unwrap_or(Lsn::MAX)
    }
}

impl WriteAhead for Unlogged {
    fn before_page_write(&self, _page: PageId, _page_lsn: Lsn) -> Result<(), RecoveryError> {
        Ok(())
    }

    fn page_written(&self, _page: PageId, _page_lsn: Lsn) {}

    fn log_image(&self, _page: PageId, _image: &[u8]) -> Result<Lsn, RecoveryError> {
        Ok(self.next())
    }
}

/// The pages, and what changes them.
struct Memory {
    core: Core,
    lsns: Arc<Unlogged>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("core", &self.core).finish_non_exhaustive()
    }
}

/// One change of the tree, for which nothing is logged any more.
struct Apply<'m>(&'m Memory);

impl Changes for Apply<'_> {
    fn log_entry(&mut self, _leaf: PageId, _op: Op<'_>, _old: &[u8]) -> Result<Lsn, Error> {
        Ok(self.0.lsns.next())
    }

    fn log_bytes(&mut self, _page: PageId, _change: &Difference<'_>) -> Result<Lsn, Error> {
        Ok(self.0.lsns.next())
    }

    fn nested(
        &mut self,
        action: &mut dyn FnMut(&mut dyn Changes) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Nothing could take half of it back: the next opening builds the tree anew.
        action(self).inspect_err(|error| self.0.core.pool.poison(error))
    }
}

impl Memory {
    fn new(options: &Options) -> Result<Self, Error> {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let file = PageFile::create(&storage, &options.file_name, options.page_bytes)?;
        let lsns = Arc::new(Unlogged::default());
        let log: Arc<dyn WriteAhead> = lsns.clone();
        let core = Core::new(Pool::new(file, options.frames, false));
        core.pool.log_runs(&log);
        Ok(Self { core, lsns })
    }

    /// Done twice it leaves what it leaves when it is done once.
    fn apply(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        self.core.check_size(key, value.unwrap_or_default())?;
        let plan = &mut |old: Option<&[u8]>| {
            Ok(match (old, value) {
                (None, Some(value)) => Some(Op::Insert { key, value }),
                (Some(_), Some(value)) => Some(Op::Replace { key, value }),
                (Some(_), None) => Some(Op::Delete { key }),
                (None, None) => None,
            })
        };
        let changed = self.core.change(key, &mut Apply(self), plan)?;
        if changed.emptied {
            self.core.shrink(key, &mut Apply(self), &|_| Ok(()))?;
        }
        Ok(())
    }
}

impl RedoTarget for Memory {
    type Error = Error;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), Error> {
        let mut rest = checkpoint.payload;
        while let Some((bytes, more)) = rest.split_first_chunk() {
            let (entry, more) = more
                .split_at_checked(u32::from_le_bytes(*bytes) as usize)
                .ok_or(Error::BadOperation { number: 0 })?;
            let (key, value) = ops::decode(entry).ok_or(Error::BadOperation { number: 0 })?;
            self.apply(key, Some(value))?;
            rest = more;
        }
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), Error> {
        let bad = Error::BadOperation { number: 0 };
        match record.body.split_first() {
            Some((&PUT, rest)) => {
                let (key, value) = ops::decode(rest).ok_or(bad)?;
                self.apply(key, Some(value))
            }
            Some((&DELETE, rest)) => self.apply(ops::decode(rest).ok_or(bad)?.0, None),
            _ => Err(bad),
        }
    }
}

#[derive(Debug)]
struct Shared {
    memory: Memory,
    log: Wal,
    /// Shared from a commit record to the end of its changes; exclusive while a checkpoint copies.
    commits: RwLock<()>,
    last_txn: AtomicU64,
}

/// A B+tree of byte strings whose pages are memory; everything durable is in its log.
#[derive(Clone, Debug)]
pub struct RedoOnlyTree {
    shared: Arc<Shared>,
}

impl RedoOnlyTree {
    /// Opens the tree whose log is in `log`; makes it if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Options`]; those of the log and of replay as [`Error::Log`].
    pub fn open(options: Options, log: Arc<dyn Storage>) -> Result<Self, Error> {
        options.check()?;
        let mut memory = Memory::new(&options)?;
        let log = options.log.recover_with(RedoOnly::default()).open_in(log, &mut memory)?;
        let (commits, last_txn) = (RwLock::new(()), AtomicU64::new(0));
        Ok(Self { shared: Arc::new(Shared { memory, log, commits, last_txn }) })
    }

    /// Begins a transaction. Nothing is logged before its commit.
    pub fn begin(&self) -> RedoOnlyTransaction {
        let number = self.shared.last_txn.fetch_add(1, Ordering::Relaxed) + 1;
        let (shared, id) = (Arc::clone(&self.shared), TxnId::new(number));
        RedoOnlyTransaction { shared, id, changes: BTreeMap::new() }
    }

    /// Copies the contents into the log and removes what is older.
    ///
    /// # Errors
    ///
    /// The previous checkpoint stays in force.
    pub fn checkpoint(&self) -> Result<CheckpointPointer, Error> {
        let Shared { memory, log, commits, .. } = &*self.shared;
        let (checkpoint, contents) = {
            let _none = commits.write();
            let checkpoint = log.checkpoint_begin()?;
            (checkpoint, memory.core.scan(&(Bound::Unbounded, Bound::Unbounded))?)
        };
        let mut payload = Vec::new();
        for (key, value) in contents {
            let entry = ops::encode(&key, &value);
            let bytes = u32::try_from(entry.len()).unwrap_or(u32::MAX);
            payload.extend_from_slice(&bytes.to_le_bytes());
            payload.extend_from_slice(&entry);
        }
        let pointer = checkpoint.complete(&payload)?;
        log.truncate_before(pointer.redo_from)?;
        Ok(pointer)
    }

    /// Checks the whole tree, and gives its contents in order of their keys.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`], [`Error::Page`]: where, and what is wrong.
    pub fn check(&self) -> Result<Vec<Pair>, Error> {
        self.shared.memory.core.check()
    }

    /// The log below.
    #[must_use]
    pub fn log(&self) -> &Wal {
        &self.shared.log
    }
}

/// A running transaction, whose changes nobody else can see; from [`RedoOnlyTree::begin`]. Dropped,
/// it has never been.
#[derive(Debug)]
#[must_use = "a transaction that is dropped changes nothing"]
pub struct RedoOnlyTransaction {
    shared: Arc<Shared>,
    id: TxnId,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl RedoOnlyTransaction {
    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let core = &self.shared.memory.core;
        core.locks.shared(self.id, key)?;
        match self.changes.get(key) {
            Some(value) => Ok(value.clone()),
            None => core.get(key),
        }
    }

    /// The entries of `range`, in order of their keys.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`].
    pub fn scan<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Result<Vec<Pair>, Error> {
        let owned = |bound: Bound<&&'k [u8]>| bound.map(|key| key.to_vec());
        let range = (owned(range.start_bound()), owned(range.end_bound()));
        let core = &self.shared.memory.core;
        core.locks.shared_range(self.id, range.clone())?;
        let mut found: BTreeMap<_, _> = core.scan(&range)?.into_iter().collect();
        for (key, value) in self.changes.iter().filter(|(key, _)| range.contains(*key)) {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        Ok(found.into_iter().collect())
    }

    /// Puts `value` under `key`, which must be new.
    ///
    /// # Errors
    ///
    /// [`Error::KeyExists`], and those of [`put`](Self::put).
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        match self.get(key)? {
            Some(_) => Err(Error::KeyExists),
            None => self.put(key, value).map(drop),
        }
    }

    /// Puts `value` under `key`, whatever it had; gives that.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Conflict`].
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.shared.memory.core.check_size(key, value)?;
        self.change(key, Some(value.to_vec()))
    }

    /// Takes the entry of `key` out; gives its value, if there was one.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn delete(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.shared.memory.core.check_size(key, &[])?;
        self.change(key, None)
    }

    fn change(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Error> {
        self.shared.memory.core.locks.exclusive(self.id, key)?;
        let old = self.get(key)?;
        self.changes.insert(key.to_vec(), value);
        Ok(old)
    }

    /// Commits.
    ///
    /// # Durability
    ///
    /// Durable when this returns.
    ///
    /// # Errors
    ///
    /// Not committed; or, when the log is poisoned, only a reopening shows.
    pub fn commit(self) -> Result<(), Error> {
        let Shared { memory, log, commits, .. } = &*self.shared;
        memory.core.pool.check()?;
        let _no_copy = commits.read();
        let mut txn = log.begin();
        for (key, value) in &self.changes {
            let (kind, value) = value.as_ref().map_or((DELETE, &[][..]), |value| (PUT, value));
            txn.log(&[&[kind], &ops::encode(key, value)[..]].concat())?;
        }
        if !self.changes.is_empty() {
            txn.commit().map_err(|error| {
                let (fate, error) = (error.fate(), Error::from(error));
                if fate != Fate::NotCommitted {
                    memory.core.pool.poison(&error);
                }
                error
            })?;
        }
        for (key, value) in &self.changes {
            // Durable, and so to be done: what fails now is done by the next opening.
            let done = memory.apply(key, value.as_deref());
            done.inspect_err(|error| memory.core.pool.poison(error))?;
        }
        Ok(())
    }

    /// Gives the transaction up: it has changed nothing.
    pub fn abort(self) {}
}

impl Drop for RedoOnlyTransaction {
    fn drop(&mut self) {
        self.shared.memory.core.locks.release(self.id);
    }
}
