//! One partition as the set keeps it: its log, its hold, and what its recovery did.

use wal::{Error as WalError, Hold, Lsn, RecoveryReport, Wal};

/// The name of the hold that keeps parts and notes of batches from truncation.
pub(crate) const HOLD: &str = "cross-partition batches";

/// One partition.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) wal: Wal,
    /// Whether syncs promise anything; where not, everything counts as soon as it is ordered.
    pub(crate) promises: bool,
    /// At most the lowest part in this log whose batch is not settled.
    pub(crate) hold: Hold,
    pub(crate) recovery: RecoveryReport,
}

impl Member {
    /// Whether everything before `end` is as durable as this log makes it.
    pub(crate) fn has_durable(&self, end: Lsn) -> bool {
        !self.promises || self.wal.positions().durable >= end
    }

    /// Makes everything before `end` durable.
    pub(crate) fn make_durable(&self, end: Lsn) -> Result<(), WalError> {
        if self.has_durable(end) { Ok(()) } else { self.wal.sync().map(drop) }
    }
}
