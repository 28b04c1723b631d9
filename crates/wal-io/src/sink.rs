//! The seam to the commit path: somewhere to write log bytes, and someone to prepare segments.
//!
//! The commit path knows addresses only; which file an address lies in is decided behind these
//! traits. Both are object-safe, so that a test can stand in for a whole directory of segments.

use std::fmt;
use std::io::IoSlice;
use std::time::Duration;

use wal_format::Lsn;

use crate::error::IoError;

/// Takes the bytes of the log, in order of address, and makes them durable.
///
/// One sink belongs to one flush slot and has its own open files (rule 6).
pub trait LogSink: Send + fmt::Debug {
    /// Writes the bytes which begin at address `at`, across segment boundaries if need be; short
    /// writes are finished.
    ///
    /// `at` and the total length are multiples of [`block_bytes`](Self::block_bytes) and of 8.
    ///
    /// # Durability
    ///
    /// None before [`sync`](Self::sync) returned success.
    ///
    /// # Errors
    ///
    /// Anything but success may have written some of the bytes: poison the log, never try again.
    fn write(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError>;

    /// Makes everything written so far through this sink durable, in every file touched since
    /// the last sync.
    ///
    /// # Errors
    ///
    /// What was written since the last successful sync is then unknown: poison the log.
    fn sync(&mut self) -> Result<(), IoError>;

    /// As [`write`](Self::write) and then [`sync`](Self::sync), in one call to the system where the
    /// backend can.
    ///
    /// # Errors
    ///
    /// As those two: poison the log.
    fn write_sync(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError> {
        self.write(at, bufs)?;
        self.sync()
    }

    /// Whether [`write_sync`](Self::write_sync) is one call for the next bytes, and so better than
    /// the two. Nothing is known to be written before it returns.
    ///
    /// A log whose sinks all say no when it starts does not ask again.
    fn joins_sync(&self) -> bool {
        false
    }

    /// Writes start and end at multiples of this many bytes: 1, or the block of a direct backend.
    fn block_bytes(&self) -> usize;

    /// Whether a successful [`sync`](Self::sync) makes anything durable.
    fn can_promise(&self) -> bool;
}

/// Lets so much time go by, or less; says how it ended.
pub type Rest<'r> = &'r (dyn Fn(Duration) -> Rested + 'r);

/// How a rest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rested {
    /// In its time.
    Over,
    /// Somebody waits for the segment: no more rests.
    Hurry,
    /// Nobody needs the segment any more: the log ends.
    Stop,
}

/// Makes the next segment ready, off the commit path (rule 12).
pub trait Preparer: Send + Sync + fmt::Debug {
    /// Makes the segment of `capacity_bytes` (rounded up to whole blocks of 4,096) which begins at
    /// `base` ready, durable, and registered as newest (rule 14). Returns the end of the segment.
    ///
    /// `base` is the end of the last ready segment, or the base of the last ready segment while
    /// nothing was written to it: it is then replaced if its capacity differs.
    ///
    /// # Errors
    ///
    /// [`IoError::is_no_space`]: nothing was promised, the log stays usable, and another try may
    /// succeed. After any other error the segment is not ready either.
    fn prepare(&self, base: Lsn, capacity_bytes: u64) -> Result<Lsn, IoError>;

    /// Makes the next segment ready before anybody needs it, behind the last ready one, which ends
    /// at `base`. It is as long as the preparer sees fit, a normal segment at most. Returns its end.
    ///
    /// With `rest` the work goes on beside commits: it is done in pieces, and `rest` is called
    /// between them with a time in which the device had better be left to others. Whoever comes to
    /// wait for the segment meanwhile has `rest` return [`Rested::Hurry`] at once. After
    /// [`Rested::Stop`] the work is given up.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare); [`IoError::Closed`] after [`Rested::Stop`].
    fn prepare_next(&self, base: Lsn, rest: Option<Rest<'_>>) -> Result<Lsn, IoError> {
        let _ = rest;
        self.prepare(base, self.segment_bytes())
    }

    /// As [`prepare`](Self::prepare) for a normal segment, in space that is
    /// [held back](Self::hold_back) as long as there is some.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare).
    fn prepare_from_held(&self, base: Lsn) -> Result<Lsn, IoError> {
        self.prepare(base, self.segment_bytes())
    }

    /// Takes space for `segments` normal segments in all, and holds it back: when there is no other
    /// space, [`prepare`](Self::prepare) uses it. Gives how many are held back now.
    ///
    /// # Errors
    ///
    /// [`IoError::is_no_space`]: there is none; nothing was promised.
    fn hold_back(&self, segments: u64) -> Result<u64, IoError> {
        let _ = segments;
        Ok(0)
    }

    /// The log is durable up to `end`, without a gap: evidence for the next control write
    /// (rule 10). Cheap: it takes no lock and does no I/O.
    fn note_durable(&self, end: Lsn) {
        let _ = end;
    }

    /// How many segments are held back. Cheap: it takes no lock and does no I/O.
    fn held_back(&self) -> u64 {
        0
    }

    /// Capacity of a normal segment, in bytes.
    fn segment_bytes(&self) -> u64;
}
