//! `cargo xtask mutants`: plants bugs in a copy of the log, and sees the crash lab find each.
//!
//! A test which never fails proves nothing. Each bug of `planted` is a replacement of text in the
//! sources; it is planted in a copy of the repository under the target directory, built in
//! release, run through the lab until it is caught, and taken out again. The table of what each
//! needed stands in `docs/testing.md`; `--write` puts it there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Deserialize;

use crate::outcome::{Failure, Outcome};
use crate::shell::cargo;
use crate::workspace::{Workspace, read};

mod planted;
mod copy;
mod table;

use crate::sim::THREADS;

use planted::{Finder, MUTANTS, Mutant};
use table::{Row, write_table};

/// Cases that a bug may survive at the most.
const CASES: u64 = 192;
/// Cases which the log without any bug must pass first.
const SOUND_CASES: u64 = 32;
/// Of the workload whose threads are scheduled.
const THREADS_CASES: u64 = 48;
const THREADS_SOUND_CASES: u64 = 8;
/// Of the bank, for bugs of restart.
const BANK_CASES: u64 = 24;
const BANK_SOUND_CASES: u64 = 3;
/// No case is begun after so many seconds: the bug is then not found.
const TIME: u64 = 240;
/// A bug which keeps the lab from ending long after that is caught by it.
const PATIENCE: Duration = Duration::from_secs(2 * TIME);
const POLL: Duration = Duration::from_millis(50);

/// Plant bugs in a copy of the log and see that the crash lab finds each
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Arguments {
    /// Only bugs whose name holds this word; may be given more than once
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// Only see that every bug can still be planted
    #[arg(long)]
    check: bool,
    /// The seed of the lab
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the table into docs/testing.md
    #[arg(long)]
    write: bool,
}

/// Plants each bug in turn.
///
/// # Errors
///
/// When a bug cannot be planted, does not build, or is not found.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let workspace = Workspace::load()?;
    let wanted = |mutant: &&'static Mutant| {
        let named = |word: &String| mutant.name.contains(word.as_str());
        arguments.only.is_empty() || arguments.only.iter().any(named)
    };
    let mutants: Vec<&'static Mutant> = MUTANTS.iter().copied().filter(wanted).collect();
    check_all(&workspace.root, &mutants)?;
    if arguments.check {
        println!("mutants: all {} bugs can be planted", mutants.len());
        return Ok(());
    }
    let lab = Lab::make(&workspace, arguments.seed)?;
    lab.check_sound(&mutants)?;
    let mut rows = Vec::new();
    for mutant in &mutants {
        let row = lab.try_mutant(mutant)?;
        println!("{}", row.told());
        rows.push(row);
    }
    println!("\n{}", table::of(&rows));
    if arguments.write {
        write_table(&workspace.root.join("docs/testing.md"), &rows)?;
    }
    conclude(&rows)
}

/// In the pipeline: that every bug can still be planted.
///
/// # Errors
///
/// When the sources have moved on under a bug.
pub(crate) fn check() -> Outcome {
    run(&Arguments { check: true, ..Arguments::default() })
}

fn check_all(root: &Path, mutants: &[&Mutant]) -> Outcome {
    if mutants.is_empty() {
        return Err(Failure::new("no bug of that name"));
    }
    for mutant in mutants {
        for (file, _) in mutant.edits.iter().map(|edit| (edit.file, edit.find)) {
            mutant.plant(file, &read(&root.join(file))?)?;
        }
    }
    Ok(())
}

fn conclude(rows: &[Row]) -> Outcome {
    let missed: Vec<&str> =
        rows.iter().filter(|row| !row.is_caught()).map(|row| row.name).collect();
    if missed.is_empty() {
        println!("mutants: all {} planted bugs were found", rows.len());
        return Ok(());
    }
    Err(Failure::new(format!(
        "not found: {}; give the lab a workload that meets them",
        missed.join(", ")
    )))
}

/// What the lab says of a campaign.
#[derive(Debug, Deserialize)]
struct Said {
    states: u64,
    broken: Option<Broken>,
}

/// What the lab says of a broken promise.
#[derive(Debug, Deserialize)]
struct Broken {
    case: String,
    state: String,
    reason: String,
}

/// The copy of the repository in which bugs are planted.
struct Lab {
    tree: PathBuf,
    target: PathBuf,
    root: PathBuf,
    seed: u64,
}

impl Lab {
    fn make(workspace: &Workspace, seed: u64) -> Outcome<Self> {
        let dir = workspace.target_dir.join("mutants");
        let (tree, target) = (dir.join("tree"), dir.join("target"));
        copy::tree(&workspace.root, &tree)?;
        Ok(Self { tree, target, root: workspace.root.clone(), seed })
    }

    /// Sees that whoever is to find the bugs finds nothing without any.
    fn check_sound(&self, mutants: &[&Mutant]) -> Outcome {
        let mut finders: Vec<Finder> = mutants.iter().map(|mutant| mutant.found_by).collect();
        finders.dedup();
        for (at, finder) in finders.iter().enumerate() {
            if finders.iter().take(at).any(|before| before == finder) {
                continue;
            }
            let none = format!("{finder:?} does not build without any bug");
            self.build(*finder)?.map_err(|()| Failure::new(none))?;
            let said = match finder {
                Finder::Log => self.run(SOUND_CASES)?,
                Finder::Threads => self.run_threads(THREADS_SOUND_CASES)?,
                Finder::Bank => self.run_bank(BANK_SOUND_CASES)?,
                Finder::Model { .. } | Finder::Test { .. } => self.test(*finder)?,
            };
            if let Some(broken) = said.broken {
                let reason = broken.reason;
                return Err(Failure::new(format!("the log is broken without any bug: {reason}")));
            }
        }
        Ok(())
    }

    /// Builds what is to find a bug; the inner error says that the compiler refused.
    fn build(&self, finder: Finder) -> Outcome<Result<(), ()>> {
        let mut command = cargo();
        match finder {
            Finder::Log | Finder::Threads => {
                command.args(["build", "--release", "--quiet", "--package", "wal-lab"])
            }
            Finder::Bank => {
                command.args(["build", "--release", "--quiet", "--package", "wal-bank"])
            }
            Finder::Model { .. } | Finder::Test { .. } => {
                test_command(&mut command, finder).arg("--no-run")
            }
        };
        let status = command
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", self.target_of(finder))
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("RUSTFLAGS", flags_of(finder))
            .status()
            .map_err(|error| Failure::new(format!("cannot run cargo: {error}")))?;
        Ok(if status.success() { Ok(()) } else { Err(()) })
    }

    fn try_mutant(&self, mutant: &'static Mutant) -> Outcome<Row> {
        for edit in mutant.edits {
            let place = self.tree.join(edit.file);
            let planted = mutant.plant(edit.file, &read(&self.root.join(edit.file))?)?;
            copy::write(&place, &planted)?;
        }
        let said = match self.build(mutant.found_by)? {
            Ok(()) => match mutant.found_by {
                Finder::Log => self.run(CASES),
                Finder::Threads => self.run_threads(THREADS_CASES),
                Finder::Bank => self.run_bank(BANK_CASES),
                Finder::Model { .. } | Finder::Test { .. } => self.test(mutant.found_by),
            },
            // A bug that the compiler finds proves nothing of the lab: it counts as not found.
            Err(()) => Ok(Said { states: 0, broken: None }),
        };
        for edit in mutant.edits {
            copy::write(&self.tree.join(edit.file), &read(&self.root.join(edit.file))?)?;
        }
        let said = said?;
        let (name, about, states) = (mutant.name, mutant.about, said.states);
        Ok(Row { name, about, states, caught: said.broken.map(|broken| broken.told()) })
    }

    /// Runs the lab of the log.
    fn run(&self, cases: u64) -> Outcome<Said> {
        self.run_program(Finder::Log, "wal-lab", &[], cases)
    }

    /// Runs the lab of the log, built for the scheduler.
    fn run_threads(&self, cases: u64) -> Outcome<Said> {
        self.run_program(Finder::Threads, "wal-lab", &["--workload", THREADS], cases)
    }

    /// Runs the bank.
    fn run_bank(&self, cases: u64) -> Outcome<Said> {
        self.run_program(Finder::Bank, "wal-bank", &[], cases)
    }

    /// Where it is built: the scheduler's locks are compiled in.
    fn target_of(&self, finder: Finder) -> PathBuf {
        match finder {
            Finder::Threads => self.target.join("shuttle"),
            Finder::Model { .. } => self.target.join("loom"),
            Finder::Log | Finder::Bank | Finder::Test { .. } => self.target.clone(),
        }
    }

    /// Runs a test: a failure of it is the bug, found.
    fn test(&self, finder: Finder) -> Outcome<Said> {
        let mut command = cargo();
        test_command(&mut command, finder);
        let output = command
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", self.target_of(finder))
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("RUSTFLAGS", flags_of(finder))
            .output()
            .map_err(|error| Failure::new(format!("cannot run cargo: {error}")))?;
        let text = String::from_utf8_lossy(&output.stdout);
        // A deadlock in the model aborts the program: there is no result then, and no name.
        let ran = text
            .lines()
            .any(|line| line.starts_with("running ") && !line.starts_with("running 0 "));
        let failed = text.lines().find(|line| line.ends_with("... FAILED"));
        let name = failed.and_then(|line| line.split(' ').nth(1)).unwrap_or(finder.test_name());
        let broken = (!output.status.success() && ran).then(|| Broken {
            case: name.to_owned(),
            state: String::new(),
            reason: "the test fails".to_owned(),
        });
        Ok(Said { states: 0, broken })
    }

    /// Runs a lab on one thread, so that the number of crash states needed is always the same.
    fn run_program(
        &self,
        finder: Finder,
        program: &str,
        words: &[&str],
        cases: u64,
    ) -> Outcome<Said> {
        let mut child = Command::new(self.target_of(finder).join("release").join(program))
            .arg("run")
            .args(words)
            .args(["--json", "--threads", "1", "--cases", &cases.to_string()])
            .args(["--time", &TIME.to_string()])
            .args(["--seed", &self.seed.to_string(), "--states", "6"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Failure::new(format!("cannot run the lab: {error}")))?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let ended = child.try_wait().map_err(|error| Failure::new(error.to_string()))?;
            if ended.is_some() {
                let output = child.wait_with_output();
                let output = output.map_err(|error| Failure::new(error.to_string()))?;
                return serde_json::from_slice(&output.stdout)
                    .map_err(|error| Failure::new(format!("the lab said nothing: {error}")));
            }
            std::thread::sleep(POLL);
        }
        let _ = child.kill();
        let _ = child.wait();
        let reason = format!("it does not end within {} s", PATIENCE.as_secs());
        let broken = Broken { case: "hangs".to_owned(), state: String::new(), reason };
        Ok(Said { states: 0, broken: Some(broken) })
    }
}

const fn flags_of(finder: Finder) -> &'static str {
    match finder {
        Finder::Threads => "--cap-lints allow --cfg shuttle",
        Finder::Model { .. } => "--cap-lints allow --cfg loom",
        Finder::Log | Finder::Bank | Finder::Test { .. } => "--cap-lints allow",
    }
}

/// The words that run a test, and nothing beside it.
fn test_command(command: &mut Command, finder: Finder) -> &mut Command {
    let (package, target, name) = match finder {
        Finder::Test { package, target, name } => (package, target, name),
        Finder::Model { name } => ("wal-commit", "model", name),
        Finder::Log | Finder::Threads | Finder::Bank => return command,
    };
    command.args(["test", "--package", package]);
    if matches!(finder, Finder::Model { .. }) {
        command.arg("--release");
    }
    match target {
        "" => command.arg("--lib"),
        target => command.args(["--test", target]),
    };
    command.arg(name)
}

impl Broken {
    fn told(self) -> table::Caught {
        let reason = self.reason.lines().next().unwrap_or_default().to_owned();
        table::Caught { case: self.case, state: self.state, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_that_was_not_found_fails() {
        let row = Row { name: "x", about: "y", states: 9, caught: None };
        assert!(conclude(&[row]).unwrap_err().to_string().contains("not found: x"));
    }
}
