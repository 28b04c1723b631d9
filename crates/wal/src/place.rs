//! From a path to the storage that keeps a log there.

use std::path::Path;
use std::sync::Arc;

use wal_io::Storage;
use wal_io::backend::FileStorage;

use crate::error::Error;
use crate::options::Options;

/// The directory `path`, to be written; made if the options say so.
pub(crate) fn writable(path: &Path, options: &Options) -> Result<Arc<dyn Storage>, Error> {
    let files =
        if options.create { FileStorage::open(path) } else { FileStorage::open_existing(path) }?;
    warn_of(path, &files);
    if options.direct { direct(path) } else { Ok(Arc::new(files)) }
}

#[cfg(target_os = "linux")]
fn direct(path: &Path) -> Result<Arc<dyn Storage>, Error> {
    Ok(Arc::new(wal_io::backend::DirectStorage::open(path)?))
}

#[cfg(not(target_os = "linux"))]
fn direct(_path: &Path) -> Result<Arc<dyn Storage>, Error> {
    let expected = "off: direct I/O is for Linux only";
    Err(crate::error::Refusal::Option { option: "direct", value: 1, expected }.into())
}

/// The directory `path`, to be read.
pub(crate) fn readable(path: &Path) -> Result<Arc<dyn Storage>, Error> {
    Ok(Arc::new(FileStorage::open_existing(path)?))
}

/// The directory `path`, to be looked at: holes in its files are passed over.
pub(crate) fn viewed(path: &Path) -> Result<Arc<dyn Storage>, Error> {
    Ok(Arc::new(FileStorage::open_existing(path)?.passing_holes()))
}

/// Says once, at opening, what a file system cannot keep.
fn warn_of(path: &Path, files: &FileStorage) {
    let filesystem = files.filesystem();
    if filesystem.is_volatile() {
        tracing::warn!(path = %path.display(), %filesystem, "the log is kept in memory: nothing survives power loss");
    } else if filesystem.is_network() {
        tracing::warn!(path = %path.display(), %filesystem, "the log is on a network file system, whose locks and syncs cannot be relied on");
    }
}
