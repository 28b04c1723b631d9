//! Transactions in doubt whose coordinator says to abort, beside others that the crash met in the
//! middle of a split.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Map, contents, key, open, open_with, small};
use wal::Decision;
use wal_btree::{Error, Tree};
use wal_sim::{CrashMode, SimDisk};

/// Keys that stay; between them, and in their place, a transaction in doubt has put others.
fn with_a_doubt(disk: &SimDisk) -> (Tree, Map) {
    let tree = open(disk).unwrap();
    let mut txn = tree.begin();
    (0..16).for_each(|number| drop(txn.put(&key(number * 10), &[1; 60]).unwrap()));
    txn.commit().unwrap();
    tree.checkpoint().unwrap();
    let committed = contents(&tree);
    let mut doubt = tree.begin();
    for number in 0..16 {
        doubt.put(&key(number * 10 + 5), &[2; 20]).unwrap();
        if number % 3 == 0 {
            doubt.put(&key(number * 10), &[3; 10]).unwrap();
        }
    }
    doubt.prepare(b"coordinator-1").unwrap();
    (tree, committed)
}

/// Splits page after page, and never commits.
fn split_pages(tree: &Tree) -> Result<(), Error> {
    let mut txn = tree.begin();
    for number in 0..48 {
        txn.put(&key(number / 3 * 10 + 1 + number % 3), &[4; 60])?;
    }
    txn.abort()
}

#[test]
fn a28_an_aborted_doubt_and_half_a_split_are_undone_together_at_every_crash() {
    let mut cuts = 0;
    for cut in 1.. {
        let disk = SimDisk::new();
        let (tree, committed) = with_a_doubt(&disk);
        disk.power_cut_at(disk.ops() + cut);
        let outcome = split_pages(&tree);
        drop(tree);
        for mode in [CrashMode::KeepAll, CrashMode::LoseAll, CrashMode::Random(cut)] {
            let left = disk.crash(mode);
            let tree = open_with(&left, small().resolver(|_| Decision::Abort)).unwrap();
            assert!(tree.in_doubt().unwrap().is_empty());
            assert_eq!(contents(&tree), committed, "cut at {cut}, {mode:?}");
        }
        if outcome.is_ok() {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 50, "{cuts}");
}
