//! A log that nothing is asked of uses no processor: its threads sleep until something happens, and
//! still miss nothing. The kernel tells how often a thread went to sleep.

#![cfg(all(target_os = "linux", not(any(loom, shuttle))))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use wal_commit::{GroupCommit, SyncPolicy, Ticket};

use common::{Disk, append, append_unhooked, start};

/// The line of a thread's status that says how often it went to sleep.
const SLEEPS: &str = "voluntary_ctxt_switches:";

/// How often the serving thread of the newest log went to sleep so far.
fn sleeps() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let ids = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
    let status = |id: u32| fs::read_to_string(format!("/proc/self/task/{id}/status")).ok();
    let found = ids
        .filter_map(|id| Some((id.parse::<u32>().ok()?, status(id.parse().ok()?)?)))
        .filter(|(_, status)| status.starts_with("Name:\twal-sync\n"))
        .max();
    // It has its name a moment after it began.
    let Some((_, status)) = found else { return 0 };
    let line = status.lines().find(|line| line.starts_with(SLEEPS)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Waits until the thread has not been awake for twenty ticks; how often it went to sleep by then.
fn once_quiet() -> u64 {
    let mut before = sleeps();
    for _ in 0..100 {
        sleep(20 * TICK);
        let now = sleeps();
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
    panic!("it never sleeps for good");
}

/// Whether something comes true within ten seconds.
fn comes_true(mut what: impl FnMut() -> bool) -> bool {
    (0..1000).any(|_| {
        sleep(TICK);
        what()
    })
}

const TICK: Duration = Duration::from_millis(10);

#[test]
fn an_idle_log_sleeps_for_good_until_it_is_appended_to_or_synced() {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    if !status.lines().any(|line| line.starts_with(SLEEPS)) {
        eprintln!(
            "SKIPPED, nothing was checked: this system does not say how often a thread sleeps"
        );
        return;
    }
    let ways: [fn(&GroupCommit, &[u8]) -> Ticket; 2] = [append, append_unhooked];
    for (period, append) in [None, Some(TICK)].into_iter().flat_map(|p| ways.map(|way| (p, way))) {
        let (log, disk) = start(Disk::new(1 << 20), |config| {
            config.idle_after = Some(TICK);
            config.policy =
                period.map_or(SyncPolicy::Never, |every| SyncPolicy::Periodic { every });
        });
        let mut slept = once_quiet();
        assert!(slept < 20, "two ticks of an empty log, not {slept}");

        let ticket = append(&log, b"x");
        ticket.wait_written().unwrap();
        if period.is_some() {
            assert!(comes_true(|| disk.calls().1 == 1), "the period runs again");
        } else {
            let now = once_quiet();
            assert!(now - slept < 20, "it looked twice, not {} times", now - slept);
            slept = now;
            // Now there is something that no record in the log proves.
            ticket.wait_durable().unwrap();
        }
        assert!(comes_true(|| log.stats().watermarks == 1), "who sleeps is roused");
        let now = once_quiet();
        assert!(now - slept < 20, "it looked twice, not {} times", now - slept);
        log.close().unwrap();
    }
}
