//! The bare device: each thread writes its bytes to prepared space of its own and makes them
//! durable in one of several ways; or, not to be durable, copies them to a buffer, checksums them,
//! and writes the buffer when full.
//!
//! Invariants: a thread's space is a file of its own or a stretch of one file which no other
//! thread writes to; past the cache of the kernel only whole blocks are written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::baseline::{FOR_SYNCS_BYTES, FOR_WRITES_BYTES, prepared_file, raw_commit};
use crate::checksums::{Checksum, quicker};
use crate::peer::{Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// One thread which writes and syncs: what every ratio is of.
pub const RAW: Entry = Entry {
    name: "raw",
    version: "",
    options: "one thread: pwrite and fdatasync of body and 24 bytes in a prepared file of 16 MiB",
    appends: "",
    caveat: "",
    committers: Committers::Fixed(1),
    open: |dir, load| open(dir, load, CACHED),
};

/// Two of them, with a file each.
pub const TWO: Entry = Entry {
    name: "raw-two",
    options: "as raw: two threads, a file each",
    committers: Committers::Fixed(2),
    ..RAW
};

/// One thread whose writes are durable when they return.
pub const DSYNC: Entry = Entry {
    name: "raw-dsync",
    options: "one thread: pwrite of body and 24 bytes in a prepared file opened with O_DSYNC",
    open: |dir, load| open(dir, load, THROUGH),
    ..RAW
};

/// The same, past the cache of the kernel.
pub const DIRECT: Entry = Entry {
    name: "raw-direct",
    options: "one thread: pwrite of blocks of 4 KiB in a prepared file, O_DIRECT and O_DSYNC",
    open: |dir, load| open(dir, load, PAST),
    ..RAW
};

/// As many in flight as there are threads, by each method and place.
pub const IN_FLIGHT: [Entry; 5] = [
    Entry {
        name: "files",
        options: "a file a thread, pwrite and fdatasync",
        committers: Committers::Threads,
        ..RAW
    },
    Entry {
        name: "one-file",
        options: "a stretch of one file a thread, pwrite and fdatasync",
        committers: Committers::Threads,
        open: |dir, load| open(dir, load, Way { one_file: true, ..CACHED }),
        ..RAW
    },
    Entry { name: "files-dsync", committers: Committers::Threads, ..DSYNC },
    Entry { name: "files-direct", committers: Committers::Threads, ..DIRECT },
    Entry {
        name: "one-file-direct",
        options: "a stretch of one file a thread, O_DIRECT and O_DSYNC, blocks of 4 KiB",
        committers: Committers::Threads,
        open: |dir, load| open(dir, load, Way { one_file: true, ..PAST }),
        ..RAW
    },
];

/// What an append costs bare: all of it first, then each part alone.
pub const APPENDS: [Entry; 5] = [
    Entry {
        appends: "copy, CRC-32C and write, to a file that was written before; read and CRC-32C",
        committers: Committers::Threads,
        open: |dir, load| append_to(dir, load, ALL_WORK),
        ..RAW
    },
    Entry {
        name: "raw-fresh",
        appends: "copy, CRC-32C and write, to a file whose space was only reserved",
        committers: Committers::Threads,
        open: |dir, load| append_to(dir, load, Work { fresh: true, ..ALL_WORK }),
        ..RAW
    },
    Entry {
        name: "raw-copy",
        appends: "copy to a buffer, and no more",
        committers: Committers::Threads,
        open: |dir, load| append_to(dir, load, Work { checksum: false, write: false, ..ALL_WORK }),
        ..RAW
    },
    Entry {
        name: "raw-crc32c",
        appends: "CRC-32C, and no more",
        committers: Committers::Threads,
        open: |dir, load| append_to(dir, load, Work { copy: false, write: false, ..ALL_WORK }),
        ..RAW
    },
    Entry {
        name: "raw-write",
        appends: "write of a buffer, and no more",
        committers: Committers::Threads,
        open: |dir, load| append_to(dir, load, Work { copy: false, checksum: false, ..ALL_WORK }),
        ..RAW
    },
];

/// How a write is made durable, and where it goes.
#[derive(Clone, Copy)]
struct Way {
    /// The write is durable when it returns.
    through: bool,
    /// Past the cache of the kernel.
    direct: bool,
    /// All threads write to one file.
    one_file: bool,
}

const CACHED: Way = Way { through: false, direct: false, one_file: false };
const THROUGH: Way = Way { through: true, ..CACHED };
const PAST: Way = Way { direct: true, ..THROUGH };

/// Bytes of each thread's space; durable writes start again at its beginning.
const SPACE_BYTES: u64 = 16 << 20;

const HEAD_BYTES: usize = 24;
const BLOCK_BYTES: usize = 4096;
const BUFFER_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 256 << 10;

fn open(dir: &Path, load: Load, way: Way) -> Result<Box<dyn Peer>, Failure> {
    let (files, stretches) = if way.one_file { (1, load.threads) } else { (load.threads, 1) };
    let paths = paths(dir, files);
    for path in &paths {
        prepared_file(path, SPACE_BYTES * stretches as u64, FOR_SYNCS_BYTES)?;
    }
    Ok(Box::new(Durable { paths, way }))
}

fn paths(dir: &Path, files: usize) -> Vec<PathBuf> {
    (0..files).map(|file| dir.join(format!("raw-{file}"))).collect()
}

struct Durable {
    paths: Vec<PathBuf>,
    way: Way,
}

impl Peer for Durable {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let (file, stretch) = if self.way.one_file { (0, thread) } else { (thread, 0) };
        let path = self.paths.get(file).ok_or("no file was prepared for this thread")?;
        let file = opened(path, self.way)?;
        let begin = stretch as u64 * SPACE_BYTES;
        Ok(Box::new(Synced { file, way: self.way, record: Record::default(), begin, at: 0 }))
    }
}

/// What `O_SYNC` has beyond `O_DSYNC`: each write would bring the times of the file along. The
/// library means the former where it says the latter.
#[cfg(target_os = "linux")]
const AND_TIMES: u32 = OFlags::SYNC.bits() & 0o4_000_000;

#[cfg(target_os = "linux")]
fn opened(path: &Path, way: Way) -> io::Result<File> {
    let mut flags = OFlags::empty();
    flags.set(OFlags::DSYNC, way.through);
    flags.set(OFlags::DIRECT, way.direct);
    let flags = flags.bits() & !AND_TIMES;
    File::options().write(true).custom_flags(flags.cast_signed()).open(path)
}

#[cfg(not(target_os = "linux"))]
fn opened(path: &Path, way: Way) -> io::Result<File> {
    if way.direct {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut flags = OFlags::empty();
    flags.set(OFlags::DSYNC, way.through);
    File::options().write(true).custom_flags(flags.bits().cast_signed()).open(path)
}

struct Synced {
    file: File,
    way: Way,
    record: Record,
    /// Where its stretch begins, and where in it the next write goes.
    begin: u64,
    at: u64,
}

impl Committer for Synced {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        let multiple = if self.way.direct { BLOCK_BYTES } else { 1 };
        let record = self.record.with(body, multiple);
        let bytes = record.len() as u64;
        if self.at + bytes > SPACE_BYTES {
            self.at = 0;
        }
        if self.way.through {
            self.file.write_all_at(record, self.begin + self.at)?;
        } else {
            raw_commit(&self.file, record, self.begin + self.at)?;
        }
        self.at += bytes;
        Ok(())
    }
}

/// A head and a body where a device may take them from: at an address that is a multiple of a
/// block's bytes.
#[derive(Default)]
struct Record {
    memory: Vec<u8>,
}

impl Record {
    /// As many bytes as the next `multiple` has.
    fn with(&mut self, body: &[u8], multiple: usize) -> &[u8] {
        let bytes = (HEAD_BYTES + body.len()).next_multiple_of(multiple);
        if self.memory.len() < bytes + BLOCK_BYTES {
            self.memory = vec![1; bytes + BLOCK_BYTES];
        }
        let start = self.memory.as_ptr().align_offset(BLOCK_BYTES);
        let record = self.memory.get_mut(start..).and_then(|rest| rest.get_mut(..bytes));
        let Some(record) = record else { return &[] };
        if let Some(place) = record.get_mut(HEAD_BYTES..HEAD_BYTES + body.len()) {
            place.copy_from_slice(body);
        }
        record
    }
}

/// A file of `bytes` zeros none of which was written; sparse where space cannot be reserved.
fn reserved_file(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::create(path)?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(_) => file.set_len(bytes),
    }
}

#[derive(Clone, Copy)]
struct Work {
    copy: bool,
    checksum: bool,
    write: bool,
    /// Nothing was ever written to the file.
    fresh: bool,
}

const ALL_WORK: Work = Work { copy: true, checksum: true, write: true, fresh: false };

fn append_to(dir: &Path, load: Load, work: Work) -> Result<Box<dyn Peer>, Failure> {
    let paths = paths(dir, load.threads);
    let records = load.bytes / (load.body_bytes * load.threads) as u64;
    let bytes = records * (HEAD_BYTES + load.body_bytes) as u64;
    for path in &paths {
        if work.fresh {
            reserved_file(path, bytes)?;
        } else {
            prepared_file(path, if work.write { bytes } else { 0 }, FOR_WRITES_BYTES)?;
        }
    }
    Ok(Box::new(Appended { paths, work }))
}

struct Appended {
    paths: Vec<PathBuf>,
    work: Work,
}

impl Peer for Appended {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let path = self.paths.get(thread).ok_or("no file was prepared for this thread")?;
        let file = File::options().write(true).open(path)?;
        let buffer = vec![1; BUFFER_BYTES];
        Ok(Box::new(Buffered { file, work: self.work, buffer, used: 0, offset: 0 }))
    }

    fn scan(self: Box<Self>, _: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        clock.start();
        read_files(&self.paths, u64::MAX, Some(quicker))?;
        Ok(u64::MAX)
    }
}

/// Reads the files, at most so many bytes, and checksums them if told how; they are not taken apart.
/// How many bytes there were.
pub(crate) fn read_files(
    paths: &[PathBuf],
    bytes_max: u64,
    checksum: Option<Checksum>,
) -> io::Result<u64> {
    let mut buffer = vec![0_u8; READ_BYTES];
    let (mut sum, mut bytes) = (0, 0);
    for path in paths {
        let mut file = File::open(path)?;
        while bytes < bytes_max {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            if let Some(checksum) = checksum {
                sum = checksum(sum, buffer.get(..read).unwrap_or_default());
            }
        }
    }
    std::hint::black_box((sum, &buffer));
    Ok(bytes)
}

/// Checksums a buffer as often as `bytes` bytes have it.
pub(crate) fn checksum_memory(bytes: u64) {
    let buffer = vec![1_u8; READ_BYTES];
    let times = bytes.div_ceil(READ_BYTES as u64);
    std::hint::black_box((0..times).fold(0, |sum, _| quicker(sum, &buffer)));
}

struct Buffered {
    file: File,
    work: Work,
    buffer: Vec<u8>,
    /// Bytes of the buffer which wait to be written.
    used: usize,
    offset: u64,
}

impl Buffered {
    fn write(&mut self) -> io::Result<()> {
        let full = self.buffer.get(..self.used).unwrap_or_default();
        if self.work.write {
            self.file.write_all_at(full, self.offset)?;
        } else {
            std::hint::black_box(full);
        }
        self.offset += self.used as u64;
        self.used = 0;
        Ok(())
    }
}

impl Committer for Buffered {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        let bytes = HEAD_BYTES + body.len();
        if self.used + bytes > self.buffer.len() {
            self.write()?;
        }
        let sum = if self.work.checksum { quicker(0, body) } else { 1 };
        if !self.work.copy {
            std::hint::black_box(sum);
        } else if let Some(record) = self.buffer.get_mut(self.used..self.used + bytes) {
            let (head, place) = record.split_at_mut(HEAD_BYTES);
            if let Some(start) = head.first_chunk_mut() {
                *start = sum.to_le_bytes();
            }
            place.copy_from_slice(body);
        }
        self.used += bytes;
        Ok(())
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        // A write that fails here leaves a short file; nothing is read back from it but bytes.
        let _ = self.write();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(threads: usize, durable: bool) -> Load {
        let bytes = if durable { 0 } else { 4 * 128 * threads as u64 };
        Load { threads, durable, bytes, body_bytes: 128, segment_bytes: None }
    }

    #[test]
    fn every_bare_way_writes_what_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        for entry in [RAW, TWO, DSYNC, DIRECT].iter().chain(&IN_FLIGHT) {
            let threads = entry.committers.under(3);
            let dir = dir.path().join(entry.name);
            std::fs::create_dir(&dir).unwrap();
            let peer = (entry.open)(&dir, load(threads, true)).unwrap();
            for thread in 0..threads {
                let body = [u8::try_from(thread).unwrap() + 2; 128];
                match peer.committer(thread).and_then(|mut committer| committer.commit(&body)) {
                    Ok(()) => assert!(holds(&dir, &body), "{} of thread {thread}", entry.name),
                    // Not every file system can be written past its cache.
                    Err(error) => assert!(entry.name.contains("direct"), "{error}"),
                }
            }
        }
    }

    fn holds(dir: &Path, body: &[u8]) -> bool {
        std::fs::read_dir(dir).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.chunks(SPACE_BYTES as usize).any(|at| at[HEAD_BYTES..].starts_with(body))
        })
    }

    #[test]
    fn records_past_the_cache_are_whole_blocks_at_whole_addresses() {
        let mut record = Record::default();
        for body in [1, 4072, 4073] {
            let bytes = record.with(&vec![7; body], BLOCK_BYTES);
            assert_eq!(bytes.len() % BLOCK_BYTES, 0);
            assert_eq!(bytes.as_ptr().align_offset(BLOCK_BYTES), 0);
            assert!(bytes[HEAD_BYTES..].starts_with(&vec![7; body]));
        }
    }

    #[test]
    fn bare_appends_write_all_bytes_and_only_where_asked() {
        let dir = tempfile::tempdir().unwrap();
        for entry in &APPENDS {
            let dir = dir.path().join(entry.name);
            std::fs::create_dir(&dir).unwrap();
            let peer = (entry.open)(&dir, load(2, false)).unwrap();
            for thread in 0..2 {
                let mut committer = peer.committer(thread).unwrap();
                (0..4).for_each(|_| committer.commit(&[7; 128]).unwrap());
            }
            let bytes = std::fs::read(dir.join("raw-1")).unwrap();
            let writes = matches!(entry.name, "raw" | "raw-fresh" | "raw-write");
            assert_eq!(bytes.len(), if writes { 4 * (HEAD_BYTES + 128) } else { 0 });
            let copied = bytes.windows(128).filter(|window| *window == [7; 128]).count();
            assert_eq!(copied, if matches!(entry.name, "raw" | "raw-fresh") { 4 } else { 0 });
        }
    }

    #[test]
    fn a_round_goes_back_to_its_own_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let file = prepared_file(&dir.path().join("f"), 2 * SPACE_BYTES, FOR_SYNCS_BYTES).unwrap();
        let at = SPACE_BYTES - 10;
        let begin = SPACE_BYTES;
        let mut synced = Synced { file, way: CACHED, record: Record::default(), begin, at };
        synced.commit(&[9; 128]).unwrap();
        let bytes = std::fs::read(dir.path().join("f")).unwrap();
        assert_eq!(bytes[SPACE_BYTES as usize + HEAD_BYTES], 9);
        assert_eq!(bytes[HEAD_BYTES], 0);
    }
}
