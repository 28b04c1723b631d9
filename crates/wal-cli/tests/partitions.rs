//! The reading commands on the logs of a directory of partitions: each is a log like any other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod logs;

use std::io;

use logs::{code, json, wal};
use wal::Options;
use wal_partitions::Partitions;

/// Two partitions with a record each, and a batch across both.
fn partitions(root: &std::path::Path) {
    let replay = |_: usize, _: &wal::ReplayRecord<'_>| Ok::<(), io::Error>(());
    let options = Options::default().segment_bytes(1 << 20);
    let log = Partitions::open(root, ["accounts", "orders"], options, replay).unwrap();
    log.named("accounts").unwrap().append(b"of accounts").unwrap().wait_durable().unwrap();
    log.named("orders").unwrap().append(b"of orders").unwrap().wait_durable().unwrap();
    let across: [(usize, &[&[u8]]); 2] =
        [(0, &[b"debit across"]), (1, &[b"order across", b"line across"])];
    log.append_across(&across).unwrap().wait_durable().unwrap();
    log.close().unwrap();
}

fn bodies(args: &[&str]) -> Vec<String> {
    let lines = json(args);
    let bodies = lines.iter().filter_map(|line| line.get("body")?.as_str());
    bodies.map(str::to_owned).collect()
}

#[test]
fn dump_shows_the_log_of_the_partition_that_is_named_its_parts_of_batches_included() {
    let dir = tempfile::tempdir().unwrap();
    partitions(dir.path());
    let root = dir.path().to_str().unwrap();
    let data = |partition| bodies(&["dump", root, "--partition", partition, "--kind", "data"]);
    assert_eq!(data("accounts"), ["of accounts", "debit across"]);
    assert_eq!(data("orders"), ["of orders", "order across", "line across"]);
    assert_eq!(code(&wal(&["dump", root, "--partition", "other"])), 6);
}

#[test]
fn each_partition_verifies_as_a_log_and_the_root_is_none() {
    let dir = tempfile::tempdir().unwrap();
    partitions(dir.path());
    for partition in ["accounts", "orders"] {
        let log = dir.path().join(partition);
        assert_eq!(code(&wal(&["verify", log.to_str().unwrap()])), 0, "{partition}");
    }
    assert_eq!(code(&wal(&["verify", dir.path().to_str().unwrap()])), 6);
    assert_eq!(code(&wal(&["dump", dir.path().to_str().unwrap()])), 6);
}
