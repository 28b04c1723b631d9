//! Taking space on the device ahead of need, so that later syncs have only data to write.
//!
//! On a file system that overwrites in place (ext4, XFS) the first write to a block changes
//! metadata: the block is allocated, or its "unwritten" mark is cleared, and `fdatasync` must
//! commit that to a journal. Zeros written once, here, move that cost off the commit path. On one
//! that copies on write they would buy nothing, and the space is only reserved.
//!
//! Leaves to others: removing the file after a failure, and syncing it after success.

use std::fs::File;
use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use super::aligned::ALIGNMENT_BYTES;
use super::filesystem::FilesystemKind;
use super::positional;
use crate::storage::Preparation;

/// Bytes of zeros in memory; a call writes up to [`ZERO_CALL_BYTES`] by naming them repeatedly.
const ZERO_BYTES: usize = 64 * 1024;

/// Most zeros written in one system call past the page cache.
const ZERO_CALL_BYTES: usize = 16 * ZERO_BYTES;

/// Zeros written in one system call through the page cache. A large call makes large folios, and
/// each later sync of a few bytes then works on the whole of one: two to three microseconds more
/// of processor time where it was measured.
const ZERO_CACHED_CALL_BYTES: usize = 8 * 1024;

/// Where others compute all the time, each giving way takes milliseconds, and a segment would never
/// be filled. A committer is back at the device long before this.
const GIVEN_WAY_MAX: Duration = Duration::from_millis(1);

/// Aligned, so that direct I/O takes them as they are.
#[repr(align(4096))]
struct Zeros([u8; ZERO_BYTES]);

const _: () = assert!(align_of::<Zeros>() == ALIGNMENT_BYTES, "direct I/O needs aligned memory");

static ZEROS: Zeros = Zeros([0; ZERO_BYTES]);

/// Makes the empty `file` `len` bytes of zeros whose space is taken.
///
/// Writes whole blocks of `block_bytes`, then cuts what is too much. Nothing is durable yet: the
/// caller syncs the file when it has also written what belongs into it. Says whether zeros are left
/// to be written, with [`write_zeros`].
///
/// # Errors
///
/// `StorageFull` (before writing anything, when the file system says how much it has),
/// `QuotaExceeded`, `FileTooLarge`, or whatever the device reports. The file is then of no use.
///
/// # Cost
///
/// One write of every byte, in calls of 8 KiB, or of 1 MiB past the page cache; a reservation where
/// that is asked for, and on file systems that copy on write.
pub(super) fn take(
    file: &File,
    len: u64,
    block_bytes: usize,
    filesystem: FilesystemKind,
    preparation: Preparation,
) -> io::Result<bool> {
    if len == 0 {
        return Ok(false);
    }
    refuse_the_impossible(file, len)?;
    give_way();
    let reserved = reserve(file, len)?;
    give_way();
    if filesystem.copies_on_write() {
        return if reserved { Ok(false) } else { file.set_len(len).map(|()| false) };
    }
    if reserved && preparation != Preparation::Zeroed {
        return Ok(preparation == Preparation::Gradual);
    }
    let whole =
        len.checked_next_multiple_of(block_bytes as u64).ok_or(io::ErrorKind::FileTooLarge)?;
    write_zeros(file, 0, whole, block_bytes)?;
    if whole != len {
        file.set_len(len)?;
    }
    Ok(false)
}

/// Refuses what is larger than everything the file system has free.
///
/// Without it a file that cannot fit would fill the device before it fails, and take its
/// neighbours' last space with it.
fn refuse_the_impossible(file: &File, len: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Ok(stat) = rustix::fs::fstatvfs(file) {
        // Free to anybody, root included: a bound that is never too low. Some file systems in
        // user space do not know their size.
        let free = stat.f_bfree.saturating_mul(stat.f_frsize);
        if stat.f_blocks > 0 && len > free {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{len} bytes wanted, {free} bytes free"),
            ));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, len);
    Ok(())
}

/// Reserves the space in one piece where the system can; tells whether it could.
fn reserve(file: &File, len: u64) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        loop {
            return match fallocate(file, FallocateFlags::empty(), 0, len) {
                Ok(()) => Ok(true),
                Err(Errno::INTR) => continue,
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
                Err(error) => Err(error.into()),
            };
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, len);
        Ok(false)
    }
}

/// Writes `len` zeros at `from`, both multiples of `block_bytes`; nothing is synced.
pub(super) fn write_zeros(file: &File, from: u64, len: u64, block_bytes: usize) -> io::Result<()> {
    let end = from.checked_add(len).ok_or(io::ErrorKind::FileTooLarge)?;
    let call_bytes = if block_bytes > 1 { ZERO_CALL_BYTES } else { ZERO_CACHED_CALL_BYTES };
    let mut at = from;
    while at < end {
        let mut left = usize::try_from(end - at).unwrap_or(usize::MAX).min(call_bytes);
        let mut bufs = Vec::with_capacity(ZERO_CALL_BYTES / ZERO_BYTES);
        while left > 0 {
            let piece = left.min(ZERO_BYTES);
            bufs.push(IoSlice::new(&ZEROS.0[..piece]));
            left -= piece;
        }
        match positional::write_at(file, &bufs, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => at += written as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// As [`write_zeros`], through the page cache and beside commits: others may have the processor after
/// each call, until they had it for [`GIVEN_WAY_MAX`].
pub(super) fn write_zeros_giving_way(file: &File, from: u64, len: u64) -> io::Result<()> {
    let end = from.checked_add(len).ok_or(io::ErrorKind::FileTooLarge)?;
    let (mut at, mut given) = (from, Duration::ZERO);
    while at < end {
        let bytes = (end - at).min(ZERO_CACHED_CALL_BYTES as u64);
        write_zeros(file, at, bytes, 1)?;
        at += bytes;
        if given < GIVEN_WAY_MAX {
            let begun = Instant::now();
            give_way();
            given += begun.elapsed();
        }
    }
    Ok(())
}

/// Lets others have the processor, if any wait for it.
///
/// Files are made and filled beside commits, and calls that only reach the cache do not sleep: a
/// committer whose sync is over, and who is to go on where this thread runs, would wait for all of
/// them. That was a third of what the slowest commits of a rotation took.
fn give_way() {
    std::thread::yield_now();
}

/// For the tests of each backend on a directory, which lies at `path`: what is filled is written, and
/// nothing else.
#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test")]
pub(super) fn check_filling(storage: &dyn crate::storage::Storage, path: &std::path::Path) {
    use rustix::fs::{SeekFrom, seek};
    let file = storage.create_for("a", 1 << 20, Preparation::Gradual).unwrap();
    if !file.fill(64 << 10, 64 << 10).unwrap() {
        eprintln!("SKIPPED: nothing can be reserved here, or writes copy");
        return;
    }
    assert_eq!(file.len().unwrap(), 1 << 20);
    if !tells_reserved(&tempfile::tempfile_in(path).unwrap()) {
        return;
    }
    let file = File::open(path.join("a")).unwrap();
    // What is reserved but not written counts as a hole.
    assert_eq!(seek(&file, SeekFrom::Data(0)).unwrap(), 64 << 10);
    assert_eq!(seek(&file, SeekFrom::Hole(64 << 10)).unwrap(), 128 << 10);
    let whole = storage.create("b", 1 << 20).unwrap();
    assert!(!whole.fill(0, 4096).unwrap(), "its zeros are written");
}

/// Whether the kernel tells what is reserved from what is written, asked with an empty `file`. Some
/// file systems say of everything that it is data.
#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test")]
fn tells_reserved(file: &File) -> bool {
    use rustix::fs::{SeekFrom, seek};
    let tells = !reserve(file, 4096).unwrap() || seek(file, SeekFrom::Data(0)).is_err();
    if !tells {
        eprintln!("SKIPPED: what is only reserved counts as data here");
    }
    tells
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether zeros may take no space where `file` lies: those that copy on write also compress.
    #[cfg(unix)]
    fn keeps_no_zeros(file: &File) -> bool {
        let filesystem = FilesystemKind::of(file);
        if filesystem.copies_on_write() {
            eprintln!("SKIPPED: zeros need not take space on {filesystem}");
        }
        filesystem.copies_on_write()
    }

    #[test]
    fn a_file_of_any_length_is_filled_with_zeros() {
        for len in [0, 1, 4095, 4096, 4097, 1 << 20, (1 << 20) + 5] {
            let file = tempfile::tempfile().unwrap();
            take(&file, len, 1, FilesystemKind::Ext, Preparation::Zeroed).unwrap();
            assert_eq!(file.metadata().unwrap().len(), len);
        }
    }

    #[test]
    fn whole_blocks_are_written_and_the_rest_is_cut() {
        let file = tempfile::tempfile().unwrap();
        take(&file, 5000, 4096, FilesystemKind::Ext, Preparation::Zeroed).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 5000);
    }

    #[test]
    #[cfg(unix)]
    fn the_space_is_taken_on_the_device_not_only_promised() {
        use std::os::unix::fs::MetadataExt;
        let file = tempfile::tempfile().unwrap();
        if keeps_no_zeros(&file) {
            return;
        }
        take(&file, 1 << 20, 1, FilesystemKind::Ext, Preparation::Zeroed).unwrap();
        // Delayed allocation may show in the count only after a sync.
        file.sync_all().unwrap();
        assert!(file.metadata().unwrap().blocks() * 512 >= 1 << 20);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_zeros_are_written_and_not_only_reserved() {
        use rustix::fs::{SeekFrom, seek};
        let file = tempfile::tempfile().unwrap();
        if keeps_no_zeros(&file) {
            return;
        }
        take(&file, 1 << 20, 1, FilesystemKind::Ext, Preparation::Zeroed).unwrap();
        // What is reserved but not written counts as a hole.
        assert_eq!(seek(&file, SeekFrom::Data(0)).unwrap(), 0);
        assert_eq!(seek(&file, SeekFrom::Hole(0)).unwrap(), 1 << 20);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_only_to_be_reserved_is_not_written() {
        use rustix::fs::{SeekFrom, seek};
        // A file of its own is asked: what is reserved a second time counts as data on tmpfs.
        let (asked, file) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        if !tells_reserved(&asked) {
            return;
        }
        let reserved = reserve(&asked, 4096).unwrap();
        take(&file, 1 << 20, 1, FilesystemKind::Ext, Preparation::Reserved).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1 << 20);
        // Where nothing can be reserved the zeros are written all the same.
        assert_eq!(seek(&file, SeekFrom::Data(0)).is_err(), reserved);
    }

    #[test]
    fn what_is_to_be_filled_later_is_reserved_and_says_so_unless_zeros_save_nothing() {
        let take = |filesystem| {
            let file = tempfile::tempfile().unwrap();
            take(&file, 1 << 20, 1, filesystem, Preparation::Gradual).unwrap()
        };
        let file = tempfile::tempfile().unwrap();
        assert_eq!(take(FilesystemKind::Ext), reserve(&file, 4096).unwrap());
        assert!(!take(FilesystemKind::Btrfs));
    }

    #[test]
    fn where_writes_copy_the_length_is_reserved_without_zeros() {
        let file = tempfile::tempfile().unwrap();
        take(&file, 1 << 20, 1, FilesystemKind::Btrfs, Preparation::Zeroed).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1 << 20);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn more_than_the_device_has_is_refused_before_a_byte_is_written() {
        let file = tempfile::tempfile().unwrap();
        let error = take(&file, 1 << 60, 1, FilesystemKind::Ext, Preparation::Zeroed).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
