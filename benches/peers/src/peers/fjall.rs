//! fjall: a batch of one key each commit, its journal synced with `fdatasync`.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use wal_bench::{Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "fjall",
    version: "3.1",
    options: "batch of one, SyncData; memtable of 512 MiB, so that none is written out meanwhile",
    appends: "batch of one without sync; it cannot be read back as a log",
    caveat: "one sync a commit, whatever the threads",
    committers: Committers::Threads,
    open,
};

const MEMTABLE_BYTES: u64 = 512 << 20;

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let database = Database::builder(dir).manual_journal_persist(true).open()?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
    let keyspace = database.keyspace("log", options)?;
    let mode = load.durable.then_some(PersistMode::SyncData);
    Ok(Box::new(Log { database, keyspace, mode }))
}

struct Log {
    database: Database,
    keyspace: Keyspace,
    mode: Option<PersistMode>,
}

impl Peer for Log {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let mut number = (thread as u64) << 32;
        Ok(Box::new(move |body: &[u8]| {
            number += 1;
            let mut batch = self.database.batch().durability(self.mode);
            batch.insert(&self.keyspace, number.to_be_bytes(), body);
            batch.commit()?;
            Ok(())
        }))
    }

    fn written(&self) -> Result<(), Failure> {
        Ok(self.database.persist(PersistMode::Buffer)?)
    }
}
