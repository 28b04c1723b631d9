//! What went wrong with a file, and where.

use std::fmt;
use std::io;

use thiserror::Error;
use wal_format::{DecodeError, Epoch, LogId, Lsn};

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IoOp {
    /// Listing the directory.
    List,
    /// Creating a file, its preallocation included.
    Create,
    /// Opening a file.
    Open,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Making a file's contents durable.
    Sync,
    /// Writing to a file and making it durable, in one call.
    WriteSync,
    /// Making the directory's entries durable.
    SyncDir,
    /// Changing or asking a file's length.
    Length,
    /// Giving a file its final name.
    Rename,
    /// Removing a file.
    Remove,
    /// Locking the directory.
    Lock,
}

impl fmt::Display for IoOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::WriteSync => "write and sync",
            Self::SyncDir => "sync the directory of",
            Self::Length => "set or ask the length of",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Lock => "lock",
        })
    }
}

/// A failed operation on the storage of a log.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IoError {
    /// The storage refused or failed an operation.
    ///
    /// After a failed write or sync nothing is known about the bytes concerned: never retry,
    /// reopen the log. Other operations may be tried again once their cause is gone.
    #[error("cannot {op} `{name}`{}: {source}", At(*.offset))]
    Failed {
        /// What was attempted.
        op: IoOp,
        /// The file, or the directory.
        name: String,
        /// Where in the file, in bytes, when it matters.
        offset: Option<u64>,
        /// The cause.
        source: io::Error,
    },
    /// Another process, or another handle in this one, has the log open for writing.
    #[error(
        "the log in `{place}` is open for writing elsewhere; close it there, or open read-only"
    )]
    Locked {
        /// The directory.
        place: String,
    },
    /// The place is not a directory, or does not exist and was not to be created.
    #[error("`{place}` is not a directory that can hold a log: {source}")]
    NotADirectory {
        /// The path given.
        place: String,
        /// The cause.
        source: io::Error,
    },
    /// The directory holds a segment or control file of another log.
    #[error(
        "`{name}` belongs to log {found}, this is log {expected}; move it out of the directory"
    )]
    Foreign {
        /// The file.
        name: String,
        /// The log it belongs to.
        found: LogId,
        /// The log of this directory.
        expected: LogId,
    },
    /// A header or slot that does not decode.
    #[error("`{name}` at byte {offset}: {source}")]
    Malformed {
        /// The file.
        name: String,
        /// Where in the file.
        offset: u64,
        /// Why.
        source: DecodeError,
    },
    /// A newer opening of the log has taken over; this handle must stop.
    #[error("the log was taken over by epoch {newer}; this handle is of epoch {ours}")]
    Superseded {
        /// The epoch of this handle.
        ours: Epoch,
        /// The epoch found.
        newer: Epoch,
    },
    /// An earlier write or sync of this file, or of the directory, failed. What it left is
    /// unknown and it is never tried again: reopen the log.
    #[error("an earlier write or sync of `{name}` failed; reopen the log to recover")]
    Poisoned {
        /// The file, or the directory.
        name: String,
    },
    /// The log was closed cleanly through this handle; nothing may be written after the mark.
    #[error("the log in `{place}` was closed; open it again to write")]
    Closed {
        /// The directory.
        place: String,
    },
    /// A segment that a reader knew of is no longer there: the writer has truncated the log.
    ///
    /// Not damage (rule 22). Take the chain anew and start from its head.
    #[error("segment `{name}` is gone: the log was truncated; read again from its new head")]
    Gone {
        /// The file.
        name: String,
    },
    /// The directory holds damage that must be judged before anything is written here.
    #[error("the log in `{place}` cannot be written: {problem}; nothing was changed")]
    Unsound {
        /// The directory.
        place: String,
        /// The first problem found.
        problem: String,
    },
    /// The directory already holds a log, or something of one.
    #[error("`{place}` already holds `{name}`; open that log, or choose an empty directory")]
    Exists {
        /// The directory.
        place: String,
        /// What was found.
        name: String,
    },
    /// An option is outside its range. Nothing was changed.
    #[error("option `{option}` is {value}, but must be {requirement}")]
    BadOption {
        /// Name of the option.
        option: &'static str,
        /// The value given.
        value: u64,
        /// What it must be.
        requirement: &'static str,
    },
    /// The address space or the epochs of the log are used up, or an address is not where it
    /// can be.
    #[error("{what} is out of range at {lsn}")]
    OutOfRange {
        /// What is out of range.
        what: &'static str,
        /// Where in the log.
        lsn: Lsn,
    },
}

impl IoError {
    /// The failure of `op` on `name`.
    #[must_use]
    #[cold]
    pub fn failed(op: IoOp, name: impl Into<String>, source: io::Error) -> Self {
        Self::Failed { op, name: name.into(), offset: None, source }
    }

    /// The failure of `op` on `name` at `offset`.
    #[must_use]
    #[cold]
    pub fn failed_at(op: IoOp, name: impl Into<String>, offset: u64, source: io::Error) -> Self {
        Self::Failed { op, name: name.into(), offset: Some(offset), source }
    }

    /// Whether the cause is that the device or a quota is full.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Failed { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |offset| write!(f, " at byte {offset}"))
    }
}
