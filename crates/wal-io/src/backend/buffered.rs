//! A real directory through the page cache of the system: the default, on every platform.
//!
//! Bytes go to the page cache with positional writes, one system call for each mebibyte, and to the device
//! with `fdatasync` (`F_FULLFSYNC` on Apple systems, which is what `std` calls there). Knows no
//! alignment: any offset and length may be written. What the names and the lock do is in
//! `directory`, what preallocation does in `space`.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;

use super::directory::Directory;
use super::filesystem::FilesystemKind;
use super::{positional, space};
use crate::error::IoError;
use crate::slices::slices_between;
use crate::storage::{Access, LogFile, Preparation, Storage};

/// Bytes that one call writes into the page cache; who gave more goes on, as after any short write.
///
/// A kernel keeps the new pages of a call together, so a longer one asks for the longest runs of free
/// memory there are. These a guest has given back to its host, and each page waits for the host again;
/// shorter runs are what was freed last. See "The length of a write" in `docs/design/0002-storage-backends.md`.
const CALL_BYTES: usize = 1 << 20;

/// A directory of the file system, read and written through the page cache.
///
/// # Durability
///
/// What [`Storage`] and [`LogFile`] promise holds as far as the file system keeps its own
/// promises: see [`filesystem`](Self::filesystem).
///
/// An acknowledged sector is never changed, but the page around it may be written again with the
/// same bytes. Devices which ruin a sector that loses power while it is written need
/// `DirectStorage`.
#[derive(Debug)]
pub struct FileStorage {
    directory: Directory,
    passes_holes: bool,
}

impl FileStorage {
    /// Opens the directory at `path`, which is created if it is missing; its parent is not.
    ///
    /// Nothing in the directory is changed, not even the lock file made: that is left to
    /// [`Storage::lock`].
    ///
    /// # Durability
    ///
    /// A directory created here survives power loss.
    ///
    /// # Errors
    ///
    /// [`IoError::NotADirectory`] when `path` is a file or what lies above it is missing: give
    /// another path, or create it. [`IoError::Failed`] for whatever else the system reports,
    /// permissions included.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IoError> {
        Ok(Self { directory: Directory::open_or_create(path.as_ref())?, passes_holes: false })
    }

    /// Opens the directory at `path`, which must exist. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); [`IoError::NotADirectory`] when it does not exist.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, IoError> {
        Ok(Self { directory: Directory::open(path.as_ref())?, passes_holes: false })
    }

    /// The same directory, whose files tell where the file system keeps holes: a search for records
    /// passes over them unread.
    ///
    /// For tools that only look, or copy. An opening does not ask: what it decides is never taken
    /// from an account of the file system which no checksum covers.
    #[must_use]
    pub fn passing_holes(mut self) -> Self {
        self.passes_holes = true;
        self
    }

    /// The absolute path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.root()
    }

    /// The file system the directory lies on; [`FilesystemKind::Unknown`] except on Linux.
    #[must_use]
    pub fn filesystem(&self) -> FilesystemKind {
        self.directory.filesystem()
    }

    fn open_file(&self, name: &str, access: Access) -> io::Result<BufferedFile> {
        let file = self.directory.open_file(name, access, 0)?;
        Ok(BufferedFile { file, access, unfilled: false, passes_holes: self.passes_holes })
    }
}

impl Storage for FileStorage {
    crate::pass_on_names!(directory);

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        self.create_for(name, len, Preparation::Zeroed)
    }

    fn create_for(
        &self,
        name: &str,
        len: u64,
        preparation: Preparation,
    ) -> io::Result<Box<dyn LogFile>> {
        let (file, unfilled) = self.directory.create_file(name, len, 1, 0, preparation)?;
        let (access, passes_holes) = (Access::Write, self.passes_holes);
        Ok(Box::new(BufferedFile { file, access, unfilled, passes_holes }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(self.open_file(name, access)?))
    }
}

/// One open file description; never duplicated, so that its errors are its own (rule 6).
#[derive(Debug)]
struct BufferedFile {
    file: File,
    access: Access,
    /// Space was reserved, and zeros over it are worth writing.
    unfilled: bool,
    passes_holes: bool,
}

impl BufferedFile {
    fn write_in_one_call(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.access.check_writable()?;
        let written = positional::write_at(&self.file, bufs, offset);
        let written = positional::reported(self.access, written)?;
        // Elsewhere `O_DSYNC` is missing, or, on Apple systems, stops at the device's cache.
        #[cfg(not(target_os = "linux"))]
        if self.access == Access::WriteThrough {
            positional::sync_data(&self.file)?;
        }
        Ok(written)
    }
}

impl LogFile for BufferedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        positional::read_at(&self.file, buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let is_long = bufs.iter().map(|buf| buf.len()).sum::<usize>() > CALL_BYTES;
        // A handle that writes through syncs once a call.
        if is_long && self.access != Access::WriteThrough {
            self.write_in_one_call(&slices_between(bufs, 0, CALL_BYTES), offset)
        } else {
            self.write_in_one_call(bufs, offset)
        }
    }

    /// One sync for all, however long.
    fn write_durable_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let written = self.write_in_one_call(bufs, offset)?;
        if written != 0 {
            self.sync_data()?;
        }
        Ok(written)
    }

    fn sync_data(&self) -> io::Result<()> {
        positional::sync_data(&self.file)
    }

    fn sync_all(&self) -> io::Result<()> {
        positional::sync_all(&self.file)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn data_from(&self, offset: u64) -> io::Result<u64> {
        if self.passes_holes { positional::data_from(&self.file, offset) } else { Ok(offset) }
    }

    fn fill(&self, offset: u64, bytes: u64) -> io::Result<bool> {
        if self.unfilled {
            space::write_zeros_giving_way(&self.file, offset, bytes)?;
            // Now, or all of them wait for one sync, and every commit beside it.
            positional::sync_data(&self.file)?;
        }
        Ok(self.unfilled)
    }

    fn expect_writes(&self) {
        positional::will_need(&self.file);
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.access.check_writable()?;
        self.file.set_len(len)
    }

    #[cfg(unix)]
    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        Some(std::os::fd::AsFd::as_fd(&self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::backend::directory::O_DSYNC;

    fn fresh() -> (tempfile::TempDir, FileStorage) {
        let dir = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(dir.path().join("log")).unwrap();
        (dir, storage)
    }

    #[test]
    fn holes_are_told_only_by_a_directory_that_was_asked_to_pass_them() {
        let (_dir, storage) = fresh();
        let path = storage.path().to_path_buf();
        let far = 64 << 20;
        let file = File::create(path.join("sparse")).unwrap();
        positional::write_at(&file, &[IoSlice::new(b"data")], far).unwrap();
        file.set_len(2 * far).unwrap();
        let asked = |storage: &FileStorage, offset| {
            storage.open("sparse", Access::Read).unwrap().data_from(offset).unwrap()
        };
        assert_eq!(asked(&storage, 0), 0);
        let passing = FileStorage::open_existing(&path).unwrap().passing_holes();
        let data = asked(&passing, 0);
        // A file system without holes answers that everything may be data.
        assert!(data == 0 || (data <= far && far - data < 1 << 20), "{data}");
        assert_eq!(asked(&passing, far), far);
        let behind = asked(&passing, far + (1 << 20));
        assert!(behind == u64::MAX || behind == far + (1 << 20), "{behind}");
        assert_eq!(asked(&passing, 4 * far), u64::MAX);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_filled_is_written_and_nothing_else() {
        let (_dir, storage) = fresh();
        let storage = storage.passing_holes();
        space::check_filling(&storage, storage.path());
    }

    #[test]
    fn looking_at_a_directory_changes_nothing_in_it() {
        let (_dir, storage) = fresh();
        drop(storage.create("a", 10).unwrap());
        let before = std::fs::metadata(storage.path()).unwrap().modified().unwrap();
        let reader = FileStorage::open_existing(storage.path()).unwrap();
        assert_eq!(reader.list().unwrap().len(), 1);
        let file = Storage::open(&reader, "a", Access::Read).unwrap();
        assert_eq!(file.read_at(&mut [0; 10], 0).unwrap(), 10);
        assert_eq!(std::fs::metadata(storage.path()).unwrap().modified().unwrap(), before);
        assert_eq!(std::fs::read_dir(storage.path()).unwrap().count(), 1, "no lock file");
    }

    #[test]
    fn a_long_write_is_cut_unless_it_syncs() {
        let (_dir, storage) = fresh();
        drop(storage.create("a", 4 << 20).unwrap());
        let bytes = vec![7; CALL_BYTES - 1];
        let bufs = [IoSlice::new(&bytes), IoSlice::new(b"ab"), IoSlice::new(&bytes)];
        let wrote = |access, bufs: &[IoSlice<'_>]| {
            storage.open_file("a", access).unwrap().write_at(bufs, 5).unwrap()
        };
        assert_eq!(wrote(Access::Write, &bufs), CALL_BYTES);
        assert_eq!(wrote(Access::Write, &bufs[..1]), CALL_BYTES - 1);
        let mut read = [0; 3];
        let file = storage.open_file("a", Access::Write).unwrap();
        file.read_at(&mut read, CALL_BYTES as u64 + 3).unwrap();
        assert_eq!(read, [7, b'a', 0], "the rest is left to the caller");
        crate::file_io::write_full_at(&file, "a", &bufs, 5).unwrap();
        file.read_at(&mut read, CALL_BYTES as u64 + 3).unwrap();
        assert_eq!(read, [7, b'a', b'b']);
        #[cfg(target_os = "linux")]
        assert_eq!(wrote(Access::WriteThrough, &bufs), 2 * CALL_BYTES);
        #[cfg(unix)]
        assert_eq!(file.write_durable_at(&bufs, 5).unwrap(), 2 * CALL_BYTES);
    }

    #[test]
    fn a_change_of_the_working_directory_does_not_move_the_log() {
        let (_dir, storage) = fresh();
        assert!(storage.path().is_absolute());
    }

    #[test]
    fn r06_each_open_gives_an_open_file_description_of_its_own() {
        // A lock of `flock` belongs to the open file description: a descriptor duplicated from
        // the one that holds it has it too, a description of its own has not.
        let (_dir, storage) = fresh();
        drop(storage.create("a", 4096).unwrap());
        let first = storage.open_file("a", Access::Write).unwrap();
        let second = storage.open_file("a", Access::Write).unwrap();
        first.file.try_lock().unwrap();
        first.file.try_clone().unwrap().try_lock().unwrap();
        assert!(second.file.try_lock().is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn write_through_handles_carry_the_flag_and_others_do_not() {
        let (_dir, storage) = fresh();
        drop(storage.create("a", 4096).unwrap());
        let sync_flags = |access| {
            let file = storage.open_file("a", access).unwrap();
            let flags = rustix::fs::fcntl_getfl(&file.file).unwrap();
            // All bits of O_SYNC, of which O_DSYNC is one.
            flags.bits() & rustix::fs::OFlags::SYNC.bits()
        };
        // Not the whole of O_SYNC, which would wait for a journal with every write.
        assert_eq!(sync_flags(Access::WriteThrough), O_DSYNC.cast_unsigned());
        assert_eq!(sync_flags(Access::Write), 0);
        assert_eq!(sync_flags(Access::Read), 0);
    }
}
