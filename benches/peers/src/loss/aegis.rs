//! aegis-storage: a transaction of one insert, its commit synced.

use std::path::Path;

use aegis_common::{Lsn, PageId, TransactionId};
use aegis_storage::WriteAheadLog;
use bytes::Bytes;
use wal_bench::Failure;

use super::subject::{Log, Subject};

/// This log.
pub const SUBJECT: Subject = Subject {
    name: "aegis",
    version: "0.2.6",
    way: "sync_on_commit, log_commit",
    open: |dir| Ok(Box::new(Aegis::open(dir)?)),
    read: |dir| {
        let (_, recovery) = WriteAheadLog::open_and_recover(dir.to_owned(), true)?;
        Ok(recovery.redo_records.into_iter().map(|record| record.data.to_vec()).collect())
    },
};

struct Aegis {
    wal: WriteAheadLog,
    next: u64,
}

impl Aegis {
    fn open(dir: &Path) -> Result<Self, Failure> {
        let (wal, recovery) = WriteAheadLog::open_and_recover(dir.to_owned(), true)?;
        // No number of a transaction comes twice: the log keys its recovery by it.
        Ok(Self { wal, next: recovery.max_lsn.0 + 1 })
    }

    fn write(&mut self, body: &[u8]) -> Result<(TransactionId, Lsn), Failure> {
        let transaction = TransactionId(self.next);
        self.next += 1;
        let begin = self.wal.log_begin(transaction)?;
        let body = Bytes::copy_from_slice(body);
        Ok((transaction, self.wal.log_insert(transaction, Some(begin), PageId(1), body)?))
    }
}

impl Log for Aegis {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (transaction, insert) = self.write(body)?;
        self.wal.log_commit(transaction, insert)?;
        Ok(())
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.write(body)?;
        self.wal.flush()?;
        Ok(())
    }
}
