//! The file with the pages: whole pages at their places, and nothing else.
//!
//! Page 0 says what the file is, and is written once, before the file gets its name: a crash leaves
//! no file or a whole one. The rest grows by writes; what was never written reads as zeros.
//!
//! Leaves to `pool` when to write and sync, and what to do when that fails: no call is repeated
//! after a failure, and nothing is promised after a failed sync.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use wal_format::PageId;
use wal_io::write_full_at;
use wal_io::{Access, IoError, IoOp, LogFile, Storage, TEMPORARY_SUFFIX, read_full_at};

use crate::error::Error;
use crate::page::{Page, PageFault};

/// What page 0 begins with, behind its header.
const MAGIC: [u8; 8] = *b"walbtree";
const VERSION: u32 = 1;
const MAGIC_AT: u32 = 32;
const FORMAT_AT: u32 = 40;
/// Page 0.
const HEAD: PageId = PageId::new(0);

/// Where pages are read and written.
#[derive(Debug)]
pub(crate) struct PageFile {
    file: Box<dyn LogFile>,
    name: String,
    page_bytes: usize,
}

impl PageFile {
    /// Opens `name`; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if it has pages of another size, or is no such file.
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        name: &str,
        page_bytes: usize,
    ) -> Result<Option<Self>, Error> {
        let file = match storage.open(name, Access::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(IoError::failed(IoOp::Open, name, error).into()),
        };
        let file = Self::of(file, name, page_bytes)?;
        let expected = head(page_bytes)?;
        match file.read(HEAD) {
            Ok(found) if found.bytes().get(HEAD_FIELDS) == expected.bytes().get(HEAD_FIELDS) => {
                Ok(Some(file))
            }
            Ok(_) | Err(Error::Page { .. }) => {
                Err(Error::Options("the page file is of another kind, or of another page size"))
            }
            Err(error) => Err(error),
        }
    }

    /// Creates `name`, durably.
    ///
    /// # Errors
    ///
    /// The storage failed; what is left of the creation is replaced by the next one.
    pub(crate) fn create(
        storage: &Arc<dyn Storage>,
        name: &str,
        page_bytes: usize,
    ) -> Result<Self, Error> {
        let temporary = format!("{name}{TEMPORARY_SUFFIX}");
        match storage.remove(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(IoError::failed(IoOp::Remove, temporary, error).into());
            }
            _ => {}
        }
        let file = storage
            .create(&temporary, page_bytes as u64)
            .map_err(|error| IoError::failed(IoOp::Create, &*temporary, error))?;
        let created = Self::of(file, name, page_bytes)?;
        created.write(HEAD, &head(page_bytes)?.sealed(HEAD))?;
        created.file.sync_all().map_err(|error| IoError::failed(IoOp::Sync, &*temporary, error))?;
        storage
            .rename(&temporary, name)
            .map_err(|error| IoError::failed(IoOp::Rename, name, error))?;
        storage.sync_dir().map_err(|error| IoError::failed(IoOp::SyncDir, name, error))?;
        Ok(created)
    }

    fn of(file: Box<dyn LogFile>, name: &str, page_bytes: usize) -> Result<Self, Error> {
        if !page_bytes.is_multiple_of(file.block_bytes().max(1)) {
            return Err(Error::Options("pages are smaller than the blocks of the storage"));
        }
        Ok(Self { file, name: name.to_owned(), page_bytes })
    }

    /// Whether any page was written behind the head.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub(crate) fn holds_pages(&self) -> Result<bool, Error> {
        let bytes =
            self.file.len().map_err(|error| IoError::failed(IoOp::Length, &*self.name, error))?;
        Ok(bytes > self.page_bytes as u64)
    }

    /// Bytes of a page.
    pub(crate) const fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// Reads a page; one beyond the end of the file was never written.
    ///
    /// # Errors
    ///
    /// [`Error::Page`] if it is torn, [`Error::Io`].
    pub(crate) fn read(&self, id: PageId) -> Result<Page, Error> {
        let mut bytes = vec![0; self.page_bytes];
        read_full_at(self.file.as_ref(), &self.name, &mut bytes, self.offset(id)?)?;
        Page::unsealed(bytes, id).map_err(|fault| Error::page(id, fault))
    }

    /// Writes a sealed page.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; the page on storage is then unknown.
    pub(crate) fn write(&self, id: PageId, sealed: &[u8]) -> Result<(), Error> {
        let offset = self.offset(id)?;
        Ok(write_full_at(self.file.as_ref(), &self.name, &[IoSlice::new(sealed)], offset)?)
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; what was written since the last success is unknown, and stays unknown
    /// whatever a later sync says (rule 6).
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let synced = self.file.sync_data();
        Ok(synced.map_err(|error| IoError::failed(IoOp::Sync, &*self.name, error))?)
    }

    fn offset(&self, id: PageId) -> Result<u64, Error> {
        let offset = id.get().checked_mul(self.page_bytes as u64);
        offset
            .filter(|offset| *offset <= i64::MAX as u64 - self.page_bytes as u64)
            .ok_or(Error::page(id, PageFault::Damaged))
    }
}

/// The part of page 0 that says what the file is.
const HEAD_FIELDS: std::ops::Range<usize> = MAGIC_AT as usize..FORMAT_AT as usize + 8;

fn head(page_bytes: usize) -> Result<Page, Error> {
    let too_large = |_| Error::Options("pages are too large");
    let mut page = Page::zeroed(page_bytes);
    let size = u32::try_from(page_bytes).map_err(too_large)?.to_le_bytes();
    let parts =
        [(MAGIC_AT, &MAGIC[..]), (FORMAT_AT, &VERSION.to_le_bytes()), (FORMAT_AT + 4, &size)];
    for (at, bytes) in parts {
        page.put(at, bytes).map_err(|fault| Error::page(HEAD, fault))?;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_sim::{CrashMode, SimDisk};

    const NAME: &str = "pages";

    fn storage(disk: &SimDisk) -> Arc<dyn Storage> {
        Arc::new(disk.clone())
    }

    fn page(value: u8) -> Page {
        let mut page = Page::zeroed(512);
        page.put(100, &[value; 50]).unwrap();
        page
    }

    #[test]
    fn pages_are_where_they_were_put_and_the_others_were_never_written() {
        let disk = SimDisk::new();
        let file = PageFile::create(&storage(&disk), NAME, 512).unwrap();
        file.write(PageId::new(5), &page(5).sealed(PageId::new(5))).unwrap();
        let file = PageFile::open(&storage(&disk), NAME, 512).unwrap().unwrap();
        assert_eq!(file.read(PageId::new(5)).unwrap().bytes()[100..150], [5; 50]);
        for id in [3, 4, 6, 1_000_000] {
            assert_eq!(file.read(PageId::new(id)).unwrap(), Page::zeroed(512), "{id}");
        }
    }

    #[test]
    fn a_file_of_another_page_size_is_refused() {
        let disk = SimDisk::new();
        PageFile::create(&storage(&disk), NAME, 512).unwrap();
        let found = PageFile::open(&storage(&disk), NAME, 1024);
        assert!(matches!(found, Err(Error::Options(_))), "{found:?}");
        assert!(PageFile::open(&storage(&SimDisk::new()), NAME, 512).unwrap().is_none());
    }

    #[test]
    fn a_crash_leaves_no_file_or_a_whole_one() {
        for op in 1..10 {
            let disk = SimDisk::new();
            disk.power_cut_at(op);
            let created = PageFile::create(&storage(&disk), NAME, 512);
            for seed in 0..20 {
                let left = storage(&disk.crash(CrashMode::Torn(seed)));
                let found = PageFile::open(&left, NAME, 512).unwrap();
                assert!(found.is_some() || created.is_err(), "cut at {op}, seed {seed}");
                if found.is_none() {
                    PageFile::create(&left, NAME, 512).unwrap();
                }
            }
        }
    }

    #[test]
    fn pages_smaller_than_the_blocks_of_the_storage_are_refused() {
        let disk = SimDisk::with_block_bytes(4096);
        let created = PageFile::create(&storage(&disk), NAME, 512);
        assert!(matches!(created, Err(Error::Options(_))), "{created:?}");
        PageFile::create(&storage(&disk), NAME, 4096).unwrap();
    }

    #[test]
    fn a_page_beyond_what_a_file_can_hold_is_refused() {
        let disk = SimDisk::new();
        let file = PageFile::create(&storage(&disk), NAME, 512).unwrap();
        for id in [PageId::NONE, PageId::new(u64::MAX / 512)] {
            assert!(matches!(file.read(id), Err(Error::Page { .. })));
        }
    }
}
