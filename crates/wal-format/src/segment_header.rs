//! The header block of a segment.
//!
//! A segment is this block, then the records of one run of the log. The header is complete and
//! durable before the file takes its name, so a live name proves a live header (rule 1).

use crate::bytes::{all_zero, array_at, put, u32_at, u64_at};
use crate::crc;
use crate::error::DecodeError;
use crate::fields::lsn_at;
use crate::ids::{Epoch, LogId};
use crate::layout::{
    BLOCK_BYTES, FORMAT_VERSION, SEGMENT_BASE, SEGMENT_CAPACITY, SEGMENT_CHECKSUM, SEGMENT_CREATED,
    SEGMENT_EPOCH, SEGMENT_FLAGS, SEGMENT_HEAD, SEGMENT_LOG_ID, SEGMENT_MAGIC, SEGMENT_MAGIC_AT,
    SEGMENT_PRED_BASE, SEGMENT_PRED_END, SEGMENT_PRED_EPOCH, SEGMENT_RESERVED, SEGMENT_VERSION,
    SEGMENT_ZERO,
};
use crate::lsn::Lsn;

/// What is special about a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentFlags(u32);

impl SegmentFlags {
    /// Nothing special: the next segment of a running log.
    pub const NONE: Self = Self(0);
    /// Made by an opening, not by rotation: everything before the predecessor's end was durable
    /// when this segment took its name (rule 10).
    pub const OPENING: Self = Self(1);
    /// Every record of this segment was durable when it took its name (rule 1).
    pub const BORN_DURABLE: Self = Self(1 << 1);
    /// Records between the predecessor's end and this base were lost; a salvage says so here.
    pub const AFTER_LOSS: Self = Self(1 << 2);
    const KNOWN: u32 = 0b111;

    /// Both sets of flags together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits as stored.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// The segment before this one in the chain (rule 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Base address of the predecessor.
    pub base: Lsn,
    /// Epoch in the name of the predecessor.
    pub epoch: Epoch,
    /// Where the predecessor ends; what it holds from there on is dead.
    pub end: Lsn,
}

/// The header block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log that this segment belongs to.
    pub log_id: LogId,
    /// Address of the first byte after the header block.
    pub base: Lsn,
    /// The opening which made the segment; its first records carry this epoch.
    pub epoch: Epoch,
    /// Bytes of log that the segment can hold, without the header block; a multiple of 8.
    pub capacity_bytes: u64,
    /// When the segment was made, in microseconds since the Unix epoch; information only.
    pub created_unix_us: u64,
    /// What is special about it.
    pub flags: SegmentFlags,
    /// The segment before; `None` in the first one of a log.
    pub predecessor: Option<Predecessor>,
    /// Head of the log (its lowest retained base) when the segment was made (rule 14).
    pub head: Lsn,
}

impl SegmentHeader {
    /// First address that the segment cannot hold any more; `None` on overflow.
    #[must_use]
    pub const fn end(&self) -> Option<Lsn> {
        self.base.checked_add(self.capacity_bytes)
    }

    /// The block as it stands at the start of the file.
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0_u8; BLOCK_BYTES];
        put(&mut block, SEGMENT_MAGIC_AT, &SEGMENT_MAGIC);
        put(&mut block, SEGMENT_VERSION, &FORMAT_VERSION.to_le_bytes());
        put(&mut block, SEGMENT_LOG_ID, self.log_id.as_bytes());
        put(&mut block, SEGMENT_BASE, &self.base.get().to_le_bytes());
        put(&mut block, SEGMENT_EPOCH, &self.epoch.get().to_le_bytes());
        put(&mut block, SEGMENT_CAPACITY, &self.capacity_bytes.to_le_bytes());
        put(&mut block, SEGMENT_CREATED, &self.created_unix_us.to_le_bytes());
        put(&mut block, SEGMENT_FLAGS, &self.flags.bits().to_le_bytes());
        if let Some(pred) = self.predecessor {
            put(&mut block, SEGMENT_PRED_BASE, &pred.base.get().to_le_bytes());
            put(&mut block, SEGMENT_PRED_EPOCH, &pred.epoch.get().to_le_bytes());
            put(&mut block, SEGMENT_PRED_END, &pred.end.get().to_le_bytes());
        }
        put(&mut block, SEGMENT_HEAD, &self.head.get().to_le_bytes());
        seal_block(&mut block, SEGMENT_CHECKSUM);
        block
    }

    /// Reads the block at the start of a segment file; `bytes` may be longer than the block.
    ///
    /// # Errors
    ///
    /// - [`DecodeError::Incomplete`]: fewer than 4,096 bytes were given.
    /// - [`DecodeError::BadMagic`]: not a segment.
    /// - [`DecodeError::BadChecksum`]: the block is damaged.
    /// - [`DecodeError::UnsupportedVersion`]: a newer program wrote it; use that one.
    /// - [`DecodeError::UnknownFlags`], [`DecodeError::NotZero`], [`DecodeError::BadField`]: the
    ///   block is whole, yet not one that this version writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let block = open_block(bytes, &SEGMENT_MAGIC, SEGMENT_CHECKSUM, SEGMENT_VERSION)?;
        let flags = u32_at(block, SEGMENT_FLAGS);
        if flags & !SegmentFlags::KNOWN != 0 {
            return Err(DecodeError::UnknownFlags { found: flags });
        }
        if u32_at(block, SEGMENT_RESERVED) != 0
            || !all_zero(block.get(SEGMENT_ZERO..).unwrap_or_default())
        {
            return Err(DecodeError::NotZero);
        }
        let header = Self {
            log_id: LogId::from_bytes(array_at(block, SEGMENT_LOG_ID)),
            base: lsn_at(block, SEGMENT_BASE, "base")?,
            epoch: Epoch::new(u64_at(block, SEGMENT_EPOCH)),
            capacity_bytes: u64_at(block, SEGMENT_CAPACITY),
            created_unix_us: u64_at(block, SEGMENT_CREATED),
            flags: SegmentFlags(flags),
            predecessor: decode_predecessor(block)?,
            head: lsn_at(block, SEGMENT_HEAD, "head")?,
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.base < Lsn::FIRST {
            return Err(DecodeError::BadField { field: "base" });
        }
        if self.epoch == Epoch::NONE {
            return Err(DecodeError::BadField { field: "epoch" });
        }
        if self.end().is_none() {
            return Err(DecodeError::BadField { field: "capacity" });
        }
        // A head beyond the segment that names it would bury the segment itself (rule 14).
        if self.head > self.base {
            return Err(DecodeError::BadField { field: "head" });
        }
        match self.predecessor {
            Some(pred) if pred.end > self.base || pred.epoch > self.epoch => {
                Err(DecodeError::BadField { field: "predecessor" })
            }
            _ => Ok(()),
        }
    }
}

fn decode_predecessor(block: &[u8]) -> Result<Option<Predecessor>, DecodeError> {
    let epoch = Epoch::new(u64_at(block, SEGMENT_PRED_EPOCH));
    let base = lsn_at(block, SEGMENT_PRED_BASE, "predecessor")?;
    let end = lsn_at(block, SEGMENT_PRED_END, "predecessor")?;
    match (epoch, base, end) {
        (Epoch::NONE, Lsn::NONE, Lsn::NONE) => Ok(None),
        (Epoch::NONE, ..) => Err(DecodeError::BadField { field: "predecessor" }),
        _ if base < Lsn::FIRST || end < base => Err(DecodeError::BadField { field: "predecessor" }),
        _ => Ok(Some(Predecessor { base, epoch, end })),
    }
}

/// Writes the checksum of a finished block: of everything but the magic and the checksum itself.
pub(crate) fn seal_block(block: &mut [u8; BLOCK_BYTES], checksum_at: usize) {
    let computed = block_checksum(block, checksum_at);
    put(block, checksum_at, &computed.to_le_bytes());
}

/// Checks magic, checksum and version, in this order, and returns the one block.
pub(crate) fn open_block<'a>(
    bytes: &'a [u8],
    magic: &[u8; 8],
    checksum_at: usize,
    version_at: usize,
) -> Result<&'a [u8; BLOCK_BYTES], DecodeError> {
    let Some(block) = bytes.first_chunk::<BLOCK_BYTES>() else {
        return Err(DecodeError::Incomplete { needed: BLOCK_BYTES as u64 });
    };
    if array_at::<8>(block, 0) != *magic {
        return Err(DecodeError::BadMagic);
    }
    let (stored, computed) = (u32_at(block, checksum_at), block_checksum(block, checksum_at));
    if stored != computed {
        return Err(DecodeError::BadChecksum { stored, computed });
    }
    // Magic, checksum and version stay where they are in every version of the format.
    match u32_at(block, version_at) {
        0 => Err(DecodeError::BadField { field: "version" }),
        version if version > FORMAT_VERSION => {
            Err(DecodeError::UnsupportedVersion { found: version })
        }
        _ => Ok(block),
    }
}

fn block_checksum(block: &[u8; BLOCK_BYTES], checksum_at: usize) -> u32 {
    crc::append(0, block.get(checksum_at + 4..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            log_id: LogId::from_bytes(*b"0123456789abcdef"),
            base: Lsn::new(1 << 20).unwrap(),
            epoch: Epoch::new(3),
            capacity_bytes: 65_536,
            created_unix_us: 1_700_000_000_000_000,
            flags: SegmentFlags::OPENING,
            predecessor: Some(Predecessor {
                base: Lsn::FIRST,
                epoch: Epoch::new(1),
                end: Lsn::new(8192).unwrap(),
            }),
            head: Lsn::FIRST,
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was() {
        assert_eq!(SegmentHeader::decode(&header().encode()), Ok(header()));
        let first = SegmentHeader { predecessor: None, base: Lsn::FIRST, ..header() };
        assert_eq!(SegmentHeader::decode(&first.encode()), Ok(first));
    }

    #[test]
    fn every_flipped_bit_is_an_error() {
        let block = header().encode();
        // All of them under Miri would take an hour.
        for bit in (0..BLOCK_BYTES * 8).step_by(if cfg!(miri) { 97 } else { 1 }) {
            let mut damaged = block;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let mut block = header().encode();
        put(&mut block, SEGMENT_VERSION, &(FORMAT_VERSION + 1).to_le_bytes());
        seal_block(&mut block, SEGMENT_CHECKSUM);
        assert_eq!(
            SegmentHeader::decode(&block),
            Err(DecodeError::UnsupportedVersion { found: FORMAT_VERSION + 1 })
        );
    }

    #[test]
    fn a_block_cut_short_asks_for_the_rest() {
        let block = header().encode();
        for len in [0, 1, BLOCK_BYTES - 1] {
            assert_eq!(
                SegmentHeader::decode(&block[..len]),
                Err(DecodeError::Incomplete { needed: BLOCK_BYTES as u64 })
            );
        }
    }

    #[test]
    fn a_whole_block_that_no_encoder_writes_is_refused() {
        let refusal = |header: SegmentHeader| SegmentHeader::decode(&header.encode()).unwrap_err();
        let bad = |field| DecodeError::BadField { field };
        let pred = header().predecessor.unwrap();
        let late_end = Predecessor { end: Lsn::new((1 << 20) + 8).unwrap(), ..pred };
        let late_epoch = Predecessor { epoch: Epoch::new(4), ..pred };
        let backwards = Predecessor { base: pred.end, end: pred.base, ..pred };
        assert_eq!(refusal(SegmentHeader { base: Lsn::NONE, ..header() }), bad("base"));
        assert_eq!(refusal(SegmentHeader { epoch: Epoch::NONE, ..header() }), bad("epoch"));
        let beyond = Lsn::new((1 << 20) + 8).unwrap();
        assert_eq!(refusal(SegmentHeader { head: beyond, ..header() }), bad("head"));
        for capacity_bytes in [u64::MAX - 7, 12] {
            assert_eq!(refusal(SegmentHeader { capacity_bytes, ..header() }), bad("capacity"));
        }
        for pred in [late_end, late_epoch, backwards] {
            let header = SegmentHeader { predecessor: Some(pred), ..header() };
            assert_eq!(refusal(header), bad("predecessor"));
        }
        let mut flagged = header().encode();
        put(&mut flagged, SEGMENT_FLAGS, &8_u32.to_le_bytes());
        seal_block(&mut flagged, SEGMENT_CHECKSUM);
        assert_eq!(SegmentHeader::decode(&flagged), Err(DecodeError::UnknownFlags { found: 8 }));
        let mut hidden = header().encode();
        put(&mut hidden, BLOCK_BYTES - 1, &[1]);
        seal_block(&mut hidden, SEGMENT_CHECKSUM);
        assert_eq!(SegmentHeader::decode(&hidden), Err(DecodeError::NotZero));
    }
}
