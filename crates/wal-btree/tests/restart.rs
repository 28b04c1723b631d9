//! What a restart meets: torn pages, stolen pages, transactions in doubt, pages of another log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::IoSlice;
use std::sync::Arc;

use common::{contents, fill, key, kill, open, open_with, put_all, small};
use wal::{Access, Decision, Storage};
use wal_btree::{Error, Tree};
use wal_sim::{CrashMode, SimDisk};

const PAGE_BYTES: u64 = 512;

/// Damages the second half of every page behind the first three that is not all zeros.
fn tear_pages(disk: &SimDisk) -> u64 {
    let pages = disk.contents("pages").unwrap();
    let file = disk.open("pages", Access::Write).unwrap();
    let mut torn = 0;
    for (page, bytes) in pages.chunks(PAGE_BYTES as usize).enumerate().skip(3) {
        if bytes.iter().any(|byte| *byte != 0) {
            file.write_at(&[IoSlice::new(&[0xee; 256])], page as u64 * PAGE_BYTES + 256).unwrap();
            torn += 1;
        }
    }
    torn
}

#[test]
fn a25_torn_pages_are_restored_from_their_images() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    for round in 0..4_u8 {
        fill(&tree, 0, 200, &[round; 30]);
    }
    // Without a checkpoint every page that was written is in the dirty-page table of a restart.
    let left = kill(&disk, tree);
    assert!(tear_pages(&left) > 10);
    let tree = open(&left).unwrap();
    let found = contents(&tree);
    assert_eq!(found.len(), 200);
    assert!(found.values().all(|value| *value == [3; 30]));
    assert!(tree.recovery().aries.as_ref().unwrap().redo.images > 10);
}

#[test]
fn a25_a_torn_page_which_the_log_cannot_restore_is_an_error_and_no_guess() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    fill(&tree, 0, 200, b"value");
    tree.close().unwrap();
    drop(tree);
    assert!(tear_pages(&disk) > 5);
    // Restart has nothing to do, and looks at no page; whoever reads one is told.
    let tree = open(&disk).unwrap();
    assert!(matches!(tree.check(), Err(Error::Page { .. })));
    assert!(matches!(tree.begin().scan(..), Err(Error::Page { .. })));
}

#[test]
fn a02_no_page_on_the_device_is_ahead_of_the_log_on_the_device() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    let mut txn = tree.begin();
    for number in 0..150 {
        txn.put(&key(number), &[1; 40]).unwrap();
        if number % 10 == 0 {
            // Opening refuses pages whose LSN lies beyond the end of the log.
            let tree = open(&disk.crash(CrashMode::LoseAll)).unwrap();
            assert!(contents(&tree).is_empty(), "uncommitted, stolen, and taken back");
        }
    }
    txn.abort().unwrap();
}

#[test]
fn a02_pages_that_are_ahead_of_their_log_are_refused() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    fill(&tree, 0, 200, b"value");
    tree.write_pages().unwrap();
    let ahead = disk.contents("pages").unwrap();
    drop(tree);
    // A log of its own, much shorter, put beside those pages.
    let other = SimDisk::new();
    let tree = open(&other).unwrap();
    fill(&tree, 0, 3, b"value");
    let left = kill(&other, tree);
    let file = left.open("pages", Access::Write).unwrap();
    file.write_at(&[IoSlice::new(&ahead)], 0).unwrap();
    let opened = open(&left).map(drop);
    let refused = matches!(&opened, Err(Error::Log(error)) if error.kind() == wal::ErrorKind::Page);
    assert!(refused, "{opened:?}");
}

#[test]
fn a29_a_transaction_in_doubt_keeps_its_locks_over_a_restart_until_it_is_resolved() {
    for decision in [Decision::Commit, Decision::Abort] {
        let disk = SimDisk::new();
        let tree = open(&disk).unwrap();
        fill(&tree, 0, 50, b"old");
        let mut txn = tree.begin();
        put_all(&mut txn, 10, 20, b"new");
        let id = txn.prepare(b"transfer 7").unwrap();
        let left = kill(&disk, tree);
        let tree = open(&left).unwrap();
        let doubt = tree.in_doubt().unwrap();
        assert_eq!(doubt[0].global_id, b"transfer 7");
        assert!(matches!(tree.begin().put(&key(15), b"mine"), Err(Error::Conflict)));
        tree.begin().get(&key(9)).unwrap().unwrap();
        // It holds the log as well, and survives a checkpoint (a13).
        tree.checkpoint().unwrap();
        let left = kill(&left, tree);
        let tree = open(&left).unwrap();
        assert!(matches!(tree.begin().get(&key(15)), Err(Error::Conflict)));
        tree.resolve(id, decision).unwrap();
        let expected: &[u8] = if decision == Decision::Commit { b"new" } else { b"old" };
        assert_eq!(tree.begin().get(&key(15)).unwrap().unwrap(), expected);
        assert!(tree.in_doubt().unwrap().is_empty());
    }
}

#[test]
fn a29_a_resolver_decides_while_the_tree_is_opened() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    let mut txn = tree.begin();
    put_all(&mut txn, 0, 5, b"kept");
    txn.prepare(b"yes").unwrap();
    let mut txn = tree.begin();
    put_all(&mut txn, 10, 5, b"gone");
    txn.prepare(b"no").unwrap();
    let left = kill(&disk, tree);
    let decide = |id: &[u8]| if id == b"yes" { Decision::Commit } else { Decision::Abort };
    let tree = open_with(&left, small().resolver(decide)).unwrap();
    assert_eq!(contents(&tree).len(), 5);
    fill(&tree, 0, 20, b"nobody holds a lock");
}

#[test]
fn a15_checkpoints_let_the_log_go() {
    // In a large pool no page is ever written for its place: only checkpoints see to that.
    for frames in [8, 500] {
        let disk = SimDisk::new();
        let tree = open_with(&disk, small().frames(frames)).unwrap();
        let mut bytes = Vec::new();
        for round in 0..12_u8 {
            fill(&tree, 0, 100, &[round; 50]);
            tree.checkpoint().unwrap();
            let log = tree.log();
            bytes.push(log.positions().durable.distance_from(log.head()).unwrap());
        }
        let (early, late) = (bytes[5], bytes[11]);
        assert!(late <= early + (64 << 10), "{frames} frames, the log stays short: {bytes:?}");
        let redone = open(&kill(&disk, tree)).unwrap();
        assert_eq!(contents(&redone).len(), 100);
    }
}

#[test]
fn a25_without_images_a_page_whose_life_began_in_the_log_is_rebuilt_from_nothing() {
    let options = || small().page_images(false);
    let disk = SimDisk::new();
    let tree = open_with(&disk, options()).unwrap();
    fill(&tree, 0, 5, b"value");
    tree.write_pages().unwrap();
    let left = kill(&disk, tree);
    let file = left.open("pages", Access::Write).unwrap();
    file.write_at(&[IoSlice::new(&[0xee; 100])], PAGE_BYTES + 300).unwrap();
    let tree = open_with(&left, options()).unwrap();
    assert_eq!(tree.recovery().aries.as_ref().unwrap().redo.torn_rebuilt, 1);
    assert_eq!(contents(&tree).len(), 5);
}

#[test]
fn a07_an_aborted_transaction_leaves_its_splits_behind_and_nothing_else() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    let mut loser = tree.begin();
    put_all(&mut loser, 0, 200, &[1; 40]);
    let mut winner = tree.begin();
    // Between the keys of the loser: in pages that only its splits have made.
    for number in (0..200).step_by(10) {
        winner.put(&[&key(number)[..], b"+"].concat(), b"kept").unwrap();
    }
    winner.commit().unwrap();
    let left = kill(&disk, tree);
    let tree = open(&left).unwrap();
    let found = contents(&tree);
    assert_eq!(found.len(), 20);
    assert!(found.keys().all(|key| key.ends_with(b"+")));
    drop(loser);
}

#[test]
fn log_and_pages_may_lie_in_different_places() {
    let (log, pages) = (SimDisk::new(), SimDisk::new());
    let open = |log: &SimDisk, pages: &SimDisk| {
        Tree::open(small(), Arc::new(log.clone()), Arc::new(pages.clone()))
    };
    let tree = open(&log, &pages).unwrap();
    fill(&tree, 0, 200, b"value");
    assert!(log.contents("pages").is_none());
    // The power goes in both places at once, and takes what each had not made durable.
    let (log, pages) = (log.crash(CrashMode::LoseAll), pages.crash(CrashMode::LoseAll));
    drop(tree);
    assert_eq!(contents(&open(&log, &pages).unwrap()).len(), 200);
}

#[test]
fn a18_pages_that_restart_finds_newer_than_required_are_written_again_and_then_count_as_clean() {
    // An image is applied whatever the page LSN says: only pages without one are found newer.
    let options = || small().page_images(false);
    let disk = SimDisk::new();
    let tree = open_with(&disk, options()).unwrap();
    fill(&tree, 0, 300, b"first");
    tree.write_pages().unwrap();
    tree.checkpoint().unwrap();
    fill(&tree, 0, 300, b"value");
    tree.write_pages().unwrap();
    // No checkpoint: restart cannot know what was written since.
    let left = kill(&disk, tree);
    let tree = open_with(&left, options()).unwrap();
    assert!(tree.recovery().aries.as_ref().unwrap().redo.skipped_newer > 0);
    assert!(tree.log().dirty_pages() > 0, "what is in the cache may not be on the device");
    tree.write_pages().unwrap();
    assert_eq!(tree.log().dirty_pages(), 0, "nothing holds the log for ever");
    tree.checkpoint().unwrap();
    let found = contents(&open(&left.crash(CrashMode::LoseAll)).unwrap());
    assert_eq!(found.len(), 300);
    assert!(found.values().all(|value| value == b"value"));
}
