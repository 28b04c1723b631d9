//! A log that goes on near the end of a segment has a short successor at first: whatever the
//! options allow is taken all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io;
use std::sync::Arc;

use wal::{Options, ReplayRecord, Threads, Wal};
use wal_sim::{CrashMode, SimDisk};

/// What a new log leaves of its first segment, when it is closed: less than asks for a successor
/// later, and nothing was ever synced, so that none was made.
const FIRST_BYTES: usize = 900 << 10;

fn options() -> Options {
    let options = Options::default().segment_bytes(16 << 20).buffer_bytes(32 << 20);
    options.threads(Threads::None)
}

fn open(disk: &SimDisk) -> (Wal, Vec<usize>) {
    let mut found = Vec::new();
    let replay = |record: &ReplayRecord<'_>| {
        assert!(record.body.iter().all(|byte| *byte == 7));
        found.push(record.body.len());
        Ok::<(), io::Error>(())
    };
    let wal = Wal::open_in(Arc::new(disk.clone()), options(), replay).unwrap();
    (wal, found)
}

/// A log that was opened again where little is left of its first segment.
fn nearly_full() -> (SimDisk, Wal) {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk);
    drop(wal.append(&vec![7; FIRST_BYTES]).unwrap());
    wal.close().unwrap();
    drop(wal);
    let (wal, found) = open(&disk);
    assert_eq!(found, [FIRST_BYTES]);
    (disk, wal)
}

#[test]
fn r18_a_record_that_is_longer_than_the_short_successor_is_taken() {
    let (disk, wal) = nearly_full();
    let bytes = (3 << 20) / 2;
    assert!(bytes as u64 + 64 < wal.batch_bytes_max());
    wal.append(&vec![7; bytes]).unwrap().wait_durable().unwrap();
    let (_, found) = open(&disk.crash(CrashMode::LoseAll));
    assert_eq!(found, [FIRST_BYTES, bytes]);
}

#[test]
fn r18_a_batch_that_is_longer_than_the_short_successor_is_taken() {
    let (disk, wal) = nearly_full();
    let body = vec![7; 300 << 10];
    let batch = [&body[..]; 5];
    wal.append_batch(&batch).unwrap().wait_durable().unwrap();
    let (_, found) = open(&disk.crash(CrashMode::LoseAll));
    assert_eq!(found, [&[FIRST_BYTES][..], &[body.len(); 5]].concat());
}
