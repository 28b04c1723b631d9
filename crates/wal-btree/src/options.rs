//! How a tree is kept.

use std::fmt;
use std::sync::Arc;

use wal::Decision;
use wal_io::{CONTROL_NAME, LOCK_NAME, SPARE_NAME, SegmentName, is_temporary};

use crate::error::Error;
use crate::store::Resolver;

const PAGE_BYTES_MIN: usize = 512;
const PAGE_BYTES_MAX: usize = 32 << 10;
const FRAMES_MIN: usize = 8;

/// Options of a tree. The defaults suit a small database on a disk whose writes may tear.
#[derive(Clone)]
pub struct Options {
    pub(crate) log: wal::Options,
    pub(crate) file_name: String,
    pub(crate) page_bytes: usize,
    pub(crate) frames: usize,
    pub(crate) page_images: bool,
    pub(crate) redo_threads: usize,
    pub(crate) resolver: Option<Resolver>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("log", &self.log)
            .field("file_name", &self.file_name)
            .field("page_bytes", &self.page_bytes)
            .field("frames", &self.frames)
            .field("page_images", &self.page_images)
            .field("redo_threads", &self.redo_threads)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log: wal::Options::default(),
            file_name: "pages".to_owned(),
            page_bytes: 4096,
            frames: 256,
            page_images: true,
            redo_threads: 1,
            resolver: None,
        }
    }
}

impl Options {
    /// How the log is kept.
    #[must_use]
    pub fn log(self, log: wal::Options) -> Self {
        Self { log, ..self }
    }

    /// Name of the file with the pages. It may lie beside the log, which leaves other files alone.
    #[must_use]
    pub fn file_name(self, name: &str) -> Self {
        Self { file_name: name.to_owned(), ..self }
    }

    /// Bytes of a page: a power of two from 512 to 32,768. Fixed once the file is made.
    #[must_use]
    pub fn page_bytes(self, bytes: usize) -> Self {
        Self { page_bytes: bytes, ..self }
    }

    /// Pages in memory; 8 at least.
    #[must_use]
    pub fn frames(self, frames: usize) -> Self {
        Self { frames, ..self }
    }

    /// Whether each write of a page is paid for by an image in the log, from which a torn page is
    /// restored (a25). To be switched off only where the device writes whole pages or none.
    #[must_use]
    pub fn page_images(self, images: bool) -> Self {
        Self { page_images: images, ..self }
    }

    /// Threads that redo pages when the tree is opened (a26).
    #[must_use]
    pub fn redo_threads(self, threads: usize) -> Self {
        Self { redo_threads: threads.max(1), ..self }
    }

    /// Who is asked, when the tree is opened, what became of transactions in doubt (a29). Without
    /// one they wait for [`Tree::resolve`](crate::Tree::resolve).
    #[must_use]
    pub fn resolver(self, ask: impl Fn(&[u8]) -> Decision + Send + Sync + 'static) -> Self {
        Self { resolver: Some(Arc::new(ask)), ..self }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let sizes = PAGE_BYTES_MIN..=PAGE_BYTES_MAX;
        if !self.page_bytes.is_power_of_two() || !sizes.contains(&self.page_bytes) {
            return Err(Error::Options("a page has 512 to 32,768 bytes, a power of two"));
        }
        if self.frames < FRAMES_MIN {
            return Err(Error::Options("the pool has 8 frames at least"));
        }
        let name = self.file_name.as_str();
        let of_log = [CONTROL_NAME, LOCK_NAME, SPARE_NAME].contains(&name)
            || is_temporary(name)
            || SegmentName::parse(name).is_some();
        if name.is_empty() || of_log {
            return Err(Error::Options("the log has files of that name"));
        }
        Ok(())
    }
}
