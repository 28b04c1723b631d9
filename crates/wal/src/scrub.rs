//! Scrubbing: sealed segments read again, to find decay while there is still a copy elsewhere.
//!
//! Reads, never writes, and takes no lock, so it works beside a running writer. How fast it reads,
//! and past which cache, is the storage's part: whoever wants a limit gives one that has it.

use std::sync::Arc;

use wal_format::{LogId, Lsn, LsnRange};
use wal_io::{ChainLink, IoError, SegmentName, SegmentReader, Storage, Survey};
use wal_recovery::{LogSource, RecoveryError, Step, Stop, StopReason};

use crate::error::{Error, Refusal};

/// The sealed segments of a log, to be read again one by one: [`next`](Self::next).
///
/// A segment is sealed when a later one holds a record: nothing is written to it any more, and
/// every place before its end must hold a record that verifies.
#[derive(Debug)]
pub struct Scrub {
    storage: Arc<dyn Storage>,
    log_id: LogId,
    sealed: Vec<ChainLink>,
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
    /// Records that verify, up to the first place that does not.
    pub records: u64,
    /// What was found.
    pub finding: Finding,
}

/// What a scrub found in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// Every record verifies.
    Whole,
    /// The log was truncated past it meanwhile.
    Gone,
    /// From `at` on no record verifies, or nothing can be read; `offset` is the place in the file.
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
    /// Looks which segments of the log in `storage` are sealed.
    ///
    /// # Errors
    ///
    /// [`NotALog`](crate::ErrorKind::NotALog), [`Io`](crate::ErrorKind::Io). Damage is no error:
    /// what is wrong with the files themselves a [`LogView`](crate::LogView) says.
    ///
    /// # Cost
    ///
    /// Reads the header of every segment, and the first record of the last ones.
    pub fn open_in(storage: Arc<dyn Storage>) -> Result<Self, Error> {
        let survey = Survey::read(storage.as_ref())?;
        let no_log = || Refusal::NoLogThere { place: storage.place() };
        let log_id = survey.log_id.filter(|_| !survey.is_empty()).ok_or_else(no_log)?;
        let mut scrub = Self { storage, log_id, sealed: survey.links, done: 0 };
        let last = (0..scrub.sealed.len()).rev().find(|index| scrub.holds_a_record(*index));
        scrub.sealed.truncate(last.unwrap_or(0));
        Ok(scrub)
    }

    /// The sealed segments that are still to be read, oldest first.
    #[must_use]
    pub fn left(&self) -> &[ChainLink] {
        self.sealed.get(self.done..).unwrap_or_default()
    }

    /// Reads the next sealed segment from its first record to its end.
    ///
    /// What the device cannot read counts as damage of the segment.
    ///
    /// # Cost
    ///
    /// Reads the segment once; CRC-32C over every byte.
    #[allow(clippy::should_implement_trait, reason = "it works, which an Iterator hides")]
    pub fn next(&mut self) -> Option<Scrubbed> {
        let link = *self.sealed.get(self.done)?;
        self.done += 1;
        Some(self.read(&link))
    }

    fn read(&self, link: &ChainLink) -> Scrubbed {
        let (mut records, range) = (0, link.range());
        let finding = self.scan(link, &mut records);
        Scrubbed { segment: link.name, range, records, finding }
    }

    fn scan(&self, link: &ChainLink, records: &mut u64) -> Finding {
        let source = LogSource::new(Arc::clone(&self.storage), vec![*link], self.log_id);
        let mut scanner = source.scan(link.range());
        let mut reached = link.name.base;
        loop {
            match scanner.next() {
                Ok(Step::Record(record)) => {
                    *records += 1;
                    reached = record.end();
                }
                Ok(Step::Jump { .. }) => {}
                Ok(Step::Stopped(stop)) if stop.at >= link.cap => return Finding::Whole,
                Ok(Step::Stopped(stop)) => return self.explain(link, &stop),
                Err(error) => return self.unreadable(link, reached, &error),
            }
        }
    }

    /// A place that does not verify: damage, unless the segment is gone (rule 22).
    fn explain(&self, link: &ChainLink, stop: &Stop) -> Finding {
        let checked = SegmentReader::open(self.storage.as_ref(), link)
            .and_then(|reader| reader.verify(self.storage.as_ref()));
        if matches!(checked, Err(IoError::Gone { .. })) {
            return Finding::Gone;
        }
        let why = match stop.why {
            StopReason::Unreadable(error) => error.to_string(),
            StopReason::UnknownKind(kind) => format!("a record of a kind {kind} that is not known"),
            _ => "the segment ends before its end".to_owned(),
        };
        Finding::Damaged { at: stop.at, offset: link.offset_of(stop.at), why }
    }

    fn unreadable(&self, link: &ChainLink, at: Lsn, error: &RecoveryError) -> Finding {
        match error {
            RecoveryError::Truncated { .. } | RecoveryError::Io(IoError::Gone { .. }) => {
                Finding::Gone
            }
            _ => Finding::Damaged { at, offset: link.offset_of(at), why: error.to_string() },
        }
    }

    fn holds_a_record(&self, index: usize) -> bool {
        let Some(link) = self.sealed.get(index) else { return false };
        let source = LogSource::new(Arc::clone(&self.storage), vec![*link], self.log_id);
        matches!(source.scan(link.range()).next(), Ok(Step::Record(_)))
    }
}
