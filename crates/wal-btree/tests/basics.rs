//! One thread, no crash: what the tree does and refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{contents, fill, key, open, open_with, put_all, small};
use wal::RecordKind;
use wal_btree::{Error, Options, Tree};
use wal_sim::SimDisk;

#[test]
fn what_was_committed_is_there_after_a_reopening() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    fill(&tree, 0, 300, b"value");
    assert_eq!(contents(&tree).len(), 300);
    assert!(tree.pages_in_memory().0 <= 8, "the pool is much smaller than the tree");
    tree.close().unwrap();
    drop(tree);
    let tree = open(&disk).unwrap();
    assert_eq!(contents(&tree).len(), 300);
    assert_eq!(tree.begin().get(&key(299)).unwrap().unwrap(), b"value");
}

#[test]
fn an_abort_takes_back_inserts_changes_deletes_and_no_split() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    fill(&tree, 0, 100, b"before");
    let before = contents(&tree);
    let mut txn = tree.begin();
    put_all(&mut txn, 50, 150, b"a longer value than before");
    for number in 0..50 {
        txn.delete(&key(number)).unwrap().unwrap();
    }
    assert_eq!(contents(&tree).len(), 150);
    txn.abort().unwrap();
    assert_eq!(contents(&tree), before);
    assert!(tree.log().abandoned().is_empty());
}

#[test]
fn a_dropped_transaction_is_rolled_back() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    let mut txn = tree.begin();
    put_all(&mut txn, 0, 50, b"never");
    drop(txn);
    assert!(contents(&tree).is_empty());
    fill(&tree, 0, 1, b"its locks are gone");
}

#[test]
fn a08_a_rollback_to_a_savepoint_leaves_the_transaction_active() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    let mut txn = tree.begin();
    put_all(&mut txn, 0, 20, b"first");
    let savepoint = txn.savepoint().unwrap();
    put_all(&mut txn, 10, 60, b"second");
    txn.rollback_to(savepoint).unwrap();
    put_all(&mut txn, 20, 5, b"third");
    txn.commit().unwrap();
    let found = contents(&tree);
    assert_eq!(found.len(), 25);
    assert_eq!(found[&key(15)], b"first");
    assert_eq!(found[&key(24)], b"third");
}

#[test]
fn a05_undo_finds_a_key_that_has_moved_to_another_page() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    fill(&tree, 0, 10, b"value");
    let mut loser = tree.begin();
    loser.put(&key(9), b"changed").unwrap();
    loser.delete(&key(8)).unwrap();
    // The others split the page again and again, and fill the room that the delete left.
    let mut other = tree.begin();
    for number in 0..200 {
        other.insert(&[&key(8)[..], &[number]].concat(), &[0; 40]).unwrap();
    }
    other.commit().unwrap();
    loser.abort().unwrap();
    let found = contents(&tree);
    assert_eq!((&found[&key(9)][..], &found[&key(8)][..]), (&b"value"[..], &b"value"[..]));
    assert_eq!(found.len(), 210);
}

#[test]
fn pages_that_became_empty_are_used_again() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    let mut bytes = 0;
    for round in 0..6 {
        fill(&tree, 0, 300, b"value");
        let mut txn = tree.begin();
        for number in 0..300 {
            txn.delete(&key(number)).unwrap().unwrap();
        }
        txn.commit().unwrap();
        assert!(contents(&tree).is_empty(), "round {round}");
        tree.write_pages().unwrap();
        let file = disk.contents("pages").unwrap().len();
        assert!(round == 0 || file <= bytes, "round {round}: {file} bytes");
        bytes = file;
    }
}

#[test]
fn a24_the_life_of_a_page_ends_in_the_log_behind_the_action_that_unlinked_it() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    let start = tree.log().positions().durable;
    fill(&tree, 0, 200, b"value");
    let mut txn = tree.begin();
    for number in 0..200 {
        txn.delete(&key(number)).unwrap().unwrap();
    }
    txn.commit().unwrap();
    let mut reader = tree.log().read_from(start).unwrap();
    let (mut freed, mut within_action) = (0, false);
    while let Some(record) = reader.next().unwrap() {
        match record.kind() {
            RecordKind::UPDATE => within_action = true,
            RecordKind::CLR => within_action = false,
            RecordKind::PAGE_FREE => {
                assert!(!within_action, "were it undone, the page's last changes would be needed");
                freed += 1;
            }
            _ => {}
        }
    }
    assert!(freed > 10, "{freed} pages");
}

#[test]
fn transactions_do_not_see_and_do_not_overwrite_each_other() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    fill(&tree, 0, 10, b"old");
    let mut one = tree.begin();
    one.put(&key(3), b"new").unwrap();
    one.delete(&key(4)).unwrap();
    let mut two = tree.begin();
    assert!(matches!(two.get(&key(3)), Err(Error::Conflict)));
    assert!(matches!(two.put(&key(4), b"mine"), Err(Error::Conflict)));
    assert!(matches!(two.scan(..), Err(Error::Conflict)));
    assert_eq!(two.scan(&b"key-00005"[..]..).unwrap().len(), 5);
    assert!(matches!(one.put(&key(7), b"x"), Err(Error::Conflict)), "two has read it");
    two.commit().unwrap();
    one.put(&key(7), b"x").unwrap();
    one.commit().unwrap();
    assert_eq!(tree.begin().scan(..).unwrap().len(), 9);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    let mut txn = tree.begin();
    txn.insert(b"k", b"v").unwrap();
    assert!(matches!(txn.insert(b"k", b"w"), Err(Error::KeyExists)));
    assert!(matches!(txn.insert(b"", b"v"), Err(Error::TooLarge { .. })));
    assert!(matches!(txn.insert(&[1; 57], b""), Err(Error::TooLarge { key_bytes_max: 56, .. })));
    assert!(matches!(
        txn.insert(b"l", &[1; 112]),
        Err(Error::TooLarge { entry_bytes_max: 112, .. })
    ));
    txn.insert(&[1; 56], &[1; 56]).unwrap();
    assert_eq!(txn.delete(b"not there").unwrap(), None);
    txn.commit().unwrap();
    assert_eq!(contents(&tree).len(), 2);
}

#[test]
fn options_that_contradict_each_other_or_the_files_are_refused() {
    for options in [
        small().page_bytes(1000),
        small().page_bytes(64 << 10),
        small().frames(7),
        small().file_name("control"),
        small().file_name("pages.tmp"),
    ] {
        assert!(matches!(open_with(&SimDisk::new(), options), Err(Error::Options(_))));
    }
    let disk = SimDisk::new();
    fill(&open(&disk).unwrap(), 0, 1, b"value");
    let other = open_with(&disk, small().page_bytes(1024));
    assert!(matches!(other, Err(Error::Options(_))), "another page size");
    let other: Arc<SimDisk> = Arc::new(SimDisk::new());
    let opened = Tree::open(small(), Arc::new(disk), other);
    assert!(matches!(opened, Err(Error::PagesMissing { .. })), "the log alone is no tree");
}

#[test]
fn it_runs_on_real_files() {
    let dir = tempfile::tempdir().unwrap();
    let storage = || Arc::new(wal::FileStorage::open(dir.path()).unwrap());
    let options = || Options::default().frames(16);
    let tree = Tree::open(options(), storage(), storage()).unwrap();
    for batch in 0..5 {
        fill(&tree, batch * 400, 400, &[7; 100]);
        tree.checkpoint().unwrap();
    }
    let mut loser = tree.begin();
    put_all(&mut loser, 1000, 500, b"never");
    std::mem::forget(loser);
    tree.log().sync().unwrap();
    drop(tree);
    // The transaction that was forgotten keeps the log open: another directory stands for another
    // process.
    let copy = tempfile::tempdir().unwrap();
    // The control file first: a segment that is being made ready meanwhile is registered behind that.
    std::fs::copy(dir.path().join("control"), copy.path().join("control")).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "control" && !name.to_string_lossy().ends_with(".tmp") {
            std::fs::copy(dir.path().join(&name), copy.path().join(&name)).unwrap();
        }
    }
    let storage = || Arc::new(wal::FileStorage::open(copy.path()).unwrap());
    let tree = Tree::open(options(), storage(), storage()).unwrap();
    let found = contents(&tree);
    assert_eq!(found.len(), 2000);
    assert!(found.values().all(|value| *value == [7; 100]));
    assert!(tree.recovery().aries.as_ref().unwrap().undo.clrs >= 500);
}
