//! Transactions that nobody holds: the losers of a restart, and those whose handle was dropped.
//!
//! All of them are undone together, newest record first, so that pages are met in the order in
//! which they were changed last. Winners only lack their end record.
//!
//! Source: ARIES, "Undo pass"; statements 4, 27, 28, 30, 31, 32.

use std::collections::{BTreeSet, BinaryHeap};

use wal_format::body::{Outcome, TxnState};
use wal_format::{Lsn, LsnRange, TxnId};

use super::manager::TxnManager;
use super::pages::PageStore;
use super::undo::Undo;
use crate::error::RecoveryError;
use crate::progress::{Pace, Phase, Progress};

/// What an undo of transactions that nobody held did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UndoReport {
    /// Committed transactions that were given their end record.
    pub winners_ended: u64,
    /// Transactions rolled back to their beginning, with their end record.
    pub rolled_back: u64,
    /// Compensation records logged, without those that end nested top actions.
    pub clrs: u64,
    /// Records read by their address.
    pub records_read: u64,
    /// Transactions whose rollback waits for a page that is offline. They stay in the table, and
    /// hold the log.
    pub deferred: Vec<TxnId>,
}

/// Transactions which nobody held, and this holds until it is dropped.
struct Claimed<'m> {
    manager: &'m TxnManager,
    txns: BTreeSet<TxnId>,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let mut state = self.manager.state();
        for txn in &self.txns {
            if let Some(account) = state.accounts.get_mut(txn) {
                account.owned = false;
            }
        }
    }
}

/// What the error of one rollback means for the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnError {
    Stop,
    GoOn,
}

/// What was done so far.
struct Done {
    report: UndoReport,
    on_error: OnError,
    /// The first error that is not a page to wait for.
    failed: Option<RecoveryError>,
}

impl Done {
    /// The rollback of `txn` stopped.
    fn stopped(&mut self, txn: TxnId, error: RecoveryError) -> Result<(), RecoveryError> {
        match error {
            // Statement 32: only this one waits.
            RecoveryError::PageOffline { .. } => self.report.deferred.push(txn),
            error if self.on_error == OnError::Stop => return Err(error),
            error => drop(self.failed.get_or_insert(error)),
        }
        Ok(())
    }
}

impl TxnManager {
    /// Gives committed transactions their end record, and rolls back all others that nobody holds:
    /// at restart, the losers. Those in doubt are left alone.
    ///
    /// # Durability
    ///
    /// Nothing is waited for: whatever is lost by a crash is done again.
    ///
    /// # Errors
    ///
    /// Those of the log and of the engine; [`RecoveryError::BrokenUndo`] for a chain that cannot
    /// be followed. It ends there: a restart that fails changes no more pages, whose log may never
    /// be durable. What was compensated so far is not undone twice when this is called again, by
    /// the next restart or by the same.
    ///
    /// # Cost
    ///
    /// One addressed read a record, however long the log is; memory for one entry a transaction.
    ///
    /// Source: ARIES, "Undo pass".
    pub fn undo_losers<P: PageStore + ?Sized>(
        &self,
        pages: &mut P,
        progress: &mut dyn Progress,
    ) -> Result<UndoReport, RecoveryError> {
        self.undo_unowned(pages, progress, OnError::Stop)
    }

    /// As [`undo_losers`](Self::undo_losers), in normal running: for transactions whose
    /// [`Txn`](super::Txn) was dropped without an end.
    ///
    /// # Errors
    ///
    /// The first of those that [`undo_losers`](Self::undo_losers) has. Only the transaction concerned
    /// stops there: the others are rolled back and ended nevertheless, as far as that does not mean
    /// to take back a logical change beside half of another one's nested top action.
    pub fn rollback_abandoned<P: PageStore + ?Sized>(
        &self,
        pages: &mut P,
    ) -> Result<UndoReport, RecoveryError> {
        self.undo_unowned(pages, &mut (), OnError::GoOn)
    }

    fn undo_unowned<P: PageStore + ?Sized>(
        &self,
        pages: &mut P,
        progress: &mut dyn Progress,
        on_error: OnError,
    ) -> Result<UndoReport, RecoveryError> {
        let winners_ended = self.end_committed()?;
        let claimed = self.claim();
        let report = UndoReport { winners_ended, ..UndoReport::default() };
        let mut undo = Undo::new(self);
        let mut done = Done { report, on_error, failed: None };
        let outcome = self.undo_claimed(&claimed, &mut undo, pages, &mut done, progress);
        outcome.and(done.failed.map_or(Ok(()), Err))?;
        Ok(UndoReport { clrs: undo.clrs, records_read: undo.records_read, ..done.report })
    }

    /// Transactions that nobody holds and that are to be rolled back.
    #[must_use]
    pub fn abandoned(&self) -> Vec<TxnId> {
        let losers = self.state().unowned(&[TxnState::Active, TxnState::RollingBack]);
        losers.iter().map(|entry| entry.txn_id).collect()
    }

    /// Writes the end records that committed transactions still lack; gives how many.
    ///
    /// # Errors
    ///
    /// Those of the log.
    pub fn end_committed(&self) -> Result<u64, RecoveryError> {
        let durable = self.log.durable();
        let winners = {
            let mut state = self.state();
            let mut winners = state.unowned(&[TxnState::Committed]);
            // Statement 4: a commit that may yet be lost is not ended.
            winners.retain(|entry| entry.last_lsn < durable);
            winners.iter().for_each(|entry| state.account(entry.txn_id).owned = true);
            winners
        };
        let claimed =
            Claimed { manager: self, txns: winners.iter().map(|entry| entry.txn_id).collect() };
        for txn in &claimed.txns {
            self.append_end(*txn, Outcome::Committed)?;
        }
        Ok(winners.len() as u64)
    }

    fn claim(&self) -> Claimed<'_> {
        let mut state = self.state();
        let losers = state.unowned(&[TxnState::Active, TxnState::RollingBack]);
        losers.iter().for_each(|entry| state.account(entry.txn_id).owned = true);
        Claimed { manager: self, txns: losers.iter().map(|entry| entry.txn_id).collect() }
    }

    fn undo_claimed<P: PageStore + ?Sized>(
        &self,
        claimed: &Claimed<'_>,
        undo: &mut Undo<'_>,
        pages: &mut P,
        done: &mut Done,
        progress: &mut dyn Progress,
    ) -> Result<(), RecoveryError> {
        let range = self.undo_range(claimed);
        let mut pace = Pace::start(Phase::Undo, range, progress);
        // Statement 28: the newest record of all of them comes first.
        let mut next: BinaryHeap<(Lsn, TxnId)> = BinaryHeap::new();
        for txn in &claimed.txns {
            match undo.start(*txn, pages) {
                Ok(cursor) => next.push((cursor, *txn)),
                Err(error) => done.stopped(*txn, error)?,
            }
        }
        while let Some((cursor, txn)) = next.pop() {
            // Undo goes down; progress only goes up.
            let down = range.end.distance_from(cursor).unwrap_or(0).min(range.bytes());
            pace.reach(range.start.checked_add(down).unwrap_or(range.end), progress);
            let mut then =
                if cursor.is_none() { Ok(cursor) } else { undo.step(txn, cursor, pages) };
            if then.as_ref().is_ok_and(|then| then.is_none()) {
                // Statement 30; at once, since what others need may be the room that this gives back.
                then = self.append_end(txn, Outcome::RolledBack).map(|()| Lsn::NONE);
            }
            match then {
                Ok(Lsn::NONE) => done.report.rolled_back += 1,
                Ok(then) => next.push((then, txn)),
                Err(error) => done.stopped(txn, error)?,
            }
        }
        pace.finish(range.end, progress);
        Ok(())
    }

    /// From the first record of the oldest to the newest record to undo.
    fn undo_range(&self, claimed: &Claimed<'_>) -> LsnRange {
        let state = self.state();
        let entries = || claimed.txns.iter().filter_map(|txn| state.tables.txns.get(*txn));
        let start = entries().map(|entry| entry.first_lsn).min().unwrap_or_default();
        let end = entries().map(|entry| entry.last_lsn).max().unwrap_or_default();
        LsnRange::new(start, end)
    }
}
