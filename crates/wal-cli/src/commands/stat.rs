//! `wal stat`: what is there.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::json;
use wal::{CheckpointPointer, LogView, RecordFlags};

use super::output::{finish, json_line, line, open_view, stdout};
use crate::exit::{Exit, Failure};

/// Print a summary: segments, checkpoints, counts, and how the log was left.
#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// Directory of the log.
    dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default)]
struct Counts {
    records: u64,
    /// Bytes of these records; addresses jump at openings, so they do not tell.
    bytes: u64,
    engine_records: u64,
    body_bytes: u64,
    batches: u64,
    housekeeping: u64,
}

impl Stat {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let view = open_view(&self.dir)?;
        let counts = count(&view)?;
        let mut out = stdout();
        if self.json {
            json_line(&mut out, &as_json(&view, &counts))?;
        } else {
            print_text(&mut out, &view, &counts)?;
        }
        finish(out, &view)
    }
}

fn count(view: &LogView) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    view.for_each(view.range(), |record| {
        counts.records += 1;
        counts.bytes += record.encoded_bytes() as u64;
        counts.housekeeping += u64::from(record.kind().is_housekeeping());
        if record.kind().is_engine() {
            counts.engine_records += 1;
            counts.body_bytes += record.body.len() as u64;
        }
        let flags = record.flags();
        counts.batches += u64::from(
            flags.contains(RecordFlags::BATCH_CONTINUES)
                && !flags.contains(RecordFlags::BATCH_FOLLOWS),
        );
        ControlFlow::<()>::Continue(())
    })?;
    Ok(counts)
}

fn as_json(view: &LogView, counts: &Counts) -> serde_json::Value {
    let segments: Vec<_> = view
        .survey()
        .links
        .iter()
        .map(|link| {
            json!({
                "name": link.name.to_string(), "base": link.header.base.get(),
                "epoch": link.header.epoch.get(), "cap": link.cap.get(),
                "capacity_bytes": link.header.capacity_bytes, "file_bytes": link.file_bytes,
            })
        })
        .collect();
    let checkpoint = view.checkpoint().map(|pointer| {
        json!({ "begin": pointer.begin.get(), "redo_from": pointer.redo_from.get(), "record": pointer.record.get() })
    });
    json!({
        "log_id": view.log_id().map(|id| id.to_string()), "epoch": view.epoch().get(),
        "head": view.head().get(), "end": view.end().get(), "durable": view.durable().get(),
        "clean": view.is_clean(), "verdict": view.verdict().kind().name(),
        "records": counts.records, "bytes": counts.bytes, "engine_records": counts.engine_records,
        "housekeeping": counts.housekeeping, "body_bytes": counts.body_bytes,
        "batches": counts.batches, "segments": segments, "checkpoint": checkpoint,
        "dead_segments": view.survey().dead.len(),
    })
}

fn print_text(out: &mut impl Write, view: &LogView, counts: &Counts) -> Result<(), Failure> {
    let id = view.log_id().map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    line(out, format_args!("log {id}, epoch {}", view.epoch()))?;
    let Counts { records, bytes, engine_records, body_bytes, housekeeping, batches } = counts;
    line(out, format_args!("from {} to {}; {bytes} bytes of records", view.head(), view.end()))?;
    line(
        out,
        format_args!(
            "{records} records: {engine_records} of the engine with {body_bytes} bytes of body, \
             {housekeeping} housekeeping; {batches} batches"
        ),
    )?;
    match view.checkpoint() {
        Some(CheckpointPointer { begin, redo_from, .. }) => {
            line(out, format_args!("checkpoint begun at {begin}, replay from {redo_from}"))?;
        }
        None => line(out, "no checkpoint")?,
    }
    let closed = if view.is_clean() { "closed cleanly" } else { "not closed cleanly" };
    line(out, format_args!("{closed}; {}", view.verdict()))?;
    line(out, segment_table(view))?;
    let dead = view.survey().dead.len();
    if dead > 0 {
        line(
            out,
            format_args!("{dead} dead segments off the chain; the next opening removes them"),
        )?;
    }
    Ok(())
}

fn segment_table(view: &LogView) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["segment", "base", "ends", "epoch", "file bytes"]);
    for link in &view.survey().links {
        table.add_row([
            link.name.to_string(),
            link.header.base.to_string(),
            link.cap.min(view.end().max(link.header.base)).to_string(),
            link.header.epoch.to_string(),
            link.file_bytes.to_string(),
        ]);
    }
    table
}
