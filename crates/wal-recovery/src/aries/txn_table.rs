//! The transaction table: who has begun, how far each has come, and what its undo needs next.
//!
//! The same table serves normal running, checkpoints and analysis. It is plain data: no lock, no
//! log. A transaction enters with its begin record and leaves with its end record: commit is not
//! end.
//!
//! Source: ARIES, "Transaction table"; statements 4, 8, 13.

use std::collections::BTreeMap;
use std::ops::Bound;

use wal_format::body::{TxnEntry, TxnState};
use wal_format::{Lsn, TxnId};

/// Transactions that have begun and have not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnTable {
    entries: BTreeMap<TxnId, TxnEntry>,
    last_id: u64,
}

impl TxnTable {
    /// A new identity, higher than every one this table has seen.
    pub fn next_id(&mut self) -> TxnId {
        // A log that was tampered with may have used the last one.
        self.last_id = self.last_id.wrapping_add(1).max(1);
        TxnId::new(self.last_id)
    }

    /// The highest identity seen; identities are never used again, reopenings included.
    #[must_use]
    pub const fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Takes note that identities up to `id` were used.
    pub fn saw_id(&mut self, id: u64) {
        self.last_id = self.last_id.max(id);
    }

    /// The entry of a transaction.
    #[must_use]
    pub fn get(&self, txn: TxnId) -> Option<&TxnEntry> {
        self.entries.get(&txn)
    }

    /// The entry of a transaction, to be changed.
    pub fn get_mut(&mut self, txn: TxnId) -> Option<&mut TxnEntry> {
        self.entries.get_mut(&txn)
    }

    /// Puts an entry in the place of the one with its identity.
    pub fn insert(&mut self, entry: TxnEntry) {
        self.saw_id(entry.txn_id.get());
        self.entries.insert(entry.txn_id, entry);
    }

    /// Takes an entry out.
    pub fn remove(&mut self, txn: TxnId) -> Option<TxnEntry> {
        self.entries.remove(&txn)
    }

    /// All entries, in order of their identities.
    pub fn iter(&self) -> impl Iterator<Item = &TxnEntry> {
        self.entries.values()
    }

    /// Up to `count` entries with identities above `after`, for a copy in steps.
    #[must_use]
    pub fn chunk_after(&self, after: TxnId, count: usize) -> Vec<TxnEntry> {
        let above = (Bound::Excluded(after), Bound::Unbounded);
        self.entries.range(above).take(count).map(|(_, entry)| *entry).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The lowest address that an undo may need: the first record of the oldest transaction.
    #[must_use]
    pub fn first_lsn(&self) -> Option<Lsn> {
        self.entries.values().map(|entry| entry.first_lsn).min()
    }

    /// Transactions in `state`.
    #[must_use]
    pub fn count(&self, state: TxnState) -> usize {
        self.entries.values().filter(|entry| entry.state == state).count()
    }
}
