//! The locks, condition variables and atomics of this crate: real ones, or those of a model checker.
//!
//! Under `--cfg loom` the same code runs on loom's primitives, so that `tests/model.rs` explores
//! every interleaving; under `--cfg shuttle` on shuttle's, so that the crash lab chooses which
//! thread goes on. They differ in their condition variables; the difference ends here. Nothing
//! else in the crate names `parking_lot`, `loom`, `shuttle` or `std::sync::atomic`.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::thread::yield_now;
#[cfg(not(shuttle))]
pub(crate) use std::thread::{Builder, JoinHandle, current};

#[cfg(all(loom, not(shuttle)))]
use loom as model;
#[cfg(shuttle)]
use shuttle as model;

#[cfg(any(loom, shuttle))]
pub(crate) use model::sync::MutexGuard;
#[cfg(any(loom, shuttle))]
pub(crate) use model::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(any(loom, shuttle))]
pub(crate) use model::thread::yield_now;
#[cfg(shuttle)]
pub(crate) use model::thread::{Builder, JoinHandle, current};

use std::time::Instant;

/// A condition variable which takes and returns the guard.
///
/// Waits are always in a loop over a named predicate: a wake-up may be spurious.
#[cfg(not(any(loom, shuttle)))]
#[derive(Debug, Default)]
pub(crate) struct Condvar(parking_lot::Condvar);

#[cfg(not(any(loom, shuttle)))]
impl Condvar {
    pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(&mut guard);
        guard
    }

    /// The guard, and whether `deadline` has passed.
    pub(crate) fn wait_until<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        deadline: Instant,
    ) -> (MutexGuard<'a, T>, bool) {
        let timed_out = self.0.wait_until(&mut guard, deadline).timed_out();
        (guard, timed_out)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }
}

/// A lock which does not know poison: this crate has a poison of its own.
#[cfg(any(loom, shuttle))]
#[derive(Debug)]
pub(crate) struct Mutex<T>(model::sync::Mutex<T>);

#[cfg(any(loom, shuttle))]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(model::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        match self.0.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

/// A condition variable which takes and returns the guard.
#[cfg(any(loom, shuttle))]
#[derive(Debug, Default)]
pub(crate) struct Condvar(model::sync::Condvar);

#[cfg(any(loom, shuttle))]
impl Condvar {
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        match self.0.wait(guard) {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// The model has no clock: a deadline never passes.
    pub(crate) fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _deadline: Instant,
    ) -> (MutexGuard<'a, T>, bool) {
        (self.wait(guard), false)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }
}
