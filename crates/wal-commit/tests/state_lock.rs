//! Every interleaving of the lock that is two in one, by itself: what guards the state of a log.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p wal-commit --test state_lock --release`
//!
//! The scenarios of `model.rs` run on the same lock, but without helper threads; here is who sleeps on
//! a condition variable while another one holds half of the lock. The inner half is the model's own
//! mutex here: of the real one there are tests in `state_lock.rs` itself.
#![cfg(loom)]
#![allow(clippy::unwrap_used, dead_code, unused_imports)]

#[path = "../src/state_lock.rs"]
mod state_lock;
#[path = "../src/sync.rs"]
mod sync;

use std::sync::Arc;

use loom::thread;

use crate::state_lock::{Bell, Settle, StateLock};
use crate::sync::{Condvar, Mutex};

/// What somebody waits for.
#[derive(Default)]
struct State {
    ready: bool,
}

impl Settle for State {
    fn settle(&mut self) {}
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

/// Why a bell asks for the whole lock: the same with less, built by hand, is a deadlock, and this model
/// sees it.
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
