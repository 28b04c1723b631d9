//! What was lost: that which was acknowledged and is not given back.

use std::collections::BTreeSet;

use serde::Serialize;

/// Counts of one log in one crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Commits which the log acknowledged.
    pub acknowledged: usize,
    /// Those of them which it gives back.
    pub found: usize,
    /// Those which it does not.
    pub lost: Vec<u64>,
}

impl Tally {
    /// Of what was `acknowledged` and what is `found`; what was found twice counts once, and what
    /// was found without having been acknowledged does not count.
    pub fn new(acknowledged: &[u64], found: &[u64]) -> Self {
        let found: BTreeSet<u64> = found.iter().copied().collect();
        let acknowledged: BTreeSet<u64> = acknowledged.iter().copied().collect();
        let lost: Vec<u64> = acknowledged.difference(&found).copied().collect();
        Self { acknowledged: acknowledged.len(), found: acknowledged.len() - lost.len(), lost }
    }

    /// The lost ones as a person writes them: `3, 7 to 9`; nothing where none is lost.
    pub fn lost_in_words(&self) -> String {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for &number in &self.lost {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        let word = |&(first, last): &(u64, u64)| match first == last {
            true => first.to_string(),
            false => format!("{first} to {last}"),
        };
        ranges.iter().map(word).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_is_what_was_acknowledged_and_is_not_found() {
        let tally = Tally::new(&[1, 2, 3, 4], &[1, 1, 3, 9]);
        assert_eq!(tally, Tally { acknowledged: 4, found: 2, lost: vec![2, 4] });
        assert!(Tally::new(&[], &[7]).lost.is_empty());
        assert_eq!(Tally::new(&[7], &[]).found, 0);
    }

    #[test]
    fn lost_ones_which_follow_each_other_are_told_as_one() {
        let lost = |lost: &[u64]| Tally::new(lost, &[]).lost_in_words();
        assert_eq!(lost(&[3, 7, 8, 9]), "3, 7 to 9");
        assert_eq!(lost(&[]), "");
    }
}
