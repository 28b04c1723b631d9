//! Bodies taken without making each durable, until the kernel has all of them, and then all of
//! them read back; in turns, as commits are.
//!
//! The clock of appending stops when `written` returns. Reading is of a log just written, so from
//! the page cache; a log which meets fewer records than were appended is said to.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::peer::{self, Clock, Entry, Failure};
use crate::peers;
use crate::results;
use crate::turns;

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
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub rounds: u64,
    /// Where the logs are written: a directory on the device to be measured
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Where the figures are written, as CSV and JSON; nowhere if it is not named
    #[arg(long)]
    pub results: Option<PathBuf>,
}

/// One turn.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// The log
    #[arg(long)]
    pub log: String,
    /// Threads which append
    #[arg(long)]
    pub threads: usize,
    /// Bytes of a body
    #[arg(long)]
    pub body_bytes: usize,
    /// An empty directory
    #[arg(long)]
    pub dir: PathBuf,
    /// Mebibytes of bodies
    #[arg(long)]
    pub mebibytes: u64,
}

/// What a turn measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Measured {
    appended_a_second: f64,
    read_a_second: Option<f64>,
    /// What kept the log from being read, or what was missing.
    read_failure: Option<String>,
}

/// Runs one turn in this process.
pub fn run_once(plan: &Plan) -> Result<Measured, Failure> {
    let entry = peers::named(&plan.log).ok_or_else(|| format!("no log {:?}", plan.log))?;
    let bytes = plan.mebibytes << 20;
    let load =
        peer::Load { threads: plan.threads, durable: false, bytes, body_bytes: plan.body_bytes };
    let peer = (entry.open)(&plan.dir, load)?;
    let body = wal_bench::body(plan.body_bytes);
    let each = bytes / (plan.body_bytes * plan.threads) as u64;
    let started = Instant::now();
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
    let records = each * plan.threads as u64;
    let appended_a_second = records as f64 / started.elapsed().as_secs_f64();
    let mut clock = Clock::new();
    let met = peer.scan(&plan.dir, &mut clock);
    let seconds = clock.seconds();
    Ok(Measured {
        appended_a_second,
        read_a_second: met.is_ok().then_some(records as f64 / seconds),
        read_failure: match met {
            Err(failure) => Some(failure.to_string()),
            Ok(met) if met < records => Some(format!("met {met} of {records}")),
            Ok(_) => None,
        },
    })
}

/// Runs all in turns and prints a table of each load.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let entries = turns::chosen(&arguments.logs)?;
    let mut all = Vec::new();
    for &body_bytes in &arguments.body_bytes {
        for &threads in &arguments.threads {
            let mut rows: Vec<Row> = entries
                .iter()
                .filter(|entry| !entry.in_tasks)
                .map(|entry| Row::new(entry))
                .collect();
            for round in 0..arguments.rounds {
                let first = round as usize % rows.len();
                let (before, from) = rows.split_at_mut(first);
                for row in from.iter_mut().chain(before) {
                    row.take_turn(arguments, threads, body_bytes);
                }
            }
            println!(
                "\n{threads} threads append {} MiB in bodies of {body_bytes} bytes",
                arguments.mebibytes
            );
            print(&rows);
            all.extend(rows.into_iter().map(|row| Load { threads, body_bytes, row }));
        }
    }
    match &arguments.results {
        Some(results) => write(results, arguments, &all),
        None => Ok(()),
    }
}

fn write(results: &Path, arguments: &Arguments, all: &[Load]) -> Result<(), Failure> {
    let mut lines =
        vec!["log,threads,body_bytes,rounds,appends_per_second,reads_per_second".to_owned()];
    lines.extend(all.iter().map(|Load { threads, body_bytes, row }| {
        let (appended, read) = (results::number(row.appended()), results::number(row.read()));
        let rounds = row.rounds.len();
        format!("{},{threads},{body_bytes},{rounds},{appended},{read}", row.log)
    }));
    results::write("peers-appends", results, arguments.dir.as_deref(), &lines, &all)
}

/// One log under one load.
#[derive(Serialize)]
struct Load {
    threads: usize,
    body_bytes: usize,
    row: Row,
}

#[derive(Serialize)]
struct Row {
    log: &'static str,
    #[serde(skip)]
    entry: &'static Entry,
    rounds: Vec<Measured>,
    failure: Option<String>,
}

impl Row {
    fn new(entry: &'static Entry) -> Self {
        Self { log: entry.name, entry, rounds: Vec::new(), failure: None }
    }

    fn take_turn(&mut self, arguments: &Arguments, threads: usize, body_bytes: usize) {
        if self.failure.is_some() {
            return;
        }
        match self.turn(arguments, threads, body_bytes) {
            Ok(measured) => self.rounds.push(measured),
            Err(failure) => self.failure = Some(failure.to_string()),
        }
    }

    fn turn(
        &self,
        arguments: &Arguments,
        threads: usize,
        body_bytes: usize,
    ) -> Result<Measured, Failure> {
        let dir = turns::fresh(arguments.dir.as_deref())?;
        let mut command = turns::command("append", self.entry, threads, body_bytes, dir.path())?;
        command.arg("--mebibytes").arg(arguments.mebibytes.to_string());
        let output = command.stderr(Stdio::piped()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().last().unwrap_or("it ended without a word");
            return Err(said.trim_start_matches("error: ").into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn appended(&self) -> Option<f64> {
        turns::median(self.rounds.iter().map(|round| round.appended_a_second).collect())
    }

    fn read(&self) -> Option<f64> {
        turns::median(self.rounds.iter().filter_map(|round| round.read_a_second).collect())
    }
}

/// The bare device is the first row.
fn print(rows: &[Row]) {
    let of = |name: &str| rows.iter().find(|row| row.entry.name == name);
    let (raw, ours) = (of("raw"), of("wal"));
    let table = rows.iter().map(|row| cells(row, raw, ours)).collect();
    let head = ["log", "appends/s", "of raw", "wal is", "reads/s", "of raw", "wal is", ""];
    wal_bench::print_table(&head, table);
}

fn cells(row: &Row, raw: Option<&Row>, ours: Option<&Row>) -> Vec<String> {
    let million =
        |rate: Option<f64>| rate.map_or_else(String::new, |rate| format!("{:.2} M", rate / 1e6));
    let ratio = |part: Option<f64>, whole: Option<f64>| {
        part.zip(whole).map_or_else(String::new, |(part, whole)| format!("{:.2}", part / whole))
    };
    let note = row.failure.clone();
    let note = note.or(row.rounds.iter().find_map(|round| round.read_failure.clone()));
    vec![
        row.entry.name.to_owned(),
        million(row.appended()),
        ratio(row.appended(), raw.and_then(Row::appended)),
        ratio(ours.and_then(Row::appended), row.appended()),
        million(row.read()),
        ratio(row.read(), raw.and_then(Row::read)),
        ratio(ours.and_then(Row::read), row.read()),
        note.unwrap_or_default(),
    ]
}
