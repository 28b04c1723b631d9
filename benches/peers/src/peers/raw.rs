//! The bare device: each thread writes its bytes to a prepared file of its own and syncs it.
//!
//! With one thread it is the baseline of every ratio; with more, what separate syncs reach.

use std::fs::File;
use std::path::{Path, PathBuf};

use wal_bench::{prepared_file, raw_commit};

use crate::peer::{Committer, Entry, Failure, Load, Peer};

/// The bare device.
pub const ENTRY: Entry = Entry {
    name: "raw",
    version: "",
    options: "pwrite and fdatasync of body and 24 bytes, a prepared file of 16 MiB a thread",
    caveat: "",
    in_tasks: false,
    open,
};

const FILE_BYTES: u64 = 16 << 20;

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let path = |thread| dir.join(format!("raw-{thread}"));
    for thread in 0..load.threads {
        prepared_file(&path(thread), FILE_BYTES)?;
    }
    Ok(Box::new(Raw((0..load.threads).map(path).collect())))
}

struct Raw(Vec<PathBuf>);

impl Peer for Raw {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let path = self.0.get(thread).ok_or("no file was prepared for this thread")?;
        let file = File::options().write(true).open(path)?;
        let mut record = Vec::new();
        let mut offset = 0;
        Ok(Box::new(move |body: &[u8]| {
            record.resize(24, 1);
            record.extend_from_slice(body);
            let bytes = record.len() as u64;
            if offset + bytes > FILE_BYTES {
                offset = 0;
            }
            raw_commit(&file, &record, offset)?;
            offset += bytes;
            record.clear();
            Ok(())
        }))
    }
}
