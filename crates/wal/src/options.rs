//! How a log is to be kept: one builder over the options of the lower crates.

use std::time::Duration;

use wal_commit::{CommitConfig, Durability, SyncPolicy, Threads};
use wal_io::{StoreOptions, SyncMethod};

use crate::error::{Error, Refusal};

/// How a log is to be kept. The defaults suit a database on a local disk.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) segment_bytes: u64,
    pub(crate) buffer_bytes: usize,
    pub(crate) flushes_in_flight: usize,
    pub(crate) sync_method: SyncMethod,
    pub(crate) sync_policy: SyncPolicy,
    pub(crate) threads: Threads,
    pub(crate) sync_after_records: Option<u64>,
    pub(crate) sync_after_bytes: Option<u64>,
    pub(crate) retained_checkpoints: usize,
    pub(crate) recycled_segments: usize,
    pub(crate) slow_sync: Option<Duration>,
    pub(crate) idle_after: Option<Duration>,
    pub(crate) create: bool,
    pub(crate) direct: bool,
    pub(crate) lock_wait: Duration,
    pub(crate) publish_stats: Option<Duration>,
    pub(crate) timestamps: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            buffer_bytes: 8 << 20,
            flushes_in_flight: 1,
            sync_method: SyncMethod::DataSync,
            sync_policy: SyncPolicy::Group,
            threads: Threads::Helper,
            sync_after_records: None,
            sync_after_bytes: None,
            retained_checkpoints: 2,
            recycled_segments: 2,
            slow_sync: Some(Duration::from_secs(1)),
            idle_after: Some(Duration::from_secs(1)),
            create: true,
            direct: false,
            lock_wait: Duration::from_secs(1),
            publish_stats: None,
            timestamps: None,
        }
    }
}

impl Options {
    /// Bytes of log in one segment file: a multiple of 4,096 from 64 KiB to 1 TiB.
    ///
    /// Default: 64 MiB. The space is taken ahead, for the segment in use and for its successor. A log
    /// begins, and goes on after a crash, in a segment of 1 MiB at most; those made ahead of need
    /// are up to half as long again as the one before, until they are as long as this says.
    #[must_use]
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Bytes of memory for records on their way to the device: from 16 KiB to 1 GiB.
    ///
    /// Default: 8 MiB; at least 64 KiB with direct I/O. It is divided into a part which is filled
    /// and one for each [flush in flight](Self::flushes_in_flight). A batch may hold a part of it,
    /// and half a segment.
    #[must_use]
    pub const fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// How many flushes may be on their way to the device at once, 1 to 8. Default: 1.
    ///
    /// Each has open files of its own (rule 6) and a part of the buffer. A commit is acknowledged
    /// when everything before it is durable as well, whichever flush lands first.
    #[must_use]
    pub const fn flushes_in_flight(mut self, flushes: usize) -> Self {
        self.flushes_in_flight = flushes;
        self
    }

    /// How bytes are made durable. Default: [`SyncMethod::DataSync`].
    #[must_use]
    pub const fn sync_method(mut self, method: SyncMethod) -> Self {
        self.sync_method = method;
        self
    }

    /// When syncs happen without being asked for, and what a commit waits for.
    ///
    /// Default: [`SyncPolicy::Group`], under which every commit is durable when it returns.
    #[must_use]
    pub const fn sync_policy(mut self, policy: SyncPolicy) -> Self {
        self.sync_policy = policy;
        self
    }

    /// Asks for a sync, and waits for none, with each so many records appended: with
    /// [`SyncPolicy::Periodic`] or [`SyncPolicy::Never`] a bound of what a power loss takes, beside
    /// the one by time. Default: none. Needs [`Threads::Helper`].
    #[must_use]
    pub const fn sync_after_records(mut self, records: Option<u64>) -> Self {
        self.sync_after_records = records;
        self
    }

    /// As [`sync_after_records`](Self::sync_after_records), by bytes of log. Default: none.
    #[must_use]
    pub const fn sync_after_bytes(mut self, bytes: Option<u64>) -> Self {
        self.sync_after_bytes = bytes;
        self
    }

    /// Whether the log may have threads of its own. Default: [`Threads::Helper`], one which prepares
    /// segments and one which serves futures; no commit passes through them. An opening that reads more
    /// than 2 MiB has a helper too, where there is another processor, until it is done.
    #[must_use]
    pub const fn threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// How many checkpoints are kept to fall back on, 1 to 8. Default: 2 (rule 5).
    #[must_use]
    pub const fn retained_checkpoints(mut self, count: usize) -> Self {
        self.retained_checkpoints = count;
        self
    }

    /// How many truncated segments are kept as files, to become the next ones: 0 to 64. Default: 2.
    ///
    /// A segment in a file that was used before is made without writing zeros. What was truncated
    /// stays on the device until it is written over; 0 has each file removed at once. On file
    /// systems that copy on write none is kept.
    #[must_use]
    pub const fn recycled_segments(mut self, count: usize) -> Self {
        self.recycled_segments = count;
        self
    }

    /// A sync which takes longer raises an event and is counted. Default: one second.
    #[must_use]
    pub const fn slow_sync(mut self, limit: Option<Duration>) -> Self {
        self.slow_sync = limit;
        self
    }

    /// An idle log writes one watermark record, without a sync, once nothing has happened for this
    /// long: it proves what was durable (rule 10). Default: one second; needs
    /// [`Threads::Helper`].
    #[must_use]
    pub const fn idle_after(mut self, idle: Option<Duration>) -> Self {
        self.idle_after = idle;
        self
    }

    /// Whether a log is created where there is none. Default: yes.
    #[must_use]
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether files are opened past the page cache (`O_DIRECT`, Linux). Default: no.
    ///
    /// Each flush then ends on a block boundary and no block is written twice: for devices which
    /// ruin the sector being written when power fails.
    #[must_use]
    pub const fn direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }

    /// How long an opening waits for another handle to let go of the log. Default: one second.
    ///
    /// A log that was dropped without being closed keeps its lock until its last operation has
    /// returned (rule 15), which a reopening right behind it would otherwise meet.
    #[must_use]
    pub const fn lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait;
        self
    }

    /// Publishes figures of the running log at this interval, at least a millisecond, in the file
    /// `stats` of its directory, for `wal top` and other programs:
    /// [`PublishedStats`](crate::PublishedStats). Default: not at all, which costs nothing.
    ///
    /// A thread of its own writes 4,096 bytes each time, without a sync; commits do not wait for
    /// it, but for the moment in which it copies the counters.
    #[must_use]
    pub const fn publish_stats(mut self, interval: Option<Duration>) -> Self {
        self.publish_stats = interval;
        self
    }

    /// Has the log tell the time: a record of [`RecordKind::TIME`](crate::RecordKind::TIME) goes
    /// before an append which finds that this long has passed since the last one; with
    /// [`Duration::ZERO`] before each append. Default: none, which costs nothing.
    ///
    /// A record was then appended at the time told last before it or later, and no later than the
    /// next time told: [`Reader::unix_us`](crate::Reader::unix_us) and
    /// [`RecordTimes`](crate::RecordTimes) say which. An opening tells the time too. Batches stay
    /// whole: the mark stands before them, and counts for nothing in a replay. A record longer than
    /// [`batch_bytes_max`](crate::Wal::batch_bytes_max) may have others between its mark and itself.
    ///
    /// The clock is [`Storage::unix_us`](crate::Storage::unix_us). In the log it never goes back: a
    /// clock that jumps back repeats the last time until it has caught up, also across openings,
    /// as far as the records that an opening replays tell the time.
    ///
    /// Costs 32 bytes of log for each mark, and a look at the clock for each append. A log of pages
    /// refuses it, for the space of its rollbacks is promised to the byte.
    #[must_use]
    pub const fn timestamps(mut self, resolution: Option<Duration>) -> Self {
        self.timestamps = resolution;
        self
    }

    /// The same for a log in memory: segments small enough to take two of them at once.
    pub(crate) fn for_memory(self) -> Self {
        let unchanged = self.segment_bytes == Self::default().segment_bytes;
        if unchanged { self.segment_bytes(64 << 10) } else { self }
    }

    /// What a commit waits for when nobody says.
    pub(crate) fn commit_level(&self) -> Durability {
        let promised = self.sync_policy.default_level();
        if self.sync_method.can_promise() { promised } else { promised.min(Durability::Written) }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let segment = self.segment_bytes;
        if !segment.is_multiple_of(4096) || !(64 << 10..=1 << 40).contains(&segment) {
            return Err(out_of_range(
                "segment_bytes",
                segment,
                "a multiple of 4,096 from 64 KiB to 1 TiB",
            ));
        }
        if !(16 << 10..=1 << 30).contains(&self.buffer_bytes) {
            let value = self.buffer_bytes as u64;
            return Err(out_of_range("buffer_bytes", value, "16 KiB to 1 GiB"));
        }
        if self.direct && self.buffer_bytes < 64 << 10 {
            let value = self.buffer_bytes as u64;
            return Err(out_of_range("buffer_bytes", value, "at least 64 KiB with direct I/O"));
        }
        if !(1..=8).contains(&self.flushes_in_flight) {
            let value = self.flushes_in_flight as u64;
            return Err(out_of_range("flushes_in_flight", value, "1 to 8"));
        }
        if !(1..=8).contains(&self.retained_checkpoints) {
            let value = self.retained_checkpoints as u64;
            return Err(out_of_range("retained_checkpoints", value, "1 to 8"));
        }
        if self.recycled_segments > 64 {
            let value = self.recycled_segments as u64;
            return Err(out_of_range("recycled_segments", value, "0 to 64"));
        }
        if let Some(interval) = self.publish_stats.filter(|it| *it < Duration::from_millis(1)) {
            let value = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
            return Err(out_of_range("publish_stats", value, "at least a millisecond"));
        }
        Ok(())
    }

    pub(crate) fn for_store(&self) -> StoreOptions {
        let mut options = StoreOptions::default();
        options.segment_bytes = self.segment_bytes;
        options.sync_method = self.sync_method;
        options.retained_checkpoints = self.retained_checkpoints;
        options.recycled_segments = self.recycled_segments;
        options
    }

    /// On how many threads an opening may scan.
    pub(crate) fn scan_threads(&self) -> usize {
        match self.threads {
            Threads::None => 1,
            _ => 2,
        }
    }

    pub(crate) fn for_commit(&self) -> CommitConfig {
        let mut config = CommitConfig::default();
        config.buffer_bytes = self.buffer_bytes;
        config.policy = self.sync_policy;
        config.threads = self.threads;
        config.sync_after_records = self.sync_after_records;
        config.sync_after_bytes = self.sync_after_bytes;
        config.slow_sync = self.slow_sync;
        config.idle_after = self.idle_after;
        config
    }
}

fn out_of_range(option: &'static str, value: u64, expected: &'static str) -> Error {
    Refusal::Option { option, value, expected }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused_by_name() {
        assert!(Options::default().check().is_ok());
        let refused = |options: Options| options.check().unwrap_err().to_string();
        assert!(refused(Options::default().segment_bytes(65_537)).contains("segment_bytes"));
        assert!(refused(Options::default().segment_bytes(4096)).contains("segment_bytes"));
        assert!(refused(Options::default().buffer_bytes(0)).contains("buffer_bytes"));
        assert!(refused(Options::default().retained_checkpoints(9)).contains("retained"));
        assert!(refused(Options::default().recycled_segments(65)).contains("recycled_segments"));
        let at_once = Options::default().publish_stats(Some(Duration::ZERO));
        assert!(refused(at_once).contains("publish_stats"));
        assert!(refused(Options::default().flushes_in_flight(0)).contains("flushes_in_flight"));
        assert!(refused(Options::default().flushes_in_flight(9)).contains("flushes_in_flight"));
    }
}
