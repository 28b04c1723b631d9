//! The lock of the state: two in one, so that an append pays for half of it.
//!
//! ```text
//! lock():      queue (sleeps, has condition variables)  then  data (spins)
//! lock_brief():                                                data alone, or nothing
//! ```
//!
//! Whoever decides anything holds both. An append that finds nothing to decide holds `data` alone:
//! taking that is one atomic instruction and giving it back is a store, where a lock that can be
//! slept on needs an atomic instruction for each.
//!
//! So that it can tell soon whether there is anything, whoever gives back both has the data
//! [settled](Settle) first.
//!
//! Rules: `data` alone is held for the copy of a short record, and at most its checksum; no foreign
//! code runs then. Nobody is notified then: a thread on its way to sleep has given back `data` and
//! holds `queue` alone, and would miss it; so a [`Bell`] is rung with both in hand only. Order:
//! `queue`, then `data`.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use crate::sync::{Brief, BriefGuard, Condvar, Mutex, MutexGuard, lock_backing_off};

/// What a lock like this can guard.
pub(crate) trait Settle {
    /// Brings up to date what those look at who hold half of the lock. All of it is in hand, and
    /// about to be given back.
    fn settle(&mut self);
}

/// See the head of this file.
pub(crate) struct StateLock<T> {
    queue: Mutex<()>,
    data: Brief<T>,
}

impl<T: Settle> StateLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { queue: Mutex::new(()), data: Brief::new(value) }
    }

    /// Takes both; sleeps while somebody else has them.
    pub(crate) fn lock(&self) -> StateGuard<'_, T> {
        self.with(self.queue.lock())
    }

    /// As [`lock`](Self::lock), for an append: others hold it for less than going to sleep takes.
    pub(crate) fn lock_backing_off(&self) -> StateGuard<'_, T> {
        self.with(lock_backing_off(&self.queue))
    }

    /// Takes the data alone, if that is free or becomes so within microseconds. Whoever has it
    /// notifies nobody.
    #[inline]
    pub(crate) fn lock_brief(&self) -> Option<BriefGuard<'_, T>> {
        self.data.lock_soon()
    }

    fn with<'a>(&'a self, queue: MutexGuard<'a, ()>) -> StateGuard<'a, T> {
        StateGuard { data: Whole(self.data.lock()), queue, lock: self }
    }
}

impl<T> fmt::Debug for StateLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateLock").finish_non_exhaustive()
    }
}

/// The data in the hand of whoever holds both halves.
struct Whole<'a, T: Settle>(BriefGuard<'a, T>);

impl<T: Settle> Drop for Whole<'_, T> {
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// Both, in hand. The data is given back first.
pub(crate) struct StateGuard<'a, T: Settle> {
    data: Whole<'a, T>,
    queue: MutexGuard<'a, ()>,
    lock: &'a StateLock<T>,
}

impl<T: Settle> StateGuard<'_, T> {
    /// Sleeps until `bell` is rung, or for no reason.
    pub(crate) fn wait(self, bell: &Bell) -> Self {
        let Self { data, queue, lock } = self;
        drop(data);
        lock.with(bell.0.wait(queue))
    }

    /// As [`wait`](Self::wait), until `deadline` at most; and whether that has passed.
    pub(crate) fn wait_until(self, bell: &Bell, deadline: Instant) -> (Self, bool) {
        let Self { data, queue, lock } = self;
        drop(data);
        let (queue, late) = bell.0.wait_until(queue, deadline);
        (lock.with(queue), late)
    }
}

/// What a helper thread sleeps by.
#[derive(Debug, Default)]
pub(crate) struct Bell(Condvar);

impl Bell {
    /// Wakes one who sleeps. The whole lock is held, so nobody is between looking and sleeping.
    pub(crate) fn ring<T: Settle>(&self, _held: &StateGuard<'_, T>) {
        self.0.notify_one();
    }
}

impl<T: Settle> Deref for StateGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data.0
    }
}

impl<T: Settle> DerefMut for StateGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data.0
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    const TIMES: u64 = 20_000;

    impl Settle for u64 {
        fn settle(&mut self) {}
    }

    /// Without atomics, so that two who are in at once lose one of their counts.
    fn count(value: &mut u64) {
        let seen = std::hint::black_box(*value);
        *value = std::hint::black_box(seen + 1);
    }

    #[test]
    fn those_with_half_of_it_and_those_with_all_of_it_exclude_each_other() {
        let lock = StateLock::new(0);
        thread::scope(|scope| {
            for thread in 0..4 {
                let lock = &lock;
                scope.spawn(move || {
                    for _ in 0..TIMES {
                        match lock.lock_brief().filter(|_| thread % 2 == 0) {
                            Some(mut value) => count(&mut value),
                            None if thread == 1 => count(&mut lock.lock_backing_off()),
                            None => count(&mut lock.lock()),
                        }
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 4 * TIMES);
    }

    /// Counts how often it was settled.
    #[derive(Default)]
    struct Settled(u32);

    impl Settle for Settled {
        fn settle(&mut self) {
            self.0 += 1;
        }
    }

    #[test]
    fn whoever_gives_all_of_it_back_settles_the_data_and_nobody_else() {
        let (lock, bell) = (StateLock::new(Settled::default()), Bell::default());
        let seen = || lock.lock_brief().unwrap().0;
        assert_eq!((seen(), seen()), (0, 0), "half of it settles nothing");
        drop(lock.lock());
        assert_eq!(seen(), 1);
        drop(lock.lock_backing_off());
        assert_eq!(seen(), 2);
        let (all, _) = lock.lock().wait_until(&bell, Instant::now());
        assert_eq!(all.0, 3, "before it slept");
        drop(all);
        assert_eq!(seen(), 4);
    }

    #[test]
    fn whoever_has_lost_its_processor_is_waited_for() {
        let lock = StateLock::new(0);
        let held = lock.lock_brief().unwrap();
        thread::scope(|scope| {
            let (told, hears) = mpsc::channel();
            let lock = &lock;
            scope.spawn(move || {
                assert!(lock.lock_brief().is_none(), "half of it is not waited for");
                told.send(()).unwrap();
                *lock.lock() += 1;
            });
            hears.recv().unwrap();
            // Long enough to have the other one give way and sleep, mostly.
            thread::sleep(Duration::from_millis(20));
            drop(held);
        });
        assert_eq!(*lock.lock(), 1);
    }

    #[test]
    fn who_sleeps_gives_both_back_and_has_both_again() {
        let (lock, bell) = (StateLock::new(0), Bell::default());
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut value = lock.lock();
                while *value == 0 {
                    value = value.wait(&bell);
                }
                *value += 1;
            });
            loop {
                if let Some(mut value) = lock.lock_brief() {
                    *value = 1;
                    break;
                }
            }
            bell.ring(&lock.lock());
        });
        let (value, late) = lock.lock().wait_until(&bell, Instant::now());
        assert_eq!((*value, late), (2, true), "a deadline that has passed ends a sleep");
    }
}
