//! One trait for a log in files and a log in memory, for engines that take either: [`Log`].
//!
//! It can be a trait object, so which log it is may be decided while the program runs. What needs
//! type parameters or borrows from the log (replay, readers, transactions) stays with [`Wal`].

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use wal_commit::Positions;
use wal_format::{CheckpointPointer, Lsn, RecordKind};
use wal_io::Storage;
use wal_io::backend::MemoryStorage;

use crate::error::Error;
use crate::log::{Stats, Truncated, Wal};
use crate::many::Records;
use crate::options::Options;
use crate::ticket::Ticket;

/// What an asynchronous call of a [`Log`] gives. It runs on any executor and is safe to drop; see
/// the calls of [`Wal`] of the same name.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for Wal {}
impl sealed::Sealed for MemoryLog {}

/// A log to append to, read from and close, wherever it is kept: [`Wal`] or [`MemoryLog`].
///
/// Each call is that of [`Wal`] with the same name, unless it says otherwise.
#[allow(clippy::missing_errors_doc, reason = "those of the calls of `Wal` with the same names")]
pub trait Log: sealed::Sealed + Send + Sync + fmt::Debug {
    /// The log itself, for what the trait leaves out.
    fn as_wal(&self) -> &Wal;

    /// [`Wal::append`].
    fn append(&self, body: &[u8]) -> Result<Ticket, Error> {
        self.as_wal().append(body)
    }

    /// [`Wal::append_kind`].
    fn append_kind(&self, kind: RecordKind, body: &[u8]) -> Result<Ticket, Error> {
        self.as_wal().append_kind(kind, body)
    }

    /// [`Wal::append_batch`].
    fn append_batch(&self, bodies: &[&[u8]]) -> Result<Ticket, Error> {
        self.as_wal().append_batch(bodies)
    }

    /// [`Wal::sync`].
    fn sync(&self) -> Result<Lsn, Error> {
        self.as_wal().sync()
    }

    /// [`Wal::positions`]: `reserved` is where the next record goes, before `durable` all is synced.
    fn positions(&self) -> Positions {
        self.as_wal().positions()
    }

    /// [`Wal::head`].
    fn head(&self) -> Lsn {
        self.as_wal().head()
    }

    /// [`Wal::read_many`].
    fn read_many(&self, lsn: Lsn, limit: usize) -> Result<Records, Error> {
        self.as_wal().read_many(lsn, limit)
    }

    /// A checkpoint whose `payload` holds all that was appended before this call: begun and
    /// completed. While others append, begin and complete it with [`Wal::checkpoint_begin`].
    fn checkpoint(&self, payload: &[u8]) -> Result<CheckpointPointer, Error> {
        self.as_wal().checkpoint_begin()?.complete(payload)
    }

    /// [`Wal::checkpoints`], oldest first.
    fn checkpoints(&self) -> Vec<CheckpointPointer> {
        self.as_wal().checkpoints()
    }

    /// [`Wal::truncate_before`].
    fn truncate_before(&self, lsn: Lsn) -> Result<Truncated, Error> {
        self.as_wal().truncate_before(lsn)
    }

    /// [`Wal::stats`].
    fn stats(&self) -> Stats {
        self.as_wal().stats()
    }

    /// [`Wal::close`].
    fn close(&self) -> Result<(), Error> {
        self.as_wal().close()
    }

    /// [`Wal::append_async`].
    fn append_async<'a>(&'a self, body: &'a [u8]) -> LogFuture<'a, Ticket> {
        Box::pin(self.as_wal().append_async(body))
    }

    /// [`Wal::append_batch_async`].
    fn append_batch_async<'a>(&'a self, bodies: &'a [&'a [u8]]) -> LogFuture<'a, Ticket> {
        Box::pin(self.as_wal().append_batch_async(bodies))
    }

    /// [`Wal::sync_async`].
    fn sync_async(&self) -> LogFuture<'_, Lsn> {
        Box::pin(self.as_wal().sync_async())
    }

    /// [`Wal::wait_beyond_async`].
    fn wait_beyond_async(&self, lsn: Lsn) -> LogFuture<'_, Lsn> {
        Box::pin(self.as_wal().wait_beyond_async(lsn))
    }

    /// As [`checkpoint`](Self::checkpoint), by a thread of its own.
    fn checkpoint_async(&self, payload: Vec<u8>) -> LogFuture<'_, CheckpointPointer> {
        Box::pin(async move {
            self.as_wal().checkpoint_begin_async().await?.complete_async(payload).await
        })
    }

    /// [`Wal::truncate_before_async`].
    fn truncate_before_async(&self, lsn: Lsn) -> LogFuture<'_, Truncated> {
        Box::pin(self.as_wal().truncate_before_async(lsn))
    }

    /// [`Wal::close_async`].
    fn close_async(&self) -> LogFuture<'_, ()> {
        Box::pin(self.as_wal().close_async())
    }
}

impl Log for Wal {
    fn as_wal(&self) -> &Wal {
        self
    }
}

/// A log in memory, for tests and caches: the log itself on a [`MemoryStorage`], not an imitation.
///
/// Addresses, errors, batches and truncation are those of a log in files. Nothing of it survives
/// the process, whatever level was waited for.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    wal: Wal,
    storage: Arc<dyn Storage>,
}

impl MemoryLog {
    /// An empty log in memory. Its segments are of 64 KiB unless `options` name another size than
    /// the default, which would take 128 MiB at once.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused): an option is out of range.
    pub fn new(options: Options) -> Result<Self, Error> {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let options = options.for_memory();
        let nothing = |_: &wal_recovery::ReplayRecord<'_>| Ok::<(), io::Error>(());
        let wal = Wal::open_in(Arc::clone(&storage), options, nothing)?;
        Ok(Self { wal, storage })
    }

    /// Where it is kept: opened again with [`Wal::open_in`], after a close or the drop of every
    /// handle, it replays as a log in files would.
    #[must_use]
    pub const fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }
}

impl Log for MemoryLog {
    fn as_wal(&self) -> &Wal {
        &self.wal
    }
}
