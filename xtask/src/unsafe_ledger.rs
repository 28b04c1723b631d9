//! `cargo xtask unsafe-ledger`: counts `unsafe` in the code and compares with what is argued for.
//!
//! The ledger is empty: the workspace forbids `unsafe`, and this check proves that nobody lifted
//! the ban. A block that earns its place is entered here together with its argument.

use std::path::Path;

use crate::outcome::{Finding, Outcome, conclude};
use crate::rust_text::{code_only, line_of, words};
use crate::workspace::{Workspace, read};

/// Files that may hold `unsafe`, and how many times the word occurs in each.
const LEDGER: &[(&str, usize)] = &[];

/// Checks all sources, and that every manifest takes the lints of the workspace.
///
/// # Errors
///
/// When there is a finding, or a file cannot be read.
pub(crate) fn run() -> Outcome {
    let workspace = Workspace::load()?;
    let mut findings = Vec::new();
    let mut files = 0;
    for file in workspace.files(&[".rs"])? {
        files += 1;
        findings.extend(check_file(workspace.relative(&file), &read(&file)?, LEDGER));
    }
    for package in &workspace.packages {
        let manifest = package.dir.join("Cargo.toml");
        findings.extend(check_manifest(workspace.relative(&manifest), &read(&manifest)?));
    }
    let root = workspace.root.join("Cargo.toml");
    findings.extend(check_root(workspace.relative(&root), &read(&root)?));
    conclude("unsafe-ledger", &findings, &format!("no `unsafe` in {files} files"))
}

fn check_file(file: &Path, source: &str, ledger: &[(&str, usize)]) -> Option<Finding> {
    let code = code_only(source);
    let places: Vec<usize> =
        words(&code).filter(|(_, word)| *word == "unsafe").map(|(at, _)| at).collect();
    let allowed =
        ledger.iter().find(|(name, _)| Path::new(name) == file).map_or(0, |(_, count)| *count);
    if places.len() == allowed {
        return None;
    }
    let line = places.last().map_or(0, |at| line_of(&code, *at));
    Some(Finding::at(
        file,
        line,
        format!("`unsafe` occurs {} times, the ledger says {allowed}", places.len()),
        "do it without; or argue for it in review, and enter it in xtask/src/unsafe_ledger.rs",
    ))
}

fn check_manifest(file: &Path, text: &str) -> Option<Finding> {
    let inherits = section(text, "[lints]").any(|line| squeezed(line) == "workspace=true");
    (!inherits).then(|| {
        Finding::in_file(
            file,
            "the package does not take the lints of the workspace",
            "add `[lints]` with `workspace = true`",
        )
    })
}

fn check_root(file: &Path, text: &str) -> Option<Finding> {
    let forbids = section(text, "[workspace.lints.rust]")
        .any(|line| squeezed(line) == "unsafe_code=\"forbid\"");
    (!forbids && LEDGER.is_empty()).then(|| {
        Finding::in_file(
            file,
            "the workspace does not forbid `unsafe`",
            "set `unsafe_code = \"forbid\"` under [workspace.lints.rust]",
        )
    })
}

/// The lines of one table of a manifest.
fn section<'a>(text: &'a str, head: &str) -> impl Iterator<Item = &'a str> {
    let from = text.lines().position(|line| line.trim() == head).map_or(usize::MAX, |at| at + 1);
    text.lines().skip(from).take_while(|line| !line.trim_start().starts_with('['))
}

fn squeezed(line: &str) -> String {
    line.chars().filter(|character| !character.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_in_code_is_found_and_in_comments_and_names_it_is_not() {
        let file = Path::new("a.rs");
        let finding = check_file(file, "fn a() {\n    unsafe { b() }\n}", LEDGER).unwrap();
        assert_eq!(finding.line, 2);
        assert_eq!(check_file(file, "// unsafe\nfn not_unsafe() { \"unsafe\"; }", LEDGER), None);
    }

    #[test]
    fn the_ledger_must_match_in_both_directions() {
        let file = Path::new("a.rs");
        let ledger = [("a.rs", 1)];
        assert_eq!(check_file(file, "unsafe {}", &ledger), None);
        assert!(check_file(file, "", &ledger).is_some());
        assert!(check_file(file, "unsafe {} unsafe {}", &ledger).is_some());
        assert!(check_file(Path::new("b.rs"), "unsafe {}", &ledger).is_some());
    }

    #[test]
    fn a_manifest_that_drops_the_lints_is_found() {
        let file = Path::new("Cargo.toml");
        assert_eq!(check_manifest(file, "[lints]\nworkspace = true\n"), None);
        assert!(check_manifest(file, "[lints]\n[dependencies]\nworkspace = true\n").is_some());
        assert!(check_root(file, "[workspace.lints.rust]\nunsafe_code = \"allow\"").is_some());
        assert_eq!(check_root(file, "[workspace.lints.rust]\nunsafe_code = \"forbid\""), None);
    }
}
