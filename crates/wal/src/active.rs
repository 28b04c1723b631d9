//! What the work under way still needs of the log: running transactions, transactions that
//! committed late, and checkpoints that have begun.
//!
//! Changed under the reservation lock of the commit path, so that a checkpoint's begin sees every
//! transaction on the right side of it (rule 3). Truncation asks here what must stay.

use std::collections::BTreeMap;

use wal_format::{Lsn, TxnId};

/// Addresses that the work under way still needs.
#[derive(Debug)]
pub(crate) struct ActiveWork {
    /// First record of every transaction that has logged something and has not ended.
    first_lsn: BTreeMap<TxnId, Lsn>,
    /// For each stretch of the log in which something committed, the lowest first record of what
    /// committed there: an entry per segment at the most, however many transactions there are.
    committed_from: BTreeMap<u64, Lsn>,
    /// Where replay would start from each checkpoint that has begun and is not complete.
    checkpoints: BTreeMap<u64, Lsn>,
    stretch_bytes: u64,
    last_id: u64,
}

impl ActiveWork {
    /// Nothing under way; `stretch_bytes` is the capacity of a segment.
    pub(crate) fn new(stretch_bytes: u64) -> Self {
        Self {
            first_lsn: BTreeMap::new(),
            committed_from: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            stretch_bytes: stretch_bytes.max(1),
            last_id: 0,
        }
    }

    pub(crate) fn next_txn(&mut self) -> TxnId {
        TxnId::new(self.next_id())
    }

    /// The transaction logged its record at `lsn`; only the first one matters.
    pub(crate) fn logged(&mut self, txn: TxnId, lsn: Lsn) {
        self.first_lsn.entry(txn).or_insert(lsn);
    }

    /// The transaction commits at `lsn`: whoever replays that needs it from its first record on.
    pub(crate) fn committed(&mut self, txn: TxnId, lsn: Lsn) {
        let first = self.first_lsn.remove(&txn).unwrap_or(lsn);
        let stretch = lsn.get() / self.stretch_bytes;
        let lowest = self.committed_from.entry(stretch).or_insert(first);
        *lowest = first.min(*lowest);
    }

    /// The transaction is given up; nothing of it is needed any more.
    pub(crate) fn given_up(&mut self, txn: TxnId) {
        self.first_lsn.remove(&txn);
    }

    /// A checkpoint begins at `begin`; returns its number, and where replay from it would start.
    pub(crate) fn checkpoint_begins(&mut self, begin: Lsn) -> (u64, Lsn) {
        let redo_from = self.first_lsn.values().copied().min().map_or(begin, |lsn| lsn.min(begin));
        let number = self.next_id();
        self.checkpoints.insert(number, redo_from);
        (number, redo_from)
    }

    /// The checkpoint is complete or given up.
    pub(crate) fn checkpoint_ends(&mut self, number: u64) {
        self.checkpoints.remove(&number);
    }

    /// The lowest address that a checkpoint which is not complete needs.
    pub(crate) fn checkpoint_needs(&self) -> Option<Lsn> {
        self.checkpoints.values().copied().min()
    }

    /// The lowest address that running transactions need, and those which commit at `limit` or
    /// later; somewhat lower, perhaps, but never higher.
    pub(crate) fn transactions_need(&self, limit: Lsn) -> Option<Lsn> {
        let late = self.committed_from.range(limit.get() / self.stretch_bytes..);
        self.first_lsn.values().chain(late.map(|(_, first)| first)).copied().min()
    }

    /// Forgets what committed below `head`, where nothing is left.
    pub(crate) fn truncated(&mut self, head: Lsn) {
        self.committed_from = self.committed_from.split_off(&(head.get() / self.stretch_bytes));
    }

    /// Transactions which have logged something and have not ended.
    pub(crate) fn transactions(&self) -> usize {
        self.first_lsn.len()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    #[test]
    fn a_running_transaction_needs_its_first_record_until_it_is_given_up() {
        let mut active = ActiveWork::new(1000);
        let (one, two) = (active.next_txn(), active.next_txn());
        assert_ne!(one, two);
        assert_eq!(active.transactions_need(lsn(0)), None);
        active.logged(two, lsn(16));
        active.logged(one, lsn(8));
        active.logged(one, lsn(24));
        assert_eq!((active.transactions_need(lsn(8000)), active.transactions()), (Some(lsn(8)), 2));
        active.given_up(one);
        assert_eq!(active.transactions_need(lsn(8000)), Some(lsn(16)));
    }

    #[test]
    fn a_committed_transaction_is_needed_whole_by_whoever_replays_its_commit() {
        let mut active = ActiveWork::new(1000);
        let txn = active.next_txn();
        active.logged(txn, lsn(800));
        active.committed(txn, lsn(2400));
        assert_eq!(active.transactions_need(lsn(1600)), Some(lsn(800)));
        assert_eq!(active.transactions_need(lsn(3000)), None);
        active.truncated(lsn(2000));
        assert_eq!(active.transactions_need(lsn(1600)), Some(lsn(800)), "not below the head yet");
        active.truncated(lsn(3000));
        assert_eq!(active.transactions_need(lsn(0)), None);
    }

    #[test]
    fn a_checkpoint_that_has_begun_needs_its_replay_until_it_ends() {
        let mut active = ActiveWork::new(1000);
        let txn = active.next_txn();
        active.logged(txn, lsn(80));
        let (number, redo_from) = active.checkpoint_begins(lsn(160));
        assert_eq!(redo_from, lsn(80));
        active.given_up(txn);
        assert_eq!(active.checkpoint_needs(), Some(lsn(80)));
        active.checkpoint_ends(number);
        assert_eq!(active.checkpoint_needs(), None);
    }
}
