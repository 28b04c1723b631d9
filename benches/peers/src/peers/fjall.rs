//! fjall: a batch of one key each commit, its journal synced with `fdatasync`.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::peer::{Committer, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "fjall",
    version: "3.1",
    options: "batch of one, SyncData; memtable of 512 MiB, so that none is written out meanwhile",
    caveat: "one sync a commit, whatever the threads",
    in_tasks: false,
    open,
};

fn open(dir: &Path, _: Load) -> Result<Box<dyn Peer>, Failure> {
    let database = Database::builder(dir).manual_journal_persist(true).open()?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(512 << 20);
    let keyspace = database.keyspace("log", options)?;
    Ok(Box::new(Log { database, keyspace }))
}

struct Log {
    database: Database,
    keyspace: Keyspace,
}

impl Peer for Log {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let mut number = (thread as u64) << 32;
        Ok(Box::new(move |body: &[u8]| {
            number += 1;
            let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
            batch.insert(&self.keyspace, number.to_be_bytes(), body);
            batch.commit()?;
            Ok(())
        }))
    }
}
