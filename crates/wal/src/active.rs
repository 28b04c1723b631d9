//! Which transactions are running, and from where on the log must stay for them.

use std::collections::BTreeMap;

use wal_format::{Lsn, TxnId};

/// First record of every transaction that has logged something and has not ended.
///
/// Changed under the reservation lock of the commit path, so that a checkpoint's begin sees every
/// transaction on the right side of it (rule 3).
#[derive(Debug, Default)]
pub(crate) struct ActiveTransactions {
    first_lsn: BTreeMap<TxnId, Lsn>,
    last_id: u64,
}

impl ActiveTransactions {
    pub(crate) fn next_id(&mut self) -> TxnId {
        self.last_id += 1;
        TxnId::new(self.last_id)
    }

    /// The transaction logged its record at `lsn`; only the first one matters.
    pub(crate) fn logged(&mut self, txn: TxnId, lsn: Lsn) {
        self.first_lsn.entry(txn).or_insert(lsn);
    }

    /// The transaction has ended; nothing of it holds truncation any more.
    pub(crate) fn ended(&mut self, txn: TxnId) {
        self.first_lsn.remove(&txn);
    }

    /// The oldest first record; nothing before it may be truncated.
    pub(crate) fn oldest(&self) -> Option<Lsn> {
        self.first_lsn.values().copied().min()
    }

    pub(crate) fn count(&self) -> usize {
        self.first_lsn.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_first_record_counts_until_its_transaction_ends() {
        let lsn = |raw| Lsn::new(raw).unwrap();
        let mut active = ActiveTransactions::default();
        let (one, two) = (active.next_id(), active.next_id());
        assert_ne!(one, two);
        assert_eq!(active.oldest(), None);
        active.logged(two, lsn(16));
        active.logged(one, lsn(8));
        active.logged(one, lsn(24));
        assert_eq!((active.oldest(), active.count()), (Some(lsn(8)), 2));
        active.ended(one);
        assert_eq!((active.oldest(), active.count()), (Some(lsn(16)), 1));
    }
}
