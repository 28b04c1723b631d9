//! Seeded mutation of bytes, for replaying a corpus without libFuzzer.
//!
//! Deterministic: a seed and an input give the same bytes everywhere, so a failure is seen again.

/// Numbers that decoders get wrong.
const EDGES: &[u64] = &[
    0,
    1,
    7,
    8,
    23,
    24,
    255,
    4095,
    4096,
    65_535,
    65_536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 30,
    (1 << 30) + 1,
    1 << 62,
    u64::MAX - 7,
    u64::MAX,
];

/// A source of numbers that follow from a seed.
#[derive(Clone, Copy, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The source of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) as usize).checked_rem(bound).unwrap_or(0)
    }
}

/// `input` with one to four changes that follow from `seed`; `other` is spliced in now and then.
#[must_use]
pub fn mutated(input: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let mut draw = Draw::new(seed);
    let mut bytes = input.to_vec();
    for _ in 0..=draw.below(4) {
        change(&mut bytes, other, &mut draw);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], draw: &mut Draw) {
    let at = draw.below(bytes.len());
    let some = 1 + draw.below(16);
    let end = (at + some).min(bytes.len());
    match draw.below(9) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << draw.below(8),
        1 if !bytes.is_empty() => bytes[at] = draw.below(256) as u8,
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let fill = draw.below(256) as u8;
            drop(bytes.splice(at..at, std::iter::repeat_n(fill, some)));
        }
        5 | 6 => {
            let edge = EDGES[draw.below(EDGES.len())].wrapping_add(draw.below(3) as u64);
            let width = 1 << draw.below(4);
            let end = (at + width).min(bytes.len());
            bytes[at..end].copy_from_slice(&edge.to_le_bytes()[..end - at]);
        }
        7 => {
            let piece = bytes[at..end].to_vec();
            let to = draw.below(bytes.len());
            drop(bytes.splice(to..to, piece));
        }
        _ => {
            let from = draw.below(other.len());
            let piece = &other[from..(from + some * 4).min(other.len())];
            let end = (at + piece.len()).min(bytes.len());
            drop(bytes.splice(at..end, piece.iter().copied()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_and_another_others() {
        let input = [7; 64];
        assert_eq!(mutated(&input, &input, 3), mutated(&input, &input, 3));
        let different = (0..100).filter(|seed| mutated(&input, &[1, 2], *seed) != input).count();
        assert!(different > 90, "{different}");
    }

    #[test]
    fn nothing_can_be_mutated_too() {
        for seed in 0..200 {
            let _ = mutated(&[], &[], seed);
        }
    }
}
