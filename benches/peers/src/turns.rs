//! Who runs when: in each round every log has its turn, each in a process and a directory of its
//! own, so that a slow minute of the machine falls on all of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::peer::{Entry, Failure};
use crate::peers;
use crate::run::Measured;
use crate::syncs::{self, Syncs};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Logs to run, all that are built in if none is named; the bare device is always among them
    #[arg(long, value_delimiter = ',')]
    pub logs: Vec<String>,
    /// Numbers of committing threads
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 8, 32, 128, 1024])]
    pub threads: Vec<usize>,
    /// Bytes of a body
    #[arg(long, value_delimiter = ',', default_values_t = [128, 4096])]
    pub body_bytes: Vec<usize>,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub rounds: u64,
    /// Milliseconds of measured time in each turn
    #[arg(long, default_value_t = 1000)]
    pub millis: u64,
    /// Milliseconds before it
    #[arg(long, default_value_t = 200)]
    pub warm_up_millis: u64,
    /// Do not count syncs; no log is marked then
    #[arg(long)]
    pub skip_syncs: bool,
    /// Where the logs are written: a directory on the device to be measured
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Where the figures are written, as CSV and JSON; nowhere if it is not named
    #[arg(long)]
    pub results: Option<PathBuf>,
}

/// One log under one load.
pub struct Case {
    pub entry: &'static Entry,
    pub threads: usize,
    pub body_bytes: usize,
    /// A round each.
    pub rounds: Vec<Measured>,
    /// What went wrong, if it did; the rounds are those before.
    pub failure: Option<String>,
    /// Syncs of a commit under this load, and of a lone thread.
    pub syncs: Option<Syncs>,
    pub syncs_alone: Option<Syncs>,
}

impl Case {
    /// Whether a lone thread was answered more often than the log synced.
    pub fn is_not_durable(&self) -> bool {
        matches!(self.syncs_alone, Some(Syncs::PerCommit(syncs)) if syncs < 1.0)
    }

    /// The middle one of the rounds' values.
    pub fn median(&self, of: impl Fn(&Measured) -> f64) -> Option<f64> {
        median(self.rounds.iter().map(of).collect())
    }

    /// Commits a second.
    pub fn rate(&self) -> Option<f64> {
        self.median(|round| round.commits as f64 / round.seconds)
    }

    /// Commits a second of the slowest and of the fastest round.
    pub fn rates(&self) -> Option<(f64, f64)> {
        let rates = self.rounds.iter().map(|round| round.commits as f64 / round.seconds);
        let all: Vec<f64> = rates.collect();
        let slowest = all.iter().copied().reduce(f64::min)?;
        Some((slowest, all.iter().copied().reduce(f64::max)?))
    }

    /// CPU time of a commit, in microseconds.
    pub fn cpu_micros(&self) -> Option<f64> {
        self.median(|round| round.cpu_seconds * 1e6 / round.commits.max(1) as f64)
    }
}

/// The middle one of `values`.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// From here on a log whose commits can be awaited is run in tasks too.
const TASKS_MIN: usize = 128;

/// The threads a log is run with: separate raw writers beyond two would only fill the device.
fn threads_of(entry: &Entry, threads: usize) -> usize {
    if entry.name == "raw" && threads > 2 { 1 } else { threads }
}

/// The logs to run.
///
/// # Errors
///
/// When one is named which was not built in.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Entry>, Failure> {
    if let Some(unknown) = names.iter().find(|name| peers::named(name).is_none()) {
        let known: Vec<&str> = peers::ALL.iter().map(|entry| entry.name).collect();
        let known = known.join(", ");
        return Err(format!("{unknown} is not built in; there are {known}").into());
    }
    let wanted = |entry: &&Entry| {
        names.is_empty() || entry.name == "raw" || names.iter().any(|name| name == entry.name)
    };
    Ok(peers::ALL.iter().filter(wanted).collect())
}

/// Runs all that was asked for, one load after the other; `done` is told of each load.
pub fn run(arguments: &Arguments, mut done: impl FnMut(&[Case])) -> Result<Vec<Case>, Failure> {
    let entries = chosen(&arguments.logs)?;
    let alone = alone(arguments, &entries)?;
    let mut all = Vec::new();
    for &body_bytes in &arguments.body_bytes {
        for &threads in &arguments.threads {
            let mut cases: Vec<Case> = entries
                .iter()
                .zip(&alone)
                .filter(|(entry, _)| !entry.in_tasks || threads >= TASKS_MIN)
                .map(|(&entry, &syncs_alone)| Case {
                    entry,
                    threads: threads_of(entry, threads),
                    body_bytes,
                    rounds: Vec::new(),
                    failure: None,
                    syncs: None,
                    syncs_alone,
                })
                .collect();
            for round in 0..arguments.rounds {
                // Who comes first changes, so that none always follows the same one.
                let first = round as usize % cases.len();
                let (before, from) = cases.split_at_mut(first);
                from.iter_mut().chain(before).for_each(|case| turn(arguments, case));
            }
            if !arguments.skip_syncs {
                cases.iter_mut().for_each(|case| count_syncs(arguments, case));
            }
            done(&cases);
            all.extend(cases);
        }
    }
    Ok(all)
}

/// Syncs of each log when a lone thread commits: what tells a durable one.
fn alone(arguments: &Arguments, entries: &[&'static Entry]) -> Result<Vec<Option<Syncs>>, Failure> {
    if arguments.skip_syncs {
        eprintln!(
            "SKIPPED: the count of syncs, as asked; nothing here shows that a log is durable"
        );
        return Ok(vec![None; entries.len()]);
    }
    if !syncs::can_be_counted() {
        eprintln!("SKIPPED: the count of syncs: strace is missing; no log is shown to be durable");
        return Ok(vec![None; entries.len()]);
    }
    let count = |entry: &&'static Entry| {
        let counted = traced(arguments, entry, 1, 128, COMMITS_ALONE);
        counted.map(Some).map_err(|error| format!("{}: {error}", entry.name).into())
    };
    entries.iter().map(count).collect()
}

const COMMITS_ALONE: u64 = 200;

/// Commits of all threads together in a count.
const COMMITS_TOGETHER: u64 = 2_000;

fn turn(arguments: &Arguments, case: &mut Case) {
    if case.failure.is_some() {
        return;
    }
    let measured = fresh(arguments.dir.as_deref()).and_then(|dir| {
        let mut command = command("run", case.entry, case.threads, case.body_bytes, dir.path())?;
        command.arg("--millis").arg(arguments.millis.to_string());
        command.arg("--warm-up-millis").arg(arguments.warm_up_millis.to_string());
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("{} ended with {}", case.entry.name, output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    });
    match measured {
        Ok(measured) => case.rounds.push(measured),
        Err(failure) => case.failure = Some(failure.to_string()),
    }
}

fn count_syncs(arguments: &Arguments, case: &mut Case) {
    if case.threads == 1 && case.body_bytes == 128 {
        case.syncs = case.syncs_alone;
    } else if case.failure.is_none() && case.syncs_alone.is_some() {
        let each = (COMMITS_TOGETHER / case.threads as u64).max(4);
        match traced(arguments, case.entry, case.threads, case.body_bytes, each) {
            Ok(syncs) => case.syncs = Some(syncs),
            Err(failure) => eprintln!("{}: syncs not counted: {failure}", case.entry.name),
        }
    }
}

fn traced(
    arguments: &Arguments,
    entry: &Entry,
    threads: usize,
    body_bytes: usize,
    commits_each: u64,
) -> Result<Syncs, Failure> {
    let (dir, trace) = (fresh(arguments.dir.as_deref())?, tempfile::NamedTempFile::new()?);
    let mut command = command("run", entry, threads, body_bytes, dir.path())?;
    command.args(["--millis", "0", "--warm-up-millis", "0"]);
    command.arg("--commits").arg(commits_each.to_string());
    syncs::count(&command, trace.path(), commits_each * threads as u64)
}

/// This program again, with `verb` for one turn of a log.
pub fn command(
    verb: &str,
    entry: &Entry,
    threads: usize,
    body_bytes: usize,
    dir: &Path,
) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([verb, "--log", entry.name]).arg("--dir").arg(dir);
    command.arg("--threads").arg(threads.to_string());
    command.arg("--body-bytes").arg(body_bytes.to_string());
    Ok(command)
}

/// An empty directory in `dir`, which is gone when the value is.
pub fn fresh(dir: Option<&Path>) -> Result<tempfile::TempDir, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("wal-peers-");
    Ok(match dir {
        Some(dir) => builder.tempdir_in(dir)?,
        None => builder.tempdir()?,
    })
}
