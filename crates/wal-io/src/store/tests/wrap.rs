//! A storage which counts calls, limits bytes, and fails what it is told to fail.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::backend::MemoryStorage;
use crate::storage::{Access, FileEntry, LogFile, Preparation, Storage, StorageLock};

/// What was asked of the storage, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Create(String),
    Open(String, Access),
    Write { name: String, handle: usize, offset: u64, bytes: usize },
    WriteDurable { name: String, handle: usize, offset: u64, bytes: usize },
    SyncData { name: String, handle: usize },
    SyncAll { name: String, handle: usize },
    SetLen { name: String, len: u64 },
    Fill { name: String, offset: u64, bytes: u64 },
    Rename(String, String),
    Remove(String),
    SyncDir,
}

#[derive(Debug, Default)]
struct Shared {
    calls: Vec<Call>,
    handles: usize,
    /// What files were created for, in order.
    prepared: Vec<Preparation>,
    /// Bytes of all files together; `None` is without limit.
    bytes_max: Option<u64>,
    /// A write and its sync are one call.
    joins: bool,
    /// Zeros are worth writing ahead.
    fills: bool,
    /// The next call that matches fails, once.
    fail_next: Option<fn(&Call) -> bool>,
}

#[derive(Clone, Debug)]
pub(crate) struct Wrap {
    inner: MemoryStorage,
    shared: Arc<Mutex<Shared>>,
}

impl Wrap {
    pub(crate) fn new() -> Self {
        Self::over(MemoryStorage::new())
    }

    pub(crate) fn over(inner: MemoryStorage) -> Self {
        Self { inner, shared: Arc::default() }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    pub(crate) fn last_preparation(&self) -> Option<Preparation> {
        self.shared.lock().prepared.last().copied()
    }

    pub(crate) fn forget_calls(&self) {
        self.shared.lock().calls.clear();
    }

    pub(crate) fn join_syncs(&self) {
        self.shared.lock().joins = true;
    }

    pub(crate) fn fill_files(&self) {
        self.shared.lock().fills = true;
    }

    pub(crate) fn fail_next(&self, matching: fn(&Call) -> bool) {
        self.shared.lock().fail_next = Some(matching);
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.inner.list().unwrap().iter().map(|entry| entry.len).sum()
    }

    /// From now on no byte more than what is there already.
    pub(crate) fn fill_up(&self) {
        self.limit(self.used_bytes());
    }

    pub(crate) fn limit(&self, bytes: u64) {
        self.shared.lock().bytes_max = Some(bytes);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.inner.list().unwrap().into_iter().map(|entry| entry.name).collect()
    }

    fn note(&self, call: Call) -> io::Result<()> {
        let mut shared = self.shared.lock();
        let fails = shared.fail_next.is_some_and(|matching| matching(&call));
        shared.calls.push(call);
        if fails {
            shared.fail_next = None;
            return Err(io::Error::other("told to fail"));
        }
        Ok(())
    }

    fn take(&self, more: u64) -> io::Result<()> {
        let full = self.shared.lock().bytes_max.is_some_and(|max| self.used_bytes() + more > max);
        if full { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn file(&self, name: &str, inner: Box<dyn LogFile>) -> Box<dyn LogFile> {
        let mut shared = self.shared.lock();
        shared.handles += 1;
        let handle = shared.handles;
        Box::new(WrapFile { storage: self.clone(), inner, name: name.to_owned(), handle })
    }
}

impl Storage for Wrap {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.inner.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        self.note(Call::Create(name.to_owned()))?;
        self.take(len)?;
        Ok(self.file(name, self.inner.create(name, len)?))
    }

    fn create_for(
        &self,
        name: &str,
        len: u64,
        preparation: Preparation,
    ) -> io::Result<Box<dyn LogFile>> {
        self.shared.lock().prepared.push(preparation);
        self.create(name, len)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        self.note(Call::Open(name.to_owned(), access))?;
        Ok(self.file(name, self.inner.open(name, access)?))
    }

    fn overwrites_in_place(&self) -> bool {
        true
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.note(Call::Rename(from.to_owned(), to.to_owned()))?;
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.note(Call::Remove(name.to_owned()))?;
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.note(Call::SyncDir)?;
        self.inner.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        self.inner.lock()
    }

    fn lock_holds(&self) -> io::Result<Box<dyn StorageLock>> {
        self.inner.lock_holds()
    }

    fn place(&self) -> String {
        "wrapped memory".to_owned()
    }
}

#[derive(Debug)]
struct WrapFile {
    storage: Wrap,
    inner: Box<dyn LogFile>,
    name: String,
    handle: usize,
}

impl LogFile for WrapFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        let (name, handle) = (self.name.clone(), self.handle);
        self.storage.note(Call::Write { name, handle, offset, bytes })?;
        self.inner.write_at(bufs, offset)
    }

    fn write_durable_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        let (name, handle) = (self.name.clone(), self.handle);
        self.storage.note(Call::WriteDurable { name, handle, offset, bytes })?;
        self.inner.write_at(bufs, offset)
    }

    fn joins_sync(&self) -> bool {
        self.storage.shared.lock().joins
    }

    fn sync_data(&self) -> io::Result<()> {
        let (name, handle) = (self.name.clone(), self.handle);
        self.storage.note(Call::SyncData { name, handle })?;
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        let (name, handle) = (self.name.clone(), self.handle);
        self.storage.note(Call::SyncAll { name, handle })?;
        self.inner.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.storage.note(Call::SetLen { name: self.name.clone(), len })?;
        self.storage.take(len.saturating_sub(self.inner.len()?))?;
        self.inner.set_len(len)
    }

    fn fill(&self, offset: u64, bytes: u64) -> io::Result<bool> {
        self.storage.note(Call::Fill { name: self.name.clone(), offset, bytes })?;
        Ok(self.storage.shared.lock().fills)
    }
}
