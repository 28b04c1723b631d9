//! sochdb-storage: its transaction log, committed to in its two ways.

use std::path::Path;

use sochdb_storage::TxnWal;
use sochdb_storage::txn_wal::TxnWalEntry;
use wal_bench::Failure;

use super::subject::{Log, Subject};

/// As its own storage flushes a group: the buffer is written out before the sync.
pub const GROUPED: Subject = Subject {
    name: "sochdb",
    version: "0.4.3",
    way: "TxnWal: commit record, flush, sync, as its group commit does",
    open: |dir| Ok(Box::new(Grouped(open(dir)?))),
    read,
};

/// Its plain commit.
pub const PLAIN: Subject = Subject {
    name: "sochdb-plain",
    version: "0.4.3",
    way: "TxnWal::commit_transaction",
    open: |dir| Ok(Box::new(Plain(open(dir)?))),
    read,
};

fn open(dir: &Path) -> Result<TxnWal, Failure> {
    Ok(TxnWal::new(dir.join("log"))?)
}

fn read(dir: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let (committed, _) = open(dir)?.crash_recovery()?;
    Ok(committed.into_iter().map(|(_, value)| value).collect())
}

struct Grouped(TxnWal);

struct Plain(TxnWal);

/// A transaction with `body` in it; its number.
fn write(wal: &TxnWal, body: &[u8]) -> Result<u64, Failure> {
    let transaction = wal.begin_transaction()?;
    wal.write(transaction, b"key".to_vec(), body.to_vec())?;
    Ok(transaction)
}

fn begin(wal: &TxnWal, body: &[u8]) -> Result<(), Failure> {
    write(wal, body)?;
    Ok(wal.flush()?)
}

impl Log for Grouped {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        let transaction = write(&self.0, body)?;
        self.0.append_no_flush(&TxnWalEntry::txn_commit(transaction))?;
        self.0.flush()?;
        Ok(self.0.sync()?)
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), Failure> {
        begin(&self.0, body)
    }
}

impl Log for Plain {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        let transaction = write(&self.0, body)?;
        Ok(self.0.commit_transaction(transaction)?)
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), Failure> {
        begin(&self.0, body)
    }
}
