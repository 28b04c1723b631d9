//! When a record that tells the time goes before another one.
//!
//! A decision over plain numbers; the clock is given. Invariant: a time told is never lower than
//! one told before, by this opening or, as far as its opener knows, by an earlier one.

use std::fmt;
use std::time::Duration;

use wal_format::body::Time;
use wal_format::layout::RECORD_HEADER_BYTES;
use wal_format::{RecordDraft, RecordKind};

/// Bytes that a record which tells the time takes in the log.
pub(crate) const TIME_RECORD_BYTES: u64 = (RECORD_HEADER_BYTES + Time::BYTES) as u64;

const _: () = assert!(TIME_RECORD_BYTES.is_multiple_of(8));

/// Has a log tell the time: a record of [`RecordKind::TIME`] before an append which finds that long
/// enough has passed since the last one.
///
/// A mark stands before all records of a batch, never between them, and belongs to none. A clock
/// that jumps back repeats what was told last until it has caught up. Where a checkpoint completes
/// there is always a mark, so that whoever reads from a checkpoint on knows the last time told.
pub struct Timestamps {
    resolution_us: u64,
    last_unix_us: u64,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Timestamps {
    /// A mark is due when `resolution` has passed; with zero, before each append.
    ///
    /// `last_unix_us` is what the log told last, such as the time of the opening. `clock` gives
    /// microseconds since the Unix epoch; it is asked under the lock of the log, so it must be short
    /// and must not call the log.
    #[must_use]
    pub fn new(
        resolution: Duration,
        last_unix_us: u64,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        let resolution_us = u64::try_from(resolution.as_micros()).unwrap_or(u64::MAX);
        Self { resolution_us, last_unix_us, clock: Box::new(clock) }
    }

    /// The mark that must go before records of which the first is of `kind`, if one is due.
    fn due(&self, kind: RecordKind) -> Option<Time> {
        if kind.is_housekeeping() {
            return None;
        }
        let now = self.now();
        let passed = now.unix_us - self.last_unix_us >= self.resolution_us;
        (passed || kind == RecordKind::CHECKPOINT_END).then_some(now)
    }

    fn now(&self) -> Time {
        Time { unix_us: (self.clock)().max(self.last_unix_us) }
    }
}

impl fmt::Debug for Timestamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timestamps")
            .field("resolution_us", &self.resolution_us)
            .field("last_unix_us", &self.last_unix_us)
            .finish_non_exhaustive()
    }
}

/// What goes into the log together: the records of one append, and the mark before them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Together<'d> {
    pub(crate) time: Option<Time>,
    pub(crate) drafts: &'d [RecordDraft<'d>],
}

impl<'d> Together<'d> {
    /// The records with the mark that is due before them; without any, a mark alone.
    pub(crate) fn of(timestamps: Option<&Timestamps>, drafts: &'d [RecordDraft<'d>]) -> Self {
        let due = |timestamps: &Timestamps| match drafts.first() {
            Some(draft) => timestamps.due(draft.kind),
            None => Some(timestamps.now()),
        };
        Self { time: timestamps.and_then(due), drafts }
    }

    /// How many records stand before those of the append.
    pub(crate) fn marks(&self) -> usize {
        usize::from(self.time.is_some())
    }

    /// Bytes that each record takes in the log.
    pub(crate) fn sizes(self) -> impl Iterator<Item = u64> + Clone {
        let mark = self.time.map(|_| TIME_RECORD_BYTES);
        mark.into_iter().chain(self.drafts.iter().map(|draft| draft.encoded_bytes() as u64))
    }
}

/// Takes note of a mark that is in the log.
pub(crate) fn note_mark(timestamps: Option<&mut Timestamps>, time: Time) {
    if let Some(timestamps) = timestamps {
        timestamps.last_unix_us = time.unix_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(resolution_us: u64, last_unix_us: u64, now: u64) -> Timestamps {
        Timestamps::new(Duration::from_micros(resolution_us), last_unix_us, move || now)
    }

    #[test]
    fn a_mark_is_due_when_the_resolution_has_passed() {
        assert_eq!(at(10, 100, 109).due(RecordKind::DATA), None);
        assert_eq!(at(10, 100, 110).due(RecordKind::DATA), Some(Time { unix_us: 110 }));
        assert_eq!(at(0, 100, 100).due(RecordKind::DATA), Some(Time { unix_us: 100 }));
    }

    #[test]
    fn a_clock_that_jumps_back_repeats_what_was_told_last() {
        assert_eq!(at(10, 100, 3).due(RecordKind::DATA), None);
        assert_eq!(at(0, 100, 3).due(RecordKind::DATA), Some(Time { unix_us: 100 }));
        assert_eq!(at(0, u64::MAX, 3).due(RecordKind::DATA), Some(Time { unix_us: u64::MAX }));
    }

    #[test]
    fn a_checkpoint_completes_behind_a_mark_and_housekeeping_needs_none() {
        let kept = at(10, 100, 101);
        assert_eq!(kept.due(RecordKind::CHECKPOINT_END), Some(Time { unix_us: 101 }));
        assert_eq!(at(0, 100, 101).due(RecordKind::OPENED), None);
    }
}
