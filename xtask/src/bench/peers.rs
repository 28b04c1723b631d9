//! `cargo xtask bench peers`: builds the workspace of peers with the logs that are asked for, and
//! has it print its tables.
//!
//! Which logs there are, and how one is measured, is the business of `benches/peers`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::outcome::Outcome;
use crate::peers;
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
    /// Instead of durable commits: append without making each durable, and read all back
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
    let program = peers::build(&workspace, &features, all)?;
    let mut table = Command::new(program);
    table.args(words(arguments)).arg("--results");
    table.arg(arguments.results.clone().unwrap_or_else(|| workspace.target_dir.join("bench")));
    shell::run(&mut table)
}

/// The features of the peers' package that `logs` need; ours and the bare device need none.
fn features(logs: &[String], rocksdb: bool) -> Vec<&str> {
    let is_here = |log: &&str| matches!(*log, "wal" | "wal-tasks") || log.starts_with("raw");
    let named = logs.iter().map(String::as_str).filter(|log| !is_here(log));
    // One library may be run in two ways: "motedb", "motedb-recommended".
    let named = named.map(|log| log.strip_suffix("-recommended").unwrap_or(log));
    let features: BTreeSet<&str> = named.chain(rocksdb.then_some("rocksdb")).collect();
    features.into_iter().collect()
}

/// The command line of the peers' program.
fn words(arguments: &Arguments) -> Vec<String> {
    let verb = if arguments.appends { "appends" } else { "table" };
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
        add("logs", logs.join(","));
    }
    if !arguments.threads.is_empty() {
        add("threads", list(&arguments.threads));
    }
    if !arguments.body_bytes.is_empty() {
        add("body-bytes", list(&arguments.body_bytes));
    }
    add("rounds", arguments.rounds.to_string());
    if arguments.appends {
        add("mebibytes", arguments.mebibytes.to_string());
    } else {
        add("millis", arguments.millis.to_string());
    }
    if let Some(dir) = &arguments.dir {
        add("dir", dir.display().to_string());
    }
    if arguments.skip_syncs && !arguments.appends {
        words.push("--skip-syncs".to_owned());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn only_the_logs_which_are_named_are_built() {
        let logs = owned(&["wal", "raw-two", "motedb-recommended", "motedb", "okaywal"]);
        assert_eq!(features(&logs, false), ["motedb", "okaywal"]);
        assert_eq!(features(&[], true), ["rocksdb"]);
        assert!(features(&[], false).is_empty());
    }

    #[test]
    fn what_is_asked_for_is_handed_on() {
        let mut arguments = Arguments {
            logs: owned(&["wal"]),
            rocksdb: true,
            appends: false,
            mebibytes: 64,
            threads: vec![1, 8],
            body_bytes: Vec::new(),
            rounds: 5,
            millis: 300,
            skip_syncs: true,
            dir: None,
            results: None,
        };
        let expected =
            "table --logs wal,rocksdb --threads 1,8 --rounds 5 --millis 300 --skip-syncs";
        assert_eq!(words(&arguments).join(" "), expected);
        arguments.appends = true;
        let expected = "appends --logs wal,rocksdb --threads 1,8 --rounds 5 --mebibytes 64";
        assert_eq!(words(&arguments).join(" "), expected);
    }
}
