//! Whatever is written is read back as it was, for every body and for records of any content.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{encode_body, lsn, part_body};
use proptest::prelude::*;
use wal_format::body::{
    AriesEnd, Begin, Body, CheckpointBegin, CheckpointEnd, CheckpointPart, Clr, Commit,
    Compensation, DirtyPage, End, Logical, Opened, Outcome, PageFree, PageImage, Prepare,
    RestorePoint, Time, TxnEntry, TxnState, Update,
};
use wal_format::{
    CheckpointPointer, ControlSlot, Epoch, LogId, Lsn, PageId, Predecessor, RecordDraft,
    RecordFlags, RecordKind, RecordSeed, SegmentFlags, SegmentHeader, TxnId, TxnLink,
    decode_record,
};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..100)
}

/// An address that a record can have.
fn address() -> impl Strategy<Value = Lsn> {
    (4096 / 8..u64::MAX / 8).prop_map(|units| lsn(units * 8))
}

/// Addresses in ascending order, no two the same.
fn ascending<const N: usize>() -> impl Strategy<Value = [Lsn; N]> {
    prop::collection::btree_set(address(), N)
        .prop_map(|set| set.into_iter().collect::<Vec<_>>().try_into().unwrap())
}

fn page() -> impl Strategy<Value = PageId> {
    (0..u64::MAX).prop_map(PageId::new)
}

fn txn_entry() -> impl Strategy<Value = TxnEntry> {
    let states = [TxnState::Active, TxnState::RollingBack, TxnState::Prepared, TxnState::Committed];
    (1..=u64::MAX, prop::sample::select(states.to_vec()), ascending::<4>()).prop_map(
        |(txn_id, state, [first_lsn, undo_next, prepare_lsn, last_lsn])| TxnEntry {
            txn_id: TxnId::new(txn_id),
            state,
            first_lsn,
            last_lsn,
            undo_next: if state == TxnState::Committed { Lsn::NONE } else { undo_next },
            prepare_lsn: if state == TxnState::Prepared { prepare_lsn } else { Lsn::NONE },
        },
    )
}

/// Both directions at once, for a body that is made of its parts.
fn assert_comes_back(kind: RecordKind, body: Body<'_>) {
    let encoded = encode_body(&body).unwrap();
    assert_eq!(Body::decode(kind, &encoded), Ok(Some(body)));
}

proptest! {
    #[test]
    fn any_record_comes_back_as_it_was(
        log_id in any::<[u8; 16]>(),
        epoch in 1..=u64::MAX,
        kind in 0x40..0x80_u8,
        flags in 0..8_u8,
        [prev, durable, at] in ascending::<3>(),
        txn_id in prop::option::of(1..=u64::MAX),
        first in bytes(),
        second in bytes(),
    ) {
        let seed = RecordSeed::new(LogId::from_bytes(log_id), Epoch::new(epoch));
        let flags = RecordFlags::new(flags & !1).unwrap();
        let txn = txn_id.map(|id| TxnLink { txn_id: TxnId::new(id), prev_lsn: prev });
        let parts = [&first[..], &second[..]];
        let kind = RecordKind::new(kind).unwrap();
        let draft = RecordDraft { kind, flags, txn, parts: &parts };
        let mut out = vec![0xee; draft.encoded_bytes() + 16];
        let written = draft.encode_into(&seed, at, Some(durable), &mut out).unwrap();
        prop_assert_eq!(&out[written..], &[0xee; 16]);
        let record = decode_record(&out, at, &seed).unwrap();
        prop_assert_eq!(record.body, parts.concat());
        prop_assert_eq!((record.kind(), record.txn, record.lsn()), (kind, txn, at));
        prop_assert_eq!(record.flags().without(RecordFlags::IN_TXN), flags);
        prop_assert_eq!(record.encoded_bytes(), written);
        // A watermark too far back to be written claims nothing; none claims more than was given.
        prop_assert!(record.durable().is_none_or(|claimed| claimed == durable));
    }

    #[test]
    fn small_bodies_come_back_as_they_were(
        isolation in any::<u8>(), number in any::<u64>(), page in page(), epoch in 1..=u64::MAX,
        previous_end in address(), name in "[a-zäöü ]{1,80}",
    ) {
        assert_comes_back(RecordKind::BEGIN, Body::Begin(Begin { isolation }));
        assert_comes_back(RecordKind::COMMIT, Body::Commit(Commit { timestamp: number }));
        assert_comes_back(RecordKind::PAGE_FREE, Body::PageFree(PageFree { page }));
        assert_comes_back(RecordKind::TIME, Body::Time(Time { unix_us: number }));
        let begun = CheckpointBegin { begun_unix_us: number };
        assert_comes_back(RecordKind::CHECKPOINT_BEGIN, Body::CheckpointBegin(begun));
        let opened = Opened { epoch: Epoch::new(epoch), previous_end, opened_unix_us: number };
        assert_comes_back(RecordKind::OPENED, Body::Opened(opened));
        assert_comes_back(RecordKind::RESTORE_POINT, Body::RestorePoint(RestorePoint { name: &name }));
        for outcome in [Outcome::Committed, Outcome::RolledBack] {
            assert_comes_back(RecordKind::END, Body::End(End { outcome }));
        }
    }

    #[test]
    fn changes_come_back_as_they_were(
        page in page(), offset in 0..u32::MAX - 100, operation in any::<u32>(),
        first in bytes(), second in bytes(), [undo_next, compensated] in ascending::<2>(),
    ) {
        let update = Update { page, offset, before: &first, after: &second };
        assert_comes_back(RecordKind::UPDATE, Body::Update(update));
        for page in [page, PageId::NONE] {
            let logical = Logical { page, operation, redo: &first, undo: &second };
            assert_comes_back(RecordKind::LOGICAL, Body::Logical(logical));
            let action = Compensation::Logical { page, operation, redo: &first };
            assert_comes_back(RecordKind::CLR, Body::Clr(Clr { undo_next, compensated, action }));
        }
        for action in [Compensation::Nothing, Compensation::Bytes { page, offset, image: &first }] {
            for undo_next in [undo_next, Lsn::NONE] {
                assert_comes_back(RecordKind::CLR, Body::Clr(Clr { undo_next, compensated, action }));
            }
        }
        assert_comes_back(RecordKind::CLR, Body::Clr(Clr::end_of_nested_top_action(undo_next)));
    }

    #[test]
    fn prepares_images_and_checkpoint_ends_come_back_as_they_were(
        page in page(), first in prop::collection::vec(any::<u8>(), 1..100), second in bytes(),
        [redo_from, begin] in ascending::<2>(), rollback_bytes in any::<u64>(),
    ) {
        let prepare = Prepare { rollback_bytes, global_id: &first, locks: &second };
        assert_comes_back(RecordKind::PREPARE, Body::Prepare(prepare));
        assert_comes_back(RecordKind::PAGE_IMAGE, Body::PageImage(PageImage { page, image: &first }));
        let end = CheckpointEnd { begin, redo_from, payload: &second };
        assert_comes_back(RecordKind::CHECKPOINT_END, Body::CheckpointEnd(end));
    }

    #[test]
    fn the_payload_of_an_aries_checkpoint_comes_back_as_it_was(
        parts in any::<u32>(), next_txn_id in 1..=u64::MAX, engine in bytes(),
        [redo_from, begin] in ascending::<2>(),
    ) {
        let payload = AriesEnd { parts, next_txn_id, engine: &engine };
        let payload_bytes = payload.parts(&payload.encode_head()).concat();
        prop_assert_eq!(AriesEnd::decode(&payload_bytes), Ok(payload));
        let end = CheckpointEnd { begin, redo_from, payload: &payload_bytes };
        assert_comes_back(RecordKind::CHECKPOINT_END, Body::CheckpointEnd(end));
    }

    #[test]
    fn checkpoint_tables_come_back_as_they_were(
        begin in address(), index in any::<u32>(),
        txns in prop::collection::vec(txn_entry(), 0..6),
        pages in prop::collection::vec((page(), address()), 0..6),
    ) {
        let pages: Vec<_> = pages.into_iter().map(|(page, rec_lsn)| DirtyPage { page, rec_lsn }).collect();
        let body = part_body(begin, index, &txns, &pages);
        let part = CheckpointPart::decode(&body).unwrap();
        prop_assert_eq!((part.begin, part.index), (begin, index));
        prop_assert_eq!(part.txns().map(Result::unwrap).collect::<Vec<_>>(), txns);
        prop_assert_eq!(part.dirty_pages().map(Result::unwrap).collect::<Vec<_>>(), pages);
    }

    #[test]
    fn segment_headers_come_back_as_they_were(
        log_id in any::<[u8; 16]>(), epochs in any::<[u32; 2]>(), created_unix_us in any::<u64>(),
        [pred_base, pred_end, base] in ascending::<3>(), capacity in 0..u64::MAX / 8,
        is_first in any::<bool>(),
    ) {
        let capacity_bytes = capacity % ((Lsn::MAX.get() - base.get()) / 8 + 1) * 8;
        let epoch = Epoch::new(1 + u64::from(epochs[0].max(epochs[1])));
        let pred_epoch = Epoch::new(1 + u64::from(epochs[0].min(epochs[1])));
        let predecessor = Predecessor { base: pred_base, epoch: pred_epoch, end: pred_end };
        let header = SegmentHeader {
            log_id: LogId::from_bytes(log_id),
            base,
            epoch,
            capacity_bytes,
            created_unix_us,
            flags: SegmentFlags::BORN_DURABLE,
            predecessor: (!is_first).then_some(predecessor),
            head: pred_base,
        };
        prop_assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn control_slots_come_back_as_they_were(
        log_id in any::<[u8; 16]>(), sequence in any::<u64>(), epoch in 1..=u64::MAX,
        lsns in prop::collection::vec(ascending::<4>(), 0..=8), [head, newest_base, durable] in ascending::<3>(),
        is_clean in any::<bool>(),
    ) {
        let pointers = lsns.into_iter().map(|[redo_from, begin, record, end]| {
            CheckpointPointer { begin, redo_from, record, end }
        });
        let slot = ControlSlot {
            log_id: LogId::from_bytes(log_id),
            sequence,
            epoch: Epoch::new(epoch),
            head,
            newest_base,
            newest_epoch: Epoch::new(epoch),
            durable,
            clean: is_clean.then_some((durable, Epoch::new(epoch))),
            checkpoints: pointers.collect(),
        };
        prop_assert_eq!(ControlSlot::decode(&slot.encode().unwrap()), Ok(slot));
    }
}

#[cfg(feature = "lz4")]
proptest! {
    #[test]
    fn r20_compressed_bodies_come_back_as_they_were(word in bytes(), times in 1..200_usize) {
        let raw = word.repeat(times);
        let mut stored = Vec::new();
        if wal_format::compress::compress_body(&raw, 0, &mut stored) {
            prop_assert!(stored.len() < raw.len());
            let mut out = vec![0; wal_format::compress::raw_bytes(&stored).unwrap()];
            prop_assert_eq!(wal_format::compress::decompress_into(&stored, &mut out), Ok(raw.len()));
            prop_assert_eq!(out, raw);
        } else {
            prop_assert!(stored.is_empty());
        }
    }
}
