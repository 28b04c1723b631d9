//! What an append looks at before it puts a record where the log ends with half of the lock.
//!
//! Whether the log takes records, has room for them in its buffer and in its segment, wants a
//! segment made, or enough waits to be written out: all that changes only while somebody holds the
//! whole lock of the state, but for the baton, which an append may take with half of it. So whoever
//! gives the lock back, or takes the baton so, says up to where the log may grow until any of it matters,
//! and an append that stays below looks at that alone.

use wal_format::Lsn;

use crate::clearance::{Clearance, Device};
use crate::shared::{Phase, State};
use crate::state_lock::Settle;

impl Settle for State {
    fn settle(&mut self) {
        self.clearance = self.cleared();
    }
}

impl State {
    /// An append of so many bytes would find nothing to decide.
    #[inline]
    pub(crate) fn is_clear(&self, bytes: usize) -> bool {
        let end = self.cursor.end().get().saturating_add(bytes as u64);
        let told = self.clearance;
        debug_assert!(told == Clearance::NONE || told == self.cleared(), "nothing has changed");
        told.covers(end)
    }

    /// A record that ends there is to have its checksum at once.
    #[inline]
    pub(crate) fn finishes(&self, end: Lsn) -> bool {
        self.clearance.finishes(end.get())
    }

    /// Takes the baton for what waits to be written, if that is enough and nobody has one. To take it
    /// tells nobody, so half of the lock suffices; and who comes next sees that it is taken.
    #[inline]
    pub(crate) fn takes_what_waits(&mut self) -> bool {
        let takes = self.clearance.writes(self.cursor.end().get()) && self.group.take();
        if takes {
            self.settle();
        }
        takes
    }

    fn cleared(&self) -> Clearance {
        let usual = self.poison.is_none()
            && self.phase == Phase::Open
            && !self.exclusive
            && !self.hibernating
            && self.timestamps.is_none();
        if !usual || self.parts.end() != self.cursor.end() {
            return Clearance::NONE;
        }
        let device = match (self.group.is_busy(), self.group.is_idle()) {
            (true, _) => Device::Busy,
            // Where several may be had, somebody else could take what waits before its taker does.
            (false, true) if self.group.flights() == 1 => Device::Idle,
            (false, _) => Device::Shared,
        };
        let ahead = self.prepares_ahead && !self.preparing && self.prepare_failed.is_none();
        let room = self.parts.end_with(self.parts.usable());
        let limit = room.min(self.cursor.undecided_to(ahead));
        Clearance::new(device, limit, self.parts.end_with(self.write_out_bytes))
    }
}
