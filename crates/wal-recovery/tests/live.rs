//! Examining a log while somebody writes it: what a writer does is never taken for damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::session::Session;
use common::{LogBuilder, flip, name_of};
use wal_io::backend::MemoryStorage;
use wal_io::{Access, FileEntry, LogFile, Storage, StorageLock};
use wal_recovery::{Depth, Verdict, VerdictKind, examine};

type Event = Box<dyn Fn(&MemoryStorage, u64) + Send + Sync>;

/// A directory in which something happens before each opening of a file.
struct Eventful {
    inner: MemoryStorage,
    opens: AtomicU64,
    event: Event,
}

impl fmt::Debug for Eventful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Eventful")
    }
}

impl Storage for Eventful {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.inner.list()
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        self.inner.create(name, len)
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        (self.event)(&self.inner, self.opens.fetch_add(1, Ordering::Relaxed) + 1);
        self.inner.open(name, access)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        self.inner.lock()
    }
    fn place(&self) -> String {
        self.inner.place()
    }
}

fn eventful(log: &LogBuilder, event: Event) -> Arc<dyn Storage> {
    Arc::new(Eventful { inner: log.storage.clone(), opens: AtomicU64::new(0), event })
}

#[test]
fn r22_records_that_appear_behind_the_scan_are_not_damage() {
    // Whichever file is being opened when the writer writes: survey, scan or look-ahead.
    for moment in 1..=6 {
        let mut log = LogBuilder::new();
        log.data(b"there before");
        let end = log.end;
        log.data(&[1; 300]);
        log.sync();
        log.data(b"knows that it was synced");
        let (name, offset) = log.place_of(end);
        let bytes = common::read(&log.storage, &name)[offset as usize..].to_vec();
        common::cut(&log.storage, &name, offset);
        let write = Box::new(move |storage: &MemoryStorage, opens| {
            if opens == moment {
                common::write(storage, &name, offset, &bytes);
            }
        });
        let found = examine(&eventful(&log, write), Depth::Full, &mut ()).unwrap();
        assert_eq!(found.verdict, Verdict::CleanEnd, "written at opening {moment}");
    }
}

#[test]
fn r22_a_segment_that_is_truncated_meanwhile_is_not_damage() {
    for moment in 1..=6 {
        let mut log = LogBuilder::new();
        log.data(b"old");
        log.rotate();
        log.data(b"new");
        let first = name_of(&log.segments[0]).to_string();
        let mut after = log.control.clone();
        after.head = log.segments[1].base;
        after.sequence += 2;
        let block = after.encode().unwrap();
        let truncate = Box::new(move |storage: &MemoryStorage, opens| {
            if opens == moment {
                common::write(storage, wal_io::CONTROL_NAME, 0, &block);
                storage.remove(&first).unwrap();
            }
        });
        let found = examine(&eventful(&log, truncate), Depth::Full, &mut ()).unwrap();
        assert!(!found.verdict.is_damage(), "{} at opening {moment}", found.verdict);
        assert_eq!(found.end, log.end);
    }
}

#[test]
fn damage_that_stays_is_damage_whoever_is_at_work() {
    let mut log = LogBuilder::new();
    let at = log.data(b"promised");
    log.close();
    log.flip(at, 5);
    let found = examine(&eventful(&log, Box::new(|_, _| ())), Depth::Full, &mut ()).unwrap();
    assert_eq!(found.verdict.kind(), VerdictKind::Corrupt);
    // A writer which never lets the directory rest cannot hide it for ever.
    let restless = Box::new(|storage: &MemoryStorage, opens: u64| {
        flip(storage, wal_io::CONTROL_NAME, 8 * (4096 + 100 + opens % 2));
    });
    let found = examine(&eventful(&log, restless), Depth::Full, &mut ()).unwrap();
    assert!(found.verdict.is_damage());
    assert!(Session::open(&log.shared()).is_err());
}
