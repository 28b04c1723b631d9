//! A directory whose files are flushed through io_uring: the public face of this crate.
//!
//! Names, the lock, preallocation and reading are those of the backend below.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wal_io::backend::{DirectStorage, FileStorage, FilesystemKind};
use wal_io::{Access, LogFile, Preparation, Storage};

use crate::error::UringError;
use crate::file::{Common, UringFile};
use crate::kernel::{Kernel, Order, Outcome};
use crate::lanes::Lanes;
use crate::options::{LANE_ALIGNMENT_BYTES, UringOptions};
use crate::ring::Ring;

/// How often a storage wrote and synced in one submission, and how often by two calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UringCounts {
    /// In one submission.
    pub joined: u64,
    /// By two calls: longer than a lane, or all lanes in use.
    pub apart: u64,
}

/// A directory of the file system, as [`FileStorage`] or [`DirectStorage`], where the write and the
/// sync of a flush are one submission to io_uring.
///
/// # Durability
///
/// That of the backend below; a joined write is durable when it returns. While one is under way
/// nothing of it counts as written, so that whoever waits for `Written` alone waits for the sync.
///
/// # Cost
///
/// Of a flush: one copy, to memory of the kernel's, and one system call. Of the storage: a ring, a
/// descriptor and [`lane_bytes`](UringOptions::lane_bytes) for each lane, from the start.
///
/// Source: `docs/design/0006-io-uring.md`.
#[derive(Debug)]
pub struct UringStorage {
    below: Box<dyn Storage>,
    path: PathBuf,
    filesystem: FilesystemKind,
    common: Arc<Common>,
}

impl UringStorage {
    /// Opens the directory at `path` with the default options; as
    /// [`open_with`](Self::open_with).
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, UringError> {
        Self::open_with(path, UringOptions::default())
    }

    /// Opens the directory at `path`, which is created if it is missing; its parent is not.
    ///
    /// # Durability
    ///
    /// A directory created here survives power loss.
    ///
    /// # Errors
    ///
    /// [`UringError`]: each says what to do. [`UringError::Unavailable`] comes before the directory
    /// is touched.
    ///
    /// # Cost
    ///
    /// A ring for each lane, and one small durable write to a file that never has a name, where the
    /// file system knows such files.
    pub fn open_with(path: impl AsRef<Path>, options: UringOptions) -> Result<Self, UringError> {
        let mut lanes: Vec<Box<dyn Kernel>> = Vec::with_capacity(options.lanes);
        for _ in 0..options.lanes {
            lanes.push(Box::new(Ring::new(&options)?));
        }
        let path = path.as_ref();
        let (below, path, filesystem): (Box<dyn Storage>, _, _) = if options.direct {
            let below = DirectStorage::open(path)?;
            let (path, filesystem) = (below.path().to_path_buf(), below.filesystem());
            (Box::new(below), path, filesystem)
        } else {
            let below = FileStorage::open(path)?;
            let (path, filesystem) = (below.path().to_path_buf(), below.filesystem());
            (Box::new(below), path, filesystem)
        };
        if let Some(kernel) = lanes.first_mut() {
            let refused =
                |source| UringError::Refused { place: path.display().to_string(), source };
            try_out(&path, &options, &mut **kernel).map_err(refused)?;
        }
        let lanes = Lanes::new(lanes, options.lane_bytes);
        Ok(Self { below, path, filesystem, common: Common::new(lanes, options.joining) })
    }

    /// Whether this process may use io_uring: what [`open`](Self::open) asks first.
    ///
    /// # Errors
    ///
    /// [`UringError::Unavailable`], and [`UringError::Registration`].
    pub fn available() -> Result<(), UringError> {
        Ring::new(&UringOptions::default()).map(drop)
    }

    /// The absolute path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system the directory lies on.
    #[must_use]
    pub fn filesystem(&self) -> FilesystemKind {
        self.filesystem
    }

    /// How flushes went so far.
    #[must_use]
    pub fn counts(&self) -> UringCounts {
        UringCounts {
            joined: self.common.joined.load(Ordering::Relaxed),
            apart: self.common.apart.load(Ordering::Relaxed),
        }
    }

    fn wrap(&self, below: Box<dyn LogFile>) -> Box<dyn LogFile> {
        Box::new(UringFile::new(below, Arc::clone(&self.common)))
    }
}

/// One durable write, so that a system which takes the ring and not the write is found out before
/// there is a log. Changes nothing: the file never has a name.
fn try_out(path: &Path, options: &UringOptions, kernel: &mut dyn Kernel) -> io::Result<()> {
    let direct = if options.direct { libc::O_DIRECT } else { 0 };
    let flags = libc::O_TMPFILE | direct;
    // Where there are no such files the first flush tells.
    let Ok(file) = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) else {
        return Ok(());
    };
    let (bytes, joining) = (LANE_ALIGNMENT_BYTES, options.joining);
    let order = Order { file: file.as_fd(), bytes, offset: 0, joining };
    let ended = kernel.run(&order).map_err(|unsent| unsent.0)?;
    match ended.outcome(&order)? {
        Outcome::Durable(LANE_ALIGNMENT_BYTES) => Ok(()),
        other => Err(io::Error::other(format!("of {bytes} bytes: {other:?}"))),
    }
}

impl Storage for UringStorage {
    wal_io::pass_on_names!(below);

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        self.below.create(name, len).map(|file| self.wrap(file))
    }

    fn create_for(
        &self,
        name: &str,
        len: u64,
        preparation: Preparation,
    ) -> io::Result<Box<dyn LogFile>> {
        self.below.create_for(name, len, preparation).map(|file| self.wrap(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        let file = self.below.open(name, access)?;
        Ok(if access == Access::Read { file } else { self.wrap(file) })
    }

    fn entropy(&self, buf: &mut [u8]) -> io::Result<()> {
        self.below.entropy(buf)
    }

    fn unix_us(&self) -> u64 {
        self.below.unix_us()
    }
}
