//! A persistent hold: who needs the log from which address on, in a file of its own.
//!
//! The file is one block, laid out like a slot of the control file. Whoever truncates reads every
//! hold of the directory; whoever places, moves or drops one writes or removes its file. What a
//! hold means, and how a truncation and a hold being placed exclude each other, is for others.

use alloc::string::String;

use crate::bytes::{all_zero, array_at, put, u32_at, u64_at};
use crate::error::{DecodeError, EncodeError};
use crate::fields::{address_at, u8_at};
use crate::ids::LogId;
use crate::layout::{
    BLOCK_BYTES, FORMAT_VERSION, HOLD_CHECKSUM, HOLD_LIMIT, HOLD_LOG_ID, HOLD_LSN, HOLD_MAGIC,
    HOLD_MAGIC_AT, HOLD_MOVED, HOLD_NAME, HOLD_NAME_BYTES, HOLD_NAME_BYTES_MAX, HOLD_OVER,
    HOLD_OWNER, HOLD_PLACED, HOLD_RESERVED, HOLD_VERSION, HOLD_ZERO,
};
use crate::lsn::Lsn;
use crate::segment_header::{open_block, seal_block};

/// One persistent hold, as its file holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRecord {
    /// The log that is held.
    pub log_id: LogId,
    /// The log is kept from here on.
    pub lsn: Lsn,
    /// Bytes that the hold may keep, and a number for what happens beyond, which is not 0.
    pub limit: Option<(u64, u8)>,
    /// When it was placed, in microseconds since 1970.
    pub placed_unix_us: u64,
    /// When it was last moved, in microseconds since 1970.
    pub moved_unix_us: u64,
    /// The process that placed or last moved it; for the information of people.
    pub owner: u32,
    /// Its name: 1 to [`HOLD_NAME_BYTES_MAX`] bytes of ASCII letters, digits, `.`, `_` and `-`,
    /// of which the first is no `.`.
    pub name: String,
}

impl HoldRecord {
    /// Whether `name` can name a hold: it becomes the name of a file.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (1..=HOLD_NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(plain)
            && !name.starts_with('.')
    }

    /// The block as it stands in the file.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BadField`]: a name that is none, or a limit without a number for what
    /// happens beyond.
    pub fn encode(&self) -> Result<[u8; BLOCK_BYTES], EncodeError> {
        if !Self::is_name(&self.name) {
            return Err(EncodeError::BadField { field: "name" });
        }
        let mut block = [0_u8; BLOCK_BYTES];
        put(&mut block, HOLD_MAGIC_AT, &HOLD_MAGIC);
        put(&mut block, HOLD_VERSION, &FORMAT_VERSION.to_le_bytes());
        put(&mut block, HOLD_LOG_ID, self.log_id.as_bytes());
        put(&mut block, HOLD_LSN, &self.lsn.get().to_le_bytes());
        if let Some((bytes, over)) = self.limit {
            if over == 0 {
                return Err(EncodeError::BadField { field: "over" });
            }
            put(&mut block, HOLD_LIMIT, &bytes.to_le_bytes());
            put(&mut block, HOLD_OVER, &[over]);
        }
        put(&mut block, HOLD_PLACED, &self.placed_unix_us.to_le_bytes());
        put(&mut block, HOLD_MOVED, &self.moved_unix_us.to_le_bytes());
        put(&mut block, HOLD_OWNER, &self.owner.to_le_bytes());
        put(&mut block, HOLD_NAME_BYTES, &[self.name.len() as u8]);
        put(&mut block, HOLD_NAME, self.name.as_bytes());
        seal_block(&mut block, HOLD_CHECKSUM);
        Ok(block)
    }

    /// Reads one hold; `bytes` may be longer than the block.
    ///
    /// # Errors
    ///
    /// As [`SegmentHeader::decode`](crate::SegmentHeader::decode). Nobody knows what such a hold
    /// keeps, so it keeps everything.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let block = open_block(bytes, &HOLD_MAGIC, HOLD_CHECKSUM, HOLD_VERSION)?;
        let name_bytes = usize::from(u8_at(block, HOLD_NAME_BYTES));
        let name = block.get(HOLD_NAME..HOLD_ZERO).unwrap_or_default();
        let (name, rest) = name
            .split_at_checked(name_bytes)
            .ok_or(DecodeError::BadField { field: "name_bytes" })?;
        let name = core::str::from_utf8(name).unwrap_or_default();
        if !Self::is_name(name) {
            return Err(DecodeError::BadField { field: "name" });
        }
        let zero = block.get(HOLD_ZERO..).unwrap_or_default();
        let reserved: [u8; 2] = array_at(block, HOLD_RESERVED);
        if !all_zero(rest) || !all_zero(zero) || reserved != [0; 2] {
            return Err(DecodeError::NotZero);
        }
        let limit = match (u64_at(block, HOLD_LIMIT), u8_at(block, HOLD_OVER)) {
            (0, 0) => None,
            (_, 0) => return Err(DecodeError::BadField { field: "over" }),
            (bytes, over) => Some((bytes, over)),
        };
        Ok(Self {
            log_id: LogId::from_bytes(array_at(block, HOLD_LOG_ID)),
            lsn: address_at(block, HOLD_LSN, "lsn")?,
            limit,
            placed_unix_us: u64_at(block, HOLD_PLACED),
            moved_unix_us: u64_at(block, HOLD_MOVED),
            owner: u32_at(block, HOLD_OWNER),
            name: String::from(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold() -> HoldRecord {
        HoldRecord {
            log_id: LogId::from_bytes([7; 16]),
            lsn: Lsn::new(8192).unwrap(),
            limit: Some((1 << 30, 2)),
            placed_unix_us: 11,
            moved_unix_us: 12,
            owner: 4711,
            name: "replica-1".into(),
        }
    }

    #[test]
    fn a_hold_comes_back_as_it_was() {
        let bare = HoldRecord { limit: None, name: "x".repeat(HOLD_NAME_BYTES_MAX), ..hold() };
        for hold in [hold(), bare] {
            assert_eq!(HoldRecord::decode(&hold.encode().unwrap()), Ok(hold));
        }
    }

    #[test]
    fn every_flipped_bit_is_an_error() {
        let block = hold().encode().unwrap();
        for bit in (0..BLOCK_BYTES * 8).step_by(if cfg!(miri) { 97 } else { 1 }) {
            let mut flipped = block;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(HoldRecord::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_cut_is_an_error() {
        let block = hold().encode().unwrap();
        for len in (0..BLOCK_BYTES).step_by(if cfg!(miri) { 97 } else { 1 }) {
            assert!(HoldRecord::decode(&block[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_name_is_one_that_a_file_can_have_anywhere() {
        for name in ["a", "replica-1", "Copy_2.3", "a.tmp", &"x".repeat(HOLD_NAME_BYTES_MAX)] {
            assert!(HoldRecord::is_name(name), "{name}");
        }
        let long = "x".repeat(HOLD_NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "ä", "a\0", &long] {
            assert!(!HoldRecord::is_name(name), "{name}");
            assert!(HoldRecord { name: name.into(), ..hold() }.encode().is_err(), "{name}");
        }
    }

    #[test]
    fn fields_out_of_range_are_named_although_the_checksum_is_true() {
        let sealed = |change: &dyn Fn(&mut [u8; BLOCK_BYTES])| {
            let mut block = hold().encode().unwrap();
            change(&mut block);
            seal_block(&mut block, HOLD_CHECKSUM);
            HoldRecord::decode(&block)
        };
        let field = |field| Err(DecodeError::BadField { field });
        assert_eq!(sealed(&|block| block[HOLD_LSN] = 4), field("lsn"));
        assert_eq!(sealed(&|block| block[HOLD_LSN + 1] = 0), field("lsn"));
        assert_eq!(sealed(&|block| block[HOLD_OVER] = 0), field("over"));
        assert_eq!(sealed(&|block| block[HOLD_NAME_BYTES] = 255), field("name_bytes"));
        assert_eq!(sealed(&|block| block[HOLD_NAME_BYTES] = 0), field("name"));
        assert_eq!(sealed(&|block| block[HOLD_NAME] = b'/'), field("name"));
        assert_eq!(sealed(&|block| block[HOLD_NAME + 20] = 1), Err(DecodeError::NotZero));
        assert_eq!(sealed(&|block| block[HOLD_RESERVED] = 1), Err(DecodeError::NotZero));
        assert_eq!(sealed(&|block| block[BLOCK_BYTES - 1] = 1), Err(DecodeError::NotZero));
    }
}
