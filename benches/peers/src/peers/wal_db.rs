//! wal-db: one file which grows; the library has no preallocation.

use std::path::Path;

use wal_db::Wal;

use wal_bench::{Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "wal-db",
    version: "1.1.0",
    options: "one growing file (it cannot preallocate), append_and_sync",
    appends: "append; read by iter over the open log",
    caveat: "goes on acknowledging after a failed sync",
    committers: Committers::Threads,
    open,
};

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let wal = Wal::open(dir.join("log"))?;
    Ok(Box::new(Log { wal, durable: load.durable }))
}

struct Log {
    wal: Wal,
    durable: bool,
}

impl Peer for Log {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        Ok(Box::new(|body: &[u8]| {
            let _ = if self.durable {
                self.wal.append_and_sync(body)?
            } else {
                self.wal.append(body)?
            };
            Ok(())
        }))
    }

    fn scan(self: Box<Self>, _: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        clock.start();
        let mut records = 0;
        for record in self.wal.iter()? {
            records += u64::from(!record?.is_empty());
        }
        Ok(records)
    }
}
