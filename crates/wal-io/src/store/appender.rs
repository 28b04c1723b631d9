//! Writing log bytes into the segments they belong to.
//!
//! An appender belongs to one flush slot. It opens its own files and shares them with nobody
//! (rule 6): a write-back error is reported to one of several users of an open file only. A file
//! that was written to and left stays open until it has been synced.

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wal_format::Lsn;

use super::segment_store::SegmentStore;
use crate::chain::ChainLink;
use crate::error::{IoError, IoOp};
use crate::file_io::{write_durable_full_at, write_full_at};
use crate::sink::LogSink;
use crate::slices::slices_between;
use crate::storage::{Access, LogFile};
use crate::sync_method::SyncMethod;

impl SegmentStore {
    /// A sink of its own for one flush slot, beginning in the active segment.
    ///
    /// # Errors
    ///
    /// - [`IoError::OutOfRange`]: the opening has not decided yet where appending goes on.
    /// - [`IoError::Failed`]: the active segment cannot be opened.
    ///
    /// # Cost
    ///
    /// One open.
    pub fn appender(self: &Arc<Self>) -> Result<Box<dyn LogSink>, IoError> {
        let active = {
            let chain = self.chain.lock();
            chain.active.and_then(|index| chain.links.get(index)).copied()
        };
        let unplaced = IoError::OutOfRange { what: "the end of the log", lsn: Lsn::NONE };
        let current = self.open_for_append(&active.ok_or(unplaced)?)?;
        let block_bytes = current.file.block_bytes();
        let method = self.options.sync_method;
        let (left, store) = (Vec::new(), Arc::clone(self));
        Ok(Box::new(Appender { current, left, block_bytes, method, failed: false, store }))
    }

    fn open_for_append(&self, link: &ChainLink) -> Result<OpenSegment, IoError> {
        let name = link.name.to_string();
        let access = match self.options.sync_method {
            SyncMethod::WriteThrough => Access::WriteThrough,
            _ => Access::Write,
        };
        let file = self
            .storage
            .open(&name, access)
            .map_err(|error| IoError::failed(IoOp::Open, &*name, error))?;
        Ok(OpenSegment { file, name, link: *link, unsynced: false })
    }

    /// The segment that holds `at`, for writing. From now on it is not replaced any more.
    fn enter(&self, at: Lsn) -> Result<ChainLink, IoError> {
        let mut chain = self.chain.lock();
        let writable = at >= chain.writable_from && chain.active.is_some();
        let found = chain.links.iter().rposition(|link| link.range().contains(at));
        match found.filter(|_| writable).and_then(|index| Some((index, *chain.links.get(index)?))) {
            Some((index, link)) => {
                chain.active = chain.active.max(Some(index));
                Ok(link)
            }
            None => Err(IoError::OutOfRange { what: "an address to write", lsn: at }),
        }
    }
}

/// A segment that this appender writes to, through a handle of its own.
struct OpenSegment {
    file: Box<dyn LogFile>,
    name: String,
    link: ChainLink,
    /// Something was written since the last sync.
    unsynced: bool,
}

struct Appender {
    current: OpenSegment,
    /// Segments left behind with bytes that are not synced yet.
    left: Vec<OpenSegment>,
    block_bytes: usize,
    method: SyncMethod,
    /// A write or sync failed: what the files hold is unknown.
    failed: bool,
    /// Dropped after the files: with it may go the lock on the directory (rule 15).
    store: Arc<SegmentStore>,
}

impl Appender {
    fn check(&self) -> Result<(), IoError> {
        if self.failed { Err(self.poisoned()) } else { Ok(()) }
    }

    #[cold]
    fn poisoned(&self) -> IoError {
        IoError::Poisoned { name: self.current.name.clone() }
    }

    /// Goes on in the segment that holds `at`.
    fn move_to(&mut self, at: Lsn) -> Result<(), IoError> {
        let link = self.store.enter(at)?;
        tracing::debug!(segment = %link.name, base = %at, "appending goes on in the next segment");
        let next = self.store.open_for_append(&link)?;
        let before = std::mem::replace(&mut self.current, next);
        if before.unsynced {
            self.left.push(before);
        }
        Ok(())
    }

    fn write_all(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError> {
        let total = bufs.iter().map(|buf| buf.len()).sum();
        if total != 0 && self.current.holds(at, total) {
            return self.current.write(at, bufs);
        }
        self.write_across(at, bufs, total)
    }

    /// Writes what the segment at hand does not hold, or not to its end.
    #[cold]
    fn write_across(&mut self, at: Lsn, bufs: &[IoSlice<'_>], total: usize) -> Result<(), IoError> {
        let (mut at, mut done) = (at, 0);
        while done < total {
            if !self.current.link.range().contains(at) {
                self.move_to(at)?;
            }
            let room = self.current.link.cap.distance_from(at).unwrap_or(0);
            let now = usize::try_from(room).unwrap_or(usize::MAX).min(total - done);
            self.current.write(at, &slices_between(bufs, done, done + now))?;
            done += now;
            let out_of_range = IoError::OutOfRange { what: "an address to write", lsn: at };
            at = at.checked_add(now as u64).ok_or(out_of_range)?;
        }
        Ok(())
    }

    fn sync_all_files(&mut self) -> Result<(), IoError> {
        if !self.left.is_empty() {
            self.sync_those_left()?;
        }
        self.current.sync(self.method)?;
        // Relaxed: a count, for a guess at what the next segment is used for.
        self.store.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    #[cold]
    fn sync_those_left(&mut self) -> Result<(), IoError> {
        for segment in &mut self.left {
            segment.sync(self.method)?;
        }
        self.left.clear();
        Ok(())
    }
}

impl OpenSegment {
    /// Whether so many bytes at `at` lie in it.
    fn holds(&self, at: Lsn, bytes: usize) -> bool {
        let room = self.link.cap.distance_from(at).unwrap_or(0);
        self.link.range().contains(at) && bytes as u64 <= room
    }

    fn write(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError> {
        self.unsynced = true;
        write_full_at(self.file.as_ref(), &self.name, bufs, self.link.offset_of(at))
    }

    fn write_sync(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError> {
        self.unsynced = true;
        let offset = self.link.offset_of(at);
        write_durable_full_at(self.file.as_ref(), &self.name, bufs, offset)?;
        self.unsynced = false;
        Ok(())
    }

    fn sync(&mut self, method: SyncMethod) -> Result<(), IoError> {
        if !self.unsynced {
            return Ok(());
        }
        match method {
            SyncMethod::DataSync => self.file.sync_data(),
            SyncMethod::FullSync => self.file.sync_all(),
            SyncMethod::WriteThrough | SyncMethod::None => Ok(()),
        }
        .map_err(|error| IoError::failed(IoOp::Sync, &*self.name, error))?;
        self.unsynced = false;
        Ok(())
    }
}

impl LogSink for Appender {
    fn write(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError> {
        self.check()?;
        let written = self.write_all(at, bufs);
        self.failed |= written.is_err();
        written
    }

    fn sync(&mut self) -> Result<(), IoError> {
        self.check()?;
        let synced = self.sync_all_files();
        self.failed |= synced.is_err();
        synced
    }

    fn write_sync(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError> {
        let total = bufs.iter().map(|buf| buf.len()).sum();
        // One call covers its own bytes only, in one file.
        if !(self.joins_sync() && self.current.holds(at, total)) {
            self.write(at, bufs)?;
            return self.sync();
        }
        self.check()?;
        let written = self.current.write_sync(at, bufs);
        match &written {
            // Relaxed: a count, for a guess at what the next segment is used for.
            Ok(()) => _ = self.store.syncs.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.failed = true,
        }
        written
    }

    fn joins_sync(&self) -> bool {
        self.method == SyncMethod::DataSync
            && self.current.file.joins_sync()
            && !self.current.unsynced
            && self.left.is_empty()
    }

    fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    fn can_promise(&self) -> bool {
        self.method.can_promise()
    }
}

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender")
            .field("segment", &self.current.name)
            .field("unsynced_segments_left", &self.left.len())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
