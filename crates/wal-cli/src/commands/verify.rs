//! `wal verify`: one verdict on a log.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wal::{LogView, Verdict};

use super::output::{json_line, line, open_view, stdout};
use crate::exit::{Exit, Failure};

/// Read the whole log and say whether it is whole.
///
/// Checks every record from the head to the end, and searches behind the end for evidence that
/// something durable is missing. Exit codes: 0 whole, 3 a torn tail (nothing that evidence covers
/// is lost), 4 damaged or missing, 5 foreign or newer, 6 no log here. The log is not changed.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Directory of the log.
    dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let view = open_view(&self.dir)?;
        let mut out = stdout();
        if self.json {
            json_line(&mut out, &summary(&view))?;
        } else {
            print_text(&mut out, &view)?;
        }
        out.flush().map_err(Failure::output)?;
        Ok(Exit::of(view.verdict()))
    }
}

fn print_text(out: &mut impl Write, view: &LogView) -> Result<(), Failure> {
    line(out, view.verdict())?;
    let (head, end, durable) = (view.head(), view.end(), view.durable().min(view.end()));
    let closed = if view.is_clean() { "closed cleanly" } else { "not closed cleanly" };
    line(out, format_args!("records from {head} to {end}; proven durable to {durable}; {closed}"))?;
    if durable < end {
        line(
            out,
            format_args!(
                "what lies from {durable} on is whole, but nothing proves that it was synced; the \
                 next opening makes it durable"
            ),
        )?;
    }
    Ok(())
}

fn summary(view: &LogView) -> serde_json::Value {
    let verdict = view.verdict();
    let (dropped_bytes, dropped_records) = match verdict {
        Verdict::TornTail { dropped, .. } => (dropped.bytes, dropped.records),
        _ => (0, 0),
    };
    json!({
        "verdict": verdict.kind().name(), "message": verdict.to_string(),
        "damaged": verdict.is_damage(), "clean": view.is_clean(),
        "head": view.head().get(), "end": view.end().get(), "durable": view.durable().get(),
        "epoch": view.epoch().get(), "log_id": view.log_id().map(|id| id.to_string()),
        "dropped_bytes": dropped_bytes, "dropped_records": dropped_records,
    })
}
