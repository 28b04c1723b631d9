//! Looking at a log without changing it: one verdict, and all that an opening needs to know.
//!
//! Steps 1 and 2 of the opening (`docs/design/0001-seams-between-crates.md`): survey, scan, look
//! ahead, decide. Nothing here writes; what follows from the verdict is for the policies.

use std::ops::ControlFlow;
use std::sync::Arc;

use wal_format::body::CheckpointEnd;
use wal_format::{
    CheckpointPointer, Epoch, LogId, Lsn, LsnRange, RecordKind, RecordRef, SegmentFlags,
};
use wal_io::{Storage, Survey};

use crate::error::RecoveryError;
use crate::evidence::{Claims, Evidence};
use crate::handing::{Handing, Nobody, Visit};
use crate::judge::{facts_of, verdict_of};
use crate::lookahead::{Behind, look_ahead};
use crate::progress::{Pace, Phase, Progress};
use crate::scan::{Scanner, Step, Stop, StopReason};
use crate::source::{LogSource, SCAN_THREADS};
use crate::verdict::{Dropped, Facts, StopClass, Verdict};

/// A writer that overtakes a reader this often is not a race any more.
const ATTEMPTS_MAX: usize = 16;

/// How often an end that looks torn is looked at again: a writer may be in the middle of it.
const LOOKS_MAX: usize = 8;

/// How much of a log is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Depth {
    /// From the newest usable checkpoint on: what an opening replays. What lies before it is
    /// covered by evidence and was not needed; decay there is found by [`Depth::Full`].
    #[default]
    FromCheckpoint,
    /// From the head on: every record is verified.
    Full,
    /// From the beginning of the segment in which the range starts, whose header proves it, to the
    /// end of the range. What lies before and behind is not read: the verdict is on the range, and
    /// on what the files themselves tell.
    Within(LsnRange),
}

/// What a scan passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanCounts {
    /// Valid records.
    pub records: u64,
    /// Bytes of these records.
    pub bytes: u64,
    /// Those among them which are the log's own: openings, padding, watermarks.
    pub housekeeping: u64,
    /// Declared jumps.
    pub jumps: u64,
    /// Declared jumps behind which records are known to be lost.
    pub losses: u64,
}

/// What a log is found to be.
#[derive(Clone, Debug)]
pub struct Examination {
    /// What the directory holds.
    pub survey: Survey,
    /// What the log is found to be.
    pub verdict: Verdict,
    /// What the scan read: from the checkpoint or the head up to T.
    pub scanned_range: LsnRange,
    /// What it passed.
    pub scanned: ScanCounts,
    /// Where the scan stopped, and why.
    pub stop: Stop,
    /// T: end of the last valid record before the first unreadable place.
    pub end: Lsn,
    /// D: end of what evidence proves durable; beyond `end` only if the log is damaged.
    pub durable: Lsn,
    /// The evidence that reaches furthest.
    pub evidence: Option<Evidence>,
    /// The epoch in force at T.
    pub epoch: Epoch,
    /// Whether the log was closed cleanly, and nothing speaks against it (rule 4).
    pub clean: bool,
    /// The newest usable checkpoint.
    pub checkpoint: Option<CheckpointPointer>,
    /// From here to T the log holds nothing but housekeeping, in segments of its own; an unclean
    /// opening leaves these out (rule 16). Equals T when the last segment holds more.
    pub housekeeping_from: Lsn,
    /// Segments of the chain that an unclean opening keeps: those before `housekeeping_from`.
    pub(crate) kept_links: usize,
}

impl Examination {
    /// The log as it was found, readable up to [`end`](Self::end).
    ///
    /// # Errors
    ///
    /// [`RecoveryError::NoLog`]: nothing told which log this is, so no record can be verified.
    pub fn source(&self, storage: &Arc<dyn Storage>) -> Result<LogSource, RecoveryError> {
        source_of(&self.survey, storage)
    }
}

/// Examines the log in `storage`.
///
/// Takes no lock and changes nothing. A log which is being written meanwhile is seen as it was at
/// some moment. What a writer does is never taken for damage (rule 22), and an end that looks torn
/// is looked at again a few times: it still may look so where a large write is under way.
///
/// # Errors
///
/// - [`RecoveryError::NoLog`]: there is none; create one, or check the path.
/// - [`RecoveryError::Truncated`]: a writer truncates the log faster than it can be read.
/// - [`RecoveryError::Io`], [`RecoveryError::OutOfMemory`]: nothing was concluded; try again.
///
/// Damage is no error but a [`Verdict`].
///
/// # Cost
///
/// Reads the log from the newest checkpoint (or the head) to the end of its last file, once; past
/// 2 MiB with a helper, where there is another processor.
pub fn examine(
    storage: &Arc<dyn Storage>,
    depth: Depth,
    progress: &mut dyn Progress,
) -> Result<Examination, RecoveryError> {
    examine_on(storage, depth, SCAN_THREADS, progress)
}

/// As [`examine`], which does so on up to two threads ([`LogSource::scan_on`]), on as many as
/// `threads`.
///
/// # Errors
///
/// As [`examine`].
pub fn examine_on(
    storage: &Arc<dyn Storage>,
    depth: Depth,
    threads: usize,
    progress: &mut dyn Progress,
) -> Result<Examination, RecoveryError> {
    match examine_with(storage, depth, threads, progress, &mut Nobody)? {
        ControlFlow::Continue(found) => Ok(found),
        ControlFlow::Break(never) => match never {},
    }
}

/// As [`examine`] at [`Depth::Full`], on up to `threads` threads, handing every record to `visit`
/// in the same pass; what it broke off with, when it did, and then nothing is known of the rest.
///
/// Each record is proven by its own checksum, address and epoch, and handed out once, in order.
/// What only the verdict tells is whether anything is missing behind the last one.
///
/// # Errors
///
/// As [`examine`]; and [`RecoveryError::Changed`]: a writer cut the log off, before or behind what
/// was handed out, so that what follows does not follow that.
pub fn examine_visiting<B>(
    storage: &Arc<dyn Storage>,
    threads: usize,
    progress: &mut dyn Progress,
    visit: impl FnMut(&RecordRef<'_>) -> ControlFlow<B>,
) -> Result<ControlFlow<B, Examination>, RecoveryError> {
    examine_with(storage, Depth::Full, threads, progress, &mut Handing::new(visit))
}

fn examine_with<V: Visit>(
    storage: &Arc<dyn Storage>,
    depth: Depth,
    threads: usize,
    progress: &mut dyn Progress,
    visit: &mut V,
) -> Result<ControlFlow<V::Break, Examination>, RecoveryError> {
    let mut attempt = 1;
    loop {
        let found = match examine_once(storage, depth, threads, progress, visit) {
            Ok(ControlFlow::Break(value)) => return Ok(ControlFlow::Break(value)),
            Ok(ControlFlow::Continue(found)) => Ok(found),
            Err(error) => Err(error),
        };
        let overtaken = match &found {
            Err(RecoveryError::Truncated { .. }) => true,
            Ok(found) if found.verdict.is_damage() => was_overtaken(storage, found)?,
            Ok(found) if found.verdict != Verdict::CleanEnd => is_being_written(storage, found)?,
            _ => false,
        };
        if !overtaken || attempt == ATTEMPTS_MAX {
            return found.map(ControlFlow::Continue);
        }
        attempt += 1;
    }
}

/// Whether what looks like damage is a writer at work: the files changed, or the place where the
/// scan stopped holds a record by now.
fn was_overtaken(storage: &Arc<dyn Storage>, found: &Examination) -> Result<bool, RecoveryError> {
    let now = Survey::read(&**storage)?;
    if now.links != found.survey.links || now.control != found.survey.control {
        return Ok(true);
    }
    holds_a_record_now(storage, found)
}

/// Whether what looks like a torn tail becomes whole while it is looked at.
fn is_being_written(
    storage: &Arc<dyn Storage>,
    found: &Examination,
) -> Result<bool, RecoveryError> {
    for _ in 0..LOOKS_MAX {
        // Each look opens and reads the file, which gives the writer some time.
        if holds_a_record_now(storage, found)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a record can be read by now where the scan stopped, or its segment was truncated.
fn holds_a_record_now(
    storage: &Arc<dyn Storage>,
    found: &Examination,
) -> Result<bool, RecoveryError> {
    let Ok(source) = found.source(storage) else { return Ok(false) };
    match source.read_record(found.stop.at, &mut Vec::new()) {
        Ok(record) => Ok(record.kind().is_readable()),
        Err(RecoveryError::Truncated { .. }) => Ok(true),
        Err(RecoveryError::Unreadable { .. } | RecoveryError::OutOfRange { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn examine_once<V: Visit>(
    storage: &Arc<dyn Storage>,
    depth: Depth,
    threads: usize,
    progress: &mut dyn Progress,
    visit: &mut V,
) -> Result<ControlFlow<V::Break, Examination>, RecoveryError> {
    let survey = Survey::read(&**storage)?;
    if survey.is_empty() {
        return Err(RecoveryError::NoLog { place: survey.place });
    }
    let Some(log_id) = survey.log_id else {
        return Ok(ControlFlow::Continue(unreadable(survey)));
    };
    let source = source_of(&survey, storage)?;
    let mut claims = claims_of(&survey, log_id);
    let named = named_checkpoint(&source, &survey)?;
    let range = range_of(depth, named, &source);
    let start = range.start;
    let scanner = source.scan_on(range, threads);
    let scan = match scan_all(&source, scanner, &mut claims, progress, visit)? {
        ControlFlow::Continue(scan) => scan,
        ControlFlow::Break(value) => return Ok(ControlFlow::Break(value)),
    };
    // All that was asked for is there: what is promised behind it is not judged.
    let is_within = matches!(depth, Depth::Within(_)) && scan.stop.why == StopReason::RangeEnd;
    let behind = if is_within {
        Behind { class: StopClass::Blank, dropped: Dropped::default() }
    } else {
        look_ahead(&source, &scan.stop, &mut claims, progress)?
    };
    let mut facts = facts_of(&survey, &scan.stop, &claims, behind);
    facts.promised &= !is_within;
    let verdict = verdict_of(&facts, &survey, &scan.stop, &claims, behind.dropped);
    // No slot names one after both were lost, and the slot which an opening then makes is whole:
    // that nothing is named is no proof that there is nothing. Nothing named, all was scanned.
    let checkpoint = named.or(scan.checkpoint);
    let clean = verdict == Verdict::CleanEnd && is_marked_clean(&survey, &scan.stop);
    let (kept_links, housekeeping_from) = housekeeping(&source, &scan);
    tracing::debug!(place = survey.place, %verdict, end = %scan.stop.at, clean, "examined");
    Ok(ControlFlow::Continue(Examination {
        verdict,
        scanned_range: LsnRange::new(start, scan.stop.at),
        scanned: scan.counts,
        stop: scan.stop,
        end: scan.stop.at,
        durable: claims.durable(),
        evidence: claims.strongest(),
        epoch: scan.stop.epoch,
        clean,
        checkpoint,
        housekeeping_from,
        kept_links,
        survey,
    }))
}

/// What is scanned.
fn range_of(depth: Depth, named: Option<CheckpointPointer>, source: &LogSource) -> LsnRange {
    match (depth, named) {
        (Depth::FromCheckpoint, Some(pointer)) => LsnRange::new(pointer.redo_from, Lsn::MAX),
        (Depth::Within(LsnRange { start, end }), _) => {
            let bases = source.links().iter().map(|link| link.range().start);
            let base = bases.rev().find(|base| *base <= start);
            let base = base.unwrap_or_else(|| source.range().start);
            LsnRange::new(base, end.max(base))
        }
        _ => LsnRange::new(source.range().start, Lsn::MAX),
    }
}

fn source_of(survey: &Survey, storage: &Arc<dyn Storage>) -> Result<LogSource, RecoveryError> {
    let Some(log_id) = survey.log_id else {
        return Err(RecoveryError::NoLog { place: survey.place.clone() });
    };
    let source = LogSource::new(Arc::clone(storage), survey.links.clone(), log_id);
    Ok(source.with_highest_epoch(survey.highest_epoch))
}

/// What the control file and the headers of the chain prove.
pub(crate) fn claims_of(survey: &Survey, log_id: LogId) -> Claims {
    let mut claims = Claims::default();
    // A slot that was superseded still tells the truth about what was durable then.
    let slots = survey.control.slots.iter().filter_map(|slot| slot.whole());
    let slots = slots.filter(|slot| slot.log_id == log_id);
    // Of proofs that reach equally far the first is named: the one that says most to a person.
    for (end, _) in slots.clone().filter_map(|slot| slot.clean) {
        claims.add(Evidence::CleanMark { end });
    }
    for &CheckpointPointer { record, end, .. } in slots.clone().flat_map(|slot| &slot.checkpoints) {
        claims.add(Evidence::Checkpoint { record, end });
    }
    for slot in slots {
        claims.add(Evidence::ControlDurable { durable: slot.durable });
    }
    for link in &survey.links {
        let (segment, flags) = (link.name, link.header.flags);
        let has = |flag| flags.contains(flag);
        if let Some(before) = link.header.predecessor {
            // Only an opening, or a salvage, goes on further up; both sync what is before first.
            let is_jump = link.range().start > before.end;
            if is_jump || has(SegmentFlags::OPENING) || has(SegmentFlags::AFTER_LOSS) {
                claims.add(Evidence::OpeningHeader { segment, end: before.end });
            }
        }
        if has(SegmentFlags::BORN_DURABLE) {
            claims.add(Evidence::BornDurable { segment, end: link.end().min(link.cap) });
        }
    }
    claims
}

/// The newest checkpoint named by the control file that can be read and lies in the log.
fn named_checkpoint(
    source: &LogSource,
    survey: &Survey,
) -> Result<Option<CheckpointPointer>, RecoveryError> {
    let named = survey.control.current().map(|slot| slot.checkpoints.as_slice());
    let mut buf = Vec::new();
    for pointer in named.unwrap_or_default().iter().rev() {
        if source.link_of(pointer.redo_from).is_none() {
            // No writer records such a pointer; a salvage that lost the head leaves one.
            tracing::warn!(record = %pointer.record, from = %pointer.redo_from,
                "a checkpoint that replays from below the head is not used");
            continue;
        }
        match source.read_record(pointer.record, &mut buf) {
            Ok(record) if checkpoint_at(&record) == Some(*pointer) => return Ok(Some(*pointer)),
            // Not usable. If it is damaged, the scan from an older place will meet the damage.
            Ok(_) | Err(RecoveryError::Unreadable { .. } | RecoveryError::OutOfRange { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The pointer to the checkpoint which `record` completes.
fn checkpoint_at(record: &RecordRef<'_>) -> Option<CheckpointPointer> {
    if record.kind() != RecordKind::CHECKPOINT_END {
        return None;
    }
    let CheckpointEnd { begin, redo_from, .. } = CheckpointEnd::decode(record.body).ok()?;
    let pointer = CheckpointPointer { begin, redo_from, record: record.lsn(), end: record.end() };
    (begin <= pointer.record).then_some(pointer)
}

/// What one pass over the log found.
struct Scan {
    counts: ScanCounts,
    stop: Stop,
    /// Index of the segment where it stopped.
    stop_index: usize,
    /// Segments up to the last which holds more than housekeeping.
    kept_links: usize,
    /// The last complete checkpoint met whose replay can start in this log.
    checkpoint: Option<CheckpointPointer>,
}

fn scan_all<V: Visit>(
    source: &LogSource,
    mut scanner: Scanner,
    claims: &mut Claims,
    progress: &mut dyn Progress,
    visit: &mut V,
) -> Result<ControlFlow<V::Break, Scan>, RecoveryError> {
    visit.begin();
    let start = scanner.position();
    let mut pace = Pace::start(Phase::Scan, LsnRange::new(start, source.range().end), progress);
    let mut counts = ScanCounts::default();
    let mut checkpoint = None;
    // Segments before the start were not looked into: they count as more than housekeeping.
    let starts_inside =
        source.links().get(scanner.index()).is_some_and(|link| link.name.base < start);
    let mut kept_links = scanner.index() + usize::from(starts_inside);
    loop {
        match scanner.next()? {
            Step::Record(record) => {
                if let ControlFlow::Break(value) = visit.meet(&record)? {
                    return Ok(ControlFlow::Break(value));
                }
                counts.records += 1;
                counts.bytes += record.encoded_bytes() as u64;
                let is_housekeeping = record.kind().is_housekeeping();
                counts.housekeeping += u64::from(is_housekeeping);
                if let Some(durable) = record.durable() {
                    claims.add(Evidence::Watermark { record: record.lsn(), durable });
                }
                if let Some(pointer) = checkpoint_at(&record)
                    && pointer.redo_from >= source.range().start
                {
                    checkpoint = Some(pointer);
                }
                if !is_housekeeping {
                    kept_links = scanner.index() + 1;
                }
                pace.reach(scanner.position(), progress);
            }
            Step::Jump { after_loss, .. } => {
                counts.jumps += 1;
                counts.losses += u64::from(after_loss);
            }
            Step::Stopped(stop) => {
                visit.finish(stop.at)?;
                pace.finish(stop.at, progress);
                let stop_index = scanner.index();
                let scan = Scan { counts, stop, stop_index, kept_links, checkpoint };
                return Ok(ControlFlow::Continue(scan));
            }
        }
    }
}

/// How many segments hold more than trailing housekeeping, and where they end (rule 16).
///
/// The first segment is always kept: a chain has a beginning.
fn housekeeping(source: &LogSource, scan: &Scan) -> (usize, Lsn) {
    let kept = scan.kept_links.max(1);
    if kept > scan.stop_index {
        return (kept, scan.stop.at);
    }
    let end = source.links().get(kept - 1).map_or(scan.stop.at, |link| link.range().end);
    (kept, end)
}

/// Rule 4: the mark's end is T, its epoch is the one in force there, both slots are sound.
fn is_marked_clean(survey: &Survey, stop: &Stop) -> bool {
    let [Some(first), Some(second)] = survey.control.slots.each_ref().map(|slot| slot.whole())
    else {
        return false;
    };
    let agree = first.log_id == second.log_id && first.sequence.abs_diff(second.sequence) == 1;
    let mark = survey.control.current().and_then(|slot| slot.clean);
    agree && mark == Some((stop.at, stop.epoch))
}

/// A directory in which nothing tells which log it is: only the survey speaks.
fn unreadable(survey: Survey) -> Examination {
    let at = survey.links.first().map_or(Lsn::FIRST, |link| link.range().start);
    let stop = Stop {
        at,
        segment: survey.links.first().map(|link| link.name),
        offset: 0,
        why: StopReason::EndOfChain,
        epoch: survey.highest_epoch,
    };
    let claims = Claims::default();
    let behind = Behind { class: StopClass::Unreadable, dropped: Dropped::default() };
    let facts = Facts { promised: true, ..facts_of(&survey, &stop, &claims, behind) };
    Examination {
        verdict: verdict_of(&facts, &survey, &stop, &claims, behind.dropped),
        scanned_range: LsnRange::new(at, at),
        scanned: ScanCounts::default(),
        stop,
        end: at,
        durable: at,
        evidence: None,
        epoch: stop.epoch,
        clean: false,
        checkpoint: None,
        housekeeping_from: at,
        kept_links: 1,
        survey,
    }
}
