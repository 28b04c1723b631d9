//! What the log itself says: of a restart, and of compensations.

use std::collections::BTreeSet;

use wal::{PageLog, RecoveryReport};
use wal_format::body::Body;

use crate::engine::{Restart, Tally};
use crate::error::BankError;

/// The counts of a restart.
pub(crate) fn restart_of(report: &RecoveryReport) -> Restart {
    let Some(wal::AriesReport { analysis, redo, undo, .. }) = &report.aries else {
        return Restart::default();
    };
    Restart {
        analysed: analysis.records,
        winners: analysis.winners as u64,
        losers: analysis.losers as u64,
        in_doubt: analysis.in_doubt as u64,
        dirty_pages: analysis.dirty_pages as u64,
        redone: redo.applied,
        skipped: redo.skipped_clean + redo.skipped_before + redo.skipped_newer,
        torn: redo.torn_rebuilt,
        clrs: undo.clrs,
        undo_read: undo.records_read,
        rolled_back: undo.transactions,
    }
}

/// Counts the records of a log.
pub(crate) fn tally(log: &PageLog) -> Result<Tally, BankError> {
    log.sync()?;
    let (mut tally, mut compensated) = (Tally::default(), BTreeSet::new());
    let mut reader = log.read_from(log.head())?;
    while let Some(record) = reader.next()? {
        match Body::decode(record.kind(), record.body) {
            Ok(Some(Body::Update(_) | Body::Logical(_))) => tally.changes += 1,
            Ok(Some(Body::Clr(clr))) if !clr.compensated.is_none() => {
                tally.compensations += 1;
                tally.twice += u64::from(!compensated.insert(clr.compensated));
            }
            _ => {}
        }
    }
    Ok(tally)
}
