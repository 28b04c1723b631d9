//! Header blocks: those of segments, and the slots of the control file.

use wal_format::layout::BLOCK_BYTES;
use wal_format::{ControlSlot, SegmentHeader};

/// Where both kinds of block keep their checksum, and from where it counts.
const CHECKSUM: std::ops::Range<usize> = 8..12;

/// `data`, cut or filled with zeros to a block, with a true checksum.
pub(crate) fn sealed(data: &[u8]) -> Vec<u8> {
    let mut block = data[..data.len().min(BLOCK_BYTES)].to_vec();
    block.resize(BLOCK_BYTES, 0);
    seal(&mut block);
    block
}

/// Gives the block at the start of `block` a true checksum.
pub(crate) fn seal(block: &mut [u8]) {
    let Some(block) = block.get_mut(..BLOCK_BYTES) else { return };
    let checksum = crc32c::crc32c(&block[CHECKSUM.end..]);
    block[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
}

/// A header is valid only as it was encoded, and what it says can be reckoned with.
pub(crate) fn segment_header(data: &[u8]) {
    for bytes in [data.to_vec(), sealed(data)] {
        let Ok(header) = SegmentHeader::decode(&bytes) else { continue };
        assert!(header.end().is_some_and(|end| end >= header.base));
        assert!(header.predecessor.is_none_or(|before| before.end <= header.base));
        assert!(header.encode()[..] == bytes[..BLOCK_BYTES], "a header with two encodings");
    }
}

/// A slot is valid only as it was encoded.
pub(crate) fn control_slot(data: &[u8]) {
    for bytes in [data.to_vec(), sealed(data)] {
        let Ok(slot) = ControlSlot::decode(&bytes) else { continue };
        // A decoder may read what this version would not write, yet never otherwise.
        if let Ok(again) = slot.encode() {
            assert!(again[..] == bytes[..BLOCK_BYTES], "a slot with two encodings");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::vector;

    #[test]
    fn a_seal_put_on_again_is_the_one_of_the_format() {
        for name in ["segment-first", "control-fresh"] {
            let block = vector(name);
            assert_eq!(sealed(&block), block, "{name}");
            let mut other = block.clone();
            other[8] ^= 1;
            assert_eq!(sealed(&other), block, "{name}");
        }
    }
}
