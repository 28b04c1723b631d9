//! The `wal` command: see what is in a log, whether it is whole, append to it, and operate it.
//!
//! One file per command. `append` and `truncate` open the log for writing, and need that nobody
//! else has. `hold place` and `hold drop`, and `copy` while it runs, place and drop files of holds
//! beside a running writer. Every other command only reads, beside a running writer too. `probe`
//! and `bench` measure a directory, and touch no log. Exit codes are in [`exit`] and in
//! `wal --help`.

mod interrupt;
mod exit;
mod lsn_arg;
mod time_arg;
mod probe;
mod commands;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

const AFTER_HELP: &str = "\
Exit codes:
  0  done; for `verify`: the log is whole
  1  failed: I/O, a full disk, a poisoned log
  2  the command line is wrong
  3  verify: a torn tail; nothing that evidence covers is lost
  4  something that was durable is damaged or missing; `salvage`: the copy lacks it
  5  a file belongs to another log, or a newer version wrote it
  6  there is no log at this place; for `probe`: no directory
  7  another process has the log open for writing
A command that a signal ends removes what it made, and then ends by that signal.

Try it:
  seq 1 1000 | wal append /tmp/example.wal      a record a line, durably
  wal inspect /tmp/example.wal                  what is there
  wal cat /tmp/example.wal                      the records again
  wal verify /tmp/example.wal                   whether it is whole
  wal probe /tmp                                what a durable write costs there
  wal demo                                      a crash, decay, and what is done about them";

/// Look into a write-ahead log, judge it, and append to it.
#[derive(Debug, Parser)]
#[command(name = "wal", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    manner: commands::output::Manner,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Append(commands::append::Append),
    Cat(commands::cat::Cat),
    Dump(commands::dump::Dump),
    Verify(commands::verify::Verify),
    #[command(visible_alias = "stat")]
    Inspect(commands::inspect::Inspect),
    Txn(commands::txn::Txn),
    Probe(commands::probe::Probe),
    Salvage(commands::salvage::Salvage),
    Copy(commands::copy::Copy),
    Truncate(commands::truncate::Truncate),
    Checkpoint(commands::checkpoint::Checkpoint),
    Hold(commands::hold::Hold),
    Segments(commands::segments::Segments),
    Scrub(commands::scrub::Scrub),
    Bench(commands::bench::Bench),
    Top(commands::top::Top),
    Demo(commands::demo::Demo),
    Completions(commands::completions::Completions),
    #[command(hide = true)]
    Man(commands::completions::Man),
}

fn main() -> ExitCode {
    let Cli { manner, command } = Cli::parse();
    manner.keep();
    let outcome = match command {
        Command::Append(command) => command.run(),
        Command::Cat(command) => command.run(),
        Command::Dump(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Txn(command) => command.run(),
        Command::Probe(command) => command.run(),
        Command::Salvage(command) => command.run(),
        Command::Copy(command) => command.run(),
        Command::Truncate(command) => command.run(),
        Command::Checkpoint(command) => command.run(),
        Command::Hold(command) => command.run(),
        Command::Segments(command) => command.run(),
        Command::Scrub(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Completions(command) => command.run(Cli::command()),
        Command::Man(command) => command.run(Cli::command()),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}
