//! The repository: its packages as `cargo metadata` tells them, and its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::outcome::{Failure, Outcome};

/// The repository.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    /// Where it lies.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target_dir: PathBuf,
    /// Its packages, in the order of their names.
    pub(crate) packages: Vec<Package>,
}

/// One package of the repository.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The directory of its manifest.
    pub(crate) dir: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: Vec<String>,
    pub(crate) targets: Vec<Target>,
}

/// One line under `[dependencies]` and its relatives.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Only tests, examples and benchmarks see it.
    pub(crate) dev: bool,
}

/// A library, a program, an integration test, an example or a benchmark.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) kind: String,
    pub(crate) source: PathBuf,
}

impl Target {
    /// Whether this is what others depend on or run, not a test, an example or a benchmark.
    pub(crate) fn is_product(&self) -> bool {
        !matches!(self.kind.as_str(), "test" | "bench" | "example" | "custom-build")
    }
}

impl Workspace {
    /// Asks cargo about the repository around the current directory.
    ///
    /// # Errors
    ///
    /// When cargo is missing, or a manifest is malformed; the message is cargo's.
    pub(crate) fn load() -> Outcome<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .output()
            .map_err(|error| Failure::new(format!("cannot run cargo metadata: {error}")))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!("cargo metadata failed:\n{message}")));
        }
        Self::parse(&output.stdout)
    }

    fn parse(json: &[u8]) -> Outcome<Self> {
        let metadata: Metadata = serde_json::from_slice(json)
            .map_err(|error| Failure::new(format!("cannot read cargo metadata: {error}")))?;
        let mut packages: Vec<Package> =
            metadata.packages.into_iter().map(RawPackage::into_package).collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { root: metadata.workspace_root, target_dir: metadata.target_directory, packages })
    }

    /// Every file of the repository whose path ends in one of `endings`, sorted.
    ///
    /// # Errors
    ///
    /// When a directory cannot be read.
    pub(crate) fn files(&self, endings: &[&str]) -> Outcome<Vec<PathBuf>> {
        let mut found = Vec::new();
        walk(&self.root, endings, &mut found)?;
        found.sort();
        Ok(found)
    }

    /// `path` as people name it: relative to the root.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

/// The text of a file.
///
/// # Errors
///
/// When it cannot be read, or is no UTF-8; the message names it.
pub(crate) fn read(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| Failure::at(path, &error))
}

fn walk(dir: &Path, endings: &[&str], found: &mut Vec<PathBuf>) -> Outcome {
    let at = |error: std::io::Error| Failure::at(dir, &error);
    for entry in std::fs::read_dir(dir).map_err(at)? {
        let entry = entry.map_err(at)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        if entry.file_type().map_err(at)?.is_dir() {
            // What cargo builds and what git keeps is no source.
            if name != ".git" && name != "target" && !name.starts_with("target-") {
                walk(&path, endings, found)?;
            }
        } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
            found.push(path);
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<RawDependency>,
    features: BTreeMap<String, Vec<String>>,
    targets: Vec<RawTarget>,
}

#[derive(Deserialize)]
struct RawDependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct RawTarget {
    kind: Vec<String>,
    src_path: PathBuf,
}

impl RawPackage {
    fn into_package(self) -> Package {
        Package {
            name: self.name,
            dir: self.manifest_path.parent().unwrap_or(Path::new("")).to_path_buf(),
            dependencies: self
                .dependencies
                .into_iter()
                .map(|raw| Dependency { name: raw.name, dev: raw.kind.as_deref() == Some("dev") })
                .collect(),
            features: self.features.into_keys().collect(),
            targets: self
                .targets
                .into_iter()
                .map(|raw| Target {
                    kind: raw.kind.into_iter().next().unwrap_or_default(),
                    source: raw.src_path,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_tells_packages_dependencies_and_targets() {
        let json = br#"{"packages":[{"name":"a","manifest_path":"/x/a/Cargo.toml",
            "dependencies":[{"name":"b","kind":null},{"name":"c","kind":"dev"}],
            "features":{"f":[]},"targets":[{"kind":["lib"],"src_path":"/x/a/src/lib.rs"},
            {"kind":["test"],"src_path":"/x/a/tests/t.rs"}]}],
            "workspace_root":"/x","target_directory":"/x/target"}"#;
        let workspace = Workspace::parse(json).unwrap();
        let package = &workspace.packages[0];
        assert_eq!(package.dir, Path::new("/x/a"));
        assert_eq!(package.features, ["f"]);
        let dev: Vec<bool> = package.dependencies.iter().map(|one| one.dev).collect();
        assert_eq!(dev, [false, true]);
        assert!(package.targets[0].is_product() && !package.targets[1].is_product());
        assert_eq!(workspace.relative(Path::new("/x/a/src/lib.rs")), Path::new("a/src/lib.rs"));
    }

    #[test]
    fn files_are_found_by_ending_and_builds_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/x.rs", "a/y.md", "target/z.rs", ".git/w.rs", "target-loom/v.rs"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let workspace = Workspace {
            root: dir.path().to_path_buf(),
            target_dir: dir.path().join("target"),
            packages: Vec::new(),
        };
        let found = workspace.files(&[".rs"]).unwrap();
        assert_eq!(found, [dir.path().join("a/x.rs")]);
    }
}
