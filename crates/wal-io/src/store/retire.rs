//! What lets go of the past: checkpoints, truncation, cleaning up, and the clean mark.

use std::io::IoSlice;

use wal_format::{CheckpointPointer, Lsn};

use super::directory::{HEADER_BYTES, open_for_writing, remove_if_there, shrink, sync_dir};
use super::options::{Discarded, Truncation};
use super::recycle::rename_retired;
use super::retired_files::Retired;
use super::segment_store::{SegmentStore, Work};
use crate::chain::{ChainLink, DeadReason, DeadSegment};
use crate::error::{IoError, IoOp};
use crate::file_io::{read_full_at, write_full_at};
use crate::storage::Storage;

impl SegmentStore {
    /// Names a complete checkpoint in the control file; the oldest beyond the number retained is
    /// forgotten. Its end record must be durable.
    ///
    /// # Durability
    ///
    /// The pointer is durable when this returns.
    ///
    /// # Errors
    ///
    /// - [`IoError::OutOfRange`]: the pointer is out of order, or not later than the last one; or
    ///   it replays from below the head, so that no opening could use it. Nothing was changed.
    /// - [`IoError::Failed`]: reopen the log.
    pub fn record_checkpoint(&self, pointer: CheckpointPointer) -> Result<(), IoError> {
        let mut work = self.work.lock();
        self.check_usable(&work)?;
        let last = work.control.current().checkpoints.last();
        let ordered = Lsn::FIRST <= pointer.redo_from
            && pointer.redo_from <= pointer.begin
            && pointer.begin <= pointer.record
            && pointer.record < pointer.end;
        if !ordered || last.is_some_and(|last| last.begin >= pointer.begin) {
            return Err(IoError::OutOfRange { what: "a checkpoint", lsn: pointer.begin });
        }
        // Truncation holds the same lock, so the head stays where it is until the pointer counts.
        if pointer.redo_from < self.head().max(work.control.current().head) {
            let what = "a checkpoint that replays from below the head";
            return Err(IoError::OutOfRange { what, lsn: pointer.redo_from });
        }
        let retained = self.options.retained_checkpoints;
        self.update_control(&mut work, |slot| {
            slot.checkpoints.push(pointer);
            let forgotten = slot.checkpoints.len().saturating_sub(retained);
            slot.checkpoints.drain(..forgotten);
            // Rule 10: the pointer is evidence that its record was durable.
            slot.durable = slot.durable.max(pointer.end);
        })
    }

    /// Removes the segments which lie wholly below `lsn`, and below what the oldest retained
    /// checkpoint needs (rule 5). The active segment always stays.
    ///
    /// # Durability
    ///
    /// The new head is durable in both control slots before the first file goes (rules 5, 14).
    /// A crash in between leaves files below the head, which the next opening finds dead.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`]: if the control file failed, reopen the log. If a removal failed, the
    /// log is truncated all the same; the files go with [`discard_dead`](Self::discard_dead).
    ///
    /// # Cost
    ///
    /// Two syncs of the control file, one removal per segment, one sync of the directory;
    /// nothing if there is no segment to remove.
    pub fn truncate_before(&self, lsn: Lsn) -> Result<Truncation, IoError> {
        let mut work = self.work.lock();
        self.check_usable(&work)?;
        let needed = work.control.current().checkpoints.iter().map(|kept| kept.redo_from).min();
        let limit = needed.map_or(lsn, |needed| needed.min(lsn));
        let (count, head) = {
            let chain = self.chain.lock();
            let removable = chain.links.get(..chain.active.unwrap_or(0)).unwrap_or_default();
            let count = removable.iter().take_while(|link| link.cap <= limit).count();
            (count, chain.links.get(count).map_or(Lsn::FIRST, |link| link.name.base))
        };
        if count == 0 {
            return Ok(Truncation { head, ..Truncation::default() });
        }
        self.update_both_slots(&mut work, |slot| slot.head = head)?;
        let gone: Vec<ChainLink> = {
            let mut chain = self.chain.lock();
            chain.active = chain.active.map(|active| active - count);
            chain.links.drain(..count).collect()
        };
        let retired = self.retire(&work, &gone);
        work.bury(gone.iter().copied(), DeadReason::BelowHead);
        // Removing large files takes long; nobody needs to wait for it.
        drop(work);
        let truncation = self.remove_truncated(&retired, head)?;
        let Truncation { segments, recycled, bytes, .. } = truncation;
        tracing::info!(segments, recycled, bytes, %head, "truncated");
        Ok(truncation)
    }

    /// Whether a removal survives a crash does not matter: the head does.
    fn remove_truncated(&self, gone: &Retired, head: Lsn) -> Result<Truncation, IoError> {
        let Retired { kept, removed } = gone;
        let recycled = kept.len();
        let mut truncation = Truncation { segments: recycled, recycled, bytes: 0, head };
        for link in removed {
            remove_if_there(self.storage.as_ref(), &link.name.to_string())?;
            truncation.segments += 1;
            truncation.bytes += link.file_bytes;
        }
        for link in kept {
            let renamed = rename_retired(self.storage.as_ref(), link.name);
            self.work.lock().watch(renamed)?;
        }
        // Whoever takes a kept file for a segment must find its old name gone for good.
        let synced = sync_dir(self.storage.as_ref());
        let mut work = self.work.lock();
        work.watch(synced)?;
        let is_gone = |name| kept.iter().chain(removed).any(|link| link.name == name);
        work.dead.retain(|dead| !is_gone(dead.name));
        self.keep_retired(&mut work, kept)?;
        Ok(truncation)
    }

    /// Removes dead segments and temporary files, and cuts capped segments to their extent.
    ///
    /// Only when the verdict of the opening was not damage: evidence of damage stays (rule 16).
    /// To be called after [`resume_after`](Self::resume_after) or
    /// [`resume_in_place`](Self::resume_in_place): before that nothing else holds their addresses
    /// from being used twice (rule 8).
    ///
    /// # Errors
    ///
    /// - [`IoError::OutOfRange`]: appending has no place yet; nothing was removed.
    /// - [`IoError::Failed`]: some files stay; they are harmless, and the next call tries again.
    ///
    /// # Cost
    ///
    /// One removal or one cut and sync per file concerned; one sync of the directory if any.
    pub fn discard_dead(&self) -> Result<Discarded, IoError> {
        let mut work = self.work.lock();
        self.check_usable(&work)?;
        let storage = self.storage.as_ref();
        if self.chain.lock().active.is_none() {
            return Err(IoError::OutOfRange { what: "the end of the log", lsn: Lsn::NONE });
        }
        let mut discarded = Discarded::default();
        self.remove_temporary(&mut work, &mut discarded)?;
        while let Some(dead) = work.dead.last().copied() {
            if remove_if_there(storage, &dead.name.to_string())? {
                discarded.segments += 1;
                discarded.bytes += dead.file_bytes;
            }
            work.dead.pop();
        }
        if discarded.segments + discarded.temporary > 0 {
            let synced = sync_dir(storage);
            work.watch(synced)?;
        }
        self.shrink_capped(&mut discarded)?;
        Ok(discarded)
    }

    /// Gives back the space of what a durable chain does without, before anything more is made: a
    /// full disk may hold nothing else to give, and a crash loop must not grow (rule 16). The
    /// opening's verdict is not damage.
    ///
    /// To be called only while all that is dead is so by the chain as it is named on disk: when
    /// the log was surveyed, and when a run has replaced its segments.
    pub(super) fn discard_superseded(&self) -> Result<Discarded, IoError> {
        let mut work = self.work.lock();
        let mut discarded = Discarded::default();
        let capped = |link: &ChainLink| link.file_bytes > extent_of(link);
        let links = self.links();
        if work.dead.is_empty() && work.temporary.is_empty() && !links.iter().any(capped) {
            return Ok(discarded);
        }
        let storage = self.storage.as_ref();
        // A name that the survey saw may be in the cache only. Once it is durable, so is the
        // chain that leaves these files out: a name is given to nothing but a synced file.
        work.watch(sync_dir(storage))?;
        self.remove_temporary(&mut work, &mut discarded)?;
        let top = links.iter().map(|link| link.name.base).max().unwrap_or(Lsn::NONE);
        let mut kept = Vec::new();
        for dead in std::mem::take(&mut work.dead) {
            kept.extend(discard_one(storage, dead, top, &mut discarded)?);
        }
        work.dead = kept;
        if discarded.segments + discarded.temporary > 0 {
            // Many filesystems give the space back only when the removal is durable.
            work.watch(sync_dir(storage))?;
        }
        self.shrink_capped(&mut discarded)?;
        tracing::debug!(?discarded, "space given back before the log goes on");
        Ok(discarded)
    }

    fn remove_temporary(&self, work: &mut Work, discarded: &mut Discarded) -> Result<(), IoError> {
        while let Some(name) = work.temporary.last() {
            discarded.temporary += usize::from(remove_if_there(self.storage.as_ref(), name)?);
            work.temporary.pop();
        }
        Ok(())
    }

    /// What lies in a capped segment beyond its cap is dead, and its successor is durable.
    fn shrink_capped(&self, discarded: &mut Discarded) -> Result<(), IoError> {
        let links = self.links();
        let capped = links.iter().filter(|link| link.cap < link.end());
        for link in capped {
            let extent = extent_of(link);
            if link.file_bytes <= extent {
                continue;
            }
            shrink(self.storage.as_ref(), &link.name.to_string(), extent)?;
            discarded.shrunk += 1;
            discarded.bytes += link.file_bytes - extent;
            let mut chain = self.chain.lock();
            if let Some(same) = chain.links.iter_mut().find(|same| same.name == link.name) {
                same.file_bytes = extent;
            }
        }
        Ok(())
    }

    /// Writes the clean mark: everything below `end` is durable and nothing follows (rule 4).
    /// The last thing a writer does.
    ///
    /// # Errors
    ///
    /// - [`IoError::OutOfRange`]: `end` is not in the active segment; the mark was not written.
    /// - [`IoError::Failed`]: the next opening is unclean, which loses nothing.
    pub fn mark_clean(&self, end: Lsn) -> Result<(), IoError> {
        let mut work = self.work.lock();
        self.check_usable(&work)?;
        let active = {
            let chain = self.chain.lock();
            chain.active.and_then(|index| chain.links.get(index)).copied()
        };
        let holds_end = |link: &ChainLink| link.name.base <= end && end <= link.cap;
        let Some(active) = active.filter(holds_end) else {
            return Err(IoError::OutOfRange { what: "the end of the log", lsn: end });
        };
        blank_at(self.storage.as_ref(), &active, end)?;
        let epoch = self.epoch();
        let marked = self.mark(&mut work, end, epoch);
        work.closed = true;
        marked
    }

    fn mark(&self, work: &mut Work, end: Lsn, epoch: wal_format::Epoch) -> Result<(), IoError> {
        self.update_control(work, |slot| {
            slot.clean = Some((end, epoch));
            slot.durable = slot.durable.max(end);
        })
    }
}

/// Sees to it that nothing stands at `end`: in a file that was used before, older bytes may, and the
/// next opening would take them for writes cut short.
fn blank_at(storage: &dyn Storage, link: &ChainLink, end: Lsn) -> Result<(), IoError> {
    let room = link.cap.distance_from(end).unwrap_or(0).min(HEADER_BYTES) as usize;
    let mut block = [0_u8; HEADER_BYTES as usize];
    let Some(block) = block.get_mut(..room).filter(|block| !block.is_empty()) else {
        return Ok(());
    };
    let name = link.name.to_string();
    let file = open_for_writing(storage, &name)?;
    let count = read_full_at(file.as_ref(), &name, block, link.offset_of(end))?;
    if block.iter().take(count).all(|byte| *byte == 0) {
        return Ok(());
    }
    block.fill(0);
    write_full_at(file.as_ref(), &name, &[IoSlice::new(block)], link.offset_of(end))?;
    file.sync_data().map_err(|error| IoError::failed(IoOp::Sync, name, error))
}

/// Length of the file of a capped segment once what lies beyond its cap is gone; of any other
/// its whole length.
fn extent_of(link: &ChainLink) -> u64 {
    if link.cap < link.end() {
        link.offset_of(link.cap).next_multiple_of(HEADER_BYTES)
    } else {
        link.file_bytes
    }
}

/// Removes a dead segment; where it is what keeps its addresses from being used twice (rule 8),
/// its header stays, which tells them. Gives what is left of it. `top` is the highest base of the
/// chain.
fn discard_one(
    storage: &dyn Storage,
    dead: DeadSegment,
    top: Lsn,
    discarded: &mut Discarded,
) -> Result<Option<DeadSegment>, IoError> {
    let name = dead.name.to_string();
    if dead.end() <= top {
        discarded.segments += usize::from(remove_if_there(storage, &name)?);
        discarded.bytes += dead.file_bytes;
        return Ok(None);
    }
    // Without its header only its length tells how far it reached.
    if dead.capacity_bytes.is_none() || dead.file_bytes <= HEADER_BYTES {
        return Ok(Some(dead));
    }
    shrink(storage, &name, HEADER_BYTES)?;
    discarded.shrunk += 1;
    discarded.bytes += dead.file_bytes - HEADER_BYTES;
    Ok(Some(DeadSegment { file_bytes: HEADER_BYTES, ..dead }))
}
