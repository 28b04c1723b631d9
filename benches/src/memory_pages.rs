//! Pages in memory, for benchmarks of recovery: what is measured is the log, not an engine.

use wal::{EngineError, Lsn, PageId, PageState, PageStore};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// Pages 0 to some number, side by side in memory, as in a buffer pool.
#[derive(Clone, Debug)]
pub struct MemoryPages {
    lsns: Vec<Lsn>,
    images: Vec<[u8; PAGE_BYTES]>,
}

impl MemoryPages {
    /// So many pages of zeros.
    #[must_use]
    pub fn new(pages: usize) -> Self {
        // Memory that nobody has touched would come from the kernel within the measure.
        let mut images = vec![[1; PAGE_BYTES]; pages];
        images.iter_mut().for_each(|image| image.fill(0));
        Self { lsns: vec![Lsn::NONE; pages], images }
    }

    /// How many pages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lsns.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lsns.is_empty()
    }

    /// LSN and bytes of a page.
    ///
    /// # Errors
    ///
    /// There is no such page.
    pub fn get(&mut self, page: PageId) -> Result<(&mut Lsn, &mut [u8; PAGE_BYTES]), EngineError> {
        let index = usize::try_from(page.get())?;
        let missing = || format!("no page {page}");
        let lsn = self.lsns.get_mut(index).ok_or_else(missing)?;
        Ok((lsn, self.images.get_mut(index).ok_or_else(missing)?))
    }
}

impl PageStore for MemoryPages {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        Ok(PageState::At(*self.get(page)?.0))
    }

    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        let (page_lsn, image) = self.get(page)?;
        let start = offset as usize;
        let place = image.get_mut(start..start + bytes.len()).ok_or("beyond the page")?;
        place.copy_from_slice(bytes);
        *page_lsn = lsn;
        Ok(())
    }

    fn expect_change(&mut self, page: PageId, offset: u32, bytes: usize) {
        if let Ok((lsn, image)) = self.get(page) {
            std::hint::black_box(*lsn);
            look_at(image, offset as usize, bytes);
        }
    }

    fn mark_dirty(&mut self, _page: PageId) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Brings what is to be changed near: a look at each end is enough, the processor fetches what lies
/// between, and nothing waits for it.
pub fn look_at(image: &[u8], offset: usize, bytes: usize) {
    let last = offset + bytes.saturating_sub(1);
    std::hint::black_box((image.get(offset).copied(), image.get(last).copied()));
}
