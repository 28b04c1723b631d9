//! Source files that no target reaches.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::module_tree::ModuleTree;
use crate::outcome::{Finding, Outcome};
use crate::workspace::Workspace;

/// Every `.rs` file that no `mod` line of any target leads to.
///
/// # Errors
///
/// When a file cannot be read.
pub(super) fn check(workspace: &Workspace) -> Outcome<Vec<Finding>> {
    let mut reached: BTreeSet<PathBuf> = BTreeSet::new();
    for target in workspace.packages.iter().flat_map(|package| &package.targets) {
        let tree = ModuleTree::read(&target.source)?;
        reached.extend(tree.modules.into_iter().map(|module| module.file));
    }
    // A workspace of its own, which ordinary builds do not compile.
    let peers = workspace.root.join("benches/peers/src/main.rs");
    if peers.exists() {
        let tree = ModuleTree::read(&peers)?;
        reached.extend(tree.modules.into_iter().map(|module| module.file));
    }
    // Shells of checks that are sources of ours: a workspace of its own, which cargo-fuzz builds.
    let shells = workspace.root.join("fuzz/targets");
    let unreached = |file: &PathBuf| !reached.contains(file) && !file.starts_with(&shells);
    Ok(workspace
        .files(&[".rs"])?
        .into_iter()
        .filter(unreached)
        .map(|file| {
            Finding::in_file(
                workspace.relative(&file),
                "no `mod` line of any target leads here, so it is never compiled",
                "declare it in its parent, or remove it",
            )
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Package, Target};

    #[test]
    fn a_file_that_no_target_reaches_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for (name, text) in [
            ("src/lib.rs", "mod a;\n#[cfg(test)]\nmod b;"),
            ("src/a.rs", ""),
            ("src/b.rs", ""),
            ("src/c.rs", ""),
            ("tests/t.rs", ""),
        ] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), text).unwrap();
        }
        let target =
            |kind: &str, name: &str| Target { kind: kind.to_owned(), source: root.join(name) };
        let workspace = Workspace {
            root: root.to_path_buf(),
            target_dir: root.join("target"),
            packages: vec![Package {
                name: "a".to_owned(),
                dir: root.to_path_buf(),
                dependencies: Vec::new(),
                features: Vec::new(),
                targets: vec![target("lib", "src/lib.rs"), target("test", "tests/t.rs")],
            }],
        };
        let found: Vec<PathBuf> =
            check(&workspace).unwrap().into_iter().map(|finding| finding.file).collect();
        assert_eq!(found, [PathBuf::from("src/c.rs")]);
    }
}
