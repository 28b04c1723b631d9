//! `cargo xtask layers`: dependencies point down, between crates and between files.
//!
//! Three checks: what each crate may depend on (`crates`), that a file uses only modules listed
//! above it (`order`), and what a crate may not know although it could (`bans`).

mod bans;
mod crates;
mod order;

use crate::module_tree::ModuleTree;
use crate::outcome::{Finding, Outcome, conclude};
use crate::workspace::Workspace;

/// Runs all three checks.
///
/// # Errors
///
/// When there is a finding, or the repository cannot be read.
pub(crate) fn run() -> Outcome {
    let workspace = Workspace::load()?;
    let (findings, modules) = check(&workspace)?;
    let crates = workspace.packages.len();
    conclude("layers", &findings, &format!("{crates} crates and {modules} modules point down only"))
}

/// All findings, and how many modules were looked at.
fn check(workspace: &Workspace) -> Outcome<(Vec<Finding>, usize)> {
    let mut findings = crates::check(workspace);
    let mut modules = 0;
    for package in &workspace.packages {
        for target in package.targets.iter().filter(|target| target.is_product()) {
            let tree = ModuleTree::read(&target.source)?;
            modules += tree.modules.len();
            findings.extend(tree.problems.iter().cloned());
            findings.extend(order::check(&tree));
            findings.extend(bans::check(&package.name, &tree));
        }
    }
    for finding in &mut findings {
        finding.file = workspace.relative(&finding.file).to_path_buf();
    }
    Ok((findings, modules))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Dependency, Package, Target};
    use std::path::Path;

    /// A workspace on disk: `wal-format` with these files, and nothing else.
    fn workspace(root: &Path, files: &[(&str, &str)], dependencies: &[&str]) -> Workspace {
        for (name, text) in files {
            std::fs::write(root.join(name), text).unwrap();
        }
        let normal = |name: &&str| Dependency { name: (*name).to_owned(), dev: false };
        Workspace {
            root: root.to_path_buf(),
            target_dir: root.join("target"),
            packages: vec![Package {
                name: "wal-format".to_owned(),
                dir: root.to_path_buf(),
                dependencies: dependencies.iter().map(normal).collect(),
                features: Vec::new(),
                targets: vec![Target { kind: "lib".to_owned(), source: root.join("lib.rs") }],
            }],
        }
    }

    #[test]
    fn a_tree_that_points_down_passes() {
        let dir = tempfile::tempdir().unwrap();
        let files = [("lib.rs", "mod a;\nmod b;"), ("a.rs", ""), ("b.rs", "use crate::a::X;")];
        let (findings, modules) = check(&workspace(dir.path(), &files, &["crc"])).unwrap();
        assert_eq!((findings, modules), (Vec::new(), 3));
    }

    #[test]
    fn each_kind_of_upward_edge_fails_and_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("lib.rs", "mod a;\nmod b;\nmod gone;"),
            ("a.rs", "use crate::b::X;\nuse std::fs::File;"),
            ("b.rs", ""),
        ];
        let (findings, _) = check(&workspace(dir.path(), &files, &["wal-io"])).unwrap();
        let places: Vec<String> =
            findings.iter().map(|one| format!("{}:{}", one.file.display(), one.line)).collect();
        assert_eq!(places, ["Cargo.toml:0", "lib.rs:3", "a.rs:1", "a.rs:2"]);
    }

    #[test]
    fn a_failing_check_fails_the_verb() {
        let dir = tempfile::tempdir().unwrap();
        let files = [("lib.rs", "mod a;\nmod b;"), ("a.rs", "use crate::b::X;"), ("b.rs", "")];
        let (findings, _) = check(&workspace(dir.path(), &files, &[])).unwrap();
        assert!(conclude("layers", &findings, "").is_err());
    }
}
