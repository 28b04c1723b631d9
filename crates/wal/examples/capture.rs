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

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (dir, file, once) = match arguments.as_slice() {
        [dir, file] => (dir, file, false),
        [dir, file, once] if once.as_os_str() == "once" => (dir, file, true),
        _ => return Err("usage: capture DIR FILE-OF-THE-POSITION [once]".into()),
    };
    let mut follower = Follower::open(dir)?;
    let head = follower.head();
    let mut place = Place::load(file)?.unwrap_or(Place { from: head, handed_on: head });
    let hold = match PersistentHold::take_over(dir, HOLD)? {
        Some(hold) => hold,
        None => PersistentHold::place(dir, HOLD, Some(place.from), None)?,
    };
    let mut pending = Pending::default();
    loop {
        let (before, mut handed_on) = (follower.position(), place.handed_on);
        follower.drain_within(Duration::from_secs(1), |record| {
            // A follower begins at the head, which may lie far before.
            if record.lsn() >= place.from {
                let decided = record.lsn();
                pending.take(record, |body| {
                    if decided >= place.handed_on {
                        println!("{decided} {}", String::from_utf8_lossy(body));
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
