//! From a path to the storage that keeps a log there.

use std::path::Path;
use std::sync::Arc;

use wal_commit::{Durability, SyncPolicy};
use wal_io::Storage;
use wal_io::backend::{FileStorage, Preparation};

use crate::error::Error;
use crate::options::Options;

/// The directory `path`, to be written; made if the options say so.
pub(crate) fn writable(path: &Path, options: &Options) -> Result<Arc<dyn Storage>, Error> {
    let files =
        if options.create { FileStorage::open(path) } else { FileStorage::open_existing(path) }?;
    warn_of(path, &files);
    let preparation = preparation(options.sync_policy);
    if options.direct {
        return direct(path, preparation);
    }
    Ok(Arc::new(files.with_preparation(preparation)))
}

/// Zeros written ahead make each sync cheaper. Where a commit does not wait for one they are
/// only more to write.
fn preparation(policy: SyncPolicy) -> Preparation {
    match policy.default_level() {
        Durability::Durable => Preparation::Zeroed,
        Durability::Ordered | Durability::Written => Preparation::Reserved,
    }
}

#[cfg(target_os = "linux")]
fn direct(path: &Path, preparation: Preparation) -> Result<Arc<dyn Storage>, Error> {
    let storage = wal_io::backend::DirectStorage::open(path)?;
    Ok(Arc::new(storage.with_preparation(preparation)))
}

#[cfg(not(target_os = "linux"))]
fn direct(_path: &Path, _preparation: Preparation) -> Result<Arc<dyn Storage>, Error> {
    let expected = "off: direct I/O is for Linux only";
    Err(crate::error::Refusal::Option { option: "direct", value: 1, expected }.into())
}

/// The directory `path`, to be read.
pub(crate) fn readable(path: &Path) -> Result<Arc<dyn Storage>, Error> {
    Ok(Arc::new(FileStorage::open_existing(path)?))
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
