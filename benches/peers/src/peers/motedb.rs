//! motedb: the durable way to its log, and the one it recommends, which is not durable.

use std::path::Path;

use motedb::DurabilityLevel;
use motedb::txn::wal::{WALConfig, WALManager, WALRecord};
use motedb::types::Value;

use wal_bench::{Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// Its batches, which sync.
pub const ENTRY: Entry = Entry {
    name: "motedb",
    version: "0.1.4",
    options: "one partition, Synchronous, a batch of one record (it cannot preallocate)",
    appends: "GroupCommit, log_insert; read by recover over the open log",
    caveat: "what is appended after a torn tail is lost",
    committers: Committers::Threads,
    open: open_synchronous,
};

/// Its single records at the level which its documentation recommends.
pub const RECOMMENDED: Entry = Entry {
    name: "motedb-recommended",
    version: "0.1.4",
    options: "one partition, GroupCommit, log_insert",
    appends: ENTRY.appends,
    caveat: "said to be durable, never syncs",
    committers: Committers::Threads,
    open: open_recommended,
};

fn open_synchronous(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    if !load.durable {
        return open_recommended(dir, load);
    }
    let config = WALConfig { durability_level: DurabilityLevel::Synchronous };
    Ok(Box::new(Synchronous(WALManager::create_with_config(dir, 1, config)?)))
}

fn open_recommended(dir: &Path, _: Load) -> Result<Box<dyn Peer>, Failure> {
    let config = WALConfig { durability_level: DurabilityLevel::group_commit() };
    Ok(Box::new(Recommended(WALManager::create_with_config(dir, 1, config)?)))
}

struct Synchronous(WALManager);

struct Recommended(WALManager);

/// The body as the text which its rows can hold: a byte a letter, so as many bytes.
fn row(body: &[u8]) -> Vec<Value> {
    vec![Value::Text(body.iter().map(|byte| char::from(byte & 0x7f)).collect())]
}

impl Peer for Synchronous {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let mut row_id = (thread as u64) << 32;
        Ok(Box::new(move |body: &[u8]| {
            row_id += 1;
            let table_name = "log".to_owned();
            let record = WALRecord::Insert { table_name, row_id, partition: 0, data: row(body) };
            self.0.batch_append(0, vec![record])?;
            Ok(())
        }))
    }
}

impl Peer for Recommended {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let mut row_id = (thread as u64) << 32;
        Ok(Box::new(move |body: &[u8]| {
            row_id += 1;
            self.0.log_insert("log", 0, row_id, row(body))?;
            Ok(())
        }))
    }

    fn scan(self: Box<Self>, _: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        clock.start();
        Ok(self.0.recover()?.values().map(|records| records.len() as u64).sum())
    }
}
