//! A directory that a new log is made in, and which holds nothing half-made afterwards.
//!
//! A copy or a salvage that fails, or is interrupted, is removed again: a log counts only with its
//! control file, which is written last, but what lies there would have to be cleared by hand.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wal::{Lsn, LsnRange, Phase, Progress};

use super::output::Watcher;
use crate::exit::Failure;
use crate::interrupt::{Interrupt, die_by};

const LOCK_NAME: &str = "lock";
const CONTROL_NAME: &str = "control";

/// The place of a new log; found empty.
#[derive(Clone, Debug)]
pub(crate) struct NewLog {
    dir: PathBuf,
    /// The directory was not there before.
    made: bool,
}

impl NewLog {
    /// Looks whether `dir` is missing or empty, and says what is in the way if it is not.
    pub(crate) fn claim(dir: &Path) -> Result<Self, Failure> {
        let place = dir.display();
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { dir: dir.to_owned(), made: true });
            }
            Err(error) => return Err(Failure::io(place.to_string(), error)),
        };
        let names: Result<Vec<String>, io::Error> =
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
        let mut names = names.map_err(|error| Failure::io(place.to_string(), error))?;
        names.retain(|name| name != LOCK_NAME);
        let Some(first) = names.first() else {
            return Ok(Self { dir: dir.to_owned(), made: false });
        };
        Err(Failure::Input(if names.iter().any(|name| name == CONTROL_NAME) {
            format!("`{place}` already holds a log; name a directory that is empty or missing")
        } else if names.iter().all(|name| is_of_a_log(name)) {
            format!(
                "`{place}` holds a copy that was never finished, and is no log (`{first}`, but no \
                 control file); remove it, or name another directory"
            )
        } else {
            format!("`{place}` is not empty (`{first}`); name a directory that is empty or missing")
        }))
    }

    /// Removes what was made, as far as a log makes such files; nothing else can be there.
    pub(crate) fn discard(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_of_a_log(&name) || name == LOCK_NAME {
                // Best effort: what stays is told by the next attempt.
                let _removed = fs::remove_file(entry.path());
            }
        }
        if self.made {
            let _removed = fs::remove_dir(&self.dir);
        }
    }
}

fn is_of_a_log(name: &str) -> bool {
    let suffixes = [".wal", ".tmp", ".old"];
    name == CONTROL_NAME || suffixes.iter().any(|suffix| name.ends_with(suffix))
}

/// Shows how far the work is, and ends the process where a signal asks for it, after `clean_up`.
pub(crate) struct Stoppable<'a> {
    watcher: Watcher,
    interrupt: Interrupt,
    clean_up: &'a dyn Fn(),
}

impl<'a> Stoppable<'a> {
    pub(crate) fn new(interrupt: &Interrupt, clean_up: &'a dyn Fn()) -> Self {
        Self { watcher: Watcher::default(), interrupt: interrupt.clone(), clean_up }
    }
}

impl Progress for Stoppable<'_> {
    fn advance(&mut self, phase: Phase, range: LsnRange, at: Lsn) {
        if let Some(signal) = self.interrupt.signal() {
            self.watcher = Watcher::default();
            (self.clean_up)();
            eprintln!("wal: interrupted; nothing is left behind");
            die_by(signal);
            std::process::exit(1);
        }
        self.watcher.advance(phase, range, at);
    }
}
