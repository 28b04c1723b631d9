//! Where transactions and undo append and read: the log as it runs.
//!
//! This crate does not know the commit path. The facade implements this for its log; a test, for
//! records in memory.

use std::fmt;
use std::time::Duration;

use wal_format::{CheckpointPointer, Lsn, RecordDraft, RecordRef};

use crate::error::RecoveryError;

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its address.
    pub lsn: Lsn,
    /// The address behind it.
    pub end: Lsn,
}

/// A log that takes records.
///
/// Errors of the log itself travel as [`RecoveryError::Log`].
pub trait TxnLog: Send + Sync + fmt::Debug {
    /// Appends one record. `reserved` is called with its address under the lock under which
    /// addresses are given: tables changed in it change in the order of the log.
    ///
    /// # Errors
    ///
    /// No room, or poisoned; nothing changed.
    fn append(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<Placed, RecoveryError>;

    /// Reads the record at `lsn`, durable or not, into `buf`.
    ///
    /// # Errors
    ///
    /// As [`LogSource::read_record`](crate::LogSource::read_record).
    fn read<'b>(&self, lsn: Lsn, buf: &'b mut Vec<u8>) -> Result<RecordRef<'b>, RecoveryError>;

    /// Hands every durable record from `from` on to `visit`, in order; from the first retained one
    /// if that is later. For the recovery of a single page while the log runs.
    ///
    /// # Errors
    ///
    /// That of `visit`, or of reading. The default is for logs which cannot be scanned.
    fn scan(
        &self,
        from: Lsn,
        visit: &mut dyn FnMut(&RecordRef<'_>) -> Result<(), RecoveryError>,
    ) -> Result<(), RecoveryError> {
        let (_, _) = (from, visit);
        Err(RecoveryError::Log("this log cannot be scanned while it runs".into()))
    }

    /// Waits until everything before `end` is durable.
    ///
    /// # Errors
    ///
    /// The log is poisoned, or never syncs.
    fn wait_durable(&self, end: Lsn) -> Result<(), RecoveryError>;

    /// Waits for the record at `lsn` to become durable by what others do, and asks for no sync
    /// itself; whether it did within `at_most`. So work that is in no hurry costs others nothing.
    ///
    /// The default says at once that nobody did.
    ///
    /// # Errors
    ///
    /// As [`wait_durable`](Self::wait_durable).
    fn ride(&self, lsn: Lsn, at_most: Duration) -> Result<bool, RecoveryError> {
        let (_, _) = (lsn, at_most);
        Ok(false)
    }

    /// The end of the log: everything before it has an address.
    fn end(&self) -> Lsn;

    /// If no record can ever have stood at `lsn`, where the log ends before it: the end of the log,
    /// or the place from which an opening jumped over `lsn`. What was truncated had its record.
    ///
    /// The default is for logs without jumps.
    fn ends_before(&self, lsn: Lsn) -> Option<Lsn> {
        let end = self.end();
        (lsn >= end).then_some(end)
    }

    /// The end of what is durable.
    fn durable(&self) -> Lsn;

    /// The most bytes that a body may have whose rollback can be promised.
    fn body_bytes_max(&self) -> usize;

    /// Whether new work may be logged. Checkpoints, rollbacks and the ends of transactions do not
    /// ask. The default lets everything in.
    ///
    /// # Errors
    ///
    /// Not now: somebody who reads the log lags too far behind.
    fn admit(&self) -> Result<(), RecoveryError> {
        Ok(())
    }

    /// Promises that records of `bytes` in all, headers included, can be appended later, whatever
    /// becomes of the disk.
    ///
    /// # Errors
    ///
    /// There is no room for that; nothing changed.
    fn reserve(&self, bytes: u64) -> Result<(), RecoveryError>;

    /// Gives back what was reserved and was used, or is not needed any more.
    fn release(&self, bytes: u64);

    /// Makes `pointer` the checkpoint that the next restart begins with. Its end record is
    /// durable already.
    ///
    /// # Errors
    ///
    /// The control file cannot be written; the previous checkpoint stays in force.
    fn record_checkpoint(&self, pointer: CheckpointPointer) -> Result<(), RecoveryError>;

    /// Time of day, in microseconds; 0 where there is none.
    fn unix_us(&self) -> u64;
}
