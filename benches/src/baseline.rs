//! What every benchmark here writes, and the least that a device must do for it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use wal::Options;

/// Bodies measured, in bytes.
pub const BODY_BYTES: [usize; 2] = [128, 4096];

/// A body of `bytes` bytes which does not compress and is the same in every run.
#[must_use]
pub fn body(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// The options of every benchmark: the defaults.
#[must_use]
pub fn options() -> Options {
    Options::default()
}

/// Zeros written at once into a file whose writes are to be synced one by one. A kernel with large
/// folios makes one of each call, and every later sync of a few bytes then works on the whole of it:
/// after calls of a mebibyte a bare commit took half as much processor time again.
pub(crate) const FOR_SYNCS_BYTES: usize = 8 << 10;

/// Zeros written at once into a file that is to be written from its beginning to its end: for that
/// the largest folios are the best.
pub(crate) const FOR_WRITES_BYTES: usize = 1 << 20;

/// A file of `bytes` bytes of written, synced zeros: what a prepared segment is. They are written in
/// calls of `call_bytes`.
///
/// # Errors
///
/// Whatever the file system reports.
pub(crate) fn prepared_file(path: &Path, bytes: u64, call_bytes: usize) -> io::Result<File> {
    let file = File::create_new(path)?;
    let zeros = vec![0_u8; call_bytes];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(zeros.len() as u64);
        (&file).write_all(&zeros[..now as usize])?;
        left -= now;
    }
    file.sync_all()?;
    Ok(file)
}

/// One raw durable commit: one positional write and one `fdatasync`.
///
/// # Errors
///
/// Whatever the device reports.
pub(crate) fn raw_commit(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)?;
    file.sync_data()
}
