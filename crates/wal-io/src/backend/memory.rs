//! A directory in memory: for tests and caches, a supported product.
//!
//! Nothing survives the process, so a sync has nothing to do; everything else behaves as files do.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::storage::{Access, FileEntry, LogFile, Storage, StorageLock};

type Contents = Arc<RwLock<Vec<u8>>>;

/// A directory in memory. Clones share it, so a log can be closed and opened again.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    /// Changed under its lock by create, rename and remove.
    files: Arc<Mutex<BTreeMap<String, Contents>>>,
    locked: Arc<AtomicBool>,
    holds_locked: Arc<AtomicBool>,
}

impl MemoryStorage {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Storage for MemoryStorage {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let files = self.files.lock();
        Ok(files
            .iter()
            .map(|(name, contents)| FileEntry {
                name: name.clone(),
                len: contents.read().len() as u64,
            })
            .collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        let mut files = self.files.lock();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let contents = Contents::default();
        resize(&mut contents.write(), len)?;
        files.insert(name.to_owned(), Arc::clone(&contents));
        Ok(Box::new(MemoryFile { contents, access: Access::Write }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        let files = self.files.lock();
        let contents = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile { contents: Arc::clone(contents), access }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let contents = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), contents);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        take(&self.locked)
    }

    fn lock_holds(&self) -> io::Result<Box<dyn StorageLock>> {
        take(&self.holds_locked)
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

fn take(locked: &Arc<AtomicBool>) -> io::Result<Box<dyn StorageLock>> {
    // Acquire pairs with the Release of the guard's drop: what the last owner did is seen.
    if locked.swap(true, Ordering::Acquire) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(Box::new(MemoryLock(Arc::clone(locked))))
}

#[derive(Debug)]
struct MemoryLock(Arc<AtomicBool>);

impl StorageLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[derive(Debug)]
struct MemoryFile {
    contents: Contents,
    access: Access,
}

impl LogFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = self.contents.read();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = contents.get(start..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.access.check_writable()?;
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if total == 0 {
            return Ok(0);
        }
        let end = offset.checked_add(total as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut contents = self.contents.write();
        if end > contents.len() as u64 {
            resize(&mut contents, end)?;
        }
        // The vector is at least `end` long, so the offset fits a usize.
        let mut at = offset as usize;
        for buf in bufs {
            contents[at..at + buf.len()].copy_from_slice(buf);
            at += buf.len();
        }
        Ok(total)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.contents.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.access.check_writable()?;
        resize(&mut self.contents.write(), len)
    }
}

fn resize(contents: &mut Vec<u8>, len: u64) -> io::Result<()> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let more = len.saturating_sub(contents.len());
    contents.try_reserve(more).map_err(|_| io::ErrorKind::OutOfMemory)?;
    contents.resize(len, 0);
    Ok(())
}
