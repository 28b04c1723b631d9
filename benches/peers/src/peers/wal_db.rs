//! wal-db: one file which grows; the library has no preallocation.

use std::path::Path;

use wal_db::Wal;

use crate::peer::{Committer, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "wal-db",
    version: "1.1.0",
    options: "one growing file (it cannot preallocate), append_and_sync",
    caveat: "goes on acknowledging after a failed sync",
    in_tasks: false,
    open,
};

fn open(dir: &Path, _: Load) -> Result<Box<dyn Peer>, Failure> {
    Ok(Box::new(Log(Wal::open(dir.join("log"))?)))
}

struct Log(Wal);

impl Peer for Log {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        Ok(Box::new(|body: &[u8]| {
            let _ = self.0.append_and_sync(body)?;
            Ok(())
        }))
    }
}
