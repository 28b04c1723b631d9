//! A record of one piece and in no transaction, as most are: put where it goes in as few steps as
//! there can be, for others wait meanwhile.

use crate::bytes::put;
use crate::crc::RecordSeed;
use crate::encode::encoded_bytes;
use crate::kind::RecordKind;
use crate::layout::{
    BODY_BYTES_MAX, RECORD_ALIGN_BYTES, RECORD_BODY_LEN, RECORD_DURABLE_BACK, RECORD_EPOCH,
    RECORD_FLAGS, RECORD_HEADER_BYTES, RECORD_KIND, RECORD_LSN,
};
use crate::lsn::Lsn;
use crate::record_header::{RecordFlags, durable_back};

/// What may be said of a record that is encoded here: its place in a batch.
const OF_A_BATCH: RecordFlags = RecordFlags::BATCH_FOLLOWS.with(RecordFlags::BATCH_CONTINUES);

/// Writes a record of `kind` for address `lsn`, all but the checksum, which
/// [`write_checksums`](crate::write_checksums) puts in before anybody may read the record: the same
/// bytes as [`RecordDraft::encode_without_checksum`](crate::RecordDraft::encode_without_checksum).
///
/// `false`, and nothing was written, when that would refuse, or `out` has not just the bytes
/// that the record [takes](encoded_bytes), or `flags` has others than those of a batch.
///
/// # Cost
///
/// One copy of the body.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "what is the same for all records of a batch is looked at once"
)]
#[must_use]
pub fn encode_plain(
    kind: RecordKind,
    flags: RecordFlags,
    body: &[u8],
    seed: &RecordSeed,
    lsn: Lsn,
    durable: Option<Lsn>,
    out: &mut [u8],
) -> bool {
    let fits = body.len() <= BODY_BYTES_MAX && out.len() == encoded_bytes(body.len(), false);
    let plain = flags.without(OF_A_BATCH) == RecordFlags::NONE;
    if !fits || !plain || lsn < Lsn::FIRST {
        return false;
    }
    // The alignment is less than one unit: the last one is cleared, then the body is put in.
    if let Some(last) = out.last_chunk_mut::<RECORD_ALIGN_BYTES>() {
        *last = [0; RECORD_ALIGN_BYTES];
    }
    let mut header = [0_u8; RECORD_HEADER_BYTES];
    put(&mut header, RECORD_BODY_LEN, &(body.len() as u32).to_le_bytes());
    put(&mut header, RECORD_LSN, &lsn.get().to_le_bytes());
    put(&mut header, RECORD_DURABLE_BACK, &durable_back(lsn, durable).to_le_bytes());
    put(&mut header, RECORD_EPOCH, &seed.epoch().low_bits().to_le_bytes());
    put(&mut header, RECORD_KIND, &[kind.get()]);
    put(&mut header, RECORD_FLAGS, &[flags.bits()]);
    if let Some(start) = out.first_chunk_mut() {
        *start = header;
    }
    put(out, RECORD_HEADER_BYTES, body);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::RecordDraft;
    use crate::ids::{Epoch, LogId};
    use alloc::vec;

    fn seed() -> RecordSeed {
        RecordSeed::new(LogId::from_bytes([5; 16]), Epoch::new(0x1_0203))
    }

    #[test]
    fn it_is_what_a_draft_of_one_piece_is_at_every_length() {
        let (body, lsn) = ([0x5a; 66], Lsn::new(8192).unwrap());
        for bytes in 0..body.len() {
            for durable in [None, Lsn::new(8192), Lsn::new(4096), Lsn::new(16384)] {
                for flags in [RecordFlags::NONE, RecordFlags::BATCH_FOLLOWS, OF_A_BATCH] {
                    let (kind, parts) = (RecordKind::DATA, [&body[..bytes]]);
                    let draft = RecordDraft::new(kind, &parts).with_flags(flags);
                    let mut expected = vec![0xee; draft.encoded_bytes()];
                    draft.encode_without_checksum(&seed(), lsn, durable, &mut expected).unwrap();
                    let mut out = vec![0xdd; draft.encoded_bytes()];
                    assert!(encode_plain(kind, flags, parts[0], &seed(), lsn, durable, &mut out));
                    assert_eq!(out, expected);
                }
            }
        }
    }

    #[test]
    fn what_has_no_place_is_not_written() {
        let refused = |flags, lsn, bytes: usize| {
            let (kind, mut out) = (RecordKind::DATA, vec![0xdd; bytes]);
            let written = encode_plain(kind, flags, b"body", &seed(), lsn, None, &mut out);
            !written && out.iter().all(|byte| *byte == 0xdd)
        };
        let (none, lsn) = (RecordFlags::NONE, Lsn::new(8192).unwrap());
        assert!(refused(none, lsn, 24) && refused(none, lsn, 40) && refused(none, lsn, 0));
        assert!(refused(none, Lsn::NONE, 32) && !refused(none, lsn, 32));
        assert!(refused(RecordFlags::IN_TXN, lsn, 32));
        assert!(refused(OF_A_BATCH.with(RecordFlags::COMPRESSED), lsn, 32));
    }
}
