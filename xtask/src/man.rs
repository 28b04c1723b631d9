//! `cargo xtask man`: a manual page for each command of `wal`, made from its command line.
//!
//! The pages are made, not kept: they lie in the target directory, for packagers to take. The
//! command writes them itself, since no product crate is linked here; a test of the command holds
//! that each of its commands has a page.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::outcome::{Failure, Outcome};
use crate::shell::{cargo, run as run_command};

/// Write the manual pages of the `wal` command
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Arguments {
    /// Where to write them [default: man, in the target directory]
    dir: Option<PathBuf>,
}

/// Makes the pages.
///
/// # Errors
///
/// When the command cannot be built, or the directory cannot be written to.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let dir = arguments.dir.clone().unwrap_or_else(|| target.join("man"));
    fs::create_dir_all(&dir).map_err(|error| Failure::at(&dir, &error))?;
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "wal-cli", "--bin", "wal", "--", "man"]).arg(&dir);
    run_command(&mut command)?;
    println!("the manual pages are in {}; read one with `man -l`", dir.display());
    Ok(())
}
