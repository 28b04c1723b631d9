//! One bit flipped anywhere is found and named, and nothing else is ever named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{body, contents, flip, memory_of, place_of, reopen, segments};
use wal::{FlippedPart, LogView, MemoryStorage, Storage};

/// A log with records in and out of a transaction; addresses of its records, and their end.
fn log() -> (Vec<(String, Vec<u8>)>, Vec<u64>) {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = reopen(&storage);
    wal.append(&body(0)).unwrap().wait_durable().unwrap();
    let mut txn = wal.begin();
    txn.log(b"within").unwrap();
    txn.commit().unwrap();
    wal.append(b"").unwrap().wait_durable().unwrap();
    drop(wal);
    let mut bounds = vec![];
    let view = LogView::open_in(Arc::clone(&storage)).unwrap();
    let _none: Option<()> = view
        .for_each(view.range(), |record| {
            bounds.push(record.lsn().get());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    bounds.push(view.end().get());
    (contents(storage.as_ref()), bounds)
}

#[test]
fn every_bit_of_every_record_is_named_when_it_is_flipped() {
    let (image, bounds) = log();
    let mut parts = std::collections::BTreeMap::new();
    for bit in bounds[0] * 8..bounds.last().unwrap() * 8 {
        let storage = memory_of(&image);
        let (name, offset) = place_of(storage.as_ref(), bit / 8);
        flip(storage.as_ref(), &name, offset * 8 + bit % 8);
        let view = LogView::open_in(Arc::clone(&storage)).unwrap();
        let found = view.flipped_bit().unwrap().unwrap_or_else(|| panic!("bit {bit} not found"));
        assert_eq!((found.offset, u64::from(found.bit)), (offset, bit % 8), "{found}");
        let start = *bounds.iter().rev().find(|start| **start <= bit / 8).unwrap();
        assert_eq!((found.lsn.get(), found.segment.to_string()), (start, name), "{found}");
        *parts.entry(format!("{}", found.part)).or_insert(0) += 1;
        let said = found.to_string();
        assert!(said.starts_with(&format!("bit {} of byte {} of", bit % 8, found.byte)), "{said}");
    }
    let kinds: Vec<&str> = parts.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["alignment", "body", "header", "transaction fields"]);
}

#[test]
fn every_bit_of_a_segment_header_is_named_when_it_is_flipped() {
    let (image, _) = log();
    let name = segments(memory_of(&image).as_ref())[0].clone();
    for bit in (0..4096 * 8).step_by(97) {
        let storage = memory_of(&image);
        flip(storage.as_ref(), &name, bit);
        let view = LogView::open_in(Arc::clone(&storage)).unwrap();
        match view.flipped_bit().unwrap() {
            Some(found) => {
                assert_eq!((found.offset, u64::from(found.bit)), (bit / 8, bit % 8), "{found}");
                assert_eq!(found.part, FlippedPart::SegmentHeader);
            }
            // A header that seems to be another log's, or a newer one's, is not called damaged.
            None => assert!(bit < 64 * 8, "bit {bit}: {}", view.verdict()),
        }
    }
}

#[test]
fn two_flipped_bits_are_not_named() {
    let (image, bounds) = log();
    for second in bounds[1] * 8 + 1..bounds[2] * 8 {
        let storage = memory_of(&image);
        for bit in [bounds[1] * 8, second] {
            let (name, offset) = place_of(storage.as_ref(), bit / 8);
            flip(storage.as_ref(), &name, offset * 8 + bit % 8);
        }
        let view = LogView::open_in(Arc::clone(&storage)).unwrap();
        assert_eq!(view.flipped_bit().unwrap(), None, "bit {second}");
    }
}

#[test]
fn a_whole_log_has_no_flipped_bit() {
    let (image, _) = log();
    assert_eq!(LogView::open_in(memory_of(&image)).unwrap().flipped_bit().unwrap(), None);
}
