//! `cargo xtask bench commit` and its like: our log against the bare device.
//!
//! Which tables there are, and how one is made, is the business of `benches`.

use std::ffi::OsString;
use std::process::Command;

use crate::outcome::Outcome;
use crate::shell;
use crate::workspace::Workspace;

/// Builds the program and has it make the table called `verb`.
///
/// # Errors
///
/// When it does not build, or the run fails.
pub(super) fn run(verb: &str, words: &[OsString]) -> Outcome {
    let workspace = Workspace::load()?;
    let mut build = shell::cargo();
    build.args(["build", "--release", "--package", "wal-bench", "--bin", "wal-measure"]);
    shell::run(&mut build)?;
    let mut table = Command::new(workspace.target_dir.join("release/wal-measure"));
    table.arg(verb).args(words);
    // Figures are kept unless the caller has a place for them.
    if !says_where(words) {
        table.arg("--results").arg(workspace.target_dir.join("bench"));
    }
    shell::run(&mut table)
}

/// Whether the caller says where figures go.
fn says_where(words: &[OsString]) -> bool {
    let is = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with("--results"));
    words.iter().any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_go_where_the_caller_says() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(says_where(&words("--rounds 5 --results here")));
        assert!(says_where(&words("--results=here")));
        assert!(!says_where(&words("--rounds 5")));
    }
}
