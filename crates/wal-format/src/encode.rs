//! Writing one record into a buffer of the caller's.

use crate::bytes::{array_at, put, u32_at};
use crate::crc::{self, RecordSeed};
use crate::error::EncodeError;
use crate::kind::RecordKind;
use crate::layout::{
    BODY_BYTES_MAX, RECORD_ALIGN_BYTES, RECORD_BODY_LEN, RECORD_CHECKED_FROM, RECORD_CHECKSUM,
    RECORD_DURABLE_BACK, RECORD_EPOCH, RECORD_FLAGS, RECORD_HEADER_BYTES, RECORD_KIND, RECORD_LSN,
    TXN_LINK_BYTES, TXN_LINK_PREV_LSN, TXN_LINK_TXN_ID,
};
use crate::lsn::Lsn;
use crate::record_header::{RecordFlags, TxnLink, durable_back};

/// Bytes that a record with a body of `body_bytes` takes in the log, alignment included.
#[must_use]
pub const fn encoded_bytes(body_bytes: usize, in_txn: bool) -> usize {
    let extension = if in_txn { TXN_LINK_BYTES } else { 0 };
    (RECORD_HEADER_BYTES + extension + body_bytes).next_multiple_of(RECORD_ALIGN_BYTES)
}

/// A record which has no address yet.
///
/// The body is the concatenation of `parts`, so that a fixed head and an image need not be
/// copied together first.
#[derive(Clone, Copy, Debug)]
pub struct RecordDraft<'a> {
    /// What the record is.
    pub kind: RecordKind,
    /// What is special about it; [`RecordFlags::IN_TXN`] is set from `txn`.
    pub flags: RecordFlags,
    /// The transaction, for records in one.
    pub txn: Option<TxnLink>,
    /// The body, in pieces.
    pub parts: &'a [&'a [u8]],
}

impl<'a> RecordDraft<'a> {
    /// A plain record of `kind`.
    #[must_use]
    pub const fn new(kind: RecordKind, parts: &'a [&'a [u8]]) -> Self {
        Self { kind, flags: RecordFlags::NONE, txn: None, parts }
    }

    /// The same record, with more flags.
    #[must_use]
    pub const fn with_flags(self, flags: RecordFlags) -> Self {
        Self { flags: self.flags.with(flags), ..self }
    }

    /// The same record, in a transaction.
    #[must_use]
    pub const fn in_txn(self, txn: TxnLink) -> Self {
        Self { txn: Some(txn), ..self }
    }

    /// Bytes of the body.
    #[inline]
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        // Most have one, and a sum of few is made ready for many.
        match self.parts {
            [body] => body.len(),
            parts => parts.iter().map(|part| part.len()).sum(),
        }
    }

    /// Bytes that the record takes in the log, alignment included.
    #[inline]
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        encoded_bytes(self.body_bytes(), self.txn.is_some())
    }

    /// Writes the record for address `lsn` at the start of `out`; returns its bytes.
    ///
    /// `durable` is what is known to be durable now: everything before that address.
    ///
    /// # Errors
    ///
    /// - [`EncodeError::BodyTooLong`]: more than [`BODY_BYTES_MAX`] bytes.
    /// - [`EncodeError::BadField`]: a transaction without an identity, a `prev_lsn` which is no
    ///   earlier record, or a compressed body in a kind that recovery itself reads.
    /// - [`EncodeError::BufferTooSmall`]: `out` is shorter than
    ///   [`encoded_bytes`](Self::encoded_bytes).
    ///
    /// In each case nothing was written.
    ///
    /// # Cost
    ///
    /// One copy of the body and one pass of CRC-32C over the record.
    pub fn encode_into(
        &self,
        seed: &RecordSeed,
        lsn: Lsn,
        durable: Option<Lsn>,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let (head, head_bytes) = self.encode_head(seed, lsn, durable)?;
        let needed = self.encoded_bytes();
        let given = out.len();
        let Some(place) = out.get_mut(..needed) else {
            return Err(EncodeError::BufferTooSmall { needed, given });
        };
        let head = head.get(..head_bytes).unwrap_or(&head);
        put(place, 0, head);
        let mut at = head_bytes;
        for part in self.parts {
            put(place, at, part);
            at += part.len();
        }
        place.get_mut(at..).unwrap_or_default().fill(0);
        Ok(needed)
    }

    /// Header and extension alone, checksum over the whole record included, and their bytes.
    ///
    /// For a record written from the caller's own memory: these bytes, then the parts of the
    /// body, then zeros up to [`encoded_bytes`](Self::encoded_bytes).
    ///
    /// # Errors
    ///
    /// [`EncodeError::BodyTooLong`] and [`EncodeError::BadField`], as
    /// [`encode_into`](Self::encode_into).
    pub fn encode_head(
        &self,
        seed: &RecordSeed,
        lsn: Lsn,
        durable: Option<Lsn>,
    ) -> Result<([u8; RECORD_HEADER_BYTES + TXN_LINK_BYTES], usize), EncodeError> {
        let body_bytes = self.check(lsn)?;
        let mut head = self.head_without_checksum(seed, lsn, durable, body_bytes);
        let head_bytes = self.head_bytes();
        let checked = head.get(RECORD_CHECKED_FROM..head_bytes).unwrap_or_default();
        let mut checksum = crc::append(seed.start(), checked);
        for part in self.parts {
            checksum = crc::append(checksum, part);
        }
        put(&mut head, RECORD_CHECKSUM, &checksum.to_le_bytes());
        Ok((head, head_bytes))
    }

    /// As [`encode_into`](Self::encode_into), all but the checksum, which
    /// [`write_checksums`] puts in before anybody may read the record.
    ///
    /// # Errors
    ///
    /// As [`encode_into`](Self::encode_into); in each case nothing was written.
    ///
    /// # Cost
    ///
    /// One copy of the body.
    #[inline]
    pub fn encode_without_checksum(
        &self,
        seed: &RecordSeed,
        lsn: Lsn,
        durable: Option<Lsn>,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let body_bytes = self.check(lsn)?;
        let needed = encoded_bytes(body_bytes, self.txn.is_some());
        let given = out.len();
        let Some(place) = out.get_mut(..needed) else {
            return Err(EncodeError::BufferTooSmall { needed, given });
        };
        let header = self.header_without_checksum(seed, lsn, durable, body_bytes);
        // The alignment is less than one unit: the last one is cleared, then the body is put in.
        if let Some(last) = place.last_chunk_mut::<RECORD_ALIGN_BYTES>() {
            *last = [0; RECORD_ALIGN_BYTES];
        }
        // Each piece goes straight to its place: a copy of the head made first costs as much again.
        if let Some(start) = place.first_chunk_mut() {
            *start = header;
        }
        if let Some(link) = &self.txn {
            put_link(place, link);
        }
        let mut at = self.head_bytes();
        for part in self.parts {
            put(place, at, part);
            at += part.len();
        }
        Ok(needed)
    }

    /// Bytes of header and extension.
    #[inline]
    const fn head_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + if self.txn.is_some() { TXN_LINK_BYTES } else { 0 }
    }

    /// Header and extension, with zeros for the checksum.
    fn head_without_checksum(
        &self,
        seed: &RecordSeed,
        lsn: Lsn,
        durable: Option<Lsn>,
        body_bytes: usize,
    ) -> [u8; RECORD_HEADER_BYTES + TXN_LINK_BYTES] {
        let mut head = [0_u8; RECORD_HEADER_BYTES + TXN_LINK_BYTES];
        put(&mut head, 0, &self.header_without_checksum(seed, lsn, durable, body_bytes));
        if let Some(link) = &self.txn {
            put_link(&mut head, link);
        }
        head
    }

    /// The header alone, with zeros for the checksum.
    #[inline]
    fn header_without_checksum(
        &self,
        seed: &RecordSeed,
        lsn: Lsn,
        durable: Option<Lsn>,
        body_bytes: usize,
    ) -> [u8; RECORD_HEADER_BYTES] {
        let mut header = [0_u8; RECORD_HEADER_BYTES];
        let mut flags = self.flags.without(RecordFlags::IN_TXN);
        if self.txn.is_some() {
            flags = flags.with(RecordFlags::IN_TXN);
        }
        put(&mut header, RECORD_BODY_LEN, &(body_bytes as u32).to_le_bytes());
        put(&mut header, RECORD_LSN, &lsn.get().to_le_bytes());
        put(&mut header, RECORD_DURABLE_BACK, &durable_back(lsn, durable).to_le_bytes());
        put(&mut header, RECORD_EPOCH, &seed.epoch().low_bits().to_le_bytes());
        put(&mut header, RECORD_KIND, &[self.kind.get()]);
        put(&mut header, RECORD_FLAGS, &[flags.bits()]);
        header
    }

    /// What a decoder would refuse is not written. Returns the bytes of the body.
    #[inline]
    fn check(&self, lsn: Lsn) -> Result<usize, EncodeError> {
        let body_bytes = self.body_bytes();
        if body_bytes > BODY_BYTES_MAX {
            return Err(EncodeError::BodyTooLong { bytes: body_bytes as u64 });
        }
        if lsn < Lsn::FIRST {
            return Err(EncodeError::BadField { field: "lsn" });
        }
        if self.flags.contains(RecordFlags::COMPRESSED) && !self.kind.is_compressible() {
            return Err(EncodeError::BadField { field: "flags" });
        }
        self.txn
            .map_or(Ok(()), |link| link.check(lsn))
            .map_err(|field| EncodeError::BadField { field })?;
        Ok(body_bytes)
    }
}

/// Puts the extension of a record in a transaction behind its header.
fn put_link(record: &mut [u8], link: &TxnLink) {
    put(record, RECORD_HEADER_BYTES + TXN_LINK_TXN_ID, &link.txn_id.get().to_le_bytes());
    put(record, RECORD_HEADER_BYTES + TXN_LINK_PREV_LSN, &link.prev_lsn.get().to_le_bytes());
}

/// Puts the checksums into the records of `bytes`, one after the other, that were
/// [encoded without](RecordDraft::encode_without_checksum) under `seed`; those that have one are
/// passed over.
///
/// Many short records at once take a fraction of the time that each alone does: the checksums do
/// not wait for one another.
///
/// # Errors
///
/// [`EncodeError::BufferTooSmall`]: `bytes` does not end where a record does; those before the last
/// one have their checksum.
///
/// # Cost
///
/// One pass of CRC-32C over the records without a checksum.
pub fn write_checksums(seed: &RecordSeed, bytes: &mut [u8]) -> Result<(), EncodeError> {
    let mut rest = bytes;
    // Records of one length begin alike, and neighbours mostly are of one length: the checksum of
    // that beginning is computed once.
    let mut begun = (0, seed_and_length(seed, 0));
    while !rest.is_empty() {
        let body_bytes = u32_at(rest, RECORD_BODY_LEN) as usize;
        let [flags] = array_at(rest, RECORD_FLAGS);
        let in_txn = flags & RecordFlags::IN_TXN.bits() != 0;
        let needed = encoded_bytes(body_bytes, in_txn);
        let given = rest.len();
        let Some((record, behind)) = rest.split_at_mut_checked(needed) else {
            return Err(EncodeError::BufferTooSmall { needed, given });
        };
        // Where it is zero in truth it is computed again, which changes nothing.
        if u32_at(record, RECORD_CHECKSUM) == 0 {
            if begun.0 != body_bytes {
                begun = (body_bytes, seed_and_length(seed, body_bytes));
            }
            let extension = if in_txn { TXN_LINK_BYTES } else { 0 };
            let end = RECORD_HEADER_BYTES + extension + body_bytes;
            let checked = record.get(RECORD_LSN..end).unwrap_or_default();
            let checksum = crc::append(begun.1, checked);
            put(record, RECORD_CHECKSUM, &checksum.to_le_bytes());
        }
        rest = behind;
    }
    Ok(())
}

/// The checksum of what comes before the address in a record with a body of `body_bytes`.
fn seed_and_length(seed: &RecordSeed, body_bytes: usize) -> u32 {
    const { assert!(RECORD_CHECKED_FROM == RECORD_BODY_LEN && RECORD_BODY_LEN + 4 == RECORD_LSN) };
    crc::append(seed.start(), &(body_bytes as u32).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, LogId, TxnId};

    fn refusal(draft: &RecordDraft<'_>, lsn: Lsn) -> EncodeError {
        let seed = RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::FIRST);
        draft.encode_into(&seed, lsn, None, &mut [0; 256]).unwrap_err()
    }

    #[test]
    fn what_a_decoder_would_refuse_is_not_written() {
        let lsn = Lsn::new(8192).unwrap();
        let draft = RecordDraft::new(RecordKind::DATA, &[]);
        let linked = |txn_id, prev_lsn| draft.in_txn(TxnLink { txn_id, prev_lsn });
        let txn_id = TxnId::new(1);
        let bad = |field| EncodeError::BadField { field };
        assert_eq!(refusal(&linked(txn_id, lsn), lsn), bad("prev_lsn"));
        assert_eq!(refusal(&linked(txn_id, Lsn::new(8).unwrap()), lsn), bad("prev_lsn"));
        assert_eq!(refusal(&linked(TxnId::NONE, Lsn::NONE), lsn), bad("txn_id"));
        assert_eq!(refusal(&draft, Lsn::NONE), bad("lsn"));
        let commit = RecordDraft::new(RecordKind::COMMIT, &[]);
        assert_eq!(refusal(&commit.with_flags(RecordFlags::COMPRESSED), lsn), bad("flags"));
    }

    #[test]
    fn a_buffer_too_small_is_left_alone() {
        let seed = RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::FIRST);
        let draft = RecordDraft::new(RecordKind::DATA, &[b"nine bytes"]);
        let mut out = [0xee; 32];
        assert_eq!(
            draft.encode_into(&seed, Lsn::FIRST, None, &mut out),
            Err(EncodeError::BufferTooSmall { needed: 40, given: 32 })
        );
        assert_eq!(out, [0xee; 32]);
    }

    #[test]
    fn a_head_written_apart_is_the_same_record() {
        let seed = RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::FIRST);
        let link = TxnLink { txn_id: TxnId::new(3), prev_lsn: Lsn::NONE };
        for draft in [
            RecordDraft::new(RecordKind::DATA, &[b"two ", b"parts"]),
            RecordDraft::new(RecordKind::DATA, &[b"two ", b"parts"]).in_txn(link),
        ] {
            let mut whole = [0; 64];
            let bytes = draft.encode_into(&seed, Lsn::FIRST, None, &mut whole).unwrap();
            let (head, head_bytes) = draft.encode_head(&seed, Lsn::FIRST, None).unwrap();
            assert_eq!(whole[..head_bytes], head[..head_bytes]);
            assert_eq!(whole[head_bytes..head_bytes + 9], *b"two parts");
            assert!(whole[head_bytes + 9..bytes].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn checksums_written_later_make_the_same_records() {
        let seed = RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::FIRST);
        let link = TxnLink { txn_id: TxnId::new(3), prev_lsn: Lsn::NONE };
        let body = [0x5a; 600];
        let mut later = [0xee; 8192];
        let mut whole = [0xee; 8192];
        let (mut at, mut lsn) = (0, Lsn::FIRST);
        for bytes in [0, 1, 7, 8, 9, 128, 599, 600, 64] {
            for txn in [None, Some(link)] {
                let parts = [&body[..bytes / 2], &body[bytes / 2..bytes]];
                let draft = RecordDraft { txn, ..RecordDraft::new(RecordKind::DATA, &parts) };
                draft.encode_into(&seed, lsn, Some(Lsn::FIRST), &mut whole[at..]).unwrap();
                let place = &mut later[at..];
                at += if bytes <= 128 {
                    draft.encode_without_checksum(&seed, lsn, Some(Lsn::FIRST), place).unwrap()
                } else {
                    draft.encode_into(&seed, lsn, Some(Lsn::FIRST), place).unwrap()
                };
                lsn = Lsn::new(Lsn::FIRST.get() + at as u64).unwrap();
            }
        }
        assert_ne!(later[..at], whole[..at]);
        write_checksums(&seed, &mut later[..at]).unwrap();
        assert_eq!(later[..at], whole[..at]);
        let cut = write_checksums(&seed, &mut later[..at - 8]);
        assert_eq!(cut, Err(EncodeError::BufferTooSmall { needed: 104, given: 96 }));
    }
}
