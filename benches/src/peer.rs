//! What a log must do to be measured here: commit one body durably, from any number of threads;
//! and, if it can, take bodies without making each durable, and read all of them back.
//!
//! Leaves how each library does it to whoever measures it, and who is measured when to `turns`.

use std::error::Error;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

/// Why a peer could not do what was asked: its own words.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A log which is open.
pub trait Peer: Send + Sync {
    /// What thread `thread` (counted from 0) commits with; a log opened not to be durable takes
    /// bodies in the cheapest way it has.
    ///
    /// # Errors
    ///
    /// The log's own.
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure>;

    /// Returns when the kernel has every body which was taken.
    ///
    /// # Errors
    ///
    /// The log's own.
    fn written(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Reads every record in the quickest way it has, after `written`: how many it met. What it
    /// must finish first comes before it starts the clock.
    ///
    /// # Errors
    ///
    /// The log's own; also when it offers no such way.
    fn scan(self: Box<Self>, _dir: &Path, _clock: &mut Clock) -> Result<u64, Failure> {
        Err("offers no way to read the log".into())
    }

    /// Bytes of log so far, of a log which can tell.
    fn stored_bytes(&self) -> Option<u64> {
        None
    }

    /// One commit to be awaited by a task, of a log which can do that.
    fn commit_in_task<'a>(&'a self, _body: &'a [u8]) -> Awaited<'a> {
        Box::pin(async { Err("this log's commits cannot be awaited".into()) })
    }
}

/// When something started.
#[derive(Debug, Default)]
pub struct Clock(Option<Instant>);

impl Clock {
    /// A clock which has not started.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Starts it now.
    pub fn start(&mut self) {
        self.0 = Some(Instant::now());
    }

    /// Seconds since it was started; 0 if it never was.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.0.map_or(0.0, |started| started.elapsed().as_secs_f64())
    }
}

/// Ready when a commit is durable.
pub type Awaited<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// One thread's side of a log.
pub trait Committer: Send {
    /// Returns when `body` is durable, as far as the log promises.
    ///
    /// # Errors
    ///
    /// The log's own.
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure>;
}

impl<F: FnMut(&[u8]) -> Result<(), Failure> + Send> Committer for F {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        self(body)
    }
}

/// What a run will ask of a log, for those which prepare for it.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Threads which commit.
    pub threads: usize,
    /// Whether a body must be durable when its commit returns.
    pub durable: bool,
    /// Bytes of all bodies together, where that is known beforehand; else 0.
    pub bytes: u64,
    /// Bytes of one body.
    pub body_bytes: usize,
    /// Bytes of each file of our log, where they are not the default.
    pub segment_bytes: Option<u64>,
}

/// What commits to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committers {
    /// As many threads as the load has.
    Threads,
    /// As many tasks of one thread.
    Tasks,
    /// So many threads under any load of at least as many.
    Fixed(usize),
}

impl Committers {
    /// How many there are under a load of `threads`.
    #[must_use]
    pub const fn under(self, threads: usize) -> usize {
        match self {
            Self::Threads | Self::Tasks => threads,
            Self::Fixed(count) => count,
        }
    }
}

/// How a log is opened, anew, in an empty directory.
pub type Open = fn(&Path, Load) -> Result<Box<dyn Peer>, Failure>;

/// A log that can be measured.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name on the command line and in the tables.
    pub name: &'static str,
    /// The version which `Cargo.lock` holds.
    pub version: &'static str,
    /// The options it is opened with: its fastest which are durable.
    pub options: &'static str,
    /// How it takes bodies which need not be durable, and how they are read back; nothing if it is
    /// not asked to.
    pub appends: &'static str,
    /// What a reader of the figures must know about it, or nothing.
    pub caveat: &'static str,
    /// What commits to it.
    pub committers: Committers,
    /// Opens it.
    pub open: Open,
}
