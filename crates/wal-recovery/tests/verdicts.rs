//! What an examination finds on logs built by hand: each kind of evidence, each kind of damage,
//! each detector with a test that makes it fire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{LOG_ID, LogBuilder, SEGMENT_BYTES, contents, flip, lsn, name_of, records_of};
use wal_format::body::CheckpointEnd;
use wal_format::layout::{BLOCK_BYTES, FORMAT_VERSION};
use wal_format::{
    CheckpointPointer, Epoch, LogId, Lsn, LsnRange, Predecessor, RecordDraft, RecordKind,
    SegmentFlags, SegmentHeader,
};
use wal_io::backend::MemoryStorage;
use wal_io::{Access, CONTROL_NAME, Storage, StoreOptions};
use wal_recovery::{
    Depth, Dropped, Evidence, Examination, RecoveryError, StopReason, Verdict, VerdictKind,
    examine, resume,
};

fn look(storage: &MemoryStorage, depth: Depth) -> Examination {
    let storage: Arc<dyn Storage> = Arc::new(storage.clone());
    let before = contents(&*storage);
    let found = examine(&storage, depth, &mut ()).unwrap();
    assert_eq!(contents(&*storage), before, "looking changes no byte");
    found
}

fn full(log: &LogBuilder) -> Examination {
    look(&log.storage, Depth::Full)
}

/// Expects `Corrupt` at `at`; returns what proves it.
fn corrupt_at(found: &Examination, at: Lsn) -> Evidence {
    match found.verdict {
        Verdict::Corrupt { lsn, promised_by, .. } => {
            assert_eq!(lsn, at, "{}", found.verdict);
            promised_by
        }
        ref other => panic!("{other}"),
    }
}

/// Three records of 64 bytes which nobody was promised.
fn three() -> (LogBuilder, [Lsn; 3]) {
    let mut log = LogBuilder::new();
    let at = [1, 2, 3].map(|n| log.data(&[n; 40]));
    (log, at)
}

// --- evidence --------------------------------------------------------------------------------

#[test]
fn r10_a_watermark_in_a_later_record_proves_damage() {
    let (mut log, at) = three();
    log.sync();
    let witness = log.data(b"I saw them synced");
    log.flip(at[1], 100);
    let evidence = corrupt_at(&full(&log), at[1]);
    assert_eq!(evidence, Evidence::Watermark { record: witness, durable: witness });
}

#[test]
fn r10_a_watermark_proves_damage_across_segments_and_epochs() {
    let (mut log, at) = three();
    log.opened(2);
    log.rotate();
    log.sync();
    log.opened(3);
    log.flip(at[2], 100);
    assert!(matches!(corrupt_at(&full(&log), at[2]), Evidence::Watermark { .. }));
}

#[test]
fn r10_a_record_of_an_earlier_epoch_proves_nothing() {
    let (mut log, _) = three();
    log.opened(5);
    let hole = log.data(b"of epoch 5");
    log.sync();
    log.epoch = Epoch::new(4);
    log.data(b"of an opening before");
    log.flip(hole, 0);
    let found = full(&log);
    assert_eq!(found.verdict.kind(), VerdictKind::TornTail, "{}", found.verdict);
    assert_eq!(found.verdict.dropped().records, 0);
}

#[test]
fn r10_the_control_file_proves_damage() {
    let (mut log, at) = three();
    log.claim_durable(at[2]);
    log.flip(at[2], 9);
    assert_eq!(full(&log).verdict.kind(), VerdictKind::TornTail, "the third was not promised");
    log.flip(at[0], 9);
    let evidence = corrupt_at(&full(&log), at[0]);
    assert_eq!(evidence, Evidence::ControlDurable { durable: at[2] });
}

#[test]
fn r10_the_clean_mark_proves_damage() {
    let (mut log, at) = three();
    log.close();
    log.control.durable = Lsn::FIRST;
    log.write_control();
    log.flip(at[2], 200);
    assert_eq!(corrupt_at(&full(&log), at[2]), Evidence::CleanMark { end: log.end });
}

#[test]
fn r10_a_checkpoint_pointer_proves_damage() {
    let (mut log, at) = three();
    let pointer = checkpoint(&mut log, at[1], at[1]);
    log.write_control();
    log.flip(pointer.record, 200);
    let evidence = corrupt_at(&full(&log), pointer.record);
    assert_eq!(evidence, Evidence::Checkpoint { record: pointer.record, end: pointer.end });
    let from_checkpoint = look(&log.storage, Depth::FromCheckpoint);
    assert_eq!(from_checkpoint.checkpoint, None, "it cannot be used");
    corrupt_at(&from_checkpoint, pointer.record);
}

#[test]
fn r10_the_header_of_a_later_opening_proves_damage() {
    let (mut log, at) = three();
    let end = log.end;
    log.open_again(2, lsn(1 << 20));
    log.flip(at[2], 77);
    let segment = name_of(log.last());
    assert_eq!(corrupt_at(&full(&log), at[2]), Evidence::OpeningHeader { segment, end });
}

#[test]
fn r10_a_segment_born_durable_proves_damage() {
    let mut log = LogBuilder::new();
    log.add_born_durable(256);
    let at = [1, 2, 3, 4].map(|n| log.data(&[n; 40]));
    assert_eq!(log.left(), 0);
    log.flip(at[3], 77);
    let segment = name_of(log.last());
    let expected = Evidence::BornDurable { segment, end: log.end };
    assert_eq!(corrupt_at(&full(&log), at[3]), expected);
}

#[test]
fn r10_a_live_name_proves_a_live_header() {
    let (mut log, _) = three();
    log.rotate();
    log.data(b"second segment");
    for (index, header) in log.segments.iter().enumerate() {
        let copy = log.copy();
        let segment = name_of(header);
        flip(&copy, &segment.to_string(), 8 * 41);
        let found = look(&copy, Depth::Full);
        let expected = Verdict::Corrupt {
            lsn: header.base,
            segment,
            offset: 0,
            promised_by: Evidence::LiveName { segment },
        };
        assert_eq!(found.verdict, expected, "segment {index}");
    }
}

#[test]
fn a_segment_of_no_length_is_damage() {
    let (mut log, _) = three();
    log.rotate();
    for header in &log.segments {
        let copy = log.copy();
        copy.open(&name_of(header).to_string(), Access::Write).unwrap().set_len(0).unwrap();
        corrupt_at(&look(&copy, Depth::Full), header.base);
    }
}

#[test]
fn one_flipped_bit_anywhere_in_the_proven_part_is_corrupt_at_its_record() {
    let mut log = LogBuilder::new();
    log.opened(1);
    log.data(b"a");
    log.in_txn(RecordKind::DATA, 7, Lsn::NONE, b"bcd");
    log.data(b"");
    log.opened(2);
    log.data(b"0123456789");
    let proven = log.sync();
    let starts = log.records.clone();
    log.data(b"witness");
    for bit in 0..(proven.get() - Lsn::FIRST.get()) * 8 {
        log.flip(Lsn::FIRST, bit);
        let place = Lsn::FIRST.get() + bit / 8;
        let damaged = *starts.iter().rfind(|at| at.get() <= place).unwrap();
        corrupt_at(&full(&log), damaged);
        log.flip(Lsn::FIRST, bit);
    }
    assert_eq!(full(&log).verdict, Verdict::CleanEnd, "every bit was put back");
}

#[test]
fn one_flipped_bit_in_the_unproven_part_is_a_torn_tail_and_never_another_record() {
    let mut log = LogBuilder::new();
    log.data(b"promised");
    let proven = log.sync();
    log.data(b"a");
    log.in_txn(RecordKind::DATA, 7, Lsn::NONE, b"bcd");
    log.data(b"");
    log.opened(2);
    log.data(b"0123456789");
    let every = records_of(&log.shared());
    for bit in 0..(log.end.get() - proven.get()) * 8 {
        log.flip(proven, bit);
        let place = proven.get() + bit / 8;
        let whole = log.records.iter().rposition(|at| at.get() <= place).unwrap();
        let found = full(&log);
        assert_eq!(found.verdict.kind(), VerdictKind::TornTail, "bit {bit}: {}", found.verdict);
        assert_eq!(found.end, log.records[whole]);
        assert_eq!(found.verdict.dropped().bytes, log.end.get() - found.end.get());
        assert_eq!(records_of(&log.shared()), every[..whole]);
        log.flip(proven, bit);
    }
}

#[test]
fn the_tail_cut_at_every_byte_of_the_last_three_records_keeps_what_is_before() {
    let mut log = LogBuilder::new();
    log.data(b"promised");
    let proven = log.sync();
    // Bodies of whole units, so that no cut falls into alignment bytes, which are zero anyway.
    for body in [&[1; 8][..], &[2; 104], &[3; 16]] {
        log.data(body);
    }
    let every = records_of(&log.shared());
    for place in proven.get()..log.end.get() {
        let copy = log.copy();
        let (name, offset) = log.place_of(lsn(place / 8 * 8));
        common::cut(&copy, &name, offset + place % 8);
        let found = look(&copy, Depth::Full);
        let whole = log.records.iter().skip(1).filter(|at| at.get() <= place).count();
        let is_start = log.records[whole].get() == place;
        let expected = if is_start { VerdictKind::CleanEnd } else { VerdictKind::TornTail };
        assert_eq!(found.verdict.kind(), expected, "cut at {place}: {}", found.verdict);
        assert_eq!(found.end, log.records[whole]);
        let shared: Arc<dyn Storage> = Arc::new(copy);
        assert_eq!(records_of(&shared), every[..whole]);
    }
}

// --- torn tails ------------------------------------------------------------------------------

#[test]
fn r10_a_file_that_somebody_cut_never_ends_cleanly() {
    let (log, at) = three();
    // At the end of a record, at that of the log, and in space that was never written.
    for end in [at[1].get(), log.end.get(), log.end.get() + 800] {
        let copy = log.copy();
        let (name, _) = log.place_of(at[0]);
        let offset = end - Lsn::FIRST.get() + 4096;
        copy.open(&name, Access::Write).unwrap().set_len(offset).unwrap();
        let found = look(&copy, Depth::Full);
        assert_eq!(found.verdict.kind(), VerdictKind::TornTail, "cut at {end}");
        assert_eq!(found.end.get(), end.min(log.end.get()));
        let said = found.verdict.to_string();
        assert!(said.contains("which no evidence shows to have been promised"), "{said}");
        // It is opened like any torn tail, and goes on in a file of its own.
        let storage: Arc<dyn Storage> = Arc::new(copy);
        let resumed =
            resume(Arc::clone(&storage), storage.lock().unwrap(), StoreOptions::default(), &found);
        assert_eq!(resumed.unwrap().end, found.end);
    }
    assert_eq!(full(&log).verdict, Verdict::CleanEnd);
}

#[test]
fn r10_a_log_closed_cleanly_whose_file_was_cut_at_the_mark_is_not_clean() {
    let (mut log, _) = three();
    log.close();
    assert!(full(&log).clean);
    let (name, offset) = log.place_of(log.records[0]);
    let len = offset + log.end.get() - log.records[0].get();
    log.storage.open(&name, Access::Write).unwrap().set_len(len).unwrap();
    let found = full(&log);
    assert_eq!((found.verdict.kind(), found.clean), (VerdictKind::TornTail, false));
}

#[test]
fn a_segment_which_the_log_itself_has_cut_at_its_cap_ends_there() {
    let (mut log, _) = three();
    let base = log.last().end().unwrap();
    let capped = log.place_of(log.records[0]).0;
    let len = log.end.get().next_multiple_of(4096);
    log.open_again(2, base);
    log.storage.open(&capped, Access::Write).unwrap().set_len(len).unwrap();
    assert_eq!(full(&log).verdict, Verdict::CleanEnd);
}

#[test]
fn r11_a_torn_tail_counts_the_valid_records_behind_the_hole() {
    let (mut log, at) = three();
    log.durable = None;
    log.data(b"the fourth");
    log.flip(at[1], 3);
    let dropped = Dropped { bytes: log.end.get() - at[1].get(), records: 2 };
    assert_eq!(full(&log).verdict, Verdict::TornTail { at: at[1], dropped });
}

#[test]
fn r11_a_saturated_watermark_claims_nothing() {
    let (mut log, at) = three();
    // The record claims nothing: what it knew is too far back to be said.
    log.durable = Some(Lsn::FIRST);
    log.data(b"claims the first address only");
    log.durable = None;
    log.data(b"claims nothing");
    log.flip(at[0], 3);
    assert_eq!(full(&log).verdict.kind(), VerdictKind::TornTail);
}

#[test]
fn a_hole_in_an_unsynced_batch_that_reads_as_zero_is_a_torn_tail() {
    let (log, at) = three();
    log.write_at(at[1], &[0; 64]);
    let dropped = Dropped { bytes: 128, records: 1 };
    assert_eq!(full(&log).verdict, Verdict::TornTail { at: at[1], dropped });
}

#[test]
fn a_hole_is_seen_from_the_next_segment() {
    let (mut log, at) = three();
    log.rotate();
    log.data(b"over there");
    log.write_at(at[2], &vec![0; (SEGMENT_BYTES - 128) as usize]);
    let found = full(&log);
    assert_eq!(found.verdict.dropped().records, 1, "{}", found.verdict);
    assert_eq!((found.verdict.kind(), found.end), (VerdictKind::TornTail, at[2]));
}

#[test]
fn a_whole_record_of_another_address_is_what_a_recycled_file_holds() {
    let (log, at) = three();
    let mut stale = vec![0; 64];
    let seed = wal_format::RecordSeed::new(LOG_ID, Epoch::FIRST);
    RecordDraft::new(RecordKind::DATA, &[&[9; 40]])
        .encode_into(&seed, lsn(1 << 30), None, &mut stale)
        .unwrap();
    log.write_at(at[2], &stale);
    assert_eq!(full(&log).verdict, Verdict::CleanEnd);
    // The same bytes, damaged, could be anything.
    log.flip(at[2], 400);
    assert_eq!(full(&log).verdict.kind(), VerdictKind::TornTail);
}

#[test]
fn r09_a_body_behind_a_hole_cannot_pose_as_a_record() {
    let mut log = LogBuilder::new();
    let hole = log.data(b"hole");
    let carrier = log.end.get();
    let mut body = Vec::new();
    for step in 0..64 {
        let at = lsn(carrier + 24 + step * 32);
        let mut image = vec![0; 32];
        let seed = wal_format::RecordSeed::new(LogId::from_bytes([1; 16]), Epoch::FIRST);
        RecordDraft::new(RecordKind::DATA, &[b"forged!!"])
            .encode_into(&seed, at, Some(at), &mut image)
            .unwrap();
        body.extend_from_slice(&image);
    }
    let carrier = log.data(&body);
    log.flip(hole, 0);
    assert_eq!(full(&log).verdict.dropped().records, 1, "the carrier itself");
    log.flip(carrier, 0);
    let found = full(&log);
    assert_eq!(found.verdict.dropped().records, 0, "{}", found.verdict);
    assert!(!found.verdict.is_damage());
}

#[test]
fn records_behind_the_window_are_found_too() {
    let mut log = LogBuilder::with_segment_bytes(4 << 20);
    let hole = log.data(b"hole");
    let far: Vec<Lsn> =
        [256 << 10, 300_000, (1 << 20) + 8].into_iter().fold(vec![], |mut far, size| {
            log.data(&vec![0xff; size]);
            far.push(log.data(b"far"));
            far
        });
    log.flip(hole, 0);
    assert_eq!(full(&log).verdict.dropped().records, 6);
    // Zeroed bodies in between: the search passes whole windows of nothing.
    let end = log.end;
    log.end = Lsn::FIRST;
    log.write_at(Lsn::FIRST, &vec![0; (far[2].get() - Lsn::FIRST.get()) as usize]);
    assert_eq!(full(&log).verdict.dropped().records, 1);
    assert_eq!(full(&log).verdict.dropped().bytes, end.get() - Lsn::FIRST.get());
}

#[test]
fn a_record_of_a_newer_version_is_refused_by_name() {
    let (mut log, _) = three();
    let at = log.record(RecordKind::new(0x3e).unwrap(), b"?");
    let (name, _) = log.place_of(at);
    assert_eq!(full(&log).verdict, Verdict::UnsupportedVersion { name, found: 0x3e });
}

// --- the chain -------------------------------------------------------------------------------

/// Four segments with a record each.
fn four_segments() -> LogBuilder {
    let mut log = LogBuilder::new();
    for n in 0..4 {
        if n > 0 {
            log.rotate();
        }
        log.data(&[n; 30]);
    }
    log
}

#[test]
fn a_missing_segment_in_the_middle_is_named() {
    let log = four_segments();
    let header = log.segments[1];
    log.storage.remove(&name_of(&header).to_string()).unwrap();
    let expected = Verdict::MissingSegment { from: header.base, to: header.end().unwrap() };
    assert_eq!(full(&log).verdict, expected);
}

#[test]
fn a34_nothing_behind_a_missing_segment_is_read_as_part_of_the_log() {
    fn remove(storage: &MemoryStorage, name: &str) {
        storage.remove(name).unwrap();
    }
    fn damage_header(storage: &MemoryStorage, name: &str) {
        flip(storage, name, 9);
    }
    let plain = four_segments();
    // The same with a hole before the segment of an opening, which declares a jump of its own.
    let mut reopened = four_segments();
    reopened.open_again(2, lsn(1 << 20));
    reopened.opened(2);
    for (log, victim, hole) in [(plain, 1, 1), (reopened, 3, 3)] {
        let name = name_of(&log.segments[victim]).to_string();
        for step in [remove, damage_header] {
            let copy = log.copy();
            step(&copy, &name);
            let found = look(&copy, Depth::Full);
            assert!(found.verdict.is_damage(), "{}", found.verdict);
            assert_eq!(found.end, log.segments[hole].base, "{}", found.verdict);
            assert_eq!(found.stop.why, StopReason::Hole);
            let storage: Arc<dyn Storage> = Arc::new(copy);
            let range = LsnRange::new(Lsn::FIRST, Lsn::MAX);
            let (seen, jumps, stop) = common::scan(&found.source(&storage).unwrap(), range);
            assert_eq!((stop.at, jumps.len()), (found.end, 0));
            assert!(seen.iter().all(|(at, ..)| *at < found.end));
            assert_eq!(stop.segment, Some(name_of(&log.segments[victim - 1])));
        }
    }
}

#[test]
fn r14_a_missing_newest_segment_is_named() {
    let log = four_segments();
    let header = log.segments[3];
    log.storage.remove(&name_of(&header).to_string()).unwrap();
    let expected = Verdict::MissingSegment { from: header.base, to: header.base };
    assert_eq!(full(&log).verdict, expected);
}

#[test]
fn r14_a_missing_first_segment_is_named() {
    let log = four_segments();
    let header = log.segments[0];
    log.storage.remove(&name_of(&header).to_string()).unwrap();
    let found = full(&log);
    assert_eq!(found.verdict.kind(), VerdictKind::MissingSegment, "{}", found.verdict);
}

#[test]
fn r14_a_head_that_nothing_explains_is_unproven() {
    let log = four_segments();
    log.storage.remove(&name_of(&log.segments[0]).to_string()).unwrap();
    log.storage.remove(CONTROL_NAME).unwrap();
    let first = log.segments[1].base;
    assert_eq!(full(&log).verdict, Verdict::HeadUnproven { first });
}

#[test]
fn r14_a_head_that_a_header_repeats_is_proven_with_both_slots_lost() {
    let mut log = four_segments();
    log.control.head = log.segments[1].base;
    log.rotate();
    log.data(b"knows the head");
    log.storage.remove(&name_of(&log.segments[0]).to_string()).unwrap();
    log.storage.remove(CONTROL_NAME).unwrap();
    let found = full(&log);
    assert_eq!((found.verdict.clone(), found.end), (Verdict::CleanEnd, log.end));
    assert!(!found.clean, "an opening without the control file is unclean");
}

#[test]
fn both_control_slots_lost_the_log_is_still_read() {
    for damage in [
        |storage: &MemoryStorage| storage.remove(CONTROL_NAME).unwrap(),
        |storage: &MemoryStorage| {
            flip(storage, CONTROL_NAME, 100 * 8);
            flip(storage, CONTROL_NAME, (BLOCK_BYTES as u64 + 100) * 8);
        },
        |storage: &MemoryStorage| {
            storage.open(CONTROL_NAME, Access::Write).unwrap().set_len(0).unwrap();
        },
    ] {
        let mut log = four_segments();
        log.opened(9);
        log.data(b"of an epoch that no file names");
        log.close();
        damage(&log.storage);
        let found = full(&log);
        assert_eq!((found.verdict.clone(), found.end), (Verdict::CleanEnd, log.end));
        assert_eq!((found.clean, found.epoch), (false, Epoch::new(9)));
    }
}

#[test]
fn a_segment_of_another_log_is_named() {
    let log = four_segments();
    let header = SegmentHeader { log_id: LogId::from_bytes([0xee; 16]), ..log.segments[2] };
    let name = name_of(&header).to_string();
    common::write(&log.storage, &name, 0, &header.encode());
    assert_eq!(full(&log).verdict, Verdict::ForeignSegment { name });
}

#[test]
fn a_segment_of_a_newer_version_is_named() {
    let log = four_segments();
    let name = name_of(&log.segments[2]).to_string();
    common::write(&log.storage, &name, 0, &newer_version(log.segments[2]));
    let expected = Verdict::UnsupportedVersion { name, found: FORMAT_VERSION + 1 };
    assert_eq!(full(&log).verdict, expected);
}

/// The header block as the next version of the format would write it.
fn newer_version(header: SegmentHeader) -> Vec<u8> {
    let mut block = header.encode().to_vec();
    block[12..16].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let checksum = crc32c(&block[12..]);
    block[8..12].copy_from_slice(&checksum.to_le_bytes());
    block
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[test]
fn r02_a_dead_segment_is_neither_damage_nor_read() {
    let (mut log, _) = three();
    let end = log.end;
    log.open_again(2, lsn(1 << 20));
    let dead = log.data(b"dead");
    log.flip(dead, 5);
    // The next opening goes on from the first segment: the second is off the chain.
    let pred = Predecessor { base: Lsn::FIRST, epoch: Epoch::FIRST, end };
    log.epoch = Epoch::new(3);
    log.add_segment(lsn(2 << 20), SEGMENT_BYTES, SegmentFlags::OPENING, Some(pred));
    log.end = lsn(2 << 20);
    log.opened(3);
    let found = full(&log);
    assert_eq!((found.verdict.clone(), found.survey.dead.len()), (Verdict::CleanEnd, 1));
    assert_eq!(found.scanned.records, 4);
}

#[test]
fn an_empty_directory_holds_no_log() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let refused = examine(&storage, Depth::Full, &mut ());
    assert!(matches!(refused, Err(RecoveryError::NoLog { .. })));
}

#[test]
fn a_directory_where_nothing_tells_which_log_it_is_is_damaged() {
    let (log, _) = three();
    log.storage.remove(CONTROL_NAME).unwrap();
    flip(&log.storage, &name_of(&log.segments[0]).to_string(), 8 * 20);
    corrupt_at(&full(&log), Lsn::FIRST);
}

// --- clean ends ------------------------------------------------------------------------------

#[test]
fn a_log_closed_cleanly_is_clean() {
    let (mut log, _) = three();
    log.close();
    let found = full(&log);
    assert_eq!((found.verdict.clone(), found.clean), (Verdict::CleanEnd, true));
    assert_eq!((found.end, found.durable), (log.end, log.end));
}

#[test]
fn a_log_which_was_not_closed_is_not_clean() {
    let (log, _) = three();
    let found = full(&log);
    assert_eq!((found.verdict.clone(), found.clean), (Verdict::CleanEnd, false));
}

#[test]
fn r04_the_clean_mark_cannot_come_back() {
    type Spoil = fn(&mut LogBuilder);
    let spoils: [(&str, Spoil); 7] = [
        ("first slot damaged", |log| flip(&log.storage, CONTROL_NAME, 100 * 8)),
        ("second slot damaged", |log| {
            flip(&log.storage, CONTROL_NAME, (BLOCK_BYTES as u64 + 100) * 8);
        }),
        ("a record behind the mark", |log| {
            log.data(b"after the mark");
        }),
        ("a later epoch", |log| {
            log.control.clean = log.control.clean.map(|(end, _)| (end, Epoch::new(2)));
            log.write_control();
        }),
        ("a mark before the end", |log| {
            log.control.clean = log.control.clean.map(|(_, epoch)| (log.records[2], epoch));
            log.write_control();
        }),
        ("slots that were not written one after the other", |log| {
            let stale = log.control.sequence - 2;
            let older = wal_format::ControlSlot { sequence: stale, ..log.control.clone() };
            common::write(&log.storage, CONTROL_NAME, 0, &older.encode().unwrap());
        }),
        ("cleared", |log| {
            log.control.clean = None;
            log.write_control();
        }),
    ];
    for (label, spoil) in spoils {
        let (mut log, _) = three();
        log.close();
        assert!(full(&log).clean);
        spoil(&mut log);
        let found = full(&log);
        assert!(!found.clean, "{label}");
        assert!(!found.verdict.is_damage(), "{label}: {}", found.verdict);
    }
}

#[test]
fn r04_garbage_at_the_mark_makes_the_opening_unclean() {
    let (mut log, _) = three();
    log.close();
    log.write_at(log.end, &[0x5a; 64]);
    let found = full(&log);
    assert_eq!((found.verdict.kind(), found.clean), (VerdictKind::TornTail, false));
}

// --- checkpoints -----------------------------------------------------------------------------

/// Completes a checkpoint, and names it in the control slot to be written.
fn checkpoint(log: &mut LogBuilder, begin: Lsn, redo_from: Lsn) -> CheckpointPointer {
    let end = CheckpointEnd { begin, redo_from, payload: b"snapshot" };
    let record = log
        .append(&RecordDraft::new(RecordKind::CHECKPOINT_END, &[&end.encode_head(), b"snapshot"]));
    let pointer = CheckpointPointer { begin, redo_from, record, end: log.sync() };
    log.control.checkpoints.push(pointer);
    pointer
}

#[test]
fn r03_an_opening_scans_from_where_the_newest_checkpoint_says() {
    let (mut log, at) = three();
    checkpoint(&mut log, at[1], at[0]);
    let newest = checkpoint(&mut log, at[2], at[1]);
    log.write_control();
    log.data(b"after");
    let found = look(&log.storage, Depth::FromCheckpoint);
    assert_eq!(found.checkpoint, Some(newest));
    assert_eq!((found.scanned_range.start, found.end), (at[1], log.end));
    let found = full(&log);
    assert_eq!((found.checkpoint, found.scanned_range.start), (Some(newest), Lsn::FIRST));
}

#[test]
fn r03_with_both_slots_lost_the_last_complete_checkpoint_is_found_by_scanning() {
    let (mut log, at) = three();
    checkpoint(&mut log, at[1], at[0]);
    let last = checkpoint(&mut log, at[2], at[1]);
    log.data(b"after");
    log.storage.remove(CONTROL_NAME).unwrap();
    for depth in [Depth::Full, Depth::FromCheckpoint] {
        let found = look(&log.storage, depth);
        assert_eq!((found.checkpoint, found.scanned_range.start), (Some(last), Lsn::FIRST));
    }
}

#[test]
fn r03_a_checkpoint_which_no_slot_names_does_not_count_yet() {
    let (mut log, at) = three();
    let named = checkpoint(&mut log, at[1], at[0]);
    log.write_control();
    checkpoint(&mut log, at[2], at[1]);
    log.control.checkpoints.pop();
    assert_eq!(full(&log).checkpoint, Some(named));
}

#[test]
fn damage_before_the_checkpoint_is_found_by_a_full_verification() {
    let (mut log, at) = three();
    checkpoint(&mut log, at[2], at[2]);
    log.write_control();
    log.flip(at[0], 50);
    let opening = look(&log.storage, Depth::FromCheckpoint);
    assert_eq!(opening.verdict, Verdict::CleanEnd, "the opening does not need that record");
    corrupt_at(&full(&log), at[0]);
}

// --- housekeeping ----------------------------------------------------------------------------

#[test]
fn r16_trailing_segments_of_housekeeping_are_told_from_the_others() {
    let (mut log, _) = three();
    let end = log.end;
    assert_eq!(full(&log).housekeeping_from, end);
    for epoch in 2..5 {
        log.open_again(epoch, lsn(epoch << 20));
        assert_eq!(full(&log).housekeeping_from, end, "an empty segment");
        log.opened(epoch);
        log.record(RecordKind::WATERMARK, b"");
        assert_eq!(full(&log).housekeeping_from, end, "an opening that did nothing");
    }
    log.data(b"work");
    assert_eq!(full(&log).housekeeping_from, log.end);
}

#[test]
fn r16_the_first_segment_is_never_left_out() {
    let mut log = LogBuilder::new();
    log.opened(1);
    assert_eq!(full(&log).housekeeping_from, log.end);
}

#[test]
fn verdicts_say_what_where_and_what_next() {
    let (mut log, at) = three();
    log.close();
    log.flip(at[1], 0);
    let found = full(&log);
    let said = found.verdict.to_string();
    let (name, offset) = log.place_of(at[1]);
    for part in [&at[1].to_string(), &name, &offset.to_string(), "closed cleanly", "salvage"] {
        assert!(said.contains(part), "{said} lacks {part}");
    }
}
