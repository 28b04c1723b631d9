//! Examining a log while somebody writes it: what a writer does is never taken for damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::session::Session;
use common::{LogBuilder, flip, name_of};
use wal_format::LsnRange;
use wal_io::backend::MemoryStorage;
use wal_io::{Access, FileEntry, LogFile, Storage, StorageLock};
use wal_recovery::{
    Depth, LogReader, LogSnapshot, RecoveryError, RecoveryLog, RecoveryStrategy, RedoOnly,
    ReplayRecord, Verdict, VerdictKind, examine,
};

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
fn r22_a_write_under_way_is_not_a_torn_tail_once_it_can_be_read() {
    // The scan has met half of the record; a later look, of several, meets all of it.
    for moment in 3..=9 {
        let mut log = LogBuilder::new();
        log.data(b"there before");
        let at = log.data(&[1; 3000]);
        let (name, offset) = log.place_of(at);
        let bytes = common::read(&log.storage, &name)[offset as usize..].to_vec();
        common::cut(&log.storage, &name, offset + 1500);
        let write = Box::new(move |storage: &MemoryStorage, opens| {
            if opens == moment {
                common::write(storage, &name, offset, &bytes);
            }
        });
        let found = examine(&eventful(&log, write), Depth::Full, &mut ()).unwrap();
        assert_eq!((found.verdict, found.end), (Verdict::CleanEnd, log.end), "at {moment}");
    }
}

#[test]
fn r22_a_tail_that_stays_torn_is_one_after_a_bounded_number_of_looks() {
    let mut log = LogBuilder::new();
    log.data(b"there before");
    let at = log.data(&[1; 3000]);
    let (name, offset) = log.place_of(at);
    common::cut(&log.storage, &name, offset + 1500);
    let opens = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&opens);
    let event = Box::new(move |_: &MemoryStorage, now| count.store(now, Ordering::Relaxed));
    let found = examine(&eventful(&log, event), Depth::Full, &mut ()).unwrap();
    assert_eq!((found.verdict.kind(), found.end), (VerdictKind::TornTail, at));
    assert!(opens.load(Ordering::Relaxed) < 20, "{opens:?} files were opened");
}

#[test]
fn r22_a_view_whose_head_is_truncated_says_so_and_not_that_the_storage_failed() {
    let mut log = LogBuilder::new();
    let old = log.data(b"old");
    log.rotate();
    log.data(b"new");
    let storage = log.shared();
    let source = common::source_of(&storage);
    let head = log.segments[1].base;
    storage.remove(&name_of(&log.segments[0]).to_string()).unwrap();
    let is_truncated = |error: RecoveryError| match error {
        RecoveryError::Truncated { head: found, .. } => assert_eq!(found, head),
        other => panic!("{other}"),
    };
    is_truncated(source.read_record(old, &mut Vec::new()).map(drop).unwrap_err());
    let range = LsnRange::new(source.range().start, log.end);
    is_truncated(source.scan(range).next().map(drop).unwrap_err());
    let mut engine = |_: &ReplayRecord<'_>| -> Result<(), String> { Ok(()) };
    let replayed = RedoOnly::new().recover(&RecoveryLog::new(&source, range), &mut engine, &mut ());
    is_truncated(replayed.map(drop).unwrap_err());
    let mut reader = LogReader::new(LogSnapshot::new(source, log.end));
    is_truncated(reader.next().map(drop).unwrap_err());
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
