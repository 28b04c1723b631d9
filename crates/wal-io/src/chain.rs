//! Which segments are the log: the chain from the tip back (rule 2).
//!
//! [`Survey`] is what the directory holds, judged by names, headers and control slots alone: the
//! chain, what lies off it, and what is wrong. It never looks at a record and never writes.
//! Whether the records are whole, and whether a problem forbids opening, is for others to say.

use wal_format::layout::BLOCK_BYTES;
use wal_format::{DecodeError, Epoch, LogId, Lsn, LsnRange, SegmentFlags, SegmentHeader};

use crate::control_file::ControlView;
use crate::segment_name::SegmentName;
use crate::storage::FileEntry;

/// A segment of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLink {
    /// The name of its file.
    pub name: SegmentName,
    /// Its header. Where a [`ChainProblem::DamagedHeader`] names the segment, this is only what
    /// its name and length tell.
    pub header: SegmentHeader,
    /// Where it ends for readers: its successor's `predecessor.end`, else base plus capacity.
    pub cap: Lsn,
    /// Length of the file, header block included.
    pub file_bytes: u64,
}

impl ChainLink {
    /// Where in the file the byte of address `lsn` is; for an address below the base, where the
    /// first byte is.
    #[must_use]
    pub const fn offset_of(&self, lsn: Lsn) -> u64 {
        let distance = lsn.get().saturating_sub(self.name.base.get());
        distance.saturating_add(BLOCK_BYTES as u64)
    }

    /// The addresses that readers find here.
    #[must_use]
    pub const fn range(&self) -> LsnRange {
        LsnRange::new(self.name.base, self.cap)
    }

    /// First address that the segment cannot hold any more, capped or not.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.header.end().unwrap_or(Lsn::MAX)
    }

    /// Whether this segment follows `before` without a hole: it names it, as it ends, and declares
    /// the addresses that it skips.
    #[must_use]
    pub fn follows(&self, before: &Self) -> bool {
        let names_it = self.header.predecessor.is_some_and(|named| {
            (named.base, named.epoch) == (before.name.base, before.name.epoch)
                && named.end == before.cap
        });
        let has = |flag| self.header.flags.contains(flag);
        let declares_jumps = has(SegmentFlags::OPENING) || has(SegmentFlags::AFTER_LOSS);
        names_it && (before.cap == self.name.base || declares_jumps)
    }

    /// Whether somebody has cut the file: it is shorter than its header says, and nothing caps it.
    ///
    /// A segment has its whole length before it has its name, and only a capped one, or an empty
    /// one beyond the end of the log, is ever cut by the log itself (rule 16).
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.cap == self.end() && self.stored_end() < self.cap
    }

    /// Where reading ends: at the cap, or before it where the file is too short.
    #[must_use]
    pub fn stored_end(&self) -> Lsn {
        let stored = self.file_bytes.saturating_sub(BLOCK_BYTES as u64);
        let whole_units = stored - stored % wal_format::layout::RECORD_ALIGN_BYTES as u64;
        self.name.base.checked_add(whole_units).map_or(self.cap, |end| end.min(self.cap))
    }
}

/// Why a segment is not part of the log any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadReason {
    /// Below the head: truncated, and not removed yet.
    BelowHead,
    /// A later opening went on without it.
    OffChain,
}

/// A segment file which is not part of the log: reported, never replayed, never damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadSegment {
    /// The name of its file.
    pub name: SegmentName,
    /// Length of the file, header block included.
    pub file_bytes: u64,
    /// What its header declares that it can hold; `None` where the header is damaged.
    pub capacity_bytes: Option<u64>,
    /// Why it is dead.
    pub reason: DeadReason,
}

impl DeadSegment {
    /// Above every address that the segment could hold.
    #[must_use]
    pub fn end(&self) -> Lsn {
        let stored = self.file_bytes.saturating_sub(BLOCK_BYTES as u64);
        let bytes = stored.max(self.capacity_bytes.unwrap_or(0));
        let end = self.name.base.get().saturating_add(bytes);
        end.checked_next_multiple_of(BLOCK_BYTES as u64).and_then(Lsn::new).unwrap_or(Lsn::MAX)
    }
}

/// Something about the files of a log that cannot be the work of a crash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainProblem {
    /// A segment which belongs to the chain, or would be its tip, has a header that is damaged.
    #[error("the header of segment `{name}` is damaged: {source}")]
    DamagedHeader {
        /// The segment.
        name: SegmentName,
        /// What is wrong with its header.
        source: DecodeError,
    },
    /// A segment whose header says that it belongs under another name.
    #[error("segment `{name}` was renamed: its header says `{found}`")]
    Misplaced {
        /// The name of the file.
        name: SegmentName,
        /// The name which its header asks for.
        found: SegmentName,
    },
    /// A file of another log.
    #[error("`{name}` belongs to another log ({found}); move it out of the directory")]
    Foreign {
        /// The file.
        name: String,
        /// The log it belongs to.
        found: LogId,
    },
    /// A file which a newer program wrote.
    #[error("`{name}` has format version {found}; open the log with a newer program")]
    UnsupportedVersion {
        /// The file.
        name: String,
        /// Its version.
        found: u32,
    },
    /// A segment of the chain is not there.
    #[error("the segments that hold {from} to {to} are missing; restore them from a copy")]
    Missing {
        /// Where what is there ends.
        from: Lsn,
        /// Where what is there begins again; the same as `from` when it is the newest segment
        /// that is missing, and nobody knows how far it went.
        to: Lsn,
    },
    /// Both control slots are lost, and nothing explains why the log begins where it does.
    #[error("nothing proves that the log begins at {first}; earlier segments may be missing")]
    HeadUnproven {
        /// Base of the first segment that is there.
        first: Lsn,
    },
}

/// What a log directory holds.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The directory, for people.
    pub place: String,
    /// The control file.
    pub control: ControlView,
    /// The identity of the log; `None` where nothing tells.
    pub log_id: Option<LogId>,
    /// The chain, oldest first.
    pub links: Vec<ChainLink>,
    /// Segments off the chain.
    pub dead: Vec<DeadSegment>,
    /// Files of steps that did not finish.
    pub temporary: Vec<String>,
    /// Files that hold back space, in order of their numbers, with their lengths.
    pub held_back: Vec<FileEntry>,
    /// Segments that were truncated and wait to be used again, with their lengths.
    pub retired: Vec<FileEntry>,
    /// What is wrong. Empty after any number of crashes.
    pub problems: Vec<ChainProblem>,
    /// Above every address that any file here could hold, a multiple of 4,096 (rule 8).
    pub address_end: Lsn,
    /// The highest epoch that any name, header or slot carries.
    pub highest_epoch: Epoch,
}
