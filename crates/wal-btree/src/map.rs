//! Which pages are in use: one bit each, in maps that lie among the pages they tell of.
//!
//! A bit is changed only within the nested top action that links the page into the tree, or takes it
//! out: so a page is in use exactly as long as the tree leads to it, whatever the crash.
//!
//! A page that is freed is forgotten by the pool first, and then by the log (`PAGE_FREE`): nothing
//! older than that is ever applied to its next life, which begins with an image (a24).

use std::sync::atomic::Ordering;

use wal_format::PageId;

use crate::changes::Changes;
use crate::error::Error;
use crate::page::{Page, PageFault, differences};
use crate::tree::{Core, ROOT};

/// Where the bits begin in a map.
const BITS: usize = 32;
/// The first map; the root and what lies before it need none.
const FIRST_MAP: u64 = 2;

/// Where a page's bit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    map: PageId,
    byte: usize,
    mask: u8,
}

/// Pages that one map tells of, itself included.
pub(crate) const fn pages_of_map(page_bytes: usize) -> u64 {
    (page_bytes - BITS) as u64 * 8
}

/// Whether no node can be there.
pub(crate) const fn is_fixed(id: PageId, page_bytes: usize) -> bool {
    id.get() < FIRST_MAP || id.get() % pages_of_map(page_bytes) == FIRST_MAP
}

fn place_of(id: PageId, page_bytes: usize) -> Place {
    let pages = pages_of_map(page_bytes);
    let bit = (id.get() % pages) as usize;
    let map = PageId::new(id.get() / pages * pages + FIRST_MAP);
    Place { map, byte: BITS + bit / 8, mask: 1 << (bit % 8) }
}

impl Core {
    /// Takes a free page. Only within a nested top action, under the exclusive latch of the tree.
    pub(crate) fn allocate(&self, log: &mut dyn Changes) -> Result<PageId, Error> {
        // The latch orders all accesses.
        let mut next = self.free_from.load(Ordering::Relaxed);
        loop {
            let found = self.free_in_map(PageId::new(next))?;
            if let Some(id) = found {
                self.set_bit(id, true, log)?;
                self.free_from.store(id.get() + 1, Ordering::Relaxed);
                return Ok(id);
            }
            let pages = pages_of_map(self.pool.page_bytes());
            let map = next / pages + 1;
            next = map.checked_mul(pages).ok_or(Error::page(PageId::NONE, PageFault::Damaged))?;
        }
    }

    /// Gives a page back, as [`allocate`](Self::allocate) takes one.
    pub(crate) fn deallocate(&self, id: PageId, log: &mut dyn Changes) -> Result<(), Error> {
        self.set_bit(id, false, log)?;
        self.free_from.fetch_min(id.get(), Ordering::Relaxed);
        Ok(())
    }

    /// The first free page from `from` on among those of the same map.
    fn free_in_map(&self, from: PageId) -> Result<Option<PageId>, Error> {
        let page_bytes = self.pool.page_bytes();
        let map = place_of(from, page_bytes).map;
        self.check_begun(map, map)?;
        let frame = self.pool.fetch(map)?;
        let cell = frame.read();
        let page = cell.page(map)?;
        let end = map.get() - FIRST_MAP + pages_of_map(page_bytes);
        let free = |id: &PageId| !is_fixed(*id, page_bytes) && !is_set(page, *id, page_bytes);
        Ok((from.get()..end).map(PageId::new).find(free))
    }

    /// Refuses a root to which nothing was ever applied, while there are nodes below it. A map
    /// that is missing is noticed when a page is to be taken.
    ///
    /// # Errors
    ///
    /// [`PageFault::Missing`].
    pub(crate) fn check_root(&self) -> Result<(), Error> {
        self.check_begun(ROOT, PageId::new(FIRST_MAP))
    }

    /// `id` holds something, or else so does not the node that is made first of those which `map`
    /// tells of: that one reaches the file after what it needs is in the log.
    fn check_begun(&self, id: PageId, map: PageId) -> Result<(), Error> {
        let holds_nothing = |id| -> Result<bool, Error> {
            let frame = self.pool.fetch(id)?;
            let cell = frame.read();
            // A torn one holds something.
            Ok(cell.page(id).is_ok_and(|page| page.lsn().is_none()))
        };
        let first_node = PageId::new(map.get() + 1);
        if holds_nothing(id)? && !holds_nothing(first_node)? {
            return Err(Error::page(id, PageFault::Missing));
        }
        Ok(())
    }

    /// The pages in use that the map with `id` among its pages tells of; none if there is no map.
    pub(crate) fn allocated_near(&self, id: PageId) -> Result<Vec<PageId>, Error> {
        let page_bytes = self.pool.page_bytes();
        let map = place_of(id, page_bytes).map;
        let frame = self.pool.fetch(map)?;
        let cell = frame.read();
        let page = cell.page(map)?;
        let first = map.get() - FIRST_MAP;
        let all = (first..first + pages_of_map(page_bytes)).map(PageId::new);
        Ok(all.filter(|id| is_set(page, *id, page_bytes)).collect())
    }

    fn set_bit(&self, id: PageId, set: bool, log: &mut dyn Changes) -> Result<(), Error> {
        let place = place_of(id, self.pool.page_bytes());
        let damaged = Error::page(place.map, PageFault::Damaged);
        let frame = self.pool.fetch(place.map)?;
        let mut page = frame.read().page(place.map)?.clone();
        let byte = page.bytes_mut().get_mut(place.byte).ok_or(damaged)?;
        if (*byte & place.mask != 0) == set {
            return Err(Error::page(place.map, PageFault::Damaged));
        }
        *byte ^= place.mask;
        self.rewrite(place.map, page, log)
    }

    /// Makes `page` the contents of page `id`, and logs where they differ from what they were.
    /// Only within a nested top action, under the exclusive latch of the tree.
    pub(crate) fn rewrite(
        &self,
        id: PageId,
        page: Page,
        log: &mut dyn Changes,
    ) -> Result<(), Error> {
        let frame = self.pool.fetch(id)?;
        let mut cell = frame.write();
        self.pool.before_change(id, &mut cell)?;
        let old = cell.page(id)?.clone();
        for change in differences(&old, &page) {
            let mut changed = cell.page(id)?.clone();
            changed.put(change.offset, change.after).map_err(|fault| Error::page(id, fault))?;
            let lsn = log.log_bytes(id, &change)?;
            cell.replace(changed, lsn);
        }
        Ok(())
    }
}

fn is_set(map: &Page, id: PageId, page_bytes: usize) -> bool {
    let place = place_of(id, page_bytes);
    map.bytes().get(place.byte).is_some_and(|byte| byte & place.mask != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_bit_of_its_own_in_the_map_before_it() {
        let pages = pages_of_map(512);
        let mut seen = std::collections::BTreeSet::new();
        for id in 0..3 * pages {
            let place = place_of(PageId::new(id), 512);
            assert!(place.byte < 512 && seen.insert((place.map, place.byte, place.mask)), "{id}");
            assert!(is_fixed(place.map, 512));
            assert_eq!(place.map.get() / pages, id / pages);
        }
    }

    #[test]
    fn maps_and_what_stands_before_the_first_are_never_nodes() {
        let pages = pages_of_map(512);
        let fixed: Vec<u64> = (0..2 * pages).filter(|id| is_fixed(PageId::new(*id), 512)).collect();
        assert_eq!(fixed, [0, 1, 2, pages + 2]);
    }
}
