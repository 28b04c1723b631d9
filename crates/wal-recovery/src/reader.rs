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

mod owned;
mod index;
mod links;
mod fate;
mod time;

use wal_format::layout::RECORD_ALIGN_BYTES;
use wal_format::{Lsn, RecordKind, RecordRef};
use wal_io::{ChainLink, IoError, SegmentReader};

use crate::error::RecoveryError;
use crate::fault::Nearest;
use crate::record_cache::{Heading, Located, Lookup, RecordCache, is_lost};
pub use fate::CommitFate;
use index::{SegmentIndex, SparseIndex};
pub use links::{LinkSource, LogSnapshot};
pub use owned::OwnedRecord;
use time::TimesPassed;

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
    times: TimesPassed,
}

/// The record boundaries around an address.
struct Around {
    /// The last record that starts before it, in the same segment.
    before: Option<Lsn>,
    /// The first boundary at or behind it.
    boundary: Lsn,
}

impl<S: LinkSource> LogReader<S> {
    /// When the record that [`next`](Self::next) gave last was appended, in microseconds since
    /// 1970: at this time or later, by the clock of the log.
    ///
    /// `None` when nothing told the time since the reader was last moved: it learns times from the
    /// housekeeping it passes on its way forwards.
    #[must_use]
    pub const fn unix_us(&self) -> Option<u64> {
        self.times.unix_us()
    }

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
            times: TimesPassed::default(),
        }
    }

    /// Shows the log's own housekeeping too (padding, openings, watermarks, times), or hides it again.
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
    /// An address that an opening jumped over is a place between two records too: a position
    /// kept from before that opening stays good.
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
        if lsn != self.end() && !self.is_jumped(lsn) {
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
            let Some(lsn) = self.next_start()? else {
                // The end as it was last asked for may lie at the far side of a jump.
                if self.has_grown() {
                    continue;
                }
                self.step_over_jump();
                return Ok(None);
            };
            let located = self.must_find(lsn, Heading::Forwards)?;
            if located.end() > self.end {
                return Ok(None);
            }
            let from = std::mem::replace(&mut self.position, located.end());
            self.times.pass(from, &self.records.borrow(located));
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
            let located = self.must_find(lsn, Heading::Backwards)?;
            self.position = lsn;
            if self.shows(located.header.kind) && located.end() <= self.end {
                return Ok(Some(self.records.borrow(located)));
            }
        }
    }

    fn shows(&self, kind: RecordKind) -> bool {
        self.housekeeping || !kind.is_housekeeping()
    }

    /// Whether `lsn` lies where an opening jumped, and nothing is lost.
    fn is_jumped(&mut self, lsn: Lsn) -> bool {
        let head = self.head_for(lsn);
        let view = self.records.source();
        head <= lsn && lsn < self.end && view.link_of(lsn).is_none() && !is_lost(view, lsn)
    }

    /// Where the next record starts: at the position, or behind the jumps that begin there.
    fn next_start(&mut self) -> Result<Option<Lsn>, RecoveryError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let head = self.head_for(self.position);
        if self.position < head {
            return Err(RecoveryError::Truncated { lsn: self.position, head });
        }
        Ok(self.start_behind(self.position))
    }

    /// Whether more may be read than when the end was last asked for.
    fn has_grown(&mut self) -> bool {
        let before = self.end;
        self.refresh_end();
        before < self.end
    }

    /// Stands at the far side of a jump that begins at the position, if that much may be read:
    /// nothing lies in between, and what comes next comes there.
    fn step_over_jump(&mut self) {
        let (position, links) = (self.position, self.records.source().links());
        let next = links.partition_point(|link| link.range().end <= position);
        let start = links.get(next).map(|link| link.range().start);
        if let Some(start) = start.filter(|start| position < *start && *start <= self.end) {
            self.position = start;
        }
    }

    /// Where a record starts at or behind `boundary`, which is one, or lies in a jump.
    fn start_behind(&self, boundary: Lsn) -> Option<Lsn> {
        let links = self.records.source().links();
        let next = links.partition_point(|link| link.range().end <= boundary);
        let start = links.get(next).map(|link| link.range().start.max(boundary));
        start.filter(|start| *start < self.end)
    }

    /// The head of a view of the log that is new enough to cover `lsn`, if any is.
    fn head_for(&mut self, lsn: Lsn) -> Lsn {
        if self.records.source().link_of(lsn).is_none() {
            // Rotated, reopened or truncated since the chain was read.
            self.refresh_view();
        }
        self.records.source().range().start
    }

    /// Finds the record that starts at `lsn`, or says why there is none.
    fn locate(&mut self, lsn: Lsn) -> Result<Located, RecoveryError> {
        self.refresh_end();
        if lsn >= self.end {
            return Err(RecoveryError::BeyondEnd { lsn, end: self.end });
        }
        let head = self.head_for(lsn);
        if lsn < head {
            return Err(RecoveryError::Truncated { lsn, head });
        }
        let located = self.must_find(lsn, Heading::Forwards)?;
        if located.end() > self.end {
            return Err(RecoveryError::BeyondEnd { lsn, end: self.end });
        }
        Ok(located)
    }

    /// The record that starts at `lsn`, an address of the log, or why it cannot be read.
    fn must_find(&mut self, lsn: Lsn, heading: Heading) -> Result<Located, RecoveryError> {
        match self.find(lsn, heading)? {
            Lookup::Record(located) => Ok(located),
            Lookup::Nothing => {
                let links = self.records.source().links();
                // The first record of a segment is found without looking at what is before.
                if links.iter().any(|link| link.range().start == lsn) {
                    return Err(self.judge(lsn));
                }
                let around = self.walk_to(lsn)?;
                if around.boundary == lsn {
                    // A record must start there.
                    return Err(self.judge(lsn));
                }
                let after = self.start_behind(around.boundary);
                let nearest = Nearest { before: around.before, after };
                Err(RecoveryError::NotARecordStart { lsn, nearest })
            }
            Lookup::Uncovered | Lookup::Lost => {
                // Between two segments: an opening jumped over it, or a salvage found nothing.
                let before = self.start_before(lsn)?;
                let after = self.start_behind(lsn);
                Err(RecoveryError::NotARecordStart { lsn, nearest: Nearest { before, after } })
            }
        }
    }

    /// What stands at `lsn`; looks again, at the chain as it is now, before saying no (rule 22).
    fn find(&mut self, lsn: Lsn, heading: Heading) -> Result<Lookup, RecoveryError> {
        let mut found = self.records.find(lsn, heading);
        if matches!(found, Ok(Lookup::Record(_))) {
            return found;
        }
        let gone_up_to = self.records.source().link_of(lsn).map_or(lsn, |(_, link)| link.cap);
        if self.refresh_view() {
            let head = self.records.source().range().start;
            if lsn < head {
                return Err(RecoveryError::Truncated { lsn, head });
            }
            found = self.records.find(lsn, heading);
        }
        match found {
            Err(RecoveryError::Truncated { head, .. }) => {
                Err(RecoveryError::Truncated { lsn, head: head.max(gone_up_to) })
            }
            found => found,
        }
    }

    /// What to say of `lsn`, at which a record must start and none can be read.
    ///
    /// The chain has been looked at again; now the header is (rule 22).
    fn judge(&self, lsn: Lsn) -> RecoveryError {
        let view = self.records.source();
        let Some((_, link)) = view.link_of(lsn) else {
            return RecoveryError::Truncated { lsn, head: view.range().start };
        };
        let storage = &**view.storage();
        match SegmentReader::open(storage, link).and_then(|reader| reader.verify(storage)) {
            Ok(()) | Err(IoError::Malformed { .. }) => {
                let (segment, offset) = (link.name, link.offset_of(lsn));
                RecoveryError::Corrupt { lsn, segment, offset }
            }
            Err(IoError::Gone { .. }) => RecoveryError::Truncated { lsn, head: link.cap },
            Err(error) => RecoveryError::Io(error),
        }
    }

    /// The last record that starts before `lsn`, which is a boundary or lies in a jump.
    fn start_before(&mut self, lsn: Lsn) -> Result<Option<Lsn>, RecoveryError> {
        let head = self.head_for(lsn);
        if lsn < head {
            return Err(RecoveryError::Truncated { lsn, head });
        }
        match self.link_before(lsn) {
            None => Ok(None),
            Some(link) => Ok(self.walk_to(link.range().end.min(lsn))?.before),
        }
    }

    /// The segment which holds what comes before `lsn`; an empty one holds nothing.
    fn link_before(&self, lsn: Lsn) -> Option<ChainLink> {
        let links = self.records.source().links();
        let count = links.partition_point(|link| link.range().start < lsn);
        let links = links.get(..count).unwrap_or_default();
        links.iter().rev().find(|link| !link.range().is_empty()).copied()
    }

    /// The record boundaries around `lsn`, which a segment covers or ends at.
    fn walk_to(&mut self, lsn: Lsn) -> Result<Around, RecoveryError> {
        let in_run = self.run.first().is_some_and(|first| *first < lsn) && lsn <= self.run_end;
        if !in_run {
            let Some(link) = self.link_before(lsn) else {
                return Ok(Around { before: None, boundary: lsn });
            };
            // Taken out while the records are read, since both are parts of this reader.
            let mut index = self.index.take(link.name);
            let walked = self.walk_run(&mut index, lsn);
            self.index.put(index);
            walked?;
        }
        let after = self.run.partition_point(|start| *start < lsn);
        let before = after.checked_sub(1).and_then(|last| self.run.get(last)).copied();
        Ok(Around { before, boundary: self.run.get(after).copied().unwrap_or(self.run_end) })
    }

    /// Makes the run of record starts that leads up to `lsn`, within one segment.
    fn walk_run(&mut self, index: &mut SegmentIndex, lsn: Lsn) -> Result<(), RecoveryError> {
        let last_place = Lsn::new(lsn.get().saturating_sub(RECORD_ALIGN_BYTES as u64));
        let mut at = index.floor(last_place.unwrap_or(Lsn::NONE));
        self.run.clear();
        self.run_end = at;
        while at < lsn {
            let Lookup::Record(located) = self.find(at, Heading::Forwards)? else {
                return Err(self.judge(at));
            };
            index.note(at, located.end());
            if index.floor(at) == at {
                // The index knows this place now: the run need not hold what lies before it.
                self.run.clear();
            }
            self.run.push(at);
            at = located.end();
            self.run_end = at;
        }
        Ok(())
    }

    /// Takes the chain anew; says whether it changed.
    fn refresh_view(&mut self) -> bool {
        let view = self.source.view();
        let old = self.records.source();
        if view.links() == old.links() && view.highest_epoch() == old.highest_epoch() {
            return false;
        }
        // Boundaries and the index stay true: what an address holds never changes (rule 8).
        self.records.replace(view);
        true
    }

    /// Asks how far may be read now.
    fn refresh_end(&mut self) {
        let end = self.source.readable_end();
        if end > self.end {
            self.records.forget(self.end);
            self.end = end;
            self.refresh_view();
        }
    }
}
