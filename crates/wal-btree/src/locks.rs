//! Locks on keys and ranges of keys: shared and exclusive, held to the end, never waited for.
//!
//! Two-phase locking by key, so that an uncommitted change is neither seen nor written over, and a
//! range that was scanned stays as it was: nobody else inserts into it. Who meets a lock of another
//! is refused and aborts; there is no queue and no deadlock. Only memory: a restart gives locks back
//! to nobody but transactions in doubt (a29).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeBounds};

use parking_lot::Mutex;
use wal_format::TxnId;

use crate::error::Error;

/// A range of keys, owned.
pub(crate) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// All locks of all transactions.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Keys that a transaction changed, or is about to.
    exclusive: BTreeMap<Vec<u8>, TxnId>,
    /// What each transaction read.
    shared: BTreeMap<TxnId, Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    keys: BTreeSet<Vec<u8>>,
    ranges: Vec<KeyRange>,
}

impl Shared {
    fn holds(&self, key: &[u8]) -> bool {
        self.keys.contains(key) || self.ranges.iter().any(|range| contains(range, key))
    }
}

impl Locks {
    /// Locks `key` for a change.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`]: another transaction read or changed it; nothing is locked.
    pub(crate) fn exclusive(&self, txn: TxnId, key: &[u8]) -> Result<(), Error> {
        let mut held = self.held.lock();
        let changed = held.exclusive.get(key).is_some_and(|owner| *owner != txn);
        let mut others = held.shared.iter().filter(|(owner, _)| **owner != txn);
        if changed || others.any(|(_, shared)| shared.holds(key)) {
            return Err(Error::Conflict);
        }
        held.exclusive.insert(key.to_vec(), txn);
        Ok(())
    }

    /// Locks `key`, whether it is there or not, against changes.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`]: another transaction changed it; nothing is locked.
    pub(crate) fn shared(&self, txn: TxnId, key: &[u8]) -> Result<(), Error> {
        let mut held = self.held.lock();
        if held.exclusive.get(key).is_some_and(|owner| *owner != txn) {
            return Err(Error::Conflict);
        }
        held.shared.entry(txn).or_default().keys.insert(key.to_vec());
        Ok(())
    }

    /// Locks every key of `range` against changes, those that are not there too.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`]: another transaction changed one of them; nothing is locked.
    pub(crate) fn shared_range(&self, txn: TxnId, range: KeyRange) -> Result<(), Error> {
        let mut held = self.held.lock();
        let changed = held.exclusive.iter().any(|(key, owner)| {
            // Few keys are locked at a time: all are looked at, whatever the order of the bounds.
            *owner != txn && contains(&range, key)
        });
        if changed {
            return Err(Error::Conflict);
        }
        let ranges = &mut held.shared.entry(txn).or_default().ranges;
        if !ranges.contains(&range) {
            ranges.push(range);
        }
        Ok(())
    }

    /// The keys that `txn` has changed.
    pub(crate) fn changed_by(&self, txn: TxnId) -> Vec<Vec<u8>> {
        let held = self.held.lock();
        let own = held.exclusive.iter().filter(|(_, owner)| **owner == txn);
        own.map(|(key, _)| key.clone()).collect()
    }

    /// Gives everything back that `txn` holds.
    pub(crate) fn release(&self, txn: TxnId) {
        let mut held = self.held.lock();
        held.exclusive.retain(|_, owner| *owner != txn);
        held.shared.remove(&txn);
    }
}

fn contains(range: &KeyRange, key: &[u8]) -> bool {
    let bounds = (range.0.as_ref().map(Vec::as_slice), range.1.as_ref().map(Vec::as_slice));
    <(Bound<&[u8]>, Bound<&[u8]>) as RangeBounds<[u8]>>::contains(&bounds, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: TxnId = TxnId::new(1);
    const TWO: TxnId = TxnId::new(2);

    #[test]
    fn who_changes_a_key_keeps_others_from_reading_and_changing_it() {
        let locks = Locks::default();
        locks.exclusive(ONE, b"k").unwrap();
        assert!(matches!(locks.exclusive(TWO, b"k"), Err(Error::Conflict)));
        assert!(matches!(locks.shared(TWO, b"k"), Err(Error::Conflict)));
        locks.shared(ONE, b"k").unwrap();
        locks.exclusive(ONE, b"k").unwrap();
        locks.release(ONE);
        locks.exclusive(TWO, b"k").unwrap();
    }

    #[test]
    fn readers_share_a_key_and_the_last_may_change_it() {
        let locks = Locks::default();
        locks.shared(ONE, b"k").unwrap();
        locks.shared(TWO, b"k").unwrap();
        assert!(matches!(locks.exclusive(ONE, b"k"), Err(Error::Conflict)));
        locks.release(TWO);
        locks.exclusive(ONE, b"k").unwrap();
    }

    #[test]
    fn a_range_that_was_read_takes_no_new_keys() {
        let locks = Locks::default();
        let range = (Bound::Included(b"b".to_vec()), Bound::Excluded(b"d".to_vec()));
        locks.shared_range(ONE, range.clone()).unwrap();
        assert!(matches!(locks.exclusive(TWO, b"c"), Err(Error::Conflict)));
        locks.exclusive(TWO, b"d").unwrap();
        locks.exclusive(ONE, b"c").unwrap();
        assert!(matches!(locks.shared_range(TWO, range), Err(Error::Conflict)));
    }

    #[test]
    fn a29_the_keys_that_a_transaction_changed_can_be_told() {
        let locks = Locks::default();
        for key in [b"b", b"a"] {
            locks.exclusive(ONE, key).unwrap();
        }
        locks.exclusive(TWO, b"c").unwrap();
        locks.shared(ONE, b"d").unwrap();
        assert_eq!(locks.changed_by(ONE), [b"a", b"b"]);
    }

    #[test]
    fn a_range_turned_around_holds_nothing() {
        let locks = Locks::default();
        locks.exclusive(ONE, b"c").unwrap();
        let turned = (Bound::Included(b"d".to_vec()), Bound::Excluded(b"b".to_vec()));
        locks.shared_range(TWO, turned).unwrap();
    }
}
