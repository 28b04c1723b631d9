//! A node of the tree: a page with slots in order of their keys, and cells behind them.
//!
//! ```text
//! | offset | size | field    |                                                        |
//! |-------:|-----:|----------|--------------------------------------------------------|
//! |     20 |    2 | level    | 0: a leaf                                              |
//! |     22 |    2 | count    | of slots                                               |
//! |     24 |    2 | heap     | where the lowest cell starts; 0: there is none         |
//! |     26 |    2 | dead     | bytes between cells that belong to none                |
//! |     28 |    4 | reserved | 0                                                      |
//! |     32 |    8 | leftmost | inner node: the child of keys below the first          |
//! |     40 |    … | slots    | two bytes each: where a cell starts                    |
//! |      … |    … | cells    | key bytes (2), value bytes (2), key, value             |
//! ```
//!
//! The value of a cell of an inner node is the page (8 bytes) of the keys from its key on. A page of
//! zeros is an empty leaf. All of it depends on the bytes before and the change alone: redo of the
//! same changes gives the same bytes (a26). Nothing read from a page is trusted.

use wal_format::PageId;

use crate::page::{Page, PageFault};

const LEVEL: usize = 20;
const COUNT: usize = 22;
const HEAP: usize = 24;
const DEAD: usize = 26;
const LEFTMOST: usize = 32;
const SLOTS: usize = 40;
const SLOT_BYTES: usize = 2;
const CELL_HEAD_BYTES: usize = 4;
/// The value of a cell of an inner node: a page.
const CHILD_BYTES: usize = 8;

/// A node holds this many entries at least, so that each half of a split has room for one more.
const ENTRIES_MIN: usize = 4;

/// The most bytes that key and value of an entry may have together.
pub(crate) const fn entry_bytes_max(page_bytes: usize) -> usize {
    (page_bytes - SLOTS) / ENTRIES_MIN - SLOT_BYTES - CELL_HEAD_BYTES
}

/// The most bytes that a key may have: half of an entry, and room beside it for a child.
pub(crate) const fn key_bytes_max(page_bytes: usize) -> usize {
    entry_bytes_max(page_bytes) / 2
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Entry {
    /// An entry of an inner node: `child` holds the keys from `key` on.
    pub(crate) fn separator(key: Vec<u8>, child: PageId) -> Self {
        Self { key, value: child.get().to_le_bytes().to_vec() }
    }

    fn bytes(&self) -> usize {
        SLOT_BYTES + CELL_HEAD_BYTES + self.key.len() + self.value.len()
    }
}

/// Where a key is, or would be.
pub(crate) type Found = Result<usize, usize>;

/// A page seen as a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a>(&'a [u8]);

impl<'a> Node<'a> {
    pub(crate) fn of(page: &'a Page) -> Self {
        Self(page.bytes())
    }

    /// 0 for a leaf; a child is one lower than its parent.
    pub(crate) fn level(self) -> u16 {
        self.u16_at(LEVEL)
    }

    /// How many entries there are.
    pub(crate) fn count(self) -> usize {
        usize::from(self.u16_at(COUNT))
    }

    /// The child of keys below the first.
    pub(crate) fn leftmost(self) -> PageId {
        PageId::new(u64_of(self.0.get(LEFTMOST..).unwrap_or_default()).unwrap_or(u64::MAX))
    }

    /// Key and value of the entry at `index`.
    pub(crate) fn entry(self, index: usize) -> Result<(&'a [u8], &'a [u8]), PageFault> {
        let (at, key, value) = self.cell(index).ok_or(PageFault::Damaged)?;
        let cell = self.0.get(at + CELL_HEAD_BYTES..).ok_or(PageFault::Damaged)?;
        let key_bytes = cell.get(..key).ok_or(PageFault::Damaged)?;
        Ok((key_bytes, cell.get(key..key + value).ok_or(PageFault::Damaged)?))
    }

    /// All entries, copied.
    pub(crate) fn entries(self) -> Result<Vec<Entry>, PageFault> {
        let copy = |index| {
            let (key, value) = self.entry(index)?;
            Ok(Entry { key: key.to_vec(), value: value.to_vec() })
        };
        (0..self.count()).map(copy).collect()
    }

    /// Binary search.
    pub(crate) fn find(self, key: &[u8]) -> Result<Found, PageFault> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle)?.0.cmp(key) {
                std::cmp::Ordering::Equal => return Ok(Ok(middle)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(Err(low))
    }

    /// The value of `key`.
    pub(crate) fn get(self, key: &[u8]) -> Result<Option<&'a [u8]>, PageFault> {
        match self.find(key)? {
            Ok(index) => self.entry(index).map(|(_, value)| Some(value)),
            Err(_) => Ok(None),
        }
    }

    /// The child whose keys `key` is among, and its place: 0 for the leftmost, else 1 more than the
    /// index of its entry.
    pub(crate) fn child_of(self, key: &[u8]) -> Result<(usize, PageId), PageFault> {
        let place = match self.find(key)? {
            Ok(index) => index + 1,
            Err(index) => index,
        };
        Ok((place, self.child_at(place)?))
    }

    /// The child at a place, as [`child_of`](Self::child_of) counts them.
    pub(crate) fn child_at(self, place: usize) -> Result<PageId, PageFault> {
        let Some(index) = place.checked_sub(1) else { return Ok(self.leftmost()) };
        let (_, value) = self.entry(index)?;
        u64_of(value)
            .filter(|_| value.len() == CHILD_BYTES)
            .map(PageId::new)
            .ok_or(PageFault::Damaged)
    }

    /// Whether an entry with `key_bytes` and `value_bytes` more has room.
    pub(crate) fn fits(self, key_bytes: usize, value_bytes: usize) -> bool {
        self.free() >= SLOT_BYTES + CELL_HEAD_BYTES + key_bytes + value_bytes
    }

    /// Bytes that belong to nothing, wherever they are.
    pub(crate) fn free(self) -> usize {
        self.gap() + usize::from(self.u16_at(DEAD))
    }

    /// Whether an inner node has room for one more child, whatever its key.
    pub(crate) fn fits_any_child(self) -> bool {
        self.fits(key_bytes_max(self.0.len()), CHILD_BYTES)
    }

    /// Whether counts, slots and cells are what they can be, and the keys in order.
    pub(crate) fn check(self) -> Result<(), PageFault> {
        let mut last: Option<&[u8]> = None;
        let mut used = 0;
        for index in 0..self.count() {
            let (key, value) = self.entry(index)?;
            used += CELL_HEAD_BYTES + key.len() + value.len();
            if key.is_empty() || last.is_some_and(|last| last >= key) {
                return Err(PageFault::Damaged);
            }
            last = Some(key);
        }
        let told = self.0.len() - self.heap().min(self.0.len());
        let sound = used + usize::from(self.u16_at(DEAD)) == told
            && SLOTS + SLOT_BYTES * self.count() <= self.heap();
        sound.then_some(()).ok_or(PageFault::Damaged)
    }

    /// Start, key bytes and value bytes of a cell, all of it within the page.
    fn cell(self, index: usize) -> Option<(usize, usize, usize)> {
        let slot = SLOTS + SLOT_BYTES * index;
        let at = usize::from(self.u16_at(slot));
        let (key, value) = (usize::from(self.u16_at(at)), usize::from(self.u16_at(at + 2)));
        let whole = index < self.count()
            && at >= SLOTS + SLOT_BYTES * self.count()
            && at + CELL_HEAD_BYTES + key + value <= self.0.len();
        whole.then_some((at, key, value))
    }

    /// Where the lowest cell starts.
    fn heap(self) -> usize {
        match usize::from(self.u16_at(HEAP)) {
            0 => self.0.len(),
            heap => heap,
        }
    }

    /// Bytes between the slots and the cells.
    fn gap(self) -> usize {
        self.heap().saturating_sub(SLOTS + SLOT_BYTES * self.count())
    }

    fn u16_at(self, at: usize) -> u16 {
        let bytes = self.0.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }
}

fn u64_of(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Puts `value` under `key`, which is not there yet.
///
/// # Errors
///
/// [`PageFault::Damaged`]: there is no room, or an entry of that key.
pub(crate) fn insert(page: &mut Page, key: &[u8], value: &[u8]) -> Result<(), PageFault> {
    let node = Node::of(page);
    let Err(index) = node.find(key)? else { return Err(PageFault::Damaged) };
    if !node.fits(key.len(), value.len()) {
        return Err(PageFault::Damaged);
    }
    let cell_bytes = CELL_HEAD_BYTES + key.len() + value.len();
    if node.gap() < SLOT_BYTES + cell_bytes {
        compact(page)?;
    }
    let node = Node::of(page);
    let (count, at) = (node.count(), node.heap() - cell_bytes);
    let slot = SLOTS + SLOT_BYTES * index;
    let bytes = page.bytes_mut();
    bytes.copy_within(slot..SLOTS + SLOT_BYTES * count, slot + SLOT_BYTES);
    put_u16(bytes, slot, at)?;
    put_u16(bytes, at, key.len())?;
    put_u16(bytes, at + 2, value.len())?;
    put(bytes, at + CELL_HEAD_BYTES, key)?;
    put(bytes, at + CELL_HEAD_BYTES + key.len(), value)?;
    put_u16(bytes, COUNT, count + 1)?;
    put_u16(bytes, HEAP, at)
}

/// Takes the entry of `key` out.
///
/// # Errors
///
/// [`PageFault::Damaged`]: there is none.
pub(crate) fn remove(page: &mut Page, key: &[u8]) -> Result<(), PageFault> {
    let node = Node::of(page);
    let Ok(index) = node.find(key)? else { return Err(PageFault::Damaged) };
    let (at, key_bytes, value_bytes) = node.cell(index).ok_or(PageFault::Damaged)?;
    let (count, heap) = (node.count(), node.heap());
    let cell_bytes = CELL_HEAD_BYTES + key_bytes + value_bytes;
    let dead = usize::from(node.u16_at(DEAD));
    let slot = SLOTS + SLOT_BYTES * index;
    let bytes = page.bytes_mut();
    bytes.copy_within(slot + SLOT_BYTES..SLOTS + SLOT_BYTES * count, slot);
    put_u16(bytes, COUNT, count - 1)?;
    if count == 1 {
        put_u16(bytes, DEAD, 0)?;
        put_u16(bytes, HEAP, 0)
    } else if at == heap {
        put_u16(bytes, HEAP, heap + cell_bytes)
    } else {
        put_u16(bytes, DEAD, dead + cell_bytes)
    }
}

/// Makes `page` a node of these entries, whatever it was.
///
/// # Errors
///
/// [`PageFault::Damaged`]: they have no room.
pub(crate) fn fill(
    page: &mut Page,
    level: u16,
    leftmost: PageId,
    entries: &[Entry],
) -> Result<(), PageFault> {
    let bytes = page.bytes_mut();
    bytes.get_mut(crate::page::BODY..).ok_or(PageFault::Damaged)?.fill(0);
    put_u16(bytes, LEVEL, usize::from(level))?;
    if level > 0 {
        put(bytes, LEFTMOST, &leftmost.get().to_le_bytes())?;
    }
    entries.iter().try_for_each(|entry| insert(page, &entry.key, &entry.value))
}

/// Moves the cells together, in order of their keys.
fn compact(page: &mut Page) -> Result<(), PageFault> {
    let node = Node::of(page);
    let (level, leftmost, entries) = (node.level(), node.leftmost(), node.entries()?);
    fill(page, level, leftmost, &entries)
}

/// What a node is split into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Halves {
    /// Entries that stay.
    pub(crate) left: Vec<Entry>,
    /// The key from which on the right half holds everything.
    pub(crate) separator: Vec<u8>,
    /// The leftmost child of the right half, of an inner node.
    pub(crate) leftmost: PageId,
    /// Entries of the right half.
    pub(crate) right: Vec<Entry>,
}

/// Cuts a node in two. No half is larger than half a page and one entry, so that each has room
/// for one more.
///
/// # Errors
///
/// [`PageFault::Damaged`]: it has fewer than three entries; then it is not full.
pub(crate) fn halves(node: Node<'_>) -> Result<Halves, PageFault> {
    let mut left = node.entries()?;
    let total: usize = left.iter().map(Entry::bytes).sum();
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        bytes += entry.bytes();
        bytes <= total / 2
    };
    let at = left.iter().take_while(fits).count().max(1);
    if left.len() < 3 || at >= left.len() {
        return Err(PageFault::Damaged);
    }
    let mut right = left.split_off(at);
    let first = right.first().ok_or(PageFault::Damaged)?;
    let separator = first.key.clone();
    // The middle entry of an inner node moves up; its child begins the right half.
    let leftmost = if node.level() > 0 {
        let moved = right.remove(0);
        PageId::new(u64_of(&moved.value).ok_or(PageFault::Damaged)?)
    } else {
        PageId::NONE
    };
    Ok(Halves { left, separator, leftmost, right })
}

fn put_u16(bytes: &mut [u8], at: usize, value: usize) -> Result<(), PageFault> {
    let value = u16::try_from(value).map_err(|_| PageFault::Damaged)?;
    put(bytes, at, &value.to_le_bytes())
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Result<(), PageFault> {
    let target = bytes.get_mut(at..at + value.len()).ok_or(PageFault::Damaged)?;
    target.copy_from_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests;
