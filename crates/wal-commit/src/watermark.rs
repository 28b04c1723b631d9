//! How far the log has come: reserved, written, durable.
//!
//! ```text
//! durable <= written <= reserved          exclusive ends; each only grows
//! ```
//!
//! All three change under the lock of the shared state only. They are atomics so that a waiter
//! whose position is reached, and anybody who asks, need no lock.

use wal_format::Lsn;

use crate::config::Durability;
use crate::sync::{AtomicU64, Ordering};

/// How far the log had come at one moment: exclusive ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Everything before this address is durable.
    pub durable: Lsn,
    /// The backend took everything before this address.
    pub written: Lsn,
    /// Every address before this one belongs to a record.
    pub reserved: Lsn,
}

impl Positions {
    /// The end of what has reached `level`.
    #[must_use]
    pub const fn at(&self, level: Durability) -> Lsn {
        match level {
            Durability::Ordered => self.reserved,
            Durability::Written => self.written,
            Durability::Durable => self.durable,
        }
    }
}

/// The positions as everybody sees them.
#[derive(Debug)]
pub(crate) struct Watermarks {
    durable: AtomicU64,
    written: AtomicU64,
    reserved: AtomicU64,
}

impl Watermarks {
    pub(crate) fn new(reserved: Lsn, durable: Lsn) -> Self {
        Self {
            durable: AtomicU64::new(durable.get()),
            written: AtomicU64::new(reserved.get()),
            reserved: AtomicU64::new(reserved.get()),
        }
    }

    /// A snapshot in which `durable <= written <= reserved` holds.
    pub(crate) fn positions(&self) -> Positions {
        // Read from the slowest to the fastest: what was written after `durable` was read can
        // only make the later ones larger. Each Acquire pairs with the Release stores below.
        let durable = load(&self.durable);
        let written = load(&self.written);
        let reserved = load(&self.reserved);
        Positions { durable, written, reserved }
    }

    /// Everything before this address is durable.
    #[inline]
    pub(crate) fn durable(&self) -> Lsn {
        load(&self.durable)
    }

    /// Every address before this one belongs to a record.
    #[inline]
    pub(crate) fn reserved(&self) -> Lsn {
        load(&self.reserved)
    }

    /// Whether everything before `end` has reached `level`.
    pub(crate) fn reached(&self, end: Lsn, level: Durability) -> bool {
        end <= match level {
            Durability::Ordered => load(&self.reserved),
            Durability::Written => load(&self.written),
            Durability::Durable => load(&self.durable),
        }
    }

    /// Moves the end of the log on. Call it under the lock of the state.
    pub(crate) fn reserve(&self, end: Lsn) {
        debug_assert!(end >= load(&self.reserved), "addresses are never given twice");
        store(&self.reserved, end);
    }

    /// Publishes that the backend took everything before `end`; `false` when that cannot be.
    #[must_use]
    pub(crate) fn write(&self, end: Lsn) -> bool {
        let possible = load(&self.written) <= end && end <= load(&self.reserved);
        if possible {
            store(&self.written, end);
        }
        possible
    }

    /// Publishes that everything before `end` is durable; `false` when that cannot be.
    #[must_use]
    pub(crate) fn sync(&self, end: Lsn) -> bool {
        let possible = load(&self.durable) <= end && end <= load(&self.written);
        if possible {
            store(&self.durable, end);
        }
        possible
    }
}

#[inline]
fn load(position: &AtomicU64) -> Lsn {
    // Pairs with the Release in `store`: whoever sees a position also sees what led to it.
    Lsn::new(position.load(Ordering::Acquire)).unwrap_or(Lsn::NONE)
}

fn store(position: &AtomicU64, end: Lsn) {
    // Pairs with the Acquire in `load`. Only one thread stores at a time: it holds the lock.
    position.store(end.get(), Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    #[test]
    fn positions_move_in_their_order_only() {
        let marks = Watermarks::new(lsn(4096), lsn(4096));
        assert!(!marks.write(lsn(4200)), "nothing is written before it is reserved");
        marks.reserve(lsn(4200));
        assert!(!marks.sync(lsn(4200)), "nothing is durable before it is written");
        assert!(marks.write(lsn(4200)));
        assert!(marks.sync(lsn(4160)));
        assert!(!marks.sync(lsn(4120)), "what is durable stays durable");
        let expected = Positions { durable: lsn(4160), written: lsn(4200), reserved: lsn(4200) };
        assert_eq!(marks.positions(), expected);
    }

    #[test]
    fn a_position_is_reached_level_by_level() {
        let marks = Watermarks::new(lsn(4096), lsn(4096));
        marks.reserve(lsn(4128));
        assert!(marks.reached(lsn(4128), Durability::Ordered));
        assert!(!marks.reached(lsn(4128), Durability::Written));
        assert!(marks.write(lsn(4128)));
        assert!(marks.reached(lsn(4128), Durability::Written));
        assert!(!marks.reached(lsn(4128), Durability::Durable));
        assert_eq!(marks.positions().at(Durability::Durable), lsn(4096));
    }
}
