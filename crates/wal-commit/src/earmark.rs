//! Space that is promised to records which come later, such as those of a rollback.
//!
//! ```text
//!   active segment            successor (ready)           held back      held back
//! ... records │ left ...│ ............................│ ............ │ ............ │
//!              not counted └───────────── budget: what is promised fits in here ─────────┘
//! ```
//!
//! A promise is given only while the sum of all promises fits into the ready successor and the
//! space that is held back; else more is held back first, and where the disk has none, the promise
//! is refused. So what was promised fits whatever becomes of the disk: entering the successor takes
//! it out of the budget, and makes the rest of it what is left in the active segment, which nobody
//! enters who was not promised a place, or was and leaves the others theirs.
//!
//! A successor shorter than a normal segment counts for nothing, for a normal one may take its
//! place. Each other counts for less than it holds, by what may be lost at its end when the next
//! record does not fit (rule 13). A log that promises nothing pays one store for each rotation.
//!
//! Invariant: promised <= budget + what is left in the active segment, from the moment of each
//! promise until it is taken back; whoever appends takes back what it used after the append.
//!
//! Source: rules 12, 13 and 16; for whose sake, statement 9 of ARIES.

use crate::reserve::Cursor;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// The shortest record of a transaction, in bytes: a header and a link.
const SHORTEST_BYTES: u64 = 40;

/// What is promised, and what there is for it.
#[derive(Debug)]
pub(crate) struct Earmarks {
    /// Bytes promised and not taken back.
    promised: AtomicU64,
    /// Bytes that may be promised in all, as of the last rotation or preparation.
    budget: AtomicU64,
    /// The longest record that a promise covers, in bytes.
    pub(crate) record_bytes_max: u64,
    segment_bytes: u64,
    /// What a normal segment counts for.
    segment_budget: u64,
    /// What a byte counts for: 1, unless each record may be followed by the padding of a block.
    pub(crate) inflation: u64,
    /// Held while space is being taken, so that one does it for all.
    pub(crate) growth: Mutex<()>,
}

impl Earmarks {
    pub(crate) fn new(batch_bytes_max: u64, segment_bytes: u64, block_bytes: u64) -> Self {
        let record_bytes_max = batch_bytes_max.min(segment_bytes / 4) & !7;
        let padding = if block_bytes > 1 { block_bytes + 24 } else { 0 };
        Self {
            promised: AtomicU64::new(0),
            budget: AtomicU64::new(0),
            record_bytes_max,
            segment_bytes,
            segment_budget: usable(segment_bytes, record_bytes_max),
            inflation: 1 + padding.div_ceil(SHORTEST_BYTES),
            growth: Mutex::new(()),
        }
    }

    /// Publishes what there is: to be called, under the lock, whenever that changes, before anybody
    /// can take back a promise for it.
    pub(crate) fn publish(&self, cursor: &Cursor, held_back: u64) {
        let successor = self.successor_budget(cursor.successor_bytes());
        let held = held_back.saturating_mul(self.segment_budget);
        // Without any held back, a rotation would leave no budget until the next segment is ready.
        let budget = if held == 0 { 0 } else { successor.saturating_add(held) };
        // Ordered before the Release in `take_back` by whoever appends: it publishes this, then
        // takes back. Whoever sees its bytes gone, in `promise`, sees this budget too.
        self.budget.store(budget, Ordering::Release);
    }

    /// Promises `bytes` if they fit.
    pub(crate) fn promise(&self, bytes: u64) -> bool {
        // Pairs with the Release in `take_back`, which publishes the budget as of then.
        let before = self.promised.fetch_add(bytes, Ordering::AcqRel);
        let fits =
            before.checked_add(bytes).is_some_and(|all| all <= self.budget.load(Ordering::Acquire));
        if !fits {
            self.take_back(bytes);
        }
        fits
    }

    pub(crate) fn take_back(&self, bytes: u64) {
        // Pairs with the Acquire in `promise`.
        self.promised.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// How many segments must be held back for `bytes` more, beside the ready successor.
    pub(crate) fn wanted(&self, bytes: u64, successor_bytes: u64) -> u64 {
        let successor = self.successor_budget(successor_bytes);
        let all = self.promised.load(Ordering::Relaxed).saturating_add(bytes);
        // At least one: the successor is entered sooner or later, and then there must be room.
        all.saturating_sub(successor).div_ceil(self.segment_budget.max(1)).max(1)
    }

    /// What the ready successor counts for: nothing if it is shorter than a normal segment, for a
    /// record that it cannot hold has one put in its place, held back or not.
    fn successor_budget(&self, bytes: u64) -> u64 {
        if bytes < self.segment_bytes { 0 } else { usable(bytes, self.record_bytes_max) }
    }

    /// Whether one segment of `held_back` is more than the promises need without any successor,
    /// with room for as much again, so that it is not taken back the next moment.
    pub(crate) fn is_surplus(&self, held_back: u64) -> bool {
        let promised = self.promised.load(Ordering::Relaxed);
        let needed = promised.saturating_mul(2).div_ceil(self.segment_budget.max(1));
        held_back > needed.max(1)
    }

    /// Whether so much is promised that nothing may be appended which is not.
    pub(crate) fn is_tight(&self) -> bool {
        let promised = self.promised.load(Ordering::Relaxed);
        promised > 0 && promised > self.budget.load(Ordering::Relaxed)
    }

    pub(crate) fn promised(&self) -> u64 {
        self.promised.load(Ordering::Relaxed) / self.inflation
    }
}

/// What a segment of `bytes` counts for: the last record that does not fit leaves up to its own
/// length and 16 bytes.
const fn usable(bytes: u64, record_bytes_max: u64) -> u64 {
    bytes.saturating_sub(record_bytes_max + 24)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::Lsn;

    const SEGMENT: u64 = 64 << 10;
    const WASTE: u64 = 8192 + 24;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    /// A log with `left` bytes in the active segment and a successor of `successor` bytes.
    fn cursor(left: u64, successor: u64) -> Cursor {
        let active_end = lsn(1 << 20);
        Cursor::new(lsn((1 << 20) - left), active_end, lsn((1 << 20) + successor))
    }

    fn earmarks(left: u64, successor: u64, held_back: u64) -> Earmarks {
        let earmarks = Earmarks::new(8192, SEGMENT, 1);
        earmarks.publish(&cursor(left, successor), held_back);
        earmarks
    }

    #[test]
    fn a_promise_is_given_while_all_fit_beyond_the_active_segment() {
        let earmarks = earmarks(SEGMENT, SEGMENT, 1);
        let budget = 2 * (SEGMENT - WASTE);
        assert!(earmarks.promise(budget - 8) && earmarks.promise(8));
        assert!(!earmarks.promise(8), "what is left in the active segment does not count");
        assert_eq!(earmarks.promised(), budget, "a promise refused leaves nothing behind");
        earmarks.take_back(8);
        assert!(earmarks.promise(8));
    }

    #[test]
    fn entering_the_successor_takes_it_out_of_the_budget() {
        let earmarks = earmarks(8, SEGMENT, 1);
        assert!(earmarks.promise(SEGMENT));
        earmarks.publish(&cursor(SEGMENT, 0), 1);
        assert!(!earmarks.promise(8));
        assert!(earmarks.is_tight(), "what is left in the active segment is spoken for");
        earmarks.take_back(SEGMENT);
        assert!(earmarks.promise(SEGMENT - WASTE));
    }

    #[test]
    fn a_short_successor_counts_for_nothing_for_a_normal_one_may_take_its_place() {
        let short = SEGMENT - 4096;
        let earmarks = earmarks(8, short, 1);
        assert_eq!(earmarks.wanted(SEGMENT, short), 2);
        assert!(earmarks.promise(SEGMENT - WASTE) && !earmarks.promise(8));
    }

    #[test]
    fn nothing_is_promised_without_space_that_is_held_back() {
        let earmarks = earmarks(SEGMENT, SEGMENT, 0);
        assert!(!earmarks.promise(8));
        assert_eq!(earmarks.wanted(8, SEGMENT), 1);
    }

    #[test]
    fn as_much_is_wanted_as_makes_the_promise_fit() {
        for (bytes, successor) in [
            (8, 0),
            (SEGMENT, 0),
            (SEGMENT, SEGMENT),
            (10 * SEGMENT, SEGMENT),
            (SEGMENT - WASTE, 0),
        ] {
            let wanted = earmarks(0, 0, 0).wanted(bytes, successor);
            assert!(earmarks(0, successor, wanted).promise(bytes), "{bytes} with {wanted}");
            let less = wanted - 1;
            assert!(!earmarks(0, successor, less).promise(bytes), "{bytes} fits {less} as well");
        }
    }

    #[test]
    fn a_promise_beyond_all_measure_is_refused() {
        let earmarks = earmarks(SEGMENT, SEGMENT, 1);
        assert!(earmarks.promise(8));
        assert!(!earmarks.promise(u64::MAX), "and the sum does not wrap");
        assert_eq!(earmarks.promised(), 8);
    }

    #[test]
    fn more_than_twice_what_is_promised_is_surplus() {
        let earmarks = earmarks(SEGMENT, SEGMENT, 3);
        assert!(!earmarks.is_surplus(1) && earmarks.is_surplus(2));
        assert!(earmarks.promise(SEGMENT));
        assert!(!earmarks.is_surplus(3) && earmarks.is_surplus(4));
    }

    #[test]
    fn with_direct_io_every_record_counts_with_the_padding_of_a_block() {
        let earmarks = Earmarks::new(8192, SEGMENT, 4096);
        assert!(SHORTEST_BYTES * earmarks.inflation >= SHORTEST_BYTES + 4096 + 24);
        assert_eq!(Earmarks::new(8192, SEGMENT, 1).inflation, 1);
    }

    #[test]
    fn r13_records_of_any_size_fit_into_what_a_segment_counts_for() {
        // Greedy filling of segments, each record at most the longest: the promised sum fits.
        for sizes in [[8192, 8192, 8192], [40, 8192, 48], [8184, 8192, 40], [4096, 8000, 8192]] {
            let (mut left, mut segments, mut sum) = (0_u64, 0_u64, 0_u64);
            for bytes in sizes.iter().cycle().take(500) {
                if !crate::reserve::fits(left, *bytes) {
                    (left, segments) = (SEGMENT, segments + 1);
                }
                left -= bytes;
                sum += bytes;
            }
            assert!(segments <= sum.div_ceil(SEGMENT - WASTE), "{sizes:?}: {segments} segments");
        }
    }
}
