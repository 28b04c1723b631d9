//! One replay, from front to back: what counts is decided in the order of the log.
//!
//! The scanner gives every record once, in order. Records which count alone go to the engine
//! from there. A batch is read again from its first record when its last one has been seen, a
//! transaction when its commit record has been seen; neither is ever held in memory (rule 21).

use std::collections::BTreeSet;

use wal_format::{Lsn, LsnRange, RecordRef, TxnId};

use super::batch::{BatchStep, BatchTracker, Cut};
use super::chain::{Chain, ChainEnd, ChainReader, Found};
use super::settle::{CommitPoint, Settler};
use super::target::{CommitMark, RedoTarget};
use crate::error::RecoveryError;
use crate::progress::{Pace, Phase, Progress};
use crate::record_cache::{Heading, Lookup, RecordCache, is_lost};
use crate::report::RecoveryReport;
use crate::scan::{Step, StopReason};
use crate::source::LogSource;

/// Where a replay looks, and what it may keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// From where the checkpoint says, to the end of the log.
    pub(super) range: LsnRange,
    /// Records before this address are in the checkpoint.
    pub(super) begin: Lsn,
    /// Addresses of one transaction that may be kept at once.
    pub(super) rungs_max: usize,
}

/// Replays what is in `bounds`.
pub(super) fn replay<E: RedoTarget + ?Sized>(
    source: &LogSource,
    bounds: Bounds,
    engine: &mut E,
    progress: &mut dyn Progress,
) -> Result<RecoveryReport, RecoveryError> {
    let range = bounds.range;
    let head = source.range().start;
    // Where a salvage found nothing, what is not there was lost, not truncated.
    let truncated = range.start == head && !is_lost(source, Lsn::NONE);
    let mut replay = Replay {
        records: RecordCache::new(source.clone()),
        settler: Settler::new(engine, bounds.begin),
        batches: if truncated { BatchTracker::at_head() } else { BatchTracker::default() },
        held: BTreeSet::new(),
        bounds,
    };
    let mut scanner = source.scan_on(range, source.scan_threads());
    let mut pace = Pace::start(Phase::Replay, range, progress);
    loop {
        match scanner.next()? {
            Step::Record(record) => {
                // A record that crosses the end of what is proven is not part of the log.
                if record.end() > range.end {
                    return Err(RecoveryError::Changed { lsn: record.lsn() });
                }
                replay.meet(&record)?;
                pace.reach(record.end(), progress);
            }
            Step::Jump { after_loss, .. } => {
                if after_loss {
                    replay.settler.report.losses += 1;
                    replay.interrupt_batch();
                }
            }
            Step::Stopped(stop) => {
                let ended = matches!(stop.why, StopReason::RangeEnd | StopReason::EndOfChain);
                // ARIES statement 34: what lies behind a gap is never replayed. The log was whole
                // up to its end when it was examined, so a gap before that is a change.
                if !ended || stop.at < range.end {
                    return Err(RecoveryError::Changed { lsn: stop.at });
                }
                break;
            }
        }
    }
    pace.finish(range.end, progress);
    Ok(replay.finish())
}

struct Replay<'e, E: ?Sized> {
    records: RecordCache,
    settler: Settler<'e, E>,
    batches: BatchTracker,
    /// Transactions with records in the batch that is open.
    held: BTreeSet<TxnId>,
    bounds: Bounds,
}

impl<E: RedoTarget + ?Sized> Replay<'_, E> {
    /// Takes the next record of the log.
    fn meet(&mut self, record: &RecordRef<'_>) -> Result<(), RecoveryError> {
        self.settler.report.records_scanned += 1;
        self.settler.report.times.observe(record);
        self.settler.report.bytes_scanned += record.encoded_bytes() as u64;
        let void_before = self.batches.void();
        let step = self.batches.observe(record.lsn(), record.kind(), record.flags());
        if self.batches.void() > void_before {
            self.damage_held();
        }
        match step {
            BatchStep::Alone => {
                if let Some(commit) = self.settler.settle(record, record.lsn())? {
                    self.replay_transaction(commit)?;
                }
            }
            BatchStep::Held { orphan } => {
                if let Some(link) = record.txn {
                    match orphan {
                        Some(cut) => self.settler.active.damage(link.txn_id, cut),
                        None => drop(self.held.insert(link.txn_id)),
                    }
                }
            }
            BatchStep::Whole { first } => {
                self.held.clear();
                self.replay_batch(first, record.lsn())?;
            }
        }
        Ok(())
    }

    /// The open batch, if any, will never be whole.
    fn interrupt_batch(&mut self) {
        self.batches.interrupt();
        self.damage_held();
    }

    /// Transactions with records in a void batch are not whole either.
    fn damage_held(&mut self) {
        for txn in std::mem::take(&mut self.held) {
            self.settler.active.damage(txn, Cut::Void);
        }
    }

    /// Takes the members of a whole batch, from the first one on.
    ///
    /// A batch is one reservation, so its members and the padding among them follow one another
    /// without a jump, across segments too.
    fn replay_batch(&mut self, first: Lsn, last: Lsn) -> Result<(), RecoveryError> {
        let mut lsn = first;
        loop {
            let Lookup::Record(member) = self.records.find(lsn, Heading::Forwards)? else {
                return Err(RecoveryError::Changed { lsn });
            };
            let next = member.end();
            let record = self.records.borrow(member);
            if let Some(commit) = self.settler.settle(&record, last)? {
                self.replay_transaction(commit)?;
            }
            if lsn >= last {
                self.settler.report.batches.whole += u64::from(last >= self.bounds.begin);
                return Ok(());
            }
            lsn = next;
        }
    }

    /// Gives the engine the records of a transaction whose commit has been seen.
    fn replay_transaction(&mut self, commit: CommitPoint) -> Result<(), RecoveryError> {
        let chain = Chain {
            txn: commit.txn,
            commit: commit.mark.lsn,
            last: commit.last,
            opened: self.settler.opened,
            scan_start: self.bounds.range.start,
            rungs_max: self.bounds.rungs_max,
        };
        let mut members =
            Members { records: &mut self.records, settler: &mut self.settler, mark: commit.mark };
        let end = chain.replay(&mut members)?;
        let counts = self.settler.active.counts();
        match end {
            ChainEnd::Whole => counts.committed += 1,
            ChainEnd::Incomplete => counts.incomplete += 1,
            ChainEnd::Truncated => counts.truncated += 1,
        }
        Ok(())
    }

    fn finish(mut self) -> RecoveryReport {
        self.interrupt_batch();
        let mut report = self.settler.finish();
        report.batches.void = self.batches.void();
        report.batches.truncated = self.batches.truncated();
        report.range = self.bounds.range;
        report
    }
}

/// The records of one transaction, as its chain reads them.
struct Members<'m, 'e, E: ?Sized> {
    records: &'m mut RecordCache,
    settler: &'m mut Settler<'e, E>,
    mark: CommitMark,
}

impl<E: RedoTarget + ?Sized> ChainReader for Members<'_, '_, E> {
    fn find(&mut self, lsn: Lsn) -> Result<Found, RecoveryError> {
        Ok(match self.records.find(lsn, Heading::Backwards)? {
            Lookup::Record(record) => Found::Record { kind: record.header.kind, link: record.txn },
            Lookup::Lost => Found::Lost,
            Lookup::Uncovered if lsn < self.records.source().range().start => Found::Truncated,
            Lookup::Nothing | Lookup::Uncovered => Found::Nothing,
        })
    }

    fn apply(&mut self, lsn: Lsn) -> Result<(), RecoveryError> {
        match self.records.find(lsn, Heading::Forwards)? {
            Lookup::Record(record) => {
                self.settler.redo(&self.records.borrow(record), Some(self.mark))
            }
            _ => Err(RecoveryError::Changed { lsn }),
        }
    }
}
