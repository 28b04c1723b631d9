//! Segments made beside commits, in pieces with rests: nobody waits for a rest.
//!
//! The preparer here rests for an hour in each segment, so that whoever waits for one is seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{Disk, Gate, Prepare, Sink, append, try_to_append};
use wal_commit::{CommitConfig, CommitError, GroupCommit, SyncPolicy};
use wal_format::{Lsn, RecordDraft, RecordKind};
use wal_io::{IoError, Preparer, Rest, Rested};

const SEGMENT: u64 = 64 << 10;
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Resting {
    inner: Prepare,
    next_bytes: u64,
    made: AtomicU64,
    resting: Shown,
    /// Closed: it does not look whether its rest is over.
    held: Shown,
}

#[derive(Clone)]
struct Shown(Arc<Gate>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl Preparer for Resting {
    fn prepare(&self, base: Lsn, capacity_bytes: u64) -> Result<Lsn, IoError> {
        self.inner.prepare(base, capacity_bytes)
    }

    fn prepare_next(&self, base: Lsn, rest: Option<Rest<'_>>) -> Result<Lsn, IoError> {
        self.made.fetch_add(1, Ordering::Relaxed);
        if let Some(rest) = rest {
            self.resting.0.open();
            self.held.0.pass();
            if rest(HOUR) == Rested::Stop {
                return Err(IoError::Closed { place: "here".to_owned() });
            }
        }
        self.inner.prepare(base, self.next_bytes)
    }

    fn segment_bytes(&self) -> u64 {
        SEGMENT
    }
}

/// A log whose segments made ahead are `next_bytes` long.
fn start(next_bytes: u64) -> (GroupCommit, Arc<Disk>, Arc<Resting>) {
    let (log, disk, preparer) = start_held(next_bytes);
    preparer.held.0.open();
    (log, disk, preparer)
}

/// The same, and no rest ends before the test opens `held`.
fn start_held(next_bytes: u64) -> (GroupCommit, Arc<Disk>, Arc<Resting>) {
    let disk = Arc::new(Disk::new(SEGMENT));
    let made = AtomicU64::new(0);
    let [resting, held] = [(); 2].map(|()| Shown(Gate::new()));
    let preparer = Resting { inner: Prepare(disk.clone()), next_bytes, made, resting, held };
    let preparer = Arc::new(preparer);
    let mut config = CommitConfig::default();
    config.buffer_bytes = 64 << 10;
    config.policy = SyncPolicy::EveryCommit;
    config.idle_after = None;
    let sink = Box::new(Sink(disk.clone()));
    let log = GroupCommit::start(config, disk.start(), vec![sink], preparer.clone()).unwrap();
    (log, disk, preparer)
}

/// Fails a test that would wait for a rest to end.
fn within_a_minute(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match ended.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("somebody waits for a rest to end"),
        _ => thread.join().unwrap(),
    }
}

/// Fills the segments that are there from the start, but for little, while the next one is made.
fn fill(log: &GroupCommit, preparer: &Resting) {
    for _ in 0..120 {
        append(log, &[7; 1000]).wait_durable().unwrap();
    }
    preparer.resting.0.pass();
}

#[test]
fn r12_an_append_that_needs_the_segment_ends_the_rest() {
    within_a_minute(|| {
        let (log, disk, preparer) = start(SEGMENT / 4);
        for _ in 0..300 {
            append(&log, &[7; 1000]).wait_durable().unwrap();
        }
        assert_eq!(disk.bodies().len(), 300);
        assert!(preparer.made.load(Ordering::Relaxed) > 5, "segments are short");
        log.close().unwrap();
    });
}

#[test]
fn a_try_that_needs_the_segment_ends_the_rest() {
    within_a_minute(|| {
        let (log, _disk, preparer) = start(SEGMENT);
        fill(&log, &preparer);
        let draft = RecordDraft::new(RecordKind::DATA, &[&[7; 1000]]);
        let mut appended = 0;
        while appended < 100 {
            match log.try_append(&draft, &mut |_| {}) {
                Ok(_) => appended += 1,
                Err(CommitError::WouldBlock) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        log.close().unwrap();
    });
}

#[test]
fn r18_a_record_too_large_for_the_buffer_ends_the_rest() {
    within_a_minute(|| {
        let (log, disk, preparer) = start(SEGMENT);
        fill(&log, &preparer);
        append(&log, &[8; 50_000]).wait_durable().unwrap();
        assert_eq!(disk.bodies().len(), 121);
        log.close().unwrap();
    });
}

#[test]
fn a_close_ends_the_rest() {
    within_a_minute(|| {
        let (log, disk, preparer) = start(SEGMENT);
        fill(&log, &preparer);
        log.close().unwrap();
        assert_eq!(disk.bodies().len(), 120);
        assert_eq!(log.stats().preparations_failed, 0, "given up is not failed");
    });
}

#[test]
fn an_append_that_waits_for_a_segment_given_up_for_a_close_is_told_of_the_close() {
    within_a_minute(|| {
        let (log, disk, preparer) = start_held(SEGMENT);
        fill(&log, &preparer);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                loop {
                    if let Err(error) = try_to_append(&log, &[7; 1000]) {
                        return error;
                    }
                }
            });
            while log.stats().segment_waits == 0 {
                std::thread::yield_now();
            }
            let closing = scope.spawn(|| log.close());
            let draft = RecordDraft::new(RecordKind::DATA, &[&[7; 1000]]);
            while !matches!(log.try_append(&draft, &mut |_| {}), Err(CommitError::Closed)) {
                std::thread::yield_now();
            }
            preparer.held.0.open();
            let told = waiting.join().unwrap();
            assert!(matches!(told, CommitError::Closed), "{told}");
            closing.join().unwrap().unwrap();
        });
        assert!(disk.bodies().len() >= 120);
        assert_eq!(log.stats().preparations_failed, 0);
    });
}

#[test]
fn letting_the_log_go_ends_the_rest() {
    within_a_minute(|| {
        let (log, _disk, preparer) = start(SEGMENT);
        fill(&log, &preparer);
        drop(log);
        while Arc::strong_count(&preparer) > 1 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_record_that_a_short_segment_cannot_hold_gets_a_normal_one() {
    within_a_minute(|| {
        let (log, disk, _preparer) = start(4096);
        for _ in 0..30 {
            append(&log, &[7; 20_000]).wait_durable().unwrap();
        }
        assert_eq!(disk.bodies().len(), 30);
        log.close().unwrap();
    });
}

#[test]
fn a_segment_longer_than_any_that_was_asked_for_poisons_the_log() {
    within_a_minute(|| {
        let (log, _disk, _preparer) = start(SEGMENT + 4096);
        let poisoned = (0..300).find_map(|_| try_to_append(&log, &[7; 1000]).err());
        assert!(poisoned.is_some(), "it goes on");
    });
}
