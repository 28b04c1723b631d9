//! The tree: from the root to a leaf, and one change there.
//!
//! ```text
//! page 0      what the file is
//! page 1      the root, always
//! pages 2 …   allocation maps at equal distances; all others are nodes, or free
//! ```
//!
//! **Latches.** Whoever goes down the tree holds the tree latch, shared; whoever changes its shape
//! holds it exclusively. So inner nodes do not change on the way down, and one page at a time is
//! latched: no coupling, no latch deadlock. The price: one split at a time, and nobody reads
//! meanwhile. A change of an entry holds the leaf's latch from before its record is logged until
//! the change is applied (a14, a21).

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::RwLock;
use wal_format::PageId;

use crate::changes::Changes;
use crate::error::Error;
use crate::locks::{KeyRange, Locks};
use crate::node::{self, Node};
use crate::ops::Op;
use crate::page::PageFault;
use crate::pool::{Cell, Frame, Pool};

/// Where every search starts.
pub(crate) const ROOT: PageId = PageId::new(1);

/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// What to do with an entry, if anything.
pub(crate) type Planned<'a> = Result<Option<Op<'a>>, Error>;

/// Everything that threads share.
#[derive(Debug)]
pub(crate) struct Core {
    /// The pages.
    pub(crate) pool: Pool,
    /// Shared by searches, exclusive for changes of shape.
    pub(crate) latch: RwLock<()>,
    /// Who may see and change what.
    pub(crate) locks: Locks,
    /// No page below this is free; a hint, changed under the exclusive latch.
    pub(crate) free_from: AtomicU64,
}

/// What a change of an entry left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The value that the key had.
    pub(crate) old: Option<Vec<u8>>,
    /// The leaf, if it was changed.
    pub(crate) leaf: Option<PageId>,
    /// It has no entry any more, and is not the root.
    pub(crate) emptied: bool,
}

impl Core {
    pub(crate) fn new(pool: Pool) -> Self {
        let (latch, locks, free_from) = (RwLock::new(()), Locks::default(), AtomicU64::new(0));
        Self { pool, latch, locks, free_from }
    }

    /// Refuses entries that no node could be split for.
    pub(crate) fn check_size(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let page_bytes = self.pool.page_bytes();
        let key_bytes_max = node::key_bytes_max(page_bytes);
        let entry_bytes_max = node::entry_bytes_max(page_bytes);
        let (key_bytes, value_bytes) = (key.len(), value.len());
        let fits = (1..=key_bytes_max).contains(&key_bytes)
            && key_bytes.saturating_add(value_bytes) <= entry_bytes_max;
        let error = Error::TooLarge { key_bytes, value_bytes, key_bytes_max, entry_bytes_max };
        if fits { Ok(()) } else { Err(error) }
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let _tree = self.latch.read();
        let (leaf, _) = self.leaf_of(key)?;
        let cell = leaf.read();
        let value = Node::of(cell.page(leaf.id)?).get(key);
        Ok(value.map_err(|fault| Error::page(leaf.id, fault))?.map(<[u8]>::to_vec))
    }

    /// The entries of `range`, in order of their keys.
    pub(crate) fn scan(&self, range: &KeyRange) -> Result<Vec<Pair>, Error> {
        let mut found = Vec::new();
        let mut from = match &range.0 {
            Bound::Included(key) | Bound::Excluded(key) => key.clone(),
            Bound::Unbounded => Vec::new(),
        };
        loop {
            let _tree = self.latch.read();
            let (leaf, fence) = self.leaf_of(&from)?;
            let cell = leaf.read();
            let entries = Node::of(cell.page(leaf.id)?).entries();
            for entry in entries.map_err(|fault| Error::page(leaf.id, fault))? {
                if is_beyond(&range.1, &entry.key) {
                    return Ok(found);
                }
                // What was met before the latch was given up in between is not met again.
                if entry.key >= from
                    && !matches!(&range.0, Bound::Excluded(low) if *low == entry.key)
                {
                    found.push((entry.key, entry.value));
                }
            }
            match fence {
                Some(fence) if !is_beyond(&range.1, &fence) => from = fence,
                _ => return Ok(found),
            }
        }
    }

    /// Changes the entry of `key` as `plan` says, which is given its value, and may say nothing or
    /// refuse. Splits nodes as far as that takes.
    pub(crate) fn change<'a>(
        &self,
        key: &[u8],
        log: &mut dyn Changes,
        plan: &mut dyn FnMut(Option<&[u8]>) -> Planned<'a>,
    ) -> Result<Changed, Error> {
        loop {
            let op = {
                let _tree = self.latch.read();
                let (leaf, _) = self.leaf_of(key)?;
                match self.change_leaf(&leaf, key, log, plan)? {
                    Attempt::Done(changed) => return Ok(changed),
                    Attempt::NoRoom(op) => op,
                }
            };
            self.grow(key, op, log)?;
        }
    }

    fn change_leaf<'a>(
        &self,
        leaf: &Frame,
        key: &[u8],
        log: &mut dyn Changes,
        plan: &mut dyn FnMut(Option<&[u8]>) -> Planned<'a>,
    ) -> Result<Attempt<'a>, Error> {
        let id = leaf.id;
        let damaged = |fault| Error::page(id, fault);
        let mut cell = leaf.write();
        let node = Node::of(cell.page(id)?);
        let old = node.get(key).map_err(damaged)?.map(<[u8]>::to_vec);
        let Some(op) = plan(old.as_deref())? else {
            return Ok(Attempt::Done(Changed { old, ..Changed::default() }));
        };
        if !op.fits(node).map_err(damaged)? {
            return Ok(Attempt::NoRoom(op));
        }
        self.pool.before_change(id, &mut cell)?;
        // On a copy, so that nothing can go wrong once it is logged.
        let mut page = cell.page(id)?.clone();
        op.apply(&mut page).map_err(damaged)?;
        let emptied = id != ROOT && Node::of(&page).count() == 0;
        let lsn = log.log_entry(id, op, old.as_deref().unwrap_or_default())?;
        cell.replace(page, lsn);
        Ok(Attempt::Done(Changed { old, leaf: Some(id), emptied }))
    }

    /// What `frame` holds, as a node. One that the tree leads to was made with an image of it: it
    /// is no page to which nothing was ever applied.
    pub(crate) fn node<'c>(&self, id: PageId, cell: &'c Cell) -> Result<Node<'c>, Error> {
        let page = cell.page(id)?;
        let missing = id != ROOT && page.lsn().is_none();
        if missing { Err(Error::page(id, PageFault::Missing)) } else { Ok(Node::of(page)) }
    }

    /// The leaf whose keys `key` is among, and the first key that is not among them any more. The
    /// caller holds the latch of the tree.
    fn leaf_of(&self, key: &[u8]) -> Result<(Arc<Frame>, Option<Vec<u8>>), Error> {
        let (mut frame, mut fence) = (self.pool.fetch(ROOT)?, None);
        let mut above = None;
        loop {
            let id = frame.id;
            let damaged = |fault| Error::page(id, fault);
            let cell = frame.read();
            let node = self.node(id, &cell)?;
            // Levels fall by one: damaged pages cannot make a circle.
            if above.is_some_and(|above| node.level() + 1 != above) {
                return Err(damaged(PageFault::Damaged));
            }
            if node.level() == 0 {
                drop(cell);
                return Ok((frame, fence));
            }
            let (place, child) = node.child_of(key).map_err(damaged)?;
            if place < node.count() {
                fence = Some(node.entry(place).map_err(damaged)?.0.to_vec());
            }
            above = Some(node.level());
            // No page is fetched under a latch.
            drop(cell);
            frame = self.pool.fetch(child)?;
        }
    }

    /// The pages from the root to the leaf of `key`, with the place of each in its parent.
    pub(crate) fn path_to(&self, key: &[u8]) -> Result<Vec<(Arc<Frame>, usize)>, Error> {
        let mut path = vec![(self.pool.fetch(ROOT)?, 0)];
        loop {
            let Some((frame, _)) = path.last() else { return Ok(path) };
            let (place, child) = {
                let cell = frame.read();
                let node = self.node(frame.id, &cell)?;
                if usize::from(node.level()) == 0 {
                    break;
                }
                node.child_of(key).map_err(|fault| Error::page(frame.id, fault))?
            };
            if path.len() > usize::from(u16::MAX) {
                return Err(Error::page(child, PageFault::Damaged));
            }
            path.push((self.pool.fetch(child)?, place));
        }
        Ok(path)
    }
}

enum Attempt<'a> {
    Done(Changed),
    NoRoom(Op<'a>),
}

fn is_beyond(bound: &Bound<Vec<u8>>, key: &[u8]) -> bool {
    match bound {
        Bound::Included(last) => key > last.as_slice(),
        Bound::Excluded(end) => key >= end.as_slice(),
        Bound::Unbounded => false,
    }
}
