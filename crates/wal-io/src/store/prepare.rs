//! The next segment, made ready off the commit path (rule 12).

use std::sync::atomic::Ordering;

use wal_format::{Lsn, SegmentFlags, SegmentHeader};

use super::directory::{HEADER_BYTES, Naming, make_segment};
use super::gradual::Pieces;
use super::segment_store::{ChainState, SegmentStore, Work, WorkGuard, predecessor_of};
use crate::chain::ChainLink;
use crate::error::IoError;
use crate::sink::{Preparer, Rest};
use crate::storage::Preparation;

impl Preparer for SegmentStore {
    fn prepare(&self, base: Lsn, capacity_bytes: u64) -> Result<Lsn, IoError> {
        let (_alone, mut work) = self.work_to_grow();
        self.prepare_in(&mut work, base, &Wish::exactly(capacity_bytes))
    }

    fn prepare_next(&self, base: Lsn, rest: Option<Rest<'_>>) -> Result<Lsn, IoError> {
        let (_alone, mut work) = self.work_to_grow();
        let before = self.chain.lock().last().map_or(0, |link| link.header.capacity_bytes);
        let capacity_bytes = if work.recycled.names.is_empty() {
            self.options.next_bytes(before)
        } else {
            // In a file that is there already every length costs as little.
            self.options.segment_bytes
        };
        let wish = Wish { or_normal: true, rest, ..Wish::exactly(capacity_bytes) };
        self.prepare_in(&mut work, base, &wish)
    }

    fn prepare_from_held(&self, base: Lsn) -> Result<Lsn, IoError> {
        let (_alone, mut work) = self.work_to_grow();
        let wish = Wish { room: Room::Held, ..Wish::exactly(self.options.segment_bytes) };
        self.prepare_in(&mut work, base, &wish)
    }

    fn hold_back(&self, segments: u64) -> Result<u64, IoError> {
        self.hold_back_files(segments)
    }

    fn note_durable(&self, end: Lsn) {
        Self::note_durable(self, end);
    }

    fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }

    fn segment_bytes(&self) -> u64 {
        self.options.segment_bytes
    }
}

/// Writing so many zeros costs about what they save one sync: with 70 KB a sync a log without them had
/// 1.2 times the rate and a third of the p99 (docs/design/0002).
const ZEROS_WORTH_A_SYNC_BYTES: u64 = 64 << 10;

/// Whose space a segment is made in, as long as there is some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// That of the disk.
    Free,
    /// That which is held back: more is than is promised.
    Held,
}

/// What segment is asked for.
#[derive(Clone, Copy)]
struct Wish<'r> {
    capacity_bytes: u64,
    /// A normal one serves as well.
    or_normal: bool,
    room: Room,
    /// Others commit meanwhile.
    rest: Option<Rest<'r>>,
}

impl Wish<'_> {
    const fn exactly(capacity_bytes: u64) -> Self {
        Self { capacity_bytes, or_normal: false, room: Room::Free, rest: None }
    }
}

impl SegmentStore {
    fn prepare_in(
        &self,
        work: &mut WorkGuard<'_>,
        base: Lsn,
        wish: &Wish<'_>,
    ) -> Result<Lsn, IoError> {
        let out_of_range = IoError::OutOfRange { what: "a segment", lsn: base };
        let whole = wish.capacity_bytes.checked_next_multiple_of(HEADER_BYTES);
        let Some(capacity_bytes) = whole.filter(|bytes| *bytes > 0) else {
            return Err(out_of_range);
        };
        let wish = Wish { capacity_bytes, ..*wish };
        self.check_usable(work)?;
        let plan = plan(&self.chain.lock(), base, capacity_bytes);
        match plan {
            Plan::Ready(end) => Ok(end),
            // Of any length that a segment made ahead has, and somebody else was quicker.
            Plan::Replace { old, .. } if wish.or_normal && self.is_usual(&old) => Ok(old.cap),
            Plan::Add { after } => self.add(work, &after, &wish),
            Plan::Replace { old, after } => {
                // It is on no chain meanwhile: nobody may come in between.
                let wish = Wish { rest: None, ..wish };
                self.replace(work, &old, &after, &wish)
            }
            Plan::Refuse => Err(out_of_range),
        }
    }
}

enum Plan {
    /// There already, with that capacity.
    Ready(Lsn),
    /// A new segment at the end of the chain.
    Add { after: ChainLink },
    /// Another capacity for the last segment, which nothing was written to.
    Replace { old: ChainLink, after: ChainLink },
    /// The base is not where a segment can be.
    Refuse,
}

fn plan(chain: &ChainState, base: Lsn, capacity_bytes: u64) -> Plan {
    let (Some(active), Some(last)) = (chain.active, chain.last()) else { return Plan::Refuse };
    if last.cap == base {
        return Plan::Add { after: last };
    }
    let unentered = chain.links.get(active + 1..).unwrap_or_default();
    match unentered.iter().find(|link| link.name.base == base) {
        Some(link) if link.header.capacity_bytes == capacity_bytes => Plan::Ready(link.cap),
        Some(link) if link.name == last.name => match chain.links.iter().nth_back(1) {
            Some(after) => Plan::Replace { old: last, after: *after },
            None => Plan::Refuse,
        },
        _ => Plan::Refuse,
    }
}

impl SegmentStore {
    fn add(
        &self,
        work: &mut WorkGuard<'_>,
        after: &ChainLink,
        wish: &Wish<'_>,
    ) -> Result<Lsn, IoError> {
        let link = self.make_in(work, after, wish, Naming::New)?;
        // Rule 14: registered after it exists durably, before any record goes into it.
        let name = link.name;
        self.update_control(work, |slot| {
            (slot.newest_base, slot.newest_epoch) = (name.base, name.epoch);
        })?;
        work.address_end = work.address_end.max(link.cap);
        self.chain.lock().links.push(link);
        Ok(link.cap)
    }

    /// Whether the segment is no longer than a normal one.
    const fn is_usual(&self, link: &ChainLink) -> bool {
        link.header.capacity_bytes <= self.options.segment_bytes
    }

    /// Puts an empty segment of another capacity in the place of an empty segment: same base,
    /// same epoch, so the rename replaces one by the other at once and its registration stands.
    fn replace(
        &self,
        work: &mut WorkGuard<'_>,
        old: &ChainLink,
        after: &ChainLink,
        wish: &Wish<'_>,
    ) -> Result<Lsn, IoError> {
        assert_eq!(old.name.epoch, self.epoch(), "a ready successor is of this opening");
        // While its file is being replaced, no appender may enter it.
        self.chain.lock().links.pop();
        let made = self.make_in(work, after, wish, Naming::Replacing);
        if made.is_err() && work.broken {
            return made.map(|link| link.cap);
        }
        let mut chain = self.chain.lock();
        match made {
            Ok(link) => {
                work.address_end = work.address_end.max(link.cap);
                chain.links.push(link);
                Ok(link.cap)
            }
            Err(error) => {
                chain.links.push(*old);
                Err(error)
            }
        }
    }

    /// Makes a segment in a file that was truncated, in new space, or in space that is held back.
    fn make_in(
        &self,
        work: &mut WorkGuard<'_>,
        after: &ChainLink,
        wish: &Wish<'_>,
        naming: Naming,
    ) -> Result<ChainLink, IoError> {
        let held = |work: &mut Work| {
            let normal = self.options.segment_bytes;
            let capacity_bytes = if wish.or_normal { normal } else { wish.capacity_bytes };
            self.segment_from_held(work, self.header_after(after, capacity_bytes), naming)
        };
        let early = if wish.room == Room::Held { held(work) } else { None };
        if let Some(made) = early {
            return made;
        }
        let header = self.header_after(after, wish.capacity_bytes);
        let made = match self.segment_from_retired(work, header, naming) {
            Some(made) => made,
            None => self.make_after(work, after, wish, naming),
        };
        match made {
            // Whoever gets a place in it was promised one, or leaves enough for those who were.
            Err(error) if error.is_no_space() => held(work).unwrap_or(Err(error)),
            made => made,
        }
    }

    fn make_after(
        &self,
        work: &mut WorkGuard<'_>,
        after: &ChainLink,
        wish: &Wish<'_>,
        naming: Naming,
    ) -> Result<ChainLink, IoError> {
        let header = self.header_after(after, wish.capacity_bytes);
        let (usage, durable) = self.usage_since_the_last(wish.capacity_bytes);
        let preparation = usage.preparation(wish.capacity_bytes);
        let make = |work: &mut WorkGuard<'_>| {
            let made = match (preparation, wish.rest) {
                (Preparation::Zeroed, Some(rest)) => {
                    let pieces = Pieces::beside(usage.bytes_per_sync(), rest);
                    self.make_segment_gradually(work, header, naming, pieces)
                }
                _ => make_segment(self.storage.as_ref(), header, naming, preparation),
            };
            work.watch(made)
        };
        let made = make(work);
        let made = if self.makes_room(work, &made)? { make(work) } else { made };
        if made.is_ok() {
            // The count begins anew.
            self.syncs.fetch_sub(usage.syncs, Ordering::Relaxed);
            self.durable_then.store(durable.get(), Ordering::Relaxed);
        }
        made
    }

    /// How the log was used since a segment was made last, and how far it is durable.
    fn usage_since_the_last(&self, capacity_bytes: u64) -> (Usage, Lsn) {
        let durable = self.noted_durable();
        let syncs = self.syncs.load(Ordering::Relaxed);
        let before = self.durable_then.load(Ordering::Relaxed);
        // Where nothing tells how much was written, it was a segment.
        let bytes = Some(durable.get().saturating_sub(before)).filter(|bytes| *bytes > 0);
        (Usage { syncs, bytes: bytes.unwrap_or(capacity_bytes) }, durable)
    }

    fn header_after(&self, after: &ChainLink, capacity_bytes: u64) -> SegmentHeader {
        let predecessor = Some(predecessor_of(after, after.cap));
        let flags = SegmentFlags::NONE;
        self.new_header(after.cap, capacity_bytes, flags, predecessor, self.head())
    }
}

/// What a log did in a while.
struct Usage {
    syncs: u64,
    /// More than none.
    bytes: u64,
}

impl Usage {
    /// Zeros written ahead save each sync the journal's work. Where syncs are as few as they were,
    /// they would cost more than that.
    fn preparation(&self, capacity_bytes: u64) -> Preparation {
        let expected =
            u128::from(self.syncs) * u128::from(capacity_bytes) / u128::from(self.bytes.max(1));
        let worth_it = expected >= u128::from(capacity_bytes / ZEROS_WORTH_A_SYNC_BYTES);
        if worth_it { Preparation::Zeroed } else { Preparation::Reserved }
    }

    const fn bytes_per_sync(&self) -> u64 {
        match self.bytes.checked_div(self.syncs) {
            Some(bytes) => bytes,
            None => self.bytes,
        }
    }
}
