//! Tickets as futures and with callbacks, on an executor made by hand.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use common::{Gate, append, inline, stop_in_syncs, threaded};
use wal_commit::{CommitError, Ticket};

/// Wakes a thread which runs one future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicU32, Gate);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.open();
    }
}

fn poll(ticket: &mut Ticket, counter: &Arc<Count>) -> Poll<Result<wal_format::Lsn, CommitError>> {
    let waker = Waker::from(counter.clone());
    std::pin::Pin::new(ticket).poll(&mut Context::from_waker(&waker))
}

#[test]
fn a_future_is_ready_when_its_record_is_durable() {
    for (log, disk) in [inline(), threaded()] {
        let ticket = append(&log, b"x");
        let lsn = ticket.lsn();
        assert_eq!(block_on(ticket).unwrap(), lsn);
        assert_eq!(disk.calls(), (1, 1));
    }
}

#[test]
fn many_futures_share_syncs() {
    let (log, disk) = threaded();
    let tickets: Vec<_> = (0..50).map(|_| append(&log, b"x")).collect();
    for ticket in tickets {
        block_on(ticket).unwrap();
    }
    assert_eq!(disk.calls().1, 1, "all were appended before the first was polled");
}

#[test]
fn a_poll_does_not_sync_in_the_thread_of_the_executor() {
    let (log, disk) = threaded();
    let executor = std::thread::current().id();
    disk.on_sync(move |_| assert_ne!(std::thread::current().id(), executor));
    block_on(append(&log, b"x")).unwrap();
}

#[test]
fn without_threads_the_poll_itself_syncs() {
    let (log, disk) = inline();
    let counter = Arc::new(Count::default());
    let mut ticket = append(&log, b"x");
    assert!(matches!(poll(&mut ticket, &counter), Poll::Ready(Ok(_))));
    assert_eq!((disk.calls().1, counter.0.load(Ordering::SeqCst)), (1, 0));
}

#[test]
fn the_last_waker_is_the_one_that_is_woken() {
    let (log, disk) = threaded();
    let (in_sync, go) = stop_in_syncs(&disk);
    let (old, new) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let mut ticket = append(&log, b"x");
    assert!(poll(&mut ticket, &old).is_pending());
    in_sync.pass();
    assert!(poll(&mut ticket, &new).is_pending());
    go.open();
    new.1.pass();
    assert_eq!(old.0.load(Ordering::SeqCst), 0);
    assert!(matches!(poll(&mut ticket, &new), Poll::Ready(Ok(_))));
}

#[test]
fn dropping_a_future_does_not_lose_its_record() {
    let (log, disk) = threaded();
    let counter = Arc::new(Count::default());
    let mut ticket = append(&log, b"kept");
    assert!(poll(&mut ticket, &counter).is_pending() || ticket.is_durable());
    drop(ticket);
    log.close().unwrap();
    assert_eq!(disk.bodies(), [b"kept"]);
}

#[test]
fn a_dropped_future_keeps_nobody_from_committing() {
    let (log, _disk) = threaded();
    let counter = Arc::new(Count::default());
    for _ in 0..20 {
        let mut ticket = append(&log, b"dropped");
        assert!(poll(&mut ticket, &counter).is_pending() || ticket.is_durable());
        drop(ticket);
        append(&log, b"waited for").wait_durable().unwrap();
    }
}

#[test]
fn a_failed_sync_ends_a_future_with_an_error() {
    for (log, disk) in [inline(), threaded()] {
        disk.fail_sync(1);
        let error = block_on(append(&log, b"x")).unwrap_err();
        assert!(matches!(error, CommitError::Poisoned { .. }), "{error}");
    }
}

#[test]
fn a_future_of_a_dropped_log_ends_with_an_error() {
    let (log, disk) = threaded();
    let (in_sync, go) = stop_in_syncs(&disk);
    let counter = Arc::new(Count::default());
    let mut first = append(&log, b"first");
    assert!(poll(&mut first, &counter).is_pending());
    in_sync.pass();
    let mut second = append(&log, b"second");
    assert!(poll(&mut second, &counter).is_pending());
    drop(log);
    counter.1.pass();
    assert!(matches!(poll(&mut second, &counter), Poll::Ready(Err(CommitError::Abandoned))));
    go.open();
}

#[test]
fn callbacks_are_called_once_with_the_address() {
    for (log, _disk) in [inline(), threaded()] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let done = Gate::new();
        let (inside, tell) = (told.clone(), done.clone());
        let ticket = append(&log, b"x");
        ticket.on_durable(Box::new(move |outcome| {
            inside.lock().unwrap().push(outcome.unwrap());
            tell.open();
        }));
        done.pass();
        assert!(ticket.is_durable());
        let inside = told.clone();
        ticket.on_durable(Box::new(move |outcome| inside.lock().unwrap().push(outcome.unwrap())));
        assert_eq!(*told.lock().unwrap(), [ticket.lsn(), ticket.lsn()]);
    }
}

#[test]
fn a_callback_may_use_the_log() {
    let (log, disk) = threaded();
    let done = Gate::new();
    let (again, tell) = (log.clone(), done.clone());
    append(&log, b"first").on_durable(Box::new(move |outcome| {
        outcome.unwrap();
        append(&again, b"second").wait_durable().unwrap();
        tell.open();
    }));
    done.pass();
    assert_eq!(disk.bodies(), [b"first".to_vec(), b"second".to_vec()]);
}

#[test]
fn closing_answers_every_future_and_callback() {
    let (log, _disk) = threaded();
    let counter = Arc::new(Count::default());
    let mut future = append(&log, b"future");
    let _ = poll(&mut future, &counter);
    let called = Arc::new(AtomicU32::new(0));
    let inside = called.clone();
    append(&log, b"callback").on_durable(Box::new(move |outcome| {
        outcome.unwrap();
        inside.fetch_add(1, Ordering::SeqCst);
    }));
    log.close().unwrap();
    assert_eq!(called.load(Ordering::SeqCst), 1);
    assert!(matches!(poll(&mut future, &counter), Poll::Ready(Ok(_))));
}
