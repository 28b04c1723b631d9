//! A directory that a new log is made in, and which holds nothing half-made afterwards.
//!
//! A copy or a salvage that fails, or is interrupted, is removed again: a log counts only with its
//! control file, which is written last, but what lies there would have to be cleared by hand. What
//! another command made there meanwhile is left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wal::{ErrorKind, Lsn, LsnRange, Phase, Progress};

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
    /// Looks whether `dir` is missing or empty, and outside `source`, and says what is in the way if
    /// it is not.
    pub(crate) fn claim(source: &Path, dir: &Path) -> Result<Self, Failure> {
        let place = dir.display();
        if is_within(dir, source) {
            let source = source.display();
            return Err(Failure::Input(format!(
                "`{place}` lies in `{source}`, which is to stay as it is; name a directory outside"
            )));
        }
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

    /// Removes what was made before `failure`: nothing where somebody else was there first.
    pub(crate) fn discard_after(&self, failure: &Failure) {
        match failure {
            Failure::Log(error) if error.kind() == ErrorKind::Locked => {}
            // The place is not empty any more, or there is nothing to copy: then a lock at the most.
            Failure::Log(error) if error.kind() == ErrorKind::Refused => {
                self.remove(|name| name == LOCK_NAME && self.holds_nothing_but_a_lock());
            }
            _ => self.discard(),
        }
    }

    /// Removes what was made, as far as a log makes such files, unless another process has taken
    /// the place.
    pub(crate) fn discard(&self) {
        if self.is_taken() {
            return;
        }
        self.remove(|name| is_of_a_log(name) || name == LOCK_NAME);
    }

    fn remove(&self, unwanted: impl Fn(&str) -> bool) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten() {
            if unwanted(&entry.file_name().to_string_lossy()) {
                // Best effort: what stays is told by the next attempt.
                let _removed = fs::remove_file(entry.path());
            }
        }
        if self.made {
            // Of a directory with files in it this removes nothing.
            let _removed = fs::remove_dir(&self.dir);
        }
    }

    /// Whether the lock file names another process. A full disk may leave it without a name: then
    /// what is there counts as ours.
    fn is_taken(&self) -> bool {
        let owner = fs::read_to_string(self.dir.join(LOCK_NAME)).unwrap_or_default();
        owner.trim().parse::<u32>().is_ok_and(|process| process != std::process::id())
    }

    fn holds_nothing_but_a_lock(&self) -> bool {
        let names = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        names.map(|entry| entry.file_name()).all(|name| name == LOCK_NAME)
    }
}

/// Whether `dir`, of which the last parts need not be there, is `outer` or lies in it.
fn is_within(dir: &Path, outer: &Path) -> bool {
    let Ok(outer) = outer.canonicalize() else { return false };
    let Ok(dir) = std::path::absolute(dir) else { return false };
    dir.ancestors()
        .find_map(|there| there.canonicalize().ok())
        .is_some_and(|there| there.starts_with(outer))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A log to copy, and a directory that was claimed when it was empty.
    fn claimed() -> (tempfile::TempDir, PathBuf, NewLog) {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("log");
        let options = wal::Options::default().segment_bytes(1 << 16);
        let log = wal::Wal::open(&source, options, |_: &wal::ReplayRecord<'_>| {
            Ok::<(), std::io::Error>(())
        });
        log.unwrap().close().unwrap();
        let new = NewLog::claim(&source, &dir.path().join("copy")).unwrap();
        (dir, source, new)
    }

    #[test]
    fn a_place_within_the_log_itself_is_refused_and_one_beside_it_is_not() {
        let (dir, source, _) = claimed();
        for inner in [source.join("copy"), source.join("not/there/yet"), source.join("../log/x")] {
            assert!(NewLog::claim(&source, &inner).is_err(), "{}", inner.display());
        }
        let refused = NewLog::claim(&source, &source).unwrap_err();
        assert!(refused.to_string().contains("which is to stay as it is"), "{refused}");
        assert!(NewLog::claim(&source, &dir.path().join("log-copy")).is_ok());
        assert!(!source.join("copy").exists());
    }

    #[test]
    fn a_copy_that_another_command_finished_meanwhile_is_not_removed() {
        let (_dir, source, new) = claimed();
        wal::salvage(&source, &new.dir, &mut ()).unwrap();
        let late = wal::salvage(&source, &new.dir, &mut ()).unwrap_err();
        new.discard_after(&late.into());
        assert!(wal::LogView::open(&new.dir).unwrap().verdict() == &wal::Verdict::CleanEnd);
    }

    #[test]
    fn what_another_process_is_making_is_not_removed_by_an_interrupted_command() {
        let (_dir, _, new) = claimed();
        fs::create_dir(&new.dir).unwrap();
        fs::write(new.dir.join("x.tmp"), "made by another").unwrap();
        fs::write(new.dir.join(LOCK_NAME), "1\n").unwrap();
        new.discard();
        assert_eq!(fs::read_dir(&new.dir).unwrap().count(), 2);
        fs::write(new.dir.join(LOCK_NAME), format!("{}\n", std::process::id())).unwrap();
        new.discard();
        assert!(!new.dir.exists(), "ours is removed");
    }

    #[test]
    fn a_place_that_was_only_locked_is_left_as_it_was_found() {
        let (dir, source, new) = claimed();
        let behind = wal::Until::Lsn(Lsn::MAX);
        let refused = wal::restore_to(&source, &new.dir, &behind, &mut ()).unwrap_err();
        new.discard_after(&refused.into());
        assert!(!new.dir.exists());
        assert!(dir.path().exists());
    }
}
