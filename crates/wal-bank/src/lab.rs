//! Banks on the simulated disk: a workload with a seed, cut everywhere, restarted, cut again.
//!
//! A case goes by its name, such as `bank-torn:17`, and a state in it as
//! `bank-torn:17:deep:n24:60.1/7.0`.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use wal_sim::{Coverage, Explorer, Failure, Notes, Seen, SimDisk};

use crate::check::check;
use crate::engine::{Engine, Shape};
use crate::figures::Figures;
use crate::paged::PagedBank;
use crate::story::Story;
use crate::teller::Teller;
use crate::treed::TreeBank;

/// How much of each case is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Crash states for each power cut in the workload.
    pub states: usize,
    /// Power cuts in a row, the first in the workload.
    pub depth: usize,
    /// Threads.
    pub threads: usize,
}

impl Default for Effort {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { states: 6, depth: 3, threads }
    }
}

/// A kind of bank.
#[derive(Clone, Copy, Debug)]
pub struct Flavour {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is there for.
    pub about: &'static str,
    /// How it is kept.
    pub shape: Shape,
    /// Steps of the teller.
    pub steps: usize,
    run: Run,
}

type Explored = Result<Coverage, Box<Failure>>;

/// Explores a case one way, or one state of it, on an engine.
type Run = fn(&Case, &str, Option<&str>, Effort, &Seen, &Mutex<Figures>) -> Explored;

const SHAPE: Shape = Shape {
    accounts: 8,
    pool_pages: 3,
    images: false,
    redo_threads: 1,
    segment_bytes: 64 << 10,
    helper_thread: false,
};

/// Every kind of bank.
pub const FLAVOURS: &[Flavour] = &[
    Flavour {
        name: "bank-whole",
        about: "pages that are written whole or not at all, in a pool of three",
        shape: SHAPE,
        steps: 28,
        run: run::<PagedBank>,
    },
    Flavour {
        name: "bank-torn",
        about: "pages that tear, mended by their images",
        shape: Shape { images: true, ..SHAPE },
        steps: 24,
        run: run::<PagedBank>,
    },
    Flavour {
        name: "bank-wide",
        about: "a pool that holds everything: redo has all to do",
        shape: Shape { pool_pages: 64, ..SHAPE },
        steps: 28,
        run: run::<PagedBank>,
    },
    Flavour {
        name: "bank-tree",
        about: "the reference engine: a B+tree whose pages tear",
        shape: Shape { accounts: 16, pool_pages: 8, images: true, ..SHAPE },
        steps: 20,
        run: run::<TreeBank>,
    },
];

impl Flavour {
    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        FLAVOURS.iter().find(|flavour| flavour.name == name)
    }

    /// The kinds of these names; `bank`, and no name at all, mean every one.
    ///
    /// # Errors
    ///
    /// The name that is none.
    pub fn all_of(names: &[String]) -> Result<Vec<&'static Self>, String> {
        let mut found = Vec::new();
        for name in names {
            match Self::named(name) {
                Some(flavour) => found.push(flavour),
                None if name == "bank" => found.extend(FLAVOURS),
                None => return Err(name.clone()),
            }
        }
        if names.is_empty() {
            found.extend(FLAVOURS);
        }
        Ok(found)
    }
}

/// A workload with a seed.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What kind of bank.
    pub flavour: &'static Flavour,
    /// Of the workload, and of what survives.
    pub seed: u64,
    /// Steps of the teller.
    pub steps: usize,
}

/// A case in which a promise was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The case.
    pub case: Case,
    /// The state, for a replay.
    pub state: String,
    /// What was broken.
    pub reason: String,
    /// How much was looked at: the names of states depend on it.
    pub effort: Effort,
    /// What had been covered until then.
    pub figures: Box<Figures>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flavour, seed, steps } = self;
        if *steps == flavour.steps {
            write!(f, "{}:{seed}", flavour.name)
        } else {
            write!(f, "{}/{steps}:{seed}", flavour.name)
        }
    }
}

impl Case {
    /// The case of `flavour` with `seed`.
    #[must_use]
    pub const fn new(flavour: &'static Flavour, seed: u64) -> Self {
        Self { flavour, seed, steps: flavour.steps }
    }

    /// The case, and the state if there is one, that a name stands for.
    #[must_use]
    pub fn parse(name: &str) -> Option<(Self, Option<String>)> {
        let mut parts = name.splitn(3, ':');
        let mut kind = parts.next()?.splitn(2, '/');
        let flavour = Flavour::named(kind.next()?)?;
        let steps = kind.next().map_or(Some(flavour.steps), |steps| steps.parse().ok())?;
        let seed = parts.next()?.parse().ok()?;
        Some((Self { flavour, seed, steps }, parts.next().map(str::to_owned)))
    }

    /// Explores the case: widely, then deeply.
    ///
    /// # Errors
    ///
    /// The first promise that was broken, in the shortest workload found that breaks it.
    pub fn explore(&self, effort: Effort, seen: &Seen) -> Result<Figures, Box<Broken>> {
        let figures = Mutex::new(Figures { cases: 1, ..Figures::default() });
        let ways: &[&str] = if effort.depth > 1 { &["wide", "deep"] } else { &["wide"] };
        for way in ways {
            match (self.flavour.run)(self, way, None, effort, seen, &figures) {
                Ok(coverage) => figures.lock().coverage.merge(&coverage),
                Err(failure) => {
                    figures.lock().coverage.merge(&failure.coverage);
                    let figures = Box::new(figures.into_inner());
                    let state = format!("{way}:{}", failure.case);
                    let reason = told(&failure);
                    return Err(Box::new(Broken { case: *self, state, reason, effort, figures }));
                }
            }
        }
        Ok(figures.into_inner())
    }

    /// Judges one state by its name.
    ///
    /// # Errors
    ///
    /// What is broken in it, or that there is no such state.
    pub fn replay(&self, state: &str, effort: Effort) -> Result<(), String> {
        let Some((way, name)) = state.split_once(':') else {
            return Err(format!("`{state}` is not the name of a state"));
        };
        let (figures, seen) = (Mutex::new(Figures::default()), Seen::default());
        let judged = (self.flavour.run)(self, way, Some(name), effort, &seen, &figures);
        judged.map(drop).map_err(|failure| told(&failure))
    }

    fn explorer(&self, way: &str, effort: Effort, seen: &Seen) -> Explorer {
        let explorer = Explorer::new(self.seed).kills().seen(seen).threads(effort.threads);
        let explorer = if self.flavour.shape.images { explorer.torn() } else { explorer };
        if way == "wide" {
            explorer.states_per_cut(effort.states)
        } else {
            let explorer = explorer.states_per_cut(2).cuts_max(6).depth(effort.depth);
            explorer.recovery_states_per_cut(2).recovery_cuts_max(10)
        }
    }
}

/// Explores a case, or one state of it, on an engine.
fn run<E: Engine>(
    case: &Case,
    way: &str,
    state: Option<&str>,
    effort: Effort,
    seen: &Seen,
    figures: &Mutex<Figures>,
) -> Explored {
    let (shape, seed) = (case.flavour.shape, case.seed);
    let work = |disk: &SimDisk, notes: &Notes<Story>, steps: usize| {
        notes.update(|story| *story = Story::new(shape.accounts));
        let (listener, story) = (notes.clone(), Story::new(shape.accounts));
        let tell = move |event: &_| listener.update(|story| story.tell(event));
        let storage = Arc::new(disk.clone());
        let mut teller = Teller::<E>::new(storage, shape, seed, story, 0, tell);
        let worked = teller.work(steps);
        let mut broken = teller.story.broken.clone();
        if let Err(error) = worked
            && !disk.is_off()
        {
            broken = Some(format!("the bank failed: {error}"));
        }
        if let Some(broken) = broken {
            notes.update(|story| story.broken = Some(broken));
        } else if seed % 2 == 0 && !disk.is_off() {
            drop(teller.close());
        }
    };
    let judge = |disk: SimDisk, story: &Story| check::<E>(&disk, story, shape, figures);
    let explorer = case.explorer(way, effort, seen);
    if let Some(name) = state {
        return explorer.replay_sized(name, work, judge);
    }
    let whole = |disk: &SimDisk, notes: &Notes<Story>| work(disk, notes, case.steps);
    let failure = match explorer.record(whole, judge) {
        Ok(coverage) => return Ok(coverage),
        Err(failure) => failure,
    };
    // What it takes to make a failure small is no part of what it took to find it.
    let aside = Mutex::new(Figures::default());
    let judge = |disk: SimDisk, story: &Story| check::<E>(&disk, story, shape, &aside);
    match explorer.record_sized(case.steps, work, judge) {
        Err(mut shorter) => {
            shorter.coverage = failure.coverage;
            Err(shorter)
        }
        Ok(_) => Err(failure),
    }
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

impl Broken {
    /// The command that shows it again.
    #[must_use]
    pub fn replay(&self) -> String {
        let Self { case, state, effort, .. } = self;
        let mut command = format!("cargo xtask sim --replay {case}:{state}");
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
        write!(f, "{}\n  replay with\n    {}", self.reason, self.replay())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_and_a_state_are_found_by_their_name() {
        let (case, state) = Case::parse("bank-torn:17:deep:n24:60.1/7.0").unwrap();
        assert_eq!(case.to_string(), "bank-torn:17");
        assert_eq!(state.as_deref(), Some("deep:n24:60.1/7.0"));
        let (case, state) = Case::parse("bank-whole/9:4").unwrap();
        assert_eq!((case.to_string().as_str(), case.steps, state), ("bank-whole/9:4", 9, None));
        assert!(Case::parse("mixed:17").is_none());
    }
}
