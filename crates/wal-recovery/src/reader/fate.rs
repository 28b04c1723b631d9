//! Whether a commit whose outcome was unknown is in the log, asked after it was reopened.

use wal_format::{Lsn, RecordFlags, RecordKind, RecordRef, TxnId};

use super::{LinkSource, LogReader};
use crate::error::RecoveryError;
use crate::record_cache::is_lost;

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitFate {
    /// It is in the log, and was or will be replayed.
    Committed,
    /// It is not in the log and can never be: its address is not used again (rule 8).
    NotCommitted,
    /// The log no longer holds the place: it was truncated, or lost before a salvage.
    Unknown,
}

/// What a look at the records behind an address says.
enum Ahead {
    Decided(CommitFate),
    GoOn,
}

impl<S: LinkSource> LogReader<S> {
    /// What became of the transaction `txn` with a record at `lsn`: the address of its commit
    /// record, or of any other of its records.
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
    /// of the transaction.
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
                    return Ok(CommitFate::NotCommitted);
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
        let in_open_batch = record.flags().contains(RecordFlags::BATCH_CONTINUES);
        self.position = record.end();
        match kind {
            RecordKind::ABORT => Ok(CommitFate::NotCommitted),
            RecordKind::COMMIT if !in_open_batch => Ok(CommitFate::Committed),
            RecordKind::COMMIT => self.search_ahead(ends_batch),
            _ if txn != TxnId::NONE => self.search_ahead(|record| ends_transaction(record, txn)),
            _ if in_open_batch => self.search_ahead(ends_batch),
            _ => Ok(CommitFate::Committed),
        }
    }

    /// Reads on until a record decides; nothing that decides means that it never committed.
    fn search_ahead(
        &mut self,
        mut look: impl FnMut(&RecordRef<'_>) -> Ahead,
    ) -> Result<CommitFate, RecoveryError> {
        loop {
            let from = self.position;
            let Some(record) = self.next()? else { return Ok(CommitFate::NotCommitted) };
            let (lsn, ahead) = (record.lsn(), look(&record));
            if lsn > from && is_lost(self.records.source(), from) {
                return Ok(CommitFate::Unknown);
            }
            if let Ahead::Decided(fate) = ahead {
                return Ok(fate);
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

fn ends_transaction(record: &RecordRef<'_>, txn: TxnId) -> Ahead {
    let ours = record.txn.is_some_and(|link| link.txn_id == txn);
    match record.kind() {
        RecordKind::OPENED => Ahead::Decided(CommitFate::NotCommitted),
        RecordKind::COMMIT if ours => Ahead::Decided(CommitFate::Committed),
        RecordKind::ABORT if ours => Ahead::Decided(CommitFate::NotCommitted),
        _ => Ahead::GoOn,
    }
}
