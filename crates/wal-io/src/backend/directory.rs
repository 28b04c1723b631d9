//! What every backend on a real directory shares: names, creation, listing, renaming, removing,
//! directory syncs and the lock.
//!
//! Leaves to the backends how files are opened and how bytes move. Invariants:
//! * no name leads out of the directory, and none but the lock's own code touches the lock file;
//! * nothing is created or changed before [`Directory::lock`], [`Directory::create_file`] or one
//!   of the renaming and removing calls is made: looking never changes a byte;
//! * a directory sync that failed makes every later one fail, whichever thread took the error.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::filesystem::FilesystemKind;
#[cfg(unix)]
use super::positional;
use super::space;
use crate::error::{IoError, IoOp};
use crate::storage::{Access, FileEntry, Preparation, StorageLock};

/// The file whose lock is the right to write. Created by the first writer and never removed:
/// whoever removed it would let two writers lock two files of the same name.
const LOCK_NAME: &str = "lock";

/// Longest file name, in bytes, that every file system in use takes.
const NAME_BYTES_MAX: usize = 255;

/// How often a lock file that somebody replaced meanwhile is opened again.
const LOCK_ATTEMPTS: usize = 8;

/// An existing directory.
#[derive(Debug)]
pub(super) struct Directory {
    /// Absolute and free of links, so that a change of the working directory changes nothing.
    root: PathBuf,
    /// Open for syncs from the start, so that it sees every error since.
    #[cfg(unix)]
    handle: File,
    filesystem: FilesystemKind,
    /// Whether a sync failed. Held during the sync: one caller cannot take another one's error.
    sync_failed: Mutex<bool>,
}

impl Directory {
    /// Opens the directory at `path`, which is created if it is missing; its parent is not.
    ///
    /// # Durability
    ///
    /// A directory created here survives power loss: its parent is synced.
    ///
    /// # Errors
    ///
    /// [`IoError::NotADirectory`] for a file, or when the parent is missing; [`IoError::Failed`]
    /// for whatever else the system reports.
    pub(super) fn open_or_create(path: &Path) -> Result<Self, IoError> {
        let place = || path.display().to_string();
        match fs::create_dir(path) {
            Ok(()) => {
                let directory = Self::open(path)?;
                directory
                    .sync_parent()
                    .map_err(|source| IoError::failed(IoOp::SyncDir, place(), source))?;
                Ok(directory)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::open(path),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                let text = "the directory above it is missing; create that first";
                let source = io::Error::new(error.kind(), text);
                Err(IoError::NotADirectory { place: place(), source })
            }
            Err(source) => Err(IoError::failed(IoOp::Create, place(), source)),
        }
    }

    /// Opens the directory at `path`, which must exist. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`open_or_create`](Self::open_or_create).
    pub(super) fn open(path: &Path) -> Result<Self, IoError> {
        let place = || path.display().to_string();
        let not_a_directory = |source| IoError::NotADirectory { place: place(), source };
        let failed = |source| IoError::failed(IoOp::Open, place(), source);
        let root = fs::canonicalize(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => not_a_directory(error),
            _ => failed(error),
        })?;
        if !fs::metadata(&root).map_err(failed)?.is_dir() {
            return Err(not_a_directory(io::Error::new(
                io::ErrorKind::NotADirectory,
                "it is a file; a log is a directory",
            )));
        }
        #[cfg(unix)]
        {
            let handle = File::open(&root).map_err(failed)?;
            let filesystem = FilesystemKind::of(&handle);
            Ok(Self { root, handle, filesystem, sync_failed: Mutex::new(false) })
        }
        #[cfg(not(unix))]
        Ok(Self { root, filesystem: FilesystemKind::Unknown, sync_failed: Mutex::new(false) })
    }

    /// The absolute path.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The file system it lies on.
    pub(super) fn filesystem(&self) -> FilesystemKind {
        self.filesystem
    }

    /// As `Storage::place`.
    pub(super) fn place(&self) -> String {
        self.root.display().to_string()
    }

    /// As `Storage::overwrites_in_place`.
    pub(super) fn overwrites_in_place(&self) -> bool {
        !self.filesystem.copies_on_write()
    }

    /// The path of the file `name`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is not a plain name, and for the name of the lock.
    pub(super) fn path(&self, name: &str) -> io::Result<PathBuf> {
        let plain = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && name != "."
            && name != ".."
            && !name.contains(['/', '\\', ':', '\0']);
        if !plain || name == LOCK_NAME {
            let text = format!("`{name}` cannot be the name of a file of a log");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(self.root.join(name))
    }

    /// As `Storage::list`; the lock file is left out.
    pub(super) fn list(&self) -> io::Result<Vec<FileEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            // No name of ours is anything but UTF-8.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name == LOCK_NAME {
                continue;
            }
            // Follows links: a segment may have been moved to another device.
            match fs::metadata(entry.path()) {
                Ok(metadata) if metadata.is_file() => {
                    entries.push(FileEntry { name, len: metadata.len() });
                }
                Ok(_) => {}
                // Removed since, or a link to nothing: not a file now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    /// Opens `name`. `extra_flags` are those of `open(2)`, on Linux.
    pub(super) fn open_file(
        &self,
        name: &str,
        access: Access,
        extra_flags: i32,
    ) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(access != Access::Read);
        let flags = extra_flags | write_through_flag(access);
        set_flags(&mut options, flags).open(self.path(name)?)
    }

    /// Creates `name` with `len` zeros, for writing; after an error no file is left. Says whether
    /// zeros are left to be written ahead, as [`space::take`] does.
    pub(super) fn create_file(
        &self,
        name: &str,
        len: u64,
        block_bytes: usize,
        extra_flags: i32,
        preparation: Preparation,
    ) -> io::Result<(File, bool)> {
        let path = self.path(name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = set_flags(&mut options, extra_flags).open(&path).inspect_err(|error| {
            // Refused for a flag, the file may be there all the same: Linux makes it first.
            if extra_flags != 0 && error.kind() == io::ErrorKind::InvalidInput {
                let _ = fs::remove_file(&path);
            }
        })?;
        match space::take(&file, len, block_bytes, self.filesystem, preparation) {
            Ok(unfilled) => Ok((file, unfilled)),
            Err(error) => {
                drop(file);
                match fs::remove_file(&path) {
                    Ok(()) => Err(error),
                    Err(second) => Err(io::Error::new(
                        error.kind(),
                        format!("{error}; and the file could not be removed: {second}"),
                    )),
                }
            }
        }
    }

    /// As `Storage::rename`.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    /// As `Storage::remove`.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name)?)
    }

    /// As `Storage::sync_dir`. On Windows there is nothing to call: NTFS journals its names.
    pub(super) fn sync_dir(&self) -> io::Result<()> {
        let mut failed = self.sync_failed.lock();
        if *failed {
            return Err(io::Error::other(
                "an earlier sync of this directory failed; close the log and open it again",
            ));
        }
        #[cfg(unix)]
        let result = positional::sync_all(&self.handle);
        #[cfg(not(unix))]
        let result = Ok(());
        *failed = result.is_err();
        result
    }

    /// As `Storage::lock`.
    ///
    /// # Durability
    ///
    /// Also makes the directory's own entry durable. Whoever made the directory may have died
    /// before syncing that, and then a log in it, however well synced, would hang in the air.
    pub(super) fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        self.lock_by(|path| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
        })
    }

    fn lock_by(
        &self,
        mut open: impl FnMut(&Path) -> io::Result<File>,
    ) -> io::Result<Box<dyn StorageLock>> {
        let path = self.root.join(LOCK_NAME);
        for _ in 0..LOCK_ATTEMPTS {
            let mut file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held_elsewhere(&mut file)),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Somebody may have removed the file between the two calls, and then somebody else
            // would lock a new one.
            if !is_still_named(&file, &path)? {
                continue;
            }
            self.sync_parent()?;
            write_owner(&mut file);
            return Ok(Box::new(DirectoryLock { file, process: std::process::id() }));
        }
        Err(io::Error::other("the lock file is being replaced again and again"))
    }

    /// As `Storage::lock_holds`: the lock is on the directory itself, so it needs no file, which
    /// a full disk might not have room for.
    #[cfg(unix)]
    pub(super) fn lock_holds(&self) -> io::Result<Box<dyn StorageLock>> {
        // A description of its own: locks belong to descriptions, and threads exclude each other.
        let file = File::open(&self.root)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(DirectoryLock { file, process: std::process::id() })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    #[cfg(not(unix))]
    pub(super) fn lock_holds(&self) -> io::Result<Box<dyn StorageLock>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Bytes that its file system has left for us.
    pub(super) fn free_bytes(&self) -> io::Result<Option<u64>> {
        #[cfg(unix)]
        {
            let stat = rustix::fs::fstatvfs(&self.handle)?;
            Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
        }
        #[cfg(not(unix))]
        Ok(None)
    }

    /// Makes the entry of this directory in its parent durable.
    #[cfg(unix)]
    fn sync_parent(&self) -> io::Result<()> {
        let Some(parent) = self.root.parent() else { return Ok(()) };
        match File::open(parent) {
            Ok(parent) => positional::sync_all(&parent),
            // A parent may be passed through without being readable, and then cannot be synced.
            #[cfg(target_os = "linux")]
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(rustix::fs::syncfs(&self.handle)?)
            }
            Err(error) => Err(error),
        }
    }

    #[cfg(not(unix))]
    fn sync_parent(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Adds flags of `open(2)`.
fn set_flags(options: &mut OpenOptions, flags: i32) -> &mut OpenOptions {
    #[cfg(target_os = "linux")]
    {
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = flags;
        options
    }
}

/// `O_DSYNC`: a write returns when its bytes, and what it takes to find them, are durable.
///
/// Spelled out because the flag of that name in rustix 1 is, on Linux, `O_SYNC`, which also waits
/// for the time of last change, and so for the journal of the file system, with every write.
#[cfg(target_os = "linux")]
pub(super) const O_DSYNC: i32 = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
    0x10
} else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
    0x2000
} else {
    0x1000
};

#[cfg(target_os = "linux")]
const _: () = assert!(
    rustix::fs::OFlags::DSYNC.bits().cast_signed() & O_DSYNC == O_DSYNC,
    "whichever of the two the library means, it contains O_DSYNC"
);

/// The flag which makes writes durable as they return; 0 where the backend has to sync instead.
fn write_through_flag(access: Access) -> i32 {
    match access {
        #[cfg(target_os = "linux")]
        Access::WriteThrough => O_DSYNC,
        _ => 0,
    }
}

/// The error for a lock somebody else has; names the process if the file does.
fn held_elsewhere(file: &mut File) -> io::Error {
    let mut owner = String::new();
    // At most what `write_owner` writes; whatever else is in there is nobody's business here.
    let read = file.take(32).read_to_string(&mut owner);
    let text = match owner.trim().parse::<u32>() {
        Ok(process) if read.is_ok() => format!("locked, last by process {process}"),
        _ => "locked by another process, or by another handle in this one".to_owned(),
    };
    io::Error::new(io::ErrorKind::WouldBlock, text)
}

/// Notes this process in the lock file, for people: the lock itself is the system's.
///
/// Failures are ignored: a full disk must not keep a log from being opened (rule 16).
fn write_owner(file: &mut File) {
    let note = format!("{}\n", std::process::id());
    let _ = file.set_len(0).and_then(|()| file.write_all(note.as_bytes()));
}

#[cfg(unix)]
fn is_still_named(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere an open file cannot lose its name to another one.
#[cfg(not(unix))]
fn is_still_named(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

#[derive(Debug)]
struct DirectoryLock {
    file: File,
    /// Who took the lock; after a `fork` the child has a copy of this value but not the right.
    process: u32,
}

impl StorageLock for DirectoryLock {}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing alone would leave the lock with any child that was just being started and has
        // not closed its copy of the descriptor. A forked child, on the other hand, must not
        // unlock what is its parent's.
        if std::process::id() == self.process {
            let _ = self.file.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, Directory) {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        (dir, directory)
    }

    #[test]
    fn a_missing_directory_is_created_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        Directory::open_or_create(&path).unwrap();
        assert!(path.is_dir());
        Directory::open_or_create(&path).unwrap();
    }

    #[test]
    fn a_missing_parent_is_an_error_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = Directory::open_or_create(&dir.path().join("a/b")).unwrap_err();
        assert!(matches!(error, IoError::NotADirectory { .. }), "{error:?}");
        assert!(error.to_string().contains("above it is missing"), "{error}");
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn a_file_is_not_a_directory_whether_opened_or_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "x").unwrap();
        for result in [Directory::open(&path), Directory::open_or_create(&path)] {
            let error = result.unwrap_err();
            assert!(matches!(error, IoError::NotADirectory { .. }), "{error:?}");
            assert!(error.to_string().contains("it is a file"), "{error}");
        }
        let below = Directory::open_or_create(&path.join("log")).unwrap_err();
        assert!(matches!(below, IoError::NotADirectory { .. }), "{below:?}");
    }

    #[test]
    fn opening_a_missing_directory_creates_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let error = Directory::open(&path).unwrap_err();
        assert!(matches!(error, IoError::NotADirectory { .. }), "{error:?}");
        assert!(!path.exists());
    }

    #[test]
    fn names_that_lead_out_of_the_directory_are_refused() {
        let (_dir, directory) = fresh();
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", "a/b", "/etc/passwd", "..\\x", "c:x", "a\0b", "lock", &long] {
            let error = directory.path(name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        directory.path("0000000000001000-0000000000000001.wal.tmp").unwrap();
    }

    #[test]
    fn directories_and_the_lock_are_not_listed() {
        let (dir, directory) = fresh();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("file"), "abc").unwrap();
        let _lock = directory.lock().unwrap();
        let listed = directory.list().unwrap();
        assert_eq!(listed, [FileEntry { name: "file".to_owned(), len: 3 }]);
    }

    #[test]
    #[cfg(unix)]
    fn links_are_listed_with_the_length_of_their_file_and_dangling_ones_are_not() {
        let (dir, directory) = fresh();
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        fs::write(elsewhere.path(), "12345").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("moved")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", dir.path().join("dangling")).unwrap();
        assert_eq!(directory.list().unwrap(), [FileEntry { name: "moved".to_owned(), len: 5 }]);
    }

    #[test]
    fn the_lock_names_its_owner_and_stays_behind_when_given_back() {
        let (dir, directory) = fresh();
        let lock = directory.lock().unwrap();
        let error = Directory::open(dir.path()).unwrap().lock().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let owner = format!("process {}", std::process::id());
        assert!(error.to_string().contains(&owner), "{error}");
        drop(lock);
        assert!(dir.path().join(LOCK_NAME).exists());
        directory.lock().unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn the_lock_on_holds_is_apart_from_the_right_to_write_and_leaves_no_file() {
        let (dir, directory) = fresh();
        let holds = directory.lock_holds().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let write = directory.lock().unwrap();
        let other = Directory::open(dir.path()).unwrap();
        assert_eq!(other.lock_holds().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(holds);
        let _holds = other.lock_holds().unwrap();
        assert_eq!(directory.lock_holds().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(write);
        let _write = other.lock().unwrap();
    }

    #[test]
    fn a_lock_file_full_of_nonsense_still_locks() {
        let (dir, directory) = fresh();
        fs::write(dir.path().join(LOCK_NAME), [0xFF; 5000]).unwrap();
        let _lock = directory.lock().unwrap();
        fs::write(dir.path().join(LOCK_NAME), [0xFF; 5000]).unwrap();
        let error = directory.lock().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(error.to_string().contains("another process"), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn a_lock_on_a_file_that_lost_its_name_is_not_taken_for_the_lock() {
        let (dir, directory) = fresh();
        let path = dir.path().join(LOCK_NAME);
        let mut opened = 0;
        let lock = directory
            .lock_by(|path| {
                opened += 1;
                let file = File::create(path)?;
                if opened == 1 {
                    // Somebody tidies up just now.
                    fs::remove_file(path)?;
                }
                Ok(file)
            })
            .unwrap();
        assert_eq!(opened, 2);
        let file = File::open(&path).unwrap();
        assert!(file.try_lock().is_err(), "the lock is on the file of that name");
        drop(lock);
        file.try_lock().unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_lock_file_which_vanishes_every_time_is_an_error_not_a_loop() {
        let (_dir, directory) = fresh();
        let vanishing = |path: &Path| {
            let file = File::create(path)?;
            fs::remove_file(path)?;
            Ok(file)
        };
        let error = directory.lock_by(vanishing).unwrap_err();
        assert!(error.to_string().contains("again and again"), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn the_lock_goes_with_its_guard_although_a_child_still_has_the_descriptor() {
        let (_dir, directory) = fresh();
        let path = directory.root().join(LOCK_NAME);
        let file = File::create(&path).unwrap();
        file.try_lock().unwrap();
        // A child which was started but has not closed its copies has such a duplicate.
        let _inherited = file.try_clone().unwrap();
        drop(DirectoryLock { file, process: std::process::id() });
        directory.lock().unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_forked_copy_of_the_guard_does_not_unlock() {
        let (_dir, directory) = fresh();
        let path = directory.root().join(LOCK_NAME);
        let parents = File::create(&path).unwrap();
        parents.try_lock().unwrap();
        let childs = parents.try_clone().unwrap();
        drop(DirectoryLock { file: childs, process: std::process::id().wrapping_add(1) });
        assert_eq!(directory.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    #[cfg(unix)]
    fn a_directory_sync_that_failed_is_never_followed_by_one_that_succeeds() {
        let (_dir, mut directory) = fresh();
        directory.sync_dir().unwrap();
        // A pipe cannot be synced: the system's own error, without a broken device.
        let (reader, _writer) = io::pipe().unwrap();
        let good = std::mem::replace(
            &mut directory.handle,
            File::from(std::os::fd::OwnedFd::from(reader)),
        );
        directory.sync_dir().unwrap_err();
        directory.handle = good;
        let error = directory.sync_dir().unwrap_err();
        assert!(error.to_string().contains("earlier sync"), "{error}");
    }
}
