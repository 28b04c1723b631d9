//! What every clause is written with: flaws, and calls that go on after short reads and writes.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};

use wal_io::{FileEntry, LogFile, Storage};

/// What was found to be otherwise than promised.
#[derive(Debug)]
pub(super) struct Flaw(pub(super) String);

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a [`Flaw`] with the text unless the condition holds.
macro_rules! demand {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::contract::check::Flaw(format!($($text)+)));
        }
    };
}

/// Says what was being done when a call failed.
pub(super) trait Doing<T> {
    /// The value, or a flaw that names what was being done.
    fn doing(self, what: impl fmt::Display) -> Result<T, Flaw>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Flaw> {
        self.map_err(|error| Flaw(format!("{what} failed: {error} ({:?})", error.kind())))
    }
}

/// Demands that a call failed with `kind`.
pub(super) fn refused<T>(
    result: io::Result<T>,
    kind: ErrorKind,
    what: impl fmt::Display,
) -> Result<(), Flaw> {
    match result {
        Ok(_) => Err(Flaw(format!("{what} succeeded; it must fail with {kind:?}"))),
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Flaw(format!("{what} failed with {:?}, not {kind:?}", error.kind()))),
    }
}

/// Writes the concatenation of `bufs` at `offset`, as often as it takes.
pub(super) fn write_all(file: &dyn LogFile, bufs: &[&[u8]], offset: u64) -> Result<(), Flaw> {
    let total: usize = bufs.iter().map(|buf| buf.len()).sum();
    let mut done = 0;
    while done < total {
        let mut skip = done;
        let mut rest = Vec::with_capacity(bufs.len());
        for buf in bufs {
            let skipped = skip.min(buf.len());
            skip -= skipped;
            rest.push(IoSlice::new(&buf[skipped..]));
        }
        match file.write_at(&rest, offset + done as u64) {
            Ok(written) => {
                demand!(
                    written > 0 && written <= total - done,
                    "a write of {} bytes returned {written}",
                    total - done
                );
                demand!(
                    written.is_multiple_of(file.block_bytes()),
                    "a write ended at {written} bytes, within a block"
                );
                done += written;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).doing(format!("writing at {offset}")),
        }
    }
    Ok(())
}

/// Reads up to `len` bytes at `offset`; less only at the end of the file.
pub(super) fn read_up_to(file: &dyn LogFile, len: usize, offset: u64) -> Result<Vec<u8>, Flaw> {
    let mut buf = vec![0xEE; len];
    let mut done = 0;
    while done < len {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => {
                demand!(read <= len - done, "a read of {} bytes returned {read}", len - done);
                done += read;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).doing(format!("reading at {offset}")),
        }
    }
    buf.truncate(done);
    Ok(buf)
}

/// All bytes of a file, which must be as many as its length says.
pub(super) fn contents(file: &dyn LogFile) -> Result<Vec<u8>, Flaw> {
    let len = file.len().doing("asking the length")?;
    let len = usize::try_from(len).map_err(|_| Flaw(format!("the length is {len}")))?;
    let bytes = read_up_to(file, len.saturating_add(1), 0)?;
    demand!(bytes.len() == len, "the length is {len}, but {} bytes can be read", bytes.len());
    Ok(bytes)
}

/// Demands that `file` holds exactly `expected`.
pub(super) fn holds(file: &dyn LogFile, expected: &[u8], what: &str) -> Result<(), Flaw> {
    same(&contents(file)?, expected, what)
}

/// Demands that the bytes are equal; names the first that is not.
pub(super) fn same(found: &[u8], expected: &[u8], what: &str) -> Result<(), Flaw> {
    demand!(found.len() == expected.len(), "{what}: {} bytes, not {}", found.len(), expected.len());
    let differing = found.iter().zip(expected).position(|(found, expected)| found != expected);
    if let Some(at) = differing {
        demand!(false, "{what}: byte {at} is {:#04x}, not {:#04x}", found[at], expected[at]);
    }
    Ok(())
}

/// `len` bytes which are never zero, differ from place to place, and between values of `salt`.
pub(super) fn pattern(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|at| ((at / 7 + at + usize::from(salt) * 37) % 255 + 1) as u8).collect()
}

/// The block in which `file` is written: at least a sector, so that clauses need not tell apart.
pub(super) fn block_of(file: &dyn LogFile) -> usize {
    file.block_bytes().max(512)
}

/// The files, by name.
pub(super) fn listed(storage: &dyn Storage) -> Result<Vec<FileEntry>, Flaw> {
    let mut entries = storage.list().doing("listing")?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// The names of the files, sorted.
pub(super) fn names(storage: &dyn Storage) -> Result<Vec<String>, Flaw> {
    Ok(listed(storage)?.into_iter().map(|entry| entry.name).collect())
}
