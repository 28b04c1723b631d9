//! Transactions in doubt: only their coordinator may end them.
//!
//! They are not undone, hold the log from their first record on, and get their locks and the space of
//! their rollback back from their prepare record.
//!
//! Source: ARIES, "Analysis pass" and "Undo pass"; statements 13, 29.

use wal_format::body::{Body, Commit, Outcome, TxnEntry, TxnState};
use wal_format::{Lsn, RecordKind, TxnId};

use super::engine_call::call_engine;
use super::manager::TxnManager;
use super::pages::{Decision, InDoubt, PageStore};
use super::reservation::END_RECORD_BYTES;
use super::tables::Effect;
use super::undo::Undo;
use crate::error::RecoveryError;
use crate::redo_only::bad_body;

/// A transaction which only its coordinator may end, with what its prepare record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedInDoubt {
    /// The transaction.
    pub txn: TxnId,
    /// Its prepare record.
    pub prepare_lsn: Lsn,
    /// Bytes of log that were reserved for its rollback when it was prepared.
    pub rollback_bytes: u64,
    /// The coordinator's name for it.
    pub global_id: Vec<u8>,
    /// What the engine logged to re-acquire its locks.
    pub locks: Vec<u8>,
}

/// What became of the transactions in doubt at a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InDoubtCounts {
    /// Committed, as their coordinator said.
    pub committed: u64,
    /// To be rolled back, as it said.
    pub rolled_back: u64,
    /// Still in doubt: nobody could say.
    pub waiting: u64,
    /// Of those, how many have no space reserved for their rollback, because the disk is full. Each
    /// checkpoint tries again.
    pub unreserved: u64,
}

impl TxnManager {
    /// The transactions in doubt which no [`Txn`](super::Txn) holds.
    ///
    /// # Errors
    ///
    /// A prepare record cannot be read.
    ///
    /// # Cost
    ///
    /// One addressed read each.
    pub fn in_doubt(&self) -> Result<Vec<OwnedInDoubt>, RecoveryError> {
        let entries = self.state().unowned(&[TxnState::Prepared]);
        let mut buf = Vec::new();
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            let record = self.log.read(entry.prepare_lsn, &mut buf)?;
            let owner = record.txn.map_or(TxnId::NONE, |link| link.txn_id);
            let (txn, prepare_lsn) = (entry.txn_id, entry.prepare_lsn);
            let body = Body::decode(record.kind(), record.body)
                .map_err(|source| bad_body(&record, source))?;
            let Some(Body::Prepare(prepare)) = body.filter(|_| owner == txn) else {
                return Err(RecoveryError::NotOfTransaction {
                    lsn: prepare_lsn,
                    txn,
                    found: owner,
                });
            };
            found.push(OwnedInDoubt {
                txn,
                prepare_lsn,
                rollback_bytes: prepare.rollback_bytes,
                global_id: prepare.global_id.to_vec(),
                locks: prepare.locks.to_vec(),
            });
        }
        Ok(found)
    }

    /// Whether `txn` is prepared and not ended, and has logged nothing at `lsn` or behind it.
    #[must_use]
    pub fn is_prepared(&self, txn: TxnId, lsn: Lsn) -> bool {
        let state = self.state();
        let entry = state.tables.txns.get(txn);
        entry.is_some_and(|entry| entry.state == TxnState::Prepared && entry.last_lsn < lsn)
    }

    /// Tells the engine of every transaction in doubt, so that it gives them their locks back, and
    /// does as it decides: one to be rolled back becomes one of the losers, whom
    /// [`undo_losers`](Self::undo_losers) undoes together. Called at restart, before that, and
    /// before anybody else can lock anything. One that stays in doubt has the space of its rollback
    /// reserved again, as its prepare record says, if there is room.
    ///
    /// # Errors
    ///
    /// Those of the log and the engine; can be repeated.
    pub fn settle_in_doubt<P: PageStore + ?Sized>(
        &self,
        pages: &mut P,
    ) -> Result<InDoubtCounts, RecoveryError> {
        let mut counts = InDoubtCounts::default();
        for doubt in self.in_doubt()? {
            let OwnedInDoubt { txn, prepare_lsn, rollback_bytes, global_id, locks } = &doubt;
            let told = InDoubt { txn: *txn, global_id, locks };
            match call_engine(*prepare_lsn, || pages.in_doubt(&told))? {
                Decision::Commit => {
                    self.resolve(*txn, Decision::Commit, pages)?;
                    counts.committed += 1;
                }
                // A loser like the others from here on: all are undone together, newest record
                // first, so that no logical undo meets half of another one's split (statement 28).
                Decision::Abort => {
                    self.append_abort(*txn)?;
                    counts.rolled_back += 1;
                }
                Decision::Wait => {
                    let reserved = self.reserve_for(*txn, *rollback_bytes);
                    counts.waiting += 1;
                    counts.unreserved += u64::from(!reserved);
                }
            }
        }
        Ok(counts)
    }

    /// Does with a transaction in doubt what its coordinator decided. [`Decision::Wait`] does
    /// nothing: it stays in doubt.
    ///
    /// # Durability
    ///
    /// A commit is durable when this returns. A rollback need not be: a crash may put the
    /// transaction in doubt again, and the coordinator is asked again.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::Misuse`]: it is not in doubt, or somebody holds it; nothing changed.
    /// - [`RecoveryError::CommitUnknown`]: decided, yet not durable as far as is known.
    /// - Those of the log and the engine. What was decided to be rolled back, and was not yet, is
    ///   among the [`abandoned`](Self::abandoned); its rollback goes on when this is called again
    ///   with the same decision.
    pub fn resolve<P: PageStore + ?Sized>(
        &self,
        txn: TxnId,
        decision: Decision,
        pages: &mut P,
    ) -> Result<(), RecoveryError> {
        {
            let mut state = self.state();
            let unowned = state.unowned(&[TxnState::Prepared, TxnState::RollingBack]);
            let resolvable = |entry: &TxnEntry| match entry.state {
                TxnState::Prepared => true,
                // A rollback that was decided, and broke off.
                _ => decision == Decision::Abort && !entry.prepare_lsn.is_none(),
            };
            if !unowned.iter().any(|entry| entry.txn_id == txn && resolvable(entry)) {
                let what = "it is not in doubt, or somebody still holds it";
                return Err(RecoveryError::Misuse { txn, what });
            }
            if decision == Decision::Wait {
                return Ok(());
            }
            state.account(txn).owned = true;
        }
        let outcome = match decision {
            Decision::Commit => self.commit_prepared(txn),
            _ => self.roll_back(txn, pages),
        };
        self.disown(txn);
        outcome
    }

    /// Reserves for a transaction in doubt what its rollback may take, as it had before the restart.
    /// Says no when there is no room: a full disk must not keep a log from being opened, so each
    /// checkpoint tries again.
    fn reserve_for(&self, txn: TxnId, rollback_bytes: u64) -> bool {
        {
            let mut state = self.state();
            let account = state.account(txn);
            account.owed = rollback_bytes.saturating_sub(account.reserved);
        }
        let Err(error) = self.pay(txn) else { return true };
        tracing::warn!(%txn, rollback_bytes, %error, "no room for the rollback of a transaction in doubt");
        false
    }

    fn commit_prepared(&self, txn: TxnId) -> Result<(), RecoveryError> {
        let placed = self.append_commit(txn, 0)?;
        self.log.wait_durable(placed.end).map_err(|source| RecoveryError::CommitUnknown {
            txn,
            lsn: placed.lsn,
            source: Box::new(source),
        })?;
        // Durable: whether or not the end record can be written now.
        let _ = self.append_end(txn, Outcome::Committed);
        Ok(())
    }

    /// Logs the commit of `txn`, and gives back what its rollback would have taken.
    pub(super) fn append_commit(
        &self,
        txn: TxnId,
        timestamp: u64,
    ) -> Result<crate::txn_log::Placed, RecoveryError> {
        let body = Commit { timestamp }.encode();
        let placed = self.append(Some(txn), RecordKind::COMMIT, Effect::Commit, &[&body])?;
        let surplus = {
            let mut state = self.state();
            state.commits_end = state.commits_end.max(placed.end);
            state.account(txn).draw_down_to(END_RECORD_BYTES)
        };
        self.give_back(surplus);
        Ok(placed)
    }

    /// Rolls `txn` back to its beginning, and ends it.
    pub(super) fn roll_back<P: PageStore + ?Sized>(
        &self,
        txn: TxnId,
        pages: &mut P,
    ) -> Result<(), RecoveryError> {
        let mut undo = Undo::new(self);
        undo.start(txn, pages)?;
        undo.back_to(txn, Lsn::NONE, pages)?;
        self.append_end(txn, Outcome::RolledBack)
    }
}
