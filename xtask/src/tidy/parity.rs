//! The table of what other logs offered: each row names tests, and each of them exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::rules::is_test;
use crate::outcome::Finding;
use crate::rust_text::{code_only, functions};

/// The page.
pub(super) const PAGE: &str = "docs/parity.md";

/// The names of all tests in `sources`.
pub(super) fn tests(sources: &[(PathBuf, String)]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (file, source) in sources {
        // This program's own tests prove nothing about the log.
        if file.starts_with("xtask") {
            continue;
        }
        let all = functions(&code_only(source)).into_iter();
        names.extend(all.filter(|one| is_test(source, one.line)).map(|one| one.name));
    }
    names
}

/// A finding for each row of a table on the page that names no test, or one that is not there.
pub(super) fn check(text: &str, tests: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |line: usize, what: String| {
        let mend = "name a test that fails without what the row says, in the last column";
        findings.push(Finding::at(Path::new(PAGE), line, what, mend));
    };
    let mut rows = 0;
    let mut heading = true;
    for (index, line) in text.lines().enumerate() {
        let Some(cells) = line.strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            heading = true;
            continue;
        };
        if std::mem::take(&mut heading) || cells.starts_with("---") {
            continue;
        }
        rows += 1;
        let last = cells.rsplit('|').next().unwrap_or_default();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            found(index + 1, "a row names no test".to_owned());
        }
        for name in names {
            if !tests.contains(name) {
                found(index + 1, format!("there is no test `{name}`"));
            }
        }
    }
    if rows == 0 {
        found(1, "the tables are gone".to_owned());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "| what | who | ours | tests |\n|---|---|---|---|\n";

    fn whats(rows: &str) -> Vec<String> {
        let source = "#[test]\nfn it_is_there() {}\nfn no_test() {}\n";
        let tests = tests(&[(PathBuf::from("crates/a/tests/t.rs"), source.to_owned())]);
        check(&format!("{HEAD}{rows}"), &tests).into_iter().map(|one| one.what).collect()
    }

    #[test]
    fn a_row_with_a_test_that_exists_passes() {
        assert!(whats("| x | s | `Y` | `it_is_there` |\n").is_empty());
    }

    #[test]
    fn a_row_without_a_test_and_one_with_an_unknown_test_are_found() {
        assert_eq!(whats("| x | s | `it_is_there` | none |\n"), ["a row names no test"]);
        let whats = whats("| x | s | y | `it_is_there`, `gone`, `no_test` |\n");
        assert_eq!(whats, ["there is no test `gone`", "there is no test `no_test`"]);
    }

    #[test]
    fn a_page_without_tables_is_found() {
        assert_eq!(whats(""), ["the tables are gone"]);
    }
}
