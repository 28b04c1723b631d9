//! `cargo xtask fuzz`: libFuzzer on every decoder and on whole log directories.
//!
//! What is checked is in `crates/wal-fuzz`, whose test replays the corpus without any of this. Here
//! the shells in `fuzz/` are run by `cargo-fuzz`, under AddressSanitizer and with bounds on memory,
//! where it is installed. The canary, a decoder with a planted fault, runs first and must fail.
//! Finds go under the target directory; one worth keeping is copied into `fuzz/corpus` by hand.

use std::path::Path;
use std::process::Command;

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::shell::{cargo, describe, run as run_command};
use crate::workspace::{Workspace, read};

/// Must fail.
const CANARY: &str = "canary";
/// Time enough for it.
const CANARY_SECONDS: u64 = 60;

/// Feed arbitrary bytes to every decoder, and damaged files to openings
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// How long to run each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Only this target
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// Runs the targets, one after another.
///
/// # Errors
///
/// When a check fails, the canary does not, or a target does not build.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let workspace = Workspace::load()?;
    if !is_there() {
        println!("SKIPPED: fuzzing needs cargo-fuzz: `cargo install cargo-fuzz`");
        println!("    the corpus and its mutations run in `cargo test --package wal-fuzz`");
        return Ok(());
    }
    let manifest = read(&workspace.root.join("fuzz/Cargo.toml"))?;
    let wanted = |name: &str| arguments.only.as_ref().is_none_or(|only| only == name);
    let targets: Vec<String> =
        targets(&manifest).into_iter().filter(|name| name != CANARY && wanted(name)).collect();
    if targets.is_empty() {
        return Err(Failure::new("no target of that name; fuzz/Cargo.toml lists them"));
    }
    canary(&workspace)?;
    targets
        .iter()
        .try_for_each(|target| run_command(&mut command(&workspace, target, arguments.seconds)?))
}

fn is_there() -> bool {
    cargo().args(["fuzz", "--version"]).output().is_ok_and(|output| output.status.success())
}

/// Names of the programs in the manifest of the shells, in its order.
fn targets(manifest: &str) -> Vec<String> {
    let names = manifest.split("[[bin]]").skip(1).filter_map(|section| {
        let line = section.lines().find(|line| line.starts_with("name = "))?;
        Some(line.trim_start_matches("name = ").trim_matches('"').to_owned())
    });
    names.collect()
}

/// What drives checks must see the planted fault.
fn canary(workspace: &Workspace) -> Outcome {
    let mut command = command(workspace, CANARY, CANARY_SECONDS)?;
    println!("$ {}   # must fail", describe(&command));
    let output = command
        .output()
        .map_err(|error| Failure::new(format!("cannot run cargo fuzz: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Err(Failure::new("a decoder that trusts a length went unnoticed"));
    }
    if !said.contains("libFuzzer: deadly signal") {
        return Err(Failure::new(format!("the canary did not run:\n{said}")));
    }
    println!("canary: found, as it must be");
    Ok(())
}

fn command(workspace: &Workspace, target: &str, seconds: u64) -> Outcome<Command> {
    let home = workspace.target_dir.join("fuzz");
    let (finds, artifacts) = (home.join("corpus").join(target), home.join("artifacts"));
    for dir in [&finds, &artifacts] {
        std::fs::create_dir_all(dir).map_err(|error| Failure::at(dir, &error))?;
    }
    let mut command = cargo();
    // libFuzzer's instrumentation and the sanitizer are unstable options of a stable compiler.
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", home.join("build"));
    command.args(["fuzz", "run", "--fuzz-dir"]).arg(workspace.root.join("fuzz")).arg(target);
    command.arg(&finds).arg(workspace.root.join("fuzz/corpus").join(target)).arg("--");
    command.args(limits(seconds, &artifacts));
    Ok(command)
}

/// Options of libFuzzer: no allocation beyond what an honest log of this size needs.
fn limits(seconds: u64, artifacts: &Path) -> [String; 6] {
    [
        format!("-max_total_time={seconds}"),
        "-malloc_limit_mb=256".to_owned(),
        "-rss_limit_mb=2048".to_owned(),
        "-timeout=20".to_owned(),
        // Long inputs from the start: a log is slow to damage, and one step is not much damage.
        "-len_control=0".to_owned(),
        format!("-artifact_prefix={}/", artifacts.display()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_shell_and_the_canary_too() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let targets = targets(&read(&root.join("fuzz/Cargo.toml")).unwrap());
        assert!(targets.len() > 5 && targets.contains(&CANARY.to_owned()), "{targets:?}");
        let checks = read(&root.join("crates/wal-fuzz/src/lib.rs")).unwrap();
        assert_eq!(checks.matches("Target { name: \"").count(), targets.len());
        for target in targets {
            assert!(checks.contains(&format!("Target {{ name: \"{target}\"")), "{target}");
            let shell = read(&root.join(format!("fuzz/targets/{target}.rs"))).unwrap();
            assert!(shell.contains(&format!("target(\"{target}\")")), "{target}");
        }
    }
}
