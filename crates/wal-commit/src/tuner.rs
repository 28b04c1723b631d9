//! How many flushes in flight pay. Pure: told of each landing, it says how many to allow.
//!
//! Some devices serve several flushes at once, on some each waits for the other, and it changes
//! with the load. So it is tried: after some windows of landings one window runs with a flush more
//! or less, and what brought more commits a second stays. A trial that bought nothing is tried
//! again later and later, so that it costs little where the answer never changes.

use std::time::Duration;

/// Landings of one window.
const WINDOW: u32 = 64;
/// Windows between two trials, at first.
const PAUSE: u32 = 4;
/// Windows between two trials, at the most.
const PAUSE_MAX: u32 = 256;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Tuner {
    max: u32,
    /// What is best, as far as is known.
    best: u32,
    /// What is being tried.
    trial: Option<u32>,
    /// Commits a second of the last window with the best.
    best_rate: f64,
    /// Windows until the next trial, and until the one behind it if that fails.
    pause: u32,
    next_pause: u32,
    /// Which way the next trial goes.
    more: bool,
    landings: u32,
    commits: u64,
    begun: Duration,
}

impl Tuner {
    /// Begins with one flush at a time; never allows more than `max`.
    pub(crate) const fn new(max: u32) -> Self {
        Self {
            max,
            best: 1,
            trial: None,
            best_rate: 0.0,
            pause: PAUSE,
            next_pause: PAUSE,
            more: true,
            landings: 0,
            commits: 0,
            begun: Duration::ZERO,
        }
    }

    /// A flush that answered `commits` landed at `now`. Gives how many flushes to allow from now
    /// on, if that is something else than before.
    pub(crate) fn landed(&mut self, commits: u64, now: Duration) -> Option<u32> {
        if self.max <= 1 {
            return None;
        }
        if self.landings == 0 {
            self.begun = now;
        }
        self.landings += 1;
        // The first landing only starts the clock.
        self.commits += if self.landings > 1 { commits } else { 0 };
        if self.landings <= WINDOW {
            return None;
        }
        let seconds = now.saturating_sub(self.begun).as_secs_f64();
        let rate = if seconds > 0.0 { self.commits as f64 / seconds } else { 0.0 };
        let lone = self.commits <= u64::from(WINDOW);
        (self.landings, self.commits) = (0, 0);
        let before = self.trial.unwrap_or(self.best);
        self.judge(rate, lone);
        let after = self.trial.unwrap_or(self.best);
        (after != before).then_some(after)
    }

    /// A window is over.
    fn judge(&mut self, rate: f64, lone: bool) {
        if let Some(tried) = self.trial.take() {
            // More flushes cost more processor time: they must be worth it.
            let needed = if tried > self.best { 1.05 } else { 0.98 };
            if rate > self.best_rate * needed {
                (self.best, self.best_rate) = (tried, rate);
                self.next_pause = PAUSE;
            } else {
                self.more = !self.more;
                self.next_pause = (self.next_pause * 2).min(PAUSE_MAX);
            }
            self.pause = self.next_pause;
            return;
        }
        self.best_rate = rate;
        self.pause = self.pause.saturating_sub(1);
        // One committer has nothing to put into a second flush.
        if self.pause > 0 || (lone && self.best == 1) {
            return;
        }
        let up = self.best < self.max && (self.more || self.best == 1);
        self.trial = Some(if up { self.best + 1 } else { self.best.saturating_sub(1).max(1) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `landings` on a device of which `rate` gives commits a second, by flushes in flight.
    fn run(tuner: &mut Tuner, landings: u32, rate: impl Fn(u32) -> f64) -> (u32, u32) {
        let (mut flights, mut now, mut changes) = (1, Duration::ZERO, 0);
        for _ in 0..landings {
            now += Duration::from_secs_f64(8.0 / rate(flights));
            if let Some(next) = tuner.landed(8, now) {
                (flights, changes) = (next, changes + 1);
            }
        }
        (flights, changes)
    }

    #[test]
    fn a_device_that_serves_several_flushes_gets_several() {
        let mut tuner = Tuner::new(4);
        run(&mut tuner, 10_000, |flights| 1000.0 * f64::from(flights.min(3)));
        assert_eq!(tuner.best, 3, "the fourth buys nothing");
    }

    #[test]
    fn a_device_that_serves_one_at_a_time_is_left_alone_nearly_always() {
        let mut tuner = Tuner::new(4);
        let (_, changes) = run(&mut tuner, 100_000, |flights| 1000.0 / f64::from(flights));
        assert_eq!(tuner.best, 1);
        let windows = 100_000 / WINDOW;
        assert!(changes / 2 < windows / 50, "{changes} changes in {windows} windows");
    }

    #[test]
    fn it_finds_the_way_back_when_the_device_changes() {
        let mut tuner = Tuner::new(4);
        run(&mut tuner, 10_000, |flights| 1000.0 * f64::from(flights));
        assert_eq!(tuner.best, 4);
        run(&mut tuner, 200_000, |flights| 1000.0 / f64::from(flights));
        assert_eq!(tuner.best, 1);
    }

    #[test]
    fn a_lone_committer_is_never_experimented_with() {
        let mut tuner = Tuner::new(4);
        let mut now = Duration::ZERO;
        for _ in 0..10_000 {
            now += Duration::from_micros(100);
            assert_eq!(tuner.landed(1, now), None);
        }
    }
}
