//! Golden bytes of format version 1, checked both ways: what is encoded today is what is in the
//! files, and what is in the files decodes to what it was made of.
//!
//! A released version's bytes never change. To add vectors, or before the first release to change
//! them, run with `WAL_FORMAT_UPDATE=1` and read the difference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use common::annotate::{Annotated, parse};
use common::{COMPRESSED, EPOCH, LOG_ID, RAW, Sample, encode_body, lsn, samples, seed};
use wal_format::body::{Body, CheckpointPart};
use wal_format::{
    CheckpointPointer, ControlSlot, DecodeError, Epoch, EpochTracker, LogId, Lsn, Predecessor,
    RecordFlags, RecordIter, RecordSeed, SegmentFlags, SegmentHeader, decode_record,
};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join("v1")
}

/// Compares with the file, or writes it on request; returns the bytes that the file stands for.
fn golden(name: &str, rendered: &str) -> Vec<u8> {
    let path = directory().join(format!("{name}.hex"));
    if std::env::var_os("WAL_FORMAT_UPDATE").is_some() {
        fs::write(&path, rendered).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; run once with WAL_FORMAT_UPDATE=1", path.display())
    });
    assert_eq!(stored, rendered, "{name}: what is encoded differs from the golden bytes");
    parse(&stored)
}

fn place_note() -> String {
    format!("log id {LOG_ID}, epoch {EPOCH}, read at address {}", Lsn::new(8192).unwrap())
}

fn render_record(what: &str, bytes: &[u8], extra: Option<&str>) -> String {
    let mut text = Annotated::new(bytes);
    text.note(what);
    text.note(&place_note());
    if let Some(note) = extra {
        text.note(note);
    }
    text.record(lsn(8192));
    text.finish()
}

#[test]
fn every_kind_of_record_is_encoded_and_decoded_as_in_version_1() {
    for sample in samples() {
        let encoded = sample.encode(&seed(), lsn(8192));
        let stored =
            golden(&format!("record-{}", sample.name), &render_record(sample.what, &encoded, None));
        assert_eq!(stored, encoded, "{}", sample.name);
        let record = decode_record(&stored, lsn(8192), &seed()).unwrap();
        assert_eq!(
            (record.kind(), record.body),
            (sample.kind, &sample.body[..]),
            "{}",
            sample.name
        );
        assert_eq!((record.txn, record.epoch), (sample.txn, EPOCH), "{}", sample.name);
        assert_eq!(record.durable(), Some(Lsn::FIRST), "{}", sample.name);
        let flags = record.flags().without(RecordFlags::IN_TXN);
        assert_eq!(flags, sample.flags, "{}", sample.name);
        if let Some(body) = Body::decode(record.kind(), record.body).unwrap() {
            assert_eq!(encode_body(&body).as_deref(), Some(record.body), "{}", sample.name);
        }
    }
}

#[test]
fn no_kind_of_the_format_lacks_a_vector() {
    let covered: BTreeSet<_> = samples().iter().map(|sample| sample.kind).collect();
    for kind in wal_format::RecordKind::FORMAT_KINDS {
        assert!(covered.contains(kind), "{kind}");
    }
}

#[test]
fn the_tables_of_a_checkpoint_part_decode_to_their_entries() {
    let sample = samples().into_iter().find(|sample| sample.name == "checkpoint-part").unwrap();
    let part = CheckpointPart::decode(&sample.body).unwrap();
    assert_eq!((part.begin, part.index), (lsn(4184), 0));
    assert_eq!(part.txns().map(Result::unwrap).collect::<Vec<_>>(), common::txn_entries());
    assert_eq!(part.dirty_pages().map(Result::unwrap).collect::<Vec<_>>(), common::dirty_pages());
}

#[test]
fn a_compressed_record_decodes_without_decompressing() {
    let sample = samples().into_iter().find(|sample| sample.name == "data-compressed").unwrap();
    let encoded = sample.encode(&seed(), lsn(8192));
    let record = decode_record(&encoded, lsn(8192), &seed()).unwrap();
    assert_eq!(record.body, COMPRESSED);
    assert_eq!(wal_format::compress::raw_bytes(record.body), Ok(RAW.len()));
    #[cfg(feature = "lz4")]
    {
        let mut raw = [0; RAW.len()];
        assert_eq!(wal_format::compress::decompress_into(record.body, &mut raw), Ok(RAW.len()));
        assert_eq!(raw, RAW);
    }
}

#[test]
fn a_batch_is_encoded_and_decoded_as_in_version_1() {
    let data = samples().into_iter().find(|sample| sample.name == "data").unwrap();
    let members = [
        RecordFlags::BATCH_CONTINUES,
        RecordFlags::BATCH_CONTINUES.with(RecordFlags::BATCH_FOLLOWS),
        RecordFlags::BATCH_FOLLOWS,
    ];
    let mut encoded = Vec::new();
    let mut starts = Vec::new();
    for flags in members {
        starts.push(lsn(8192 + encoded.len() as u64));
        encoded.extend(Sample { flags, ..data.clone() }.encode(&seed(), starts[starts.len() - 1]));
    }
    let mut text = Annotated::new(&encoded);
    text.note("an atomic batch of three records: first, middle, last");
    text.note(&place_note());
    starts.iter().for_each(|start| text.record(*start));
    let stored = golden("batch", &text.finish());
    let found: Vec<_> = RecordIter::new(&stored, lsn(8192), EpochTracker::new(LOG_ID, EPOCH))
        .map(|record| record.unwrap())
        .map(|record| (record.lsn(), record.flags()))
        .collect();
    assert_eq!(found, starts.into_iter().zip(members).collect::<Vec<_>>());
}

#[test]
fn segment_headers_are_encoded_and_decoded_as_in_version_1() {
    let first = SegmentHeader {
        log_id: LOG_ID,
        base: Lsn::FIRST,
        epoch: Epoch::FIRST,
        capacity_bytes: 65_536,
        created_unix_us: 1_700_000_000_000_000,
        flags: SegmentFlags::NONE,
        predecessor: None,
        head: Lsn::FIRST,
    };
    let predecessor = Predecessor { base: Lsn::FIRST, epoch: Epoch::FIRST, end: lsn(5000) };
    let after = SegmentHeader {
        base: lsn(69_632),
        epoch: EPOCH,
        flags: SegmentFlags::OPENING.with(SegmentFlags::AFTER_LOSS),
        predecessor: Some(predecessor),
        ..first
    };
    for (name, what, header) in [
        ("segment-first", "header of the first segment of a log", first),
        ("segment-after-loss", "header of the segment in which a salvaged log goes on", after),
    ] {
        let block = header.encode();
        let mut text = Annotated::new(&block);
        text.note(what);
        text.table("segment header");
        let stored = golden(name, &text.finish());
        assert_eq!(stored, block);
        assert_eq!(SegmentHeader::decode(&stored), Ok(header));
    }
}

#[test]
fn control_slots_are_encoded_and_decoded_as_in_version_1() {
    let fresh = ControlSlot {
        log_id: LOG_ID,
        sequence: 1,
        epoch: Epoch::FIRST,
        head: Lsn::FIRST,
        newest_base: Lsn::FIRST,
        newest_epoch: Epoch::FIRST,
        durable: Lsn::FIRST,
        clean: None,
        checkpoints: Vec::new(),
    };
    let pointer = |begin| CheckpointPointer {
        begin: lsn(begin),
        redo_from: lsn(begin - 8),
        record: lsn(begin + 80),
        end: lsn(begin + 144),
    };
    let closed = ControlSlot {
        sequence: 9,
        epoch: EPOCH,
        newest_base: lsn(69_632),
        durable: lsn(8192),
        clean: Some((lsn(8192), EPOCH)),
        checkpoints: vec![pointer(4184), pointer(6000)],
        ..fresh.clone()
    };
    for (name, what, slot) in [
        ("control-fresh", "control slot of a new log", fresh),
        ("control-closed", "control slot of a log closed cleanly, two checkpoints", closed),
    ] {
        let block = slot.encode().unwrap();
        let mut text = Annotated::new(&block);
        text.note(what);
        text.table("control slot");
        let stored = golden(name, &text.finish());
        assert_eq!(stored, block);
        assert_eq!(ControlSlot::decode(&stored), Ok(slot));
    }
}

/// Damages a good record, or writes it for another place.
type Damage = fn(&Sample) -> Vec<u8>;

const DAMAGES: &[(&str, &str, Damage)] = &[
    ("zeroed", "space that was never written", |_| vec![0; 48]),
    ("header-cut", "the last 4 bytes of the header are missing", |sample| {
        edited(sample, |bytes| bytes.truncate(20))
    }),
    ("body-cut", "the last 8 bytes of the record are missing", |sample| {
        edited(sample, |bytes| bytes.truncate(bytes.len() - 8))
    }),
    ("torn", "the body did not reach the device", |sample| {
        edited(sample, |bytes| bytes[24..].fill(0))
    }),
    ("bit-flipped", "one bit of the body is wrong", |sample| {
        edited(sample, |bytes| bytes[30] ^= 4)
    }),
    ("watermark-flipped", "one bit of the durable watermark is wrong", |sample| {
        edited(sample, |bytes| bytes[17] ^= 1)
    }),
    ("alignment", "an alignment byte is not zero", |sample| {
        edited(sample, |bytes| *bytes.last_mut().unwrap() = 1)
    }),
    ("kind-zero", "the kind is zero", |sample| edited(sample, |bytes| bytes[22] = 0)),
    ("flags-unknown", "an unknown flag is set", |sample| edited(sample, |bytes| bytes[23] = 0x80)),
    ("too-long", "a body longer than any", |sample| edited(sample, |bytes| bytes[7] = 0x80)),
    ("stale-place", "a record of another address", |sample| sample.encode(&seed(), lsn(4096))),
    ("stale-epoch", "a record of the epoch before", |sample| {
        sample.encode(&RecordSeed::new(LOG_ID, Epoch::new(EPOCH.get() - 1)), lsn(8192))
    }),
    ("stale-far-epoch", "a record of an epoch with the same low bits", |sample| {
        sample.encode(&RecordSeed::new(LOG_ID, Epoch::new(2)), lsn(8192))
    }),
    ("other-log", "a record of another log", |sample| {
        sample.encode(&RecordSeed::new(LogId::from_bytes([0xff; 16]), EPOCH), lsn(8192))
    }),
];

fn edited(sample: &Sample, edit: fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = sample.encode(&seed(), lsn(8192));
    edit(&mut bytes);
    bytes
}

#[test]
fn damaged_records_are_refused_for_the_reason_recorded_in_version_1() {
    let data = samples().into_iter().find(|sample| sample.name == "data").unwrap();
    for (name, what, damage) in DAMAGES {
        let bytes = damage(&data);
        let error = decode_record(&bytes, lsn(8192), &seed()).unwrap_err();
        let refused = format!("refused: {error}");
        let stored =
            golden(&format!("damaged-{name}"), &render_record(what, &bytes, Some(&refused)));
        assert_eq!(stored, bytes, "{name}");
        assert_eq!(decode_record(&stored, lsn(8192), &seed()), Err(error), "{name}");
    }
}

#[test]
fn damages_differ_in_the_reason_that_they_are_refused_for() {
    let data = samples().into_iter().find(|sample| sample.name == "data").unwrap();
    let reasons: BTreeSet<String> = DAMAGES
        .iter()
        .map(|(_, _, damage)| decode_record(&damage(&data), lsn(8192), &seed()).unwrap_err())
        .map(|error: DecodeError| format!("{error:?}").split([' ', '{']).next().unwrap().to_owned())
        .collect();
    let expected = [
        "BadChecksum",
        "Incomplete",
        "KindZero",
        "NotZero",
        "TooLong",
        "UnknownFlags",
        "WrongEpoch",
        "WrongLsn",
        "Zeroed",
    ];
    assert_eq!(reasons.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn no_file_is_left_over() {
    let mut known: BTreeSet<String> =
        ["batch", "segment-first", "segment-after-loss", "control-fresh", "control-closed"]
            .map(|name| format!("{name}.hex"))
            .into();
    known.extend(samples().iter().map(|sample| format!("record-{}.hex", sample.name)));
    known.extend(DAMAGES.iter().map(|(name, ..)| format!("damaged-{name}.hex")));
    let found: BTreeSet<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(found.is_subset(&known), "{:?}", found.difference(&known).collect::<Vec<_>>());
}
