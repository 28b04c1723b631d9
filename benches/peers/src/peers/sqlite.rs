//! SQLite: one row a transaction, in WAL mode with `synchronous=FULL`.
//!
//! One connection behind a mutex: it may hold the lock on the file for good, which several
//! connections cannot, and they would wait for one another by sleeping.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use wal_bench::{Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "sqlite",
    version: "bundled",
    options: "WAL, synchronous=FULL, exclusive lock, WAL file of 64 MiB written beforehand and \
              reused, one connection behind a mutex",
    appends: "",
    caveat: "one sync a commit, whatever the threads; writes whole pages",
    committers: Committers::Threads,
    open,
};

/// Rows of a megabyte which fill the WAL file before the run, so that it is overwritten in it.
const FILLING_ROWS: usize = 64;

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    if !load.durable {
        return Err("is no log to append to".into());
    }
    let connection = Connection::open(dir.join("log"))?;
    connection.execute_batch(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         PRAGMA wal_autocheckpoint=15000;
         CREATE TABLE log (number INTEGER PRIMARY KEY, body BLOB NOT NULL);",
    )?;
    let block = vec![0_u8; 1 << 20];
    connection.execute_batch("BEGIN")?;
    for _ in 0..FILLING_ROWS {
        insert(&connection, &block)?;
    }
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(RESTART);")?;
    Ok(Box::new(Log(Mutex::new(connection))))
}

fn insert(connection: &Connection, body: &[u8]) -> Result<(), Failure> {
    connection.prepare_cached("INSERT INTO log (body) VALUES (?1)")?.execute([body])?;
    Ok(())
}

struct Log(Mutex<Connection>);

impl Peer for Log {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        Ok(Box::new(|body: &[u8]| {
            insert(&self.0.lock().unwrap_or_else(PoisonError::into_inner), body)
        }))
    }
}
