//! Durable commits: who runs when. In each round every log has its turn, each in a process and a
//! directory of its own, so that a slow minute of the machine falls on all of them.

use std::path::Path;

use clap::Args;

use crate::child::{Common, Turn, fresh, in_turns};
use crate::latencies::Latencies;
use crate::peer::{Committers, Entry, Failure};
use crate::run::Measured;
use crate::syncs::{self, Syncs};
use crate::table::middle;

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
    /// Milliseconds of measured time in each turn
    #[arg(long, default_value_t = 1000)]
    pub millis: u64,
    /// Milliseconds before it
    #[arg(long, default_value_t = 200)]
    pub warm_up_millis: u64,
    /// Milliseconds after it in which nothing is asked of the log, and its CPU time is looked at
    #[arg(long, default_value_t = 200)]
    pub idle_millis: u64,
    /// Do not count syncs; no log is marked then
    #[arg(long)]
    pub skip_syncs: bool,
    /// Rounds and places
    #[command(flatten)]
    pub common: Common,
}

/// One log under one load.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) entry: Entry,
    /// Of the load; the bare device may have fewer.
    pub(crate) threads: usize,
    pub(crate) body_bytes: usize,
    /// A round each.
    pub(crate) rounds: Vec<Measured>,
    /// What went wrong, if it did; the rounds are those before.
    pub(crate) failure: Option<String>,
    /// Syncs of a commit under this load, and of a lone thread.
    pub(crate) syncs: Option<Syncs>,
    pub(crate) syncs_alone: Option<Syncs>,
}

impl Case {
    /// Nothing measured yet.
    pub(crate) fn new(entry: Entry, threads: usize, body_bytes: usize) -> Self {
        let (rounds, failure) = (Vec::new(), None);
        Self { entry, threads, body_bytes, rounds, failure, syncs: None, syncs_alone: None }
    }

    /// Threads or tasks which commit.
    pub(crate) fn committers(&self) -> usize {
        self.entry.committers.under(self.threads)
    }

    /// Whether a lone thread was answered more often than the log synced.
    pub(crate) fn is_not_durable(&self) -> bool {
        matches!(self.syncs_alone, Some(Syncs::PerCommit(syncs)) if syncs < 1.0)
    }

    /// The middle one of the rounds' values.
    pub(crate) fn median(&self, of: impl Fn(&Measured) -> f64) -> Option<f64> {
        middle(self.rounds.iter().map(of))
    }

    /// Of the rounds which have one.
    pub(crate) fn median_of(&self, of: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        middle(self.rounds.iter().filter_map(of))
    }

    /// Commits a second, of a log that got through all of its rounds.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.median(Measured::rate).filter(|_| self.failure.is_none())
    }

    /// Microseconds within which this share of the commits was done.
    pub(crate) fn micros(&self, share: f64) -> Option<f64> {
        self.median(|round| round.latencies.within_micros(share))
    }

    /// Commits a second of the slowest and of the fastest round.
    pub(crate) fn rates(&self) -> Option<(f64, f64)> {
        let rates = self.rounds.iter().map(Measured::rate);
        let slowest = rates.clone().reduce(f64::min)?;
        Some((slowest, rates.reduce(f64::max)?))
    }

    /// CPU time of a commit, in microseconds.
    pub(crate) fn cpu_micros(&self) -> Option<f64> {
        self.median(|round| round.per_commit(round.cpu_seconds * 1e6))
    }

    /// The times of all rounds.
    pub(crate) fn latencies(&self) -> Result<Latencies, Failure> {
        let mut all = Latencies::new()?;
        self.rounds.iter().try_for_each(|round| all.add(&round.latencies))?;
        Ok(all)
    }

    /// One more round, unless one before failed.
    pub(crate) fn take_turn(&mut self, turn: impl FnOnce(&Self) -> Result<Measured, Failure>) {
        if self.failure.is_some() {
            return;
        }
        match turn(self) {
            Ok(measured) => self.rounds.push(measured),
            Err(failure) => self.failure = Some(failure.to_string()),
        }
    }

    /// One turn in `dir`, without how long it takes.
    pub(crate) fn turn(&self, dir: &Path) -> Result<Turn, Failure> {
        turn("run", &self.entry, self.committers(), self.body_bytes, dir)
    }
}

/// One turn of a log, with this verb.
pub(crate) fn turn(
    verb: &str,
    entry: &Entry,
    threads: usize,
    body_bytes: usize,
    dir: &Path,
) -> Result<Turn, Failure> {
    let turn = Turn::new(verb)?.with("log", entry.name).at("dir", dir);
    Ok(turn.with("threads", threads).with("body-bytes", body_bytes))
}

/// From here on a log whose commits can be awaited is run in tasks too.
pub(crate) const TASKS_MIN: usize = 128;

/// Whether a load of so many threads means anything to a log.
fn runs_under(entry: &Entry, threads: usize) -> bool {
    match entry.committers {
        Committers::Threads => true,
        Committers::Tasks => threads >= TASKS_MIN,
        Committers::Fixed(count) => threads >= count,
    }
}

/// The logs to run: those of `entries` which are named, or all, and always the bare device, the
/// first.
///
/// # Errors
///
/// When one is named which is not among them.
pub fn chosen(names: &[String], entries: &[Entry]) -> Result<Vec<Entry>, Failure> {
    let is_known = |name: &&String| entries.iter().any(|entry| entry.name == name.as_str());
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        let known = known.join(", ");
        return Err(format!("{unknown} is not built in; there are {known}").into());
    }
    let wanted = |(at, entry): &(usize, &Entry)| {
        names.is_empty() || *at == 0 || names.iter().any(|name| name == entry.name)
    };
    Ok(entries.iter().enumerate().filter(wanted).map(|(_, entry)| *entry).collect())
}

/// Runs all that was asked for, one load after the other; `done` is told of each load.
pub(crate) fn run(
    arguments: &Arguments,
    entries: &[Entry],
    mut done: impl FnMut(&[Case]),
) -> Result<Vec<Case>, Failure> {
    let entries = chosen(&arguments.logs, entries)?;
    let alone = alone(arguments, &entries)?;
    let mut all = Vec::new();
    for &body_bytes in &arguments.body_bytes {
        for &threads in &arguments.threads {
            let mut cases: Vec<Case> = entries
                .iter()
                .zip(&alone)
                .filter(|(entry, _)| runs_under(entry, threads))
                .map(|(&entry, &syncs_alone)| Case {
                    syncs_alone,
                    ..Case::new(entry, threads, body_bytes)
                })
                .collect();
            for round in 0..arguments.common.rounds {
                in_turns(round, &mut cases, |case| {
                    case.take_turn(|case| one_turn(arguments, case));
                });
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

fn one_turn(arguments: &Arguments, case: &Case) -> Result<Measured, Failure> {
    let dir = fresh(arguments.common.dir.as_deref())?;
    let turn = case.turn(dir.path())?.with("millis", arguments.millis);
    let turn = turn.with("warm-up-millis", arguments.warm_up_millis);
    turn.with("idle-millis", arguments.idle_millis).take()
}

/// Syncs of each log when a lone thread commits: what tells a durable one.
fn alone(arguments: &Arguments, entries: &[Entry]) -> Result<Vec<Option<Syncs>>, Failure> {
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
    let count = |entry: &Entry| {
        let counted = traced(arguments, &Case::new(*entry, 1, 128), COMMITS_ALONE);
        counted.map(Some).map_err(|error| format!("{}: {error}", entry.name).into())
    };
    entries.iter().map(count).collect()
}

const COMMITS_ALONE: u64 = 200;

/// Commits of all threads together in a count.
const COMMITS_TOGETHER: u64 = 2_000;

fn count_syncs(arguments: &Arguments, case: &mut Case) {
    if case.threads == 1 && case.body_bytes == 128 {
        case.syncs = case.syncs_alone;
    } else if case.failure.is_none() && case.syncs_alone.is_some() {
        let each = (COMMITS_TOGETHER / case.committers() as u64).max(4);
        match traced(arguments, case, each) {
            Ok(syncs) => case.syncs = Some(syncs),
            Err(failure) => eprintln!("{}: syncs not counted: {failure}", case.entry.name),
        }
    }
}

fn traced(arguments: &Arguments, case: &Case, commits_each: u64) -> Result<Syncs, Failure> {
    let dir = fresh(arguments.common.dir.as_deref())?;
    let trace = tempfile::NamedTempFile::new()?;
    let turn = case.turn(dir.path())?.with("commits", commits_each);
    syncs::count(turn.command(), trace.path(), commits_each * case.committers() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bare, ours};

    const ENTRIES: [Entry; 4] = [bare::RAW, bare::TWO, ours::ENTRY, ours::IN_TASKS];

    fn names(names: &[&str]) -> Vec<&'static str> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        chosen(&names, &ENTRIES).unwrap().iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn the_bare_device_is_always_among_the_chosen() {
        assert_eq!(names(&["wal"]), ["raw", "wal"]);
        assert_eq!(names(&[]), ["raw", "raw-two", "wal", "wal-tasks"]);
        assert!(chosen(&["other".to_owned()], &ENTRIES).is_err());
    }

    #[test]
    fn tasks_and_several_bare_writers_run_where_they_mean_something() {
        let under = |threads| {
            let all = ENTRIES.iter().filter(|entry| runs_under(entry, threads));
            all.map(|entry| entry.name).collect::<Vec<_>>()
        };
        assert_eq!(under(1), ["raw", "wal"]);
        assert_eq!(under(2), ["raw", "raw-two", "wal"]);
        assert_eq!(under(128), ["raw", "raw-two", "wal", "wal-tasks"]);
    }

    #[test]
    fn a_log_with_fewer_syncs_than_answers_is_not_durable() {
        let mut case = Case::new(ENTRIES[2], 1, 128);
        assert!(!case.is_not_durable());
        case.syncs_alone = Some(Syncs::PerCommit(0.5));
        assert!(case.is_not_durable());
        case.syncs_alone = Some(Syncs::Hidden);
        assert!(!case.is_not_durable());
    }
}
