//! Restart: the three passes in their order.
//!
//! ```text
//!   recover:  analysis ─► redo ─► torn pages          reads the log, writes pages
//!   finish:   in doubt ─► undo ─► ends ─► checkpoint  appends, once the commit path runs
//! ```
//!
//! Either half may be cut off anywhere and begun again: analysis writes nothing, redo is told by
//! page LSNs what it did, undo goes on from the compensations it logged.
//!
//! Source: ARIES, "Restart processing"; statements 19, 28 to 32.

use std::sync::Arc;

use wal_format::{Lsn, LsnRange, PageId, TxnId};

use super::analysis::{self, Analysis};
use super::change::STRATEGY;
use super::doubt::InDoubtCounts;
use super::engine_call::call_engine;
use super::losers::UndoReport;
use super::manager::TxnManager;
use super::pages::PageStore;
use super::parallel::redo_in_parallel;
use super::redo::{self, Unfinished};
use super::tables::Tables;
use super::torn::rebuild;
use super::walk::each_record;
use crate::error::RecoveryError;
use crate::progress::{Phase, Progress};
use crate::report::{AriesReport, RecoveryReport, RedoReport, UndoCounts};
use crate::strategy::{RecoveryLog, RecoveryStrategy};
use crate::txn_log::TxnLog;
use crate::verdict::Verdict;

/// Complete recovery, for engines that steal and do not force.
///
/// For the facade's `open_pages`, which makes what transactions run on part of the open log. Given
/// to an opening as any other [`RecoveryStrategy`], it recovers the pages, and no more.
#[derive(Debug)]
pub struct Aries {
    threads: usize,
    /// Where the log ended that pages need which were copied from a running engine.
    copied_from: Option<Lsn>,
    /// What the first half found; taken by the second.
    found: Option<Found>,
    payload: Option<Vec<u8>>,
    manager: Option<Arc<TxnManager>>,
}

/// What is left to do when redo is through.
#[derive(Debug)]
struct Found {
    tables: Tables,
    deferred: Vec<PageId>,
}

impl Default for Aries {
    fn default() -> Self {
        Self::new()
    }
}

impl Aries {
    /// Restart with redo on one thread.
    #[must_use]
    pub const fn new() -> Self {
        Self { threads: 1, copied_from: None, found: None, payload: None, manager: None }
    }

    /// Redo on `threads` threads, each with pages of its own; at least 1.
    ///
    /// It takes an engine that can [split](PageStore::split) its pages; another is recovered on
    /// one thread all the same. The pages end up in the same bytes either way.
    #[must_use]
    pub fn redo_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// The pages are a copy of those of a running engine: `oldest_needed` is what its log said when
    /// the copy began, and is older than what any page of the copy can lack.
    ///
    /// The log's own checkpoints know which pages had been written in the engine's storage, not in
    /// the copy, which may be older. So every page that changed since `oldest_needed` is taken for
    /// dirty, whatever a later checkpoint says of it. To be said at each opening of log and copy
    /// until one has succeeded; its checkpoint knows the copy.
    ///
    /// The opening fails with [`RecoveryError::OutOfRange`] if the log does not hold
    /// `oldest_needed`.
    ///
    /// # Cost
    ///
    /// One more sequential read, from `oldest_needed` to the checkpoint.
    ///
    /// Source: ARIES, "Media recovery"; statement 33.
    #[must_use]
    pub fn pages_copied_at(self, oldest_needed: Lsn) -> Self {
        Self { copied_from: Some(oldest_needed), ..self }
    }

    /// The engine's own bytes from the checkpoint that restart began with; `None` without one.
    #[must_use]
    pub fn checkpoint_payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    /// As [`checkpoint_payload`](Self::checkpoint_payload), to be kept: for the facade.
    #[doc(hidden)]
    #[must_use]
    pub fn take_checkpoint_payload(&mut self) -> Option<Vec<u8>> {
        self.payload.take()
    }

    /// What transactions run on; `None` before the log runs. For the facade.
    #[doc(hidden)]
    #[must_use]
    pub const fn manager(&self) -> Option<&Arc<TxnManager>> {
        self.manager.as_ref()
    }

    /// As [`manager`](Self::manager), at the end of the opening.
    #[doc(hidden)]
    #[must_use]
    pub fn into_manager(self) -> Option<Arc<TxnManager>> {
        self.manager
    }
}

impl<E: PageStore + ?Sized> RecoveryStrategy<E> for Aries {
    /// Analysis and redo.
    ///
    /// # Errors
    ///
    /// Restart can be repeated after each of them, and nothing in the log is lost.
    ///
    /// - [`RecoveryError::Handler`], [`RecoveryError::HandlerPanicked`]: the engine failed at a
    ///   record.
    /// - [`RecoveryError::PageLsnBeyondEnd`], [`RecoveryError::PageLsnNotSet`],
    ///   [`RecoveryError::TornPage`]: a page, or the engine, is not what the log knows.
    /// - [`RecoveryError::UnusableCheckpoint`], [`RecoveryError::Table`],
    ///   [`RecoveryError::BadBody`], [`RecoveryError::Unfit`], [`RecoveryError::LostRecords`]: the
    ///   log cannot be what an engine with this strategy wrote.
    /// - [`RecoveryError::Changed`], [`RecoveryError::Truncated`], [`RecoveryError::Io`],
    ///   [`RecoveryError::OutOfMemory`]: as for every reader.
    ///
    /// # Cost
    ///
    /// One sequential read from the checkpoint's begin, and one from the oldest recLSN. Redo on
    /// one thread borrows each body from the read buffer; on several, each run of 256 KiB is read
    /// once for all. Memory: one entry for each active transaction and two for each dirty page.
    fn recover(
        &mut self,
        log: &RecoveryLog<'_>,
        engine: &mut E,
        progress: &mut dyn Progress,
    ) -> Result<RecoveryReport, RecoveryError> {
        let mut analysis = analysis::analyse(log, self.copied_from, progress)?;
        restore_payload(&analysis, engine)?;
        let (threads, tables) = (self.threads, &mut analysis.tables);
        let (redo, unfinished) = redo_with(log, threads, tables, engine, progress)?;
        tracing::debug!(
            applied = redo.applied,
            losers = analysis.report.losers,
            "history repeated"
        );
        let report = report_of(log, &analysis, redo);
        self.payload = analysis.report.checkpoint.map(|_| analysis.payload);
        self.found = Some(Found { tables: analysis.tables, deferred: unfinished.offline });
        Ok(report)
    }

    fn undoes(&self) -> bool {
        true
    }

    /// In-doubt transactions, undo, end records, and a checkpoint.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::Log`]: the log took no more records.
    /// - [`RecoveryError::BrokenUndo`]: the records of a loser do not link as they must.
    /// - [`RecoveryError::Handler`], [`RecoveryError::HandlerPanicked`]: the engine failed.
    /// - [`RecoveryError::Misuse`]: `recover` has not succeeded before.
    fn finish(
        &mut self,
        log: &Arc<dyn TxnLog>,
        engine: &mut E,
        report: &mut RecoveryReport,
        progress: &mut dyn Progress,
    ) -> Result<(), RecoveryError> {
        let Some(Found { tables, deferred }) = self.found.take() else {
            let what = "analysis and redo come before undo";
            return Err(RecoveryError::Misuse { txn: TxnId::NONE, what });
        };
        let manager = TxnManager::resume(Arc::clone(log), tables, deferred);
        let rule = manager.write_ahead();
        call_engine(log.end(), || engine.log_runs(&rule))?;
        let doubt = manager.settle_in_doubt(engine)?;
        let done = manager.undo_losers(engine, progress)?;
        // Statement 30: the next restart does not go through all this again.
        let pointer = manager.checkpoint(self.payload.as_deref().unwrap_or_default())?;
        let undo = undo_counts(&done, doubt, Some(pointer.begin));
        report.aries.get_or_insert_default().undo = undo;
        self.manager = Some(manager);
        Ok(())
    }
}

/// Gives the engine back what it had put into the checkpoint.
pub(super) fn restore_payload<E: PageStore + ?Sized>(
    analysis: &Analysis,
    engine: &mut E,
) -> Result<(), RecoveryError> {
    let Some(pointer) = analysis.report.checkpoint else { return Ok(()) };
    call_engine(pointer.record, || engine.restore_payload(&analysis.payload))
}

/// What undo did, for the report.
pub(super) fn undo_counts(
    done: &UndoReport,
    doubt: InDoubtCounts,
    checkpoint: Option<Lsn>,
) -> UndoCounts {
    UndoCounts {
        transactions: done.rolled_back,
        clrs: done.clrs,
        records_read: done.records_read,
        winners_ended: done.winners_ended + doubt.committed,
        deferred: done.deferred.len() as u64,
        in_doubt: doubt.waiting,
        checkpoint,
    }
}

/// Redo on as many threads as the engine can be split into, and the rebuild of torn pages. The
/// tables learn which change of each page is the last.
pub(super) fn redo_with<E: PageStore + ?Sized>(
    log: &RecoveryLog<'_>,
    threads: usize,
    tables: &mut Tables,
    engine: &mut E,
    progress: &mut dyn Progress,
) -> Result<(RedoReport, Unfinished), RecoveryError> {
    let end = log.range.end;
    let done = match threads {
        0 | 1 => None,
        threads => redo_in_parallel(log.source, tables, end, threads, engine, progress)?,
    };
    let (mut report, mut unfinished) = match done {
        Some(done) => done,
        None => redo::redo(log.source, tables, end, engine, progress)?,
    };
    if !unfinished.torn.is_empty() {
        rebuild(log.range.start, &unfinished.torn, engine, &mut |from, visit| {
            let range = LsnRange::new(from, end);
            each_record(log.source, range, Phase::Replay, progress, |record| visit(record))
        })?;
        report.torn_rebuilt += unfinished.torn.len() as u64;
        unfinished.torn.clear();
    }
    // Statement 18: analysis knows of changes behind the checkpoint's begin only.
    unfinished.last.drain(..).for_each(|(page, lsn)| tables.dirty.redone(page, lsn));
    report.deferred.clone_from(&unfinished.offline);
    Ok((report, unfinished))
}

/// What the first two passes did, in the words of every strategy.
pub(super) fn report_of(
    log: &RecoveryLog<'_>,
    analysis: &Analysis,
    redo: RedoReport,
) -> RecoveryReport {
    let begin = analysis.report.range.start;
    let start = if redo.range.is_empty() { begin } else { begin.min(redo.range.start) };
    let mut report = RecoveryReport {
        strategy: STRATEGY,
        range: LsnRange::new(start, log.range.end),
        checkpoint: analysis.report.checkpoint,
        records_scanned: analysis.report.records,
        bytes_scanned: analysis.report.bytes,
        records_replayed: redo.applied,
        transactions: analysis.transactions,
        openings: analysis.openings,
        aries: Some(AriesReport {
            analysis: analysis.report.clone(),
            redo,
            undo: UndoCounts::default(),
        }),
        ..RecoveryReport::default()
    };
    if let Some(verdict) = log.verdict {
        report.verdict = verdict.to_string();
        if let Verdict::TornTail { dropped, .. } = verdict {
            report.dropped_bytes = dropped.bytes;
        }
    }
    report
}
