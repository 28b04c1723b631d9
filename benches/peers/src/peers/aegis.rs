//! aegis-storage: an insert record and a flush which syncs, all under one mutex.

use std::path::Path;

use aegis_common::{PageId, TransactionId};
use aegis_storage::WriteAheadLog;
use bytes::Bytes;

use crate::peer::{Committer, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "aegis",
    version: "0.2.6",
    options: "sync_on_commit, one insert record and a flush (it cannot preallocate)",
    caveat: "what is appended after a torn tail is lost",
    in_tasks: false,
    open,
};

fn open(dir: &Path, _: Load) -> Result<Box<dyn Peer>, Failure> {
    Ok(Box::new(Log(WriteAheadLog::new(dir.to_owned(), true)?)))
}

struct Log(WriteAheadLog);

impl Peer for Log {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let transaction = TransactionId(thread as u64 + 1);
        Ok(Box::new(move |body: &[u8]| {
            let body = Bytes::copy_from_slice(body);
            self.0.log_insert(transaction, None, PageId(1), body)?;
            self.0.flush()?;
            Ok(())
        }))
    }
}
