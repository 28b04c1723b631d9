//! Both tables, and what each kind of record does to them.
//!
//! One function serves normal running, rollback and analysis, so that a restart rebuilds just what
//! the crash took: what a record does to the tables does not depend on who is looking.
//!
//! Source: ARIES, "Data structures"; statements 4, 6, 13, 14, 17, 18.

use wal_format::body::{Body, TxnEntry, TxnState};
use wal_format::{Lsn, PageId, TxnId};

use super::dirty_pages::DirtyPageTable;
use super::txn_table::TxnTable;
use crate::fault::TableFault;

/// What a record does to the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// The transaction begins.
    Begin,
    /// It changed a page; undo begins here.
    Change(PageId),
    /// A change was compensated on that page, if any; undo goes on there.
    Compensation {
        /// The page touched.
        page: PageId,
        /// What to undo next.
        undo_next: Lsn,
    },
    /// It committed.
    Commit,
    /// It is being rolled back.
    Abort,
    /// It is in doubt.
    Prepare,
    /// Nothing is left to do for it.
    End,
    /// The whole page is in the log.
    Image(PageId),
    /// The page's life is over.
    Free(PageId),
    /// Nothing.
    None,
}

impl Effect {
    /// What a record with this body does.
    #[must_use]
    pub const fn of(body: &Body<'_>) -> Self {
        match body {
            Body::Begin(_) => Self::Begin,
            Body::Update(update) => Self::Change(update.page),
            Body::Logical(logical) => Self::Change(logical.page),
            Body::Clr(clr) => Self::Compensation { page: clr.page(), undo_next: clr.undo_next },
            Body::Commit(_) => Self::Commit,
            Body::Abort(_) => Self::Abort,
            Body::Prepare(_) => Self::Prepare,
            Body::End(_) => Self::End,
            Body::PageImage(image) => Self::Image(image.page),
            Body::PageFree(free) => Self::Free(free.page),
            _ => Self::None,
        }
    }
}

/// The transaction table and the dirty-page table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Transactions that have begun and have not ended.
    pub txns: TxnTable,
    /// Pages that may be newer in memory than in storage.
    pub dirty: DirtyPageTable,
}

impl Tables {
    /// Takes in the record at `lsn`.
    ///
    /// # Errors
    ///
    /// [`TableFault`]: the record cannot follow those before it; nothing changed.
    pub fn record(
        &mut self,
        lsn: Lsn,
        txn: Option<TxnId>,
        effect: Effect,
    ) -> Result<(), TableFault> {
        match txn {
            Some(txn) => self.record_txn(lsn, txn, effect)?,
            None => match effect {
                Effect::Image(_) | Effect::Free(_) | Effect::None => {}
                _ => return Err(TableFault::NoTransaction),
            },
        }
        self.record_page(lsn, effect);
        Ok(())
    }

    /// Whether a record with `effect` can follow now in the chain of `txn`.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record).
    pub fn check(&self, txn: TxnId, effect: Effect) -> Result<(), TableFault> {
        match (self.txns.get(txn), effect) {
            (None, Effect::Begin) => Ok(()),
            (Some(_), Effect::Begin) => Err(TableFault::BegunTwice),
            (None, _) => Err(TableFault::NotBegun),
            (Some(entry), effect) => next_state(entry.state, effect).map(|_| ()),
        }
    }

    /// What the record at `lsn` does to the dirty-page table alone.
    pub fn record_page(&mut self, lsn: Lsn, effect: Effect) {
        match effect {
            Effect::Change(page) | Effect::Compensation { page, .. } | Effect::Image(page)
                if !page.is_none() =>
            {
                self.dirty.changed(page, lsn);
            }
            Effect::Free(page) => self.dirty.freed(page),
            _ => {}
        }
    }

    fn record_txn(&mut self, lsn: Lsn, txn: TxnId, effect: Effect) -> Result<(), TableFault> {
        if effect == Effect::Begin {
            return self.begin(lsn, txn);
        }
        let entry = self.txns.get_mut(txn).ok_or(TableFault::NotBegun)?;
        if take_in(entry, lsn, effect)? == Fate::Ended {
            self.txns.remove(txn);
        }
        Ok(())
    }

    fn begin(&mut self, lsn: Lsn, txn: TxnId) -> Result<(), TableFault> {
        if self.txns.get(txn).is_some() {
            return Err(TableFault::BegunTwice);
        }
        self.txns.insert(TxnEntry {
            txn_id: txn,
            state: TxnState::Active,
            first_lsn: lsn,
            last_lsn: lsn,
            undo_next: Lsn::NONE,
            prepare_lsn: Lsn::NONE,
        });
        Ok(())
    }

    /// The lowest address that restart needs, at most `begin`: where redo may have to start, and
    /// the first record that undo may have to read.
    #[must_use]
    pub fn needed_from(&self, begin: Lsn) -> Lsn {
        let needed = [self.dirty.oldest(), self.txns.first_lsn()];
        needed.into_iter().flatten().fold(begin, Lsn::min)
    }
}

/// Whether a transaction is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It leaves the table.
    Ended,
    /// It stays.
    GoesOn,
}

/// What the record at `lsn` does to the transaction of `entry`; nothing changed on an error.
pub(super) fn take_in(entry: &mut TxnEntry, lsn: Lsn, effect: Effect) -> Result<Fate, TableFault> {
    let next = next_state(entry.state, effect)?;
    if effect == Effect::End {
        return Ok(Fate::Ended);
    }
    (entry.state, entry.last_lsn) = (next, lsn);
    match effect {
        Effect::Change(_) => entry.undo_next = lsn,
        Effect::Compensation { undo_next, .. } => entry.undo_next = undo_next,
        Effect::Prepare => entry.prepare_lsn = lsn,
        _ => {}
    }
    Ok(Fate::GoesOn)
}

/// The state after a record with `effect`, if it may follow in `state`.
fn next_state(state: TxnState, effect: Effect) -> Result<TxnState, TableFault> {
    use TxnState::{Active, Committed, Prepared, RollingBack};
    match (state, effect) {
        (Active | Prepared, Effect::Commit) => Ok(Committed),
        (Active | Prepared, Effect::Abort) => Ok(RollingBack),
        (Active, Effect::Prepare) => Ok(Prepared),
        (Committed | RollingBack, Effect::End) => Ok(state),
        // A rollback logs changes too: the nested top actions of a logical undo.
        (
            Active | RollingBack,
            Effect::Change(_) | Effect::Compensation { .. } | Effect::Image(_) | Effect::Free(_),
        ) => Ok(state),
        (_, Effect::None) => Ok(state),
        _ => Err(TableFault::State(state)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TXN: TxnId = TxnId::new(3);
    const PAGE: PageId = PageId::new(7);

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    fn after(effects: &[Effect]) -> Tables {
        let mut tables = Tables::default();
        for (index, effect) in effects.iter().enumerate() {
            tables.record(lsn(4096 + 64 * index as u64), Some(TXN), *effect).unwrap();
        }
        tables
    }

    #[test]
    fn a04_a_committed_transaction_stays_in_the_table_until_its_end_record() {
        let mut tables = after(&[Effect::Begin, Effect::Change(PAGE), Effect::Commit]);
        assert_eq!(tables.txns.get(TXN).unwrap().state, TxnState::Committed);
        tables.record(lsn(8192), Some(TXN), Effect::End).unwrap();
        assert!(tables.txns.is_empty());
        assert_eq!(tables.txns.last_id(), 3, "and its identity is not used again");
    }

    #[test]
    fn a17_a_compensation_moves_undo_next_and_enters_its_page() {
        let other = PageId::new(9);
        let undo_next = lsn(4160);
        let tables = after(&[
            Effect::Begin,
            Effect::Change(PAGE),
            Effect::Change(PAGE),
            Effect::Compensation { page: other, undo_next },
        ]);
        assert_eq!(tables.txns.get(TXN).unwrap().undo_next, undo_next);
        assert_eq!(tables.dirty.rec_lsn(other), Some(lsn(4096 + 3 * 64)));
    }

    #[test]
    fn a13_a_transaction_being_rolled_back_is_kept_as_such() {
        let tables = after(&[Effect::Begin, Effect::Change(PAGE), Effect::Abort]);
        let entry = tables.txns.get(TXN).unwrap();
        assert_eq!((entry.state, entry.undo_next), (TxnState::RollingBack, lsn(4160)));
    }

    #[test]
    fn a_record_without_its_begin_changes_nothing() {
        let mut tables = Tables::default();
        let refused = tables.record(lsn(4096), Some(TXN), Effect::Change(PAGE));
        assert_eq!(refused, Err(TableFault::NotBegun));
        assert_eq!(tables, Tables::default());
    }

    #[test]
    fn no_state_takes_a_record_that_cannot_follow() {
        let mut tables = after(&[Effect::Begin, Effect::Commit]);
        for effect in [Effect::Begin, Effect::Change(PAGE), Effect::Abort, Effect::Prepare] {
            assert!(tables.record(lsn(8192), Some(TXN), effect).is_err(), "{effect:?}");
        }
        let mut prepared = after(&[Effect::Begin, Effect::Prepare]);
        assert!(prepared.record(lsn(8192), Some(TXN), Effect::Change(PAGE)).is_err());
    }

    #[test]
    fn a15_restart_needs_the_oldest_change_and_the_oldest_transaction() {
        let begin = lsn(8192);
        let mut tables = after(&[Effect::Begin, Effect::Change(PAGE)]);
        assert_eq!(tables.needed_from(begin), lsn(4096));
        tables.txns.remove(TXN);
        assert_eq!(tables.needed_from(begin), lsn(4160));
        tables.dirty.freed(PAGE);
        assert_eq!(tables.needed_from(begin), begin);
    }
}
