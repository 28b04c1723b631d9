//! Details of errors which replay, readers and copies report; no error of its own.

use std::fmt;

use wal_format::{Lsn, TxnId};

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
