//! sochdb-storage: its transaction log under its group commit, joined as its own storage joins
//! them, flush before sync.
//!
//! Its plain `commit_transaction` is not measured: it syncs before the commit record has left the
//! buffer of the process, so what it acknowledges is not durable.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use sochdb_storage::TxnWal;
use sochdb_storage::group_commit::{EventDrivenGroupCommit, GroupCommitConfig};
use sochdb_storage::txn_wal::TxnWalEntry;

use wal_bench::{Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "sochdb",
    version: "0.4.3",
    options: "TxnWal under EventDrivenGroupCommit, batches from 1; from 2 to 31 threads a thread \
              of its own and waits of 100 µs, else none and 1,000 µs (it cannot preallocate)",
    appends: "write_no_flush_refs, no commit records; read by replay over the open log",
    caveat: "its plain commit syncs before the record is written; what is appended after a torn \
             tail is lost",
    committers: Committers::Threads,
    open,
};

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let wal = Arc::new(TxnWal::new(dir.join("log"))?);
    let flushed = Arc::clone(&wal);
    let flush = move |transactions: &[u64]| {
        for &transaction in transactions {
            flushed.append_no_flush(&TxnWalEntry::txn_commit(transaction)).map_err(said)?;
        }
        flushed.flush().map_err(said)?;
        flushed.sync().map_err(said)?;
        Ok(0)
    };
    // No setting is its fastest under every load; these were, tried side by side.
    let own_thread = load.durable && (2..32).contains(&load.threads);
    let config = GroupCommitConfig {
        max_wait_us: if own_thread { 100 } else { 1_000 },
        fsync_latency_us: 100,
        ..GroupCommitConfig::default()
    };
    let group = Arc::new(EventDrivenGroupCommit::with_config(flush, config));
    if own_thread {
        group.start()?;
        let group = Arc::clone(&group);
        thread::spawn(move || group.flush_loop());
    }
    Ok(Box::new(Log { wal, group, durable: load.durable }))
}

fn said(error: impl ToString) -> String {
    error.to_string()
}

struct Log {
    wal: Arc<TxnWal>,
    group: Arc<EventDrivenGroupCommit>,
    durable: bool,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.group.stop();
    }
}

impl Peer for Log {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let key = (thread as u64).to_le_bytes();
        Ok(Box::new(move |body: &[u8]| {
            let transaction = self.wal.alloc_txn_id();
            self.wal.write_no_flush_refs(transaction, &key, body)?;
            if self.durable {
                self.group.submit_and_wait(transaction)?;
            }
            Ok(())
        }))
    }

    fn written(&self) -> Result<(), Failure> {
        Ok(self.wal.flush()?)
    }

    fn scan(self: Box<Self>, _: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        clock.start();
        Ok(self.wal.replay(|_| Ok(()))?)
    }
}
