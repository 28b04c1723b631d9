//! The figures of the commit path for the `metrics` facade: with its feature only.
//!
//! Everything is told once for each flush, by what has changed since the last one, so a record costs
//! nothing and the meters of several logs add up. Without the feature nothing of this is there.
//! `docs/metrics.md` lists them; a test compares.

use std::time::Duration;
pub(crate) use with_metrics::Meters;

#[cfg(feature = "metrics")]
pub use with_metrics::{METERS, Meter, MeterKind};

/// What a flush was.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "nobody is told"))]
pub(crate) struct Landing {
    /// Committers that it answered.
    pub(crate) commits: u64,
    pub(crate) flush_time: Duration,
    /// `None` when it did not sync.
    pub(crate) sync_time: Option<Duration>,
}

#[cfg(not(feature = "metrics"))]
mod with_metrics {
    use super::Landing;
    use crate::metrics::CommitStats;
    use crate::watermark::Positions;

    /// Nothing.
    #[derive(Debug, Default)]
    pub(crate) struct Meters {}

    #[allow(clippy::unused_self, reason = "as with the feature")]
    impl Meters {
        /// Whether anybody is told.
        pub(crate) const WANTED: bool = false;

        pub(crate) const fn poisoned(&self) {}
        pub(crate) const fn landed(
            &mut self,
            _stats: &CommitStats,
            _positions: &Positions,
            _landing: &Landing,
        ) {
        }
    }
}

#[cfg(feature = "metrics")]
mod with_metrics {
    use std::fmt;

    use metrics::{Counter, Gauge, Histogram, Unit};

    use super::Landing;
    use crate::metrics::CommitStats;
    use crate::watermark::Positions;

    /// What a meter does with its values.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum MeterKind {
        /// Only grows.
        Counter,
        /// Goes up and down.
        Gauge,
        /// Keeps how values are distributed.
        Histogram,
    }

    /// One meter, as `docs/metrics.md` has it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct Meter {
        /// Its name at the recorder.
        pub name: &'static str,
        /// What it does.
        pub kind: MeterKind,
        /// Unit of its values.
        pub unit: &'static str,
        /// What it says.
        pub help: &'static str,
    }

    macro_rules! meters {
        (
            counters { $($counter:ident = $counter_name:literal, $counter_unit:literal, $counter_help:literal;)* }
            others { $($other:ident = $other_name:literal, $kind:ident, $other_unit:literal, $other_help:literal;)* }
        ) => {
            /// All meters, counters first.
            pub const METERS: &[Meter] = &[
                $(Meter { name: $counter_name, kind: MeterKind::Counter, unit: $counter_unit, help: $counter_help },)*
                $(Meter { name: $other_name, kind: MeterKind::$kind, unit: $other_unit, help: $other_help },)*
            ];

            struct Counters { $($counter: Counter,)* }

            impl Counters {
                fn new() -> Self {
                    Self { $($counter: metrics::counter!($counter_name),)* }
                }

                fn add(&self, told: &mut CommitStats, now: &CommitStats) {
                    $(
                        let gained = now.$counter.saturating_sub(told.$counter);
                        // By nothing too: recorders forget a counter that nobody touches.
                        self.$counter.increment(gained);
                        told.$counter += gained;
                    )*
                }
            }
        };
    }

    meters! {
        counters {
            records = "wal_records_total", "records", "records appended";
            record_bytes = "wal_record_bytes_total", "bytes", "bytes of log that they take";
            batches = "wal_batches_total", "batches", "atomic batches of more than one record";
            oversized = "wal_oversized_total", "records", "records written past the buffer";
            padding_bytes = "wal_padding_bytes_total", "bytes", "bytes of padding";
            rotations = "wal_rotations_total", "segments", "times that appending went on in the next segment";
            preparations_failed = "wal_preparations_failed_total", "segments", "segments that could not be made ready";
            flushes = "wal_flushes_total", "flushes", "buffers written";
            syncs = "wal_syncs_total", "syncs", "syncs that returned success";
            slow_syncs = "wal_slow_syncs_total", "syncs", "syncs over the limit of `slow_sync`";
            room_waits = "wal_room_waits_total", "appends", "appends that waited for room in the buffer";
            segment_waits = "wal_segment_waits_total", "appends", "appends that waited for a segment";
        }
        others {
            poisoned = "wal_poisoned_total", Counter, "logs", "logs that stopped promising";
            undurable_bytes = "wal_undurable_bytes", Gauge, "bytes", "bytes appended and not durable, when a flush landed";
            sync_seconds = "wal_sync_seconds", Histogram, "seconds", "what a sync took";
            flush_seconds = "wal_flush_seconds", Histogram, "seconds", "what a flush took, write and sync";
            group_commits = "wal_group_commits", Histogram, "commits", "committers that a flush answered";
        }
    }

    /// The meters of one log. Made when the log is opened: install the recorder before.
    pub(crate) struct Meters {
        counters: Counters,
        poisoned: Counter,
        undurable: Gauge,
        sync: Histogram,
        flush: Histogram,
        group: Histogram,
        told: CommitStats,
        told_undurable: u64,
    }

    impl Default for Meters {
        fn default() -> Self {
            for meter in METERS {
                let (name, help) = (meter.name, meter.help);
                let unit = match meter.unit {
                    "bytes" => Unit::Bytes,
                    "seconds" => Unit::Seconds,
                    _ => Unit::Count,
                };
                match meter.kind {
                    MeterKind::Counter => metrics::describe_counter!(name, unit, help),
                    MeterKind::Gauge => metrics::describe_gauge!(name, unit, help),
                    MeterKind::Histogram => metrics::describe_histogram!(name, unit, help),
                }
            }
            Self {
                counters: Counters::new(),
                poisoned: metrics::counter!("wal_poisoned_total"),
                undurable: metrics::gauge!("wal_undurable_bytes"),
                sync: metrics::histogram!("wal_sync_seconds"),
                flush: metrics::histogram!("wal_flush_seconds"),
                group: metrics::histogram!("wal_group_commits"),
                told: CommitStats::default(),
                told_undurable: 0,
            }
        }
    }

    impl fmt::Debug for Meters {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Meters").finish_non_exhaustive()
        }
    }

    impl Meters {
        /// Whether anybody is told.
        pub(crate) const WANTED: bool = true;

        pub(crate) fn poisoned(&self) {
            self.poisoned.increment(1);
        }

        /// A flush has landed. Two that land together may come in either order.
        pub(crate) fn landed(
            &mut self,
            stats: &CommitStats,
            positions: &Positions,
            landing: &Landing,
        ) {
            self.counters.add(&mut self.told, stats);
            let undurable = positions.reserved.get().saturating_sub(positions.durable.get());
            // By difference, so that the logs of a process add up.
            self.undurable.increment(undurable as f64 - self.told_undurable as f64);
            self.told_undurable = undurable;
            self.flush.record(landing.flush_time);
            if let Some(took) = landing.sync_time {
                self.sync.record(took);
            }
            self.group.record(landing.commits as f64);
        }
    }

    impl Drop for Meters {
        fn drop(&mut self) {
            self.undurable.decrement(self.told_undurable as f64);
        }
    }
}
