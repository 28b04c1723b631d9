//! `wal inspect`: a log at a glance.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use wal::{LogView, Lsn, PersistentHoldInfo, RecordKind, SlotState, persistent_holds};

use super::census::{Census, Tally};
use super::findings::{Found, census_text, extent};
use super::map::{Ground, Map};
use super::output::{Paint, bytes_text, finish, json_line, left_as, line, open_view, stdout};
use super::range::RangeArgs;
use super::{inspect_html, verify};
use crate::exit::{Exit, Failure};
use crate::time_arg;

/// Segments drawn in a terminal.
const ROWS_MAX: usize = 24;
/// Signs a segment is drawn with.
const CELLS: usize = 64;
/// Checkpoints named in text.
const CHECKPOINTS_SHOWN: usize = 4;

/// Print a summary: a map of the segments, checkpoints, holds, counts, and how the log was left.
///
/// Reads the whole log once to judge it and once to count. The log is not changed, and may be in use.
/// Holds that live in the process which has the log open cannot be seen from here; persistent ones
/// can.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Directory of the log.
    dir: PathBuf,
    /// Count only the records of this part; the map shows all.
    #[command(flatten)]
    range: RangeArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Write one page that needs nothing else: the map and charts of what the log holds.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let view = open_view(&self.dir)?;
        let census = Census::take(&view, self.range.range()?)?;
        let holds = persistent_holds(&self.dir)?;
        let found = Found { view: &view, census: &census, holds: &holds };
        if let Some(path) = &self.html {
            let page = inspect_html::page(&self.dir.display().to_string(), &found);
            fs::write(path, page)
                .map_err(|error| Failure::io(path.display().to_string(), error))?;
        }
        let mut out = stdout();
        if self.json {
            json_line(&mut out, &as_json(&found))?;
        } else {
            print_text(&mut out, &found)?;
        }
        finish(out, &view)
    }
}

fn as_json(found: &Found<'_>) -> Value {
    let Found { view, census, holds } = found;
    let segments: Vec<Value> = view
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
    let seen = census.checkpoints.iter().map(|it| {
        json!({ "begin": it.begin.get(), "redo_from": it.redo_from.get(), "record": it.record.get() })
    });
    let kinds: serde_json::Map<String, Value> =
        census.kinds.iter().map(|(kind, tally)| (kind.to_string(), tally_json(*tally))).collect();
    let openings =
        census.openings.iter().map(|(lsn, us)| json!({ "lsn": lsn.get(), "unix_us": us }));
    json!({
        "log_id": view.log_id().map(|id| id.to_string()), "epoch": view.epoch().get(),
        "head": view.head().get(), "end": view.end().get(), "durable": view.durable().get(),
        "clean": view.is_clean(), "verdict": view.verdict().kind().name(),
        "message": view.verdict().to_string(),
        "from": census.range.start.get(), "to": census.range.end.get(),
        "records": census.all.records, "bytes": census.all.bytes,
        "engine_records": census.engine.records, "housekeeping": census.housekeeping,
        "body_bytes": census.engine.body_bytes, "batches": census.batches,
        "commits": census.commits, "syncs_seen": census.syncs, "kinds": kinds,
        "segments": segments, "checkpoint": checkpoint, "checkpoints": seen.collect::<Vec<_>>(),
        "openings": openings.collect::<Vec<_>>(),
        "holds": holds.iter().map(|hold| hold_json(hold, view.end())).collect::<Vec<_>>(),
        "control_slots": view.survey().control.slots.each_ref().map(slot_name),
        "dead_segments": view.survey().dead.len(),
    })
}

fn tally_json(tally: Tally) -> Value {
    json!({ "records": tally.records, "bytes": tally.bytes, "body_bytes": tally.body_bytes })
}

fn hold_json(hold: &PersistentHoldInfo, end: Lsn) -> Value {
    json!({
        "name": hold.name, "lsn": hold.lsn.map(Lsn::get), "kept_bytes": kept_bytes(hold, end),
        "limit_bytes": hold.limit.map(|limit| limit.bytes),
        "moved_unix_us": hold.moved_unix_us, "owner": hold.owner,
        "fault": hold.fault.map(|fault| fault.to_string()),
    })
}

const fn slot_name(slot: &SlotState) -> &'static str {
    match slot {
        SlotState::Whole(_) => "whole",
        SlotState::Damaged(_) => "damaged",
        SlotState::Missing => "missing",
    }
}

fn kept_bytes(hold: &PersistentHoldInfo, end: Lsn) -> Option<u64> {
    hold.lsn.map(|lsn| end.get().saturating_sub(lsn.get()))
}

fn print_text(out: &mut impl Write, found: &Found<'_>) -> Result<(), Failure> {
    let Found { view, census, holds } = found;
    let paint = Paint::of_stdout();
    let id = view.log_id().map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    let closed = left_as(view);
    line(
        out,
        format_args!("{}, epoch {}, {closed}", paint.bold(&format!("log {id}")), view.epoch()),
    )?;
    line(out, verify::coloured(paint, view.verdict(), &view.verdict().to_string()))?;
    line(out, format_args!("{}; {}", extent(view), census_text(census)))?;
    if let Some((first, last)) = census.times {
        let (first, last) = (time_arg::shown(first), time_arg::shown(last));
        line(out, format_args!("openings and checkpoints tell times from {first} to {last}"))?;
    }
    line(out, "")?;
    print_map(out, found, paint)?;
    line(out, "")?;
    print_kinds(out, census)?;
    print_checkpoints(out, view, census)?;
    for hold in *holds {
        line(out, hold_text(hold, view, paint))?;
    }
    if let [first, second] = view.survey().control.slots.each_ref().map(slot_name)
        && (first, second) != ("whole", "whole")
    {
        let slots = format!("control file: first slot {first}, second slot {second}");
        line(out, paint.warn(&slots))?;
    }
    let dead = view.survey().dead.len();
    if dead > 0 {
        line(
            out,
            format_args!("{dead} dead segments off the chain; the next opening removes them"),
        )?;
    }
    Ok(())
}

fn print_map(out: &mut impl Write, found: &Found<'_>, paint: Paint) -> Result<(), Failure> {
    let map = Map::of(found.view, found.census, found.holds, ROWS_MAX);
    let width = map.rows.iter().map(|row| row.start.to_string().len()).max().unwrap_or(1);
    let largest = map.rows.iter().map(|row| row.end - row.start).max().unwrap_or(1).max(1);
    let mut signs = std::collections::BTreeSet::new();
    for (index, row) in map.rows.iter().enumerate() {
        if let Some((from, count)) = map.omitted
            && index == from
        {
            line(out, paint.dim(&format!("{:>width$}  … {count} more segments …", "")))?;
        }
        if let Some(gap) = &row.gap {
            line(out, format_args!("{:>width$}  {}", "", paint.warn(gap)))?;
        }
        let bytes = row.end - row.start;
        // To scale, so that a segment of a few records does not look like a full one.
        let cells = (u128::from(bytes) * CELLS as u128).div_ceil(u128::from(largest)) as usize;
        let cells = cells.clamp(1, CELLS);
        let (blank, size) = (" ".repeat(CELLS - cells), bytes_text(bytes));
        line(
            out,
            format_args!("{:>width$}  {}{blank}  {size}", row.start, row.drawn(cells, paint)),
        )?;
        signs.extend(row.marks.iter().map(|mark| mark.sign));
    }
    let shown = |ground: &Ground| {
        map.rows.iter().any(|row| row.grounds.iter().any(|(_, there)| there == ground))
    };
    let mut legend: Vec<String> = Ground::ALL
        .iter()
        .filter(|ground| **ground != Ground::Dead && shown(ground))
        .map(|ground| format!("{} {}", ground.painted(paint), ground.words()))
        .collect();
    for (sign, words) in [
        ('o', "opening"),
        ('C', "checkpoint"),
        ('R', "replay starts"),
        ('H', "hold"),
        ('✗', "end of what can be read"),
    ] {
        if signs.contains(&sign) {
            legend.push(format!("{} {words}", paint.key(&sign.to_string())));
        }
    }
    line(out, format_args!("{:>width$}  {}", "", legend.join("   ")))
}

fn print_kinds(out: &mut impl Write, census: &Census) -> Result<(), Failure> {
    if census.kinds.is_empty() {
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["kind", "records", "bytes", "share", "body, mean"]);
    let mut kinds: Vec<(&RecordKind, &Tally)> = census.kinds.iter().collect();
    kinds.sort_by_key(|(kind, tally)| (std::cmp::Reverse(tally.bytes), **kind));
    for (kind, tally) in kinds {
        let share = tally.bytes as f64 * 100.0 / census.all.bytes.max(1) as f64;
        table.add_row([
            kind.to_string(),
            tally.records.to_string(),
            bytes_text(tally.bytes),
            format!("{share:.1} %"),
            bytes_text(tally.body_bytes / tally.records.max(1)),
        ]);
    }
    for column in 1..5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    line(out, table)
}

fn print_checkpoints(out: &mut impl Write, view: &LogView, census: &Census) -> Result<(), Failure> {
    match view.checkpoint() {
        Some(pointer) => line(
            out,
            format_args!(
                "checkpoint in force: begun at {}, complete at {}, replay from {}",
                pointer.begin, pointer.record, pointer.redo_from
            ),
        )?,
        None => line(out, "no checkpoint")?,
    }
    let older = census.checkpoints.iter().rev().skip(1);
    for seen in older.take(CHECKPOINTS_SHOWN) {
        line(
            out,
            format_args!(
                "  before it: begun at {}, complete at {}, replay from {}",
                seen.begin, seen.record, seen.redo_from
            ),
        )?;
    }
    let more = census.checkpoints.len().saturating_sub(1 + CHECKPOINTS_SHOWN);
    if more > 0 {
        line(out, format_args!("  and {more} more"))?;
    }
    Ok(())
}

/// A hold, in one line.
pub(crate) fn hold_text(hold: &PersistentHoldInfo, view: &LogView, paint: Paint) -> String {
    let name = paint.key(&format!("hold `{}`", hold.name));
    match (hold.lsn, kept_bytes(hold, view.end())) {
        (Some(lsn), Some(bytes)) => {
            format!("{name} keeps the log from {lsn} on, {}", bytes_text(bytes))
        }
        _ => {
            let fault = hold.fault.map_or_else(String::new, |fault| fault.to_string());
            format!("{name} {}", paint.bad(&format!("keeps all of the log: {fault}")))
        }
    }
}
