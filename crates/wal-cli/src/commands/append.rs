//! `wal append`: a record a line, acknowledged at the level asked for.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Instant;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;
use wal::{
    CheckpointView, Durability, FileStorage, Lsn, Options, RedoOnly, RedoTarget, ReplayRecord,
    Storage, SyncMethod, Threads, Wal,
};
#[cfg(all(target_os = "linux", feature = "io-uring"))]
use wal::{UringError, UringOptions, UringStorage};

use super::output::line_counter;
use crate::exit::{Exit, Failure};

/// Lines that may wait for one thread.
const QUEUED_LINES: usize = 64;
/// A line of figures goes to standard error after this many acknowledgements, with `--ack`.
const FIGURES_EVERY: u64 = 1000;

/// Append each line of a file, or of standard input, as one record.
///
/// The log is created if there is none, and recovered if it was not closed. The command returns
/// when every line has the durability asked for.
#[derive(Debug, Args)]
pub(crate) struct Append {
    /// Directory of the log.
    dir: PathBuf,
    /// File to read; standard input when left out.
    file: Option<PathBuf>,
    /// Threads which append and wait at the same time; thread K takes every K-th line.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// What to wait for before a line counts as acknowledged.
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    durability: Level,
    /// Print a line for each acknowledgement: number of the input line, LSN of its record; and
    /// JSON lines about recovery and syncs on standard error.
    #[arg(long)]
    ack: bool,
    /// Each line starts with a number and a tab: acknowledge that number instead of the count.
    #[arg(long)]
    numbered_input: bool,
    /// Size of a segment file in bytes.
    #[arg(long, default_value_t = 64 << 20)]
    segment_bytes: u64,
    /// How bytes are made durable.
    #[arg(long, value_enum, default_value_t = Method::DataSync)]
    sync_method: Method,
    /// Open files past the page cache (`O_DIRECT`; Linux).
    #[arg(long)]
    direct: bool,
    /// Write and sync in one submission to io_uring; refused where the system refuses it.
    #[cfg(all(target_os = "linux", feature = "io-uring"))]
    #[arg(long)]
    io_uring: bool,
    /// Do everything in one thread: the same input then makes the same system calls, in the same
    /// order, each time.
    #[arg(long, conflicts_with = "threads")]
    single_threaded: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Method {
    /// `fdatasync` after the write.
    DataSync,
    /// `fsync` after the write.
    FullSync,
    /// Files opened with `O_DSYNC`: the write returns when the bytes are durable.
    WriteThrough,
}

impl From<Method> for SyncMethod {
    fn from(method: Method) -> Self {
        match method {
            Method::DataSync => Self::DataSync,
            Method::FullSync => Self::FullSync,
            Method::WriteThrough => Self::WriteThrough,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    /// Ordered: survives nothing yet.
    Ordered,
    /// Written: survives the death of this process.
    Written,
    /// Durable: survives power loss.
    Durable,
}

impl From<Level> for Durability {
    fn from(level: Level) -> Self {
        match level {
            Level::Ordered => Self::Ordered,
            Level::Written => Self::Written,
            Level::Durable => Self::Durable,
        }
    }
}

/// An engine that keeps nothing: the command only appends.
struct Onlooker;

impl RedoTarget for Onlooker {
    type Error = io::Error;

    fn restore(&mut self, _: &CheckpointView<'_>) -> Result<(), io::Error> {
        Ok(())
    }

    fn redo(&mut self, _: &ReplayRecord<'_>) -> Result<(), io::Error> {
        Ok(())
    }
}

struct Line {
    number: u64,
    body: Vec<u8>,
}

impl Append {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let started = Instant::now();
        // The input first: a mistyped file must not leave a new log behind.
        let input: Box<dyn BufRead> = match &self.file {
            Some(path) => Box::new(BufReader::new(
                File::open(path).map_err(|error| Failure::io(path.display().to_string(), error))?,
            )),
            None => Box::new(io::stdin().lock()),
        };
        let opener = self.options().recover_with(RedoOnly::default());
        let wal = match self.other_storage()? {
            Some(storage) => opener.open_in(storage, &mut Onlooker)?,
            None => opener.open(&self.dir, &mut Onlooker)?,
        };
        self.warn_of_filesystem();
        if self.ack {
            self.print_recovery(&wal, started);
        }
        let acknowledged = AtomicU64::new(0);
        let bar = line_counter(self.ack);
        if self.single_threaded {
            self.feed(input, |line| self.append(&wal, &line, &acknowledged, &bar))?;
        } else {
            self.share_out(&wal, input, &acknowledged, &bar)?;
        }
        bar.finish_and_clear();
        wal.close()?;
        self.print_end(&wal, acknowledged.into_inner());
        Ok(Exit::Done)
    }

    /// Says what the place cannot keep, whatever the log does.
    fn warn_of_filesystem(&self) {
        let Ok(files) = FileStorage::open_existing(&self.dir) else { return };
        let (place, filesystem) = (self.dir.display(), files.filesystem());
        if filesystem.is_volatile() {
            eprintln!("wal: `{place}` is on {filesystem}, in memory: nothing survives power loss");
        } else if filesystem.is_network() {
            eprintln!(
                "wal: `{place}` is on {filesystem}: its locks and syncs are another machine's"
            );
        }
    }

    fn options(&self) -> Options {
        let options = Options::default()
            .segment_bytes(self.segment_bytes)
            .sync_method(self.sync_method.into())
            .direct(self.direct);
        if self.single_threaded { options.threads(Threads::None) } else { options }
    }

    /// Where the log is kept, if not as the options say.
    #[cfg(all(target_os = "linux", feature = "io-uring"))]
    fn other_storage(&self) -> Result<Option<Arc<dyn Storage>>, Failure> {
        if !self.io_uring {
            return Ok(None);
        }
        let options = UringOptions::default().direct(self.direct);
        match UringStorage::open_with(&self.dir, options) {
            Ok(storage) => Ok(Some(Arc::new(storage))),
            Err(UringError::Storage(error)) => Err(wal::Error::from(error).into()),
            Err(error) => {
                let place = self.dir.display().to_string();
                Err(Failure::io(place, io::Error::new(io::ErrorKind::Unsupported, error)))
            }
        }
    }

    #[cfg(not(all(target_os = "linux", feature = "io-uring")))]
    fn other_storage(&self) -> Result<Option<Arc<dyn Storage>>, Failure> {
        Ok(None)
    }

    /// Hands the lines out to the threads in turn.
    fn share_out(
        &self,
        wal: &Wal,
        input: Box<dyn BufRead>,
        acknowledged: &AtomicU64,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        thread::scope(|scope| {
            let mut queues = Vec::new();
            let mut workers = Vec::new();
            for _ in 0..self.threads {
                let (queue, lines) = sync_channel(QUEUED_LINES);
                queues.push(queue);
                workers.push(scope.spawn(move || self.work(wal, &lines, acknowledged, bar)));
            }
            let mut turns = (0..queues.len()).cycle();
            let fed = self.feed(input, |line| {
                let queue = turns.next().and_then(|turn| queues.get(turn));
                let sent = queue.is_some_and(|queue| queue.send(line).is_ok());
                if sent { Ok(()) } else { Err(Failure::Input("a thread stopped early".into())) }
            });
            drop(queues);
            let worked = workers.into_iter().try_for_each(|worker| {
                worker.join().unwrap_or_else(|_| Err(Failure::Input("a thread panicked".into())))
            });
            // A thread that failed makes feeding it fail too; its reason is the better one.
            worked.and(fed)
        })
    }

    /// Hands each line of the input to `take`, in order.
    fn feed(
        &self,
        mut input: Box<dyn BufRead>,
        mut take: impl FnMut(Line) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut count = 0_u64;
        loop {
            let mut body = Vec::new();
            let read = input.read_until(b'\n', &mut body);
            if read.map_err(|error| Failure::io(self.input_name(), error))? == 0 {
                return Ok(());
            }
            if body.last() == Some(&b'\n') {
                body.pop();
            }
            count += 1;
            let number = if self.numbered_input { number_of(&body, count)? } else { count };
            take(Line { number, body })?;
        }
    }

    fn work(
        &self,
        wal: &Wal,
        lines: &Receiver<Line>,
        acknowledged: &AtomicU64,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        lines.iter().try_for_each(|line| self.append(wal, &line, acknowledged, bar))
    }

    /// Appends a line, waits for it, and acknowledges it.
    fn append(
        &self,
        wal: &Wal,
        line: &Line,
        acknowledged: &AtomicU64,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        let ticket = wal.append(&line.body)?;
        ticket.wait(self.durability.into())?;
        bar.inc(1);
        let count = acknowledged.fetch_add(1, Ordering::Relaxed) + 1;
        if self.ack {
            acknowledge(line.number, ticket.lsn())?;
            if count.is_multiple_of(FIGURES_EVERY) {
                eprintln!("{}", one_write(&figures(wal, count)));
            }
        }
        Ok(())
    }

    fn input_name(&self) -> String {
        let named = self.file.as_ref().map(|path| path.display().to_string());
        named.unwrap_or_else(|| "standard input".to_owned())
    }

    fn print_recovery(&self, wal: &Wal, started: Instant) {
        let report = wal.recovery();
        let line = json!({
            "recovered_records": report.records_replayed,
            "dropped_bytes": report.dropped_bytes,
            "verdict": report.verdict,
            "recovery_us": started.elapsed().as_micros() as u64,
        });
        eprintln!("{}", one_write(&line));
    }

    fn print_end(&self, wal: &Wal, acknowledged: u64) {
        if self.ack {
            eprintln!("{}", one_write(&figures(wal, acknowledged)));
        } else {
            let stats = wal.stats().commit;
            eprintln!(
                "{acknowledged} records appended with {} syncs; the log ends at {}",
                stats.syncs,
                wal.positions().durable
            );
        }
    }
}

fn figures(wal: &Wal, acknowledged: u64) -> serde_json::Value {
    json!({ "records": acknowledged, "syncs": wal.stats().commit.syncs })
}

/// As text: printed piece by piece, JSON would be a system call for each bracket.
fn one_write(line: &serde_json::Value) -> String {
    line.to_string()
}

/// One write per acknowledgement: a line that was printed is in the pipe, whatever happens next.
fn acknowledge(number: u64, lsn: Lsn) -> Result<(), Failure> {
    let line = format!("{number} {lsn}\n");
    let mut out = io::stdout().lock();
    let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        // Unlike those of the reading commands, lines that nobody acknowledges are left undone.
        io::ErrorKind::BrokenPipe => Failure::Deaf,
        _ => Failure::output(error),
    })
}

fn number_of(body: &[u8], count: u64) -> Result<u64, Failure> {
    let digits = body.split(|byte| *byte == b'\t').next().unwrap_or_default();
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Failure::Input(format!("line {count} of the input does not start with a number and a tab"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_line_starts_with_a_number_and_a_tab() {
        assert_eq!(number_of(b"17\ttea", 1).unwrap(), 17);
        assert!(number_of(b"tea\t17", 1).is_err());
        assert!(number_of(b"", 1).is_err());
    }
}
