//! Several slots for flushes in flight, as callers see them. What threads can do to each other
//! there is the model's (`model.rs`) and the crash lab's.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Disk, Gate, Prepare, Sink, append, stop_in_syncs, threaded};
use wal_commit::{CommitConfig, CommitError, GroupCommit, SyncPolicy};
use wal_format::{Lsn, RecordDraft, RecordKind};
use wal_io::{IoError, LogSink, Preparer};

/// A log on a disk with segments of 1 MiB and two slots.
fn two_slots() -> (GroupCommit, Arc<Disk>) {
    let disk = Arc::new(Disk::new(1 << 20));
    let preparer = Arc::new(Prepare(disk.clone()));
    (two_slots_with(&disk, preparer), disk)
}

fn two_slots_with(disk: &Arc<Disk>, preparer: Arc<dyn Preparer>) -> GroupCommit {
    let mut config = CommitConfig::default();
    config.buffer_bytes = 64 << 10;
    config.policy = SyncPolicy::EveryCommit;
    config.idle_after = None;
    config.slow_sync = None;
    let sinks = (0..2).map(|_| Box::new(Sink(disk.clone())) as Box<dyn LogSink>).collect();
    GroupCommit::start(config, disk.start(), sinks, preparer).expect("it starts")
}

/// Panics when it is first told what is durable.
#[derive(Debug)]
struct Panics(Prepare, AtomicBool);

impl Preparer for Panics {
    fn prepare(&self, base: Lsn, capacity_bytes: u64) -> Result<Lsn, IoError> {
        self.0.prepare(base, capacity_bytes)
    }

    fn segment_bytes(&self) -> u64 {
        self.0.segment_bytes()
    }

    fn note_durable(&self, _end: Lsn) {
        assert!(self.1.swap(true, Ordering::SeqCst), "deliberate");
    }
}

#[test]
fn a_backend_that_panics_when_told_what_is_durable_poisons_the_log() {
    let disk = Arc::new(Disk::new(1 << 20));
    let preparer = Arc::new(Panics(Prepare(disk.clone()), AtomicBool::new(false)));
    let log = two_slots_with(&disk, preparer);
    std::thread::scope(|scope| {
        let first = append(&log, b"first");
        let told = scope.spawn(move || first.wait_durable()).join();
        assert!(told.is_err(), "the panic goes on");
    });
    assert!(log.is_poisoned(), "or the next committer would wait for a flush that never lands");
    assert!(log.append(&RecordDraft::new(RecordKind::DATA, &[b"x"]), &mut |_| {}).is_err());
}

#[test]
fn a_try_of_an_oversized_record_does_not_wait_for_a_flush_in_flight() {
    let (log, disk) = two_slots();
    let (in_sync, go) = (Gate::new(), Gate::new());
    let (entered, wait) = (in_sync.clone(), go.clone());
    disk.on_sync(move |number| {
        if number == 1 {
            entered.open();
            wait.pass();
        }
    });
    let body = vec![1; 100 << 10];
    let parts: [&[u8]; 1] = [&body];
    let draft = RecordDraft::new(RecordKind::DATA, &parts);
    std::thread::scope(|scope| {
        let first = append(&log, b"first");
        scope.spawn(move || first.wait_durable().unwrap());
        in_sync.pass();
        let error = log.try_append(&draft, &mut |_| panic!("nothing is reserved")).unwrap_err();
        assert!(matches!(error, CommitError::WouldBlock), "{error}");
        go.open();
    });
    log.append(&draft, &mut |_| {}).unwrap().wait_durable().unwrap();
    assert_eq!(disk.bodies().len(), 2);
}

/// Tells that whoever waits is to look again.
struct Told(std::sync::mpsc::Sender<()>);

impl std::task::Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.send(()).unwrap_or_default();
    }
}

#[test]
fn an_oversized_record_that_waits_as_a_future_is_told_when_the_device_is_free() {
    let (log, disk) = threaded();
    let (in_sync, go) = stop_in_syncs(&disk);
    let body = vec![1; 100 << 10];
    let parts: [&[u8]; 1] = [&body];
    let draft = RecordDraft::new(RecordKind::DATA, &parts);
    let (sender, told) = std::sync::mpsc::channel();
    let waker = std::task::Waker::from(Arc::new(Told(sender)));
    let (context, mut room) = (std::task::Context::from_waker(&waker), log.room());
    let mut poll = || room.poll(&context, || log.try_append(&draft, &mut |_| {}));
    std::thread::scope(|scope| {
        let first = append(&log, b"first");
        scope.spawn(move || first.wait_durable().unwrap());
        in_sync.pass();
        let pending = poll().is_pending();
        go.open();
        assert!(pending);
    });
    // No other flush follows, so nobody else would tell it.
    told.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    assert!(poll().is_ready());
}
