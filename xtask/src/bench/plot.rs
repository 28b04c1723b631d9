//! `cargo xtask bench plot`: draws the newest figures of each kind, and renews the page that shows
//! them.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::outcome::Outcome;
use crate::shell;
use crate::workspace::Workspace;

/// What to draw.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where the figures are, `bench` beside what cargo builds by default
    #[arg(long)]
    results: Option<PathBuf>,
    /// Where the pictures go, beside the figures by default
    #[arg(long, conflicts_with = "docs")]
    pictures: Option<PathBuf>,
    /// Draw into docs/performance, and renew the tables of docs/performance.md
    #[arg(long)]
    docs: bool,
}

/// Builds the program and draws.
///
/// # Errors
///
/// When it does not build, there are no figures, or files cannot be written.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let workspace = Workspace::load()?;
    let mut build = shell::cargo();
    build.args(["build", "--release", "--package", "wal-bench", "--bin", "wal-plot"]);
    build.args(["--features", "plot"]);
    shell::run(&mut build)?;
    let results = arguments.results.clone().unwrap_or_else(|| workspace.target_dir.join("bench"));
    let pictures = match &arguments.pictures {
        _ if arguments.docs => workspace.root.join("docs/performance"),
        Some(pictures) => pictures.clone(),
        None => results.clone(),
    };
    let mut plot = Command::new(workspace.target_dir.join("release/wal-plot"));
    plot.arg("--results").arg(results).arg("--pictures").arg(pictures);
    if arguments.docs {
        plot.arg("--page").arg(workspace.root.join("docs/performance.md"));
    }
    shell::run(&mut plot)
}
