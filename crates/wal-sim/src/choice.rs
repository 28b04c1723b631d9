//! How the outcome of a power cut is decided, one small choice at a time.
//!
//! A disk that loses power asks a [`Chooser`] a series of questions: does this entry survive, which
//! length, which version of this sector. Answer 0 is always the oldest, the last the newest. The
//! series of answers names the state: [`Paths`] walks through all of them.

use std::fmt;
use std::ops::Range;

use crate::random::SimRng;

/// Answers the questions of a power cut.
pub(crate) trait Chooser {
    /// A number below `count`, which is at least 1.
    fn choose(&mut self, count: usize) -> usize;

    /// The bytes of a surviving sector of that size that are new, when the rest stayed old.
    fn tear(&mut self, _sector_bytes: usize) -> Option<Range<usize>> {
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

    fn tear(&mut self, sector_bytes: usize) -> Option<Range<usize>> {
        if !self.torn || !self.rng.chance(64) {
            return None;
        }
        let (one, other) = (self.rng.index(sector_bytes + 1), self.rng.index(sector_bytes + 1));
        // Head and tail of a sector tear more often than its middle.
        Some(match self.rng.below(4) {
            0 => 0..one,
            1 => one..sector_bytes,
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

/// The answers that make one state: what a shrunk failure is known by.
///
/// Answers beyond the last are 0, and an answer too large for its question is the last one there
/// is, so that every series names a legal state of every disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Script(pub(crate) Vec<Answer>);

/// One answer, and how the sector it chose was torn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) choice: usize,
    pub(crate) tear: Option<Range<usize>>,
}

impl Script {
    /// The script without the answers at its end that say nothing.
    pub(crate) fn trimmed(mut self) -> Self {
        while self.0.last().is_some_and(|last| *last == Answer::default()) {
            self.0.pop();
        }
        self
    }

    /// Reads what `Display` writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut answers = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (answer, count) = part.split_once('x').unwrap_or((part, "1"));
            let (choice, tear) = match answer.split_once('t') {
                None => (answer, None),
                Some((choice, tear)) => (choice, Some(tear.split_once('-')?)),
            };
            let tear = match tear {
                None => None,
                Some((start, end)) => Some(start.parse().ok()?..end.parse().ok()?),
            };
            let answer = Answer { choice: choice.parse().ok()?, tear };
            let count: usize = count.parse().ok()?;
            answers.extend(std::iter::repeat_n(answer, count.min(1 << 20)));
        }
        Some(Self(answers))
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, run) in self.0.chunk_by(PartialEq::eq).enumerate() {
            let Some(Answer { choice, tear }) = run.first() else { continue };
            write!(f, "{}{choice}", if at > 0 { "," } else { "" })?;
            if let Some(Range { start, end }) = tear {
                write!(f, "t{start}-{end}")?;
            }
            if run.len() > 1 {
                write!(f, "x{}", run.len())?;
            }
        }
        Ok(())
    }
}

/// Gives the answers of a script.
pub(crate) struct Reading<'a> {
    script: &'a Script,
    asked: usize,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(script: &'a Script) -> Self {
        Self { script, asked: 0 }
    }
}

impl Chooser for Reading<'_> {
    fn choose(&mut self, count: usize) -> usize {
        self.asked += 1;
        self.script.0.get(self.asked - 1).map_or(0, |answer| answer.choice.min(count - 1))
    }

    fn tear(&mut self, sector_bytes: usize) -> Option<Range<usize>> {
        let tear = self.script.0.get(self.asked.checked_sub(1)?)?.tear.clone()?;
        Some(tear.start.min(tear.end).min(sector_bytes)..tear.end.min(sector_bytes))
    }
}

/// Asks another chooser and writes its answers down.
pub(crate) struct Writing<'a> {
    pub(crate) from: &'a mut dyn Chooser,
    pub(crate) script: Script,
}

impl Chooser for Writing<'_> {
    fn choose(&mut self, count: usize) -> usize {
        let choice = self.from.choose(count);
        self.script.0.push(Answer { choice, tear: None });
        choice
    }

    fn tear(&mut self, sector_bytes: usize) -> Option<Range<usize>> {
        let tear = self.from.tear(sector_bytes);
        if let Some(last) = self.script.0.last_mut() {
            last.tear.clone_from(&tear);
        }
        tear
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::SECTOR_BYTES;

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
        let tears: Vec<_> = (0..200).filter_map(|_| torn.tear(SECTOR_BYTES)).collect();
        assert!(!tears.is_empty());
        assert!(tears.iter().all(|tear| tear.start <= tear.end && tear.end <= SECTOR_BYTES));
        let inner = |tear: &Range<usize>| tear.start > 0 && tear.end < SECTOR_BYTES;
        assert!(tears.iter().any(inner) && tears.iter().any(|tear| tear.start == 0));
        assert!(tears.iter().any(|tear| tear.end == SECTOR_BYTES && tear.start > 0));
        let mut whole = Chance::new(3, false);
        assert!((0..100).all(|_| whole.tear(SECTOR_BYTES).is_none()));
    }

    #[test]
    fn a_script_gives_the_answers_that_were_written_down() {
        let mut chance = Chance::new(3, true);
        let mut writing = Writing { from: &mut chance, script: Script::default() };
        let ask = |chooser: &mut dyn Chooser| -> Vec<(usize, Option<Range<usize>>)> {
            (0..50).map(|at| (chooser.choose(2 + at % 3), chooser.tear(512))).collect()
        };
        let given = ask(&mut writing);
        assert!(given.iter().any(|(_, tear)| tear.is_some()));
        assert_eq!(ask(&mut Reading::new(&writing.script)), given);
    }

    #[test]
    fn the_text_of_a_script_says_all_of_it() {
        let whole = |choice| Answer { choice, tear: None };
        let torn = Answer { choice: 2, tear: Some(8..512) };
        let script = Script(vec![whole(0), whole(0), whole(12), torn, whole(1), whole(0)]);
        assert_eq!(script.to_string(), "0x2,12,2t8-512,1,0");
        assert_eq!(Script::parse(&script.to_string()), Some(script.clone()));
        assert_eq!(script.trimmed().0.len(), 5);
        assert_eq!(Script::parse(""), Some(Script::default()));
        for text in ["a", "1t2", "1x", "1t9-", "-1"] {
            assert_eq!(Script::parse(text), None, "{text}");
        }
    }

    #[test]
    fn any_script_names_a_legal_state() {
        let tear = Range { start: 700, end: 600 };
        let script = Script(vec![Answer { choice: 9, tear: Some(tear) }]);
        let mut reading = Reading::new(&script);
        assert_eq!((reading.choose(2), reading.tear(512)), (1, Some(512..512)));
        assert_eq!((reading.choose(4), reading.tear(512)), (0, None));
    }
}
