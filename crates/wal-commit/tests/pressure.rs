//! Back-pressure: an append that has to wait says so, before it waits, with no lock held.
//!
//! What it waits for ends only when the event came. The bound of the latch turns a hang into a
//! failure; no test that passes depends on it.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use common::{Disk, append, start, threaded};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Closed, and then open for ever.
#[derive(Clone, Default)]
struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let closed = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(closed, Duration::from_secs(10), |open| !*open).unwrap());
    }
}

/// Every event as a line; each is shown to `hear` first.
struct Ear {
    lines: Mutex<Vec<String>>,
    hear: Box<dyn Fn(&str) + Send + Sync>,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Ear {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        (self.hear)(&line.0);
        self.lines.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What is raised in this thread while `work` runs.
fn raised(hear: impl Fn(&str) + Send + Sync + 'static, work: impl FnOnce()) -> Vec<String> {
    let ear = Arc::new(Ear { lines: Mutex::default(), hear: Box::new(hear) });
    tracing::subscriber::with_default(Arc::clone(&ear), work);
    let lines = ear.lines.lock().unwrap();
    lines.clone()
}

const NO_ROOM: &str = "an append waits for room in the buffer";
const NO_SEGMENT: &str = "an append waits for a segment";

fn count(lines: &[String], level: &str, what: &str) -> usize {
    let is = |line: &&String| line.starts_with(level) && line.contains(what);
    lines.iter().filter(is).count()
}

#[test]
fn an_append_that_waits_for_room_says_so_before_it_waits() {
    let (log, disk) = threaded();
    let (in_write, told) = (Latch::default(), Latch::default());
    let (entered, wait) = (in_write.clone(), told.clone());
    disk.on_write(move |number| {
        if number == 1 {
            entered.open();
            wait.pass();
        }
    });
    let half = vec![1; (log.batch_bytes_max() - 24) as usize];
    let lines = std::thread::scope(|scope| {
        let first = append(&log, &half);
        scope.spawn(move || first.wait_written().unwrap());
        in_write.pass();
        let hear = {
            let (told, log) = (told.clone(), log.clone());
            move |line: &str| {
                // The write under way ends only now; and the log answers meanwhile.
                assert!(log.positions().reserved >= log.positions().written);
                if line.contains(NO_ROOM) {
                    told.open();
                }
            }
        };
        raised(hear, || {
            drop(append(&log, &half));
            append(&log, &half).wait_durable().unwrap();
        })
    });
    assert_eq!(count(&lines, "TRACE", NO_ROOM), 1, "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains(" end=")), "{lines:#?}");
    assert_eq!(disk.bodies().len(), 3);
}

#[test]
fn an_append_that_waits_for_a_segment_says_so_before_it_waits() {
    let (log, disk) = start(Disk::new(8192), |_| {});
    let (in_prepare, told) = (Latch::default(), Latch::default());
    let (entered, wait) = (in_prepare.clone(), told.clone());
    disk.on_prepare(move |_| {
        entered.open();
        wait.pass();
    });
    // Into the second segment: a helper begins with the third, and gets no further.
    for _ in 0..9 {
        append(&log, &[1; 1001]).wait_durable().unwrap();
    }
    in_prepare.pass();
    let hear = move |line: &str| {
        if line.contains(NO_SEGMENT) {
            told.open();
        }
    };
    let lines = raised(hear, || {
        for _ in 0..9 {
            append(&log, &[1; 1001]).wait_durable().unwrap();
        }
    });
    assert_eq!(count(&lines, "DEBUG", NO_SEGMENT), 1, "{lines:#?}");
    assert_eq!(log.stats().segment_waits, 1);
    assert_eq!(disk.bodies().len(), 18);
}

#[test]
fn appends_that_find_room_say_nothing() {
    let (log, disk) = start(Disk::new(8192), |config| {
        config.threads = wal_commit::Threads::None;
    });
    let lines = raised(
        |_| {},
        || {
            for _ in 0..20 {
                append(&log, &[1; 1001]).wait_durable().unwrap();
            }
        },
    );
    assert_eq!(count(&lines, "", "an append waits"), 0, "{lines:#?}");
    assert_eq!(disk.bodies().len(), 20);
}
