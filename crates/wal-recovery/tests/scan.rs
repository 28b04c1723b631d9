//! The scanner on logs built by hand: what it yields, where it stops, what it never believes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{LOG_ID, LogBuilder, SEGMENT_BYTES, Seen, lsn, records_of, scan, source_of};
use wal_format::body::Opened;
use wal_format::{
    DecodeError, Epoch, LogId, Lsn, LsnRange, RecordDraft, RecordKind, RecordSeed, SegmentFlags,
};
use wal_io::{Access, Storage};
use wal_recovery::{RecoveryError, Step, StopReason};

fn all() -> LsnRange {
    LsnRange::new(Lsn::FIRST, Lsn::MAX)
}

fn bodies(records: &[Seen]) -> Vec<&[u8]> {
    records.iter().map(|(_, _, body)| body.as_slice()).collect()
}

#[test]
fn records_come_back_in_order_at_their_addresses() {
    let mut log = LogBuilder::new();
    let expected: Vec<Seen> = (0..200_u8)
        .map(|n| {
            let body = vec![n; usize::from(n)];
            (log.data(&body), RecordKind::DATA, body)
        })
        .collect();
    assert!(log.segments.len() > 2, "the log spans segments");
    let found: Vec<Seen> = records_of(&log.shared())
        .into_iter()
        .filter(|(_, kind, _)| *kind != RecordKind::PADDING)
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_end_of_the_log_is_where_nothing_was_written() {
    let mut log = LogBuilder::new();
    log.data(b"one");
    let (_, _, stop) = scan(&source_of(&log.shared()), all());
    assert_eq!((stop.at, stop.why), (log.end, StopReason::Unreadable(DecodeError::Zeroed)));
    let (name, offset) = log.place_of(log.end);
    assert_eq!((stop.segment.unwrap().to_string(), stop.offset), (name, offset));
}

#[test]
fn a_log_full_to_its_last_byte_ends_there() {
    let mut log = LogBuilder::new();
    log.data(&vec![7; SEGMENT_BYTES as usize - 24]);
    let (records, _, stop) = scan(&source_of(&log.shared()), all());
    assert_eq!((records.len(), stop.at, stop.why), (1, log.end, StopReason::EndOfChain));
}

#[test]
fn a_record_longer_than_the_window_is_read_whole() {
    let mut log = LogBuilder::with_segment_bytes(2 << 20);
    let long = vec![0xab; 1 << 20];
    for body in [&b"before"[..], &long, b"after"] {
        log.data(body);
    }
    let records = records_of(&log.shared());
    assert_eq!(bodies(&records), [&b"before"[..], &long, b"after"]);
}

#[test]
fn a_range_ends_with_the_record_that_starts_in_it() {
    let mut log = LogBuilder::new();
    let at: Vec<Lsn> = (0..4).map(|n| log.data(&[n; 40])).collect();
    let source = source_of(&log.shared());
    let (records, _, stop) = scan(&source, LsnRange::new(at[1], at[2]));
    assert_eq!((bodies(&records), stop.why), (vec![&[1; 40][..]], StopReason::RangeEnd));
    let (records, _, stop) = scan(&source, LsnRange::new(at[1], lsn(at[2].get() + 8)));
    assert_eq!((records.len(), stop.at), (2, at[3]));
}

#[test]
fn an_address_below_the_head_is_out_of_range() {
    let mut log = LogBuilder::new();
    log.data(b"one");
    let mut scanner = source_of(&log.shared()).scan(LsnRange::new(lsn(8), Lsn::MAX));
    assert!(matches!(scanner.next(), Err(RecoveryError::OutOfRange { head: Lsn::FIRST, .. })));
}

#[test]
fn a_declared_jump_is_reported_and_passed() {
    let mut log = LogBuilder::new();
    log.data(b"before");
    let end = log.end;
    log.open_again(2, lsn(1 << 20));
    log.opened(2);
    log.data(b"after");
    let (records, jumps, _) = scan(&source_of(&log.shared()), all());
    assert_eq!(jumps, [(end, lsn(1 << 20), false)]);
    assert_eq!(bodies(&records).last(), Some(&&b"after"[..]));
}

#[test]
fn a_jump_says_when_records_were_lost_in_it() {
    let mut log = LogBuilder::new();
    log.data(b"before");
    let pred = log.predecessor();
    log.add_segment(lsn(1 << 20), SEGMENT_BYTES, SegmentFlags::AFTER_LOSS, Some(pred));
    let (_, jumps, stop) = scan(&source_of(&log.shared()), all());
    assert_eq!(jumps, [(pred.end, lsn(1 << 20), true)]);
    assert_eq!(stop.at, lsn(1 << 20));
}

#[test]
fn r02_what_lies_behind_a_cap_is_never_read() {
    let mut log = LogBuilder::new();
    let kept = log.data(b"kept");
    let cap = log.end;
    log.data(b"dead");
    log.end = cap;
    log.open_again(2, lsn(1 << 20));
    log.opened(2);
    let (records, ..) = scan(&source_of(&log.shared()), all());
    assert_eq!(records.iter().filter(|(_, kind, _)| *kind == RecordKind::DATA).count(), 1);
    assert_eq!(records[0].0, kept);
}

#[test]
fn a_record_that_crosses_the_cap_is_damage_at_its_place() {
    let mut log = LogBuilder::new();
    log.data(b"whole");
    let crossing = log.data(&[5; 100]);
    log.end = lsn(crossing.get() + 64);
    log.open_again(2, lsn(1 << 20));
    let (records, jumps, stop) = scan(&source_of(&log.shared()), all());
    assert_eq!((records.len(), jumps.len(), stop.at), (1, 0, crossing));
    let why = StopReason::Unreadable(DecodeError::Incomplete { needed: 128 });
    assert_eq!(stop.why, why);
}

#[test]
fn a_length_is_never_believed_beyond_the_segment() {
    let mut log = LogBuilder::new();
    let at = log.data(&[1; 16]);
    for length in [5_000_u32, 1 << 20, 1 << 30, (1 << 30) + 1, u32::MAX] {
        log.write_at(lsn(at.get()), &[0; 4]);
        let (name, offset) = log.place_of(at);
        common::write(&log.storage, &name, offset + 4, &length.to_le_bytes());
        let (records, _, stop) = scan(&source_of(&log.shared()), all());
        assert_eq!((records.len(), stop.at), (0, at), "{length}");
    }
}

#[test]
fn r07_an_opening_in_place_switches_the_epoch_from_its_record_on() {
    let mut log = LogBuilder::new();
    log.data(b"first");
    log.opened(2);
    log.data(b"second");
    log.opened(70_000);
    log.data(b"third");
    log.control.epoch = Epoch::new(70_000);
    log.write_control();
    let source = source_of(&log.shared());
    let mut scanner = source.scan(all());
    let mut epochs = Vec::new();
    let stop = loop {
        match scanner.next().unwrap() {
            Step::Record(record) => epochs.push(record.epoch.get()),
            Step::Jump { .. } => panic!("no jump here"),
            Step::Stopped(stop) => break stop,
        }
    };
    assert_eq!(epochs, [1, 2, 2, 70_000, 70_000]);
    assert_eq!((stop.at, stop.epoch), (log.end, Epoch::new(70_000)));
}

#[test]
fn an_epoch_goes_on_into_a_segment_that_an_earlier_one_prepared() {
    let mut log = LogBuilder::new();
    log.data(b"first");
    let ready = common::lsn(Lsn::FIRST.get() + SEGMENT_BYTES);
    log.opened(2);
    let body = vec![0; log.left() as usize - 24];
    log.record(RecordKind::PADDING, &body);
    // The successor stood ready since epoch 1; its header says so.
    log.epoch = Epoch::FIRST;
    let pred = log.predecessor();
    log.add_segment(ready, SEGMENT_BYTES, SegmentFlags::NONE, Some(pred));
    log.epoch = Epoch::new(2);
    log.data(b"second");
    let (records, _, stop) = scan(&source_of(&log.shared()), all());
    assert_eq!(bodies(&records).last(), Some(&&b"second"[..]));
    assert_eq!((stop.at, stop.epoch), (log.end, Epoch::new(2)));
}

#[test]
fn r17_a_record_of_another_epoch_is_not_read() {
    let mut log = LogBuilder::new();
    log.data(b"first");
    log.opened(3);
    for stale in [1, 2, 4] {
        let end = log.end;
        log.epoch = Epoch::new(stale);
        log.data(b"stale");
        let (records, _, stop) = scan(&source_of(&log.shared()), all());
        assert_eq!((records.len(), stop.at), (2, end), "epoch {stale}");
        assert_eq!(
            stop.why,
            StopReason::Unreadable(DecodeError::WrongEpoch { found: stale as u16 })
        );
        log.end = end;
        log.records.pop();
    }
}

#[test]
fn r17_an_opened_record_of_a_lower_epoch_switches_nothing() {
    let mut log = LogBuilder::new();
    log.opened(5);
    // A rewritten tail carries the openings of earlier epochs under its own.
    let body = Opened { epoch: Epoch::new(2), previous_end: log.end, opened_unix_us: 0 };
    log.record(RecordKind::OPENED, &body.encode());
    log.data(b"still five");
    let (records, _, stop) = scan(&source_of(&log.shared()), all());
    assert_eq!((records.len(), stop.epoch), (3, Epoch::new(5)));
}

#[test]
fn a_scan_that_starts_anywhere_finds_the_epoch_in_force() {
    let mut log = LogBuilder::new();
    log.data(b"first");
    for epoch in [2, 3, 65_537 + 2] {
        log.opened(epoch);
        log.data(b"more");
    }
    log.control.epoch = Epoch::new(65_539);
    log.write_control();
    let source = source_of(&log.shared());
    let (every, ..) = scan(&source, all());
    for (index, at) in log.records.iter().enumerate() {
        let (found, _, stop) = scan(&source, LsnRange::new(*at, Lsn::MAX));
        assert_eq!((&found[..], stop.at), (&every[index..], log.end));
    }
}

#[test]
fn a_kind_of_a_newer_version_stops_the_scan_unless_it_may_be_skipped() {
    let mut log = LogBuilder::new();
    log.record(RecordKind::new(0x85).unwrap(), b"skip me");
    let unknown = RecordKind::new(0x3f).unwrap();
    let at = log.record(unknown, b"what is this");
    log.data(b"behind");
    let (records, _, stop) = scan(&source_of(&log.shared()), all());
    assert_eq!((records.len(), stop.at, stop.why), (1, at, StopReason::UnknownKind(unknown)));
}

#[test]
fn r09_a_body_cannot_pose_as_a_record() {
    let mut log = LogBuilder::new();
    let at = log.data(&forgery(lsn(Lsn::FIRST.get() + 24)));
    let source = source_of(&log.shared());
    let mut buf = Vec::new();
    for address in (at.get() + 8..log.end.get()).step_by(8) {
        let refused = source.read_record(lsn(address), &mut buf);
        assert!(matches!(refused, Err(RecoveryError::Unreadable { .. })), "{address}");
        let (records, ..) = scan(&source, LsnRange::new(lsn(address), Lsn::MAX));
        assert_eq!(records, []);
    }
}

/// Perfect images of records at every alignment of a body that starts at address `start`: all
/// that somebody can make who knows the format, the address and the epoch, but not the log id.
fn forgery(start: Lsn) -> Vec<u8> {
    let guessed = LogId::from_bytes([0; 16]);
    assert_ne!(guessed, LOG_ID);
    let mut body = Vec::new();
    for step in 0..32 {
        let at = lsn(start.get() + step * 32);
        let mut image = vec![0; 32];
        let draft = RecordDraft::new(RecordKind::DATA, &[b"forged!!"]);
        let seed = RecordSeed::new(guessed, Epoch::FIRST);
        draft.encode_into(&seed, at, Some(at), &mut image).unwrap();
        body.extend_from_slice(&image);
    }
    body
}

#[test]
fn one_record_is_read_by_its_address() {
    let mut log = LogBuilder::new();
    for n in 0..100_u8 {
        log.data(&vec![n; usize::from(n) * 60]);
    }
    log.opened(2);
    log.data(b"of epoch 2");
    let source = source_of(&log.shared()).with_highest_epoch(Epoch::new(2));
    let mut buf = Vec::new();
    for (at, kind, body) in records_of(&log.shared()) {
        let record = source.read_record(at, &mut buf).unwrap();
        assert_eq!((record.lsn(), record.kind(), record.body), (at, kind, &body[..]));
    }
    let beyond = source.range().end;
    let refused = source.read_record(beyond, &mut buf);
    assert!(matches!(refused, Err(RecoveryError::OutOfRange { end, .. }) if end == beyond));
    let inside = source.read_record(lsn(Lsn::FIRST.get() + 8), &mut buf);
    assert!(matches!(inside, Err(RecoveryError::Unreadable { .. })));
}

#[test]
fn a_file_cut_short_ends_the_scan_at_the_record_it_cuts() {
    let mut log = LogBuilder::new();
    let records: Vec<Lsn> = (0..4).map(|n| log.data(&[n; 10])).collect();
    let ends: Vec<u64> = records.iter().skip(1).chain([&log.end]).map(|at| at.get()).collect();
    for len in Lsn::FIRST.get()..log.end.get() {
        let copy = log.copy();
        let (name, offset) = log.place_of(lsn(len / 8 * 8));
        copy.open(&name, Access::Write).unwrap().set_len(offset + len % 8).unwrap();
        let whole = ends.iter().filter(|end| **end <= len).count();
        let shared: std::sync::Arc<dyn Storage> = std::sync::Arc::new(copy);
        let (found, _, stop) = scan(&source_of(&shared), all());
        assert_eq!((found.len(), stop.at), (whole, *records.get(whole).unwrap()), "{len}");
    }
}

#[test]
fn every_flipped_bit_shortens_the_log_to_what_is_before_it() {
    let mut log = LogBuilder::new();
    log.data(b"a");
    log.in_txn(RecordKind::DATA, 7, Lsn::NONE, b"bcd");
    log.opened(2);
    log.data(b"");
    log.data(b"0123456789");
    let every = records_of(&log.shared());
    for bit in 0..(log.end.get() - Lsn::FIRST.get()) * 8 {
        log.flip(Lsn::FIRST, bit);
        let damaged = lsn(Lsn::FIRST.get() + bit / 64 * 8);
        let whole = log.records.iter().skip(1).filter(|at| **at <= damaged).count();
        assert_eq!(records_of(&log.shared()), every[..whole], "bit {bit}");
        log.flip(Lsn::FIRST, bit);
    }
}

#[test]
fn a_stopped_scanner_stays_where_it_is() {
    let mut log = LogBuilder::new();
    log.data(b"one");
    let mut scanner = source_of(&log.shared()).scan(all());
    assert!(matches!(scanner.next(), Ok(Step::Record(_))));
    for _ in 0..3 {
        assert!(matches!(scanner.next(), Ok(Step::Stopped(stop)) if stop.at == log.end));
        assert_eq!((scanner.position(), scanner.epoch()), (log.end, Epoch::FIRST));
    }
}
