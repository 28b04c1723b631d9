//! Pages that are gone from the file, although something was put there: by a name, and never taken
//! for pages to which nothing was ever applied.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::IoSlice;

use common::{fill, key, open};
use wal::{Access, Storage};
use wal_btree::{Error, PageFault, Tree};
use wal_sim::{CrashMode, SimDisk};

const PAGE_BYTES: u64 = 512;

/// A tree of several levels that was closed: its pages hold everything, its log nothing.
fn closed() -> SimDisk {
    let disk = SimDisk::new();
    let tree = open(&disk).unwrap();
    fill(&tree, 0, 200, &[7; 30]);
    tree.close().unwrap();
    drop(tree);
    disk.crash(CrashMode::KeepAll)
}

fn pages_of(disk: &SimDisk) -> u64 {
    disk.contents("pages").unwrap().len() as u64 / PAGE_BYTES
}

fn zero_page(disk: &SimDisk, page: u64) {
    let file = disk.open("pages", Access::Write).unwrap();
    file.write_at(&[IoSlice::new(&[0; PAGE_BYTES as usize])], page * PAGE_BYTES).unwrap();
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Page { fault: PageFault::Missing, .. })
}

/// Whether reading everything meets the hole, and the check as well.
fn assert_noticed(tree: &Tree, what: &str) {
    let scanned = tree.begin().scan(..).unwrap_err();
    assert!(is_missing(&scanned), "{what}: {scanned}");
    let checked = tree.check().unwrap_err();
    assert!(is_missing(&checked), "{what}: {checked}");
}

#[test]
fn a_node_that_its_parent_names_and_that_is_gone_is_no_empty_leaf() {
    let closed = closed();
    // Behind what the file is, the root, and the map.
    for page in 3..pages_of(&closed) {
        let disk = closed.crash(CrashMode::KeepAll);
        zero_page(&disk, page);
        assert_noticed(&open(&disk).unwrap(), &format!("page {page}"));
    }
}

#[test]
fn a_file_that_was_cut_short_is_noticed() {
    let disk = closed();
    disk.cut_file("pages", (pages_of(&disk) - 2) * PAGE_BYTES).unwrap();
    assert_noticed(&open(&disk).unwrap(), "two pages less");
}

#[test]
fn a_root_that_is_gone_from_a_tree_is_no_empty_tree() {
    let disk = closed();
    zero_page(&disk, 1);
    let refused = open(&disk).unwrap_err();
    assert!(is_missing(&refused), "{refused}");
}

#[test]
fn a_map_that_is_gone_gives_out_no_page_that_is_in_use() {
    let disk = closed();
    zero_page(&disk, 2);
    let tree = open(&disk).unwrap();
    let mut txn = tree.begin();
    let refused = (0..).find_map(|number| txn.put(&key(1_000 + number), &[1; 60]).err()).unwrap();
    assert!(is_missing(&refused), "{refused}");
    drop(txn);
    assert_eq!(tree.begin().scan(..).unwrap().len(), 200);
}
