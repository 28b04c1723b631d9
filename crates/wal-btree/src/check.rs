//! The whole tree, looked at: whether it is one, and what is in it.

use std::collections::BTreeSet;

use wal_format::PageId;

use crate::error::Error;
use crate::map::{is_fixed, pages_of_map};
use crate::node::{Entry, Node};
use crate::tree::{Core, Pair, ROOT};

/// The keys that may be below a node: from the first on, before the second.
type Fences<'a> = (&'a [u8], Option<&'a [u8]>);

struct Walk<'c> {
    core: &'c Core,
    reached: BTreeSet<PageId>,
    found: Vec<Pair>,
}

impl Core {
    /// Checks order, fences, levels, and that just the pages which the tree reaches are in use;
    /// gives all entries in order. Locks are not asked.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`] with the page and what is wrong with it.
    pub(crate) fn check(&self) -> Result<Vec<Pair>, Error> {
        let _tree = self.latch.write();
        let mut walk = Walk { core: self, reached: BTreeSet::new(), found: Vec::new() };
        walk.node(ROOT, None, (&[], None))?;
        let Walk { reached, found, .. } = walk;
        self.check_maps(&reached)?;
        Ok(found)
    }

    fn check_maps(&self, reached: &BTreeSet<PageId>) -> Result<(), Error> {
        let pages = pages_of_map(self.pool.page_bytes());
        let maps = reached.last().map_or(0, |last| last.get() / pages) + 2;
        let mut allocated = BTreeSet::new();
        for map in 0..maps {
            allocated.extend(self.allocated_near(PageId::new(map * pages))?);
        }
        let nodes: BTreeSet<_> = reached.iter().copied().filter(|id| *id != ROOT).collect();
        if let Some(page) = allocated.difference(&nodes).next() {
            return Err(Error::Broken { page: *page, what: "it is in use, and not in the tree" });
        }
        match nodes.difference(&allocated).next() {
            Some(page) => {
                Err(Error::Broken { page: *page, what: "it is in the tree, and counts as free" })
            }
            None => Ok(()),
        }
    }
}

impl Walk<'_> {
    fn node(
        &mut self,
        id: PageId,
        level: Option<u16>,
        (low, high): Fences<'_>,
    ) -> Result<(), Error> {
        let broken = |what| Error::Broken { page: id, what };
        if !self.reached.insert(id) {
            return Err(broken("it is in the tree twice"));
        }
        if id != ROOT && is_fixed(id, self.core.pool.page_bytes()) {
            return Err(broken("it cannot be a node"));
        }
        let frame = self.core.pool.fetch(id)?;
        // A copy: no latch is held while the children are looked at.
        let page = {
            let cell = frame.read();
            self.core.node(id, &cell)?;
            cell.page(id)?.clone()
        };
        drop(frame);
        let node = Node::of(&page);
        node.check().map_err(|fault| Error::page(id, fault))?;
        if level.is_some_and(|level| level != node.level()) {
            return Err(broken("its level is not one below its parent's"));
        }
        let entries = node.entries().map_err(|fault| Error::page(id, fault))?;
        let outside = |entry: &Entry| {
            entry.key.as_slice() < low || high.is_some_and(|high| *entry.key >= *high)
        };
        if entries.iter().any(outside) {
            return Err(broken("a key is not among those which its parent gives it"));
        }
        let Some(below) = node.level().checked_sub(1) else {
            self.found.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
            return Ok(());
        };
        for place in 0..=entries.len() {
            let child = node.child_at(place).map_err(|fault| Error::page(id, fault))?;
            let from = place.checked_sub(1).and_then(|at| entries.get(at));
            let to = entries.get(place).map(|entry| entry.key.as_slice());
            self.node(child, Some(below), (from.map_or(low, |entry| &entry.key), to.or(high)))?;
        }
        Ok(())
    }
}
