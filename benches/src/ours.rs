//! This repository's log, with its default options: from threads, from tasks of one thread, and
//! with what is no longer needed truncated all the while.
//!
//! Where commits are timed it is a log that has been in use for a while, as the others' are whose files are written
//! beforehand and recycled: its segments are of full length, and what was truncated is used again.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wal::{LogView, Options, RecordRef, ReplayRecord, SyncMethod, SyncPolicy, Wal};

use crate::baseline;
use crate::batches::Batches;
use crate::in_use::{self, Checkpoints};
use crate::peer::{Awaited, Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "wal",
    version: "here",
    options: "the defaults; in use for a while, truncated after every 64 MiB",
    appends: "append_untracked, SyncPolicy::Never; read by LogView::for_each, opened beforehand",
    caveat: "",
    committers: Committers::Threads,
    open,
};

/// This log, its commits awaited by as many tasks as there are threads in the other rows.
pub const IN_TASKS: Entry = Entry {
    name: "wal-tasks",
    options: "as wal; the committers are tasks which one thread runs",
    committers: Committers::Tasks,
    ..ENTRY
};

/// This log, read back on one thread, and in one pass from nothing to the verdict.
pub const READINGS: [Entry; 2] = [
    Entry {
        name: "wal-one",
        appends: "as wal; read by LogView::for_each on one thread, opened beforehand",
        open: |dir, load| open_to_read(dir, load, read_on_one),
        ..ENTRY
    },
    Entry {
        name: "wal-once",
        appends: "as wal; read by LogView::scan with a helper, which opens and checks the log in the same pass",
        open: |dir, load| open_to_read(dir, load, read_once),
        ..ENTRY
    },
];

/// This log, made when its turn begins and never truncated: all its files are new ones, and are made
/// while it is measured.
pub const NEW: Entry = Entry {
    name: "wal-new",
    options: "the defaults; a new log, never truncated",
    open: open_new,
    ..ENTRY
};

/// This log, its appends into files of segments that were truncated before.
pub const REUSING: Entry = Entry {
    name: "wal-reusing",
    appends: "as wal, with recycled_segments so many that all goes into files which were written before",
    open: open_reusing,
    ..ENTRY
};

/// This log, its appends in batches, each of which is there whole or not at all after a crash.
pub const BATCHES: Entry = Entry {
    name: "wal-batches",
    appends: "append_batch, batches of 256, SyncPolicy::Never; read as wal",
    open: open_batches,
    ..ENTRY
};

/// This log, truncated all the while, so that its files are used again.
pub const RECYCLING: Entry = Entry {
    name: "wal-recycling",
    options: "the defaults; one more thread truncates every 5 ms",
    open: open_recycling,
    ..ENTRY
};

/// This log under other policies for commits that are durable: which gathers, and how.
pub const POLICIES: [Entry; 3] = [
    Entry {
        name: "wal-every-commit",
        options: "sync_policy EveryCommit",
        open: |dir, load| open_under(dir, load, SyncPolicy::EveryCommit),
        ..ENTRY
    },
    Entry {
        name: "wal-square-root",
        options: "sync_policy SquareRoot, a wait worth as much as the device",
        open: |dir, load| open_under(dir, load, SyncPolicy::SquareRoot { wait_cost_percent: 100 }),
        ..ENTRY
    },
    Entry {
        name: "wal-square-root-5",
        options: "sync_policy SquareRoot, a wait worth a twentieth of the device",
        open: |dir, load| open_under(dir, load, SyncPolicy::SquareRoot { wait_cost_percent: 5 }),
        ..ENTRY
    },
];

/// This log with several flushes in flight, as far as they pay, and past the cache.
pub const FLIGHTS: [Entry; 3] = [
    Entry {
        name: "wal-flights",
        options: "flushes_in_flight 4, as many of them as pay",
        open: |dir, load| open_with(dir, load, |options| options.flushes_in_flight(4)),
        ..ENTRY
    },
    Entry {
        name: "wal-direct",
        options: "direct, O_DSYNC",
        open: |dir, load| open_with(dir, load, past_the_cache),
        ..ENTRY
    },
    Entry {
        name: "wal-direct-flights",
        options: "direct, O_DSYNC, flushes_in_flight 4, as many of them as pay",
        open: |dir, load| {
            open_with(dir, load, |options| past_the_cache(options).flushes_in_flight(4))
        },
        ..ENTRY
    },
];

const fn past_the_cache(options: Options) -> Options {
    options.direct(true).sync_method(SyncMethod::WriteThrough)
}

fn open_with(
    dir: &Path,
    load: Load,
    with: impl FnOnce(Options) -> Options,
) -> Result<Box<dyn Peer>, Failure> {
    let replay = |_: &ReplayRecord<'_>| Ok::<(), io::Error>(());
    opened(Wal::open(dir.join("log"), with(baseline::options()), replay)?, load)
}

fn open_under(dir: &Path, load: Load, policy: SyncPolicy) -> Result<Box<dyn Peer>, Failure> {
    open_with(dir, load, |options| options.sync_policy(policy))
}

pub(crate) fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    opened(open_log(dir, load)?, load)
}

/// A log that was opened in some way: if commits to it are to be timed, one that is in use.
pub(crate) fn opened(wal: Wal, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let mut log = Log::new(wal, load);
    // With small segments it is rotations that are looked at: of new files, too.
    if !load.durable || load.segment_bytes.is_some() {
        return Ok(Box::new(log));
    }
    let record_bytes = load.body_bytes + RECORD_OVERHEAD_BYTES as usize;
    in_use::use_for_a_while(&log.wal, load.threads * record_bytes)?;
    log.checkpoints = Some(Checkpoints::start(&log.wal));
    Ok(Box::new(log))
}

fn open_new(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    Ok(Box::new(Log::new(open_log(dir, load)?, load)))
}

fn open_to_read(dir: &Path, load: Load, reads: Reads) -> Result<Box<dyn Peer>, Failure> {
    let mut log = Log::new(open_log(dir, load)?, load);
    log.reads = reads;
    Ok(Box::new(log))
}

fn open_batches(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    Ok(Box::new(InBatches(Log::new(open_log(dir, load)?, load))))
}

fn open_recycling(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let mut log = Log::new(open_log(dir, load)?, load);
    log.truncating = Some(Truncating::start(&log.wal));
    Ok(Box::new(log))
}

/// The bytes of a record that are not its body.
const RECORD_OVERHEAD_BYTES: u64 = 24;

/// What a segment has that is of full length, by default.
const SEGMENT_BYTES: u64 = 64 << 20;

fn open_reusing(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let body_bytes = load.body_bytes.max(1) as u64;
    let bytes = load.bytes / body_bytes * (body_bytes + RECORD_OVERHEAD_BYTES);
    // One more is being written, and one stands ready.
    let segments = bytes.div_ceil(SEGMENT_BYTES) + 2;
    let options = baseline::options().recycled_segments(usize::try_from(segments)?);
    let replay = |_: &ReplayRecord<'_>| Ok::<(), io::Error>(());
    let wal = Wal::open(dir.join("log"), options.clone(), replay)?;
    in_use::retire(&wal, segments, SEGMENT_BYTES)?;
    wal.close()?;
    let options = options.sync_policy(SyncPolicy::Never);
    Ok(Box::new(Log::new(Wal::open(dir.join("log"), options, replay)?, load)))
}

fn open_log(dir: &Path, load: Load) -> Result<Wal, Failure> {
    let replay = |_: &ReplayRecord<'_>| Ok::<(), io::Error>(());
    let mut options = baseline::options();
    if !load.durable {
        options = options.sync_policy(SyncPolicy::Never);
    }
    if let Some(bytes) = load.segment_bytes {
        options = options.segment_bytes(bytes);
    }
    Ok(Wal::open(dir.join("log"), options, replay)?)
}

struct Log {
    wal: Arc<Wal>,
    durable: bool,
    reads: Reads,
    truncating: Option<Truncating>,
    checkpoints: Option<Checkpoints>,
}

impl Log {
    fn new(wal: Wal, load: Load) -> Self {
        let (truncating, checkpoints) = (None, None);
        Self { wal: Arc::new(wal), durable: load.durable, reads: read, truncating, checkpoints }
    }

    fn committed(&self) -> Result<(), Failure> {
        self.checkpoints.as_ref().map_or(Ok(()), |checkpoints| checkpoints.committed(&self.wal))
    }
}

impl Peer for Log {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        Ok(Box::new(|body: &[u8]| {
            if self.durable {
                self.wal.append(body)?.wait_durable()?;
                self.committed()?;
            } else {
                self.wal.append_untracked(body)?;
            }
            Ok(())
        }))
    }

    fn written(&self) -> Result<(), Failure> {
        // One record more, after all others.
        Ok(self.wal.append(&[])?.wait_written()?)
    }

    fn scan(self: Box<Self>, dir: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        let reads = self.reads;
        drop(self);
        reads(&dir.join("log"), clock)
    }

    fn stored_bytes(&self) -> Option<u64> {
        Some(self.wal.positions().reserved.get())
    }

    fn commit_in_task<'a>(&'a self, body: &'a [u8]) -> Awaited<'a> {
        Box::pin(async move {
            self.wal.append(body)?.await?;
            self.committed()
        })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        drop((self.truncating.take(), self.checkpoints.take()));
        // The directory goes with the run; what could not be closed was acknowledged before.
        let _ = self.wal.close();
    }
}

/// The same log, whose threads append in batches.
struct InBatches(Log);

impl Peer for InBatches {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        Ok(Box::new(Batches::new(|bodies| {
            let _ordered = self.0.wal.append_batch(bodies)?;
            Ok(())
        })))
    }

    fn written(&self) -> Result<(), Failure> {
        self.0.written()
    }

    fn scan(self: Box<Self>, dir: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        Box::new(self.0).scan(dir, clock)
    }
}

/// 1 for a record that was appended as a body: those that wait for all others are empty.
fn counts(record: &RecordRef<'_>) -> u64 {
    u64::from(record.kind().is_engine() && !record.body.is_empty())
}

/// A way to read all records of the log in a directory; how many bodies it met.
type Reads = fn(&Path, &mut Clock) -> Result<u64, Failure>;

/// With the helper that a scan has by default, of a log which is opened before the clock starts.
pub(crate) fn read(log: &Path, clock: &mut Clock) -> Result<u64, Failure> {
    read_view(&LogView::open(log)?, clock)
}

/// The same on one thread.
pub(crate) fn read_on_one(log: &Path, clock: &mut Clock) -> Result<u64, Failure> {
    match LogView::scan(log, 1, |_| ControlFlow::<()>::Continue(()))? {
        ControlFlow::Continue(view) => read_view(&view.scan_threads(1), clock),
        ControlFlow::Break(()) => Err("nobody breaks off".into()),
    }
}

fn read_view(view: &LogView, clock: &mut Clock) -> Result<u64, Failure> {
    clock.start();
    let mut records = 0;
    view.for_each(view.range(), |record| {
        records += counts(record);
        ControlFlow::<()>::Continue(())
    })?;
    Ok(records)
}

/// In one pass, opening and verdict included; the clock sees all of it.
pub(crate) fn read_once(log: &Path, clock: &mut Clock) -> Result<u64, Failure> {
    clock.start();
    let mut records = 0;
    let view = LogView::scan(log, 2, |record| {
        records += counts(record);
        ControlFlow::<()>::Continue(())
    })?;
    match view {
        ControlFlow::Continue(view) if !view.verdict().is_damage() => Ok(records),
        _ => Err("the log is damaged".into()),
    }
}

/// A thread which gives up what is durable, until it is dropped.
struct Truncating {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

const TRUNCATES_EVERY: Duration = Duration::from_millis(5);

impl Truncating {
    fn start(wal: &Arc<Wal>) -> Self {
        let (over, ended) = mpsc::channel();
        let wal = Arc::clone(wal);
        let thread = thread::spawn(move || {
            while ended.recv_timeout(TRUNCATES_EVERY) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = wal.truncate_before(wal.positions().durable) {
                    eprintln!("error: not truncated: {error}");
                    return;
                }
            }
        });
        Self { over: Some(over), thread: Some(thread) }
    }
}

impl Drop for Truncating {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            // It told why, if it panicked.
            let _ = thread.join();
        }
    }
}
