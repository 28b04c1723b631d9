//! Turns in processes of their own: this program again, with the verb of one turn, in an empty
//! directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::de::DeserializeOwned;

use crate::peer::Failure;

/// What every table asks for.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub rounds: u64,
    /// Where the logs are written: a directory on the device to be measured
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Where the figures are written, as CSV and JSON; nowhere if it is not named
    #[arg(long)]
    pub results: Option<PathBuf>,
}

/// An empty directory in `dir`, which is gone when the value is.
///
/// # Errors
///
/// Whatever the file system reports.
pub(crate) fn fresh(dir: Option<&Path>) -> Result<tempfile::TempDir, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("wal-bench-");
    Ok(match dir {
        Some(dir) => builder.tempdir_in(dir)?,
        None => builder.tempdir()?,
    })
}

/// One turn: this program again.
#[derive(Debug)]
pub(crate) struct Turn(Command);

impl Turn {
    /// With this verb.
    pub(crate) fn new(verb: &str) -> Result<Self, Failure> {
        Ok(Self::of(&std::env::current_exe()?, verb))
    }

    /// Of another program, which knows the verb as this one does.
    pub(crate) fn of(program: &Path, verb: &str) -> Self {
        let mut command = Command::new(program);
        command.arg(verb);
        Self(command)
    }

    /// With `--name value`.
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.0.arg(format!("--{name}")).arg(value.to_string());
        self
    }

    /// With `--name path`.
    pub(crate) fn at(mut self, name: &str, path: impl AsRef<OsStr>) -> Self {
        self.0.arg(format!("--{name}")).arg(path);
        self
    }

    /// As a command.
    pub(crate) fn command(&self) -> &Command {
        &self.0
    }

    /// Runs it; what it measured, or its own words of why it could not.
    pub(crate) fn take<T: DeserializeOwned>(mut self) -> Result<T, Failure> {
        let output = self.0.stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
        if output.status.success() {
            return Ok(serde_json::from_slice(&output.stdout)?);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().rev().find_map(|line| line.strip_prefix("error: "));
        let why = why.or(said.lines().next()).unwrap_or_default();
        Err(format!("{} {why}", output.status).into())
    }
}

/// One round: all of `rows`, who comes first changing with the round, so that none always follows
/// the same one.
pub(crate) fn in_turns<T>(round: u64, rows: &mut [T], take: impl FnMut(&mut T)) {
    if rows.is_empty() {
        return;
    }
    let first = (round % rows.len() as u64) as usize;
    let (before, from) = rows.split_at_mut(first);
    from.iter_mut().chain(before).for_each(take);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_everybody_has_one_turn_and_another_comes_first() {
        let orders: Vec<Vec<u8>> = (0..4)
            .map(|round| {
                let mut order = Vec::new();
                in_turns(round, &mut [0, 1, 2], |row| order.push(*row));
                order
            })
            .collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
        in_turns(1, &mut [], |_: &mut u8| unreachable!());
    }

    #[test]
    fn a_turn_that_fails_says_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'error: no room' >&2; exit 3"]);
        let error = Turn(command).take::<u8>().unwrap_err().to_string();
        assert!(error.contains("no room"), "{error}");
    }

    #[test]
    fn a_turn_tells_its_figures_in_json() {
        let mut command = Command::new("echo");
        command.arg("[1,2]");
        assert_eq!(Turn(command).take::<Vec<u8>>().unwrap(), [1, 2]);
    }
}
