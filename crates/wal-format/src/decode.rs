//! Reading one record from a slice, without copying and without trusting it.

use crate::bytes::{all_zero, u16_at, u32_at, u64_at};
use crate::crc::{self, RecordSeed};
use crate::error::DecodeError;
use crate::fields::lsn_at;
use crate::ids::{Epoch, TxnId};
use crate::kind::RecordKind;
use crate::layout::{
    BODY_BYTES_MAX, RECORD_BODY_LEN, RECORD_CHECKED_FROM, RECORD_CHECKSUM, RECORD_DURABLE_BACK,
    RECORD_EPOCH, RECORD_FLAGS, RECORD_HEADER_BYTES, RECORD_KIND, RECORD_LSN, TXN_LINK_PREV_LSN,
    TXN_LINK_TXN_ID,
};
use crate::lsn::Lsn;
use crate::record_header::{RecordFlags, RecordHeader, TxnLink};

/// A valid record, borrowed from the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The fields of the header.
    pub header: RecordHeader,
    /// The full epoch whose seed verified the record.
    pub epoch: Epoch,
    /// The transaction, for records in one.
    pub txn: Option<TxnLink>,
    /// The body as stored; compressed where the header says so.
    pub body: &'a [u8],
}

impl RecordRef<'_> {
    /// Address of the record.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.header.lsn
    }

    /// What the record is.
    #[must_use]
    pub const fn kind(&self) -> RecordKind {
        self.header.kind
    }

    /// What is special about it.
    #[must_use]
    pub const fn flags(&self) -> RecordFlags {
        self.header.flags
    }

    /// Everything before this address was durable when the record was encoded.
    #[must_use]
    pub const fn durable(&self) -> Option<Lsn> {
        self.header.durable()
    }

    /// Bytes that the record takes in the log, alignment included.
    #[must_use]
    pub const fn encoded_bytes(&self) -> usize {
        self.header.encoded_bytes()
    }

    /// First address after the record; saturates at the end of the address space.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.lsn().checked_add(self.encoded_bytes() as u64).unwrap_or(Lsn::MAX)
    }
}

/// Reads the header at the start of `bytes`, which were read from address `lsn`.
///
/// The address and the limits are checked; the checksum is not, for it needs the body.
///
/// # Errors
///
/// - [`DecodeError::Incomplete`]: fewer than 24 bytes.
/// - [`DecodeError::Zeroed`]: space that was never written.
/// - [`DecodeError::KindZero`], [`DecodeError::WrongLsn`], [`DecodeError::UnknownFlags`],
///   [`DecodeError::TooLong`]: no record of this version stands here.
#[inline]
pub fn decode_header_at(bytes: &[u8], lsn: Lsn) -> Result<RecordHeader, DecodeError> {
    let Some(head) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else {
        return Err(DecodeError::Incomplete { needed: RECORD_HEADER_BYTES as u64 });
    };
    // The address comes first: it alone refuses nearly every place that is not a record.
    let found = u64_at(head, RECORD_LSN);
    if found != lsn.get() {
        let zeroed = found == 0 && all_zero(head);
        return Err(if zeroed { DecodeError::Zeroed } else { DecodeError::WrongLsn { found } });
    }
    let [kind, flags] = u16_at(head, RECORD_KIND).to_le_bytes();
    debug_assert_eq!(RECORD_FLAGS, RECORD_KIND + 1, "kind and flags are read together");
    let Some(kind) = RecordKind::new(kind) else {
        return Err(DecodeError::KindZero);
    };
    let Some(flags) = RecordFlags::new(flags) else {
        return Err(DecodeError::UnknownFlags { found: u32::from(flags) });
    };
    let body_len = u32_at(head, RECORD_BODY_LEN);
    if body_len as usize > BODY_BYTES_MAX {
        return Err(DecodeError::TooLong { found: u64::from(body_len) });
    }
    Ok(RecordHeader {
        checksum: u32_at(head, RECORD_CHECKSUM),
        body_len,
        lsn,
        durable_back: u32_at(head, RECORD_DURABLE_BACK),
        epoch_bits: u16_at(head, RECORD_EPOCH),
        kind,
        flags,
    })
}

/// Reads the record at the start of `bytes`, which were read from address `lsn`.
///
/// `bytes` may go on beyond the record. The record is valid only if it carries `lsn`, the epoch
/// of `seed`, known flags, a true checksum, zero alignment bytes and, in a transaction, a
/// `prev_lsn` before its own address. What its kind is, and whether this version knows it, is not
/// judged here: see [`RecordKind::is_readable`]. A compressed body stays compressed (rule 20).
///
/// # Errors
///
/// - [`DecodeError::Incomplete`]: the header is plausible and `bytes` ends too early. Compare
///   `needed` with what is left of the segment before reading more: the length is not proven.
/// - Every other [`DecodeError`]: no valid record stands here.
///
/// # Cost
///
/// One pass of CRC-32C over the record; no copy, no allocation.
#[inline]
pub fn decode_record<'a>(
    bytes: &'a [u8],
    lsn: Lsn,
    seed: &RecordSeed,
) -> Result<RecordRef<'a>, DecodeError> {
    let header = decode_header_at(bytes, lsn)?;
    let checked = check(&header, bytes, seed)?;
    let txn = txn_link_of(&header, checked)?;
    Ok(RecordRef { header, epoch: seed.epoch(), txn, body: body_of(&header, checked) })
}

/// What a record that was proven is, in few words: for who reads many and keeps none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenRecord {
    /// Bytes that the record takes in the log, alignment included.
    pub encoded_bytes: usize,
    /// What the record is.
    pub kind: RecordKind,
}

/// As [`decode_record`], but tells no more than how long the record is, and of what kind; all of it
/// is there with [`read_proven`].
///
/// # Errors
///
/// As [`decode_record`].
///
/// # Cost
///
/// As [`decode_record`]; what it returns fits into registers, so that it may be handed on.
#[inline]
pub fn prove_record(
    bytes: &[u8],
    lsn: Lsn,
    seed: &RecordSeed,
) -> Result<ProvenRecord, DecodeError> {
    let header = decode_header_at(bytes, lsn)?;
    let checked = check(&header, bytes, seed)?;
    txn_link_of(&header, checked)?;
    Ok(ProvenRecord { encoded_bytes: header.encoded_bytes(), kind: header.kind })
}

/// The fields of a record that [`prove_record`] has accepted, in these very bytes, at `lsn` and
/// under the seed of `epoch`. `None` where none stands.
///
/// Its checksum is not computed again: of bytes that were not proven this says nothing.
#[must_use]
#[inline]
pub fn read_proven(bytes: &[u8], lsn: Lsn, epoch: Epoch) -> Option<RecordRef<'_>> {
    let header = decode_header_at(bytes, lsn).ok()?;
    let record = bytes.get(..header.unpadded_bytes())?;
    let txn = txn_link_of(&header, record).ok()?;
    Some(RecordRef { header, epoch, txn, body: body_of(&header, record) })
}

/// Proves that `bytes` begin with the record of this header; gives it without what aligns the next.
#[inline]
fn check<'a>(
    header: &RecordHeader,
    bytes: &'a [u8],
    seed: &RecordSeed,
) -> Result<&'a [u8], DecodeError> {
    if !header.is_of(seed.epoch()) {
        return Err(DecodeError::WrongEpoch { found: header.epoch_bits });
    }
    let needed = header.encoded_bytes();
    let Some(record) = bytes.get(..needed) else {
        return Err(DecodeError::Incomplete { needed: needed as u64 });
    };
    let (checked, padding) =
        record.split_at_checked(header.unpadded_bytes()).unwrap_or((record, &[]));
    let computed =
        crc::append(seed.start(), checked.get(RECORD_CHECKED_FROM..).unwrap_or_default());
    if computed != header.checksum {
        return Err(DecodeError::BadChecksum { stored: header.checksum, computed });
    }
    if !all_zero(padding) {
        return Err(DecodeError::NotZero);
    }
    if header.flags.contains(RecordFlags::COMPRESSED) && !header.kind.is_compressible() {
        return Err(DecodeError::BadField { field: "flags" });
    }
    Ok(checked)
}

#[inline]
fn body_of<'a>(header: &RecordHeader, record: &'a [u8]) -> &'a [u8] {
    record.get(RECORD_HEADER_BYTES + header.extension_bytes()..).unwrap_or_default()
}

#[inline]
fn txn_link_of(header: &RecordHeader, record: &[u8]) -> Result<Option<TxnLink>, DecodeError> {
    if !header.flags.contains(RecordFlags::IN_TXN) {
        return Ok(None);
    }
    let link = TxnLink {
        txn_id: TxnId::new(u64_at(record, RECORD_HEADER_BYTES + TXN_LINK_TXN_ID)),
        prev_lsn: lsn_at(record, RECORD_HEADER_BYTES + TXN_LINK_PREV_LSN, "prev_lsn")?,
    };
    link.check(header.lsn).map_err(|field| DecodeError::BadField { field })?;
    Ok(Some(link))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::put;
    use crate::encode::RecordDraft;
    use crate::ids::LogId;
    use alloc::vec;
    use alloc::vec::Vec;

    fn seed() -> RecordSeed {
        RecordSeed::new(LogId::from_bytes([9; 16]), Epoch::new(2))
    }

    fn encoded(body: &[u8], txn: Option<TxnLink>) -> Vec<u8> {
        let parts = [body];
        let draft = RecordDraft { txn, ..RecordDraft::new(RecordKind::DATA, &parts) };
        let mut out = vec![0xee; draft.encoded_bytes()];
        draft.encode_into(&seed(), Lsn::FIRST, Some(Lsn::FIRST), &mut out).unwrap();
        out
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let link = TxnLink { txn_id: TxnId::new(5), prev_lsn: Lsn::NONE };
        for txn in [None, Some(link)] {
            for len in 0..40 {
                let body: Vec<u8> = (0..len).collect();
                let bytes = encoded(&body, txn);
                let record = decode_record(&bytes, Lsn::FIRST, &seed()).unwrap();
                assert_eq!((record.body, record.txn), (&body[..], txn));
                assert_eq!(record.end().get(), Lsn::FIRST.get() + bytes.len() as u64);
                assert_eq!(record.durable(), Some(Lsn::FIRST));
                let proven = prove_record(&bytes, Lsn::FIRST, &seed()).unwrap();
                assert_eq!((proven.encoded_bytes, proven.kind), (bytes.len(), record.kind()));
                assert_eq!(read_proven(&bytes, Lsn::FIRST, seed().epoch()), Some(record));
            }
        }
    }

    #[test]
    fn what_is_proven_is_what_is_decoded_whichever_bit_is_flipped() {
        let link = TxnLink { txn_id: TxnId::new(5), prev_lsn: Lsn::NONE };
        for txn in [None, Some(link)] {
            let bytes = encoded(b"a body", txn);
            for bit in 0..bytes.len() * 8 {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let refused = decode_record(&bytes, Lsn::FIRST, &seed()).unwrap_err();
                assert_eq!(prove_record(&bytes, Lsn::FIRST, &seed()), Err(refused), "{bit}");
                // Whatever is read of bytes that were not proven, it is of those bytes.
                let read = read_proven(&bytes, Lsn::FIRST, seed().epoch());
                assert!(read.is_none_or(|read| read.body.len() <= bytes.len()), "{bit}");
            }
        }
    }

    #[test]
    fn a_record_of_another_place_log_or_epoch_is_refused() {
        let bytes = encoded(b"here", None);
        let elsewhere = Lsn::new(8192).unwrap();
        let other_log = RecordSeed::new(LogId::from_bytes([8; 16]), Epoch::new(2));
        let other_epoch = RecordSeed::new(LogId::from_bytes([9; 16]), Epoch::new(3));
        let far_epoch = RecordSeed::new(LogId::from_bytes([9; 16]), Epoch::new(2 + (1 << 16)));
        assert_eq!(
            decode_record(&bytes, elsewhere, &seed()),
            Err(DecodeError::WrongLsn { found: Lsn::FIRST.get() })
        );
        let refused = |seed| decode_record(&bytes, Lsn::FIRST, seed).unwrap_err();
        assert!(matches!(refused(&other_log), DecodeError::BadChecksum { .. }));
        assert!(matches!(refused(&other_epoch), DecodeError::WrongEpoch { found: 2 }));
        assert!(matches!(refused(&far_epoch), DecodeError::BadChecksum { .. }));
    }

    #[test]
    fn zeroed_space_is_not_a_record() {
        assert_eq!(decode_record(&[0; 64], Lsn::FIRST, &seed()), Err(DecodeError::Zeroed));
    }

    #[test]
    fn a_chain_that_does_not_lead_back_is_refused_though_its_checksum_is_true() {
        let link = TxnLink { txn_id: TxnId::new(5), prev_lsn: Lsn::NONE };
        for (at, field, value) in [
            (TXN_LINK_TXN_ID, "txn_id", 0),
            (TXN_LINK_PREV_LSN, "prev_lsn", Lsn::FIRST.get()),
            (TXN_LINK_PREV_LSN, "prev_lsn", 8),
            (TXN_LINK_PREV_LSN, "prev_lsn", 4097),
        ] {
            let mut bytes = encoded(b"8 bytes!", Some(link));
            put(&mut bytes, RECORD_HEADER_BYTES + at, &u64::to_le_bytes(value));
            let checksum = crc::append(seed().start(), &bytes[RECORD_CHECKED_FROM..]);
            put(&mut bytes, RECORD_CHECKSUM, &checksum.to_le_bytes());
            assert_eq!(
                decode_record(&bytes, Lsn::FIRST, &seed()),
                Err(DecodeError::BadField { field })
            );
        }
    }

    #[test]
    fn r20_no_record_that_recovery_reads_may_be_compressed() {
        for kind in RecordKind::FORMAT_KINDS.iter().filter(|kind| !kind.is_compressible()) {
            let mut bytes = encoded(b"8 bytes!", None);
            let flags = RecordFlags::COMPRESSED.bits();
            put(&mut bytes, RECORD_KIND, &[kind.get(), flags]);
            let checksum = crc::append(seed().start(), &bytes[RECORD_CHECKED_FROM..]);
            put(&mut bytes, RECORD_CHECKSUM, &checksum.to_le_bytes());
            assert_eq!(
                decode_record(&bytes, Lsn::FIRST, &seed()),
                Err(DecodeError::BadField { field: "flags" }),
                "{kind}"
            );
        }
    }
}
