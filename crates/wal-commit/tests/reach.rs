//! Waiting without a thread, beyond tickets: levels, the durable end, room; and syncs that limits
//! bring about.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use common::{Disk, Gate, append, append_unhooked, inline, lsn, start, threaded};
use wal_commit::{CommitError, Durability, GroupCommit, SyncPolicy, Threads, Ticket};
use wal_format::{RecordDraft, RecordKind};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Refuses where `append` would wait.
fn try_to_append(log: &GroupCommit, body: &[u8]) -> Result<Ticket, CommitError> {
    log.try_append(&RecordDraft::new(RecordKind::DATA, &[body]), &mut |_| {})
}

fn waker() -> Waker {
    Waker::from(Arc::new(Unpark(std::thread::current())))
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = waker();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

#[test]
fn a_future_reaches_each_level_and_only_that() {
    for (log, disk) in [inline(), threaded()] {
        let ticket = append(&log, b"x");
        block_on(ticket.reach(Durability::Written)).unwrap();
        assert_eq!(disk.calls(), (1, 0));
        block_on(log.reach(ticket.end(), Durability::Durable)).unwrap();
        assert_eq!(disk.calls(), (1, 1));
        assert!(ticket.is_durable());
    }
}

#[test]
fn a_future_of_an_address_where_nothing_ends_is_refused() {
    let (log, _disk) = threaded();
    let end = append(&log, b"x").end();
    let beyond = lsn(end.get() + 8);
    let error = block_on(log.reach(beyond, Durability::Durable)).unwrap_err();
    assert!(matches!(error, CommitError::BeyondEnd { .. }), "{error}");
}

#[test]
fn a_log_without_syncs_refuses_futures_of_durability() {
    let (log, _disk) = start(Disk::without_syncs(1 << 16), |_| {});
    let end = append(&log, b"x").end();
    block_on(log.reach(end, Durability::Written)).unwrap();
    let error = block_on(log.reach(end, Durability::Durable)).unwrap_err();
    assert!(matches!(error, CommitError::NotPromised), "{error}");
    let error = block_on(log.beyond(end)).unwrap_err();
    assert!(matches!(error, CommitError::NotPromised), "{error}");
}

#[test]
fn whoever_only_follows_the_end_brings_about_no_sync_and_is_woken_by_one() {
    let (log, disk) = threaded();
    let ticket = append(&log, b"x");
    let mut following = pin!(log.beyond(ticket.lsn()));
    let waker = waker();
    assert!(following.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(disk.calls().1, 0);
    ticket.wait_durable().unwrap();
    assert_eq!(block_on(following).unwrap(), ticket.end());
}

#[test]
fn whoever_follows_a_log_that_ends_is_told() {
    let (log, _disk) = threaded();
    let end = append(&log, b"x").end();
    log.close().unwrap();
    let behind = lsn(end.get().next_multiple_of(4096));
    let error = block_on(log.beyond(behind)).unwrap_err();
    assert!(matches!(error, CommitError::Closed), "{error}");
}

#[test]
fn an_append_that_waits_for_room_as_a_future_blocks_nobody_and_is_made_once() {
    let (log, disk) = start(Disk::new(1 << 16), |config| config.buffer_bytes = 2048);
    let (entered, go) = (Gate::new(), Gate::new());
    let (at_write, held) = (entered.clone(), go.clone());
    let executor = std::thread::current().id();
    disk.on_write(move |_| {
        assert_ne!(std::thread::current().id(), executor, "a poll wrote");
        at_write.open();
        held.pass();
    });
    let mut appended = 0_usize;
    // Both parts of the buffer: one on its way to the device, where it is held, and one filled.
    for full in 0..2 {
        while let Ok(ticket) = try_to_append(&log, &[7; 100]) {
            drop(ticket);
            appended += 1;
        }
        if full == 0 {
            entered.pass();
        }
    }
    let mut room = log.room();
    let waker = waker();
    let mut waiting = pin!(poll_fn(|cx| room.poll(cx, || try_to_append(&log, b"last"))));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    go.open();
    let ticket = block_on(waiting).unwrap();
    block_on(ticket).unwrap();
    let bodies = disk.bodies();
    assert_eq!(bodies.len(), appended + 1);
    assert_eq!(bodies.last().unwrap(), b"last");
}

#[test]
fn an_append_given_up_while_it_waits_for_room_is_not_in_the_log() {
    let (log, disk) = start(Disk::new(1 << 16), |config| config.buffer_bytes = 2048);
    let (entered, go) = (Gate::new(), Gate::new());
    let (at_write, held) = (entered.clone(), go.clone());
    disk.on_write(move |_| {
        at_write.open();
        held.pass();
    });
    while try_to_append(&log, &[7; 100]).map(drop).is_ok() {}
    entered.pass();
    while try_to_append(&log, &[7; 100]).map(drop).is_ok() {}
    {
        let mut room = log.room();
        let mut waiting = pin!(poll_fn(|cx| room.poll(cx, || try_to_append(&log, b"given up"))));
        let waker = waker();
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    go.open();
    append(&log, b"end").wait_durable().unwrap();
    let bodies = disk.bodies();
    assert_eq!(bodies.last().unwrap(), b"end");
    assert!(!bodies.contains(&b"given up".to_vec()));
}

#[test]
fn a_poisoned_log_ends_every_future() {
    let (log, disk) = threaded();
    disk.fail_sync(1);
    let ticket = append(&log, b"x");
    let end = ticket.end();
    let error = block_on(ticket.reach(Durability::Durable)).unwrap_err();
    assert!(matches!(error, CommitError::Poisoned { .. }), "{error}");
    assert!(matches!(block_on(log.beyond(end)), Err(CommitError::Poisoned { .. })));
    let mut room = log.room();
    let append = poll_fn(|cx| room.poll(cx, || try_to_append(&log, b"y")));
    assert!(matches!(block_on(append), Err(CommitError::Poisoned { .. })));
}

fn synced_every_five_records() -> (GroupCommit, Arc<Disk>) {
    start(Disk::new(1 << 16), |config| {
        config.policy = SyncPolicy::Never;
        config.threads = Threads::Helper;
        config.sync_after_records = Some(5);
    })
}

#[test]
fn each_so_many_records_are_synced_without_anybody_waiting() {
    let (log, disk) = synced_every_five_records();
    let synced = Gate::new();
    let told = synced.clone();
    disk.on_sync(move |_| told.open());
    let tickets: Vec<_> = (0..4).map(|_| append(&log, b"x")).collect();
    assert_eq!(disk.calls(), (0, 0), "four are not five");
    drop(tickets);
    let fifth = append(&log, b"x");
    synced.pass();
    log.wait_beyond(fifth.lsn(), None).unwrap();
}

#[test]
fn a_record_that_finds_nothing_to_decide_counts_too() {
    let (log, _disk) = synced_every_five_records();
    let tickets: Vec<_> = (0..5).map(|_| append_unhooked(&log, b"x")).collect();
    log.wait_beyond(tickets[4].lsn(), Some(Duration::from_secs(60))).unwrap();
}

#[test]
fn each_so_many_bytes_are_synced_without_anybody_waiting() {
    let (log, _disk) = start(Disk::new(1 << 16), |config| {
        config.policy = SyncPolicy::Never;
        config.sync_after_bytes = Some(1000);
    });
    let ticket = append(&log, &[1; 1000]);
    log.wait_beyond(ticket.lsn(), None).unwrap();
    assert_eq!(log.stats().syncs, 1);
}

#[test]
fn averages_are_told_of_flushes_that_were_made() {
    let (log, _disk) = inline();
    for _ in 0..10 {
        drop(append(&log, b"x"));
    }
    log.sync().unwrap();
    let stats = log.stats();
    assert!((stats.average_batch() - 10.0).abs() < f64::EPSILON, "{stats:?}");
    assert!(stats.average_flush_time() >= stats.average_sync_time());
}
