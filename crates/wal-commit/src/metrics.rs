//! What the commit path did, in plain integers.
//!
//! Counters change under the lock that guards what they count, so a snapshot is consistent.

use std::time::Duration;

/// Counters since the log was opened. All only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitStats {
    /// Records appended by users, those in batches included; housekeeping is not.
    pub records: u64,
    /// Bytes that those records take in the log, headers and alignment included.
    pub record_bytes: u64,
    /// Atomic batches of more than one record.
    pub batches: u64,
    /// Records too large for the buffer, written from the caller's memory (rule 18).
    pub oversized: u64,
    /// Padding records, and the bytes they take: ends of segments, of blocks, and the close.
    pub paddings: u64,
    /// Bytes of padding records.
    pub padding_bytes: u64,
    /// Watermark records written while idle (rule 10).
    pub watermarks: u64,
    /// Records that tell the time ([`Timestamps`](crate::Timestamps)).
    pub time_marks: u64,
    /// Times that appending went on in the next segment.
    pub rotations: u64,
    /// Segments made ready.
    pub segments_prepared: u64,
    /// Attempts to make a segment ready which failed.
    pub preparations_failed: u64,
    /// Buffers written.
    pub flushes: u64,
    /// Syncs that returned success.
    pub syncs: u64,
    /// Time spent in those syncs.
    pub sync_time: Duration,
    /// The longest of them.
    pub sync_time_max: Duration,
    /// Time that flushes took, from taking what was pending to the end of the sync, or of the write
    /// where there was none.
    pub flush_time: Duration,
    /// Syncs longer than [`CommitConfig::slow_sync`](crate::CommitConfig::slow_sync).
    pub slow_syncs: u64,
    /// Waits in which the waiting thread flushed for everybody.
    pub waits_led: u64,
    /// Waits, futures and callbacks that a flush of somebody else answered.
    pub waits_followed: u64,
    /// The most committers that one flush answered.
    pub largest_group: u64,
    /// Appends that had to wait for room in the buffer.
    pub room_waits: u64,
    /// Appends that had to wait for a segment, or to make one.
    pub segment_waits: u64,
}

impl CommitStats {
    /// Records that one flush carried, on average; 0 before the first.
    #[must_use]
    pub fn average_batch(&self) -> f64 {
        if self.flushes == 0 { 0.0 } else { self.records as f64 / self.flushes as f64 }
    }

    /// What a flush took, on average; zero before the first.
    #[must_use]
    pub fn average_flush_time(&self) -> Duration {
        average(self.flush_time, self.flushes)
    }

    /// What a sync took, on average; zero before the first.
    #[must_use]
    pub fn average_sync_time(&self) -> Duration {
        average(self.sync_time, self.syncs)
    }

    /// Counts a successful sync; returns whether it was slower than `limit`.
    pub(crate) fn count_sync(&mut self, took: Duration, limit: Option<Duration>) -> bool {
        self.syncs += 1;
        self.sync_time = self.sync_time.saturating_add(took);
        self.sync_time_max = self.sync_time_max.max(took);
        let slow = limit.is_some_and(|limit| took > limit);
        self.slow_syncs += u64::from(slow);
        slow
    }

    /// Counts a padding record of `bytes`.
    pub(crate) fn count_padding(&mut self, bytes: u64) {
        self.paddings += 1;
        self.padding_bytes += bytes;
    }
}

fn average(total: Duration, count: u64) -> Duration {
    let nanos = total.as_nanos().checked_div(u128::from(count)).unwrap_or(0);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_of_what_there_was_and_nothing_of_nothing() {
        let mut stats = CommitStats::default();
        assert_eq!((stats.average_batch(), stats.average_flush_time()), (0.0, Duration::ZERO));
        (stats.records, stats.flushes, stats.syncs) = (10, 4, 2);
        stats.flush_time = Duration::from_micros(400);
        stats.sync_time = Duration::from_micros(300);
        assert!((stats.average_batch() - 2.5).abs() < f64::EPSILON);
        assert_eq!(stats.average_flush_time(), Duration::from_micros(100));
        assert_eq!(stats.average_sync_time(), Duration::from_micros(150));
    }

    #[test]
    fn a_sync_over_the_limit_is_counted_as_slow() {
        let mut stats = CommitStats::default();
        let limit = Some(Duration::from_millis(10));
        assert!(!stats.count_sync(Duration::from_millis(10), limit));
        assert!(stats.count_sync(Duration::from_millis(11), limit));
        assert!(!stats.count_sync(Duration::from_secs(9), None));
        assert_eq!((stats.syncs, stats.slow_syncs), (3, 1));
        assert_eq!(stats.sync_time_max, Duration::from_secs(9));
    }
}
