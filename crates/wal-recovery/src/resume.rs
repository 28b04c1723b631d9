//! Making an examined log ready for writing: steps 4 and 5 of the opening.
//!
//! Nothing is written into a doubtful tail. What no evidence shows to be durable is written again
//! under a new epoch and synced before the log promises anything (rules 1, 2, 8): bytes read back
//! after a crash may be in the page cache only. Replay and the first `Opened` record are left to
//! the callers. Each step may be cut short by a crash; what is found then leads to the same log.

use std::sync::Arc;

use wal_format::{Lsn, LsnRange, Predecessor, RecordDraft, RecordRef, RecordSeed, SegmentFlags};
use wal_io::{ChainLink, Placement, RunWriter, SegmentStore, Storage, StorageLock, StoreOptions};

use crate::error::RecoveryError;
use crate::examine::Examination;
use crate::scan::Step;
use crate::source::LogSource;
use crate::window::WINDOW_BYTES;

/// A log that is ready to be replayed and then written.
#[derive(Debug)]
pub struct Resumed {
    /// The writer's side of the directory; its epoch is spent.
    pub store: Arc<SegmentStore>,
    /// Where appending goes on.
    pub placement: Placement,
    /// The chain as it is now, for the replay.
    pub source: LogSource,
    /// First address after the last record to be replayed. All before it is durable.
    pub end: Lsn,
    /// Bytes of records that no evidence showed to be durable, and that were written again.
    pub rewritten_bytes: u64,
}

/// Spends an epoch and places the end of the log: in place after a clean close, else in new
/// segments above every address used before.
///
/// # Durability
///
/// When this returns, every record of [`Resumed::source`] before [`Resumed::end`] is durable.
///
/// # Errors
///
/// - [`RecoveryError::Refused`]: the verdict is damage. Nothing was changed.
/// - [`RecoveryError::Changed`]: the log is not as it was examined; examine it again, under the
///   lock.
/// - [`RecoveryError::Io`], [`RecoveryError::OutOfMemory`]: open again from the start, once the
///   cause is gone.
///
/// # Cost
///
/// Clean: one write of the control file. Unclean: reads and writes the unproven records once, and
/// makes two segments.
///
/// Source: rules 1, 2, 4, 8, 16 and 17.
pub fn resume(
    storage: Arc<dyn Storage>,
    lock: Box<dyn StorageLock>,
    options: StoreOptions,
    examined: &Examination,
) -> Result<Resumed, RecoveryError> {
    if examined.verdict.is_damage() {
        return Err(RecoveryError::Refused(Box::new(examined.verdict.clone())));
    }
    let before = examined.source(&storage)?;
    let store = SegmentStore::reopen(Arc::clone(&storage), lock, options, &examined.survey)?;
    // Evidence of this log's past goes on being evidence; what it covers gives up no space.
    store.note_durable(examined.durable);
    let (placement, end, rewritten_bytes) = if examined.clean {
        (store.resume_in_place(examined.end)?, examined.end, 0)
    } else {
        resume_unclean(&store, &before, examined)?
    };
    // Rule 5: truncation must know what replay starts from, though no slot named it. Its record is
    // durable by now.
    if let Some(pointer) = examined.checkpoint.filter(|_| store.checkpoints().is_empty()) {
        store.record_checkpoint(pointer)?;
    }
    store.discard_dead()?;
    let source =
        LogSource::new(storage, store.links(), store.log_id()).with_highest_epoch(store.epoch());
    tracing::debug!(%end, start = %placement.end, rewritten_bytes, epoch = %store.epoch(), "resumed");
    Ok(Resumed { store, placement, source, end, rewritten_bytes })
}

fn resume_unclean(
    store: &SegmentStore,
    before: &LogSource,
    examined: &Examination,
) -> Result<(Placement, Lsn, u64), RecoveryError> {
    // Rule 16: trailing segments of nothing but housekeeping are left out of the chain.
    let end = examined.housekeeping_from;
    let start = rewrite_from(before, examined, examined.durable.min(end))?;
    let unproven = LsnRange::new(start, end);
    let predecessor = if unproven.is_empty() {
        let last = examined.kept_links.checked_sub(1).and_then(|last| before.links().get(last));
        named(last.ok_or(RecoveryError::Changed { lsn: end })?, end)
    } else {
        // Rule 1: the run has its name only when all of it is durable.
        let flags = SegmentFlags::BORN_DURABLE.with(SegmentFlags::OPENING);
        let mut run =
            store.write_run(start, unproven.bytes(), flags, predecessor_at(before, start)?)?;
        rewrite(before, unproven, store.seed(), examined.durable, &mut run)?;
        let name = run.finish()?;
        Predecessor { base: name.base, epoch: name.epoch, end }
    };
    // Rule 8: above every address that any file could hold.
    let placement = store.resume_after(predecessor, examined.survey.address_end)?;
    Ok((placement, end, unproven.bytes()))
}

/// The start of the record that covers `durable`, or where the next one starts.
///
/// Evidence ends at the end of a record. Should it not, the record it cuts is not proven.
fn rewrite_from(
    before: &LogSource,
    examined: &Examination,
    durable: Lsn,
) -> Result<Lsn, RecoveryError> {
    // Below the place from which the log was verified, all is covered by the checkpoint.
    let durable = durable.max(examined.scanned_range.start);
    let Some(link) = before.links().iter().find(|link| link.range().end > durable) else {
        return Ok(durable);
    };
    let base = link.range().start.max(examined.scanned_range.start);
    if durable <= base {
        // In a declared jump there is nothing to write again.
        return Ok(base);
    }
    let mut scanner = before.scan(LsnRange::new(base, durable));
    let mut last = base;
    loop {
        match scanner.next()? {
            Step::Record(record) if record.end() > durable => return Ok(record.lsn()),
            Step::Record(record) => last = record.end(),
            Step::Jump { to, .. } => last = to,
            Step::Stopped(stop) if stop.at >= durable => return Ok(last),
            Step::Stopped(stop) => return Err(RecoveryError::Changed { lsn: stop.at }),
        }
    }
}

/// Which segment a run that begins at `start` follows.
fn predecessor_at(before: &LogSource, start: Lsn) -> Result<Option<Predecessor>, RecoveryError> {
    let (index, link) = before.link_of(start).ok_or(RecoveryError::Changed { lsn: start })?;
    Ok(match index {
        _ if link.range().start < start => Some(named(link, start)),
        // A run that replaces a whole segment takes its place in the chain.
        0 => None,
        _ => link.header.predecessor,
    })
}

const fn named(link: &ChainLink, end: Lsn) -> Predecessor {
    Predecessor { base: link.name.base, epoch: link.name.epoch, end }
}

/// Writes the records of `range` again, each at its own address, under the epoch of `seed`.
fn rewrite(
    before: &LogSource,
    range: LsnRange,
    seed: RecordSeed,
    durable: Lsn,
    run: &mut RunWriter<'_>,
) -> Result<(), RecoveryError> {
    let mut scanner = before.scan(range);
    let mut pending = Vec::new();
    let mut written = range.start;
    loop {
        match scanner.next()? {
            Step::Record(record) if record.lsn() == written && record.end() <= range.end => {
                encode_again(&record, &seed, durable, &mut pending)?;
                written = record.end();
                if pending.len() >= WINDOW_BYTES {
                    run.write(&pending)?;
                    pending.clear();
                }
            }
            Step::Stopped(_) if written == range.end => break,
            // The scan passed here before: the files are not what they were.
            _ => return Err(RecoveryError::Changed { lsn: written }),
        }
    }
    run.write(&pending)?;
    Ok(())
}

/// Appends `record` to `out` as the epoch of `seed` writes it.
fn encode_again(
    record: &RecordRef<'_>,
    seed: &RecordSeed,
    durable: Lsn,
    out: &mut Vec<u8>,
) -> Result<(), RecoveryError> {
    let (lsn, bytes) = (record.lsn(), record.encoded_bytes());
    let parts = [record.body];
    let draft =
        RecordDraft { kind: record.kind(), flags: record.flags(), txn: record.txn, parts: &parts };
    out.try_reserve(bytes).map_err(|_| RecoveryError::OutOfMemory { lsn, bytes: bytes as u64 })?;
    let start = out.len();
    out.resize(start + bytes, 0);
    let place = out.get_mut(start..).unwrap_or_default();
    // A record cannot claim what lies beyond its own address.
    let encoded = draft
        .encode_into(seed, lsn, Some(durable.min(lsn)), place)
        .map_err(|source| RecoveryError::Encode { lsn, source })?;
    debug_assert_eq!(encoded, bytes, "the same record takes the same space");
    Ok(())
}
