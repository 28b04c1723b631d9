//! `wal salvage`: what can be saved of a damaged log, in a new directory.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wal::{CopyReport, LogView, LossReport, LostRange};

use super::new_log::{NewLog, Stoppable};
use super::output::{json_line, line, stdout};
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;

/// Copy everything that can be proved of a damaged log into a new one, and report what is lost.
///
/// The damaged log is only read. The copy is a log of its own, with a new identity and the same
/// addresses; replay skips the transactions and batches that miss records. Exit codes: 0 nothing
/// that was promised is lost, 4 something is, and the report says what. A salvage that fails or is
/// interrupted removes what it made.
#[derive(Debug, Args)]
pub(crate) struct Salvage {
    /// Directory of the damaged log.
    dir: PathBuf,
    /// Directory of the copy: empty, or missing.
    new: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Salvage {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let interrupt = Interrupt::watch().map_err(|error| Failure::io("signals", error))?;
        let new = NewLog::claim(&self.dir, &self.new)?;
        let clean_up = || new.discard();
        let report = wal::salvage(&self.dir, &self.new, &mut Stoppable::new(&interrupt, &clean_up))
            .map_err(Failure::from)
            .inspect_err(|failure| new.discard_after(failure))?;
        let copy = LogView::open_with(&self.new, &mut Stoppable::new(&interrupt, &clean_up))
            .inspect_err(|_| new.discard())?;
        let mut out = stdout();
        if self.json {
            json_line(&mut out, &as_json(&report, &copy))?;
        } else {
            line(&mut out, &report)?;
            line(&mut out, format_args!("the copy: {}", copy.verdict()))?;
        }
        out.flush().map_err(Failure::output)?;
        let lost = !report.lost.is_empty() || copy.verdict().is_damage();
        Ok(if lost { Exit::Damaged } else { Exit::Done })
    }
}

fn as_json(report: &LossReport, copy: &LogView) -> serde_json::Value {
    let lost: Vec<_> = report.lost.iter().map(lost_json).collect();
    let problems: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
    json!({
        "source": report.place, "verdict": report.verdict.kind().name(),
        "message": report.verdict.to_string(), "copied": copied_json(&report.copied),
        "lost": lost, "lost_bytes": report.lost_bytes(),
        "affects_replay": report.affects_replay(), "problems": problems,
        "dropped_bytes": report.dropped.bytes, "dropped_records": report.dropped.records,
        "read_errors": report.read_errors, "copy_verdict": copy.verdict().kind().name(),
    })
}

fn lost_json(lost: &LostRange) -> serde_json::Value {
    json!({
        "from": lost.range.start.get(), "to": lost.range.end.get(), "bytes": lost.range.bytes(),
        "segment": lost.place.map(|(segment, _)| segment.to_string()),
        "offset": lost.place.map(|(_, offset)| offset), "why": lost.why.to_string(),
    })
}

/// What a copy holds, as `salvage` and `copy` tell it.
pub(crate) fn copied_json(copied: &CopyReport) -> serde_json::Value {
    json!({
        "log_id": copied.log_id.to_string(), "from": copied.range.start.get(),
        "to": copied.range.end.get(), "records": copied.records, "bytes": copied.bytes,
        "segments": copied.segments,
        "checkpoint_begin": copied.checkpoint.map(|pointer| pointer.begin.get()),
    })
}
