//! Words that have no place in the repository.

use std::path::Path;

use crate::outcome::Finding;

/// A word, and what to do instead. Spelled in halves, so that this file may hold them.
const BANNED: &[(&str, &str)] = &[
    (concat!("todo", "!("), "finish it, or leave it out"),
    (concat!("unimplemented", "!("), "finish it, or leave it out"),
    (concat!("FIX", "ME"), "mend it, or write down the limit where a reader looks for it"),
    (concat!("XX", "X"), "mend it, or write down the limit where a reader looks for it"),
    (concat!("dbg", "!("), "remove it; `tracing` is for what should stay"),
    (concat!("/ro", "ot/"), "name no path of one machine; make it relative"),
    (concat!("/ho", "me/"), "name no path of one machine; make it relative"),
    (concat!("/wo", "rk/"), "name no path of one machine; make it relative"),
    (concat!("/Us", "ers/"), "name no path of one machine; make it relative"),
    (concat!("crates", ".io"), "name no registry; the manifest is enough"),
    (concat!("pypi", ".org"), "name no registry"),
    (concat!("npmjs", ".com"), "name no registry"),
];

/// Checks one text.
pub(super) fn check(file: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (word, fix) in BANNED {
            if line.contains(word) {
                findings.push(Finding::at(file, index + 1, format!("`{word}`"), *fix));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_banned_word_is_found_with_its_line() {
        for (word, _) in BANNED {
            let found = check(Path::new("a.md"), &format!("fine\nnot {word} fine"));
            assert_eq!(found.len(), 1, "{word}");
            assert_eq!(found[0].line, 2);
        }
    }

    #[test]
    fn ordinary_text_passes() {
        assert!(check(Path::new("a.md"), "todo lists, roots, homework and /tmp/x").is_empty());
    }
}
