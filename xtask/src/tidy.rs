//! `cargo xtask tidy`: what keeps the sources readable, checked so that nobody has to argue.
//!
//! Sizes and heads (`shape`), words that have no place here (`words`), files that nothing reaches
//! (`dead`), links that lead nowhere (`links`), a test for each capability
//! and each fault of others (`parity`), and for each rule and each statement (`rules`).

mod dead;
mod links;
mod rules;
mod parity;
mod shape;
mod words;

use crate::outcome::{Outcome, conclude};
use crate::workspace::{Workspace, read};

/// Files whose words are checked. `Cargo.lock` is cargo's own.
const TEXTS: &[&str] = &[".rs", ".md", ".toml", ".yml", ".sh", "/.ci/run"];

/// Runs all checks, and prints the tables of rules, statements and tests.
///
/// # Errors
///
/// When there is a finding, or a file cannot be read.
pub(crate) fn run() -> Outcome {
    let workspace = Workspace::load()?;
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    for file in workspace.files(&[".rs"])? {
        let text = read(&file)?;
        let name = workspace.relative(&file).to_path_buf();
        findings.extend(shape::check(&name, &text));
        sources.push((name, text));
    }
    for file in workspace.files(TEXTS)? {
        findings.extend(words::check(workspace.relative(&file), &read(&file)?));
    }
    for file in workspace.files(&[".md"])? {
        findings.extend(links::check(&workspace.root, &file, &read(&file)?));
    }
    findings.extend(dead::check(&workspace)?);

    let parity = read(&workspace.root.join(parity::PAGE))?;
    findings.extend(parity::check(&parity, &parity::tests(&sources)));
    for family in &rules::FAMILIES {
        let titles = rules::titles(&read(&workspace.root.join(family.page))?);
        let table = rules::table(family, &titles, &sources);
        print!("{}", rules::rendered(family, &table));
        findings.extend(rules::check(family, &table));
    }
    conclude("tidy", &findings, &format!("{} sources in order", sources.len()))
}
