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

/// One round: all of `rows`, in an order that is another in each round and the same in each run, so that
/// none always follows the same one.
pub(crate) fn in_turns<T>(round: u64, rows: &mut [T], mut take: impl FnMut(&mut T)) {
    for at in order(round, rows.len()) {
        if let Some(row) = rows.get_mut(at) {
            take(row);
        }
    }
}

/// A permutation: whoever comes first changes by one with each round, and the others are shuffled.
fn order(round: u64, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    if count < 2 {
        return order;
    }
    order.rotate_left((round % count as u64) as usize);
    let mut state = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for last in (2..count).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, 1 + (state % last as u64) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_everybody_has_one_turn_and_follows_somebody_else() {
        const ROWS: usize = 8;
        let mut followed = std::collections::BTreeSet::new();
        for round in 0..ROWS as u64 {
            let mut met = Vec::new();
            in_turns(round, &mut (0..ROWS).collect::<Vec<_>>(), |row| met.push(*row));
            assert_eq!(met.first(), Some(&(round as usize)), "each comes first once");
            followed.extend(met.windows(2).map(|pair| (pair[0], pair[1])));
            met.sort_unstable();
            assert_eq!(met, (0..ROWS).collect::<Vec<_>>());
            assert_eq!(order(round, ROWS), order(round, ROWS));
        }
        for row in 0..ROWS {
            let before = followed.iter().filter(|(_, next)| *next == row).count();
            assert!(before >= 3, "{row} follows only {before} others");
        }
        in_turns(1, &mut [], |_: &mut u8| unreachable!());
        assert_eq!((order(5, 1), order(3, 2)), (vec![0], vec![1, 0]));
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
