//! Reading a running log: forwards, backwards, and following its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wal_format::{Epoch, LogId, Lsn, RecordRef, TxnId};
use wal_io::{ChainLink, Storage};
use wal_recovery::{CommitFate, LinkSource, LogReader, OwnedRecord};

use crate::error::{Error, ErrorKind, Refusal};
use crate::log::Wal;

impl Wal {
    /// A reader over what is durable, from `lsn` forwards and backwards.
    ///
    /// # Errors
    ///
    /// [`Truncated`](crate::ErrorKind::Truncated), [`BeyondEnd`](crate::ErrorKind::BeyondEnd) or
    /// [`NotARecordStart`](crate::ErrorKind::NotARecordStart); the last two from the reader's
    /// first call.
    pub fn read_from(&self, lsn: Lsn) -> Result<Reader, Error> {
        Reader::new(self.clone(), lsn)
    }

    /// A reader which follows the durable end as it grows, from `lsn` on: the address of a record,
    /// or the reserved end.
    ///
    /// # Errors
    ///
    /// As [`read_from`](Self::read_from).
    pub fn tail(&self, lsn: Lsn) -> Result<Tail, Error> {
        Tail::new(self.clone(), lsn)
    }

    /// Whether the transaction `txn`, whose commit was to be at `lsn`, is committed.
    ///
    /// For after a reopening, about a commit whose error said `Unknown`. In the opening that made
    /// the commit the answer is `Unknown` until it is durable. Of a log of pages
    /// [`PageLog`](crate::PageLog) says more: whether the transaction is in doubt.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): the log could not be read.
    pub fn was_committed(&self, txn: TxnId, lsn: Lsn) -> Result<CommitFate, Error> {
        if lsn >= self.readable_end() {
            return Ok(CommitFate::Unknown);
        }
        Reader::at_head(self.clone()).was_committed(txn, lsn)
    }

    /// The record at `lsn`, with a body of its own.
    ///
    /// # Errors
    ///
    /// As [`read_from`](Self::read_from).
    ///
    /// # Cost
    ///
    /// Opens the segment and reads once or twice. For many records keep a [`Reader`].
    pub fn read_at(&self, lsn: Lsn) -> Result<OwnedRecord, Error> {
        Reader::at_head(self.clone()).read_at(lsn)
    }
}

/// The chain of a running log as it is now, up to what is durable.
#[derive(Debug)]
struct Live(Wal);

impl LinkSource for Live {
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
        self.0.readable_end()
    }
}

/// Reads what is durable, in either direction, in the middle of rotation and truncation.
///
/// A record is borrowed until the next call. The log's own housekeeping is passed over.
#[derive(Debug)]
pub struct Reader {
    inner: LogReader<Live>,
}

impl Reader {
    pub(crate) fn new(wal: Wal, lsn: Lsn) -> Result<Self, Error> {
        let mut reader = Self::at_head(wal);
        reader.inner.seek(lsn)?;
        Ok(reader)
    }

    pub(crate) fn at_head(wal: Wal) -> Self {
        Self { inner: LogReader::new(Live(wal)) }
    }

    /// The same reader, which does not pass over housekeeping.
    pub(crate) fn with_housekeeping(mut self) -> Self {
        self.inner.show_housekeeping(true);
        self
    }

    /// The next record, or `None` at the durable end; what becomes durable later is found by a
    /// later call.
    ///
    /// # Errors
    ///
    /// [`Truncated`](ErrorKind::Truncated): the log was truncated past the reader; take a hold to
    /// prevent that. [`Damaged`](ErrorKind::Damaged): the record cannot be read.
    ///
    /// # Cost
    ///
    /// One system call per 256 KiB, one pass of CRC-32C, no copy.
    #[allow(clippy::should_implement_trait, reason = "it lends, which an Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<RecordRef<'_>>, Error> {
        Ok(self.inner.next()?)
    }

    /// The record before; `None` at the head of the log.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn prev(&mut self) -> Result<Option<RecordRef<'_>>, Error> {
        Ok(self.inner.prev()?)
    }

    /// Moves to `lsn`, the address of a record or the durable end.
    ///
    /// # Errors
    ///
    /// [`NotARecordStart`](ErrorKind::NotARecordStart), [`BeyondEnd`](ErrorKind::BeyondEnd),
    /// [`Truncated`](ErrorKind::Truncated), [`Damaged`](ErrorKind::Damaged); the reader stays.
    pub fn seek(&mut self, lsn: Lsn) -> Result<(), Error> {
        Ok(self.inner.seek(lsn)?)
    }

    /// When the record that [`next`](Self::next) gave last was appended, in microseconds since 1970:
    /// at this time or later, by the clock of the log
    /// ([`Options::timestamps`](crate::Options::timestamps)).
    ///
    /// `None` when nothing told the time since the reader began or was last moved: times are told on
    /// the way forwards.
    #[must_use]
    pub const fn unix_us(&self) -> Option<u64> {
        self.inner.unix_us()
    }

    /// Where the reader stands: the end of the last record forwards, or its start backwards.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.inner.position()
    }

    pub(crate) fn read_at(&mut self, lsn: Lsn) -> Result<OwnedRecord, Error> {
        Ok(OwnedRecord::of(&self.inner.read_at(lsn)?))
    }

    pub(crate) fn was_committed(&mut self, txn: TxnId, lsn: Lsn) -> Result<CommitFate, Error> {
        Ok(self.inner.was_committed(txn, lsn)?)
    }

    fn wal(&self) -> &Wal {
        &self.inner.source().0
    }
}

/// A reader which waits at the durable end for more, and never passes it.
#[derive(Debug)]
pub struct Tail {
    reader: Reader,
    /// Where to start, as long as that is not durable yet.
    start: Option<Lsn>,
}

impl Tail {
    pub(crate) fn new(wal: Wal, lsn: Lsn) -> Result<Self, Error> {
        let positions = wal.positions();
        if !wal.shared().options.sync_method.can_promise() {
            return Err(Refusal::NotPromised.into());
        }
        if lsn <= wal.readable_end() || lsn > positions.reserved {
            return Ok(Self { reader: Reader::new(wal, lsn)?, start: None });
        }
        Ok(Self { reader: Reader::at_head(wal), start: Some(lsn) })
    }

    /// The next durable record; waits for one, and gives `None` once the log is closed and read
    /// to its end.
    ///
    /// # Errors
    ///
    /// As [`Reader::next`]; [`Poisoned`](ErrorKind::Poisoned) when no more can become durable.
    #[allow(clippy::should_implement_trait, reason = "it lends, which an Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<RecordRef<'_>>, Error> {
        if self.wait(None)? { self.reader.next() } else { Ok(None) }
    }

    /// As [`next`](Self::next), waiting for at most `timeout`: `None` when the time is up as well.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<RecordRef<'_>>, Error> {
        if self.wait(Some(timeout))? { self.reader.next() } else { Ok(None) }
    }

    /// As [`Reader::unix_us`], of the record that the tail gave last.
    #[must_use]
    pub const fn unix_us(&self) -> Option<u64> {
        self.reader.unix_us()
    }

    /// Where the reader stands; a hold advanced to here keeps what it still needs.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.start.unwrap_or_else(|| self.reader.position())
    }

    /// Whether there is a record to read; false when the log is closed or the time is up.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if self.has_next()? {
                return Ok(true);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.reader.wal().wait_beyond(self.position(), left) {
                Ok(_) if left.is_some_and(|left| left.is_zero()) => return self.has_next(),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(false),
                // What became durable with the close itself is still to be read.
                Err(error) if error.kind() == ErrorKind::Closed => return self.has_next(),
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn wal(&self) -> &Wal {
        self.reader.wal()
    }

    /// The record that [`has_next`](Self::has_next) found.
    pub(crate) fn read_next(&mut self) -> Result<Option<RecordRef<'_>>, Error> {
        self.reader.next()
    }

    /// Looks for a record, stepping over housekeeping for good.
    pub(crate) fn has_next(&mut self) -> Result<bool, Error> {
        if let Some(start) = self.start {
            if start > self.reader.wal().readable_end() {
                return Ok(false);
            }
            self.reader.seek(start)?;
            self.start = None;
        }
        let Some(found) = self.reader.next()?.map(|record| record.lsn()) else {
            return Ok(false);
        };
        self.reader.seek(found)?;
        Ok(true)
    }
}
