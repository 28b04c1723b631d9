//! `wal completions`, and the manual pages: the command line, told to other programs.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::output::stdout;
use crate::exit::{Exit, Failure};

/// Print a script that teaches a shell the flags of this command.
///
/// For bash: `wal completions bash > ~/.local/share/bash-completion/completions/wal`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, mut wal: Command) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut wal, "wal", &mut script);
        let mut out = stdout();
        out.write_all(&script).and_then(|()| out.flush()).map_err(Failure::output)?;
        Ok(Exit::Done)
    }
}

/// Write a manual page for each command into a directory; `cargo xtask man` calls this.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// An existing directory.
    dir: PathBuf,
}

impl Man {
    pub(crate) fn run(self, wal: Command) -> Result<Exit, Failure> {
        clap_mangen::generate_to(wal, &self.dir)
            .map_err(|error| Failure::io(self.dir.display().to_string(), error))?;
        Ok(Exit::Done)
    }
}
