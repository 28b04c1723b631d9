//! Why the log refuses, or what it cannot say.
//!
//! Every error answers [`CommitError::fate`]: whether the record is certainly not in the log, or
//! may be. Errors are cheap to clone, for one failure is told to many waiters.

use std::io;
use std::sync::Arc;

use thiserror::Error;
use wal_format::Lsn;
use wal_io::IoError;

use crate::poison::PoisonCause;

/// What an error means for the record it was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Nothing of the record was written, and nothing will be. It may be appended again.
    NotCommitted,
    /// The record may or may not survive: reopen the log and look.
    Unknown,
}

/// The log cannot do, or cannot promise, what it was asked.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The body is longer than a record can hold. Nothing changed; split it.
    #[error("a body of {bytes} bytes is longer than the {max} that a record can hold")]
    TooLong {
        /// Length of the body, in bytes.
        bytes: u64,
        /// The longest body, in bytes.
        max: u64,
    },
    /// The batch is longer than half the buffer or half a segment (rule 18). Nothing changed;
    /// split it, or use a larger buffer.
    #[error("a batch of {bytes} bytes is longer than the {max} that can be kept together")]
    BatchTooLong {
        /// Bytes that the records of the batch take in the log.
        bytes: u64,
        /// The longest batch, in bytes.
        max: u64,
    },
    /// The batch holds no record. Nothing changed.
    #[error("a batch needs at least one record")]
    Empty,
    /// There is no room now and the caller did not want to wait. Nothing changed; try again.
    #[error("the buffer is full, or the next segment is not ready yet")]
    WouldBlock,
    /// There is no space for the next segment. Nothing changed and the log stays usable: free
    /// some space, or truncate the log, and append again.
    #[error("no space for the next segment: {0}")]
    NoSpace(#[source] Arc<IoError>),
    /// The next segment could not be made ready. Nothing changed and the log stays usable; the
    /// next append tries again.
    #[error("the next segment could not be made ready: {0}")]
    NotPrepared(#[source] Arc<IoError>),
    /// No room can be promised to later records: neither is there any, nor can any be had.
    #[error("no room can be promised for {bytes} bytes of later records")]
    NoRoom {
        /// Bytes asked for.
        bytes: u64,
    },
    /// This log syncs nothing, so it promises no durability (rule 11). The record itself is in
    /// the log.
    #[error("this log never syncs, so nothing can be promised to be durable")]
    NotPromised,
    /// No record ends there yet.
    #[error("nothing is appended up to {end} yet: the log ends at {reserved}")]
    BeyondEnd {
        /// The position asked for.
        end: Lsn,
        /// The end of the log.
        reserved: Lsn,
    },
    /// An earlier write or sync failed, or something panicked: the log promises nothing any
    /// more. What was durable stays durable. Drop the log, open it again and recover.
    #[error("the log is poisoned and must be reopened: {cause}")]
    #[non_exhaustive]
    Poisoned {
        /// The first failure.
        cause: PoisonCause,
        /// Whether the record asked about was refused, or is in doubt.
        fate: Fate,
    },
    /// The log was closed. Nothing changed.
    #[error("the log is closed")]
    Closed,
    /// The log was dropped without being closed before the record became what was waited for.
    #[error("the log was dropped before this was known; reopen it and look")]
    Abandoned,
    /// The time is over and the outcome is not known: the record may become durable any time.
    #[error("not known yet: the time to wait is over")]
    TimedOut,
    /// The process forked since the log was opened: only the process which opened it may use it.
    #[error("the log was opened by process {opened_by}, this is process {here}")]
    Forked {
        /// Process that opened the log.
        opened_by: u32,
        /// This process.
        here: u32,
    },
    /// A configuration or a start that cannot work. Nothing was started.
    #[error("{what} (found {value})")]
    Invalid {
        /// What is wrong, and what to do.
        what: &'static str,
        /// The value found.
        value: u64,
    },
    /// A helper thread could not be started. Nothing was started.
    #[error("cannot start a helper thread: {0}")]
    NoThread(#[source] Arc<io::Error>),
}

impl CommitError {
    /// What the error means for the record it was about.
    #[must_use]
    pub const fn fate(&self) -> Fate {
        match self {
            Self::TooLong { .. }
            | Self::BatchTooLong { .. }
            | Self::Empty
            | Self::WouldBlock
            | Self::NoSpace(_)
            | Self::NotPrepared(_)
            | Self::NoRoom { .. }
            | Self::BeyondEnd { .. }
            | Self::Closed
            | Self::Invalid { .. }
            | Self::NoThread(_) => Fate::NotCommitted,
            Self::NotPromised | Self::Abandoned | Self::TimedOut | Self::Forked { .. } => {
                Fate::Unknown
            }
            Self::Poisoned { fate, .. } => *fate,
        }
    }

    /// The answer to an append on a poisoned log.
    pub(crate) const fn refused(cause: PoisonCause) -> Self {
        Self::Poisoned { cause, fate: Fate::NotCommitted }
    }

    /// The answer to a wait on a poisoned log.
    pub(crate) const fn in_doubt(cause: PoisonCause) -> Self {
        Self::Poisoned { cause, fate: Fate::Unknown }
    }

    /// The answer to an append which needs a segment that could not be prepared.
    pub(crate) fn unprepared(source: Arc<IoError>) -> Self {
        if source.is_no_space() { Self::NoSpace(source) } else { Self::NotPrepared(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_means_unknown_and_a_refusal_means_not_committed() {
        assert_eq!(CommitError::TimedOut.fate(), Fate::Unknown);
        assert_eq!(CommitError::Abandoned.fate(), Fate::Unknown);
        assert_eq!(CommitError::WouldBlock.fate(), Fate::NotCommitted);
        assert_eq!(CommitError::Closed.fate(), Fate::NotCommitted);
        let cause = PoisonCause::requested("test");
        assert_eq!(CommitError::refused(cause.clone()).fate(), Fate::NotCommitted);
        assert_eq!(CommitError::in_doubt(cause).fate(), Fate::Unknown);
    }

    #[test]
    fn no_space_is_told_from_other_failures_of_preparation() {
        let failed = |kind: io::ErrorKind| {
            let source = IoError::failed(wal_io::IoOp::Create, "x.wal", kind.into());
            CommitError::unprepared(Arc::new(source))
        };
        assert!(matches!(failed(io::ErrorKind::StorageFull), CommitError::NoSpace(_)));
        assert!(matches!(failed(io::ErrorKind::QuotaExceeded), CommitError::NoSpace(_)));
        assert!(matches!(failed(io::ErrorKind::PermissionDenied), CommitError::NotPrepared(_)));
    }
}
