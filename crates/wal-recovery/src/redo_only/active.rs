//! The transactions which are active at a position of the scan.
//!
//! What replay keeps in memory grows with these, never with the log (rule 21).

use std::collections::{BTreeMap, BTreeSet};

use wal_format::TxnId;

use super::batch::Cut;
use crate::report::TransactionCounts;

/// Transactions of the present opening which have records and are neither committed nor aborted.
#[derive(Debug, Default)]
pub(super) struct ActiveTable {
    active: BTreeSet<TxnId>,
    /// Of these, the ones with records in an atomic batch which the log does not hold whole.
    damaged: BTreeMap<TxnId, Cut>,
    counts: TransactionCounts,
    most: usize,
}

impl ActiveTable {
    /// A record of `txn` went by which is not its end.
    pub(super) fn touch(&mut self, txn: TxnId) {
        self.active.insert(txn);
        self.most = self.most.max(self.active.len());
    }

    /// A record of `txn` is part of an atomic batch which is not whole.
    pub(super) fn damage(&mut self, txn: TxnId, cut: Cut) {
        self.touch(txn);
        self.damaged.insert(txn, cut);
    }

    /// `txn` ended; gives why it had records in a batch that is not whole, if it had.
    pub(super) fn end(&mut self, txn: TxnId) -> Option<Cut> {
        self.active.remove(&txn);
        self.damaged.remove(&txn)
    }

    /// A new opening of the log: what is active now can never finish (rule 7).
    pub(super) fn void_all(&mut self) {
        self.counts.unfinished += self.active.len() as u64;
        self.active.clear();
        self.damaged.clear();
    }

    /// The counts, to be added to.
    pub(super) fn counts(&mut self) -> &mut TransactionCounts {
        &mut self.counts
    }

    /// The most transactions that were active at once.
    pub(super) const fn most(&self) -> usize {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_voids_what_is_active_and_frees_its_identifiers() {
        let mut table = ActiveTable::default();
        let txn = TxnId::new(1);
        table.touch(txn);
        table.touch(txn);
        table.damage(TxnId::new(2), Cut::Void);
        table.void_all();
        assert_eq!(table.counts().unfinished, 2);
        table.touch(txn);
        assert_eq!(table.end(TxnId::new(2)), None, "the damage belonged to the earlier opening");
        table.end(txn);
        table.void_all();
        assert_eq!((table.counts().unfinished, table.most()), (2, 2));
    }
}
