//! What can go wrong in a bank.

use thiserror::Error;
use wal_format::PageId;
use wal_recovery::RecoveryError;
use wal_recovery::aries::EngineError;

/// Why a call failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BankError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] wal::Error),
    /// A transaction could not log.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The file of the pages failed.
    #[error("cannot {call} the pages: {source}")]
    Pages {
        /// Which call.
        call: &'static str,
        /// Its error.
        source: std::io::Error,
    },
    /// A page is not whole, and no restart mended it.
    #[error("page {page} is torn")]
    Torn {
        /// Which.
        page: PageId,
    },
    /// The books are not what the bank itself wrote.
    #[error("{0}")]
    Books(String),
    /// Another engine's error.
    #[error(transparent)]
    Engine(EngineError),
}
