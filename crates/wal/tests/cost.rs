//! What an append costs in operations of the storage: counted, never timed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{body, open, small};
use wal::{Options, Storage, SyncMethod, Threads};
use wal_sim::{Call, SimDisk};

fn disk_and(options: Options) -> (SimDisk, wal::Wal) {
    let disk = SimDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    // An idle log's watermark record depends on the clock; here nothing does.
    let (wal, _) = open(&storage, options.idle_after(None)).unwrap();
    wal.append(b"the first write opens the segment").unwrap().wait_durable().unwrap();
    (disk, wal)
}

#[test]
fn a_lone_durable_append_is_one_write_and_one_sync() {
    for threads in [Threads::None, Threads::Helper] {
        let (disk, wal) = disk_and(small().threads(threads));
        for number in 0..20 {
            let before = disk.ops();
            wal.append(&body(number)).unwrap().wait_durable().unwrap();
            assert_eq!(disk.ops() - before, 2, "append {number}, {threads:?}");
            assert_eq!(disk.last_op().unwrap().call, Call::Sync);
        }
    }
}

#[test]
fn a_lone_durable_append_with_write_through_is_one_write() {
    let (disk, wal) = disk_and(small().sync_method(SyncMethod::WriteThrough));
    for number in 0..20 {
        let before = disk.ops();
        wal.append(&body(number)).unwrap().wait_durable().unwrap();
        assert_eq!(disk.ops() - before, 1, "append {number}");
    }
}

#[test]
fn an_append_alone_and_a_batch_of_many_cost_nothing_and_one_flush() {
    let (disk, wal) = disk_and(small());
    let before = disk.ops();
    let tickets: Vec<_> = (0..50).map(|number| wal.append(&body(number)).unwrap()).collect();
    assert_eq!(disk.ops(), before, "an append makes no system call");
    let bodies: Vec<_> = (0..50).map(body).collect();
    wal.append_batch(&bodies).unwrap().wait_durable().unwrap();
    assert_eq!(disk.ops() - before, 2, "one write and one sync for all");
    assert!(tickets.iter().all(wal::Ticket::is_durable));
}

#[test]
fn three_hundred_committers_never_need_three_hundred_syncs() {
    let (disk, wal) = disk_and(Options::default().segment_bytes(64 << 10));
    // All records are ordered before anybody waits, so that the count depends on no timing.
    // No more of them: a container may have a limit of a thousand threads.
    let tickets: Vec<_> = (0..300).map(|number| wal.append(&body(number % 20)).unwrap()).collect();
    let before = wal.stats().commit.syncs;
    std::thread::scope(|scope| {
        for ticket in &tickets {
            scope.spawn(move || ticket.wait_durable().unwrap());
        }
    });
    let syncs = wal.stats().commit.syncs - before;
    assert!(syncs <= 10, "{syncs} syncs for three hundred committers");
    assert!(disk.ops() > 0);
}
