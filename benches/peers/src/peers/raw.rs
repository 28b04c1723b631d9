//! The bare device: each thread writes its bytes to a prepared file of its own and syncs it; or,
//! not to be durable, copies them to a buffer, checksums them, and writes the buffer when full.
//!
//! With one thread it is the baseline of every ratio; with more, what separate files reach.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use wal_bench::{prepared_file, raw_commit};

use crate::peer::{Clock, Committer, Entry, Failure, Load, Peer};

/// The bare device.
pub const ENTRY: Entry = Entry {
    name: "raw",
    version: "",
    options: "pwrite and fdatasync of body and 24 bytes, a prepared file of 16 MiB a thread",
    caveat: "",
    in_tasks: false,
    open,
};

/// Durable writes start again at its beginning.
const FILE_BYTES: u64 = 16 << 20;

const HEAD_BYTES: usize = 24;
const BUFFER_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 256 << 10;

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let paths: Vec<PathBuf> =
        (0..load.threads).map(|thread| dir.join(format!("raw-{thread}"))).collect();
    let file_bytes = if load.durable { FILE_BYTES } else { all_bytes(load) };
    for path in &paths {
        prepared_file(path, file_bytes)?;
    }
    Ok(Box::new(Raw { paths, durable: load.durable }))
}

/// Bytes of all records of a thread.
fn all_bytes(load: Load) -> u64 {
    let records = load.bytes / (load.body_bytes * load.threads) as u64;
    records * (HEAD_BYTES + load.body_bytes) as u64
}

struct Raw {
    paths: Vec<PathBuf>,
    durable: bool,
}

impl Peer for Raw {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let path = self.paths.get(thread).ok_or("no file was prepared for this thread")?;
        let file = File::options().write(true).open(path)?;
        if self.durable {
            Ok(Box::new(Synced { file, record: Vec::new(), offset: 0 }))
        } else {
            Ok(Box::new(Buffered { file, buffer: Vec::with_capacity(BUFFER_BYTES), offset: 0 }))
        }
    }

    /// Reads and checksums all bytes; they are not taken apart.
    fn scan(self: Box<Self>, _: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        clock.start();
        let mut buffer = vec![0_u8; READ_BYTES];
        let mut sum = 0;
        for path in &self.paths {
            let mut file = File::open(path)?;
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                sum = crc32c::crc32c_append(sum, buffer.get(..read).unwrap_or_default());
            }
        }
        std::hint::black_box(sum);
        Ok(u64::MAX)
    }
}

struct Synced {
    file: File,
    record: Vec<u8>,
    offset: u64,
}

impl Committer for Synced {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.record.clear();
        self.record.resize(HEAD_BYTES, 1);
        self.record.extend_from_slice(body);
        let bytes = self.record.len() as u64;
        if self.offset + bytes > FILE_BYTES {
            self.offset = 0;
        }
        raw_commit(&self.file, &self.record, self.offset)?;
        self.offset += bytes;
        Ok(())
    }
}

struct Buffered {
    file: File,
    buffer: Vec<u8>,
    offset: u64,
}

impl Buffered {
    fn write(&mut self) -> Result<(), Failure> {
        self.file.write_all_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Committer for Buffered {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        if self.buffer.len() + HEAD_BYTES + body.len() > BUFFER_BYTES {
            self.write()?;
        }
        let mut head = [1_u8; HEAD_BYTES];
        if let Some(sum) = head.first_chunk_mut() {
            *sum = crc32c::crc32c(body).to_le_bytes();
        }
        self.buffer.extend_from_slice(&head);
        self.buffer.extend_from_slice(body);
        Ok(())
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        // A write that fails here leaves a short file; nothing is read back from it but bytes.
        let _ = self.write();
    }
}
