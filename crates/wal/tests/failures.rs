//! Failed writes and syncs, a full disk, and handlers which fail or panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use common::{body, open, reopen, small};
use wal::{CommitFate, ErrorKind, Fate, LogView, MemoryStorage, ReplayRecord, Storage, Wal};
use wal_sim::{Call, CrashMode, Faults, SimDisk};

fn on(disk: &SimDisk) -> Arc<dyn Storage> {
    Arc::new(disk.clone())
}

#[test]
fn a_failed_sync_poisons_the_log_and_is_never_retried() {
    let disk = SimDisk::new();
    let (wal, _) = reopen(&on(&disk));
    wal.append(&body(0)).unwrap().wait_durable().unwrap();
    disk.set_faults(Faults::new().fail(Call::Sync, 1));
    let ticket = wal.append(&body(1)).unwrap();
    let error = ticket.wait_durable().unwrap_err();
    assert_eq!((error.kind(), error.fate()), (ErrorKind::Poisoned, Fate::Unknown), "{error}");
    assert_eq!(error.lsn(), Some(ticket.lsn()));
    // The next sync would succeed: nobody may try it.
    let ops = disk.ops();
    for _ in 0..3 {
        assert_eq!(ticket.wait_durable().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(wal.append(&body(2)).unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(wal.sync().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(wal.close().unwrap_err().kind(), ErrorKind::Poisoned);
    }
    assert_eq!(disk.ops(), ops, "a poisoned log went on writing or syncing");
    // Reading stays possible.
    let first =
        wal.read_from(wal.head()).unwrap().next().unwrap().map(|record| record.body.to_vec());
    assert_eq!(first, Some(body(0)));
    drop(wal);
    let (_wal, found) = reopen(&on(&disk.crash(CrashMode::LoseAll)));
    assert_eq!(found, [body(0)]);
}

#[test]
fn a_close_which_cannot_be_noted_is_told_from_one_which_may_lose_records() {
    let disk = SimDisk::new();
    let (wal, _) = reopen(&on(&disk));
    // A checkpoint fails at the control file, which is not touched again; commits go on.
    let checkpoint = wal.checkpoint_begin().unwrap();
    disk.set_faults(Faults::new().fail_on(Call::Sync, "control", 1));
    let error = checkpoint.complete(b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    drop(wal.append(&body(0)).unwrap());
    let error = wal.close().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    let positions = wal.positions();
    assert_eq!(positions.durable, positions.reserved);
    assert_eq!(wal.sync().unwrap(), positions.durable, "which is no more than the truth");
    drop(wal);
    let view = LogView::open_in(on(&disk.crash(CrashMode::LoseAll))).unwrap();
    assert!(!view.is_clean());
    let found = view.for_each(view.range(), |record| {
        if record.body == body(0) {
            ControlFlow::Break(record.lsn())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(found.unwrap().is_some(), "what was durable is there");
}

#[test]
fn after_a_failed_commit_reopening_says_whether_it_happened() {
    for mode in [CrashMode::LoseAll, CrashMode::KeepAll] {
        let disk = SimDisk::new();
        let (wal, _) = reopen(&on(&disk));
        let mut txn = wal.begin();
        let id = txn.id();
        txn.log(b"one").unwrap();
        disk.set_faults(Faults::new().fail(Call::Sync, 1));
        let error = txn.commit().unwrap_err();
        assert_eq!(error.fate(), Fate::Unknown);
        let lsn = error.lsn().expect("the error names the commit record");
        drop(wal);
        let (wal, found) = reopen(&on(&disk.crash(mode)));
        let status = wal.was_committed(id, lsn).unwrap();
        match found.len() {
            0 => assert_eq!(status, CommitFate::NotCommitted),
            _ => assert!(matches!(status, CommitFate::Committed), "{status:?}"),
        }
    }
}

#[test]
fn a_full_disk_refuses_appends_and_loses_nothing() {
    let disk = SimDisk::new();
    let (wal, _) = reopen(&on(&disk));
    disk.set_faults(Faults::new().space_bytes(400 << 10));
    let mut acknowledged = Vec::new();
    let error = loop {
        let body = body(acknowledged.len()).repeat(40);
        match wal.append(&body).and_then(|ticket| ticket.wait_durable()) {
            Ok(()) => acknowledged.push(body),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 10_000, "the disk never filled");
    };
    assert_eq!((error.kind(), error.fate()), (ErrorKind::NoSpace, Fate::NotCommitted), "{error}");
    assert!(acknowledged.len() > 10);
    // Space comes back: the same handle goes on.
    disk.set_faults(Faults::new());
    wal.append(b"more").unwrap().wait_durable().unwrap();
    acknowledged.push(b"more".to_vec());
    drop(wal);
    let (_wal, found) = reopen(&on(&disk.crash(CrashMode::LoseAll)));
    assert_eq!(found, acknowledged);
}

#[test]
fn r16_a_full_disk_can_still_be_opened() {
    let disk = SimDisk::new();
    let (wal, _) = reopen(&on(&disk));
    disk.set_faults(Faults::new().space_bytes(400 << 10));
    let mut acknowledged = Vec::new();
    loop {
        let body = body(acknowledged.len()).repeat(40);
        match wal.append(&body).and_then(|ticket| ticket.wait_durable()) {
            Ok(()) => acknowledged.push(body),
            Err(_) => break,
        }
    }
    drop(wal);
    for _ in 0..5 {
        let full = disk.crash(CrashMode::LoseAll);
        full.set_faults(Faults::new().space_bytes(400 << 10));
        let (wal, found) = reopen(&on(&full));
        assert_eq!(found, acknowledged);
        drop(wal);
    }
}

#[test]
fn a_handler_which_fails_or_panics_stops_the_opening_and_loses_nothing() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = reopen(&storage);
    for number in 0..5 {
        wal.append(&body(number)).unwrap().wait_durable().unwrap();
    }
    drop(wal);
    let mut seen = 0;
    let failed = Wal::open_in(Arc::clone(&storage), small(), |_: &ReplayRecord<'_>| {
        seen += 1;
        if seen == 3 { Err(io::Error::other("the engine says no")) } else { Ok(()) }
    });
    let error = failed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Replay);
    assert!(error.to_string().contains("the engine says no"), "{error}");
    assert!(error.lsn().is_some());
    let panicked = Wal::open_in(Arc::clone(&storage), small(), |_: &ReplayRecord<'_>| {
        if seen == 3 { panic!("the engine fell over") } else { Ok::<(), io::Error>(()) }
    });
    let error = panicked.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Replay);
    assert!(error.to_string().contains("the engine fell over"), "{error}");
    let (_wal, found) = reopen(&storage);
    assert_eq!(found, (0..5).map(body).collect::<Vec<_>>());
}

#[test]
fn a_callback_which_panics_poisons_the_log_and_wakes_everybody() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = open(&storage, small()).unwrap();
    wal.append(b"one").unwrap().on_durable(|_| panic!("the callback fell over"));
    let _outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wal.sync()));
    assert_eq!(wal.append(b"two").unwrap_err().kind(), ErrorKind::Poisoned);
}
