//! Whether a commit whose outcome was unknown is in the log, asked after it was reopened.

use wal_format::body::{End, Outcome};
use wal_format::{Lsn, RecordFlags, RecordKind, RecordRef, TxnId};

use super::{LinkSource, LogReader};
use crate::error::RecoveryError;
use crate::record_cache::is_lost;
use crate::redo_only::bad_body;

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitFate {
    /// It is in the log, and was or will be replayed.
    Committed,
    /// It is not in the log and can never be: its address is not used again (rule 8), and the
    /// transaction was not prepared, or is rolled back.
    NotCommitted,
    /// The transaction is prepared, and its coordinator has not ended it: it may commit yet. Ask
    /// again once it is resolved.
    InDoubt,
    /// The log no longer holds the place: it was truncated, or lost before a salvage.
    Unknown,
}

/// What a look at the records behind an address says.
enum Ahead {
    Decided(CommitFate),
    /// It was prepared there: only its coordinator ends it from then on.
    Prepared,
    /// The log was opened there: what was unfinished is over, unless it was prepared.
    Opened,
    GoOn,
}

impl<S: LinkSource> LogReader<S> {
    /// What became of the transaction `txn` with a record at `lsn`: the address of its commit
    /// record, or of any other of its records.
    ///
    /// A transaction on pages that was prepared outlives openings: what ends it is looked for in
    /// all of the log behind `lsn`. Where its commit record was to be and is not, the log cannot
    /// say whether it was prepared before: as long as nothing ends it, ask those who keep the
    /// table of transactions.
    ///
    /// [`TxnId::NONE`] asks for a record without a transaction, or for an atomic batch by its
    /// first record. Ask after the log was reopened: while it is open, what is not durable yet
    /// is `NotCommitted` for now only. The reader stays where it is.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::NotOfTransaction`], [`RecoveryError::NotARecordStart`]: the record at
    ///   `lsn` is not one of `txn`: the question is wrong.
    /// - [`RecoveryError::Corrupt`]: the log is damaged where the answer would be.
    /// - [`RecoveryError::Io`], [`RecoveryError::OutOfMemory`]: try again.
    ///
    /// # Cost
    ///
    /// One addressed read for a commit record; for another record, the log from there to the end
    /// of the transaction. For an address at which a log of pages lost its record, the log from
    /// there to its end.
    ///
    /// Source: rules, "what an adopter will ask for".
    pub fn was_committed(&mut self, txn: TxnId, lsn: Lsn) -> Result<CommitFate, RecoveryError> {
        let (position, shown) = (self.position, self.housekeeping);
        self.housekeeping = true;
        let fate = self.fate(txn, lsn);
        (self.position, self.housekeeping) = (position, shown);
        fate
    }

    fn fate(&mut self, txn: TxnId, lsn: Lsn) -> Result<CommitFate, RecoveryError> {
        let record = match self.read_at(lsn) {
            Ok(record) => record,
            Err(RecoveryError::Truncated { .. }) => return Ok(CommitFate::Unknown),
            Err(RecoveryError::BeyondEnd { .. }) => return Ok(CommitFate::NotCommitted),
            Err(RecoveryError::NotARecordStart { lsn, nearest }) => {
                let view = self.records.source();
                if is_lost(view, lsn) {
                    return Ok(CommitFate::Unknown);
                }
                if view.link_of(lsn).is_none() {
                    // An opening jumped over the place: what was written there did not survive.
                    self.position = lsn;
                    let look = |record: &RecordRef<'_>| ends_elsewhere(record, txn, lsn);
                    return self.search_ahead(CommitFate::NotCommitted, look);
                }
                return Err(RecoveryError::NotARecordStart { lsn, nearest });
            }
            Err(error) => return Err(error),
        };
        let found = record.txn.map_or(TxnId::NONE, |link| link.txn_id);
        if found != txn || record.kind().is_housekeeping() {
            return Err(RecoveryError::NotOfTransaction { lsn, txn, found });
        }
        let kind = record.kind();
        if kind == RecordKind::END {
            return fate_of_end(&record);
        }
        let in_open_batch = record.flags().contains(RecordFlags::BATCH_CONTINUES);
        self.position = record.end();
        match kind {
            RecordKind::ABORT => Ok(CommitFate::NotCommitted),
            RecordKind::COMMIT if !in_open_batch => Ok(CommitFate::Committed),
            RecordKind::COMMIT => self.search_ahead(CommitFate::NotCommitted, ends_batch),
            RecordKind::PREPARE => {
                self.search_ahead(CommitFate::InDoubt, |record| ends_transaction(record, txn))
            }
            _ if txn != TxnId::NONE => {
                self.search_ahead(CommitFate::NotCommitted, |record| ends_transaction(record, txn))
            }
            _ if in_open_batch => self.search_ahead(CommitFate::NotCommitted, ends_batch),
            _ => Ok(CommitFate::Committed),
        }
    }

    /// Reads on until a record decides; it is as `undecided` says if none does.
    fn search_ahead(
        &mut self,
        mut undecided: CommitFate,
        mut look: impl FnMut(&RecordRef<'_>) -> Ahead,
    ) -> Result<CommitFate, RecoveryError> {
        loop {
            let from = self.position;
            let Some(record) = self.next()? else { return Ok(undecided) };
            let (lsn, ahead) = (record.lsn(), look(&record));
            if lsn > from && is_lost(self.records.source(), from) {
                return Ok(CommitFate::Unknown);
            }
            match ahead {
                Ahead::Decided(fate) => return Ok(fate),
                Ahead::Prepared => undecided = CommitFate::InDoubt,
                Ahead::Opened if undecided != CommitFate::InDoubt => return Ok(undecided),
                Ahead::Opened | Ahead::GoOn => {}
            }
        }
    }
}

fn ends_batch(record: &RecordRef<'_>) -> Ahead {
    if record.kind().is_housekeeping() && record.kind() != RecordKind::OPENED {
        return Ahead::GoOn;
    }
    let flags = record.flags();
    match (flags.contains(RecordFlags::BATCH_FOLLOWS), flags.contains(RecordFlags::BATCH_CONTINUES))
    {
        (true, true) => Ahead::GoOn,
        (true, false) => Ahead::Decided(CommitFate::Committed),
        // Rule 7: an opening, or anything else in between, voids the batch.
        (false, _) => Ahead::Decided(CommitFate::NotCommitted),
    }
}

/// Looks for the end of `txn` behind one of its records.
fn ends_transaction(record: &RecordRef<'_>, txn: TxnId) -> Ahead {
    let ours = record.txn.is_some_and(|link| link.txn_id == txn);
    match record.kind() {
        RecordKind::OPENED => Ahead::Opened,
        RecordKind::COMMIT if ours => Ahead::Decided(CommitFate::Committed),
        RecordKind::ABORT if ours => Ahead::Decided(CommitFate::NotCommitted),
        RecordKind::PREPARE if ours => Ahead::Prepared,
        _ => Ahead::GoOn,
    }
}

/// Looks for the end of `txn` behind an address, `lost`, at which it has no record any more.
fn ends_elsewhere(record: &RecordRef<'_>, txn: TxnId, lost: Lsn) -> Ahead {
    if record.kind().is_engine() {
        // Redo-only: what was unfinished when the log was opened again never commits (rule 7).
        return Ahead::Decided(CommitFate::NotCommitted);
    }
    // Of what another transaction with that number logs, nothing lies before the place.
    let ours = record
        .txn
        .is_some_and(|link| link.txn_id == txn && !link.prev_lsn.is_none() && link.prev_lsn < lost);
    match record.kind() {
        RecordKind::COMMIT if ours => Ahead::Decided(CommitFate::Committed),
        RecordKind::ABORT if ours => Ahead::Decided(CommitFate::NotCommitted),
        _ => Ahead::GoOn,
    }
}

/// What the end record of a transaction says.
fn fate_of_end(record: &RecordRef<'_>) -> Result<CommitFate, RecoveryError> {
    let end = End::decode(record.body).map_err(|source| bad_body(record, source))?;
    Ok(match end.outcome {
        Outcome::Committed => CommitFate::Committed,
        _ => CommitFate::NotCommitted,
    })
}
