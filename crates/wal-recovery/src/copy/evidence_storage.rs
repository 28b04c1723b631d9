//! The source of a copy, as the copy sees it: never written, and read as far as it can be.
//!
//! Every call that would change the source is refused here, so that no mistake above can touch
//! the evidence. A salvage reads past sectors which the device cannot give: they read as zeros,
//! which are never a record, and are counted; so what they held shows as lost, or, where nothing
//! proves that it was there, as the end.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wal_format::layout::BLOCK_BYTES;
use wal_io::{Access, FileEntry, LogFile, Storage, StorageLock};

/// A storage that is only read.
#[derive(Debug)]
pub(super) struct EvidenceStorage {
    inner: Arc<dyn Storage>,
    /// Bytes that could not be read so far; `None` where that is an error.
    unreadable: Option<Arc<AtomicU64>>,
}

impl EvidenceStorage {
    /// Reads `inner`; what cannot be read is an error.
    pub(super) fn strict(inner: &Arc<dyn Storage>) -> Self {
        Self { inner: Arc::clone(inner), unreadable: None }
    }

    /// Reads `inner` as far as it can be read, and adds to `unreadable` what cannot.
    pub(super) fn patient(inner: &Arc<dyn Storage>, unreadable: &Arc<AtomicU64>) -> Self {
        Self { inner: Arc::clone(inner), unreadable: Some(Arc::clone(unreadable)) }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(ErrorKind::PermissionDenied.into())
}

impl Storage for EvidenceStorage {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.inner.list()
    }

    fn create(&self, _name: &str, _len: u64) -> io::Result<Box<dyn LogFile>> {
        refused()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        if access != Access::Read {
            return refused();
        }
        let inner = self.inner.open(name, access)?;
        Ok(Box::new(EvidenceFile { inner, unreadable: self.unreadable.clone() }))
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self) -> io::Result<()> {
        refused()
    }

    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        refused()
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}

#[derive(Debug)]
struct EvidenceFile {
    inner: Box<dyn LogFile>,
    unreadable: Option<Arc<AtomicU64>>,
}

impl EvidenceFile {
    /// Reads to the end of the block that holds `offset`, at the most; as zeros if it must be.
    fn read_block(&self, buf: &mut [u8], offset: u64, unreadable: &AtomicU64) -> io::Result<usize> {
        let block = BLOCK_BYTES as u64;
        let in_file = self.inner.len()?.saturating_sub(offset);
        let count = (block - offset % block).min(in_file).min(buf.len() as u64);
        let buf = buf.get_mut(..count as usize).unwrap_or_default();
        match self.inner.read_at(buf, offset) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                buf.fill(0);
                // Only ever added to, and read when the copy is done: no ordering is needed.
                unreadable.fetch_add(count, Ordering::Relaxed);
                Ok(buf.len())
            }
            read => read,
        }
    }
}

impl LogFile for EvidenceFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match (self.inner.read_at(buf, offset), &self.unreadable) {
            (Err(error), Some(unreadable)) if error.kind() != ErrorKind::Interrupted => {
                self.read_block(buf, offset, unreadable)
            }
            (read, _) => read,
        }
    }

    fn write_at(&self, _bufs: &[IoSlice<'_>], _offset: u64) -> io::Result<usize> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn sync_all(&self) -> io::Result<()> {
        refused()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn data_from(&self, offset: u64) -> io::Result<u64> {
        match self.inner.data_from(offset) {
            // What cannot be told is read, and counted if that fails as well.
            Err(_) if self.unreadable.is_some() => Ok(offset),
            told => told,
        }
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn block_bytes(&self) -> usize {
        self.inner.block_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_io::backend::{FileStorage, MemoryStorage};

    #[test]
    fn holes_that_the_source_tells_of_are_told_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let sparse = std::fs::File::create(dir.path().join("sparse")).unwrap();
        sparse.set_len(64 << 20).unwrap();
        let asked = |inner: Arc<dyn Storage>, patient: bool| {
            let evidence = if patient {
                EvidenceStorage::patient(&inner, &Arc::default())
            } else {
                EvidenceStorage::strict(&inner)
            };
            evidence.open("sparse", Access::Read).unwrap().data_from(4096).unwrap()
        };
        for patient in [false, true] {
            let reading = FileStorage::open_existing(dir.path()).unwrap();
            assert_eq!(asked(Arc::new(reading), patient), 4096);
            let passing = Arc::new(FileStorage::open_existing(dir.path()).unwrap().passing_holes());
            let told = passing.open("sparse", Access::Read).unwrap().data_from(4096).unwrap();
            assert_eq!(asked(passing, patient), told);
            // A file system without holes says that all may be data.
            assert!(told == u64::MAX || told == 4096, "{told}");
        }
    }

    #[test]
    fn every_change_is_refused() {
        let inner: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        inner.create("file", 8).unwrap();
        let evidence = EvidenceStorage::strict(&inner);
        assert!(evidence.create("other", 8).is_err());
        assert!(evidence.open("file", Access::Write).is_err());
        assert!(evidence.open("file", Access::WriteThrough).is_err());
        assert!(evidence.rename("file", "other").is_err());
        assert!(evidence.remove("file").is_err());
        assert!(evidence.sync_dir().is_err());
        assert!(evidence.lock().is_err());
        let file = evidence.open("file", Access::Read).unwrap();
        assert!(file.write_at(&[IoSlice::new(b"x")], 0).is_err());
        assert!(file.set_len(0).is_err());
        assert!(file.sync_data().is_err() && file.sync_all().is_err());
        assert_eq!((file.len().unwrap(), evidence.list().unwrap().len()), (8, 1));
    }
}
