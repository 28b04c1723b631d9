//! When a record in the buffer gets its checksum.
//!
//! A long record gets it with its copy. A short one gets it from whoever writes the buffer out, with
//! all others that wait there, outside of the lock: one checksum alone waits for itself from step to
//! step, while those of many short records overlap. So the lock is held for little more than the
//! copy, and an append costs less on the whole. Only where those who write fall behind those who
//! append does a short record get it at once (`clearance`).
//!
//! Invariant: bytes which leave the buffer went through [`finish`]; nobody reads them before.

use wal_format::layout::RECORD_HEADER_BYTES;
use wal_format::{EncodeError, Lsn, RecordDraft, RecordSeed, write_checksums};

use crate::poison::PoisonCause;

/// Bytes of the longest body whose checksum comes later. From about here on a checksum keeps the
/// processor busy by itself.
pub(crate) const LATER_BYTES_MAX: usize = 512;

/// A record whose body is shorter is copied under the brief lock, in a log whose buffer takes at most
/// so many bytes at once.
pub(crate) fn short_below(batch_bytes_max: u64) -> usize {
    let longest = LATER_BYTES_MAX.min(usize::try_from(batch_bytes_max).unwrap_or(usize::MAX));
    (longest + 1).saturating_sub(RECORD_HEADER_BYTES)
}

/// Encodes a record into the buffer.
#[inline]
pub(crate) fn encode(
    draft: &RecordDraft<'_>,
    seed: &RecordSeed,
    lsn: Lsn,
    durable: Option<Lsn>,
    space: &mut [u8],
) -> Result<(), EncodeError> {
    let encoded = if draft.body_bytes() <= LATER_BYTES_MAX {
        draft.encode_without_checksum(seed, lsn, durable, space)
    } else {
        draft.encode_into(seed, lsn, durable, space)
    };
    encoded.map(|_| ())
}

/// Puts in the checksums which are missing in `bytes`, before they are written.
pub(crate) fn finish(seed: &RecordSeed, bytes: &mut [u8]) -> Result<(), PoisonCause> {
    write_checksums(seed, bytes)
        .map_err(|_| PoisonCause::invariant("the buffer holds whole records"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::{Epoch, LogId, RecordKind, decode_record};

    #[test]
    fn records_of_every_length_are_whole_when_they_leave_the_buffer() {
        let seed = RecordSeed::new(LogId::from_bytes([3; 16]), Epoch::FIRST);
        let body = [0x5a; LATER_BYTES_MAX + 16];
        for bytes in 0..body.len() {
            let parts = [&body[..bytes]];
            let draft = RecordDraft::new(RecordKind::DATA, &parts);
            let mut space = vec![0xee; draft.encoded_bytes()];
            encode(&draft, &seed, Lsn::FIRST, None, &mut space).unwrap();
            finish(&seed, &mut space).unwrap();
            assert_eq!(decode_record(&space, Lsn::FIRST, &seed).unwrap().body, parts[0]);
        }
    }
}
