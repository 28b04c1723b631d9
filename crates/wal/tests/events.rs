//! The events that an operator looks for, by a subscriber made by hand; and none for a record.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use common::{open, reopen, small};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use wal::{MemoryStorage, Storage, Triggers};
use wal_sim::{Call, Faults, SimDisk};

/// Every event and every span that began, as one line each.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(format!("span {}", span.metadata().name()));
        span.record(&mut line);
        self.0.lock().unwrap().push(line.0);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What is raised while `work` runs.
fn raised(work: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), work);
    let lines = lines.0.lock().unwrap();
    lines.clone()
}

fn has(lines: &[String], parts: &[&str]) -> bool {
    lines.iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn opening_rotation_checkpoint_truncation_and_close_raise_events_with_fields() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    drop(reopen(&storage));
    let lines = raised(|| {
        let (wal, _) = reopen(&storage);
        for number in 0..200_u8 {
            wal.append(&[number; 1000]).unwrap().wait_durable().unwrap();
        }
        for _ in 0..2 {
            wal.append(b"x").unwrap().wait_durable().unwrap();
            let snapshot = |_| Ok::<_, std::io::Error>(Some(Vec::new()));
            wal.maintain(&Triggers::new().records(1), snapshot).unwrap().unwrap();
        }
        wal.close().unwrap();
    });
    let expected: [&[&str]; 9] = [
        &["span wal_open", "place="],
        &["INFO", "log examined", "verdict="],
        &["INFO", "log open", "epoch=", "end=", "records=", "elapsed_us="],
        &["DEBUG", "goes on in the next segment", "segment=", "base="],
        &["DEBUG", "segment ready"],
        &["span wal_upkeep", "due=Records"],
        &["DEBUG", "checkpoint complete", "begin="],
        &["INFO", "truncated", "segments=", "head="],
        &["INFO", "log closed", "end="],
    ];
    for parts in expected {
        assert!(has(&lines, parts), "{parts:?} in {lines:#?}");
    }
}

#[test]
fn poison_is_an_error_that_names_its_cause() {
    let disk = SimDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let (wal, _) = reopen(&storage);
    wal.append(b"x").unwrap().wait_durable().unwrap();
    let lines = raised(|| {
        disk.set_faults(Faults::new().fail(Call::Sync, 1));
        wal.append(b"y").unwrap().wait_durable().unwrap_err();
    });
    assert!(has(&lines, &["ERROR", "the log is poisoned", "cause="]), "{lines:#?}");
}

#[test]
fn a_sync_over_its_limit_is_a_warning() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = open(&storage, small().slow_sync(Some(std::time::Duration::ZERO))).unwrap();
    let lines = raised(|| wal.append(b"x").unwrap().wait_durable().unwrap());
    assert!(has(&lines, &["WARN", "a sync was slow", "took=", "limit="]), "{lines:#?}");
}

#[test]
fn a_record_that_is_made_durable_raises_nothing() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = open(&storage, small().slow_sync(None)).unwrap();
    let lines = raised(|| {
        for _ in 0..10 {
            wal.append(b"x").unwrap().wait_durable().unwrap();
        }
    });
    assert_eq!(lines, [""; 0]);
}
