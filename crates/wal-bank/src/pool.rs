//! A buffer pool of a few pages, smaller than the data: it steals all the time.
//!
//! A page leaves the pool when another needs its place, with uncommitted changes or without; before
//! that the log is asked (the write-ahead rule). A page counts as written only after a sync of the
//! file. Nothing is forced at commit.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

use wal_format::{Lsn, PageId};
use wal_io::{Access, LogFile, Storage, read_full_at, write_full_at};
use wal_recovery::aries::{PageState, WriteAhead};

use crate::error::BankError;
use crate::page::{Bytes, PAGE_BYTES, is_whole, lsn, seal, set_lsn};

/// The file of the pages, beside those of the log.
pub(crate) const FILE: &str = "bank.pages";

#[derive(Debug)]
struct Frame {
    page: PageId,
    bytes: Bytes,
    dirty: bool,
    torn: bool,
    /// Unchanged since it was read or written: a write of it that tears must be mendable by what
    /// is logged from its next change on.
    fresh: bool,
    used: u64,
}

/// The pages in memory, and the file of all.
#[derive(Debug)]
pub(crate) struct Pool {
    file: Box<dyn LogFile>,
    frames: Vec<Frame>,
    capacity: usize,
    clock: u64,
    /// Pages written since the last sync, as of which LSN.
    unsynced: BTreeMap<PageId, Lsn>,
    log: Option<Arc<dyn WriteAhead>>,
    /// Whether the first change of a page logs the whole of it.
    images: bool,
}

fn failed(call: &'static str) -> impl FnOnce(std::io::Error) -> BankError {
    move |source| BankError::Pages { call, source }
}

impl Pool {
    /// Opens the file, or makes it; its name is then durable.
    pub(crate) fn open(
        storage: &dyn Storage,
        capacity: usize,
        images: bool,
    ) -> Result<Self, BankError> {
        let there = storage.list().map_err(failed("list"))?.iter().any(|file| file.name == FILE);
        let file = if there {
            storage.open(FILE, Access::Write).map_err(failed("open"))?
        } else {
            let file = storage.create(FILE, 0).map_err(failed("create"))?;
            storage.sync_dir().map_err(failed("sync the directory of"))?;
            file
        };
        let capacity = capacity.max(2);
        let (frames, unsynced) = (Vec::new(), BTreeMap::new());
        Ok(Self { file, frames, capacity, clock: 0, unsynced, log: None, images })
    }

    /// From now on the write-ahead rule is asked for.
    pub(crate) fn log_runs(&mut self, log: Arc<dyn WriteAhead>) {
        self.log = Some(log);
    }

    /// The place of `page` in the pool; reads it if need be, and lets another go.
    fn frame(&mut self, page: PageId) -> Result<&mut Frame, BankError> {
        self.clock += 1;
        let at = match self.frames.iter().position(|frame| frame.page == page) {
            Some(at) => at,
            None => self.load(page)?,
        };
        let clock = self.clock;
        let frame = self.frames.get_mut(at).ok_or(BankError::Torn { page })?;
        frame.used = clock;
        Ok(frame)
    }

    fn load(&mut self, page: PageId) -> Result<usize, BankError> {
        if self.frames.len() >= self.capacity {
            let oldest = self.frames.iter().enumerate().min_by_key(|(_, frame)| frame.used);
            let oldest = oldest.map_or(0, |(at, _)| at);
            self.write_back(oldest)?;
            self.frames.swap_remove(oldest);
        }
        let mut bytes = [0; PAGE_BYTES];
        let offset = page.get().saturating_mul(PAGE_BYTES as u64);
        read_full_at(self.file.as_ref(), FILE, &mut bytes, offset)
            .map_err(|error| failed("read")(std::io::Error::other(error)))?;
        let torn = !is_whole(page, &bytes);
        self.frames.push(Frame { page, bytes, dirty: false, torn, fresh: true, used: 0 });
        Ok(self.frames.len() - 1)
    }

    /// Writes a frame if it is dirty.
    fn write_back(&mut self, at: usize) -> Result<(), BankError> {
        let Some(frame) = self.frames.get_mut(at).filter(|frame| frame.dirty) else {
            return Ok(());
        };
        let (page, page_lsn) = (frame.page, lsn(&frame.bytes));
        // ARIES §3: no page before its log. At restart everything in the log is durable.
        if let Some(log) = &self.log {
            log.before_page_write(page, page_lsn)?;
        }
        seal(page, &mut frame.bytes);
        let offset = page.get().saturating_mul(PAGE_BYTES as u64);
        write_full_at(self.file.as_ref(), FILE, &[IoSlice::new(&frame.bytes)], offset)
            .map_err(|error| failed("write")(std::io::Error::other(error)))?;
        (frame.dirty, frame.fresh) = (false, true);
        self.unsynced.insert(page, page_lsn);
        Ok(())
    }

    /// The bytes of `page`.
    pub(crate) fn read(&mut self, page: PageId) -> Result<&Bytes, BankError> {
        let frame = self.frame(page)?;
        if frame.torn { Err(BankError::Torn { page }) } else { Ok(&frame.bytes) }
    }

    pub(crate) fn state(&mut self, page: PageId) -> Result<PageState, BankError> {
        let frame = self.frame(page)?;
        let at = PageState::At(lsn(&frame.bytes));
        Ok(if frame.torn { PageState::Torn } else { at })
    }

    /// To be called before a change of `page` is logged: logs the whole of it, if it is fresh and
    /// may tear.
    pub(crate) fn before_change(&mut self, page: PageId) -> Result<(), BankError> {
        let (images, log) = (self.images, self.log.clone());
        let frame = self.frame(page)?;
        if frame.torn {
            return Err(BankError::Torn { page });
        }
        if let Some(log) = log.filter(|_| images && frame.fresh) {
            let at = log.log_image(page, &frame.bytes)?;
            set_lsn(&mut frame.bytes, at);
            frame.dirty = true;
        }
        frame.fresh = false;
        Ok(())
    }

    /// Puts `bytes` at `offset`, with `at` as the page's LSN.
    pub(crate) fn put(
        &mut self,
        page: PageId,
        offset: usize,
        bytes: &[u8],
        at: Lsn,
    ) -> Result<(), BankError> {
        let frame = self.frame(page)?;
        let place =
            offset.checked_add(bytes.len()).and_then(|end| frame.bytes.get_mut(offset..end));
        let Some(place) = place.filter(|_| !frame.torn) else {
            return Err(BankError::Books(format!("page {page} takes no bytes at {offset}")));
        };
        place.copy_from_slice(bytes);
        set_lsn(&mut frame.bytes, at);
        frame.dirty = true;
        Ok(())
    }

    /// Makes `image` the page.
    pub(crate) fn put_image(
        &mut self,
        page: PageId,
        image: &[u8],
        at: Lsn,
    ) -> Result<(), BankError> {
        let bytes: Bytes = image
            .try_into()
            .map_err(|_| BankError::Books(format!("an image of {} bytes", image.len())))?;
        let frame = self.frame(page)?;
        frame.bytes = bytes;
        set_lsn(&mut frame.bytes, at);
        (frame.torn, frame.dirty) = (false, true);
        Ok(())
    }

    /// The page is to be written again, whatever storage seems to hold.
    pub(crate) fn mark_dirty(&mut self, page: PageId) -> Result<(), BankError> {
        self.frame(page)?.dirty = true;
        Ok(())
    }

    /// Writes up to `count` dirty pages; nothing is synced.
    pub(crate) fn write_some(&mut self, count: usize) -> Result<(), BankError> {
        let dirty = self.frames.iter().enumerate().filter(|(_, frame)| frame.dirty);
        let dirty: Vec<usize> = dirty.map(|(at, _)| at).take(count).collect();
        dirty.into_iter().try_for_each(|at| self.write_back(at))
    }

    /// Makes all that was written durable, and tells the log.
    pub(crate) fn sync(&mut self) -> Result<(), BankError> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        self.file.sync_all().map_err(failed("sync"))?;
        let written = std::mem::take(&mut self.unsynced);
        if let Some(log) = &self.log {
            written.into_iter().for_each(|(page, at)| log.page_written(page, at));
        }
        Ok(())
    }
}
