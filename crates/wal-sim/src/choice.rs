//! How the outcome of a power cut is decided, one small choice at a time.
//!
//! A disk that loses power asks a [`Chooser`] a series of questions: does this entry survive, which
//! length, which version of this sector. Answer 0 is always the oldest, the last the newest. The
//! series of answers names the state: [`Paths`] walks through all of them.

use std::ops::Range;

use crate::image::SECTOR_BYTES;
use crate::random::SimRng;

/// Answers the questions of a power cut.
pub(crate) trait Chooser {
    /// A number below `count`, which is at least 1.
    fn choose(&mut self, count: usize) -> usize;

    /// The bytes of a surviving sector that are new, when the rest of it stayed old.
    fn tear(&mut self) -> Option<Range<usize>> {
        None
    }
}

/// Nothing unsynced survives.
pub(crate) struct Oldest;

impl Chooser for Oldest {
    fn choose(&mut self, _count: usize) -> usize {
        0
    }
}

/// Everything written survives.
pub(crate) struct Newest;

impl Chooser for Newest {
    fn choose(&mut self, count: usize) -> usize {
        count - 1
    }
}

/// Chance, in one of the manners in which devices lose things.
pub(crate) struct Chance {
    rng: SimRng,
    manner: Manner,
    torn: bool,
}

/// Independent coins alone would hardly ever leave nearly all, nearly nothing, or a prefix.
enum Manner {
    Even,
    MostlyOld,
    MostlyNew,
    /// Everything up to a moment which may come after any question; nothing after it.
    InOrder {
        stopped: bool,
    },
}

impl Chance {
    pub(crate) fn new(seed: u64, torn: bool) -> Self {
        let mut rng = SimRng::new(seed);
        let manner = match rng.below(4) {
            0 => Manner::MostlyOld,
            1 => Manner::MostlyNew,
            2 => Manner::InOrder { stopped: false },
            _ => Manner::Even,
        };
        Self { rng, manner, torn }
    }
}

impl Chooser for Chance {
    fn choose(&mut self, count: usize) -> usize {
        if count < 2 {
            return 0;
        }
        let any = self.rng.index(count);
        let rarely = self.rng.chance(32);
        match &mut self.manner {
            Manner::Even => any,
            Manner::MostlyOld => any * usize::from(rarely),
            Manner::MostlyNew if rarely => any,
            Manner::MostlyNew => count - 1,
            Manner::InOrder { stopped } if *stopped => 0,
            Manner::InOrder { stopped } => {
                *stopped = rarely;
                if rarely { any } else { count - 1 }
            }
        }
    }

    fn tear(&mut self) -> Option<Range<usize>> {
        if !self.torn || !self.rng.chance(64) {
            return None;
        }
        let (one, other) = (self.rng.index(SECTOR_BYTES + 1), self.rng.index(SECTOR_BYTES + 1));
        // Head and tail of a sector tear more often than its middle.
        Some(match self.rng.below(4) {
            0 => 0..one,
            1 => one..SECTOR_BYTES,
            _ => one.min(other)..one.max(other),
        })
    }
}

/// All series of answers, in order, however the questions depend on earlier answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    /// The answers to give, and for those given already how many there were to choose from.
    path: Vec<(usize, usize)>,
    asked: usize,
    /// How many series were begun.
    given: usize,
}

impl Paths {
    /// How many series were given.
    pub(crate) fn given(&self) -> usize {
        self.given
    }

    /// Prepares the next series; false when all have been given.
    pub(crate) fn advance(&mut self) -> bool {
        if self.given == 0 {
            self.given = 1;
            return true;
        }
        self.path.truncate(self.asked);
        self.asked = 0;
        while let Some((answer, count)) = self.path.pop() {
            if answer + 1 < count {
                self.path.push((answer + 1, count));
                self.given += 1;
                return true;
            }
        }
        false
    }
}

impl Chooser for Paths {
    fn choose(&mut self, count: usize) -> usize {
        if self.asked == self.path.len() {
            self.path.push((0, count));
        }
        let (answer, _) = self.path[self.asked];
        self.path[self.asked].1 = count;
        self.asked += 1;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_give_every_series_once_even_if_questions_depend_on_answers() {
        let mut paths = Paths::default();
        let mut seen = Vec::new();
        while paths.advance() {
            let first = paths.choose(3);
            let second = if first == 1 { paths.choose(2) } else { 9 };
            seen.push((first, second));
        }
        assert_eq!(seen, [(0, 9), (1, 0), (1, 1), (2, 9)]);
    }

    #[test]
    fn a_disk_without_questions_has_one_state() {
        let mut paths = Paths::default();
        assert!(paths.advance());
        assert!(!paths.advance(), "there was nothing to choose");
    }

    #[test]
    fn chance_reaches_both_extremes_and_the_middle() {
        let sums: Vec<usize> = (0..64)
            .map(|seed| {
                let mut chance = Chance::new(seed, false);
                (0..8).map(|_| chance.choose(2)).sum()
            })
            .collect();
        assert!(sums.contains(&0) && sums.contains(&8) && sums.contains(&4), "{sums:?}");
    }

    #[test]
    fn tears_stay_within_the_sector_and_only_happen_when_asked_for() {
        let mut torn = Chance::new(3, true);
        let tears: Vec<_> = (0..200).filter_map(|_| torn.tear()).collect();
        assert!(!tears.is_empty());
        assert!(tears.iter().all(|tear| tear.start <= tear.end && tear.end <= SECTOR_BYTES));
        let inner = |tear: &Range<usize>| tear.start > 0 && tear.end < SECTOR_BYTES;
        assert!(tears.iter().any(inner) && tears.iter().any(|tear| tear.start == 0));
        assert!(tears.iter().any(|tear| tear.end == SECTOR_BYTES && tear.start > 0));
        let mut whole = Chance::new(3, false);
        assert!((0..100).all(|_| whole.tear().is_none()));
    }
}
