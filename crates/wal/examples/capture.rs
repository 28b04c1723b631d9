//! Change-data capture: follows the log of a running process from another one, and hands on each
//! committed change, once it is durable.
//!
//! ```sh
//! cargo run -p wal --example kv -- fruit.kv set apple green
//! cargo run -p wal --example capture -- fruit.kv captured.position         # in another terminal
//! cargo run -p wal --example kv -- fruit.kv set apple red
//! ```
//!
//! The log is only read, and its owner need not know. Where the capture stands is kept in a file of its
//! own, which is replaced whole: it goes on where it was, and hands a change on twice at the most,
//! never not at all. A hold in the log, placed from here, keeps truncation from going past it.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wal::{Follower, Lsn, PersistentHold, RecordFlags, RecordKind, RecordRef, TxnId};

/// The name of the hold. Two captures of one log need two names.
const HOLD: &str = "capture";

/// Changes that are not handed on yet, each with its address.
#[derive(Default)]
struct Pending {
    /// Of transactions which have no end so far.
    transactions: HashMap<TxnId, Vec<(Lsn, Vec<u8>)>>,
    /// Of a batch which has more records.
    batch: Vec<(Lsn, Vec<u8>)>,
}

impl Pending {
    /// Takes the next record, and hands on what it decides.
    fn take(&mut self, record: &RecordRef<'_>, mut hand_on: impl FnMut(&[u8])) {
        let (kind, flags) = (record.kind(), record.flags());
        let change = is_change(kind).then(|| (record.lsn(), record.body.to_vec()));
        if !flags.contains(RecordFlags::BATCH_FOLLOWS) {
            // What a crash cut short before this was never committed.
            self.batch.clear();
        }
        match record.txn.map(|link| link.txn_id) {
            Some(txn) if kind == RecordKind::COMMIT => {
                let changes = self.transactions.remove(&txn).unwrap_or_default();
                changes.iter().for_each(|(_, body)| hand_on(body));
            }
            Some(txn) if kind == RecordKind::ABORT => {
                self.transactions.remove(&txn);
            }
            Some(txn) => self.transactions.entry(txn).or_default().extend(change),
            None => {
                self.batch.extend(change);
                if !flags.contains(RecordFlags::BATCH_CONTINUES) {
                    self.batch.drain(..).for_each(|(_, body)| hand_on(&body));
                }
            }
        }
        if kind == RecordKind::OPENED {
            // Who ran before the log was opened anew did not survive that.
            self.transactions.clear();
        }
    }

    /// From here on the log is needed: the first change that waits, or `position`.
    fn needed_from(&self, position: Lsn) -> Lsn {
        let waiting = self.transactions.values().chain([&self.batch]);
        let first = waiting.filter_map(|changes| changes.first()).map(|(lsn, _)| *lsn).min();
        first.unwrap_or(position).min(position)
    }
}

fn is_change(kind: RecordKind) -> bool {
    kind == RecordKind::DATA || kind.is_engine()
}

/// Where the capture goes on, and up to where changes were handed on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    from: Lsn,
    handed_on: Lsn,
}

impl Place {
    fn load(path: &Path) -> Result<Option<Self>, Box<dyn Error>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (from, handed_on) = text.trim().split_once(' ').ok_or("the file of the position")?;
        let lsn = |text: &str| Lsn::new(text.parse().ok()?);
        let place = lsn(from).zip(lsn(handed_on)).ok_or("the file of the position")?;
        Ok(Some(Self { from: place.0, handed_on: place.1 }))
    }

    fn store(self, path: &Path) -> Result<(), Box<dyn Error>> {
        let new = path.with_extension("new");
        let mut file = fs::File::create(&new)?;
        writeln!(file, "{} {}", self.from.get(), self.handed_on.get())?;
        file.sync_all()?;
        Ok(fs::rename(&new, path)?)
    }
}

/// Follows the log in `dir` from where `file` says, and calls `hand_on` with each change, and the
/// address of the record that decided on it. With `once` it ends when nothing more is there.
fn capture(
    dir: &Path,
    file: &Path,
    once: bool,
    mut hand_on: impl FnMut(Lsn, &[u8]),
) -> Result<(), Box<dyn Error>> {
    let mut follower = Follower::open(dir)?;
    let head = follower.head();
    let mut place = Place::load(file)?.unwrap_or(Place { from: head, handed_on: head });
    let hold = match PersistentHold::take_over(dir, HOLD)? {
        Some(hold) => hold,
        None if place.from < head => {
            let from = place.from;
            return Err(format!("the hold was dropped, and {from} to {head} may be lost").into());
        }
        None => PersistentHold::place(dir, HOLD, Some(place.from), None)?,
    };
    let wait = Duration::from_millis(if once { 100 } else { 1000 });
    let mut pending = Pending::default();
    loop {
        let (before, mut handed_on) = (follower.position(), place.handed_on);
        follower.drain_within(wait, |record| {
            // A follower begins at the head, which may lie far before.
            if record.lsn() >= place.from {
                let decided = record.lsn();
                pending.take(record, |body| {
                    if decided >= place.handed_on {
                        hand_on(decided, body);
                    }
                });
                handed_on = handed_on.max(record.end());
            }
            ControlFlow::<()>::Continue(())
        })?;
        let from = pending.needed_from(follower.position()).max(place.from);
        let now = Place { from, handed_on };
        if now != place {
            std::io::stdout().flush()?;
            now.store(file)?;
            hold.advance(now.from)?;
            place = now;
        }
        if once && follower.position() == before {
            return Ok(());
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (dir, file, once) = match arguments.as_slice() {
        [dir, file] => (dir, file, false),
        [dir, file, once] if once.as_os_str() == "once" => (dir, file, true),
        _ => return Err("usage: capture DIR FILE-OF-THE-POSITION [once]".into()),
    };
    capture(dir, file, once, |decided, body| {
        println!("{decided} {}", String::from_utf8_lossy(body));
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use wal::{Options, ReplayRecord, Wal};

    /// Where a test that starts itself again, to be killed, finds the log; it counts itself to when.
    const KILLED_AT: &str = "WAL_CAPTURE_KILLED_AT";
    const KILLED_AFTER: &str = "WAL_CAPTURE_KILLED_AFTER";

    fn open(dir: &Path) -> Wal {
        let options = Options::default().segment_bytes(1 << 16);
        let log = Wal::open(dir, options, |_: &ReplayRecord<'_>| Ok::<(), std::io::Error>(()));
        log.unwrap()
    }

    fn captured(dir: &Path) -> Vec<String> {
        let mut found = Vec::new();
        capture(&dir.join("log"), &dir.join("position"), true, |_, body| {
            found.push(String::from_utf8(body.to_vec()).unwrap());
        })
        .unwrap();
        found
    }

    /// Changes of a record alone, of a batch, of a transaction that commits behind another one, and
    /// of two that do not.
    fn changes(log: &Wal, round: usize) -> Vec<String> {
        let named = |name: &str| format!("{name} {round}");
        let _ordered = log.append(named("alone").as_bytes()).unwrap();
        let (mut early, mut late, mut aborted) = (log.begin(), log.begin(), log.begin());
        early.log(named("early").as_bytes()).unwrap();
        late.log(named("late").as_bytes()).unwrap();
        aborted.log(named("aborted").as_bytes()).unwrap();
        let _ordered = log.append_batch(&[named("batch a"), named("batch b")]).unwrap();
        late.log(named("late again").as_bytes()).unwrap();
        early.commit().unwrap();
        aborted.abort().unwrap();
        late.commit().unwrap();
        let names = ["alone", "batch a", "batch b", "early", "late", "late again"];
        names.into_iter().map(named).collect()
    }

    #[test]
    fn each_committed_change_comes_once_in_the_order_of_the_commits_through_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let (mut all, mut found) = (Vec::new(), Vec::new());
        for round in 0..4 {
            let log = open(&dir.path().join("log"));
            all.extend(changes(&log, round));
            // Beside the writer: what nothing proves durable yet comes later.
            found.extend(captured(dir.path()));
            log.close().unwrap();
            found.extend(captured(dir.path()));
        }
        assert_eq!(found, all);
    }

    #[test]
    fn a_transaction_that_is_open_when_the_capture_ends_is_handed_on_whole_later() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir.path().join("log"));
        let mut open = log.begin();
        open.log(b"before").unwrap();
        log.append(b"alone").unwrap().wait_durable().unwrap();
        log.append(b"proves the one before").unwrap().wait_durable().unwrap();
        let mut found = captured(dir.path());
        assert_eq!(found[0], "alone");
        open.log(b"after").unwrap();
        open.commit().unwrap();
        log.close().unwrap();
        found.extend(captured(dir.path()));
        assert_eq!(found, ["alone", "proves the one before", "before", "after"]);
    }

    /// Captures, and ends the process as a kill does after so many changes.
    fn be_killed(dir: &Path) {
        let mut left: usize = std::env::var(KILLED_AFTER).unwrap().parse().unwrap();
        let out = fs::File::options().create(true).append(true).open(dir.join("out")).unwrap();
        capture(&dir.join("log"), &dir.join("position"), true, |_, body| {
            (&out).write_all(&[body, b"\n"].concat()).unwrap();
            left -= 1;
            if left == 0 {
                std::process::abort();
            }
        })
        .unwrap();
    }

    #[test]
    fn a_capture_that_is_killed_anywhere_misses_nothing_and_comes_to_the_same_end() {
        if let Some(dir) = std::env::var_os(KILLED_AT) {
            return be_killed(Path::new(&dir));
        }
        for after in 1..=6 {
            let dir = tempfile::tempdir().unwrap();
            let log = open(&dir.path().join("log"));
            let mut all = changes(&log, 0);
            log.close().unwrap();
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .arg("a_capture_that_is_killed_anywhere")
                .env(KILLED_AT, dir.path())
                .env(KILLED_AFTER, after.to_string())
                .output()
                .unwrap();
            assert_eq!(child.status.code(), None, "by a signal");
            let before = fs::read_to_string(dir.path().join("out")).unwrap();
            let before: Vec<&str> = before.lines().collect();
            assert_eq!(before, all[..after], "what it handed on");
            // Its hold is still there, of a process that is dead: it is taken over.
            let log = open(&dir.path().join("log"));
            all.extend(changes(&log, 1));
            log.close().unwrap();
            let behind = captured(dir.path());
            assert_eq!(behind[..], all[all.len() - behind.len()..], "in order");
            assert!(before.len() + behind.len() >= all.len(), "killed after {after}");
        }
    }

    #[test]
    fn what_was_truncated_before_it_was_read_is_an_error_and_no_silence() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir.path().join("log"));
        log.append(b"first").unwrap().wait_durable().unwrap();
        log.append(b"second").unwrap().wait_durable().unwrap();
        assert_eq!(captured(dir.path())[0], "first");
        wal::drop_persistent_hold(dir.path().join("log"), HOLD).unwrap();
        (0..40).for_each(|_| drop(log.append(&[b'x'; 8000]).unwrap()));
        log.sync().unwrap();
        assert!(log.truncate_before(log.positions().durable).unwrap().segments > 0);
        let place = dir.path().join("position");
        assert!(capture(&dir.path().join("log"), &place, true, |_, _| ()).is_err());
    }
}
