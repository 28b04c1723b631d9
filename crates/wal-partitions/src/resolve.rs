//! What became of each batch that a crash left undecided: a pure function of what the logs tell.
//!
//! A batch is committed if some log says so, or if every participant holds its part whole; else it
//! is aborted. Why that is enough is in `docs/design/0008-partitions.md`: whoever could miss a part
//! by truncation or behind a checkpoint made sure before that the others have a note.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{BatchId, Outcome};
use crate::inspect::{Answer, Told};

/// What became of a batch, and where that is still to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolution {
    pub(crate) id: BatchId,
    pub(crate) outcome: Outcome,
    /// Partitions with a part and no note of it.
    pub(crate) write_to: Vec<usize>,
}

/// A partition that contradicts the others, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    pub(crate) partition: usize,
    pub(crate) what: String,
}

/// An undecided batch: who takes part, and who holds a part without a note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Undecided {
    participants: Vec<usize>,
    open_in: BTreeSet<usize>,
}

/// All batches that some log leaves open.
pub(crate) fn undecided(told: &[&Told]) -> Result<BTreeMap<BatchId, Undecided>, Contradiction> {
    let mut all: BTreeMap<BatchId, Undecided> = BTreeMap::new();
    for (partition, of) in told.iter().enumerate() {
        for (id, participants) in &of.open {
            let batch = all.entry(*id).or_default();
            if batch.open_in.is_empty() {
                batch.participants.clone_from(participants);
            }
            let beyond = participants.iter().any(|at| *at >= told.len());
            if batch.participants != *participants || beyond {
                let what = format!("the participants of batch {id} cannot be what it says");
                return Err(Contradiction { partition, what });
            }
            batch.open_in.insert(partition);
        }
    }
    Ok(all)
}

/// Whom to ask for what: participants that hold no open part, where somebody does.
pub(crate) fn questions(
    undecided: &BTreeMap<BatchId, Undecided>,
) -> BTreeMap<usize, BTreeSet<BatchId>> {
    let mut questions: BTreeMap<usize, BTreeSet<BatchId>> = BTreeMap::new();
    for (id, batch) in undecided {
        for participant in batch.participants.iter().filter(|at| !batch.open_in.contains(at)) {
            questions.entry(*participant).or_default().insert(*id);
        }
    }
    questions
}

/// Decides every batch that is undecided, by what the logs answered.
pub(crate) fn resolve(
    undecided: BTreeMap<BatchId, Undecided>,
    answers: &BTreeMap<usize, Answer>,
) -> Result<Vec<Resolution>, Contradiction> {
    let mut resolutions = Vec::new();
    for (id, batch) in undecided {
        let mut told: Option<Outcome> = None;
        let mut whole = true;
        for participant in &batch.participants {
            let answer = answers.get(participant);
            let note = answer.and_then(|answer| answer.notes.get(&id)).copied();
            if note.is_some() && told.is_some_and(|told| Some(told) != note) {
                let what = format!("batch {id} is aborted there and committed elsewhere, or not");
                return Err(Contradiction { partition: *participant, what });
            }
            told = told.or(note);
            let held = answer.is_some_and(|answer| answer.parts.contains(&id));
            whole &= held || batch.open_in.contains(participant);
        }
        let outcome = told.unwrap_or(if whole { Outcome::Committed } else { Outcome::Aborted });
        let write_to = batch.open_in.into_iter().collect();
        resolutions.push(Resolution { id, outcome, write_to });
    }
    Ok(resolutions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wal::{Epoch, LogId};

    use super::*;

    fn id(number: u64) -> BatchId {
        BatchId { log: LogId::from_bytes([1; 16]), epoch: Epoch::new(1), number }
    }

    fn told(open: &[(u64, &[usize])]) -> Told {
        let open = open.iter().map(|(number, at)| (id(*number), at.to_vec())).collect();
        Told { open, ..Told::default() }
    }

    fn refs(told: &[Told]) -> Vec<&Told> {
        told.iter().collect()
    }

    /// Resolves batch 1 of partitions 0 and 1, of which partition 0 holds a part without a note.
    fn resolved(part: bool, note: Option<Outcome>) -> Resolution {
        let undecided = undecided(&refs(&[told(&[(1, &[0, 1])]), Told::default()])).unwrap();
        assert_eq!(questions(&undecided), BTreeMap::from([(1, BTreeSet::from([id(1)]))]));
        let answer = Answer {
            parts: part.then(|| id(1)).into_iter().collect(),
            notes: note.map(|note| (id(1), note)).into_iter().collect(),
        };
        resolve(undecided, &BTreeMap::from([(1, answer)])).unwrap().remove(0)
    }

    #[test]
    fn a_note_anywhere_decides_and_without_one_all_parts_must_be_there() {
        use Outcome::{Aborted, Committed};
        for (part, note, outcome) in [
            (false, None, Aborted),
            (true, None, Committed),
            (false, Some(Committed), Committed),
            (true, Some(Committed), Committed),
            (false, Some(Aborted), Aborted),
            (true, Some(Aborted), Aborted),
        ] {
            let resolution = Resolution { id: id(1), outcome, write_to: vec![0] };
            assert_eq!(resolved(part, note), resolution, "{part} {note:?}");
        }
    }

    #[test]
    fn parts_that_name_other_participants_are_a_contradiction() {
        let pair = [told(&[(1, &[0, 1])]), told(&[(1, &[0, 1, 2])]), Told::default()];
        assert_eq!(undecided(&refs(&pair)).unwrap_err().partition, 1);
        assert_eq!(undecided(&refs(&[told(&[(1, &[0, 7])])])).unwrap_err().partition, 0);
    }

    #[test]
    fn notes_that_differ_are_a_contradiction() {
        let open = [told(&[(1, &[0, 1, 2])]), Told::default(), Told::default()];
        let note =
            |outcome| Answer { notes: BTreeMap::from([(id(1), outcome)]), ..Answer::default() };
        let answers = BTreeMap::from([(1, note(Outcome::Committed)), (2, note(Outcome::Aborted))]);
        assert_eq!(resolve(undecided(&refs(&open)).unwrap(), &answers).unwrap_err().partition, 2);
    }

    proptest! {
        /// Whatever parts and notes survive, the outcome is the same for all, and the one that was
        /// ever told.
        #[test]
        fn every_holder_of_a_part_learns_one_and_the_same_outcome(
            parts in proptest::collection::vec(any::<bool>(), 2..6),
            noted in proptest::collection::vec(any::<bool>(), 6),
            whole_once in any::<bool>(),
        ) {
            // Notes tell what was decided: committed only if every part was there at that time.
            let decided = if whole_once { Outcome::Committed } else { Outcome::Aborted };
            let all: Vec<usize> = (0..parts.len()).collect();
            let mut logs = Vec::new();
            let mut answers = BTreeMap::new();
            for (at, part) in parts.iter().enumerate() {
                let open = *part && !noted[at];
                logs.push(if open { told(&[(1, &all)]) } else { Told::default() });
                let mut answer = Answer::default();
                if *part { answer.parts.insert(id(1)); }
                if noted[at] { answer.notes.insert(id(1), decided); }
                answers.insert(at, answer);
            }
            let resolutions = resolve(undecided(&refs(&logs)).unwrap(), &answers).unwrap();
            let told = (0..parts.len()).any(|at| noted[at]);
            for resolution in resolutions {
                let whole = parts.iter().all(|part| *part);
                let expected = match (told, whole) {
                    (true, _) => decided,
                    (false, true) => Outcome::Committed,
                    (false, false) => Outcome::Aborted,
                };
                prop_assert_eq!(resolution.outcome, expected);
                let open: Vec<usize> =
                    (0..parts.len()).filter(|at| parts[*at] && !noted[*at]).collect();
                prop_assert_eq!(resolution.write_to, open);
            }
        }
    }
}
