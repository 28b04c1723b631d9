//! `cargo xtask sim`: the crash lab, from a slice for every change to ten million crash states.
//!
//! The lab is a program of its own, `wal-lab`; this builds it in release and passes on what was
//! asked. What it finds it prints with the command that shows it again.

use std::process::Command;

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::shell::{cargo, describe, run as run_command};
use crate::workspace::Workspace;

/// Cases of the slice that every change must pass: more than 200,000 distinct crash states.
const CI_CASES: u64 = 416;
/// Distinct crash states that this slice must reach.
const CI_DISTINCT: u64 = 200_000;
/// Judged crash states that every step of the protocol must be cut in.
const CI_FLOOR: u64 = 200;
/// Judged crash states that every kind of fault must have befallen.
const CI_FAULT_FLOOR: u64 = 500;

/// Judged crash states in which, at each depth, a part of what was not synced survived: in order,
/// out of order, torn. Without it an exploration may see the extremes only in recovery.
const CI_DEPTH_FLOOR: u64 = 50;

/// Workloads that are no part of the slice above, whose figures are compared from change to change.
const MORE: &[&str] = &["recycled", "reused", "bad-reads", "lying-cache", "joined", "bad-sectors"];
/// Their cases, in the slice.
const CI_MORE_CASES: u64 = 64;

/// Cases of the workload with threads, in the slice.
const CI_THREADS_CASES: u64 = 48;
/// The workloads that need the scheduler begin so.
pub(crate) const THREADS: &str = "threads";
/// As that one, with syncs that fail.
const THREADS_FAILING: &str = "threads-failing";
/// Its cases, in the slice.
const CI_FAILING_CASES: u64 = 16;

/// The workloads of engines with pages, which a program of their own runs, begin so.
const BANK: &str = "bank";
/// Their cases, in the slice.
const CI_BANK_CASES: u64 = 6;
/// Distinct crash states that they must reach there.
const CI_BANK_DISTINCT: u64 = 10_000;
/// Judged crash states that each step of restart must be cut in there.
const CI_BANK_FLOOR: u64 = 100;
/// As [`CI_DEPTH_FLOOR`]: only two kinds of bank have pages that tear.
const CI_BANK_DEPTH_FLOOR: u64 = 20;
/// Their cases when nobody says how many: more than a million states.
const BANK_CASES: u64 = 200;

/// The workload of several logs under one root, on a disk each: tests of that crate.
const PARTITIONS: &str = "partitions";
/// Its cases when nobody says how many.
const PARTITIONS_CASES: u64 = 16;

/// Crash the log on the simulated disk, in its recovery too, and judge what is left
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The seed that all others follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many cases: workloads with a seed, in turn; without it the slice of the pipeline, or with
    /// --time as many as fit
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
    /// Run it so often, and fail unless each run ends in the same hash
    #[arg(long, value_name = "TIMES")]
    repeat: Option<u64>,
    /// Fail unless every kind of fault that the workloads are for befell so many judged states
    #[arg(long, value_name = "STATES")]
    fault_floor: Option<u64>,
    /// Print the figures as JSON, and nothing else on standard output
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
    if of_bank(arguments) {
        return run_bank(arguments);
    }
    if arguments.workload.iter().any(|name| name == PARTITIONS) {
        return run_partitions(arguments);
    }
    let mut command = command(arguments);
    let replayed = arguments.replay.iter().any(|name| name.starts_with(THREADS));
    if replayed || arguments.workload.iter().any(|name| name.starts_with(THREADS)) {
        schedule(&mut command)?;
    }
    if arguments.list {
        run_command(&mut command)?;
        run_command(bank().arg("list"))?;
        println!("{PARTITIONS:<14} batches across logs on disks of their own; run apart");
        return Ok(());
    }
    if arguments.json { run_quietly(&mut command) } else { run_command(&mut command) }
}

/// Whether what was asked for is the bank's.
fn of_bank(arguments: &Arguments) -> bool {
    let named = |name: &String| name.starts_with(BANK);
    arguments.replay.iter().any(named) || arguments.workload.iter().any(named)
}

fn run_bank(arguments: &Arguments) -> Outcome {
    let foreign = arguments.workload.iter().find(|name| !name.starts_with(BANK));
    if let Some(name) = foreign {
        return Err(Failure::new(format!("`{name}` is not the bank's: run it apart")));
    }
    if arguments.repeat.is_some() || arguments.fault_floor.is_some() {
        return Err(Failure::new("the bank knows neither --repeat nor --fault-floor"));
    }
    let mut command = with(arguments, bank(), BANK_CASES);
    if arguments.json { run_quietly(&mut command) } else { run_command(&mut command) }
}

/// Every operation of every disk cut; a slice of it is among the tests of every change.
fn run_partitions(arguments: &Arguments) -> Outcome {
    let only_seed_and_cases = arguments.workload.len() == 1
        && arguments.depth.is_none()
        && arguments.states.is_none()
        && arguments.time.is_none()
        && arguments.repeat.is_none()
        && arguments.fault_floor.is_none()
        && !arguments.json;
    if !only_seed_and_cases {
        return Err(Failure::new("`partitions` is run apart, with --seed and --cases only"));
    }
    let cases = arguments.cases.unwrap_or(PARTITIONS_CASES);
    let mut command = cargo();
    command.args(["test", "--release", "--quiet", "--package", "wal-partitions"]);
    command.args(["--test", "crash", "--", "--ignored", "--nocapture"]);
    command.env("WAL_SIM_SEED", arguments.seed.to_string());
    command.env("WAL_SIM_CASES", cases.to_string());
    run_command(&mut command)
}

fn bank() -> Command {
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "wal-bank", "--"]);
    command
}

/// Runs a command whose output is for a program: it is shown on standard error.
fn run_quietly(command: &mut Command) -> Outcome {
    let shown = describe(command);
    eprintln!("$ {shown}");
    let status =
        command.status().map_err(|error| Failure::new(format!("cannot run `{shown}`: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("`{shown}` failed ({status})")))
    }
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
    run_command(&mut slice_of_default())?;
    run_command(&mut slice_of(MORE, CI_MORE_CASES))?;
    run_command(&mut slice_of_bank())?;
    let mut threads = slice_of(&[THREADS], CI_THREADS_CASES);
    schedule(&mut threads)?;
    run_command(&mut threads)?;
    // So few cases meet each failure too seldom for the floors above.
    let mut failing = lab();
    failing.args(["run", "--cases", &CI_FAILING_CASES.to_string(), "--workload", THREADS_FAILING]);
    schedule(&mut failing)?;
    run_command(&mut failing)
}

fn slice_of_bank() -> Command {
    let mut command = bank();
    command.args(["run", "--cases", &CI_BANK_CASES.to_string()]);
    let floors = [CI_BANK_DISTINCT, CI_BANK_FLOOR, CI_BANK_DEPTH_FLOOR];
    let floors = floors.map(|floor| floor.to_string());
    let [distinct, floor, depth] = &floors;
    command.args(["--distinct", distinct, "--floor", floor, "--depth-floor", depth]);
    command
}

fn slice_of_default() -> Command {
    let mut command = slice_of(&[], CI_CASES);
    command.args(["--distinct", &CI_DISTINCT.to_string(), "--floor", &CI_FLOOR.to_string()]);
    command
}

fn slice_of(workloads: &[&str], cases: u64) -> Command {
    let mut command = lab();
    command.args(["run", "--cases", &cases.to_string()]);
    command.args(["--fault-floor", &CI_FAULT_FLOOR.to_string()]);
    command.args(["--depth-floor", &CI_DEPTH_FLOOR.to_string()]);
    for name in workloads {
        command.args(["--workload", name]);
    }
    command
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
    with(arguments, command, CI_CASES)
}

/// What was asked for, in the words of the programs; `cases` is how many if nobody says.
fn with(arguments: &Arguments, mut command: Command, cases: u64) -> Command {
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
    let slice = arguments.time.is_none().then_some(cases);
    let limits = [
        ("cases", arguments.cases.or(slice).map(|cases| cases.to_string())),
        ("time", arguments.time.map(|time| time.to_string())),
        ("repeat", arguments.repeat.map(|times| times.to_string())),
        ("fault-floor", arguments.fault_floor.map(|floor| floor.to_string())),
    ];
    add(&mut command, effort);
    add(&mut command, limits);
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
    use crate::workspace::read;

    fn arguments() -> Arguments {
        Arguments {
            seed: 5,
            cases: Some(9),
            depth: Some(2),
            states: None,
            workload: vec!["mixed".to_owned()],
            time: None,
            repeat: None,
            fault_floor: None,
            json: true,
            replay: None,
            list: false,
        }
    }

    #[test]
    fn what_was_asked_is_passed_on() {
        let shown = describe(&command(&arguments()));
        let expected = "cargo run --release --quiet --package wal-lab -- run --seed 5 --depth 2 \
                        --cases 9 --workload mixed --json";
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_the_banks_goes_to_the_bank() {
        let workload = vec!["bank-torn".to_owned()];
        let asked = Arguments { workload, cases: None, json: false, ..arguments() };
        assert!(of_bank(&asked) && !of_bank(&arguments()));
        let shown = describe(&with(&asked, bank(), BANK_CASES));
        let expected = "cargo run --release --quiet --package wal-bank -- run --seed 5 --depth 2 \
                        --cases 200 --workload bank-torn";
        assert_eq!(shown, expected);
        let replay = Some("bank-torn:17:deep:n24:60.1".to_owned());
        assert!(of_bank(&Arguments { replay, workload: Vec::new(), ..arguments() }));
    }

    #[test]
    fn a_state_is_replayed_by_its_name() {
        let replay = Some("mixed:17:wide:204.3".to_owned());
        let shown = describe(&command(&Arguments { replay, ..arguments() }));
        assert!(shown.ends_with("-- replay mixed:17:wide:204.3 --depth 2"), "{shown}");
    }

    #[test]
    fn a_time_without_a_number_of_cases_is_used_up() {
        let asked = Arguments { cases: None, time: Some(3600), repeat: Some(3), ..arguments() };
        let shown = describe(&command(&asked));
        assert!(shown.contains("--time 3600 --repeat 3") && !shown.contains("--cases"), "{shown}");
        let shown = describe(&command(&Arguments { cases: None, ..arguments() }));
        assert!(shown.contains(&format!("--cases {CI_CASES}")), "{shown}");
    }

    #[test]
    fn the_slice_holds_kinds_of_faults_to_a_floor_and_leaves_no_workload_out() {
        let slices = [slice_of_default(), slice_of(MORE, CI_MORE_CASES), slice_of(&[THREADS], 1)];
        for slice in &slices {
            assert!(describe(slice).contains("--fault-floor 500"), "{}", describe(slice));
            assert!(describe(slice).contains("--depth-floor 50"), "{}", describe(slice));
        }
        assert!(describe(&slice_of_bank()).contains("--depth-floor 20"));
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/wal-lab/src/profile.rs");
        let source = read(std::path::Path::new(root)).unwrap();
        let named: Vec<&str> = source
            .split("    Profile {\n")
            .filter(|profile| profile.contains("by_default: false"))
            .filter_map(|profile| profile.split('"').nth(1))
            .collect();
        let sliced = [&[THREADS, THREADS_FAILING], MORE].concat();
        assert!(sliced.iter().all(|name| named.contains(name)));
        assert_eq!(named.len(), sliced.len(), "{named:?}");
    }
}
