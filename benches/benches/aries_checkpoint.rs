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
    let [mut quiet, mut busy, mut company] = [const { Vec::new() }; 3];
    let (mut checkpoints, mut others) = (0, 0);
    for _ in 0..ROUNDS {
        quiet.extend(commits(&log, &mut pages));
        let (times, taken) = beside(&log, &mut pages, &|| checkpoint(&log));
        busy.extend(times);
        checkpoints += taken;
        // What any other committer costs, who has as much to write as a checkpoint in one step.
        let (times, taken) = beside(&log, &mut pages, &|| commit_step(&log));
        company.extend(times);
        others += taken;
    }
    assert!(log.dirty_pages() as u64 >= DIRTY_PAGES, "the pages did not stay dirty");
    [&mut quiet, &mut busy, &mut company].into_iter().for_each(|times| times.sort_unstable());
    let unit = at(&quiet, 0.5).as_secs_f64();
    let row = |name: &str, times: &[Duration], taken: u64| {
        let ratio = |share| format!("{:.2}", at(times, share).as_secs_f64() / unit);
        vec![
            name.to_owned(),
            times.len().to_string(),
            taken.to_string(),
            ratio(0.5),
            ratio(0.99),
            ratio(0.999),
            ratio(1.0),
        ]
    };
    let rows = vec![
        row("nothing", &quiet, 0),
        row("checkpoints, one after the other", &busy, checkpoints),
        row("commits of 64 KiB, one after the other", &company, others),
    ];
    let head = ["beside", "commits", "of those", "p50", "p99", "p99.9", "max"];
    println!("times of one committer, in medians without anything beside it (one group's time)");
    print_table(&head, rows);
}

/// The times of commits while another thread does `work` again and again, and how often it did.
fn beside(
    log: &PageLog,
    pages: &mut MemoryPages,
    work: &(dyn Fn() + Sync),
) -> (Vec<Duration>, u64) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut done = 0;
            while !stop.load(Ordering::Relaxed) {
                work();
                done += 1;
            }
            done
        });
        let times = commits(log, pages);
        stop.store(true, Ordering::Relaxed);
        (times, other.join().unwrap())
    })
}

fn checkpoint(log: &PageLog) {
    log.checkpoint(b"").unwrap();
}

/// A durable commit with as much in it as a checkpoint writes before it waits.
fn commit_step(log: &PageLog) {
    let mut txn = log.begin();
    for _ in 0..4 {
        txn.log_update(PageId::new(1), 0, &[0; 8 << 10], &[1; 8 << 10]).unwrap();
    }
    txn.commit().unwrap();
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
