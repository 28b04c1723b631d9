//! How many flushes in flight pay. Pure: told of each landing, it says how many to allow.
//!
//! Some devices serve several flushes at once, on some each waits for the other, and it changes
//! with the load. So it is tried: short windows with a flush more or less, each beside one as short
//! with what was best so far, in turns, until the majority of seven pairs is clear. That is what
//! the median of the seven says, found out as early as can be; so a moment of noise decides nothing.
//!
//! ```text
//! best | tried | best | tried | ... majority -- lost --> rest for 64 times what the tried windows took
//!                                       └------ won ---> it is the best now; what comes next is tried
//! ```
//!
//! A trial that is lost thus costs less than 1/64 of the time, were nothing committed in it at all, and
//! each time half of that, down to 1/512. Idle time is no rest: nothing is gained in it.

use std::time::Duration;

/// Landings of one window.
const WINDOW: u32 = 16;
/// Pairs of windows which decide: the majority of seven.
const MAJORITY: u32 = 4;
/// A window that takes so many times as long as the one before it, with the best, is lost.
const SLOW: u32 = 4;
/// After a lost trial nothing is tried for so many times what it took, at first and at the most.
const REST: u32 = 64;
const REST_MAX: u32 = 512;
/// More than this between two landings is idle time.
const IDLE: Duration = Duration::from_millis(100);

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Tuner {
    max: u32,
    /// What is best, as far as is known.
    best: u32,
    trial: Option<Trial>,
    /// Which way the next trial goes.
    more: bool,
    /// How many times what the next lost trial takes is rested.
    rest: u32,
    /// The time of landings, idle time left out.
    busy: Duration,
    /// When the next trial may begin, in that time.
    due: Duration,
    last: Option<Duration>,
    /// While nothing is tried.
    window: Window,
}

impl Tuner {
    /// Begins with one flush at a time; never allows more than `max`.
    pub(crate) const fn new(max: u32) -> Self {
        Self {
            max,
            best: 1,
            trial: None,
            more: true,
            rest: REST,
            busy: Duration::ZERO,
            due: Duration::ZERO,
            last: None,
            window: Window::begin(Duration::ZERO),
        }
    }

    /// A flush that answered `commits` landed at `now`. Gives how many flushes to allow from now
    /// on, if that is something else than before.
    pub(crate) fn landed(&mut self, commits: u64, now: Duration) -> Option<u32> {
        if self.max <= 1 {
            return None;
        }
        let since = now.saturating_sub(self.last.replace(now).unwrap_or(now));
        self.busy = self.busy.saturating_add(since.min(IDLE));
        let before = self.flights();
        match self.trial.take() {
            None => self.rest(commits),
            Some(mut trial) => match trial.landed(commits, self.busy) {
                None => self.trial = Some(trial),
                Some(won) => self.conclude(&trial, won),
            },
        }
        let after = self.flights();
        (after != before).then_some(after)
    }

    fn flights(&self) -> u32 {
        self.trial.as_ref().filter(|trial| trial.trying).map_or(self.best, |trial| trial.tried)
    }

    /// Begins a trial when it is time for one.
    fn rest(&mut self, commits: u64) {
        self.window.count(commits);
        if self.window.landings < WINDOW {
            return;
        }
        let lone = self.window.commits <= u64::from(WINDOW);
        self.window = Window::begin(self.busy);
        // One committer has nothing to put into a second flush.
        if self.busy < self.due || (lone && self.best == 1) {
            return;
        }
        let up = self.best < self.max && (self.more || self.best == 1);
        let tried = if up { self.best + 1 } else { self.best.saturating_sub(1).max(1) };
        self.trial = Some(Trial::new(self.best, tried, self.busy));
    }

    fn conclude(&mut self, trial: &Trial, won: bool) {
        if won {
            self.best = trial.tried;
            self.rest = REST;
        } else {
            self.more = !self.more;
            self.due = self.busy.saturating_add(trial.spent.saturating_mul(self.rest));
            self.rest = (self.rest * 2).min(REST_MAX);
        }
        self.window = Window::begin(self.busy);
    }
}

/// Windows with the best and with something else, in turns.
#[derive(Debug)]
struct Trial {
    tried: u32,
    /// What the rate with it must be at least, of that with the best.
    needed: f64,
    /// Whether the window of now is one with it.
    trying: bool,
    /// Landings which still come from before the window.
    settling: u32,
    settles: u32,
    window: Window,
    /// When something else was last allowed.
    turned: Duration,
    /// What the last window with the best took, and what it gave.
    best: (Duration, f64),
    won: u32,
    lost: u32,
    /// Time of all windows with what is tried.
    spent: Duration,
}

impl Trial {
    fn new(best: u32, tried: u32, now: Duration) -> Self {
        Self {
            tried,
            // More flushes cost more processor time: they must be worth it.
            needed: if tried > best { 1.05 } else { 0.98 },
            trying: false,
            settling: 0,
            settles: best.max(tried),
            window: Window::begin(now),
            turned: now,
            best: (Duration::ZERO, 0.0),
            won: 0,
            lost: 0,
            spent: Duration::ZERO,
        }
    }

    /// One more landing; whether the trial is won, once that is clear.
    fn landed(&mut self, commits: u64, now: Duration) -> Option<bool> {
        let so_far = now.saturating_sub(self.turned);
        let slow = self.trying && so_far > self.best.0.saturating_mul(SLOW);
        if self.settling > 0 && !slow {
            self.settling -= 1;
            self.window = Window::begin(now);
            return None;
        }
        self.window.count(commits);
        if self.window.landings < WINDOW && !slow {
            return None;
        }
        let rate = self.window.rate(now);
        if !self.trying {
            self.best = (now.saturating_sub(self.window.begun), rate);
        } else {
            self.spent = self.spent.saturating_add(so_far);
            let won = !slow && rate >= self.best.1 * self.needed;
            self.won += u32::from(won);
            self.lost += u32::from(!won);
        }
        self.turn(now);
        (self.won.max(self.lost) >= MAJORITY).then_some(self.won > self.lost)
    }

    fn turn(&mut self, now: Duration) {
        self.trying = !self.trying;
        self.turned = now;
        self.settling = self.settles;
        self.window = Window::begin(now);
    }
}

/// Landings that are counted.
#[derive(Debug)]
struct Window {
    begun: Duration,
    landings: u32,
    commits: u64,
}

impl Window {
    const fn begin(begun: Duration) -> Self {
        Self { begun, landings: 0, commits: 0 }
    }

    const fn count(&mut self, commits: u64) {
        self.landings += 1;
        self.commits = self.commits.saturating_add(commits);
    }

    /// Commits a second.
    fn rate(&self, now: Duration) -> f64 {
        let seconds = now.saturating_sub(self.begun).as_secs_f64();
        if seconds > 0.0 { self.commits as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Landings of half a minute or so.
    const LONG: u32 = 200_000;

    /// A device, and a tuner which decides how many flushes it is given.
    struct Run {
        tuner: Tuner,
        flights: u32,
        now: Duration,
        /// Time with so many flushes in flight.
        spent: [Duration; 9],
        /// Of which as many commits could have been made with one flush at a time.
        commits: f64,
        commits_alone: f64,
        noise: u64,
    }

    impl Run {
        fn new(max: u32) -> Self {
            Self {
                tuner: Tuner::new(max),
                flights: 1,
                now: Duration::ZERO,
                spent: [Duration::ZERO; 9],
                commits: 0.0,
                commits_alone: 0.0,
                noise: 1,
            }
        }

        /// Between 0 and 1, the same each time.
        fn random(&mut self) -> f64 {
            self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            (self.noise >> 33) as f64 / (1_u64 << 31) as f64
        }

        /// Lands so often on a device of which `rate` gives commits a second by flushes in flight,
        /// give or take a share of `noise`.
        fn land(&mut self, landings: u32, noise: f64, rate: impl Fn(u32) -> f64) -> &mut Self {
            for _ in 0..landings {
                let noisy = 1.0 + noise * (2.0 * self.random() - 1.0);
                let took = 8.0 / rate(self.flights) * noisy;
                self.now += Duration::from_secs_f64(took);
                self.spent[self.flights as usize] += Duration::from_secs_f64(took);
                self.commits += 8.0;
                self.commits_alone += took * rate(1);
                if let Some(next) = self.tuner.landed(8, self.now) {
                    self.flights = next;
                }
            }
            self
        }

        /// Of the commits that one flush at a time would have made.
        fn of_alone(&self) -> f64 {
            self.commits / self.commits_alone
        }

        fn trials(&self) -> Duration {
            self.spent[2..].iter().sum()
        }
    }

    /// Serialises flushes: the more, the worse for all of them.
    fn one_at_a_time(flights: u32) -> f64 {
        50_000.0 / f64::from(flights)
    }

    fn three_at_a_time(flights: u32) -> f64 {
        50_000.0 * f64::from(flights.min(3))
    }

    #[test]
    fn where_flushes_wait_for_each_other_trials_cost_less_than_a_fiftieth() {
        let devices: [fn(u32) -> f64; 4] = [
            one_at_a_time,
            |flights| if flights == 1 { 50_000.0 } else { 45_000.0 },
            |flights| if flights == 1 { 50_000.0 } else { 1_000.0 },
            |_| 50_000.0,
        ];
        for device in devices {
            let mut run = Run::new(8);
            // The warm-up is the first trial.
            run.land(200, 0.0, device);
            let first = run.trials();
            assert!(first > Duration::ZERO, "it is tried");
            assert!(first < run.now, "and given up");
            run.land(LONG, 0.0, device);
            assert_eq!(run.flights, 1);
            let later = run.trials() - first;
            assert!(later.as_secs_f64() < run.now.as_secs_f64() / 64.0, "{later:?}");
            assert!(run.of_alone() > 0.98, "{}", run.of_alone());
        }
    }

    #[test]
    fn trials_that_are_lost_become_rarer() {
        let mut run = Run::new(4);
        run.land(LONG, 0.0, one_at_a_time);
        assert!(run.trials().as_secs_f64() < run.now.as_secs_f64() / 200.0, "{:?}", run.trials());
        let before = run.trials();
        run.land(LONG, 0.0, one_at_a_time);
        assert!(run.trials() > before, "but are made");
    }

    #[test]
    fn no_noise_has_it_lose_more_than_a_twentieth() {
        for seed in 0..5 {
            for (noise, second) in [(0.3, 0.96), (0.5, 0.9), (0.8, 0.8), (0.9, 0.5)] {
                let mut run = Run::new(4);
                run.noise = seed;
                let device = |flights: u32| 50_000.0 * f64::powi(second, flights as i32 - 1);
                run.land(LONG, noise, device);
                assert!(run.of_alone() > 0.97, "{seed} {noise} {second}: {}", run.of_alone());
            }
        }
    }

    #[test]
    fn a_device_that_serves_several_flushes_gets_several_within_a_few_hundred_landings() {
        let mut run = Run::new(8);
        run.land(1_000, 0.1, three_at_a_time);
        assert_eq!(run.tuner.best, 3, "the fourth buys nothing");
        run.land(LONG, 0.1, three_at_a_time);
        assert_eq!(run.tuner.best, 3);
        assert!(run.of_alone() > 2.9, "{}", run.of_alone());
    }

    #[test]
    fn it_finds_the_way_when_the_device_changes() {
        let mut run = Run::new(4);
        run.land(LONG, 0.1, three_at_a_time);
        run.land(100_000, 0.1, one_at_a_time);
        assert_eq!(run.tuner.best, 1);
        run.land(LONG, 0.1, one_at_a_time);
        run.land(200_000, 0.1, three_at_a_time);
        assert_eq!(run.tuner.best, 3);
    }

    #[test]
    fn a_window_that_takes_for_ever_is_given_up() {
        let stuck = |flights: u32| if flights == 1 { 50_000.0 } else { 80.0 };
        let mut run = Run::new(2);
        run.land(200, 0.0, stuck);
        assert_eq!(run.spent[2], Duration::from_millis(400), "a landing of each of four windows");
    }

    #[test]
    fn idle_time_is_no_rest() {
        let mut run = Run::new(2);
        run.land(200, 0.0, one_at_a_time);
        let first = run.trials();
        for _ in 0..10 {
            run.now += Duration::from_secs(3600);
            run.land(200, 0.0, one_at_a_time);
        }
        assert_eq!(run.trials(), first, "ten hours passed, and 2,000 landings");
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

    #[test]
    fn who_committed_alone_through_several_flushes_ends_with_one() {
        let mut run = Run::new(4);
        run.land(10_000, 0.0, three_at_a_time);
        assert_eq!(run.tuner.best, 3);
        for _ in 0..LONG {
            run.now += Duration::from_micros(100);
            run.tuner.landed(1, run.now);
        }
        assert_eq!(run.tuner.best, 1);
    }
}
