//! sochdb-storage: its transaction log under its group commit, joined as its own storage joins
//! them, flush before sync.
//!
//! Its plain `commit_transaction` is not measured: it syncs before the commit record has left the
//! buffer of the process, so what it acknowledges is not durable.

use std::path::Path;
use std::sync::Arc;

use sochdb_storage::TxnWal;
use sochdb_storage::group_commit::{EventDrivenGroupCommit, GroupCommitConfig};
use sochdb_storage::txn_wal::TxnWalEntry;

use crate::peer::{Committer, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "sochdb",
    version: "0.4.3",
    options: "TxnWal under EventDrivenGroupCommit, batches from 1, waits of at most 100 µs (it \
              cannot preallocate)",
    caveat: "its plain commit syncs before the record is written; what is appended after a torn \
             tail is lost",
    in_tasks: false,
    open,
};

fn open(dir: &Path, _: Load) -> Result<Box<dyn Peer>, Failure> {
    let wal = Arc::new(TxnWal::new(dir.join("log"))?);
    let flushed = Arc::clone(&wal);
    let config = GroupCommitConfig { max_wait_us: 100, ..GroupCommitConfig::default() };
    let group = EventDrivenGroupCommit::with_config(
        move |transactions: &[u64]| {
            for &transaction in transactions {
                flushed.append_no_flush(&TxnWalEntry::txn_commit(transaction)).map_err(said)?;
            }
            flushed.flush().map_err(said)?;
            flushed.sync().map_err(said)?;
            Ok(0)
        },
        config,
    );
    Ok(Box::new(Log { wal, group }))
}

fn said(error: impl ToString) -> String {
    error.to_string()
}

struct Log {
    wal: Arc<TxnWal>,
    group: EventDrivenGroupCommit,
}

impl Peer for Log {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let key = (thread as u64).to_le_bytes();
        Ok(Box::new(move |body: &[u8]| {
            let transaction = self.wal.alloc_txn_id();
            self.wal.write_no_flush_refs(transaction, &key, body)?;
            self.group.submit_and_wait(transaction)?;
            Ok(())
        }))
    }
}
