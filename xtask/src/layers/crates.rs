//! What each crate of the repository may depend on.
//!
//! ```text
//! wal-format ← wal-io ← { wal-commit, wal-recovery } ← wal ← wal-cli
//! ```
//!
//! `wal-commit` and `wal-recovery` do not know each other; the test bed is seen by tests only.

use crate::outcome::Finding;
use crate::workspace::{Dependency, Package, Workspace};

/// A crate, and which others of the repository it may name.
struct Layer {
    name: &'static str,
    /// In its `[dependencies]`.
    may_use: &'static [&'static str],
    /// In its `[dev-dependencies]`, beyond those.
    tests_may_use: &'static [&'static str],
}

/// Lower crates first: a crate may name only crates above its own row.
const LAYERS: &[Layer] = &[
    Layer { name: "wal-format", may_use: &[], tests_may_use: &[] },
    Layer { name: "wal-io", may_use: &["wal-format"], tests_may_use: &[] },
    Layer { name: "wal-sim", may_use: &["wal-format", "wal-io"], tests_may_use: &[] },
    // A backend beside those of `wal-io`; apart for its `unsafe`.
    Layer { name: "wal-uring", may_use: &["wal-io"], tests_may_use: &["wal-sim"] },
    Layer { name: "wal-commit", may_use: &["wal-format", "wal-io"], tests_may_use: &["wal-sim"] },
    Layer { name: "wal-recovery", may_use: &["wal-format", "wal-io"], tests_may_use: &["wal-sim"] },
    Layer {
        name: "wal",
        may_use: &["wal-format", "wal-io", "wal-uring", "wal-commit", "wal-recovery"],
        tests_may_use: &["wal-sim"],
    },
    // Several logs as one; it knows no engine, and none of the log's parts.
    Layer { name: "wal-partitions", may_use: &["wal"], tests_may_use: &["wal-sim"] },
    Layer {
        name: "wal-lsm",
        may_use: &["wal-io", "wal"],
        tests_may_use: &["wal-sim", "wal-recovery"],
    },
    // The reference engine: an example, and what the lab crashes.
    Layer {
        name: "wal-btree",
        may_use: &["wal-format", "wal-io", "wal"],
        tests_may_use: &["wal-sim"],
    },
    // Nothing may depend on it: it only crashes the others.
    Layer {
        name: "wal-lab",
        may_use: &["wal-format", "wal-io", "wal-sim", "wal", "wal-partitions", "wal-btree"],
        tests_may_use: &[],
    },
    // Nor on this one.
    Layer {
        name: "wal-bank",
        may_use: &["wal-format", "wal-io", "wal-recovery", "wal-sim", "wal", "wal-btree"],
        tests_may_use: &[],
    },
    Layer { name: "wal-cli", may_use: &["wal"], tests_may_use: &["wal-sim", "wal-partitions"] },
    Layer { name: "wal-fuzz", may_use: &["wal-format", "wal"], tests_may_use: &[] },
    Layer {
        name: "wal-bench",
        may_use: &["wal-format", "wal-io", "wal-commit", "wal-recovery", "wal"],
        tests_may_use: &["wal-sim"],
    },
    // It runs the others as commands.
    Layer { name: "xtask", may_use: &["wal-format"], tests_may_use: &[] },
];

/// Compares every manifest with the table.
pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let ours: Vec<&str> = workspace
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .chain(LAYERS.iter().map(|layer| layer.name))
        .collect();
    workspace.packages.iter().flat_map(|package| check_package(package, &ours)).collect()
}

fn check_package(package: &Package, ours: &[&str]) -> Vec<Finding> {
    let manifest = package.dir.join("Cargo.toml");
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == package.name) else {
        return vec![Finding::in_file(
            &manifest,
            format!("`{}` has no place among the layers", package.name),
            "say in LAYERS of xtask/src/layers/crates.rs what it may depend on",
        )];
    };
    package
        .dependencies
        .iter()
        .filter(|dependency| ours.contains(&dependency.name.as_str()))
        .filter(|dependency| !allows(layer, dependency))
        .map(|dependency| {
            let kind = if dependency.dev { "its tests depend" } else { "it depends" };
            Finding::in_file(
                &manifest,
                format!("`{}` may not know `{}`, but {kind} on it", package.name, dependency.name),
                format!(
                    "move what is needed into a crate below both, or put a trait there; \
                     `{}` may depend on: {}",
                    package.name,
                    listed(layer)
                ),
            )
        })
        .collect()
}

fn allows(layer: &Layer, dependency: &Dependency) -> bool {
    let name = dependency.name.as_str();
    layer.may_use.contains(&name) || dependency.dev && layer.tests_may_use.contains(&name)
}

fn listed(layer: &Layer) -> String {
    if layer.may_use.is_empty() {
        return "no crate of this repository".to_owned();
    }
    layer.may_use.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn findings(name: &str, dependency: &str, dev: bool) -> Vec<Finding> {
        let package = Package {
            name: name.to_owned(),
            dir: PathBuf::from("crates").join(name),
            dependencies: vec![Dependency { name: dependency.to_owned(), dev }],
            features: Vec::new(),
            targets: Vec::new(),
        };
        check(&Workspace {
            root: PathBuf::new(),
            target_dir: PathBuf::new(),
            packages: vec![package],
        })
    }

    #[test]
    fn every_upward_edge_between_crates_is_a_finding() {
        for (lower, layer) in LAYERS.iter().enumerate() {
            for upper in &LAYERS[lower..] {
                let found = findings(layer.name, upper.name, false);
                assert_eq!(found.len(), 1, "{} on {}", layer.name, upper.name);
            }
        }
    }

    #[test]
    fn every_downward_edge_of_the_table_is_allowed() {
        for layer in LAYERS {
            for lower in layer.may_use {
                assert!(findings(layer.name, lower, false).is_empty());
                assert!(findings(layer.name, lower, true).is_empty());
            }
        }
    }

    #[test]
    fn the_table_itself_points_down() {
        for (index, layer) in LAYERS.iter().enumerate() {
            for name in layer.may_use.iter().chain(layer.tests_may_use) {
                let place = LAYERS.iter().position(|other| other.name == *name);
                assert!(place.is_some_and(|place| place < index), "{} on {name}", layer.name);
            }
        }
    }

    #[test]
    fn commit_and_recovery_do_not_know_each_other() {
        assert_eq!(findings("wal-commit", "wal-recovery", true).len(), 1);
        assert_eq!(findings("wal-recovery", "wal-commit", true).len(), 1);
    }

    #[test]
    fn the_test_bed_is_for_tests_only() {
        assert!(findings("wal-commit", "wal-sim", true).is_empty());
        assert_eq!(findings("wal-commit", "wal-sim", false).len(), 1);
        // It depends on `wal-io`, so this would be a cycle.
        assert_eq!(findings("wal-io", "wal-sim", true).len(), 1);
    }

    #[test]
    fn crates_of_others_are_none_of_its_business() {
        assert!(findings("wal-format", "crc", false).is_empty());
    }

    #[test]
    fn a_crate_without_a_place_is_a_finding() {
        assert_eq!(findings("wal-new", "crc", false).len(), 1);
    }
}
