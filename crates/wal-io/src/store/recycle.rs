//! Segments that truncation retires become the next ones, instead of being removed and made anew.
//!
//! ```text
//! live ── head durable, renamed, directory synced ──► old ── renamed, header, sync, renamed ──► live
//!              (truncation)                                        (preparation)
//! ```
//!
//! Every byte of such a file is written already, so the next segment costs a header and no zeros.
//! What it still holds is harmless: a record proves its own address, and no address comes twice.
//! Whoever reads the file through a handle from before meets bytes that do not verify, and then
//! finds that the name is gone: truncated, never damaged (rule 22).
//!
//! A file is used again only if it is as long as a normal segment, if all it held is durable, so
//! that no flush into it is still in the air, and if the storage writes over bytes in place. The
//! name that says it is in nobody's way is durable before the first byte of it changes: else a
//! crash could bring the old name back over the new header.

use wal_format::{Lsn, SegmentHeader};

use super::directory::{
    Naming, file_bytes, fill_with_zeros, remove_if_there, segment_from_filler, sync_dir,
};
use super::options::StoreOptions;
use super::retired_files::Retired;
use super::segment_store::{SegmentStore, Work};
use crate::chain::{ChainLink, Survey};
use crate::error::{IoError, IoOp};
use crate::segment_name::{SegmentName, parse_retired_name};
use crate::storage::Storage;

impl SegmentStore {
    /// Decides which of the segments `gone` are to be used again: the last ones, whose pages are
    /// the most likely to be in memory.
    pub(super) fn retire(&self, work: &Work, gone: &[ChainLink]) -> Retired {
        let mut room = self.options.recycled_segments.saturating_sub(work.recycled.names.len());
        if !self.storage.overwrites_in_place() {
            room = 0;
        }
        let durable = self.noted_durable();
        let mut retired = Retired::default();
        for link in gone.iter().rev() {
            let whole = Some(link.file_bytes) == file_bytes(self.options.segment_bytes)
                && link.header.capacity_bytes == self.options.segment_bytes;
            // Beyond the durable end a flush may still be writing through a handle of its own.
            let landed = link.cap == link.end() && link.cap <= durable;
            if whole && landed && retired.kept.len() < room {
                retired.kept.push(*link);
            } else {
                retired.removed.push(*link);
            }
        }
        retired
    }

    /// Takes the files in, once the directory that says so is synced.
    pub(super) fn keep_retired(&self, work: &mut Work, kept: &[ChainLink]) -> Result<(), IoError> {
        for link in kept {
            let name = link.name.retired();
            if work.recycled.names.len() < self.options.recycled_segments {
                work.recycled.names.push(name);
            } else {
                // Another truncation was quicker.
                remove_if_there(self.storage.as_ref(), &name)?;
            }
        }
        Ok(())
    }

    /// Makes the segment of `header` out of a retired one, if there is one and it fits.
    pub(super) fn segment_from_retired(
        &self,
        work: &mut Work,
        header: SegmentHeader,
        naming: Naming,
    ) -> Option<Result<ChainLink, IoError>> {
        if header.capacity_bytes != self.options.segment_bytes {
            return None;
        }
        let name = work.recycled.names.pop()?;
        let storage = self.storage.as_ref();
        // Whatever fails, the file is not in the pool any more: its name and contents are in doubt.
        let made = work
            .settle_names(storage)
            .and_then(|()| segment_from_filler(storage, &name, header, naming));
        Some(work.watch(made))
    }

    /// Holds a retired file back under `name`, where there is no other space to hold back.
    ///
    /// Its name tells no more what it held, so it is filled with zeros first, which takes no space.
    pub(super) fn hold_back_retired(
        &self,
        work: &mut Work,
        name: &str,
    ) -> Option<Result<(), IoError>> {
        let retired = work.recycled.names.pop()?;
        let storage = self.storage.as_ref();
        let len = file_bytes(self.options.segment_bytes).unwrap_or(0);
        let renamed = work
            .settle_names(storage)
            .and_then(|()| fill_with_zeros(storage, &retired, len))
            .and_then(|()| {
                storage
                    .rename(&retired, name)
                    .map_err(|error| IoError::failed(IoOp::Rename, retired, error))
            });
        Some(renamed.and_then(|()| sync_dir(storage)))
    }

    /// Gives the retired files up if something was not `made` for want of space; says whether it
    /// is worth another try.
    pub(super) fn makes_room<T>(
        &self,
        work: &mut Work,
        made: &Result<T, IoError>,
    ) -> Result<bool, IoError> {
        let short = made.as_ref().is_err_and(IoError::is_no_space);
        if !short || work.recycled.names.is_empty() {
            return Ok(false);
        }
        self.give_up_retired(work)?;
        // Many filesystems give the space back only when the removal is durable.
        let synced = sync_dir(self.storage.as_ref());
        work.watch(synced)?;
        Ok(true)
    }

    /// Removes all retired files, for their space; the caller syncs the directory.
    pub(super) fn give_up_retired(&self, work: &mut Work) -> Result<(), IoError> {
        while let Some(name) = work.recycled.names.pop() {
            remove_if_there(self.storage.as_ref(), &name)?;
        }
        Ok(())
    }
}

impl Work {
    /// Makes the names durable under which an earlier opening left files to be used again: they
    /// may be in the cache only, and a crash then shows the name of the segment that was truncated,
    /// over the header of the next one.
    pub(super) fn settle_names(&mut self, storage: &dyn Storage) -> Result<(), IoError> {
        if !self.recycled.settled {
            sync_dir(storage)?;
            self.recycled.settled = true;
        }
        Ok(())
    }

    /// Takes over what an earlier opening retired; what has the wrong length, or is too much, only
    /// takes space.
    ///
    /// So does what held addresses from the head on, and they would be used again: an older state of
    /// the log was put back beside it, and its records would pass for those of this life.
    pub(super) fn take_retired(
        &mut self,
        survey: &Survey,
        storage: &dyn Storage,
        options: &StoreOptions,
    ) {
        let keeps = storage.overwrites_in_place();
        let max = if keeps { options.recycled_segments } else { 0 };
        let len = file_bytes(options.segment_bytes);
        let head = survey.links.first().map_or(Lsn::FIRST, |link| link.name.base);
        let is_past = |name: &str| {
            let base = parse_retired_name(name).map(|segment| segment.base);
            base.and_then(|base| base.checked_add(options.segment_bytes))
                .is_some_and(|end| end <= head)
        };
        for entry in &survey.retired {
            let fits = Some(entry.len) == len && is_past(&entry.name);
            if fits && self.recycled.names.len() < max {
                self.recycled.names.push(entry.name.clone());
            } else {
                self.temporary.push(entry.name.clone());
            }
        }
    }
}

/// Gives a segment that was truncated its name among those to be used again; the caller syncs the
/// directory before anything of it changes.
pub(super) fn rename_retired(storage: &dyn Storage, name: SegmentName) -> Result<(), IoError> {
    storage
        .rename(&name.to_string(), &name.retired())
        .map_err(|error| IoError::failed(IoOp::Rename, name.to_string(), error))
}
