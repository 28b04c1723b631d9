//! Whole workloads against a clock: one file a table.

use clap::{Args, Subcommand};

use crate::outcome::Outcome;

mod peers;

/// Which table to make.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Durable commits of other write-ahead logs, in turns with ours and with the bare device
    Peers(peers::Arguments),
}

/// Makes it.
///
/// # Errors
///
/// When something does not build, or a run fails.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Peers(arguments) => peers::run(arguments),
    }
}
