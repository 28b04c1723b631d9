//! How many commits a sync should wait for by the square-root rule. Pure.
//!
//! λ commits a second arrive, and a sync takes L seconds whatever it covers. One sync for every N
//! commits costs λ·L/N seconds of the device in each second, and N/2 seconds of waiting, of all
//! commits together. Where a second of a commit's waiting is worth `c` seconds of the device, the
//! sum is least at
//!
//! ```text
//! N* = √(2·L·λ / c)
//! ```
//!
//! Both λ and L are measured, as moving averages. Nobody waits for more than one sync takes, nor
//! for more than the missing commits should need; and who has been alone of late never waits.
//! `docs/design/0007-n-star.md` says when this helps, and why that is seldom.
//!
//! Source: F. W. Harris, "How many parts to make at once", 1913.

use std::time::Duration;

/// Landings without company after which a committer is alone.
const ALONE_AFTER: u32 = 16;

/// What is known of the commits that arrive.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrivals {
    /// Commits a second, of late; 0 while nothing is known.
    rate: f64,
    last: Option<Duration>,
    /// Commits of landings after which no time had passed.
    carried: u64,
    /// Landings until a committer counts as alone.
    company: u32,
}

impl Arrivals {
    /// A flush answered `commits`, and `waiting` were waiting for the next one, at `now` on a
    /// clock that starts anywhere.
    pub(crate) fn landed(&mut self, commits: u64, waiting: u64, now: Duration) {
        self.company =
            if commits + waiting > 1 { ALONE_AFTER } else { self.company.saturating_sub(1) };
        let Some(last) = self.last.replace(now) else { return };
        let seconds = now.saturating_sub(last).as_secs_f64();
        let commits = commits.saturating_add(std::mem::take(&mut self.carried));
        if commits == 0 || seconds <= 0.0 {
            // Nothing arrived, or in no time: what comes next will tell.
            (self.last, self.carried) = (Some(last), commits);
            return;
        }
        let rate = commits as f64 / seconds;
        self.rate = if self.rate == 0.0 { rate } else { self.rate * 0.875 + rate * 0.125 };
    }

    /// N*, when a sync takes `sync` and a second of waiting is worth `cost_percent` hundredths of a
    /// second of the device; at least 1.
    pub(crate) fn batch(&self, sync: Duration, cost_percent: u32) -> u64 {
        if self.company == 0 {
            return 1;
        }
        let cost = f64::from(cost_percent.max(1)) / 100.0;
        let batch = (2.0 * sync.as_secs_f64() * self.rate / cost).sqrt();
        // A float becomes the nearest integer there is: none of these is negative.
        (batch as u64).max(1)
    }

    /// How long to wait at most until `missing` more have arrived.
    pub(crate) fn window(&self, sync: Duration, missing: u64) -> Duration {
        let needed = missing as f64 / self.rate;
        if needed < sync.as_secs_f64() { Duration::from_secs_f64(needed) } else { sync }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(100);

    #[test]
    fn what_landed_in_no_time_is_counted_with_what_comes_next() {
        let mut arrivals = Arrivals::default();
        for (commits, at) in [(0, 0), (4, 0), (4, 1)] {
            arrivals.landed(commits, 0, SYNC * at);
        }
        assert!((arrivals.rate - 8.0 / SYNC.as_secs_f64()).abs() < 1.0, "{arrivals:?}");
    }

    /// So many landings, `every` apart, each of `commits`.
    fn after(landings: u32, every: Duration, commits: u64) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for landing in 1..=landings {
            arrivals.landed(commits, 0, every * landing);
        }
        arrivals
    }

    #[test]
    fn the_batch_grows_with_the_root_of_what_arrives_in_a_sync() {
        // 8 commits in each sync: √(2·8) = 4; 128: 16.
        assert_eq!(after(10, SYNC, 8).batch(SYNC, 100), 4);
        assert_eq!(after(10, SYNC, 128).batch(SYNC, 100), 16);
        // Four times as long a sync, or a quarter of the cost of waiting: twice the batch.
        assert_eq!(after(10, SYNC, 128).batch(4 * SYNC, 100), 32);
        assert_eq!(after(10, SYNC, 128).batch(SYNC, 25), 32);
    }

    #[test]
    fn who_is_alone_never_waits_whatever_waiting_costs() {
        let mut arrivals = after(100, SYNC, 1);
        for cost in [0, 1, 100, u32::MAX] {
            assert_eq!(arrivals.batch(SYNC, cost), 1);
        }
        // One who came while it flushed is company.
        arrivals.landed(1, 1, SYNC * 101);
        assert!(arrivals.batch(SYNC, 10) > 1);
        for landing in 102..102 + ALONE_AFTER {
            arrivals.landed(1, 0, SYNC * landing);
        }
        assert_eq!(arrivals.batch(SYNC, 10), 1, "and is forgotten");
    }

    #[test]
    fn nothing_known_means_no_waiting() {
        let arrivals = Arrivals::default();
        assert_eq!(arrivals.batch(SYNC, 100), 1);
        let mut first = Arrivals::default();
        first.landed(8, 0, SYNC);
        assert_eq!(first.batch(SYNC, 100), 1, "one landing tells no rate");
        assert_eq!(first.window(SYNC, 3), SYNC, "no rate, no more than a sync");
    }

    #[test]
    fn nobody_waits_longer_than_a_sync_or_than_the_missing_need() {
        let arrivals = after(10, SYNC, 8);
        let needed = arrivals.window(SYNC, 2);
        assert!(needed > SYNC / 5 && needed < SYNC / 3, "{needed:?}");
        assert_eq!(arrivals.window(SYNC, 100), SYNC);
        assert_eq!(arrivals.window(Duration::ZERO, 100), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_stands_still_or_runs_back_breaks_nothing() {
        let mut arrivals = Arrivals::default();
        for now in [5, 5, 3, 0, 5, u64::MAX / 2] {
            arrivals.landed(3, 1, Duration::from_nanos(now));
            let batch = arrivals.batch(Duration::MAX, 0);
            assert!(batch >= 1);
            assert!(arrivals.window(SYNC, u64::MAX) <= SYNC);
        }
    }
}
