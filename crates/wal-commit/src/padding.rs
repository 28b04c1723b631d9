//! Padding records: a header, and a body of zeros.
//!
//! They fill what is left of a segment, of a block, and up to the clean end (rules 12, 13).

use std::io::IoSlice;

use wal_format::layout::{BLOCK_BYTES, BODY_BYTES_MAX, RECORD_HEADER_BYTES};
use wal_format::{EncodeError, Lsn, LsnRange, RecordDraft, RecordKind, RecordSeed};
use wal_io::{IoError, LogSink};

use crate::poison::PoisonCause;
use crate::reserve::step;

const ZEROS_BYTES: usize = 64 << 10;
static ZEROS: [u8; ZEROS_BYTES] = [0; ZEROS_BYTES];

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Bytes of one write of a long padding record: a whole number of blocks.
const WRITE_BYTES: u64 = 1 << 20;

/// Bytes of the longest padding record: half of what a record may hold, in whole blocks.
const RECORD_BYTES: u64 = (BODY_BYTES_MAX / 2) as u64;

const _: () = assert!(WRITE_BYTES.is_multiple_of(BLOCK) && RECORD_BYTES.is_multiple_of(BLOCK));

/// `bytes` zeros, in pieces.
pub(crate) fn zeros<'a>(bytes: u64) -> impl Iterator<Item = &'a [u8]> {
    let zeros: &'a [u8] = &ZEROS;
    let whole = (bytes / ZEROS_BYTES as u64) as usize;
    let rest = (bytes % ZEROS_BYTES as u64) as usize;
    let rest = zeros.get(..rest).filter(|rest| !rest.is_empty());
    std::iter::repeat_n(zeros, whole).chain(rest)
}

/// Encodes the padding record that takes all of `out`, at `lsn`.
pub(crate) fn encode_padding(
    seed: &RecordSeed,
    lsn: Lsn,
    durable: Option<Lsn>,
    out: &mut [u8],
) -> Result<(), EncodeError> {
    let body: Vec<&[u8]> = zeros(body_bytes(out.len() as u64)).collect();
    RecordDraft::new(RecordKind::PADDING, &body).encode_into(seed, lsn, durable, out).map(|_| ())
}

/// The header of the padding record that takes `bytes` at `lsn`; zeros follow it.
pub(crate) fn padding_head(
    seed: &RecordSeed,
    lsn: Lsn,
    durable: Option<Lsn>,
    bytes: u64,
) -> Result<[u8; RECORD_HEADER_BYTES], EncodeError> {
    let body: Vec<&[u8]> = zeros(body_bytes(bytes)).collect();
    let (head, _) = RecordDraft::new(RecordKind::PADDING, &body).encode_head(seed, lsn, durable)?;
    let mut header = [0; RECORD_HEADER_BYTES];
    header.copy_from_slice(&head[..RECORD_HEADER_BYTES]);
    Ok(header)
}

/// The padding records that fill `range`: one, unless it is longer than a record may be.
pub(crate) fn padding_records(range: LsnRange) -> impl Iterator<Item = LsnRange> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let left = LsnRange::new(at, range.end).bytes();
        let bytes = match left {
            0 => return None,
            left if left <= RECORD_BYTES => left,
            // What remains must be able to hold a header (rule 13).
            left if left - RECORD_BYTES < RECORD_HEADER_BYTES as u64 => RECORD_BYTES - BLOCK,
            _ => RECORD_BYTES,
        };
        let record = LsnRange::new(at, step(at, bytes));
        at = record.end;
        Some(record)
    })
}

/// Writes the padding records that fill `range`, past the buffer.
pub(crate) fn write_padding(
    sink: &mut dyn LogSink,
    seed: &RecordSeed,
    durable: Option<Lsn>,
    range: LsnRange,
) -> Result<(), PoisonCause> {
    for record in padding_records(range) {
        let head = padding_head(seed, record.start, durable, record.bytes())
            .map_err(|_| PoisonCause::invariant("padding is never longer than a record"))?;
        write_record(sink, &head, record).map_err(PoisonCause::write)?;
    }
    Ok(())
}

fn write_record(
    sink: &mut dyn LogSink,
    head: &[u8; RECORD_HEADER_BYTES],
    record: LsnRange,
) -> Result<(), IoError> {
    let mut at = record.start;
    while at < record.end {
        let bytes = LsnRange::new(at, record.end).bytes().min(WRITE_BYTES);
        let first = at == record.start;
        let zero_bytes = if first { body_bytes(bytes) } else { bytes };
        let head = first.then_some(&head[..]);
        let slices: Vec<_> = head.into_iter().chain(zeros(zero_bytes)).map(IoSlice::new).collect();
        sink.write(at, &slices)?;
        at = step(at, bytes);
    }
    Ok(())
}

const fn body_bytes(bytes: u64) -> u64 {
    bytes.saturating_sub(RECORD_HEADER_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::{Epoch, LogId, decode_record};

    #[test]
    fn padding_of_every_size_is_a_record() {
        let seed = RecordSeed::new(LogId::from_bytes([3; 16]), Epoch::FIRST);
        for bytes in [24, 32, 4096, ZEROS_BYTES, ZEROS_BYTES + 24, 3 * ZEROS_BYTES + 8] {
            let mut out = vec![0xee; bytes];
            encode_padding(&seed, Lsn::FIRST, None, &mut out).unwrap();
            let record = decode_record(&out, Lsn::FIRST, &seed).unwrap();
            assert_eq!((record.kind(), record.encoded_bytes()), (RecordKind::PADDING, bytes));
            let head = padding_head(&seed, Lsn::FIRST, None, bytes as u64).unwrap();
            assert_eq!(head[..], out[..24], "both ways give the same header");
            assert_eq!(zeros(bytes as u64).map(<[u8]>::len).sum::<usize>(), bytes);
        }
    }

    #[test]
    fn r13_padding_longer_than_a_record_is_several_records() {
        for extra in [0, 8, 16, 24, 4096, RECORD_BYTES + 8] {
            let range = LsnRange::new(Lsn::FIRST, step(Lsn::FIRST, 2 * RECORD_BYTES + extra));
            let mut at = range.start;
            for record in padding_records(range) {
                assert_eq!(record.start, at);
                assert!((24..=RECORD_BYTES).contains(&record.bytes()), "{record:?}");
                at = record.end;
            }
            assert_eq!(at, range.end);
        }
    }
}
