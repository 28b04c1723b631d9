//! What a bug is, and how it is planted in a text.
//!
//! The text to find stands in its file exactly once, so that a bug whose place has moved on is
//! told, and never planted somewhere else.

use crate::outcome::{Failure, Outcome};

/// Who is to find a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finder {
    /// The crash lab of the log.
    Log,
    /// The crash lab of the log, with several threads under its scheduler.
    Threads,
    /// A scenario of the model of the commit path, in all its interleavings.
    Model {
        /// The beginning of its name.
        name: &'static str,
    },
    /// The bank, in the crash lab.
    Bank,
    /// A test: what needs threads, or counts reads, shows in no crash state.
    Test {
        /// Its package.
        package: &'static str,
        /// The name of its integration test; empty: it stands in the library.
        target: &'static str,
        /// The beginning of its name.
        name: &'static str,
    },
}

impl Finder {
    /// The beginning of the name of the test, where it is one.
    pub(crate) const fn test_name(self) -> &'static str {
        match self {
            Self::Test { name, .. } | Self::Model { name } => name,
            Self::Log | Self::Threads | Self::Bank => "",
        }
    }
}

/// A bug.
#[derive(Debug)]
pub(crate) struct Mutant {
    pub(crate) found_by: Finder,
    pub(crate) name: &'static str,
    /// What is wrong, in a few words.
    pub(crate) about: &'static str,
    pub(crate) edits: &'static [Edit],
}

/// One replacement.
#[derive(Debug)]
pub(crate) struct Edit {
    /// Relative to the root of the repository.
    pub(crate) file: &'static str,
    /// Stands there exactly once.
    pub(crate) find: &'static str,
    pub(crate) replace: &'static str,
}

impl Mutant {
    /// `text`, the sources of `file`, with the bug in it.
    ///
    /// # Errors
    ///
    /// When what the bug replaces is not there exactly once.
    pub(crate) fn plant(&self, file: &str, text: &str) -> Outcome<String> {
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
    fn a_text_that_is_not_there_once_is_told() {
        static EDITS: &[Edit] = &[Edit { file: "a.rs", find: "one", replace: "two" }];
        let found_by = Finder::Log;
        let mutant = Mutant { found_by, name: "x", about: "y", edits: EDITS };
        assert_eq!(mutant.plant("a.rs", "one three").unwrap(), "two three");
        assert_eq!(mutant.plant("b.rs", "one").unwrap(), "one", "another file");
        assert!(mutant.plant("a.rs", "one one").is_err());
        assert!(mutant.plant("a.rs", "four").is_err());
    }
}
