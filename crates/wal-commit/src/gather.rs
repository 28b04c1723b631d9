//! A leader lets others join its flush before it takes the buffer.
//!
//! It yields and never sleeps, and holds no lock meanwhile; how long is for the policy to say.
//! Whether others come decides only who shares which sync.

use std::time::{Duration, Instant};

use wal_format::Lsn;

use crate::config::{Durability, SyncPolicy};
use crate::error::CommitError;
use crate::shared::{Guard, Shared, State};
use crate::sync::{FIXED, yield_now};

impl Shared {
    /// Lets others run before the buffer is taken, as the policy says, for a leader that
    /// `waits_for` the end of its commit, if it has one. A lone committer never waits. `None`:
    /// somebody else has taken the baton over, and leads.
    pub(crate) fn gather<'a>(
        &'a self,
        state: Guard<'a>,
        waits_for: Option<Lsn>,
    ) -> Option<Guard<'a>> {
        let sync = state.usual_sync;
        match self.config.policy {
            // Those who were answered last time come back within microseconds and join this flush.
            SyncPolicy::Group => self.gather_those_answered(state, sync, waits_for),
            SyncPolicy::SquareRoot { wait_cost_percent } => {
                // A model has no clock, and so no rate: two, that one may wait for another.
                let measured = state.arrivals.batch(sync, wait_cost_percent);
                let batch = if FIXED { 2 } else { measured };
                let missing = batch.saturating_sub(state.group.gathered());
                let measured = state.arrivals.window(sync, missing);
                let window = if FIXED { Duration::ZERO } else { measured };
                Some(self.gather_until(state, window, |state| state.group.gathered() >= batch))
            }
            _ => Some(state),
        }
    }

    fn gather_those_answered<'a>(
        &'a self,
        mut state: Guard<'a>,
        sync: Duration,
        waits_for: Option<Lsn>,
    ) -> Option<Guard<'a>> {
        let missing = state.group.missing();
        if missing == 0 {
            return Some(state);
        }
        let offer = state.group.offer.make(waits_for);
        let window = state.gathering.window(sync, state.group.about());
        let enough = self.joined.get() + missing;
        drop(state);
        // Counted without the lock: whoever comes back needs it.
        let begun = Instant::now();
        let in_time = loop {
            yield_now();
            if self.joined.get() >= enough {
                break true;
            }
            if begun.elapsed() >= window {
                break false;
            }
        };
        let mut state = self.lock();
        state.gathering.learn(in_time);
        offer.is_none_or(|offer| state.group.offer.keep(offer)).then_some(state)
    }

    /// Whether this committer leads in place of one that gathers. A forked child has a copy of that
    /// one's offer, and of all that it must not write.
    pub(crate) fn takes_over(
        &self,
        state: &mut Guard<'_>,
        level: Durability,
    ) -> Result<bool, CommitError> {
        if level != Durability::Durable || !state.group.offer.stands() {
            return Ok(false);
        }
        self.check_process()?;
        Ok(state.group.take_over())
    }

    fn gather_until<'a>(
        &'a self,
        mut state: Guard<'a>,
        window: Duration,
        enough: impl Fn(&State) -> bool,
    ) -> Guard<'a> {
        if enough(&state) {
            return state;
        }
        let begun = Instant::now();
        loop {
            drop(state);
            yield_now();
            state = self.lock();
            if enough(&state) || begun.elapsed() >= window {
                return state;
            }
        }
    }
}
