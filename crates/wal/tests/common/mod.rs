//! Shared by the tests of the facade: opening, damaging, and looking at what is there.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

pub mod executor;
pub mod pages;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use wal::{Access, Error, MemoryStorage, Options, ReplayRecord, Storage, Threads, Wal};

/// Small segments and no thread: quick, and the same on every run.
pub fn small() -> Options {
    let options = Options::default().segment_bytes(64 << 10).buffer_bytes(16 << 10);
    options.threads(Threads::None).lock_wait(Duration::ZERO)
}

/// Opens the log and gives the bodies that replay, in order.
pub fn open(storage: &Arc<dyn Storage>, options: Options) -> Result<(Wal, Vec<Vec<u8>>), Error> {
    let mut bodies = Vec::new();
    let wal = Wal::open_in(Arc::clone(storage), options, |record: &ReplayRecord<'_>| {
        bodies.push(record.body.to_vec());
        Ok::<(), io::Error>(())
    })?;
    Ok((wal, bodies))
}

/// As `open`, for logs that must open.
pub fn reopen(storage: &Arc<dyn Storage>) -> (Wal, Vec<Vec<u8>>) {
    open(storage, small()).expect("the log opens")
}

/// A body which names its number and is of uneven length.
pub fn body(number: usize) -> Vec<u8> {
    let mut body = format!("record {number} ").into_bytes();
    body.resize(body.len() + number % 13, b'x');
    body
}

/// Names and contents of all files.
pub fn contents(storage: &dyn Storage) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = storage
        .list()
        .unwrap()
        .into_iter()
        .map(|entry| (entry.name.clone(), read(storage, &entry.name)))
        .collect();
    files.sort();
    files
}

/// The bytes of one file.
pub fn read(storage: &dyn Storage, name: &str) -> Vec<u8> {
    let file = storage.open(name, Access::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    let mut at = 0;
    while at < bytes.len() {
        let read = file.read_at(&mut bytes[at..], at as u64).unwrap();
        assert!(read > 0, "the file is shorter than its length");
        at += read;
    }
    bytes
}

/// A storage in memory with these files.
pub fn memory_of(files: &[(String, Vec<u8>)]) -> Arc<dyn Storage> {
    let storage = MemoryStorage::new();
    for (name, bytes) in files {
        let file = storage.create(name, bytes.len() as u64).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    }
    Arc::new(storage)
}

/// An independent copy in memory.
pub fn copy_of(storage: &dyn Storage) -> Arc<dyn Storage> {
    memory_of(&contents(storage))
}

/// Names of the segment files, in order of their names.
pub fn segments(storage: &dyn Storage) -> Vec<String> {
    let mut names: Vec<String> =
        storage.list().unwrap().into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.ends_with(".wal"));
    names.sort();
    names
}

/// The segment file which holds address `lsn`, and the place in it.
pub fn place_of(storage: &dyn Storage, lsn: u64) -> (String, u64) {
    let base = |name: &String| u64::from_str_radix(&name[..16], 16).unwrap();
    let name = segments(storage).into_iter().filter(|name| base(name) <= lsn).max_by_key(base);
    let name = name.expect("some segment begins before the address");
    let offset = 4096 + lsn - base(&name);
    (name, offset)
}

/// Overwrites bytes of a file.
pub fn overwrite(storage: &dyn Storage, name: &str, offset: u64, bytes: &[u8]) {
    let file = storage.open(name, Access::Write).unwrap();
    assert_eq!(file.write_at(&[IoSlice::new(bytes)], offset).unwrap(), bytes.len());
}

/// Flips one bit of a file.
pub fn flip(storage: &dyn Storage, name: &str, bit: u64) {
    let mut bytes = read(storage, name);
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    overwrite(storage, name, bit / 8, &bytes[(bit / 8) as usize..=(bit / 8) as usize]);
}
