//! Changes of the tree's shape: splits, and the removal of leaves that have become empty.
//!
//! Each is a nested top action under the exclusive latch of the tree (a07): a crash before its end
//! takes it back byte by byte, a crash after it keeps it, and a rollback passes it by. Since nobody
//! else logs anything for the tree meanwhile, its records are the newest of all: restart, which undoes
//! all losers together and the newest record first (a28), takes a half-done one back before any entry.
//!
//! New pages begin with an image, which is redo-only: when the action is taken back, they are free
//! pages with some bytes in them.
//!
//! Simplified: nodes are never merged, only removed when empty; a rollback leaves empty leaves to
//! the next delete that meets them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wal_format::PageId;

use crate::changes::Changes;
use crate::error::Error;
use crate::node::{self, Entry, Halves, Node};
use crate::ops::Op;
use crate::page::{Page, PageFault};
use crate::pool::Frame;
use crate::tree::{Core, ROOT};

impl Core {
    /// Splits nodes until the leaf of `key` has room for `op`.
    pub(crate) fn grow(&self, key: &[u8], op: Op<'_>, log: &mut dyn Changes) -> Result<(), Error> {
        let _tree = self.latch.write();
        loop {
            let path = self.path_to(key)?;
            let Some((leaf, _)) = path.last() else { return Ok(()) };
            let fits = op.fits(Node::of(leaf.read().page(leaf.id)?));
            if fits.map_err(|fault| Error::page(leaf.id, fault))? {
                return Ok(());
            }
            // The highest node that must be split for it: its parent has room for one more child.
            let mut at = path.len() - 1;
            while let Some((parent, _)) = at.checked_sub(1).and_then(|above| path.get(above)) {
                if Node::of(parent.read().page(parent.id)?).fits_any_child() {
                    break;
                }
                at -= 1;
            }
            let parent = at.checked_sub(1).and_then(|above| path.get(above));
            let (Some((split, _)), parent) = (path.get(at), parent.map(|(frame, _)| frame)) else {
                return Ok(());
            };
            self.nested(log, &mut |log| match parent {
                Some(parent) => self.split_node(parent, split, log),
                None => self.split_root(split, log),
            })?;
        }
    }

    /// A nested top action; after a failed one, pages it had taken are free again.
    fn nested(
        &self,
        log: &mut dyn Changes,
        action: &mut dyn FnMut(&mut dyn Changes) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let outcome = log.nested(action);
        if outcome.is_err() {
            self.free_from.store(0, Ordering::Relaxed);
        }
        outcome
    }

    /// Moves the upper half of a node into a new one beside it.
    fn split_node(
        &self,
        parent: &Arc<Frame>,
        node: &Arc<Frame>,
        log: &mut dyn Changes,
    ) -> Result<(), Error> {
        let damaged = |fault| Error::page(node.id, fault);
        let old = node.read().page(node.id)?.clone();
        let Halves { left, separator, leftmost, right } =
            node::halves(Node::of(&old)).map_err(damaged)?;
        let level = Node::of(&old).level();
        let new = self.new_node(level, leftmost, &right, log)?;
        let mut page = old.clone();
        node::fill(&mut page, level, Node::of(&old).leftmost(), &left).map_err(damaged)?;
        self.rewrite(node.id, page, log)?;
        let mut page = parent.read().page(parent.id)?.clone();
        let Entry { key, value } = Entry::separator(separator, new);
        node::insert(&mut page, &key, &value).map_err(|fault| Error::page(parent.id, fault))?;
        self.rewrite(parent.id, page, log)
    }

    /// Moves everything in the root into two new nodes below it: the root stays where it is.
    fn split_root(&self, root: &Arc<Frame>, log: &mut dyn Changes) -> Result<(), Error> {
        let damaged = |fault| Error::page(root.id, fault);
        let old = root.read().page(root.id)?.clone();
        let Halves { left, separator, leftmost, right } =
            node::halves(Node::of(&old)).map_err(damaged)?;
        let level = Node::of(&old).level();
        let low = self.new_node(level, Node::of(&old).leftmost(), &left, log)?;
        let high = self.new_node(level, leftmost, &right, log)?;
        let above = level.checked_add(1).ok_or(damaged(PageFault::Damaged))?;
        let mut page = old.clone();
        node::fill(&mut page, above, low, &[Entry::separator(separator, high)]).map_err(damaged)?;
        self.rewrite(root.id, page, log)
    }

    fn new_node(
        &self,
        level: u16,
        leftmost: PageId,
        entries: &[Entry],
        log: &mut dyn Changes,
    ) -> Result<PageId, Error> {
        let id = self.allocate(log)?;
        let mut page = Page::zeroed(self.pool.page_bytes());
        node::fill(&mut page, level, leftmost, entries).map_err(|fault| Error::page(id, fault))?;
        self.pool.create(id, page, &mut |page| log.log_new(&self.pool, id, page))?;
        Ok(id)
    }

    /// Takes the leaf of `key` out of the tree if it is empty, and gives its page back; `free` logs
    /// the end of a page's life.
    pub(crate) fn shrink(
        &self,
        key: &[u8],
        log: &mut dyn Changes,
        free: &dyn Fn(PageId) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let _tree = self.latch.write();
        let path = self.path_to(key)?;
        let Some((leaf, _)) = path.last().filter(|(leaf, _)| leaf.id != ROOT) else {
            return Ok(());
        };
        if Node::of(leaf.read().page(leaf.id)?).count() > 0 {
            return Ok(());
        }
        // The highest node below which there is nothing but this leaf.
        let mut at = path.len() - 1;
        while let Some((parent, _)) = at.checked_sub(1).and_then(|above| path.get(above)) {
            if Node::of(parent.read().page(parent.id)?).count() > 0 || parent.id == ROOT {
                break;
            }
            at -= 1;
        }
        let (Some((parent, _)), Some((_, place))) = (path.get(at.saturating_sub(1)), path.get(at))
        else {
            return Ok(());
        };
        let page = without_child(parent, *place)?;
        let gone: Vec<PageId> = path.iter().skip(at.max(1)).map(|(frame, _)| frame.id).collect();
        self.replace_and_free(parent.id, &page, &gone, log, free)?;
        self.lower_root(log, free)
    }

    /// A root with a single child takes its place.
    fn lower_root(
        &self,
        log: &mut dyn Changes,
        free: &dyn Fn(PageId) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            let root = self.pool.fetch(ROOT)?;
            let mut page = root.read().page(ROOT)?.clone();
            let node = Node::of(&page);
            if node.level() == 0 || node.count() > 0 {
                return Ok(());
            }
            let child = self.pool.fetch(node.leftmost())?;
            let below = {
                let cell = child.read();
                self.node(child.id, &cell)?;
                cell.page(child.id)?.clone()
            };
            let damaged = |fault| Error::page(child.id, fault);
            let node = Node::of(&below);
            let entries = node.entries().map_err(damaged)?;
            node::fill(&mut page, node.level(), node.leftmost(), &entries).map_err(damaged)?;
            self.replace_and_free(ROOT, &page, &[child.id], log, free)?;
        }
    }

    fn replace_and_free(
        &self,
        id: PageId,
        page: &Page,
        gone: &[PageId],
        log: &mut dyn Changes,
        free: &dyn Fn(PageId) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.nested(log, &mut |log| {
            self.rewrite(id, page.clone(), log)?;
            gone.iter().try_for_each(|gone| self.deallocate(*gone, log))
        })?;
        // Behind the end of the action: were it taken back, their last changes would be needed.
        gone.iter().try_for_each(|gone| {
            self.pool.discard(*gone);
            free(*gone)
        })
    }
}

/// A node without one of its children; the root without its only one is an empty leaf.
fn without_child(node: &Arc<Frame>, place: usize) -> Result<Page, Error> {
    let damaged = |fault| Error::page(node.id, fault);
    let mut page = node.read().page(node.id)?.clone();
    let old = Node::of(&page);
    let (level, mut leftmost) = (old.level(), old.leftmost());
    let mut entries = old.entries().map_err(damaged)?;
    if entries.is_empty() {
        node::fill(&mut page, 0, PageId::NONE, &[]).map_err(damaged)?;
        return Ok(page);
    }
    if place == 0 {
        leftmost = old.child_at(1).map_err(damaged)?;
    }
    entries.remove(place.saturating_sub(1).min(entries.len() - 1));
    node::fill(&mut page, level, leftmost, &entries).map_err(damaged)?;
    Ok(page)
}
