//! Copying a log to an empty place: what is left of a damaged one, or all up to a point.
//!
//! The copy is a log of its own, with a new identity and the same addresses, so that every LSN an
//! engine has stored keeps its meaning (rule 8). New records of the copy start above every
//! address that the source ever used. The source is only read: evidence of damage is never
//! changed (rule 16). The destination is no log before the copy is complete.
//!
//! ```text
//! examine ─► plan (nothing written) ─► segments, temporary names ─► names ─► control file
//! ```
//!
//! Left to others: the engine's own files. A point in time needs those of a checkpoint before it.

mod evidence_storage;
mod loss;
mod walk;
mod plan;
mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wal_format::{
    CheckpointPointer, ControlSlot, Epoch, LogId, Lsn, LsnRange, Predecessor, SegmentFlags,
    SegmentHeader,
};
use wal_io::{
    ControlFile, IoError, IoOp, LOCK_NAME, SEGMENT_BYTES_MIN, SegmentName, Storage, StorageLock,
};

use crate::error::RecoveryError;
use crate::examine::{Depth, Examination, examine};
use crate::progress::{Pace, Phase, Progress};
use crate::resync::decode_at;
use crate::source::LogSource;
use crate::verdict::{Dropped, Verdict, VerdictKind};
use crate::window::Window;
use evidence_storage::EvidenceStorage;
pub use loss::{CopyReport, LossReason, LossReport, LostRange};
pub(crate) use plan::Point;
pub use plan::Until;
use plan::{Joint, Plan, Run};
use run::RunFile;

/// Copies every provable record of the log in `source` into a new log in `destination`.
///
/// The copy ends where an ordinary opening of the source would end, had nothing been damaged:
/// at the first unreadable place that no evidence shows to have been durable. Before that, what
/// cannot be read is left out and declared in the copy, so that replay skips the transactions
/// that miss records, and voids the batches. What the device cannot read counts as damage; the
/// rest is copied. `log_id` is the identity of the copy: random, and
/// not that of the source.
///
/// # Durability
///
/// The copy is durable when this returns. Interrupted before, it leaves files in `destination`
/// which are not a log; remove them and salvage again.
///
/// # Errors
///
/// - [`RecoveryError::NotEmpty`], [`RecoveryError::SameLog`]: give another place or identity.
/// - [`RecoveryError::NoLog`], [`RecoveryError::Refused`]: nothing there tells which log it is, or
///   a newer program wrote it; use that one.
/// - [`RecoveryError::Io`], [`RecoveryError::OutOfMemory`]: clear the destination, try again.
///   Reading a record of the source is never such an error, opening its files is.
/// - [`RecoveryError::Changed`]: somebody writes the source; close it first.
///
/// # Cost
///
/// Reads the source three times, to judge, to plan and to copy. A segment per segment of the
/// source, and one more for each gap. Memory: a few MiB, the largest record, and the list of gaps.
///
/// Source: rules 8, 10 and 16.
pub fn salvage(
    source: &Arc<dyn Storage>,
    destination: &Arc<dyn Storage>,
    log_id: LogId,
    progress: &mut dyn Progress,
) -> Result<LossReport, RecoveryError> {
    let unreadable = Arc::new(AtomicU64::new(0));
    let evidence: Arc<dyn Storage> = Arc::new(EvidenceStorage::patient(source, &unreadable));
    let subject = Subject::read(&evidence, log_id, progress)?;
    let target = Target::claim(destination)?;
    let Subject { examined, log, head } = &subject;
    let plan = Plan::of_all(log, *head, examined.durable, progress)?;
    let copied = target.write(&subject, &plan, log_id, progress)?;
    let dropped = match &examined.verdict {
        Verdict::TornTail { dropped, .. } => *dropped,
        _ => Dropped::default(),
    };
    tracing::info!(place = examined.survey.place, gaps = plan.lost.len(), "salvaged");
    Ok(LossReport {
        place: examined.survey.place.clone(),
        verdict: examined.verdict.clone(),
        copied,
        lost: plan.lost,
        problems: examined.survey.problems.clone(),
        dropped,
        read_errors: unreadable.load(Ordering::Relaxed) > 0,
    })
}

/// Copies the log in `source` up to `until` into a new log in `destination`.
///
/// Transactions that commit behind the point are unfinished in the copy, and so are batches that
/// go on behind it. Damage behind the point does not matter. `log_id` as in [`salvage`].
///
/// # Durability
///
/// As [`salvage`].
///
/// # Errors
///
/// - [`RecoveryError::NoSuchPoint`]: the point is not in the log, lies behind damage, or before
///   all that the log can be replayed to. Nothing was written.
/// - Else as [`salvage`].
///
/// # Cost
///
/// As [`salvage`].
///
/// Source: rule 8; ARIES statement 33.
pub fn restore_to(
    source: &Arc<dyn Storage>,
    destination: &Arc<dyn Storage>,
    until: &Until,
    log_id: LogId,
    progress: &mut dyn Progress,
) -> Result<CopyReport, RecoveryError> {
    let evidence: Arc<dyn Storage> = Arc::new(EvidenceStorage::strict(source));
    let subject = Subject::read(&evidence, log_id, progress)?;
    let target = Target::claim(destination)?;
    let Subject { examined, log, head } = &subject;
    let plan = Plan::up_to(log, *head, examined.durable, until, progress)?;
    let copied = target.write(&subject, &plan, log_id, progress)?;
    tracing::info!(place = examined.survey.place, %until, "restored");
    Ok(copied)
}

/// The log that is copied.
struct Subject {
    examined: Examination,
    log: LogSource,
    /// Where the log begins, as far as anything tells.
    head: Lsn,
}

impl Subject {
    fn read(
        storage: &Arc<dyn Storage>,
        copy_id: LogId,
        progress: &mut dyn Progress,
    ) -> Result<Self, RecoveryError> {
        let examined = examine(storage, Depth::Full, progress)?;
        // A newer log is not damaged: only a program that knows it can say what is whole in it.
        let newer = examined.verdict.kind() == VerdictKind::UnsupportedVersion;
        if newer || examined.survey.log_id.is_none() {
            return Err(RecoveryError::Refused(Box::new(examined.verdict)));
        }
        let log = examined.source(storage)?;
        run::check_identity(log.log_id(), copy_id)?;
        let log = walk::repair_caps(&examined.survey, &log)?;
        let slots = examined.survey.control.current().map(|slot| slot.head);
        let headers = log.links().iter().map(|link| link.header.head);
        let head = headers.chain(slots).max().unwrap_or(Lsn::FIRST);
        Ok(Self { examined, log, head })
    }
}

/// The place that is copied to; locked, and found empty.
struct Target<'d> {
    storage: &'d Arc<dyn Storage>,
    _lock: Box<dyn StorageLock>,
}

impl<'d> Target<'d> {
    fn claim(storage: &'d Arc<dyn Storage>) -> Result<Self, RecoveryError> {
        let place = storage.place();
        let lock = storage.lock().map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => IoError::Locked { place: place.clone() },
            _ => IoError::failed(IoOp::Lock, &*place, error),
        })?;
        let entries =
            storage.list().map_err(|error| IoError::failed(IoOp::List, &*place, error))?;
        match entries.into_iter().find(|entry| entry.name != LOCK_NAME) {
            Some(entry) => Err(RecoveryError::NotEmpty { place, name: entry.name }),
            None => Ok(Self { storage, _lock: lock }),
        }
    }

    /// Writes the copy: segments, names, control file.
    fn write(
        &self,
        subject: &Subject,
        plan: &Plan,
        log_id: LogId,
        progress: &mut dyn Progress,
    ) -> Result<CopyReport, RecoveryError> {
        let out_of_epochs = IoError::OutOfRange { what: "the epoch", lsn: Lsn::NONE };
        // Above every epoch of the source: an `Opened` record copied from it switches nothing.
        let epoch = subject.log.highest_epoch().max(subject.examined.survey.highest_epoch);
        let epoch = epoch.checked_add(1).ok_or(out_of_epochs)?;
        let layout = Layout::of(subject, plan, log_id, epoch)?;
        let mut copied = CopyReport {
            log_id,
            range: plan.range(),
            records: 0,
            bytes: plan.runs.iter().map(|run| run.range.bytes()).sum(),
            segments: layout.headers.len(),
            checkpoint: plan.checkpoints.last().copied(),
        };
        let storage = &**self.storage;
        let mut pace = Pace::start(Phase::Copy, plan.range(), progress);
        for (run, header) in plan.runs.iter().zip(&layout.headers) {
            copied.records += copy_run(&subject.log, run, RunFile::create(storage, header)?)?;
            pace.reach(run.range.end, progress);
        }
        if let Some(last) = layout.headers.last() {
            RunFile::create(storage, last)?.finish_empty()?;
        }
        run::give_names(storage, &layout.names())?;
        ControlFile::create(self.storage, &layout.control(&plan.checkpoints))?;
        pace.finish(plan.range().end, progress);
        Ok(copied)
    }
}

/// Copies the records of one run; gives their number.
fn copy_run(log: &LogSource, run: &Run, mut file: RunFile) -> Result<u64, RecoveryError> {
    let LsnRange { start, end } = run.range;
    let changed = |lsn| RecoveryError::Changed { lsn };
    let (_, link) = log.link_of(start).ok_or(changed(start))?;
    let mut window = Window::open(&**log.storage(), link)?;
    let (mut at, mut records) = (start, 0);
    while at < end {
        let pushed =
            decode_at(log, &mut window, at, |record| file.push(record).map(|()| record.end()))?;
        at = pushed.map_err(|_| changed(at))??;
        records += 1;
    }
    file.finish()?;
    Ok(records)
}

/// The segments of a copy: one for each run, and an empty one behind them.
struct Layout {
    headers: Vec<SegmentHeader>,
    end: Lsn,
}

impl Layout {
    fn of(
        subject: &Subject,
        plan: &Plan,
        log_id: LogId,
        epoch: Epoch,
    ) -> Result<Self, RecoveryError> {
        let end = plan.range().end;
        // Rule 8: what the copy will write stands above all that the source ever wrote.
        let above = subject.examined.survey.address_end.max(end);
        let out_of_range = IoError::OutOfRange { what: "the address", lsn: above };
        let base = above.align_up(wal_format::layout::BLOCK_BYTES as u64).ok_or(out_of_range)?;
        let head = plan.runs.first().map_or(base, |run| run.range.start);
        let mut headers: Vec<SegmentHeader> = Vec::with_capacity(plan.runs.len() + 1);
        let mut push = |base: Lsn, capacity_bytes, created_unix_us, flags| {
            let predecessor = headers.last().map(|before| Predecessor {
                base: before.base,
                epoch,
                end: before.end().unwrap_or(before.base),
            });
            headers.push(SegmentHeader {
                log_id,
                base,
                epoch,
                capacity_bytes,
                created_unix_us,
                flags,
                predecessor,
                head,
            });
        };
        for run in &plan.runs {
            let flags = SegmentFlags::BORN_DURABLE.with(joint_flags(run.joint));
            push(run.range.start, run.range.bytes(), run.created_unix_us, flags);
        }
        let last = if plan.lost_behind() { Joint::Loss } else { Joint::Jump };
        let created_unix_us = plan.runs.last().map_or(0, |run| run.created_unix_us);
        push(base, SEGMENT_BYTES_MIN, created_unix_us, joint_flags(last));
        Ok(Self { headers, end })
    }

    /// Oldest first.
    fn names(&self) -> Vec<SegmentName> {
        let name = |header: &SegmentHeader| SegmentName { epoch: header.epoch, base: header.base };
        self.headers.iter().map(name).collect()
    }

    fn control(&self, checkpoints: &[CheckpointPointer]) -> ControlSlot {
        let newest = self.headers.last();
        let of_newest = |field: fn(&SegmentHeader) -> Lsn| newest.map_or(Lsn::FIRST, field);
        ControlSlot {
            log_id: newest.map_or(LogId::from_bytes([0; 16]), |header| header.log_id),
            sequence: 1,
            epoch: newest.map_or(Epoch::FIRST, |header| header.epoch),
            head: of_newest(|header| header.head),
            newest_base: of_newest(|header| header.base),
            newest_epoch: newest.map_or(Epoch::FIRST, |header| header.epoch),
            durable: self.end,
            // Not marked clean: the next opening goes on in a segment of its own.
            clean: None,
            checkpoints: checkpoints.to_vec(),
        }
    }
}

const fn joint_flags(joint: Joint) -> SegmentFlags {
    match joint {
        Joint::Contiguous => SegmentFlags::NONE,
        Joint::Jump => SegmentFlags::OPENING,
        Joint::Loss => SegmentFlags::AFTER_LOSS,
    }
}
