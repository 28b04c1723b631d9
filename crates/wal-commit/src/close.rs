//! The last flush: pending records, padding to 4096 (rule 13), a sync.

use wal_format::layout::BLOCK_BYTES;
use wal_format::{Lsn, LsnRange};

use crate::config::Durability;
use crate::driver::Flight;
use crate::error::CommitError;
use crate::group::Want;
use crate::padding::write_padding;
use crate::poison::PoisonCause;
use crate::shared::{Phase, Shared, push_all};
use crate::signal::Signal;
use crate::waiting::Limit;
use crate::wake::Wakes;

impl Shared {
    /// Refuses appends from now on and tells the helper threads to stop.
    pub(crate) fn begin_close(&self) -> Result<(), CommitError> {
        self.check_process()?;
        let mut wakes = Wakes::default();
        let mut state = self.lock();
        if state.phase != Phase::Open {
            let cause = state.poison.clone();
            return Err(cause.map_or(CommitError::Closed, CommitError::refused));
        }
        state.phase = Phase::Closing;
        state.stop = true;
        let refused = Signal::Failed(CommitError::Closed);
        push_all(&mut wakes, state.group.waiting_for(Want::Room), &refused);
        self.serve.ring(&state);
        self.prepare.ring(&state);
        drop(state);
        self.deliver(wakes);
        Ok(())
    }

    /// Writes everything and a last padding record, and syncs. Returns the end of the log.
    ///
    /// The helper threads have returned. Nothing is left running when this returns well: flushes in
    /// flight are, and a preparation under way in an append is, waited for. A flush may outlast the
    /// close of a poisoned log; whoever is in it lets the files go (rule 15).
    pub(crate) fn finish_close(&self) -> Result<Lsn, CommitError> {
        let mut state = self.lock();
        while state.preparing {
            // Whether it succeeds does not matter any more.
            drop(self.sleep(state, Want::Segment, false, Limit::None));
            state = self.lock();
        }
        let state = self.take_baton(state)?;
        let mut flight = Flight::begin(self, state, Durability::Durable, None)?;
        let outcome = self.write_last(&mut flight);
        flight.land(outcome)?;
        Ok(self.marks.positions().reserved)
    }

    fn write_last(&self, flight: &mut Flight<'_>) -> Result<(), PoisonCause> {
        flight.write_pending()?;
        if let Some(padding) = self.reserve_last()? {
            write_padding(flight.sink()?, &self.seed, self.claim(), padding)?;
            flight.publish_written(padding.end)?;
        }
        if self.promises { flight.sync() } else { Ok(()) }
    }

    /// The addresses of the last padding record, so that a direct opening can follow.
    fn reserve_last(&self) -> Result<Option<LsnRange>, PoisonCause> {
        let mut state = self.lock();
        if let Some(cause) = &state.poison {
            return Err(cause.clone());
        }
        let Some(padding) = state.cursor.block_padding(BLOCK_BYTES as u64) else {
            return Ok(None);
        };
        state.cursor.advance(padding.end);
        if !state.parts.jump(padding.end) {
            return Err(PoisonCause::invariant("nothing is appended while the log is closed"));
        }
        self.marks.reserve(padding.end);
        state.stats.count_padding(padding.bytes());
        Ok(Some(padding))
    }
}
