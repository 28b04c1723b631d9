//! Our log against the bare device, in turns: commits, appends without sync, scans, rotations,
//! openings; and what the bare device makes of several writers at once.
//!
//! `cargo xtask bench` builds and runs it. Each turn is this program again, in a process of its own.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use wal_bench::{
    AppendArguments, BARE, BARE_APPENDS, BARE_DIRECT, BARE_DSYNC, BARE_TWO, CommitArguments,
    Common, Entry, Failure, IN_FLIGHT, OUR_FLIGHTS, OUR_POLICIES, OURS, OURS_IN_BATCHES,
    OURS_IN_TASKS, OURS_NEW, OURS_RECYCLING, OURS_REUSING, Once, OpeningArguments,
    RecoveryArguments, RotationArguments, ScanArguments, ShareArguments, measure_appends,
    measure_commits, measure_openings, measure_recovery, measure_rotations, measure_scans,
    measure_tasks, measure_watched,
};

/// Our log against the bare device.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Durable commits from threads and from tasks
    Commit(CommitArguments),
    /// Appends until the kernel has them, none made durable
    Append(AppendArguments),
    /// Reading a whole log back
    Scan(ScanArguments),
    /// Commits over many small segments: p99.9 over p50, beside the bare device's
    Rotations(RotationArguments),
    /// Opening logs of several sizes which were not closed
    Recovery(RecoveryArguments),
    /// A log that stays small: opened, ten records, closed, opened again
    Openings(OpeningArguments),
    /// Durable commits under each policy that gathers, and under none
    Policies(CommitArguments),
    /// Durable commits with one flush in flight and with several, through the page cache and past it
    Flights(CommitArguments),
    /// What events and meters cost, listened to and not, beside a program without them
    Watched(ShareArguments),
    /// Durable commits awaited by tasks, beside those of threads
    Tasks(ShareArguments),
    /// Several bare writers at once, by each method, to a file each and to one file
    InFlight(InFlight),
    /// Durable commits through io_uring, beside the backends it stands on
    #[cfg(all(target_os = "linux", feature = "io-uring"))]
    Uring(CommitArguments),
    #[command(flatten)]
    Once(Once),
}

#[derive(Args, Debug)]
struct InFlight {
    /// Numbers of writers
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16])]
    writers: Vec<usize>,
    /// Bytes of a body
    #[arg(long, value_delimiter = ',', default_values_t = [128, 4096])]
    body_bytes: Vec<usize>,
    /// Milliseconds of measured time in each turn
    #[arg(long, default_value_t = 1000)]
    millis: u64,
    #[command(flatten)]
    common: Common,
}

const COMMITS: [Entry; 7] =
    [BARE, BARE_TWO, BARE_DSYNC, BARE_DIRECT, OURS, OURS_IN_TASKS, OURS_NEW];
const POLICIES: [Entry; 5] = {
    let [every, root, patient] = OUR_POLICIES;
    [BARE, OURS, every, root, patient]
};
const FLIGHTS: [Entry; 5] = {
    let [flights, direct, direct_flights] = OUR_FLIGHTS;
    [BARE, OURS, flights, direct, direct_flights]
};
const ROTATIONS: [Entry; 3] = [BARE, OURS, OURS_RECYCLING];
const APPENDS: [Entry; 8] = {
    let [all, fresh, copy, checksum, write] = BARE_APPENDS;
    [all, fresh, copy, checksum, write, OURS, OURS_IN_BATCHES, OURS_REUSING]
};
const AT_ONCE: [Entry; 7] = {
    let [files, one_file, dsync, direct, one_file_direct] = IN_FLIGHT;
    [BARE, files, one_file, dsync, direct, one_file_direct, OURS]
};

#[cfg(feature = "metrics")]
const LISTENED: &[Entry] = &wal_bench::LISTENED;
#[cfg(not(feature = "metrics"))]
const LISTENED: &[Entry] = &[];

fn main() -> ExitCode {
    match run(&Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Commit(arguments) => measure_commits("commits", arguments, &COMMITS, &[]),
        Verb::Append(arguments) => measure_appends("appends", arguments, &APPENDS, false),
        Verb::Scan(arguments) => measure_scans(arguments),
        Verb::Rotations(arguments) => measure_rotations(arguments, &ROTATIONS),
        Verb::Recovery(arguments) => measure_recovery(arguments),
        Verb::Openings(arguments) => measure_openings(arguments),
        Verb::Policies(arguments) => measure_commits("policies", arguments, &POLICIES, &[]),
        Verb::Flights(arguments) => measure_commits("flights", arguments, &FLIGHTS, &[]),
        Verb::Watched(arguments) => measure_watched(arguments, LISTENED),
        Verb::Tasks(arguments) => measure_tasks(arguments),
        Verb::InFlight(arguments) => {
            measure_commits("in-flight", &arguments.as_commits(), &AT_ONCE, &[])
        }
        #[cfg(all(target_os = "linux", feature = "io-uring"))]
        Verb::Uring(arguments) => match wal_bench::uring_refused() {
            None => measure_commits("uring", arguments, &uring(), &[]),
            Some(why) => {
                println!("SKIPPED: {why}");
                Ok(())
            }
        },
        #[cfg(all(target_os = "linux", feature = "io-uring"))]
        Verb::Once(once) if !matches!(once, Once::AppendOnce(_)) => once.take(
            &[
                &uring()[..],
                &COMMITS[2..],
                &POLICIES[2..],
                &FLIGHTS[2..],
                &ROTATIONS[2..],
                &AT_ONCE[1..],
                LISTENED,
            ]
            .concat(),
        ),
        // Bare appends and bare commits have the same name.
        Verb::Once(once @ Once::AppendOnce(_)) => once.take(&[&APPENDS, LISTENED].concat()),
        Verb::Once(once) => {
            once.take(&[&COMMITS[..], &POLICIES, &FLIGHTS, &ROTATIONS, &AT_ONCE, LISTENED].concat())
        }
    }
}

#[cfg(all(target_os = "linux", feature = "io-uring"))]
fn uring() -> Vec<Entry> {
    [&[BARE, OURS][..], &wal_bench::URING].concat()
}

impl InFlight {
    fn as_commits(&self) -> CommitArguments {
        CommitArguments {
            logs: Vec::new(),
            threads: self.writers.clone(),
            body_bytes: self.body_bytes.clone(),
            millis: self.millis,
            warm_up_millis: 100,
            idle_millis: 0,
            skip_syncs: true,
            common: self.common.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_asked_for_is_understood() {
        let words = "x commit --threads 1,8 --rounds 7 --body-bytes 128 --skip-syncs";
        let Verb::Commit(found) = Arguments::parse_from(words.split(' ')).verb else {
            panic!("not a commit")
        };
        assert_eq!((found.threads, found.common.rounds), (vec![1, 8], 7));
        assert!(found.skip_syncs && found.common.results.is_none());
        let found = Arguments::try_parse_from("x commit --rounds 0".split(' '));
        assert!(found.is_err(), "no round at all");
    }

    #[test]
    fn the_bare_device_comes_first_everywhere() {
        for entries in [&COMMITS[..], &POLICIES, &FLIGHTS, &ROTATIONS, &APPENDS, &AT_ONCE] {
            assert_eq!(entries[0].name, "raw");
            let mut names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), entries.len());
        }
    }
}
