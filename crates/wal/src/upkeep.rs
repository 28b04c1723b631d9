//! Checkpoints and truncation when they are due: by records, bytes, time, and a disk that fills.
//!
//! What is durable in the engine's own files only the engine knows, so it is asked: a callback
//! takes its snapshot. That runs in the thread which calls [`Wal::maintain`], or in that of a
//! [`Maintainer`]; never on the way of a commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wal_commit::{CommitError, PoisonCause};
use wal_format::{CheckpointPointer, Lsn};
use wal_io::IoError;

use crate::error::{Error, ErrorKind};
use crate::log::{Truncated, Wal};
use crate::page_log::PageLog;
use crate::since::Since;

/// When a checkpoint is due: whatever comes first. With none of them, never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Triggers {
    records: Option<u64>,
    bytes: Option<u64>,
    every: Option<Duration>,
    free_bytes_below: Option<u64>,
}

impl Triggers {
    /// Nothing is ever due.
    pub const fn new() -> Self {
        Self { records: None, bytes: None, every: None, free_bytes_below: None }
    }

    /// After so many records since the last checkpoint of this opening.
    pub const fn records(mut self, records: u64) -> Self {
        self.records = Some(records);
        self
    }

    /// After so many bytes of log since the newest checkpoint, or since the head without one.
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// After so long, if anything was appended since.
    pub const fn every(mut self, time: Duration) -> Self {
        self.every = Some(time);
        self
    }

    /// When the disk has fewer free bytes than this, and truncation could give back a segment.
    pub const fn free_bytes_below(mut self, bytes: u64) -> Self {
        self.free_bytes_below = Some(bytes);
        self
    }
}

/// Why a checkpoint is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Due {
    /// So many records were appended.
    Records,
    /// So many bytes were appended.
    Bytes,
    /// So much time has passed.
    Time,
    /// So little space is left.
    Space,
}

/// What an upkeep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintained {
    /// Why it was due.
    pub due: Due,
    /// The checkpoint that was taken; `None` when the engine declined.
    pub checkpoint: Option<CheckpointPointer>,
    /// What truncation gave back.
    pub truncated: Truncated,
}

/// The engine's errors, whatever they are.
type EngineError = Box<dyn std::error::Error + Send + Sync>;

impl Wal {
    /// Whether a checkpoint is due, and why.
    #[must_use]
    pub fn maintenance_due(&self, triggers: &Triggers) -> Option<Due> {
        let shared = self.shared();
        let (records, end, at) = {
            let since = shared.since.lock();
            (since.records, since.end, since.at)
        };
        let positions = self.positions();
        let newest = || shared.store.checkpoints().last().map(|newest| newest.begin);
        let bytes = || {
            let from = newest().unwrap_or_else(|| self.head());
            positions.reserved.distance_from(from).unwrap_or(0)
        };
        let appended = || shared.commit.stats().records.saturating_sub(records);
        if triggers.records.is_some_and(|limit| appended() >= limit) {
            return Some(Due::Records);
        }
        if triggers.bytes.is_some_and(|limit| bytes() >= limit) {
            return Some(Due::Bytes);
        }
        if triggers.every.is_some_and(|time| at.elapsed() >= time) && positions.reserved > end {
            return Some(Due::Time);
        }
        let low = triggers.free_bytes_below?;
        let free = shared.store.storage().free_bytes().ok().flatten()?;
        (free < low && bytes() >= shared.options.segment_bytes).then_some(Due::Space)
    }

    /// Takes a checkpoint if one is due, and gives back what nothing needs any more.
    ///
    /// `snapshot` is called with the address that the checkpoint begins at: it makes durable, in
    /// the engine's own files, everything appended and committed before that, and returns the
    /// payload by which the engine finds it again, or `None` to decline this time. Writers go on.
    ///
    /// It also looks whether another writer has taken the log over; see
    /// [`check_epoch`](Self::check_epoch).
    ///
    /// # Durability
    ///
    /// The checkpoint is durable before anything is truncated (rule 5).
    ///
    /// # Errors
    ///
    /// [`Replay`](ErrorKind::Replay): `snapshot` failed; the checkpoint is given up and nothing is
    /// truncated. Else as [`Checkpoint::complete`](crate::Checkpoint::complete) and
    /// [`truncate_before`](Self::truncate_before). It can be called again after each.
    pub fn maintain<F, E>(
        &self,
        triggers: &Triggers,
        mut snapshot: F,
    ) -> Result<Option<Maintained>, Error>
    where
        F: FnMut(Lsn) -> Result<Option<Vec<u8>>, E>,
        E: Into<EngineError>,
    {
        self.check_epoch()?;
        let Some(due) = self.maintenance_due(triggers) else {
            return Ok(None);
        };
        let _span = tracing::info_span!("wal_upkeep", ?due).entered();
        let records = self.shared().commit.stats().records;
        let checkpoint = self.checkpoint_begin()?;
        let begin = checkpoint.begin_lsn();
        let payload = snapshot(begin).map_err(|error| Error::of_snapshot(error.into()))?;
        let checkpoint = match payload {
            Some(payload) => Some(checkpoint.complete(&payload)?),
            None => None,
        };
        self.note_upkeep(records + 1 + u64::from(checkpoint.is_some()));
        let truncated = self.truncate_before(
            self.shared().store.head().max(checkpoint.map_or(Lsn::NONE, |pointer| pointer.begin)),
        )?;
        tracing::info!(?due, %begin, taken = checkpoint.is_some(), head = %truncated.head,
            segments = truncated.segments, "upkeep");
        Ok(Some(Maintained { due, checkpoint, truncated }))
    }

    /// Whether this opening is still the one that writes the log. The lock keeps others out; where a
    /// lock does not hold, the epoch in the control file shows it.
    ///
    /// It is looked at with every write of the control file: at each rotation, checkpoint and
    /// truncation, and at the close.
    ///
    /// # Errors
    ///
    /// [`Poisoned`](ErrorKind::Poisoned): another writer has taken the log over. From here on
    /// nothing is acknowledged.
    ///
    /// # Cost
    ///
    /// One read of 8 KiB.
    pub fn check_epoch(&self) -> Result<(), Error> {
        self.shared().store.check_epoch().map_err(|error| self.superseded(error))
    }

    /// The error of a call that wrote the control file: a writer that finds another one there has
    /// lost the log, and acknowledges nothing from here on.
    pub(crate) fn superseded(&self, error: IoError) -> Error {
        if let IoError::Superseded { ours, newer } = error {
            let cause = Arc::new(IoError::Superseded { ours, newer });
            self.shared().commit.poison(PoisonCause::storage(cause));
        }
        error.into()
    }

    /// What upkeep counts begins behind so many `records`, the checkpoint's own among them.
    fn note_upkeep(&self, records: u64) {
        let end = self.positions().reserved;
        *self.shared().since.lock() = Since { records, end, at: Instant::now() };
    }
}

impl PageLog {
    /// Takes a checkpoint of pages if one is due, and gives back what nothing needs any more.
    ///
    /// `prepare` is called first: it writes and syncs as many of the oldest dirty pages as the
    /// engine likes, since those hold the log, and returns the payload for the checkpoint.
    ///
    /// # Errors
    ///
    /// [`Replay`](ErrorKind::Replay): `prepare` failed, and nothing was done. Else as
    /// [`checkpoint`](Self::checkpoint) and [`truncate`](Self::truncate).
    pub fn maintain<F, E>(
        &self,
        triggers: &Triggers,
        mut prepare: F,
    ) -> Result<Option<Maintained>, Error>
    where
        F: FnMut(Due) -> Result<Vec<u8>, E>,
        E: Into<EngineError>,
    {
        let wal = self.wal();
        wal.check_epoch()?;
        let Some(due) = wal.maintenance_due(triggers) else {
            return Ok(None);
        };
        let payload = prepare(due).map_err(|error| Error::of_snapshot(error.into()))?;
        let checkpoint = Some(self.checkpoint(&payload)?);
        // As good as any count: of how many records a checkpoint of pages is, nobody is told.
        wal.note_upkeep(wal.shared().commit.stats().records);
        let truncated = self.truncate()?;
        tracing::info!(?due, head = %truncated.head, segments = truncated.segments, "upkeep");
        Ok(Some(Maintained { due, checkpoint, truncated }))
    }
}

/// A thread that takes checkpoints when they are due, until it is stopped or the log ends.
///
/// Dropping it stops it and waits for the upkeep under way. It holds a handle of the log: stop it
/// before the last handle is to go, or close the log.
#[derive(Debug)]
pub struct Maintainer {
    shared: Arc<Clock>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Clock {
    stop: Mutex<bool>,
    told: Condvar,
    failed: Mutex<Option<Error>>,
}

impl Maintainer {
    /// Looks every `interval` whether a checkpoint is due, and takes it.
    ///
    /// An upkeep that fails is tried again, and its error kept for [`stop`](Self::stop); one that
    /// says that the log is closed or poisoned is the last.
    ///
    /// # Errors
    ///
    /// [`Refused`](ErrorKind::Refused): the system has no thread for it.
    pub fn start<F>(
        wal: &Wal,
        triggers: Triggers,
        interval: Duration,
        mut snapshot: F,
    ) -> Result<Self, Error>
    where
        F: FnMut(Lsn) -> Result<Option<Vec<u8>>, EngineError> + Send + 'static,
    {
        let wal = wal.clone();
        Self::run(interval, move || wal.maintain(&triggers, &mut snapshot).map(drop))
    }

    fn run(
        interval: Duration,
        mut upkeep: impl FnMut() -> Result<(), Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Clock::default());
        let theirs = Arc::clone(&shared);
        let work = move || {
            while theirs.sleep(interval) {
                let Err(error) = upkeep() else { continue };
                let last = matches!(error.kind(), ErrorKind::Closed | ErrorKind::Poisoned);
                tracing::warn!(%error, last, "upkeep failed");
                *theirs.failed.lock() = Some(error);
                if last {
                    return;
                }
            }
        };
        let spawned = std::thread::Builder::new().name("wal-upkeep".to_owned()).spawn(work);
        let thread = Some(spawned.map_err(|error| CommitError::NoThread(Arc::new(error)))?);
        Ok(Self { shared, thread })
    }

    /// Stops the thread and waits for the upkeep under way.
    ///
    /// # Errors
    ///
    /// The last upkeep that failed, if one did.
    pub fn stop(mut self) -> Result<(), Error> {
        self.end();
        let failed = self.shared.failed.lock().take();
        failed.map_or(Ok(()), Err)
    }

    fn end(&mut self) {
        *self.shared.stop.lock() = true;
        self.shared.told.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the engine's snapshot panicked; no more upkeep");
        }
    }
}

impl Clock {
    /// Sleeps for `interval`; false when it is to stop.
    fn sleep(&self, interval: Duration) -> bool {
        let deadline = Instant::now().checked_add(interval);
        let mut stop = self.stop.lock();
        while !*stop {
            match deadline {
                Some(deadline) if self.told.wait_until(&mut stop, deadline).timed_out() => {
                    return !*stop;
                }
                Some(_) => {}
                None => self.told.wait(&mut stop),
            }
        }
        false
    }
}

impl Drop for Maintainer {
    fn drop(&mut self) {
        self.end();
    }
}
