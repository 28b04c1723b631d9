//! `wal checkpoint list`: the checkpoints that an opening can start from.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde_json::json;
use wal::{CheckpointPointer, LogView, LsnRange, RecordKind};

use super::output::{finish, json_line, line, open_view, stdout};
use crate::exit::{Exit, Failure};

/// Look at the checkpoints of a log.
#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the checkpoints that the log retains, oldest first, and whether each can be used.
    ///
    /// With both control slots lost only the newest one is known, which is found by reading the
    /// log. The log is not changed, and may be in use.
    List {
        /// Directory of the log.
        dir: PathBuf,
        /// A JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// A checkpoint and what its end record is found to be.
struct Seen {
    pointer: CheckpointPointer,
    /// Length of the record's body; `None` where no such record can be read.
    body_bytes: Option<u64>,
    newest: bool,
}

impl Seen {
    fn of(view: &LogView, pointer: CheckpointPointer, newest: bool) -> Self {
        let range = LsnRange::new(pointer.record, pointer.end);
        let read = view.for_each(range, |record| {
            let found = record.lsn() == pointer.record
                && record.kind() == RecordKind::CHECKPOINT_END
                && record.end() == pointer.end;
            ControlFlow::Break(found.then_some(record.body.len() as u64))
        });
        Self { pointer, body_bytes: read.ok().flatten().flatten(), newest }
    }

    fn state(&self, view: &LogView) -> &'static str {
        if self.pointer.redo_from < view.head() {
            "its log is truncated"
        } else if self.body_bytes.is_none() {
            "unreadable"
        } else if self.newest {
            "newest"
        } else {
            "to fall back on"
        }
    }
}

impl Checkpoint {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Command::List { dir, json } = self.command;
        let view = open_view(&dir)?;
        let named = view.survey().control.current().map(|slot| slot.checkpoints.clone());
        let mut pointers = named.unwrap_or_default();
        if let Some(found) = view.checkpoint().filter(|found| !pointers.contains(found)) {
            pointers.push(found);
        }
        pointers.sort_by_key(|pointer| pointer.begin);
        let newest = pointers.last().copied();
        let seen: Vec<Seen> = pointers
            .into_iter()
            .map(|pointer| Seen::of(&view, pointer, Some(pointer) == newest))
            .collect();
        let mut out = stdout();
        if json {
            for one in &seen {
                json_line(&mut out, &as_json(&view, one))?;
            }
        } else if seen.is_empty() {
            line(&mut out, "no checkpoint")?;
        } else {
            line(&mut out, table(&view, &seen))?;
        }
        finish(out, &view)
    }
}

fn as_json(view: &LogView, one: &Seen) -> serde_json::Value {
    let CheckpointPointer { begin, redo_from, record, end } = one.pointer;
    json!({
        "begin": begin.get(), "redo_from": redo_from.get(), "record": record.get(),
        "end": end.get(), "body_bytes": one.body_bytes, "newest": one.newest,
        "usable": one.body_bytes.is_some() && redo_from >= view.head(),
        "replay_bytes": view.end().distance_from(redo_from),
    })
}

fn table(view: &LogView, seen: &[Seen]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "begun at",
        "replay from",
        "its record",
        "bytes in it",
        "to replay",
        "state",
    ]);
    for one in seen {
        let CheckpointPointer { begin, redo_from, record, .. } = one.pointer;
        let bytes = one.body_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
        let replay = view.end().distance_from(redo_from).unwrap_or(0);
        table.add_row([
            begin.to_string(),
            redo_from.to_string(),
            record.to_string(),
            bytes,
            replay.to_string(),
            one.state(view).to_owned(),
        ]);
    }
    table
}
