//! The storage on real directories: the contract of backends, what becomes of flushes, refusals.
//!
//! Where the kernel refuses io_uring each test says so and checks nothing. One test runs at a time:
//! rings and registered memory count against the limit of locked memory of the user, whatever process
//! has them, and are given back a while after they are closed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::Cell;
use std::fs;
use std::io::{ErrorKind, IoSlice, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wal_io::backend::FileStorage;
use wal_io::{Access, Storage};
use wal_sim::contract;
use wal_uring::{Joining, UringError, UringOptions, UringStorage};

/// How long memory of rings that are closed may take to be given back.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether waiting for memory has been in vain: then nobody waits again.
static IN_VAIN: AtomicBool = AtomicBool::new(false);

/// Held by the test that runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the limit of locked memory is what was met.
fn is_limit(error: &UringError) -> bool {
    use UringError::{Registration, Unavailable};
    matches!(error, Registration { source, .. } | Unavailable { source }
        if source.kind() == ErrorKind::OutOfMemory)
}

/// Opens, and tries again while the memory of rings before may still be on its way back.
fn open_patiently(path: &Path, options: UringOptions) -> Result<UringStorage, UringError> {
    let began = Instant::now();
    let waits = || !IN_VAIN.load(Ordering::Relaxed) && began.elapsed() < PATIENCE;
    loop {
        match UringStorage::open_with(path, options) {
            Err(error) if is_limit(&error) && waits() => thread::sleep(Duration::from_millis(5)),
            opened => return opened,
        }
    }
}

/// A storage, unless this system refuses io_uring, or its file system direct I/O, or its limit of
/// locked memory even the smallest storage.
fn open(path: &Path, options: UringOptions) -> Option<UringStorage> {
    let smallest = || UringStorage::open_with(path, options.lanes(1).lane_bytes(4096));
    let why = match open_patiently(path, options) {
        Ok(storage) => return Some(storage),
        Err(error) if is_limit(&error) => {
            assert!(smallest().is_err_and(|error| is_limit(&error)), "{error}");
            IN_VAIN.store(true, Ordering::Relaxed);
            error.to_string()
        }
        Err(error @ UringError::Unavailable { .. }) => error.to_string(),
        Err(error) if error.to_string().contains("refuses direct I/O") => error.to_string(),
        Err(error) => panic!("{error}"),
    };
    // The harness swallows what `eprintln!` says in a test that passes.
    let said = format!("SKIPPED, nothing was checked: {why}\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    None
}

/// Nothing here needs more of a lane than this, and locked memory is scarce.
fn small() -> UringOptions {
    UringOptions::default().lanes(2).lane_bytes(16 << 10)
}

fn fresh(options: UringOptions) -> Option<(TempDir, UringStorage)> {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path(), options)?;
    Some((dir, storage))
}

/// Every way to keep a log through io_uring.
fn ways() -> Vec<UringOptions> {
    let mut ways = Vec::new();
    for direct in [false, true] {
        for joining in [Joining::Durable, Joining::Linked] {
            for registered in [true, false] {
                ways.push(small().direct(direct).joining(joining).registered(registered));
            }
        }
    }
    ways
}

fn keeps_the_contract(options: UringOptions) {
    let root = tempfile::tempdir().unwrap();
    if open(root.path(), options).is_none() {
        return;
    }
    let made = Cell::new(0);
    let make = || -> Arc<dyn Storage> {
        made.set(made.get() + 1);
        let path = root.path().join(made.get().to_string());
        Arc::new(open_patiently(&path, options.lanes(1)).unwrap())
    };
    if let Err(broken) = contract::run(make) {
        panic!("{options:?}: {broken}");
    }
}

#[test]
fn buffered_storage_keeps_the_contract() {
    let _alone = alone();
    keeps_the_contract(small());
}

#[test]
fn direct_storage_keeps_the_contract() {
    let _alone = alone();
    keeps_the_contract(small().direct(true));
}

#[test]
fn durable_writes_of_every_way_are_read_back_by_every_backend() {
    let _alone = alone();
    for options in ways() {
        let Some((dir, storage)) = fresh(options) else { continue };
        drop(storage.create("a", 1 << 20).unwrap());
        let file = storage.open("a", Access::Write).unwrap();
        assert!(file.joins_sync());
        for part in 0..8_u8 {
            let bytes = vec![part + 1; 4096];
            let (one, two) = bytes.split_at(1000);
            let bufs = [one, &[], two].map(IoSlice::new);
            assert_eq!(file.write_durable_at(&bufs, u64::from(part) * 4096).unwrap(), 4096);
        }
        assert_eq!((storage.counts().joined, storage.counts().apart), (8, 0), "{options:?}");
        let plain = FileStorage::open_existing(dir.path()).unwrap();
        let mut back = vec![0; 9 * 4096];
        let read = plain.open("a", Access::Read).unwrap().read_at(&mut back, 0).unwrap();
        assert_eq!(read, back.len());
        let expected = |part: u8| if part < 8 { part + 1 } else { 0 };
        for (part, bytes) in (0..).zip(back.chunks(4096)) {
            assert!(bytes.iter().all(|byte| *byte == expected(part)), "{options:?} {part}");
        }
    }
}

#[test]
fn threads_flush_at_once_more_than_there_are_lanes() {
    let _alone = alone();
    for options in ways() {
        let Some((_dir, storage)) = fresh(options) else { continue };
        drop(storage.create("a", 1 << 20).unwrap());
        let open = || storage.open("a", Access::Write).unwrap();
        thread::scope(|scope| {
            for slot in 0..6_u64 {
                let file = open();
                scope.spawn(move || {
                    for round in 0..10 {
                        let bytes = [(slot + 1) as u8; 4096];
                        let offset = (round * 6 + slot) * 4096;
                        let count = file.write_durable_at(&[IoSlice::new(&bytes)], offset);
                        assert_eq!(count.unwrap(), 4096);
                    }
                });
            }
        });
        let counts = storage.counts();
        assert_eq!(counts.joined + counts.apart, 60);
        assert!(counts.joined > 0);
        let mut back = vec![0; 60 * 4096];
        assert_eq!(open().read_at(&mut back, 0).unwrap(), back.len());
        for (slot, bytes) in (0..6).cycle().zip(back.chunks(4096)) {
            assert!(bytes.iter().all(|byte| *byte == slot + 1), "{options:?}");
        }
    }
}

#[test]
fn what_is_longer_than_a_lane_is_durable_all_the_same() {
    let _alone = alone();
    let Some((_dir, storage)) = fresh(small().lane_bytes(4096)) else { return };
    let file = storage.create("a", 0).unwrap();
    let bytes = vec![3; 5000];
    assert_eq!(file.write_durable_at(&[IoSlice::new(&bytes)], 0).unwrap(), 5000);
    assert_eq!((storage.counts().joined, storage.counts().apart), (0, 1));
}

#[test]
fn a_misaligned_direct_write_is_refused_in_the_words_of_the_file_below() {
    let _alone = alone();
    let Some((_dir, storage)) = fresh(small().direct(true)) else { return };
    let file = storage.create("a", 8192).unwrap();
    for (bytes, offset) in [(100, 0), (4096, 100)] {
        let bytes = vec![1; bytes];
        let error = file.write_durable_at(&[IoSlice::new(&bytes)], offset).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(storage.counts().joined, 0);
}

#[test]
fn a_file_opened_for_reading_takes_no_durable_write() {
    let _alone = alone();
    let Some((_dir, storage)) = fresh(small()) else { return };
    drop(storage.create("a", 100).unwrap());
    let file = storage.open("a", Access::Read).unwrap();
    let error = file.write_durable_at(&[IoSlice::new(b"x")], 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_full_device_is_an_error_and_not_a_short_success() {
    let _alone = alone();
    let Some((dir, _)) = fresh(small()) else { return };
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    // A link to the device that is always full, as a file of the log.
    std::os::unix::fs::symlink(full, dir.path().join("full")).unwrap();
    for joining in [Joining::Durable, Joining::Linked] {
        let Some(storage) = open(dir.path(), small().joining(joining)) else { return };
        let file = storage.open("full", Access::Write).unwrap();
        let error = file.write_durable_at(&[IoSlice::new(b"x")], 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{joining:?}: {error}");
        assert_eq!(storage.counts().joined, 1, "it did go through the ring");
    }
}

#[test]
fn a_path_that_is_a_file_is_refused_as_by_the_backend_below() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    if open(dir.path(), small()).is_none() {
        return;
    }
    let path = dir.path().join("file");
    fs::write(&path, b"").unwrap();
    let error = open_patiently(&path, small()).unwrap_err();
    assert!(matches!(error, UringError::Storage(_)), "{error}");
}

#[test]
fn opening_leaves_nothing_in_the_directory() {
    let _alone = alone();
    let Some((dir, storage)) = fresh(small().direct(true)) else { return };
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(storage.path(), dir.path().canonicalize().unwrap());
    assert_eq!((storage.counts().joined, storage.counts().apart), (0, 0));
}
