//! Bytes that mean harm: every truncation and every flipped bit of every kind of record is an
//! error or a shorter log; never a panic, never a wrong record.
//!
//! That nothing is allocated beyond the input follows from the types, and is checked as far as
//! types show it: what a decoder returns lies in its input, and iterators yield no more entries
//! than the input has bytes for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{EPOCH, LOG_ID, encode_body, log_of_samples, lsn, samples, seed};
use proptest::prelude::*;
use wal_format::body::{Body, CheckpointPart, DirtyPage, TxnEntry};
use wal_format::layout::BLOCK_BYTES;
use wal_format::{
    ControlSlot, DecodeError, Epoch, EpochTracker, LogId, Lsn, RecordDraft, RecordIter, RecordKind,
    RecordRef, RecordSeed, SegmentHeader, decode_record, find_record_candidate, resolve_epoch,
};

const START: u64 = 8192;

fn walk(log: &[u8]) -> RecordIter<'_> {
    RecordIter::new(log, lsn(START), EpochTracker::new(LOG_ID, EPOCH))
}

fn intact(log: &[u8]) -> Vec<RecordRef<'_>> {
    walk(log).map(|record| record.unwrap()).collect()
}

/// How many records come before the first that is not whole, if every one of them is what was
/// written; the records after it must not appear.
fn whole_records(damaged: &[u8], written: &[RecordRef<'_>]) -> (usize, Option<DecodeError>) {
    let mut count = 0;
    for found in walk(damaged) {
        match found {
            Ok(record) => assert_eq!(Some(&record), written.get(count), "a wrong record"),
            Err(error) => return (count, Some(error)),
        }
        count += 1;
    }
    (count, None)
}

#[test]
fn every_truncation_of_a_record_asks_for_the_rest() {
    for sample in samples() {
        let bytes = sample.encode(&seed(), lsn(START));
        for len in 0..bytes.len() {
            let error = decode_record(&bytes[..len], lsn(START), &seed()).unwrap_err();
            assert!(
                matches!(error, DecodeError::Incomplete { needed } if needed <= bytes.len() as u64),
                "{} cut at {len}: {error}",
                sample.name
            );
        }
    }
}

#[test]
fn every_truncation_of_a_log_is_a_shorter_log() {
    let (log, starts) = log_of_samples(lsn(START));
    let written = intact(&log);
    for len in 0..log.len() {
        let whole = starts.iter().skip(1).filter(|start| **start <= len).count();
        let (found, error) = whole_records(&log[..len], &written);
        assert_eq!(found, whole, "cut at {len}");
        assert_eq!(error.is_none(), starts.contains(&len), "cut at {len}");
    }
}

#[test]
fn every_flipped_bit_of_a_log_ends_it_before_the_damaged_record() {
    let (mut log, starts) = log_of_samples(lsn(START));
    let pristine = log.clone();
    let written = intact(&pristine);
    for bit in 0..log.len() * 8 {
        log[bit / 8] ^= 1 << (bit % 8);
        let damaged = starts.iter().filter(|start| **start <= bit / 8).count() - 1;
        let (found, error) = whole_records(&log, &written);
        assert_eq!((found, error.is_some()), (damaged, true), "bit {bit}");
        log[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_zeroed_tail_ends_the_log_before_it() {
    let (log, starts) = log_of_samples(lsn(START));
    let written = intact(&log);
    for len in 0..log.len() {
        let mut torn = log.clone();
        torn[len..].fill(0);
        // A record may end in zeros itself: then nothing of it was lost.
        let whole = starts
            .iter()
            .zip(starts.iter().skip(1).chain([&log.len()]))
            .take_while(|(start, end)| torn[**start..**end] == log[**start..**end])
            .count();
        let (found, error) = whole_records(&torn, &written);
        assert_eq!((found, error.is_some()), (whole, whole < written.len()), "zeroed from {len}");
    }
}

#[test]
fn r13_alignment_bytes_are_zero_and_checked() {
    for body_bytes in 0..=8 {
        let body = vec![0xff; body_bytes];
        let parts = [&body[..]];
        let draft = RecordDraft::new(RecordKind::DATA, &parts);
        let mut bytes = vec![0xee; draft.encoded_bytes()];
        draft.encode_into(&seed(), lsn(START), None, &mut bytes).unwrap();
        let end = 24 + body_bytes;
        assert!(bytes[end..].iter().all(|byte| *byte == 0), "{body_bytes}");
        for at in end..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] = 1;
            assert_eq!(
                decode_record(&damaged, lsn(START), &seed()),
                Err(DecodeError::NotZero),
                "body of {body_bytes}, byte {at}"
            );
        }
    }
}

#[test]
fn every_truncation_and_flipped_bit_of_a_body_is_an_error_or_another_body() {
    for sample in samples().iter().filter(|sample| !sample.kind.is_engine()) {
        for len in 0..sample.body.len() {
            check_body(sample.kind, &sample.body[..len]);
        }
        for bit in 0..sample.body.len() * 8 {
            let mut damaged = sample.body.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            check_body(sample.kind, &damaged);
        }
    }
}

/// A body that decodes must encode to the same bytes: none of them is ignored or guessed.
fn check_body(kind: RecordKind, bytes: &[u8]) {
    let Ok(Some(body)) = Body::decode(kind, bytes) else {
        return;
    };
    if let Body::CheckpointPart(part) = body {
        check_part(part, bytes);
    }
    if let Some(again) = encode_body(&body) {
        assert_eq!(again, bytes, "{kind}");
    }
}

fn check_part(part: CheckpointPart<'_>, bytes: &[u8]) {
    let entries = part.txns().len() * TxnEntry::BYTES + part.dirty_pages().len() * DirtyPage::BYTES;
    assert_eq!(CheckpointPart::HEAD_BYTES + entries, bytes.len());
    assert_eq!(part.txns().count(), part.txns().len());
    assert_eq!(part.dirty_pages().count(), part.dirty_pages().len());
}

#[test]
fn what_is_decoded_lies_in_the_input() {
    let (log, _) = log_of_samples(lsn(START));
    let input = log.as_ptr_range();
    let inside = |part: &[u8]| {
        let part = part.as_ptr_range();
        input.start <= part.start && part.end <= input.end
    };
    for record in intact(&log) {
        assert!(inside(record.body));
        match Body::decode(record.kind(), record.body) {
            Ok(Some(Body::Update(update))) => {
                assert!(inside(update.before) && inside(update.after))
            }
            Ok(Some(Body::Logical(logical))) => {
                assert!(inside(logical.redo) && inside(logical.undo))
            }
            Ok(Some(Body::Prepare(prepare))) => {
                assert!(inside(prepare.global_id) && inside(prepare.locks));
            }
            Ok(Some(Body::CheckpointEnd(end))) => assert!(inside(end.payload)),
            Ok(Some(Body::PageImage(image))) => assert!(inside(image.image)),
            Ok(Some(Body::RestorePoint(point))) => assert!(inside(point.name.as_bytes())),
            _ => {}
        }
    }
}

/// The parts of a record image that an author of bodies can see or guess, for every place that
/// starts `shift` bytes after a multiple of 24 in the body of the record at `START`.
fn body_of_images(forger: &RecordSeed, shift: usize) -> Vec<u8> {
    let mut body = vec![0x5a; shift];
    while body.len() < 2400 {
        // The body starts behind a header of 24 bytes, whose address the author may well guess.
        let at = START + 24 + body.len() as u64;
        let image = RecordDraft::new(RecordKind::COMMIT, &[]);
        let mut bytes = [0; 24];
        let address = lsn(at / 8 * 8);
        image.encode_into(forger, address, Some(address), &mut bytes).unwrap();
        body.extend(bytes);
    }
    body
}

fn outer_record(body: &[u8]) -> Vec<u8> {
    let parts = [body];
    let draft = RecordDraft::new(RecordKind::DATA, &parts);
    let mut bytes = vec![0; draft.encoded_bytes()];
    draft.encode_into(&seed(), lsn(START), None, &mut bytes).unwrap();
    bytes
}

/// Looks ahead as a scanner does: every candidate, under every epoch that may have written it.
/// Returns the candidates and, of these, the valid records.
fn look_ahead(bytes: &[u8]) -> (usize, usize) {
    let (mut at, mut candidates, mut valid) = (0, 0, 0);
    while let Some(offset) = find_record_candidate(&bytes[at..], lsn(START + at as u64)) {
        at += offset;
        let address = lsn(START + at as u64);
        let header = wal_format::decode_header_at(&bytes[at..], address);
        candidates += 1;
        if let Ok(header) = header {
            let mut epochs = resolve_epoch(header.epoch_bits, Epoch::FIRST, EPOCH);
            let decodes = |epoch| {
                decode_record(&bytes[at..], address, &RecordSeed::new(LOG_ID, epoch)).is_ok()
            };
            valid += usize::from(epochs.any(decodes));
        }
        at += 8;
    }
    (candidates, valid)
}

#[test]
fn r09_a_body_cannot_pose_as_a_record() {
    let forgers = [
        ("knows neither", RecordSeed::new(LogId::from_bytes([0; 16]), Epoch::new(1 << 40))),
        ("knows the epoch only", RecordSeed::new(LogId::from_bytes([0xab; 16]), EPOCH)),
        ("knows the log id only", RecordSeed::new(LOG_ID, Epoch::new(EPOCH.get() + (1 << 16)))),
    ];
    for (name, forger) in forgers {
        for shift in 0..24 {
            let mut bytes = outer_record(&body_of_images(&forger, shift));
            assert!(decode_record(&bytes, lsn(START), &seed()).is_ok());
            // The outer header is lost: now the images are looked at.
            bytes[..24].fill(0);
            let (candidates, valid) = look_ahead(&bytes);
            assert_eq!(candidates > 0, shift % 8 == 0, "{name}, shifted by {shift}");
            assert_eq!(valid, 0, "{name}, shifted by {shift}");
        }
    }
}

#[test]
fn the_look_ahead_would_see_a_forgery_by_someone_who_knows_the_seed() {
    // The seed is no cryptography: this is what it does not protect from, and the proof that the
    // test above can fail.
    let mut bytes = outer_record(&body_of_images(&seed(), 0));
    bytes[..24].fill(0);
    let (candidates, valid) = look_ahead(&bytes);
    assert_eq!((candidates, valid), (100, 100));
}

#[test]
fn r10_a_record_behind_the_damage_says_what_was_durable() {
    let (mut log, starts) = log_of_samples(lsn(START));
    log[30] ^= 1;
    let offset = find_record_candidate(&log[8..], lsn(START + 8)).unwrap() + 8;
    assert_eq!(offset, starts[1]);
    let record = decode_record(&log[offset..], lsn(START + offset as u64), &seed()).unwrap();
    assert_eq!(record.durable(), Some(Lsn::FIRST));
}

proptest! {
    #[test]
    fn random_bytes_are_never_a_record_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode_record(&bytes, lsn(START), &seed()).is_err());
        prop_assert!(SegmentHeader::decode(&bytes).is_err());
        prop_assert!(ControlSlot::decode(&bytes).is_err());
        let _ = wal_format::compress::raw_bytes(&bytes);
        let _ = find_record_candidate(&bytes, lsn(START));
    }

    #[test]
    fn a_header_of_random_fields_at_its_own_address_is_no_record(
        mut bytes in prop::collection::vec(any::<u8>(), 24..200),
        body_len in 0..160_u32,
        kind in 1..=255_u8,
        flags in 0..16_u8,
    ) {
        bytes[4..8].copy_from_slice(&body_len.to_le_bytes());
        bytes[8..16].copy_from_slice(&START.to_le_bytes());
        bytes[20..22].copy_from_slice(&EPOCH.low_bits().to_le_bytes());
        bytes[22] = kind;
        bytes[23] = flags;
        let refused = matches!(
            decode_record(&bytes, lsn(START), &seed()),
            Err(DecodeError::BadChecksum { .. } | DecodeError::Incomplete { .. })
        );
        prop_assert!(refused);
    }

    #[test]
    fn random_bodies_are_an_error_or_what_their_bytes_say(
        kind in prop::sample::select(RecordKind::FORMAT_KINDS),
        bytes in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..160),
    ) {
        check_body(kind, &bytes);
    }

    #[test]
    fn random_blocks_with_true_checksums_never_panic(
        mut block in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 360),
        is_segment in any::<bool>(),
    ) {
        let magic = if is_segment { wal_format::layout::SEGMENT_MAGIC } else { wal_format::layout::CONTROL_MAGIC };
        block[..8].copy_from_slice(&magic);
        block[12..16].copy_from_slice(&1_u32.to_le_bytes());
        block.resize(BLOCK_BYTES, 0);
        let checksum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&block[12..]);
        block[8..12].copy_from_slice(&checksum.to_le_bytes());
        let segment = SegmentHeader::decode(&block);
        let control = ControlSlot::decode(&block);
        prop_assert_eq!(segment == Err(DecodeError::BadMagic), !is_segment);
        prop_assert_eq!(control == Err(DecodeError::BadMagic), is_segment);
    }
}
