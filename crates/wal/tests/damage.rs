//! One bit flipped anywhere: what evidence covers is refused by name, what it does not cover is
//! said to be a torn tail, and nothing is ever silently shorter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{body, contents, flip, memory_of, open, place_of, reopen, segments, small};
use wal::{ErrorKind, LogView, Lsn, MemoryStorage, Storage, Verdict};

const RECORDS: usize = 6;

/// A log that was not closed; addresses of its records and the end of the last one.
fn log() -> (Vec<(String, Vec<u8>)>, Vec<u64>) {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = reopen(&storage);
    let mut bounds = Vec::new();
    let mut end = 0;
    for number in 0..RECORDS {
        let ticket = wal.append(&body(number)).unwrap();
        ticket.wait_durable().unwrap();
        bounds.push(ticket.lsn().get());
        end = ticket.end().get();
    }
    bounds.push(end);
    drop(wal);
    (contents(storage.as_ref()), bounds)
}

#[test]
fn r10_a_bit_flipped_where_evidence_covers_it_is_refused_by_name() {
    let (image, bounds) = log();
    // The last record's watermark proves everything before that record.
    let proven_end = bounds[RECORDS - 1];
    for bit in Lsn::FIRST.get() * 8..proven_end * 8 {
        let storage = memory_of(&image);
        let (name, offset) = place_of(storage.as_ref(), bit / 8);
        flip(storage.as_ref(), &name, offset * 8 + bit % 8);
        let before = contents(storage.as_ref());
        let error = open(&storage, small()).err().unwrap_or_else(|| panic!("bit {bit}: opened"));
        assert_eq!(error.kind(), ErrorKind::Damaged, "bit {bit}: {error}");
        let Some(Verdict::Corrupt { lsn, .. }) = error.verdict() else {
            panic!("bit {bit}: {error}");
        };
        let start = bounds.iter().rev().find(|start| **start <= bit / 8).copied();
        assert_eq!(lsn.get(), start.unwrap_or(Lsn::FIRST.get()), "bit {bit}: {error}");
        assert!(error.to_string().contains(&lsn.to_string()), "the message names the address");
        assert_eq!(contents(storage.as_ref()), before, "bit {bit}: evidence of damage was changed");
    }
}

#[test]
fn r10_a_bit_flipped_in_the_unproven_end_is_called_a_torn_tail() {
    let (image, bounds) = log();
    let mut torn = 0;
    for bit in bounds[RECORDS - 1] * 8..bounds[RECORDS] * 8 {
        let storage = memory_of(&image);
        let (name, offset) = place_of(storage.as_ref(), bit / 8);
        flip(storage.as_ref(), &name, offset * 8 + bit % 8);
        let view = LogView::open_in(Arc::clone(&storage)).unwrap();
        match view.verdict() {
            Verdict::TornTail { at, .. } => {
                torn += 1;
                assert_eq!(at.get(), bounds[RECORDS - 1], "bit {bit}");
            }
            other => panic!("bit {bit}: {other}"),
        }
        let (_wal, found) = reopen(&storage);
        assert_eq!(found, (0..RECORDS - 1).map(body).collect::<Vec<_>>(), "bit {bit}");
    }
    assert!(torn > 100);
}

#[test]
fn a_missing_segment_in_the_middle_is_refused_and_named() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = reopen(&storage);
    while wal.stats().segments < 5 {
        wal.append(&[7; 4000]).unwrap().wait_durable().unwrap();
    }
    drop(wal);
    let image = contents(storage.as_ref());
    for name in &segments(storage.as_ref())[1..4] {
        let storage = memory_of(&image);
        storage.remove(name).unwrap();
        let error = open(&storage, small()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{name}: {error}");
        assert!(matches!(error.verdict(), Some(Verdict::MissingSegment { .. })), "{name}: {error}");
    }
}

#[test]
fn a_missing_newest_segment_is_refused_and_named() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = reopen(&storage);
    while wal.stats().segments < 5 {
        wal.append(&[7; 4000]).unwrap().wait_durable().unwrap();
    }
    drop(wal);
    let newest = segments(storage.as_ref()).pop().unwrap();
    storage.remove(&newest).unwrap();
    let error = open(&storage, small()).unwrap_err();
    assert!(matches!(error.verdict(), Some(Verdict::MissingSegment { .. })), "{error}");
}

#[test]
fn r04_both_control_slots_gone_still_opens_by_scanning() {
    let (image, _) = log();
    let without: Vec<_> = image.iter().filter(|(name, _)| name != "control").cloned().collect();
    let (_wal, found) = reopen(&memory_of(&without));
    assert_eq!(found, (0..RECORDS).map(body).collect::<Vec<_>>());
    let zeroed: Vec<_> = image
        .iter()
        .map(|(name, bytes)| match name.as_str() {
            "control" => (name.clone(), vec![0; bytes.len()]),
            _ => (name.clone(), bytes.clone()),
        })
        .collect();
    let (_wal, found) = reopen(&memory_of(&zeroed));
    assert_eq!(found, (0..RECORDS).map(body).collect::<Vec<_>>());
}

#[test]
fn a_segment_of_another_log_is_refused_by_name() {
    let (image, _) = log();
    let (other, _) = log();
    let storage = memory_of(&image);
    let (name, bytes) = other.iter().find(|(name, _)| name.ends_with(".wal")).unwrap();
    let foreign = format!("{}-{:016x}.wal", "00000000ffff0000", 9);
    assert_ne!(*name, foreign);
    let file = storage.create(&foreign, bytes.len() as u64).unwrap();
    file.write_at(&[std::io::IoSlice::new(bytes)], 0).unwrap();
    let error = open(&storage, small()).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Foreign | ErrorKind::Damaged),
        "{:?}: {error}",
        error.kind()
    );
    assert!(error.to_string().contains(&foreign), "the message names the file: {error}");
}

#[test]
fn a_damaged_log_can_be_salvaged_and_is_not_touched() {
    let (image, bounds) = log();
    let damaged = memory_of(&image);
    let (name, offset) = place_of(damaged.as_ref(), bounds[2]);
    flip(damaged.as_ref(), &name, (offset + 30) * 8);
    let before = contents(damaged.as_ref());
    let saved: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let report = wal::salvage_in(&damaged, &saved, &mut ()).unwrap();
    assert_eq!(contents(damaged.as_ref()), before);
    assert_eq!(report.lost.len(), 1);
    assert_eq!(
        (report.lost[0].range.start.get(), report.lost[0].range.end.get()),
        (bounds[2], bounds[3])
    );
    let (_wal, found) = reopen(&saved);
    let expected: Vec<_> = (0..RECORDS).filter(|number| *number != 2).map(body).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_log_can_be_restored_to_an_earlier_point_in_a_new_place() {
    let (image, bounds) = log();
    let whole = memory_of(&image);
    let earlier: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let until = wal::Until::Lsn(Lsn::new(bounds[3]).unwrap());
    wal::restore_to_in(&whole, &earlier, &until, &mut ()).unwrap();
    let (wal, found) = reopen(&earlier);
    assert_eq!(found, (0..3).map(body).collect::<Vec<_>>());
    assert_ne!(Some(wal.log_id()), LogView::open_in(whole).unwrap().log_id());
}

#[test]
fn r10_each_rotation_leaves_evidence_of_what_was_durable() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = reopen(&storage);
    while wal.stats().segments < 8 {
        wal.append(&[7; 3000]).unwrap().wait_durable().unwrap();
    }
    drop(wal);
    // A device that lost everything behind the first segment, but for the headers.
    for name in segments(storage.as_ref()).iter().skip(1) {
        let len = common::read(storage.as_ref(), name).len();
        common::overwrite(storage.as_ref(), name, 4096, &vec![0; len - 4096]);
    }
    let error = open(&storage, small()).unwrap_err();
    assert!(matches!(error.verdict(), Some(Verdict::Corrupt { .. })), "{error}");
}
