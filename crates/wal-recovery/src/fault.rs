//! Details of errors which replay, readers and copies report; no error of its own.

use std::fmt;

use wal_format::body::TxnState;
use wal_format::{DecodeError, Lsn, TxnId};

/// What is wrong with the chain of a transaction's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainFault {
    /// No valid record starts at the address.
    NotARecord,
    /// A record names one that is not before it.
    PointsForward {
        /// The address named.
        to: Lsn,
    },
    /// The chain goes back past an opening of the log, which voids what was unfinished (rule 7).
    CrossesOpening {
        /// Address of the opening.
        opened: Lsn,
    },
    /// The chain goes back past the place where the checkpoint said that replay can start.
    BeforeScan {
        /// Where replay started.
        start: Lsn,
    },
    /// The record belongs to another transaction, or to none.
    OtherTransaction {
        /// Whose it is.
        found: TxnId,
    },
    /// The chain goes on behind the record which ended its transaction.
    PassesAnEnd,
    /// The chain ends before it has come to the begin record of its transaction.
    NoBegin,
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecord => f.write_str("no record starts there"),
            Self::PointsForward { to } => write!(f, "it points forward, to {to}"),
            Self::CrossesOpening { opened } => write!(f, "it crosses the opening at {opened}"),
            Self::BeforeScan { start } => {
                write!(f, "it goes back past {start}, where replay starts")
            }
            Self::OtherTransaction { found: TxnId::NONE } => {
                f.write_str("the record belongs to no transaction")
            }
            Self::OtherTransaction { found } => write!(f, "the record belongs to {found}"),
            Self::PassesAnEnd => f.write_str("the transaction had already ended there"),
            Self::NoBegin => f.write_str("the chain ends there without a begin record"),
        }
    }
}

/// The places nearest to an address at which records start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// The last record that starts before the address.
    pub before: Option<Lsn>,
    /// The first record that starts after it.
    pub after: Option<Lsn>,
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.before, self.after) {
            (Some(before), Some(after)) => write!(f, "the nearest start at {before} and {after}"),
            (Some(lsn), None) | (None, Some(lsn)) => write!(f, "the nearest starts at {lsn}"),
            (None, None) => f.write_str("none is near"),
        }
    }
}

/// Why a log cannot be copied up to a point.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PointFault {
    /// The point lies beyond the end of the log, or behind damage.
    NotReached {
        /// How far the log could be read.
        end: Lsn,
    },
    /// The point lies before what is retained, or before the end of every usable checkpoint.
    TooEarly {
        /// The earliest address that can be restored to.
        earliest: Lsn,
    },
    /// The address lies inside a record.
    InsideARecord {
        /// Where the record starts, which is a point that can be restored to.
        starts: Lsn,
    },
    /// More than one restore point has the name; choose one by its address.
    Ambiguous {
        /// The end of the first one.
        first: Lsn,
        /// The end of the newest one.
        newest: Lsn,
    },
}

impl fmt::Display for PointFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReached { end } => {
                write!(f, "it is not in the log, which can be read up to {end}")
            }
            Self::TooEarly { earliest } => {
                write!(f, "it lies before {earliest}, the earliest place to restore to")
            }
            Self::InsideARecord { starts } => write!(f, "it lies inside the record at {starts}"),
            Self::Ambiguous { first, newest } => write!(
                f,
                "several restore points have that name, the first ends at {first}, the newest at \
                 {newest}; name one by its address"
            ),
        }
    }
}

/// A record that cannot follow those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableFault {
    /// The transaction has not begun, or has ended.
    NotBegun,
    /// It has begun already.
    BegunTwice,
    /// It can log no such record in its state.
    State(TxnState),
    /// The kind of record belongs into a transaction, and it is in none.
    NoTransaction,
    /// It does not name the last record of its transaction before it.
    Unlinked {
        /// What it names.
        prev: Lsn,
        /// That record.
        last: Lsn,
    },
    /// A compensation does not lead back into its transaction.
    UndoNext {
        /// Where it leads.
        to: Lsn,
    },
}

impl fmt::Display for TableFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun => f.write_str("its transaction has not begun, or has ended"),
            Self::BegunTwice => f.write_str("its transaction has begun already"),
            Self::State(state) => write!(f, "its transaction is {state:?}"),
            Self::NoTransaction => f.write_str("it belongs to no transaction"),
            Self::Unlinked { prev, last } => {
                write!(f, "it follows {prev}, but the last record of its transaction is at {last}")
            }
            Self::UndoNext { to } => {
                write!(f, "its undo goes on at {to}, which is no earlier record of its transaction")
            }
        }
    }
}

/// Why a checkpoint cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointFault {
    /// Its end record cannot be read.
    NoEnd,
    /// The record at its address ends another checkpoint, or none.
    OtherEnd,
    /// Its end record does not carry what ARIES needs.
    BadPayload(DecodeError),
    /// A part cannot be decoded.
    BadPart {
        /// Where it stands.
        lsn: Lsn,
        /// Why.
        source: DecodeError,
    },
    /// A part has no number that its checkpoint can have, or one that another part has.
    PartOutOfPlace {
        /// Where it stands.
        lsn: Lsn,
        /// Its number.
        index: u32,
    },
    /// Parts are missing.
    MissingParts {
        /// How many its end record names.
        expected: u32,
        /// How many were found.
        found: u32,
    },
    /// A table names an address at which it cannot know a record.
    BadAddress {
        /// The address.
        lsn: Lsn,
    },
    /// It does not lie in the log, or needs what was truncated.
    NotRetained,
    /// There is none, and the log does not begin with its first record any more.
    NoneLeft,
}

impl fmt::Display for CheckpointFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEnd => f.write_str("its end record cannot be read"),
            Self::OtherEnd => f.write_str("the record there does not end it"),
            Self::BadPayload(source) => write!(f, "its end record is not one of ARIES: {source}"),
            Self::BadPart { lsn, source } => {
                write!(f, "its part at {lsn} cannot be decoded: {source}")
            }
            Self::PartOutOfPlace { lsn, index } => {
                write!(f, "its part at {lsn} has the number {index}, which is not its place")
            }
            Self::MissingParts { expected, found } => {
                write!(f, "it has {expected} parts, of which {found} were found")
            }
            Self::BadAddress { lsn } => {
                write!(f, "its tables name {lsn}, where they can know no record")
            }
            Self::NotRetained => f.write_str("the log does not hold what it needs any more"),
            Self::NoneLeft => {
                f.write_str("there is none, and the first records of the log are truncated")
            }
        }
    }
}
