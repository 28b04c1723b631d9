//! The effects around [`Group`](crate::group::Group): writes, syncs, and who is told.
//!
//! A flight is one turn with the baton and the sink. It ends in [`Flight::land`], or, when
//! something panics, in its drop, which poisons. Nothing is ever retried: after a failed write or
//! sync nobody knows what is on the device, and the kernel may call clean what it lost.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use wal_format::Lsn;
use wal_io::LogSink;

use crate::buffer::Half;
use crate::config::Durability;
use crate::error::CommitError;
use crate::group::Want;
use crate::poison::PoisonCause;
use crate::shared::{Guard, Phase, Shared, State, push_all};
use crate::signal::Signal;
use crate::sync::yield_now;
use crate::waiting::{Limit, Woken};
use crate::wake::Wakes;

impl Shared {
    /// Waits until everything before `end` has reached `level`; leads a flush if need be.
    pub(crate) fn wait(
        &self,
        end: Lsn,
        level: Durability,
        limit: Limit,
    ) -> Result<(), CommitError> {
        if self.marks.reached(end, level) {
            return Ok(());
        }
        if level == Durability::Durable && !self.promises {
            return Err(CommitError::NotPromised);
        }
        let mut state = self.lock();
        // Looked at again under the lock, for it may have changed since.
        if self.marks.reached(end, level) {
            return Ok(());
        }
        state.waitable()?;
        let reserved = state.cursor.end();
        if end > reserved {
            return Err(CommitError::BeyondEnd { end, reserved });
        }
        if limit == Limit::Now {
            return Err(CommitError::TimedOut);
        }
        // A sync cannot be interrupted, so whoever has a deadline lets the helper lead.
        let leads = limit == Limit::None || !self.has_helpers();
        if !(leads && state.group.take()) {
            match self.sleep(state, Want::Reach { end, level }, leads, limit)? {
                Woken::Met => return Ok(()),
                // Another flush was quicker.
                Woken::Lead if self.marks.reached(end, level) => {
                    self.hand_on();
                    return Ok(());
                }
                Woken::Lead => state = self.lock(),
            }
        }
        state.stats.waits_led += 1;
        match self.lead(state, level, 1) {
            // What was published before the log was poisoned was true, and stays so.
            Err(_) if self.marks.reached(end, level) => Ok(()),
            outcome => outcome,
        }
    }

    /// Takes the baton, waiting for it if need be.
    pub(crate) fn take_baton<'a>(&'a self, mut state: Guard<'a>) -> Result<Guard<'a>, CommitError> {
        if state.group.take() {
            return Ok(state);
        }
        self.sleep(state, Want::Baton, true, Limit::None)?;
        Ok(self.lock())
    }

    /// Flushes everything pending, with the baton in hand, and puts it down or hands it on.
    ///
    /// `commits` is 1 for a committer, 0 for somebody who only needs room.
    pub(crate) fn lead(
        &self,
        state: Guard<'_>,
        level: Durability,
        commits: u64,
    ) -> Result<(), CommitError> {
        let state = self.gather(state);
        let mut flight = Flight::begin(self, state, commits)?;
        let outcome = flight.write_pending().and_then(|()| match level {
            Durability::Durable => flight.sync(),
            Durability::Ordered | Durability::Written => Ok(()),
        });
        let landed = flight.land(outcome);
        if !self.has_helpers() {
            self.prepare_ahead();
        }
        landed
    }

    /// Lets others run before the buffer is taken, until those who were answered last time are
    /// back or a fraction of a sync has passed: they come back within microseconds and join this
    /// flush. A lone committer never waits.
    fn gather<'a>(&'a self, mut state: Guard<'a>) -> Guard<'a> {
        if !self.config.policy.gathers() || state.group.missing() == 0 {
            return state;
        }
        let begun = Instant::now();
        let window = state.usual_sync / GATHER_PART;
        loop {
            drop(state);
            yield_now();
            state = self.lock();
            if state.group.missing() == 0 || begun.elapsed() >= window {
                return state;
            }
        }
    }
}

/// A leader gathers for at most this part of what a sync usually takes.
const GATHER_PART: u32 = 4;

/// A sync that returned success, and is not published yet.
struct Synced {
    end: Lsn,
    took: Duration,
}

/// What a sync usually takes, once one more `took` so long: one that was much longer counts little.
fn usual(before: Duration, took: Duration) -> Duration {
    if before.is_zero() {
        return took;
    }
    (before * 7 + took.min(before * 4)) / 8
}

/// One turn with the baton: the sink and the bytes to write.
pub(crate) struct Flight<'a> {
    shared: &'a Shared,
    sink: Option<Box<dyn LogSink>>,
    half: Option<Half>,
    /// What the landing publishes.
    synced: Option<Synced>,
    /// Committers answered so far.
    commits: u64,
    /// Foreign code to run after the landing: it may use the log, and so need the baton.
    later: Wakes,
    landed: bool,
}

impl<'a> Flight<'a> {
    /// Takes the sink and everything pending. The caller holds the baton, and has lost it when
    /// this fails.
    pub(crate) fn begin(
        shared: &'a Shared,
        mut state: Guard<'a>,
        commits: u64,
    ) -> Result<Self, CommitError> {
        let mut wakes = Wakes::default();
        let taken = Self::take(shared, &mut state, &mut wakes);
        if taken.is_err() {
            shared.release_baton(&mut state, 0, &mut wakes);
        }
        drop(state);
        let flight = taken.map(|(sink, half)| {
            let later = Wakes::default();
            Self { shared, sink: Some(sink), half, synced: None, commits, later, landed: false }
        });
        shared.deliver(wakes);
        flight
    }

    /// What a flight needs, out of the state.
    fn take(
        shared: &Shared,
        state: &mut State,
        wakes: &mut Wakes,
    ) -> Result<(Box<dyn LogSink>, Option<Half>), CommitError> {
        state.waitable()?;
        if !state.exclusive {
            state.group.seal(state.cursor.end());
        }
        let mut broken = |state: &mut State, cause: PoisonCause| {
            shared.poison_locked(state, cause.clone(), wakes);
            CommitError::in_doubt(cause)
        };
        if state.halves.is_empty() {
            let sink = state.sink.take();
            let cause = PoisonCause::invariant("the baton comes with the sink");
            return sink.map(|sink| (sink, None)).ok_or_else(|| broken(state, cause));
        }
        // Each flush of a direct backend ends on a block boundary: no two share a block.
        if shared.block_bytes > 1
            && let Some(range) = state.cursor.block_padding(shared.block_bytes)
        {
            shared.pad(state, range).map_err(|cause| broken(state, cause))?;
        }
        let cause = PoisonCause::invariant("the baton comes with the sink and a half");
        let (Some(half), Some(sink)) = (state.halves.take(), state.sink.take()) else {
            return Err(broken(state, cause));
        };
        state.stats.flushes += 1;
        if !state.exclusive {
            push_all(wakes, state.group.waiting_for(Want::Room), &Signal::Met);
        }
        Ok((sink, Some(half)))
    }

    /// The sink, for bytes which do not pass through the buffer.
    pub(crate) fn sink(&mut self) -> Result<&mut dyn LogSink, PoisonCause> {
        match &mut self.sink {
            Some(sink) => Ok(&mut **sink),
            None => Err(PoisonCause::invariant("a flight has the sink until it lands")),
        }
    }

    /// Writes what was pending when the flight began, and publishes it.
    pub(crate) fn write_pending(&mut self) -> Result<(), PoisonCause> {
        let Some(half) = self.half.take() else {
            return Ok(());
        };
        let range = half.range();
        let written = self.sink().and_then(|sink| {
            sink.write(range.start, &[IoSlice::new(half.bytes())]).map_err(PoisonCause::write)
        });
        self.half = Some(half);
        written?;
        self.publish_written(range.end)
    }

    /// Publishes that the backend took everything before `end`.
    pub(crate) fn publish_written(&mut self, end: Lsn) -> Result<(), PoisonCause> {
        self.publish(|shared, _| shared.marks.write(end))
    }

    /// Makes everything written durable, for the landing to publish. One sync, or none when
    /// nothing is new.
    pub(crate) fn sync(&mut self) -> Result<(), PoisonCause> {
        let positions = self.shared.marks.positions();
        if positions.durable == positions.written {
            return Ok(());
        }
        // Nobody else writes during a flight: what is written now is what the sync covers.
        let end = positions.written;
        let started = Instant::now();
        self.sink()?.sync().map_err(PoisonCause::sync)?;
        self.synced = Some(Synced { end, took: started.elapsed() });
        Ok(())
    }

    /// Moves a position on and tells those who waited for it; a poisoned log publishes nothing.
    fn publish(
        &mut self,
        advance: impl FnOnce(&Shared, &mut State) -> bool,
    ) -> Result<(), PoisonCause> {
        let mut wakes = Wakes::default();
        let mut state = self.shared.lock();
        self.advance(&mut state, &mut wakes, advance)?;
        drop(state);
        wakes.tell_threads();
        self.later.absorb(wakes);
        Ok(())
    }

    /// As [`publish`](Self::publish), under the lock; the wake-ups are delivered by the caller.
    fn advance(
        &mut self,
        state: &mut State,
        wakes: &mut Wakes,
        advance: impl FnOnce(&Shared, &mut State) -> bool,
    ) -> Result<(), PoisonCause> {
        if let Some(cause) = &state.poison {
            return Err(cause.clone());
        }
        if !advance(self.shared, state) {
            return Err(PoisonCause::invariant("durable <= written <= reserved"));
        }
        let met = state.group.met(&self.shared.marks.positions());
        state.stats.waits_followed += met.commits;
        self.commits += met.commits;
        wakes.push_gates(met.gates, None);
        push_all(wakes, met.waiters, &Signal::Met);
        Ok(())
    }

    /// Ends the turn: what was synced is published, the buffer and the sink go back, the baton
    /// goes on, a failure poisons. Whoever leads next is told first, and flushes while the others
    /// are told.
    ///
    /// # Errors
    ///
    /// The log is poisoned, by this flight or by somebody else meanwhile.
    pub(crate) fn land(mut self, outcome: Result<(), PoisonCause>) -> Result<(), CommitError> {
        self.put_down(outcome)
    }

    fn put_down(&mut self, outcome: Result<(), PoisonCause>) -> Result<(), CommitError> {
        self.landed = true;
        let mut wakes = Wakes::default();
        let mut state = self.shared.lock();
        let mut slow = None;
        let outcome = outcome.and_then(|()| match self.synced.take() {
            None => Ok(()),
            Some(synced) => self.advance(&mut state, &mut wakes, |shared, state| {
                let limit = shared.config.slow_sync;
                slow = state.stats.count_sync(synced.took, limit).then_some(synced.took);
                state.usual_sync = usual(state.usual_sync, synced.took);
                shared.marks.sync(synced.end)
            }),
        });
        if let Err(cause) = outcome {
            self.shared.poison_locked(&mut state, cause, &mut wakes);
        }
        if let Some(half) = self.half.take() {
            state.halves.give_back(half);
        }
        // Of a log that has ended the last one out lets the sink go, without the lock (rule 15).
        let mut last = self.sink.take();
        if state.phase != Phase::Ended {
            state.sink = last.take();
        }
        let failed = state.poison.clone();
        self.shared.release_baton(&mut state, self.commits, &mut wakes);
        drop(state);
        drop(last);
        wakes.absorb(std::mem::take(&mut self.later));
        self.shared.deliver(wakes);
        if let Some(took) = slow {
            let limit = self.shared.config.slow_sync;
            let durable = self.shared.marks.positions().durable;
            tracing::warn!(?took, ?limit, %durable, "a sync was slow");
        }
        failed.map_or(Ok(()), |cause| Err(CommitError::in_doubt(cause)))
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.landed {
            let cause = PoisonCause::panicked("a write or a sync");
            // The panic goes on; the error says no more than it does.
            drop(self.put_down(Err(cause)));
        }
    }
}
