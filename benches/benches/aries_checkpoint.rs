//! Durable commits while fuzzy checkpoints with 100,000 dirty pages are taken, beside the same
//! commits without: a checkpoint must not hold committers up by more than one group's time.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wal::{Aries, PageId, PageLog};
use wal_bench::{MemoryPages, describe, options, print_table};

const DIRTY_PAGES: u64 = 100_000;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1_500);

fn main() {
    let dir = tempfile::tempdir().unwrap();
    describe(dir.path());
    let mut pages = MemoryPages::new(1);
    let log = options().recover_with(Aries::new()).open_pages(dir.path(), &mut pages).unwrap();
    dirty(&log);
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    let mut checkpoints = 0;
    for _ in 0..ROUNDS {
        quiet.extend(commits(&log, &mut pages));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut taken = 0;
                while !stop.load(Ordering::Relaxed) {
                    log.checkpoint(b"").unwrap();
                    taken += 1;
                }
                taken
            });
            busy.extend(commits(&log, &mut pages));
            stop.store(true, Ordering::Relaxed);
            checkpoints += taker.join().unwrap();
        });
    }
    assert!(log.dirty_pages() as u64 >= DIRTY_PAGES, "the pages did not stay dirty");
    quiet.sort_unstable();
    busy.sort_unstable();
    let unit = at(&quiet, 0.5).as_secs_f64();
    let row = |name: &str, times: &[Duration], checkpoints: u64| {
        let ratio = |share| format!("{:.2}", at(times, share).as_secs_f64() / unit);
        vec![
            name.to_owned(),
            times.len().to_string(),
            checkpoints.to_string(),
            ratio(0.5),
            ratio(0.99),
            ratio(0.999),
            ratio(1.0),
        ]
    };
    let rows = vec![row("none", &quiet, 0), row("one after the other", &busy, checkpoints)];
    let head = ["checkpoints", "commits", "taken", "p50", "p99", "p99.9", "max"];
    println!("times of one committer, in medians without checkpoints (one group's time)");
    print_table(&head, rows);
}

/// Makes pages dirty which are never written.
fn dirty(log: &PageLog) {
    let mut txn = log.begin();
    for page in 1..=DIRTY_PAGES {
        txn.log_update(PageId::new(page), 0, b"", b"dirty").unwrap();
    }
    txn.commit().unwrap();
}

/// Durable commits of one small change each, for one round.
fn commits(log: &PageLog, pages: &mut MemoryPages) -> Vec<Duration> {
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < ROUND {
        let started = Instant::now();
        let mut txn = log.begin();
        txn.update(pages, PageId::new(0), 64, b"", &[1; 100]).unwrap();
        txn.commit().unwrap();
        times.push(started.elapsed());
    }
    times
}

fn at(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share) as usize).copied().unwrap_or_default()
}
