//! motedb: its durable way, and the level which its documentation recommends.

use std::collections::HashMap;
use std::path::Path;

use motedb::DurabilityLevel;
use motedb::txn::wal::{WALConfig, WALManager, WALRecord};
use motedb::types::Value;
use wal_bench::Failure;

use super::subject::{Log, Subject};

/// Its batches, which sync.
pub const SYNCHRONOUS: Subject = Subject {
    name: "motedb",
    version: "0.1.4",
    way: "Synchronous, batch_append",
    open: |dir| Ok(Box::new(Synchronous(open(dir, DurabilityLevel::Synchronous)?, 0))),
    read,
};

/// Its single records at the level which its documentation recommends.
pub const RECOMMENDED: Subject = Subject {
    name: "motedb-recommended",
    version: "0.1.4",
    way: "GroupCommit, log_insert",
    open: |dir| Ok(Box::new(Recommended(open(dir, DurabilityLevel::group_commit())?, 0))),
    read,
};

const TABLE: &str = "log";

fn open(dir: &Path, durability_level: DurabilityLevel) -> Result<WALManager, Failure> {
    Ok(WALManager::open_with_config(dir, 1, WALConfig { durability_level })?)
}

fn read(dir: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let recovered: HashMap<_, Vec<WALRecord>> =
        open(dir, DurabilityLevel::Synchronous)?.recover()?;
    let body = |record| match record {
        WALRecord::Insert { data, .. } => data.into_iter().next(),
        _ => None,
    };
    let values = recovered.into_values().flatten().filter_map(body);
    let text = |value| match value {
        Value::Text(text) => Some(text.into_bytes()),
        _ => None,
    };
    Ok(values.filter_map(text).collect())
}

/// The log, and how many rows were inserted.
struct Synchronous(WALManager, u64);

struct Recommended(WALManager, u64);

fn row(body: &[u8]) -> Result<Vec<Value>, Failure> {
    Ok(vec![Value::Text(String::from_utf8(body.to_vec())?)])
}

impl Log for Synchronous {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.1 += 1;
        let (table_name, data) = (TABLE.to_owned(), row(body)?);
        let insert = WALRecord::Insert { table_name, row_id: self.1, partition: 0, data };
        self.0.batch_append(0, vec![insert])?;
        Ok(())
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), Failure> {
        // It has no other way; nobody is told.
        self.commit(body)
    }
}

impl Log for Recommended {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.1 += 1;
        self.0.log_insert(TABLE, 0, self.1, row(body)?)?;
        Ok(())
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.commit(body)
    }
}
