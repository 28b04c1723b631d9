//! Which slots a flush takes, and how it gives them back.

use smallvec::SmallVec;
use wal_io::LogSink;

use crate::config::Durability;
use crate::runway::{SlotSet, slot_set};
use crate::shared::State;

/// A slot in use: its number and its sink.
pub(crate) type Slot = (usize, Box<dyn LogSink>);

/// The slots of one flush: nearly always one.
pub(crate) type Slots = SmallVec<[Slot; 1]>;

impl State {
    /// Those that nobody uses.
    pub(crate) fn idle_slots(&self) -> SlotSet {
        let idle = self.sinks.iter().enumerate().filter(|(_, sink)| sink.is_some());
        idle.fold(0, |slots, (slot, _)| slots | slot_set(slot))
    }

    /// The slots for a flush to `level`: for durability all idle ones that wait for a sync; to
    /// write through, preferably one of those. Whoever is alone takes all.
    pub(crate) fn take_slots(&mut self, level: Durability, pending: bool) -> Slots {
        let (idle, due) = (self.idle_slots(), self.runway.unsynced());
        let due = idle & due;
        let wanted = match level {
            _ if self.group.is_alone() => idle,
            Durability::Durable if due != 0 => {
                // Each slot takes a baton; what is left over is synced by whoever holds that.
                let mut wanted = lowest(due);
                for _ in 0..self.group.take_more(due.count_ones() - 1) {
                    wanted |= lowest(due & !wanted);
                }
                wanted
            }
            _ if !pending => 0,
            _ => lowest(if due != 0 { due } else { idle }),
        };
        let mut slots = Slots::new();
        for (slot, place) in self.sinks.iter_mut().enumerate() {
            if wanted & slot_set(slot) != 0
                && let Some(sink) = place.take()
            {
                slots.push((slot, sink));
            }
        }
        slots
    }

    /// Puts the sinks of a flight back.
    pub(crate) fn give_back(&mut self, slots: &mut Slots) {
        while let Some((slot, sink)) = slots.pop() {
            if let Some(place) = self.sinks.get_mut(slot) {
                *place = Some(sink);
            }
        }
    }
}

/// The first of `slots`, or none of none.
const fn lowest(slots: SlotSet) -> SlotSet {
    slots & slots.wrapping_neg()
}
