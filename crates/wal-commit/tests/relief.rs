//! Whoever completes the number of those a leader waits for leads in its place, and the leader is
//! answered by that flush. What threads can do to each other there is the model's (`model.rs`).
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use common::{Disk, Gate, append, start};
use wal_commit::SyncPolicy;

/// The leader must be waiting when the other one comes, which nobody can see from outside, and on a
/// busy machine it is not each time. So it is tried until so often it was relieved...
const RELIEVED: usize = 10;
/// ... or so often it was not. By chance it looks so in one of fifty.
const NOT_RELIEVED: usize = 100;
/// So long the first sync takes, and about so long the leader then waits for company.
const SYNC: Duration = Duration::from_millis(50);
/// Header and body, in units of 8 bytes.
const RECORD_BYTES: u64 = 32;

/// Two committers share a sync, of which the second one is called to lead the next flush; the first
/// one comes back after `later`. Gives who made each sync, of `[first, second]`, and the waits that
/// were counted.
fn two_committers(later: Duration) -> (Vec<usize>, u64) {
    let (log, disk) = start(Disk::new(1 << 20), |config| config.policy = SyncPolicy::Group);
    let (in_sync, go) = (Gate::new(), Gate::new());
    let syncs: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
    let (entered, wait, made) = (in_sync.clone(), go.clone(), syncs.clone());
    disk.on_sync(move |_| {
        made.lock().unwrap().push(thread::current().id());
        entered.open();
        wait.pass();
    });
    let ids = thread::scope(|scope| {
        let first = scope.spawn(|| {
            append(&log, b"first").wait_durable().unwrap();
            thread::sleep(later);
            append(&log, b"third").wait_durable().unwrap();
        });
        in_sync.pass();
        let second = scope.spawn(|| append(&log, b"second").wait_durable().unwrap());
        while log.positions().reserved.get() < 4096 + 2 * RECORD_BYTES {
            thread::yield_now();
        }
        // Time to fall asleep.
        thread::sleep(SYNC);
        let ids = [first.thread().id(), second.thread().id()];
        go.open();
        ids
    });
    let made = syncs.lock().unwrap().clone();
    let who = |id: &ThreadId| ids.iter().position(|other| other == id).unwrap();
    let stats = log.stats();
    assert_eq!(disk.bodies().len(), 3);
    (made.iter().map(who).collect(), stats.waits_led + stats.waits_followed)
}

#[test]
fn whoever_comes_last_leads_in_place_of_the_leader_that_waits_for_it() {
    let (mut relieved, mut counted, mut others) = (0, 0, Vec::new());
    while relieved < RELIEVED {
        let (syncs, waits) = two_committers(Duration::from_millis(1 + others.len() as u64 % 8));
        if syncs == [0, 0] {
            relieved += 1;
            counted += usize::from(waits == 3);
        } else {
            others.push(syncs);
        }
        assert!(others.len() < NOT_RELIEVED, "relieved {relieved} times, else {others:?}");
    }
    assert!(counted > RELIEVED / 2, "{counted} leaders of {relieved} were counted");
}
