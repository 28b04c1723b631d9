//! Media recovery: a copy of the pages that was taken while the engine ran, brought to a point in
//! the log.
//!
//! The log is read and never written. To go on working with log and pages, restore the log to the
//! point ([`restore_to`](crate::restore_to)) and open it on the copy, with
//! [`pages_copied_at`](super::Aries::pages_copied_at): that restart does all of this, and logs its
//! compensations. What is here is for a copy that is to be looked at, or to become a database of its
//! own with a new log. For that, set the LSN of every page to [`Lsn::NONE`] first: a new log knows
//! none of the old addresses, and refuses pages that carry them.
//!
//! ```text
//!   checkpoint in force        copy taken: pages of           the point
//!   when the copy began        different ages                     │
//!   ──┴─────────────────────────┴─────────┴─────────────────────┴── · · · ──
//!     └─ redo from its redo address ─────────────────────────────►│
//!                                  losers at the point are undone ◄┘
//! ```
//!
//! Source: ARIES, "Media recovery"; statement 33.

use std::sync::Arc;

use parking_lot::Mutex;
use wal_format::layout::BODY_BYTES_MAX;
use wal_format::{CheckpointPointer, Lsn, LsnRange, RecordDraft, RecordRef};

use super::analysis::analyse;
use super::change::Change;
use super::engine_call::call_engine;
use super::manager::TxnManager;
use super::page_map::PageMap;
use super::pages::{PageState, PageStore};
use super::restart::{redo_with, report_of, restore_payload, undo_counts};
use super::walk::each_record;
use crate::copy::{Point, Until};
use crate::error::RecoveryError;
use crate::fault::PointFault;
use crate::progress::{Phase, Progress};
use crate::report::RecoveryReport;
use crate::source::LogSource;
use crate::strategy::RecoveryLog;
use crate::txn_log::{Placed, TxnLog};

/// Pages remembered at once while those are checked that changed behind the point.
const CHECKED_MAX: usize = 1 << 16;

/// Brings `engine`, a copy of pages, to `until`; to the end of the log where that is `None`.
///
/// `log.checkpoint` is the newest complete checkpoint when the copy began, or an older one, and
/// `log.checkpoints` others before it: pages in the copy are at least as new as those in storage
/// were then. Without one, the log must reach back to its first record.
///
/// Transactions that had not committed at the point are taken back in the copy. Nothing is logged:
/// the addresses that undo leaves in pages lie behind the point, and stand for no record. A new log
/// takes the copy once the LSN of every page is [`Lsn::NONE`].
///
/// # Errors
///
/// - [`RecoveryError::NoSuchPoint`]: the point is not in the log, or lies before something that a
///   page of the copy already holds; in the latter case too, no page was changed. Also met when a
///   copy is recovered a second time: begin with a new one.
/// - [`RecoveryError::PageOffline`]: a page of the copy cannot be reached.
/// - As [`Aries`](super::Aries), restart by restart. A recovery that was broken off begins again
///   with the copy as it was taken.
///
/// # Cost
///
/// Up to two more scans than a restart: to find the point, and for what changed behind it.
pub fn recover_copy<E: PageStore + ?Sized>(
    log: &RecoveryLog<'_>,
    engine: &mut E,
    until: Option<&Until>,
    progress: &mut dyn Progress,
) -> Result<RecoveryReport, RecoveryError> {
    let stop = match until {
        Some(until) => find(log, until, progress)?,
        None => log.range.end,
    };
    let usable = |pointer: &CheckpointPointer| pointer.end <= stop;
    let older: Vec<CheckpointPointer> =
        log.checkpoints.iter().filter(|p| usable(p)).copied().collect();
    let limited = RecoveryLog {
        range: LsnRange::new(log.range.start, stop),
        checkpoint: log.checkpoint.filter(usable),
        checkpoints: &older,
        ..*log
    };
    let mut analysis = analyse(&limited, None, progress)?;
    if let Some(until) = until {
        check_pages(log, stop, until, engine, progress)?;
    }
    restore_payload(&analysis, engine)?;
    let (redo, unfinished) = redo_with(&limited, 1, &mut analysis.tables, engine, progress)?;
    if let Some(page) = unfinished.offline.first() {
        return Err(RecoveryError::PageOffline { page: *page });
    }
    let mut report = report_of(&limited, &analysis, redo);
    let silent: Arc<dyn TxnLog> = Arc::new(SilentLog::new(log.source, stop));
    let manager = TxnManager::resume(silent, analysis.tables, Vec::new());
    let doubt = manager.settle_in_doubt(engine)?;
    let done = manager.undo_losers(engine, progress)?;
    if let Some(page) = manager.deferred_pages().first() {
        return Err(RecoveryError::PageOffline { page: *page });
    }
    report.aries.get_or_insert_default().undo = undo_counts(&done, doubt, None);
    Ok(report)
}

/// The address behind the last record to keep.
fn find(
    log: &RecoveryLog<'_>,
    until: &Until,
    progress: &mut dyn Progress,
) -> Result<Lsn, RecoveryError> {
    let head = log.range.start;
    let mut point = Point::at_head(head);
    let mut stop = head;
    each_record(log.source, log.range, Phase::Scan, progress, |record| {
        point.look(until, record)?;
        if !point.passed {
            stop = record.end();
        }
        Ok(())
    })?;
    point
        .found(until, head)
        .map_err(|why| RecoveryError::NoSuchPoint { until: until.to_string(), why })?;
    Ok(stop)
}

/// Whether no page of the copy holds what was done at `stop` or later: redo cannot go backwards.
fn check_pages<E: PageStore + ?Sized>(
    log: &RecoveryLog<'_>,
    stop: Lsn,
    until: &Until,
    engine: &mut E,
    progress: &mut dyn Progress,
) -> Result<(), RecoveryError> {
    let mut checked: PageMap<()> = PageMap::default();
    let mut newest = Lsn::NONE;
    let range = LsnRange::new(stop, log.range.end);
    each_record(log.source, range, Phase::Scan, progress, |record| {
        let Some(change) = Change::of(record)? else { return Ok(()) };
        if checked.len() >= CHECKED_MAX {
            checked.clear();
        }
        if checked.insert(change.page, ()).is_none()
            && let PageState::At(page_lsn) =
                call_engine(record.lsn(), || engine.page_state(change.page))?
        {
            newest = newest.max(page_lsn);
        }
        Ok(())
    })?;
    if newest < stop {
        return Ok(());
    }
    let mut buffer = Vec::new();
    let behind = log.source.read_record(newest, &mut buffer).map(|record| record.end());
    let why = PointFault::TooEarly { earliest: behind.unwrap_or(newest) };
    Err(RecoveryError::NoSuchPoint { until: until.to_string(), why })
}

/// A log that keeps nothing: what undo would log goes nowhere.
#[derive(Debug)]
struct SilentLog {
    source: LogSource,
    stop: Lsn,
    /// Where the next record would stand.
    next: Mutex<Lsn>,
}

impl SilentLog {
    fn new(source: &LogSource, stop: Lsn) -> Self {
        Self { source: source.clone(), stop, next: Mutex::new(stop) }
    }
}

impl TxnLog for SilentLog {
    fn append(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<Placed, RecoveryError> {
        let mut next = self.next.lock();
        let lsn = *next;
        let full = || RecoveryError::Log("no address is left".into());
        *next = lsn.checked_add(draft.encoded_bytes() as u64).ok_or_else(full)?;
        reserved(lsn);
        Ok(Placed { lsn, end: *next })
    }

    fn read<'b>(&self, lsn: Lsn, buf: &'b mut Vec<u8>) -> Result<RecordRef<'b>, RecoveryError> {
        if lsn >= self.stop {
            return Err(RecoveryError::BeyondEnd { lsn, end: self.stop });
        }
        self.source.read_record(lsn, buf)
    }

    fn wait_durable(&self, _end: Lsn) -> Result<(), RecoveryError> {
        Ok(())
    }

    fn end(&self) -> Lsn {
        *self.next.lock()
    }

    fn durable(&self) -> Lsn {
        self.end()
    }

    fn body_bytes_max(&self) -> usize {
        BODY_BYTES_MAX
    }

    fn reserve(&self, _bytes: u64) -> Result<(), RecoveryError> {
        Ok(())
    }

    fn release(&self, _bytes: u64) {}

    fn record_checkpoint(&self, _pointer: CheckpointPointer) -> Result<(), RecoveryError> {
        Err(RecoveryError::Log("a copy takes no checkpoint".into()))
    }

    fn unix_us(&self) -> u64 {
        0
    }
}
