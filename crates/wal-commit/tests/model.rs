//! Every interleaving of small logs: loom runs each scenario through all of them.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p wal-commit --test model --release`
//!
//! In all of them: `durable <= written <= reserved`; nothing is acknowledged before a sync that
//! covers it has returned success; nothing is acknowledged after poison, unless it was durable
//! before; nothing is written or synced after a failure; nobody sleeps for ever (loom reports a
//! deadlock).
#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{self, IoSlice};
use std::sync::Arc;
// The oracle: plain cells, which the model does not see. It runs one thread at a time.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use loom::thread;
use wal_commit::{
    CommitConfig, CommitError, Durability, GroupCommit, PoisonCause, Start, SyncPolicy, Threads,
    Ticket,
};
use wal_format::{Epoch, LogId, Lsn, RecordKind, RecordSeed};
use wal_io::{IoError, IoOp, LogSink, Preparer};

#[path = "model/relief.rs"]
mod relief;

const START: u64 = 4096;

/// What the device knows, and what it is to do.
#[derive(Debug, Default)]
struct Oracle {
    written: AtomicU64,
    synced: AtomicU64,
    syncs: AtomicU64,
    /// The sync with this number fails.
    fail_sync: u64,
    /// The write with this number fails.
    fail_write: u64,
    writes: AtomicU64,
    failed: AtomicBool,
    /// Seen by the model: whatever touches the device may be interrupted there.
    device: loom::sync::atomic::AtomicU64,
}

impl Oracle {
    fn work(&self) {
        self.device.fetch_add(1, loom::sync::atomic::Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct Sink(Arc<Oracle>);

impl LogSink for Sink {
    fn write(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError> {
        let oracle = &self.0;
        assert!(!oracle.failed.load(SeqCst), "a write after a failure");
        oracle.work();
        if oracle.writes.fetch_add(1, SeqCst) + 1 == oracle.fail_write {
            oracle.failed.store(true, SeqCst);
            return Err(IoError::failed(IoOp::Write, "model", io::Error::other("write")));
        }
        assert_eq!(oracle.written.load(SeqCst), at.get(), "bytes come in order");
        let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        oracle.written.store(at.get() + bytes as u64, SeqCst);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), IoError> {
        let oracle = &self.0;
        assert!(!oracle.failed.load(SeqCst), "a sync after a failure: never retried");
        let covered = oracle.written.load(SeqCst);
        // Others run while the device works: what they append now is not covered.
        oracle.work();
        if oracle.syncs.fetch_add(1, SeqCst) + 1 == oracle.fail_sync {
            oracle.failed.store(true, SeqCst);
            return Err(IoError::failed(IoOp::Sync, "model", io::Error::other("sync")));
        }
        oracle.synced.store(covered, SeqCst);
        Ok(())
    }

    fn block_bytes(&self) -> usize {
        1
    }

    fn can_promise(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Segments;

impl Preparer for Segments {
    fn prepare(&self, base: Lsn, capacity_bytes: u64) -> Result<Lsn, IoError> {
        thread::yield_now();
        Ok(base.checked_add(capacity_bytes).expect("addresses suffice"))
    }

    fn segment_bytes(&self) -> u64 {
        4096
    }
}

fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw).expect("a multiple of 8")
}

/// A log with the smallest buffer, in an empty segment, with a successor.
fn start(oracle: Oracle, policy: SyncPolicy) -> (GroupCommit, Arc<Oracle>) {
    start_in(oracle, 4096, true, policy)
}

/// The same, with `left` bytes in the segment, and with or without a successor.
fn start_in(
    oracle: Oracle,
    left: u64,
    successor: bool,
    policy: SyncPolicy,
) -> (GroupCommit, Arc<Oracle>) {
    let active_end = lsn(START + 4096);
    let end = lsn(active_end.get() - left);
    oracle.written.store(end.get(), SeqCst);
    oracle.synced.store(end.get(), SeqCst);
    let oracle = Arc::new(oracle);
    let seed = RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::FIRST);
    let ready_end = if successor { lsn(START + 8192) } else { active_end };
    let at = Start { end, durable: end, active_end, ready_end, seed };
    let mut config = CommitConfig::default();
    config.buffer_bytes = CommitConfig::BUFFER_BYTES_MIN;
    config.policy = policy;
    config.threads = Threads::None;
    config.slow_sync = None;
    let sink = Box::new(Sink(oracle.clone()));
    (GroupCommit::start(config, at, vec![sink], Arc::new(Segments)).expect("it starts"), oracle)
}

fn append(log: &GroupCommit, bytes: usize) -> Result<Ticket, CommitError> {
    // First the way of an append that finds nothing to decide, then, if it does, the general one.
    log.append_unhooked(RecordKind::DATA, &[1; 512][..bytes])
}

fn check(log: &GroupCommit, oracle: &Oracle) {
    let positions = log.positions();
    assert!(positions.durable <= positions.written && positions.written <= positions.reserved);
    assert!(positions.durable.get() <= oracle.synced.load(SeqCst), "durable before it was synced");
    assert!(positions.written.get() <= oracle.written.load(SeqCst), "written before it was");
}

/// Appends and waits; an acknowledgement must be true. Returns whether there was one.
fn commit(log: &GroupCommit, oracle: &Oracle, bytes: usize) -> bool {
    let Ok(ticket) = append(log, bytes) else {
        assert!(log.is_poisoned(), "only poison refuses here");
        return false;
    };
    acknowledge(log, oracle, &ticket)
}

fn acknowledge(log: &GroupCommit, oracle: &Oracle, ticket: &Ticket) -> bool {
    let outcome = ticket.wait_durable();
    match &outcome {
        Ok(()) => {
            let synced = oracle.synced.load(SeqCst);
            assert!(ticket.end().get() <= synced, "acknowledged before a sync covered it");
        }
        Err(CommitError::Poisoned { .. }) => assert!(log.is_poisoned()),
        Err(other) => panic!("unexpected: {other}"),
    }
    check(log, oracle);
    outcome.is_ok()
}

/// Runs `scenario` through all interleavings with at most this many preemptions, or through all.
fn model(preemptions: impl Into<Option<usize>>, scenario: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions.into();
    let runs = Arc::new(AtomicU64::new(0));
    let counter = runs.clone();
    builder.check(move || {
        counter.fetch_add(1, SeqCst);
        scenario();
    });
    let runs = runs.load(SeqCst);
    println!("{runs} interleavings");
    assert!(runs > 10, "only {runs} interleavings: the model sees no race");
}

#[test]
fn two_committers_are_acknowledged_by_a_sync_that_covers_them() {
    model(None, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::EveryCommit);
        let other = {
            let (log, oracle) = (log.clone(), oracle.clone());
            thread::spawn(move || assert!(commit(&log, &oracle, 8)))
        };
        assert!(commit(&log, &oracle, 8));
        other.join().unwrap();
        check(&log, &oracle);
        assert!(oracle.syncs.load(SeqCst) <= 2);
    });
}

#[test]
fn three_committers_never_lose_a_wake_up() {
    model(3, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::EveryCommit);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (log, oracle) = (log.clone(), oracle.clone());
                thread::spawn(move || assert!(commit(&log, &oracle, 8)))
            })
            .collect();
        assert!(commit(&log, &oracle, 8));
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(oracle.syncs.load(SeqCst) <= 3);
    });
}

#[test]
fn gathering_loses_nobody() {
    model(3, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::Group);
        let other = {
            let (log, oracle) = (log.clone(), oracle.clone());
            thread::spawn(move || {
                assert!(commit(&log, &oracle, 8));
                assert!(commit(&log, &oracle, 8));
            })
        };
        assert!(commit(&log, &oracle, 8));
        assert!(commit(&log, &oracle, 8));
        other.join().unwrap();
    });
}

#[test]
fn gathering_by_the_square_root_loses_nobody() {
    model(3, || {
        let policy = SyncPolicy::SquareRoot { wait_cost_percent: 100 };
        let (log, oracle) = start(Oracle::default(), policy);
        let other = {
            let (log, oracle) = (log.clone(), oracle.clone());
            thread::spawn(move || {
                assert!(commit(&log, &oracle, 8));
                assert!(commit(&log, &oracle, 8));
            })
        };
        assert!(commit(&log, &oracle, 8));
        other.join().unwrap();
    });
}

#[test]
fn after_a_failed_sync_nothing_more_is_acknowledged() {
    for fail_sync in [1, 2] {
        model(3, move || {
            let oracle = Oracle { fail_sync, ..Oracle::default() };
            let (log, oracle) = start(oracle, SyncPolicy::EveryCommit);
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let (log, oracle) = (log.clone(), oracle.clone());
                    thread::spawn(move || commit(&log, &oracle, 8))
                })
                .collect();
            commit(&log, &oracle, 8);
            for other in others {
                other.join().unwrap();
            }
            let durable = log.positions().durable;
            if log.is_poisoned() {
                assert!(!commit(&log, &oracle, 8), "poison ends all promises");
                assert_eq!(log.positions().durable, durable, "and positions stay");
            }
            check(&log, &oracle);
        });
    }
}

#[test]
fn after_a_failed_write_nothing_more_is_acknowledged() {
    model(None, || {
        let oracle = Oracle { fail_write: 2, ..Oracle::default() };
        let (log, oracle) = start(oracle, SyncPolicy::EveryCommit);
        let other = {
            let (log, oracle) = (log.clone(), oracle.clone());
            thread::spawn(move || {
                commit(&log, &oracle, 8);
                commit(&log, &oracle, 8)
            })
        };
        commit(&log, &oracle, 8);
        other.join().unwrap();
        check(&log, &oracle);
    });
}

#[test]
fn poison_from_outside_races_with_a_commit() {
    model(None, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::EveryCommit);
        let poisoner = {
            let log = log.clone();
            thread::spawn(move || {
                log.poison(PoisonCause::requested("model"));
                log.positions().durable
            })
        };
        let ticket = append(&log, 8);
        let acknowledged = ticket.is_ok_and(|ticket| acknowledge(&log, &oracle, &ticket));
        let at_poison = poisoner.join().unwrap();
        assert_eq!(log.positions().durable, at_poison, "nothing is published after poison");
        assert!(!acknowledged || at_poison > lsn(START), "acknowledged means durable before");
    });
}

#[test]
fn written_and_durable_waiters_do_not_starve_one_another() {
    model(None, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::EveryCommit);
        let other = {
            let (log, oracle) = (log.clone(), oracle.clone());
            thread::spawn(move || {
                let ticket = append(&log, 8).unwrap();
                ticket.wait(Durability::Written).unwrap();
                assert!(ticket.end().get() <= oracle.written.load(SeqCst));
            })
        };
        assert!(commit(&log, &oracle, 8));
        other.join().unwrap();
    });
}

#[test]
fn a_full_buffer_wakes_those_who_wait_for_room() {
    model(3, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::EveryCommit);
        // Half the buffer holds one such record, so every second append has to make room.
        let other = {
            let (log, oracle) = (log.clone(), oracle.clone());
            thread::spawn(move || assert!(commit(&log, &oracle, 200)))
        };
        let first = append(&log, 200).unwrap();
        let second = append(&log, 200).unwrap();
        assert!(acknowledge(&log, &oracle, &first) && acknowledge(&log, &oracle, &second));
        other.join().unwrap();
    });
}

#[test]
fn an_append_waits_for_the_segment_that_another_one_prepares() {
    model(4, || {
        let policy = SyncPolicy::EveryCommit;
        let (log, oracle) = start_in(Oracle::default(), 24, false, policy);
        let other = {
            let (log, oracle) = (log.clone(), oracle.clone());
            thread::spawn(move || assert!(commit(&log, &oracle, 200)))
        };
        assert!(commit(&log, &oracle, 200));
        other.join().unwrap();
        check(&log, &oracle);
    });
}

#[test]
fn a_tailing_reader_hears_of_poison() {
    model(None, || {
        let oracle = Oracle { fail_sync: 1, ..Oracle::default() };
        let (log, oracle) = start(oracle, SyncPolicy::EveryCommit);
        let reader = {
            let log = log.clone();
            thread::spawn(move || log.wait_beyond(lsn(START), None).is_err())
        };
        assert!(!commit(&log, &oracle, 8));
        assert!(reader.join().unwrap(), "nothing became durable");
    });
}

#[test]
fn an_oversized_record_keeps_others_out_and_lets_them_in_again() {
    // All of them are too many to wait for since the lock is two in one.
    model(8, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::EveryCommit);
        let other = {
            let (log, oracle) = (log.clone(), oracle.clone());
            thread::spawn(move || assert!(commit(&log, &oracle, 8)))
        };
        // More than the limit for batches in the smallest buffer.
        assert!(commit(&log, &oracle, 240));
        other.join().unwrap();
        check(&log, &oracle);
    });
}

#[test]
fn a_close_races_with_a_commit() {
    model(None, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::EveryCommit);
        let other = {
            let (log, oracle) = (log.clone(), oracle.clone());
            thread::spawn(move || match append(&log, 8) {
                Err(error) => assert!(matches!(error, CommitError::Closed), "{error}"),
                Ok(ticket) => assert!(acknowledge(&log, &oracle, &ticket), "close keeps it"),
            })
        };
        let end = log.close().unwrap();
        assert_eq!(oracle.synced.load(SeqCst), end.get());
        other.join().unwrap();
    });
}

#[test]
fn a_tailing_reader_is_told() {
    model(None, || {
        let (log, oracle) = start(Oracle::default(), SyncPolicy::EveryCommit);
        let reader = {
            let (log, oracle) = (log.clone(), oracle.clone());
            thread::spawn(move || {
                let durable = log.wait_beyond(lsn(START), None).unwrap();
                assert!(durable.get() <= oracle.synced.load(SeqCst));
            })
        };
        assert!(commit(&log, &oracle, 8));
        reader.join().unwrap();
    });
}

/// What a device with several slots knows: which bytes were written and which a sync has covered,
/// in units of 8 bytes from `START`.
#[derive(Debug, Default)]
struct Bytes {
    written: AtomicU64,
    synced: AtomicU64,
    failed: AtomicBool,
    syncs: AtomicU64,
    fail_sync: u64,
    device: loom::sync::atomic::AtomicU64,
    /// Two writes that are in the air together, where a scenario is about that.
    together: Option<relief::Together>,
}

impl Bytes {
    fn work(&self) {
        self.device.fetch_add(1, loom::sync::atomic::Ordering::SeqCst);
    }

    /// Everything before this is synced.
    fn whole(&self) -> u64 {
        START + 8 * u64::from(self.synced.load(SeqCst).trailing_ones())
    }
}

/// One slot: its syncs cover what was written through it.
#[derive(Debug)]
struct SlotSink {
    bytes: Arc<Bytes>,
    mine: u64,
}

impl LogSink for SlotSink {
    fn write(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError> {
        self.bytes.work();
        if let Some(together) = &self.bytes.together {
            together.meet();
        }
        let written: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mask = ((1 << (written / 8)) - 1) << ((at.get() - START) / 8);
        assert_eq!(self.bytes.written.fetch_or(mask, SeqCst) & mask, 0, "bytes are written once");
        self.mine |= mask;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), IoError> {
        let covered = self.mine;
        self.bytes.work();
        if self.bytes.syncs.fetch_add(1, SeqCst) + 1 == self.bytes.fail_sync {
            self.bytes.failed.store(true, SeqCst);
            return Err(IoError::failed(IoOp::Sync, "model", io::Error::other("sync")));
        }
        self.bytes.synced.fetch_or(covered, SeqCst);
        Ok(())
    }

    fn block_bytes(&self) -> usize {
        1
    }

    fn can_promise(&self) -> bool {
        true
    }
}

/// Segments, and what the commit path says to be durable: evidence, so it must be true.
#[derive(Debug)]
struct Noted(Arc<Bytes>);

impl Preparer for Noted {
    fn prepare(&self, base: Lsn, capacity_bytes: u64) -> Result<Lsn, IoError> {
        Segments.prepare(base, capacity_bytes)
    }

    fn segment_bytes(&self) -> u64 {
        4096
    }

    fn note_durable(&self, end: Lsn) {
        assert!(end.get() <= self.0.whole(), "noted as durable before it was");
    }
}

fn start_slots(bytes: Bytes, slots: usize) -> (GroupCommit, Arc<Bytes>) {
    start_slots_by(SyncPolicy::EveryCommit, bytes, slots)
}

fn start_slots_by(policy: SyncPolicy, bytes: Bytes, slots: usize) -> (GroupCommit, Arc<Bytes>) {
    let bytes = Arc::new(bytes);
    let seed = RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::FIRST);
    let (end, active_end) = (lsn(START), lsn(START + 4096));
    let at = Start { end, durable: end, active_end, ready_end: lsn(START + 8192), seed };
    let mut config = CommitConfig::default();
    config.buffer_bytes = 2 * CommitConfig::BUFFER_BYTES_MIN;
    config.policy = policy;
    config.threads = Threads::None;
    config.slow_sync = None;
    let sink = |_| Box::new(SlotSink { bytes: bytes.clone(), mine: 0 }) as Box<dyn LogSink>;
    let sinks = (0..slots).map(sink).collect();
    let preparer = Arc::new(Noted(bytes.clone()));
    (GroupCommit::start(config, at, sinks, preparer).expect("it starts"), bytes)
}

/// Appends and waits; an acknowledgement must be true, of everything before it as well.
fn commit_in_slots(log: &GroupCommit, bytes: &Bytes) -> bool {
    let Ok(ticket) = append(log, 8) else {
        assert!(log.is_poisoned(), "only poison refuses here");
        return false;
    };
    let outcome = ticket.wait_durable();
    if outcome.is_ok() {
        assert!(ticket.end().get() <= bytes.whole(), "acknowledged over a hole");
    }
    assert!(log.positions().durable.get() <= bytes.whole());
    outcome.is_ok()
}

#[test]
fn flushes_in_flight_are_acknowledged_in_the_order_of_their_addresses() {
    model(3, || {
        let (log, bytes) = start_slots(Bytes::default(), 2);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (log, bytes) = (log.clone(), bytes.clone());
                thread::spawn(move || assert!(commit_in_slots(&log, &bytes)))
            })
            .collect();
        assert!(commit_in_slots(&log, &bytes));
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(log.positions().durable, log.positions().reserved);
    });
}

#[test]
fn a_failure_of_one_flush_in_flight_ends_the_promises_of_all() {
    for fail_sync in [1, 2] {
        model(2, move || {
            let (log, bytes) = start_slots(Bytes { fail_sync, ..Bytes::default() }, 2);
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let (log, bytes) = (log.clone(), bytes.clone());
                    thread::spawn(move || commit_in_slots(&log, &bytes))
                })
                .collect();
            commit_in_slots(&log, &bytes);
            for other in others {
                other.join().unwrap();
            }
            if bytes.failed.load(SeqCst) {
                assert!(!commit_in_slots(&log, &bytes), "poison ends all promises");
            }
        });
    }
}

#[test]
fn what_one_slot_wrote_without_a_sync_is_synced_through_it() {
    model(3, || {
        let (log, bytes) = start_slots(Bytes::default(), 2);
        let other = {
            let (log, bytes) = (log.clone(), bytes.clone());
            thread::spawn(move || {
                append(&log, 8).unwrap().wait_written().unwrap();
                assert!(commit_in_slots(&log, &bytes));
            })
        };
        append(&log, 8).unwrap().wait_written().unwrap();
        assert!(commit_in_slots(&log, &bytes));
        other.join().unwrap();
        assert_eq!(log.positions().durable, log.positions().reserved);
    });
}

#[test]
fn an_oversized_record_waits_until_nothing_is_in_flight() {
    model(2, || {
        let (log, bytes) = start_slots(Bytes::default(), 2);
        let other = {
            let (log, bytes) = (log.clone(), bytes.clone());
            thread::spawn(move || {
                assert!(commit_in_slots(&log, &bytes));
                assert!(commit_in_slots(&log, &bytes));
            })
        };
        append(&log, 350).unwrap().wait_durable().unwrap();
        other.join().unwrap();
        assert_eq!(log.positions().durable, log.positions().reserved);
    });
}

#[test]
fn two_flushes_that_land_before_the_next_leader_runs_lose_no_baton() {
    model(2, || {
        let (log, bytes) = start_slots(Bytes::default(), 2);
        let others: Vec<_> = (0..4)
            .map(|_| {
                let (log, bytes) = (log.clone(), bytes.clone());
                thread::spawn(move || assert!(commit_in_slots(&log, &bytes)))
            })
            .collect();
        others.into_iter().for_each(|other| other.join().unwrap());
        // It takes all batons: one that was lost would be waited for.
        append(&log, 350).unwrap().wait_durable().unwrap();
    });
}

#[test]
fn each_committer_is_counted_once_whichever_flush_answers_it() {
    model(2, || {
        let (log, bytes) = start_slots(Bytes::default(), 2);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (log, bytes) = (log.clone(), bytes.clone());
                thread::spawn(move || assert!(commit_in_slots(&log, &bytes)))
            })
            .collect();
        assert!(commit_in_slots(&log, &bytes));
        others.into_iter().for_each(|other| other.join().unwrap());
        let stats = log.stats();
        assert!(stats.waits_led + stats.waits_followed <= 3, "counted twice: {stats:?}");
    });
}
