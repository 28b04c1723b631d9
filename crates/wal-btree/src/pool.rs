//! The buffer pool: a few frames for many pages, written when their place is needed.
//!
//! It steals: a page with uncommitted changes is written like any other, after the log is durable
//! up to its LSN (a02). It does not force: a commit writes no page. What has been written counts as
//! written only after a sync of the file, and then the log is told (a18).
//!
//! ```text
//! change:  latch ─ image, if the page was clean ─ log the change ─ apply it ─ unlatch
//! write:   copy under the latch ─ before_page_write ─ write ─ sync ─ page_written
//! ```
//!
//! **Torn pages.** The first change of a clean page is preceded by an image of it in the log, so
//! that redo, which starts at the recLSN of the page, can always mend a write that tore (a25). A
//! page that undo made dirty gets its image before it is written instead, and so does one that redo
//! changed without meeting an image of it. One image is paid per write of a page, as with a doublewrite buffer; `page_images(false)` saves it where the device
//! writes whole pages.
//!
//! **Latches.** A frame's latch is the innermost: whoever holds one asks the log, and nothing else;
//! no page is fetched under a latch. So whoever writes pages may wait for latches.
//!
//! **Poison.** When a write or a sync of the file fails, nobody knows what the file holds: from then
//! on everything is refused until the tree is reopened, and redo writes those pages again.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use wal::WriteAhead;
use wal_format::{Lsn, PageId};

use crate::error::Error;
use crate::file::PageFile;
use crate::page::{Page, PageFault};

/// Pages written by one sync when room is needed, at most.
const BATCH_PAGES_MAX: usize = 64;

/// A place for one page in memory. Whoever holds the `Arc` has it pinned.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The page.
    pub(crate) id: PageId,
    cell: RwLock<Cell>,
}

/// What a frame holds, under its latch.
#[derive(Debug)]
pub(crate) struct Cell {
    content: Content,
    /// Storage may lack what is here.
    dirty: bool,
    /// The log has an image of the page from after its recLSN; meaningless while it is clean.
    imaged: bool,
    /// The round of checkpoints in which it became dirty.
    round: u64,
}

#[derive(Debug)]
enum Content {
    Unread,
    Whole(Page),
    /// Only an image can bring it back.
    Torn,
}

impl Cell {
    /// The page, which has been read.
    pub(crate) fn page(&self, id: PageId) -> Result<&Page, Error> {
        match &self.content {
            Content::Whole(page) => Ok(page),
            Content::Unread | Content::Torn => Err(Error::page(id, PageFault::Torn)),
        }
    }

    /// Takes `page` in the place of what was here; `lsn` is the record that made it so.
    pub(crate) fn replace(&mut self, mut page: Page, lsn: Lsn) {
        page.set_lsn(lsn);
        (self.content, self.dirty) = (Content::Whole(page), true);
    }

    fn dirty_before(&self, round: u64) -> bool {
        self.dirty && self.round < round
    }
}

impl Frame {
    /// The page, shared.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Cell> {
        self.cell.read()
    }

    /// The page, exclusive: held from before a change is logged until it is applied.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Cell> {
        self.cell.write()
    }
}

#[derive(Debug, Default)]
struct Frames {
    by_page: HashMap<PageId, Arc<Frame>>,
    /// In the order in which they are looked at for eviction.
    order: VecDeque<PageId>,
}

/// How a new page was logged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Created {
    pub(crate) lsn: Lsn,
    /// As an image.
    pub(crate) imaged: bool,
}

impl Frames {
    /// The frame of a page, made if there is none.
    fn pin(&mut self, id: PageId) -> Arc<Frame> {
        let Self { by_page, order } = self;
        let frame = by_page.entry(id).or_insert_with(|| {
            order.push_back(id);
            let cell = Cell { content: Content::Unread, dirty: false, imaged: false, round: 0 };
            Arc::new(Frame { id, cell: RwLock::new(cell) })
        });
        Arc::clone(frame)
    }
}

/// What is known of pages until the log takes records.
#[derive(Debug, Default)]
struct Redo {
    /// Written and synced since redo changed them: the log is told later.
    written: BTreeMap<PageId, Lsn>,
    /// The log has an image of them from after their recLSN: redo met it, or found the page as a
    /// write left it, and before that write there was one.
    imaged: BTreeSet<PageId>,
}

/// What became of pages that were to be written.
#[derive(Debug, Default)]
struct Written {
    written: usize,
    /// Why some stay as they are: the log could not take their images.
    refused: Option<Error>,
}

/// The frames, and the file behind them.
#[derive(Debug)]
pub(crate) struct Pool {
    file: PageFile,
    /// As many as asked for; more only while all of them are pinned.
    frames_max: usize,
    images: bool,
    frames: Mutex<Frames>,
    /// One batch is written at a time, from its copies to the end of its sync: so pages reach the
    /// file in the order of their LSNs, and nobody frees a page on its way.
    writing: Mutex<()>,
    /// Present once the log takes records.
    log: RwLock<Option<Arc<dyn WriteAhead>>>,
    redo: Mutex<Redo>,
    /// Checkpoints begun; only tells old dirt from new.
    round: AtomicU64,
    poison: OnceLock<String>,
}

impl Pool {
    pub(crate) fn new(file: PageFile, frames_max: usize, images: bool) -> Self {
        Self {
            file,
            frames_max,
            images,
            frames: Mutex::default(),
            writing: Mutex::default(),
            log: RwLock::default(),
            redo: Mutex::default(),
            round: AtomicU64::new(1),
            poison: OnceLock::new(),
        }
    }

    /// Bytes of a page.
    pub(crate) const fn page_bytes(&self) -> usize {
        self.file.page_bytes()
    }

    /// The log takes records from now on: no page is written before it says so (a02), and it is
    /// told what redo had written.
    pub(crate) fn log_runs(&self, log: &Arc<dyn WriteAhead>) {
        *self.log.write() = Some(Arc::clone(log));
        for (id, lsn) in std::mem::take(&mut *self.redo.lock()).written {
            log.page_written(id, lsn);
        }
    }

    /// Refuses when the tree is poisoned.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.poison.get() {
            Some(why) => Err(Error::Poisoned { why: why.clone() }),
            None => Ok(()),
        }
    }

    /// From now on everything is refused; the first reason counts.
    pub(crate) fn poison(&self, why: &Error) {
        // A second reason adds nothing.
        let _ = self.poison.set(why.to_string());
    }

    /// The page, read if it was not in memory, and pinned. A torn one is no error yet.
    ///
    /// # Errors
    ///
    /// It cannot be read, or no frame can be had because none can be written.
    pub(crate) fn fetch(&self, id: PageId) -> Result<Arc<Frame>, Error> {
        let frame = self.pin(id)?;
        if !matches!(frame.read().content, Content::Unread) {
            return Ok(frame);
        }
        let mut cell = frame.write();
        if matches!(cell.content, Content::Unread) {
            cell.content = match self.file.read(id) {
                Ok(page) => {
                    self.check_lsn(id, &page)?;
                    Content::Whole(page)
                }
                Err(Error::Page { fault: PageFault::Torn, .. }) => Content::Torn,
                Err(error) => return Err(error),
            };
        }
        drop(cell);
        Ok(frame)
    }

    /// Refuses a page that is newer than the log: it is of another one, or of this one as it was
    /// before it was restored to a point (a02). While redo runs, redo sees to that.
    fn check_lsn(&self, id: PageId, page: &Page) -> Result<(), Error> {
        let log = self.log.read();
        log.as_ref().map_or(Ok(()), |log| Ok(log.check_page_lsn(id, page.lsn())?))
    }

    /// The frame of a page that will be overwritten as a whole: it is not read.
    pub(crate) fn pin(&self, id: PageId) -> Result<Arc<Frame>, Error> {
        self.check()?;
        loop {
            let mut frames = self.frames.lock();
            if let Some(frame) = frames.by_page.get(&id) {
                return Ok(Arc::clone(frame));
            }
            let victims = self.make_room(&mut frames);
            if victims.is_empty() {
                return Ok(frames.pin(id));
            }
            drop(frames);
            if self.write_pages(&victims)?.written == 0 {
                return self.pin_one_more(id);
            }
        }
    }

    /// A frame beyond those asked for: all are pinned, or the log is full or does not run yet, and
    /// cannot take their images, which must not keep a rollback from going on (a09).
    fn pin_one_more(&self, id: PageId) -> Result<Arc<Frame>, Error> {
        let mut frames = self.frames.lock();
        Ok(frames.pin(id))
    }

    /// Evicts clean frames until there is room; else tells which dirty ones to write for it. None
    /// either: all are pinned, and the pool grows for a while.
    fn make_room(&self, frames: &mut Frames) -> Vec<Arc<Frame>> {
        let mut dirty = Vec::new();
        for _ in 0..frames.order.len() {
            if frames.by_page.len() < self.frames_max {
                return Vec::new();
            }
            let Some(id) = frames.order.pop_front() else { break };
            // Pins are taken under the lock of the frames only: a frame which nobody but the map
            // holds cannot be pinned now.
            let Some(frame) = frames.by_page.get(&id) else { continue };
            let idle = Arc::strong_count(frame) == 1;
            if idle && !frame.read().dirty {
                frames.by_page.remove(&id);
                continue;
            }
            if idle && dirty.len() < BATCH_PAGES_MAX.min(self.frames_max.div_ceil(2)) {
                dirty.push(Arc::clone(frame));
            }
            frames.order.push_back(id);
        }
        if frames.by_page.len() < self.frames_max { Vec::new() } else { dirty }
    }

    /// Prepares a page for a change that is about to be logged under its latch: a clean one leaves
    /// an image of itself in the log first (a25).
    pub(crate) fn before_change(&self, id: PageId, cell: &mut Cell) -> Result<(), Error> {
        self.check()?;
        if cell.dirty {
            return Ok(());
        }
        cell.round = self.round.load(Ordering::Relaxed);
        if !self.images {
            return Ok(());
        }
        let Some(log) = self.log.read().clone() else { return Ok(()) };
        let page = cell.page(id)?.clone();
        match log.log_image(id, page.bytes()).map_err(Error::from) {
            Ok(lsn) => {
                cell.replace(page, lsn);
                cell.imaged = true;
                Ok(())
            }
            // A full log has room for a rollback, not for this: it is due before the page is written.
            Err(error) if error.is_refusal() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes `page` the page `id`, whatever was there; `log` logs all of it, and nothing of what it
    /// replaces (a24).
    pub(crate) fn create(
        &self,
        id: PageId,
        page: Page,
        log: &mut dyn FnMut(&Page) -> Result<Created, Error>,
    ) -> Result<(), Error> {
        let frame = self.pin(id)?;
        let mut cell = frame.write();
        let Created { lsn, imaged } = log(&page)?;
        cell.replace(page, lsn);
        (cell.imaged, cell.round) = (imaged, self.round.load(Ordering::Relaxed));
        Ok(())
    }

    /// Logs an image, if the log runs and takes it.
    pub(crate) fn log_image(&self, id: PageId, page: &Page) -> Result<Created, Error> {
        let log = self.log.read().clone().ok_or(Error::Options("the log does not run yet"))?;
        Ok(Created { lsn: log.log_image(id, page.bytes())?, imaged: true })
    }

    /// Forgets a page whose life is over. When this returns no write of it is on its way.
    pub(crate) fn discard(&self, id: PageId) {
        let _no_write = self.writing.lock();
        let mut frames = self.frames.lock();
        if let Some(frame) = frames.by_page.remove(&id) {
            frame.write().dirty = false;
            frames.order.retain(|other| *other != id);
        }
    }

    /// Takes `page` as recovery made it: redo, or undo of a change that the engine does not log.
    pub(crate) fn recovered(&self, id: PageId, cell: &mut Cell, page: Page, lsn: Lsn) {
        // A rollback in a full log changes clean pages without an image, which redo cannot meet then.
        self.dirtied(id, cell, false);
        cell.replace(page, lsn);
    }

    /// As [`recovered`](Self::recovered), from an image in the log.
    pub(crate) fn restored(&self, id: PageId, cell: &mut Cell, page: Page, lsn: Lsn) {
        self.dirtied(id, cell, true);
        cell.replace(page, lsn);
    }

    /// Storage may lack what the page holds.
    pub(crate) fn mark_dirty(&self, id: PageId, cell: &mut Cell) {
        self.dirtied(id, cell, true);
    }

    /// Recovery makes a page dirty; `met` says whether redo knows of an image by that.
    fn dirtied(&self, id: PageId, cell: &mut Cell, met: bool) {
        let known = cell.dirty && cell.imaged;
        cell.dirty = true;
        if self.log.read().is_some() {
            cell.imaged = known;
            return;
        }
        let mut redo = self.redo.lock();
        redo.written.remove(&id);
        if met {
            redo.imaged.insert(id);
        }
        cell.imaged = redo.imaged.contains(&id);
    }

    /// Begins a round of checkpoints: writes the pages that have been dirty since before the last,
    /// so that redo never starts further back than two checkpoints. A full log may put that off: it
    /// takes a checkpoint to become less full.
    pub(crate) fn write_old(&self) -> Result<(), Error> {
        let round = self.round.fetch_add(1, Ordering::Relaxed);
        let mut old: Vec<_> = self.frames.lock().by_page.values().map(Arc::clone).collect();
        old.retain(|frame| frame.read().dirty_before(round));
        old.chunks(BATCH_PAGES_MAX).try_for_each(|batch| self.write_pages(batch).map(drop))
    }

    /// Writes every dirty page.
    pub(crate) fn write_all(&self) -> Result<(), Error> {
        let all: Vec<_> = self.frames.lock().by_page.values().map(Arc::clone).collect();
        all.chunks(BATCH_PAGES_MAX)
            .try_for_each(|batch| self.write_pages(batch)?.refused.map_or(Ok(()), Err))
    }

    /// Writes and syncs the dirty ones of these pages.
    fn write_pages(&self, frames: &[Arc<Frame>]) -> Result<Written, Error> {
        let _one = self.writing.lock();
        self.check()?;
        let (mut batch, mut refused) = (Vec::new(), None);
        let mut outcome = Ok(());
        let mut frames: Vec<_> = frames.iter().collect();
        frames.sort_unstable_by_key(|frame| frame.id);
        for frame in frames {
            match self.copy_dirty(frame) {
                Ok(copy) => batch.extend(copy),
                Err(error) if error.is_refusal() => refused = Some(error),
                Err(error) => outcome = Err(error),
            }
        }
        let Err(error) = outcome.and_then(|()| self.write_copies(&batch)) else {
            return Ok(Written { written: batch.len(), refused });
        };
        // Nothing was written that counts: what was copied is as dirty as before.
        for copy in &batch {
            copy.frame.write().dirty = true;
        }
        Err(error)
    }

    /// Copies a dirty page, and counts it as clean: what changes it from now on makes it dirty
    /// again, with an image of its own.
    fn copy_dirty(&self, frame: &Arc<Frame>) -> Result<Option<Copy>, Error> {
        let mut cell = frame.write();
        if !cell.dirty {
            return Ok(None);
        }
        let mut page = cell.page(frame.id)?.clone();
        if self.images && !cell.imaged {
            // Before the log takes its image it stays in memory.
            let Some(log) = self.log.read().clone() else { return Ok(None) };
            page.set_lsn(log.log_image(frame.id, page.bytes())?);
            cell.content = Content::Whole(page.clone());
        }
        (cell.dirty, cell.imaged) = (false, false);
        let sealed = page.sealed(frame.id);
        Ok(Some(Copy { frame: Arc::clone(frame), lsn: page.lsn(), sealed }))
    }

    fn write_copies(&self, batch: &[Copy]) -> Result<(), Error> {
        let log = self.log.read().clone();
        if let Some(log) = &log {
            // The newest first: the others are durable then, and cost no wait.
            let mut order: Vec<_> = batch.iter().collect();
            order.sort_unstable_by_key(|copy| std::cmp::Reverse(copy.lsn));
            order.iter().try_for_each(|copy| log.before_page_write(copy.frame.id, copy.lsn))?;
        }
        let written = batch
            .iter()
            .try_for_each(|copy| self.file.write(copy.frame.id, &copy.sealed))
            .and_then(|()| if batch.is_empty() { Ok(()) } else { self.file.sync() });
        if let Err(error) = written {
            self.poison(&error);
            return Err(error);
        }
        for copy in batch {
            match &log {
                Some(log) => log.page_written(copy.frame.id, copy.lsn),
                None => self.note_redone(copy),
            }
        }
        Ok(())
    }

    /// The log does not run yet, and is told when it does, unless redo changes the page again.
    fn note_redone(&self, copy: &Copy) {
        let cell = copy.frame.read();
        if !cell.dirty {
            self.redo.lock().written.insert(copy.frame.id, copy.lsn);
        }
    }

    /// How many pages are in memory, and how many of them are dirty.
    pub(crate) fn count(&self) -> (usize, usize) {
        let frames = self.frames.lock();
        let dirty = frames.by_page.values().filter(|frame| frame.read().dirty).count();
        (frames.by_page.len(), dirty)
    }
}

/// A page as it is being written.
struct Copy {
    frame: Arc<Frame>,
    lsn: Lsn,
    sealed: Vec<u8>,
}

#[cfg(test)]
mod tests;
