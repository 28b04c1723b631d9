//! Opening a log which was not closed, at each of several sizes, beside a serial read and CRC-32C of
//! the same files: what recovery costs.
//!
//! Opening changes a log, so each round has one of its own; bare reading comes first. An opening
//! also makes segments, so what one file of that length costs is measured beside it.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::{Deserialize, Serialize};
use wal::{ReplayRecord, Wal};

use crate::bare;
use crate::baseline;
use crate::checksums::quicker;
use crate::child::{Common, Turn, fresh};
use crate::made::{self, Made};
use crate::peer::Failure;
use crate::results::{Report, number};
use crate::sheet::Sheet;
use crate::table::{cell, middle, print_table, ratio};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Mebibytes of bodies in the log
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1, 4, 16, 64, 256])]
    pub mebibytes: Vec<u64>,
    /// Bytes of a body
    #[arg(long, default_value_t = 128)]
    pub body_bytes: usize,
    /// Rounds and places
    #[command(flatten)]
    pub common: Common,
}

/// One turn.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// The log's directory
    #[arg(long)]
    log: PathBuf,
    /// Bytes of the log
    #[arg(long)]
    bytes: u64,
}

/// What a turn measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Measured {
    /// Until the log took commits.
    open_seconds: f64,
    raw_seconds: f64,
    /// Of writing zeros for one segment and syncing them.
    make_seconds: f64,
    records: u64,
}

/// Of the segment that an opening of ours makes, where it was not closed.
const OPENING_BYTES: u64 = 1 << 20;

/// Runs one turn in this process.
pub(crate) fn run_once(plan: &Plan) -> Result<Measured, Failure> {
    let started = Instant::now();
    let zeros = plan.log.with_extension("zeros");
    baseline::prepared_file(&zeros, OPENING_BYTES, baseline::FOR_WRITES_BYTES)?;
    let make_seconds = started.elapsed().as_secs_f64();
    fs::remove_file(zeros)?;
    let started = Instant::now();
    bare::read_files(&made::segments(&plan.log)?, plan.bytes, Some(quicker))?;
    let raw_seconds = started.elapsed().as_secs_f64();
    let mut records = 0;
    let replay = |_: &ReplayRecord<'_>| {
        records += 1;
        Ok::<(), io::Error>(())
    };
    let started = Instant::now();
    let wal = Wal::open(&plan.log, baseline::options(), replay)?;
    let open_seconds = started.elapsed().as_secs_f64();
    wal.close()?;
    drop(wal);
    Ok(Measured { open_seconds, raw_seconds, make_seconds, records })
}

#[derive(Serialize)]
struct Row {
    mebibytes: u64,
    log_bytes: u64,
    rounds: Vec<Measured>,
}

impl Row {
    fn open(&self) -> Option<f64> {
        middle(self.rounds.iter().map(|round| round.open_seconds))
    }

    fn raw(&self) -> Option<f64> {
        middle(self.rounds.iter().map(|round| round.raw_seconds))
    }

    fn make(&self) -> Option<f64> {
        middle(self.rounds.iter().map(|round| round.make_seconds))
    }

    /// Reading all and making one segment: what the file system takes for the same.
    fn both(&self) -> Option<f64> {
        middle(self.rounds.iter().map(|round| round.raw_seconds + round.make_seconds))
    }

    fn take_turn(&mut self, arguments: &Arguments) -> Result<(), Failure> {
        let dir = fresh(arguments.common.dir.as_deref())?;
        let log = dir.path().join("log");
        let (mebibytes, body_bytes) = (self.mebibytes, arguments.body_bytes);
        let plan = made::Plan { log: log.clone(), mebibytes, body_bytes, close: false };
        let Made { records, bytes } = plan.make_in_child()?;
        let turn = Turn::new("open-once")?.at("log", &log).with("bytes", bytes);
        let measured: Measured = turn.take()?;
        if measured.records != records {
            return Err(format!("{} of {records} records replayed", measured.records).into());
        }
        self.log_bytes = bytes;
        self.rounds.push(measured);
        Ok(())
    }
}

/// Runs all rounds, prints the table and writes the files.
///
/// # Errors
///
/// When a log cannot be made or opened, does not give back all its records, or files cannot be
/// written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let common = &arguments.common;
    let report = Report::begin("recovery", common);
    let row = |&mebibytes: &u64| Row { mebibytes, log_bytes: 0, rounds: Vec::new() };
    let mut rows: Vec<Row> = arguments.mebibytes.iter().map(row).collect();
    for _ in 0..common.rounds {
        rows.iter_mut().try_for_each(|row| row.take_turn(arguments))?;
    }
    println!("\nopening a log that was not closed, bodies of {} bytes", arguments.body_bytes);
    print(&rows);
    report.write_json(&rows)?;
    let how =
        format!("medians of {} rounds; bodies of {} bytes", common.rounds, arguments.body_bytes);
    report.write_csv("", &how, sheet(&rows))
}

fn print(rows: &[Row]) {
    let millis = |seconds: Option<f64>| cell(seconds.map(|seconds| seconds * 1e3), 1);
    let cells = |row: &Row| {
        vec![
            row.mebibytes.to_string(),
            millis(row.open()),
            millis(row.raw()),
            millis(row.make()),
            cell(ratio(row.open(), row.both()), 2),
        ]
    };
    let head = [
        "MiB of bodies",
        "opening, ms",
        "read and CRC-32C, ms",
        "making a segment, ms",
        "opening of both",
    ];
    print_table(&head, rows.iter().map(cells).collect());
}

fn sheet(rows: &[Row]) -> Sheet {
    let mut sheet = Sheet::new(&[
        "mebibytes",
        "log_bytes",
        "rounds",
        "open_seconds",
        "raw_seconds",
        "make_seconds",
    ]);
    for row in rows {
        sheet.push([
            row.mebibytes.to_string(),
            row.log_bytes.to_string(),
            row.rounds.len().to_string(),
            number(row.open()),
            number(row.raw()),
            number(row.make()),
        ]);
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_left_open_is_opened_again_with_all_its_records() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let made = made::Plan { log: log.clone(), mebibytes: 1, body_bytes: 4096, close: false };
        let made = made.make().unwrap();
        let measured = run_once(&Plan { log, bytes: made.bytes }).unwrap();
        assert_eq!(measured.records, 256);
        assert!(measured.open_seconds > 0.0 && measured.raw_seconds > 0.0);
    }
}
