//! `wal truncate`: whole segments of a log that nobody has open, given up.

use std::convert::Infallible;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use wal::{
    CheckpointView, LogView, Lsn, Obligation, Options, PersistentHoldInfo, RedoOnly, RedoTarget,
    ReplayRecord,
};

use super::output::{Watcher, finish, json_line, line, open_view, stdout};
use crate::exit::{Exit, Failure};
use crate::lsn_arg;

/// How long to wait for a process that is just letting go of the log.
const LOCK_WAIT: Duration = Duration::from_millis(200);

/// Remove the segments of a log that lie wholly before an LSN, as far as nothing needs them.
///
/// Refuses with code 7 while a process has the log open: that process truncates. What the oldest
/// checkpoint, a transaction or a hold needs stays, and the command says which of them it was.
/// Whoever truncates a log without checkpoints says that the engine no longer needs what lies
/// before the LSN. The log is opened for it as by a writer, and recovered if it was not closed;
/// not for logs of pages, which their engine truncates.
#[derive(Debug, Args)]
pub(crate) struct Truncate {
    /// Directory of the log.
    dir: PathBuf,
    /// Keep everything from this LSN on.
    #[arg(long, value_parser = lsn_arg::lsn)]
    before: Lsn,
    /// Change nothing, and say what would go.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What a truncation did, or would do.
struct Outcome {
    segments: u64,
    bytes: u64,
    head: Lsn,
    limit: Lsn,
    held_by: Option<String>,
}

/// An engine that keeps nothing.
struct Onlooker;

impl RedoTarget for Onlooker {
    type Error = Infallible;

    fn restore(&mut self, _: &CheckpointView<'_>) -> Result<(), Infallible> {
        Ok(())
    }

    fn redo(&mut self, _: &ReplayRecord<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Truncate {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let view = if self.dry_run { Some(open_view(&self.dir)?) } else { None };
        let outcome = match &view {
            Some(view) => self.foresee(view)?,
            None => self.truncate()?,
        };
        let mut out = stdout();
        if self.json {
            json_line(&mut out, &self.as_json(&outcome))?;
        } else {
            self.print_text(&mut out, &outcome)?;
        }
        if let Some(view) = &view {
            // Of a log that a writer would not open.
            return finish(out, view);
        }
        out.flush().map_err(Failure::output)?;
        Ok(Exit::Done)
    }

    fn truncate(&self) -> Result<Outcome, Failure> {
        let segment_bytes = segment_bytes(&self.dir)?;
        // Whoever truncates from the shell wants the space back.
        let options = Options::default().create(false).lock_wait(LOCK_WAIT).recycled_segments(0);
        let opener = options.segment_bytes(segment_bytes).recover_with(RedoOnly::default());
        let wal = opener.progress(Watcher::default()).open(&self.dir, &mut Onlooker)?;
        let done = wal.truncate_before(self.before)?;
        let holds = wal.persistent_holds()?;
        let oldest = wal.checkpoints().first().map(|pointer| pointer.begin);
        wal.close()?;
        let held_by = done.held_by.map(|by| words(by, done.limit, oldest, &holds));
        let (segments, bytes, head) = (done.segments, done.bytes, done.head);
        Ok(Outcome { segments, bytes, head, limit: done.limit, held_by })
    }

    /// What [`truncate`](Self::truncate) would do, told from what lies there.
    fn foresee(&self, view: &LogView) -> Result<Outcome, Failure> {
        let checkpoints = view.survey().control.current().map(|slot| slot.checkpoints.clone());
        let checkpoints = checkpoints.unwrap_or_default();
        let oldest = checkpoints.iter().min_by_key(|pointer| pointer.redo_from);
        let holds = wal::persistent_holds(&self.dir)?;
        let committed = view.replay(&mut Onlooker)?.transactions.committed;
        let (durable, head) = (view.durable().min(view.end()), view.head());
        let (mut limit, mut held_by) = (self.before.min(durable), None);
        // In the order in which a truncation looks.
        let begun = oldest.map(|pointer| pointer.begin);
        let held = holds.iter().map(|hold| hold.lsn.unwrap_or(Lsn::FIRST)).min();
        let earlier = (oldest.is_none() && committed > 0 && limit < view.end()).then_some(head);
        for (by, lowest) in [
            (Obligation::Checkpoint, oldest.map(|pointer| pointer.redo_from)),
            (Obligation::Transaction, earlier),
            (Obligation::Hold, held),
        ] {
            if let Some(lowest) = lowest.filter(|lowest| *lowest < limit) {
                (limit, held_by) = (lowest, Some(words(by, lowest, begun, &holds)));
            }
        }
        let going = removable(view, limit);
        let head = view.survey().links.get(going).map_or(head, |link| link.header.base);
        let gone = view.survey().links.get(..going).unwrap_or_default();
        let bytes = gone.iter().map(|link| link.file_bytes).sum();
        Ok(Outcome { segments: going as u64, bytes, head, limit, held_by })
    }

    fn as_json(&self, outcome: &Outcome) -> serde_json::Value {
        json!({
            "dry_run": self.dry_run, "before": self.before.get(), "segments": outcome.segments,
            "bytes": outcome.bytes, "head": outcome.head.get(), "limit": outcome.limit.get(),
            "held_by": outcome.held_by,
        })
    }

    fn print_text(&self, out: &mut impl Write, outcome: &Outcome) -> Result<(), Failure> {
        let Outcome { segments, bytes, head, limit, held_by } = outcome;
        let done = if self.dry_run { "would remove" } else { "removed" };
        let given = if self.dry_run { "up to" } else { "giving back" };
        line(out, format_args!("{done} {segments} segments, {given} {bytes} bytes"))?;
        line(out, format_args!("the log begins at {head}"))?;
        match held_by {
            Some(by) => line(out, format_args!("kept from {limit} on by {by}")),
            None => line(out, format_args!("nothing needs what lies before {limit}")),
        }
    }
}

/// Segments wholly below `limit`; the one that holds the end of the log always stays.
fn removable(view: &LogView, limit: Lsn) -> usize {
    let links = &view.survey().links;
    let active = links.iter().rposition(|link| link.header.base <= view.end()).unwrap_or(0);
    let below = links.get(..active).unwrap_or_default();
    below.iter().take_while(|link| link.cap <= limit).count()
}

fn words(by: Obligation, at: Lsn, checkpoint: Option<Lsn>, holds: &[PersistentHoldInfo]) -> String {
    match (by, checkpoint) {
        (Obligation::Checkpoint, Some(begin)) => format!("the checkpoint begun at {begin}"),
        (Obligation::Checkpoint, None) => "a checkpoint".to_owned(),
        (Obligation::Transaction, _) => {
            "transactions, whose first records only a checkpoint would tell".to_owned()
        }
        (Obligation::Hold, _) => {
            let names: Vec<String> = holds
                .iter()
                .filter(|hold| hold.lsn.is_none_or(|lsn| lsn <= at))
                .map(|hold| format!("`{}`", hold.name))
                .collect();
            format!("hold {}", names.join(", "))
        }
        _ => "something that this program does not know".to_owned(),
    }
}

/// Bytes before the log in each file of it.
const HEADER_BYTES: u64 = 4096;

/// The size of segment that the log was kept with, as far as its files tell: segments grow up to it,
/// and what is held back, or waits to be used again, is as long as a normal one.
fn segment_bytes(dir: &std::path::Path) -> Result<u64, Failure> {
    let storage = super::place::readable(dir)?;
    let survey = wal::Survey::read(&storage).map_err(super::place::failed)?;
    let links = survey.links.iter().map(|link| link.header.capacity_bytes);
    let blank = survey.held_back.iter().chain(&survey.retired);
    let blank = blank.map(|entry| entry.len.saturating_sub(HEADER_BYTES));
    let bytes = links.chain(blank).max().unwrap_or(0).next_multiple_of(4096);
    Ok(bytes.clamp(64 << 10, 1 << 40))
}
