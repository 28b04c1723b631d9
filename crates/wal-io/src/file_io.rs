//! Whole reads and writes on top of calls that may do less.
//!
//! Loops over short and interrupted calls, and gives every error the file's name and offset.
//! Leaves syncs, and the meaning of the bytes, to its callers. No failed call is repeated, except
//! one that reports [`ErrorKind::Interrupted`], which by contract did nothing.

use std::io::{self, ErrorKind, IoSlice};

use crate::error::{IoError, IoOp};
use crate::slices::slices_between;
use crate::storage::LogFile;

/// Fills `buf` from `offset` on; returns fewer bytes than asked only at the end of the file.
///
/// # Errors
///
/// [`IoError::Failed`] with the offset of the call that failed; what `buf` holds is then unknown.
///
/// # Cost
///
/// One system call, unless the backend reads short.
pub fn read_full_at(
    file: &dyn LogFile,
    name: &str,
    buf: &mut [u8],
    offset: u64,
) -> Result<usize, IoError> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(done as u64);
        let asked = rest.len();
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(count) if count <= asked => done += count,
            Ok(_) => return Err(IoError::failed_at(IoOp::Read, name, at, lying_backend())),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(IoError::failed_at(IoOp::Read, name, at, error)),
        }
    }
    Ok(done)
}

/// Writes all of `bufs`, one after the other, from `offset` on.
///
/// # Durability
///
/// None: sync the file, unless the handle is write-through.
///
/// # Errors
///
/// [`IoError::Failed`] with the offset of the call that failed. Some of the bytes may have been
/// written; never try again, reopen the log.
///
/// # Cost
///
/// One system call and no allocation, unless the backend writes short or is interrupted.
#[inline]
pub fn write_full_at(
    file: &dyn LogFile,
    name: &str,
    bufs: &[IoSlice<'_>],
    offset: u64,
) -> Result<(), IoError> {
    let total: usize = bufs.iter().map(|buf| buf.len()).sum();
    if total == 0 {
        return Ok(());
    }
    match file.write_at(bufs, offset) {
        Ok(count) if count == total => Ok(()),
        first => finish_write(file, name, bufs, offset, first),
    }
}

/// Goes on after a write that did less than it was asked, or failed.
#[cold]
fn finish_write(
    file: &dyn LogFile,
    name: &str,
    bufs: &[IoSlice<'_>],
    offset: u64,
    first: io::Result<usize>,
) -> Result<(), IoError> {
    let total: usize = bufs.iter().map(|buf| buf.len()).sum();
    let mut done = 0;
    let mut result = first;
    loop {
        let at = offset.saturating_add(done as u64);
        match result {
            Ok(0) => {
                let cause = io::Error::from(ErrorKind::WriteZero);
                return Err(IoError::failed_at(IoOp::Write, name, at, cause));
            }
            Ok(count) if count <= total - done => done += count,
            Ok(_) => return Err(IoError::failed_at(IoOp::Write, name, at, lying_backend())),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(IoError::failed_at(IoOp::Write, name, at, error)),
        }
        if done == total {
            return Ok(());
        }
        let at = offset.saturating_add(done as u64);
        result = file.write_at(&slices_between(bufs, done, total), at);
    }
}

/// Writes all of `bufs`, one after the other, from `offset` on, and makes them durable.
///
/// # Durability
///
/// These bytes survive power loss once this returned success; it says nothing of others.
///
/// # Errors
///
/// [`IoError::Failed`] with the offset of the call that failed. Nothing is known of the bytes from
/// there on; never try again, reopen the log.
///
/// # Cost
///
/// One system call where the backend [joins](LogFile::joins_sync) the two, unless it writes short.
pub(crate) fn write_durable_full_at(
    file: &dyn LogFile,
    name: &str,
    bufs: &[IoSlice<'_>],
    offset: u64,
) -> Result<(), IoError> {
    let total: usize = bufs.iter().map(|buf| buf.len()).sum();
    let mut done = 0;
    while done < total {
        let at = offset.saturating_add(done as u64);
        let result = if done == 0 {
            file.write_durable_at(bufs, at)
        } else {
            file.write_durable_at(&slices_between(bufs, done, total), at)
        };
        // Not even an interrupted call is repeated: its sync may be what was interrupted.
        let cause = match result {
            Ok(0) => io::Error::from(ErrorKind::WriteZero),
            Ok(count) if count <= total - done => {
                done += count;
                continue;
            }
            Ok(_) => lying_backend(),
            Err(error) => error,
        };
        return Err(IoError::failed_at(IoOp::WriteSync, name, at, cause));
    }
    Ok(())
}

fn lying_backend() -> io::Error {
    io::Error::other("the storage reports more bytes than it was given")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::MemoryStorage;
    use crate::storage::{Access, Storage};
    use parking_lot::Mutex;

    /// Does one byte at a time, and every other call not at all.
    #[derive(Debug)]
    struct Reluctant {
        inner: Box<dyn LogFile>,
        calls: Mutex<u32>,
    }

    impl Reluctant {
        fn over(contents: &[u8]) -> Self {
            let storage = MemoryStorage::new();
            let file = storage.create("file", 0).unwrap();
            file.write_at(&[IoSlice::new(contents)], 0).unwrap();
            let inner = storage.open("file", Access::Write).unwrap();
            Self { inner, calls: Mutex::new(0) }
        }

        fn interrupted(&self) -> bool {
            let mut calls = self.calls.lock();
            *calls += 1;
            calls.is_multiple_of(2)
        }
    }

    impl LogFile for Reluctant {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            if self.interrupted() {
                return Err(ErrorKind::Interrupted.into());
            }
            let some = buf.len().min(1);
            self.inner.read_at(&mut buf[..some], offset)
        }
        fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
            if self.interrupted() {
                return Err(ErrorKind::Interrupted.into());
            }
            let first = bufs.iter().find(|buf| !buf.is_empty()).unwrap();
            self.inner.write_at(&[IoSlice::new(&first[..1])], offset)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.inner.sync_data()
        }
        fn sync_all(&self) -> io::Result<()> {
            self.inner.sync_all()
        }
        fn len(&self) -> io::Result<u64> {
            self.inner.len()
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.inner.set_len(len)
        }
    }

    #[test]
    fn short_and_interrupted_calls_are_finished() {
        let file = Reluctant::over(b"");
        let bufs = [b"wri".as_slice(), b"", b"te-ah", b"ead"].map(IoSlice::new);
        write_full_at(&file, "file", &bufs, 2).unwrap();
        let mut back = [9; 13];
        assert_eq!(read_full_at(&file, "file", &mut back, 0).unwrap(), 13);
        assert_eq!(&back, b"\0\0write-ahead");
    }

    #[test]
    fn a_write_that_is_interrupted_at_once_is_done() {
        let file = Reluctant::over(b"");
        assert!(!file.interrupted(), "so the next call is");
        write_full_at(&file, "file", &[IoSlice::new(b"ab")], 1).unwrap();
        let mut back = [9; 3];
        assert_eq!(read_full_at(&file, "file", &mut back, 0).unwrap(), 3);
        assert_eq!(&back, b"\0ab");
    }

    #[test]
    fn writing_nothing_calls_nobody() {
        let file = Reluctant::over(b"");
        write_full_at(&file, "file", &[IoSlice::new(b"")], 1).unwrap();
        write_full_at(&file, "file", &[], 1).unwrap();
        assert_eq!(*file.calls.lock(), 0);
    }

    /// Reports so many bytes, whatever it was given.
    #[derive(Debug)]
    struct Lying(usize);

    impl LogFile for Lying {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(self.0)
        }
        fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
            Ok(self.0)
        }
        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
        fn sync_all(&self) -> io::Result<()> {
            Ok(())
        }
        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_backend_that_writes_nothing_or_more_than_it_was_given_is_not_believed() {
        for reported in [0, 3] {
            let (file, bufs) = (Lying(reported), [IoSlice::new(b"ab")]);
            let error = write_full_at(&file, "file", &bufs, 7);
            assert!(
                matches!(&error, Err(IoError::Failed { op: IoOp::Write, offset: Some(7), .. })),
                "{error:?}"
            );
            let error = write_durable_full_at(&file, "file", &bufs, 7);
            assert!(
                matches!(&error, Err(IoError::Failed { op: IoOp::WriteSync, offset: Some(7), .. })),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_backend_that_reads_more_than_it_was_asked_is_not_believed() {
        let error = read_full_at(&Lying(3), "file", &mut [0; 2], 7);
        assert!(
            matches!(&error, Err(IoError::Failed { op: IoOp::Read, offset: Some(7), .. })),
            "{error:?}"
        );
    }

    #[test]
    fn a_short_durable_write_is_finished_and_an_interrupted_one_is_final() {
        let file = Reluctant::over(b"");
        let bufs = [b"ah".as_slice(), b"ead"].map(IoSlice::new);
        // Every second call is interrupted: the second part is.
        let error = write_durable_full_at(&file, "file", &bufs, 0).unwrap_err();
        assert!(
            matches!(&error, IoError::Failed { op: IoOp::WriteSync, offset: Some(1), .. }),
            "{error}"
        );
        let storage = MemoryStorage::new();
        let file = storage.create("file", 0).unwrap();
        write_durable_full_at(file.as_ref(), "file", &bufs, 0).unwrap();
        let mut back = [9; 5];
        assert_eq!(file.read_at(&mut back, 0).unwrap(), 5);
        assert_eq!(&back, b"ahead");
    }

    #[test]
    fn a_read_is_short_only_at_the_end_of_the_file() {
        let file = Reluctant::over(b"log");
        let mut buf = [0; 8];
        assert_eq!(read_full_at(&file, "file", &mut buf, 1).unwrap(), 2);
        assert_eq!(read_full_at(&file, "file", &mut buf, 3).unwrap(), 0);
    }

    #[test]
    fn an_error_names_the_file_and_the_offset() {
        let storage = MemoryStorage::new();
        storage.create("file", 8).unwrap();
        let file = storage.open("file", Access::Read).unwrap();
        let error = write_full_at(file.as_ref(), "file", &[IoSlice::new(b"x")], 5).unwrap_err();
        assert!(matches!(&error, IoError::Failed { op: IoOp::Write, name, offset: Some(5), .. }
            if name == "file"));
    }
}
