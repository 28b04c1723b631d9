//! Trees on simulated disks, for all tests.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::sync::Arc;

use wal::Threads;
use wal_btree::{Error, Options, Transaction, Tree};
use wal_sim::SimDisk;

pub type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Pages of 512 bytes, so that a few keys make a tree, and a pool of the least size.
pub fn small() -> Options {
    let log = wal::Options::default()
        .segment_bytes(128 << 10)
        .buffer_bytes(64 << 10)
        .threads(Threads::None);
    Options::default().log(log).page_bytes(512).frames(8)
}

pub fn open_with(disk: &SimDisk, options: Options) -> Result<Tree, Error> {
    Tree::open(options, Arc::new(disk.clone()), Arc::new(disk.clone()))
}

pub fn open(disk: &SimDisk) -> Result<Tree, Error> {
    open_with(disk, small())
}

/// What is in the tree, which is one.
pub fn contents(tree: &Tree) -> Map {
    tree.check().unwrap().into_iter().collect()
}

pub fn key(number: u32) -> Vec<u8> {
    format!("key-{number:05}").into_bytes()
}

/// Puts `count` keys from `first` on, and commits.
pub fn fill(tree: &Tree, first: u32, count: u32, value: &[u8]) {
    let mut txn = tree.begin();
    put_all(&mut txn, first, count, value);
    txn.commit().unwrap();
}

pub fn put_all(txn: &mut Transaction, first: u32, count: u32, value: &[u8]) {
    for number in first..first + count {
        txn.put(&key(number), value).unwrap();
    }
}

/// The process dies with the power on: nothing is closed.
pub fn kill(disk: &SimDisk, tree: Tree) -> SimDisk {
    let left = disk.crash(wal_sim::CrashMode::KeepAll);
    drop(tree);
    left
}
