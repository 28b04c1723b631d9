//! `cargo xtask inject`: a real writer on a real kernel, killed at its system calls, or refused them.
//!
//! The tests are those of the command, `kill`, `inject` and `full_disk`, which `cargo test` runs in
//! a slice. This shows what they print, and with `--all` takes every call of each run.

use clap::Args;

use crate::outcome::Outcome;
use crate::shell::{cargo, run as run_command};

/// Kill a writer at its system calls, let each of them fail once, and fill its disk
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Arguments {
    /// Every call of each run, not a slice: some minutes
    #[arg(long)]
    all: bool,
}

/// Runs the tests.
///
/// # Errors
///
/// When one fails. Where `strace` or mounting is missing they are skipped, and say so.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let mut command = cargo();
    command.args(["test", "--package", "wal-cli"]);
    command.args(["--test", "kill", "--test", "inject", "--test", "full_disk"]);
    command.args(["--", "--nocapture"]);
    if arguments.all {
        command.env("WAL_INJECT_ALL", "1");
    }
    run_command(&mut command)
}
