//! One turn of one log in this process: threads which commit until the time is over, or a fixed
//! number of times.
//!
//! A turn has the process to itself, so that its CPU time is the log's, threads of the log and time
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
use serde::{Deserialize, Serialize};

use crate::baseline;
use crate::latencies::Latencies;
use crate::peer::{Committer, Committers, Entry, Failure, Load, Peer};
use crate::usage::Usage;

/// What to run.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// The log
    #[arg(long)]
    pub(crate) log: String,
    /// Threads which commit
    #[arg(long)]
    pub(crate) threads: usize,
    /// Bytes of a body
    #[arg(long)]
    pub(crate) body_bytes: usize,
    /// An empty directory
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Milliseconds before the measured time, not counted
    #[arg(long, default_value_t = 0)]
    pub(crate) warm_up_millis: u64,
    /// Milliseconds of measured time
    #[arg(long, default_value_t = 0)]
    pub(crate) millis: u64,
    /// Milliseconds of nothing to do after it
    #[arg(long, default_value_t = 0)]
    pub(crate) idle_millis: u64,
    /// Instead of for a time, commit so often on each thread
    #[arg(long)]
    pub(crate) commits: Option<u64>,
    /// Bytes of each file of our log
    #[arg(long)]
    pub(crate) segment_bytes: Option<u64>,
}

/// What a turn measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Measured {
    /// Commits acknowledged within the measured time.
    pub commits: u64,
    /// The measured time.
    pub seconds: f64,
    /// CPU time of the process in it, in the kernel too.
    pub cpu_seconds: f64,
    /// Of an idle second, how much the process used; where it was left idle.
    pub idle_cpu_share: Option<f64>,
    /// Bytes which the device wrote in the measured time, for whomever.
    pub device_bytes: Option<u64>,
    /// Bytes by which the log grew in it, where the log tells them.
    pub stored_bytes: Option<u64>,
    /// Times of the commits.
    pub latencies: Latencies,
}

impl Measured {
    /// Commits a second.
    #[must_use]
    pub(crate) fn rate(&self) -> f64 {
        self.commits as f64 / self.seconds
    }

    /// So much of something a commit.
    #[must_use]
    pub(crate) fn per_commit(&self, of: f64) -> f64 {
        of / self.commits.max(1) as f64
    }
}

/// Paths that do not exist, looked up before and after a fixed number of commits: marks in a trace.
pub(crate) const MARKS: [&str; 2] = ["wal-peers-counting-begins", "wal-peers-counting-ends"];

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// Opens the log, one of `entries`, and runs the plan.
pub(crate) fn run(plan: &Plan, entries: &[Entry]) -> Result<Measured, Failure> {
    let entry = entries.iter().find(|entry| entry.name == plan.log).ok_or_else(|| {
        format!("no log called {:?} was built in: its feature may be off", plan.log)
    })?;
    let load = Load {
        threads: plan.threads,
        durable: true,
        bytes: 0,
        body_bytes: plan.body_bytes,
        segment_bytes: plan.segment_bytes,
    };
    let peer = (entry.open)(&plan.dir, load)?;
    settle(&plan.dir)?;
    let turn = Turn { peer: &*peer, entry, plan, body: baseline::body(plan.body_bytes) };
    let mut measured = match plan.commits {
        Some(commits) => turn.counted(commits)?,
        None => turn.timed()?,
    };
    if plan.idle_millis > 0 {
        let before = Usage::now(&plan.dir);
        thread::sleep(Duration::from_millis(plan.idle_millis));
        let idle = before.until(&Usage::now(&plan.dir));
        measured.idle_cpu_share = Some(idle.cpu_seconds / idle.seconds);
    }
    Ok(measured)
}

/// Makes durable what was written to prepare, by whomever, and what the turn before removed: else the first
/// syncs of the turn would pay for that.
#[cfg(target_os = "linux")]
fn settle(dir: &Path) -> Result<(), Failure> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

/// Elsewhere no call does that for one file system.
#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps)]
fn settle(_: &Path) -> Result<(), Failure> {
    Ok(())
}

/// Stack of a committing thread: there may be a thousand of them.
const STACK_BYTES: usize = 1 << 20;

struct Turn<'a> {
    peer: &'a dyn Peer,
    entry: &'a Entry,
    plan: &'a Plan,
    body: Vec<u8>,
}

/// A moment: what the process has used, and how long the log is.
type Moment = (Usage, Option<u64>);

/// When a committer has done enough.
#[derive(Clone, Copy)]
enum Rule<'a> {
    WhileNotOver(&'a AtomicU8),
    SoOften(u64),
}

impl Turn<'_> {
    fn timed(&self) -> Result<Measured, Failure> {
        let phase = AtomicU8::new(WARMING);
        let span = || {
            thread::sleep(Duration::from_millis(self.plan.warm_up_millis));
            let before = self.moment();
            phase.store(MEASURING, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(self.plan.millis));
            phase.store(OVER, Ordering::SeqCst);
            (before, self.moment())
        };
        let ((before, after), latencies) =
            self.committing(Rule::WhileNotOver(&phase), || (), span)?;
        measured(before, after, &latencies)
    }

    fn counted(&self, commits: u64) -> Result<Measured, Failure> {
        let mark = |mark: &str| drop(File::open(Path::new(mark)));
        let rule = Rule::SoOften(commits);
        let (before, latencies) = self.committing(rule, || mark(MARKS[0]), || self.moment())?;
        let after = self.moment();
        mark(MARKS[1]);
        measured(before, after, &latencies)
    }

    fn moment(&self) -> Moment {
        (Usage::now(&self.plan.dir), self.peer.stored_bytes())
    }

    /// Has all committers commit as the rule says; `first` comes before all of them, when they are
    /// ready, and `meanwhile` runs beside them. What it returns, and the latencies which count, in
    /// nanoseconds.
    fn committing<R>(
        &self,
        rule: Rule<'_>,
        first: impl FnOnce(),
        meanwhile: impl FnOnce() -> R,
    ) -> Result<(R, Vec<u32>), Failure> {
        let in_tasks = self.entry.committers == Committers::Tasks;
        let threads = if in_tasks { 1 } else { self.plan.threads };
        let barrier = Barrier::new(threads + 1);
        thread::scope(|scope| {
            let mut workers = Vec::new();
            for thread in 0..threads {
                let barrier = &barrier;
                let work = move || {
                    let committer = self.peer.committer(thread);
                    barrier.wait();
                    barrier.wait();
                    if in_tasks {
                        self.commit_in_tasks(rule)
                    } else {
                        commit_in_thread(committer?, &self.body, rule)
                    }
                };
                let builder = thread::Builder::new().stack_size(STACK_BYTES);
                workers.push(builder.spawn_scoped(scope, work)?);
            }
            barrier.wait();
            first();
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

    fn commit_in_tasks(&self, rule: Rule<'_>) -> Result<Vec<u32>, Failure> {
        let task = |_| async {
            let mut tally = Tally::new(rule);
            while tally.goes_on() {
                self.peer.commit_in_task(&self.body).await?;
            }
            Ok(tally.latencies)
        };
        let all: Vec<Result<Vec<u32>, Failure>> =
            block_on(join_all((0..self.plan.threads).map(task)));
        let all: Result<Vec<Vec<u32>>, Failure> = all.into_iter().collect();
        Ok(all?.concat())
    }
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
        // Under a time the last commit ends after it; of a fixed number all count.
        let (goes_on, counts) = match self.rule {
            Rule::WhileNotOver(phase) => {
                let phase = phase.load(Ordering::Relaxed);
                (phase != OVER, phase == MEASURING)
            }
            Rule::SoOften(commits) => (self.commits < commits, true),
        };
        self.commits += 1;
        if let Some(latency) = ended
            && counts
        {
            self.latencies.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
        }
        goes_on
    }
}

fn measured(before: Moment, after: Moment, all: &[u32]) -> Result<Measured, Failure> {
    let mut latencies = Latencies::new()?;
    all.iter().for_each(|nanos| latencies.record(u64::from(*nanos)));
    let used = before.0.until(&after.0);
    let stored = after.1.zip(before.1);
    Ok(Measured {
        commits: latencies.count(),
        seconds: used.seconds,
        cpu_seconds: used.cpu_seconds,
        idle_cpu_share: None,
        device_bytes: used.device_bytes,
        stored_bytes: stored.map(|(after, before)| after.saturating_sub(before)),
        latencies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bare, ours};

    fn plan(log: &str, threads: usize, dir: &Path) -> Plan {
        Plan {
            log: log.to_owned(),
            threads,
            body_bytes: 128,
            dir: dir.to_owned(),
            warm_up_millis: 0,
            millis: 0,
            idle_millis: 0,
            commits: Some(40),
            segment_bytes: Some(64 << 10),
        }
    }

    #[test]
    fn a_fixed_number_of_commits_is_made_by_each_thread_and_each_task() {
        for entry in [bare::RAW, ours::ENTRY, ours::IN_TASKS, ours::RECYCLING] {
            let dir = tempfile::tempdir().unwrap();
            let threads = entry.committers.under(3);
            let measured = run(&plan(entry.name, threads, dir.path()), &[entry]).unwrap();
            assert_eq!(measured.commits, 40 * threads as u64, "{}", entry.name);
            assert_eq!(measured.latencies.count(), measured.commits);
        }
    }

    #[test]
    fn our_log_tells_what_it_stored_and_idle_time_is_looked_at_when_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = plan("wal", 1, dir.path());
        plan.idle_millis = 1;
        let measured = run(&plan, &[ours::ENTRY]).unwrap();
        assert!(measured.stored_bytes.is_some_and(|bytes| bytes >= 40 * 128));
        assert!(measured.idle_cpu_share.is_some_and(f64::is_finite));
    }

    #[test]
    fn a_log_that_was_not_built_in_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let error = run(&plan("other", 1, dir.path()), &[ours::ENTRY]).unwrap_err();
        assert!(error.to_string().contains("other"), "{error}");
    }
}
