//! The one watermark record of an idle log (rule 10), and when to write it.
//!
//! The records of the last group cannot say that they are durable themselves: the window that no
//! evidence covers. Once nothing happens any more, one record that says so is written, and not
//! synced. It claims everything before it, so nothing is left to claim, and none follows: the thread
//! that wrote it sleeps until something happens.

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
    /// Nothing happened: write the watermark if it proves anything, and sleep until told.
    Idle,
}

/// Tells an idle log from a busy one, by the end of what was appended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdleClock {
    seen: Lsn,
}

impl IdleClock {
    /// The clock ticked while what was appended ended at `data_end`.
    pub(crate) fn tick(&mut self, data_end: Lsn) -> Tick {
        let before = std::mem::replace(&mut self.seen, data_end);
        if before == data_end { Tick::Idle } else { Tick::Busy }
    }
}

const fn mark() -> RecordDraft<'static> {
    RecordDraft::new(RecordKind::WATERMARK, &[])
}

impl Shared {
    /// Writes the watermark record of an idle log, unless it proves nothing or the log is busy.
    ///
    /// Returns its address when one was written. It is written, not synced.
    pub(crate) fn mark_idle(&self) -> Result<Option<Lsn>, CommitError> {
        let mut state = self.lock();
        state.waitable()?;
        if !self.mark_is_due(&state) || !state.group.take_alone() {
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

    /// Whether a watermark is to be written as soon as nobody uses the device.
    pub(crate) fn mark_is_due(&self, state: &State) -> bool {
        state.phase == Phase::Open
            && state.poison.is_none()
            && self.promises
            && !self.earmarks.is_tight()
            // It is not worth a rotation.
            && fits(state.cursor.left(), mark().encoded_bytes() as u64)
            && would_prove(&self.marks.positions(), state.data_end, state.claimed)
    }

    /// Puts the record into the buffer; `None` when there is something else in it.
    fn place_watermark(&self, state: &mut State) -> Result<Option<Lsn>, PoisonCause> {
        let broken = || PoisonCause::invariant("a watermark fits into an empty buffer");
        if !state.parts.is_empty() {
            return Ok(None);
        }
        let draft = mark();
        let bytes = draft.encoded_bytes();
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
    fn a_log_is_idle_when_nothing_was_appended_between_two_ticks() {
        let mut clock = IdleClock::default();
        assert_eq!(clock.tick(lsn(80)), Tick::Busy);
        assert_eq!(clock.tick(lsn(80)), Tick::Idle);
        assert_eq!(clock.tick(lsn(88)), Tick::Busy);
        assert_eq!(clock.tick(lsn(88)), Tick::Idle);
    }
}
