//! `cargo xtask sim`: the crash lab, from a slice for every change to ten million crash states.
//!
//! The lab is a program of its own, `wal-lab`; this builds it in release and passes on what was
//! asked. What it finds it prints with the command that shows it again.

use std::process::Command;

use clap::Args;

use crate::outcome::Outcome;
use crate::shell::{cargo, run as run_command};
use crate::workspace::Workspace;

/// Cases of the slice that every change must pass: more than 200,000 distinct crash states.
const CI_CASES: u64 = 416;
/// Distinct crash states that this slice must reach.
const CI_DISTINCT: u64 = 200_000;
/// Judged crash states that every step of the protocol must be cut in.
const CI_FLOOR: u64 = 200;

/// Cases of the workload with threads, in the slice.
const CI_THREADS_CASES: u64 = 48;
/// The workload that needs the scheduler.
const THREADS: &str = "threads";

/// Crash the log on the simulated disk, in its recovery too, and judge what is left
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The seed that all others follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many cases: workloads with a seed, in turn [default: the slice of the pipeline]
    #[arg(long)]
    cases: Option<u64>,
    /// Power cuts in a row, the first in the workload [default: 3]
    #[arg(long)]
    depth: Option<usize>,
    /// Crash states for each power cut [default: 8]
    #[arg(long)]
    states: Option<usize>,
    /// Only this workload; may be given more than once [`--list` names them]
    #[arg(long)]
    workload: Vec<String>,
    /// Begin no case after so many seconds
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// See one state again, by the name that a failure printed
    #[arg(long, value_name = "NAME")]
    replay: Option<String>,
    /// Name the workloads
    #[arg(long)]
    list: bool,
}

/// Runs the lab.
///
/// # Errors
///
/// When it does not build, when a promise is broken, or when a floor is missed.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let mut command = command(arguments);
    let replayed = arguments.replay.iter().any(|name| name.starts_with(THREADS));
    if replayed || arguments.workload.iter().any(|name| name == THREADS) {
        schedule(&mut command)?;
    }
    run_command(&mut command)
}

/// Builds the lab for the scheduler: the commit path then runs on its locks, so it is built apart.
fn schedule(command: &mut Command) -> Outcome {
    let target = Workspace::load()?.target_dir.join("shuttle");
    command.env("RUSTFLAGS", "--cfg shuttle").env("CARGO_TARGET_DIR", target);
    Ok(())
}

/// The slice of the pipeline: its size is a number of cases, so that its hash is always the same.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn slice() -> Outcome {
    let mut command = lab();
    command.args(["run", "--cases", &CI_CASES.to_string()]);
    command.args(["--distinct", &CI_DISTINCT.to_string(), "--floor", &CI_FLOOR.to_string()]);
    run_command(&mut command)?;
    let mut threads = lab();
    threads.args(["run", "--workload", THREADS, "--cases", &CI_THREADS_CASES.to_string()]);
    schedule(&mut threads)?;
    run_command(&mut threads)
}

fn lab() -> Command {
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "wal-lab", "--"]);
    command
}

fn command(arguments: &Arguments) -> Command {
    let mut command = lab();
    if arguments.list {
        command.arg("list");
        return command;
    }
    let effort = [
        ("states", arguments.states.map(|states| states.to_string())),
        ("depth", arguments.depth.map(|depth| depth.to_string())),
    ];
    if let Some(name) = &arguments.replay {
        command.args(["replay", name]);
        add(&mut command, effort);
        return command;
    }
    command.args(["run", "--seed", &arguments.seed.to_string()]);
    command.args(["--cases", &arguments.cases.unwrap_or(CI_CASES).to_string()]);
    add(&mut command, effort);
    add(&mut command, [("time", arguments.time.map(|time| time.to_string()))]);
    for name in &arguments.workload {
        command.args(["--workload", name]);
    }
    if arguments.json {
        command.arg("--json");
    }
    command
}

fn add<const N: usize>(command: &mut Command, options: [(&str, Option<String>); N]) {
    for (name, value) in options {
        if let Some(value) = value {
            command.args([format!("--{name}"), value]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::describe;

    fn arguments() -> Arguments {
        Arguments {
            seed: 5,
            cases: Some(9),
            depth: Some(2),
            states: None,
            workload: vec!["mixed".to_owned()],
            time: None,
            json: true,
            replay: None,
            list: false,
        }
    }

    #[test]
    fn what_was_asked_is_passed_on() {
        let shown = describe(&command(&arguments()));
        let expected = "cargo run --release --quiet --package wal-lab -- run --seed 5 --cases 9 \
                        --depth 2 --workload mixed --json";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_state_is_replayed_by_its_name() {
        let replay = Some("mixed:17:wide:204.3".to_owned());
        let shown = describe(&command(&Arguments { replay, ..arguments() }));
        assert!(shown.ends_with("-- replay mixed:17:wide:204.3 --depth 2"), "{shown}");
    }
}
