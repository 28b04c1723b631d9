//! `cargo xtask model`: runs the model of the commit path, every interleaving of a few threads.
//!
//! The model checker replaces locks and atomics under `--cfg loom`, so it builds apart from the
//! rest, in a directory of its own under the target directory.

use crate::outcome::Outcome;
use crate::shell::{cargo, run as run_command};
use crate::workspace::Workspace;

/// Builds and runs the model.
///
/// # Errors
///
/// When it does not build, or an interleaving breaks an invariant.
pub(crate) fn run() -> Outcome {
    let workspace = Workspace::load()?;
    let flags = with_loom(std::env::var("RUSTFLAGS").ok());
    run_command(
        cargo()
            .args([
                "test",
                "--release",
                "--package",
                "wal-commit",
                "--test",
                "model",
                "--test",
                "state_lock",
            ])
            .env("RUSTFLAGS", flags)
            .env("CARGO_TARGET_DIR", workspace.target_dir.join("loom")),
    )
}

fn with_loom(flags: Option<String>) -> String {
    match flags {
        Some(flags) if !flags.trim().is_empty() => format!("{flags} --cfg loom"),
        _ => "--cfg loom".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_caller_are_kept() {
        assert_eq!(with_loom(None), "--cfg loom");
        assert_eq!(with_loom(Some(" ".to_owned())), "--cfg loom");
        assert_eq!(with_loom(Some("-C x=y".to_owned())), "-C x=y --cfg loom");
    }
}
