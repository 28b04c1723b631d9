//! A real directory past the page cache (`O_DIRECT`): Linux only.
//!
//! Writes are whole blocks of 4,096 bytes, so no two flushes share a block and no acknowledged
//! block is written again: a device which ruins the sector it was writing when power failed ruins
//! nothing that was promised. Reads of any offset and length go through an aligned buffer.
//! Invariant: memory, offset and length of every system call on a file are multiples of what the
//! file system asks for.
//!
//! `O_DIRECT` skips the page cache, not the device's: syncs are needed as much as anywhere.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::aligned::{ALIGNMENT_BYTES, BOUNCE_BYTES, BouncePool, is_aligned};
use super::directory::Directory;
use super::filesystem::FilesystemKind;
use super::{positional, space};
use crate::error::{IoError, IoOp};
use crate::storage::{Access, LogFile, Preparation, Storage};

/// Unit of writing, in bytes. Devices with sectors of 512 bytes often have blocks of 4,096
/// inside, and would read, change and write the neighbours of a smaller write.
const BLOCK_BYTES: usize = ALIGNMENT_BYTES;

const DIRECT: i32 = OFlags::DIRECT.bits().cast_signed();

/// A directory of the file system, read and written past the page cache.
///
/// # Durability
///
/// As [`FileStorage`](super::FileStorage); in addition no acknowledged block is ever written
/// again.
#[derive(Debug)]
pub struct DirectStorage {
    directory: Directory,
    pool: Arc<BouncePool>,
}

impl DirectStorage {
    /// Opens the directory at `path`, which is created if it is missing; its parent is not.
    ///
    /// # Durability
    ///
    /// A directory created here survives power loss.
    ///
    /// # Errors
    ///
    /// As [`FileStorage::open`](super::FileStorage::open); [`IoError::Failed`] with
    /// `Unsupported` when the file system refuses direct I/O: use
    /// [`FileStorage`](super::FileStorage) there.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IoError> {
        let storage = Self::over(Directory::open_or_create(path.as_ref())?);
        let failed = |source| IoError::failed(IoOp::Open, storage.place(), source);
        storage.probe().map_err(failed)?;
        Ok(storage)
    }

    /// Opens the directory at `path`, which must exist. Changes nothing; a file system without
    /// direct I/O is therefore refused only when the first file is opened.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); [`IoError::NotADirectory`] when it does not exist.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, IoError> {
        Ok(Self::over(Directory::open(path.as_ref())?))
    }

    /// The absolute path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.root()
    }

    /// The file system the directory lies on.
    #[must_use]
    pub fn filesystem(&self) -> FilesystemKind {
        self.directory.filesystem()
    }

    fn over(directory: Directory) -> Self {
        Self { directory, pool: Arc::default() }
    }

    /// Refuses a file system without direct I/O before anything is created on it.
    ///
    /// Asks with a file that never has a name. Where that cannot be made, the first real file will
    /// tell.
    fn probe(&self) -> io::Result<()> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
        match rustix::fs::open(self.directory.root(), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => self.check_alignment(&File::from(file)),
            Err(Errno::INVAL) => Err(self.refused()),
            Err(_) => Ok(()),
        }
    }

    /// Refuses files whose direct I/O needs more than [`BLOCK_BYTES`], or is none.
    fn check_alignment(&self, file: &File) -> io::Result<()> {
        let Ok(stat) = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
        else {
            // A kernel that cannot be asked; 4,096 satisfies every device of its time.
            return Ok(());
        };
        if stat.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
            return Ok(());
        }
        let (offset, memory) =
            (stat.stx_dio_offset_align as usize, stat.stx_dio_mem_align as usize);
        // Zero says that "direct" calls would go through the page cache without a word.
        if offset == 0 || memory == 0 {
            return Err(self.refused());
        }
        if !BLOCK_BYTES.is_multiple_of(offset) || !ALIGNMENT_BYTES.is_multiple_of(memory) {
            let text = format!(
                "direct I/O on {} needs blocks of {offset} bytes in memory aligned to {memory}, \
                 more than {BLOCK_BYTES}; use FileStorage",
                self.filesystem()
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        Ok(())
    }

    fn refused(&self) -> io::Error {
        let text = format!("{} refuses direct I/O (O_DIRECT); use FileStorage", self.filesystem());
        io::Error::new(io::ErrorKind::Unsupported, text)
    }

    /// Names the reason when a file was refused only for being opened with `O_DIRECT`.
    fn explain(&self, error: io::Error) -> io::Error {
        if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) {
            self.refused()
        } else {
            error
        }
    }

    fn open_file(&self, name: &str, access: Access) -> io::Result<DirectFile> {
        let file =
            self.directory.open_file(name, access, DIRECT).map_err(|error| self.explain(error))?;
        self.check_alignment(&file)?;
        Ok(DirectFile { file, access, unfilled: false, pool: Arc::clone(&self.pool) })
    }
}

impl Storage for DirectStorage {
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
        let (file, unfilled) = self
            .directory
            .create_file(name, len, BLOCK_BYTES, DIRECT, preparation)
            .map_err(|error| self.explain(error))?;
        let (access, pool) = (Access::Write, Arc::clone(&self.pool));
        Ok(Box::new(DirectFile { file, access, unfilled, pool }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(self.open_file(name, access)?))
    }
}

/// One open file description, with `O_DIRECT`; never duplicated (rule 6).
#[derive(Debug)]
struct DirectFile {
    file: File,
    access: Access,
    /// Space was reserved, and zeros over it are worth writing.
    unfilled: bool,
    pool: Arc<BouncePool>,
}

impl DirectFile {
    fn reported(&self, written: io::Result<usize>) -> io::Result<usize> {
        positional::reported(self.access, written)
    }
}

impl LogFile for DirectFile {
    /// Copies once, unless memory, offset and length are whole blocks; one system call, for up
    /// to 1 MiB.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let skip = (offset % BLOCK_BYTES as u64) as usize;
        if buf.is_empty() {
            return Ok(0);
        }
        if skip == 0 && buf.len().is_multiple_of(BLOCK_BYTES) && is_aligned(buf, ALIGNMENT_BYTES) {
            return positional::read_at(&self.file, buf, offset);
        }
        let wanted = buf.len().saturating_add(skip).min(BOUNCE_BYTES).next_multiple_of(BLOCK_BYTES);
        self.pool.with(|bounce| {
            let got = positional::read_at(&self.file, &mut bounce[..wanted], offset - skip as u64)?;
            // A direct read ends within a block only at the end of the file; anywhere else it
            // yields at least one block, more than is skipped. So 0 here means the end.
            let found = bounce[..got].get(skip..).unwrap_or_default();
            let count = found.len().min(buf.len());
            buf[..count].copy_from_slice(&found[..count]);
            Ok(count)
        })
    }

    /// Copies once, unless every buffer is whole aligned blocks; one system call, for up to
    /// 1 MiB where it copies.
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.access.check_writable()?;
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if !offset.is_multiple_of(BLOCK_BYTES as u64) || !total.is_multiple_of(BLOCK_BYTES) {
            let text = format!("{total} bytes at {offset}: not in blocks of {BLOCK_BYTES}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let whole = |buf: &IoSlice<'_>| {
            buf.len().is_multiple_of(BLOCK_BYTES) && is_aligned(buf, ALIGNMENT_BYTES)
        };
        if bufs.iter().all(whole) {
            return self.reported(positional::write_at(&self.file, bufs, offset));
        }
        let written = self.pool.with(|bounce| {
            let filled = gather(bufs, bounce);
            positional::write_at(&self.file, &[IoSlice::new(&bounce[..filled])], offset)
        });
        self.reported(written)
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

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.access.check_writable()?;
        self.file.set_len(len)
    }

    fn fill(&self, offset: u64, bytes: u64) -> io::Result<bool> {
        if self.unfilled {
            // What is written past the cache is at the device when the call returns.
            space::write_zeros(&self.file, offset, bytes, BLOCK_BYTES)?;
        }
        Ok(self.unfilled)
    }

    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        Some(std::os::fd::AsFd::as_fd(&self.file))
    }

    fn block_bytes(&self) -> usize {
        BLOCK_BYTES
    }
}

/// Copies as much of the concatenation of `bufs` as fits into `to`; returns how much that was.
fn gather(bufs: &[IoSlice<'_>], to: &mut [u8]) -> usize {
    let mut filled = 0;
    for buf in bufs {
        let count = buf.len().min(to.len() - filled);
        to[filled..filled + count].copy_from_slice(&buf[..count]);
        filled += count;
    }
    filled
}

const _: () =
    assert!(BOUNCE_BYTES.is_multiple_of(BLOCK_BYTES), "a full bounce buffer is whole blocks");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::FileStorage;
    use crate::backend::directory::O_DSYNC;

    /// A fresh directory, unless the file system of the temporary directory is without direct
    /// I/O.
    fn fresh() -> Option<(tempfile::TempDir, DirectStorage)> {
        let dir = tempfile::tempdir().unwrap();
        match DirectStorage::open(dir.path()) {
            Ok(storage) => Some((dir, storage)),
            Err(IoError::Failed { source, .. }) if source.kind() == io::ErrorKind::Unsupported => {
                eprintln!("SKIPPED: {}: {source}", dir.path().display());
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn files_are_opened_past_the_page_cache() {
        let Some((_dir, storage)) = fresh() else { return };
        drop(storage.create("a", 4096).unwrap());
        for access in [Access::Read, Access::Write, Access::WriteThrough] {
            let file = storage.open_file("a", access).unwrap();
            let flags = rustix::fs::fcntl_getfl(&file.file).unwrap();
            assert!(flags.contains(OFlags::DIRECT));
            let dsync = flags.bits().cast_signed() & O_DSYNC != 0;
            assert_eq!(dsync, access == Access::WriteThrough);
        }
    }

    #[test]
    fn what_is_filled_is_written_and_nothing_else() {
        let Some((_dir, storage)) = fresh() else { return };
        space::check_filling(&storage, storage.path());
    }

    #[test]
    fn unaligned_memory_is_written_from_and_read_into() {
        let Some((_dir, storage)) = fresh() else { return };
        let file = storage.create("a", 16384).unwrap();
        let data = bytes(8192 + 1);
        assert_eq!(file.write_at(&[IoSlice::new(&data[1..])], 4096).unwrap(), 8192);
        let mut back = vec![0; 8193];
        assert_eq!(file.read_at(&mut back[1..], 4096).unwrap(), 8192);
        assert_eq!(back[1..], data[1..]);
    }

    #[test]
    fn a_misaligned_write_is_refused_and_changes_nothing() {
        let Some((_dir, storage)) = fresh() else { return };
        let file = storage.create("a", 8192).unwrap();
        let data = bytes(4096);
        for (len, offset) in [(4096, 1), (4096, 512), (100, 0), (4095, 4096)] {
            let error = file.write_at(&[IoSlice::new(&data[..len])], offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{len} at {offset}");
        }
        let mut back = vec![1; 8192];
        assert_eq!(file.read_at(&mut back, 0).unwrap(), 8192);
        assert!(back.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn pieces_which_only_together_make_blocks_are_written_as_one() {
        let Some((_dir, storage)) = fresh() else { return };
        let file = storage.create("a", 4096).unwrap();
        let data = bytes(4096);
        let bufs =
            [IoSlice::new(&data[..24]), IoSlice::new(&data[24..4000]), IoSlice::new(&[7; 96])];
        assert_eq!(file.write_at(&bufs, 0).unwrap(), 4096);
        let mut back = vec![0; 4096];
        assert_eq!(file.read_at(&mut back, 0).unwrap(), 4096);
        assert_eq!(back[..4000], data[..4000]);
        assert_eq!(back[4000..], [7; 96]);
    }

    #[test]
    fn more_than_a_bounce_buffer_is_written_and_read_in_part() {
        let Some((_dir, storage)) = fresh() else { return };
        let len = BOUNCE_BYTES + 8192;
        let file = storage.create("a", len as u64).unwrap();
        let data = bytes(len + 1);
        assert_eq!(file.write_at(&[IoSlice::new(&data[1..])], 0).unwrap(), BOUNCE_BYTES);
        let mut back = vec![0; len];
        assert_eq!(file.read_at(&mut back, 10).unwrap(), BOUNCE_BYTES - 10);
        assert_eq!(back[..BOUNCE_BYTES - 10], data[11..=BOUNCE_BYTES]);
    }

    #[test]
    fn a_file_which_ends_within_a_block_is_read_to_its_last_byte() {
        let Some((_dir, storage)) = fresh() else { return };
        let file = storage.create("a", 5000).unwrap();
        let mut back = vec![1; 9000];
        assert_eq!(file.read_at(&mut back, 0).unwrap(), 5000);
        assert_eq!(file.read_at(&mut back, 4999).unwrap(), 1);
        assert_eq!(file.read_at(&mut back, 5000).unwrap(), 0);
        assert_eq!(file.read_at(&mut back, 5001).unwrap(), 0);
        assert_eq!(file.read_at(&mut back, u64::MAX).unwrap(), 0);
    }

    #[test]
    fn direct_and_buffered_handles_see_each_others_writes() {
        let Some((dir, storage)) = fresh() else { return };
        let direct = storage.create("a", 4096).unwrap();
        let buffered = FileStorage::open_existing(dir.path()).unwrap();
        let buffered = Storage::open(&buffered, "a", Access::Write).unwrap();
        let mut back = vec![0; 4096];
        assert_eq!(buffered.read_at(&mut back, 0).unwrap(), 4096, "now in the page cache");
        direct.write_at(&[IoSlice::new(&bytes(4096))], 0).unwrap();
        assert_eq!(buffered.read_at(&mut back, 0).unwrap(), 4096);
        assert_eq!(back, bytes(4096));
        buffered.write_at(&[IoSlice::new(b"page cache")], 100).unwrap();
        assert_eq!(direct.read_at(&mut back, 0).unwrap(), 4096);
        assert_eq!(back[100..110], *b"page cache");
    }

    #[test]
    fn a_refusal_of_direct_io_names_the_file_system_and_the_way_out() {
        let Some((_dir, storage)) = fresh() else { return };
        let error = storage.explain(Errno::INVAL.into());
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains(&storage.filesystem().to_string()), "{error}");
        assert!(error.to_string().contains("use FileStorage"), "{error}");
        assert_eq!(storage.explain(Errno::NOENT.into()).kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn tmpfs_works_or_is_refused_by_name() {
        // Linux 6.6 and later take O_DIRECT on tmpfs; older ones refuse it.
        let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
            eprintln!("SKIPPED: this machine has no /dev/shm");
            return;
        };
        match DirectStorage::open(dir.path()) {
            Ok(storage) => {
                assert!(storage.filesystem().is_volatile());
                assert_eq!(storage.create("a", 4096).unwrap().len().unwrap(), 4096);
            }
            Err(error) => assert!(error.to_string().contains("tmpfs"), "{error}"),
        }
    }
}
