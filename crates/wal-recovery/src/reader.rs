//! Reading the records of a log from anywhere, forwards and backwards.
//!
//! A [`LogReader`] stands between two records. It follows a log that grows, rotates and is
//! truncated while it is read, through a [`LinkSource`], and never passes the readable end: for
//! a log in use that is the durable end, so no reader sees what a crash could still take away.
//!
//! Backwards, and at addresses where no record starts, it uses a sparse index of record starts,
//! built by reading each segment forwards once (rule 19). Before anything is called damage, the
//! chain and the segment's header are looked at again (rule 22).
//!
//! Left to others: what the records mean, waiting for more of them, and repairing anything.

mod index;
mod links;
mod fate;

use wal_format::layout::RECORD_ALIGN_BYTES;
use wal_format::{Lsn, RecordHeader, RecordKind, RecordRef, TxnId};
use wal_io::{ChainLink, IoError, SegmentName, SegmentReader};

use crate::error::RecoveryError;
use crate::fault::Nearest;
use crate::record_cache::{Heading, Located, Lookup, RecordCache};
use index::SparseIndex;
pub use fate::CommitFate;
pub use links::{LinkSource, LogSnapshot};

/// A record with a body of its own, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The fields of the header.
    pub header: RecordHeader,
    /// The transaction, for a record in one.
    pub txn: Option<TxnId>,
    /// The body as stored.
    pub body: Vec<u8>,
}

impl OwnedRecord {
    /// A copy of `record`.
    #[must_use]
    pub fn of(record: &RecordRef<'_>) -> Self {
        Self {
            header: record.header,
            txn: record.txn.map(|link| link.txn_id),
            body: record.body.to_vec(),
        }
    }

    /// Address of the record.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.header.lsn
    }
}

/// Reads a log from anywhere, in either direction.
///
/// Bodies are borrowed from the reader until its next call. Memory is about 1 MiB, the index of
/// a few segments, and the largest record read lately.
#[derive(Debug)]
pub struct LogReader<S: LinkSource> {
    source: S,
    records: RecordCache,
    index: SparseIndex,
    /// A record boundary: the next record starts here, or behind a jump from here.
    position: Lsn,
    /// What may be read, as it was when last asked; only grows.
    end: Lsn,
    /// Record starts of one run, ascending, and the boundary behind the last of them.
    run: Vec<Lsn>,
    run_end: Lsn,
    housekeeping: bool,
}

/// What a walk along record boundaries found at or behind an address.
struct Around {
    /// The last record that starts before it.
    before: Option<Lsn>,
    /// The first boundary at or behind it.
    boundary: Lsn,
}

impl<S: LinkSource> LogReader<S> {
    /// A reader of `source` that stands at its head.
    ///
    /// # Cost
    ///
    /// Nothing is read yet.
    #[must_use]
    pub fn new(source: S) -> Self {
        let view = source.view();
        let end = source.readable_end();
        let position = view.range().start;
        Self {
            source,
            records: RecordCache::new(view),
            index: SparseIndex::default(),
            position,
            end,
            run: Vec::new(),
            run_end: Lsn::NONE,
            housekeeping: false,
        }
    }

    /// Shows the log's own housekeeping too (padding, openings, watermarks), or hides it again.
    pub const fn show_housekeeping(&mut self, show: bool) {
        self.housekeeping = show;
    }

    /// The boundary at which the reader stands.
    #[must_use]
    pub const fn position(&self) -> Lsn {
        self.position
    }

    /// What the log is read through.
    #[must_use]
    pub const fn source(&self) -> &S {
        &self.source
    }

    /// Lowest address of the log, as of now.
    #[must_use]
    pub fn head(&mut self) -> Lsn {
        self.refresh_view();
        self.records.source().range().start
    }

    /// First address that may not be read, as of now.
    #[must_use]
    pub fn end(&mut self) -> Lsn {
        self.refresh_end();
        self.end
    }

    /// Stands before the first record.
    pub fn seek_to_head(&mut self) {
        self.position = self.head();
    }

    /// Stands behind the last record that may be read now.
    pub fn seek_to_end(&mut self) {
        self.refresh_view();
        self.position = self.end();
    }

    /// Stands before the record at `lsn`, or at the end of what may be read.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::Truncated`]: `lsn` is no longer in the log; go on at its head.
    /// - [`RecoveryError::BeyondEnd`]: `lsn` may not be read yet.
    /// - [`RecoveryError::NotARecordStart`]: names the nearest places where records start.
    /// - [`RecoveryError::Corrupt`]: the log is damaged at or before `lsn`.
    /// - [`RecoveryError::Io`], [`RecoveryError::OutOfMemory`]: try again.
    ///
    /// The reader stays where it was.
    pub fn seek(&mut self, lsn: Lsn) -> Result<(), RecoveryError> {
        if lsn != self.end() {
            self.locate(lsn)?;
        }
        self.position = lsn;
        Ok(())
    }

    /// The record at `lsn`, of whatever kind. The reader stays where it is.
    ///
    /// # Errors
    ///
    /// As [`seek`](Self::seek); the end is beyond the end here.
    ///
    /// # Cost
    ///
    /// One positional read, or none when the place was read lately. Only an address at which no
    /// record starts costs more: the segment is read up to there, once.
    pub fn read_at(&mut self, lsn: Lsn) -> Result<RecordRef<'_>, RecoveryError> {
        let located = self.locate(lsn)?;
        Ok(self.records.borrow(located))
    }

    /// Up to `limit` records from `lsn` on, and stands behind the last of them.
    ///
    /// Any limit is harmless: memory is taken for records that are there.
    ///
    /// # Errors
    ///
    /// As [`seek`](Self::seek) and [`next`](Self::next).
    pub fn read_from(&mut self, lsn: Lsn, limit: usize) -> Result<Vec<OwnedRecord>, RecoveryError> {
        self.seek(lsn)?;
        let mut records = Vec::new();
        while records.len() < limit
            && let Some(record) = self.next()?
        {
            records.push(OwnedRecord::of(&record));
        }
        Ok(records)
    }

    /// The record behind the reader's position, which then lies behind that record.
    ///
    /// `None` at the end of what may be read; a later call finds what was added since.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::Truncated`]: the log was truncated past the position.
    /// - [`RecoveryError::Corrupt`]: the log is damaged at the position, which stays.
    /// - [`RecoveryError::Io`], [`RecoveryError::OutOfMemory`]: try again.
    ///
    /// # Cost
    ///
    /// A system call per 256 KiB, one pass of CRC-32C, no copy.
    #[allow(clippy::should_implement_trait, reason = "it lends from its cache, Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<RecordRef<'_>>, RecoveryError> {
        loop {
            if self.position >= self.end {
                self.refresh_end();
            }
            let Some(lsn) = self.next_start()? else { return Ok(None) };
            let Some(located) = self.read_readable(lsn, Heading::Forwards)? else {
                return Ok(None);
            };
            self.position = located.end();
            if self.shows(located.header.kind) {
                return Ok(Some(self.records.borrow(located)));
            }
        }
    }

    /// The record before the reader's position, which then lies before that record.
    ///
    /// `None` at the head of the log.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    ///
    /// # Cost
    ///
    /// The first record of a run of 64 KiB reads that run; the first of a segment reads the
    /// segment up to the position. Else as [`next`](Self::next).
    pub fn prev(&mut self) -> Result<Option<RecordRef<'_>>, RecoveryError> {
        loop {
            let Some(lsn) = self.start_before(self.position)? else { return Ok(None) };
            let located = match self.records.find(lsn, Heading::Backwards) {
                Ok(Lookup::Record(located)) => located,
                Ok(_) => return Err(self.judge(lsn)),
                Err(error) => return Err(self.explain(lsn, error)),
            };
            self.position = lsn;
            if self.shows(located.header.kind) {
                return Ok(Some(self.records.borrow(located)));
            }
        }
    }

    fn shows(&self, kind: RecordKind) -> bool {
        self.housekeeping || !kind.is_housekeeping()
    }

    /// Where the next record starts: at the position, or behind the jumps that begin there.
    fn next_start(&mut self) -> Result<Option<Lsn>, RecoveryError> {
        if self.position >= self.end {
            return Ok(None);
        }
        if self.records.source().link_of(self.position).is_none() {
            // Rotated, reopened or truncated since the chain was read.
            self.refresh_view();
        }
        let view = self.records.source();
        let head = view.range().start;
        if self.position < head {
            return Err(RecoveryError::Truncated { lsn: self.position, head });
        }
        let next = view.links().partition_point(|link| link.range().end <= self.position);
        let start = view.links().get(next).map(|link| link.range().start.max(self.position));
        Ok(start.filter(|start| *start < self.end))
    }

    /// The record at `lsn`; `None` when it reaches beyond what may be read.
    fn read_readable(
        &mut self,
        lsn: Lsn,
        heading: Heading,
    ) -> Result<Option<Located>, RecoveryError> {
        match self.records.find(lsn, heading) {
            Ok(Lookup::Record(located)) if located.end() > self.end => Ok(None),
            Ok(Lookup::Record(located)) => Ok(Some(located)),
            Ok(_) => Err(self.judge(lsn)),
            Err(error) => Err(self.explain(lsn, error)),
        }
    }

    /// Finds the record that starts at `lsn`, or says why there is none.
    fn locate(&mut self, lsn: Lsn) -> Result<Located, RecoveryError> {
        self.refresh_end();
        if lsn >= self.end {
            return Err(RecoveryError::BeyondEnd { lsn, end: self.end });
        }
        if self.records.source().link_of(lsn).is_none() {
            self.refresh_view();
        }
        let head = self.records.source().range().start;
        if lsn < head {
            return Err(RecoveryError::Truncated { lsn, head });
        }
        match self.records.find(lsn, Heading::Forwards) {
            Ok(Lookup::Record(located)) if located.end() > self.end => {
                Err(RecoveryError::BeyondEnd { lsn, end: self.end })
            }
            Ok(Lookup::Record(located)) => Ok(located),
            Ok(Lookup::Undecodable { .. }) => Err(self.misplaced_or_damaged(lsn)?),
            Ok(Lookup::Uncovered | Lookup::Lost) => {
                // Between two segments: an opening jumped over it, or a salvage found nothing.
                let before = self.start_before(lsn)?;
                let links = self.records.source().links();
                let after = links.iter().map(|link| link.range().start).find(|start| *start > lsn);
                let after = after.filter(|after| *after < self.end);
                Err(RecoveryError::NotARecordStart { lsn, nearest: Nearest { before, after } })
            }
            Err(error) => Err(self.explain(lsn, error)),
        }
    }

    /// What to say of an address of the log at which no record can be read (rule 19).
    fn misplaced_or_damaged(&mut self, lsn: Lsn) -> Result<RecoveryError, RecoveryError> {
        let around = self.walk_to(lsn)?;
        if around.boundary == lsn {
            // A record ought to start there.
            return Ok(self.judge(lsn));
        }
        let after = (around.boundary < self.end).then_some(around.boundary);
        let nearest = Nearest { before: around.before, after };
        Ok(RecoveryError::NotARecordStart { lsn, nearest })
    }

    /// The last record that starts before `lsn`, which is a boundary or lies in a jump.
    fn start_before(&mut self, lsn: Lsn) -> Result<Option<Lsn>, RecoveryError> {
        if self.records.source().range().end < lsn {
            self.refresh_view();
        }
        let view = self.records.source();
        let head = view.range().start;
        if lsn < head {
            return Err(RecoveryError::Truncated { lsn, head });
        }
        // The segment that holds what comes before `lsn`; an empty one holds nothing.
        let count = view.links().partition_point(|link| link.range().start < lsn);
        let links = view.links().get(..count).unwrap_or_default();
        let Some(link) = links.iter().rev().find(|link| !link.range().is_empty()) else {
            return Ok(None);
        };
        let until = link.range().end.min(lsn).min(self.end);
        Ok(self.walk_to(until)?.before)
    }

    /// Walks record boundaries up to the first one at or behind `lsn`, which a segment covers or
    /// ends at, from the last known one before it.
    fn walk_to(&mut self, lsn: Lsn) -> Result<Around, RecoveryError> {
        if self.run.first().is_some_and(|first| *first < lsn) && lsn <= self.run_end {
            let count = self.run.partition_point(|start| *start < lsn);
            self.run.truncate(count.max(1));
            let boundary = if lsn == self.run_end || count == 0 { self.run_end } else { lsn };
            return self.finish_run(lsn, boundary);
        }
        self.fill_run(lsn)
    }

    fn finish_run(&mut self, lsn: Lsn, boundary: Lsn) -> Result<Around, RecoveryError> {
        let _ = lsn;
        Ok(Around { before: self.run.last().copied(), boundary })
    }
}
