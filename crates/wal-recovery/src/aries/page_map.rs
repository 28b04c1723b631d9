//! Maps from pages, for the passes that look one up for every record.
//!
//! Page numbers come from the engine's own log, not from a stranger: they are mixed by one
//! multiplication. The tables of normal running, which are copied in order, stay ordered maps.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use wal_format::PageId;

/// A map from pages.
pub(super) type PageMap<V> = HashMap<PageId, V, BuildHasherDefault<PageHasher>>;

/// 2^64 divided by the golden ratio: neighbouring pages come to lie far apart.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes the number of a page.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PageHasher(u64);

impl Hasher for PageHasher {
    fn finish(&self) -> u64 {
        // The map takes its buckets from the low bits and its tags from the high ones.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(MIX);
    }
}

/// Which of `parts` a page belongs to; 0 when there is one.
pub(super) fn part_of(page: PageId, parts: usize) -> usize {
    // Other bits than the map's, so that each part's map is filled evenly too.
    let mixed = page.get().wrapping_mul(MIX).rotate_left(17).wrapping_mul(MIX) >> 32;
    // Thirty-two bits times the parts: the upper half is the part, and nothing is divided.
    usize::try_from((mixed * parts as u64) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_pages_and_pages_of_one_file_are_spread_evenly() {
        let pages: [fn(u64) -> u64; 3] = [|n| n, |n| (7 << 48) + n, |n| n << 12];
        for number in pages {
            let mut counts = [0_u32; 4];
            (0..4000).for_each(|n| counts[part_of(PageId::new(number(n)), 4)] += 1);
            assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn every_number_of_parts_is_filled_evenly() {
        let pages: [fn(u64) -> u64; 6] = [
            |n| n << 32,
            |n| n << 48,
            |n| u64::MAX - 1 - n,
            |n| n * 0x1_0000_0001,
            |n| n * 1_000_003,
            |n| ((n % 8) << 56) | (n / 8),
        ];
        for (number, parts) in pages.into_iter().flat_map(|n| [2, 3, 7, 64].map(|parts| (n, parts)))
        {
            let mut counts = vec![0_usize; parts];
            (0..16_000).for_each(|n| counts[part_of(PageId::new(number(n)), parts)] += 1);
            let even = 16_000 / parts;
            let fair = counts.iter().all(|count| (even / 2..even * 2).contains(count));
            assert!(fair, "{counts:?}");
        }
    }

    #[test]
    fn one_part_holds_every_page() {
        assert!((0..100).all(|n| part_of(PageId::new(n), 1) == 0));
    }
}
