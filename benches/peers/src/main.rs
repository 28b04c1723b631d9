//! Other write-ahead logs under the workload of this one: durable commits of small bodies from
//! many threads, in turns with this log and with the bare device, in one table.
//!
//! `cargo xtask bench peers` builds and runs it. Each turn is this program again, with the verb
//! `run`, in a process of its own.
//!
//! The modules below are in reading order: each uses only those above it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod peer;
mod peers;
mod run;
mod syncs;
mod turns;
mod table;
mod results;
mod appends;

/// Other write-ahead logs under the workload of this one.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run logs in turns and print a table of each load
    Table(turns::Arguments),
    /// Append without making each body durable, read all back, and print a table of each load
    Appends(appends::Arguments),
    /// List the logs which were built in
    List,
    /// One run of one log in this process; its figures go to standard output as JSON
    #[command(hide = true)]
    Run(run::Plan),
    /// One turn of appending and reading in this process; its figures go to standard output as JSON
    #[command(hide = true)]
    Append(appends::Plan),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Table(arguments) => print_tables(&arguments),
        Verb::List => turns::chosen(&[]).map(|entries| table::print_options(&entries)),
        Verb::Appends(arguments) => appends::run(&arguments),
        Verb::Append(plan) => append_once(&plan),
        Verb::Run(plan) => run_once(&plan),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn print_tables(arguments: &turns::Arguments) -> Result<(), peer::Failure> {
    let dir = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    wal_bench::describe(&dir);
    table::print_options(&turns::chosen(&arguments.logs)?);
    let cases = turns::run(arguments, table::print)?;
    if let Some(dir) = &arguments.results {
        results::write_commits(dir, arguments, &cases)?;
    }
    Ok(())
}

fn append_once(plan: &appends::Plan) -> Result<(), peer::Failure> {
    println!("{}", serde_json::to_string(&appends::run_once(plan)?)?);
    Ok(())
}

fn run_once(plan: &run::Plan) -> Result<(), peer::Failure> {
    if let Some(measured) = run::run(plan)? {
        println!("{}", serde_json::to_string(&measured)?);
    }
    Ok(())
}
