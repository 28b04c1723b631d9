//! The header of a record: fields, flags and the transactional extension.

use crate::ids::{Epoch, TxnId};
use crate::kind::RecordKind;
use crate::layout::{
    DURABLE_BACK_UNKNOWN, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES, TXN_LINK_BYTES,
};
use crate::lsn::Lsn;

/// What is special about a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecordFlags(u8);

impl RecordFlags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// The transactional extension follows the header.
    pub const IN_TXN: Self = Self(1);
    /// More records of the same atomic batch follow.
    pub const BATCH_CONTINUES: Self = Self(1 << 1);
    /// Earlier records of the same atomic batch precede.
    pub const BATCH_FOLLOWS: Self = Self(1 << 2);
    /// The body is compressed; it starts with its raw length.
    pub const COMPRESSED: Self = Self(1 << 3);
    const KNOWN: u8 = 0b1111;

    /// The flags with these bits; `None` when a bit is unknown.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits & !Self::KNOWN == 0 { Some(Self(bits)) } else { None }
    }

    /// Both sets of flags together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits as stored.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// The transactional extension: whose record it is, and which of that transaction came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TxnLink {
    /// The transaction.
    pub txn_id: TxnId,
    /// The record of the same transaction before this one; [`Lsn::NONE`] in its first.
    pub prev_lsn: Lsn,
}

impl TxnLink {
    /// What a record at `lsn` must hold; else the name of the field that does not.
    ///
    /// A chain which only leads back cannot go round in circles.
    pub(crate) fn check(&self, lsn: Lsn) -> Result<(), &'static str> {
        if self.txn_id == TxnId::NONE {
            return Err("txn_id");
        }
        let leads_back = Lsn::FIRST <= self.prev_lsn && self.prev_lsn < lsn;
        if self.prev_lsn.is_none() || leads_back { Ok(()) } else { Err("prev_lsn") }
    }
}

/// The fields of a record header, as read; nothing here is proven before the checksum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// CRC-32C of bytes 4.. to the end of the body, seeded from log id and epoch.
    pub checksum: u32,
    /// Bytes of body, without padding and without the transactional extension.
    pub body_len: u32,
    /// Address of the record.
    pub lsn: Lsn,
    /// Distance back to what was durable when the record was encoded, in units of 8 bytes.
    pub durable_back: u32,
    /// Low bits of the epoch which wrote the record.
    pub epoch_bits: u16,
    /// What the record is.
    pub kind: RecordKind,
    /// What is special about it.
    pub flags: RecordFlags,
}

impl RecordHeader {
    /// What was durable when the record was encoded: everything before this address.
    ///
    /// `None` when the record claims nothing, or claims what lies before the log's first address.
    #[must_use]
    pub const fn durable(&self) -> Option<Lsn> {
        if self.durable_back == DURABLE_BACK_UNKNOWN {
            return None;
        }
        let back = self.durable_back as u64 * RECORD_ALIGN_BYTES as u64;
        match self.lsn.get().checked_sub(back) {
            Some(raw) => Lsn::new(raw),
            None => None,
        }
    }

    /// Bytes between the header and the body.
    #[must_use]
    pub const fn extension_bytes(&self) -> usize {
        if self.flags.contains(RecordFlags::IN_TXN) { TXN_LINK_BYTES } else { 0 }
    }

    /// Bytes of the whole record without its alignment padding.
    #[must_use]
    pub const fn unpadded_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.extension_bytes() + self.body_len as usize
    }

    /// Bytes that the record takes in the log, alignment included.
    #[must_use]
    pub const fn encoded_bytes(&self) -> usize {
        self.unpadded_bytes().next_multiple_of(RECORD_ALIGN_BYTES)
    }

    /// Whether the header carries the low bits of `epoch`.
    #[must_use]
    pub const fn is_of(&self, epoch: Epoch) -> bool {
        self.epoch_bits == epoch.low_bits()
    }
}

/// The `durable_back` field of a record at `lsn`, written while `durable` is known.
#[inline]
pub(crate) fn durable_back(lsn: Lsn, durable: Option<Lsn>) -> u32 {
    durable
        .and_then(|durable| lsn.distance_from(durable))
        .map(|bytes| bytes / RECORD_ALIGN_BYTES as u64)
        .and_then(|units| u32::try_from(units).ok())
        .unwrap_or(DURABLE_BACK_UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r11_a_saturated_watermark_claims_nothing() {
        let lsn = Lsn::new(1 << 40).unwrap();
        let header = |durable_back| RecordHeader {
            checksum: 0,
            body_len: 0,
            lsn,
            durable_back,
            epoch_bits: 1,
            kind: RecordKind::DATA,
            flags: RecordFlags::NONE,
        };
        assert_eq!(header(durable_back(lsn, None)).durable(), None);
        assert_eq!(header(durable_back(lsn, Some(Lsn::FIRST))).durable(), None);
        let near = Lsn::new((1 << 40) - 8 * (u64::from(u32::MAX) - 1)).unwrap();
        assert_eq!(header(durable_back(lsn, Some(near))).durable(), Some(near));
        let one_too_far = Lsn::new(near.get() - 8).unwrap();
        assert_eq!(header(durable_back(lsn, Some(one_too_far))).durable(), None);
        assert_eq!(header(durable_back(lsn, Some(lsn))).durable(), Some(lsn));
    }
}
