//! Other write-ahead logs under the workload of this one: durable commits of small bodies from
//! many threads, in turns with this log and with the bare device, in one table.
//!
//! `cargo xtask bench peers` builds and runs it. Who runs when, and what is measured, is the
//! business of `wal-bench`, which measures this repository's log alone in the same way. What logs
//! lose in a crash is not measured but counted, by `loss`: `cargo xtask peers --loss`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use wal_bench::{
    AppendArguments, CommitArguments, Failure, Once, measure_appends, measure_commits,
    print_options,
};

#[cfg(feature = "aegis")]
mod import;
mod loss;
mod peers;

/// Other write-ahead logs under the workload of this one.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run logs in turns and print a table of each load
    Table(CommitArguments),
    /// Append without making each body durable, read all back, and print a table of each load
    Appends(AppendArguments),
    /// Crash the ancestors of our log and ours, and print what each lost
    Loss(loss::Arguments),
    /// Bring a log of aegis-storage over into ours; see docs/migration.md
    #[cfg(feature = "aegis")]
    Import(import::Arguments),
    /// List the logs which were built in
    List,
    #[command(flatten)]
    Once(Once),
    #[command(flatten)]
    LossStep(loss::Step),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Table(arguments) => {
            measure_commits("peers-commits", &arguments, &peers::commits(), &peers::RIVALS)
        }
        Verb::Appends(arguments) => {
            measure_appends("peers-appends", &arguments, &peers::appends(), true)
        }
        Verb::List => {
            print_options(&peers::commits());
            Ok(())
        }
        #[cfg(feature = "aegis")]
        Verb::Import(arguments) => import::run(&arguments),
        Verb::Loss(arguments) => loss::run(&arguments),
        Verb::Once(once) => take(&once),
        Verb::LossStep(step) => step.take(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn take(once: &Once) -> Result<(), Failure> {
    // The bare device has one name and two ways.
    let entries = matches!(once, Once::AppendOnce(_)).then(peers::appends);
    once.take(&entries.unwrap_or_else(peers::commits))
}
