//! A storage backend of one's own, in some 200 lines: a log kept in one byte vector per file behind
//! a lock, which counts its syncs.
//!
//! ```sh
//! cargo run -p wal --example custom_backend
//! ```
//!
//! A real backend (an object store, a block device, an enclave) implements the same traits and is held
//! to their contract as this one is, by the test at the end.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use wal::{Access, FileEntry, LogFile, Options, Storage, StorageLock, Wal};

type Bytes = Arc<Mutex<Vec<u8>>>;

const FILE_BYTES_MAX: u64 = 1 << 30;

#[derive(Clone, Debug, Default)]
struct Shelf(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    files: Mutex<BTreeMap<String, Bytes>>,
    taken: AtomicBool,
    syncs: AtomicU64,
}

#[derive(Debug)]
struct Book {
    shelf: Shelf,
    bytes: Bytes,
}

#[derive(Debug)]
struct Taken(Shelf);

fn hold<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No length that somebody asks for is trusted.
fn resize(bytes: &mut Vec<u8>, len: u64) -> io::Result<()> {
    if len > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    bytes.resize(len as usize, 0);
    Ok(())
}

impl Shelf {
    fn book(&self, bytes: &Bytes) -> Box<dyn LogFile> {
        Box::new(Book { shelf: self.clone(), bytes: Arc::clone(bytes) })
    }
}

impl Storage for Shelf {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let files = hold(&self.0.files);
        let entry = |(name, bytes): (&String, &Bytes)| FileEntry {
            name: name.clone(),
            len: hold(bytes).len() as u64,
        };
        Ok(files.iter().map(entry).collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        let mut files = hold(&self.0.files);
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let bytes = Bytes::default();
        resize(&mut hold(&bytes), len)?;
        files.insert(name.to_owned(), Arc::clone(&bytes));
        Ok(self.book(&bytes))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        let files = hold(&self.0.files);
        let bytes = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        match access {
            Access::Read => Ok(Box::new(ReadOnly(self.book(bytes)))),
            _ => Ok(self.book(bytes)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = hold(&self.0.files);
        let bytes = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        hold(&self.0.files).remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.syncs.fetch_add(1, SeqCst);
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        match self.0.taken.swap(true, SeqCst) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(Box::new(Taken(self.clone()))),
        }
    }

    fn place(&self) -> String {
        "the shelf".to_owned()
    }
}

impl StorageLock for Taken {}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.taken.store(false, SeqCst);
    }
}

impl LogFile for Book {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = hold(&self.bytes);
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let new: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        if new.is_empty() {
            return Ok(0);
        }
        let mut bytes = hold(&self.bytes);
        let end = offset.saturating_add(new.len() as u64);
        if end > bytes.len() as u64 {
            resize(&mut bytes, end)?;
        }
        bytes[offset as usize..end as usize].copy_from_slice(&new);
        Ok(new.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.shelf.0.syncs.fetch_add(1, SeqCst);
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(hold(&self.bytes).len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        resize(&mut hold(&self.bytes), len)
    }
}

/// A handle through which nothing changes.
#[derive(Debug)]
struct ReadOnly(Box<dyn LogFile>);

impl LogFile for ReadOnly {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

fn main() -> Result<(), wal::Error> {
    let shelf = Shelf::default();
    let options = || Options::default().segment_bytes(64 << 10);
    let ignore = |_: &wal::ReplayRecord<'_>| Ok::<(), io::Error>(());
    let log = Wal::open_in(Arc::new(shelf.clone()), options(), ignore)?;
    for number in 0..1000 {
        log.append(format!("record {number}").as_bytes())?.wait_durable()?;
    }
    drop(log); // as in a crash: not closed

    let mut found = 0;
    let log = Wal::open_in(Arc::new(shelf.clone()), options(), |_: &wal::ReplayRecord<'_>| {
        found += 1;
        Ok::<(), io::Error>(())
    })?;
    println!("{found} records found again, {} syncs so far", shelf.0.syncs.load(SeqCst));
    log.close()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shelf_keeps_the_contract() -> Result<(), wal_sim::contract::Broken> {
        wal_sim::contract::run(|| Arc::new(Shelf::default()))
    }
}
