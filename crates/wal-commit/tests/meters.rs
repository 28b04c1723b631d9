//! What the recorder of the `metrics` facade is told, and that the page says the same.
#![cfg(all(feature = "metrics", not(any(loom, shuttle))))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::{Disk, append, start};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use wal_commit::{METERS, MeterKind};

/// Values by name: of a counter or gauge the sum, of a histogram how many.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<BTreeMap<String, f64>>>);

struct Line(Book, String);

impl Line {
    fn add(&self, value: f64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }
}

impl CounterFn for Line {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }
    fn absolute(&self, _value: u64) {
        panic!("several logs could not add up");
    }
}

impl GaugeFn for Line {
    fn increment(&self, value: f64) {
        self.add(value);
    }
    fn decrement(&self, value: f64) {
        self.add(-value);
    }
    fn set(&self, _value: f64) {
        panic!("several logs could not add up");
    }
}

impl HistogramFn for Line {
    fn record(&self, _value: f64) {
        self.add(1.0);
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(self.line(key)))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(self.line(key)))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(self.line(key)))
    }
}

impl Book {
    fn line(&self, key: &Key) -> Line {
        let line = Line(self.clone(), key.name().to_owned());
        line.add(0.0);
        line
    }

    fn of(&self, name: &str) -> f64 {
        self.0.lock().unwrap()[name]
    }
}

#[test]
fn what_two_logs_do_adds_up_and_agrees_with_their_figures() {
    let book = Book::default();
    let logs = metrics::with_local_recorder(&book, || {
        [start(Disk::new(1 << 16), |_| {}), start(Disk::new(1 << 16), |_| {})]
    });
    for (log, _) in &logs {
        for _ in 0..10 {
            drop(append(log, b"x"));
        }
        log.sync().unwrap();
    }
    assert_eq!((book.of("wal_records_total"), book.of("wal_syncs_total")), (20.0, 2.0));
    let bytes: u64 = logs.iter().map(|(log, _)| log.stats().record_bytes).sum();
    assert_eq!(book.of("wal_record_bytes_total"), bytes as f64);
    assert_eq!((book.of("wal_sync_seconds"), book.of("wal_group_commits")), (2.0, 2.0));
    assert_eq!(book.of("wal_undurable_bytes"), 0.0);
    assert_eq!(book.of("wal_poisoned_total"), 0.0);
}

#[test]
fn a_poisoned_log_is_counted_once() {
    let book = Book::default();
    let (log, disk) = metrics::with_local_recorder(&book, || start(Disk::new(1 << 16), |_| {}));
    disk.fail_sync(1);
    append(&log, b"x").wait_durable().unwrap_err();
    log.sync().unwrap_err();
    assert_eq!(book.of("wal_poisoned_total"), 1.0);
}

#[test]
fn every_meter_is_registered_and_the_page_lists_the_same() {
    let book = Book::default();
    drop(metrics::with_local_recorder(&book, || start(Disk::new(1 << 16), |_| {})));
    let registered: Vec<String> = book.0.lock().unwrap().keys().cloned().collect();
    let mut named: Vec<&str> = METERS.iter().map(|meter| meter.name).collect();
    named.sort_unstable();
    assert_eq!(registered, named);

    let page = include_str!("../../../docs/metrics.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `wal_")).collect();
    let expected = METERS.iter().map(|meter| {
        let kind = match meter.kind {
            MeterKind::Counter => "counter",
            MeterKind::Gauge => "gauge",
            MeterKind::Histogram => "histogram",
        };
        format!("| `{}` | {kind} | {} | {} |", meter.name, meter.unit, meter.help)
    });
    assert_eq!(rows, expected.collect::<Vec<String>>());
}
