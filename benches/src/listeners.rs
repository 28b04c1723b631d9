//! This repository's log with somebody listening: a subscriber of `tracing` which takes every event
//! with its fields, a recorder of the `metrics` facade, or both. Each counts, and does no more.
//!
//! Both are installed for the whole process: a turn has one of its own.

use std::fmt::Debug;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};

use crate::ours::{self, ENTRY};
use crate::peer::{Entry, Failure, Load, Peer};

/// A row each.
pub const ENTRIES: [Entry; 3] = [
    Entry {
        name: "wal-traced",
        options: "the defaults; a subscriber takes every event and span, of every level",
        open: |dir, load| listened(dir, load, &[trace]),
        ..ENTRY
    },
    Entry {
        name: "wal-metered",
        options: "the defaults; a recorder takes every meter",
        open: |dir, load| listened(dir, load, &[record]),
        ..ENTRY
    },
    Entry {
        name: "wal-traced-metered",
        options: "the defaults; the subscriber and the recorder",
        open: |dir, load| listened(dir, load, &[trace, record]),
        ..ENTRY
    },
];

fn listened(dir: &Path, load: Load, installs: &[fn()]) -> Result<Box<dyn Peer>, Failure> {
    installs.iter().for_each(|install| install());
    ours::open(dir, load)
}

/// Installs the subscriber. There may be one, as in a process of tests: then that one stays.
fn trace() {
    let _ = tracing::subscriber::set_global_default(Taken::default());
}

/// Installs the recorder, in the same way.
fn record() {
    let _ = metrics::set_global_recorder(Meters);
}

/// How often anything was raised.
#[derive(Default)]
struct Taken(AtomicU64);

/// Looks at every field, as one who writes them would.
struct Look;

impl Visit for Look {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        black_box((field.name(), value));
    }
}

impl Subscriber for Taken {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Look);
        Id::from_u64(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Look);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Counters and gauges in an atomic each, histograms in one for each power of two.
struct Meters;

struct Buckets([AtomicU64; 64]);

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        let nanos_or_units = (value * 1e9) as u64;
        if let Some(bucket) = self.0.get(nanos_or_units.checked_ilog2().unwrap_or(0) as usize) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Recorder for Meters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(AtomicU64::new(0)))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(AtomicU64::new(0)))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Buckets(std::array::from_fn(|_| AtomicU64::new(0)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_is_told() {
        let taken = Arc::new(Taken::default());
        tracing::subscriber::with_default(Arc::clone(&taken), || {
            tracing::info!(bytes = 3, "something");
        });
        assert_eq!(taken.0.load(Ordering::Relaxed), 1);
        let buckets = Buckets(std::array::from_fn(|_| AtomicU64::new(0)));
        buckets.record(0.000_001);
        assert_eq!(buckets.0[9].load(Ordering::Relaxed), 1, "a thousand nanoseconds");
        buckets.record(f64::NAN);
        assert_eq!(buckets.0[0].load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_log_that_is_listened_to_takes_records() {
        for entry in ENTRIES {
            let dir = tempfile::tempdir().unwrap();
            let segment_bytes = Some(64 << 10);
            let load = Load { threads: 1, durable: true, bytes: 0, body_bytes: 3, segment_bytes };
            let peer = (entry.open)(dir.path(), load).unwrap();
            peer.committer(0).unwrap().commit(b"abc").unwrap();
        }
    }
}
