//! An engine whose pages are arrays in memory, and which can be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use wal_format::{Lsn, PageId};
use wal_recovery::aries::{
    Decision, EngineError, InDoubt, LogicalRedo, LogicalUndo, PageState, PageStore, UndoScope,
};

pub(crate) const PAGE_BYTES: usize = 32;
/// Adds to the last byte of a page.
pub(crate) const ADD: u32 = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToyPage {
    pub(crate) lsn: Lsn,
    pub(crate) bytes: [u8; PAGE_BYTES],
}

impl Default for ToyPage {
    fn default() -> Self {
        Self { lsn: Lsn::NONE, bytes: [0; PAGE_BYTES] }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Toy {
    pub(crate) pages: BTreeMap<PageId, ToyPage>,
    pub(crate) torn: BTreeSet<PageId>,
    pub(crate) offline: BTreeSet<PageId>,
    pub(crate) marked: Vec<PageId>,
    /// Pages whose state was asked.
    pub(crate) asked: Vec<PageId>,
    /// Changes applied, in order.
    pub(crate) applied: Vec<(PageId, Lsn)>,
    /// Changes that it was told of, and how many had been applied by then.
    pub(crate) expected: Vec<(PageId, u32, usize, usize)>,
    /// Panics when it is told of a change.
    pub(crate) panics_when_told: bool,
    /// Leaves the LSN of a page as it is.
    pub(crate) forgets_lsn: bool,
    /// Fails at this record.
    pub(crate) fails_at: Option<Lsn>,
    /// Panics at this record.
    pub(crate) panics_at: Option<Lsn>,
    pub(crate) decision: Option<Decision>,
    pub(crate) doubts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Handles on the pages, where it was split; they come back when it is put together.
    pub(crate) parts: Option<usize>,
}

impl Toy {
    pub(crate) fn with(pages: &[(u64, Lsn, &[u8])]) -> Self {
        let mut toy = Self::default();
        for (page, lsn, bytes) in pages {
            let mut at = ToyPage { lsn: *lsn, ..ToyPage::default() };
            at.bytes[..bytes.len()].copy_from_slice(bytes);
            toy.pages.insert(PageId::new(*page), at);
        }
        toy
    }

    pub(crate) fn bytes(&self, page: u64) -> [u8; PAGE_BYTES] {
        self.pages.get(&PageId::new(page)).copied().unwrap_or_default().bytes
    }

    pub(crate) fn byte(&self, page: u64, offset: u32) -> u8 {
        self.bytes(page)[offset as usize]
    }

    pub(crate) fn lsn(&self, page: u64) -> Lsn {
        self.pages.get(&PageId::new(page)).copied().unwrap_or_default().lsn
    }

    fn change(&mut self, page: PageId, lsn: Lsn) -> Result<&mut ToyPage, EngineError> {
        assert_ne!(self.panics_at, Some(lsn), "the engine panics");
        if self.fails_at == Some(lsn) {
            return Err("the engine fails".into());
        }
        assert!(!self.offline.contains(&page), "an offline page was changed");
        self.applied.push((page, lsn));
        let forgets = self.forgets_lsn;
        let at = self.pages.entry(page).or_default();
        if !forgets {
            at.lsn = lsn;
        }
        Ok(at)
    }
}

impl PageStore for Toy {
    fn expect_change(&mut self, page: PageId, offset: u32, bytes: usize) {
        assert!(!self.panics_when_told, "the engine panics when it is told of a change");
        self.expected.push((page, offset, bytes, self.applied.len()));
    }

    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        self.asked.push(page);
        if self.offline.contains(&page) {
            return Ok(PageState::Offline);
        }
        if self.torn.contains(&page) {
            return Ok(PageState::Torn);
        }
        Ok(PageState::At(self.pages.get(&page).map_or(Lsn::NONE, |page| page.lsn)))
    }

    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        assert!(!self.torn.contains(&page), "a torn page was changed");
        let at = self.change(page, lsn)?;
        let offset = offset as usize;
        at.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn write_image(&mut self, page: PageId, image: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        self.torn.remove(&page);
        let at = self.change(page, lsn)?;
        at.bytes = [0; PAGE_BYTES];
        at.bytes[..image.len()].copy_from_slice(image);
        Ok(())
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.marked.push(page);
        Ok(())
    }

    fn redo_logical(&mut self, redo: &LogicalRedo<'_>, lsn: Lsn) -> Result<(), EngineError> {
        assert_eq!(redo.operation, ADD);
        let at = self.change(redo.page, lsn)?;
        at.bytes[PAGE_BYTES - 1] = at.bytes[PAGE_BYTES - 1].wrapping_add(redo.redo[0]);
        Ok(())
    }

    fn undo_logical(
        &mut self,
        undo: &LogicalUndo<'_>,
        scope: &mut dyn UndoScope,
    ) -> Result<(), EngineError> {
        if self.offline.contains(&undo.page) {
            return Err(wal_recovery::RecoveryError::PageOffline { page: undo.page }.into());
        }
        let lsn = scope.compensate(undo.page, undo.operation, undo.undo)?;
        let redo = LogicalRedo { page: undo.page, operation: undo.operation, redo: undo.undo };
        self.redo_logical(&redo, lsn)
    }

    fn in_doubt(&mut self, txn: &InDoubt<'_>) -> Result<Decision, EngineError> {
        self.doubts.push((txn.global_id.to_vec(), txn.locks.to_vec()));
        Ok(self.decision.unwrap_or(Decision::Wait))
    }

    fn split(&mut self, workers: usize) -> Option<Vec<Box<dyn PageStore + Send + '_>>> {
        self.parts?;
        let shared = Arc::new(Mutex::new(self));
        let part = |_| Box::new(Part(Arc::clone(&shared))) as Box<dyn PageStore + Send + '_>;
        Some((0..workers).map(part).collect())
    }
}

/// A handle on the pages of a split engine.
struct Part<'t>(Arc<Mutex<&'t mut Toy>>);

impl PageStore for Part<'_> {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).page_state(page)
    }

    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        let mut toy = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        toy.write(page, offset, bytes, lsn)
    }

    fn write_image(&mut self, page: PageId, image: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        let mut toy = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        toy.write_image(page, image, lsn)
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).mark_dirty(page)
    }

    fn redo_logical(&mut self, redo: &LogicalRedo<'_>, lsn: Lsn) -> Result<(), EngineError> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).redo_logical(redo, lsn)
    }
}
