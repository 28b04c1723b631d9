//! `cargo xtask ci`: every check of the pipeline, in order, with the time of each.
//!
//! The hosted pipeline calls this and nothing else, so what passes here passes there. A step is a
//! command that one could type, or another verb of this program.

use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::shell::{cargo, describe, run as run_command};
use crate::workspace::{Package, Workspace};
use crate::{demo, layers, model, mutants, sim, tidy, unsafe_ledger};

/// A target without an operating system: what builds for it needs no `std`.
const BARE_TARGET: &str = "thumbv7em-none-eabi";

/// Every check of the pipeline, in order
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Only name the steps and their commands
    #[arg(long)]
    list: bool,
    /// Run only the steps whose name holds this word
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Go on after a step that fails
    #[arg(long)]
    keep_going: bool,
}

/// One step.
struct Step {
    name: &'static str,
    action: Action,
}

enum Action {
    /// Commands, one after the other.
    Run(Vec<Command>),
    /// Another verb.
    Verb(fn() -> Outcome),
}

/// Runs the steps.
///
/// # Errors
///
/// When a step fails; the message names it and how to run it alone.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let workspace = Workspace::load()?;
    let wanted =
        |step: &Step| arguments.only.as_ref().is_none_or(|word| step.name.contains(word.as_str()));
    let mut steps: Vec<Step> = steps(&workspace).into_iter().filter(wanted).collect();
    if steps.is_empty() {
        return Err(Failure::new("no step of that name; `cargo xtask ci --list` names them"));
    }
    if arguments.list {
        return match list(&steps, &mut io::stdout().lock()) {
            // Whoever reads it, as `head`, has read enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(format!("the steps could not be listed: {error}")))
            }
            _ => Ok(()),
        };
    }
    let count = steps.len();
    let mut results: Vec<(&'static str, Duration, Outcome)> = Vec::new();
    for (index, step) in steps.iter_mut().enumerate() {
        println!("\n=== {}/{count} {} ===", index + 1, step.name);
        let start = Instant::now();
        let outcome = perform(&mut step.action);
        if let Err(failure) = &outcome {
            println!("error: {failure}");
        }
        let failed = outcome.is_err();
        results.push((step.name, start.elapsed(), outcome));
        if failed && !arguments.keep_going {
            break;
        }
    }
    summarise(&results, count)
}

fn perform(action: &mut Action) -> Outcome {
    match action {
        Action::Run(commands) => commands.iter_mut().try_for_each(run_command),
        Action::Verb(verb) => verb(),
    }
}

fn list(steps: &[Step], out: &mut impl io::Write) -> io::Result<()> {
    for step in steps {
        writeln!(out, "{}", step.name)?;
        if let Action::Run(commands) = &step.action {
            for command in commands {
                writeln!(out, "    {}", describe(command))?;
            }
        }
    }
    Ok(())
}

fn summarise(results: &[(&'static str, Duration, Outcome)], count: usize) -> Outcome {
    println!();
    for (name, time, outcome) in results {
        let mark = if outcome.is_ok() { "ok    " } else { "FAILED" };
        println!("{mark} {:>7.1} s  {name}", time.as_secs_f64());
    }
    let total: Duration = results.iter().map(|(_, time, _)| *time).sum();
    println!("       {:>7.1} s  {} of {count} steps", total.as_secs_f64(), results.len());
    let failed: Vec<&str> =
        results.iter().filter(|(_, _, outcome)| outcome.is_err()).map(|(name, ..)| *name).collect();
    match failed.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(format!(
            "failed: {}; again with `cargo xtask ci --only '{first}'`",
            failed.join(", ")
        ))),
    }
}

fn steps(workspace: &Workspace) -> Vec<Step> {
    let run = |name, commands| Step { name, action: Action::Run(commands) };
    let verb = |name, verb| Step { name, action: Action::Verb(verb) };
    let mut doc = words("doc --workspace --no-deps --all-features");
    doc.env("RUSTDOCFLAGS", "-D warnings");
    vec![
        run("format", vec![words("fmt --all --check")]),
        verb("layers", layers::run),
        verb("tidy", tidy::run),
        verb("unsafe-ledger", unsafe_ledger::run),
        run(
            "clippy",
            vec![words("clippy --workspace --all-targets --all-features -- -D warnings")],
        ),
        run("doc", vec![doc]),
        run("test", vec![words("test --workspace")]),
        verb("sim", sim::slice),
        verb("mutants", mutants::check),
        verb("no-std", no_std),
        run(
            "features",
            workspace
                .packages
                .iter()
                .flat_map(feature_checks)
                .chain([words(WITH_FEATURES)])
                .collect(),
        ),
        verb("model", model::run),
        verb("demo", short_demo),
    ]
}

/// Tests of what is there with features only.
const WITH_FEATURES: &str =
    "test --quiet --package wal --features bincode,metrics --tests --example agent_memory";

/// A cargo command, as typed.
fn words(arguments: &str) -> Command {
    let mut command = cargo();
    command.args(arguments.split(' '));
    command
}

/// Each feature alone, and none: features only add, so each combination then builds.
fn feature_checks(package: &Package) -> Vec<Command> {
    if package.features.is_empty() {
        return Vec::new();
    }
    let check = || {
        let mut command = words("check --quiet --no-default-features --package");
        command.arg(&package.name);
        command
    };
    let alone = package.features.iter().filter(|name| *name != "default").map(|feature| {
        let mut command = check();
        command.arg("--features").arg(feature);
        command
    });
    std::iter::once(check()).chain(alone).collect()
}

/// `wal-format` builds without `std`: its tests pass without it, it drags in nothing unexpected,
/// and, where the toolchain has a target without an operating system, it builds for that.
fn no_std() -> Outcome {
    run_command(&mut words("test --quiet --package wal-format --no-default-features"))?;
    let mut tree = words(
        "tree --package wal-format --no-default-features --edges no-dev,no-proc-macro --prefix none",
    );
    let output =
        tree.output().map_err(|error| Failure::new(format!("cannot run cargo tree: {error}")))?;
    let drags_in = unexpected(&String::from_utf8_lossy(&output.stdout));
    if !output.status.success() || !drags_in.is_empty() {
        return Err(Failure::new(format!(
            "`{}` shows {drags_in:?}; make it optional, or argue for it in ci.rs",
            describe(&tree)
        )));
    }
    let mut build = words("check --package wal-format --no-default-features --target");
    build.arg(BARE_TARGET);
    if has_target(BARE_TARGET) {
        return run_command(&mut build);
    }
    println!("{BARE_TARGET} is not installed; `rustup target add {BARE_TARGET}` adds this check:");
    println!("    {}", describe(&build));
    Ok(())
}

/// What taking `wal-format` alone brings along, other than these.
fn unexpected(tree: &str) -> Vec<String> {
    const EXPECTED: &[&str] = &["wal-format", "crc", "crc-catalog", "thiserror"];
    let mut names: Vec<String> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty() && !EXPECTED.contains(name))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

fn has_target(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output().is_ok_and(
        |output| {
            let dir = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            std::path::Path::new(&dir).is_dir()
        },
    )
}

/// The demonstrations, small: few kills, short enough for every change. The lines are as many as
/// always: what is left to each writer must be more than its pipe takes ahead of the kill.
fn short_demo() -> Outcome {
    demo::run(&demo::Arguments { kills: 3, threads: 8, seed: None, ..demo::Arguments::default() })?;
    demo::run(&demo::Arguments { kills: 6, aries: true, ..demo::Arguments::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn workspace() -> Workspace {
        let package = Package {
            name: "a".to_owned(),
            dir: PathBuf::new(),
            dependencies: Vec::new(),
            features: ["default", "std", "lz4"].map(str::to_owned).to_vec(),
            targets: Vec::new(),
        };
        Workspace { root: PathBuf::new(), target_dir: PathBuf::new(), packages: vec![package] }
    }

    #[test]
    fn every_feature_is_checked_alone_and_none_is_too() {
        let shown: Vec<String> =
            feature_checks(&workspace().packages[0]).iter().map(describe).collect();
        let check = "cargo check --quiet --no-default-features --package a";
        let expected = [
            check.to_owned(),
            format!("{check} --features std"),
            format!("{check} --features lz4"),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_tests_run_as_the_readme_tells_a_person() {
        let steps = steps(&workspace());
        let test = steps.iter().find(|step| step.name == "test").unwrap();
        let Action::Run(commands) = &test.action else { panic!("a command") };
        assert_eq!(describe(&commands[0]), "cargo test --workspace");
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));
        assert!(readme.unwrap().contains("cargo test --workspace"));
    }

    #[test]
    fn a_failed_step_is_named_and_fails_the_whole() {
        let failure = Err(Failure::new("x"));
        let results = [("good", Duration::ZERO, Ok(())), ("bad step", Duration::ZERO, failure)];
        let message = summarise(&results, 3).unwrap_err().to_string();
        assert!(message.contains("--only 'bad step'"), "{message}");
        assert!(summarise(&results[..1], 1).is_ok());
    }

    #[test]
    fn what_wal_format_drags_in_is_named() {
        let fine = "wal-format v0.1.0 (/x)\ncrc v3.0.0\ncrc-catalog v2\nthiserror v2.0.0 (*)\n";
        assert!(unexpected(fine).is_empty());
        assert_eq!(unexpected(&format!("{fine}tokio v1\n")), ["tokio"]);
    }
}
