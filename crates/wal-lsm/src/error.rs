//! What can go wrong in the engine.

use thiserror::Error;
use wal_io::IoError;

/// Why a call failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LsmError {
    /// The log failed; its error says whether it is still usable, and what became of a commit.
    #[error(transparent)]
    Log(#[from] wal::Error),
    /// A table file could not be written, read, or removed. What is committed is in the log, or in
    /// files that are named already.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Bytes of a table file are not those that were written. Restore the file from a copy.
    #[error("{file} is damaged at offset {offset}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A record or checkpoint in the log is not this engine's.
    #[error("the log holds what this engine does not write: {what}")]
    Foreign {
        /// What it is.
        what: &'static str,
    },
    /// A key is empty or longer than [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX), or a value longer
    /// than [`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX). Nothing changed.
    #[error("a key of {key} bytes, or a value of {value}, is too long or empty")]
    Size {
        /// Bytes of the key.
        key: usize,
        /// Bytes of the value.
        value: usize,
    },
}
