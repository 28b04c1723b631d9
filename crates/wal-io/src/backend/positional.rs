//! Positional calls on an open file, alike on every platform: one system call each.
//!
//! Knows neither names nor alignment. Where the platform lacks a vectored positional write, the
//! first buffer alone is written, which the contract allows: callers go on after short writes.

use std::fs::File;
use std::io::{self, IoSlice};

use crate::storage::Access;

/// Most buffers one vectored call takes; further ones are left for the next call.
#[cfg(unix)]
const SLICES_MAX: usize = 1024;

/// The largest offset a file can have.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// Reads at `offset`; 0 at or beyond the end of the file, wherever that may be.
pub(super) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    // The system would call such a range invalid; to the contract it lies beyond the end.
    let possible = usize::try_from(OFFSET_MAX.saturating_sub(offset)).unwrap_or(usize::MAX);
    let len = buf.len().min(possible);
    let buf = &mut buf[..len];
    if buf.is_empty() {
        return Ok(0);
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::read_at(file, buf, offset)
    }
    #[cfg(windows)]
    {
        std::os::windows::fs::FileExt::seek_read(file, buf, offset)
    }
}

/// Writes the concatenation of `bufs` at `offset`, or a part of it.
///
/// Cost: one system call, for up to 1,024 buffers.
#[inline]
pub(super) fn write_at(file: &File, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    #[cfg(unix)]
    if let [buf] = bufs
        && !buf.is_empty()
        && offset.checked_add(buf.len() as u64).is_some_and(|end| end <= OFFSET_MAX)
    {
        // Nearly always; and the kernel has no list to copy.
        return Ok(rustix::io::pwrite(file, buf, offset)?);
    }
    write_many_at(file, bufs, offset)
}

fn write_many_at(file: &File, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    let total: usize = bufs.iter().map(|buf| buf.len()).sum();
    if total == 0 {
        return Ok(0);
    }
    if offset.checked_add(total as u64).is_none_or(|end| end > OFFSET_MAX) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    #[cfg(unix)]
    {
        // A run of empty buffers as long as the limit would look like a full device.
        let first = bufs.iter().position(|buf| !buf.is_empty()).unwrap_or_default();
        let bufs = &bufs[first..];
        Ok(rustix::io::pwritev(file, &bufs[..bufs.len().min(SLICES_MAX)], offset)?)
    }
    #[cfg(windows)]
    {
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        std::os::windows::fs::FileExt::seek_write(file, first, offset)
    }
}

/// What a write through a handle with this `access` reports. One that syncs what it writes is not
/// to be repeated when it was interrupted: its sync may be what was.
pub(super) fn reported(access: Access, written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if access == Access::WriteThrough && is_interrupted(&error) => Err(
            io::Error::other("a write and its sync were interrupted: what they did is not known"),
        ),
        written => written,
    }
}

fn is_interrupted(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Interrupted
}

/// Makes the bytes of `file` durable: `fdatasync` where there is one, `F_FULLFSYNC` on Apple systems.
///
/// On Linux and Android not even an interrupted call is repeated: the next one may succeed without
/// what this one should have told. Elsewhere the standard library repeats it.
///
/// Cost: one system call.
#[inline]
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        Ok(rustix::fs::fdatasync(file)?)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        file.sync_data()
    }
}

/// As [`sync_data`], all metadata included.
pub(super) fn sync_all(file: &File) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        Ok(rustix::fs::fsync(file)?)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        file.sync_all()
    }
}

/// The first offset from `offset` on that may hold data, `u64::MAX` if none; `offset` itself where
/// the file system keeps no account of holes.
pub(super) fn data_from(file: &File, offset: u64) -> io::Result<u64> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    {
        // Calls here are positional, so that the seek disturbs nobody.
        match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset.min(OFFSET_MAX))) {
            Ok(data) => Ok(data.max(offset)),
            Err(rustix::io::Errno::NXIO) => Ok(u64::MAX),
            Err(_) => Ok(offset),
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    {
        let _ = file;
        Ok(offset)
    }
}

/// Asks the system to read all of `file` into its cache, soon. Nothing depends on the answer.
#[cfg(target_os = "linux")]
pub(super) fn will_need(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::WillNeed);
}

/// Elsewhere nobody is asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn will_need(_: &File) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> File {
        tempfile::tempfile().unwrap()
    }

    #[test]
    fn a_vectored_write_is_the_concatenation_of_its_buffers() {
        let file = scratch();
        let bufs = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        assert_eq!(write_at(&file, &bufs, 3).unwrap(), 5);
        let mut back = [9; 10];
        assert_eq!(read_at(&file, &mut back, 0).unwrap(), 8);
        assert_eq!(&back[..8], b"\0\0\0abcde");
    }

    #[test]
    fn more_buffers_than_one_call_takes_are_written_in_part() {
        let file = scratch();
        let bufs: Vec<IoSlice<'_>> = (0..1500).map(|_| IoSlice::new(b"x")).collect();
        let written = write_at(&file, &bufs, 0).unwrap();
        assert!(written > 0 && written < 1500, "{written}");
        assert_eq!(file.metadata().unwrap().len(), written as u64);
    }

    #[test]
    fn many_empty_buffers_before_a_full_one_do_not_stop_the_write() {
        let file = scratch();
        let mut bufs: Vec<IoSlice<'_>> = (0..3000).map(|_| IoSlice::new(b"")).collect();
        bufs.push(IoSlice::new(b"end"));
        assert_eq!(write_at(&file, &bufs, 0).unwrap(), 3);
    }

    #[test]
    fn writing_nothing_writes_nothing() {
        let file = scratch();
        assert_eq!(write_at(&file, &[], 100).unwrap(), 0);
        assert_eq!(write_at(&file, &[IoSlice::new(b"")], 100).unwrap(), 0);
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn offsets_no_file_can_have_are_beyond_the_end_and_too_large() {
        let file = scratch();
        for offset in [OFFSET_MAX - 2, OFFSET_MAX, u64::MAX] {
            assert_eq!(read_at(&file, &mut [0; 4], offset).unwrap(), 0, "{offset}");
        }
        for offset in [u64::MAX, OFFSET_MAX, OFFSET_MAX - 1] {
            let error = write_at(&file, &[IoSlice::new(b"ab")], offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{offset}");
        }
    }
}
