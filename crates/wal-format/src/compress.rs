//! Compressed bodies: their raw length, then one LZ4 block.
//!
//! A record whose header says [`RecordFlags::COMPRESSED`](crate::RecordFlags::COMPRESSED) has such
//! a body. Decoding a record never decompresses it; whoever wants the raw bytes brings the buffer
//! for them (rule 20). A body is stored compressed only where that makes it smaller.
//!
//! [`raw_bytes`] needs no compressor; the rest is behind the feature `lz4`.

use crate::bytes::u32_at;
use crate::error::DecodeError;
use crate::fields::split_head;
use crate::layout::{BODY_BYTES_MAX, COMPRESSED_HEAD_BYTES, COMPRESSED_RAW_BYTES};

#[cfg(feature = "lz4")]
use alloc::vec::Vec;

/// One byte of an LZ4 block can stand for no more raw bytes than this.
const EXPANSION_MAX: usize = 255;

/// Length of the body that `stored` decompresses to, in bytes: how large a buffer to bring.
///
/// At most [`BODY_BYTES_MAX`], and at most 255 times the length of `stored`.
///
/// # Errors
///
/// [`DecodeError::BadLength`], [`DecodeError::TooLong`] or [`DecodeError::BadField`]: not a
/// compressed body.
pub fn raw_bytes(stored: &[u8]) -> Result<usize, DecodeError> {
    open(stored).map(|(raw_bytes, _)| raw_bytes)
}

fn open(stored: &[u8]) -> Result<(usize, &[u8]), DecodeError> {
    let (head, block) = split_head::<COMPRESSED_HEAD_BYTES>(stored)?;
    let found = u32_at(head, COMPRESSED_RAW_BYTES);
    let raw_bytes = found as usize;
    if raw_bytes > BODY_BYTES_MAX {
        return Err(DecodeError::TooLong { found: u64::from(found) });
    }
    // Neither a body that compression made no smaller nor one that LZ4 cannot reach was written
    // by an encoder of ours; believing the latter would allocate on the word of a few bytes.
    if raw_bytes <= stored.len() || raw_bytes > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(DecodeError::BadField { field: "raw_bytes" });
    }
    Ok((raw_bytes, block))
}

/// Appends the compressed form of `raw` to `out`, if that is worth it.
///
/// Returns `false`, and leaves `out` as it was, when `raw` is shorter than `threshold_bytes` or
/// would not get smaller; then store it as it is. On `true`, write the record with
/// [`RecordFlags::COMPRESSED`](crate::RecordFlags::COMPRESSED), if its kind
/// [may be](crate::RecordKind::is_compressible).
///
/// # Cost
///
/// One pass over `raw`; `out` grows by up to 1.1 times its length, and is cut back.
#[cfg(feature = "lz4")]
pub fn compress_body(raw: &[u8], threshold_bytes: usize, out: &mut Vec<u8>) -> bool {
    let Ok(raw_len) = u32::try_from(raw.len()) else {
        return false;
    };
    if raw.len() < threshold_bytes || raw.len() > BODY_BYTES_MAX {
        return false;
    }
    let start = out.len();
    out.extend_from_slice(&raw_len.to_le_bytes());
    let block_at = out.len();
    out.resize(block_at + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
    let place = out.get_mut(block_at..).unwrap_or_default();
    let stored_bytes = match lz4_flex::block::compress_into(raw, place) {
        Ok(block_bytes) => COMPRESSED_HEAD_BYTES + block_bytes,
        Err(_) => raw.len(),
    };
    let smaller = stored_bytes < raw.len();
    out.truncate(if smaller { start + stored_bytes } else { start });
    smaller
}

/// Decompresses `stored` into the start of `out`; returns the bytes of the raw body.
///
/// # Errors
///
/// - [`DecodeError::BufferTooSmall`]: bring [`raw_bytes`] of room.
/// - [`DecodeError::BadCompression`]: the block is damaged or ends at another length than stated;
///   what is in `out` is meaningless.
/// - As [`raw_bytes`].
///
/// # Cost
///
/// One pass; no allocation.
#[cfg(feature = "lz4")]
pub fn decompress_into(stored: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
    let (raw_bytes, block) = open(stored)?;
    let given = out.len();
    let Some(place) = out.get_mut(..raw_bytes) else {
        return Err(DecodeError::BufferTooSmall { needed: raw_bytes, given });
    };
    match lz4_flex::block::decompress_into(block, place) {
        Ok(written) if written == raw_bytes => Ok(raw_bytes),
        _ => Err(DecodeError::BadCompression),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r20_a_raw_length_beyond_the_largest_body_is_refused() {
        let beyond = BODY_BYTES_MAX as u32 + 1;
        assert_eq!(
            raw_bytes(&[&beyond.to_le_bytes()[..], &[0; 64]].concat()),
            Err(DecodeError::TooLong { found: u64::from(beyond) })
        );
    }

    #[test]
    fn r20_a_raw_length_that_the_block_cannot_reach_is_refused() {
        let stated = |raw: u32| raw_bytes(&[&raw.to_le_bytes()[..], &[0; 10]].concat());
        assert_eq!(stated(2550), Ok(2550));
        assert_eq!(stated(2551), Err(DecodeError::BadField { field: "raw_bytes" }));
        assert_eq!(stated(1 << 30), Err(DecodeError::BadField { field: "raw_bytes" }));
    }

    #[test]
    fn a_body_that_compression_made_no_smaller_is_refused() {
        let stated = |raw: u32| raw_bytes(&[&raw.to_le_bytes()[..], &[0; 10]].concat());
        assert_eq!(stated(15), Ok(15));
        assert_eq!(stated(14), Err(DecodeError::BadField { field: "raw_bytes" }));
        assert_eq!(raw_bytes(&[1, 0, 0]), Err(DecodeError::BadLength { found: 3 }));
    }

    #[cfg(feature = "lz4")]
    mod lz4 {
        use super::super::*;
        use alloc::vec;

        fn compressed(raw: &[u8]) -> Vec<u8> {
            let mut stored = Vec::new();
            assert!(compress_body(raw, 0, &mut stored));
            stored
        }

        #[test]
        fn a_body_comes_back_as_it_was() {
            for raw in [vec![7; 64], b"to be or not to be ".repeat(50), vec![0; 100_000]] {
                let stored = compressed(&raw);
                assert!(stored.len() < raw.len());
                let mut out = vec![0xee; raw.len() + 5];
                assert_eq!(decompress_into(&stored, &mut out), Ok(raw.len()));
                assert_eq!(out[..raw.len()], raw);
                assert_eq!(out[raw.len()..], [0xee; 5]);
            }
        }

        #[test]
        fn what_is_short_or_gets_no_smaller_is_left_alone() {
            let mut out = vec![1, 2, 3];
            assert!(!compress_body(&[7; 64], 65, &mut out));
            assert!(!compress_body(b"abcdefghijklmnop", 0, &mut out));
            assert!(!compress_body(b"", 0, &mut out));
            assert_eq!(out, [1, 2, 3]);
        }

        #[test]
        fn r20_decompression_fills_the_callers_buffer_and_no_more() {
            let stored = compressed(&[7; 1000]);
            assert_eq!(
                decompress_into(&stored, &mut [0; 999]),
                Err(DecodeError::BufferTooSmall { needed: 1000, given: 999 })
            );
        }

        #[test]
        fn r20_a_block_that_ends_elsewhere_than_stated_is_refused() {
            let stored = compressed(&[7; 1000]);
            for stated in [999_u32, 1001] {
                let lying = [&stated.to_le_bytes()[..], &stored[4..]].concat();
                assert_eq!(
                    decompress_into(&lying, &mut [0; 2000]),
                    Err(DecodeError::BadCompression)
                );
            }
        }

        #[test]
        fn a_damaged_block_never_panics_and_never_writes_beyond_its_length() {
            let raw = b"to be or not to be, that is ".repeat(8);
            let stored = compressed(&raw);
            for bit in 0..stored.len() * 8 {
                let mut damaged = stored.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let mut out = vec![0xee; raw.len() + 512];
                if let Ok(bytes) = decompress_into(&damaged, &mut out) {
                    assert!(out[bytes..].iter().all(|byte| *byte == 0xee), "bit {bit}");
                }
            }
        }
    }
}
