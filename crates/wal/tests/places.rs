//! Wrong places: each has an error that says what, where and what next, and changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io;
use std::path::Path;

use common::small;
use wal::{Error, ErrorKind, LogView, Options, ReplayRecord, Wal};

fn open_at(path: &Path, options: Options) -> Result<Wal, Error> {
    Wal::open(path, options, |_: &ReplayRecord<'_>| Ok::<(), io::Error>(()))
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"precious").unwrap();
    let error = open_at(&file, small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotALog, "{error}");
    assert!(error.to_string().contains("file"), "{error}");
    assert_eq!(LogView::open(&file).unwrap_err().kind(), ErrorKind::NotALog);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

#[test]
fn a_place_where_there_is_no_log_is_refused_when_none_is_to_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    for path in [dir.path(), &missing] {
        let error = open_at(path, small().create(false)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotALog, "{error}");
        assert_eq!(LogView::open(path).unwrap_err().kind(), ErrorKind::NotALog);
    }
    assert!(!missing.exists(), "looking made the directory");
    assert!(!dir.path().join("control").exists(), "looking made a log");
}

#[test]
fn a_directory_of_other_things_keeps_them() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), b"mine").unwrap();
    let wal = open_at(dir.path(), small()).unwrap();
    wal.append(b"one").unwrap().wait_durable().unwrap();
    wal.close().unwrap();
    drop(wal);
    drop(open_at(dir.path(), small()).unwrap());
    assert_eq!(fs::read(dir.path().join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn a_read_only_look_changes_no_byte_and_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open_at(dir.path(), small()).unwrap();
    wal.append(b"one").unwrap().wait_durable().unwrap();
    drop(wal);
    let image = || {
        let mut files: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (
                    path.clone(),
                    fs::read(&path).unwrap(),
                    fs::metadata(&path).unwrap().modified().unwrap(),
                )
            })
            .collect();
        files.sort();
        files
    };
    let before = image();
    let view = LogView::open(dir.path()).unwrap();
    assert!(!view.verdict().is_damage());
    assert_eq!(image(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_buffered_log_that_was_closed_goes_on_with_direct_io_and_back() {
    let dir = tempfile::tempdir().unwrap();
    for (round, direct) in [false, true, false, true].into_iter().enumerate() {
        let mut found = 0;
        let wal = Wal::open(dir.path(), small().direct(direct), |_: &ReplayRecord<'_>| {
            found += 1;
            Ok::<(), io::Error>(())
        });
        let wal = match wal {
            Err(error) if direct => {
                eprintln!("SKIPPED: this file system refuses O_DIRECT: {error}");
                return;
            }
            wal => wal.unwrap(),
        };
        assert_eq!(found, round * 3);
        for _ in 0..3 {
            wal.append(&[round as u8; 100]).unwrap().wait_durable().unwrap();
        }
        if round == 2 {
            // Not closed: the unclean way has to work as well.
            continue;
        }
        wal.close().unwrap();
    }
}
