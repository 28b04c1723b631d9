//! An open file: that of the backend below, and the lanes for what is written to be durable.
//!
//! Everything goes to the file below but [`LogFile::write_durable_at`]: alone, neither a write nor
//! a sync gains by a ring. What a lane does goes through the same open file description, so that
//! its errors are reported there and nowhere else (rule 6).

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wal_io::LogFile;

use crate::kernel::{Order, Outcome, Unsent};
use crate::lanes::Lanes;
use crate::options::Joining;

/// What the files of a storage share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) lanes: Lanes,
    pub(crate) joining: Joining,
    /// Durable writes that went through a lane, and that did not. Relaxed: counts, for people.
    pub(crate) joined: AtomicU64,
    pub(crate) apart: AtomicU64,
}

impl Common {
    pub(crate) fn new(lanes: Lanes, joining: Joining) -> Arc<Self> {
        Arc::new(Self { lanes, joining, joined: AtomicU64::new(0), apart: AtomicU64::new(0) })
    }
}

/// One open file, writable.
#[derive(Debug)]
pub(crate) struct UringFile {
    below: Box<dyn LogFile>,
    common: Arc<Common>,
}

impl UringFile {
    pub(crate) fn new(below: Box<dyn LogFile>, common: Arc<Common>) -> Self {
        Self { below, common }
    }

    /// Writes and syncs in one submission; `None` when that cannot be, and nothing was done.
    fn write_joined(&self, bufs: &[IoSlice<'_>], offset: u64) -> Option<io::Result<usize>> {
        let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        let block = self.below.block_bytes();
        let end = offset.checked_add(bytes as u64)?;
        // What is refused is refused by the file below, in its words.
        if bytes == 0
            || i64::try_from(end).is_err()
            || !bytes.is_multiple_of(block)
            || !offset.is_multiple_of(block as u64)
        {
            return None;
        }
        let file = self.below.descriptor()?;
        let mut lane = self.common.lanes.take(bytes)?;
        let kernel = lane.kernel()?;
        gather(bufs, kernel.memory()?.get_mut(..bytes)?);
        let order = Order { file, bytes, offset, joining: self.common.joining };
        match kernel.run(&order) {
            Ok(ended) => Some(ended.outcome(&order).and_then(|outcome| self.finish(outcome))),
            Err(Unsent(error)) => {
                tracing::warn!(%error, "a flush did not get into io_uring; it goes by two calls");
                None
            }
        }
    }

    /// Makes durable what was written without its sync: the first sync of these bytes, not another
    /// try.
    fn finish(&self, outcome: Outcome) -> io::Result<usize> {
        match outcome {
            Outcome::Durable(bytes) => Ok(bytes),
            Outcome::Written(bytes) => self.below.sync_data().map(|()| bytes),
        }
    }
}

/// Copies the concatenation of `bufs`, which is as long as `to`.
fn gather(bufs: &[IoSlice<'_>], to: &mut [u8]) {
    let mut rest = to;
    for buf in bufs {
        let (part, after) = rest.split_at_mut(buf.len().min(rest.len()));
        part.copy_from_slice(buf.get(..part.len()).unwrap_or_default());
        rest = after;
    }
}

impl LogFile for UringFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.below.read_at(buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.below.write_at(bufs, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.below.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.below.sync_all()
    }

    /// One copy and one system call, for as many bytes as a lane holds; two calls for more, or when
    /// all lanes are in use.
    fn write_durable_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if let Some(result) = self.write_joined(bufs, offset) {
            self.common.joined.fetch_add(1, Ordering::Relaxed);
            return result;
        }
        self.common.apart.fetch_add(1, Ordering::Relaxed);
        self.below.write_durable_at(bufs, offset)
    }

    fn joins_sync(&self) -> bool {
        true
    }

    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }

    fn data_from(&self, offset: u64) -> io::Result<u64> {
        self.below.data_from(offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.below.set_len(len)
    }

    fn fill(&self, offset: u64, bytes: u64) -> io::Result<bool> {
        self.below.fill(offset, bytes)
    }

    fn expect_writes(&self) {
        self.below.expect_writes();
    }

    fn block_bytes(&self) -> usize {
        self.below.block_bytes()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.below.descriptor()
    }
}

#[cfg(test)]
mod tests;
