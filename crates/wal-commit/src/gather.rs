//! A leader lets others join its flush before it takes the buffer.
//!
//! It yields and never sleeps, and holds no lock meanwhile; how long is for the policy to say.
//! Whether others come decides only who shares which sync.

use std::time::{Duration, Instant};

use crate::config::SyncPolicy;
use crate::shared::{Guard, Shared, State};
use crate::sync::{FIXED, yield_now};

impl Shared {
    /// Lets others run before the buffer is taken, as the policy says. A lone committer never
    /// waits.
    pub(crate) fn gather<'a>(&'a self, state: Guard<'a>) -> Guard<'a> {
        let sync = state.usual_sync;
        match self.config.policy {
            // Those who were answered last time come back within microseconds and join this flush.
            SyncPolicy::Group => self.gather_those_answered(state, sync),
            SyncPolicy::SquareRoot { wait_cost_percent } => {
                // A model has no clock, and so no rate: two, that one may wait for another.
                let measured = state.arrivals.batch(sync, wait_cost_percent);
                let batch = if FIXED { 2 } else { measured };
                let missing = batch.saturating_sub(state.group.gathered());
                let measured = state.arrivals.window(sync, missing);
                let window = if FIXED { Duration::ZERO } else { measured };
                self.gather_until(state, window, |state| state.group.gathered() >= batch)
            }
            _ => state,
        }
    }

    fn gather_those_answered<'a>(&'a self, state: Guard<'a>, sync: Duration) -> Guard<'a> {
        let missing = state.group.missing();
        if missing == 0 {
            return state;
        }
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
        state
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
