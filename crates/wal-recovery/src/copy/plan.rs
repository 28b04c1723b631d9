//! What a copy will hold: runs of records, and how each follows the one before.
//!
//! A plan is made before anything is written, so that a copy which cannot be made leaves its
//! destination as it was, and every segment is made to measure. Memory grows with the segments
//! and the gaps of the log, not with its records.

use std::fmt;

use wal_format::body::{CheckpointEnd, RestorePoint};
use wal_format::{CheckpointPointer, Lsn, LsnRange, RecordKind, RecordRef};

use super::loss::{LossReason, LostRange};
use super::walk::{Met, walk};
use crate::error::RecoveryError;
use crate::fault::PointFault;
use crate::progress::{Pace, Phase, Progress};
use crate::redo_only::{bad_body, commit_timestamp};
use crate::source::LogSource;

/// Checkpoints that the control file of a copy names.
const CHECKPOINTS_KEPT: usize = 2;

/// The point up to which a log is restored. Each keeps what stands before it, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Until {
    /// An address: the end of the last record to keep, or the start of the first one not to.
    Lsn(Lsn),
    /// A commit timestamp of the engine's: up to the first commit record with a later one.
    ///
    /// Timestamps need not ascend in the log: what stands behind that record is left out even
    /// where its timestamp is earlier. A commit without a timestamp decides nothing.
    CommitTimestamp(u64),
    /// The restore point of this name, its record included.
    RestorePoint(String),
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lsn(lsn) => write!(f, "address {lsn}"),
            Self::CommitTimestamp(timestamp) => write!(f, "commit timestamp {timestamp}"),
            Self::RestorePoint(name) => write!(f, "restore point `{name}`"),
        }
    }
}

/// How a run follows the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joint {
    /// It begins where that ends, or is the first of the log.
    Contiguous,
    /// The log skipped addresses, and lost nothing.
    Jump,
    /// What stood in between is lost.
    Loss,
}

/// A run of records without a gap, within one segment of the source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) range: LsnRange,
    pub(super) joint: Joint,
    pub(super) created_unix_us: u64,
}

/// What is to be copied.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In order of addresses.
    pub(super) runs: Vec<Run>,
    /// The newest complete checkpoints in the runs, oldest first.
    pub(super) checkpoints: Vec<CheckpointPointer>,
    /// What was not found.
    pub(super) lost: Vec<LostRange>,
    /// How the next run follows, if one comes.
    next: Option<Joint>,
    created_unix_us: u64,
    /// Another segment of the source began since the last record.
    breaks: bool,
}

impl Plan {
    /// Everything provable in `source`.
    pub(super) fn of_all(
        source: &LogSource,
        head: Lsn,
        durable: Lsn,
        progress: &mut dyn Progress,
    ) -> Result<Self, RecoveryError> {
        let mut plan = Self::default();
        let mut pace = Pace::start(Phase::Scan, source.range(), progress);
        walk(source, head, durable, &mut |met| {
            if let Met::Record(record) = &met {
                pace.reach(record.end(), progress);
            }
            plan.meet(&met);
            Ok(())
        })?;
        pace.finish(source.range().end, progress);
        Ok(plan)
    }

    /// Everything in `source` up to `until`, if the point is there.
    ///
    /// A point behind a gap is not reached: what stands there lacks what it is built on.
    pub(super) fn up_to(
        source: &LogSource,
        head: Lsn,
        durable: Lsn,
        until: &Until,
        progress: &mut dyn Progress,
    ) -> Result<Self, RecoveryError> {
        let mut plan = Self::default();
        let mut point = Point::at_head(head);
        let mut broken = false;
        let mut pace = Pace::start(Phase::Scan, source.range(), progress);
        walk(source, head, durable, &mut |met| {
            broken |= matches!(&met, Met::Lost(lost)
                if lost.why != LossReason::LostBefore && point.reach > head);
            if broken {
                return Ok(());
            }
            if let Met::Record(record) = &met {
                pace.reach(record.end(), progress);
                point.look(until, record)?;
            }
            if !point.passed {
                plan.meet(&met);
            }
            Ok(())
        })?;
        pace.finish(source.range().end, progress);
        point
            .check(until, &plan, head)
            .map_err(|why| RecoveryError::NoSuchPoint { until: until.to_string(), why })?;
        // What lies behind the point is left out, not lost.
        plan.next = None;
        Ok(plan)
    }

    /// From the first record to the end of the last.
    pub(super) fn range(&self) -> LsnRange {
        let start = self.runs.first().map_or(Lsn::NONE, |run| run.range.start);
        let end = self.runs.last().map_or(Lsn::NONE, |run| run.range.end);
        LsnRange::new(start, end)
    }

    /// Whether something was lost behind the last run.
    pub(super) fn lost_behind(&self) -> bool {
        self.next == Some(Joint::Loss)
    }

    fn meet(&mut self, met: &Met<'_>) {
        match met {
            Met::Segment { created_unix_us } => {
                self.created_unix_us = *created_unix_us;
                self.breaks = true;
            }
            Met::Jump => {
                self.next = self.next.or(Some(Joint::Jump));
            }
            Met::Lost(lost) => {
                self.lost.push(*lost);
                self.next = Some(Joint::Loss);
            }
            Met::Record(record) => self.take(record),
        }
    }

    fn take(&mut self, record: &RecordRef<'_>) {
        let range = LsnRange::new(record.lsn(), record.end());
        match self.runs.last_mut() {
            Some(run) if self.next.is_none() && !self.breaks => {
                debug_assert_eq!(run.range.end, range.start, "a run has no gap");
                run.range.end = range.end;
            }
            _ => {
                let joint = self.next.take().unwrap_or(Joint::Contiguous);
                let created_unix_us = self.created_unix_us;
                self.runs.push(Run { range, joint, created_unix_us });
                self.breaks = false;
            }
        }
        if let Some(pointer) = checkpoint_of(record) {
            // The others stay in the log; only the newest are named.
            let excess = (self.checkpoints.len() + 1).saturating_sub(CHECKPOINTS_KEPT);
            self.checkpoints.drain(..excess);
            self.checkpoints.push(pointer);
        }
    }
}

fn checkpoint_of(record: &RecordRef<'_>) -> Option<CheckpointPointer> {
    if record.kind() != RecordKind::CHECKPOINT_END {
        return None;
    }
    let end = CheckpointEnd::decode(record.body).ok()?;
    (Lsn::FIRST <= end.redo_from && end.begin <= record.lsn()).then(|| CheckpointPointer {
        begin: end.begin,
        redo_from: end.redo_from,
        record: record.lsn(),
        end: record.end(),
    })
}

/// What a walk has seen of the point that is looked for.
#[derive(Debug, Default)]
pub(crate) struct Point {
    /// The present record lies behind the point, and so does everything after it.
    pub(crate) passed: bool,
    /// End of the last record met.
    reach: Lsn,
    /// A commit with exactly the timestamp was met.
    exact: bool,
    /// Ends of the first and the newest restore point of the name.
    named: Option<(Lsn, Lsn)>,
    /// The record in which the address lies.
    inside: Option<Lsn>,
    /// End of the first checkpoint of all that replay can start from.
    first_checkpoint: Option<Lsn>,
}

impl Point {
    /// Nothing was seen yet; the log begins at `head`.
    pub(crate) fn at_head(head: Lsn) -> Self {
        Self { reach: head, ..Self::default() }
    }

    /// Takes in the next record of the log.
    pub(crate) fn look(
        &mut self,
        until: &Until,
        record: &RecordRef<'_>,
    ) -> Result<(), RecoveryError> {
        match until {
            Until::Lsn(lsn) => {
                if record.lsn() < *lsn && *lsn < record.end() {
                    self.inside = Some(record.lsn());
                }
                self.passed |= record.end() > *lsn;
            }
            Until::CommitTimestamp(limit) => {
                if !self.passed
                    && record.kind() == RecordKind::COMMIT
                    && let Some(timestamp) = commit_timestamp(record)?
                {
                    self.exact |= timestamp == *limit;
                    self.passed = timestamp > *limit;
                }
            }
            Until::RestorePoint(name) => {
                // The record of the restore point itself is kept.
                self.passed |= self.named.is_some();
                if record.kind() == RecordKind::RESTORE_POINT {
                    let point = RestorePoint::decode(record.body);
                    let point = point.map_err(|source| bad_body(record, source))?;
                    if point.name == name {
                        let first = self.named.map_or(record.end(), |(first, _)| first);
                        self.named = Some((first, record.end()));
                    }
                }
            }
        }
        if self.first_checkpoint.is_none() {
            self.first_checkpoint = checkpoint_of(record).map(|pointer| pointer.end);
        }
        self.reach = record.end();
        Ok(())
    }

    /// Whether the point is in the log, and is one point.
    pub(crate) fn found(&self, until: &Until, head: Lsn) -> Result<(), PointFault> {
        let reached = match until {
            Until::Lsn(lsn) if *lsn < head => {
                return Err(PointFault::TooEarly { earliest: head });
            }
            Until::Lsn(lsn) => *lsn <= self.reach,
            Until::CommitTimestamp(_) => self.passed || self.exact,
            Until::RestorePoint(_) => self.named.is_some(),
        };
        if !reached {
            return Err(PointFault::NotReached { end: self.reach });
        }
        if let Some(starts) = self.inside {
            return Err(PointFault::InsideARecord { starts });
        }
        if let Some((first, newest)) = self.named
            && first != newest
        {
            return Err(PointFault::Ambiguous { first, newest });
        }
        Ok(())
    }

    /// Whether the point is in the log, and the log means something up to there.
    fn check(&self, until: &Until, plan: &Plan, head: Lsn) -> Result<(), PointFault> {
        self.found(until, head)?;
        // Without its beginning the log means something only from a checkpoint on.
        let start = plan.range().start;
        let beginning_lost = plan.lost.iter().any(|lost| lost.why != LossReason::LostBefore);
        if beginning_lost && !plan.checkpoints.iter().any(|pointer| pointer.redo_from >= start) {
            return Err(PointFault::NotReached { end: head });
        }
        // What was truncated lives on in the checkpoints: one of them must be there.
        match self.first_checkpoint {
            Some(earliest) if head > Lsn::FIRST && plan.checkpoints.is_empty() => {
                Err(PointFault::TooEarly { earliest })
            }
            _ => Ok(()),
        }
    }
}
