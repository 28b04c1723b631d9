//! How an engine chooses what recovery means for its log.
//!
//! A [`RecoveryStrategy`] is picked per log, and an engine can write its own. The opening calls
//! it once, after the tail has been made safe (design 0001, steps 1 to 5) and before anything is
//! appended: every record of the range is proven, durable, and where it will stay.
//!
//! What is left to others: the verdict on the log (`examine`), making its tail safe (`resume`),
//! and how fast anything is. This file knows no strategy.
//!
//! # A strategy that writes
//!
//! Undo as in ARIES appends compensation records, and they can be appended only when the commit
//! path runs again. Such a strategy keeps what it found in `recover` (analysis and redo) in
//! itself, `&mut self`, and undoes in [`finish`](RecoveryStrategy::finish), which the opening calls
//! with a way to append. One that only reads, as [`RedoOnly`](crate::RedoOnly) does, leaves that
//! method as it is.

use std::sync::Arc;

use wal_format::{CheckpointPointer, LsnRange};

use crate::error::RecoveryError;
use crate::progress::Progress;
use crate::report::RecoveryReport;
use crate::source::LogSource;
use crate::txn_log::TxnLog;
use crate::verdict::Verdict;

/// What a strategy is given: a log that is proven from one end of its range to the other.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecoveryLog<'a> {
    /// Where the records are read from.
    pub source: &'a LogSource,
    /// The log: from its head to its end. Nothing beyond is to be looked at.
    pub range: LsnRange,
    /// The newest complete checkpoint, if there is one.
    pub checkpoint: Option<CheckpointPointer>,
    /// All retained checkpoints, oldest first; empty when only the newest is known. A strategy
    /// falls back to an older one when what the newest consists of is damaged.
    pub checkpoints: &'a [CheckpointPointer],
    /// The verdict on the log, if it was judged.
    pub verdict: Option<&'a Verdict>,
}

impl<'a> RecoveryLog<'a> {
    /// A log without a checkpoint, which nobody has judged.
    #[must_use]
    pub const fn new(source: &'a LogSource, range: LsnRange) -> Self {
        Self { source, range, checkpoint: None, checkpoints: &[], verdict: None }
    }

    /// The same log, with its newest complete checkpoint.
    #[must_use]
    pub const fn with_checkpoint(self, checkpoint: Option<CheckpointPointer>) -> Self {
        Self { checkpoint, ..self }
    }

    /// The same log, with all its retained checkpoints, oldest first.
    #[must_use]
    pub const fn with_checkpoints(self, checkpoints: &'a [CheckpointPointer]) -> Self {
        Self { checkpoints, ..self }
    }

    /// The same log, with the verdict on it.
    #[must_use]
    pub const fn with_verdict(self, verdict: &'a Verdict) -> Self {
        Self { verdict: Some(verdict), ..self }
    }
}

/// What recovery means for an engine of type `E`.
pub trait RecoveryStrategy<E: ?Sized> {
    /// Brings `engine` to the state which the log proves.
    ///
    /// Called once per opening, on one thread. It may be interrupted at any point, by a crash or
    /// by an error, and is then called again from the start by the next opening: what it does to
    /// the engine must bear being done twice.
    ///
    /// # Durability
    ///
    /// Every record in the range is durable. Nothing may be written to the log here.
    ///
    /// # Errors
    ///
    /// [`RecoveryError`]: the opening fails, the log is left as it is and can be opened again.
    fn recover(
        &mut self,
        log: &RecoveryLog<'_>,
        engine: &mut E,
        progress: &mut dyn Progress,
    ) -> Result<RecoveryReport, RecoveryError>;

    /// Whether the strategy undoes. The log is then written by its transactions only: records of
    /// any other kind, or from anybody else, would be none that its restart can make sense of.
    fn undoes(&self) -> bool {
        false
    }

    /// Does what is left to do once the log takes records again: nothing, unless the strategy
    /// undoes.
    ///
    /// Called once per opening, after [`recover`](Self::recover) succeeded and before anyone else
    /// appends. What it changed in the counts is in `report`, which is the one that `recover`
    /// returned.
    ///
    /// # Durability
    ///
    /// Whatever it appends is durable no later than the first commit after it; it may be
    /// interrupted at any point, and the next opening goes on from there.
    ///
    /// # Errors
    ///
    /// [`RecoveryError`]: the opening fails, and can be repeated; nothing is lost.
    fn finish(
        &mut self,
        log: &Arc<dyn TxnLog>,
        engine: &mut E,
        report: &mut RecoveryReport,
        progress: &mut dyn Progress,
    ) -> Result<(), RecoveryError> {
        let (_, _, _, _) = (log, engine, report, progress);
        Ok(())
    }
}
