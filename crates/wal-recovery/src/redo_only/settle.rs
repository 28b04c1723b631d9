//! What each record means for a redo-only engine, once it counts.
//!
//! The state of a replay between records: who is active, which opening is in force, what was
//! done. Which batch is whole is decided before a record comes here, and the records of a
//! transaction are found by `chain.rs`; this file gives records to the engine, one at a time.

use wal_format::body::Commit;
use wal_format::{DecodeError, Lsn, RecordKind, RecordRef, TxnId};

use super::active::ActiveTable;
use super::batch::Cut;
use super::target::{CommitMark, RedoTarget, ReplayRecord, guarded, is_compressed};
use crate::error::RecoveryError;
use crate::report::RecoveryReport;

/// What the strategy calls itself.
pub(super) const STRATEGY: &str = "redo-only";

/// A commit record whose transaction is to be replayed now.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommitPoint {
    /// The transaction.
    pub(super) txn: TxnId,
    /// The record of it before the commit record.
    pub(super) last: Lsn,
    /// The commit.
    pub(super) mark: CommitMark,
}

/// The state of a replay between two records.
#[derive(Debug)]
pub(super) struct Settler<'e, E: ?Sized> {
    engine: &'e mut E,
    /// Records before this address are in the checkpoint (rule 3).
    begin: Lsn,
    /// The newest opening met.
    pub(super) opened: Lsn,
    /// Transactions of the present opening.
    pub(super) active: ActiveTable,
    /// What was done so far.
    pub(super) report: RecoveryReport,
}

impl<'e, E: RedoTarget + ?Sized> Settler<'e, E> {
    /// Nothing met yet; what stands before `begin` is in the checkpoint.
    pub(super) fn new(engine: &'e mut E, begin: Lsn) -> Self {
        let report = RecoveryReport { strategy: STRATEGY, ..RecoveryReport::default() };
        Self { engine, begin, opened: Lsn::NONE, active: ActiveTable::default(), report }
    }

    /// Takes a record that counts at `position`: its own address, or that of the last record of
    /// its batch. Gives the transaction that is to be replayed now, if it is a commit.
    pub(super) fn settle(
        &mut self,
        record: &RecordRef<'_>,
        position: Lsn,
    ) -> Result<Option<CommitPoint>, RecoveryError> {
        let after_begin = position >= self.begin;
        match record.kind() {
            RecordKind::OPENED => {
                // Rule 7: nothing before an opening is finished by anything after it.
                self.opened = record.lsn();
                self.report.openings += 1;
                self.active.void_all();
            }
            RecordKind::COMMIT => return self.settle_commit(record, after_begin),
            RecordKind::ABORT => {
                self.active.end(transaction_of(record)?);
                self.active.counts().aborted += u64::from(after_begin);
            }
            RecordKind::END => {
                self.active.end(transaction_of(record)?);
            }
            kind if is_data(kind) || kind == RecordKind::BEGIN => match record.txn {
                Some(link) => self.active.touch(link.txn_id),
                None if after_begin => self.redo(record, None)?,
                None => {}
            },
            kind if is_silent(kind) => {}
            kind if kind.is_skippable() => self.report.records_skipped += 1,
            kind => {
                return Err(RecoveryError::Unfit { lsn: record.lsn(), kind, strategy: STRATEGY });
            }
        }
        Ok(None)
    }

    fn settle_commit(
        &mut self,
        record: &RecordRef<'_>,
        after_begin: bool,
    ) -> Result<Option<CommitPoint>, RecoveryError> {
        let txn = transaction_of(record)?;
        let damaged = self.active.end(txn);
        if !after_begin {
            return Ok(None);
        }
        match damaged {
            None => {}
            Some(Cut::Void) => {
                self.active.counts().incomplete += 1;
                return Ok(None);
            }
            Some(Cut::Truncated) => {
                self.active.counts().truncated += 1;
                return Ok(None);
            }
        }
        let mark = CommitMark { lsn: record.lsn(), timestamp: commit_timestamp(record)? };
        let last = record.txn.map_or(Lsn::NONE, |link| link.prev_lsn);
        Ok(Some(CommitPoint { txn, last, mark }))
    }

    /// Gives a record to the engine, if it is of a kind which engines know.
    pub(super) fn redo(
        &mut self,
        record: &RecordRef<'_>,
        commit: Option<CommitMark>,
    ) -> Result<(), RecoveryError> {
        if !is_data(record.kind()) {
            return Ok(());
        }
        let replay = ReplayRecord {
            lsn: record.lsn(),
            kind: record.kind(),
            body: record.body,
            compressed: is_compressed(record.flags()),
            txn: record.txn.map(|link| link.txn_id),
            commit,
        };
        guarded(replay.lsn, || self.engine.redo(&replay))?;
        self.report.records_replayed += 1;
        self.report.bytes_replayed += record.body.len() as u64;
        Ok(())
    }

    /// The report, with the log at its end.
    pub(super) fn finish(mut self) -> RecoveryReport {
        self.active.void_all();
        self.report.transactions = *self.active.counts();
        self.report.transactions_active_max = self.active.most();
        self.report
    }
}

/// The timestamp in a commit record, if it has one.
pub(crate) fn commit_timestamp(record: &RecordRef<'_>) -> Result<Option<u64>, RecoveryError> {
    if record.body.is_empty() {
        return Ok(None);
    }
    let commit = Commit::decode(record.body).map_err(|source| bad_body(record, source))?;
    Ok((commit.timestamp != 0).then_some(commit.timestamp))
}

/// A record whose body is not one of its kind.
pub(crate) fn bad_body(record: &RecordRef<'_>, source: DecodeError) -> RecoveryError {
    RecoveryError::BadBody { lsn: record.lsn(), kind: record.kind(), source }
}

fn transaction_of(record: &RecordRef<'_>) -> Result<TxnId, RecoveryError> {
    let missing = || bad_body(record, DecodeError::BadField { field: "txn_id" });
    record.txn.map(|link| link.txn_id).ok_or_else(missing)
}

/// Kinds that an engine is given: its own, and the format's changes of data.
fn is_data(kind: RecordKind) -> bool {
    let format_data = matches!(
        kind,
        RecordKind::UPDATE | RecordKind::LOGICAL | RecordKind::PAGE_IMAGE | RecordKind::PAGE_FREE
    );
    kind.is_engine() || format_data
}

/// Kinds that mean nothing to a redo-only engine. Compensation and doubt are not among them: a
/// log which holds such records was written for another strategy.
fn is_silent(kind: RecordKind) -> bool {
    kind.is_housekeeping()
        || matches!(
            kind,
            RecordKind::RESTORE_POINT
                | RecordKind::CHECKPOINT_BEGIN
                | RecordKind::CHECKPOINT_PART
                | RecordKind::CHECKPOINT_END
        )
}
