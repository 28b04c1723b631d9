//! Log sequence numbers: addresses in one endless stream of bytes.

use core::fmt;

use crate::layout::{FIRST_LSN, RECORD_ALIGN_BYTES};

/// Address of a record: the byte offset of its header in the log, a multiple of 8.
///
/// An address is never used twice, acknowledged or not. [`Lsn::NONE`] (zero) is no address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// No address; it sorts before every address.
    pub const NONE: Self = Self(0);
    /// Address of the first record of a new log.
    pub const FIRST: Self = Self(FIRST_LSN);
    /// The highest value that can be an address.
    pub const MAX: Self = Self(u64::MAX - (RECORD_ALIGN_BYTES as u64 - 1));

    /// The address `raw`, or `None` when it is not a multiple of 8.
    #[must_use]
    pub const fn new(raw: u64) -> Option<Self> {
        if raw.is_multiple_of(RECORD_ALIGN_BYTES as u64) { Some(Self(raw)) } else { None }
    }

    /// The byte offset in the log.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is [`Lsn::NONE`].
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The address `bytes` further on; `None` on overflow or when `bytes` is not a multiple of 8.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(raw) => Self::new(raw),
            None => None,
        }
    }

    /// Bytes from `earlier` to here; `None` when `earlier` is later.
    #[must_use]
    pub const fn distance_from(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// The first address at or after this one that is a multiple of `block_bytes`.
    ///
    /// `None` on overflow, or when `block_bytes` is not a positive multiple of 8.
    #[must_use]
    pub const fn align_up(self, block_bytes: u64) -> Option<Self> {
        match self.0.checked_next_multiple_of(block_bytes) {
            Some(raw) => Self::new(raw),
            None => None,
        }
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({})", self.0)
    }
}

/// A run of the log: from `start`, up to but not including `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LsnRange {
    /// First address of the run.
    pub start: Lsn,
    /// First address after the run.
    pub end: Lsn,
}

impl LsnRange {
    /// The run from `start` to `end`; empty when `end` is not after `start`.
    #[must_use]
    pub const fn new(start: Lsn, end: Lsn) -> Self {
        Self { start, end }
    }

    /// Length in bytes; 0 when empty.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.end.get().saturating_sub(self.start.get())
    }

    /// Whether the run holds nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bytes() == 0
    }

    /// Whether `lsn` lies in the run.
    #[must_use]
    pub fn contains(self, lsn: Lsn) -> bool {
        self.start <= lsn && lsn < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_multiple_of_eight() {
        assert_eq!(Lsn::new(4096).map(Lsn::get), Some(4096));
        assert_eq!(Lsn::new(4097), None);
        assert_eq!(Lsn::FIRST.checked_add(4), None);
    }

    #[test]
    fn arithmetic_never_wraps() {
        assert_eq!(Lsn::MAX.checked_add(8), None);
        assert_eq!(Lsn::MAX.align_up(4096), None);
        assert_eq!(Lsn::FIRST.distance_from(Lsn::MAX), None);
        assert!(LsnRange::new(Lsn::MAX, Lsn::FIRST).is_empty());
    }
}
