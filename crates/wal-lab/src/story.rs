//! The oracle: what was asked of the log and what it promised, and whether a recovery kept it.
//!
//! A step is a record, a batch or a transaction: it counts whole or not at all. Steps are ordered
//! by their addresses, which the log gave out; a step whose address was never told (the call did
//! not return) may stand anywhere, for only the log knows its place.
//!
//! The rules, in the order in which they are judged:
//!
//! 1. Nothing is found that was never issued, that was aborted or refused, or that an earlier
//!    recovery did not find; nothing twice, altered, in part, moved, or out of order.
//! 2. Everything below a promised end is found, and so is all that an earlier recovery found. When
//!    only the process died, everything that was acknowledged as written is found as well.
//! 3. What was not promised is found only as a prefix.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wal::Lsn;

use crate::action::Action;
use crate::body;
use crate::engine::Replayed;
use crate::reading::Entry;

/// What is known of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Asked for; promised once the promised end covers it.
    Issued,
    /// A recovery found it, so it must stay.
    Kept,
    /// It must never be found, and why.
    Never(&'static str),
}

/// A record, a batch or a transaction.
#[derive(Clone, Debug)]
struct Step {
    numbers: Vec<u64>,
    /// Its address and its end, once the log has told them.
    place: Option<(Lsn, Lsn)>,
    /// What was known to be durable before the log was asked: its record says at least that.
    known: Lsn,
    fate: Fate,
}

/// Names a step of a [`Story`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepId(usize);

/// What happened to a log, up to the moment at which the power went.
#[derive(Clone, Debug)]
pub struct Story {
    steps: Vec<Step>,
    by_number: BTreeMap<u64, usize>,
    promised: Lsn,
    written: Lsn,
    released: Lsn,
    serial: u64,
    /// What the workload was doing when it ended.
    pub during: Action,
    /// A promise that was broken while the power was on.
    pub broken: Option<String>,
    /// Bytes of everything ever issued, headers and snapshots included.
    pub bytes: u64,
    /// How often the log was opened.
    pub openings: u64,
    /// How often the log refused a call and stayed usable.
    pub refusals: u64,
    /// How often the log was poisoned and opened again.
    pub poisonings: u64,
    /// What the disk was doing when the power went.
    pub cut: Option<String>,
}

/// What a sound recovery found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Steps found which were promised.
    pub promised: u64,
    /// Steps found which were not.
    pub kept: u64,
    /// Steps which nobody was promised, and which are gone.
    pub dropped: u64,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            by_number: BTreeMap::new(),
            promised: Lsn::NONE,
            written: Lsn::NONE,
            released: Lsn::NONE,
            serial: 0,
            during: Action::Open,
            broken: None,
            bytes: 0,
            openings: 0,
            refusals: 0,
            poisonings: 0,
            cut: None,
        }
    }
}

impl Story {
    /// Numbers that were not used before.
    pub fn numbers(&mut self, count: u64, size: body::Size) -> Vec<u64> {
        let first = self.serial;
        self.serial += count;
        (first..self.serial).map(|serial| body::number(serial, size)).collect()
    }

    /// The log is about to be asked for this step. Tell the story before the log.
    pub fn issue(&mut self, numbers: Vec<u64>) -> StepId {
        let index = self.steps.len();
        let known = self.promised;
        self.steps.push(Step { numbers: Vec::new(), place: None, known, fate: Fate::Issued });
        numbers.into_iter().for_each(|number| self.add(StepId(index), number));
        StepId(index)
    }

    /// One more record of a step: a transaction grows.
    pub fn add(&mut self, step: StepId, number: u64) {
        self.bytes += body::body(number).len() as u64 + 48;
        self.by_number.insert(number, step.0);
        self.steps[step.0].numbers.push(number);
    }

    /// The log gave the step these addresses.
    pub fn placed(&mut self, step: StepId, lsn: Lsn, end: Lsn) {
        self.steps[step.0].place = Some((lsn, end));
    }

    /// The step was aborted, dropped or refused: it must never be found.
    pub fn never(&mut self, step: StepId, why: &'static str) {
        self.steps[step.0].fate = Fate::Never(why);
    }

    /// The step may be found after all: its commit is about to be asked for.
    pub fn attempt(&mut self, step: StepId) {
        self.steps[step.0].fate = Fate::Issued;
    }

    /// The end of everything that the log ever gave an address.
    #[must_use]
    pub fn address_end(&self) -> Lsn {
        let ends = self.steps.iter().filter_map(|step| step.place);
        ends.map(|(_, end)| end).max().unwrap_or(Lsn::NONE)
    }

    /// The log promised everything before `end`.
    pub fn promise(&mut self, end: Lsn) {
        self.promised = self.promised.max(end);
    }

    /// The log said that everything before `end` was written: the end of the process leaves it.
    pub fn wrote(&mut self, end: Lsn) {
        self.written = self.written.max(end);
    }

    /// Everything before this address was promised.
    #[must_use]
    pub fn promised(&self) -> Lsn {
        self.promised
    }

    /// What was known to be durable before the step at `lsn` was asked for.
    #[must_use]
    pub fn known_at(&self, lsn: Lsn) -> Lsn {
        let mut steps = self.steps.iter();
        let step = steps.find(|step| step.place.is_some_and(|(at, _)| at == lsn));
        step.map_or(Lsn::NONE, |step| step.known)
    }

    /// Takes promises back beyond `end`: what proved them was destroyed.
    pub fn limit_promise(&mut self, end: Lsn) {
        self.promised = self.promised.min(end);
        self.written = self.written.min(end);
        self.steps.iter_mut().filter(|step| step.fate == Fate::Kept).for_each(|step| {
            if step.place.is_none_or(|(_, at)| at > end) {
                step.fate = Fate::Issued;
            }
        });
    }

    /// The log was allowed to forget what lies before `lsn`.
    pub fn release(&mut self, lsn: Lsn) {
        self.released = self.released.max(lsn);
    }

    /// What an engine holds that has applied everything before `end`, in order.
    #[must_use]
    pub fn state_before(&self, end: Lsn) -> Vec<u64> {
        let mut placed: Vec<(Lsn, &Step)> = self
            .steps
            .iter()
            .filter(|step| !matches!(step.fate, Fate::Never(_)))
            .filter_map(|step| Some((step.place?.0, step)))
            .filter(|(lsn, _)| *lsn < end)
            .collect();
        placed.sort_by_key(|(lsn, _)| *lsn);
        placed.into_iter().flat_map(|(_, step)| step.numbers.iter().copied()).collect()
    }

    /// Judges what a recovery found after a power cut. Markers of checks are not for this.
    ///
    /// # Errors
    ///
    /// The first rule that is broken, in words.
    pub fn judge(&self, found: &[Replayed]) -> Result<Judged, String> {
        self.judge_below(found, self.promised)
    }

    /// As [`judge`](Self::judge), of a recovery before which only the process died: what was
    /// written is promised too.
    ///
    /// # Errors
    ///
    /// As [`judge`](Self::judge).
    pub fn judge_killed(&self, found: &[Replayed]) -> Result<Judged, String> {
        self.judge_below(found, self.promised.max(self.written))
    }

    /// Everything before `end` was promised.
    fn judge_below(&self, found: &[Replayed], end: Lsn) -> Result<Judged, String> {
        let seen = self.judge_found(found)?;
        let last = self.highest(&seen);
        let mut judged = Judged::default();
        for (step, seen) in self.steps.iter().zip(&seen) {
            let within = |end| step.place.is_some_and(|(_, at)| at <= end);
            let durable = step.fate == Fate::Kept || within(self.promised);
            let promised = durable || within(end);
            let released = step.place.is_some_and(|(lsn, _)| lsn < self.released);
            match (step.fate, seen) {
                (Fate::Never(_), _) => {}
                (_, true) if promised => judged.promised += 1,
                (_, true) => judged.kept += 1,
                (_, false) if released => {}
                (_, false) if durable => {
                    return Err(format!("{} was promised and is gone", name(step)));
                }
                (_, false) if promised => {
                    let name = name(step);
                    return Err(format!("{name} was written, only the process died: it is gone"));
                }
                (_, false) if step.place.is_some_and(|(lsn, _)| Some(lsn) < last) => {
                    return Err(format!("{} is missing, and a later step is there", name(step)));
                }
                (_, false) => judged.dropped += 1,
            }
        }
        Ok(judged)
    }

    /// Rule 1; which steps were found.
    fn judge_found(&self, found: &[Replayed]) -> Result<Vec<bool>, String> {
        let mut seen = vec![false; self.steps.len()];
        let mut rest = found;
        let mut last: Option<(Lsn, &Step)> = None;
        while let Some(first) = rest.first() {
            let number = first.number;
            let Some(&index) = self.by_number.get(&number) else {
                return Err(format!("record {} was never appended", body::serial(number)));
            };
            let step = &self.steps[index];
            if let Fate::Never(why) = step.fate {
                return Err(format!("{} {why}, and is there", name(step)));
            }
            if std::mem::replace(&mut seen[index], true) {
                return Err(format!("{} is there twice", name(step)));
            }
            let count = step.numbers.len();
            let there = rest.get(..count).unwrap_or(rest);
            if !there.iter().map(|found| &found.number).eq(&step.numbers) {
                return Err(format!("{} is there in part", name(step)));
            }
            if let (Some((lsn, _)), Some(other)) = (step.place, first.lsn)
                && lsn != other
            {
                return Err(format!("{} stood at {lsn} and was found at {other}", name(step)));
            }
            if let Some(lsn) = step.place.map(|(lsn, _)| lsn).or(first.lsn) {
                if let Some((_, before)) = last.filter(|(last, _)| *last >= lsn) {
                    return Err(format!("{} was found behind {}", name(step), name(before)));
                }
                last = Some((lsn, step));
            }
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(seen)
    }

    /// The highest address of a step that was found.
    fn highest(&self, seen: &[bool]) -> Option<Lsn> {
        let found = self.steps.iter().zip(seen).filter(|(_, seen)| **seen);
        found.filter_map(|(step, _)| step.place).map(|(lsn, _)| lsn).max()
    }

    /// Judges what a reader gave that went from the head on to `end` at least: all that was appended
    /// and nothing else, each once and in order. Of transactions every record is read, also when
    /// they came to nothing.
    ///
    /// # Errors
    ///
    /// What is missing, or should not be there, in words.
    pub fn read(&self, given: &[Entry], head: Lsn, end: Lsn) -> Result<(), String> {
        if !given.is_sorted_by(|(one, _), (other, _)| one < other) {
            return Err("a reader does not go forwards".to_owned());
        }
        let mut seen = std::collections::BTreeSet::new();
        for number in given.iter().filter_map(|(_, number)| *number) {
            let serial = body::serial(number);
            if !self.by_number.contains_key(&number) {
                return Err(format!("a reader gives record {serial}, which was never appended"));
            }
            if !seen.insert(number) {
                return Err(format!("a reader gives record {serial} twice"));
            }
        }
        let read = |step: &&Step| {
            let within = step.place.is_some_and(|(lsn, at)| head <= lsn && at <= end);
            within && !matches!(step.fate, Fate::Never(_))
        };
        for step in self.steps.iter().filter(read) {
            // A transaction may have begun before the head.
            let whole = head <= Lsn::FIRST || head <= step.known;
            let mut numbers =
                step.numbers.iter().skip_while(|number| !whole && !seen.contains(number));
            if let Some(number) = numbers.find(|number| !seen.contains(number)) {
                let serial = body::serial(*number);
                return Err(format!("a reader leaves out record {serial} of {}", name(step)));
            }
        }
        Ok(())
    }

    /// Judges as [`judge_killed`](Self::judge_killed) does, for a log that was opened again with the
    /// power on, and holds the log to its answer from now on.
    ///
    /// # Errors
    ///
    /// As [`judge`](Self::judge).
    pub fn recovered(&mut self, found: &[Replayed]) -> Result<Judged, String> {
        let judged = self.judge_killed(found)?;
        let seen = self.judge_found(found)?;
        let places: BTreeMap<u64, Lsn> =
            found.iter().filter_map(|found| Some((found.number, found.lsn?))).collect();
        for (step, seen) in self.steps.iter_mut().zip(seen) {
            match (step.fate, seen) {
                (Fate::Never(_), _) => {}
                (_, true) => {
                    step.fate = Fate::Kept;
                    let lsn = step.numbers.first().and_then(|number| places.get(number));
                    step.place = step.place.or(lsn.map(|lsn| (*lsn, *lsn)));
                }
                (_, false) => step.fate = Fate::Never("was given up by an earlier recovery"),
            }
        }
        Ok(judged)
    }

    /// What was durable, acknowledged and found, a line for each step, the last `lines` of them.
    #[must_use]
    pub fn picture(&self, found: &[Replayed], lines: usize) -> String {
        let there: std::collections::BTreeSet<u64> =
            found.iter().map(|found| found.number).collect();
        let mut text = format!("  {:>12}  {:<10} {:<8} step\n", "address", "promised", "found");
        for step in self.steps.iter().skip(self.steps.len().saturating_sub(lines)) {
            let at = step.place.map_or("not told".to_owned(), |(lsn, _)| lsn.to_string());
            let promised = match step.fate {
                Fate::Kept => "recovered",
                Fate::Never(_) => "never",
                Fate::Issued if step.place.is_some_and(|(_, end)| end <= self.promised) => "yes",
                Fate::Issued if step.place.is_some_and(|(_, end)| end <= self.written) => "written",
                Fate::Issued => "no",
            };
            let count = step.numbers.iter().filter(|number| there.contains(*number)).count();
            let found = match count {
                0 => "no",
                _ if count == step.numbers.len() => "yes",
                _ => "IN PART",
            };
            let _ = writeln!(text, "  {at:>12}  {promised:<10} {found:<8} {}", name(step));
        }
        let Self { promised, written, during, .. } = self;
        let _ = write!(text, "  promised up to {promised}, written to {written}, during {during}");
        text
    }
}

fn name(step: &Step) -> String {
    let serials: Vec<String> =
        step.numbers.iter().map(|number| body::serial(*number).to_string()).collect();
    match serials.as_slice() {
        [one] => format!("record {one}"),
        many => format!("records {}", many.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Size;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    /// Record 0 promised; batch of 1 and 2; record 3; all placed. Record 4 was never placed.
    fn story() -> Story {
        let mut story = Story::default();
        for (count, at) in [(1, 4096), (2, 4160), (1, 4240)] {
            let numbers = story.numbers(count, Size::Small);
            let step = story.issue(numbers);
            story.placed(step, lsn(at), lsn(at + 40));
        }
        let numbers = story.numbers(1, Size::Small);
        story.issue(numbers);
        story.promise(lsn(4136));
        story
    }

    fn found(numbers: &[(u64, u64)]) -> Vec<Replayed> {
        numbers.iter().map(|&(number, at)| Replayed { number, lsn: Some(lsn(at)) }).collect()
    }

    const ALL: [(u64, u64); 5] = [(0, 4096), (1, 4160), (2, 4200), (3, 4240), (4, 4304)];

    #[test]
    fn every_prefix_of_whole_steps_from_the_promise_on_is_sound() {
        for (count, kept, dropped) in [(1, 0, 3), (3, 1, 2), (4, 2, 1), (5, 3, 0)] {
            let judged = story().judge(&found(&ALL[..count])).unwrap();
            assert_eq!(judged, Judged { promised: 1, kept, dropped }, "{count} records");
        }
    }

    #[test]
    fn every_broken_promise_is_named() {
        let reason = |numbers: &[(u64, u64)]| story().judge(&found(numbers)).unwrap_err();
        assert!(reason(&[]).contains("record 0 was promised and is gone"));
        assert!(reason(&ALL[..2]).contains("in part"));
        assert!(reason(&[ALL[0], ALL[3]]).contains("a later step is there"));
        assert!(reason(&[ALL[0], ALL[0]]).contains("twice"));
        assert!(reason(&[ALL[0], (9, 5000)]).contains("never appended"));
        assert!(reason(&[(0, 4104)]).contains("was found at"));
        assert!(reason(&[ALL[0], ALL[3], ALL[1], ALL[2]]).contains("behind"));
    }

    #[test]
    fn what_was_written_is_demanded_when_only_the_process_died() {
        let mut story = story();
        story.wrote(lsn(4280));
        assert!(story.judge(&found(&ALL[..1])).is_ok(), "a power cut may take it");
        assert!(story.judge_killed(&found(&ALL[..3])).unwrap_err().contains("was written"));
        let judged = story.judge_killed(&found(&ALL[..4])).unwrap();
        assert_eq!(judged, Judged { promised: 3, kept: 0, dropped: 1 });
        assert!(story.recovered(&found(&ALL[..3])).is_err(), "nor does a reopening take it");
    }

    #[test]
    fn a_step_whose_place_was_never_told_may_stand_anywhere() {
        assert!(story().judge(&found(&[ALL[0], (4, 4144)])).is_ok());
    }

    #[test]
    fn aborted_and_given_up_steps_never_come_back() {
        let mut aborted = story();
        aborted.never(StepId(2), "was aborted");
        assert!(aborted.judge(&found(&ALL[..3])).is_ok());
        assert!(aborted.judge(&found(&ALL[..4])).unwrap_err().contains("was aborted"));
        let mut given_up = story();
        given_up.recovered(&found(&ALL[..3])).unwrap();
        assert!(given_up.judge(&found(&ALL[..4])).unwrap_err().contains("given up"));
        assert!(given_up.judge(&found(&ALL[..1])).unwrap_err().contains("promised"));
    }

    #[test]
    fn what_was_released_may_be_gone() {
        let mut story = story();
        story.promise(lsn(4280));
        story.release(lsn(4240));
        assert!(story.judge(&found(&ALL[3..4])).is_ok());
        assert!(story.judge(&found(&ALL[..4])).is_ok());
        assert!(story.judge(&[]).is_err());
    }

    #[test]
    fn the_state_before_an_address_holds_what_counts_before_it() {
        assert_eq!(story().state_before(lsn(4240)), [0, 1, 2]);
        assert_eq!(story().state_before(Lsn::MAX), [0, 1, 2, 3]);
    }

    #[test]
    fn a_reader_that_leaves_out_repeats_or_invents_a_record_is_told() {
        let read = |given: &[(u64, u64)]| {
            let given: Vec<Entry> =
                given.iter().map(|&(number, at)| (lsn(at), Some(number))).collect();
            story().read(&given, Lsn::FIRST, lsn(4280))
        };
        assert_eq!(read(&ALL[..4]), Ok(()));
        assert_eq!(read(&ALL), Ok(()), "what is not durable yet may be read");
        assert!(read(&ALL[..3]).unwrap_err().contains("leaves out record 3"));
        assert!(read(&[ALL[0], ALL[1], ALL[3]]).unwrap_err().contains("leaves out record 2"));
        assert!(read(&[ALL[0], ALL[2], ALL[1]]).unwrap_err().contains("forwards"));
        assert!(read(&[ALL[0], (0, 4104)]).unwrap_err().contains("twice"));
        assert!(read(&[(9, 5000)]).unwrap_err().contains("never appended"));
    }

    #[test]
    fn the_picture_shows_what_was_promised_and_what_is_there() {
        let text = story().picture(&found(&ALL[..3]), 10);
        assert!(text.contains("records 1 2") && text.contains("promised up to 4136"), "{text}");
    }
}
