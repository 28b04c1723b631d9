//! A log directory through the public seams only, on every backend: roll, seal, retire, reopen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use wal_format::{Lsn, Predecessor};
use wal_io::backend::{FileStorage, MemoryStorage};
use wal_io::{
    Access, CONTROL_NAME, FileEntry, IoError, LOCK_NAME, LogFile, Preparer, SegmentReader,
    SegmentStore, Storage, StorageLock, StoreOptions, Survey, SyncMethod, TEMPORARY_SUFFIX,
};

const SEGMENT: u64 = 64 << 10;
const FIRST: u64 = 4096;

fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw).unwrap()
}

fn options() -> StoreOptions {
    StoreOptions::default().with_segment_bytes(SEGMENT)
}

/// Every backend, each on a directory of its own below `root`.
fn backends(root: &Path) -> Vec<(&'static str, Arc<dyn Storage>)> {
    #[allow(unused_mut, reason = "only Linux has a third one")]
    let mut all: Vec<(&'static str, Arc<dyn Storage>)> = vec![
        ("memory", Arc::new(MemoryStorage::new())),
        ("buffered", Arc::new(FileStorage::open(root.join("buffered")).unwrap())),
    ];
    #[cfg(target_os = "linux")]
    match wal_io::backend::DirectStorage::open(root.join("direct")) {
        Ok(direct) => all.push(("direct", Arc::new(direct))),
        Err(error) => eprintln!("SKIPPED for direct I/O: {error}"),
    }
    all
}

fn on_each_backend(test: impl Fn(&Arc<dyn Storage>)) {
    let root = tempfile::tempdir().unwrap();
    for (name, storage) in backends(root.path()) {
        eprintln!("on {name}");
        test(&storage);
    }
}

fn create(storage: &Arc<dyn Storage>) -> Arc<SegmentStore> {
    SegmentStore::create(Arc::clone(storage), storage.lock().unwrap(), options()).unwrap()
}

fn survey(storage: &Arc<dyn Storage>) -> Survey {
    let survey = Survey::read(storage.as_ref()).unwrap();
    assert_eq!(survey.problems, []);
    survey
}

fn reopen(storage: &Arc<dyn Storage>) -> Arc<SegmentStore> {
    let lock = storage.lock().unwrap();
    SegmentStore::reopen(Arc::clone(storage), lock, options(), &survey(storage)).unwrap()
}

fn bytes(from: u64, end: u64) -> Vec<u8> {
    (from..end).map(|at| (at / 8 % 255) as u8 + 1).collect()
}

/// Writes and syncs whole blocks, as a direct backend wants them.
fn write(store: &Arc<SegmentStore>, from: u64, end: u64) {
    let mut sink = store.appender().unwrap();
    assert_eq!((end - from) % sink.block_bytes() as u64, 0);
    sink.write(lsn(from), &[IoSlice::new(&bytes(from, end))]).unwrap();
    sink.sync().unwrap();
}

fn read(storage: &Arc<dyn Storage>, from: u64, end: u64) -> Vec<u8> {
    let mut found = Vec::new();
    for link in survey(storage).links {
        let (from, end) = (from.max(link.name.base.get()), end.min(link.cap.get()));
        let mut part = vec![0; end.saturating_sub(from) as usize];
        let reader = SegmentReader::open(storage.as_ref(), &link).unwrap();
        let count = reader.read_at(lsn(from), &mut part).unwrap();
        found.extend_from_slice(&part[..count]);
    }
    found
}

/// Names and contents of everything in the directory.
fn snapshot(storage: &Arc<dyn Storage>) -> BTreeMap<String, Vec<u8>> {
    let entries = storage.list().unwrap().into_iter();
    entries
        .map(|entry| {
            let mut contents = vec![0; entry.len as usize];
            let file = storage.open(&entry.name, Access::Read).unwrap();
            wal_io::read_full_at(file.as_ref(), &entry.name, &mut contents, 0).unwrap();
            (entry.name, contents)
        })
        .collect()
}

#[test]
fn segments_roll_seal_retire_and_reopen_on_every_backend() {
    on_each_backend(|storage| {
        let (second, third) = (FIRST + SEGMENT, FIRST + 2 * SEGMENT);
        let store = create(storage);
        store.prepare(lsn(third), SEGMENT).unwrap();
        write(&store, FIRST, third + 8192);
        assert_eq!(read(storage, FIRST, third + 8192), bytes(FIRST, third + 8192));
        assert_eq!(store.truncate_before(lsn(second + 8)).unwrap().segments, 1);
        assert_eq!(survey(storage).links.len(), 2);
        store.mark_clean(lsn(third + 8192)).unwrap();
        drop(store);

        let store = reopen(storage);
        let placement = store.resume_in_place(lsn(third + 8192)).unwrap();
        assert_eq!(placement.end, lsn(third + 8192));
        write(&store, third + 8192, third + 12_288);
        drop(store); // As a crash would.

        let store = reopen(storage);
        let active = store.links()[1];
        let end = lsn(third + 12_288);
        let before = Predecessor { base: active.name.base, epoch: active.name.epoch, end };
        let placement = store.resume_after(before, end).unwrap();
        store.discard_dead().unwrap();
        assert!(placement.end >= lsn(third + SEGMENT));
        let at = placement.end.get();
        write(&store, at, at + 4096);
        assert_eq!(read(storage, second, third + 12_288), bytes(second, third + 12_288));
        assert_eq!(read(storage, at, at + 4096), bytes(at, at + 4096));
    });
}

#[test]
fn a_run_of_any_length_is_written_on_every_backend() {
    on_each_backend(|storage| {
        let store = create(storage);
        write(&store, FIRST, 12_288);
        drop(store);
        let store = reopen(storage);
        let active = store.links()[0];
        let at = |end| Predecessor { base: active.name.base, epoch: active.name.epoch, end };
        let from = lsn(5000);
        let flags = wal_format::SegmentFlags::OPENING;
        let mut run = store.write_run(from, 6000, flags, Some(at(from))).unwrap();
        run.write(&bytes(5000, 11_000)).unwrap();
        run.finish().unwrap();
        assert_eq!(read(storage, FIRST, 11_000), bytes(FIRST, 11_000));
    });
}

#[test]
fn every_sync_method_works_on_every_backend() {
    let methods =
        [SyncMethod::DataSync, SyncMethod::FullSync, SyncMethod::WriteThrough, SyncMethod::None];
    for method in methods {
        on_each_backend(|storage| {
            let options = options().with_sync_method(method);
            let lock = storage.lock().unwrap();
            let store = SegmentStore::create(Arc::clone(storage), lock, options).unwrap();
            write(&store, FIRST, FIRST + SEGMENT + 4096);
            let end = FIRST + SEGMENT + 4096;
            assert_eq!(read(storage, FIRST, end), bytes(FIRST, end));
        });
    }
}

#[test]
fn looking_at_a_log_never_changes_a_byte() {
    on_each_backend(|storage| {
        let store = create(storage);
        write(&store, FIRST, 8192);
        drop(store);
        storage.create(&format!("left-over{TEMPORARY_SUFFIX}"), 100).unwrap();
        let before = snapshot(storage);
        let found = survey(storage);
        assert_eq!(found.temporary.len(), 1);
        for link in &found.links {
            let reader = SegmentReader::open(storage.as_ref(), link).unwrap();
            reader.verify(storage.as_ref()).unwrap();
            reader.read_at(link.name.base, &mut [0; 512]).unwrap();
        }
        assert_eq!(snapshot(storage), before);
    });
}

#[test]
fn r01_files_which_are_no_live_segments_are_not_looked_at() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let store = create(&storage);
    let links = store.links();
    for name in [
        "0000000000011000-0000000000000009.wal.tmp",
        "0000000000011000-0000000000000009.WAL",
        "000000000001100A-0000000000000009.wal",
        "notes.txt",
        "x.wal",
    ] {
        storage.create(name, 10).unwrap();
    }
    assert_eq!(survey(&storage).links, links);
    assert_eq!(survey(&storage).temporary.len(), 1);
}

#[test]
fn the_lock_of_a_directory_has_the_name_that_others_leave_alone() {
    let root = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(root.path()).unwrap();
    let lock = storage.lock().unwrap();
    assert!(root.path().join(LOCK_NAME).exists());
    drop(lock);
}

#[test]
fn a_reader_stops_at_the_cap_and_at_the_end_of_a_short_file() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let store = create(&storage);
    write(&store, FIRST, FIRST + SEGMENT);
    let link = store.links()[0];
    let mut buf = vec![0; 100];
    let count = |link: &wal_io::ChainLink, at: u64, buf: &mut [u8]| {
        SegmentReader::open(storage.as_ref(), link).unwrap().read_at(lsn(at), buf).unwrap()
    };
    assert_eq!(count(&link, FIRST + SEGMENT - 40, &mut buf), 40);
    assert_eq!(count(&link, FIRST + SEGMENT, &mut buf), 0);
    assert_eq!(count(&link, 0, &mut buf), 0, "below the base");
    let capped = wal_io::ChainLink { cap: lsn(FIRST + 16), ..link };
    assert_eq!(count(&capped, FIRST, &mut buf), 16);
    // Cut by hand, not at a multiple of 8: what is there is still read.
    let file = storage.open(&link.name.to_string(), Access::Write).unwrap();
    file.set_len(4096 + 83).unwrap();
    let short = survey(&storage).links[0];
    assert_eq!(short.stored_end(), lsn(FIRST + 80));
    assert_eq!(count(&short, FIRST, &mut buf), 80);
    file.set_len(10).unwrap();
    assert_eq!(count(&short, FIRST, &mut buf), 0, "cut since the survey");
}

#[test]
fn an_error_while_reading_names_the_segment() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let store = create(&storage);
    let link = store.links()[0];
    let reader = SegmentReader::open(storage.as_ref(), &link).unwrap();
    let file = storage.open(&link.name.to_string(), Access::Write).unwrap();
    file.write_at(&[IoSlice::new(b"rubble")], 100).unwrap();
    assert!(matches!(reader.verify(storage.as_ref()), Err(IoError::Malformed { name, .. })
        if name == link.name.to_string()));
}

/// A writer in another process: acts between the calls of a reader.
#[derive(Debug)]
struct Busy {
    inner: Arc<dyn Storage>,
    store: Arc<SegmentStore>,
    lists: AtomicU32,
    /// Truncates before this listing is answered, or after it.
    late: bool,
}

impl Storage for Busy {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let act = self.lists.fetch_add(1, Ordering::Relaxed) == 0;
        let entries = self.inner.list();
        if act {
            self.store.truncate_before(lsn(FIRST + SEGMENT)).unwrap();
        }
        if self.late { entries } else { self.inner.list() }
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        panic!("a reader creates {name} of {len} bytes")
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        assert_eq!(access, Access::Read);
        self.inner.open(name, access)
    }
    fn rename(&self, from: &str, _: &str) -> io::Result<()> {
        panic!("a reader renames {from}")
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        panic!("a reader removes {name}")
    }
    fn sync_dir(&self) -> io::Result<()> {
        panic!("a reader syncs the directory")
    }
    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        panic!("a reader takes the lock")
    }
    fn place(&self) -> String {
        "busy".to_owned()
    }
}

#[test]
fn r22_a_survey_beside_a_writer_which_truncates_finds_no_damage() {
    for late in [false, true] {
        let inner: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let store = create(&inner);
        write(&store, FIRST, FIRST + SEGMENT + 4096);
        let busy = Busy { inner, store, lists: AtomicU32::new(0), late };
        let survey = Survey::read(&busy).unwrap();
        assert_eq!(survey.problems, [], "late: {late}");
        assert_eq!(survey.links, busy.store.links());
        assert_eq!(busy.lists.load(Ordering::Relaxed), 2, "it looked again");
    }
}

#[test]
fn a_control_file_that_cannot_be_read_is_an_error_and_not_a_lost_one() {
    let inner: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let store = create(&inner);
    #[derive(Debug)]
    struct Forbidden(Arc<dyn Storage>);
    impl Storage for Forbidden {
        fn list(&self) -> io::Result<Vec<FileEntry>> {
            self.0.list()
        }
        fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
            self.0.create(name, len)
        }
        fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
            if name == CONTROL_NAME {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.0.open(name, access)
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.0.rename(from, to)
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.remove(name)
        }
        fn sync_dir(&self) -> io::Result<()> {
            self.0.sync_dir()
        }
        fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
            self.0.lock()
        }
        fn place(&self) -> String {
            self.0.place()
        }
    }
    drop(store);
    let error = Survey::read(&Forbidden(inner)).unwrap_err();
    assert!(matches!(error, IoError::Failed { name, .. } if name == CONTROL_NAME));
}
