//! Every interleaving of the lock that is two in one, by itself: what guards the state of a log.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p wal-commit --test state_lock --release`
//!
//! The scenarios of `model.rs` run on the same lock, but without helper threads; here is who sleeps on
//! a condition variable while another one holds half of the lock.
#![cfg(loom)]
#![allow(clippy::unwrap_used, dead_code, unused_imports)]

#[path = "../src/state_lock.rs"]
mod state_lock;
#[path = "../src/sync.rs"]
mod sync;

use std::sync::Arc;

use loom::thread;

use crate::state_lock::{Bell, StateLock};
use crate::sync::{Condvar, Mutex};

/// What somebody waits for, and how many have been in.
#[derive(Default)]
struct State {
    ready: bool,
    entered: u32,
}

/// Counts in two steps, with a step of the model in between: two who are in at once lose a count.
fn enter(state: &mut State, between: &loom::sync::atomic::AtomicU32) {
    let seen = state.entered;
    between.load(loom::sync::atomic::Ordering::Relaxed);
    state.entered = seen + 1;
}

#[test]
fn half_of_it_excludes_all_of_it() {
    loom::model(|| {
        let lock = Arc::new(StateLock::new(State::default()));
        let between = Arc::new(loom::sync::atomic::AtomicU32::new(0));
        let others: Vec<_> = (0..2)
            .map(|thread| {
                let (lock, between) = (lock.clone(), between.clone());
                thread::spawn(move || match thread {
                    0 => enter(&mut lock.lock_brief().unwrap(), &between),
                    _ => enter(&mut lock.lock(), &between),
                })
            })
            .collect();
        enter(&mut lock.lock_brief().unwrap(), &between);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(lock.lock().entered, 3);
    });
}

#[test]
fn a_bell_that_is_rung_with_all_of_it_in_hand_is_heard() {
    loom::model(|| {
        let shared = Arc::new((StateLock::new(State::default()), Bell::default()));
        let sleeper = {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut state = shared.0.lock();
                while !state.ready {
                    state = state.wait(&shared.1);
                }
            })
        };
        let (lock, bell) = &*shared;
        // As an append: it changes the state with half of the lock, and rings with all of it.
        lock.lock_brief().unwrap().ready = true;
        bell.ring(&lock.lock());
        sleeper.join().unwrap();
    });
}

/// Why a bell asks for the whole lock: the same with less is a deadlock, and this model sees it.
#[test]
#[should_panic(expected = "deadlock")]
fn a_notification_with_half_of_it_in_hand_is_missed() {
    loom::model(|| {
        let shared = Arc::new((Mutex::new(()), Mutex::new(State::default()), Condvar::default()));
        let sleeper = {
            let shared = shared.clone();
            thread::spawn(move || {
                let (queue, data, condvar) = &*shared;
                let mut queue = queue.lock();
                while !data.lock().ready {
                    queue = condvar.wait(queue);
                }
            })
        };
        let (_, data, condvar) = &*shared;
        let mut state = data.lock();
        state.ready = true;
        condvar.notify_one();
        drop(state);
        sleeper.join().unwrap();
    });
}
