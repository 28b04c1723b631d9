//! What one log tells of batches across partitions, before anything of it is replayed.
//!
//! The log is replayed into a collector by the very strategy that replays it to the engine later, so
//! that both see the same parts: whole ones, behind the checkpoint. What is kept is bounded by what
//! is undecided or aborted, not by the log (rule 21).

use std::collections::{BTreeMap, BTreeSet};

use wal::{
    CheckpointPointer, CheckpointView, LogSource, LsnRange, Progress, RecoveryError, RecoveryLog,
    RecoveryReport, RecoveryStrategy, RedoOnly, RedoTarget, ReplayRecord, Verdict,
};

use crate::body::{Note, PartHead};
use crate::id::{BatchId, NOTE_KIND, Outcome, PART_KIND};

/// The log as its opening found it: what is replayed from here is always the same.
#[derive(Clone, Debug)]
pub(crate) struct Prior {
    source: LogSource,
    range: LsnRange,
    checkpoint: Option<CheckpointPointer>,
    checkpoints: Vec<CheckpointPointer>,
    verdict: Option<Verdict>,
}

impl Prior {
    fn of(log: &RecoveryLog<'_>) -> Self {
        Self {
            source: log.source.clone(),
            range: log.range,
            checkpoint: log.checkpoint,
            checkpoints: log.checkpoints.to_vec(),
            verdict: log.verdict.cloned(),
        }
    }

    /// Gives `engine` what the log holds.
    pub(crate) fn replay<E: RedoTarget + ?Sized>(
        &self,
        engine: &mut E,
    ) -> Result<RecoveryReport, RecoveryError> {
        let mut log = RecoveryLog::new(&self.source, self.range)
            .with_checkpoint(self.checkpoint)
            .with_checkpoints(&self.checkpoints);
        if let Some(verdict) = &self.verdict {
            log = log.with_verdict(verdict);
        }
        RedoOnly::new().recover(&log, engine, &mut ())
    }
}

/// What a log tells.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Batches with a part in this log and no outcome, and their participants.
    pub(crate) open: BTreeMap<BatchId, Vec<usize>>,
    /// Batches that this log says to be aborted.
    pub(crate) aborted: BTreeSet<BatchId>,
    /// Records of the engine, and a checkpoint of its own.
    pub(crate) used: bool,
}

/// What a log tells of the batches that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) parts: BTreeSet<BatchId>,
    pub(crate) notes: BTreeMap<BatchId, Outcome>,
}

/// The first opening step of a partition: recovers nothing, and remembers how to.
#[derive(Debug)]
pub(crate) struct Inspection {
    own: usize,
    pub(crate) prior: Option<Prior>,
    pub(crate) told: Told,
}

impl Inspection {
    pub(crate) fn of(own: usize) -> Self {
        Self { own, prior: None, told: Told::default() }
    }
}

/// The strategy that makes an [`Inspection`].
#[derive(Debug)]
pub(crate) struct Inspect;

impl RecoveryStrategy<Inspection> for Inspect {
    fn recover(
        &mut self,
        log: &RecoveryLog<'_>,
        inspection: &mut Inspection,
        progress: &mut dyn Progress,
    ) -> Result<RecoveryReport, RecoveryError> {
        let Inspection { own, prior, told } = inspection;
        *prior = Some(Prior::of(log));
        *told = Told { used: log.checkpoint.is_some(), ..Told::default() };
        let mut collect = |record: &ReplayRecord<'_>| told.take(*own, record);
        RedoOnly::new().recover(log, &mut Collector(&mut collect), progress)
    }
}

impl Told {
    fn take(&mut self, own: usize, record: &ReplayRecord<'_>) -> Result<(), String> {
        match heading(own, record)? {
            Heading::Part(head) => {
                self.open.insert(head.id, head.participants);
            }
            Heading::Note(note) => {
                self.open.remove(&note.id);
                match note.outcome {
                    Outcome::Aborted => drop(self.aborted.insert(note.id)),
                    Outcome::Committed if self.aborted.contains(&note.id) => {
                        return Err(format!("batch {} is said to be aborted and not", note.id));
                    }
                    Outcome::Committed => {}
                }
            }
            Heading::Engine => self.used = true,
        }
        Ok(())
    }
}

/// Asks the log of partition `own` for what it holds of `asked`.
pub(crate) fn ask(
    own: usize,
    prior: &Prior,
    asked: &BTreeSet<BatchId>,
) -> Result<Answer, RecoveryError> {
    let mut answer = Answer::default();
    let mut collect = |record: &ReplayRecord<'_>| {
        match heading(own, record)? {
            Heading::Part(head) if asked.contains(&head.id) => {
                answer.parts.insert(head.id);
            }
            Heading::Note(note) if asked.contains(&note.id) => {
                answer.notes.insert(note.id, note.outcome);
            }
            _ => {}
        }
        Ok::<(), String>(())
    };
    prior.replay(&mut Collector(&mut collect))?;
    Ok(answer)
}

/// What a replayed record is to this layer.
pub(crate) enum Heading {
    /// It opens a part; its members come next.
    Part(PartHead),
    /// It tells an outcome.
    Note(Note),
    /// It is the engine's.
    Engine,
}

/// What `record`, of the log of partition `own`, is to this layer.
pub(crate) fn heading(own: usize, record: &ReplayRecord<'_>) -> Result<Heading, String> {
    let lsn = record.lsn;
    // Within transactions the two kinds are the engine's.
    match record.kind {
        PART_KIND if record.txn.is_none() => {
            let head = PartHead::decode(record.body)
                .map_err(|what| format!("the head of a part at {lsn} cannot be: {what}"))?;
            if head.own != own {
                let other = head.own;
                return Err(format!("the part at {lsn} is partition {other}'s, this is {own}"));
            }
            Ok(Heading::Part(head))
        }
        NOTE_KIND if record.txn.is_none() => Note::decode(record.body)
            .map(Heading::Note)
            .map_err(|what| format!("the note at {lsn} cannot be: {what}")),
        _ => Ok(Heading::Engine),
    }
}

/// Takes checkpoints back without looking at them.
struct Collector<'a, F>(&'a mut F);

impl<F: FnMut(&ReplayRecord<'_>) -> Result<(), String>> RedoTarget for Collector<'_, F> {
    type Error = String;

    fn restore(&mut self, _: &CheckpointView<'_>) -> Result<(), String> {
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), String> {
        (self.0)(record)
    }
}
