//! How a thread sleeps until it is told something.
//!
//! Whoever queues under the lock is told exactly once: nobody leaves the queue without a signal.
//! Those who wait for durability without a deadline wait together, in a crowd. A thread whose time
//! is over withdraws; when it is too late for that it takes the signal, and hands on the baton if
//! that is what it was given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Durability;
use crate::error::CommitError;
use crate::gate::Gate;
use crate::group::Want;
use crate::linger::Linger;
use crate::shared::{Guard, Shared};
use crate::signal::Signal;
use crate::sync::yield_now;
use crate::wake::{Slot, Wake, Wakes};

/// Why a sleeping thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// What it waited for is there, or should be looked at again.
    Met,
    /// It holds the baton now.
    Lead,
}

/// Until when to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    None,
    Now,
    At(Instant),
}

impl Limit {
    pub(crate) fn of(timeout: Option<Duration>) -> Self {
        match timeout {
            None => Self::None,
            Some(Duration::ZERO) => Self::Now,
            // A time beyond what the clock can name is never over.
            Some(timeout) => Instant::now().checked_add(timeout).map_or(Self::None, Self::At),
        }
    }
}

impl Shared {
    /// Queues for `want` and sleeps until told.
    ///
    /// # Errors
    ///
    /// [`CommitError::TimedOut`], [`CommitError::Forked`], or what the waiter was told.
    pub(crate) fn sleep(
        &self,
        mut state: Guard<'_>,
        want: Want,
        leads: bool,
        limit: Limit,
    ) -> Result<Woken, CommitError> {
        self.check_process()?;
        let deadline = match limit {
            Limit::Now => return Err(CommitError::TimedOut),
            Limit::None => None,
            Limit::At(deadline) => Some(deadline),
        };
        if let (Want::Reach { end, level: Durability::Durable }, true, None) =
            (want, leads, deadline)
        {
            let gate = state.group.join(end, Gate::new);
            let (arrival, sync) = (self.joined.count(), state.usual_sync);
            let part = Linger::part(state.group.about());
            drop(state);
            if self.linger.tries(arrival, sync) {
                self.linger(&gate, sync, part);
            }
            return woken(gate.pass());
        }
        let slot = Slot::new();
        let id = state.group.enlist(want, leads, Wake::Thread(Arc::clone(&slot)));
        if let (Want::Reach { end, level }, false) = (want, leads) {
            self.ask(&mut state, end, level);
        }
        let end = state.cursor.end();
        drop(state);
        match want {
            Want::Room => tracing::trace!(%end, "an append waits for room in the buffer"),
            Want::Segment => tracing::debug!(%end, "an append waits for a segment"),
            Want::Reach { .. } | Want::Beyond(_) | Want::Baton => {}
        }
        if let Some(signal) = slot.sleep(deadline) {
            return woken(signal);
        }
        if self.lock().group.withdraw(id).is_some() {
            return Err(CommitError::TimedOut);
        }
        // Somebody has taken us out of the queue and is about to tell us.
        match slot.sleep(None).map(woken) {
            Some(Ok(Woken::Lead)) => {
                self.hand_on();
                Err(CommitError::TimedOut)
            }
            Some(told) => told,
            None => Err(CommitError::TimedOut),
        }
    }

    /// Lets others run for a while before it sleeps: what that costs and saves is told in `linger.rs`.
    fn linger(&self, gate: &Gate, sync: Duration, part: u32) {
        let begun = Instant::now();
        for turns in 1..=Linger::turns_max(part) {
            yield_now();
            if gate.has_news() || !self.linger.pays(begun.elapsed(), turns, sync, part) {
                return;
            }
        }
    }

    /// Has the serving thread look again at a log that it took for idle.
    pub(crate) fn rouse(&self, state: &mut Guard<'_>) {
        if std::mem::take(&mut state.hibernating) {
            self.serve.ring(state);
        }
    }

    /// Takes all batons, waiting for them if need be.
    pub(crate) fn take_baton<'a>(&'a self, mut state: Guard<'a>) -> Result<Guard<'a>, CommitError> {
        if state.group.take_alone() {
            return Ok(state);
        }
        self.sleep(state, Want::Baton, true, Limit::None)?;
        Ok(self.lock())
    }

    /// Gives away a baton that is not needed after all.
    pub(crate) fn hand_on(&self) {
        let mut wakes = Wakes::default();
        self.release_batons(&mut self.lock(), 1, 0, &mut wakes);
        self.deliver(wakes);
    }
}

fn woken(signal: Signal) -> Result<Woken, CommitError> {
    match signal {
        Signal::Met => Ok(Woken::Met),
        Signal::Lead => Ok(Woken::Lead),
        Signal::Failed(error) => Err(error),
    }
}
