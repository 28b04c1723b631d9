//! What a log is found to be, as one verdict; the decision is a table.
//!
//! The table sees a handful of facts and nothing else ([`Facts`]); `docs/recovery.md` shows it,
//! and `tests/decision_table.rs` proves that each input meets exactly one row. Finding the facts
//! is left to `examine.rs`, acting on the verdict to the policies.

use std::fmt;

use wal_format::Lsn;
use wal_io::SegmentName;

use crate::evidence::Evidence;

/// What was found behind the end of a torn tail, and is not part of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Bytes from the end of the log to the last one that is not zero.
    pub bytes: u64,
    /// Valid records behind the first unreadable place (rule 11).
    pub records: u64,
}

/// What the scan of a log found. Each names the first place where it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The log ends where nothing was ever written.
    CleanEnd,
    /// The log ends in writes that no evidence shows to have been promised; they are dropped.
    /// Normal after a crash.
    TornTail {
        /// Where the log ends.
        at: Lsn,
        /// What lies behind.
        dropped: Dropped,
    },
    /// Bytes that were durable cannot be read.
    Corrupt {
        /// Address of the damaged record, or of the first that is lost.
        lsn: Lsn,
        /// The segment which holds it.
        segment: SegmentName,
        /// Where in its file, in bytes.
        offset: u64,
        /// What proves that the place was durable.
        promised_by: Evidence,
    },
    /// A whole segment is not there.
    MissingSegment {
        /// First address missing.
        from: Lsn,
        /// First address which is there again, or at which the missing segment begins when it
        /// was the newest.
        to: Lsn,
    },
    /// Both slots of the control file are lost, and nothing says where the log begins.
    HeadUnproven {
        /// First address found.
        first: Lsn,
    },
    /// A segment belongs to another log.
    ForeignSegment {
        /// Name of the file.
        name: String,
    },
    /// A newer program wrote this log.
    UnsupportedVersion {
        /// Name of the file.
        name: String,
        /// The format version found, or the record kind that this version cannot pass.
        found: u32,
    },
}

/// A verdict without its details, for exit codes and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerdictKind {
    /// [`Verdict::CleanEnd`].
    CleanEnd,
    /// [`Verdict::TornTail`].
    TornTail,
    /// [`Verdict::Corrupt`].
    Corrupt,
    /// [`Verdict::MissingSegment`].
    MissingSegment,
    /// [`Verdict::HeadUnproven`].
    HeadUnproven,
    /// [`Verdict::ForeignSegment`].
    ForeignSegment,
    /// [`Verdict::UnsupportedVersion`].
    UnsupportedVersion,
}

impl VerdictKind {
    /// Every kind of verdict, mildest first.
    pub const ALL: &'static [Self] = &[
        Self::CleanEnd,
        Self::TornTail,
        Self::Corrupt,
        Self::MissingSegment,
        Self::HeadUnproven,
        Self::ForeignSegment,
        Self::UnsupportedVersion,
    ];

    /// The name of the verdict, as commands print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CleanEnd => "clean-end",
            Self::TornTail => "torn-tail",
            Self::Corrupt => "corrupt",
            Self::MissingSegment => "missing-segment",
            Self::HeadUnproven => "head-unproven",
            Self::ForeignSegment => "foreign-segment",
            Self::UnsupportedVersion => "unsupported-version",
        }
    }

    /// Whether the log is less than what was promised, or cannot be judged: `Strict` refuses it.
    #[must_use]
    pub const fn is_damage(self) -> bool {
        !matches!(self, Self::CleanEnd | Self::TornTail)
    }
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Verdict {
    /// The verdict without its details.
    #[must_use]
    pub const fn kind(&self) -> VerdictKind {
        match self {
            Self::CleanEnd => VerdictKind::CleanEnd,
            Self::TornTail { .. } => VerdictKind::TornTail,
            Self::Corrupt { .. } => VerdictKind::Corrupt,
            Self::MissingSegment { .. } => VerdictKind::MissingSegment,
            Self::HeadUnproven { .. } => VerdictKind::HeadUnproven,
            Self::ForeignSegment { .. } => VerdictKind::ForeignSegment,
            Self::UnsupportedVersion { .. } => VerdictKind::UnsupportedVersion,
        }
    }

    /// Whether the log is less than what was promised, or cannot be judged: `Strict` refuses it.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        self.kind().is_damage()
    }

    /// What is dropped behind a torn tail; nothing under any other verdict.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        match self {
            Self::TornTail { dropped, .. } => *dropped,
            _ => Dropped::default(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CleanEnd => f.write_str("the log is whole; nothing to do"),
            Self::TornTail { at, dropped } => write!(
                f,
                "the log ends at {at} in unfinished writes which no evidence shows to have been \
                 promised ({} bytes, {} whole records behind the first gap); they are dropped",
                dropped.bytes, dropped.records
            ),
            Self::Corrupt { lsn, segment, offset, promised_by } => write!(
                f,
                "the record at {lsn} is damaged (`{segment}`, byte {offset}), although \
                 {promised_by}; restore the file from a replica or backup, or salvage what is whole"
            ),
            Self::MissingSegment { from, to } if from < to => write!(
                f,
                "the log from {from} to {to} is missing; put the missing segment file back, or \
                 salvage what is there"
            ),
            Self::MissingSegment { from, .. } => write!(
                f,
                "the segment of {from} is missing; put its file back, or salvage what is there"
            ),
            Self::HeadUnproven { first } => write!(
                f,
                "both slots of the control file are lost and nothing proves that the log begins \
                 at {first}; put the control file or the older segments back, or salvage what is \
                 there"
            ),
            Self::ForeignSegment { name } => write!(
                f,
                "`{name}` belongs to another log; move it out of the directory and open again"
            ),
            Self::UnsupportedVersion { name, found } => write!(
                f,
                "`{name}` was written by a newer version (found {found}); open the log with that \
                 version"
            ),
        }
    }
}

/// What stands at the first place which is not a record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopClass {
    /// Zeroed space, a whole record of another address, or the end of the last segment; not the
    /// end of a file that is shorter than its header says.
    Blank,
    /// Anything else that is not a record.
    Unreadable,
    /// A valid record of a kind that this version does not know and may not skip.
    UnknownKind,
}

impl StopClass {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Blank, Self::Unreadable, Self::UnknownKind];
}

/// All that the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// A segment or the control file is of a newer format version.
    pub newer_format: bool,
    /// A segment belongs to another log.
    pub foreign: bool,
    /// A segment of the chain is not there.
    pub missing: bool,
    /// A segment of the chain has an unreadable header.
    pub damaged_header: bool,
    /// Nothing explains where the log begins.
    pub head_unproven: bool,
    /// What stands where the scan stopped.
    pub stop: StopClass,
    /// Evidence reaches beyond the place where the scan stopped: D > T.
    pub promised: bool,
    /// Valid records of the same or a later epoch stand behind that place.
    pub records_behind: bool,
}

/// One row of the table: what the facts must be, where they matter, and the verdict.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What the row says, in a few words.
    pub label: &'static str,
    newer_format: Option<bool>,
    foreign: Option<bool>,
    missing: Option<bool>,
    damaged_header: Option<bool>,
    head_unproven: Option<bool>,
    stop: Option<StopClass>,
    promised: Option<bool>,
    records_behind: Option<bool>,
    /// The verdict.
    pub verdict: VerdictKind,
}

impl Row {
    /// Whether the row is the one for `facts`.
    #[must_use]
    pub fn meets(&self, facts: &Facts) -> bool {
        fn agrees<T: PartialEq>(wanted: Option<T>, found: T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        agrees(self.newer_format, facts.newer_format)
            && agrees(self.foreign, facts.foreign)
            && agrees(self.missing, facts.missing)
            && agrees(self.damaged_header, facts.damaged_header)
            && agrees(self.head_unproven, facts.head_unproven)
            && agrees(self.stop, facts.stop)
            && agrees(self.promised, facts.promised)
            && agrees(self.records_behind, facts.records_behind)
    }
}

const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);

/// A row that looks at the directory only: the flags of the survey, in order of their weight.
const fn surveyed(label: &'static str, flags: [Option<bool>; 5], verdict: VerdictKind) -> Row {
    let [newer_format, foreign, missing, damaged_header, head_unproven] = flags;
    Row {
        label,
        newer_format,
        foreign,
        missing,
        damaged_header,
        head_unproven,
        stop: None,
        promised: None,
        records_behind: None,
        verdict,
    }
}

/// A row for a chain that is whole: what stands at the stop, promised, records behind.
const fn scanned(
    label: &'static str,
    stop: StopClass,
    promised: Option<bool>,
    records_behind: Option<bool>,
    verdict: VerdictKind,
) -> Row {
    let whole = surveyed(label, [NO; 5], verdict);
    Row { stop: Some(stop), promised, records_behind, ..whole }
}

/// The decision. Rows do not depend on their order: each input meets exactly one.
pub const ROWS: &[Row] = &[
    // What cannot be read at all goes first: whatever else is wrong may be a misreading.
    surveyed("newer format", [YES, None, None, None, None], VerdictKind::UnsupportedVersion),
    surveyed("foreign segment", [NO, YES, None, None, None], VerdictKind::ForeignSegment),
    // A damaged header breaks the chain behind it, so it explains what seems to be missing.
    surveyed("damaged header", [NO, NO, None, YES, None], VerdictKind::Corrupt),
    surveyed("missing segment", [NO, NO, YES, NO, None], VerdictKind::MissingSegment),
    surveyed("head unproven", [NO, NO, NO, NO, YES], VerdictKind::HeadUnproven),
    scanned("kind of a newer version", StopClass::UnknownKind, None, None, {
        VerdictKind::UnsupportedVersion
    }),
    scanned("promised, yet blank", StopClass::Blank, YES, None, VerdictKind::Corrupt),
    scanned("promised, yet unreadable", StopClass::Unreadable, YES, None, VerdictKind::Corrupt),
    scanned("nothing more", StopClass::Blank, NO, NO, VerdictKind::CleanEnd),
    scanned("hole before unsynced records", StopClass::Blank, NO, YES, VerdictKind::TornTail),
    scanned("unfinished write", StopClass::Unreadable, NO, None, VerdictKind::TornTail),
];

/// The row that `facts` meet.
///
/// `None` only if the table had a hole, which `tests/decision_table.rs` excludes.
#[must_use]
pub fn decide(facts: &Facts) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.meets(facts))
}
