//! A run of the log written as a whole: a rewritten tail (rule 1), or a piece of a copy.
//!
//! The run streams into a temporary file of exactly its size and takes its name only when all of
//! it is durable. A live name therefore proves its run durable.

use std::io::IoSlice;

use wal_format::layout::{BLOCK_BYTES, RECORD_ALIGN_BYTES};
use wal_format::{Lsn, Predecessor, SegmentFlags, SegmentHeader};

use super::directory::{
    HEADER_BYTES, Naming, abandon, begin_segment, file_bytes, finish_segment, link_of, name_of,
};
use super::segment_store::SegmentStore;
use crate::chain::DeadReason;
use crate::error::IoError;
use crate::file_io::write_full_at;
use crate::segment_name::SegmentName;
use crate::storage::{LogFile, Preparation};

/// Bytes gathered before they are written: whole blocks of every backend.
const GATHER_BYTES: usize = 64 * BLOCK_BYTES;

impl SegmentStore {
    /// Begins a segment of exactly `capacity_bytes` (a positive multiple of 8) at `base`.
    ///
    /// With a `predecessor` the chain, once the run is finished, ends with it capped as it says
    /// and the run after it; without one the run is the first segment of the log.
    ///
    /// Only between [`reopen`](Self::reopen) or [`create_bare`](Self::create_bare) and
    /// [`resume_after`](Self::resume_after), and only if the verdict was not damage.
    ///
    /// # Errors
    ///
    /// - [`IoError::OutOfRange`]: base, capacity or predecessor cannot be; nothing was changed.
    /// - [`IoError::Failed`]: the temporary file could not be made, even with the spare space.
    pub fn write_run(
        &self,
        base: Lsn,
        capacity_bytes: u64,
        flags: SegmentFlags,
        predecessor: Option<Predecessor>,
    ) -> Result<RunWriter<'_>, IoError> {
        let wrong = IoError::OutOfRange { what: "a run of the log", lsn: base };
        let unit = RECORD_ALIGN_BYTES as u64;
        if capacity_bytes == 0 || !capacity_bytes.is_multiple_of(unit) || base < Lsn::FIRST {
            return Err(wrong);
        }
        let head = match predecessor {
            None => base,
            Some(named) => {
                let name = SegmentName { epoch: named.epoch, base: named.base };
                let chain = self.chain.lock();
                let link = chain.position(name).and_then(|index| chain.links.get(index));
                let fits = |end| named.base <= end && end <= base;
                match (link, chain.links.first()) {
                    (Some(link), Some(first)) if fits(named.end) && named.end <= link.cap => {
                        first.name.base
                    }
                    _ => return Err(wrong),
                }
            }
        };
        let header = self.new_header(base, capacity_bytes, flags, predecessor, head);
        let Some(end) = header.end() else { return Err(wrong) };
        let mut work = self.work.lock();
        self.check_usable(&work)?;
        let file = match begin_segment(self.storage.as_ref(), &header, Preparation::Reserved) {
            Err(error) if error.is_no_space() => {
                self.free_space(&mut work, end)?;
                loop {
                    match begin_segment(self.storage.as_ref(), &header, Preparation::Reserved) {
                        // What the run replaces gives its space back when it is finished.
                        Err(error) if error.is_no_space() && self.give_up_held(&mut work)? => {}
                        made => break made?,
                    }
                }
            }
            made => made?,
        };
        let gathered = Vec::with_capacity(GATHER_BYTES);
        Ok(RunWriter { store: self, file: Some(file), header, gathered, written: 0 })
    }

    /// Puts a finished run at the end of the chain.
    fn register_run(
        &self,
        header: SegmentHeader,
        finished: Result<(), IoError>,
    ) -> Result<(), IoError> {
        let (_alone, mut work) = self.work_to_grow();
        work.watch(finished)?;
        let file_bytes = file_bytes(header.capacity_bytes).unwrap_or(u64::MAX);
        let link = link_of(header, file_bytes)?;
        let mut chain = self.chain.lock();
        let after = match &header.predecessor {
            Some(predecessor) => chain.cap_at(predecessor)?,
            None => std::mem::take(&mut chain.links),
        };
        chain.active = None;
        chain.links.push(link);
        drop(chain);
        work.bury(after, DeadReason::OffChain);
        work.dead.retain(|dead| dead.name != link.name);
        work.address_end =
            work.address_end.max(link.cap.align_up(HEADER_BYTES).unwrap_or(Lsn::MAX));
        Ok(())
    }
}

/// A run being written. Dropped before [`finish`](Self::finish) it leaves nothing behind.
#[derive(Debug)]
pub struct RunWriter<'a> {
    store: &'a SegmentStore,
    /// `None` once the file was finished.
    file: Option<Box<dyn LogFile>>,
    header: SegmentHeader,
    gathered: Vec<u8>,
    /// Bytes of the run in the file already; a multiple of the block.
    written: u64,
}

impl RunWriter<'_> {
    /// Appends `bytes` of the log, of any length.
    ///
    /// # Errors
    ///
    /// - [`IoError::OutOfRange`]: more than the capacity; nothing of `bytes` was taken.
    /// - [`IoError::Failed`]: drop the writer; nothing of the run has become live.
    ///
    /// # Cost
    ///
    /// One copy; a write for every 256 KiB.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), IoError> {
        if self.taken() + bytes.len() as u64 > self.header.capacity_bytes {
            return Err(self.wrong_length());
        }
        while !bytes.is_empty() {
            let room = GATHER_BYTES - self.gathered.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.gathered.extend_from_slice(now);
            bytes = later;
            if self.gathered.len() == GATHER_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Makes the run durable and live, puts it at the end of the chain, and gives back the space
    /// of what it replaces: on a full disk the next segment may need it (rule 16).
    ///
    /// # Durability
    ///
    /// Every byte of the run, its header and its name are durable when this returns.
    ///
    /// # Errors
    ///
    /// - [`IoError::OutOfRange`]: fewer bytes were written than the capacity.
    /// - [`IoError::Failed`]: the run is not live, or nobody knows; reopen the log.
    ///
    /// # Cost
    ///
    /// One sync of the file, one of the directory; for what the run replaces, as
    /// [`discard_dead`](SegmentStore::discard_dead).
    pub fn finish(mut self) -> Result<SegmentName, IoError> {
        if self.taken() != self.header.capacity_bytes {
            return Err(self.wrong_length());
        }
        // The last block is filled up with zeros; the file is that long already.
        let whole = self.gathered.len().next_multiple_of(BLOCK_BYTES);
        self.gathered.resize(whole, 0);
        self.flush()?;
        let name = name_of(&self.header);
        let Some(file) = self.file.take() else { return Err(self.wrong_length()) };
        let finished = finish_segment(self.store.storage.as_ref(), file, name, Naming::New);
        self.store.register_run(self.header, finished)?;
        self.store.discard_superseded()?;
        Ok(name)
    }

    fn flush(&mut self) -> Result<(), IoError> {
        let Some(file) = &self.file else { return Err(self.wrong_length()) };
        let name = name_of(&self.header).temporary();
        let offset = HEADER_BYTES + self.written;
        write_full_at(file.as_ref(), &name, &[IoSlice::new(&self.gathered)], offset)?;
        self.written += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }

    fn taken(&self) -> u64 {
        self.written + self.gathered.len() as u64
    }

    fn wrong_length(&self) -> IoError {
        IoError::OutOfRange { what: "the length of a run", lsn: self.header.base }
    }
}

impl Drop for RunWriter<'_> {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            abandon(self.store.storage.as_ref(), &name_of(&self.header).temporary());
        }
    }
}
