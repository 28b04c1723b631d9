//! Bodies taken without making each durable, until the kernel has all of them, and then, if that
//! is asked for, all of them read back; in turns, as commits are.
//!
//! The clock of appending stops when `written` returns. Reading is of a log just written, so from
//! the page cache; a log which meets fewer records than were appended is said to.

use std::path::PathBuf;
use std::thread;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::baseline;
use crate::child::{Common, fresh, in_turns};
use crate::peer::{Clock, Committers, Entry, Failure, Load};
use crate::results::{Report, number};
use crate::sheet::Sheet;
use crate::table::{cell, middle, print_table, ratio};
use crate::turns::{chosen, turn};
use crate::usage::Usage;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Logs to run, all that are built in if none is named; the bare device is always among them
    #[arg(long, value_delimiter = ',')]
    pub logs: Vec<String>,
    /// Numbers of appending threads
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    pub threads: Vec<usize>,
    /// Bytes of a body
    #[arg(long, value_delimiter = ',', default_values_t = [128, 4096])]
    pub body_bytes: Vec<usize>,
    /// Mebibytes of bodies in each turn
    #[arg(long, default_value_t = 1024)]
    pub mebibytes: u64,
    /// Rounds and places
    #[command(flatten)]
    pub common: Common,
}

/// One turn.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// The log
    #[arg(long)]
    log: String,
    /// Threads which append
    #[arg(long)]
    threads: usize,
    /// Bytes of a body
    #[arg(long)]
    body_bytes: usize,
    /// An empty directory
    #[arg(long)]
    dir: PathBuf,
    /// Mebibytes of bodies
    #[arg(long)]
    mebibytes: u64,
    /// Read all back as well
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    read: bool,
}

/// What a turn measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Measured {
    pub(crate) appended_a_second: f64,
    pub(crate) cpu_nanos_per_append: f64,
    read_a_second: Option<f64>,
    /// What kept the log from being read, or what was missing.
    read_failure: Option<String>,
}

/// Runs one turn in this process, of one of `entries`.
pub(crate) fn run_once(plan: &Plan, entries: &[Entry]) -> Result<Measured, Failure> {
    let entry = entries.iter().find(|entry| entry.name == plan.log);
    let entry = entry.ok_or_else(|| format!("no log {:?}", plan.log))?;
    let bytes = plan.mebibytes << 20;
    let load = Load {
        threads: plan.threads,
        durable: false,
        bytes,
        body_bytes: plan.body_bytes,
        segment_bytes: None,
    };
    let peer = (entry.open)(&plan.dir, load)?;
    let body = baseline::body(plan.body_bytes);
    let each = bytes / (plan.body_bytes * plan.threads) as u64;
    let started = Usage::now(&plan.dir);
    thread::scope(|scope| {
        let append = |thread| {
            let (peer, body) = (&peer, &body);
            scope.spawn(move || -> Result<(), Failure> {
                let mut committer = peer.committer(thread)?;
                (0..each).try_for_each(|_| committer.commit(body))
            })
        };
        let workers: Vec<_> = (0..plan.threads).map(append).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Result<(), Failure>>| {
            worker.join().map_err(|_| "an appending thread panicked")?
        };
        workers.into_iter().try_for_each(join)
    })?;
    peer.written()?;
    let used = started.until(&Usage::now(&plan.dir));
    let records = each * plan.threads as u64;
    let mut measured = Measured {
        appended_a_second: records as f64 / used.seconds,
        cpu_nanos_per_append: used.cpu_seconds * 1e9 / records.max(1) as f64,
        read_a_second: None,
        read_failure: None,
    };
    if plan.read {
        let mut clock = Clock::new();
        let met = peer.scan(&plan.dir, &mut clock);
        measured.note_read(met, records, clock.seconds());
    }
    Ok(measured)
}

impl Measured {
    fn note_read(&mut self, met: Result<u64, Failure>, records: u64, seconds: f64) {
        match met {
            Err(failure) => self.read_failure = Some(failure.to_string()),
            Ok(met) => {
                self.read_a_second = Some(records as f64 / seconds);
                self.read_failure = (met < records).then(|| format!("met {met} of {records}"));
            }
        }
    }
}

/// Runs all in turns, prints a table of each load and writes the files, called `name`; `read`: all
/// is read back as well.
///
/// # Errors
///
/// When a log is asked for which is not among `entries`, or files cannot be written.
pub fn run(
    name: &str,
    arguments: &Arguments,
    entries: &[Entry],
    read: bool,
) -> Result<(), Failure> {
    let common = &arguments.common;
    let report = Report::begin(name, common);
    let entries = chosen(&arguments.logs, entries)?;
    let entries: Vec<_> =
        entries.into_iter().filter(|entry| entry.committers != Committers::Tasks).collect();
    println!("How each appends{}:", if read { ", and how it is read back" } else { "" });
    entries.iter().for_each(|entry| println!("* {}", in_words(entry)));
    let mut all = Vec::new();
    for &body_bytes in &arguments.body_bytes {
        for &threads in &arguments.threads {
            let row = |entry: &Entry| Row::new(*entry, threads, body_bytes);
            let mut rows: Vec<Row> = entries.iter().map(row).collect();
            for round in 0..common.rounds {
                in_turns(round, &mut rows, |row| row.take_turn(arguments, read));
            }
            println!(
                "\n{threads} threads append {} MiB in bodies of {body_bytes} bytes",
                arguments.mebibytes
            );
            print(&rows, read);
            all.extend(rows);
        }
    }
    print_speedups(&all);
    report.write_json(&all)?;
    let how = format!(
        "medians of {} rounds in turns; {} MiB of bodies each",
        common.rounds, arguments.mebibytes
    );
    let mut sheet = sheet(&all);
    sheet.notes.extend(entries.iter().map(in_words));
    report.write_csv("", &how, sheet)
}

fn in_words(entry: &Entry) -> String {
    let name = format!("{} {}", entry.name, entry.version);
    let how = if entry.appends.is_empty() { "is not asked to" } else { entry.appends };
    format!("{}: {how}", name.trim_end())
}

/// One log under one load.
#[derive(Serialize)]
struct Row {
    log: &'static str,
    threads: usize,
    body_bytes: usize,
    #[serde(skip)]
    entry: Entry,
    rounds: Vec<Measured>,
    failure: Option<String>,
}

impl Row {
    fn new(entry: Entry, threads: usize, body_bytes: usize) -> Self {
        Self { log: entry.name, threads, body_bytes, entry, rounds: Vec::new(), failure: None }
    }

    fn take_turn(&mut self, arguments: &Arguments, read: bool) {
        if self.failure.is_some() {
            return;
        }
        match self.turn(arguments, read) {
            Ok(measured) => self.rounds.push(measured),
            Err(failure) => self.failure = Some(failure.to_string()),
        }
    }

    fn turn(&self, arguments: &Arguments, read: bool) -> Result<Measured, Failure> {
        let dir = fresh(arguments.common.dir.as_deref())?;
        let turn = turn("append-once", &self.entry, self.threads, self.body_bytes, dir.path())?;
        turn.with("mebibytes", arguments.mebibytes).with("read", read).take()
    }

    fn appended(&self) -> Option<f64> {
        middle(self.rounds.iter().map(|round| round.appended_a_second))
    }

    fn cpu_nanos(&self) -> Option<f64> {
        middle(self.rounds.iter().map(|round| round.cpu_nanos_per_append))
    }

    fn read(&self) -> Option<f64> {
        middle(self.rounds.iter().filter_map(|round| round.read_a_second))
    }

    /// As [`read`](Self::read), where all was met in every round.
    fn read_whole(&self) -> Option<f64> {
        let whole = self.rounds.iter().all(|round| round.read_failure.is_none());
        self.read().filter(|_| whole)
    }
}

/// The bare device is the first row.
fn print(rows: &[Row], read: bool) {
    let Some(raw) = rows.first() else { return };
    let ours = rows.iter().find(|row| row.log == "wal");
    let million = |rate: Option<f64>| cell(rate.map(|rate| rate / 1e6), 2);
    let rates = |row: &Row, of: fn(&Row) -> Option<f64>| {
        let ours = ratio(ours.and_then(of), of(row));
        [million(of(row)), cell(ratio(of(row), of(raw)), 2), cell(ours, 2)]
    };
    let cells = |row: &Row| {
        let mut cells = vec![row.log.to_owned()];
        cells.extend(rates(row, Row::appended));
        cells.push(cell(row.cpu_nanos(), 0));
        if read {
            cells.extend(rates(row, Row::read));
        }
        let note = row.failure.clone();
        let note = note.or(row.rounds.iter().find_map(|round| round.read_failure.clone()));
        cells.push(note.unwrap_or_default());
        cells
    };
    let mut head = vec!["log", "M appends/s", "of raw", "wal is", "CPU ns/append"];
    if read {
        head.extend(["M reads/s", "of raw", "wal is"]);
    }
    head.push("");
    print_table(&head, rows.iter().map(cells).collect());
    for (row, other, verb, ratio) in over_the_best(rows) {
        println!("{row} is {ratio:.2} of the best other log, {other}, {verb}.");
    }
}

/// The rows of our log.
const OURS: [&str; 5] = ["wal", "wal-batches", "wal-one", "wal-once", "wal-reusing"];

/// A figure of a row.
type Rate = fn(&Row) -> Option<f64>;

/// Ours over the best of the other logs: our row, its name, what is done, and the ratio. A log of
/// which not all was read back is not read.
fn over_the_best(rows: &[Row]) -> Vec<(&'static str, &'static str, &'static str, f64)> {
    let of: [(&str, Rate); 2] = [("appending", Row::appended), ("reading", Row::read_whole)];
    let mut found = Vec::new();
    for (verb, of) in of {
        let is_other = |row: &&Row| !row.log.starts_with("raw") && !OURS.contains(&row.log);
        let rates = rows.iter().filter(is_other).filter_map(|row| Some((row.log, of(row)?)));
        let Some((other, best)) = rates.max_by(|one, two| one.1.total_cmp(&two.1)) else {
            continue;
        };
        let ours = rows.iter().filter(|row| OURS.contains(&row.log));
        found.extend(ours.filter_map(|row| Some((row.log, other, verb, of(row)? / best))));
    }
    found
}

/// What more threads are worth, of each log which ran with one and with more.
fn print_speedups(all: &[Row]) {
    let is_told = |row: &&Row| row.threads > 1 && (row.log == "raw" || OURS.contains(&row.log));
    for row in all.iter().filter(is_told) {
        let alone =
            |one: &&Row| one.threads == 1 && one.log == row.log && one.body_bytes == row.body_bytes;
        let alone = all.iter().find(alone).and_then(Row::appended);
        if let Some(ratio) = ratio(row.appended(), alone) {
            let Row { log, threads, body_bytes, .. } = row;
            println!(
                "{log}, bodies of {body_bytes} bytes: {threads} threads are {ratio:.2} of one."
            );
        }
    }
}

fn sheet(all: &[Row]) -> Sheet {
    let mut sheet = Sheet::new(&[
        "log",
        "threads",
        "body_bytes",
        "rounds",
        "appends_per_second",
        "cpu_nanos_per_append",
        "reads_per_second",
    ]);
    for row in all {
        sheet.push([
            row.log.to_owned(),
            row.threads.to_string(),
            row.body_bytes.to_string(),
            row.rounds.len().to_string(),
            number(row.appended()),
            number(row.cpu_nanos()),
            number(row.read()),
        ]);
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bare, ours};

    #[test]
    fn a_mebibyte_is_appended_and_read_back_by_each() {
        let [two, once] = ours::READINGS;
        for entry in bare::APPENDS.iter().chain(&[ours::ENTRY, ours::BATCHES, two, once]) {
            let dir = tempfile::tempdir().unwrap();
            let plan = Plan {
                log: entry.name.to_owned(),
                threads: 2,
                body_bytes: 128,
                dir: dir.path().to_owned(),
                mebibytes: 1,
                read: true,
            };
            let measured = run_once(&plan, &[*entry]).unwrap();
            assert_eq!(measured.read_failure, None, "{}", entry.name);
            assert!(measured.appended_a_second > 0.0 && measured.read_a_second.is_some());
        }
    }

    #[test]
    fn ours_is_held_against_the_best_other_log_that_was_read_whole() {
        let row = |log, appended, read, missed: Option<&str>| {
            let entry = Entry { name: log, ..ours::ENTRY };
            let mut row = Row::new(entry, 1, 128);
            row.rounds.push(Measured {
                appended_a_second: appended,
                cpu_nanos_per_append: 1.0,
                read_a_second: Some(read),
                read_failure: missed.map(str::to_owned),
            });
            row
        };
        let rows = [
            row("raw", 99.0, 99.0, None),
            row("wal", 9.0, 6.0, None),
            row("wal-db", 3.0, 4.0, None),
            row("half", 2.0, 50.0, Some("met 1 of 2")),
        ];
        let expected = [("wal", "wal-db", "appending", 3.0), ("wal", "wal-db", "reading", 1.5)];
        assert_eq!(over_the_best(&rows), expected);
        assert!(over_the_best(&rows[..2]).is_empty());
    }

    #[test]
    fn records_that_are_missing_are_told() {
        let mut measured = Measured {
            appended_a_second: 1.0,
            cpu_nanos_per_append: 1.0,
            read_a_second: None,
            read_failure: None,
        };
        measured.note_read(Ok(7), 8, 2.0);
        assert_eq!(measured.read_failure.as_deref(), Some("met 7 of 8"));
        assert_eq!(measured.read_a_second, Some(4.0));
    }
}
