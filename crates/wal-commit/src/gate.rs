//! Where a crowd of committers sleeps until one flush has answered all of them.
//!
//! A crowd is told at once, by one system call, and each of its members returns without a lock.
//! Some of them may be asked to lead a flush: whoever looks first takes that upon itself. Where
//! several flushes may be in flight, a second leader can be asked for before the first has heard.
//!
//! A member returns once. A call for a leader is made under the lock of the state, while at
//! least one member still waits, and is heard before anything that is told later: so it is
//! answered, also when the log is poisoned meanwhile.

use std::sync::Arc;

use crate::error::CommitError;
use crate::signal::Signal;
use crate::sync::{Mutex, Word};

/// What all of them wait for is there.
const OPEN: u32 = 1;
/// It will not be.
const FAILED: u32 = 2;
/// A member is to lead: the bits from here on count how many.
const LEADER_WANTED: u32 = 4;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Gate {
    word: Word,
    /// Stored before `FAILED` is set.
    error: Mutex<Option<CommitError>>,
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { word: Word::new(0), error: Mutex::new(None) })
    }

    /// Sleeps until told.
    pub(crate) fn pass(&self) -> Signal {
        loop {
            let seen = self.word.get();
            if seen >= LEADER_WANTED {
                if self.word.exchange(seen, seen - LEADER_WANTED) {
                    return Signal::Lead;
                }
            } else if seen & FAILED != 0 {
                let error = self.error.lock().clone();
                return Signal::Failed(error.unwrap_or(CommitError::Abandoned));
            } else if seen & OPEN != 0 {
                return Signal::Met;
            } else {
                self.word.sleep_while(seen);
            }
        }
    }

    /// Whether there is anything to tell: [`pass`](Self::pass) says what.
    pub(crate) fn has_news(&self) -> bool {
        self.word.get() != 0
    }

    /// Asks for a leader. Call it under the lock of the state, then [`call`](Self::call).
    pub(crate) fn want_leader(&self) {
        self.word.add(LEADER_WANTED);
    }

    /// Wakes one member, so that somebody hears the call for a leader.
    pub(crate) fn call(&self) {
        self.word.wake_one();
    }

    /// Tells all that what they wait for is there.
    pub(crate) fn open(&self) {
        self.word.set_bits(OPEN);
        self.word.wake_all();
    }

    /// Tells all that it will not be.
    pub(crate) fn fail(&self, error: CommitError) {
        *self.error.lock() = Some(error);
        self.word.set_bits(FAILED);
        self.word.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_leads_and_the_others_are_answered() {
        let gate = Gate::new();
        gate.want_leader();
        gate.call();
        gate.open();
        assert!(matches!(gate.pass(), Signal::Lead), "the call is heard first");
        assert!(matches!(gate.pass(), Signal::Met));
        assert!(matches!(gate.pass(), Signal::Met));
    }

    #[test]
    fn two_calls_make_two_leaders() {
        let gate = Gate::new();
        for _ in 0..2 {
            gate.want_leader();
            gate.call();
        }
        gate.open();
        assert!(matches!(gate.pass(), Signal::Lead));
        assert!(matches!(gate.pass(), Signal::Lead), "each call is a baton handed over");
        assert!(matches!(gate.pass(), Signal::Met));
    }

    #[test]
    fn a_failure_does_not_swallow_the_call_for_a_leader() {
        let gate = Gate::new();
        gate.want_leader();
        gate.fail(CommitError::Abandoned);
        assert!(matches!(gate.pass(), Signal::Lead));
        assert!(matches!(gate.pass(), Signal::Failed(CommitError::Abandoned)));
    }
}
