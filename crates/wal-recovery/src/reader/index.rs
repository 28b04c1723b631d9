//! Where records start: a sparse index of one segment, built by whoever reads it forwards.
//!
//! Records cannot be found from behind, for they do not say how long the one before them is. An
//! address is kept for every 64 KiB of log; a reader goes to the last one before the place it
//! wants and reads forwards from there (rule 19). Pure: it sees addresses only.
//!
//! Memory is bounded by [`ENTRIES_MAX`] addresses for each of [`SEGMENTS_MAX`] segments: when a
//! segment has more, every second one goes and the stride doubles.

use wal_format::Lsn;
use wal_io::SegmentName;

/// Bytes of log for each address kept, to begin with.
pub(super) const STRIDE_BYTES: u64 = 64 << 10;
/// Addresses kept of one segment.
const ENTRIES_MAX: usize = 1 << 14;
/// Segments of which an index is kept; the one used longest ago goes first.
const SEGMENTS_MAX: usize = 8;

/// The index of one segment.
#[derive(Debug)]
pub(super) struct SegmentIndex {
    name: SegmentName,
    stride_bytes: u64,
    /// Starts of records, ascending, the first is the base; at least a stride apart.
    starts: Vec<Lsn>,
    /// A record boundary; every record before it has been noted.
    covered: Lsn,
    entries_max: usize,
}

impl SegmentIndex {
    fn new(name: SegmentName, entries_max: usize) -> Self {
        let base = name.base;
        let stride_bytes = STRIDE_BYTES;
        Self { name, stride_bytes, starts: vec![base], covered: base, entries_max }
    }

    /// The last address kept that is at or before `lsn`; the base when `lsn` is before it.
    pub(super) fn floor(&self, lsn: Lsn) -> Lsn {
        let after = self.starts.partition_point(|start| *start <= lsn);
        let floor = after.checked_sub(1).and_then(|index| self.starts.get(index));
        floor.copied().unwrap_or(self.name.base)
    }

    /// Takes notice of the record from `start` to `end`. Records already covered are ignored.
    pub(super) fn note(&mut self, start: Lsn, end: Lsn) {
        if start != self.covered {
            return;
        }
        self.covered = end;
        let last = self.starts.last().copied().unwrap_or(self.name.base);
        if start.distance_from(last).is_none_or(|bytes| bytes < self.stride_bytes) {
            return;
        }
        self.starts.push(start);
        if self.starts.len() > self.entries_max {
            let mut keep = false;
            self.starts.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride_bytes *= 2;
        }
    }
}

/// The indexes of the segments read last; the one used last stands last.
#[derive(Debug, Default)]
pub(super) struct SparseIndex {
    segments: Vec<SegmentIndex>,
}

impl SparseIndex {
    /// Takes out the index of the segment `name`, empty if there was none. Give it back with
    /// [`put`](Self::put); else it is built again.
    pub(super) fn take(&mut self, name: SegmentName) -> SegmentIndex {
        match self.segments.iter().position(|segment| segment.name == name) {
            Some(index) => self.segments.remove(index),
            None => SegmentIndex::new(name, ENTRIES_MAX),
        }
    }

    /// Gives back an index that was taken.
    pub(super) fn put(&mut self, segment: SegmentIndex) {
        if self.segments.len() >= SEGMENTS_MAX {
            self.segments.remove(0);
        }
        self.segments.push(segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::Epoch;

    fn name(base: u64) -> SegmentName {
        SegmentName { epoch: Epoch::FIRST, base: Lsn::new(base).unwrap() }
    }

    fn at(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    /// Notes records of `record_bytes` up to `end`.
    fn built(entries_max: usize, record_bytes: u64, end: u64) -> SegmentIndex {
        let mut index = SegmentIndex::new(name(4096), entries_max);
        let mut start = 4096;
        while start < end {
            index.note(at(start), at(start + record_bytes));
            start += record_bytes;
        }
        index
    }

    #[test]
    fn the_floor_is_a_record_start_within_a_stride() {
        let index = built(ENTRIES_MAX, 40, 1 << 20);
        for lsn in (4096..1 << 20).step_by(1000 * 8) {
            let floor = index.floor(at(lsn)).get();
            assert!(floor <= lsn && lsn - floor < STRIDE_BYTES + 40, "{floor} for {lsn}");
            assert_eq!((floor - 4096) % 40, 0, "a record starts there");
        }
        assert_eq!(index.floor(Lsn::NONE), at(4096));
    }

    #[test]
    fn r19_the_index_thins_out_and_never_exceeds_its_bound() {
        let index = built(16, 64, 64 << 20);
        assert!(index.starts.len() <= 16 && index.starts.len() >= 8);
        assert_eq!(index.starts[0], at(4096));
        assert!(index.starts.is_sorted());
        let widest = index.starts.windows(2).map(|pair| pair[1].get() - pair[0].get()).max();
        assert!(widest.unwrap() <= index.stride_bytes + 64);
    }

    #[test]
    fn a_record_is_noted_once_and_only_where_the_index_ends() {
        let mut index = built(ENTRIES_MAX, 40, 1 << 18);
        let (entries, covered) = (index.starts.clone(), index.covered);
        index.note(at(4096), at(4136));
        index.note(at(1 << 19), at((1 << 19) + 8));
        assert_eq!((index.starts, index.covered), (entries, covered));
    }

    #[test]
    fn the_index_used_longest_ago_goes_first() {
        let mut indexes = SparseIndex::default();
        for segment in 0..=SEGMENTS_MAX as u64 {
            let mut index = indexes.take(name(4096 + segment * 4096));
            index.note(index.name.base, at(index.name.base.get() + 8));
            indexes.put(index);
        }
        assert_eq!(indexes.segments.len(), SEGMENTS_MAX);
        assert_eq!(indexes.take(name(4096)).covered, at(4096), "forgotten, so built again");
        assert_eq!(indexes.take(name(8192)).covered, at(8200));
    }
}
