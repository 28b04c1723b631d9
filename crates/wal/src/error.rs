//! The one error type of the facade: what, where, and what next.

use std::fmt;

use wal_commit::{CommitError, Fate};
use wal_format::{DecodeError, Lsn};
use wal_io::IoError;
use wal_recovery::{RecoveryError, Verdict};

/// What kind of failure it was, and so what the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call cannot be served as it was made; nothing changed, the log is usable.
    Refused,
    /// The log's buffer is full and the call was not to wait; try again.
    WouldBlock,
    /// The time is up; whether the record became durable is unknown. Wait again, or reopen.
    TimedOut,
    /// The device is full; nothing was promised, the log is usable. Free space and try again.
    NoSpace,
    /// A write or sync failed, or a handler panicked; the log promises nothing any more.
    /// Drop it, reopen it, and ask `was_committed` about what is unknown.
    Poisoned,
    /// The log was closed.
    Closed,
    /// Another handle has the log open for writing.
    Locked,
    /// There is no log at this place, or it is not a place for one.
    NotALog,
    /// The log is damaged where it was once durable, or a part of it is missing. Nothing was
    /// changed. Look with `wal verify`; restore a copy, or salvage into a new directory.
    Damaged,
    /// A file belongs to another log; nothing was changed. Move it away.
    Foreign,
    /// A newer version of this library wrote the log; nothing was changed. Use that version.
    UnsupportedVersion,
    /// The position was truncated away.
    Truncated,
    /// No record starts at this position.
    NotARecordStart,
    /// The position lies beyond the readable end of the log.
    BeyondEnd,
    /// The engine's replay handler failed or panicked; nothing was lost. Mend it and reopen.
    Replay,
    /// A page is not as the log needs it: offline, torn without an image, or of another log. The
    /// message names it and says what to do; the log is usable.
    Page,
    /// The storage failed an operation that promises nothing; the log is usable.
    Io,
}

/// An error of the log. [`kind`](Self::kind) says what to do next, the message says what and where.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    lsn: Option<Lsn>,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Commit(CommitError),
    Recovery(RecoveryError),
    /// A failed commit, of which nothing is in the log.
    NotCommitted(RecoveryError),
    Io(IoError),
    Refused(Refusal),
    /// The engine could not take its snapshot.
    Snapshot(Box<dyn std::error::Error + Send + Sync>),
    /// A value and its bytes do not fit each other.
    #[cfg(feature = "serde")]
    Payload(Box<dyn std::error::Error + Send + Sync>),
}

/// Why the facade itself refused a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    #[error("there is no log in `{place}`, and the options say not to create one")]
    NoLog { place: String },
    #[error("{option} = {value} is out of range: {expected}")]
    Option { option: &'static str, value: u64, expected: &'static str },
    #[error("hold `{name}` keeps more than its limit of {limit_bytes} bytes; advance or drop it")]
    HoldLimit { name: String, limit_bytes: u64 },
    #[error("a hold named `{name}` exists already; drop it, or choose another name")]
    HoldExists { name: String },
    #[error("hold `{name}` was dropped; what it kept may be gone")]
    HoldGone { name: String },
    #[error(
        "hold `{name}` cannot be trusted: {fault}; it keeps all of the log until it is dropped"
    )]
    HoldFault { name: String, fault: wal_io::HoldFault },
    #[error("`{place}` takes holds only of the process which has the log open")]
    NoSharedHolds { place: String },
    #[error("there is no log in `{place}`; check the path, or create one")]
    NoLogThere { place: String },
    #[error("the log is kept without syncs (SyncMethod::None), so nothing can be made durable")]
    NotPromised,
    #[error("kind {kind:#04x} belongs to the log itself; engines use RecordKind::engine(0..=63)")]
    ReservedKind { kind: u8 },
    #[error("the checkpoint begun at {begin} is outdated: one begun at {newer} is complete")]
    Outdated { begin: Lsn, newer: Lsn },
    #[error("address {lsn} is before the first record that is still there, {head}")]
    Truncated { lsn: Lsn, head: Lsn },
    #[error(
        "this log is recovered by undo, so only transactions on pages write into it; open it with \
         `open_pages`"
    )]
    PagesOnly,
    #[error("a body of {bytes} bytes is longer than the {max} of a log with reserved space")]
    BodyTooLong { bytes: u64, max: u64 },
    #[error("the name of a restore point has 1 to 255 bytes, not {bytes}")]
    RestorePointName { bytes: usize },
    #[error("a log of pages tells no time: open it without the option `timestamps`")]
    NoTimestamps,
    #[error("the recovery of the pages was not finished; open the log again")]
    Unfinished,
}

impl Error {
    /// What kind of failure it was.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// For a failed commit: whether it certainly did not happen, or nobody can say before the log
    /// is reopened.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match &self.cause {
            Cause::Commit(error) => error.fate(),
            Cause::Refused(_) | Cause::Snapshot(_) => Fate::NotCommitted,
            #[cfg(feature = "serde")]
            Cause::Payload(_) => Fate::NotCommitted,
            Cause::Recovery(RecoveryError::Misuse { .. }) => Fate::NotCommitted,
            Cause::NotCommitted(_) => Fate::NotCommitted,
            Cause::Recovery(_) | Cause::Io(_) => Fate::Unknown,
        }
    }

    /// The same error, of a commit of which nothing is in the log.
    pub(crate) fn not_committed(self) -> Self {
        match self.cause {
            Cause::Recovery(error) => Self { cause: Cause::NotCommitted(error), ..self },
            _ => self,
        }
    }

    /// The record concerned: for a failed commit, the address to ask `was_committed` about.
    #[must_use]
    pub const fn lsn(&self) -> Option<Lsn> {
        self.lsn
    }

    /// The clean mark of a log of which everything is durable could not be written: no poison of
    /// commits, whatever the control file went through before.
    pub(crate) fn of_mark(error: IoError) -> Self {
        let kind = match &error {
            IoError::Poisoned { .. } => ErrorKind::Io,
            other => io_kind(other),
        };
        Self { kind, lsn: None, cause: Cause::Io(error) }
    }

    /// The engine's snapshot failed: no checkpoint was taken.
    pub(crate) fn of_snapshot(source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self { kind: ErrorKind::Replay, lsn: None, cause: Cause::Snapshot(source) }
    }

    /// The codec refused a value, or the bytes of one.
    #[cfg(feature = "serde")]
    pub(crate) fn of_payload(source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self { kind: ErrorKind::Refused, lsn: None, cause: Cause::Payload(source) }
    }

    pub(crate) fn at(self, lsn: Lsn) -> Self {
        Self { lsn: Some(lsn), ..self }
    }

    /// The verdict because of which the log was not opened.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        match &self.cause {
            Cause::Recovery(RecoveryError::Refused(verdict)) => Some(verdict),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Commit(error) => error.fmt(f),
            Cause::Recovery(error) | Cause::NotCommitted(error) => error.fmt(f),
            Cause::Io(error) => error.fmt(f),
            Cause::Refused(refusal) => refusal.fmt(f),
            #[cfg(feature = "serde")]
            Cause::Payload(source) => source.fmt(f),
            Cause::Snapshot(source) => {
                write!(f, "the engine's snapshot failed: {source}; no checkpoint was taken")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message of the cause is this error's own message; its source comes next.
        match &self.cause {
            Cause::Commit(error) => error.source(),
            Cause::Recovery(error) | Cause::NotCommitted(error) => error.source(),
            Cause::Io(error) => error.source(),
            Cause::Refused(_) => None,
            Cause::Snapshot(source) => source.source(),
            #[cfg(feature = "serde")]
            Cause::Payload(source) => source.source(),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let kind = match &refusal {
            Refusal::NoLog { .. } | Refusal::NoLogThere { .. } => ErrorKind::NotALog,
            Refusal::Truncated { .. } | Refusal::HoldGone { .. } => ErrorKind::Truncated,
            _ => ErrorKind::Refused,
        };
        Self { kind, lsn: None, cause: Cause::Refused(refusal) }
    }
}

impl From<IoError> for Error {
    fn from(error: IoError) -> Self {
        Self { kind: io_kind(&error), lsn: None, cause: Cause::Io(error) }
    }
}

impl From<RecoveryError> for Error {
    fn from(error: RecoveryError) -> Self {
        // What the log itself said comes out as it went in: kind, fate and address.
        let error = match error {
            RecoveryError::Log(ours) => match ours.downcast::<Self>() {
                Ok(ours) => return *ours,
                Err(other) => RecoveryError::Log(other),
            },
            error => error,
        };
        let (kind, lsn) = match &error {
            RecoveryError::Io(error) => (io_kind(error), None),
            RecoveryError::NoLog { .. } => (ErrorKind::NotALog, None),
            RecoveryError::Refused(verdict) => (verdict_kind(verdict), None),
            RecoveryError::OutOfMemory { lsn, .. } | RecoveryError::Changed { lsn } => {
                (ErrorKind::Io, Some(*lsn))
            }
            RecoveryError::Unreadable { lsn, .. }
            | RecoveryError::BrokenChain { lsn, .. }
            | RecoveryError::BadBody { lsn, .. }
            | RecoveryError::Encode { lsn, .. }
            | RecoveryError::Table { lsn, .. }
            | RecoveryError::UnusableCheckpoint { lsn, .. }
            | RecoveryError::Corrupt { lsn, .. } => (ErrorKind::Damaged, Some(*lsn)),
            RecoveryError::PageLsnBeyondEnd { page_lsn: lsn, .. }
            | RecoveryError::TornPage { lsn, .. } => (ErrorKind::Page, Some(*lsn)),
            RecoveryError::PageOffline { .. } => (ErrorKind::Page, None),
            RecoveryError::LogClosed => (ErrorKind::Closed, None),
            RecoveryError::BrokenUndo { lsn, .. }
            | RecoveryError::LostRecords { from: lsn, .. } => (ErrorKind::Damaged, Some(*lsn)),
            RecoveryError::PageLsnNotSet { lsn, .. } => (ErrorKind::Replay, Some(*lsn)),
            RecoveryError::CommitUnknown { lsn, source, .. } => (unknown_kind(source), Some(*lsn)),
            RecoveryError::Unfit { lsn, .. }
            | RecoveryError::NoRestore { lsn, .. }
            | RecoveryError::Handler { lsn, .. }
            | RecoveryError::HandlerPanicked { lsn, .. } => (ErrorKind::Replay, Some(*lsn)),
            RecoveryError::NotARecordStart { lsn, .. } => (ErrorKind::NotARecordStart, Some(*lsn)),
            RecoveryError::Truncated { lsn, .. } => (ErrorKind::Truncated, Some(*lsn)),
            RecoveryError::BeyondEnd { lsn, .. } => (ErrorKind::BeyondEnd, Some(*lsn)),
            RecoveryError::OutOfRange { lsn, head, .. } if lsn < head => {
                (ErrorKind::Truncated, Some(*lsn))
            }
            RecoveryError::OutOfRange { lsn, .. } => (ErrorKind::BeyondEnd, Some(*lsn)),
            _ => (ErrorKind::Refused, None),
        };
        Self { kind, lsn, cause: Cause::Recovery(error) }
    }
}

/// The kind of what kept a commit from becoming durable.
fn unknown_kind(source: &RecoveryError) -> ErrorKind {
    match source {
        RecoveryError::Log(source) => {
            source.downcast_ref::<Error>().map_or(ErrorKind::Poisoned, Error::kind)
        }
        _ => ErrorKind::Poisoned,
    }
}

fn io_kind(error: &IoError) -> ErrorKind {
    match error {
        IoError::Locked { .. } => ErrorKind::Locked,
        IoError::NotADirectory { .. } => ErrorKind::NotALog,
        IoError::Foreign { .. } => ErrorKind::Foreign,
        IoError::Malformed { source: DecodeError::UnsupportedVersion { .. }, .. } => {
            ErrorKind::UnsupportedVersion
        }
        IoError::Malformed { .. } => ErrorKind::Damaged,
        IoError::Unsound { .. } => ErrorKind::Damaged,
        IoError::Superseded { .. } | IoError::Poisoned { .. } => ErrorKind::Poisoned,
        IoError::Closed { .. } => ErrorKind::Closed,
        IoError::Gone { .. } => ErrorKind::Truncated,
        IoError::OutOfRange { .. } | IoError::BadOption { .. } | IoError::Exists { .. } => {
            ErrorKind::Refused
        }
        error if error.is_no_space() => ErrorKind::NoSpace,
        _ => ErrorKind::Io,
    }
}

fn verdict_kind(verdict: &Verdict) -> ErrorKind {
    match verdict {
        Verdict::ForeignSegment { .. } => ErrorKind::Foreign,
        Verdict::UnsupportedVersion { .. } => ErrorKind::UnsupportedVersion,
        _ => ErrorKind::Damaged,
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        let kind = match &error {
            CommitError::WouldBlock => ErrorKind::WouldBlock,
            CommitError::NoSpace(_) | CommitError::NoRoom { .. } => ErrorKind::NoSpace,
            // The control file failed, and no segment can be made: no poison of commits.
            CommitError::NotPrepared(cause) if matches!(**cause, IoError::Poisoned { .. }) => {
                ErrorKind::Io
            }
            CommitError::NotPrepared(cause) => io_kind(cause),
            CommitError::Poisoned { .. } => ErrorKind::Poisoned,
            CommitError::Closed | CommitError::Abandoned => ErrorKind::Closed,
            CommitError::TimedOut => ErrorKind::TimedOut,
            CommitError::BeyondEnd { .. } => ErrorKind::BeyondEnd,
            _ => ErrorKind::Refused,
        };
        Self { kind, lsn: None, cause: Cause::Commit(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_said_comes_back_whole_through_recovery() {
        let lsn = Lsn::FIRST;
        let ours = Error::from(CommitError::Closed).at(lsn);
        let (kind, fate) = (ours.kind(), ours.fate());
        let back = Error::from(RecoveryError::Log(Box::new(ours)));
        assert_eq!((back.kind(), back.fate(), back.lsn()), (kind, fate, Some(lsn)));
        assert_eq!(kind, ErrorKind::Closed);
    }

    #[test]
    fn what_another_log_said_stays_an_error_of_recovery() {
        let theirs = RecoveryError::Log("no more paper".into());
        let error = Error::from(theirs);
        assert_eq!((error.kind(), error.fate()), (ErrorKind::Refused, Fate::Unknown));
        assert!(error.to_string().contains("no more paper"));
    }

    #[test]
    fn a_page_that_recovery_cannot_use_is_told_from_a_damaged_log() {
        let page = wal_format::PageId::new(7);
        let error = Error::from(RecoveryError::TornPage { page, lsn: Lsn::FIRST });
        assert_eq!((error.kind(), error.lsn()), (ErrorKind::Page, Some(Lsn::FIRST)));
        assert_eq!(Error::from(RecoveryError::PageOffline { page }).kind(), ErrorKind::Page);
    }
}
