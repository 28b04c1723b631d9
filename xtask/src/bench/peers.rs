//! `cargo xtask bench peers`: builds the workspace of peers with the logs that are asked for, and
//! has it print its tables: durable commits, and then appends which are read back.
//!
//! Which logs there are, and how one is measured, is the business of `benches/peers`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::outcome::Outcome;
use crate::peers::{self, Profile};
use crate::shell;
use crate::workspace::Workspace;

/// What to measure.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Logs to build and run, all but RocksDB if none is named
    #[arg(long, value_delimiter = ',')]
    logs: Vec<String>,
    /// RocksDB too: a long build, which needs libclang; see benches/peers/README.md
    #[arg(long)]
    rocksdb: bool,
    /// Only durable commits
    #[arg(long, conflicts_with = "appends")]
    commits: bool,
    /// Only appends without making each durable, and reading all back
    #[arg(long)]
    appends: bool,
    /// Mebibytes which are appended
    #[arg(long, default_value_t = 1024)]
    mebibytes: u32,
    /// Numbers of committing threads
    #[arg(long, value_delimiter = ',')]
    threads: Vec<u32>,
    /// Bytes of a body
    #[arg(long, value_delimiter = ',')]
    body_bytes: Vec<u32>,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Milliseconds of measured time in each turn
    #[arg(long, default_value_t = 1000)]
    millis: u32,
    /// Milliseconds before it
    #[arg(long, default_value_t = 700)]
    warm_up_millis: u32,
    /// Do not count syncs; no log is marked then
    #[arg(long)]
    skip_syncs: bool,
    /// Where the logs are written: a directory on the device to be measured
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the figures are written as CSV and JSON, `bench` beside what cargo builds by default
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Builds and runs.
///
/// # Errors
///
/// When a peer does not build, or the run fails; what a single log did wrong is in its row.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let workspace = Workspace::load()?;
    let features = features(&arguments.logs, arguments.rocksdb);
    let all = arguments.logs.is_empty();
    if all && !arguments.rocksdb {
        println!("RocksDB is left out: it is long to build; `--rocksdb` takes it in");
    }
    let program = peers::build(&workspace, Profile::Release, &features, all)?;
    let results = arguments.results.clone().unwrap_or_else(|| workspace.target_dir.join("bench"));
    for tables in tables(arguments) {
        let mut table = Command::new(&program);
        table.args(words(arguments, tables)).arg("--results").arg(&results);
        shell::run(&mut table)?;
    }
    Ok(())
}

/// What the peers' program measures in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tables {
    Commits,
    Appends,
}

fn tables(arguments: &Arguments) -> Vec<Tables> {
    let mut tables = Vec::new();
    if !arguments.appends {
        tables.push(Tables::Commits);
    }
    if !arguments.commits {
        tables.push(Tables::Appends);
    }
    tables
}

/// The rows of our log.
const OURS: [&str; 6] = ["wal", "wal-batches", "wal-new", "wal-once", "wal-one", "wal-tasks"];

/// The features of the peers' package that `logs` need; ours and the bare device need none.
fn features(logs: &[String], rocksdb: bool) -> Vec<&str> {
    let is_here = |log: &&str| log.starts_with("raw") || OURS.contains(log);
    let named = logs.iter().map(String::as_str).filter(|log| !is_here(log));
    // One library may be run in two ways: "motedb", "motedb-recommended".
    let named = named.map(|log| log.strip_suffix("-recommended").unwrap_or(log));
    let features: BTreeSet<&str> = named.chain(rocksdb.then_some("rocksdb")).collect();
    features.into_iter().collect()
}

/// The command line of the peers' program.
fn words(arguments: &Arguments, tables: Tables) -> Vec<String> {
    let appends = tables == Tables::Appends;
    let verb = if appends { "appends" } else { "table" };
    let mut words = vec![verb.to_owned()];
    let mut add = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    let list = |numbers: &[u32]| {
        let words: Vec<String> = numbers.iter().map(u32::to_string).collect();
        words.join(",")
    };
    if !arguments.logs.is_empty() {
        let mut logs = arguments.logs.clone();
        if arguments.rocksdb {
            logs.push("rocksdb".to_owned());
        }
        logs.retain(|log| is_in(log, tables));
        add("logs", logs.join(","));
    }
    if !arguments.threads.is_empty() {
        add("threads", list(&arguments.threads));
    }
    if !arguments.body_bytes.is_empty() {
        add("body-bytes", list(&arguments.body_bytes));
    }
    add("rounds", arguments.rounds.to_string());
    if appends {
        add("mebibytes", arguments.mebibytes.to_string());
    } else {
        add("millis", arguments.millis.to_string());
        add("warm-up-millis", arguments.warm_up_millis.to_string());
    }
    if let Some(dir) = &arguments.dir {
        add("dir", dir.display().to_string());
    }
    if arguments.skip_syncs && !appends {
        words.push("--skip-syncs".to_owned());
    }
    words
}

/// Whether a row is one of these tables: of ours and of the bare device some are in one only.
fn is_in(log: &str, tables: Tables) -> bool {
    let only = match log {
        "raw-two" | "wal-tasks" | "wal-new" => Some(Tables::Commits),
        "wal-batches" | "wal-one" | "wal-once" | "raw-fresh" | "raw-copy" | "raw-crc32c"
        | "raw-write" => Some(Tables::Appends),
        _ => None,
    };
    only.is_none_or(|only| only == tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn only_the_logs_which_are_named_are_built() {
        let logs =
            owned(&["wal", "wal-batches", "raw-two", "motedb-recommended", "motedb", "okaywal"]);
        assert_eq!(features(&logs, false), ["motedb", "okaywal"]);
        assert_eq!(features(&[], true), ["rocksdb"]);
        assert!(features(&[], false).is_empty());
    }

    #[test]
    fn what_is_asked_for_is_handed_on() {
        let mut arguments = Arguments {
            logs: owned(&["wal", "wal-tasks", "wal-batches"]),
            rocksdb: true,
            commits: false,
            appends: false,
            mebibytes: 64,
            threads: vec![1, 8],
            body_bytes: Vec::new(),
            rounds: 5,
            millis: 300,
            warm_up_millis: 100,
            skip_syncs: true,
            dir: None,
            results: None,
        };
        let expected = "table --logs wal,wal-tasks,rocksdb --threads 1,8 --rounds 5 --millis 300 --warm-up-millis 100 --skip-syncs";
        assert_eq!(words(&arguments, Tables::Commits).join(" "), expected);
        let expected =
            "appends --logs wal,wal-batches,rocksdb --threads 1,8 --rounds 5 --mebibytes 64";
        assert_eq!(words(&arguments, Tables::Appends).join(" "), expected);
        assert_eq!(tables(&arguments), [Tables::Commits, Tables::Appends]);
        arguments.appends = true;
        assert_eq!(tables(&arguments), [Tables::Appends]);
        (arguments.appends, arguments.commits) = (false, true);
        assert_eq!(tables(&arguments), [Tables::Commits]);
    }
}
