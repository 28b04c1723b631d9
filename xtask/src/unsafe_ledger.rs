//! `cargo xtask unsafe-ledger`: counts `unsafe` in the code and compares with what is argued for.
//!
//! The workspace forbids `unsafe`, and this check proves that nobody lifted the ban: a crate with an
//! entry may only deny it instead, and must keep every other lint. A block that earns its place is
//! entered here together with its argument.

use std::path::Path;

use crate::outcome::{Finding, Outcome, conclude};
use crate::rust_text::{code_only, line_of, words};
use crate::workspace::{Workspace, read};

/// Files that may hold `unsafe`, and how many times the word occurs in each.
///
/// `ring.rs`: io_uring reads memory after the call that names it has returned, which no type of
/// Rust can say. One use registers the memory of a lane, one queues what the kernel is to do. The
/// memory is the ring's own, is out of reach while the kernel owes an answer, and outlives the ring;
/// the head of the file has the argument, and a test for each part of it.
const LEDGER: &[(&str, usize)] = &[("crates/wal-uring/src/ring.rs", 2)];

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
    let root = workspace.root.join("Cargo.toml");
    let root_text = read(&root)?;
    for package in &workspace.packages {
        let manifest = workspace.relative(&package.dir).join("Cargo.toml");
        let text = read(&package.dir.join("Cargo.toml"))?;
        let entered = LEDGER.iter().any(|(name, _)| {
            Path::new(name).starts_with(manifest.parent().unwrap_or(Path::new("")))
        });
        if entered {
            findings.extend(check_own_lints(&manifest, &text, &root_text));
        } else {
            findings.extend(check_manifest(&manifest, &text));
        }
    }
    findings.extend(check_root(workspace.relative(&root), &root_text));
    let uses: usize = LEDGER.iter().map(|(_, count)| count).sum();
    let summary = format!("{uses} uses of `unsafe` in {} of {files} files", LEDGER.len());
    conclude("unsafe-ledger", &findings, &summary)
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

/// A crate with an entry has lints of its own: those of the workspace, with `unsafe_code` denied,
/// and no block without its argument.
fn check_own_lints(file: &Path, text: &str, root: &str) -> Vec<Finding> {
    const TABLES: [&str; 3] = ["rust", "rustdoc", "clippy"];
    const INSTEAD: [(&str, &str); 3] = [
        ("rust", "unsafe_code=\"deny\""),
        ("rust", "unsafe_op_in_unsafe_fn=\"deny\""),
        ("clippy", "undocumented_unsafe_blocks=\"deny\""),
    ];
    let lines = |text: &str, head: &str| -> Vec<String> {
        let kept = |line: &String| !line.is_empty() && !line.starts_with('#');
        section(text, head).map(squeezed).filter(kept).collect()
    };
    let common = TABLES.into_iter().flat_map(|table| {
        lines(root, &format!("[workspace.lints.{table}]")).into_iter().map(move |l| (table, l))
    });
    common
        .filter(|(_, line)| !line.starts_with("unsafe_code="))
        .chain(INSTEAD.into_iter().map(|(table, line)| (table, line.to_owned())))
        .filter(|(table, line)| !lines(text, &format!("[lints.{table}]")).contains(line))
        .map(|(table, line)| {
            Finding::in_file(
                file,
                format!("its lints lack `{line}`"),
                format!("a crate with `unsafe` keeps all others: add it under [lints.{table}]"),
            )
        })
        .collect()
}

fn check_root(file: &Path, text: &str) -> Option<Finding> {
    let forbids = section(text, "[workspace.lints.rust]")
        .any(|line| squeezed(line) == "unsafe_code=\"forbid\"");
    (!forbids).then(|| {
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

    #[test]
    fn a_crate_of_the_ledger_keeps_every_other_lint() {
        let file = Path::new("Cargo.toml");
        let root = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\nmissing_docs = \"warn\"\n\
                    [workspace.lints.clippy]\n# Why.\npanic = \"warn\"\n";
        let own = "[lints.rust]\nunsafe_code = \"deny\"\nunsafe_op_in_unsafe_fn = \"deny\"\n\
                   missing_docs = \"warn\"\n\
                   [lints.clippy]\nundocumented_unsafe_blocks = \"deny\"\npanic = \"warn\"\n";
        assert_eq!(check_own_lints(file, own, root), []);
        for line in own.lines().filter(|line| !line.starts_with('[')) {
            let without = own.replace(&format!("{line}\n"), "");
            assert_eq!(check_own_lints(file, &without, root).len(), 1, "{line}");
        }
        let allowed = own.replace("unsafe_code = \"deny\"", "unsafe_code = \"allow\"");
        assert_eq!(check_own_lints(file, &allowed, root).len(), 1);
    }
}
