//! The smallest executor, and a storage that tells which thread syncs.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Thread, ThreadId};

use wal::{Access, FileEntry, LogFile, MemoryStorage, Storage, StorageLock};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker of this thread.
pub fn waker() -> Waker {
    Waker::from(Arc::new(Unpark(std::thread::current())))
}

/// Runs one future in this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = waker();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

/// Polls once; whether it was ready.
pub fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A storage in memory that counts the syncs of one thread.
#[derive(Debug)]
pub struct Watched {
    inner: MemoryStorage,
    thread: ThreadId,
    syncs: Arc<AtomicU64>,
}

impl Watched {
    /// Watches the thread which calls this.
    pub fn here() -> (Arc<dyn Storage>, Arc<AtomicU64>) {
        let syncs = Arc::new(AtomicU64::new(0));
        let thread = std::thread::current().id();
        (Arc::new(Self { inner: MemoryStorage::new(), thread, syncs: syncs.clone() }), syncs)
    }

    fn watch(&self, file: Box<dyn LogFile>) -> Box<dyn LogFile> {
        Box::new(WatchedFile { inner: file, thread: self.thread, syncs: self.syncs.clone() })
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: Box<dyn LogFile>,
    thread: ThreadId,
    syncs: Arc<AtomicU64>,
}

impl WatchedFile {
    fn note(&self) {
        if std::thread::current().id() == self.thread {
            self.syncs.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Storage for Watched {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.inner.list()
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        self.inner.create(name, len).map(|file| self.watch(file))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        self.inner.open(name, access).map(|file| self.watch(file))
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

impl LogFile for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.inner.write_at(bufs, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.note();
        self.inner.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.note();
        self.inner.sync_all()
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
}
