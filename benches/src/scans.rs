//! Scanning a log, beside reading the same files and checksumming them: one log for all, looked at
//! by a process a turn, in turns.
//!
//! The log was just written, so it is read from the page cache; a first round, which is not
//! counted, sees to that.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::bare;
use crate::checksums::{self, Checksum};
use crate::child::{Common, Turn, fresh, in_turns};
use crate::made::{self, Made};
use crate::ours;
use crate::peer::{Clock, Failure};
use crate::results::{Report, number};
use crate::sheet::Sheet;
use crate::table::{cell, middle, print_table, ratio};
use crate::usage::{Usage, anonymous_bytes_max};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Bytes of a body
    #[arg(long, value_delimiter = ',', default_values_t = [128, 4096])]
    pub body_bytes: Vec<usize>,
    /// Mebibytes of bodies in the log
    #[arg(long, default_value_t = 1024)]
    pub mebibytes: u64,
    /// Rounds and places
    #[command(flatten)]
    pub common: Common,
}

/// How the log is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
enum Way {
    /// A serial read of its files, and CRC-32C
    Raw,
    /// The same with the checksum by the crate `crc32c`, as it was before
    #[value(name = "raw-by-crc32c")]
    RawByCrc32c,
    /// A serial read of its files
    RawRead,
    /// CRC-32C of as many bytes which are near
    #[value(name = "raw-crc32c")]
    RawCrc32c,
    /// Our scan of all records
    Wal,
    /// The same on one thread
    WalOne,
    /// From nothing to the verdict, all records met on the way
    WalOnce,
}

impl Way {
    const ALL: [Self; 7] = [
        Self::Raw,
        Self::RawByCrc32c,
        Self::RawRead,
        Self::RawCrc32c,
        Self::Wal,
        Self::WalOne,
        Self::WalOnce,
    ];

    /// Whether it takes the log apart.
    const fn is_ours(self) -> bool {
        matches!(self, Self::Wal | Self::WalOne | Self::WalOnce)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::RawByCrc32c => "raw-by-crc32c",
            Self::RawRead => "raw-read",
            Self::RawCrc32c => "raw-crc32c",
            Self::Wal => "wal",
            Self::WalOne => "wal-one",
            Self::WalOnce => "wal-once",
        }
    }
}

/// One turn.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// How
    #[arg(long)]
    way: Way,
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
    seconds: f64,
    /// Processor time from before the log was opened.
    cpu_seconds: f64,
    /// Seconds of opening it for reading, which reads and checks all of it once.
    open_seconds: f64,
    anonymous_bytes_max: Option<u64>,
    /// Records met, by who takes the log apart.
    records: Option<u64>,
}

/// Runs one turn in this process.
pub(crate) fn run_once(plan: &Plan) -> Result<Measured, Failure> {
    let mut clock = Clock::new();
    let before = Usage::now(&plan.log);
    let paths = made::segments(&plan.log)?;
    let mut records = None;
    match plan.way {
        Way::Wal => records = Some(ours::read(&plan.log, &mut clock)?),
        Way::WalOne => records = Some(ours::read_on_one(&plan.log, &mut clock)?),
        Way::WalOnce => records = Some(ours::read_once(&plan.log, &mut clock)?),
        Way::RawCrc32c => {
            clock.start();
            bare::checksum_memory(plan.bytes);
        }
        Way::Raw | Way::RawByCrc32c | Way::RawRead => {
            let checksum: Option<Checksum> = match plan.way {
                Way::Raw => Some(checksums::quicker),
                Way::RawByCrc32c => Some(checksums::by_crc32c),
                _ => None,
            };
            clock.start();
            bare::read_files(&paths, plan.bytes, checksum)?;
        }
    }
    let seconds = clock.seconds();
    let used = before.until(&Usage::now(&plan.log));
    Ok(Measured {
        seconds,
        cpu_seconds: used.cpu_seconds,
        open_seconds: (used.seconds - seconds).max(0.0),
        anonymous_bytes_max: anonymous_bytes_max(),
        records,
    })
}

#[derive(Serialize)]
struct Row {
    log: &'static str,
    body_bytes: usize,
    log_bytes: u64,
    #[serde(skip)]
    way: Way,
    rounds: Vec<Measured>,
    failure: Option<String>,
}

impl Row {
    fn take_turn(&mut self, log: &Path, made: Made, counts: bool) {
        if self.failure.is_some() {
            return;
        }
        match self.turn(log, made) {
            Ok(measured) if counts => self.rounds.push(measured),
            Ok(_) => {}
            Err(failure) => self.failure = Some(failure.to_string()),
        }
    }

    fn turn(&self, log: &Path, made: Made) -> Result<Measured, Failure> {
        let turn = Turn::new("scan-once")?.with("way", self.way.name()).at("log", log);
        let measured: Measured = turn.with("bytes", made.bytes).take()?;
        match measured.records {
            Some(met) if met != made.records => {
                Err(format!("met {met} of {} records", made.records).into())
            }
            _ => Ok(measured),
        }
    }

    fn median(&self, of: impl Fn(&Measured) -> f64) -> Option<f64> {
        middle(self.rounds.iter().map(of))
    }

    fn bytes_a_second(&self) -> Option<f64> {
        self.median(|round| self.log_bytes as f64 / round.seconds)
    }

    fn memory(&self) -> Option<f64> {
        let of_all = self.rounds.iter().filter_map(|round| round.anonymous_bytes_max);
        of_all.max().map(|bytes| bytes as f64)
    }

    fn opening(&self) -> Option<f64> {
        let opens = matches!(self.way, Way::Wal | Way::WalOne);
        self.median(|round| round.open_seconds).filter(|_| opens)
    }
}

/// Runs all in turns, prints a table of each body and writes the files.
///
/// # Errors
///
/// When a log cannot be made, or files cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let common = &arguments.common;
    let report = Report::begin("scan", common);
    let mut all = Vec::new();
    for &body_bytes in &arguments.body_bytes {
        let dir = fresh(common.dir.as_deref())?;
        let log = dir.path().join("log");
        let mebibytes = arguments.mebibytes;
        let made = made::Plan { log: log.clone(), mebibytes, body_bytes, close: true };
        let made = made.make_in_child()?;
        let mut rows = Way::ALL.map(|way| Row {
            log: way.name(),
            body_bytes,
            log_bytes: made.bytes,
            way,
            rounds: Vec::new(),
            failure: None,
        });
        for round in 0..=common.rounds {
            in_turns(round, &mut rows, |row| row.take_turn(&log, made, round > 0));
        }
        println!("\na log of {} records with bodies of {body_bytes} bytes", made.records);
        print(&rows, made);
        all.extend(rows);
    }
    report.write_json(&all)?;
    let how = format!(
        "medians of {} rounds in turns; {} MiB of bodies",
        common.rounds, arguments.mebibytes
    );
    report.write_csv("", &how, sheet(&all))
}

/// The bare read and checksum is the first row.
fn print(rows: &[Row], made: Made) {
    let Some(raw) = rows.first() else { return };
    let records = |row: &Row| ratio(Some(made.records as f64 / 1e6), row.median(|at| at.seconds));
    let cells = |row: &Row| {
        vec![
            row.log.to_owned(),
            cell(row.bytes_a_second().map(|rate| rate / 1e6), 0),
            cell(records(row), 2),
            cell(ratio(row.bytes_a_second(), raw.bytes_a_second()), 2),
            cell(row.memory().map(|bytes| bytes / f64::from(1 << 20)), 1),
            cell(ratio(row.opening(), raw.median(|round| round.seconds)), 2),
            row.failure.clone().unwrap_or_default(),
        ]
    };
    let head =
        ["log", "MB/s", "M records/s", "of raw", "own memory, MiB", "opening, of raw's time", ""];
    print_table(&head, rows.iter().map(cells).collect());
    let rate = |name: &str| rows.iter().find(|row| row.log == name).and_then(Row::bytes_a_second);
    let slower = rate("raw-read").zip(rate("raw-crc32c")).map(|(read, crc)| read.min(crc));
    for row in rows.iter().filter(|row| row.way.is_ours()) {
        if let Some(ratio) = ratio(row.bytes_a_second(), slower) {
            println!("{} is {ratio:.2} of the slower of reading and CRC-32C.", row.log);
        }
    }
}

fn sheet(all: &[Row]) -> Sheet {
    let mut sheet = Sheet::new(&[
        "log",
        "body_bytes",
        "log_bytes",
        "rounds",
        "bytes_per_second",
        "anonymous_bytes_max",
        "open_seconds",
    ]);
    for row in all {
        sheet.push([
            row.log.to_owned(),
            row.body_bytes.to_string(),
            row.log_bytes.to_string(),
            row.rounds.len().to_string(),
            number(row.bytes_a_second()),
            number(row.memory()),
            number(row.opening()),
        ]);
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_looks_at_the_log_that_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let made = made::Plan { log: log.clone(), mebibytes: 1, body_bytes: 4096, close: true };
        let made = made.make().unwrap();
        assert_eq!(made.records, 256);
        for way in Way::ALL {
            let plan = Plan { way, log: log.clone(), bytes: made.bytes };
            let measured = run_once(&plan).unwrap();
            assert_eq!(measured.records, way.is_ours().then_some(made.records));
            assert!(measured.seconds > 0.0, "{way:?}");
        }
    }

    #[test]
    fn ways_are_named_alike_in_tables_and_on_the_command_line() {
        for way in Way::ALL {
            assert_eq!(Way::from_str(way.name(), false), Ok(way));
        }
    }
}
