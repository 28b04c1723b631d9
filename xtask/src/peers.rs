//! `cargo xtask peers --loss`: crashes the four logs which came before this one, and this one
//! beside them, and has the workspace of peers print what each lost of what it acknowledged.
//!
//! How a log is crashed is the business of `benches/peers`; how fast logs are, that of
//! `cargo xtask bench peers`, which builds the same program by `build` here.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::shell;
use crate::workspace::Workspace;

/// Those which this repository's log replaces: the features of their names.
const ANCESTORS: [&str; 4] = ["sochdb", "aegis", "reasonkit", "motedb"];

/// What to show of the peers.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Crash the ancestors of our log and ours, and print what each lost; `cargo xtask bench peers`
    /// is what measures them
    #[arg(long, required = true)]
    loss: bool,
    /// Ancestors to build and crash, all four if none is named
    #[arg(long, value_delimiter = ',', value_parser = ANCESTORS)]
    logs: Vec<String>,
    /// Commits of each process that writes
    #[arg(long, default_value_t = 100)]
    commits: u32,
    /// Where the logs are written
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the counts are written as JSON, `bench` beside what cargo builds by default
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Builds and runs.
///
/// # Errors
///
/// When an ancestor does not build, or our log lost anything.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let workspace = Workspace::load()?;
    // What is lost does not depend on speed, and this builds in half the time.
    let program = build(&workspace, Profile::Dev, &features(&arguments.logs), false)?;
    let mut table = Command::new(program);
    table.args(words(arguments)).arg("--results");
    table.arg(arguments.results.clone().unwrap_or_else(|| workspace.target_dir.join("bench")));
    shell::run(&mut table)
}

/// How the program of the peers is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// To be measured.
    Release,
    /// To be run at all.
    Dev,
}

impl Profile {
    /// Its name for cargo, and the directory of its programs.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Release => ("release", "release"),
            Self::Dev => ("dev", "debug"),
        }
    }
}

/// Builds the program of the peers with `features`, and with its default ones where `and_default`.
///
/// # Errors
///
/// When it does not build.
pub(crate) fn build(
    workspace: &Workspace,
    profile: Profile,
    features: &[&str],
    and_default: bool,
) -> Result<PathBuf, Failure> {
    let (profile, programs) = profile.names();
    let mut build = shell::cargo();
    build.args(["build", "--profile", profile, "--locked", "--manifest-path"]);
    build.arg(workspace.root.join("benches/peers/Cargo.toml"));
    build.arg("--target-dir").arg(&workspace.target_dir);
    if !and_default {
        build.arg("--no-default-features");
    }
    if !features.is_empty() {
        build.arg("--features").arg(features.join(","));
    }
    shell::run(&mut build)?;
    Ok(workspace.target_dir.join(programs).join("wal-peers"))
}

fn features(logs: &[String]) -> Vec<&str> {
    match logs {
        [] => ANCESTORS.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    }
}

/// The command line of the peers' program. It was built with no other logs than those that were
/// asked for, and crashes all ways of each.
fn words(arguments: &Arguments) -> Vec<String> {
    let mut words = vec!["loss".to_owned(), "--commits".to_owned(), arguments.commits.to_string()];
    if let Some(dir) = &arguments.dir {
        words.extend(["--dir".to_owned(), dir.display().to_string()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parsed(line: &str) -> Result<Arguments, clap::Error> {
        Line::try_parse_from(line.split_whitespace()).map(|line| line.arguments)
    }

    #[test]
    fn all_four_ancestors_are_crashed_unless_some_are_named() {
        let all = parsed("peers --loss").unwrap();
        assert_eq!(features(&all.logs), ANCESTORS);
        assert_eq!(words(&all).join(" "), "loss --commits 100");
        let some = parsed("peers --loss --logs aegis,motedb --commits 7 --dir /d").unwrap();
        assert_eq!(features(&some.logs), ["aegis", "motedb"]);
        assert_eq!(words(&some).join(" "), "loss --commits 7 --dir /d");
    }

    #[test]
    fn what_is_to_be_shown_must_be_said_and_only_ancestors_can_be_named() {
        assert!(parsed("peers").is_err());
        assert!(parsed("peers --loss --logs okaywal").is_err());
    }
}
