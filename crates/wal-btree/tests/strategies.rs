//! The tree on both strategies: the same workload, the same contents, crashes included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{Map, key, small};
use wal_btree::{Error, RedoOnlyTransaction, RedoOnlyTree, Transaction, Tree};
use wal_sim::{CrashMode, SimDisk, SimRng};

/// What both have in common.
trait Engine: Sized {
    type Txn: EngineTxn;
    fn open(disk: &SimDisk) -> Self;
    fn begin(&self) -> Self::Txn;
    fn checkpoint(&self);
    fn contents(&self) -> Map;
}

trait EngineTxn {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Error>;
    fn delete(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;
    fn count(&self) -> usize;
    fn commit(self);
    fn abort(self);
}

impl Engine for Tree {
    type Txn = Transaction;
    fn open(disk: &SimDisk) -> Self {
        common::open(disk).unwrap()
    }
    fn begin(&self) -> Transaction {
        self.begin()
    }
    fn checkpoint(&self) {
        self.checkpoint().unwrap();
    }
    fn contents(&self) -> Map {
        self.check().unwrap().into_iter().collect()
    }
}

impl EngineTxn for Transaction {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.put(key, value)
    }
    fn delete(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.delete(key)
    }
    fn count(&self) -> usize {
        self.scan(..).unwrap().len()
    }
    fn commit(self) {
        self.commit().unwrap();
    }
    fn abort(self) {
        self.abort().unwrap();
    }
}

impl Engine for RedoOnlyTree {
    type Txn = RedoOnlyTransaction;
    fn open(disk: &SimDisk) -> Self {
        Self::open(small(), Arc::new(disk.clone())).unwrap()
    }
    fn begin(&self) -> RedoOnlyTransaction {
        self.begin()
    }
    fn checkpoint(&self) {
        self.checkpoint().unwrap();
    }
    fn contents(&self) -> Map {
        self.check().unwrap().into_iter().collect()
    }
}

impl EngineTxn for RedoOnlyTransaction {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.put(key, value)
    }
    fn delete(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.delete(key)
    }
    fn count(&self) -> usize {
        self.scan(..).unwrap().len()
    }
    fn commit(self) {
        self.commit().unwrap();
    }
    fn abort(self) {
        self.abort();
    }
}

/// What every transaction was told on its way, and what is there in the end.
fn run<E: Engine>(seed: u64) -> (Vec<Option<Vec<u8>>>, Vec<usize>, Map) {
    let mut rng = SimRng::new(seed);
    let mut disk = SimDisk::new();
    let mut engine = E::open(&disk);
    let (mut told, mut counts) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        let mut txn = engine.begin();
        for _ in 0..rng.below(12) {
            let key = key(rng.below(80) as u32);
            let value = vec![rng.below(256) as u8; rng.below(90) as usize];
            let put = rng.below(3) > 0;
            told.push(if put { txn.put(&key, &value) } else { txn.delete(&key) }.unwrap());
        }
        counts.push(txn.count());
        match rng.below(8) {
            0 => txn.abort(),
            1 => drop(txn),
            2 => {
                // The power goes while the transaction runs.
                disk = disk.crash(CrashMode::Torn(rng.next_u64()));
                drop(txn);
                engine = E::open(&disk);
            }
            _ => txn.commit(),
        }
        if rng.below(9) == 0 {
            engine.checkpoint();
        }
    }
    disk = disk.crash(CrashMode::LoseAll);
    (told, counts, E::open(&disk).contents())
}

#[test]
fn strategies_swap_without_a_difference_to_anybody() {
    for seed in 0..4 {
        let (aries, redo_only) = (run::<Tree>(seed), run::<RedoOnlyTree>(seed));
        assert!(aries.2.len() > 20, "seed {seed}: the workload leaves something");
        assert!(aries == redo_only, "seed {seed}");
    }
}

#[test]
fn a35_uncommitted_changes_are_nowhere_but_in_their_transaction() {
    let disk = SimDisk::new();
    let tree = <RedoOnlyTree as Engine>::open(&disk);
    let mut txn = tree.begin();
    for number in 0..100 {
        txn.put(&key(number), b"mine").unwrap();
    }
    assert!(tree.check().unwrap().is_empty());
    assert_eq!(txn.scan(..).unwrap().len(), 100);
    tree.log().sync().unwrap();
    let names = disk.names();
    let logged: Vec<_> = names.iter().filter_map(|name| disk.contents(name)).collect();
    assert!(!logged.iter().any(|bytes| bytes.windows(4).any(|bytes| bytes == b"mine")));
    let mut other = tree.begin();
    assert!(matches!(other.put(&key(5), b"theirs"), Err(Error::Conflict)));
    drop(txn);
    other.put(&key(5), b"theirs").unwrap();
    other.commit().unwrap();
    assert_eq!(tree.check().unwrap().len(), 1);
}
