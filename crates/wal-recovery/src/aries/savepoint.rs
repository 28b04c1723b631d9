//! Parts of a transaction: savepoints, and nested top actions.
//!
//! A savepoint is a place to go back to; what is logged in a nested top action stays, whatever
//! becomes of the transaction around it. Both are void once the transaction went back behind them.
//!
//! Source: ARIES, "Total or partial rollbacks" and "Nested top actions"; statements 7, 8.

use wal_format::body::Clr;
use wal_format::{Lsn, PageId, TxnId};

use super::manager::Applied;
use super::pages::PageStore;
use super::reservation::{CLOSING_BYTES, DUMMY_CLR_BYTES};
use super::tables::Effect;
use super::transaction::Txn;
use super::undo::Undo;
use crate::error::RecoveryError;

/// A place in a transaction to roll back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savepoint {
    txn: TxnId,
    serial: u64,
    /// The last record before it.
    lsn: Lsn,
    /// What the rollback of everything before it may take.
    reserved: u64,
}

impl Savepoint {
    /// The last record of its transaction before it; [`Lsn::NONE`] if there was none. What is
    /// reserved for the rollback of later ones is given back with them.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.lsn
    }
}

/// A nested top action under way: what is logged in it stays once it is ended, whatever becomes of
/// its transaction.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "end it with `Txn::nested_end`, or it is undone with its transaction"]
pub struct Nested {
    txn: TxnId,
    serial: u64,
    /// What would be undone next if it had not begun.
    before: Lsn,
    reserved: u64,
}

impl Txn {
    /// A place to which [`rollback_to`](Self::rollback_to) goes back.
    #[must_use]
    pub fn savepoint(&mut self) -> Savepoint {
        let (lsn, reserved) = {
            let state = self.manager.state();
            let lsn = state.tables.txns.get(self.id).map_or(Lsn::NONE, |entry| entry.last_lsn);
            (lsn, state.accounts.get(&self.id).map_or(CLOSING_BYTES, |account| account.reserved))
        };
        Savepoint { txn: self.id, serial: self.marks.next(), lsn, reserved }
    }

    /// Takes back what was done since `to`; the transaction goes on (statement 8). The savepoint
    /// can be used again; those after it cannot.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::Misuse`]: a savepoint of another transaction, or one that is void.
    /// - Those of the log and of the engine: call it again, or abort.
    pub fn rollback_to<P: PageStore + ?Sized>(
        &mut self,
        pages: &mut P,
        to: Savepoint,
    ) -> Result<(), RecoveryError> {
        if to.txn != self.id || !self.marks.is_valid(to.serial) {
            return Err(self.misuse("the savepoint is void, or of another transaction"));
        }
        if !self.begun {
            return Ok(());
        }
        self.check(Effect::Compensation { page: PageId::NONE, undo_next: Lsn::NONE })?;
        self.marks.void_after(to.serial);
        Undo::new(&self.manager).back_to(self.id, to.lsn, pages)?;
        self.draw_down_to(to.reserved);
        Ok(())
    }

    /// Begins a nested top action (statement 7).
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    pub fn nested_begin(&mut self) -> Result<Nested, RecoveryError> {
        self.check_usable(PageId::NONE)?;
        self.ensure_begun()?;
        self.manager.log.admit()?;
        self.manager.log.reserve(DUMMY_CLR_BYTES)?;
        let (before, reserved) = {
            let mut state = self.manager.state();
            let before = state.tables.txns.get(self.id).map_or(Lsn::NONE, |entry| entry.undo_next);
            let account = state.account(self.id);
            account.reserved += DUMMY_CLR_BYTES;
            (before, account.reserved - DUMMY_CLR_BYTES)
        };
        Ok(Nested { txn: self.id, serial: self.marks.next(), before, reserved })
    }

    /// Ends a nested top action: what was logged in it is kept from now on. Savepoints taken in it
    /// are void.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::Misuse`]: it is of another transaction, or was rolled back.
    /// - Those of the log; there is room for this. Then it is undone with its transaction.
    pub fn nested_end(&mut self, nested: Nested) -> Result<Lsn, RecoveryError> {
        if nested.txn != self.id || !self.marks.is_valid(nested.serial) {
            return Err(self.misuse("the nested top action is void, or of another transaction"));
        }
        let dummy = Clr::end_of_nested_top_action(nested.before);
        let (placed, _) = self.manager.append_clr(self.id, &dummy, Applied::Next)?;
        self.marks.void_from(nested.serial);
        self.draw_down_to(nested.reserved);
        Ok(placed.lsn)
    }
}
