//! One file: what programs see, what the device holds, and what lies between the two.
//!
//! Knows neither names nor handles. `written` is the page cache; `durable` is the device. For each
//! sector that differs the versions written since are kept, because a device may have taken any of
//! them; the same for lengths. A version is *dirty* until a sync has tried to write it: a sync that
//! fails leaves it doubtful, which no later sync repairs (clause 6 of the contract).
//!
//! Invariants: a sector without a pending entry is the same in `written` and `durable`; `lens` is
//! empty when the two lengths agree and no cut lies between them.

use std::collections::BTreeMap;

use crate::choice::Chooser;
use crate::image::{Image, SECTOR_BYTES, Sector, pieces, sector_of};

/// Versions remembered for one sector; older ones in the middle are forgotten.
const VERSIONS_MAX: usize = 16;

/// A file, independent of its names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inode {
    written: Image,
    durable: Image,
    sectors: BTreeMap<u64, Pending>,
    /// Lengths since the durable one, oldest first.
    lens: Vec<u64>,
    len_dirty: bool,
    /// Write-back errors so far, as Linux's `errseq_t` counts them.
    errors: u64,
    /// Whether any handle has reported the last of them.
    error_seen: bool,
}

#[derive(Clone, Debug, Default)]
struct Pending {
    versions: Vec<Version>,
    /// Whether the next sync will write the newest version.
    dirty: bool,
}

#[derive(Clone, Debug)]
struct Version {
    sector: Sector,
    /// Set when the version came from a cut: the number of the length, from 1, that made it.
    cut_by: Option<usize>,
}

impl Inode {
    /// A file as a power cut left it: nothing is pending.
    pub(crate) fn settled(image: Image) -> Self {
        Self { written: image.clone(), durable: image, ..Self::default() }
    }

    /// What programs read.
    pub(crate) fn written(&self) -> &Image {
        &self.written
    }

    /// What the device is sure to hold.
    pub(crate) fn durable(&self) -> &Image {
        &self.durable
    }

    /// Writes into the cache; the file grows as needed, but not for a write of no bytes.
    pub(crate) fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        if end > self.written.len() {
            self.set_len(end);
        }
        for piece in pieces(offset, bytes.len()) {
            let mut sector = *self.written.sector(piece.sector).bytes();
            sector[piece.within..][..piece.bytes].copy_from_slice(&bytes[piece.buf]);
            self.put(piece.sector, Sector::new(sector), None);
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
        let (first, within) = sector_of(len);
        let stored = self.written.stored_from(first);
        let pending = self.sectors.range(first..).map(|(&index, _)| index);
        let mut touched: Vec<u64> = stored.chain(pending).collect();
        touched.sort_unstable();
        touched.dedup();
        for index in touched {
            let keep = if index == first { within } else { 0 };
            let sector = self.written.sector(index).cut(keep);
            self.put(index, sector, Some(number));
        }
    }

    fn put(&mut self, index: u64, sector: Sector, cut_by: Option<usize>) {
        self.written.set_sector(index, sector.clone());
        let pending = self.sectors.entry(index).or_default();
        pending.dirty = true;
        if pending.versions.len() == VERSIONS_MAX {
            // A cut is never forgotten: which versions are legal hangs on it.
            if let Some(oldest) = pending.versions.iter().position(|seen| seen.cut_by.is_none()) {
                pending.versions.remove(oldest);
            }
        }
        pending.versions.push(Version { sector, cut_by });
    }

    /// Makes durable whatever is dirty.
    pub(crate) fn sync(&mut self) {
        let beyond = |index: u64| (index + 1) * SECTOR_BYTES as u64 > self.durable.len();
        let grown = self.sectors.iter().any(|(&index, pending)| pending.dirty && beyond(index));
        if self.len_dirty || grown {
            self.sync_len();
        }
        let (written, durable) = (&self.written, &mut self.durable);
        self.sectors.retain(|&index, pending| {
            if pending.dirty {
                durable.set_sector(index, written.sector(index));
            }
            !pending.dirty
        });
    }

    /// Makes durable the sectors of one write, and the length that holds them.
    pub(crate) fn sync_range(&mut self, offset: u64, count: usize) {
        self.sync_len();
        for piece in pieces(offset, count) {
            self.durable.set_sector(piece.sector, self.written.sector(piece.sector));
            self.sectors.remove(&piece.sector);
        }
    }

    /// Makes the length durable, and with it every cut on the way there.
    fn sync_len(&mut self) {
        let durable = &mut self.durable;
        self.sectors.retain(|&index, pending| {
            let last_cut = pending.versions.iter().rposition(|version| version.cut_by.is_some());
            if let Some(cut) = last_cut.and_then(|at| pending.versions.drain(..=at).next_back()) {
                durable.set_sector(index, cut.sector);
            }
            !pending.versions.is_empty()
        });
        self.durable.set_len(self.written.len());
        self.lens.clear();
        self.len_dirty = false;
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
        let (errors, error_seen) = (self.errors, self.error_seen);
        *self = Self { errors, error_seen, ..Self::settled(self.written.clone()) };
    }

    /// How many states a power cut can leave; any number above `limit` once it is exceeded.
    pub(crate) fn survivors(&self, limit: u64) -> u64 {
        let mut total: u64 = 0;
        for len in 0..=self.lens.len() {
            let mut states: u64 = 1;
            for pending in self.sectors.values() {
                states = states.saturating_mul(pending.candidates(len).count() as u64 + 1);
                if states > limit {
                    return states;
                }
            }
            total = total.saturating_add(states);
            if total > limit {
                break;
            }
        }
        total
    }

    /// What a power cut leaves: a length, and for each pending sector a version legal under it.
    pub(crate) fn survive(&self, chooser: &mut dyn Chooser) -> Image {
        let mut image = self.durable.clone();
        let len = chooser.choose(self.lens.len() + 1);
        for (&index, pending) in &self.sectors {
            let floor = pending
                .floor(len)
                .and_then(|at| pending.versions.get(at))
                .map_or_else(|| self.durable.sector(index), |version| version.sector.clone());
            let candidates: Vec<&Sector> = pending.candidates(len).collect();
            let choice = chooser.choose(candidates.len() + 1);
            // 0 is the floor; the version before the chosen one is what a tear mixes it with.
            let before = choice.checked_sub(2).map_or(&floor, |at| candidates[at]);
            let sector = choice.checked_sub(1).map_or(&floor, |at| candidates[at]);
            let torn = (choice > 0).then(|| chooser.tear()).flatten();
            image.set_sector(
                index,
                torn.map_or_else(
                    || sector.clone(),
                    |tear| before.torn(sector, tear.start, tear.end),
                ),
            );
        }
        let len = len.checked_sub(1).map_or(self.durable.len(), |at| self.lens[at]);
        image.set_len(len);
        image
    }
}

impl Pending {
    /// The last version made by a cut that `len`, a number of changes of length, includes.
    fn floor(&self, len: usize) -> Option<usize> {
        self.versions.iter().rposition(|version| version.cut_by.is_some_and(|cut| cut <= len))
    }

    /// The versions that may survive instead of the floor: those written after it.
    fn candidates(&self, len: usize) -> impl Iterator<Item = &Sector> {
        let first = self.floor(len).map_or(0, |at| at + 1);
        self.versions[first..]
            .iter()
            .filter(|version| version.cut_by.is_none())
            .map(|version| &version.sector)
    }
}
