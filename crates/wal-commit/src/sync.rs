//! The locks, condition variables and atomics of this crate: real ones, or those of a model checker.
//!
//! Under `--cfg loom` the same code runs on loom's primitives, so that `tests/model.rs` explores
//! every interleaving; under `--cfg shuttle` on shuttle's, so that the crash lab chooses which
//! thread goes on. They differ in their condition variables, and only the real ones have a futex;
//! the difference ends here. Nothing else in the crate names `parking_lot`, `spin`, `atomic_wait`,
//! `loom`, `shuttle` or `std::sync::atomic`.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(any(loom, shuttle)))]
use std::sync::atomic::AtomicU32;
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

/// Whether nothing may depend on the clock: a model has none, and the lab must do the same each
/// time.
pub(crate) const FIXED: bool = cfg!(any(loom, shuttle));

/// Takes a lock that is held for some tens of nanoseconds, if need be after some rounds of looking
/// away: whoever has it then gets much done, where two threads that take turns would spend their time on
/// passing the lock from one processor to the other. Sleeps, as any lock, when that does not help.
#[cfg(not(any(loom, shuttle)))]
#[inline]
pub(crate) fn lock_backing_off<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.try_lock() {
        Some(guard) => guard,
        None => look_away_until(|| mutex.try_lock()).unwrap_or_else(|| mutex.lock()),
    }
}

/// Tries again after ever longer rounds of looking away.
#[cfg(not(any(loom, shuttle)))]
#[cold]
fn look_away_until<G>(tries: impl Fn() -> Option<G>) -> Option<G> {
    BACK_OFF_SPINS.iter().find_map(|spins| {
        for _ in 0..*spins {
            std::hint::spin_loop();
        }
        tries()
    })
}

/// The first round is for a lock that is held once, the others for one that is wanted all the time.
#[cfg(not(any(loom, shuttle)))]
const BACK_OFF_SPINS: [u32; 6] = [24, 72, 96, 96, 96, 96];
#[cfg(not(any(loom, shuttle)))]
const BACK_OFF_YIELDS: u32 = 4;
#[cfg(not(any(loom, shuttle)))]
const BACK_OFF_SLEEP: std::time::Duration = std::time::Duration::from_micros(50);

/// In a model every order is tried anyway.
#[cfg(any(loom, shuttle))]
pub(crate) fn lock_backing_off<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

/// A lock that is held for the time of a short copy: to take it is one atomic instruction, to give it
/// back a store. Nobody sleeps on it.
#[cfg(not(any(loom, shuttle)))]
#[derive(Debug)]
pub(crate) struct Brief<T> {
    /// Somebody has waited long enough: nobody else takes it before.
    wanted: AtomicBool,
    value: spin::mutex::SpinMutex<T>,
}

#[cfg(not(any(loom, shuttle)))]
pub(crate) type BriefGuard<'a, T> = spin::mutex::SpinMutexGuard<'a, T>;

#[cfg(not(any(loom, shuttle)))]
impl<T> Brief<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { wanted: AtomicBool::new(false), value: spin::mutex::SpinMutex::new(value) }
    }

    /// Takes it if it is free, or becomes so while others hold it as shortly as they should, and
    /// nobody waits for it in [`lock`](Self::lock).
    #[inline]
    pub(crate) fn lock_soon(&self) -> Option<BriefGuard<'_, T>> {
        // Relaxed, here and below: it decides nothing but who comes first.
        if self.wanted.load(Ordering::Relaxed) {
            return None;
        }
        match self.value.try_lock() {
            Some(guard) => Some(guard),
            None => look_away_until(|| self.value.try_lock()),
        }
    }

    /// Waits for it: whoever has it may have lost its processor, and is given the time to get it
    /// back. One thread at a time may wait so.
    pub(crate) fn lock(&self) -> BriefGuard<'_, T> {
        match self.value.try_lock() {
            Some(guard) => guard,
            None => self.lock_before_others(),
        }
    }

    #[cold]
    fn lock_before_others(&self) -> BriefGuard<'_, T> {
        self.wanted.store(true, Ordering::Relaxed);
        let mut yields = BACK_OFF_YIELDS;
        let guard = loop {
            if let Some(guard) = look_away_until(|| self.value.try_lock()) {
                break guard;
            }
            // To give way may give way to nobody, where a scheduler knows who is more important.
            if yields == 0 {
                std::thread::sleep(BACK_OFF_SLEEP);
            } else {
                yields -= 1;
                yield_now();
            }
        };
        self.wanted.store(false, Ordering::Relaxed);
        guard
    }
}

/// A number that decides nothing but when: no model looks at who sees which value of it.
#[derive(Debug)]
pub(crate) struct Tally(std::sync::atomic::AtomicU64);

impl Tally {
    pub(crate) const fn new(value: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(value))
    }

    // Relaxed, here and below: nothing is published with it.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, std::sync::atomic::Ordering::Relaxed);
    }

    /// Counts one more; how many there are then.
    pub(crate) fn count(&self) -> u64 {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1
    }
}

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

/// In a model every order is tried, so nobody need look away.
#[cfg(any(loom, shuttle))]
#[derive(Debug)]
pub(crate) struct Brief<T>(Mutex<T>);

#[cfg(any(loom, shuttle))]
pub(crate) type BriefGuard<'a, T> = MutexGuard<'a, T>;

#[cfg(any(loom, shuttle))]
impl<T> Brief<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock_soon(&self) -> Option<BriefGuard<'_, T>> {
        Some(self.0.lock())
    }

    pub(crate) fn lock(&self) -> BriefGuard<'_, T> {
        self.0.lock()
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

/// A word that many threads sleep on and one call wakes: a futex.
#[cfg(not(any(loom, shuttle)))]
#[derive(Debug)]
pub(crate) struct Word(AtomicU32);

#[cfg(not(any(loom, shuttle)))]
impl Word {
    pub(crate) fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }

    /// Whoever gets a value sees what was stored before it was set.
    pub(crate) fn get(&self) -> u32 {
        // Pairs with the Release in `set_bits` and `add`.
        self.0.load(Ordering::Acquire)
    }

    /// Sets these bits, and publishes what was stored before.
    pub(crate) fn set_bits(&self, bits: u32) {
        // Pairs with the Acquire in `get` and `exchange`.
        self.0.fetch_or(bits, Ordering::Release);
    }

    /// Adds to it, and publishes what was stored before.
    pub(crate) fn add(&self, count: u32) {
        // Pairs with the Acquire in `get` and `exchange`.
        self.0.fetch_add(count, Ordering::Release);
    }

    /// Makes `value` of it if it still is `seen`; returns whether it was.
    pub(crate) fn exchange(&self, seen: u32, value: u32) -> bool {
        self.0.compare_exchange(seen, value, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Sleeps unless something else than `value` is there; may return for no reason.
    pub(crate) fn sleep_while(&self, value: u32) {
        atomic_wait::wait(&self.0, value);
    }

    pub(crate) fn wake_one(&self) {
        atomic_wait::wake_one(&raw const self.0);
    }

    pub(crate) fn wake_all(&self) {
        atomic_wait::wake_all(&raw const self.0);
    }
}

/// What stands in for a futex: a lock and a condition variable.
#[cfg(any(loom, shuttle))]
#[derive(Debug)]
pub(crate) struct Word {
    value: Mutex<u32>,
    changed: Condvar,
}

#[cfg(any(loom, shuttle))]
impl Word {
    pub(crate) fn new(value: u32) -> Self {
        Self { value: Mutex::new(value), changed: Condvar::default() }
    }

    pub(crate) fn get(&self) -> u32 {
        *self.value.lock()
    }

    pub(crate) fn set_bits(&self, bits: u32) {
        *self.value.lock() |= bits;
    }

    pub(crate) fn add(&self, count: u32) {
        *self.value.lock() += count;
    }

    pub(crate) fn exchange(&self, seen: u32, value: u32) -> bool {
        let mut current = self.value.lock();
        let same = *current == seen;
        if same {
            *current = value;
        }
        same
    }

    pub(crate) fn sleep_while(&self, value: u32) {
        let current = self.value.lock();
        if *current == value {
            drop(self.changed.wait(current));
        }
    }

    pub(crate) fn wake_one(&self) {
        self.changed.notify_one();
    }

    pub(crate) fn wake_all(&self) {
        self.changed.0.notify_all();
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_comes_before_those_who_only_look() {
        let brief = Brief::new(0);
        let held = brief.lock_soon().unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| *brief.lock() += 1);
            while !brief.wanted.load(Ordering::Relaxed) {
                yield_now();
            }
            drop(held);
            // Free or not, it is not to be had before the other one had it.
            let mut seen = brief.lock_soon().map(|value| *value);
            while seen.is_none() {
                yield_now();
                seen = brief.lock_soon().map(|value| *value);
            }
            assert_eq!(seen, Some(1));
            waits.join().unwrap();
        });
    }
}
