//! CRC-32C (Castagnoli), and the seed which ties a record to its log and epoch.
//!
//! With `std` the checksum runs at hardware speed: of short pieces through `crc32c`, which has the
//! processor's own instruction, and of long ones, on x86-64, through `crc-fast`, which multiplies
//! polynomials and is several times as fast there (docs/design/0003, "What an append costs").
//! Without it a table-driven one gives the same values.

use crate::ids::{Epoch, LogId};

/// What the checksum of every record of one epoch of one log starts from (rule 9).
///
/// Those who write bodies know neither the log id nor the full epoch, so a body cannot hold
/// bytes which pass for a record. This is no cryptography: whoever can read the log can forge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordSeed {
    epoch: Epoch,
    crc: u32,
}

impl RecordSeed {
    /// The seed for records of `log_id` written under `epoch`.
    #[must_use]
    pub fn new(log_id: LogId, epoch: Epoch) -> Self {
        let crc = append(0, log_id.as_bytes());
        Self { epoch, crc: append(crc, &epoch.get().to_le_bytes()) }
    }

    /// The epoch that this seed belongs to.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The checksum to go on from.
    pub(crate) const fn start(&self) -> u32 {
        self.crc
    }
}

/// The CRC-32C of some bytes followed by `data`, where `crc` is that of those bytes: 0 for none.
///
/// For files of an engine's own, and for whoever checks what it copied. That of a record starts
/// from its [`RecordSeed`], so that none of these is one.
///
/// ```
/// use wal_format::crc32c_append;
///
/// let whole = crc32c_append(0, b"head and body");
/// assert_eq!(crc32c_append(crc32c_append(0, b"head"), b" and body"), whole);
/// ```
///
/// # Cost
///
/// One pass, with the processor's instructions for it where it has them.
#[cfg(feature = "std")]
#[inline]
#[must_use]
pub fn append(crc: u32, data: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if data.len() >= long::BYTES_MIN && std::arch::is_x86_feature_detected!("pclmulqdq") {
        return long::append(crc, data);
    }
    crc32c::crc32c_append(crc, data)
}

/// The same checksum of pieces so long that what it takes to begin counts for little.
///
/// Only for the kind of processor on which it was measured.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod long {
    use crc_fast::{CrcAlgorithm, Digest};

    /// Here the other one takes about half as long again.
    pub(super) const BYTES_MIN: usize = 1024;

    #[inline(never)]
    pub(super) fn append(crc: u32, data: &[u8]) -> u32 {
        // The register starts where the finished checksum of the earlier bytes left it.
        let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc));
        digest.update(data);
        // 32 bits are all that this algorithm has.
        digest.finalize() as u32
    }
}

/// The CRC-32C of some bytes followed by `data`, where `crc` is that of those bytes: 0 for none.
/// The same values as with the feature `std`.
///
/// # Cost
///
/// One pass, with a table in memory.
#[cfg(not(feature = "std"))]
#[must_use]
pub fn append(crc: u32, data: &[u8]) -> u32 {
    portable::append(crc, data)
}

/// The same checksum without hardware; always compiled, so that a test can compare the two.
#[cfg(any(test, not(feature = "std")))]
mod portable {
    use crc::{CRC_32_ISCSI, Crc, Table};

    static CASTAGNOLI: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

    pub(super) fn append(crc: u32, data: &[u8]) -> u32 {
        // The algorithm inverts at both ends and is reflected; its register starts where the
        // finished checksum of the earlier bytes left it.
        let mut digest = CASTAGNOLI.digest_with_initial((!crc).reverse_bits());
        digest.update(data);
        digest.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// RFC 3720, appendix B.4.
    #[test]
    fn the_vectors_of_rfc_3720_hold() {
        let ascending: [u8; 32] = core::array::from_fn(|i| i as u8);
        let descending: [u8; 32] = core::array::from_fn(|i| 31 - i as u8);
        for (data, expected) in [
            ([0_u8; 32], 0x8a91_36aa_u32),
            ([0xff; 32], 0x62a8_ab43),
            (ascending, 0x46dd_794e),
            (descending, 0x113f_db5c),
        ] {
            assert_eq!(append(0, &data), expected);
            assert_eq!(portable::append(0, &data), expected);
        }
    }

    #[test]
    fn both_implementations_go_on_from_any_checksum() {
        let data: [u8; 97] = core::array::from_fn(|i| (i * 7) as u8);
        for cut in 0..data.len() {
            let (left, right) = data.split_at(cut);
            assert_eq!(append(append(0, left), right), append(0, &data));
            assert_eq!(portable::append(portable::append(0, left), right), append(0, &data));
        }
    }

    /// What the two crates run differs by processor; the table is the same on all.
    #[test]
    fn every_length_gives_what_the_table_gives() {
        let data: Vec<u8> =
            (0..600_000_u32).map(|i| i.wrapping_mul(i).wrapping_shr(3) as u8).collect();
        // Under an interpreter none of them runs at hardware speed.
        let (near, far) = if cfg!(miri) { (97, 9973) } else { (1, 61) };
        let huge = [65_536, 262_143, 599_000].into_iter().take(if cfg!(miri) { 0 } else { 3 });
        let lengths = (0..2200).step_by(near).chain((2200..19_000).step_by(far)).chain(huge);
        for (start, length) in lengths.enumerate() {
            let crc = (length as u32).wrapping_mul(0x9e37_79b9);
            let piece = &data[start % 71..][..length];
            let expected = portable::append(crc, piece);
            assert_eq!(append(crc, piece), expected, "{length} bytes");
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            assert_eq!(long::append(crc, piece), expected, "{length} bytes, as of a long one");
        }
    }

    #[test]
    fn seeds_differ_by_log_and_by_the_high_bits_of_the_epoch() {
        let seed = RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::new(1));
        assert_ne!(
            seed.start(),
            RecordSeed::new(LogId::from_bytes([2; 16]), Epoch::new(1)).start()
        );
        let far = RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::new(1 + (1 << 16)));
        assert_eq!(far.epoch().low_bits(), seed.epoch().low_bits());
        assert_ne!(far.start(), seed.start());
    }
}
