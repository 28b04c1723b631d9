//! Many cases, on all cores, merged in the order of their numbers.
//!
//! Cases are independent, so the machine's timing does not show: the same seed and number of
//! cases give the same figures and the same final hash.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::case::{Broken, Case, Effort};
use crate::figures::Figures;
use crate::profile::Profile;

/// What is to be explored.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The workloads, taken in turn.
    pub profiles: Vec<&'static Profile>,
    /// The seed that all others follow from.
    pub seed: u64,
    /// How many cases.
    pub cases: u64,
    /// No case is begun after this long.
    pub time: Option<Duration>,
    /// How much of each case is looked at.
    pub effort: Effort,
    /// How many threads; all cores unless told otherwise.
    pub threads: Option<usize>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Everything covered.
    pub figures: Figures,
    /// The broken promise with the lowest number of its case, if there is one.
    pub broken: Option<Box<Broken>>,
}

/// Cases done and not merged yet, by their number.
#[derive(Default)]
struct Progress {
    next: u64,
    waiting: BTreeMap<u64, Figures>,
    merged: Figures,
    broken: Option<(u64, Box<Broken>)>,
}

impl Campaign {
    /// The case with this number.
    #[must_use]
    pub fn case(&self, number: u64) -> Case {
        let count = self.profiles.len().max(1) as u64;
        let profile = self.profiles[(number % count) as usize];
        Case::new(profile, self.seed + number / count)
    }

    /// Explores all cases; `told` is called after each, with what is merged so far.
    pub fn run(&self, told: &(dyn Fn(&Figures) + Sync)) -> Outcome {
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let progress = Mutex::new(Progress::default());
        let began = Instant::now();
        let over = || {
            stop.load(Ordering::Relaxed) || self.time.is_some_and(|time| began.elapsed() >= time)
        };
        let work = || {
            while !over() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.cases {
                    break;
                }
                let explored = self.case(number).explore(self.effort);
                stop.fetch_or(explored.is_err(), Ordering::Relaxed);
                let mut progress = progress.lock();
                progress.take(number, explored);
                told(&progress.merged);
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        std::thread::scope(|scope| {
            for _ in 0..self.threads.unwrap_or(cores) {
                scope.spawn(work);
            }
        });
        let Progress { merged, broken, .. } = progress.into_inner();
        Outcome { figures: merged, broken: broken.map(|(_, broken)| broken) }
    }
}

impl Progress {
    fn take(&mut self, number: u64, explored: Result<Figures, Box<Broken>>) {
        let figures = match explored {
            Ok(figures) => figures,
            Err(broken) => {
                let figures = (*broken.figures).clone();
                if self.broken.as_ref().is_none_or(|(first, _)| number < *first) {
                    self.broken = Some((number, broken));
                }
                figures
            }
        };
        self.waiting.insert(number, figures);
        while let Some(figures) = self.waiting.remove(&self.next) {
            self.merged.merge(&figures);
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(threads: usize) -> Campaign {
        Campaign {
            profiles: ["levels", "decay"].iter().filter_map(|name| Profile::named(name)).collect(),
            seed: 3,
            cases: 4,
            time: None,
            effort: Effort { states: 2, depth: 1 },
            threads: Some(threads),
        }
    }

    #[test]
    fn figures_do_not_depend_on_how_many_threads_there_were() {
        let one = campaign(1).run(&|_| {});
        let two = campaign(2).run(&|_| {});
        assert!(one.broken.is_none() && two.broken.is_none());
        assert_eq!(one.figures.to_json(), two.figures.to_json());
        assert_eq!(one.figures.cases, 4);
    }

    #[test]
    fn three_runs_of_a_seed_end_in_the_same_hash_and_another_seed_in_another() {
        let of = |seed| {
            let effort = Effort { states: 1, depth: 2 };
            let campaign = Campaign { seed, effort, cases: 2, ..campaign(2) };
            let outcome = campaign.run(&|_| {});
            assert!(outcome.broken.is_none());
            outcome.figures
        };
        let runs = [of(1), of(1), of(1)];
        assert!(runs.iter().all(|figures| figures.hash == runs[0].hash && figures.hash != 0));
        assert!(runs.iter().all(|figures| figures.distinct == runs[0].distinct));
        assert_ne!(of(2).hash, runs[0].hash);
    }

    #[test]
    fn a_workload_meets_the_faults_that_it_is_there_for() {
        let profiles = vec![Profile::named("bad-sectors").unwrap()];
        let effort = Effort { states: 1, depth: 1 };
        let campaign = Campaign { profiles, effort, cases: 1, ..campaign(1) };
        let outcome = campaign.run(&|_| {});
        assert!(outcome.broken.is_none(), "{}", outcome.broken.unwrap());
        assert_eq!(outcome.figures.faults_below_floor(&campaign.profiles, 5), []);
    }
}
