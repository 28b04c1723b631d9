//! Scrubbing: sealed segments read again, to find decay while there is still a copy elsewhere.
//!
//! Reads, never writes, and takes no lock, so it works beside a running writer. How fast it reads,
//! and past which cache, is the storage's part: whoever wants a limit gives one that has it.

use std::sync::Arc;

use wal_format::{LogId, Lsn, LsnRange};
use wal_io::{ChainLink, ChainProblem, IoError, SegmentName, SegmentReader, Storage, Survey};
use wal_recovery::{LogSource, RecoveryError, Step, Stop, StopReason, find_next_record};

use crate::error::{Error, Refusal};

/// So many damaged places of a segment are listed; the others are counted.
const PLACES_MAX: usize = 64;

/// The sealed segments of a log, to be read again one by one: [`next`](Self::next).
///
/// A segment is sealed when a later one holds a record: nothing is written to it any more, and
/// every place before its end must hold a record that verifies.
#[derive(Debug)]
pub struct Scrub {
    storage: Arc<dyn Storage>,
    log_id: LogId,
    sealed: Vec<ChainLink>,
    problems: Vec<ChainProblem>,
    done: usize,
}

/// What became of one segment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scrubbed {
    /// The segment.
    pub segment: SegmentName,
    /// The addresses that it must hold.
    pub range: LsnRange,
    /// Records that verify, those behind damage included.
    pub records: u64,
    /// What was found first.
    pub finding: Finding,
    /// The damaged places in order, the first 64 of them; what lies between two of them verifies.
    pub places: Vec<DamagedPlace>,
    /// How many damaged places there are in all.
    pub damaged_places: u64,
    /// Bytes from each damaged place to the next record that verifies, or to the end.
    pub damaged_bytes: u64,
}

/// A range of a sealed segment in which no record verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedPlace {
    /// The addresses: up to the next record that verifies, or the end of the segment.
    pub range: LsnRange,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub why: String,
}

/// What a scrub found in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// Every record verifies.
    Whole,
    /// The log was truncated past it meanwhile.
    Gone,
    /// At `at` no record verifies, or nothing can be read; `offset` is the place in the file.
    Damaged {
        /// Address of the first place.
        at: Lsn,
        /// Its offset in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
}

impl Scrub {
    /// Looks which segments of the log in `storage` are sealed, and what is wrong with the files
    /// themselves: [`problems`](Self::problems).
    ///
    /// # Errors
    ///
    /// [`NotALog`](crate::ErrorKind::NotALog), [`Io`](crate::ErrorKind::Io). Damage is no error.
    ///
    /// # Cost
    ///
    /// Reads the header of every segment, and the first record of the last ones.
    pub fn open_in(storage: Arc<dyn Storage>) -> Result<Self, Error> {
        // What a truncation beside it makes of the files passes: it is read until it stands still.
        let survey = Survey::read(storage.as_ref())?;
        let no_log = || Refusal::NoLogThere { place: storage.place() };
        let log_id = survey.log_id.filter(|_| !survey.is_empty()).ok_or_else(no_log)?;
        let Survey { links: sealed, problems, .. } = survey;
        let mut scrub = Self { storage, log_id, sealed, problems, done: 0 };
        let last = (0..scrub.sealed.len()).rev().find(|index| scrub.holds_a_record(*index));
        scrub.sealed.truncate(last.unwrap_or(0));
        Ok(scrub)
    }

    /// What is wrong with the files themselves: segments that are missing, renamed, or of another
    /// log, and headers that are damaged. None of them is read for it, and what is missing is in no
    /// segment's findings.
    #[must_use]
    pub fn problems(&self) -> &[ChainProblem] {
        &self.problems
    }

    /// The sealed segments that are still to be read, oldest first.
    #[must_use]
    pub fn left(&self) -> &[ChainLink] {
        self.sealed.get(self.done..).unwrap_or_default()
    }

    /// Reads the next sealed segment from its first record to its end, and behind each damaged
    /// place from the next record on that verifies.
    ///
    /// What the device cannot read counts as damage of the segment; behind that nothing of it is
    /// looked at.
    ///
    /// # Cost
    ///
    /// Reads the segment once, and from each damaged place to the next record once more; CRC-32C
    /// over every byte.
    #[allow(clippy::should_implement_trait, reason = "it works, which an Iterator hides")]
    pub fn next(&mut self) -> Option<Scrubbed> {
        let link = *self.sealed.get(self.done)?;
        self.done += 1;
        let mut scrubbed = Scrubbed {
            segment: link.name,
            range: link.range(),
            records: 0,
            finding: Finding::Whole,
            places: Vec::new(),
            damaged_places: 0,
            damaged_bytes: 0,
        };
        if self.read(&link, &mut scrubbed).is_none() {
            scrubbed.finding = Finding::Gone;
        }
        Some(scrubbed)
    }

    /// Reads a segment to its end; `None` where it was truncated away meanwhile.
    fn read(&self, link: &ChainLink, scrubbed: &mut Scrubbed) -> Option<()> {
        let source = LogSource::new(Arc::clone(&self.storage), vec![*link], self.log_id);
        let end = link.range().end;
        let mut from = link.range().start;
        while from < end {
            let (at, why) = match Self::scan(&source, from, end, &mut scrubbed.records) {
                Ok(None) => return Some(()),
                Ok(Some(stop)) => (stop.at, self.explain(link, &stop)?),
                Err((at, error)) => {
                    scrubbed.add(link, LsnRange::new(at, end), unreadable(&error)?);
                    return Some(());
                }
            };
            let (next, why) = match find_next_record(&source, at) {
                Ok(next) => (next.unwrap_or(end), why),
                Err(error) => (end, format!("{why}; behind it: {}", unreadable(&error)?)),
            };
            scrubbed.add(link, LsnRange::new(at, next.min(end)), why);
            from = next;
        }
        Some(())
    }

    /// Reads on from the record at `from`: where that stops before `end`, or fails.
    fn scan(
        source: &LogSource,
        from: Lsn,
        end: Lsn,
        records: &mut u64,
    ) -> Result<Option<Stop>, (Lsn, RecoveryError)> {
        let mut scanner = source.scan(LsnRange::new(from, end));
        let mut reached = from;
        loop {
            match scanner.next() {
                Ok(Step::Record(record)) => {
                    *records += 1;
                    reached = record.end();
                }
                Ok(Step::Jump { .. }) => {}
                Ok(Step::Stopped(stop)) => return Ok((stop.at < end).then_some(stop)),
                Err(error) => return Err((reached, error)),
            }
        }
    }

    /// What a place is that does not verify: damage, unless the segment is gone (rule 22).
    fn explain(&self, link: &ChainLink, stop: &Stop) -> Option<String> {
        let checked = SegmentReader::open(self.storage.as_ref(), link)
            .and_then(|reader| reader.verify(self.storage.as_ref()));
        if matches!(checked, Err(IoError::Gone { .. })) {
            return None;
        }
        Some(match stop.why {
            StopReason::Unreadable(error) => error.to_string(),
            StopReason::UnknownKind(kind) => format!("a record of a kind {kind} that is not known"),
            _ => "the segment ends before its end".to_owned(),
        })
    }

    fn holds_a_record(&self, index: usize) -> bool {
        let Some(link) = self.sealed.get(index) else { return false };
        let source = LogSource::new(Arc::clone(&self.storage), vec![*link], self.log_id);
        matches!(source.scan(link.range()).next(), Ok(Step::Record(_)))
    }
}

impl Scrubbed {
    fn add(&mut self, link: &ChainLink, range: LsnRange, why: String) {
        let offset = link.offset_of(range.start);
        if self.damaged_places == 0 {
            self.finding = Finding::Damaged { at: range.start, offset, why: why.clone() };
        }
        self.damaged_places += 1;
        self.damaged_bytes += range.bytes();
        if self.places.len() < PLACES_MAX {
            self.places.push(DamagedPlace { range, offset, why });
        }
    }
}

/// What to say of a segment that cannot be read; `None` where it was truncated away.
fn unreadable(error: &RecoveryError) -> Option<String> {
    match error {
        RecoveryError::Truncated { .. } | RecoveryError::Io(IoError::Gone { .. }) => None,
        _ => Some(error.to_string()),
    }
}
