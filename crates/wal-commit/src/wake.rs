//! How somebody who waits is told, and when: always after the lock of the state is gone.
//!
//! A thread sleeps on a slot of its own and is told the outcome there, so that it returns without
//! taking the shared lock again. Wakers and callbacks are foreign code: they run with no lock
//! held, threads are told first, and a panic in one of them does not reach the others.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use wal_format::Lsn;

use crate::error::CommitError;
use crate::gate::Gate;
use crate::poison::PoisonCause;
use crate::signal::Signal;
use crate::sync::{Condvar, Mutex};

/// Where a sleeping thread is told its signal. One thread sleeps, one tells, once.
#[derive(Debug)]
pub(crate) struct Slot {
    signal: Mutex<Option<Signal>>,
    told: Condvar,
}

impl Slot {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { signal: Mutex::new(None), told: Condvar::default() })
    }

    fn tell(&self, signal: Signal) {
        *self.signal.lock() = Some(signal);
        self.told.notify_one();
    }

    /// Sleeps until told, or until `deadline`: `None`.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) -> Option<Signal> {
        let mut signal = self.signal.lock();
        loop {
            if let Some(signal) = signal.take() {
                return Some(signal);
            }
            signal = match deadline {
                None => self.told.wait(signal),
                Some(deadline) => {
                    let (mut signal, late) = self.told.wait_until(signal, deadline);
                    if late {
                        return signal.take();
                    }
                    signal
                }
            };
        }
    }
}

/// What [`Ticket::on_durable`](crate::Ticket::on_durable) calls.
pub(crate) type Callback = Box<dyn FnOnce(Result<Lsn, CommitError>) + Send>;

/// How to reach a waiter.
pub(crate) enum Wake {
    /// A thread which sleeps.
    Thread(Arc<Slot>),
    /// A task, which will poll again.
    Task(Waker),
    /// Code to run, with the address to report.
    Callback(Lsn, Callback),
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread(_) => "Thread",
            Self::Task(_) => "Task",
            Self::Callback(..) => "Callback",
        })
    }
}

/// Who was handed the baton.
#[derive(Debug)]
enum Leader {
    Waiter(Wake),
    Member(Arc<Gate>),
}

/// Signals collected under the lock, to be delivered without it.
///
/// A lone committer has nobody to tell: it pays for one word, and for one look at it.
#[derive(Debug, Default)]
#[must_use = "whoever is not told sleeps for ever"]
pub(crate) struct Wakes(Option<Box<Told>>);

#[derive(Debug, Default)]
struct Told {
    /// Told before everybody else: the next flush begins while the others are told.
    leader: Option<Leader>,
    gates: Vec<(Arc<Gate>, Option<CommitError>)>,
    threads: Vec<(Arc<Slot>, Signal)>,
    others: Vec<(Wake, Signal)>,
    /// Set when the log was just poisoned: an event to raise.
    alarm: Option<PoisonCause>,
}

impl Wakes {
    fn told(&mut self) -> &mut Told {
        self.0.get_or_insert_default()
    }

    pub(crate) fn push(&mut self, wake: Wake, signal: Signal) {
        match wake {
            Wake::Thread(slot) => self.told().threads.push((slot, signal)),
            other => self.told().others.push((other, signal)),
        }
    }

    /// Takes note that the log was just poisoned.
    pub(crate) fn raise(&mut self, cause: PoisonCause) {
        self.told().alarm = Some(cause);
    }

    /// Whether the log was just poisoned.
    pub(crate) fn has_alarm(&self) -> bool {
        self.0.as_ref().is_some_and(|told| told.alarm.is_some())
    }

    /// Hands the baton to a waiter.
    pub(crate) fn lead(&mut self, wake: Wake) {
        self.told().leader = Some(Leader::Waiter(wake));
    }

    /// Hands the baton to a member of a crowd. Call it under the lock of the state.
    pub(crate) fn lead_member(&mut self, gate: Arc<Gate>) {
        gate.want_leader();
        self.told().leader = Some(Leader::Member(gate));
    }

    /// Tells crowds that what they wait for is there, or why it will not be.
    pub(crate) fn push_gates(&mut self, gates: Vec<Arc<Gate>>, failed: Option<&CommitError>) {
        if !gates.is_empty() {
            let gates = gates.into_iter().map(|gate| (gate, failed.cloned()));
            self.told().gates.extend(gates);
        }
    }

    /// Tells the threads, and leaves foreign code for later.
    #[inline]
    pub(crate) fn tell_threads(&mut self) {
        let Some(told) = &mut self.0 else { return };
        told.tell_threads();
        if told.others.is_empty() && told.alarm.is_none() {
            self.0 = None;
        }
    }

    /// Takes over what is left to deliver elsewhere.
    #[inline]
    pub(crate) fn absorb(&mut self, earlier: Self) {
        match (&mut self.0, earlier.0) {
            (_, None) => {}
            (Some(told), Some(earlier)) => told.absorb(*earlier),
            (nobody, earlier) => *nobody = earlier,
        }
    }

    /// Tells everybody. Returns whether foreign code panicked.
    #[inline]
    pub(crate) fn deliver(self) -> bool {
        self.0.is_some_and(|told| told.deliver())
    }
}

impl Told {
    fn tell_threads(&mut self) {
        match self.leader.take() {
            Some(Leader::Member(gate)) => gate.call(),
            Some(Leader::Waiter(Wake::Thread(slot))) => slot.tell(Signal::Lead),
            Some(Leader::Waiter(other)) => self.others.push((other, Signal::Lead)),
            None => {}
        }
        for (gate, failed) in self.gates.drain(..) {
            match failed {
                None => gate.open(),
                Some(error) => gate.fail(error),
            }
        }
        for (slot, signal) in self.threads.drain(..) {
            slot.tell(signal);
        }
    }

    fn absorb(&mut self, earlier: Self) {
        self.leader = self.leader.take().or(earlier.leader);
        self.gates.extend(earlier.gates);
        self.threads.extend(earlier.threads);
        self.others.extend(earlier.others);
        self.alarm = earlier.alarm.or(self.alarm.take());
    }

    fn deliver(mut self) -> bool {
        self.tell_threads();
        if let Some(cause) = self.alarm {
            tracing::error!(%cause, "the log is poisoned");
        }
        let mut panicked = false;
        for (wake, signal) in self.others {
            panicked |= catch_unwind(AssertUnwindSafe(|| run(wake, signal))).is_err();
        }
        panicked
    }
}

fn run(wake: Wake, signal: Signal) {
    match (wake, signal) {
        (Wake::Thread(slot), signal) => slot.tell(signal),
        (Wake::Task(waker), _) => waker.wake(),
        (Wake::Callback(lsn, callback), Signal::Met | Signal::Lead) => callback(Ok(lsn)),
        (Wake::Callback(_, callback), Signal::Failed(error)) => callback(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_signal_told_before_the_sleep_is_not_lost() {
        let slot = Slot::new();
        let mut wakes = Wakes::default();
        wakes.push(Wake::Thread(slot.clone()), Signal::Lead);
        assert!(!wakes.deliver());
        assert!(matches!(slot.sleep(None), Some(Signal::Lead)));
    }

    #[test]
    fn a_sleep_without_a_signal_ends_at_its_deadline() {
        assert!(Slot::new().sleep(Some(Instant::now())).is_none());
    }

    fn callback_to(told: &Arc<AtomicU32>) -> Wake {
        let told = told.clone();
        Wake::Callback(Lsn::FIRST, Box::new(move |_| _ = told.fetch_add(1, Ordering::SeqCst)))
    }

    #[test]
    fn what_is_absorbed_is_told_whether_there_was_somebody_to_tell_or_not() {
        for somebody in [false, true] {
            let (told, slots) = (Arc::new(AtomicU32::new(0)), [Slot::new(), Slot::new()]);
            let mut wakes = Wakes::default();
            if somebody {
                wakes.push(Wake::Thread(slots[0].clone()), Signal::Met);
            }
            let mut earlier = Wakes::default();
            earlier.push(callback_to(&told), Signal::Met);
            earlier.lead(Wake::Thread(slots[1].clone()));
            earlier.raise(PoisonCause::invariant("a test"));
            wakes.absorb(earlier);
            wakes.absorb(Wakes::default());
            assert!(wakes.has_alarm());
            assert!(!wakes.deliver());
            assert_eq!(told.load(Ordering::SeqCst), 1);
            assert!(matches!(slots[1].sleep(None), Some(Signal::Lead)));
            assert!(!somebody || matches!(slots[0].sleep(None), Some(Signal::Met)));
        }
    }

    #[test]
    fn telling_threads_leaves_foreign_code_for_later() {
        let (told, slot) = (Arc::new(AtomicU32::new(0)), Slot::new());
        let mut wakes = Wakes::default();
        wakes.push(Wake::Thread(slot.clone()), Signal::Met);
        wakes.push(callback_to(&told), Signal::Met);
        wakes.tell_threads();
        assert!(matches!(slot.sleep(None), Some(Signal::Met)));
        assert_eq!(told.load(Ordering::SeqCst), 0);
        assert!(!wakes.deliver());
        assert_eq!(told.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panicking_callback_does_not_keep_the_others_from_being_told() {
        let told = Arc::new(AtomicU32::new(0));
        let mut wakes = Wakes::default();
        wakes.push(Wake::Callback(Lsn::FIRST, Box::new(|_| panic!("deliberate"))), Signal::Met);
        let seen = told.clone();
        let callback = move |outcome: Result<Lsn, CommitError>| {
            assert_eq!(outcome.unwrap(), Lsn::FIRST);
            seen.fetch_add(1, Ordering::SeqCst);
        };
        wakes.push(Wake::Callback(Lsn::FIRST, Box::new(callback)), Signal::Met);
        assert!(wakes.deliver(), "the panic is reported");
        assert_eq!(told.load(Ordering::SeqCst), 1);
    }
}
