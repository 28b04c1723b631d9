//! What can go wrong in the tree.

use wal::{EngineError, ErrorKind, RecoveryError};
use wal_format::PageId;
use wal_io::IoError;

use crate::page::PageFault;

/// An error of the tree: what, where, and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key, or a key of the range, is locked by another transaction. Abort, and try again.
    #[error("another transaction has locked the key; abort this one and try again")]
    Conflict,
    /// The key is there already; nothing changed.
    #[error("the key is there already")]
    KeyExists,
    /// A key must have at least one byte, and key and value must fit into a quarter of a page.
    #[error(
        "a key of {key_bytes} and a value of {value_bytes} bytes do not fit: {key_bytes_max} for \
         the key and {entry_bytes_max} for both are the limit"
    )]
    TooLarge {
        /// Bytes of the key.
        key_bytes: usize,
        /// Bytes of the value.
        value_bytes: usize,
        /// The most that a key may have.
        key_bytes_max: usize,
        /// The most that both may have together.
        entry_bytes_max: usize,
    },
    /// The options contradict each other, or the file that is there.
    #[error("the options cannot be used: {0}")]
    Options(&'static str),
    /// There is a log, and the file with the pages is gone: restore both from a copy.
    #[error("there is a log, but no page file `{name}`; restore both from a copy")]
    PagesMissing {
        /// The file.
        name: String,
    },
    /// There are pages, and their log is gone, or somewhere else: without it nobody knows which of
    /// their changes committed. Open it with its own log, or restore both from a copy.
    #[error("there is a page file `{name}` with pages in it, but no log; restore both from a copy")]
    LogMissing {
        /// The file.
        name: String,
    },
    /// A page cannot be used.
    #[error("page {page}: {fault}; reopen the tree, or restore it from a copy")]
    Page {
        /// The page.
        page: PageId,
        /// Why.
        fault: PageFault,
    },
    /// The tree is not one: found by a check.
    #[error("page {page}: {what}")]
    Broken {
        /// Where.
        page: PageId,
        /// What is wrong.
        what: &'static str,
    },
    /// A record of an operation that this engine does not know.
    #[error("logical operation {number} is not one of this engine's, or its record is damaged")]
    BadOperation {
        /// The operation.
        number: u32,
    },
    /// The file with the pages failed. After a failed write or sync the tree is poisoned.
    #[error(transparent)]
    Io(#[from] IoError),
    /// What is in memory cannot be trusted any more: reopen the tree. Nothing that was committed
    /// is lost.
    #[error("the tree is poisoned: {why}; reopen it")]
    Poisoned {
        /// What happened first.
        why: String,
    },
    /// The log failed or refused, or something else did while it was opened. Its
    /// [`kind`](wal::Error::kind) says what to do.
    #[error(transparent)]
    Log(#[from] wal::Error),
    /// Pages and log do not fit together, or the log does not fit this engine.
    #[error(transparent)]
    Pages(RecoveryError),
}

impl From<RecoveryError> for Error {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Log(_) => Self::Log(error.into()),
            other => Self::Pages(other),
        }
    }
}

impl Error {
    pub(crate) const fn page(page: PageId, fault: PageFault) -> Self {
        Self::Page { page, fault }
    }

    /// Whether the log could not take what it was asked to, and nothing changed.
    pub(crate) fn is_refusal(&self) -> bool {
        let Self::Log(error) = self else { return false };
        matches!(error.kind(), ErrorKind::Refused | ErrorKind::NoSpace)
    }

    /// As recovery wants it: an error of the log goes back to the log as it came.
    pub(crate) fn into_engine_error(self) -> EngineError {
        match self {
            Self::Pages(error) => Box::new(error),
            Self::Log(error) => Box::new(RecoveryError::Log(Box::new(error))),
            other => Box::new(other),
        }
    }
}
