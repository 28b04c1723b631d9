//! CRC-32C (Castagnoli), and the seed which ties a record to its log and epoch.
//!
//! With `std` the checksum runs at hardware speed through the `crc32c` crate; without it a
//! table-driven one gives the same values.

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

/// The checksum of some bytes followed by `data`, where `crc` is the checksum of those bytes.
#[cfg(feature = "std")]
#[inline]
pub(crate) fn append(crc: u32, data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, data)
}

/// The checksum of some bytes followed by `data`, where `crc` is the checksum of those bytes.
#[cfg(not(feature = "std"))]
pub(crate) fn append(crc: u32, data: &[u8]) -> u32 {
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
