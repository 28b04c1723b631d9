//! Figures that a running log publishes for other programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{open, small};
use wal::{MemoryStorage, PublishedStats, Storage};
use wal_sim::SimDisk;

fn read(storage: &Arc<dyn Storage>) -> Option<PublishedStats> {
    PublishedStats::read_in(storage.as_ref()).unwrap()
}

/// Waits for figures that say so.
fn wait_for(storage: &Arc<dyn Storage>, says: impl Fn(&PublishedStats) -> bool) -> PublishedStats {
    for _ in 0..20_000 {
        match read(storage) {
            Some(found) if says(&found) => return found,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    panic!("never: {:?}", read(storage));
}

#[test]
fn a_log_that_publishes_is_seen_from_outside_as_it_sees_itself_until_it_is_closed() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let options = small().publish_stats(Some(Duration::from_millis(1)));
    let (wal, _) = open(&storage, options).unwrap();
    let _hold = wal.hold("tail", wal.head(), None).unwrap();
    for _ in 0..10 {
        wal.append(b"a record").unwrap().wait_durable().unwrap();
    }
    let stats = wal.stats();
    let seen = wait_for(&storage, |seen| seen.get("records") == Some(stats.commit.records));
    assert_eq!(seen.get("durable"), Some(stats.positions.durable.get()));
    assert_eq!(seen.get("syncs"), Some(stats.commit.syncs));
    assert_eq!(seen.get("process"), Some(u64::from(std::process::id())));
    assert_eq!((seen.get("interval_us"), seen.get("epoch")), (Some(1000), Some(1)));
    assert_eq!(seen.holds, [("tail".to_owned(), wal.head())]);
    wal.close().unwrap();
    assert_eq!(read(&storage), None);
}

#[test]
fn a_log_that_is_dropped_ends_its_thread_and_leaves_its_last_figures() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let options = || small().publish_stats(Some(Duration::from_millis(1)));
    let (wal, _) = open(&storage, options()).unwrap();
    let _seen = wait_for(&storage, |_| true);
    drop(wal);
    // The lock of the log is free: the thread does not keep the log.
    let options = options().lock_wait(Duration::from_secs(30));
    let (wal, _) = open(&storage, options).unwrap();
    let _seen = wait_for(&storage, |seen| seen.get("epoch") == Some(2));
    wal.close().unwrap();
}

#[test]
fn a_log_that_does_not_publish_makes_no_file_and_no_operation_for_it() {
    let disk = SimDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let (wal, _) = open(&storage, small()).unwrap();
    wal.append(b"a record").unwrap().wait_durable().unwrap();
    let before = disk.ops();
    wal.append(b"a record").unwrap().wait_durable().unwrap();
    assert_eq!(disk.ops() - before, 2);
    assert!(!disk.names().iter().any(|name| name == "stats"));
    assert_eq!(read(&storage), None);
}
