//! Space that is held back for records which were promised a place, whatever becomes of the disk.
//!
//! Each file of it is as long as a normal segment and holds zeros, so that it becomes one by a new name and a header: no byte of space is needed for that. It does when there is no
//! other space for the next segment, or when more is held back than is promised.
//!
//! How much is promised, and to whom, is left to the commit path. A log that promises nothing has
//! no such file.

use std::sync::atomic::Ordering;

use wal_format::SegmentHeader;

use super::directory::{
    Naming, file_bytes, make_filler, remove_if_there, segment_from_filler, sync_dir,
};
use super::segment_store::{SegmentStore, Work};
use crate::chain::{ChainLink, Survey};
use crate::error::IoError;
use crate::segment_name::{parse_reserve_name, reserve_name};
use crate::storage::Preparation;

impl SegmentStore {
    /// Sees to it that `segments` files are held back; gives how many there are.
    ///
    /// # Durability
    ///
    /// Their space is taken durably: a restart on a full disk has it too.
    ///
    /// # Errors
    ///
    /// [`IoError::is_no_space`]: fewer are there. Else as for a segment.
    pub(super) fn hold_back_files(&self, segments: u64) -> Result<u64, IoError> {
        let mut work = self.work.lock();
        self.check_usable(&work)?;
        let len = file_bytes(self.options.segment_bytes).unwrap_or(u64::MAX);
        while (work.held_back.len() as u64) < segments {
            let last = work.held_back.last().and_then(|name| parse_reserve_name(name)).unwrap_or(0);
            let name = reserve_name(last.saturating_add(1));
            let made = match make_filler(self.storage.as_ref(), &name, len, Preparation::Zeroed) {
                Err(error) if error.is_no_space() => {
                    self.hold_back_retired(&mut work, &name).unwrap_or(Err(error))
                }
                made => made,
            };
            work.watch(made)?;
            work.held_back.push(name);
            self.count_held(&work);
        }
        Ok(work.held_back.len() as u64)
    }

    /// Makes the segment of `header` out of a file that is held back, if there is one that fits.
    pub(super) fn segment_from_held(
        &self,
        work: &mut Work,
        header: SegmentHeader,
        naming: Naming,
    ) -> Option<Result<ChainLink, IoError>> {
        if header.capacity_bytes != self.options.segment_bytes {
            return None;
        }
        let filler = work.held_back.pop()?;
        // Gone whatever happens now: after a failure its name and contents are in doubt.
        self.count_held(work);
        let made = segment_from_filler(self.storage.as_ref(), &filler, header, naming);
        Some(work.watch(made))
    }

    /// Gives one file up for good; says whether there was one.
    pub(super) fn give_up_held(&self, work: &mut Work) -> Result<bool, IoError> {
        let Some(filler) = work.held_back.pop() else { return Ok(false) };
        self.count_held(work);
        remove_if_there(self.storage.as_ref(), &filler)?;
        let synced = sync_dir(self.storage.as_ref());
        work.watch(synced)?;
        Ok(true)
    }

    pub(super) fn count_held(&self, work: &Work) {
        // Relaxed suffices: who reads it holds the lock under which it last told the commit path.
        self.held_back.store(work.held_back.len() as u64, Ordering::Relaxed);
    }
}

impl Work {
    /// Takes over what an earlier opening held back; what has the wrong length only takes space.
    pub(super) fn take_held(&mut self, survey: &Survey, segment_bytes: u64) {
        let len = file_bytes(segment_bytes);
        for entry in &survey.held_back {
            let names =
                if Some(entry.len) == len { &mut self.held_back } else { &mut self.temporary };
            names.push(entry.name.clone());
        }
    }
}
