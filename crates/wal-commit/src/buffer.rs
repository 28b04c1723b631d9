//! The memory for records on their way: two halves, each a contiguous run of the log.
//!
//! One half is filled while the other one is written. Whoever flushes takes the half being filled
//! and leaves the empty one in its place, so the bytes of a half are never moved or shared. The
//! halves are all the memory there is: when the one being filled is full, appends wait.

use wal_format::{Lsn, LsnRange};

use crate::reserve::step;

/// A contiguous run of the log in memory.
#[derive(Debug)]
pub(crate) struct Half {
    start: Lsn,
    used: usize,
    bytes: Box<[u8]>,
}

impl Half {
    fn new(start: Lsn, capacity: usize) -> Self {
        Self { start, used: 0, bytes: vec![0; capacity].into_boxed_slice() }
    }

    /// The encoded records.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// The addresses that they take.
    pub(crate) fn range(&self) -> LsnRange {
        LsnRange::new(self.start, step(self.start, self.used as u64))
    }
}

/// Both halves. The spare one is away while it is being written.
#[derive(Debug)]
pub(crate) struct Halves {
    filling: Half,
    spare: Option<Half>,
    usable: usize,
}

impl Halves {
    /// Two halves of `half_bytes`, of which records may use `usable`.
    pub(crate) fn new(start: Lsn, half_bytes: usize, usable: usize) -> Self {
        debug_assert!(usable <= half_bytes, "the rest is for block padding");
        let spare = Some(Half::new(start, half_bytes));
        Self { filling: Half::new(start, half_bytes), spare, usable }
    }

    /// Bytes that records may use of one half.
    pub(crate) fn usable(&self) -> usize {
        self.usable
    }

    /// Bytes that records may still use of the half being filled.
    pub(crate) fn room(&self) -> usize {
        self.usable.saturating_sub(self.filling.used)
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.filling.used == 0
    }

    /// First address which is not in the buffer yet.
    pub(crate) fn end(&self) -> Lsn {
        self.filling.range().end
    }

    /// Space for the next `bytes` of the log; `None` when the half is too full.
    ///
    /// Block padding may use what records may not.
    pub(crate) fn extend(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let from = self.filling.used;
        let to = from.checked_add(bytes)?;
        let space = self.filling.bytes.get_mut(from..to)?;
        self.filling.used = to;
        Some(space)
    }

    /// Takes what waits to be written and goes on in the other half; `None` when the other half
    /// is still away.
    pub(crate) fn take(&mut self) -> Option<Half> {
        let mut next = self.spare.take()?;
        next.start = self.filling.range().end;
        next.used = 0;
        Some(std::mem::replace(&mut self.filling, next))
    }

    /// Gives a half back after it was written.
    pub(crate) fn give_back(&mut self, half: Half) {
        debug_assert!(self.spare.is_none(), "one half is away at a time");
        self.spare = Some(half);
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
    fn the_halves_cover_the_log_without_a_gap() {
        let mut halves = Halves::new(lsn(4096), 128, 96);
        halves.extend(64).unwrap().fill(1);
        let first = halves.take().unwrap();
        assert_eq!(first.range(), LsnRange::new(lsn(4096), lsn(4160)));
        halves.extend(32).unwrap().fill(2);
        assert_eq!(halves.end(), lsn(4192));
        assert!(halves.take().is_none(), "the other half is away");
        halves.give_back(first);
        let second = halves.take().unwrap();
        assert_eq!(second.range(), LsnRange::new(lsn(4160), lsn(4192)));
        assert_eq!(second.bytes(), [2; 32]);
    }

    #[test]
    fn records_leave_room_for_block_padding() {
        let mut halves = Halves::new(lsn(4096), 128, 96);
        assert_eq!(halves.room(), 96);
        halves.extend(96).unwrap();
        assert_eq!(halves.room(), 0);
        assert!(halves.extend(32).is_some(), "padding may use the rest");
        assert!(halves.extend(8).is_none(), "nothing grows beyond the half");
    }

    #[test]
    fn a_jump_needs_an_empty_half() {
        let mut halves = Halves::new(lsn(4096), 128, 96);
        assert!(halves.jump(lsn(8192)));
        halves.extend(24).unwrap();
        assert!(!halves.jump(lsn(12288)));
        assert_eq!(halves.end(), lsn(8216));
    }
}
