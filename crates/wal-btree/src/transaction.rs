//! A transaction: locks first, then the change, logged with what takes it back.
//!
//! Isolation is serialisable: every key read and every range scanned is locked against changes of
//! others, every key changed against all others, until the end of the transaction. Nobody waits for
//! a lock: [`Error::Conflict`] says to abort and try again.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use wal::{Fate, Lsn, PageId, PageLog, PageTransaction, Savepoint, TxnId};

use crate::changes::Changes;
use crate::error::Error;
use crate::ops::{self, Op};
use crate::page::Difference;
use crate::store::Store;
use crate::tree::{Changed, Pair, Planned};

/// What a tree and its transactions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) log: PageLog,
}

/// Leaves for whose split in a rollback there is room in the log, each with the record that it was
/// reserved with.
type Reserved = BTreeMap<PageId, Lsn>;

/// A running transaction; from [`Tree::begin`](crate::Tree::begin). Dropped without an end it is
/// rolled back.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction {
    shared: Arc<Shared>,
    id: TxnId,
    /// Taken out when it ends.
    inner: Option<PageTransaction>,
    reserved: Reserved,
}

impl Transaction {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let inner = shared.log.begin();
        Self { shared, id: inner.id(), inner: Some(inner), reserved: Reserved::new() }
    }

    /// Its identity, which no other transaction has of which a record is durable. One that lost every
    /// record to a crash leaves its identity to another.
    #[must_use]
    pub const fn id(&self) -> TxnId {
        self.id
    }

    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`], or the key's page cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let core = &self.shared.store.core;
        core.locks.shared(self.id, key)?;
        core.get(key)
    }

    /// The entries of `range`, in order of their keys. The range stays as it is until this
    /// transaction ends: nobody else changes it or inserts into it.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn scan<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Result<Vec<Pair>, Error> {
        let owned = |bound: Bound<&&'k [u8]>| bound.map(|key| key.to_vec());
        let range = (owned(range.start_bound()), owned(range.end_bound()));
        let core = &self.shared.store.core;
        core.locks.shared_range(self.id, range.clone())?;
        core.scan(&range)
    }

    /// Puts `value` under `key`, which must be new.
    ///
    /// # Errors
    ///
    /// [`Error::KeyExists`], [`Error::TooLarge`], [`Error::Conflict`]; those of the log and the
    /// pages. In each case nothing changed.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let plan = |old: Option<&[u8]>| match old {
            Some(_) => Err(Error::KeyExists),
            None => Ok(Some(Op::Insert { key, value })),
        };
        self.change(key, value, &plan).map(drop)
    }

    /// Puts `value` under `key`, whatever it had; gives that.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), whose `KeyExists` is none here.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let plan = |old: Option<&[u8]>| {
            Ok(Some(match old {
                Some(_) => Op::Replace { key, value },
                None => Op::Insert { key, value },
            }))
        };
        self.change(key, value, &plan).map(|changed| changed.old)
    }

    /// Takes the entry of `key` out; gives its value, if there was one.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn delete(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let plan = |old: Option<&[u8]>| Ok(old.map(|_| Op::Delete { key }));
        let changed = self.change(key, &[], &plan)?;
        if changed.emptied {
            self.remove_empty_leaf(key)?;
        }
        Ok(changed.old)
    }

    /// A place to which [`rollback_to`](Self::rollback_to) goes back.
    ///
    /// # Errors
    ///
    /// The tree is poisoned.
    pub fn savepoint(&mut self) -> Result<Savepoint, Error> {
        self.parts().map(|(_, txn, _)| txn.savepoint())
    }

    /// Takes back what was done since `to`; the transaction goes on, and keeps its locks (a08).
    ///
    /// # Errors
    ///
    /// A savepoint of another transaction, or one that is void; those of the log and the pages:
    /// abort.
    pub fn rollback_to(&mut self, to: Savepoint) -> Result<(), Error> {
        let (shared, txn, reserved) = self.parts()?;
        // The room goes with the record that it was for.
        reserved.retain(|_, at| *at <= to.lsn());
        Ok(txn.rollback_to(&mut shared.store.clone(), to)?)
    }

    /// Commits.
    ///
    /// # Durability
    ///
    /// Durable when this returns (a03). No page is written.
    ///
    /// # Errors
    ///
    /// Rolled back; or, when the tree is poisoned, only a reopening shows.
    pub fn commit(mut self) -> Result<(), Error> {
        self.shared.store.core.pool.check()?;
        let Some(txn) = self.inner.take() else { return Ok(()) };
        let (id, core) = (self.id, &self.shared.store.core);
        let outcome = match txn.commit() {
            Ok(_) => Ok(()),
            Err(error) => {
                let fate = error.fate();
                let error = Error::from(error);
                if fate != Fate::NotCommitted {
                    // Nobody can say, so nobody may go on from either.
                    core.pool.poison(&error);
                    return Err(error);
                }
                let rolled_back =
                    self.shared.log.rollback_abandoned(&mut self.shared.store.clone());
                if let Err(worse) = rolled_back.map_err(Error::from) {
                    core.pool.poison(&worse);
                    return Err(worse);
                }
                Err(error)
            }
        };
        core.locks.release(id);
        outcome
    }

    /// Takes everything back, and ends.
    ///
    /// # Errors
    ///
    /// The tree is poisoned then; the rollback is finished by the next opening.
    pub fn abort(mut self) -> Result<(), Error> {
        self.end_by_rollback()
    }

    /// Puts the transaction in doubt under the name `global_id`: from here on only
    /// [`Tree::resolve`](crate::Tree::resolve) ends it. It keeps its locks; after a restart, those on
    /// the keys that it changed (a29).
    ///
    /// # Durability
    ///
    /// What it did and its prepare record are durable when this returns.
    ///
    /// # Errors
    ///
    /// Rolled back; or, when the log is poisoned, only a reopening shows. Refused when it has
    /// changed more keys than a record can name.
    pub fn prepare(mut self, global_id: &[u8]) -> Result<TxnId, Error> {
        let id = self.id;
        let changed = self.shared.store.core.locks.changed_by(id);
        let locks: Vec<u8> = changed.iter().flat_map(|key| named(key)).collect();
        let (_, txn, _) = self.parts()?;
        txn.prepare(global_id, &locks)?;
        // In doubt from here on: the handle has no say any more.
        self.inner = None;
        Ok(id)
    }

    fn parts(&mut self) -> Result<(&Arc<Shared>, &mut PageTransaction, &mut Reserved), Error> {
        self.shared.store.core.pool.check()?;
        let ended = || Error::Options("the transaction has ended");
        let txn = self.inner.as_mut().ok_or_else(ended)?;
        Ok((&self.shared, txn, &mut self.reserved))
    }

    fn change<'a>(
        &mut self,
        key: &'a [u8],
        value: &[u8],
        plan: &dyn Fn(Option<&[u8]>) -> Planned<'a>,
    ) -> Result<Changed, Error> {
        let (shared, txn, reserved) = self.parts()?;
        let core = Arc::clone(&shared.store.core);
        core.check_size(key, value)?;
        core.locks.exclusive(txn.id(), key)?;
        let mut log = Logged { shared, txn, reserved };
        core.change(key, &mut log, &mut |old| plan(old))
    }

    /// The entry is gone already; whether the leaf goes as well makes no difference to anybody.
    fn remove_empty_leaf(&mut self, key: &[u8]) -> Result<(), Error> {
        let (shared, txn, reserved) = self.parts()?;
        let core = Arc::clone(&shared.store.core);
        let mut log = Logged { shared, txn, reserved };
        let free = |page| Ok(shared.log.log_free(page).map(drop)?);
        match core.shrink(key, &mut log, &free) {
            Err(error) if error.is_refusal() => Ok(()),
            outcome => outcome,
        }
    }

    fn end_by_rollback(&mut self) -> Result<(), Error> {
        let Some(txn) = self.inner.take() else { return Ok(()) };
        let core = &self.shared.store.core;
        let outcome = match core.pool.check() {
            Ok(()) => txn.abort(&mut self.shared.store.clone()).map_err(Error::from),
            poisoned => poisoned,
        };
        match &outcome {
            Ok(()) => core.locks.release(self.id),
            // What it changed is still there, and nobody may see it.
            Err(error) => core.pool.poison(error),
        }
        outcome
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // A failure has poisoned the tree: whoever uses it next is told.
        let _ = self.end_by_rollback();
    }
}

/// A key in the payload of a prepare record.
fn named(key: &[u8]) -> Vec<u8> {
    ops::encode(key, &[])
}

/// Changes that a transaction logs, with what takes them back.
struct Logged<'t> {
    shared: &'t Arc<Shared>,
    txn: &'t mut PageTransaction,
    reserved: &'t mut Reserved,
}

impl Logged<'_> {
    /// What the split of a leaf may log: the leaf and its parent before and after, an image of each
    /// and of the new page, the bit in the map.
    fn split_bytes(&self) -> u64 {
        8 * self.shared.store.core.pool.page_bytes() as u64 + 1024
    }
}

impl Changes for Logged<'_> {
    fn log_entry(&mut self, leaf: PageId, op: Op<'_>, old: &[u8]) -> Result<Lsn, Error> {
        // To put back what was longer may take a split, if others use the room meanwhile. There is
        // space for one per leaf; a rollback that must split more draws on the rest (a09).
        let shrinks = !old.is_empty() && !self.reserved.contains_key(&leaf);
        let more_bytes = if shrinks { self.split_bytes() } else { 0 };
        let (redo, undo) = (op.redo(), op.undo(old));
        let lsn = self.txn.log_logical_reserving(leaf, op.number(), &redo, &undo, more_bytes)?;
        if shrinks {
            self.reserved.insert(leaf, lsn);
        }
        Ok(lsn)
    }

    fn log_bytes(&mut self, page: PageId, change: &Difference<'_>) -> Result<Lsn, Error> {
        Ok(self.txn.log_update(page, change.offset, change.before, change.after)?)
    }

    fn nested(
        &mut self,
        action: &mut dyn FnMut(&mut dyn Changes) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let before = self.txn.savepoint();
        let nested = self.txn.nested_begin()?;
        let mut outcome = action(self);
        if outcome.is_ok() {
            outcome = self.txn.nested_end(nested).map(drop).map_err(Error::from);
        }
        let Err(error) = outcome else { return Ok(()) };
        // Under the latch that the caller still holds: nobody has seen it half done.
        if let Err(worse) = self.txn.rollback_to(&mut self.shared.store.clone(), before) {
            self.shared.store.core.pool.poison(&Error::from(worse));
        }
        Err(error)
    }
}
