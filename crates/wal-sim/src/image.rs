//! The bytes of one file at one moment, in sectors that copies share.
//!
//! Knows nothing of syncs or crashes. A copy costs one reference count; the first change to a copy
//! clones its table of sectors, never their bytes. Sectors of zeros are not stored.
//!
//! Invariant: no byte at or beyond `len` is other than zero, and no stored sector is all zeros.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::random::{fold, fold_bytes};

/// What a device writes whole, unless it tears: the unit in which unsynced bytes survive.
pub const SECTOR_BYTES: usize = 512;

const ZEROS: [u8; SECTOR_BYTES] = [0; SECTOR_BYTES];

/// One sector's bytes, shared by every image that holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sector(Option<Arc<Stored>>);

#[derive(Debug, PartialEq, Eq)]
struct Stored {
    /// Of `bytes`; kept because states are compared far more often than sectors are made.
    hash: u64,
    bytes: [u8; SECTOR_BYTES],
}

impl Sector {
    pub(crate) const ZERO: Self = Self(None);

    pub(crate) fn new(bytes: [u8; SECTOR_BYTES]) -> Self {
        if bytes == ZEROS {
            return Self::ZERO;
        }
        Self(Some(Arc::new(Stored { hash: fold_bytes(0, &bytes), bytes })))
    }

    pub(crate) fn bytes(&self) -> &[u8; SECTOR_BYTES] {
        self.0.as_ref().map_or(&ZEROS, |stored| &stored.bytes)
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.is_none()
    }

    /// This sector with everything from byte `from` on zeroed.
    pub(crate) fn cut(&self, from: usize) -> Self {
        let mut bytes = *self.bytes();
        bytes[from.min(SECTOR_BYTES)..].fill(0);
        Self::new(bytes)
    }

    /// This sector with bytes `start..end` of `other`: what a torn write leaves.
    pub(crate) fn torn(&self, other: &Self, start: usize, end: usize) -> Self {
        let mut bytes = *self.bytes();
        bytes[start..end].copy_from_slice(&other.bytes()[start..end]);
        Self::new(bytes)
    }
}

/// A file's length and sectors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    len: u64,
    sectors: Arc<BTreeMap<u64, Sector>>,
}

impl Image {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn sector(&self, index: u64) -> Sector {
        self.sectors.get(&index).cloned().unwrap_or(Sector::ZERO)
    }

    /// Indices of the sectors from `from` on that hold anything but zeros.
    pub(crate) fn stored_from(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        self.sectors.range(from..).map(|(&index, _)| index)
    }

    /// Replaces a sector. The caller keeps the invariant of bytes beyond the end.
    pub(crate) fn set_sector(&mut self, index: u64, sector: Sector) {
        if sector == self.sector(index) {
            return;
        }
        let sectors = Arc::make_mut(&mut self.sectors);
        if sector.is_zero() {
            sectors.remove(&index);
        } else {
            sectors.insert(index, sector);
        }
    }

    /// Sets the length; bytes beyond it are zeroed.
    pub(crate) fn set_len(&mut self, len: u64) {
        self.len = len;
        let (last, within) = sector_of(len);
        if within > 0 {
            let cut = self.sector(last).cut(within);
            self.set_sector(last, cut);
        }
        let first_beyond = last + u64::from(within > 0);
        if self.sectors.range(first_beyond..).next().is_some() {
            Arc::make_mut(&mut self.sectors).split_off(&first_beyond);
        }
    }

    /// Reads at `offset`; returns the bytes read, 0 at or beyond the end.
    pub(crate) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let rest = self.len.saturating_sub(offset);
        let count = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        for piece in pieces(offset, count) {
            buf[piece.buf.clone()]
                .copy_from_slice(&self.sector(piece.sector).bytes()[piece.within..][..piece.bytes]);
        }
        count
    }

    /// All bytes.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(usize::MAX)];
        self.read(&mut bytes, 0);
        bytes
    }

    /// A hash of length and bytes, in time proportional to the stored sectors.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.sectors.iter().fold(fold(0, self.len), |hash, (&index, sector)| {
            let stored = sector.0.as_ref().map_or(0, |stored| stored.hash);
            fold(fold(hash, index), stored)
        })
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

/// Cuts a transfer of `count` bytes at `offset` at the sector boundaries.
pub(crate) fn pieces(offset: u64, count: usize) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == count {
            return None;
        }
        let (sector, within) = sector_of(offset + done as u64);
        let bytes = (SECTOR_BYTES - within).min(count - done);
        let start = done;
        done += bytes;
        Some(Piece { sector, within, bytes, buf: start..done })
    })
}

/// The sector that holds a byte, and where in it.
pub(crate) fn sector_of(offset: u64) -> (u64, usize) {
    let sector_bytes = SECTOR_BYTES as u64;
    (offset / sector_bytes, (offset % sector_bytes) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(bytes: &[u8]) -> Image {
        let mut image = Image::default();
        image.set_len(bytes.len() as u64);
        for piece in pieces(0, bytes.len()) {
            let mut sector = ZEROS;
            sector[piece.within..][..piece.bytes].copy_from_slice(&bytes[piece.buf]);
            image.set_sector(piece.sector, Sector::new(sector));
        }
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
        let mut image = Image::default();
        image.set_len(1 << 40);
        assert_eq!(image.stored_from(0).count(), 0);
        image.set_sector(3, Sector::new(ZEROS));
        assert_eq!(image.stored_from(0).count(), 0);
    }

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut image = image(&[1; 512]);
        let copy = image.clone();
        image.set_sector(0, Sector::new([2; SECTOR_BYTES]));
        assert_eq!(copy.to_vec(), [1; 512]);
    }

    #[test]
    fn equal_bytes_have_equal_fingerprints_whatever_their_history() {
        let mut long = image(&[9; 2000]);
        long.set_len(512);
        assert_eq!(long.fingerprint(), image(&[9; 512]).fingerprint());
        assert_ne!(long.fingerprint(), image(&[9; 511]).fingerprint());
        assert_ne!(long.fingerprint(), image(&[8; 512]).fingerprint());
    }
}
