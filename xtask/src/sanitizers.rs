//! `cargo xtask asan` and `cargo xtask tsan`: the tests under AddressSanitizer and ThreadSanitizer.
//!
//! The workspace has `unsafe` in one file, `ring.rs` of `wal-uring`; what this looks at besides is
//! the code below it, and whether data races hide behind a dependency. Sanitizers are unstable options of a stable compiler, so the verbs
//! set `RUSTC_BOOTSTRAP`. Without std rebuilt, ThreadSanitizer reports races that are none, so it
//! needs the source package of std, and is skipped where that is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::outcome::{Failure, Outcome};
use crate::shell::{cargo, run as run_command};
use crate::workspace::Workspace;

/// The crates whose tests are run: those with threads, files and bytes from outside.
const ASAN_PACKAGES: &[&str] =
    &["wal-format", "wal-io", "wal-uring", "wal-commit", "wal-recovery", "wal-fuzz"];
/// The crates with threads.
const TSAN_PACKAGES: &[&str] = &["wal-io", "wal-uring", "wal-commit", "wal"];

/// Runs the tests under AddressSanitizer.
///
/// # Errors
///
/// When a test fails, or the sanitizer reports anything.
pub(crate) fn asan() -> Outcome {
    let toolchain = Toolchain::of_rustc()?;
    if !toolchain.has_runtime("asan") {
        return skipped("asan", "this toolchain has no runtime of AddressSanitizer");
    }
    let workspace = Workspace::load()?;
    run_command(&mut tests("address", &toolchain.host, &workspace.target_dir, ASAN_PACKAGES))
}

/// Runs the tests of the crates with threads under ThreadSanitizer, std rebuilt.
///
/// # Errors
///
/// When a test fails, or the sanitizer reports a race.
pub(crate) fn tsan() -> Outcome {
    let toolchain = Toolchain::of_rustc()?;
    if !toolchain.has_runtime("tsan") {
        return skipped("tsan", "this toolchain has no runtime of ThreadSanitizer");
    }
    if !toolchain.std_source.is_file() {
        let why = format!(
            "{} is missing: std must be rebuilt, or races are reported that are none; \
             `rustup component add rust-src` adds it",
            toolchain.std_source.display()
        );
        return skipped("tsan", &why);
    }
    let workspace = Workspace::load()?;
    let mut command = tests("thread", &toolchain.host, &workspace.target_dir, TSAN_PACKAGES);
    command.arg("-Zbuild-std");
    run_command(&mut command)
}

fn skipped(verb: &str, why: &str) -> Outcome {
    println!("SKIPPED: {verb}: {why}");
    Ok(())
}

fn tests(sanitizer: &str, host: &str, target_dir: &Path, packages: &[&str]) -> Command {
    let mut command = cargo();
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", format!("-Zsanitizer={sanitizer}"))
        .env("CARGO_TARGET_DIR", target_dir.join(sanitizer))
        // A target of its own, so that build scripts and macros stay without the sanitizer.
        .args(["test", "--lib", "--tests", "--target", host]);
    for package in packages {
        command.args(["--package", package]);
    }
    command
}

/// What the compiler brings along.
struct Toolchain {
    host: String,
    libraries: PathBuf,
    std_source: PathBuf,
}

impl Toolchain {
    fn of_rustc() -> Outcome<Self> {
        let host = said(&["-vV"])?
            .lines()
            .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
            .ok_or_else(|| Failure::new("`rustc -vV` names no host"))?;
        let libraries = PathBuf::from(said(&["--print", "target-libdir"])?.trim());
        let sysroot = PathBuf::from(said(&["--print", "sysroot"])?.trim());
        let std_source = sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml");
        Ok(Self { host, libraries, std_source })
    }

    /// Whether the runtime of a sanitizer is there.
    fn has_runtime(&self, name: &str) -> bool {
        let ending = format!("_rt.{name}.a");
        std::fs::read_dir(&self.libraries).is_ok_and(|entries| {
            let mut names = entries.flatten().map(|entry| entry.file_name());
            names.any(|name| name.to_string_lossy().ends_with(&ending))
        })
    }
}

fn said(arguments: &[&str]) -> Outcome<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(arguments)
        .output()
        .map_err(|error| Failure::new(format!("cannot run rustc: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::describe;

    #[test]
    fn the_command_is_one_that_can_be_typed() {
        let command = tests("address", "a-b-c", Path::new("t"), &["wal-io"]);
        assert_eq!(
            describe(&command),
            "CARGO_TARGET_DIR=t/address RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test \
             --lib --tests --target a-b-c --package wal-io"
        );
    }

    #[test]
    fn a_runtime_is_looked_for_where_the_compiler_keeps_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let host = String::new();
        let toolchain =
            Toolchain { host, libraries: dir.path().to_path_buf(), std_source: PathBuf::new() };
        assert!(!toolchain.has_runtime("asan"));
        std::fs::write(dir.path().join("librustc-x_rt.asan.a"), "").unwrap();
        assert!(toolchain.has_runtime("asan") && !toolchain.has_runtime("tsan"));
        assert!(!Toolchain::of_rustc().unwrap().host.is_empty());
    }
}
