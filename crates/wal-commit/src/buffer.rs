//! The memory for records on their way: equal parts, each a contiguous run of the log.
//!
//! One part is filled while others are written. Whoever flushes takes the part being filled and
//! leaves an empty one in its place, so the bytes of a part are never moved or shared. The parts
//! are all the memory there is: when the one being filled is full, appends wait.

use smallvec::SmallVec;
use wal_format::{Lsn, LsnRange, RecordSeed};

use crate::checksum;
use crate::poison::PoisonCause;
use crate::reserve::step;

/// A contiguous run of the log in memory.
#[derive(Debug)]
pub(crate) struct Part {
    start: Lsn,
    used: usize,
    bytes: Box<[u8]>,
}

impl Part {
    fn new(start: Lsn, capacity: usize) -> Self {
        Self { start, used: 0, bytes: vec![0; capacity].into_boxed_slice() }
    }

    /// The records, once those which lack their checksum have it: the one way out of the buffer.
    pub(crate) fn finished(&mut self, seed: &RecordSeed) -> Result<&[u8], PoisonCause> {
        let records = self.bytes.get_mut(..self.used).unwrap_or_default();
        checksum::finish(seed, records)?;
        Ok(records)
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// The addresses that they take.
    pub(crate) fn range(&self) -> LsnRange {
        LsnRange::new(self.start, step(self.start, self.used as u64))
    }
}

/// All parts. Those being written are away.
#[derive(Debug)]
pub(crate) struct Parts {
    filling: Part,
    /// One, unless several flushes may be in flight.
    spare: SmallVec<[Part; 1]>,
    usable: usize,
}

impl Parts {
    /// `count` parts of `part_bytes`, of each of which records may use `usable`.
    pub(crate) fn new(start: Lsn, count: usize, part_bytes: usize, usable: usize) -> Self {
        debug_assert!(usable <= part_bytes, "the rest is for block padding");
        let spare = (1..count).map(|_| Part::new(start, part_bytes)).collect();
        Self { filling: Part::new(start, part_bytes), spare, usable }
    }

    /// Bytes that records may use of one part.
    pub(crate) fn usable(&self) -> usize {
        self.usable
    }

    /// Bytes that records may still use of the part being filled.
    pub(crate) fn room(&self) -> usize {
        self.usable.saturating_sub(self.filling.used)
    }

    /// Where the log ends when so many bytes wait to be written.
    pub(crate) fn end_with(&self, pending: usize) -> u64 {
        self.filling.start.get().saturating_add(pending as u64)
    }

    /// Bytes which wait to be written.
    pub(crate) fn pending(&self) -> usize {
        self.filling.used
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.filling.used == 0
    }

    /// First address which is not in the buffer yet.
    pub(crate) fn end(&self) -> Lsn {
        self.filling.range().end
    }

    /// What [`extend`](Self::extend) would give, to be looked at first.
    #[inline]
    pub(crate) fn peek(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let from = self.filling.used;
        self.filling.bytes.get_mut(from..from.checked_add(bytes)?)
    }

    /// Space for the next `bytes` of the log; `None` when the part is too full.
    ///
    /// Block padding may use what records may not.
    pub(crate) fn extend(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let from = self.filling.used;
        let to = from.checked_add(bytes)?;
        let space = self.filling.bytes.get_mut(from..to)?;
        self.filling.used = to;
        Some(space)
    }

    /// Takes what waits to be written and goes on in another part; `None` when all others are
    /// away.
    pub(crate) fn take(&mut self) -> Option<Part> {
        // The one that came back last: its memory is the nearest.
        let mut next = self.spare.pop()?;
        next.start = self.filling.range().end;
        next.used = 0;
        Some(std::mem::replace(&mut self.filling, next))
    }

    /// Gives a part back after it was written.
    pub(crate) fn give_back(&mut self, part: Part) {
        self.spare.push(part);
    }

    /// Goes on at `start`, after bytes which did not pass through the buffer; `false` when
    /// something waits to be written.
    #[must_use]
    pub(crate) fn jump(&mut self, start: Lsn) -> bool {
        let empty = self.is_empty();
        if empty {
            self.filling.start = start;
        }
        empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    #[test]
    fn the_parts_cover_the_log_without_a_gap() {
        let mut parts = Parts::new(lsn(4096), 3, 128, 96);
        parts.extend(64).unwrap().fill(1);
        let first = parts.take().unwrap();
        assert_eq!(first.range(), LsnRange::new(lsn(4096), lsn(4160)));
        parts.extend(32).unwrap().fill(2);
        assert_eq!(parts.end(), lsn(4192));
        let second = parts.take().unwrap();
        parts.extend(8).unwrap().fill(3);
        assert!(parts.take().is_none(), "the other parts are away");
        parts.give_back(first);
        assert_eq!(second.range(), LsnRange::new(lsn(4160), lsn(4192)));
        assert_eq!(second.bytes(), [2; 32], "untouched while it is away");
        let third = parts.take().unwrap();
        assert_eq!((third.range().start, third.bytes()), (lsn(4192), &[3; 8][..]));
    }

    #[test]
    fn records_leave_room_for_block_padding() {
        let mut parts = Parts::new(lsn(4096), 2, 128, 96);
        assert_eq!(parts.room(), 96);
        parts.extend(96).unwrap();
        assert_eq!(parts.room(), 0);
        assert!(parts.extend(32).is_some(), "padding may use the rest");
        assert!(parts.extend(8).is_none(), "nothing grows beyond the part");
    }

    #[test]
    fn a_jump_needs_an_empty_part() {
        let mut parts = Parts::new(lsn(4096), 2, 128, 96);
        assert!(parts.jump(lsn(8192)));
        parts.extend(24).unwrap();
        assert!(!parts.jump(lsn(12288)));
        assert_eq!(parts.end(), lsn(8216));
    }
}
