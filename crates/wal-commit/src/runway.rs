//! Which flushes are under way, and how far that makes the log written and durable. Pure.
//!
//! Flushes begin in the order of their addresses and end in any order. Each goes through a **slot**,
//! with open files of its own (rule 6); a slot is used by one flush at a time. What a flush wrote
//! without a sync is made durable by a later sync through the same slot. Written is the log up to
//! the first bytes still in the air, durable up to the first which no sync has covered: what comes
//! behind a hole is acknowledged with the hole.

use smallvec::SmallVec;
use wal_format::Lsn;

/// A set of slots, a bit each.
pub(crate) type SlotSet = u32;

/// The set that holds `slot` alone.
pub(crate) const fn slot_set(slot: usize) -> SlotSet {
    1 << slot
}

/// Names a run of bytes until they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LegId(u64);

/// A run of bytes between two neighbours: being written, or written and not synced.
#[derive(Debug)]
struct Leg {
    id: LegId,
    end: Lsn,
    in_the_air: bool,
    /// Slots whose sync it still needs, once it is written.
    unsynced: SlotSet,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Runway {
    /// In order of address. They are few, and come and go at the ends: at each flush, of a lone committer,
    /// in the same place.
    legs: SmallVec<[Leg; 2]>,
    durable: Lsn,
    next_id: u64,
}

impl Runway {
    /// Slots that there can be.
    pub(crate) const SLOTS_MAX: usize = 8;

    /// A log that was opened with everything before `end` written, and `durable` known to be so;
    /// what lies between waits for the first sync.
    pub(crate) fn new(end: Lsn, durable: Lsn) -> Self {
        let mut runway = Self { legs: SmallVec::new(), durable, next_id: 0 };
        if durable < end {
            let leg = runway.launch(end);
            runway.wrote(leg, 0);
        }
        runway
    }

    /// A flush of the bytes up to `end` begins.
    pub(crate) fn launch(&mut self, end: Lsn) -> LegId {
        let id = LegId(self.next_id);
        self.next_id += 1;
        self.legs.push(Leg { id, end, in_the_air: true, unsynced: 0 });
        id
    }

    /// The bytes of a leg were written through `slot`.
    pub(crate) fn wrote(&mut self, id: LegId, slot: usize) {
        let Some(index) = self.legs.iter().position(|leg| leg.id == id) else { return };
        if let Some(leg) = self.legs.get_mut(index) {
            leg.in_the_air = false;
            leg.unsynced = slot_set(slot);
        }
        self.merge(index);
        if let Some(before) = index.checked_sub(1) {
            self.merge(before);
        }
    }

    /// Makes the leg at `index` and the next one into one, if the same sync covers them; a log that
    /// never syncs keeps no list, so beyond a length any neighbours that are written become one.
    fn merge(&mut self, index: usize) {
        let (Some(one), Some(next)) = (self.legs.get(index), self.legs.get(index + 1)) else {
            return;
        };
        let alike = one.unsynced == next.unsynced || self.legs.len() > 2 * Self::SLOTS_MAX;
        if one.in_the_air || next.in_the_air || !alike {
            return;
        }
        let earlier = self.legs.remove(index);
        if let Some(later) = self.legs.get_mut(index) {
            later.unsynced |= earlier.unsynced;
        }
    }

    /// A sync through each of `slots` returned success: it covers what was written through them.
    pub(crate) fn synced(&mut self, slots: SlotSet) {
        for leg in self.legs.iter_mut().filter(|leg| !leg.in_the_air) {
            leg.unsynced &= !slots;
        }
        while let Some(leg) = self.legs.first()
            && !leg.in_the_air
            && leg.unsynced == 0
        {
            self.durable = leg.end;
            self.legs.remove(0);
        }
    }

    /// The end of what is written.
    pub(crate) fn written(&self) -> Lsn {
        let written = self.legs.iter().take_while(|leg| !leg.in_the_air);
        written.last().map_or(self.durable, |leg| leg.end)
    }

    /// The end of what is durable, of that which was flushed since the log was opened.
    pub(crate) const fn durable(&self) -> Lsn {
        self.durable
    }

    /// Slots through which something was written that is not synced.
    pub(crate) fn unsynced(&self) -> SlotSet {
        self.legs.iter().fold(0, |slots, leg| slots | leg.unsynced)
    }
}

/// Up to where each flight under way will answer those who wait.
#[derive(Debug, Default)]
pub(crate) struct Answers(SmallVec<[Lsn; 1]>);

impl Answers {
    /// Room for as many flights as there are slots.
    pub(crate) fn of_slots(slots: usize) -> Self {
        Self(SmallVec::with_capacity(slots))
    }

    /// A flight that answers up to `end` begins.
    pub(crate) fn begin(&mut self, end: Lsn) {
        self.0.push(end);
    }

    /// One such flight has landed; another one may still answer up to the same.
    pub(crate) fn end(&mut self, end: Lsn) {
        if let Some(index) = self.0.iter().position(|other| *other == end) {
            self.0.swap_remove(index);
        }
    }

    /// Where the furthest of them ends.
    pub(crate) fn furthest(&self) -> Lsn {
        self.0.iter().copied().max().unwrap_or(Lsn::NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    fn ends(runway: &Runway) -> (u64, u64) {
        (runway.durable().get(), runway.written().get())
    }

    #[test]
    fn what_lies_behind_a_hole_counts_when_the_hole_is_closed() {
        let mut runway = Runway::new(lsn(4096), lsn(4096));
        let (first, second) = (runway.launch(lsn(4200)), runway.launch(lsn(4304)));
        runway.wrote(second, 1);
        runway.synced(slot_set(1));
        assert_eq!(ends(&runway), (4096, 4096), "the first is in the air");
        runway.wrote(first, 0);
        assert_eq!(ends(&runway), (4096, 4304));
        runway.synced(slot_set(0));
        assert_eq!(ends(&runway), (4304, 4304));
        assert_eq!(runway.unsynced(), 0);
    }

    #[test]
    fn a_sync_covers_what_its_own_slot_wrote() {
        let mut runway = Runway::new(lsn(4096), lsn(4096));
        let (first, second) = (runway.launch(lsn(4200)), runway.launch(lsn(4304)));
        runway.wrote(first, 0);
        runway.wrote(second, 1);
        runway.synced(slot_set(1));
        assert_eq!((ends(&runway), runway.unsynced()), ((4096, 4304), slot_set(0)));
        runway.synced(slot_set(0));
        assert_eq!(ends(&runway), (4304, 4304));
    }

    #[test]
    fn a_sync_does_not_cover_what_is_in_the_air() {
        let mut runway = Runway::new(lsn(4096), lsn(4096));
        let first = runway.launch(lsn(4200));
        runway.synced(slot_set(0));
        assert_eq!(ends(&runway), (4096, 4096));
        runway.wrote(first, 0);
        assert_eq!(ends(&runway), (4096, 4200), "written after that sync");
        runway.synced(slot_set(0));
        assert_eq!(ends(&runway), (4200, 4200));
    }

    #[test]
    fn a_log_that_never_syncs_keeps_no_list() {
        let mut runway = Runway::new(lsn(4096), lsn(4096));
        for round in 1..1000 {
            let leg = runway.launch(lsn(4096 + 8 * round));
            runway.wrote(leg, (round % 3) as usize);
            assert!(runway.legs.len() <= 2 * Runway::SLOTS_MAX);
        }
        runway.synced(0b111);
        assert_eq!(ends(&runway), (4096 + 8 * 999, 4096 + 8 * 999));
    }

    /// Every order in which three flushes can write and sync, against what is true.
    #[test]
    fn no_order_of_events_promises_what_is_not_there() {
        for order in 0..3_usize.pow(6) {
            let mut runway = Runway::new(lsn(4096), lsn(4096));
            let legs: Vec<_> = (1..=3).map(|n| runway.launch(lsn(4096 + 8 * n))).collect();
            let mut steps = [0; 3];
            let mut rest = order;
            for _ in 0..6 {
                let (leg, next) = (rest % 3, rest / 3);
                rest = next;
                match steps[leg] {
                    0 => runway.wrote(legs[leg], leg),
                    1 => runway.synced(slot_set(leg)),
                    _ => continue,
                }
                steps[leg] += 1;
                let upto =
                    |level| 4096 + 8 * steps.iter().take_while(|s| **s >= level).count() as u64;
                assert_eq!(ends(&runway), (upto(2), upto(1)), "{order}: {steps:?}");
            }
        }
    }

    #[test]
    fn a_flight_that_found_nothing_to_do_takes_no_answer_of_another_away() {
        let mut answers = Answers::of_slots(2);
        answers.begin(lsn(4200));
        answers.begin(lsn(4200));
        answers.end(lsn(4200));
        assert_eq!(answers.furthest(), lsn(4200));
        answers.end(lsn(4200));
        assert_eq!(answers.furthest(), Lsn::NONE);
    }
}
