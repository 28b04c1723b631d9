//! `wal bench`: the log on the user's own disk, next to the bare device.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use serde_json::json;
use wal::{Access, FileStorage, LogFile, Options, Preparation, ReplayRecord, Storage, Wal};

use super::output::{json_line, line, stdout, turns_bar};
use super::place;
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;

/// Rounds, in each of which both have a turn: what else the device does befalls both.
const ROUNDS: u32 = 5;
/// Length of each file that the bare writes go to, over and over.
const RAW_BYTES: u64 = 8 << 20;
const SEGMENT_BYTES: u64 = 16 << 20;

/// Measure durable commits in a directory, next to bare writes each followed by `fdatasync`.
///
/// Threads append records of your size and wait for each to be durable; in turns with them, as
/// many threads write as many bytes each to a file of its own and sync it. All files lie in a
/// temporary directory, which is removed when the command ends, also when it fails or is
/// interrupted; after `kill -9` it stays, as `.wal-bench-…`. No other log is touched.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Directory on the device and file system to measure.
    dir: PathBuf,
    /// Bytes in each record.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    record_bytes: u32,
    /// Threads which append and wait.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Seconds to take altogether.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What one side did in all its turns.
struct Side {
    times_us: Histogram<u64>,
    took: Duration,
    /// The rate of each turn, to show how much they differ.
    rates: Vec<f64>,
}

impl Side {
    fn new() -> Result<Self, Failure> {
        let times_us = Histogram::new(3).map_err(|error| Failure::Input(error.to_string()))?;
        Ok(Self { times_us, took: Duration::ZERO, rates: Vec::new() })
    }

    fn rate(&self) -> f64 {
        self.times_us.len() as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// The best turn by the worst: 1 on a quiet device.
    fn spread(&self) -> f64 {
        let best = self.rates.iter().copied().fold(0.0, f64::max);
        let worst = self.rates.iter().copied().fold(f64::INFINITY, f64::min);
        if worst > 0.0 && worst.is_finite() { best / worst } else { 1.0 }
    }

    fn as_json(&self) -> serde_json::Value {
        let at = |quantile| self.times_us.value_at_quantile(quantile);
        json!({
            "commits": self.times_us.len(), "per_second": self.rate(), "p50_us": at(0.5),
            "p99_us": at(0.99), "max_us": self.times_us.max(), "spread": self.spread(),
        })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |quantile| self.times_us.value_at_quantile(quantile);
        write!(
            f,
            "{:>10.0} a second   p50 {:>7} µs   p99 {:>7} µs   max {:>8} µs   turns differ by {:.2}",
            self.rate(),
            at(0.5),
            at(0.99),
            self.times_us.max(),
            self.spread()
        )
    }
}

/// What the threads of one turn do; gives the time of each commit.
type Commit<'a> = dyn Fn(u64) -> Result<(), Failure> + Sync + 'a;

impl Bench {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let interrupt = Interrupt::watch().map_err(|error| Failure::io("signals", error))?;
        place::readable(&self.dir)?;
        let ground = tempfile::Builder::new()
            .prefix(".wal-bench-")
            .tempdir_in(&self.dir)
            .map_err(|error| self.failed(error))?;
        let measured = self.measure(&ground, &interrupt);
        let removed = ground.close().map_err(|error| self.failed(error));
        if let Some(signal) = interrupt.signal() {
            return removed.and(Err(Failure::Interrupted(signal)));
        }
        let (raw, log, syncs) = measured?;
        removed?;
        self.print(&raw, &log, syncs)?;
        Ok(Exit::Done)
    }

    fn failed(&self, source: io::Error) -> Failure {
        Failure::io(self.dir.display().to_string(), source)
    }

    /// Both sides, and how many syncs the log made.
    fn measure(
        &self,
        ground: &tempfile::TempDir,
        interrupt: &Interrupt,
    ) -> Result<(Side, Side, u64), Failure> {
        let files = FileStorage::open_existing(ground.path()).map_err(place::failed)?;
        let raw_files = self.raw_files(&files)?;
        let replay = |_: &ReplayRecord<'_>| Ok::<(), io::Error>(());
        let options = Options::default().segment_bytes(SEGMENT_BYTES);
        let wal = Wal::open(ground.path().join("log"), options, replay)?;
        let body = vec![b'x'; self.record_bytes as usize];
        let commit_log = |_| Ok(wal.append(&body)?.wait_durable().map(drop)?);
        let commit_raw = |thread| self.write(&raw_files, thread, &body);
        let (mut raw, mut log) = (Side::new()?, Side::new()?);
        let bar = turns_bar(u64::from(ROUNDS * 2));
        let turn = Duration::from_secs(u64::from(self.seconds)) / (ROUNDS * 2);
        for round in 0..ROUNDS {
            // The other one begins each time.
            for side in [round % 2, 1 - round % 2] {
                let (into, commit): (&mut Side, &Commit<'_>) =
                    if side == 0 { (&mut raw, &commit_raw) } else { (&mut log, &commit_log) };
                self.turn(into, commit, turn, interrupt)?;
                // What lies behind the benchmark is of no use to anybody.
                wal.truncate_before(wal.positions().durable)?;
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        let syncs = wal.stats().commit.syncs;
        wal.close()?;
        Ok((raw, log, syncs))
    }

    fn raw_files(&self, storage: &FileStorage) -> Result<Vec<Arc<RawFile>>, Failure> {
        let length = RAW_BYTES.max(u64::from(self.record_bytes));
        (0..self.threads)
            .map(|thread| {
                let name = format!("raw-{thread}");
                let made = storage.create_for(&name, length, Preparation::Zeroed);
                let file = made.and_then(|file| {
                    file.sync_all()?;
                    storage.open(&name, Access::Write)
                });
                let file = file.map_err(|error| self.failed(error))?;
                Ok(Arc::new(RawFile { file, next: 0.into(), length }))
            })
            .collect()
    }

    fn write(&self, files: &[Arc<RawFile>], thread: u64, body: &[u8]) -> Result<(), Failure> {
        let index = usize::try_from(thread).unwrap_or_default();
        let Some(file) = files.get(index) else { return Ok(()) };
        file.write_and_sync(body).map_err(|error| self.failed(error))
    }

    fn turn(
        &self,
        side: &mut Side,
        commit: &Commit<'_>,
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let (started, stop) = (Instant::now(), AtomicBool::new(false));
        let before = side.times_us.len();
        let turns: Vec<Result<Histogram<u64>, Failure>> = std::thread::scope(|scope| {
            let (stop, empty) = (&stop, Histogram::new_from(&side.times_us));
            let spawn = |thread| {
                let mut times = empty.clone();
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let begun = Instant::now();
                        commit(thread).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                        times.saturating_record(begun.elapsed().as_micros() as u64);
                        if started.elapsed() >= time || interrupt.signal().is_some() {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                    Ok(times)
                })
            };
            let threads: Vec<_> = (0..u64::from(self.threads)).map(spawn).collect();
            let gone = || Failure::Input("a thread of the benchmark panicked".to_owned());
            threads.into_iter().map(|it| it.join().unwrap_or_else(|_| Err(gone()))).collect()
        });
        let took = started.elapsed();
        for times in turns {
            side.times_us.add(times?).map_err(|error| Failure::Input(error.to_string()))?;
        }
        side.took += took;
        side.rates.push((side.times_us.len() - before) as f64 / took.as_secs_f64());
        Ok(())
    }

    fn print(&self, raw: &Side, log: &Side, syncs: u64) -> Result<(), Failure> {
        let Self { record_bytes, threads, .. } = self;
        let ratio = log.rate() / raw.rate().max(f64::EPSILON);
        let per_sync = log.times_us.len() as f64 / syncs.max(1) as f64;
        let mut out = stdout();
        if self.json {
            json_line(
                &mut out,
                &json!({
                    "dir": self.dir.display().to_string(), "record_bytes": record_bytes,
                    "threads": threads, "rounds": ROUNDS, "raw": raw.as_json(),
                    "log": log.as_json(), "ratio": ratio, "log_syncs": syncs,
                    "commits_per_sync": per_sync,
                }),
            )?;
        } else {
            line(&mut out, format_args!("{threads} threads, records of {record_bytes} bytes"))?;
            line(&mut out, format_args!("write + fdatasync  {raw}"))?;
            line(&mut out, format_args!("durable commit     {log}"))?;
            let text = format!("the log makes {ratio:.2} times as many, {per_sync:.1} to a sync");
            line(&mut out, text)?;
        }
        out.flush().map_err(Failure::output)
    }
}

/// A file that one thread writes to, over and over.
#[derive(Debug)]
struct RawFile {
    file: Box<dyn LogFile>,
    /// Changed by its one thread only.
    next: std::sync::atomic::AtomicU64,
    length: u64,
}

impl RawFile {
    fn write_and_sync(&self, body: &[u8]) -> io::Result<()> {
        let bytes = body.len() as u64;
        let at = self.next.load(Ordering::Relaxed);
        let at = if at + bytes > self.length { 0 } else { at };
        self.next.store(at + bytes, Ordering::Relaxed);
        let mut done = 0;
        while let Some(rest) = body.get(done..).filter(|rest| !rest.is_empty()) {
            match self.file.write_at(&[IoSlice::new(rest)], at + done as u64)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => done += count,
            }
        }
        self.file.sync_data()
    }
}
