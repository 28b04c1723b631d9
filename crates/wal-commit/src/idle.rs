//! The one watermark record of an idle log (rule 10), and when to write it.
//!
//! The records of the last group cannot say that they are durable themselves: the window that no
//! evidence covers. Once nothing happens any more, one record that says so is written, and not
//! synced. It claims everything before it, so nothing is left to claim, and none follows.

use wal_format::{Lsn, RecordDraft, RecordKind};

use crate::config::Durability;
use crate::driver::Flight;
use crate::error::CommitError;
use crate::poison::PoisonCause;
use crate::reserve::{fits, step};
use crate::shared::{Phase, Shared, State};
use crate::wake::Wakes;
use crate::watermark::Positions;

/// Whether a watermark record would prove something that no record in the log proves yet.
pub(crate) fn would_prove(positions: &Positions, data_end: Lsn, claimed: Lsn) -> bool {
    positions.durable == positions.reserved && claimed < data_end
}

/// What the serving thread makes of one tick of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Something happened since the last one.
    Busy,
    /// Nothing happened: write the watermark if it proves anything.
    Idle,
    /// Nothing happened for so long that ticking makes no sense: sleep until told.
    Hibernate,
}

/// Tells an idle log from a busy one, by its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdleClock {
    seen: Lsn,
    idle_ticks: u32,
}

impl IdleClock {
    /// Ticks without any append before the thread sleeps for good.
    const HIBERNATE_TICKS: u32 = 60;

    /// The clock ticked while the log ended at `end`.
    pub(crate) fn tick(&mut self, end: Lsn) -> Tick {
        if std::mem::replace(&mut self.seen, end) != end {
            self.idle_ticks = 0;
            return Tick::Busy;
        }
        self.idle_ticks = self.idle_ticks.saturating_add(1);
        if self.idle_ticks < Self::HIBERNATE_TICKS { Tick::Idle } else { Tick::Hibernate }
    }
}

impl Shared {
    /// Writes the watermark record of an idle log, unless it proves nothing or the log is busy.
    ///
    /// Returns its address when one was written. It is written, not synced.
    pub(crate) fn mark_idle(&self) -> Result<Option<Lsn>, CommitError> {
        let mut state = self.lock();
        state.waitable()?;
        let positions = self.marks.positions();
        if state.phase != Phase::Open
            || !self.promises
            || self.earmarks.is_tight()
            || !would_prove(&positions, state.data_end, state.claimed)
            || !state.group.take_alone()
        {
            return Ok(None);
        }
        let placed = self.place_watermark(&mut state);
        let lsn = match placed {
            Ok(Some(lsn)) => lsn,
            other => {
                let mut wakes = Wakes::default();
                if let Err(cause) = &other {
                    self.poison_locked(&mut state, cause.clone(), &mut wakes);
                }
                self.release_batons(&mut state, 1, 0, &mut wakes);
                drop(state);
                self.deliver(wakes);
                return other.map_err(CommitError::in_doubt);
            }
        };
        let mut flight = Flight::begin(self, state, Durability::Written, None)?;
        let written = flight.write_pending();
        flight.land(written).map(|()| Some(lsn))
    }

    /// Puts the record into the buffer; `None` when it does not fit into the active segment: a
    /// watermark is not worth a rotation.
    fn place_watermark(&self, state: &mut State) -> Result<Option<Lsn>, PoisonCause> {
        let broken = || PoisonCause::invariant("a watermark fits into an empty buffer");
        let draft = RecordDraft::new(RecordKind::WATERMARK, &[]);
        let bytes = draft.encoded_bytes();
        if !fits(state.cursor.left(), bytes as u64) || !state.parts.is_empty() {
            return Ok(None);
        }
        let (lsn, claim) = (state.cursor.end(), self.claim());
        let space = state.parts.extend(bytes).ok_or_else(broken)?;
        draft.encode_into(&self.seed, lsn, claim, space).map_err(|_| broken())?;
        state.cursor.advance(step(lsn, bytes as u64));
        self.marks.reserve(state.cursor.end());
        state.note_claim(lsn, claim);
        state.stats.watermarks += 1;
        Ok(Some(lsn))
    }

    /// Where a periodic sync should bring the log: `None` when only housekeeping is not durable.
    pub(crate) fn periodic_target(&self, state: &State) -> Option<Lsn> {
        let due = !self.marks.reached(state.data_end, Durability::Durable);
        (due && self.promises && state.poison.is_none()).then(|| state.cursor.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    #[test]
    fn a_watermark_is_worth_it_only_when_all_is_durable_and_nobody_said_so() {
        let at = |durable| Positions { durable, written: lsn(80), reserved: lsn(80) };
        assert!(would_prove(&at(lsn(80)), lsn(80), lsn(40)));
        assert!(!would_prove(&at(lsn(40)), lsn(80), lsn(40)), "more is on its way");
        assert!(!would_prove(&at(lsn(80)), lsn(56), lsn(56)), "a watermark said so already");
    }

    #[test]
    fn a_log_that_stays_idle_lets_its_thread_sleep() {
        let mut clock = IdleClock::default();
        assert_eq!(clock.tick(lsn(80)), Tick::Busy);
        for _ in 1..IdleClock::HIBERNATE_TICKS {
            assert_eq!(clock.tick(lsn(80)), Tick::Idle);
        }
        assert_eq!(clock.tick(lsn(80)), Tick::Hibernate);
        assert_eq!(clock.tick(lsn(88)), Tick::Busy, "and wakes up again");
    }
}
