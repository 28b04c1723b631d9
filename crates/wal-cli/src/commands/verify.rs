//! `wal verify`: one verdict on a log, or on a part of it.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use wal::{ErrorKind, FlippedBit, LogView, Lsn, LsnRange, Verdict};

use super::output::{Paint, Watcher, json_line, left_as, line, open_view, stdout};
use super::range::{RangeArgs, for_each_in};
use crate::exit::{Exit, Failure};

/// Read the whole log and say whether it is whole.
///
/// Checks every record from the head to the end, and searches behind the end for evidence that
/// something durable is missing. Where a single flipped bit is all that is wrong, it is named. With
/// a range only that is read, from the beginning of the segment in which it starts. Exit codes: 0
/// whole, 3 a torn tail (nothing that evidence covers is lost), 4 damaged or missing, 5 foreign or
/// newer, 6 no log here. The log is not changed.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Directory of the log.
    dir: PathBuf,
    #[command(flatten)]
    range: RangeArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What there is to say.
struct Found<'a> {
    view: &'a LogView,
    flipped: Option<FlippedBit>,
    /// Records in the range, and their bytes.
    records: u64,
    bytes: u64,
    /// Whether what is wrong concerns the range.
    concerns: bool,
}

impl Verify {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let range = self.range.range()?;
        let view = self.view(range)?;
        let flipped = match view.flipped_bit() {
            Ok(flipped) => flipped,
            // The diagnosis is an extra: the verdict stands without it.
            Err(error) if error.kind() == ErrorKind::Truncated => None,
            Err(error) => return Err(error.into()),
        };
        let (mut records, mut bytes) = (0, 0);
        for_each_in(&view, range, |record| {
            records += 1;
            bytes += record.encoded_bytes() as u64;
            ControlFlow::<()>::Continue(())
        })?;
        let concerns = first_wrong(&view).is_none_or(|wrong| wrong < range.end);
        let found = Found { view: &view, flipped, records, bytes, concerns };
        let mut out = stdout();
        if self.json {
            json_line(&mut out, &self.summary(&found))?;
        } else {
            self.print_text(&mut out, &found)?;
        }
        out.flush().map_err(Failure::output)?;
        Ok(if concerns { Exit::of(view.verdict()) } else { Exit::Done })
    }

    fn view(&self, range: LsnRange) -> Result<LogView, Failure> {
        if self.range.is_all() {
            return open_view(&self.dir);
        }
        Ok(LogView::open_range(&self.dir, range, &mut Watcher::default())?)
    }

    /// The verdict in words.
    fn message(&self, view: &LogView) -> String {
        if self.range.is_all() || view.verdict() != &Verdict::CleanEnd {
            return view.verdict().to_string();
        }
        "whole up to the end of the range; nothing else was read".to_owned()
    }

    fn print_text(&self, out: &mut impl Write, found: &Found<'_>) -> Result<(), Failure> {
        let (view, paint) = (found.view, Paint::of_stdout());
        let verdict = self.message(view);
        if found.concerns {
            line(out, coloured(paint, view.verdict(), &verdict))?;
        } else {
            line(out, paint.good("whole up to the end of the range"))?;
            line(out, paint.warn(&format!("behind it: {verdict}")))?;
        }
        if let Some(flipped) = found.flipped {
            line(out, paint.bad(&format!("{flipped}; with it flipped back it is valid")))?;
        }
        let (head, end, durable) = (view.head(), view.end(), view.durable().min(view.end()));
        let closed = left_as(view);
        if self.range.is_all() {
            line(
                out,
                format_args!("records from {head} to {end}; proven durable to {durable}; {closed}"),
            )?;
        } else {
            let Found { records, bytes, .. } = found;
            line(out, format_args!("in the range: {records} records of {bytes} bytes"))?;
            line(out, format_args!("read up to {end} of the log from {head} on"))?;
        }
        if durable < end {
            line(
                out,
                format_args!(
                    "what lies from {durable} on is whole, but nothing proves that it was synced; \
                     the next opening makes it durable"
                ),
            )?;
        }
        Ok(())
    }

    fn summary(&self, found: &Found<'_>) -> Value {
        let (view, verdict) = (found.view, found.view.verdict());
        let (dropped_bytes, dropped_records) = match verdict {
            Verdict::TornTail { dropped, .. } => (dropped.bytes, dropped.records),
            _ => (0, 0),
        };
        json!({
            "verdict": verdict.kind().name(), "message": self.message(view),
            "damaged": verdict.is_damage(), "in_range": found.concerns, "clean": view.is_clean(),
            "head": view.head().get(), "end": view.end().get(), "durable": view.durable().get(),
            "epoch": view.epoch().get(), "log_id": view.log_id().map(|id| id.to_string()),
            "from": self.range.from.map(Lsn::get), "to": self.range.to.map(Lsn::get),
            "records": found.records, "bytes": found.bytes,
            "dropped_bytes": dropped_bytes, "dropped_records": dropped_records,
            "flipped_bit": found.flipped.map(|bit| flipped_json(&bit)),
        })
    }
}

fn flipped_json(flipped: &FlippedBit) -> Value {
    json!({
        "message": flipped.to_string(), "lsn": flipped.lsn.get(),
        "segment": flipped.segment.to_string(), "part": flipped.part.to_string(),
        "field": flipped.field(), "byte": flipped.byte, "bit": flipped.bit,
        "offset": flipped.offset,
    })
}

/// The verdict, green, yellow or red.
pub(crate) fn coloured(paint: Paint, verdict: &Verdict, text: &str) -> String {
    match verdict {
        Verdict::CleanEnd => paint.good(text),
        Verdict::TornTail { .. } => paint.warn(text),
        _ => paint.bad(text),
    }
}

/// The lowest address that the verdict speaks of; `None` when it speaks of the whole log.
const fn first_wrong(view: &LogView) -> Option<Lsn> {
    match view.verdict() {
        Verdict::TornTail { at, .. } => Some(*at),
        Verdict::Corrupt { lsn, .. } => Some(*lsn),
        Verdict::MissingSegment { from, .. } => Some(*from),
        _ => None,
    }
}
