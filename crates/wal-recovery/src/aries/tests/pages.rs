//! Pages in memory above pages in storage: written when told so, lost in a crash when not.
//!
//! Each page has cells of one byte. The one logical operation adds to a counter, which may be
//! taken back on another page: what counts is the sum over the pages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use wal_format::{Lsn, PageId};

use crate::aries::Decision;
use crate::aries::{
    EngineError, InDoubt, LogicalRedo, LogicalUndo, PageState, PageStore, TxnManager, UndoScope,
};
use crate::error::RecoveryError;

pub(super) const CELLS: usize = 16;
/// Adds the byte in `redo` to the counter of its page; `undo` is the byte to add to take it back.
pub(super) const ADD: u32 = 1;
/// Where each page has its counter, and where its count of nested changes.
pub(super) const COUNTER: u32 = 14;
pub(super) const NESTED: u32 = 15;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) lsn: Lsn,
    pub(super) cells: [u8; CELLS],
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inner {
    pub(super) pages: BTreeMap<PageId, Page>,
    pub(super) storage: BTreeMap<PageId, Page>,
    pub(super) offline: BTreeSet<PageId>,
    pub(super) torn: BTreeSet<PageId>,
    /// Changes that still succeed; then every one fails.
    pub(super) fuse: Option<u64>,
    /// The page which takes the undo of logical changes; their own when `None`.
    pub(super) undo_on: Option<PageId>,
    /// Undo of a logical change does this nested change first.
    pub(super) nested_in_undo: bool,
    /// Undo of a logical change leaves out its compensation.
    pub(super) forgets_to_compensate: bool,
    pub(super) panics: bool,
    pub(super) decision: Option<Decision>,
    pub(super) told: Vec<(Vec<u8>, Vec<u8>)>,
    /// Every state that a page was in since the last crash: a buffer pool may write any of them.
    pub(super) versions: Vec<(PageId, Page)>,
}

/// Clones share the same pages; the lock is the latch of all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct MemPages(pub(super) Arc<Mutex<Inner>>);

impl Inner {
    fn burn(&mut self) -> Result<(), EngineError> {
        match &mut self.fuse {
            Some(0) => return Err("the engine fails".into()),
            Some(left) => *left -= 1,
            None => {}
        }
        assert!(!self.panics, "the engine panics");
        Ok(())
    }

    fn put(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        self.burn()?;
        assert!(!self.offline.contains(&page), "an offline page was written");
        let at = self.pages.entry(page).or_default();
        assert!(at.lsn < lsn, "a page LSN went backwards");
        let offset = offset as usize;
        at.cells[offset..offset + bytes.len()].copy_from_slice(bytes);
        at.lsn = lsn;
        self.versions.push((page, at.clone()));
        Ok(())
    }

    pub(super) fn add(&mut self, page: PageId, by: u8, lsn: Lsn) -> Result<(), EngineError> {
        let sum = self.cell(page, COUNTER).wrapping_add(by);
        self.put(page, COUNTER, &[sum], lsn)
    }

    pub(super) fn cell(&self, page: PageId, offset: u32) -> u8 {
        self.pages.get(&page).map_or(0, |page| page.cells[offset as usize])
    }
}

impl MemPages {
    pub(super) fn cell(&self, page: PageId, offset: u32) -> u8 {
        self.0.lock().cell(page, offset)
    }

    /// The sum of a cell over all pages.
    pub(super) fn sum(&self, offset: u32) -> u8 {
        let inner = self.0.lock();
        inner.pages.keys().fold(0, |sum, page| inner.cell(*page, offset).wrapping_add(sum))
    }

    pub(super) fn lsn(&self, page: PageId) -> Lsn {
        self.0.lock().pages.get(&page).map_or(Lsn::NONE, |page| page.lsn)
    }

    /// Writes a page to storage, as a buffer pool does.
    pub(super) fn steal(&self, manager: &TxnManager, page: PageId) -> Result<(), RecoveryError> {
        let Some(image) = self.0.lock().pages.get(&page).cloned() else { return Ok(()) };
        manager.before_page_write(page, image.lsn)?;
        assert!(manager.log().durable() > image.lsn, "statement 2");
        let lsn = image.lsn;
        self.0.lock().storage.insert(page, image);
        manager.page_written(page, lsn);
        Ok(())
    }

    /// What a crash leaves: storage.
    pub(super) fn crashed(&self) -> Self {
        self.stolen(Lsn::NONE, |_| false)
    }

    /// What a crash leaves of pages that were written at any time, as long as the log before `end`
    /// was durable by then. Of each version that may have been the last one written, `written`
    /// says whether it was.
    pub(super) fn stolen(&self, end: Lsn, mut written: impl FnMut(PageId) -> bool) -> Self {
        let old = self.0.lock();
        let mut storage = old.storage.clone();
        for (page, version) in &old.versions {
            let newer = storage.get(page).is_none_or(|stored| stored.lsn < version.lsn);
            if version.lsn < end && newer && written(*page) {
                storage.insert(*page, version.clone());
            }
        }
        let inner = Inner {
            pages: storage.clone(),
            storage,
            undo_on: old.undo_on,
            nested_in_undo: old.nested_in_undo,
            ..Inner::default()
        };
        Self(Arc::new(Mutex::new(inner)))
    }
}

impl PageStore for MemPages {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        let inner = self.0.lock();
        if inner.offline.contains(&page) {
            return Ok(PageState::Offline);
        }
        if inner.torn.contains(&page) {
            return Ok(PageState::Torn);
        }
        Ok(PageState::At(inner.pages.get(&page).map_or(Lsn::NONE, |page| page.lsn)))
    }

    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        self.0.lock().put(page, offset, bytes, lsn)
    }

    fn write_logged(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        log: &mut dyn FnMut() -> Result<Lsn, RecoveryError>,
    ) -> Result<(), EngineError> {
        let mut inner = self.0.lock();
        let lsn = log()?;
        inner.put(page, offset, bytes, lsn)
    }

    fn mark_dirty(&mut self, _page: PageId) -> Result<(), EngineError> {
        Ok(())
    }

    fn redo_logical(&mut self, redo: &LogicalRedo<'_>, lsn: Lsn) -> Result<(), EngineError> {
        assert_eq!(redo.operation, ADD);
        self.0.lock().add(redo.page, redo.redo[0], lsn)
    }

    fn undo_logical(
        &mut self,
        undo: &LogicalUndo<'_>,
        scope: &mut dyn UndoScope,
    ) -> Result<(), EngineError> {
        let mut inner = self.0.lock();
        let page = inner.undo_on.unwrap_or(undo.page);
        if inner.offline.contains(&page) {
            return Err(RecoveryError::PageOffline { page }.into());
        }
        if inner.nested_in_undo {
            let before = inner.cell(page, NESTED);
            let after = before.wrapping_add(1);
            let lsn = scope.log_update(page, NESTED, &[before], &[after])?;
            inner.put(page, NESTED, &[after], lsn)?;
            scope.end_nested()?;
        }
        if inner.forgets_to_compensate {
            return Ok(());
        }
        let lsn = scope.compensate(page, ADD, undo.undo)?;
        inner.add(page, undo.undo[0], lsn)
    }

    fn in_doubt(&mut self, txn: &InDoubt<'_>) -> Result<Decision, EngineError> {
        let mut inner = self.0.lock();
        inner.told.push((txn.global_id.to_vec(), txn.locks.to_vec()));
        Ok(inner.decision.unwrap_or(Decision::Wait))
    }
}
