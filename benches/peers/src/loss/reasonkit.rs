//! reasonkit-mem: an insert, synced at once.

use std::path::Path;

use pollster::block_on;
use reasonkit_mem::storage::wal::{
    LogSequenceNumber, SyncMode, WalConfig, WalOperation, WriteAheadLog,
};
use uuid::Uuid;
use wal_bench::Failure;

use super::subject::{Log, Subject};

/// This log.
pub const SUBJECT: Subject = Subject {
    name: "reasonkit",
    version: "0.1.7",
    way: "Immediate, append",
    open: |dir| Ok(Box::new(Reasonkit(open(dir)?))),
    read,
};

/// Entries of a read: many more than are written, and not so many that it runs out of memory.
const ENTRIES_MAX: usize = 1 << 20;

fn open(dir: &Path) -> Result<WriteAheadLog, Failure> {
    let config = WalConfig::new(dir.to_owned()).with_sync_mode(SyncMode::Immediate);
    Ok(block_on(WriteAheadLog::new(config))?)
}

/// Its `recover` counts entries and hands over none; its reading from an LSN does.
fn read(dir: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let entries = block_on(open(dir)?.read_from(LogSequenceNumber(0), ENTRIES_MAX))?;
    let body = |operation| match operation {
        WalOperation::Insert { content, .. } => Some(content.into_bytes()),
        _ => None,
    };
    Ok(entries.into_iter().filter_map(|entry| body(entry.operation)).collect())
}

struct Reasonkit(WriteAheadLog);

impl Reasonkit {
    fn insert(&self, body: &[u8]) -> Result<(), Failure> {
        let content = String::from_utf8(body.to_vec())?;
        let insert = WalOperation::Insert { id: Uuid::nil(), content, embedding: Vec::new() };
        block_on(self.0.append(insert))?;
        Ok(())
    }
}

impl Log for Reasonkit {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.insert(body)
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), Failure> {
        // It has no other way; nobody is told.
        self.insert(body)
    }
}
