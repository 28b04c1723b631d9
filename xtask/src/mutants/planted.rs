//! The bugs that can be planted: each a few replacements of text in the sources.
//!
//! The text to find stands in its file exactly once, so that a bug whose place has moved on is
//! told, and never planted somewhere else.

use crate::outcome::{Failure, Outcome};

mod commit;
mod store;
mod recovery;

/// A bug.
#[derive(Debug)]
pub(super) struct Mutant {
    pub(super) name: &'static str,
    /// What is wrong, in a few words.
    pub(super) about: &'static str,
    pub(super) edits: &'static [Edit],
}

/// One replacement.
#[derive(Debug)]
pub(super) struct Edit {
    /// Relative to the root of the repository.
    pub(super) file: &'static str,
    /// Stands there exactly once.
    pub(super) find: &'static str,
    pub(super) replace: &'static str,
}

/// Every bug, by the layer in which it is planted.
pub(super) static MUTANTS: &[&Mutant] = &all();

const COUNT: usize = commit::BUGS.len() + store::BUGS.len() + recovery::BUGS.len();

const fn all() -> [&'static Mutant; COUNT] {
    let mut all = [&commit::BUGS[0]; COUNT];
    let layers: [&'static [Mutant]; 3] = [commit::BUGS, store::BUGS, recovery::BUGS];
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

impl Mutant {
    /// `text`, the sources of `file`, with the bug in it.
    ///
    /// # Errors
    ///
    /// When what the bug replaces is not there exactly once.
    pub(super) fn plant(&self, file: &str, text: &str) -> Outcome<String> {
        let mut planted = text.to_owned();
        for edit in self.edits.iter().filter(|edit| edit.file == file) {
            let count = planted.matches(edit.find).count();
            if count != 1 {
                return Err(Failure::new(format!(
                    "`{}` cannot be planted: its text stands {count} times in {file}; \
                     follow the change in xtask/src/mutants/planted",
                    self.name
                )));
            }
            planted = planted.replacen(edit.find, edit.replace, 1);
        }
        Ok(planted)
    }
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

    #[test]
    fn a_text_that_is_not_there_once_is_told() {
        static EDITS: &[Edit] = &[Edit { file: "a.rs", find: "one", replace: "two" }];
        let mutant = Mutant { name: "x", about: "y", edits: EDITS };
        assert_eq!(mutant.plant("a.rs", "one three").unwrap(), "two three");
        assert_eq!(mutant.plant("b.rs", "one").unwrap(), "one", "another file");
        assert!(mutant.plant("a.rs", "one one").is_err());
        assert!(mutant.plant("a.rs", "four").is_err());
    }
}
