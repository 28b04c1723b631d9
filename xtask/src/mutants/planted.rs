//! The bugs that can be planted: each a few replacements of text in the sources.
//!
//! They stand in the order of the layers, the commit path first.

mod bug;
mod commit;
mod store;
mod recovery;
mod aries;

pub(super) use bug::{Finder, Mutant};

/// Every bug, by the layer in which it is planted.
pub(super) static MUTANTS: &[&Mutant] = &all();

const COUNT: usize =
    commit::BUGS.len() + store::BUGS.len() + recovery::BUGS.len() + aries::BUGS.len();

const fn all() -> [&'static Mutant; COUNT] {
    let mut all = [&commit::BUGS[0]; COUNT];
    let layers: [&'static [Mutant]; 4] = [commit::BUGS, store::BUGS, recovery::BUGS, aries::BUGS];
    let (mut layer, mut at) = (0, 0);
    while layer < layers.len() {
        let mut index = 0;
        while index < layers[layer].len() {
            all[at] = &layers[layer][index];
            (index, at) = (index + 1, at + 1);
        }
        layer += 1;
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
