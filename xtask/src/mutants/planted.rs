//! The bugs that can be planted: each a few replacements of text in the sources.
//!
//! They stand in the order of the layers, the commit path first; bugs of published logs follow.

mod bug;
mod commit;
mod store;
mod growing;
mod uring;
mod recovery;
mod published;
mod aries;
mod partitions;

pub(super) use bug::{Finder, Mutant};

/// Every bug, by the layer in which it is planted.
pub(super) static MUTANTS: &[&Mutant] = &all();

/// Every group of bugs, in the order of the table.
const GROUPS: [&[Mutant]; 8] = [
    commit::BUGS,
    store::BUGS,
    growing::BUGS,
    uring::BUGS,
    recovery::BUGS,
    published::BUGS,
    aries::BUGS,
    partitions::BUGS,
];

const COUNT: usize = {
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

const fn all() -> [&'static Mutant; COUNT] {
    let mut all = [&commit::BUGS[0]; COUNT];
    let (mut group, mut at) = (0, 0);
    while group < GROUPS.len() {
        let mut index = 0;
        while index < GROUPS[group].len() {
            all[at] = &GROUPS[group][index];
            (index, at) = (index + 1, at + 1);
        }
        group += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_at_least_twenty_five_bugs_with_names_of_their_own() {
        let mut names: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), MUTANTS.len());
        assert!(names.len() >= 25, "{}", names.len());
    }
}
