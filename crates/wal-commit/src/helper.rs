//! The two threads of a log: one prepares segments, one syncs on behalf of others.
//!
//! They are two so that making a segment, which may take long, delays no sync. Neither is needed
//! by a blocking committer. Each holds the shared state, not a handle: dropping the last handle
//! tells them to stop and waits for nothing; whichever returns last lets the log go (rule 15).

use std::sync::Arc;
use std::time::{Duration, Instant};

use wal_format::Lsn;

use crate::config::{Durability, SyncPolicy};
use crate::error::CommitError;
use crate::idle::{IdleClock, Tick};
use crate::shared::{Guard, Shared, Wish};
use crate::sync::{Builder, JoinHandle, current};
use crate::waiting::Limit;

/// The running threads, to be joined by `close`.
#[derive(Debug)]
pub(crate) struct Helpers(Vec<JoinHandle<()>>);

impl Helpers {
    /// No thread at all.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// Starts both threads.
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self, CommitError> {
        let mut helpers = Self::none();
        for (name, body) in
            [("wal-prepare", prepare_loop as fn(&Shared)), ("wal-sync", serve_loop as fn(&Shared))]
        {
            let theirs = Arc::clone(shared);
            match Builder::new().name(name.to_owned()).spawn(move || body(&theirs)) {
                Ok(handle) => helpers.0.push(handle),
                Err(error) => {
                    shared.end();
                    helpers.join();
                    return Err(CommitError::NoThread(Arc::new(error)));
                }
            }
        }
        Ok(helpers)
    }

    /// Waits until the threads have returned; a thread does not wait for itself.
    pub(crate) fn join(&mut self) {
        for handle in self.0.drain(..) {
            if handle.thread().id() != current().id() && handle.join().is_err() {
                // It poisoned the log on its way out; the panic itself was printed.
                tracing::error!("a helper thread of the log panicked");
            }
        }
    }
}

/// Prepares a segment whenever one is wanted.
fn prepare_loop(shared: &Shared) {
    let mut state = shared.lock();
    while !state.stop {
        if !state.wants_preparation() {
            state = state.wait(&shared.prepare);
            continue;
        }
        // A failure is remembered for the append that needs the segment.
        state = match shared.prepare_next(state, Some(&|time| shared.rest(time))) {
            Ok(state) => state,
            Err(_) => shared.lock(),
        };
    }
}

/// What the serving thread has to do next.
enum Work {
    Stop,
    Serve(Wish),
    /// A period is over.
    Period,
    /// The idle clock ticks; where what was appended ends.
    Tick(Lsn),
}

/// Syncs for futures, callbacks and waits with a deadline; syncs periodically; marks idleness.
fn serve_loop(shared: &Shared) {
    let mut clock = IdleClock::default();
    let period = match shared.config.policy {
        SyncPolicy::Periodic { every } => Some(every),
        _ => None,
    };
    let mut alarms = Alarms::new(period, shared.config.idle_after);
    loop {
        match next_work(shared, &mut alarms) {
            Work::Stop => return,
            // Failures reach those who wait through the queue; there is nobody else to tell.
            Work::Serve(wish) => {
                drop(shared.wait(wish.durable, Durability::Durable, Limit::None));
                drop(shared.wait(wish.written, Durability::Written, Limit::None));
            }
            Work::Period => {
                let target = shared.periodic_target(&shared.lock());
                if let Some(end) = target {
                    drop(shared.wait(end, Durability::Durable, Limit::None));
                }
            }
            Work::Tick(data_end) => match clock.tick(data_end) {
                Tick::Busy => {}
                Tick::Idle => {
                    drop(shared.mark_idle());
                    alarms.hibernate(shared, data_end);
                }
            },
        }
    }
}

/// Sleeps until there is something to do.
fn next_work(shared: &Shared, alarms: &mut Alarms) -> Work {
    let mut state = shared.lock();
    loop {
        if state.stop {
            return Work::Stop;
        }
        let wish = std::mem::take(&mut state.wish);
        if !wish.durable.is_none() || !wish.written.is_none() {
            return Work::Serve(wish);
        }
        if !state.hibernating {
            alarms.wake();
        }
        let (awake, late) = alarms.sleep(shared, state);
        state = awake;
        if late {
            let data_end = state.data_end;
            if let Some(work) = alarms.rung(Instant::now(), data_end) {
                return work;
            }
        }
    }
}

/// When the serving thread wakes up by itself.
struct Alarms {
    period: Option<Duration>,
    next_period: Option<Instant>,
    idle_after: Option<Duration>,
    next_tick: Option<Instant>,
    asleep: bool,
}

impl Alarms {
    fn new(period: Option<Duration>, idle_after: Option<Duration>) -> Self {
        let (next_period, next_tick) = (None, None);
        let mut alarms = Self { period, next_period, idle_after, next_tick, asleep: true };
        alarms.wake();
        alarms
    }

    fn sleep<'a>(&self, shared: &'a Shared, state: Guard<'a>) -> (Guard<'a>, bool) {
        match [self.next_period, self.next_tick].into_iter().flatten().min() {
            Some(deadline) => state.wait_until(&shared.serve, deadline),
            None => (state.wait(&shared.serve), false),
        }
    }

    /// What is due at `now`, and when it is due again.
    fn rung(&mut self, now: Instant, data_end: Lsn) -> Option<Work> {
        if self.next_period.is_some_and(|at| at <= now) {
            self.next_period = self.period.and_then(|every| now.checked_add(every));
            return Some(Work::Period);
        }
        if self.next_tick.is_some_and(|at| at <= now) {
            self.next_tick = self.idle_after.and_then(|after| now.checked_add(after));
            return Some(Work::Tick(data_end));
        }
        None
    }

    /// Stops the clocks until the next append or sync, unless an append came in between or there
    /// is something left to do.
    fn hibernate(&mut self, shared: &Shared, data_end: Lsn) {
        let mut state = shared.lock();
        let due = shared.mark_is_due(&state)
            || self.period.is_some() && shared.periodic_target(&state).is_some();
        if state.data_end == data_end && !due {
            state.hibernating = true;
            self.asleep = true;
            (self.next_period, self.next_tick) = (None, None);
        }
    }

    /// Has the clocks run again.
    fn wake(&mut self) {
        if std::mem::take(&mut self.asleep) {
            let now = Instant::now();
            let after = |time: Option<Duration>| time.and_then(|time| now.checked_add(time));
            (self.next_period, self.next_tick) = (after(self.period), after(self.idle_after));
        }
    }
}
