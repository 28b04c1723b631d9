//! A sink that writes and syncs in one call: when it is asked for that, and what is published.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Disk, Prepare, Sink, append};
use wal_commit::{CommitConfig, CommitError, GroupCommit, SyncPolicy, Threads};
use wal_format::Lsn;
use wal_io::{IoError, LogSink};

/// Joins, and counts how often.
#[derive(Debug)]
struct Joined(Sink, Arc<AtomicU64>);

impl LogSink for Joined {
    fn write(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError> {
        self.0.write(at, bufs)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        self.0.sync()
    }

    fn write_sync(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.write(at, bufs)?;
        self.sync()
    }

    fn joins_sync(&self) -> bool {
        true
    }

    fn block_bytes(&self) -> usize {
        self.0.block_bytes()
    }

    fn can_promise(&self) -> bool {
        self.0.can_promise()
    }
}

/// A log without threads on `slots` joining sinks, its disk, and the count.
fn log(slots: usize) -> (GroupCommit, Arc<Disk>, Arc<AtomicU64>) {
    let (disk, joined) = (Arc::new(Disk::of_flights(1 << 20)), Arc::default());
    let mut config = CommitConfig::default();
    config.buffer_bytes = 64 << 10;
    config.policy = SyncPolicy::EveryCommit;
    config.threads = Threads::None;
    config.idle_after = None;
    config.slow_sync = None;
    let sink =
        || Box::new(Joined(Sink(Arc::clone(&disk)), Arc::clone(&joined))) as Box<dyn LogSink>;
    let sinks = (0..slots).map(|_| sink()).collect();
    let preparer = Arc::new(Prepare(Arc::clone(&disk)));
    let log = GroupCommit::start(config, disk.start(), sinks, preparer).expect("it starts");
    (log, disk, joined)
}

#[test]
fn a_durable_commit_is_one_joined_call_and_is_written_as_well() {
    let (log, disk, joined) = log(1);
    for round in 1..=3 {
        append(&log, b"record").wait_durable().unwrap();
        assert_eq!(joined.load(Ordering::SeqCst), round);
        let positions = log.positions();
        assert_eq!(positions.durable, positions.reserved);
        assert_eq!(positions.written, positions.reserved);
        assert_eq!(disk.synced(), disk.written());
    }
    assert_eq!(disk.records().len(), 3);
}

#[test]
fn what_was_written_before_is_synced_with_it_by_the_two_calls() {
    let (log, disk, joined) = log(1);
    append(&log, b"first").wait_written().unwrap();
    assert_eq!(log.positions().durable.get(), 4096);
    let second = append(&log, b"second");
    second.wait_durable().unwrap();
    assert_eq!(joined.load(Ordering::SeqCst), 0, "a joined call covers its own bytes only");
    assert_eq!(log.positions().durable, log.positions().reserved);
    append(&log, b"third").wait_durable().unwrap();
    assert_eq!(joined.load(Ordering::SeqCst), 1);
    assert_eq!(disk.synced(), disk.written());
}

#[test]
fn a_joined_call_that_fails_acknowledges_nothing_and_poisons() {
    for write_fails in [true, false] {
        let (log, disk, _) = log(1);
        append(&log, b"kept").wait_durable().unwrap();
        let durable = log.positions().durable;
        if write_fails {
            disk.fail_write(2)
        } else {
            disk.fail_sync(2)
        }
        let lost = append(&log, b"lost");
        assert!(matches!(lost.wait_durable(), Err(CommitError::Poisoned { .. })));
        let positions = log.positions();
        assert_eq!((positions.durable, positions.written), (durable, durable), "{write_fails}");
        assert!(
            log.append(
                &wal_format::RecordDraft::new(wal_format::RecordKind::DATA, &[b"x"]),
                &mut |_| {}
            )
            .is_err()
        );
    }
}

#[test]
fn threads_with_several_slots_are_answered_once_their_bytes_are_durable() {
    let (log, disk, joined) = log(3);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let ticket = append(&log, b"record");
                    let end = ticket.end();
                    ticket.wait_durable().unwrap();
                    assert!(log.positions().durable >= end && disk.synced() >= end.get());
                }
            });
        }
    });
    assert!(joined.load(Ordering::SeqCst) > 0);
    assert_eq!(disk.records().len(), 120);
}
