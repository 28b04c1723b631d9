//! Where the next records go: addresses, ends of segments, padding. Pure.
//!
//! ```text
//!          active segment                  successor, ready and empty
//! ... records │ left ............│ ........................................│ not ready
//!            end            active_end                                 ready_end
//! ```
//!
//! Invariants: `end <= active_end <= ready_end`; what is left in a segment is 0 or at least a
//! record header (rule 13); nothing is reserved beyond `ready_end` (rule 12). The same rules hold
//! for the end of a block in direct mode.

use wal_format::layout::{BLOCK_BYTES, RECORD_HEADER_BYTES};
use wal_format::{Lsn, LsnRange};

const HEADER_BYTES: u64 = RECORD_HEADER_BYTES as u64;

/// Whether a record of `bytes` can stand where `left` bytes are left (rule 13).
pub(crate) const fn fits(left: u64, bytes: u64) -> bool {
    bytes == left || bytes.saturating_add(HEADER_BYTES) <= left
}

/// Capacity of a segment made to measure for a record of `bytes`: whole blocks, and what is left
/// behind the record is nothing or can hold a padding record.
pub(crate) const fn measured_bytes(bytes: u64) -> u64 {
    let capacity = bytes.next_multiple_of(BLOCK_BYTES as u64);
    if fits(capacity, bytes) { capacity } else { capacity + BLOCK_BYTES as u64 }
}

/// A log that was opened without a successor asks for one when it holds this much more, or when a
/// quarter of what was left is used: one that stays small never pays for it.
const AHEAD_BYTES: u64 = 64 << 10;

/// Where the log ends, and how far it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    end: Lsn,
    active_end: Lsn,
    ready_end: Lsn,
    /// Beyond this end a segment is made ahead of need.
    ahead_from: Lsn,
}

/// The addresses of one reservation: one record, or the records of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Address of the first record.
    pub(crate) first: Lsn,
    /// The step into the successor, when there is one.
    pub(crate) crossing: Option<Crossing>,
    /// End of the last record.
    pub(crate) end: Lsn,
}

impl Layout {
    /// The address of each record.
    pub(crate) fn addresses(&self, sizes: impl Iterator<Item = u64>) -> impl Iterator<Item = Lsn> {
        let crossing = self.crossing;
        sizes.enumerate().scan(self.first, move |at, (index, bytes)| {
            let crossed = crossing.filter(|crossing| crossing.index == index);
            let lsn = crossed.map_or(*at, |crossing| crossing.padding.end);
            *at = step(lsn, bytes);
            Some(lsn)
        })
    }
}

/// A step from the active segment into its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crossing {
    /// Index of the first record that lies in the successor.
    pub(crate) index: usize,
    /// What is left of the active segment: padding, possibly none. It ends where the successor
    /// begins.
    pub(crate) padding: LsnRange,
}

/// What can be done for a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The records go there.
    Place(Layout),
    /// Pad the active segment up to its end, then ask again: records and padding together are
    /// more than the buffer holds.
    PadFirst(LsnRange),
    /// The successor is needed and not ready.
    NoSegment,
    /// Larger than the successor.
    TooLarge,
}

/// Where a record that is too large for the buffer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LargePlan {
    /// Into the active segment.
    Active,
    /// Into the next segment, behind `padding`.
    Next {
        /// What is left of the active segment.
        padding: LsnRange,
        /// Capacity of the segment to prepare; `None` when the one that is ready will do.
        prepare_bytes: Option<u64>,
        /// Whether the segment is made to measure and padded to its end as well.
        fill: bool,
    },
}

impl Cursor {
    pub(crate) fn new(end: Lsn, active_end: Lsn, ready_end: Lsn) -> Self {
        let left = LsnRange::new(end, active_end).bytes();
        let ahead_from = step(end, AHEAD_BYTES.min(left / 4) & !7);
        Self { end, active_end, ready_end, ahead_from }
    }

    /// Where the log ends.
    pub(crate) const fn end(&self) -> Lsn {
        self.end
    }

    /// End of the last segment that is ready, and base of the next one.
    pub(crate) const fn ready_end(&self) -> Lsn {
        self.ready_end
    }

    /// End of the active segment, and base of its successor.
    pub(crate) const fn active_end(&self) -> Lsn {
        self.active_end
    }

    /// Whether the log has entered the last segment that is ready.
    pub(crate) fn wants_segment(&self) -> bool {
        self.active_end == self.ready_end
    }

    /// Whether the next segment should be made ready before anybody needs it.
    pub(crate) fn wants_ahead(&self) -> bool {
        self.wants_segment() && self.end > self.ahead_from
    }

    /// As far as an append may end that leaves room for a record behind it in the active segment,
    /// and, if `ahead`, has no segment made ahead of need.
    pub(crate) fn undecided_to(&self, ahead: bool) -> u64 {
        let fits_to = self.active_end.get().saturating_sub(HEADER_BYTES);
        let wants_none = !(ahead && self.wants_segment());
        if wants_none { fits_to } else { fits_to.min(self.ahead_from.get()) }
    }

    /// Bytes left in the active segment.
    pub(crate) const fn left(&self) -> u64 {
        LsnRange::new(self.end, self.active_end).bytes()
    }

    /// Bytes of the ready successor; 0 when there is none.
    pub(crate) const fn successor_bytes(&self) -> u64 {
        LsnRange::new(self.active_end, self.ready_end).bytes()
    }

    /// Where records of these `sizes` go, when the buffer holds at most `usable` bytes at once.
    pub(crate) fn plan(&self, sizes: impl Iterator<Item = u64> + Clone, usable: u64) -> Plan {
        let total = sizes.clone().fold(0, u64::saturating_add);
        let left = self.left();
        if fits(left, total) {
            let end = step(self.end, total);
            return Plan::Place(Layout { first: self.end, crossing: None, end });
        }
        if self.wants_segment() {
            return Plan::NoSegment;
        }
        // As many as fit stay here. Each leaves nothing, or enough for the padding (rule 13).
        let (mut kept, mut index) = (0, 0);
        for bytes in sizes {
            if !fits(left - kept, bytes) {
                break;
            }
            kept += bytes;
            index += 1;
        }
        let padding = LsnRange::new(step(self.end, kept), self.active_end);
        let crosses_whole = fits(self.successor_bytes(), total - kept);
        if crosses_whole && padding.bytes().saturating_add(total) <= usable {
            let first = if index == 0 { self.active_end } else { self.end };
            let end = step(self.active_end, total - kept);
            return Plan::Place(Layout { first, crossing: Some(Crossing { index, padding }), end });
        }
        if fits(self.successor_bytes(), total) && left > 0 {
            return Plan::PadFirst(LsnRange::new(self.end, self.active_end));
        }
        Plan::TooLarge
    }

    /// Reserves everything up to `end`, which lies in the active segment.
    pub(crate) fn advance(&mut self, end: Lsn) {
        debug_assert!(self.end <= end && end <= self.active_end, "the end stays in its segment");
        self.end = end;
    }

    /// Goes on at the start of the successor: the active segment is full.
    pub(crate) fn enter_successor(&mut self) {
        debug_assert!(self.left() == 0 && !self.wants_segment(), "a ready segment follows");
        self.active_end = self.ready_end;
    }

    /// Takes note that the segment behind the last ready one is ready, up to `ready_end`;
    /// `false` when that cannot be.
    #[must_use]
    pub(crate) fn grow(&mut self, ready_end: Lsn) -> bool {
        let possible = ready_end > self.ready_end
            && ready_end.get().is_multiple_of(BLOCK_BYTES as u64)
            && self.wants_segment();
        if possible {
            self.ready_end = ready_end;
        }
        possible
    }

    /// Forgets the empty successor: it is being replaced, or nobody knows its state.
    pub(crate) fn forget_successor(&mut self) {
        self.ready_end = self.active_end;
    }

    /// The padding record which brings the end to a multiple of `block_bytes`, if one is needed.
    ///
    /// A gap which cannot hold a header takes one more block (rule 13). It never leaves the
    /// segment: that ends at a block boundary, and such a gap right before it cannot be.
    pub(crate) fn block_padding(&self, block_bytes: u64) -> Option<LsnRange> {
        let aligned = self.end.align_up(block_bytes)?;
        let gap = LsnRange::new(self.end, aligned).bytes();
        let target = match gap {
            0 => return None,
            gap if gap < HEADER_BYTES => step(aligned, block_bytes),
            _ => aligned,
        };
        debug_assert!(target <= self.active_end, "block padding stays in its segment");
        Some(LsnRange::new(self.end, target))
    }

    /// What is left of the active segment, if that is at most `bytes_max` and the next one is there.
    pub(crate) fn scrap(&self, bytes_max: u64) -> Option<LsnRange> {
        let is_scrap = !self.wants_segment() && (1..=bytes_max).contains(&self.left());
        is_scrap.then(|| LsnRange::new(self.end, self.active_end))
    }

    /// Where a record of `bytes`, too large for the buffer, goes.
    pub(crate) fn plan_large(&self, bytes: u64, segment_bytes: u64) -> LargePlan {
        if fits(self.left(), bytes) {
            return LargePlan::Active;
        }
        let padding = LsnRange::new(self.end, self.active_end);
        if !self.wants_segment() && fits(self.successor_bytes(), bytes) {
            return LargePlan::Next { padding, prepare_bytes: None, fill: false };
        }
        let normal = self.wants_segment() && fits(segment_bytes, bytes);
        let capacity = if normal { segment_bytes } else { measured_bytes(bytes) };
        LargePlan::Next { padding, prepare_bytes: Some(capacity), fill: !normal }
    }
}

/// The address `bytes` further on. Segments end at addresses that exist, so it exists as well.
pub(crate) fn step(lsn: Lsn, bytes: u64) -> Lsn {
    lsn.checked_add(bytes).unwrap_or(Lsn::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    fn cursor(left: u64, successor: u64) -> Cursor {
        let active_end = lsn(8192);
        Cursor::new(lsn(8192 - left), active_end, step(active_end, successor))
    }

    /// What a reader would find: no record spans a segment, nothing too small is left.
    fn check_layout(before: Cursor, after: Cursor, sizes: &[u64], layout: &Layout, usable: u64) {
        assert!(after.end <= after.active_end && after.active_end <= after.ready_end);
        assert_ne!(after.left(), 8, "rule 13");
        assert_ne!(after.left(), 16, "rule 13");
        let mut at = before.end;
        let mut addresses = layout.addresses(sizes.iter().copied());
        for (index, bytes) in sizes.iter().enumerate() {
            if let Some(crossing) = layout.crossing.filter(|crossing| crossing.index == index) {
                assert_eq!(crossing.padding, LsnRange::new(at, before.active_end));
                let padding = crossing.padding.bytes();
                assert!(padding == 0 || padding >= 24, "padding of {padding} bytes");
                at = before.active_end;
            }
            let end = step(at, *bytes);
            let spans = at < before.active_end && end > before.active_end;
            assert!(!spans, "record {index} spans two segments");
            assert_eq!(addresses.next(), Some(at));
            at = end;
        }
        assert_eq!((layout.end, after.end), (at, at));
        if layout.crossing.is_some() {
            assert!(layout.end.get() - before.end.get() <= usable);
        }
    }

    #[test]
    fn r13_every_small_geometry_leaves_no_space_too_small_for_a_header() {
        let sizes = [24, 32, 40, 48, 64];
        let mut placed = 0_u32;
        for left in (0..=136).step_by(8).filter(|left| *left == 0 || *left >= 24) {
            for successor in [0, 64, 96, 128] {
                for batch in batches(&sizes) {
                    for usable in [96, 160, 400] {
                        let before = cursor(left, successor);
                        let Plan::Place(layout) = before.plan(batch.iter().copied(), usable) else {
                            continue;
                        };
                        let mut after = before;
                        if layout.crossing.is_some() {
                            after.advance(after.active_end);
                            after.enter_successor();
                        }
                        after.advance(layout.end);
                        check_layout(before, after, &batch, &layout, usable);
                        placed += 1;
                    }
                }
            }
        }
        assert!(placed > 10_000, "only {placed} geometries were placed");
    }

    /// Every sequence of one to three of these sizes.
    fn batches(sizes: &[u64]) -> Vec<Vec<u64>> {
        let mut all: Vec<Vec<u64>> = vec![vec![]];
        for _ in 0..3 {
            let longer: Vec<_> = all
                .iter()
                .flat_map(|head| sizes.iter().map(|size| [&head[..], &[*size]].concat()))
                .collect();
            all.extend(longer);
        }
        all.retain(|batch| !batch.is_empty());
        all
    }

    #[test]
    fn r12_nothing_is_reserved_beyond_the_segments_which_are_ready() {
        assert_eq!(cursor(40, 0).plan([40].into_iter(), 400), {
            let (first, end) = (lsn(8152), lsn(8192));
            Plan::Place(Layout { first, crossing: None, end })
        });
        assert_eq!(cursor(40, 0).plan([48].into_iter(), 400), Plan::NoSegment);
        assert_eq!(cursor(0, 0).plan([24].into_iter(), 400), Plan::NoSegment);
    }

    #[test]
    fn a_log_that_stays_small_asks_for_no_second_segment() {
        let mut cursor = Cursor::new(lsn(4096), lsn(4096 + (1 << 20)), lsn(4096 + (1 << 20)));
        cursor.advance(lsn(4096 + AHEAD_BYTES));
        assert!(cursor.wants_segment() && !cursor.wants_ahead());
        cursor.advance(lsn(4096 + AHEAD_BYTES + 24));
        assert!(cursor.wants_ahead());
        assert!(cursor.grow(lsn(4096 + (2 << 20))) && !cursor.wants_ahead());
        cursor.advance(lsn(4096 + (1 << 20)));
        cursor.enter_successor();
        assert!(cursor.wants_ahead(), "a log that rotates will do so again");
    }

    #[test]
    fn r13_a_record_which_would_leave_too_little_goes_to_the_next_segment() {
        for bytes in [32, 40] {
            let Plan::Place(layout) = cursor(48, 128).plan([bytes].into_iter(), 400) else {
                panic!("the successor is ready");
            };
            let padding = LsnRange::new(lsn(8144), lsn(8192));
            assert_eq!(layout.crossing, Some(Crossing { index: 0, padding }));
            assert_eq!(layout.first, lsn(8192));
        }
    }

    #[test]
    fn r18_a_batch_crosses_one_boundary_and_stays_one_reservation() {
        let Plan::Place(layout) = cursor(72, 4096).plan([24, 24, 64, 24].into_iter(), 400) else {
            panic!("it fits");
        };
        let padding = LsnRange::new(lsn(8168), lsn(8192));
        assert_eq!(layout.crossing, Some(Crossing { index: 2, padding }));
        assert_eq!((layout.first, layout.end), (lsn(8120), lsn(8192 + 88)));
    }

    #[test]
    fn r18_a_batch_which_fits_the_buffer_only_without_padding_pads_first() {
        let before = cursor(88, 4096);
        let plan = before.plan([48, 48].into_iter(), 128);
        assert_eq!(plan, Plan::PadFirst(LsnRange::new(before.end, before.active_end)));
        let mut padded = before;
        padded.advance(padded.active_end);
        let Plan::Place(layout) = padded.plan([48, 48].into_iter(), 128) else {
            panic!("the successor is empty");
        };
        assert_eq!(layout.first, before.active_end);
    }

    #[test]
    fn a_reservation_larger_than_the_successor_is_refused_not_split() {
        assert_eq!(cursor(0, 64).plan([72].into_iter(), 400), Plan::TooLarge);
        assert_eq!(cursor(24, 64).plan([72].into_iter(), 400), Plan::TooLarge);
    }

    #[test]
    fn r13_block_padding_always_holds_a_header_and_stays_in_the_segment() {
        for block in [512_u64, 4096] {
            for left in (0..=8192).step_by(8).filter(|left| *left == 0 || *left >= 24) {
                let cursor = cursor(left, 0);
                let Some(padding) = cursor.block_padding(block) else {
                    assert!(cursor.end.get().is_multiple_of(block));
                    continue;
                };
                assert!(padding.bytes() >= 24 && padding.bytes() < block + 24);
                assert_eq!(padding.start, cursor.end);
                assert!(padding.end <= cursor.active_end, "{left} bytes left");
                assert!(padding.end.get().is_multiple_of(block));
            }
        }
        assert_eq!(cursor(64, 0).block_padding(1), None);
    }

    #[test]
    fn r13_what_is_left_is_scrap_if_it_is_little_and_a_segment_follows() {
        let whole = |cursor: &Cursor| Some(LsnRange::new(cursor.end, cursor.active_end));
        let little = cursor(152, 4096);
        assert_eq!(little.scrap(152), whole(&little));
        assert_eq!(little.scrap(151), None);
        assert_eq!(cursor(0, 4096).scrap(4096), None, "nothing is left");
        assert_eq!(cursor(152, 0).scrap(4096), None, "a record may yet need it");
    }

    #[test]
    fn r13_a_measured_segment_leaves_nothing_or_room_for_padding() {
        for bytes in (4096 - 64..=4096 + 64_u64).step_by(8) {
            let capacity = measured_bytes(bytes);
            assert!(capacity.is_multiple_of(4096) && capacity >= bytes);
            assert!(fits(capacity, bytes), "{bytes} in {capacity}");
            assert!(capacity < bytes + 4096 + 24);
        }
    }

    #[test]
    fn r18_a_large_record_goes_where_it_fits_or_to_a_segment_of_its_own() {
        let padding = |cursor: &Cursor| LsnRange::new(cursor.end, cursor.active_end);
        assert_eq!(cursor(4096, 4096).plan_large(4000, 4096), LargePlan::Active);
        let near = cursor(40, 4096);
        assert_eq!(
            near.plan_large(4096, 4096),
            LargePlan::Next { padding: padding(&near), prepare_bytes: None, fill: false }
        );
        assert_eq!(
            near.plan_large(5000, 4096),
            LargePlan::Next { padding: padding(&near), prepare_bytes: Some(8192), fill: true }
        );
        let alone = cursor(40, 0);
        assert_eq!(
            alone.plan_large(4000, 4096),
            LargePlan::Next { padding: padding(&alone), prepare_bytes: Some(4096), fill: false }
        );
    }

    #[test]
    fn a_segment_which_cannot_follow_is_not_believed() {
        let mut cursor = cursor(40, 0);
        assert!(!cursor.grow(lsn(8192)), "it holds nothing");
        assert!(!cursor.grow(lsn(8200)), "it is no multiple of a block");
        assert!(cursor.grow(lsn(12288)));
        assert!(!cursor.grow(lsn(16384)), "one successor is enough");
        cursor.forget_successor();
        assert!(cursor.wants_segment());
    }
}
