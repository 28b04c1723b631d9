//! Where the log stood when the last upkeep took its checkpoint.

use std::time::Instant;

use wal_format::Lsn;

/// What was when the last checkpoint by upkeep began, or when the log was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    /// Records appended by then, of this opening.
    pub(crate) records: u64,
    /// The reserved end once it was over: its own records make nothing due.
    pub(crate) end: Lsn,
    pub(crate) at: Instant,
}

impl Since {
    pub(crate) fn new(end: Lsn) -> Self {
        Self { records: 0, end, at: Instant::now() }
    }
}
