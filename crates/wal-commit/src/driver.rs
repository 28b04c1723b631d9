//! The effects around [`Group`](crate::group::Group): writes, syncs, and who is told.
//!
//! A flight is one turn with a baton and a slot of the device; several may be under way. It ends in
//! [`Flight::land`], or, when something panics, in its drop, which poisons. Nothing is ever retried:
//! after a failed write or sync nobody knows what is on the device, and the kernel may call clean
//! what it lost.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use wal_format::Lsn;
use wal_io::LogSink;

use crate::buffer::Part;
use crate::config::{Durability, SyncPolicy};
use crate::error::CommitError;
use crate::group::Want;
use crate::meters::{Landing, Meters};
use crate::poison::PoisonCause;
use crate::runway::{LegId, SlotSet, slot_set};
use crate::shared::{Guard, Phase, Shared, State, push_all};
use crate::signal::Signal;
use crate::slots::Slots;
use crate::sync::FIXED;
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
        let mut relieved = false;
        loop {
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
            // Who was relieved is answered, or called, by those who have batons, if anybody has one.
            let could = leads && (!relieved || state.group.is_idle()) && state.work().serves(level);
            let completes = could && self.takes_over(&mut state, level)?;
            if completes {
                // The leader in whose place this one goes on counts those who have come.
                self.joined.count();
            } else if !(could && state.group.take()) {
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
            let led = if completes {
                self.fly(state, level, Some(end)).map(|()| true)
            } else {
                self.lead(state, level, Some(end))
            };
            match led {
                // What was published before the log was poisoned was true, and stays so.
                Err(_) if self.marks.reached(end, level) => return Ok(()),
                Err(error) => return Err(error),
                // Landed, and perhaps before another flush whose bytes come first.
                Ok(led) => relieved = !led,
            }
        }
    }

    /// Flushes everything pending, with a baton in hand, and puts it down or hands it on. Whether it
    /// did: another committer may take the baton over while this one gathers, and do it instead.
    ///
    /// A committer says what it waits for; who only needs room, nothing.
    pub(crate) fn lead(
        &self,
        state: Guard<'_>,
        level: Durability,
        waits_for: Option<Lsn>,
    ) -> Result<bool, CommitError> {
        // Nobody comes back for a write that only makes room.
        let gathers = level == Durability::Durable;
        match if gathers { self.gather(state, waits_for) } else { Some(state) } {
            Some(state) => self.fly(state, level, waits_for).map(|()| true),
            None => Ok(false),
        }
    }

    /// As [`lead`](Self::lead), at once.
    fn fly(
        &self,
        state: Guard<'_>,
        level: Durability,
        waits_for: Option<Lsn>,
    ) -> Result<(), CommitError> {
        let mut flight = Flight::begin(self, state, level, waits_for)?;
        let outcome = match level {
            Durability::Durable => flight.write_and_sync(),
            Durability::Ordered | Durability::Written => flight.write_pending(),
        };
        let landed = flight.land(outcome);
        if !self.has_helpers() {
            self.prepare_ahead();
        }
        landed
    }

    #[cold]
    fn warn_of_a_slow_sync(&self, took: Duration) {
        let limit = self.config.slow_sync;
        let durable = self.marks.positions().durable;
        tracing::warn!(?took, ?limit, %durable, "a sync was slow");
    }
}

/// What a sync usually takes, once one more `took` so long: one that was much longer counts little.
fn usual(before: Duration, took: Duration) -> Duration {
    if before.is_zero() {
        return took;
    }
    (before * 7 + took.min(before * 4)) / 8
}

/// One turn with a baton: the sinks and the bytes to write.
pub(crate) struct Flight<'a> {
    shared: &'a Shared,
    /// Bytes are written through the first; a sync goes through those in `due`.
    slots: Slots,
    due: SlotSet,
    batons: u32,
    part: Option<(Part, LegId)>,
    /// When it took what was pending; `None` when that was nothing.
    begun: Option<Instant>,
    /// Up to where this flight answers, if it is to sync.
    answers: Option<Lsn>,
    /// How long the syncs took which the landing publishes.
    synced: Option<Duration>,
    /// When they were over: one look at the clock is enough for all who ask when.
    ended: Option<Instant>,
    /// What its leader waits for, and up to which level.
    leader: Option<(Lsn, Durability)>,
    /// Committers answered so far.
    commits: u64,
    /// Foreign code to run after the landing: it may use the log, and so need a baton.
    later: Wakes,
    landed: bool,
}

impl<'a> Flight<'a> {
    /// Takes slots and everything pending. The caller holds a baton, and has lost it when this
    /// fails. A flight to [`Durability::Durable`] takes every idle slot that waits for a sync.
    pub(crate) fn begin(
        shared: &'a Shared,
        mut state: Guard<'a>,
        level: Durability,
        waits_for: Option<Lsn>,
    ) -> Result<Self, CommitError> {
        let mut wakes = Wakes::default();
        let alone = state.group.is_alone();
        let taken = Self::take(shared, &mut state, level, &mut wakes);
        if taken.is_err() {
            shared.release_batons(&mut state, 1, 0, &mut wakes);
        }
        drop(state);
        shared.deliver(wakes);
        let (slots, due, part, answers) = taken?;
        let later = Wakes::default();
        let batons = if alone { 1 } else { (slots.len() as u32).max(1) };
        let leader = waits_for.map(|end| (end, level));
        Ok(Self {
            shared,
            slots,
            due,
            batons,
            begun: part.is_some().then(Instant::now),
            part,
            answers,
            synced: None,
            ended: None,
            leader,
            commits: 0,
            later,
            landed: false,
        })
    }

    /// What a flight needs, out of the state.
    #[allow(clippy::type_complexity)]
    fn take(
        shared: &Shared,
        state: &mut Guard<'_>,
        level: Durability,
        wakes: &mut Wakes,
    ) -> Result<(Slots, SlotSet, Option<(Part, LegId)>, Option<Lsn>), CommitError> {
        state.waitable()?;
        let mut broken = |state: &mut Guard<'_>, cause: PoisonCause| {
            shared.poison_locked(state, cause.clone(), wakes);
            CommitError::in_doubt(cause)
        };
        let pending = !state.parts.is_empty();
        if pending {
            shared.pad_flush(state, level).map_err(|cause| broken(state, cause))?;
        }
        let answers = state.seal(level);
        let due = state.runway.unsynced();
        let slots = state.take_slots(level, pending);
        if !pending {
            return Ok((slots, due, None, answers));
        }
        let part = state.parts.take();
        let (Some(part), false) = (part, slots.is_empty()) else {
            let cause = PoisonCause::invariant("a baton comes with a slot and a part");
            return Err(broken(state, cause));
        };
        let leg = state.runway.launch(part.range().end);
        state.stats.flushes += 1;
        if !state.exclusive {
            push_all(wakes, state.group.waiting_for(Want::Room), &Signal::Met);
        }
        Ok((slots, due, Some((part, leg)), answers))
    }

    /// The sink, for bytes which do not pass through the buffer.
    pub(crate) fn sink(&mut self) -> Result<&mut dyn LogSink, PoisonCause> {
        match self.slots.first_mut() {
            Some((_, sink)) => Ok(&mut **sink),
            None => Err(PoisonCause::invariant("a flight has a slot until it lands")),
        }
    }

    /// Writes what was pending when the flight began, and publishes it.
    pub(crate) fn write_pending(&mut self) -> Result<(), PoisonCause> {
        let Some((mut part, leg)) = self.part.take() else {
            return Ok(());
        };
        let range = part.range();
        let finished = part.finished(&self.shared.seed);
        let written = finished.and_then(|bytes| {
            self.sink()?.write(range.start, &[IoSlice::new(bytes)]).map_err(PoisonCause::write)
        });
        self.part = Some((part, leg));
        written?;
        self.publish_leg(Some(leg), range.end)
    }

    /// Writes what was pending, and makes durable what was written through the slots of this flight:
    /// in one call where the sink joins the two and nothing else waits for its sync.
    fn write_and_sync(&mut self) -> Result<(), PoisonCause> {
        if self.joins() {
            return self.write_synced();
        }
        self.write_pending()?;
        self.sync()
    }

    fn write_synced(&mut self) -> Result<(), PoisonCause> {
        let Some((mut part, leg)) = self.part.take() else {
            return Ok(());
        };
        let range = part.range();
        let started = Instant::now();
        let finished = part.finished(&self.shared.seed);
        let synced = finished.and_then(|bytes| {
            self.sink()?.write_sync(range.start, &[IoSlice::new(bytes)]).map_err(PoisonCause::sync)
        });
        let ended = Instant::now();
        self.part = Some((part, leg));
        synced?;
        self.publish_leg(Some(leg), range.end)?;
        (self.synced, self.ended) = (Some(ended - started), Some(ended));
        Ok(())
    }

    fn joins(&self) -> bool {
        self.shared.may_join && self.would_join()
    }

    fn would_join(&self) -> bool {
        match self.slots.as_slice() {
            [(slot, sink)] => {
                self.part.is_some() && self.due & slot_set(*slot) == 0 && sink.joins_sync()
            }
            _ => false,
        }
    }

    /// Publishes that the backend took everything before `end`, of bytes that did not pass through
    /// the buffer. The flight is alone.
    pub(crate) fn publish_written(&mut self, end: Lsn) -> Result<(), PoisonCause> {
        self.publish_leg(None, end)
    }

    fn publish_leg(&mut self, leg: Option<LegId>, end: Lsn) -> Result<(), PoisonCause> {
        let Some(slot) = self.slots.first().map(|(slot, _)| *slot) else { return Ok(()) };
        self.due |= slot_set(slot);
        self.publish(|shared, state| {
            let leg = leg.unwrap_or_else(|| state.runway.launch(end));
            state.runway.wrote(leg, slot);
            shared.marks.write(state.runway.written())
        })
    }

    /// Makes durable what was written through the slots of this flight, for the landing to
    /// publish. One sync, or none when nothing is new.
    pub(crate) fn sync(&mut self) -> Result<(), PoisonCause> {
        let started = Instant::now();
        let mut any = false;
        for (slot, sink) in &mut self.slots {
            if self.due & slot_set(*slot) != 0 {
                sink.sync().map_err(PoisonCause::sync)?;
                any = true;
            }
        }
        if any {
            let ended = Instant::now();
            (self.synced, self.ended) = (Some(ended - started), Some(ended));
        }
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
        let mut wakes = Wakes::default();
        let now = self.ended.unwrap_or_else(Instant::now);
        let mut state = self.shared.lock();
        let (flew, synced) = (self.synced.is_some(), self.synced);
        let flush_time = self.begun.map_or(Duration::ZERO, |begun| now - begun);
        state.stats.flush_time = state.stats.flush_time.saturating_add(flush_time);
        let slow = self.synced.filter(|took| {
            let limit = self.shared.config.slow_sync;
            state.usual_sync = usual(state.usual_sync, *took);
            state.stats.count_sync(*took, limit)
        });
        let outcome = outcome.and_then(|()| self.publish_synced(&mut state, &mut wakes));
        if let Err(cause) = outcome {
            self.shared.poison_locked(&mut state, cause, &mut wakes);
        }
        if let Some((part, _)) = self.part.take() {
            state.parts.give_back(part);
        }
        // Of a log that has ended the last one out lets the sinks go, without the lock (rule 15).
        let mut last = std::mem::take(&mut self.slots);
        if state.phase != Phase::Ended {
            state.give_back(&mut last);
        }
        if let Some(end) = self.answers {
            state.answering.end(end);
        }
        let failed = state.poison.clone();
        let durable = self.shared.marks.positions().durable;
        let reached = |(end, level)| self.shared.marks.reached(end, level);
        let led = u64::from(self.leader.is_some_and(reached));
        state.stats.waits_led += led;
        self.commits += led;
        // A leader that was relieved and has not run since is in no crowd.
        let unaware =
            if flew && failed.is_none() { state.group.offer.answered(durable) } else { 0 };
        state.stats.waits_followed += unaware;
        self.commits += unaware;
        // Another flight that ended later may have landed first.
        state.landed = state.landed.max(now);
        let flights = if flew { self.tune(&mut state) } else { None };
        self.shared.release_batons(&mut state, self.batons, self.commits, &mut wakes);
        let told = (self.begun.is_some() || flew).then_some(state.stats);
        // Whatever panics above happens once more, in the drop, which poisons.
        self.landed = true;
        drop(state);
        drop(last);
        wakes.absorb(std::mem::take(&mut self.later));
        self.shared.deliver(wakes);
        if let (true, Some(stats)) = (Meters::WANTED, told) {
            let landing = Landing { commits: self.commits, flush_time, sync_time: synced };
            self.shared.meters.lock().landed(&stats, &self.shared.marks.positions(), &landing);
        }
        if let Some(flights) = flights {
            tracing::debug!(flights, "flushes in flight");
        }
        if let Some(took) = slow {
            self.shared.warn_of_a_slow_sync(took);
        }
        failed.map_or(Ok(()), |cause| Err(CommitError::in_doubt(cause)))
    }

    /// Allows as many flushes in flight as paid of late; says how many when that changes.
    fn tune(&self, state: &mut State) -> Option<u32> {
        self.answers?;
        let now = state.landed - self.shared.begun;
        // Nobody else asks how often commits arrive.
        if !FIXED && matches!(self.shared.config.policy, SyncPolicy::SquareRoot { .. }) {
            state.arrivals.landed(self.commits, state.group.gathered() - 1, now);
        }
        let flights = state.tuner.landed(self.commits, now)?;
        state.group.set_flights(flights);
        Some(flights)
    }

    /// Publishes what the syncs of this flight made durable, as far as nothing before it is still
    /// in the air.
    fn publish_synced(
        &mut self,
        state: &mut Guard<'_>,
        wakes: &mut Wakes,
    ) -> Result<(), PoisonCause> {
        if self.synced.take().is_none() {
            return Ok(());
        }
        let covered = self.slots.iter().fold(0, |covered, (slot, _)| covered | slot_set(*slot));
        let covered = covered & self.due;
        // With this there may be a watermark to write.
        self.shared.rouse(state);
        self.advance(state, wakes, |shared, state| {
            state.runway.synced(covered);
            let durable = state.runway.durable();
            let possible = shared.marks.sync(durable);
            if let (true, Some(preparer)) = (possible, &state.preparer) {
                preparer.note_durable(durable);
            }
            possible
        })
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
