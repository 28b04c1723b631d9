//! What a verb ends with: nothing to say, findings with their fixes, or a failure to run at all.

use std::fmt;
use std::path::{Path, PathBuf};

/// The result of everything in this program.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a verb failed, in words for the person who ran it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// A failure with this message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// A failure of the file system at `path`.
    pub(crate) fn at(path: &Path, source: &std::io::Error) -> Self {
        Self(format!("{}: {source}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// One thing a check objects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, relative to the root of the repository.
    pub(crate) file: PathBuf,
    /// The line, from 1; 0 when it concerns the whole file.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) fix: String,
}

impl Finding {
    /// A finding about `file` as a whole.
    pub(crate) fn in_file(file: &Path, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::at(file, 0, what, fix)
    }

    /// A finding at a line of `file`.
    pub(crate) fn at(
        file: &Path,
        line: usize,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { file: file.to_path_buf(), line, what: what.into(), fix: fix.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}\n    fix: {}", self.what, self.fix)
    }
}

/// Prints the findings; fails when there are any.
///
/// # Errors
///
/// When `findings` is not empty; the message counts them.
pub(crate) fn conclude(check: &str, findings: &[Finding], passed: &str) -> Outcome {
    for finding in findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("{check}: {passed}");
            Ok(())
        }
        1 => Err(Failure::new(format!("{check}: one finding"))),
        count => Err(Failure::new(format!("{check}: {count} findings"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_where_what_and_how_to_mend_it() {
        let finding = Finding::at(Path::new("a/b.rs"), 7, "too long", "split it");
        assert_eq!(finding.to_string(), "a/b.rs:7: too long\n    fix: split it");
        let whole = Finding::in_file(Path::new("a/b.rs"), "dead", "remove it");
        assert_eq!(whole.to_string(), "a/b.rs: dead\n    fix: remove it");
    }

    #[test]
    fn any_finding_fails_the_check() {
        let finding = Finding::in_file(Path::new("a.rs"), "x", "y");
        assert!(conclude("tidy", &[], "nothing").is_ok());
        assert!(conclude("tidy", &[finding], "nothing").is_err());
    }
}
