//! Finding where records may go on after a place that cannot be read.
//!
//! A true header carries exactly its own address, so one comparison of 64 bits refuses nearly
//! every place that is not one. What passes is only a candidate: the decoder judges it.

use crate::layout::{RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES, RECORD_LSN};
use crate::lsn::Lsn;

/// The first offset in `bytes`, a multiple of 8, where a header that names its own address starts.
///
/// `bytes` were read from address `lsn`. Only headers that lie in `bytes` as a whole are seen:
/// who reads a long run in pieces lets them overlap by 16 bytes. To go on after a candidate that
/// does not decode, call again with the bytes from 8 after it.
///
/// # Cost
///
/// One comparison for every 8 bytes.
#[must_use]
pub fn find_record_candidate(bytes: &[u8], lsn: Lsn) -> Option<usize> {
    let places = (bytes.len().checked_sub(RECORD_HEADER_BYTES)?) / RECORD_ALIGN_BYTES + 1;
    let (words, _) = bytes.get(RECORD_LSN..)?.as_chunks::<RECORD_ALIGN_BYTES>();
    let mut address = lsn.get();
    words
        .iter()
        .take(places)
        .position(|word| {
            let is_candidate = u64::from_le_bytes(*word) == address;
            address = address.wrapping_add(RECORD_ALIGN_BYTES as u64);
            is_candidate
        })
        .map(|place| place * RECORD_ALIGN_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const BASE: u64 = 1 << 20;

    fn with_header_at(len: usize, offset: usize) -> Vec<u8> {
        let mut bytes = vec![0xa5; len];
        let address = BASE + offset as u64;
        bytes[offset + 8..offset + 16].copy_from_slice(&address.to_le_bytes());
        bytes
    }

    fn found(bytes: &[u8]) -> Option<usize> {
        find_record_candidate(bytes, Lsn::new(BASE).unwrap())
    }

    #[test]
    fn a_header_is_found_wherever_it_starts() {
        for offset in (0..=128).step_by(8) {
            assert_eq!(found(&with_header_at(152, offset)), Some(offset));
        }
    }

    #[test]
    fn a_header_cut_by_the_end_is_not_seen() {
        for len in 0..24 + 64 {
            let bytes = with_header_at(24 + 64, 64);
            assert_eq!(found(&bytes[..len]), None, "{len}");
        }
    }

    #[test]
    fn an_address_of_another_place_or_off_alignment_is_passed_over() {
        let mut bytes = vec![0; 64];
        bytes[8..16].copy_from_slice(&(BASE + 8).to_le_bytes());
        bytes[28..36].copy_from_slice(&(BASE + 20).to_le_bytes());
        assert_eq!(found(&bytes), None);
    }

    #[test]
    fn the_first_of_several_is_taken() {
        let mut bytes = with_header_at(128, 64);
        bytes[32 + 8..32 + 16].copy_from_slice(&(BASE + 32).to_le_bytes());
        assert_eq!(found(&bytes), Some(32));
    }
}
