//! Truncated segments become the next ones while somebody still reads them: whoever does is told
//! that the log was truncated, and is never shown what was written there since.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use wal::{ErrorKind, FileStorage, LogView, Lsn, Options, ReplayRecord, Storage, Threads, Wal};

/// Longer than what a reader holds in memory.
const SEGMENT_BYTES: u64 = 1 << 20;

const BODY_BYTES: usize = 1000;

fn options() -> Options {
    Options::default().segment_bytes(SEGMENT_BYTES).threads(Threads::None)
}

/// Whether truncated segments are kept to be used again: not where writes copy.
fn recycles(dir: &Path) -> bool {
    let storage = FileStorage::open(dir).unwrap();
    let recycles = storage.overwrites_in_place();
    if !recycles {
        eprintln!("SKIPPED: no file is used again on {}", storage.filesystem());
    }
    recycles
}

fn open(dir: &Path) -> (Wal, Vec<u64>) {
    let mut found = Vec::new();
    let replay = |record: &ReplayRecord<'_>| {
        found.push(number(record.body));
        Ok::<(), io::Error>(())
    };
    let wal = Wal::open(dir, options(), replay).unwrap();
    (wal, found)
}

fn body(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(BODY_BYTES / 8)
}

fn number(body: &[u8]) -> u64 {
    assert_eq!(body.len(), BODY_BYTES);
    let (words, _) = body.as_chunks::<8>();
    let first = words[0];
    assert!(words.iter().all(|word| *word == first), "a body of two records");
    u64::from_le_bytes(first)
}

/// Appends the records of these numbers, durably.
fn append(wal: &Wal, numbers: std::ops::Range<u64>) {
    for number in numbers {
        drop(wal.append(&body(number)).unwrap());
        if number.is_multiple_of(64) {
            wal.sync().unwrap();
        }
    }
    wal.sync().unwrap();
}

/// Records that fill more than two segments.
const FILL: u64 = 2 * SEGMENT_BYTES / BODY_BYTES as u64 + 100;

/// Truncates all that can go, and writes over it.
fn recycle(wal: &Wal) {
    let done = wal.truncate_before(wal.positions().durable).unwrap();
    assert_eq!((done.segments, done.recycled), (2, 2));
    let prepared = wal.stats().commit.segments_prepared;
    append(wal, FILL..2 * FILL);
    assert!(wal.stats().commit.segments_prepared >= prepared + 2);
}

fn retired(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".old")).count()
}

#[test]
fn r22_a_reader_of_a_segment_that_is_used_again_is_told_of_the_truncation() {
    let dir = tempfile::tempdir().unwrap();
    if !recycles(dir.path()) {
        return;
    }
    let (wal, _) = open(dir.path());
    append(&wal, 0..FILL);
    let mut reader = wal.read_from(wal.head()).unwrap();
    assert_eq!(number(reader.next().unwrap().unwrap().body), 0);
    recycle(&wal);
    assert_eq!(retired(dir.path()), 0);
    let mut seen = 0;
    let error = loop {
        match reader.next() {
            Ok(record) => {
                seen += 1;
                assert_eq!(number(record.unwrap().body), seen);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    assert!(seen > 0 && seen < FILL / 2, "what it held, and no more: {seen}");
}

#[test]
fn r22_a_scan_from_another_process_is_told_of_the_truncation_and_never_of_damage() {
    let dir = tempfile::tempdir().unwrap();
    if !recycles(dir.path()) {
        return;
    }
    let (wal, _) = open(dir.path());
    append(&wal, 0..FILL);
    let view = LogView::open(dir.path()).unwrap();
    let mut seen = 0;
    let scanned = view.for_each(view.range(), |record| {
        if record.kind().is_engine() {
            assert_eq!(number(record.body), seen);
            seen += 1;
        }
        if seen == 1 {
            recycle(&wal);
        }
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(scanned.unwrap_err().kind(), ErrorKind::Truncated);
    assert!(seen > 1 && seen < FILL / 2, "{seen}");
}

#[test]
fn a_log_in_files_used_before_closes_cleanly_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    if !recycles(dir.path()) {
        return;
    }
    let (wal, _) = open(dir.path());
    append(&wal, 0..FILL);
    recycle(&wal);
    let head = wal.head();
    wal.close().unwrap();
    drop(wal);
    let view = LogView::open(dir.path()).unwrap();
    assert!(view.is_clean(), "{}", view.verdict());
    assert_eq!(view.head(), head);
    let (wal, found) = open(dir.path());
    assert_eq!(found.last(), Some(&(2 * FILL - 1)));
    assert!(found.windows(2).all(|pair| pair[0] + 1 == pair[1]), "in order, each once");
    append(&wal, 2 * FILL..2 * FILL + 10);
}

#[test]
fn nothing_that_a_file_held_before_comes_back_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = open(dir.path());
    append(&wal, 0..FILL);
    wal.truncate_before(wal.positions().durable).unwrap();
    // The end of the log lies in the middle of what the file held before.
    append(&wal, FILL..FILL + 1500);
    let end = wal.positions().reserved;
    drop(wal);
    let view = LogView::open(dir.path()).unwrap();
    assert!(!view.verdict().is_damage(), "{}", view.verdict());
    assert_eq!((view.end(), view.verdict().dropped().records), (end, 0));
    drop(view);
    let (wal, found) = open(dir.path());
    assert_eq!(found.last(), Some(&(FILL + 1499)));
    assert!(found.windows(2).all(|pair| pair[0] + 1 == pair[1]), "in order, each once");
    assert!(wal.positions().reserved > end);
}

#[test]
fn who_wants_truncated_bytes_gone_has_them_removed() {
    let dir = tempfile::tempdir().unwrap();
    let replay = |_: &ReplayRecord<'_>| Ok::<(), io::Error>(());
    let wal = Wal::open(dir.path(), options().recycled_segments(0), replay).unwrap();
    append(&wal, 0..FILL);
    let done = wal.truncate_before(wal.positions().durable).unwrap();
    assert_eq!((done.segments, done.recycled, retired(dir.path())), (2, 0, 0));
    assert_eq!(done.bytes, 2 * (SEGMENT_BYTES + 4096));
    assert!(wal.head() > Lsn::FIRST);
}

fn copy_files(from: &Path, to: &Path) {
    // The control file first: a segment that is being made ready meanwhile is registered behind that.
    fs::copy(from.join("control"), to.join("control")).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "control" && !name.to_string_lossy().ends_with(".tmp") {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

#[test]
fn nothing_of_a_later_life_comes_back_in_a_log_that_was_put_back_over_it() {
    let (dir, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    if !recycles(dir.path()) {
        return;
    }
    let (wal, _) = open(dir.path());
    append(&wal, 0..10);
    wal.close().unwrap();
    drop(wal);
    copy_files(dir.path(), backup.path());

    let (wal, _) = open(dir.path());
    append(&wal, 1_000_000..1_000_000 + FILL);
    let done = wal.truncate_before(wal.positions().durable).unwrap();
    assert_eq!((done.segments, done.recycled), (2, 2));
    wal.close().unwrap();
    drop(wal);

    // Somebody removes the log, but not what its name does not show to be of it, and puts the older
    // state back: the same log, the same epochs, the same addresses.
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".old") {
            fs::remove_file(path).unwrap();
        }
    }
    copy_files(backup.path(), dir.path());
    assert_eq!(retired(dir.path()), 2);

    let (wal, _) = open(dir.path());
    let numbers = 2_000_000..2_000_000 + SEGMENT_BYTES / BODY_BYTES as u64 + 100;
    append(&wal, numbers.clone());
    assert!(wal.positions().reserved.get() > 4096 + SEGMENT_BYTES);
    drop(wal);
    let (_, found) = open(dir.path());
    let expected: Vec<u64> = (0..10).chain(numbers).collect();
    assert_eq!(found.len(), expected.len(), "as many as were appended");
    assert_eq!(found, expected);
}
