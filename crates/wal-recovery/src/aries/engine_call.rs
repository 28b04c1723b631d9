//! Calls into the engine: its errors and its panics become errors of ours.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wal_format::Lsn;

use super::pages::EngineError;
use crate::error::RecoveryError;
use crate::redo_only::panicked;

/// Calls the engine about the record at `lsn`. An error of ours that comes back through the
/// engine, such as one of the log or of a page that is offline, comes out as it was.
///
/// After a panic the engine is not called again, and goes back to its owner with the error.
#[inline]
pub(super) fn call_engine<T>(
    lsn: Lsn,
    call: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, RecoveryError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(refused(lsn, error)),
        Err(panic) => Err(panicked(lsn, panic.as_ref())),
    }
}

#[cold]
fn refused(lsn: Lsn, error: EngineError) -> RecoveryError {
    match error.downcast() {
        Ok(ours) => *ours,
        Err(source) => RecoveryError::Handler { lsn, source },
    }
}
