//! A checkpoint that rides with the commits of others ends whoever commits, and whenever anybody
//! syncs: statement 10 on the whole commit path.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::pages::{Pages, open_pages};
use common::small;
use wal::{ErrorKind, Options, PageLog, Storage, SyncPolicy, Threads};
use wal_sim::{CrashMode, SimDisk};

const PAGES: u64 = 3_000;

fn up(disk: &SimDisk, options: &Options) -> (PageLog, Pages) {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    open_pages(&storage, options.clone()).expect("the engine comes up")
}

/// A log with so many dirty pages that a checkpoint takes many parts.
fn many_dirty(disk: &SimDisk, options: &Options) -> (PageLog, Pages) {
    let (log, mut pages) = up(disk, options);
    let mut txn = log.begin();
    for page in 0..PAGES {
        pages.put(&mut txn, page, 0, page + 1).unwrap();
    }
    txn.commit().unwrap();
    (log, pages)
}

fn checkpoint_alone(options: &Options) {
    let disk = SimDisk::new();
    let (log, pages) = many_dirty(&disk, options);
    let pointer = log.checkpoint(b"").unwrap();
    assert!(log.positions().durable >= pointer.end);
    drop((log, pages));
    let left = disk.crash(CrashMode::LoseAll);
    let (_log, mut pages) = up(&left, options);
    assert_eq!(pages.get(PAGES - 1, 0), PAGES);
}

#[test]
fn a10_a_checkpoint_ends_under_every_policy_though_nobody_commits() {
    let (every, wait_cost_percent) = (Duration::from_secs(3600), 100);
    let root = SyncPolicy::SquareRoot { wait_cost_percent };
    let policies = [SyncPolicy::EveryCommit, SyncPolicy::Group, root, SyncPolicy::Never];
    for policy in policies {
        checkpoint_alone(&small().sync_policy(policy));
        checkpoint_alone(&small().threads(Threads::Helper).sync_policy(policy));
    }
    let periodic = SyncPolicy::Periodic { every };
    checkpoint_alone(&small().threads(Threads::Helper).sync_policy(periodic));
}

#[test]
fn a10_a_checkpoint_ends_beside_commits_and_is_told_when_the_log_closes() {
    for policy in [SyncPolicy::Group, SyncPolicy::Never] {
        let options = small().threads(Threads::Helper).sync_policy(policy);
        let disk = SimDisk::new();
        let (log, mut pages) = many_dirty(&disk, &options);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let mut txn = log.begin();
                    pages.put(&mut txn, 1, 0, 7).unwrap();
                    txn.commit().unwrap();
                }
            });
            let taken: Vec<_> = (0..3).map(|_| log.checkpoint(b"")).collect();
            stop.store(true, Ordering::SeqCst);
            assert!(taken.iter().all(Result::is_ok), "{taken:?}");
        });
        let ended = thread::scope(|scope| {
            let rider = scope.spawn(|| {
                loop {
                    if let Err(error) = log.checkpoint(b"") {
                        return error;
                    }
                }
            });
            log.close().unwrap();
            rider.join().unwrap()
        });
        assert_eq!(ended.kind(), ErrorKind::Closed, "{ended}");
    }
}
