//! Everything that `cargo` alone cannot say about this repository: one verb a file.
//!
//! This file parses a verb and calls its file. Verbs know the repository through `workspace` and
//! the text of its sources through `rust_text`; only `ci` calls other verbs. No product crate is
//! linked: what is tested here from outside is run as a command.
//!
//! The modules below are in reading order: each uses only those above it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod outcome;
mod rust_text;
mod used_paths;
mod workspace;
mod module_tree;
mod shell;
mod layers;
mod tidy;
mod unsafe_ledger;
mod model;
mod inject;
mod fuzz;
mod sanitizers;
mod demo;
mod man;
mod sim;
mod mutants;
mod peers;
mod bench;
mod ci;

/// What can be asked of the repository beyond `cargo build` and `cargo test`.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Start with:\n  \
        cargo xtask demo     append from eight threads, kill it ten times, see that nothing is lost\n  \
        cargo xtask demo --aries   kill a bank on pages, see what each restart found, redid and undid\n  \
        cargo test --workspace\n  \
        cargo xtask ci       all that a change must pass, in the order of the hosted pipeline\n\n\
        A check that fails says where, what is wrong, and how to mend it."
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Kill a writer again and again, and show that no acknowledged record is lost
    Demo(demo::Arguments),
    /// Write a manual page for each command of `wal`
    Man(man::Arguments),
    /// Run every check of the pipeline, in order, with the time of each
    Ci(ci::Arguments),
    /// Check that crates and files depend downwards only
    Layers,
    /// Check sizes, heads, banned words, dead files, links, and that each rule has its test
    Tidy,
    /// Count `unsafe`, and compare with what is argued for
    UnsafeLedger,
    /// Run the model of the commit path: every interleaving of a few threads
    Model,
    /// Crash the log on the simulated disk, in its recovery too, and judge what is left
    Sim(sim::Arguments),
    /// Plant bugs in a copy of the log and see that the crash lab finds each
    Mutants(mutants::Arguments),
    /// Kill a writer at its system calls, let each of them fail once, and fill its disk
    Inject(inject::Arguments),
    /// Feed arbitrary bytes to every decoder, and damaged files to openings
    Fuzz(fuzz::Arguments),
    /// Crash the logs which came before this one, and this one, and print what each lost
    Peers(peers::Arguments),
    /// Measure whole workloads, each beside the bare device
    Bench(bench::Arguments),
    /// Run the tests under AddressSanitizer
    Asan,
    /// Run the tests of the crates with threads under ThreadSanitizer
    Tsan,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Man(arguments) => man::run(&arguments),
        Verb::Ci(arguments) => ci::run(&arguments),
        Verb::Layers => layers::run(),
        Verb::Tidy => tidy::run(),
        Verb::UnsafeLedger => unsafe_ledger::run(),
        Verb::Model => model::run(),
        Verb::Sim(arguments) => sim::run(&arguments),
        Verb::Mutants(arguments) => mutants::run(&arguments),
        Verb::Inject(arguments) => inject::run(&arguments),
        Verb::Fuzz(arguments) => fuzz::run(&arguments),
        Verb::Peers(arguments) => peers::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Asan => sanitizers::asan(),
        Verb::Tsan => sanitizers::tsan(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
