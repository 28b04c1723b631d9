//! Calls into the engine: its errors and its panics become errors of ours.

use wal_format::Lsn;

use super::pages::EngineError;
use crate::error::RecoveryError;
use crate::redo_only::guarded;

/// Calls the engine about the record at `lsn`. An error of ours that comes back through the
/// engine, such as one of the log or of a page that is offline, comes out as it was.
pub(super) fn call_engine<T>(
    lsn: Lsn,
    call: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, RecoveryError> {
    let mut answer = None;
    let outcome = guarded(lsn, || {
        answer = Some(call()?);
        Ok::<(), EngineError>(())
    });
    match (outcome, answer) {
        (Ok(()), Some(answer)) => Ok(answer),
        (Ok(()), None) => Err(RecoveryError::Changed { lsn }),
        (Err(RecoveryError::Handler { lsn, source }), _) => Err(match source.downcast() {
            Ok(ours) => *ours,
            Err(source) => RecoveryError::Handler { lsn, source },
        }),
        (Err(error), _) => Err(error),
    }
}
