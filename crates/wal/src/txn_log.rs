//! The log as transactions on pages see it: the commit path to append, the segments to read.
//!
//! Wiring only. What is appended, and when, is decided by `wal-recovery`; how it becomes durable
//! by `wal-commit`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wal_commit::{CommitError, Durability};
use wal_format::layout::{RECORD_HEADER_BYTES, TXN_LINK_BYTES};
use wal_format::{CheckpointPointer, Epoch, LogId, Lsn, LsnRange, RecordDraft, RecordRef};
use wal_io::{ChainLink, Storage};
use wal_recovery::aries::{Placed, TxnLog};
use wal_recovery::{AddressedReader, LinkSource, RecoveryError};

use crate::error::{Error, Refusal};
use crate::log::Wal;
use crate::reader::Reader;

/// Readers kept for the next rollback; more of them run at a time than this only in need.
const READERS_MAX: usize = 4;

/// The log of one opening, for its transactions.
pub(crate) struct RunningLog {
    wal: Wal,
    /// Addresses that openings jumped over, ascending, as far back as the log is retained. No
    /// opening comes while this one lasts, so there will be no more of them.
    jumps: Vec<LsnRange>,
    /// Taken out while in use, so that rollbacks do not wait for one another.
    readers: Mutex<Vec<AddressedReader<WrittenLog>>>,
}

impl RunningLog {
    pub(crate) fn new(wal: Wal) -> Self {
        let links = wal.shared().store.links();
        let between = |(one, next): (&ChainLink, &ChainLink)| {
            LsnRange::new(one.range().end, next.range().start)
        };
        let jumps = links.iter().zip(links.iter().skip(1)).map(between);
        let jumps = jumps.filter(|jump| !jump.is_empty()).collect();
        Self { wal, jumps, readers: Mutex::default() }
    }

    /// Sees to it that the record at `lsn` is where a reader finds it.
    fn make_readable(&self, lsn: Lsn) -> Result<(), Error> {
        let positions = self.wal.positions();
        if lsn < positions.written || lsn >= positions.reserved {
            return Ok(());
        }
        self.wal.shared().commit.flush()?;
        Ok(())
    }
}

/// Errors of the log travel whole: [`Error`] takes them out again.
fn passed_on(error: impl Into<Error>) -> RecoveryError {
    RecoveryError::Log(Box::new(error.into()))
}

impl TxnLog for RunningLog {
    fn append(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<Placed, RecoveryError> {
        let max = self.body_bytes_max();
        if draft.body_bytes() > max {
            let bytes = draft.body_bytes() as u64;
            return Err(passed_on(Refusal::BodyTooLong { bytes, max: max as u64 }));
        }
        let ticket = self.wal.shared().commit.append(draft, reserved).map_err(passed_on)?;
        Ok(Placed { lsn: ticket.lsn(), end: ticket.end() })
    }

    fn read<'b>(&self, lsn: Lsn, buf: &'b mut Vec<u8>) -> Result<RecordRef<'b>, RecoveryError> {
        self.make_readable(lsn).map_err(passed_on)?;
        let idle = self.readers.lock().pop();
        let mut reader = idle.unwrap_or_else(|| AddressedReader::new(WrittenLog(self.wal.clone())));
        let record = reader.read(lsn, buf);
        let mut readers = self.readers.lock();
        if readers.len() < READERS_MAX {
            readers.push(reader);
        }
        record
    }

    fn scan(
        &self,
        from: Lsn,
        visit: &mut dyn FnMut(&RecordRef<'_>) -> Result<(), RecoveryError>,
    ) -> Result<(), RecoveryError> {
        let from = from.max(self.wal.head());
        let reader = Reader::new(self.wal.clone(), from).map_err(passed_on)?;
        let mut reader = reader.with_housekeeping();
        while let Some(record) = reader.next().map_err(passed_on)? {
            visit(&record)?;
        }
        Ok(())
    }

    fn wait_durable(&self, end: Lsn) -> Result<(), RecoveryError> {
        self.wal.shared().commit.wait(end, Durability::Durable, None).map_err(passed_on)
    }

    fn ride(&self, lsn: Lsn, at_most: Duration) -> Result<bool, RecoveryError> {
        match self.wal.shared().commit.wait_beyond(lsn, Some(at_most)) {
            Ok(_) => Ok(true),
            Err(CommitError::TimedOut) => Ok(false),
            Err(error) => Err(passed_on(error)),
        }
    }

    fn end(&self) -> Lsn {
        self.wal.positions().reserved
    }

    fn ends_before(&self, lsn: Lsn) -> Option<Lsn> {
        let end = self.end();
        if lsn >= end {
            return Some(end);
        }
        let next = self.jumps.partition_point(|jump| jump.end <= lsn);
        self.jumps.get(next).filter(|jump| jump.start <= lsn).map(|jump| jump.start)
    }

    fn durable(&self) -> Lsn {
        self.wal.positions().durable
    }

    fn body_bytes_max(&self) -> usize {
        let record = self.wal.shared().commit.earmarked_record_bytes_max();
        let head = RECORD_HEADER_BYTES + TXN_LINK_BYTES;
        usize::try_from(record).unwrap_or(usize::MAX).saturating_sub(head)
    }

    fn admit(&self) -> Result<(), RecoveryError> {
        self.wal.admit(self.end()).map_err(passed_on)
    }

    fn reserve(&self, bytes: u64) -> Result<(), RecoveryError> {
        self.wal.shared().commit.earmark(bytes).map_err(passed_on)
    }

    fn release(&self, bytes: u64) {
        self.wal.shared().commit.unearmark(bytes);
    }

    fn record_checkpoint(&self, pointer: CheckpointPointer) -> Result<(), RecoveryError> {
        let shared = self.wal.shared();
        let _one_at_a_time = shared.completion.lock();
        shared.store.note_durable(pointer.end);
        let recorded = shared.store.record_checkpoint(pointer);
        recorded.map_err(|error| passed_on(self.wal.superseded(error)))
    }

    fn unix_us(&self) -> u64 {
        self.wal.shared().store.storage().unix_us()
    }
}

impl fmt::Debug for RunningLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningLog")
            .field("positions", &self.wal.positions())
            .finish_non_exhaustive()
    }
}

/// The chain as it is now, up to what is written: a rollback reads what it may take back, durable
/// or not.
struct WrittenLog(Wal);

impl LinkSource for WrittenLog {
    fn storage(&self) -> &Arc<dyn Storage> {
        self.0.shared().store.storage()
    }

    fn log_id(&self) -> LogId {
        self.0.log_id()
    }

    fn highest_epoch(&self) -> Epoch {
        self.0.epoch()
    }

    fn links(&self) -> Vec<ChainLink> {
        self.0.shared().store.links()
    }

    fn readable_end(&self) -> Lsn {
        self.0.positions().written
    }
}

impl fmt::Debug for WrittenLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WrittenLog").field(&self.0.positions().written).finish()
    }
}
