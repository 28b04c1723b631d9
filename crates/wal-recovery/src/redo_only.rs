//! Recovery of engines that never let an uncommitted change reach storage: redo, and nothing else.
//!
//! ```text
//! checkpoint payload ──► engine.restore
//! plain records       ──► engine.redo, where they stand
//! atomic batch        ──► engine.redo, where its last record stands, whole or not at all
//! transaction         ──► engine.redo, where its commit record stands, in its own order
//! aborted, unfinished ──► nothing
//! ```
//!
//! With S the begin of the newest complete checkpoint: replay scans from the first record of the
//! transactions active at S, or S, and applies what counts at S or later (rule 3). Memory grows
//! with the transactions active at once, not with the log (rule 21).
//!
//! Left to others: which log is proven (`examine`), and making its tail safe (`resume`).
//!
//! Source: rules 3, 7 and 21; ARIES statements 34 and 35.

mod target;

mod batch;
mod active;
mod chain;
mod settle;
mod replay;

use wal_format::body::CheckpointEnd;
use wal_format::{CheckpointPointer, DecodeError, Lsn, LsnRange, RecordKind};

use crate::error::RecoveryError;
use crate::progress::Progress;
use crate::report::RecoveryReport;
use crate::source::LogSource;
use crate::strategy::{RecoveryLog, RecoveryStrategy};
use crate::verdict::Verdict;
use replay::Bounds;
pub use target::{CheckpointView, CommitMark, RedoTarget, ReplayRecord};

pub(crate) use settle::{bad_body, commit_timestamp};
pub(crate) use target::panicked;

/// Addresses of one transaction kept at once, unless told otherwise: 512 KiB.
const CHAIN_RUNGS: usize = 1 << 16;

/// Redo-only recovery, for no-steal engines: LSM trees, queues, key-value stores.
#[derive(Clone, Copy, Debug)]
pub struct RedoOnly {
    chain_rungs: usize,
}

impl Default for RedoOnly {
    fn default() -> Self {
        Self::new()
    }
}

impl RedoOnly {
    /// Redo-only recovery with its default bounds.
    #[must_use]
    pub const fn new() -> Self {
        Self { chain_rungs: CHAIN_RUNGS }
    }

    /// Keeps up to `addresses` addresses of one transaction at once: 8 bytes each, at least 2,
    /// 65,536 by default.
    ///
    /// A transaction with more records is replayed all the same, and read once more for it; what
    /// is kept then grows with its records divided by this number.
    #[must_use]
    pub const fn with_chain_addresses_max(self, addresses: usize) -> Self {
        Self { chain_rungs: addresses }
    }
}

impl<E: RedoTarget + ?Sized> RecoveryStrategy<E> for RedoOnly {
    /// Replays what committed, as the head of this module's file says.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::Handler`], [`RecoveryError::HandlerPanicked`]: the engine refused a
    ///   record. Repair the engine and open again; nothing in the log is lost.
    /// - [`RecoveryError::NoRestore`]: there is a checkpoint, and the engine takes none back.
    /// - [`RecoveryError::BrokenChain`], [`RecoveryError::BadBody`]: valid records contradict one
    ///   another: a defect in what wrote them. Keep the log and report it.
    /// - [`RecoveryError::Unfit`]: the log was written for another strategy.
    /// - [`RecoveryError::Truncated`]: a writer has truncated the log meanwhile. Examine it again.
    /// - [`RecoveryError::Changed`]: the log is no longer what it was when it was examined.
    /// - [`RecoveryError::Io`], [`RecoveryError::OutOfMemory`]: try again.
    ///
    /// # Cost
    ///
    /// One sequential read of the range, one or two addressed reads of each record in a
    /// transaction, one of each in a batch, mostly from a cache of 1 MiB. A body is borrowed from
    /// the read buffer, never copied.
    fn recover(
        &mut self,
        log: &RecoveryLog<'_>,
        engine: &mut E,
        progress: &mut dyn Progress,
    ) -> Result<RecoveryReport, RecoveryError> {
        let (mut begin, mut start) = (Lsn::NONE, log.range.start);
        if let Some(pointer) = log.checkpoint {
            if !engine.restores() {
                return Err(RecoveryError::NoRestore { lsn: pointer.record });
            }
            restore(log.source, pointer, engine)?;
            begin = pointer.begin;
            // In a salvaged log, what the checkpoint wants replayed may be lost at the head.
            start = pointer.redo_from.max(start);
        }
        let range = LsnRange::new(start, log.range.end);
        let bounds = Bounds { range, begin, rungs_max: self.chain_rungs };
        let mut report = replay::replay(log.source, bounds, engine, progress)?;
        report.checkpoint = log.checkpoint;
        if let Some(verdict) = log.verdict {
            report.verdict = verdict.to_string();
            if let Verdict::TornTail { dropped, .. } = verdict {
                report.dropped_bytes = dropped.bytes;
            }
        }
        tracing::debug!(
            records = report.records_replayed,
            committed = report.transactions.committed,
            "redo-only recovery finished"
        );
        Ok(report)
    }
}

/// Hands the payload of the checkpoint to the engine.
fn restore<E: RedoTarget + ?Sized>(
    source: &LogSource,
    pointer: CheckpointPointer,
    engine: &mut E,
) -> Result<(), RecoveryError> {
    let mut buffer = Vec::new();
    let record = source.read_record(pointer.record, &mut buffer)?;
    if record.kind() != RecordKind::CHECKPOINT_END {
        return Err(bad_body(&record, DecodeError::BadField { field: "checkpoints" }));
    }
    let end = CheckpointEnd::decode(record.body).map_err(|source| bad_body(&record, source))?;
    if (end.begin, end.redo_from) != (pointer.begin, pointer.redo_from) {
        return Err(bad_body(&record, DecodeError::BadField { field: "begin" }));
    }
    let compressed = target::is_compressed(record.flags());
    let view =
        CheckpointView { compressed, ..CheckpointView::new(end.begin, record.lsn(), end.payload) };
    target::guarded(view.record, || engine.restore(&view))
}
