//! The dirty-page table: pages whose newest bytes may be in memory only, and since when.
//!
//! A page enters with the record that makes it dirty, under the lock which gives addresses, so
//! that its recLSN is the address of that very record. It leaves only on evidence that it was
//! written, or freed. Plain data: no lock, no log.
//!
//! Source: ARIES, "Dirty pages table"; statements 14, 18, 24.

use std::collections::BTreeMap;
use std::ops::Bound;

use wal_format::body::DirtyPage;
use wal_format::{Lsn, PageId};

/// Addresses of one dirty page. Each is the address of a record: redo may start there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dirt {
    /// The record which made it dirty.
    rec_lsn: Lsn,
    /// The last record that changed it.
    last_lsn: Lsn,
    /// The page LSN with which it is being written.
    writing: Option<Lsn>,
    /// The first record that changed it since that write began.
    since: Option<Lsn>,
}

impl Dirt {
    const fn new(lsn: Lsn) -> Self {
        Self { rec_lsn: lsn, last_lsn: lsn, writing: None, since: None }
    }
}

/// Pages that may differ from what storage holds; more than those, perhaps, but never fewer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirtyPageTable {
    pages: BTreeMap<PageId, Dirt>,
}

impl DirtyPageTable {
    /// The record at `lsn` changed `page`: a clean one becomes dirty there.
    pub fn changed(&mut self, page: PageId, lsn: Lsn) {
        let dirt = self.pages.entry(page).or_insert(Dirt::new(lsn));
        dirt.last_lsn = dirt.last_lsn.max(lsn);
        if dirt.writing.is_some_and(|written| written < lsn) {
            dirt.since = dirt.since.or(Some(lsn));
        }
    }

    /// The page is dirty since `rec_lsn`, or since longer.
    pub fn merge(&mut self, page: PageId, rec_lsn: Lsn) {
        let dirt = self.pages.entry(page).or_insert(Dirt::new(rec_lsn));
        dirt.rec_lsn = dirt.rec_lsn.min(rec_lsn);
        dirt.last_lsn = dirt.last_lsn.max(rec_lsn);
    }

    /// Redo met a change of the page at `lsn`, which memory holds from then on: that the page was
    /// written as of an older one, in the middle of redo, is no evidence that it is clean.
    pub fn redone(&mut self, page: PageId, lsn: Lsn) {
        if let Some(dirt) = self.pages.get_mut(&page) {
            dirt.last_lsn = dirt.last_lsn.max(lsn);
        }
    }

    /// The page is about to be written as of `page_lsn`. What changes it from now on is told apart
    /// from what storage will hold, if nothing changed it in between.
    pub fn writing(&mut self, page: PageId, page_lsn: Lsn) {
        if let Some(dirt) = self.pages.get_mut(&page).filter(|dirt| dirt.last_lsn <= page_lsn) {
            (dirt.writing, dirt.since) = (Some(page_lsn), None);
        }
    }

    /// Storage durably holds the page as of `page_lsn`. It is clean, unless it changed since: then
    /// it is dirty since the first such change, if that is known, and since as long as before if
    /// it is not.
    pub fn written(&mut self, page: PageId, page_lsn: Lsn) {
        let Some(dirt) = self.pages.get_mut(&page) else { return };
        if dirt.last_lsn <= page_lsn {
            self.pages.remove(&page);
        } else if dirt.writing.is_some_and(|written| written <= page_lsn) {
            dirt.rec_lsn = dirt.since.map_or(dirt.rec_lsn, |since| since.max(dirt.rec_lsn));
            (dirt.writing, dirt.since) = (None, None);
        }
    }

    /// The page's life is over: nothing older applies to its next one.
    pub fn freed(&mut self, page: PageId) {
        self.pages.remove(&page);
    }

    /// Since when the page is dirty.
    #[must_use]
    pub fn rec_lsn(&self, page: PageId) -> Option<Lsn> {
        self.pages.get(&page).map(|dirt| dirt.rec_lsn)
    }

    /// The last record that changed the page, as far as is known, while it is dirty.
    #[must_use]
    pub fn last_lsn(&self, page: PageId) -> Option<Lsn> {
        self.pages.get(&page).map(|dirt| dirt.last_lsn)
    }

    /// The lowest recLSN: redo starts there.
    #[must_use]
    pub fn oldest(&self) -> Option<Lsn> {
        self.pages.values().map(|dirt| dirt.rec_lsn).min()
    }

    /// All entries, in order of their pages.
    pub fn iter(&self) -> impl Iterator<Item = DirtyPage> {
        self.pages.iter().map(|(page, dirt)| DirtyPage { page: *page, rec_lsn: dirt.rec_lsn })
    }

    /// Up to `count` entries behind `after`, or from the first page on, for a copy in steps.
    #[must_use]
    pub fn chunk_after(&self, after: Option<PageId>, count: usize) -> Vec<DirtyPage> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entry =
            |(page, dirt): (&PageId, &Dirt)| DirtyPage { page: *page, rec_lsn: dirt.rec_lsn };
        self.pages.range((from, Bound::Unbounded)).take(count).map(entry).collect()
    }

    /// The highest page.
    #[must_use]
    pub fn last_page(&self) -> Option<PageId> {
        self.pages.last_key_value().map(|(page, _)| *page)
    }

    /// How many pages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether every page is clean.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: PageId = PageId::new(7);

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    #[test]
    fn a14_rec_lsn_is_the_change_that_made_the_clean_page_dirty() {
        let mut table = DirtyPageTable::default();
        table.changed(PAGE, lsn(80));
        table.changed(PAGE, lsn(160));
        assert_eq!(table.rec_lsn(PAGE), Some(lsn(80)), "not the last change");
        table.written(PAGE, lsn(160));
        assert!(table.is_empty());
        table.changed(PAGE, lsn(240));
        assert_eq!(table.rec_lsn(PAGE), Some(lsn(240)), "not the first time it was ever dirty");
    }

    #[test]
    fn a18_a_page_that_changed_while_it_was_written_stays_dirty() {
        let mut table = DirtyPageTable::default();
        table.changed(PAGE, lsn(80));
        table.writing(PAGE, lsn(80));
        table.changed(PAGE, lsn(160));
        table.changed(PAGE, lsn(240));
        table.written(PAGE, lsn(80));
        assert_eq!(table.rec_lsn(PAGE), Some(lsn(160)), "the first change that was not written");
        table.written(PAGE, lsn(240));
        assert!(table.is_empty());
    }

    #[test]
    fn a18_a_write_of_which_nothing_was_said_before_leaves_the_page_as_dirty_as_it_was() {
        let mut table = DirtyPageTable::default();
        table.changed(PAGE, lsn(80));
        table.changed(PAGE, lsn(160));
        table.writing(PAGE, lsn(80));
        table.written(PAGE, lsn(80));
        assert_eq!(table.rec_lsn(PAGE), Some(lsn(80)));
    }

    #[test]
    fn a_copy_in_steps_meets_every_page() {
        let mut table = DirtyPageTable::default();
        (0..10).for_each(|page| table.changed(PageId::new(page), lsn(80 + 8 * page)));
        let (mut copied, mut after) = (Vec::new(), None);
        loop {
            let chunk = table.chunk_after(after, 3);
            let Some(last) = chunk.last() else { break };
            after = Some(last.page);
            copied.extend(chunk);
        }
        assert_eq!(copied, table.iter().collect::<Vec<_>>());
    }
}
