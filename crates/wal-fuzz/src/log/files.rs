//! The files of a log as bytes, and a place in memory that is the same on every run.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use wal::{Access, FileEntry, LogFile, MemoryStorage, Storage, StorageLock};

/// Contents by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files(pub(super) BTreeMap<String, Vec<u8>>);

impl Files {
    /// All files of a place.
    pub(super) fn of(storage: &Arc<dyn Storage>) -> Self {
        let names = storage.list().unwrap();
        Self(names.into_iter().map(|entry| (entry.name.clone(), read(storage, &entry))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Vec<u8>> {
        self.0.get(name)
    }

    /// The name of a file; any number means one.
    pub(super) fn name(&self, number: u8) -> Option<String> {
        let count = self.0.len().max(1);
        self.0.keys().nth(usize::from(number) % count).cloned()
    }
}

fn read(storage: &Arc<dyn Storage>, entry: &FileEntry) -> Vec<u8> {
    let mut bytes = vec![0; entry.len as usize];
    let file = storage.open(&entry.name, Access::Read).unwrap();
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

/// A directory in memory whose clock stands still and whose identities are counted, so that the
/// same bytes lead to the same log.
#[derive(Debug)]
pub(super) struct Place {
    files: MemoryStorage,
    drawn: AtomicU8,
}

impl Place {
    /// A place with these files.
    pub(super) fn of(files: &Files) -> Arc<dyn Storage> {
        let storage = MemoryStorage::new();
        for (name, bytes) in &files.0 {
            let file = storage.create(name, bytes.len() as u64).unwrap();
            file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
        }
        Arc::new(Self { files: storage, drawn: AtomicU8::new(1) })
    }
}

impl Storage for Place {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.files.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        assert!(len <= 1 << 22, "{len} bytes for `{name}`, on the word of a damaged log");
        self.files.create(name, len)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        self.files.open(name, access)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.files.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        self.files.lock()
    }

    fn lock_holds(&self) -> io::Result<Box<dyn StorageLock>> {
        self.files.lock_holds()
    }

    fn place(&self) -> String {
        self.files.place()
    }

    fn entropy(&self, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(self.drawn.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }

    fn unix_us(&self) -> u64 {
        1_700_000_000_000_000
    }
}
