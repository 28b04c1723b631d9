//! The bytes of one file at one moment, in sectors that copies share.
//!
//! Knows nothing of syncs or crashes. A copy costs one reference count; the first change to a copy
//! clones its table of sectors, never their bytes. Sectors of zeros are not stored, so that a file
//! made of zeros costs nothing however long it is, and reading it is one fill.
//!
//! Invariants: no byte at or beyond `len` is other than zero; no stored sector is all zeros; `sum`
//! is the sum of the marks of all stored sectors.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::random::{fold, fold_bytes};

/// What a device writes whole, unless it tears: the unit in which unsynced bytes survive. Disks
/// whose unit is larger are made by `Model::sector_bytes`.
pub const SECTOR_BYTES: usize = 512;

/// The largest sector.
pub(crate) const SECTOR_BYTES_MAX: usize = 4096;

static ZEROS: [u8; SECTOR_BYTES_MAX] = [0; SECTOR_BYTES_MAX];

/// One sector's bytes, shared by every image that holds them; none if all are zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sector {
    /// Of `bytes`; kept because states are compared far more often than sectors are made.
    hash: u64,
    bytes: Option<Arc<[u8]>>,
}

impl PartialEq for Sector {
    fn eq(&self, other: &Self) -> bool {
        match (&self.bytes, &other.bytes) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
            _ => false,
        }
    }
}

impl Sector {
    pub(crate) const ZERO: Self = Self { hash: 0, bytes: None };

    pub(crate) fn new(bytes: &[u8]) -> Self {
        if bytes == &ZEROS[..bytes.len()] {
            return Self::ZERO;
        }
        Self { hash: fold_bytes(0, bytes), bytes: Some(bytes.into()) }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.bytes.is_none()
    }

    /// Copies this sector's bytes from `within` on.
    pub(crate) fn read(&self, within: usize, buf: &mut [u8]) {
        match &self.bytes {
            None => buf.fill(0),
            Some(bytes) => buf.copy_from_slice(&bytes[within..][..buf.len()]),
        }
    }

    /// This sector, of `sector_bytes` bytes, with `change` at `within`.
    pub(crate) fn with(&self, within: usize, change: &[u8], sector_bytes: usize) -> Self {
        if change.len() == sector_bytes {
            return Self::new(change);
        }
        let mut bytes = [0; SECTOR_BYTES_MAX];
        let bytes = &mut bytes[..sector_bytes];
        self.read(0, bytes);
        bytes[within..][..change.len()].copy_from_slice(change);
        Self::new(bytes)
    }

    /// This sector with everything from byte `from` on zeroed.
    pub(crate) fn cut(&self, from: usize) -> Self {
        let Some(bytes) = self.bytes.as_ref().filter(|_| from > 0) else { return Self::ZERO };
        self.with(from, &ZEROS[..bytes.len().saturating_sub(from)], bytes.len())
    }

    /// This sector with bytes `start..end` of `other`: what a torn write leaves.
    pub(crate) fn torn(&self, other: &Self, start: usize, end: usize) -> Self {
        let size = self.bytes.as_ref().or(other.bytes.as_ref()).map_or(0, |bytes| bytes.len());
        let (start, end) = (start.min(size), end.min(size));
        let mut change = [0; SECTOR_BYTES_MAX];
        let change = &mut change[..end - start];
        other.read(start, change);
        self.with(start, change, size)
    }

    /// What a sector at `index` adds to the sum of its image.
    fn mark(&self, index: u64) -> u64 {
        if self.is_zero() { 0 } else { fold(self.hash, index) }
    }
}

/// A file's length and sectors.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    len: u64,
    sector_bytes: usize,
    sum: u64,
    sectors: Arc<BTreeMap<u64, Sector>>,
}

impl Image {
    /// An empty file of sectors of `sector_bytes`, a power of two up to [`SECTOR_BYTES_MAX`].
    pub(crate) fn new(sector_bytes: usize) -> Self {
        Self { len: 0, sector_bytes, sum: 0, sectors: Arc::default() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn sector_bytes(&self) -> usize {
        self.sector_bytes
    }

    /// How many sectors the length spans.
    pub(crate) fn sectors(&self) -> u64 {
        self.len.div_ceil(self.sector_bytes as u64)
    }

    pub(crate) fn sector(&self, index: u64) -> Sector {
        self.sectors.get(&index).cloned().unwrap_or(Sector::ZERO)
    }

    /// Indices of the sectors from `from` on that hold anything but zeros.
    pub(crate) fn stored_from(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        self.sectors.range(from..).map(|(&index, _)| index)
    }

    /// How many sectors hold anything but zeros.
    pub(crate) fn stored(&self) -> usize {
        self.sectors.len()
    }

    /// Replaces a sector. The caller keeps the invariant of bytes beyond the end.
    pub(crate) fn set_sector(&mut self, index: u64, sector: Sector) {
        let old = self.sectors.get(&index).unwrap_or(&Sector::ZERO);
        if sector == *old {
            return;
        }
        let (gone, come) = (old.mark(index), sector.mark(index));
        self.sum = self.sum.wrapping_sub(gone).wrapping_add(come);
        let sectors = Arc::make_mut(&mut self.sectors);
        if sector.is_zero() {
            sectors.remove(&index);
        } else {
            sectors.insert(index, sector);
        }
    }

    /// Replaces bytes within the length.
    pub(crate) fn put(&mut self, offset: u64, bytes: &[u8]) {
        for piece in self.pieces(offset, bytes.len()) {
            let sector = self.changed(&piece, bytes);
            self.set_sector(piece.sector, sector);
        }
    }

    /// A sector as a write of `bytes`, of which `piece` is a part, makes it.
    pub(crate) fn changed(&self, piece: &Piece, bytes: &[u8]) -> Sector {
        let sector = self.sectors.get(&piece.sector).unwrap_or(&Sector::ZERO);
        sector.with(piece.within, &bytes[piece.buf.clone()], self.sector_bytes)
    }

    /// Sets the length; bytes beyond it are zeroed.
    pub(crate) fn set_len(&mut self, len: u64) {
        let shorter = len < self.len;
        self.len = len;
        if !shorter && self.sectors.is_empty() {
            return;
        }
        let (last, within) = self.sector_of(len);
        if within > 0 {
            let cut = self.sector(last).cut(within);
            self.set_sector(last, cut);
        }
        let first_beyond = last + u64::from(within > 0);
        let beyond: Vec<u64> = self.stored_from(first_beyond).collect();
        beyond.into_iter().for_each(|index| self.set_sector(index, Sector::ZERO));
    }

    /// Reads at `offset`; returns the bytes read, 0 at or beyond the end.
    pub(crate) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let count = self.readable(buf.len(), offset);
        buf[..count].fill(0);
        for (piece, sector) in self.stored_pieces(offset, count) {
            sector.read(piece.within, &mut buf[piece.buf]);
        }
        count
    }

    /// How many of `count` bytes at `offset` lie before the end.
    pub(crate) fn readable(&self, count: usize, offset: u64) -> usize {
        let rest = self.len.saturating_sub(offset);
        usize::try_from(rest).unwrap_or(usize::MAX).min(count)
    }

    /// The stored sectors under a transfer, each with the part of it that lies there.
    fn stored_pieces(&self, offset: u64, count: usize) -> impl Iterator<Item = (Piece, &Sector)> {
        let end = offset.saturating_add(count as u64);
        let size = self.sector_bytes as u64;
        let (first, behind) = (offset / size, end.div_ceil(size));
        self.sectors.range(first..behind.max(first)).filter_map(move |(&index, sector)| {
            let start = (index * size).max(offset);
            let stop = (index * size + size).min(end);
            let bytes = stop.checked_sub(start).filter(|&bytes| bytes > 0)? as usize;
            let buf = (start - offset) as usize..(start - offset) as usize + bytes;
            Some((Piece { sector: index, within: (start % size) as usize, bytes, buf }, sector))
        })
    }

    /// All bytes.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(usize::MAX)];
        self.read(&mut bytes, 0);
        bytes
    }

    /// A hash of length and bytes.
    pub(crate) fn fingerprint(&self) -> u64 {
        fold(self.len, self.sum)
    }

    /// A hash of what a read gives. Reads of the same place which give equal bytes have equal
    /// hashes; whole sectors are not hashed again.
    pub(crate) fn fingerprint_of(&self, offset: u64, count: usize) -> u64 {
        let pieces = self.stored_pieces(offset, count);
        pieces.fold(fold(offset, count as u64), |hash, (piece, sector)| {
            let part = if piece.bytes == self.sector_bytes {
                sector.hash
            } else {
                let mut bytes = [0; SECTOR_BYTES_MAX];
                sector.read(piece.within, &mut bytes[..piece.bytes]);
                let bytes = &bytes[..piece.bytes];
                // Zeros that are stored beside other bytes are like zeros that are not stored.
                if bytes == &ZEROS[..bytes.len()] {
                    return hash;
                }
                fold_bytes(0, bytes)
            };
            fold(fold(hash, piece.sector), part)
        })
    }

    /// Cuts a transfer of `count` bytes at `offset` at the sector boundaries.
    pub(crate) fn pieces(&self, offset: u64, count: usize) -> impl Iterator<Item = Piece> + use<> {
        let sector_bytes = self.sector_bytes;
        let mut done = 0;
        std::iter::from_fn(move || {
            if done == count {
                return None;
            }
            let at = offset + done as u64;
            let within = (at % sector_bytes as u64) as usize;
            let bytes = (sector_bytes - within).min(count - done);
            let buf = done..done + bytes;
            done += bytes;
            Some(Piece { sector: at / sector_bytes as u64, within, bytes, buf })
        })
    }

    /// The sector that holds a byte, and where in it.
    pub(crate) fn sector_of(&self, offset: u64) -> (u64, usize) {
        let sector_bytes = self.sector_bytes as u64;
        (offset / sector_bytes, (offset % sector_bytes) as usize)
    }
}

/// The part of a transfer that lies in one sector.
pub(crate) struct Piece {
    /// Which sector.
    pub(crate) sector: u64,
    /// Where in the sector it starts.
    pub(crate) within: usize,
    /// How long it is.
    pub(crate) bytes: usize,
    /// Where in the caller's buffer it lies.
    pub(crate) buf: std::ops::Range<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(bytes: &[u8]) -> Image {
        let mut image = Image::new(SECTOR_BYTES);
        image.set_len(bytes.len() as u64);
        image.put(0, bytes);
        image
    }

    #[test]
    fn bytes_come_back_across_sector_boundaries() {
        let bytes: Vec<u8> = (0..1300).map(|at| at as u8).collect();
        let image = image(&bytes);
        let mut middle = [0; 700];
        assert_eq!(image.read(&mut middle, 500), 700);
        assert_eq!(middle[..], bytes[500..1200]);
        assert_eq!(image.read(&mut middle, 1299), 1);
        assert_eq!(image.read(&mut middle, 1300), 0);
        assert_eq!(image.read(&mut middle, u64::MAX), 0);
    }

    #[test]
    fn a_cut_file_that_grows_again_shows_zeros() {
        let mut image = image(&[7; 1300]);
        image.set_len(600);
        image.set_len(1300);
        let bytes = image.to_vec();
        assert!(bytes[..600].iter().all(|&byte| byte == 7));
        assert!(bytes[600..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn zeros_take_no_room_however_long_the_file() {
        let mut image = Image::new(SECTOR_BYTES);
        image.set_len(1 << 40);
        assert_eq!(image.stored(), 0);
        image.set_sector(3, Sector::new(&[0; SECTOR_BYTES]));
        assert_eq!(image.stored(), 0);
        let mut bytes = [1; 100];
        assert_eq!((image.read(&mut bytes, 1 << 39), bytes), (100, [0; 100]));
    }

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut image = image(&[1; 512]);
        let copy = image.clone();
        image.put(0, &[2; SECTOR_BYTES]);
        assert_eq!(copy.to_vec(), [1; 512]);
    }

    #[test]
    fn equal_bytes_have_equal_fingerprints_whatever_their_history() {
        let mut long = image(&[9; 2000]);
        long.set_len(512);
        assert_eq!(long.fingerprint(), image(&[9; 512]).fingerprint());
        assert_ne!(long.fingerprint(), image(&[9; 511]).fingerprint());
        assert_ne!(long.fingerprint(), image(&[8; 512]).fingerprint());
        let swapped = [[1; 512], [2; 512]].concat();
        assert_ne!(image(&swapped).fingerprint(), {
            let other = [[2; 512], [1; 512]].concat();
            image(&other).fingerprint()
        });
    }

    #[test]
    fn a_read_is_told_apart_by_its_own_bytes_only() {
        let (one, mut other) = (image(&[5; 1536]), image(&[5; 1536]));
        other.put(700, &[6]);
        for (offset, count, same) in
            [(0, 512, true), (0, 700, true), (600, 101, false), (512, 512, false), (701, 50, true)]
        {
            let equal = one.fingerprint_of(offset, count) == other.fingerprint_of(offset, count);
            assert_eq!(equal, same, "{count} bytes at {offset}");
        }
        let (mut zeros, mut beside) = (Image::new(SECTOR_BYTES), Image::new(SECTOR_BYTES));
        zeros.set_len(512);
        beside.set_len(512);
        beside.put(500, &[1]);
        assert_eq!(zeros.fingerprint_of(0, 100), beside.fingerprint_of(0, 100));
    }

    #[test]
    fn sectors_may_be_larger() {
        let mut image = Image::new(4096);
        image.set_len(10_000);
        image.put(4000, &[3; 200]);
        assert_eq!((image.stored(), image.sectors()), (2, 3));
        let bytes = image.to_vec();
        assert!(bytes[4000..4200].iter().all(|&byte| byte == 3) && bytes[4200] == 0);
        image.set_len(4100);
        image.set_len(5000);
        assert_eq!(&image.to_vec()[4095..4101], [3, 3, 3, 3, 3, 0]);
    }
}
