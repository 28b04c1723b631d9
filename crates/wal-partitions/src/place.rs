//! Where the partitions lie: one storage for the root, one for each log.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wal::{FileStorage, IoError, Storage};

/// Gives each log its storage. Directories of a file system are [`Directories`]; tests and caches
/// give a `Vec` of storages, the root's first.
pub trait Places: Send + Sync + fmt::Debug {
    /// The storage of the root, which holds the manifest and the lock.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being opened.
    fn root(&self) -> Result<Arc<dyn Storage>, IoError>;

    /// The storage of the log of the partition called `name`, the one with number `index`.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being opened.
    fn partition(&self, index: usize, name: &str) -> Result<Arc<dyn Storage>, IoError>;
}

/// A root directory with a directory in it for each partition.
#[derive(Clone, Debug)]
pub struct Directories {
    root: PathBuf,
    direct: bool,
}

impl Directories {
    /// The root at `path`, which is created if it is missing; its parent is not.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { root: path.as_ref().to_owned(), direct: false }
    }

    /// The same, with logs past the page cache (`O_DIRECT`, Linux).
    #[must_use]
    pub fn direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }
}

impl Places for Directories {
    fn root(&self) -> Result<Arc<dyn Storage>, IoError> {
        Ok(Arc::new(FileStorage::open(&self.root)?))
    }

    fn partition(&self, _index: usize, name: &str) -> Result<Arc<dyn Storage>, IoError> {
        let path = self.root.join(name);
        if self.direct { direct(&path) } else { Ok(Arc::new(FileStorage::open(path)?)) }
    }
}

#[cfg(target_os = "linux")]
fn direct(path: &Path) -> Result<Arc<dyn Storage>, IoError> {
    // It creates no directory by itself.
    drop(FileStorage::open(path)?);
    Ok(Arc::new(wal::DirectStorage::open(path)?))
}

#[cfg(not(target_os = "linux"))]
fn direct(path: &Path) -> Result<Arc<dyn Storage>, IoError> {
    let source = std::io::Error::from(std::io::ErrorKind::Unsupported);
    Err(IoError::failed(wal::IoOp::Open, path.display().to_string(), source))
}

/// The root's storage first, then that of each partition.
impl Places for Vec<Arc<dyn Storage>> {
    fn root(&self) -> Result<Arc<dyn Storage>, IoError> {
        storage_at(self, 0, "the root")
    }

    fn partition(&self, index: usize, name: &str) -> Result<Arc<dyn Storage>, IoError> {
        storage_at(self, index + 1, name)
    }
}

fn storage_at(
    storages: &[Arc<dyn Storage>],
    at: usize,
    name: &str,
) -> Result<Arc<dyn Storage>, IoError> {
    storages.get(at).cloned().ok_or_else(|| {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        IoError::failed(wal::IoOp::Open, name, source)
    })
}
