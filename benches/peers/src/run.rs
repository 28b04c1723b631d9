//! One run of one log in this process: threads which commit until the time is over, or a fixed
//! number of times for a count of syncs.
//!
//! A run has the process to itself, so that its CPU time is the log's, threads of the log and time
//! in the kernel included, and so that no log is disturbed by the threads of another.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use futures::executor::block_on;
use futures::future::join_all;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::peer::{Committer, Entry, Failure, Load, Peer};
use crate::peers;

/// What to run.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// The log
    #[arg(long)]
    pub log: String,
    /// Threads which commit
    #[arg(long)]
    pub threads: usize,
    /// Bytes of a body
    #[arg(long)]
    pub body_bytes: usize,
    /// An empty directory
    #[arg(long)]
    pub dir: PathBuf,
    /// Milliseconds before the measured time, not counted
    #[arg(long)]
    pub warm_up_millis: u64,
    /// Milliseconds of measured time
    #[arg(long)]
    pub millis: u64,
    /// Instead of measuring time, commit so often on each thread between two marks
    #[arg(long)]
    pub commits: Option<u64>,
}

/// What a run measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Measured {
    /// Commits acknowledged within the measured time.
    pub commits: u64,
    /// The measured time.
    pub seconds: f64,
    /// CPU time of the process in it, in the kernel too.
    pub cpu_seconds: f64,
    /// Latency of half of the commits.
    pub p50_micros: f64,
    /// Latency of 99 in 100.
    pub p99_micros: f64,
    /// Latency of 999 in 1,000.
    pub p999_micros: f64,
}

/// Paths that do not exist, looked up before and after the counted commits: marks in a trace.
pub const MARKS: [&str; 2] = ["wal-peers-counting-begins", "wal-peers-counting-ends"];

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// Opens the log and runs the plan. Nothing but marks is to be had from a run with `commits`.
pub fn run(plan: &Plan) -> Result<Option<Measured>, Failure> {
    let entry = peers::named(&plan.log).ok_or_else(|| {
        format!("no log called {:?} was built in: its feature may be off", plan.log)
    })?;
    let load = Load { threads: plan.threads, durable: true, bytes: 0, body_bytes: plan.body_bytes };
    let peer = (entry.open)(&plan.dir, load)?;
    let body = wal_bench::body(plan.body_bytes);
    match plan.commits {
        Some(commits) => counted(&*peer, entry, plan, &body, commits).map(|()| None),
        None => timed(&*peer, entry, plan, &body).map(Some),
    }
}

/// Stack of a committing thread: there may be a thousand of them.
const STACK_BYTES: usize = 1 << 20;

fn timed(peer: &dyn Peer, entry: &Entry, plan: &Plan, body: &[u8]) -> Result<Measured, Failure> {
    let phase = AtomicU8::new(WARMING);
    let rule = Rule::WhileNotOver(&phase);
    let ((before, after), latencies) = committing(peer, entry, plan, body, rule, || {
        thread::sleep(Duration::from_millis(plan.warm_up_millis));
        let before = Usage::now();
        phase.store(MEASURING, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(plan.millis));
        phase.store(OVER, Ordering::SeqCst);
        (before, Usage::now())
    })?;
    Ok(before.until(&after, latencies))
}

fn counted(
    peer: &dyn Peer,
    entry: &Entry,
    plan: &Plan,
    body: &[u8],
    commits: u64,
) -> Result<(), Failure> {
    let mark = |mark: &str| drop(File::open(Path::new(mark)));
    let rule = Rule::SoOften { commits, begins: &|| mark(MARKS[0]) };
    committing(peer, entry, plan, body, rule, || ())?;
    mark(MARKS[1]);
    Ok(())
}

/// When a committer has done enough.
#[derive(Clone, Copy)]
enum Rule<'a> {
    WhileNotOver(&'a AtomicU8),
    SoOften { commits: u64, begins: &'a (dyn Fn() + Sync) },
}

/// Has all committers commit as the rule says, and `meanwhile` runs beside them; what it returns,
/// and the latencies which count, in nanoseconds.
fn committing<R>(
    peer: &dyn Peer,
    entry: &Entry,
    plan: &Plan,
    body: &[u8],
    rule: Rule<'_>,
    meanwhile: impl FnOnce() -> R,
) -> Result<(R, Vec<u32>), Failure> {
    let threads = if entry.in_tasks { 1 } else { plan.threads };
    let barrier = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for thread in 0..threads {
            let barrier = &barrier;
            let work = move || {
                let committer = peer.committer(thread);
                barrier.wait();
                barrier.wait();
                if entry.in_tasks {
                    commit_in_tasks(peer, plan.threads, body, rule)
                } else {
                    commit_in_thread(committer?, body, rule)
                }
            };
            workers.push(thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work)?);
        }
        barrier.wait();
        if let Rule::SoOften { begins, .. } = rule {
            begins();
        }
        barrier.wait();
        let returned = meanwhile();
        let mut latencies = Vec::new();
        for worker in workers {
            let of_one: Result<Vec<u32>, Failure> =
                worker.join().map_err(|_| "a committing thread panicked")?;
            latencies.extend(of_one?);
        }
        Ok((returned, latencies))
    })
}

fn commit_in_thread(
    mut committer: Box<dyn Committer + '_>,
    body: &[u8],
    rule: Rule<'_>,
) -> Result<Vec<u32>, Failure> {
    let mut tally = Tally::new(rule);
    while tally.goes_on() {
        committer.commit(body)?;
    }
    Ok(tally.latencies)
}

fn commit_in_tasks(
    peer: &dyn Peer,
    tasks: usize,
    body: &[u8],
    rule: Rule<'_>,
) -> Result<Vec<u32>, Failure> {
    let task = |_| async {
        let mut tally = Tally::new(rule);
        while tally.goes_on() {
            peer.commit_in_task(body).await?;
        }
        Ok(tally.latencies)
    };
    let all: Vec<Result<Vec<u32>, Failure>> = block_on(join_all((0..tasks).map(task)));
    let all: Result<Vec<Vec<u32>>, Failure> = all.into_iter().collect();
    Ok(all?.concat())
}

/// One committer's commits: asked before each, it takes the time of the one before.
struct Tally<'a> {
    rule: Rule<'a>,
    started: Option<Instant>,
    commits: u64,
    latencies: Vec<u32>,
}

impl<'a> Tally<'a> {
    fn new(rule: Rule<'a>) -> Self {
        Self { rule, started: None, commits: 0, latencies: Vec::with_capacity(1 << 10) }
    }

    /// Whether one more commit is to be made; it is taken to start now.
    fn goes_on(&mut self) -> bool {
        let now = Instant::now();
        let ended = self.started.replace(now).map(|started| now.duration_since(started));
        let phase = match self.rule {
            Rule::WhileNotOver(phase) => phase.load(Ordering::Relaxed),
            Rule::SoOften { commits, .. } if self.commits == commits => OVER,
            Rule::SoOften { .. } => WARMING,
        };
        self.commits += 1;
        if let Some(latency) = ended
            && phase == MEASURING
        {
            self.latencies.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
        }
        phase != OVER
    }
}

/// What this process has used so far.
struct Usage {
    at: Instant,
    cpu: Duration,
}

impl Usage {
    fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::try_from(cpu).unwrap_or_default();
        Self { at: Instant::now(), cpu }
    }

    fn until(&self, later: &Self, mut latencies: Vec<u32>) -> Measured {
        latencies.sort_unstable();
        let at = |of_thousand: usize| {
            let index = latencies.len() * of_thousand / 1000;
            let nanos = latencies.get(index).or(latencies.last()).copied().unwrap_or(0);
            f64::from(nanos) / 1e3
        };
        Measured {
            commits: latencies.len() as u64,
            seconds: later.at.duration_since(self.at).as_secs_f64(),
            cpu_seconds: later.cpu.saturating_sub(self.cpu).as_secs_f64(),
            p50_micros: at(500),
            p99_micros: at(990),
            p999_micros: at(999),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_latencies() {
        let usage = || Usage { at: Instant::now(), cpu: Duration::ZERO };
        let latencies = (1..=1000).rev().map(|micros| micros * 1000).collect();
        let measured = usage().until(&usage(), latencies);
        let found = (measured.p50_micros, measured.p99_micros, measured.p999_micros);
        assert_eq!(found, (501.0, 991.0, 1000.0));
        assert_eq!(usage().until(&usage(), Vec::new()).p999_micros, 0.0);
    }
}
