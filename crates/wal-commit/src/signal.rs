//! What somebody who waits is told.

use crate::error::CommitError;

/// What a waiter is told.
#[derive(Clone, Debug)]
pub(crate) enum Signal {
    /// What you waited for is there.
    Met,
    /// The baton is yours.
    Lead,
    /// It will not be.
    Failed(CommitError),
}
