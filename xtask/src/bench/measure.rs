//! `cargo xtask bench commit` and its like: our log against the bare device.
//!
//! Which tables there are, and how one is made, is the business of `benches`.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::outcome::{Failure, Outcome};
use crate::shell;
use crate::workspace::Workspace;

/// Builds the program and has it make the table called `verb`.
///
/// # Errors
///
/// When it does not build, or the run fails.
pub(super) fn run(verb: &str, words: &[OsString]) -> Outcome {
    let workspace = Workspace::load()?;
    let program = build(&workspace, &[])?;
    table(&workspace, Command::new(program).arg(verb), words)
}

/// As [`run`], of a program built with this feature as well.
///
/// # Errors
///
/// As [`run`].
pub(super) fn run_with(feature: &str, verb: &str, words: &[OsString]) -> Outcome {
    let workspace = Workspace::load()?;
    let program = build(&workspace, &["--features", feature])?;
    table(&workspace, Command::new(program).arg(verb), words)
}

/// As [`run`], beside the same program built without events and meters.
///
/// # Errors
///
/// As [`run`].
pub(super) fn run_beside_silent(verb: &str, words: &[OsString]) -> Outcome {
    let workspace = Workspace::load()?;
    let program = build(&workspace, &["--no-default-features", "--features", "silent"])?;
    let silent = program.with_file_name("wal-measure-silent");
    fs::copy(&program, &silent).map_err(|error| Failure::at(&program, &error))?;
    let program = build(&workspace, &[])?;
    table(&workspace, Command::new(program).arg(verb).arg("--silent").arg(silent), words)
}

/// Builds the program with these options; where it is.
fn build(workspace: &Workspace, options: &[&str]) -> Outcome<PathBuf> {
    let mut build = shell::cargo();
    build.args(["build", "--release", "--package", "wal-bench", "--bin", "wal-measure"]);
    shell::run(build.args(options))?;
    Ok(workspace.target_dir.join("release/wal-measure"))
}

fn table(workspace: &Workspace, table: &mut Command, words: &[OsString]) -> Outcome {
    table.args(words);
    // Figures are kept unless the caller has a place for them.
    if !says_where(words) {
        table.arg("--results").arg(workspace.target_dir.join("bench"));
    }
    shell::run(table)
}

/// Whether the caller says where figures go.
fn says_where(words: &[OsString]) -> bool {
    let is = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with("--results"));
    words.iter().any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_go_where_the_caller_says() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(says_where(&words("--rounds 5 --results here")));
        assert!(says_where(&words("--results=here")));
        assert!(!says_where(&words("--rounds 5")));
    }
}
