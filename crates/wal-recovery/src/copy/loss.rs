//! What a copy took over, and what a salvage could not find.
//!
//! Plain data with public fields; nothing here reads or writes.

use std::fmt;

use wal_format::{CheckpointPointer, DecodeError, LogId, Lsn, LsnRange};
use wal_io::{ChainProblem, SegmentName};

use crate::verdict::{Dropped, Verdict};

/// What a copy of a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// The identity of the copy, which is a log of its own.
    pub log_id: LogId,
    /// From the first record of the copy to the end of its last.
    pub range: LsnRange,
    /// Records copied, housekeeping included.
    pub records: u64,
    /// Bytes of log copied.
    pub bytes: u64,
    /// Segments written, the empty one at the end included.
    pub segments: usize,
    /// The newest checkpoint in the copy.
    pub checkpoint: Option<CheckpointPointer>,
}

impl fmt::Display for CopyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "copied {} records, {} bytes, from {} to {}, into log {} ({} segments)",
            self.records, self.bytes, self.range.start, self.range.end, self.log_id, self.segments
        )?;
        match self.checkpoint {
            Some(pointer) => write!(f, "\nnewest checkpoint: begun at {}", pointer.begin),
            None => f.write_str("\nno checkpoint"),
        }
    }
}

/// Why a range of a log is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossReason {
    /// What stands at its first address does not verify.
    Damaged(DecodeError),
    /// No segment holds it.
    MissingSegment,
    /// An earlier salvage had not found it either.
    LostBefore,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(error) => write!(f, "damaged: {error}"),
            Self::MissingSegment => f.write_str("its segment is missing"),
            Self::LostBefore => f.write_str("lost before an earlier salvage"),
        }
    }
}

/// One range of a log that a salvage could not find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRange {
    /// The addresses; how many records they held cannot be known.
    pub range: LsnRange,
    /// The segment that ought to hold them, and where in its file, in bytes.
    pub place: Option<(SegmentName, u64)>,
    /// Why they are lost.
    pub why: LossReason,
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LsnRange { start, end } = self.range;
        write!(f, "lost {start} to {end}, {} bytes", self.range.bytes())?;
        if let Some((segment, offset)) = self.place {
            write!(f, " (`{segment}`, byte {offset})")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// What a salvage copied, and everything that it could not.
#[derive(Clone, Debug)]
pub struct LossReport {
    /// The place of the damaged log, which is unchanged.
    pub place: String,
    /// The verdict on the damaged log.
    pub verdict: Verdict,
    /// The copy.
    pub copied: CopyReport,
    /// Ranges which the log promised or skipped no further on, and which are not in the copy,
    /// in order. An unproven tail is not among them: nobody was promised it.
    pub lost: Vec<LostRange>,
    /// What is wrong with the files of the damaged log.
    pub problems: Vec<ChainProblem>,
    /// What an ordinary opening would have dropped too: the unproven tail.
    pub dropped: Dropped,
    /// Whether the device failed to read parts of the log; they count as damaged.
    pub read_errors: bool,
}

impl LossReport {
    /// Bytes of log that are lost, as far as their addresses are known.
    #[must_use]
    pub fn lost_bytes(&self) -> u64 {
        self.lost.iter().map(|lost| lost.range.bytes()).sum()
    }

    /// Whether something was lost which replay of the copy would have needed. What lies before
    /// the place where replay from the newest checkpoint starts, it does not need.
    #[must_use]
    pub fn affects_replay(&self) -> bool {
        let from = self.copied.checkpoint.map_or(Lsn::NONE, |pointer| pointer.redo_from);
        self.lost.iter().any(|lost| lost.range.end > from)
    }
}

impl fmt::Display for LossReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "salvage of the log in `{}`", self.place)?;
        writeln!(f, "verdict: {}", self.verdict)?;
        write!(f, "{}", self.copied)?;
        if self.lost.is_empty() {
            f.write_str("\nnothing that was promised is lost")?;
        }
        for lost in &self.lost {
            write!(f, "\n{lost}")?;
        }
        if !self.lost.is_empty() && !self.affects_replay() {
            f.write_str("\nall of it lies before the newest checkpoint, which holds its effects")?;
        }
        for problem in &self.problems {
            write!(f, "\nfound: {problem}")?;
        }
        if self.read_errors {
            f.write_str("\nthe device failed to read parts of the log; copy it off that device")?;
        }
        if self.dropped != Dropped::default() {
            let Dropped { bytes, records } = self.dropped;
            write!(f, "\nleft out: an unproven tail of {bytes} bytes, {records} whole records")?;
        }
        Ok(())
    }
}
