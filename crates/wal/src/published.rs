//! Figures of a running log, published in a small file for other programs: off unless asked for.
//!
//! A thread of its own writes them at an interval, without a sync: they are for watching, and
//! nothing is decided by them. The commit path does not know of it. The file is one block of text,
//! a name and a number a line, which begins and ends with the same sequence number, so that who
//! reads it in the middle of a write sees that, and reads again.

use std::fmt::Write as _;
use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wal_format::Lsn;
use wal_io::{Access, IoError, IoOp, LogFile, Storage, read_full_at, write_full_at};

use crate::error::Error;
use crate::place;

const FILE_NAME: &str = "stats";
const FILE_BYTES: usize = 4096;
/// Room for what follows the holds.
const LAST_LINES_BYTES: usize = 64;
/// How often a reader looks again who has met the writer.
const READS_MAX: usize = 16;

/// The thread which publishes; told to end by [`stop`](Self::stop) or by being dropped.
#[derive(Debug)]
pub(crate) struct Publisher {
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    /// Set once, under its lock.
    stopped: Mutex<bool>,
    changed: Condvar,
}

/// What is published each time; `None` once the log is gone.
pub(crate) type Source = Box<dyn FnMut() -> Option<PublishedStats> + Send>;

impl Publisher {
    /// Starts publishing in `storage` what `source` gives, at `interval`.
    pub(crate) fn start(
        storage: Arc<dyn Storage>,
        interval: Duration,
        source: Source,
    ) -> Result<Self, Error> {
        let state = Arc::new(State::default());
        let of_thread = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("wal-stats".to_owned())
            .spawn(move || publish(storage.as_ref(), &of_thread, interval, source))
            .map_err(|error| IoError::failed(IoOp::Create, "the thread for figures", error))?;
        Ok(Self { state, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread and removes the file. The log is still locked.
    pub(crate) fn stop(&self, storage: &dyn Storage) {
        self.tell();
        if let Some(thread) = self.thread.lock().take() {
            // A panic there has been reported, and there is nothing to be saved.
            let _ended = thread.join();
        }
        // Best effort: an old file says by its time that it is old.
        let _removed = storage.remove(FILE_NAME);
    }

    fn tell(&self) {
        *self.state.stopped.lock() = true;
        self.state.changed.notify_all();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // No join: the thread itself may be the one that drops the log.
        self.tell();
    }
}

fn publish(storage: &dyn Storage, state: &State, interval: Duration, mut source: Source) {
    let (mut sequence, mut warned) = (0, false);
    while let Some(mut stats) = source() {
        sequence += 1;
        stats.add("unix_us", storage.unix_us());
        stats.add("process", u64::from(std::process::id()));
        stats.add("interval_us", micros(interval));
        if let Err(error) = write(storage, &stats, sequence)
            && !std::mem::replace(&mut warned, true)
        {
            tracing::warn!(%error, "the figures of the log cannot be published");
        }
        let mut stopped = state.stopped.lock();
        if !*stopped {
            state.changed.wait_for(&mut stopped, interval);
        }
        if *stopped {
            return;
        }
    }
}

fn write(storage: &dyn Storage, stats: &PublishedStats, sequence: u64) -> Result<(), IoError> {
    let text = stats.describe(sequence);
    let block = format!("{text:<FILE_BYTES$}");
    let file = open(storage)?;
    write_full_at(file.as_ref(), FILE_NAME, &[IoSlice::new(block.as_bytes())], 0)
}

fn open(storage: &dyn Storage) -> Result<Box<dyn LogFile>, IoError> {
    let failed = |op, error| IoError::failed(op, FILE_NAME, error);
    match storage.open(FILE_NAME, Access::Write) {
        Err(error) if error.kind() == ErrorKind::NotFound => storage
            .create(FILE_NAME, FILE_BYTES as u64)
            .map_err(|error| failed(IoOp::Create, error)),
        opened => opened.map_err(|error| failed(IoOp::Open, error)),
    }
}

fn plain(c: char) -> char {
    if c.is_ascii_graphic() { c } else { '_' }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What a running log has published about itself: see
/// [`Options::publish_stats`](crate::Options::publish_stats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedStats {
    /// Every figure by its name: those of [`Stats`](crate::Stats) and [`CommitStats`](crate::CommitStats), times
    /// in microseconds; `process`, `epoch`, `interval_us`, and `unix_us`, when it was.
    pub figures: Vec<(String, u64)>,
    /// The holds that the process has taken in its memory.
    pub holds: Vec<(String, Lsn)>,
}

impl PublishedStats {
    /// The figure of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.figures.iter().find(|(found, _)| found == name).map(|(_, value)| *value)
    }

    /// What the log in the directory `path` has published; `None` where it publishes nothing.
    ///
    /// What a killed process has left is read as well: `unix_us` tells how old it is.
    ///
    /// # Errors
    ///
    /// [`NotALog`](crate::ErrorKind::NotALog): there is no such directory.
    /// [`Io`](crate::ErrorKind::Io): the file cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Option<Self>, Error> {
        Self::read_in(place::readable(path.as_ref())?.as_ref())
    }

    /// As [`read`](Self::read), in any [`Storage`].
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_in(storage: &dyn Storage) -> Result<Option<Self>, Error> {
        for _ in 0..READS_MAX {
            let file = match storage.open(FILE_NAME, Access::Read) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(IoError::failed(IoOp::Open, FILE_NAME, error).into()),
            };
            let mut bytes = [0; FILE_BYTES];
            let count = read_full_at(file.as_ref(), FILE_NAME, &mut bytes, 0)?;
            let text = std::str::from_utf8(bytes.get(..count).unwrap_or_default());
            if let Some(found) = text.ok().and_then(Self::parse) {
                return Ok(Some(found));
            }
            std::thread::yield_now();
        }
        Ok(None)
    }

    pub(crate) fn add(&mut self, name: &str, value: u64) {
        self.figures.push((name.to_owned(), value));
    }

    /// At most [`FILE_BYTES`] of ASCII.
    fn describe(&self, sequence: u64) -> String {
        let mut text = format!("wal-stats 1\nsequence {sequence}\n");
        for (name, value) in &self.figures {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name} {value}");
        }
        for (left_out, (name, lsn)) in self.holds.iter().enumerate() {
            let name: String = name.chars().map(plain).collect();
            let line = format!("hold {} {name}\n", lsn.get());
            // The last line must find its place.
            if text.len() + line.len() + LAST_LINES_BYTES > FILE_BYTES {
                let _ = writeln!(text, "holds_left_out {}", self.holds.len() - left_out);
                break;
            }
            text.push_str(&line);
        }
        let _ = writeln!(text, "end {sequence}");
        text
    }

    /// `None` for what is no such text, or is of two writings.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "wal-stats 1" {
            return None;
        }
        let mut found = Self::default();
        let mut sequence = None;
        for line in lines {
            let (name, value) = line.split_once(' ')?;
            match name {
                "sequence" => sequence = Some(value),
                "end" => return (sequence == Some(value)).then_some(found),
                "hold" => {
                    let (lsn, name) = value.split_once(' ')?;
                    found.holds.push((name.to_owned(), Lsn::new(lsn.parse().ok()?)?));
                }
                _ => found.figures.push((name.to_owned(), value.parse().ok()?)),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read_and_what_does_not_fit_is_counted() {
        let mut stats = PublishedStats::default();
        stats.add("records", u64::MAX);
        stats.holds = (0..300).map(|n| (format!("hold number {n}"), Lsn::FIRST)).collect();
        let text = stats.describe(9);
        assert!(text.len() <= FILE_BYTES && text.is_ascii());
        let read = PublishedStats::parse(&text).unwrap();
        assert_eq!(read.holds[0].0, "hold_number_0");
        assert_eq!(read.get("records"), Some(u64::MAX));
        let left_out = usize::try_from(read.get("holds_left_out").unwrap()).unwrap();
        assert_eq!(read.holds.len() + left_out, 300);
    }

    #[test]
    fn a_text_of_two_writings_is_not_read() {
        let text = "wal-stats 1\nsequence 7\nrecords 12\nhold 4096 tail\nend 7\n      ";
        let read = PublishedStats::parse(text).unwrap();
        assert_eq!((read.get("records"), read.get("flushes")), (Some(12), None));
        assert_eq!(read.holds, [("tail".to_owned(), Lsn::FIRST)]);
        for torn in [
            text.replace("end 7", "end 6"),
            text.replace("end 7", ""),
            text.replace("12", "1 2"),
            text.replace("4096", "4097"),
            text.replace("wal-stats 1", "wal-stats 2"),
            String::new(),
        ] {
            assert_eq!(PublishedStats::parse(&torn), None, "{torn}");
        }
    }
}
