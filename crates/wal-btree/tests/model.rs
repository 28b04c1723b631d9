//! Random workloads against a map, with a pool that holds a fraction of the tree, and with a crash
//! and a reopening in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Map, contents, key, kill, open, open_with, small};
use proptest::prelude::*;
use wal_btree::{Transaction, Tree};
use wal_sim::SimDisk;

/// One step of a workload; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Put(u32, usize),
    Delete(u32),
    Savepoint,
    RollBack(usize),
    Commit,
    Abort,
    Checkpoint,
    WritePages,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..120_u32, 0..90_usize).prop_map(|(key, bytes)| Step::Put(key, bytes)),
        20 => (0..120_u32).prop_map(Step::Delete),
        3 => Just(Step::Savepoint),
        2 => (0..4_usize).prop_map(Step::RollBack),
        4 => Just(Step::Commit),
        2 => Just(Step::Abort),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::WritePages),
        1 => Just(Step::Kill),
    ]
}

/// A tree, the transaction that runs in it, and what both must hold.
struct Run {
    disk: SimDisk,
    tree: Tree,
    txn: Option<Transaction>,
    committed: Map,
    now: Map,
    savepoints: Vec<(wal::Savepoint, Map)>,
}

impl Run {
    fn new() -> Self {
        let disk = SimDisk::new();
        let tree = open(&disk).unwrap();
        let (committed, now) = (Map::new(), Map::new());
        Self { disk, tree, txn: None, committed, now, savepoints: Vec::new() }
    }

    fn txn(&mut self) -> &mut Transaction {
        self.txn.get_or_insert_with(|| self.tree.begin())
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Put(number, bytes) => {
                let (key, value) = (key(*number), vec![*number as u8; *bytes]);
                let old = self.txn().put(&key, &value).unwrap();
                assert_eq!(old, self.now.insert(key, value));
            }
            Step::Delete(number) => {
                let old = self.txn().delete(&key(*number)).unwrap();
                assert_eq!(old, self.now.remove(&key(*number)));
            }
            Step::Savepoint => {
                let savepoint = self.txn().savepoint().unwrap();
                self.savepoints.push((savepoint, self.now.clone()));
            }
            Step::RollBack(nth) if !self.savepoints.is_empty() => {
                let at = nth % self.savepoints.len();
                self.savepoints.truncate(at + 1);
                let (savepoint, then) = self.savepoints[at].clone();
                self.txn().rollback_to(savepoint).unwrap();
                self.now = then;
            }
            Step::Commit => {
                self.txn.take().map(Transaction::commit).transpose().unwrap();
                self.committed = self.now.clone();
                self.savepoints.clear();
            }
            Step::Abort => {
                self.txn.take().map(Transaction::abort).transpose().unwrap();
                self.ended_by_rollback();
            }
            Step::Checkpoint => drop(self.tree.checkpoint().unwrap()),
            Step::WritePages => self.tree.write_pages().unwrap(),
            Step::Kill => self.kill(),
            Step::RollBack(_) => {}
        }
    }

    fn ended_by_rollback(&mut self) {
        self.now = self.committed.clone();
        self.savepoints.clear();
    }

    fn kill(&mut self) {
        self.tree.log().sync().unwrap();
        self.disk = self.disk.crash(wal_sim::CrashMode::KeepAll);
        self.txn = None;
        self.tree = open(&self.disk).unwrap();
        self.ended_by_rollback();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_tree_holds_what_a_map_holds(steps in prop::collection::vec(step(), 1..400)) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
        prop_assert!(run.tree.pages_in_memory().0 <= 8 + 4, "the pool stays small");
        prop_assert_eq!(contents(&run.tree), run.now.clone());
        run.kill();
        prop_assert_eq!(contents(&run.tree), run.committed.clone());
        run.tree.close().unwrap();
        prop_assert_eq!(contents(&open(&run.disk).unwrap()), run.committed);
    }
}

/// Ends with committed work that pages lack.
fn workload(disk: &SimDisk) -> Tree {
    let tree = open(disk).unwrap();
    for batch in 0..8_u32 {
        common::fill(&tree, batch * 60, 60, &[batch as u8; 20]);
        if batch == 2 {
            tree.checkpoint().unwrap();
        }
        let mut txn = tree.begin();
        for number in (batch * 60..batch * 60 + 60).step_by(3) {
            txn.delete(&key(number)).unwrap();
        }
        txn.commit().unwrap();
    }
    tree
}

#[test]
fn a26_parallel_redo_ends_in_the_same_bytes_as_serial_redo() {
    // No losers: undo logs images, at addresses that depend on what is in memory.
    let disk = SimDisk::new();
    let _tree = workload(&disk);
    let recovered = |threads: usize| {
        let left = disk.crash(wal_sim::CrashMode::KeepAll);
        let tree = open_with(&left, small().redo_threads(threads)).unwrap();
        let redo = &tree.recovery().aries.as_ref().unwrap().redo;
        assert!(redo.applied > 100 && redo.threads == threads, "{redo:?}");
        tree.write_pages().unwrap();
        (left.contents("pages").unwrap(), contents(&tree))
    };
    let serial = recovered(1);
    for threads in [2, 3, 8] {
        assert!(recovered(threads) == serial, "{threads} threads");
    }
}

#[test]
fn what_a_reopening_finds_does_not_depend_on_the_size_of_the_pool() {
    let disk = SimDisk::new();
    let tree = workload(&disk);
    let mut loser = tree.begin();
    common::put_all(&mut loser, 30, 200, b"never");
    tree.log().sync().unwrap();
    let found = [8, 20, 500].map(|frames| {
        let left = disk.crash(wal_sim::CrashMode::KeepAll);
        contents(&open_with(&left, small().frames(frames)).unwrap())
    });
    assert_eq!(found[0].len(), 8 * 40);
    assert!(found.iter().all(|other| *other == found[0]));
}

#[test]
fn a_tree_that_was_closed_has_nothing_to_redo_and_nothing_to_undo() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    common::fill(&tree, 0, 200, b"value");
    tree.close().unwrap();
    let tree = open(&kill(&disk, tree)).unwrap();
    let report = tree.recovery().aries.clone().unwrap();
    assert_eq!((report.redo.applied, report.undo.clrs, report.undo.transactions), (0, 0, 0));
}
