//! Space promised to later records, against a disk that can be full.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{Disk, Prepare, Sink, append, no_space, try_to_append};
use wal_commit::{CommitConfig, CommitError, Fate, GroupCommit, Threads};
use wal_format::Lsn;
use wal_io::{IoError, Preparer};

const SEGMENT: u64 = 64 << 10;

/// A preparer which holds segments back, on a disk that can be full.
#[derive(Debug)]
struct Holding {
    inner: Prepare,
    held: AtomicU64,
    full: AtomicBool,
}

impl Holding {
    fn full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}

impl Preparer for Holding {
    fn prepare(&self, base: Lsn, capacity_bytes: u64) -> Result<Lsn, IoError> {
        if self.full() {
            if self.held_back() == 0 {
                return Err(no_space());
            }
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
        self.inner.prepare(base, capacity_bytes)
    }

    fn prepare_from_held(&self, base: Lsn) -> Result<Lsn, IoError> {
        assert!(self.held_back() > 0, "there is a surplus");
        self.held.fetch_sub(1, Ordering::Relaxed);
        self.inner.prepare(base, SEGMENT)
    }

    fn hold_back(&self, segments: u64) -> Result<u64, IoError> {
        if self.held_back() < segments && self.full() {
            return Err(no_space());
        }
        Ok(self.held.fetch_max(segments, Ordering::Relaxed).max(segments))
    }

    fn held_back(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    fn segment_bytes(&self) -> u64 {
        SEGMENT
    }
}

fn start() -> (GroupCommit, Arc<Holding>) {
    let disk = Arc::new(Disk::new(SEGMENT));
    let (held, full) = (AtomicU64::new(0), AtomicBool::new(false));
    let holding = Arc::new(Holding { inner: Prepare(disk.clone()), held, full });
    let mut config = CommitConfig::default();
    // The buffer is larger than the segments: nothing is flushed, and so prepared, by itself.
    config.buffer_bytes = 1 << 20;
    config.threads = Threads::None;
    let sink = Box::new(Sink(disk.clone()));
    (GroupCommit::start(config, disk.start(), vec![sink], holding.clone()).unwrap(), holding)
}

/// What a segment counts for: 16 KiB is the longest record that is promised a place.
const COUNTED: u64 = SEGMENT - SEGMENT / 4 - 24;

#[test]
fn the_first_promise_has_a_segment_held_back_and_more_follow_as_needed() {
    let (log, holding) = start();
    assert_eq!(log.earmarked_record_bytes_max(), SEGMENT / 4);
    log.earmark(0).unwrap();
    assert_eq!((holding.held_back(), log.earmarked_bytes()), (0, 0));
    log.earmark(8).unwrap();
    assert_eq!((holding.held_back(), log.earmarked_bytes()), (1, 8));
    log.earmark(2 * COUNTED).unwrap();
    assert_eq!(holding.held_back(), 2, "with the successor that is ready");
    log.unearmark(2 * COUNTED + 8);
    assert_eq!(log.earmarked_bytes(), 0);
}

#[test]
fn a_promise_that_cannot_be_kept_is_refused_and_changes_nothing() {
    let (log, holding) = start();
    log.earmark(8).unwrap();
    holding.full.store(true, Ordering::Relaxed);
    let refused = log.earmark(2 * COUNTED).unwrap_err();
    assert!(matches!(refused, CommitError::NoSpace(_)), "{refused}");
    assert_eq!((refused.fate(), log.earmarked_bytes()), (Fate::NotCommitted, 8));
    let refused = log.earmark(u64::MAX).unwrap_err();
    assert!(matches!(refused, CommitError::NoRoom { bytes: u64::MAX }), "{refused}");
    log.earmark(2 * COUNTED - 8).unwrap();
}

#[test]
fn a_rotation_takes_the_successor_out_of_what_can_be_promised_at_once() {
    let (log, holding) = start();
    log.earmark(COUNTED).unwrap();
    holding.full.store(true, Ordering::Relaxed);
    // Into the successor; nothing is flushed, so no other one is made ready behind it.
    for _ in 0..9 {
        let _ticket = append(&log, &[1; 8000]);
    }
    log.earmark(8).unwrap_err();
    log.unearmark(8);
    log.earmark(8).unwrap();
}

#[test]
fn what_was_promised_has_its_place_when_the_disk_is_full() {
    let (log, holding) = start();
    let record = SEGMENT / 4;
    let body = vec![1; record as usize - 24];
    let mut promised = 0;
    while holding.held_back() < 5 {
        log.earmark(record).unwrap();
        promised += 1;
    }
    holding.full.store(true, Ordering::Relaxed);
    while log.earmark(record).is_ok() {
        promised += 1;
    }
    assert!(promised > 15, "{promised}");
    for _ in 0..promised {
        let ticket = append(&log, &body);
        log.unearmark(record);
        ticket.wait_written().unwrap();
    }
    assert_eq!(log.earmarked_bytes(), 0);
    // Nobody else is promised anything any more: all of it may be used up, and then no more.
    while try_to_append(&log, &body).is_ok() {}
    assert!(matches!(try_to_append(&log, &body), Err(CommitError::NoSpace(_))));
    assert_eq!(holding.held_back(), 0);
}

#[test]
fn what_is_held_back_beyond_need_becomes_segments_first() {
    let (log, holding) = start();
    log.earmark(4 * COUNTED).unwrap();
    let most = holding.held_back();
    assert_eq!(most, 3);
    log.unearmark(4 * COUNTED);
    for _ in 0..60 {
        append(&log, &[1; 8000]).wait_written().unwrap();
    }
    assert_eq!(holding.held_back(), 1, "one stays");
}

#[test]
fn a_closed_log_promises_nothing_more() {
    let (log, _holding) = start();
    log.close().unwrap();
    assert!(matches!(log.earmark(8), Err(CommitError::Closed)));
}
