//! Appends that nobody waits for: what is written without being asked for, and what is not.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{Disk, Gate, Prepare, Sink, append, start, threaded};
use wal_commit::{CommitConfig, CommitError, GroupCommit, PoisonCause, Start, Threads};
use wal_format::RecordKind;

#[test]
fn who_appends_writes_out_what_is_worth_a_call_and_syncs_nothing() {
    // A short record and a long one go different ways.
    for (body_bytes, record_bytes) in [(488, 512), (1000, 1024)] {
        let (log, disk) = start(Disk::new(8 << 20), |config| {
            config.threads = Threads::None;
            config.buffer_bytes = 8 << 20;
        });
        let body = &[7; 1000][..body_bytes];
        let mut bytes = 0;
        while disk.calls().0 == 0 {
            let range = log.append_untracked(RecordKind::DATA, body).unwrap();
            assert_eq!(range.bytes(), record_bytes);
            bytes += range.bytes();
            assert!(bytes <= 512 << 10, "an eighth of a part of 4 MiB is enough");
        }
        assert_eq!((bytes, disk.calls()), (512 << 10, (1, 0)));
        assert_eq!(disk.bodies().len() as u64, (512 << 10) / record_bytes);
        assert_eq!(log.positions().written, log.positions().reserved);
    }
}

#[test]
fn a_log_that_was_opened_without_a_successor_is_given_one_ahead_of_need() {
    for body_bytes in [100, 1000] {
        let disk = Arc::new(Disk::new(8192));
        let (told, asked) = mpsc::channel();
        disk.on_prepare(move |base| told.send(base).unwrap_or_default());
        let at = Start { ready_end: disk.start().active_end, ..disk.start() };
        disk.without_successor();
        let mut config = CommitConfig::default();
        config.buffer_bytes = 64 << 10;
        let (sink, preparer) = (Box::new(Sink(disk.clone())), Arc::new(Prepare(disk.clone())));
        let log = GroupCommit::start(config, at, vec![sink], preparer).unwrap();
        let body = &[7; 1000][..body_bytes];
        // The thread that makes segments looks once when it begins; what it then finds, nobody told it.
        std::thread::sleep(Duration::from_millis(100));
        // Past a quarter of what is left, and not to its end.
        while log.positions().reserved.get() < 4096 + 4096 {
            log.append_untracked(RecordKind::DATA, body).unwrap();
        }
        assert_eq!(asked.recv_timeout(Duration::from_secs(60)), Ok(at.active_end.get()));
        log.close().unwrap();
        assert_eq!(log.stats().segment_waits, 0);
    }
}

#[test]
fn a_write_that_nobody_asked_for_and_that_fails_poisons_the_log() {
    let (log, disk) = start(Disk::new(8 << 20), |config| {
        config.threads = Threads::None;
        config.buffer_bytes = 8 << 20;
    });
    disk.fail_write(1);
    let body = [7; 1000];
    for _ in 0..512 {
        log.append_untracked(RecordKind::DATA, &body).unwrap();
    }
    assert!(log.is_poisoned());
    log.append_untracked(RecordKind::DATA, &body).unwrap_err();
}

/// Each write tells that it has begun, and waits for the gate.
fn stop_in_writes(disk: &Disk) -> (Arc<Gate>, mpsc::Receiver<()>) {
    let (gate, (told, blocked)) = (Gate::new(), mpsc::channel());
    let passed = gate.clone();
    disk.on_write(move |_| {
        told.send(()).unwrap_or_default();
        passed.pass();
    });
    (gate, blocked)
}

/// Appends a short record which may be put where the log ends with half of the lock in hand.
fn append_short(log: &GroupCommit) -> Result<u64, CommitError> {
    log.append_untracked(RecordKind::DATA, b"short").map(|range| range.start.get())
}

#[test]
fn records_that_come_faster_than_they_are_written_are_whole() {
    let (log, disk) = start(Disk::new(8 << 20), |config| config.buffer_bytes = 8 << 20);
    let (gate, blocked) = stop_in_writes(&disk);
    let body = |number: u32| [number.to_le_bytes(), [7; 4]].concat().repeat(50);
    std::thread::scope(|scope| {
        // Its last record is one too many to wait, and it writes all of them.
        scope.spawn(|| {
            let mut number = 0;
            while log.stats().flushes == 0 {
                log.append_untracked(RecordKind::DATA, &body(number)).unwrap();
                number += 1;
            }
        });
        blocked.recv().unwrap();
        // As much again and more, which waits behind that.
        for number in 0..3000 {
            log.append_untracked(RecordKind::DATA, &body(number)).unwrap();
        }
        gate.open();
    });
    log.sync().unwrap();
    let bodies = disk.bodies();
    assert!(bodies.len() > 3000);
    let first = bodies.len() - 3000;
    assert!((0..).zip(&bodies[..first]).all(|(number, found)| *found == body(number)));
    assert!((0..).zip(&bodies[first..]).all(|(number, found)| *found == body(number)));
}

#[test]
fn a_log_that_is_closing_takes_no_short_record_either() {
    let (log, disk) = threaded();
    append_short(&log).unwrap();
    append(&log, b"durable").wait_durable().unwrap();
    append_short(&log).unwrap();
    let (gate, blocked) = stop_in_writes(&disk);
    std::thread::scope(|scope| {
        let closed = scope.spawn(|| log.close());
        blocked.recv().unwrap();
        let meanwhile = append_short(&log);
        gate.open();
        closed.join().unwrap().unwrap();
        assert!(matches!(meanwhile, Err(CommitError::Closed)));
    });
    assert!(matches!(append_short(&log), Err(CommitError::Closed)));
}

#[test]
fn a_poisoned_log_takes_no_short_record_either() {
    let (log, _disk) = threaded();
    append_short(&log).unwrap();
    log.poison(PoisonCause::requested("as its owner says"));
    assert!(append_short(&log).unwrap_err().to_string().contains("as its owner says"));
}

#[test]
fn a_short_record_keeps_out_of_one_that_is_written_past_the_buffer() {
    let (log, disk) = start(Disk::new(1 << 20), |config| config.buffer_bytes = 8192);
    append_short(&log).unwrap();
    let (gate, blocked) = stop_in_writes(&disk);
    let long = vec![9; 20_000];
    std::thread::scope(|scope| {
        scope.spawn(|| append(&log, &long));
        // The first write makes room for it, the second is its own.
        blocked.recv().unwrap();
        let short = scope.spawn(|| append_short(&log));
        // Long enough for it to get in, mostly, if it could.
        std::thread::sleep(Duration::from_millis(20));
        gate.open();
        short.join().unwrap().unwrap();
    });
    log.sync().unwrap();
    let bodies = disk.bodies();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.contains(&long) && bodies.iter().filter(|body| *body == b"short").count() == 2);
}
