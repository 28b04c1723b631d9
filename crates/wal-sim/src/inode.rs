//! One file: what programs see, what the device holds, and what lies between the two.
//!
//! Knows neither names nor handles. `written` is the page cache; `durable` is the device. For each
//! sector that differs the versions written since are kept, because a device may have taken any of
//! them; the same for lengths. A version is *dirty* until a sync has tried to write it: a sync that
//! fails leaves it doubtful, which no later sync repairs (clause 6 of the contract). A *mark* is a
//! moment in the life of a file; a cache that lies makes a file durable up to an earlier mark.
//!
//! Invariants: a sector without a pending entry is the same in `written` and `durable`; `lens` is
//! empty when the two lengths agree and no cut lies between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::image::{Image, Sector};

/// Versions remembered for one sector; older ones in the middle are forgotten.
const VERSIONS_MAX: usize = 16;

/// A file, independent of its names.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    written: Image,
    durable: Image,
    pub(crate) sectors: BTreeMap<u64, Pending>,
    /// Lengths since the durable one, oldest first.
    pub(crate) lens: Vec<u64>,
    /// How many lengths became durable and left `lens`.
    lens_done: u64,
    len_dirty: bool,
    /// Versions written so far.
    writes: u64,
    /// Whether the device was ever told of this file.
    settled: bool,
    /// What the last durable write of a sector replaced.
    before: Arc<BTreeMap<u64, Sector>>,
    /// Sectors that the device can no longer read.
    unreadable: BTreeSet<u64>,
    /// Write-back errors so far, as Linux's `errseq_t` counts them.
    errors: u64,
    /// Whether any handle has reported the last of them.
    error_seen: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    pub(crate) versions: Vec<Version>,
    /// Whether the next sync will write the newest version.
    dirty: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) sector: Sector,
    /// Its number among all versions of all sectors of the file.
    pub(crate) number: u64,
    /// Set when the version came from a cut: the number of the length, from 1, that made it.
    pub(crate) cut_by: Option<usize>,
}

/// A moment in the life of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    writes: u64,
    lens: u64,
}

impl Inode {
    /// An empty file that the device knows nothing of.
    pub(crate) fn new(sector_bytes: usize) -> Self {
        let image = Image::new(sector_bytes);
        Self { settled: false, ..Self::settled(image) }
    }

    /// A file of which nothing is pending.
    pub(crate) fn settled(image: Image) -> Self {
        Self {
            written: image.clone(),
            durable: image,
            sectors: BTreeMap::new(),
            lens: Vec::new(),
            lens_done: 0,
            len_dirty: false,
            writes: 0,
            settled: true,
            before: Arc::default(),
            unreadable: BTreeSet::new(),
            errors: 0,
            error_seen: false,
        }
    }

    /// This file as a power cut left it: nothing is pending, decay stays.
    pub(crate) fn left_as(&self, image: Image) -> Self {
        let (before, unreadable) = (Arc::clone(&self.before), self.unreadable.clone());
        Self { before, unreadable, ..Self::settled(image) }
    }

    /// What programs read.
    pub(crate) fn written(&self) -> &Image {
        &self.written
    }

    /// What the device is sure to hold.
    pub(crate) fn durable(&self) -> &Image {
        &self.durable
    }

    /// What sector `index` held before the last durable write to it.
    pub(crate) fn before(&self, index: u64) -> Option<&Sector> {
        self.before.get(&index)
    }

    /// Whether a transfer meets a sector that cannot be read.
    pub(crate) fn has_unreadable(&self, offset: u64, count: usize) -> bool {
        !self.unreadable.is_empty()
            && count > 0
            && self.unreadable.range(self.span(offset, count)).next().is_some()
    }

    /// The sectors that cannot be read.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = u64> + '_ {
        self.unreadable.iter().copied()
    }

    /// Whether a power cut has no choice, and nothing is remembered that dies with the process.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled && self.sectors.is_empty() && self.lens.is_empty() && self.errors == 0
    }

    /// Whether the device was ever told of this file.
    pub(crate) fn is_known(&self) -> bool {
        self.settled
    }

    /// Makes a sector unreadable until it is written.
    pub(crate) fn spoil(&mut self, index: u64) {
        self.unreadable.insert(index);
    }

    /// Whether a write would have to read a sector first that cannot be read.
    pub(crate) fn refuses(&self, offset: u64, count: usize) -> bool {
        let size = self.written.sector_bytes();
        let torn = |piece: &crate::image::Piece| {
            piece.bytes < size && self.unreadable.contains(&piece.sector)
        };
        !self.unreadable.is_empty() && self.written.pieces(offset, count).any(|piece| torn(&piece))
    }

    fn span(&self, offset: u64, count: usize) -> std::ops::RangeInclusive<u64> {
        let size = self.written.sector_bytes() as u64;
        offset / size..=offset.saturating_add(count as u64 - 1) / size
    }

    // ---- Changes in the cache.

    /// Writes into the cache; the file grows as needed, but not for a write of no bytes.
    pub(crate) fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        if end > self.written.len() {
            self.set_len(end);
        }
        for piece in self.written.pieces(offset, bytes.len()) {
            let sector = self.written.changed(&piece, bytes);
            self.unreadable.remove(&piece.sector);
            self.put(piece.sector, sector, None);
        }
    }

    /// Changes the length in the cache.
    pub(crate) fn set_len(&mut self, len: u64) {
        if len == self.written.len() {
            return;
        }
        self.lens.push(len);
        self.len_dirty = true;
        if len < self.written.len() {
            self.cut(len);
        }
        self.written.set_len(len);
    }

    /// What a shorter length does to the sectors: they read as zeros if the file grows again.
    fn cut(&mut self, len: u64) {
        let number = self.lens.len();
        let (first, within) = self.written.sector_of(len);
        let stored = self.written.stored_from(first);
        let pending = self.sectors.range(first..).map(|(&index, _)| index);
        let touched: BTreeSet<u64> = stored.chain(pending).collect();
        for index in touched {
            let keep = if index == first { within } else { 0 };
            let sector = self.written.sector(index).cut(keep);
            self.put(index, sector, Some(number));
        }
    }

    fn put(&mut self, index: u64, sector: Sector, cut_by: Option<usize>) {
        self.written.set_sector(index, sector.clone());
        self.writes += 1;
        let pending = self.sectors.entry(index).or_default();
        pending.dirty = true;
        if pending.versions.len() == VERSIONS_MAX {
            // A cut is never forgotten: which versions are legal hangs on it.
            if let Some(oldest) = pending.versions.iter().position(|seen| seen.cut_by.is_none()) {
                pending.versions.remove(oldest);
            }
        }
        pending.versions.push(Version { sector, number: self.writes, cut_by });
    }

    // ---- Syncs.

    /// This moment.
    pub(crate) fn mark(&self) -> Mark {
        Mark { writes: self.writes, lens: self.lens_done + self.lens.len() as u64 }
    }

    /// Makes durable whatever was dirty at `mark` and still is.
    pub(crate) fn sync_to(&mut self, mark: Mark) {
        self.settled = true;
        let size = self.durable.sector_bytes() as u64;
        let beyond = |index: u64| (index + 1) * size > self.durable.len();
        let covered = |pending: &Pending| pending.dirty && pending.newest_at(mark).is_some();
        let grown = self.sectors.iter().any(|(&index, pending)| covered(pending) && beyond(index));
        if self.len_dirty || grown {
            self.sync_len(mark.lens);
        }
        let (durable, before) = (&mut self.durable, &mut self.before);
        self.sectors.retain(|&index, pending| {
            if let Some(at) = pending.newest_at(mark).filter(|_| pending.dirty)
                && let Some(newest) = pending.versions.drain(..=at).next_back()
            {
                replace(durable, before, index, newest.sector);
            }
            !pending.versions.is_empty()
        });
    }

    /// Makes durable the sectors of one write, and the length that holds them.
    pub(crate) fn sync_range(&mut self, offset: u64, count: usize) {
        self.settled = true;
        self.sync_len(self.mark().lens);
        for piece in self.written.pieces(offset, count) {
            let sector = self.written.sector(piece.sector);
            replace(&mut self.durable, &mut self.before, piece.sector, sector);
            self.sectors.remove(&piece.sector);
        }
    }

    /// Makes the length of a moment durable, and with it every cut on the way there.
    fn sync_len(&mut self, lens: u64) {
        let lens = usize::try_from(lens.saturating_sub(self.lens_done)).unwrap_or(usize::MAX);
        let lens = lens.min(self.lens.len());
        let (durable, before) = (&mut self.durable, &mut self.before);
        self.sectors.retain(|&index, pending| {
            if let Some(at) = pending.floor(lens)
                && let Some(cut) = pending.versions.drain(..=at).next_back()
            {
                replace(durable, before, index, cut.sector);
            }
            for version in &mut pending.versions {
                version.cut_by = version.cut_by.map(|cut| cut.saturating_sub(lens));
            }
            !pending.versions.is_empty()
        });
        let last = self.lens.drain(..lens).next_back();
        self.lens_done += lens as u64;
        if self.lens.is_empty() {
            self.len_dirty = false;
            self.durable.set_len(self.written.len());
        } else if let Some(len) = last {
            self.durable.set_len(len);
        }
    }

    /// Write-back of everything dirty fails: the cache calls it clean, the device may lack it.
    pub(crate) fn fail_writeback(&mut self) {
        for pending in self.sectors.values_mut() {
            pending.dirty = false;
        }
        self.len_dirty = false;
        self.errors += 1;
        self.error_seen = false;
    }

    /// The error count a new handle starts from: an error nobody has reported is still to come.
    pub(crate) fn error_sample(&self) -> u64 {
        self.errors - u64::from(self.errors > 0 && !self.error_seen)
    }

    /// The count to remember when a handle that has reported `seen` errors has a new one to report.
    pub(crate) fn take_error(&mut self, seen: u64) -> Option<u64> {
        if seen == self.errors {
            return None;
        }
        self.error_seen = true;
        Some(self.errors)
    }

    /// Forgets cached sectors which are clean but never reached the device.
    pub(crate) fn drop_cache(&mut self) {
        let (written, durable) = (&mut self.written, &self.durable);
        self.sectors.retain(|&index, pending| {
            if !pending.dirty {
                written.set_sector(index, durable.sector(index));
            }
            pending.dirty
        });
        let len = self.written.len();
        self.written.set_len(len);
    }

    /// Changes cache and device alike, as decay would; what was pending counts as durable first.
    pub(crate) fn damage(&mut self, change: impl FnOnce(&mut Image)) {
        change(&mut self.written);
        self.lens_done += self.lens.len() as u64;
        self.durable = self.written.clone();
        self.sectors.clear();
        self.lens.clear();
        self.len_dirty = false;
        self.settled = true;
    }
}

fn replace(
    durable: &mut Image,
    before: &mut Arc<BTreeMap<u64, Sector>>,
    index: u64,
    sector: Sector,
) {
    let old = durable.sector(index);
    if old != sector {
        Arc::make_mut(before).insert(index, old);
        durable.set_sector(index, sector);
    }
}

impl Pending {
    /// The newest version written up to `mark`.
    fn newest_at(&self, mark: Mark) -> Option<usize> {
        self.versions.iter().rposition(|version| version.number <= mark.writes)
    }

    /// The last version made by a cut that `len`, a number of changes of length, includes.
    pub(crate) fn floor(&self, len: usize) -> Option<usize> {
        self.versions.iter().rposition(|version| version.cut_by.is_some_and(|cut| cut <= len))
    }

    /// The versions that may survive instead of the floor: those written after it.
    pub(crate) fn candidates(&self, len: usize) -> impl Iterator<Item = &Version> {
        let first = self.floor(len).map_or(0, |at| at + 1);
        self.versions[first..].iter().filter(|version| version.cut_by.is_none())
    }
}
