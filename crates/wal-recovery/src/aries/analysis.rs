//! Analysis: the first pass, which rebuilds both tables as they were when the log broke off.
//!
//! ```text
//!   begin ········ part 0 ···· part 1 ···· end ················ end of the log
//!     └── the parts are read first; then every record from the begin on is taken in, once
//! ```
//!
//! An entry of a part may be newer than records behind the begin, never newer than the part. So a
//! record at or before an entry's last LSN is in the entry; a transaction that is in no part and
//! began before the begin ended before its part was copied, and is not brought back.
//!
//! Nothing is written, to the log or to a page. Memory grows with the transactions active and the
//! pages dirty, not with the log.
//!
//! Source: ARIES, "Analysis pass"; statements 12, 13, 16 to 19.

use std::collections::BTreeMap;

use wal_format::body::{Body, Outcome, TxnState};
use wal_format::{CheckpointPointer, Lsn, LsnRange, PageId, RecordKind, RecordRef, TxnId, TxnLink};

use super::change::body_of;
use super::checkpoint_read::{self, CheckpointTables, Refusal};
use super::page_map::PageMap;
use super::tables::{Effect, Fate, Tables, take_in};
use super::walk::each_record;
use crate::error::RecoveryError;
use crate::fault::{CheckpointFault, TableFault};
use crate::progress::{Phase, Progress};
use crate::report::{AnalysisReport, TransactionCounts};
use crate::strategy::RecoveryLog;

/// What analysis found.
#[derive(Debug)]
pub(super) struct Analysis {
    /// Both tables, at the end of the log.
    pub(super) tables: Tables,
    /// The engine's own bytes from the checkpoint.
    pub(super) payload: Vec<u8>,
    pub(super) report: AnalysisReport,
    pub(super) transactions: TransactionCounts,
    /// Openings of the log met.
    pub(super) openings: u64,
}

/// Reads the log from its newest usable checkpoint on. Pages that were copied from a running engine
/// may be older than that knows: what changed since `copied_from` is taken for dirty, too.
///
/// # Errors
///
/// - [`RecoveryError::OutOfRange`]: the log does not hold `copied_from`.
/// - [`RecoveryError::UnusableCheckpoint`]: no checkpoint can be used, and the log does not begin
///   with its first record.
/// - [`RecoveryError::Table`]: a record cannot follow those before it.
/// - As [`each_record`], and as [`body_of`].
pub(super) fn analyse(
    log: &RecoveryLog<'_>,
    copied_from: Option<Lsn>,
    progress: &mut dyn Progress,
) -> Result<Analysis, RecoveryError> {
    let (checkpoint, passed_over) = choose(log)?;
    let mut reading = Reading::new(checkpoint.as_ref());
    let start = checkpoint.as_ref().map_or(log.range.start, |tables| tables.pointer.begin);
    let range = LsnRange::new(start, log.range.end);
    if let Some(from) = copied_from {
        take_for_dirty(log, from, start, &mut reading, progress)?;
    }
    each_record(log.source, range, Phase::Analysis, progress, |record| reading.take(record))?;
    let payload = checkpoint.as_ref().map(|tables| tables.payload.clone()).unwrap_or_default();
    let mut analysis = reading.finish(payload)?;
    analysis.report.range = range;
    analysis.report.checkpoint = checkpoint.map(|tables| tables.pointer);
    analysis.report.passed_over = passed_over;
    Ok(analysis)
}

/// Enters what changed from `from` to `start`, where analysis begins, into the dirty-page table: a
/// page with its first change, or the first one of its newest life (statement 24). That comes first,
/// since the page may be freed behind `start`.
fn take_for_dirty(
    log: &RecoveryLog<'_>,
    from: Lsn,
    start: Lsn,
    reading: &mut Reading,
    progress: &mut dyn Progress,
) -> Result<(), RecoveryError> {
    let (head, end) = (log.range.start, log.range.end);
    if from < head || from > end {
        return Err(RecoveryError::OutOfRange { lsn: from, head, end });
    }
    if from >= start {
        return Ok(());
    }
    each_record(log.source, LsnRange::new(from, start), Phase::Analysis, progress, |record| {
        if let Some(body) = body_of(record)? {
            reading.take_page(record.lsn(), Effect::of(&body));
        }
        Ok(())
    })
}

/// The newest checkpoint that can be used, and the newer ones that cannot.
type Chosen = (Option<CheckpointTables>, Vec<(CheckpointPointer, CheckpointFault)>);

fn choose(log: &RecoveryLog<'_>) -> Result<Chosen, RecoveryError> {
    let mut candidates: Vec<CheckpointPointer> = log.checkpoint.into_iter().collect();
    let newest = log.checkpoint.map_or(Lsn::MAX, |pointer| pointer.record);
    let older = log.checkpoints.iter().rev().filter(|pointer| pointer.record < newest);
    candidates.extend(older.copied());
    let mut passed_over = Vec::new();
    for pointer in candidates {
        match checkpoint_read::read(log, pointer) {
            Ok(tables) => return Ok((Some(tables), passed_over)),
            Err(Refusal::Failed(error)) => return Err(error),
            Err(Refusal::Fault(fault)) => {
                tracing::warn!(begin = %pointer.begin, %fault, "checkpoint passed over");
                passed_over.push((pointer, fault));
            }
        }
    }
    if log.range.start <= Lsn::FIRST {
        return Ok((None, passed_over));
    }
    // Transactions and pages from before the head would be missed in silence.
    let none = (log.range.start, CheckpointFault::NoneLeft);
    let (lsn, fault) =
        passed_over.first().map_or(none, |(pointer, fault)| (pointer.record, *fault));
    Err(RecoveryError::UnusableCheckpoint { lsn, fault })
}

/// Since when a page is dirty, and what changed it last.
#[derive(Clone, Copy, Debug)]
struct Dirt {
    rec_lsn: Lsn,
    last_lsn: Lsn,
}

/// The tables while the log is read.
#[derive(Debug)]
struct Reading {
    /// Transactions; pages are kept apart until the end, one look-up for every record.
    tables: Tables,
    pages: PageMap<Dirt>,
    /// The end record of the checkpoint: behind it, every transaction is known or begins.
    known_from: Lsn,
    /// Transactions which are in no part although they began before the begin, and their first
    /// record behind it: they must end before the checkpoint does.
    leaving: BTreeMap<TxnId, Lsn>,
    report: AnalysisReport,
    transactions: TransactionCounts,
    openings: u64,
}

impl Reading {
    fn new(checkpoint: Option<&CheckpointTables>) -> Self {
        let mut reading = Self {
            tables: Tables::default(),
            pages: PageMap::default(),
            known_from: Lsn::NONE,
            leaving: BTreeMap::new(),
            report: AnalysisReport::default(),
            transactions: TransactionCounts::default(),
            openings: 0,
        };
        let Some(checkpoint) = checkpoint else { return reading };
        reading.known_from = checkpoint.pointer.record;
        reading.tables.txns.saw_id(checkpoint.next_txn_id.saturating_sub(1));
        checkpoint.txns.iter().for_each(|entry| reading.tables.txns.insert(*entry));
        let pages = checkpoint.pages.iter();
        let dirt = |rec_lsn| Dirt { rec_lsn, last_lsn: rec_lsn };
        reading.pages = pages.map(|(page, rec_lsn)| (*page, dirt(*rec_lsn))).collect();
        reading
    }

    fn take(&mut self, record: &RecordRef<'_>) -> Result<(), RecoveryError> {
        self.report.records += 1;
        self.report.bytes += record.encoded_bytes() as u64;
        self.openings += u64::from(record.kind() == RecordKind::OPENED);
        let Some(body) = body_of(record)? else { return Ok(()) };
        self.count(&body);
        let (lsn, effect) = (record.lsn(), Effect::of(&body));
        match record.txn {
            Some(link) => self
                .take_txn(lsn, link, effect)
                .map_err(|fault| RecoveryError::Table { lsn, fault })?,
            None if matches!(effect, Effect::Image(_) | Effect::Free(_) | Effect::None) => {}
            None => {
                return Err(RecoveryError::Table { lsn, fault: TableFault::NoTransaction });
            }
        }
        self.take_page(lsn, effect);
        Ok(())
    }

    fn count(&mut self, body: &Body<'_>) {
        match body {
            Body::Commit(_) => self.transactions.committed += 1,
            Body::End(end) if end.outcome == Outcome::RolledBack => self.transactions.aborted += 1,
            _ => {}
        }
    }

    /// Statement 18: a page leaves only when it is freed; that it was written is in no record.
    fn take_page(&mut self, lsn: Lsn, effect: Effect) {
        match effect {
            Effect::Change(page) | Effect::Compensation { page, .. } | Effect::Image(page)
                if !page.is_none() =>
            {
                let dirt = self.pages.entry(page).or_insert(Dirt { rec_lsn: lsn, last_lsn: lsn });
                dirt.rec_lsn = dirt.rec_lsn.min(lsn);
                dirt.last_lsn = dirt.last_lsn.max(lsn);
            }
            // Statement 24: what the page was before does not apply to its next life.
            Effect::Free(page) => drop(self.pages.remove(&page)),
            _ => {}
        }
    }

    fn take_txn(&mut self, lsn: Lsn, link: TxnLink, effect: Effect) -> Result<(), TableFault> {
        let txn = link.txn_id;
        // One look-up for nearly every record.
        match self.tables.txns.get_mut(txn) {
            // The part was copied after this record: what it did is in the entry.
            Some(entry) if lsn <= entry.last_lsn => return Ok(()),
            Some(entry) => {
                if link.prev_lsn != entry.last_lsn {
                    let (prev, last) = (link.prev_lsn, entry.last_lsn);
                    return Err(TableFault::Unlinked { prev, last });
                }
                if let Effect::Compensation { undo_next, .. } = effect {
                    let leads_back = entry.first_lsn <= undo_next && undo_next < lsn;
                    if !undo_next.is_none() && !leads_back {
                        return Err(TableFault::UndoNext { to: undo_next });
                    }
                }
                if effect != Effect::Begin {
                    if take_in(entry, lsn, effect)? == Fate::Ended {
                        self.tables.txns.remove(txn);
                    }
                    return Ok(());
                }
            }
            None if effect != Effect::Begin && lsn < self.known_from => {
                self.tables.txns.saw_id(txn.get());
                if effect == Effect::End {
                    self.leaving.remove(&txn);
                } else {
                    self.leaving.entry(txn).or_insert(lsn);
                }
                return Ok(());
            }
            None => {}
        }
        self.tables.record(lsn, Some(txn), without_page(effect))
    }

    fn finish(mut self, payload: Vec<u8>) -> Result<Analysis, RecoveryError> {
        if let Some(lsn) = self.leaving.values().min() {
            return Err(RecoveryError::Table { lsn: *lsn, fault: TableFault::NotBegun });
        }
        for (page, dirt) in &self.pages {
            self.tables.dirty.merge(*page, dirt.rec_lsn);
            self.tables.dirty.changed(*page, dirt.last_lsn);
        }
        let txns = &self.tables.txns;
        self.report.winners = txns.count(TxnState::Committed);
        self.report.losers = txns.count(TxnState::Active) + txns.count(TxnState::RollingBack);
        self.report.in_doubt = txns.count(TxnState::Prepared);
        self.report.dirty_pages = self.tables.dirty.len();
        self.transactions.unfinished = self.report.losers as u64;
        Ok(Analysis {
            tables: self.tables,
            payload,
            report: self.report,
            transactions: self.transactions,
            openings: self.openings,
        })
    }
}

/// What the record does to its transaction alone.
const fn without_page(effect: Effect) -> Effect {
    match effect {
        Effect::Change(_) => Effect::Change(PageId::NONE),
        Effect::Compensation { undo_next, .. } => {
            Effect::Compensation { page: PageId::NONE, undo_next }
        }
        Effect::Image(_) => Effect::Image(PageId::NONE),
        Effect::Free(_) => Effect::Free(PageId::NONE),
        other => other,
    }
}
