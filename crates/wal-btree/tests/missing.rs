//! Pages that are gone from the file, although something was put there: by a name, and never taken
//! for pages to which nothing was ever applied.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::IoSlice;
use std::sync::Arc;

use common::{contents, fill, key, open, put_all, small};
use wal::{Access, RecoveryError, Storage};
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

/// A tree whose log and pages are in places of their own.
fn apart(log: &SimDisk, pages: &SimDisk) -> Result<Tree, Error> {
    Tree::open(small(), Arc::new(log.clone()), Arc::new(pages.clone()))
}

#[test]
fn pages_whose_log_is_gone_are_not_opened() {
    let (log, pages) = (SimDisk::new(), SimDisk::new());
    let tree = apart(&log, &pages).unwrap();
    fill(&tree, 0, 100, b"committed");
    let mut unfinished = tree.begin();
    put_all(&mut unfinished, 50, 100, b"never committed");
    // Stolen: only the log knows that they never committed.
    tree.write_pages().unwrap();
    let (log, pages) = (log.crash(CrashMode::LoseAll), pages.crash(CrashMode::LoseAll));
    drop((unfinished, tree));

    let refused = apart(&SimDisk::new(), &pages).unwrap_err();
    assert!(matches!(refused, Error::LogMissing { .. }), "{refused}");
    assert_eq!(contents(&apart(&log, &pages).unwrap()).len(), 100, "its own log still fits");
}

#[test]
fn a_page_file_that_was_made_and_whose_log_was_not_is_a_new_tree() {
    let (log, pages) = (SimDisk::new(), SimDisk::new());
    drop(apart(&log, &pages).unwrap());
    // Nothing was ever written into a page.
    apart(&SimDisk::new(), &pages.crash(CrashMode::LoseAll)).unwrap();
}

#[test]
fn a02_pages_newer_than_a_younger_log_are_refused_wherever_they_are_met() {
    let (log, pages) = (SimDisk::new(), SimDisk::new());
    let tree = apart(&log, &pages).unwrap();
    fill(&tree, 0, 300, &[7; 30]);
    tree.close().unwrap();
    drop(tree);
    let (other, elsewhere) = (SimDisk::new(), SimDisk::new());
    drop(apart(&other, &elsewhere).unwrap());

    // The log of another tree, which is too short for what these pages say.
    let newer = |error: &Error| match error {
        Error::Pages(RecoveryError::PageLsnBeyondEnd { .. }) => true,
        Error::Log(error) => error.to_string().contains("beyond"),
        _ => false,
    };
    match apart(&other, &pages) {
        Err(refused) => assert!(newer(&refused), "{refused}"),
        Ok(tree) => {
            let refused = tree.check().unwrap_err();
            assert!(newer(&refused), "{refused}");
        }
    }
}
