//! Whole workloads against a clock: one file a program that measures or draws.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use crate::outcome::Outcome;

mod measure;
mod peers;
mod plot;

/// Which table to make.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Durable commits from threads and from tasks, in turns with the bare device
    Commit(Words),
    /// Appends until the kernel has them, none made durable, in turns with the bare work
    Append(Words),
    /// Reading a whole log back, in turns with the bare work
    Scan(Words),
    /// Commits over many small segments: p99.9 over p50, beside the bare device's
    Rotations(Words),
    /// Opening logs of several sizes which were not closed, beside reading their files
    Recovery(Words),
    /// A log that stays small, beside its files made by hand
    Openings(Words),
    /// Durable commits under each policy that gathers, and under none
    Policies(Words),
    /// Durable commits with one flush in flight and with several, through the page cache and past it
    Flights(Words),
    /// What events and meters cost, listened to and not, beside a program without them
    Watched(Words),
    /// Durable commits awaited by tasks, beside those of threads
    Tasks(Words),
    /// Several bare writers at once: what the device makes of flushes in flight
    InFlight(Words),
    /// Durable commits through io_uring, beside the backends it stands on (Linux)
    Uring(Words),
    /// Durable commits of other write-ahead logs, in turns with ours and with the bare device
    Peers(peers::Arguments),
    /// Draw what the others wrote
    Plot(plot::Arguments),
}

/// Options which the program behind the verb understands: `--help` lists them.
#[derive(Args)]
#[command(disable_help_flag = true)]
struct Words {
    /// Options of the table; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Makes it.
///
/// # Errors
///
/// When something does not build, or a run fails.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Commit(options) => measure::run("commit", &options.words),
        Verb::Append(options) => measure::run("append", &options.words),
        Verb::Scan(options) => measure::run("scan", &options.words),
        Verb::Rotations(options) => measure::run("rotations", &options.words),
        Verb::Recovery(options) => measure::run("recovery", &options.words),
        Verb::Openings(options) => measure::run("openings", &options.words),
        Verb::Policies(options) => measure::run("policies", &options.words),
        Verb::Flights(options) => measure::run("flights", &options.words),
        Verb::Watched(options) => measure::run_beside_silent("watched", &options.words),
        Verb::Tasks(options) => measure::run("tasks", &options.words),
        Verb::InFlight(options) => measure::run("in-flight", &options.words),
        Verb::Uring(options) => measure::run_with("io-uring", "uring", &options.words),
        Verb::Peers(arguments) => peers::run(arguments),
        Verb::Plot(arguments) => plot::run(arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn every_option_of_a_table_is_handed_on_help_included() {
        for words in ["--rounds 7 --threads 1,8", "--help", ""] {
            let line = format!("bench commit {words}");
            let line = Line::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| {
                panic!("{words:?} is no line: {error}");
            });
            let Verb::Commit(found) = line.arguments.verb else { panic!("not a commit") };
            let found: Vec<&str> = found.words.iter().filter_map(|word| word.to_str()).collect();
            assert_eq!(found.join(" "), words);
        }
    }
}
