//! Following a log that another process writes.
//!
//! [`Tail`](crate::Tail) is for the process which has the log open; this is for all others. Nothing
//! here changes a byte, takes a lock, or makes a file.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wal_format::{Lsn, RecordRef};
use wal_io::Storage;
use wal_recovery::LogFollower;

use crate::error::Error;
use crate::place;

/// The shortest wait between two looks at a log that has nothing new, and the longest: each look
/// doubles it.
const NAP_MIN: Duration = Duration::from_millis(1);
const NAP_MAX: Duration = Duration::from_millis(50);
/// After this long without anything new it is asked whether the log is damaged there.
const STILL: Duration = Duration::from_secs(1);

/// Reads the log of another process as it grows, up to what is proven durable.
///
/// Through rotations, truncations, the death of the writer and its next opening no record is missed
/// and none comes twice. The last records of a group are proven durable by what follows them: the
/// next record, the watermark record of a log gone idle, a close.
#[derive(Debug)]
pub struct Follower {
    inner: LogFollower,
}

impl Follower {
    /// Follows the log in the directory `path`, from its head.
    ///
    /// # Errors
    ///
    /// [`NotALog`](crate::ErrorKind::NotALog): there is none.
    /// [`Damaged`](crate::ErrorKind::Damaged), [`Foreign`](crate::ErrorKind::Foreign),
    /// [`UnsupportedVersion`](crate::ErrorKind::UnsupportedVersion): so are its files.
    /// [`Io`](crate::ErrorKind::Io): it could not be read.
    ///
    /// # Cost
    ///
    /// A look at the directory; no record is read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_in(place::viewed(path.as_ref())?)
    }

    /// As [`open`](Self::open), in any [`Storage`].
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_in(storage: Arc<dyn Storage>) -> Result<Self, Error> {
        Ok(Self { inner: LogFollower::open(&storage)? })
    }

    /// Hands every record to `visit` that is proven durable now, housekeeping included, until it
    /// breaks off.
    ///
    /// # Errors
    ///
    /// [`Truncated`](crate::ErrorKind::Truncated): records were removed before they were read; go on
    /// with [`skip_to_head`](Self::skip_to_head), or take a hold in the process that writes.
    /// [`Damaged`](crate::ErrorKind::Damaged): the log is damaged at the position.
    ///
    /// # Cost
    ///
    /// Reads and checks each record twice; with nothing new, two opens and 12 KiB read.
    pub fn drain<B>(
        &mut self,
        visit: impl FnMut(&RecordRef<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, Error> {
        Ok(self.inner.drain(visit)?)
    }

    /// As [`drain`](Self::drain); where nothing is there yet, waits for something for at most
    /// `timeout`. It asks again at first after a millisecond, and never less often than 20 times a
    /// second.
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain). [`Damaged`](crate::ErrorKind::Damaged) also when nothing can come
    /// any more, because the log is damaged behind the position.
    pub fn drain_within<B>(
        &mut self,
        timeout: Duration,
        mut visit: impl FnMut(&RecordRef<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, Error> {
        let started = Instant::now();
        let (mut nap, mut is_judged) = (NAP_MIN, false);
        loop {
            let before = self.position();
            let visited = self.inner.drain(&mut visit)?;
            let waited = started.elapsed();
            if visited.is_some() || self.position() > before || waited >= timeout {
                return Ok(visited);
            }
            if !is_judged && waited >= STILL.min(timeout / 2) {
                self.inner.judge()?;
                is_judged = true;
            }
            thread::sleep(nap.min(timeout.saturating_sub(waited)));
            nap = (nap * 2).min(NAP_MAX);
        }
    }

    /// Goes on at the head of the log, behind what was truncated; returns where that is.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): the directory could not be read.
    pub fn skip_to_head(&mut self) -> Result<Lsn, Error> {
        Ok(self.inner.skip_to_head()?)
    }

    /// Up to where records were handed out.
    #[must_use]
    pub const fn position(&self) -> Lsn {
        self.inner.position()
    }

    /// Lowest address of the log when it was last looked at.
    #[must_use]
    pub fn head(&self) -> Lsn {
        self.inner.head()
    }

    /// Up to where the log is known to be durable.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.inner.readable_end()
    }

    /// Whether the log was closed cleanly and read to its end. It may be opened again later.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }
}
