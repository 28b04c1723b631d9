//! Where appending goes on after an opening: in place, or after the end of an unclean one.

use std::sync::atomic::Ordering;

use wal_format::{Lsn, Predecessor, SegmentFlags, SegmentHeader};

use super::directory::{HEADER_BYTES, Naming, file_bytes, make_segment, recycle_segment, shrink};
use super::options::{Placement, SEGMENT_BYTES_MIN};
use super::segment_store::{SegmentStore, Work, predecessor_of};
use crate::chain::{ChainLink, DeadReason};
use crate::error::IoError;
use crate::storage::Preparation;

impl SegmentStore {
    /// Goes on at `end` in the segment that holds it: the log was closed cleanly there (rule 4).
    ///
    /// The empty successor gets a name and header of this epoch, so that the first records of
    /// every segment carry their header's epoch; its space is used again.
    ///
    /// # Durability
    ///
    /// Everything this changes is durable when it returns. A crash in between leaves the chain
    /// with or without the empty successor.
    ///
    /// # Errors
    ///
    /// - [`IoError::OutOfRange`]: no segment of the chain can go on at `end`.
    /// - [`IoError::Failed`]: drop the store and open again.
    pub fn resume_in_place(&self, end: Lsn) -> Result<Placement, IoError> {
        let (_alone, mut work) = self.work_to_grow();
        self.check_usable(&work)?;
        let (active, after) = self.split_at_end(end)?;
        self.extend_to_capacity(&active)?;
        // What comes after is about to lose its name: it must not be the newest any more, in
        // either slot, when it does.
        if !after.is_empty() {
            self.register_newest(&mut work, &active, true)?;
        }
        let mut successor = self.renew_successor(&mut work, &active, after)?;
        let left = active.end().distance_from(end).unwrap_or(0);
        if successor.is_none() && left < self.options.opening_bytes() / 4 {
            successor = self.make_opening_successor(&mut work, &active, end)?;
        }
        if let Some(successor) = &successor {
            self.register_newest(&mut work, successor, false)?;
        }
        let placement = self.place(end, active, successor);
        self.keep_spare_if_room();
        Ok(placement)
    }

    /// Goes on in a new segment, above `above` and above every address that any file could hold
    /// (rule 8), after the log has ended at `predecessor.end`.
    ///
    /// # Durability
    ///
    /// The segment and its registration are durable when this returns. A successor is left to
    /// whoever fills it.
    ///
    /// # Errors
    ///
    /// - [`IoError::OutOfRange`]: `predecessor` is not on the chain, or no address is left.
    /// - [`IoError::is_no_space`]: not even a segment of 64 KiB could be made from the spare
    ///   space; make room and open again. Nothing that was durable was changed.
    /// - [`IoError::Failed`]: drop the store and open again.
    pub fn resume_after(&self, predecessor: Predecessor, above: Lsn) -> Result<Placement, IoError> {
        let (_alone, mut work) = self.work_to_grow();
        self.check_usable(&work)?;
        let base = above
            .max(work.address_end)
            .max(predecessor.end)
            .align_up(HEADER_BYTES)
            .ok_or(IoError::OutOfRange { what: "the address space", lsn: above })?;
        let (after, head) = {
            let mut chain = self.chain.lock();
            let after = chain.cap_at(&predecessor)?;
            (after, chain.links.first().map_or(Lsn::FIRST, |link| link.name.base))
        };
        work.bury(after, DeadReason::OffChain);
        let flags = SegmentFlags::OPENING;
        let capacity = self.options.opening_bytes();
        let header = self.new_header(base, capacity, flags, Some(predecessor), head);
        let active = self.make_opening(&mut work, header, predecessor.end)?;
        let (name, durable) = (active.name, predecessor.end);
        self.update_control(&mut work, |slot| {
            (slot.newest_base, slot.newest_epoch) = (name.base, name.epoch);
            slot.head = head;
            // Rule 1: what an opening ends with was durable before it, or was written again.
            slot.durable = slot.durable.max(durable);
        })?;
        work.address_end = active.cap;
        self.chain.lock().links.push(active);
        let placement = self.place(base, active, None);
        self.keep_spare_if_room();
        Ok(placement)
    }

    /// The link to go on in at `end`, and the empty ones after it.
    fn split_at_end(&self, end: Lsn) -> Result<(ChainLink, Vec<ChainLink>), IoError> {
        let chain = self.chain.lock();
        let wrong = IoError::OutOfRange { what: "the end of the log", lsn: end };
        let Some(index) = chain.links.iter().rposition(|link| link.name.base <= end) else {
            return Err(wrong);
        };
        match chain.links.get(index..) {
            Some([active, after @ ..]) if end <= active.end() && active.cap == active.end() => {
                Ok((*active, after.to_vec()))
            }
            _ => Err(wrong),
        }
    }

    /// A clean end can lie in a file that somebody has cut right there.
    fn extend_to_capacity(&self, active: &ChainLink) -> Result<(), IoError> {
        let full = file_bytes(active.header.capacity_bytes).unwrap_or(u64::MAX);
        if active.file_bytes < full {
            shrink(self.storage.as_ref(), &active.name.to_string(), full)?;
        }
        Ok(())
    }

    fn renew_successor(
        &self,
        work: &mut Work,
        active: &ChainLink,
        mut after: Vec<ChainLink>,
    ) -> Result<Option<ChainLink>, IoError> {
        // Not one that is shorter than any that would be made in its place.
        let ahead = self.options.next_bytes(active.header.capacity_bytes);
        let least = ahead.min(self.options.opening_bytes());
        let serves = |link: &ChainLink| {
            Some(link.file_bytes) == file_bytes(link.header.capacity_bytes)
                && link.name.base == active.cap
                && link.header.capacity_bytes >= least
        };
        if !after.first().is_some_and(serves) {
            work.bury(after, DeadReason::OffChain);
            return Ok(None);
        }
        let old = after.remove(0);
        work.bury(after, DeadReason::OffChain);
        let header = SegmentHeader {
            capacity_bytes: old.header.capacity_bytes,
            ..self.successor_header(active, self.head())
        };
        let renewed = recycle_segment(self.storage.as_ref(), old.name, header);
        work.watch(renewed).map(Some)
    }

    /// A successor for a segment which will soon be full; `None` when there is no room for one and
    /// the first record of this opening finds its place without.
    fn make_opening_successor(
        &self,
        work: &mut Work,
        active: &ChainLink,
        end: Lsn,
    ) -> Result<Option<ChainLink>, IoError> {
        let capacity_bytes = self.options.opening_bytes();
        let full = self.successor_header(active, self.head());
        let header = SegmentHeader { capacity_bytes, ..full };
        if active.end().distance_from(end).is_none_or(|left| left < HEADER_BYTES) {
            // Rule 16: the first record needs room, and the spare is for that. A small segment
            // would refuse records that were promised a place.
            return match self.segment_from_held(work, full, Naming::New) {
                Some(made) => made.map(Some),
                None => self.make_at_any_size(work, header, end).map(Some),
            };
        }
        let storage = self.storage.as_ref();
        match work.watch(make_segment(storage, header, Naming::New, Preparation::Zeroed)) {
            Err(error) if error.is_no_space() => Ok(None),
            made => made.map(Some),
        }
    }

    fn successor_header(&self, active: &ChainLink, head: Lsn) -> SegmentHeader {
        let predecessor = Some(predecessor_of(active, active.end()));
        let capacity = self.options.segment_bytes;
        self.new_header(active.end(), capacity, SegmentFlags::NONE, predecessor, head)
    }

    /// Makes the segment of `header`, which is short, or a normal one where that costs as little.
    fn make_opening(
        &self,
        work: &mut Work,
        header: SegmentHeader,
        end: Lsn,
    ) -> Result<ChainLink, IoError> {
        let normal = SegmentHeader { capacity_bytes: self.options.segment_bytes, ..header };
        match self.segment_from_retired(work, normal, Naming::New) {
            Some(made) => made,
            None => self.make_at_any_size(work, header, end),
        }
    }

    /// Makes the segment of `header`; on a full disk gives up the spare space, and then makes a
    /// smaller one (rule 16).
    fn make_at_any_size(
        &self,
        work: &mut Work,
        mut header: SegmentHeader,
        end: Lsn,
    ) -> Result<ChainLink, IoError> {
        let storage = self.storage.as_ref();
        match work.watch(make_segment(storage, header, Naming::New, Preparation::Zeroed)) {
            Err(error) if error.is_no_space() => {}
            made => return made,
        }
        self.free_space(work, end)?;
        let full = header;
        let held = SegmentHeader { capacity_bytes: self.options.segment_bytes, ..header };
        loop {
            match work.watch(make_segment(storage, header, Naming::New, Preparation::Zeroed)) {
                Err(error) if error.is_no_space() && header.capacity_bytes > SEGMENT_BYTES_MIN => {
                    header.capacity_bytes = smaller(header.capacity_bytes, full.capacity_bytes);
                }
                Err(error) if error.is_no_space() => {
                    return self.segment_from_held(work, held, Naming::New).unwrap_or(Err(error));
                }
                made => return made,
            }
        }
    }

    fn register_newest(
        &self,
        work: &mut Work,
        newest: &ChainLink,
        both: bool,
    ) -> Result<(), IoError> {
        let name = newest.name;
        self.update_control(work, |slot| {
            (slot.newest_base, slot.newest_epoch) = (name.base, name.epoch);
        })?;
        if both { self.update_control(work, |_| ()) } else { Ok(()) }
    }

    /// Lets appenders in: everything they may write to is durable and registered.
    fn place(&self, end: Lsn, active: ChainLink, successor: Option<ChainLink>) -> Placement {
        // Addresses that were jumped over are not what the log wrote.
        self.durable_then.store(end.get(), Ordering::Relaxed);
        let mut chain = self.chain.lock();
        let index = chain.position(active.name).unwrap_or(0);
        chain.links.truncate(index + 1);
        if let Some(link) = chain.links.get_mut(index) {
            let full = file_bytes(active.header.capacity_bytes).unwrap_or(u64::MAX);
            link.file_bytes = link.file_bytes.max(full);
        }
        chain.links.extend(successor);
        chain.active = Some(index);
        chain.writable_from = end;
        let active_end = active.cap;
        let ready_end = successor.map_or(active_end, |link| link.cap);
        tracing::debug!(%end, %active_end, %ready_end, "appending goes on");
        Placement { end, active_end, ready_end }
    }
}

/// The next size to try where `capacity` found no room: in steps of an eighth of what was wanted,
/// so that little of what is there is left over; then halves.
fn smaller(capacity: u64, full: u64) -> u64 {
    let eighth = full / 8;
    let next = if capacity > eighth { capacity - eighth } else { capacity / 2 };
    (next / HEADER_BYTES * HEADER_BYTES).max(SEGMENT_BYTES_MIN)
}
