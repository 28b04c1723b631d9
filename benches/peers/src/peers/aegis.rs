//! aegis-storage: an insert record and a flush which syncs, all under one mutex.

use std::path::Path;

use aegis_common::{PageId, TransactionId};
use aegis_storage::WriteAheadLog;
use bytes::Bytes;

use wal_bench::{Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "aegis",
    version: "0.2.6",
    options: "sync_on_commit, one insert record and a flush (it cannot preallocate)",
    appends: "one insert record, no flush; read by open_and_recover",
    caveat: "what is appended after a torn tail is lost",
    committers: Committers::Threads,
    open,
};

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let wal = WriteAheadLog::new(dir.to_owned(), load.durable)?;
    Ok(Box::new(Log { wal, durable: load.durable }))
}

struct Log {
    wal: WriteAheadLog,
    durable: bool,
}

impl Peer for Log {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let transaction = TransactionId(thread as u64 + 1);
        Ok(Box::new(move |body: &[u8]| {
            let body = Bytes::copy_from_slice(body);
            self.wal.log_insert(transaction, None, PageId(1), body)?;
            if self.durable {
                self.wal.flush()?;
            }
            Ok(())
        }))
    }

    fn written(&self) -> Result<(), Failure> {
        self.wal.flush()?;
        Ok(())
    }

    fn scan(self: Box<Self>, dir: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        drop(self);
        clock.start();
        let (_, recovery) = WriteAheadLog::open_and_recover(dir.to_owned(), false)?;
        Ok(recovery.records_processed as u64)
    }
}
