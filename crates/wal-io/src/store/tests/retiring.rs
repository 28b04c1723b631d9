//! Checkpoints, truncation, cleaning up.

use std::sync::Arc;

use wal_format::{CheckpointPointer, SegmentFlags};

use super::opening::{FIRST, SEGMENT, create, lsn, predecessor, reopen, survey, write};
use super::wrap::{Call, Wrap};
use crate::chain::{ChainProblem, DeadReason, Survey};
use crate::error::IoError;
use crate::segment_name::{CONTROL_NAME, SegmentName};
use crate::segment_reader::SegmentReader;
use crate::sink::Preparer;
use crate::storage::Storage;
use crate::store::SegmentStore;

/// A log of five full segments and an empty one.
fn five(wrap: &Wrap) -> Arc<SegmentStore> {
    let store = create(wrap);
    let mut sink = store.appender().unwrap();
    for n in 2..6 {
        store.prepare(lsn(base(n)), SEGMENT).unwrap();
    }
    write(sink.as_mut(), FIRST, base(4) + 80);
    sink.sync().unwrap();
    store
}

fn base(n: u64) -> u64 {
    FIRST + n * SEGMENT
}

fn checkpoint(begin: u64) -> CheckpointPointer {
    let at = |more| lsn(begin + more);
    CheckpointPointer { begin: at(64), redo_from: at(0), record: at(128), end: at(256) }
}

#[test]
fn whole_segments_below_the_address_go() {
    let wrap = Wrap::new();
    let store = five(&wrap);
    let nothing = store.truncate_before(lsn(base(1) - 8)).unwrap();
    assert_eq!((nothing.segments, nothing.head), (0, lsn(FIRST)));
    let some = store.truncate_before(lsn(base(2) + 8)).unwrap();
    assert_eq!((some.segments, some.bytes, some.head), (2, 2 * (SEGMENT + 4096), lsn(base(2))));
    assert_eq!(store.head(), lsn(base(2)));
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn the_active_segment_always_stays() {
    let wrap = Wrap::new();
    let store = five(&wrap);
    let all = store.truncate_before(wal_format::Lsn::MAX).unwrap();
    assert_eq!((all.segments, all.head), (4, lsn(base(4))));
    write(store.appender().unwrap().as_mut(), base(4) + 80, base(5) + 8);
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn r05_truncation_respects_the_oldest_retained_checkpoint() {
    let wrap = Wrap::new();
    let store = five(&wrap);
    store.record_checkpoint(checkpoint(base(1) + 8)).unwrap();
    store.record_checkpoint(checkpoint(base(3) + 8)).unwrap();
    let kept = store.truncate_before(lsn(base(4))).unwrap();
    assert_eq!(kept.head, lsn(base(1)));
    // A third one lets the first one go, and the second is the oldest now.
    store.record_checkpoint(checkpoint(base(3) + 4096)).unwrap();
    assert_eq!(store.checkpoints().len(), 2);
    assert_eq!(store.truncate_before(lsn(base(4))).unwrap().head, lsn(base(3)));
}

#[test]
fn r05_a_checkpoint_that_replays_from_below_the_head_is_refused() {
    let wrap = Wrap::new();
    let store = five(&wrap);
    store.record_checkpoint(checkpoint(base(1) + 8)).unwrap();
    store.truncate_before(lsn(base(3))).unwrap();
    let head = store.head();
    assert_eq!(head, lsn(base(1)));
    let below = CheckpointPointer { redo_from: lsn(head.get() - 8), ..checkpoint(base(2)) };
    let refused = store.record_checkpoint(below).unwrap_err();
    let IoError::OutOfRange { lsn: at, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*at, below.redo_from);
    assert!(refused.to_string().contains("below the head"), "{refused}");
    assert_eq!(store.checkpoints(), [checkpoint(base(1) + 8)], "nothing was changed");
    let at_head = CheckpointPointer { redo_from: head, ..below };
    store.record_checkpoint(at_head).unwrap();
    assert_eq!(store.checkpoints().len(), 2);
}

#[test]
fn r05_segments_go_only_after_both_slots_name_what_is_retained() {
    let wrap = Wrap::new();
    let store = five(&wrap);
    for n in 1..4 {
        store.record_checkpoint(checkpoint(base(n) + 8)).unwrap();
    }
    wrap.forget_calls();
    store.truncate_before(lsn(base(4))).unwrap();
    let calls = wrap.calls();
    let removed = calls.iter().position(|call| matches!(call, Call::Remove(_))).unwrap();
    let control_synced =
        |call: &&Call| matches!(call, Call::SyncData { name, .. } if name == CONTROL_NAME);
    assert_eq!(calls[..removed].iter().filter(control_synced).count(), 2);
    for slot in survey(&wrap).control.slots {
        let slot = slot.whole().unwrap();
        assert_eq!(slot.head, lsn(base(2)));
        assert!(slot.checkpoints.iter().all(|kept| kept.redo_from >= slot.head));
    }
}

#[test]
fn r14_the_head_is_durable_before_a_segment_goes() {
    let wrap = Wrap::new();
    let store = five(&wrap);
    wrap.fail_next(|call| matches!(call, Call::Remove(_)));
    store.truncate_before(lsn(base(2))).unwrap_err();
    // As after a crash: below the head, dead, no problem.
    let found = survey(&wrap);
    assert_eq!(found.links, store.links());
    assert_eq!(found.dead.len(), 2);
    assert!(found.dead.iter().all(|dead| dead.reason == DeadReason::BelowHead));
    assert_eq!(store.discard_dead().unwrap().segments, 2);
    assert_eq!(survey(&wrap).dead, []);
}

#[test]
fn checkpoints_out_of_order_are_refused() {
    let store = five(&Wrap::new());
    store.record_checkpoint(checkpoint(base(1))).unwrap();
    let refused = |pointer| {
        let error = store.record_checkpoint(pointer).unwrap_err();
        assert!(matches!(error, IoError::OutOfRange { .. }));
    };
    refused(checkpoint(base(1)));
    refused(checkpoint(FIRST));
    refused(CheckpointPointer { redo_from: lsn(base(3)), ..checkpoint(base(2)) });
    refused(CheckpointPointer { end: lsn(base(2)), ..checkpoint(base(2)) });
    assert_eq!(store.checkpoints(), [checkpoint(base(1))]);
}

#[test]
fn r10_what_was_noted_as_durable_is_in_the_next_control_write() {
    let wrap = Wrap::new();
    let store = five(&wrap);
    // A sync of one appender proves nothing of what another one writes before it.
    assert_eq!(store.noted_durable(), wal_format::Lsn::NONE);
    let noted = lsn(base(3));
    store.note_durable(noted);
    store.note_durable(lsn(base(2)));
    store.prepare(lsn(base(6)), SEGMENT).unwrap();
    assert_eq!(survey(&wrap).control.current().unwrap().durable, noted);
    let later = noted.checked_add(80).unwrap();
    store.note_durable(later);
    store.prepare(lsn(base(7)), SEGMENT).unwrap();
    assert_eq!(survey(&wrap).control.current().unwrap().durable, later);
}

#[test]
fn r02_what_an_opening_went_on_without_is_removed_and_what_it_capped_shrinks() {
    let wrap = Wrap::new();
    drop(five(&wrap));
    wrap.create("0000000000001000-0000000000000009.wal.tmp", 8).unwrap();
    let (store, _) = reopen(&wrap);
    assert_eq!(survey(&wrap).temporary.len(), 0, "gone before anything is made");
    assert!(matches!(store.discard_dead(), Err(IoError::OutOfRange { .. })), "too early");
    let end = base(2) + 80;
    store.resume_after(predecessor(base(2), 1, end), lsn(end)).unwrap();
    assert_eq!(survey(&wrap).dead.len(), 3);
    let discarded = store.discard_dead().unwrap();
    assert_eq!((discarded.segments, discarded.temporary, discarded.shrunk), (3, 0, 1));
    let found = survey(&wrap);
    assert_eq!((found.dead.len(), found.temporary.len()), (0, 0));
    assert_eq!(found.links, store.links());
    assert_eq!(found.links[2].file_bytes, 8192);
    // What counts is still there, to the last byte.
    let reader = SegmentReader::open(&wrap, &found.links[2]).unwrap();
    let mut back = [0; 200];
    assert_eq!(reader.read_at(lsn(base(2)), &mut back).unwrap(), 80);
    assert!(back[..80].iter().all(|byte| *byte != 0));
    assert_eq!(store.discard_dead().unwrap(), crate::store::Discarded::default());
}

#[test]
fn r16_a_crash_loop_does_not_grow_the_directory() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    write(store.appender().unwrap().as_mut(), FIRST, 8192);
    drop(store);
    let mut sizes = Vec::new();
    for _ in 0..5 {
        // Each opening leaves out the segments of the one before, which hold nothing.
        let (store, _) = reopen(&wrap);
        store.resume_after(predecessor(FIRST, 1, 8192), lsn(8192)).unwrap();
        store.discard_dead().unwrap();
        sizes.push((wrap.names().len(), wrap.used_bytes()));
    }
    assert!(sizes.windows(2).all(|pair| pair[0] == pair[1]), "{sizes:?}");
}

/// A run of the whole first segment, under its own base; the opening that made it then died, as
/// it was about to cut what the run replaces.
fn replaced_by_a_run(wrap: &Wrap) -> SegmentName {
    let store = create(wrap);
    write(store.appender().unwrap().as_mut(), FIRST, 8192);
    let old = store.links()[0].name;
    drop(store);
    let (store, _) = reopen(wrap);
    let flags = SegmentFlags::OPENING.with(SegmentFlags::BORN_DURABLE);
    let mut run = store.write_run(lsn(FIRST), 4096, flags, None).unwrap();
    run.write(&[3; 4096]).unwrap();
    wrap.fail_next(|call| matches!(call, Call::SetLen { .. }));
    run.finish().unwrap_err();
    old
}

fn bytes_of(wrap: &Wrap, name: SegmentName) -> Option<u64> {
    let entries = wrap.list().unwrap();
    entries.into_iter().find(|entry| entry.name == name.to_string()).map(|entry| entry.len)
}

#[test]
fn r16_what_an_opening_replaced_gives_its_space_back_before_the_next_makes_anything() {
    let wrap = Wrap::new();
    let old = replaced_by_a_run(&wrap);
    let before = survey(&wrap);
    assert_eq!(before.dead.len(), 2, "the segment replaced, and the empty one behind it");
    wrap.forget_calls();
    let (store, _) = reopen(&wrap);
    // Only its header is left, which keeps its addresses from being used twice.
    assert_eq!(bytes_of(&wrap, old), Some(4096));
    assert_eq!(survey(&wrap).address_end, before.address_end, "rule 8");
    let is_control = |call: &Call| matches!(call, Call::Write { name, .. } if name == CONTROL_NAME);
    let calls = wrap.calls();
    let spent = calls.iter().rposition(is_control).unwrap();
    let cut = calls.iter().position(|call| matches!(call, Call::SetLen { .. })).unwrap();
    let synced = calls.iter().position(|call| *call == Call::SyncDir).unwrap();
    assert!(spent < synced && synced < cut, "the epoch, then the chain, then what it replaces");
    let placement = store.resume_after(predecessor(FIRST, 2, 8192), lsn(8192)).unwrap();
    assert!(placement.end >= before.address_end, "rule 8");
    drop(store);
    // Now a segment of the chain lies above all of it.
    reopen(&wrap);
    assert_eq!(bytes_of(&wrap, old), None);
    assert_eq!(survey(&wrap).dead, []);
}

#[test]
fn r08_a_dead_segment_without_its_header_keeps_the_length_that_tells_its_addresses() {
    let wrap = Wrap::new();
    let old = replaced_by_a_run(&wrap);
    let file = wrap.open(&old.to_string(), crate::storage::Access::Write).unwrap();
    file.write_at(&[std::io::IoSlice::new(&[0; 64])], 0).unwrap();
    let before = survey(&wrap);
    reopen(&wrap);
    assert_eq!(bytes_of(&wrap, old), Some(SEGMENT + 4096));
    assert_eq!(survey(&wrap).address_end, before.address_end);
}

#[test]
fn r22_a_reader_of_a_truncated_segment_is_told_so() {
    let wrap = Wrap::new();
    let store = five(&wrap);
    let link = store.links()[0];
    let reader = SegmentReader::open(&wrap, &link).unwrap();
    reader.verify(&wrap).unwrap();
    store.truncate_before(lsn(base(1))).unwrap();
    assert!(matches!(reader.verify(&wrap), Err(IoError::Gone { .. })));
    assert!(matches!(SegmentReader::open(&wrap, &link), Err(IoError::Gone { .. })));
}

#[test]
fn a_writer_that_was_overtaken_changes_nothing() {
    let wrap = Wrap::new();
    let store = five(&wrap);
    // Another writer, past a lock that did not hold.
    let mut other = crate::ControlFile::open(store.storage()).unwrap();
    other.update(|slot| slot.epoch = slot.epoch.checked_add(1).unwrap()).unwrap();
    let names = wrap.names();
    let error = store.truncate_before(lsn(base(3))).unwrap_err();
    assert!(matches!(error, IoError::Superseded { .. }));
    assert_eq!(wrap.names(), names);
    assert!(matches!(store.prepare(lsn(base(6)), SEGMENT), Err(IoError::Poisoned { .. })));
    assert!(matches!(store.mark_clean(lsn(base(4) + 80)), Err(IoError::Poisoned { .. })));
}

#[test]
fn the_mark_must_lie_in_the_active_segment() {
    let wrap = Wrap::new();
    let store = five(&wrap);
    for end in [base(4) - 8, base(5) + 8] {
        assert!(matches!(store.mark_clean(lsn(end)), Err(IoError::OutOfRange { .. })));
    }
    store.mark_clean(lsn(base(4) + 80)).unwrap();
}

#[test]
fn r14_the_loss_of_one_slot_hides_no_missing_segment_and_invents_none() {
    for lost in [0, 4096] {
        let wrap = Wrap::new();
        let store = five(&wrap);
        store.truncate_before(lsn(base(2))).unwrap();
        let control = wrap.open(CONTROL_NAME, crate::storage::Access::Write).unwrap();
        control.write_at(&[std::io::IoSlice::new(b"rubble")], lost).unwrap();
        assert_eq!(survey(&wrap).links, store.links());
        wrap.remove(&store.links()[0].name.to_string()).unwrap();
        let problems = Survey::read(&wrap).unwrap().problems;
        assert!(matches!(problems[..], [ChainProblem::Missing { .. }]), "{problems:?}");
    }
}

#[test]
fn a_truncation_whose_directory_sync_failed_lets_nothing_be_made_any_more() {
    let wrap = Wrap::new();
    let store = five(&wrap);
    let links = store.links();
    wrap.fail_next(|call| *call == Call::SyncDir);
    store.truncate_before(links[2].name.base).unwrap_err();
    let end = links.last().unwrap().cap;
    let refused = store.prepare(end, links[0].header.capacity_bytes).unwrap_err();
    assert!(matches!(refused, IoError::Poisoned { .. }), "{refused}");
}
