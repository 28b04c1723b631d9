//! One flipped bit: the decay that memory, cables and disks make most often, found and named.
//!
//! A checksum is linear: the difference between the one stored and the one computed depends only on
//! which bits are wrong, not on what the record says. So the difference which each bit of the record
//! would make is computed from the last bit back, one step a bit, and compared. Bits of fields that
//! are judged before the checksum (length, address, epoch, kind, flags) are flipped back one by one.
//!
//! What is named has been tried: with the bit flipped back the record is valid. For records of less
//! than 256 MiB no other single bit does that. Whether to believe it, and what to do, is left to
//! others; nothing here writes.

use std::fmt;
use std::ops::Range;

use wal_format::layout::{BLOCK_BYTES, RECORD_HEADER_BYTES};
use wal_format::{
    DecodeError, Epoch, LogId, Lsn, RecordKind, RecordSeed, SegmentHeader, decode_header_at,
    decode_record,
};
use wal_io::{Access, ChainLink, IoError, IoOp, SegmentName, SegmentReader, Storage, read_full_at};

use crate::error::RecoveryError;
use crate::source::{LogSource, read_into};
use crate::window::open_segment;

/// The polynomial of CRC-32C, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// Bytes of a record that its checksum does not cover: the checksum.
const CHECKSUM_BYTES: usize = 4;
/// Where the length of the body stands in the header.
const LENGTH_BYTES: Range<usize> = 4..8;
/// Where the flags stand: one of them makes a record 16 bytes longer.
const FLAGS_BYTES: Range<usize> = 23..24;
/// Where an opened record names the epoch that its own checksum starts from.
const OPENED_EPOCH_BYTES: Range<usize> = 24..32;
/// Where the checksum of a segment's header stands; it covers all behind it.
const HEADER_CHECKSUM_BYTES: Range<usize> = 8..12;
/// Bytes that a record of a transaction has between header and body.
const TXN_BYTES: usize = 16;

/// What a byte of a log belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlippedPart {
    /// The header of a segment.
    SegmentHeader,
    /// The header of a record.
    Header,
    /// Transaction and previous record, between header and body.
    Transaction,
    /// The body of a record.
    Body,
    /// The zeros behind a record.
    Alignment,
}

/// The one bit that keeps a record, or the header of a segment, from being valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlippedBit {
    /// The record; for the header of a segment, its base.
    pub lsn: Lsn,
    /// The segment file.
    pub segment: SegmentName,
    /// What the byte belongs to.
    pub part: FlippedPart,
    /// Which byte of that part, from 0.
    pub byte: u64,
    /// Which bit of the byte; 0 is the least significant.
    pub bit: u8,
    /// Where the byte stands in the file.
    pub offset: u64,
}

impl FlippedBit {
    /// The field of a header that holds the bit; `None` outside the header of a record.
    #[must_use]
    pub const fn field(&self) -> Option<&'static str> {
        match (self.part, self.byte) {
            (FlippedPart::Header, 0..4) => Some("checksum"),
            (FlippedPart::Header, 4..8) => Some("body_len"),
            (FlippedPart::Header, 8..16) => Some("lsn"),
            (FlippedPart::Header, 16..20) => Some("durable_back"),
            (FlippedPart::Header, 20..22) => Some("epoch"),
            (FlippedPart::Header, 22) => Some("kind"),
            (FlippedPart::Header, 23) => Some("flags"),
            (FlippedPart::Transaction, 0..8) => Some("txn_id"),
            (FlippedPart::Transaction, 8..16) => Some("prev_lsn"),
            _ => None,
        }
    }
}

impl fmt::Display for FlippedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SegmentHeader => "segment header",
            Self::Header => "header",
            Self::Transaction => "transaction fields",
            Self::Body => "body",
            Self::Alignment => "alignment",
        })
    }
}

impl fmt::Display for FlippedBit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lsn, segment, part, byte, bit, offset } = self;
        write!(f, "bit {bit} of byte {byte} of the {part}")?;
        if let Some(field) = self.field() {
            write!(f, " (`{field}`)")?;
        }
        if *part != FlippedPart::SegmentHeader {
            write!(f, " of the record at {lsn}")?;
        }
        write!(f, " is flipped (`{segment}`, byte {offset})")
    }
}

/// Looks for the one bit that keeps what stands at `lsn` from being a valid record under `epoch`,
/// the epoch in force there. `None` when the record is valid, or more than one bit is wrong.
///
/// # Errors
///
/// [`RecoveryError::OutOfRange`]: no segment covers `lsn`. [`RecoveryError::Truncated`]: it was
/// removed meanwhile. [`RecoveryError::Io`], [`RecoveryError::OutOfMemory`]: nothing is known.
///
/// # Cost
///
/// One read of the record and a step for each of its bits; up to 32 passes of CRC-32C where the
/// length may be what is wrong.
pub fn find_flipped_bit(
    source: &LogSource,
    lsn: Lsn,
    epoch: Epoch,
) -> Result<Option<FlippedBit>, RecoveryError> {
    let Some((_, link)) = source.link_of(lsn) else {
        let range = source.range();
        return Err(RecoveryError::OutOfRange { lsn, head: range.start, end: range.end });
    };
    let mut place = Place {
        reader: open_segment(&**source.storage(), link)?,
        left: link.stored_end().distance_from(lsn).unwrap_or(0),
        log_id: source.log_id(),
        epoch,
        lsn,
        bytes: Vec::new(),
    };
    Ok(place.find()?.map(|index| named(index, &place.bytes, lsn, link)))
}

/// Looks for the one bit that keeps the header of the segment `name` from being valid.
///
/// # Errors
///
/// [`RecoveryError::Io`]: the file cannot be read.
///
/// # Cost
///
/// One read of 4,096 bytes, a step for each bit of them, and a few dozen passes of CRC-32C.
pub fn find_flipped_header_bit(
    storage: &dyn Storage,
    name: SegmentName,
) -> Result<Option<FlippedBit>, RecoveryError> {
    let file_name = name.to_string();
    let file = storage
        .open(&file_name, Access::Read)
        .map_err(|error| IoError::failed(IoOp::Open, file_name.clone(), error))?;
    let mut block = vec![0; BLOCK_BYTES];
    let count = read_full_at(file.as_ref(), &file_name, &mut block, 0)?;
    if count < BLOCK_BYTES || SegmentHeader::decode(&block).is_ok() {
        return Ok(None);
    }
    let by_checksum = match SegmentHeader::decode(&block) {
        Err(DecodeError::BadChecksum { stored, computed }) => {
            let own = HEADER_CHECKSUM_BYTES.start * 8;
            bit_of_difference(stored ^ computed, own, HEADER_CHECKSUM_BYTES.end..BLOCK_BYTES)
        }
        _ => None,
    };
    for index in by_checksum.into_iter().chain(0..HEADER_CHECKSUM_BYTES.start * 8) {
        flip(&mut block, index);
        let mended = SegmentHeader::decode(&block);
        flip(&mut block, index);
        if mended.is_ok_and(|header| (header.base, header.epoch) == (name.base, name.epoch)) {
            let (byte, bit) = (index as u64 / 8, (index % 8) as u8);
            let part = FlippedPart::SegmentHeader;
            let lsn = name.base;
            return Ok(Some(FlippedBit { lsn, segment: name, part, byte, bit, offset: byte }));
        }
    }
    Ok(None)
}

/// What stands at an address, and how it is read again.
struct Place {
    reader: SegmentReader,
    /// Bytes that the segment holds from there on.
    left: u64,
    log_id: LogId,
    epoch: Epoch,
    lsn: Lsn,
    /// What was read: the header, or the record that the header speaks of.
    bytes: Vec<u8>,
}

impl Place {
    /// Index of the flipped bit, from the start of the record.
    fn find(&mut self) -> Result<Option<usize>, RecoveryError> {
        self.read(RECORD_HEADER_BYTES as u64)?;
        let mut suspects = [CHECKSUM_BYTES..RECORD_HEADER_BYTES, 0..0, 0..0];
        if let Ok(header) = decode_header_at(&self.bytes, self.lsn) {
            let needed = header.encoded_bytes() as u64;
            if needed <= self.left {
                self.read(needed)?;
                match self.decode() {
                    Ok(()) => return Ok(None),
                    Err(DecodeError::BadChecksum { stored, computed }) => {
                        let covered = header.unpadded_bytes();
                        let by_checksum =
                            bit_of_difference(stored ^ computed, 0, CHECKSUM_BYTES..covered);
                        if by_checksum.is_some_and(|index| self.mends(index)) {
                            return Ok(by_checksum);
                        }
                        // All others leave length and seed as they are, and have been tried by now.
                        suspects = [LENGTH_BYTES, FLAGS_BYTES, 0..0];
                    }
                    Err(DecodeError::NotZero) => {
                        return Ok(self.only_bit_set(header.unpadded_bytes()));
                    }
                    Err(_) => {}
                }
                if header.kind == RecordKind::OPENED {
                    suspects[2] = OPENED_EPOCH_BYTES;
                }
            }
        }
        for index in suspects.into_iter().flat_map(|bytes| bytes.start * 8..bytes.end * 8) {
            if self.mends_length(index)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn read(&mut self, bytes: u64) -> Result<(), RecoveryError> {
        if self.bytes.len() as u64 >= bytes {
            return Ok(());
        }
        read_into(&self.reader, self.lsn, bytes.min(self.left), &mut self.bytes)
    }

    /// Whether what was read is a valid record, under the epoch in force or, for an opened record,
    /// under the one it names.
    fn decode(&self) -> Result<(), DecodeError> {
        let epoch = match decode_header_at(&self.bytes, self.lsn)?.kind {
            RecordKind::OPENED => {
                let named = self.bytes.get(RECORD_HEADER_BYTES..).and_then(<[u8]>::first_chunk);
                named.map_or(self.epoch, |named| Epoch::new(u64::from_le_bytes(*named)))
            }
            _ => self.epoch,
        };
        let seed = RecordSeed::new(self.log_id, epoch);
        decode_record(&self.bytes, self.lsn, &seed).map(drop)
    }

    /// Whether the record is valid with the bit at `index` flipped back.
    fn mends(&mut self, index: usize) -> bool {
        flip(&mut self.bytes, index);
        let mended = self.decode().is_ok();
        flip(&mut self.bytes, index);
        mended
    }

    /// As [`mends`](Self::mends), where the bit may change how long the record is.
    fn mends_length(&mut self, index: usize) -> Result<bool, RecoveryError> {
        flip(&mut self.bytes, index);
        let header = decode_header_at(&self.bytes, self.lsn);
        flip(&mut self.bytes, index);
        let Ok(header) = header else { return Ok(false) };
        let needed = header.encoded_bytes() as u64;
        if needed > self.left {
            return Ok(false);
        }
        self.read(needed)?;
        Ok(self.mends(index))
    }

    /// The bit behind the first `covered` bytes, if exactly one is set there.
    fn only_bit_set(&self, covered: usize) -> Option<usize> {
        let padding = self.bytes.get(covered..)?;
        let mut set = (0..padding.len() * 8).filter(|index| {
            padding.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
        });
        match (set.next(), set.next()) {
            (Some(index), None) => Some(covered * 8 + index),
            _ => None,
        }
    }
}

/// The bit of the `covered` bytes which changes their checksum by `difference`; or that of the
/// checksum itself, whose first bit is at `own`.
fn bit_of_difference(difference: u32, own: usize, covered: Range<usize>) -> Option<usize> {
    if difference.count_ones() == 1 {
        return Some(own + difference.trailing_zeros() as usize);
    }
    let mut effect = POLYNOMIAL;
    for index in (covered.start * 8..covered.end * 8).rev() {
        if effect == difference {
            return Some(index);
        }
        effect = (effect >> 1) ^ if effect & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    None
}

fn flip(bytes: &mut [u8], index: usize) {
    if let Some(byte) = bytes.get_mut(index / 8) {
        *byte ^= 1 << (index % 8);
    }
}

/// Says of which part the bit at `index` is, in a record that is valid once it is flipped back.
fn named(index: usize, bytes: &[u8], lsn: Lsn, link: &ChainLink) -> FlippedBit {
    let at = index / 8;
    let mut mended = bytes.get(..RECORD_HEADER_BYTES).unwrap_or_default().to_vec();
    flip(&mut mended, index);
    let header = decode_header_at(&mended, lsn).ok();
    let body_at = RECORD_HEADER_BYTES + header.map_or(0, |header| header.extension_bytes());
    let body_end = header.map_or(body_at, |header| header.unpadded_bytes());
    debug_assert!(body_at <= RECORD_HEADER_BYTES + TXN_BYTES, "as the format says");
    let (part, start) = match at {
        at if at < RECORD_HEADER_BYTES => (FlippedPart::Header, 0),
        at if at < body_at => (FlippedPart::Transaction, RECORD_HEADER_BYTES),
        at if at < body_end => (FlippedPart::Body, body_at),
        _ => (FlippedPart::Alignment, body_end),
    };
    FlippedBit {
        lsn,
        segment: link.name,
        part,
        byte: (at - start) as u64,
        bit: (index % 8) as u8,
        offset: link.offset_of(lsn) + at as u64,
    }
}
