//! One case: a workload with a seed, explored widely and then deeply.
//!
//! A case goes by its name, such as `mixed:17`; a state in it by a name such as
//! `mixed:17:wide:204.3`, and with fewer actions than the workload has as `mixed/12:17:wide:204.3`.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::Mutex;
use wal_sim::{Coverage, Explorer, Failure, SimDisk};

use crate::decay;
use crate::figures::Figures;
use crate::profile::{Kind, Profile};
use crate::story::Story;
use crate::threads;

/// How much of each case is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Crash states for each power cut, in the wide exploration.
    pub states: usize,
    /// Power cuts in a row, the first in the workload.
    pub depth: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { states: 8, depth: 3 }
    }
}

/// A workload with a seed.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The workload.
    pub profile: &'static Profile,
    /// The seed of the workload, of its faults, and of what survives.
    pub seed: u64,
    /// How many actions.
    pub steps: u32,
}

/// A case in which a promise was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The case.
    pub case: Case,
    /// The state in it, for a replay; empty if it was no state that was broken.
    pub state: String,
    /// How much of the case was looked at: the names of states depend on it.
    pub effort: Effort,
    /// What was broken, and where.
    pub reason: String,
    /// What the case had covered until then.
    pub figures: Box<Figures>,
}

impl Case {
    /// The case of `profile` with `seed`.
    #[must_use]
    pub const fn new(profile: &'static Profile, seed: u64) -> Self {
        Self { profile, seed, steps: profile.steps }
    }

    /// The case and the state that a name stands for; the state may be missing.
    #[must_use]
    pub fn parse(name: &str) -> Option<(Self, Option<String>)> {
        let mut parts = name.splitn(3, ':');
        let (profile, steps) = match parts.next()?.split_once('/') {
            None => (Profile::named(name.split(':').next()?)?, None),
            Some((profile, steps)) => (Profile::named(profile)?, Some(steps.parse().ok()?)),
        };
        let seed = parts.next()?.parse().ok()?;
        let steps = steps.unwrap_or(profile.steps);
        Some((Self { profile, seed, steps }, parts.next().map(str::to_owned)))
    }

    /// Explores the case.
    ///
    /// # Errors
    ///
    /// The first promise that was broken, in the smallest run of the workload that breaks it.
    pub fn explore(&self, effort: Effort) -> Result<Figures, Box<Broken>> {
        match self.explore_once(effort) {
            Err(broken) => Err(self.shrink(effort, broken)),
            explored => explored,
        }
    }

    /// The same failure with fewer actions, if it is there with fewer.
    fn shrink(&self, effort: Effort, broken: Box<Broken>) -> Box<Broken> {
        let mut smallest = broken;
        let mut steps = 1;
        while steps < smallest.case.steps {
            let case = Self { steps, ..*self };
            if let Err(mut smaller) = case.explore_once(effort) {
                smaller.figures = smallest.figures;
                smallest = smaller;
                break;
            }
            steps += steps.div_ceil(3);
        }
        smallest
    }

    fn explore_once(&self, effort: Effort) -> Result<Figures, Box<Broken>> {
        let figures = Mutex::new(Figures { cases: 1, ..Figures::default() });
        let explore = || match self.profile.kind {
            Kind::Decay => self.decay(effort, &figures),
            Kind::Crashes | Kind::Threads => self.crash(effort, &figures),
        };
        // The explorer catches panics of the log in crash states; this is for all others.
        let explored = catch_unwind(AssertUnwindSafe(explore))
            .unwrap_or_else(|panic| Err((String::new(), format!("panicked: {}", said(&*panic)))));
        let mut figures = figures.into_inner();
        let name = self.profile.name.to_owned();
        figures.workloads.insert(name, figures.distinct.len() as u64);
        match explored {
            Ok(()) => Ok(figures),
            Err((state, reason)) => {
                let figures = Box::new(figures);
                Err(Box::new(Broken { case: *self, state, effort, reason, figures }))
            }
        }
    }

    fn decay(&self, effort: Effort, figures: &Mutex<Figures>) -> Result<(), (String, String)> {
        let rounds = 64 * effort.states as u64;
        decay::explore(self.profile, self.seed, self.steps, rounds, figures)?;
        let mut figures = figures.lock();
        let counts = [figures.states, figures.distinct.len() as u64, figures.judged.promised];
        figures.hash = counts.iter().fold(self.seed, |hash, count| {
            (hash.rotate_left(9) ^ count).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        Ok(())
    }

    fn crash(&self, effort: Effort, figures: &Mutex<Figures>) -> Result<(), (String, String)> {
        for way in ["wide", "deep"] {
            if way == "deep" && effort.depth < 2 {
                continue;
            }
            let explorer = self.explorer(way, effort);
            let story = |disk: &SimDisk| self.workload(disk, figures);
            let judge =
                |disk: SimDisk, story: &Story| threads::judge(&disk, story, self.profile, figures);
            let coverage = explorer
                .run(story, judge)
                .map_err(|failure| (format!("{way}:{}", failure.case), told(&failure)))?;
            figures.lock().add_coverage(&coverage);
        }
        Ok(())
    }

    fn workload(&self, disk: &SimDisk, figures: &Mutex<Figures>) -> Story {
        let story = threads::workload(disk, self.profile, self.seed, self.steps);
        let mut figures = figures.lock();
        figures.poisonings += story.poisonings;
        figures.refusals += story.refusals;
        story
    }

    fn explorer(&self, way: &str, effort: Effort) -> Explorer {
        let disk = self.profile.disk();
        let explorer = Explorer::new(self.seed)
            .start_from(&disk)
            .faults(self.profile.faults(self.seed))
            .torn()
            .kills();
        if way == "wide" {
            explorer.states_per_cut(effort.states)
        } else {
            explorer.states_per_cut(2).cuts_max(3).depth(effort.depth)
        }
    }

    /// Judges one state of the case by its name, such as `wide:204.3`.
    ///
    /// # Errors
    ///
    /// The promise that is broken in it, or that there is no such state.
    pub fn replay(&self, state: &str, effort: Effort) -> Result<Coverage, String> {
        let figures = Mutex::new(Figures::default());
        if self.profile.kind == Kind::Decay {
            let rounds = 64 * effort.states as u64;
            return decay::explore(self.profile, self.seed, self.steps, rounds, &figures)
                .map(|()| Coverage::default())
                .map_err(|(state, reason)| format!("{state}: {reason}"));
        }
        let Some((way, case)) = state.split_once(':') else {
            return Err(format!("`{state}` is not the name of a state"));
        };
        let story = |disk: &SimDisk| self.workload(disk, &figures);
        let judge =
            |disk: SimDisk, story: &Story| threads::judge(&disk, story, self.profile, &figures);
        self.explorer(way, effort).replay(case, story, judge).map_err(|failure| told(&failure))
    }

    /// The workload without any power cut: what it did.
    #[must_use]
    pub fn rehearse(&self) -> (SimDisk, Story) {
        let disk = self.profile.disk();
        disk.set_faults(self.profile.faults(self.seed));
        let story = threads::workload(&disk, self.profile, self.seed, self.steps);
        (disk, story)
    }
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    text.or(owned).unwrap_or("no message")
}

/// A failure of the explorer, without its own way to replay.
fn told(failure: &Failure) -> String {
    let mut text = failure.reason.clone();
    for step in &failure.way {
        text.push_str("\n  ");
        text.push_str(step);
    }
    if !failure.picture.is_empty() {
        text.push_str("\n  left behind, a letter a sector\n");
        text.push_str(&failure.picture);
    }
    text
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps == self.profile.steps {
            write!(f, "{}:{}", self.profile.name, self.seed)
        } else {
            write!(f, "{}/{}:{}", self.profile.name, self.steps, self.seed)
        }
    }
}

impl Broken {
    /// The command that shows it again.
    #[must_use]
    pub fn replay(&self) -> String {
        let Self { case, state, effort, .. } = self;
        let mut command = format!("cargo xtask sim --replay {case}");
        if !state.is_empty() {
            command.push_str(&format!(":{state}"));
        }
        let default = Effort::default();
        if effort.states != default.states {
            command.push_str(&format!(" --states {}", effort.states));
        }
        if effort.depth != default.depth {
            command.push_str(&format!(" --depth {}", effort.depth));
        }
        command
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n  found after {} states of this case\n  replay with\n    {}",
            self.reason,
            self.figures.states,
            self.replay()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_and_a_state_are_found_by_their_name() {
        let (case, state) = Case::parse("mixed:17:wide:204.3").unwrap();
        assert_eq!((case.to_string().as_str(), state.as_deref()), ("mixed:17", Some("wide:204.3")));
        let (case, state) = Case::parse("levels/3:5").unwrap();
        assert_eq!((case.steps, case.to_string().as_str(), state), (3, "levels/3:5", None));
        assert!(Case::parse("nothing:5").is_none());
        assert!(Case::parse("mixed").is_none());
    }

    #[test]
    fn a_replay_is_one_command_with_all_that_the_name_depends_on() {
        let case = Case::new(Profile::named("mixed").unwrap(), 7);
        let broken = |state: &str, effort| Broken {
            case,
            state: state.to_owned(),
            effort,
            reason: String::new(),
            figures: Box::default(),
        };
        let command = broken("wide:26.0", Effort::default()).replay();
        assert_eq!(command, "cargo xtask sim --replay mixed:7:wide:26.0");
        let command = broken("round-41", Effort { states: 6, depth: 2 }).replay();
        assert_eq!(command, "cargo xtask sim --replay mixed:7:round-41 --states 6 --depth 2");
        // A panic of the lab has no state: its whole case is explored again.
        let command = broken("", Effort::default()).replay();
        let name = command.rsplit_once(' ').unwrap().1.to_owned();
        assert_eq!(Case::parse(&name).unwrap().1, None);
    }
}
