//! A log that is full: everything can be rolled back, a checkpoint can be taken, and then there is
//! room again (a09).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::IoSlice;
use std::sync::Arc;

use common::{contents, fill, key, small};
use wal::{Access, Storage};
use wal_btree::{Error, Transaction, Tree};
use wal_sim::{CrashMode, Faults, SimDisk};

/// Log and pages on devices of their own, so that the log's alone gets full.
struct Place {
    log: SimDisk,
    pages: SimDisk,
}

impl Place {
    fn new() -> Self {
        Self { log: SimDisk::new(), pages: SimDisk::new() }
    }

    fn open(&self) -> Result<Tree, Error> {
        Tree::open(small(), Arc::new(self.log.clone()), Arc::new(self.pages.clone()))
    }

    /// The device of the log takes no more than what it holds and `bytes` more.
    fn limit(&self, bytes: u64) {
        let held = self.log.names().into_iter().filter_map(|name| self.log.contents(&name));
        let held: usize = held.map(|contents| contents.len()).sum();
        self.log.set_faults(Faults::new().space_bytes(held as u64 + bytes));
    }

    fn crash(&self) -> Self {
        let mode = CrashMode::LoseAll;
        Self { log: self.log.crash(mode), pages: self.pages.crash(mode) }
    }
}

/// Changes until the log takes no more.
fn until_full(mut change: impl FnMut(u32) -> Result<(), Error>) -> u32 {
    for number in 0..100_000 {
        match change(number) {
            Ok(()) => {}
            Err(Error::Log(error)) if error.kind() == wal::ErrorKind::NoSpace => return number,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it never gets full");
}

fn replace(txn: &mut Transaction, number: u32) -> Result<(), Error> {
    txn.put(&key(number % 200), &vec![number as u8; (number % 70) as usize]).map(drop)
}

#[test]
fn a09_a_full_log_can_roll_everything_back_and_take_a_checkpoint() {
    let place = Place::new();
    let tree = place.open().unwrap();
    fill(&tree, 0, 200, b"before");
    tree.checkpoint().unwrap();
    let before = contents(&tree);
    place.limit(1 << 20);
    let mut txn = tree.begin();
    assert!(until_full(|number| replace(&mut txn, number)) > 300);
    txn.abort().unwrap();
    assert_eq!(contents(&tree), before);
    for _ in 0..3 {
        tree.checkpoint().unwrap();
    }
    fill(&tree, 0, 100, b"there is room again");
}

#[test]
fn a09_deletes_are_rolled_back_in_a_full_log_although_their_room_is_taken() {
    let place = Place::new();
    let tree = place.open().unwrap();
    fill(&tree, 0, 100, &[7; 60]);
    tree.checkpoint().unwrap();
    let before = contents(&tree);
    place.limit(1 << 20);
    let mut loser = tree.begin();
    for number in 0..100 {
        if number % 3 > 0 {
            loser.delete(&key(number)).unwrap().unwrap();
        }
    }
    // Fills the pages up, so that the rollback must split them, and then the log.
    let mut other = tree.begin();
    for number in (0..99).step_by(3) {
        for letter in b'a'..=b'd' {
            other.insert(&[&key(number)[..], &[letter]].concat(), &[letter; 30]).unwrap();
        }
    }
    until_full(|number| other.put(b"same", &[number as u8; 40]).map(drop));
    loser.abort().unwrap();
    other.abort().unwrap();
    assert_eq!(contents(&tree), before);
}

#[test]
fn a_split_that_the_log_has_no_room_for_is_taken_back_at_once() {
    // Each size meets the end of the log in another place, in the middle of splits too.
    for entry_bytes in 20..60 {
        let place = Place::new();
        let tree = place.open().unwrap();
        fill(&tree, 0, 20, b"before");
        place.limit(256 << 10);
        let mut txn = tree.begin();
        let value = vec![7; entry_bytes];
        let done = until_full(|number| txn.insert(&key(1_000 + number), &value));
        // The transaction is still running: whoever comes now finds a tree.
        let found = tree.check().unwrap();
        assert_eq!(found.len(), 20 + done as usize, "{entry_bytes} bytes");
    }
}

#[test]
fn a09_a_restart_rolls_back_in_a_log_that_is_full() {
    let place = Place::new();
    let tree = place.open().unwrap();
    fill(&tree, 0, 200, b"before");
    tree.checkpoint().unwrap();
    let before = contents(&tree);
    place.limit(1 << 20);
    let mut txn = tree.begin();
    until_full(|number| replace(&mut txn, number));
    tree.log().sync().unwrap();
    let left = place.crash();
    // As full as it was; what an opening needs, the log has put by.
    left.limit(0);
    let tree = left.open().unwrap();
    assert_eq!(contents(&tree), before);
    drop(txn);
}

/// Takes the last byte that nobody was promised.
fn fill_up(tree: &Tree) {
    for name in ["n".repeat(250), "n".to_owned()] {
        while tree.log().restore_point(&name).is_ok() {}
    }
}

/// Takes the room in every leaf, so that what comes back must split them.
fn take_the_room(tree: &Tree, keys: u32) {
    let mut txn = tree.begin();
    for number in (0..keys).step_by(3) {
        for letter in b'a'..=b'h' {
            txn.insert(&[&key(number)[..], &[letter]].concat(), &[letter; 30]).unwrap();
        }
    }
    txn.commit().unwrap();
}

fn delete_two_of_three(txn: &mut Transaction, keys: u32) {
    for number in (0..keys).filter(|number| number % 3 > 0) {
        txn.delete(&key(number)).unwrap().unwrap();
    }
}

#[test]
fn a09_what_a_rollback_to_a_savepoint_gave_back_is_reserved_again() {
    let place = Place::new();
    let tree = place.open().unwrap();
    fill(&tree, 0, 600, &[1; 100]);
    let mut txn = tree.begin();
    let savepoint = txn.savepoint().unwrap();
    delete_two_of_three(&mut txn, 600);
    let reserved = tree.log().stats().reserved_bytes;
    txn.rollback_to(savepoint).unwrap();
    delete_two_of_three(&mut txn, 600);
    assert!(tree.log().stats().reserved_bytes > reserved / 2, "of {reserved}");
    take_the_room(&tree, 600);
    place.limit(0);
    fill_up(&tree);
    txn.abort().unwrap();
    assert_eq!(contents(&tree).len(), 600 + 200 * 8);
}

#[test]
fn a09_a_transaction_in_doubt_is_rolled_back_in_a_full_log_after_a_restart() {
    let place = Place::new();
    let tree = place.open().unwrap();
    fill(&tree, 0, 600, &[1; 100]);
    let mut txn = tree.begin();
    delete_two_of_three(&mut txn, 600);
    let id = txn.prepare(b"coordinator-1").unwrap();
    take_the_room(&tree, 600);
    let reserved = tree.log().stats().reserved_bytes;
    tree.write_pages().unwrap();
    let left = place.crash();
    drop(tree);
    let tree = left.open().unwrap();
    assert!(tree.log().stats().reserved_bytes > reserved / 2, "of {reserved}");
    left.limit(0);
    fill_up(&tree);
    tree.resolve(id, wal::Decision::Abort).unwrap();
    assert_eq!(contents(&tree).len(), 600 + 200 * 8);
}

#[test]
fn a25_a_page_changed_while_the_log_was_full_gets_its_image_after_a_restart_too() {
    let disk = SimDisk::new();
    let limit = |disk: &SimDisk| {
        let held: u64 = disk.list().unwrap().iter().map(|entry| entry.len).sum();
        disk.set_faults(Faults::new().space_bytes(held));
    };
    let options = || small().frames(64);
    let tree = common::open_with(&disk, options()).unwrap();
    fill(&tree, 0, 1, b"old");
    // The only image that the page has in the log so far will not be needed, and is gone then.
    for _ in 0..1_200 {
        tree.log().restore_point(&"n".repeat(250)).unwrap();
    }
    let mut txn = tree.begin();
    txn.put(&key(0), b"new").unwrap();
    tree.write_pages().unwrap();
    tree.checkpoint().unwrap();
    tree.checkpoint().unwrap();
    limit(&disk);
    fill_up(&tree);
    txn.abort().unwrap();
    tree.log().sync().unwrap();
    let left = common::kill(&disk, tree);

    limit(&left);
    let tree = common::open_with(&left, options()).unwrap();
    left.set_faults(Faults::new());
    tree.write_pages().unwrap();
    let left = common::kill(&left, tree);
    let file = left.open("pages", Access::Write).unwrap();
    file.write_at(&[IoSlice::new(&[0xee; 256])], 512 + 256).unwrap();
    let tree = common::open_with(&left, options()).unwrap();
    assert_eq!(contents(&tree)[&key(0)], b"old");
}
