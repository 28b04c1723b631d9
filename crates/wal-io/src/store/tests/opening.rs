//! Creating, taking over, going on.

use std::sync::Arc;

use wal_format::{Epoch, Lsn, Predecessor, SegmentFlags};

use super::wrap::{Call, Wrap};
use crate::chain::{ChainProblem, Survey};
use crate::error::IoError;
use crate::segment_name::{CONTROL_NAME, SPARE_NAME};
use crate::sink::{LogSink, Preparer};
use crate::storage::Storage;
use crate::store::{Placement, SegmentStore, StoreOptions};

pub(super) const SEGMENT: u64 = 64 << 10;
pub(super) const FIRST: u64 = 4096;

pub(super) fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw).unwrap()
}

pub(super) fn options() -> StoreOptions {
    StoreOptions::default().with_segment_bytes(SEGMENT)
}

pub(super) fn shared(wrap: &Wrap) -> Arc<dyn Storage> {
    Arc::new(wrap.clone())
}

pub(super) fn create(wrap: &Wrap) -> Arc<SegmentStore> {
    SegmentStore::create(shared(wrap), wrap.lock().unwrap(), options()).unwrap()
}

pub(super) fn survey(wrap: &Wrap) -> Survey {
    let survey = Survey::read(wrap).unwrap();
    assert_eq!(survey.problems, []);
    survey
}

pub(super) fn reopen(wrap: &Wrap) -> (Arc<SegmentStore>, Survey) {
    let survey = survey(wrap);
    let lock = wrap.lock().unwrap();
    (SegmentStore::reopen(shared(wrap), lock, options(), &survey).unwrap(), survey)
}

/// Fills `from..end` with bytes which tell their address.
pub(super) fn write(sink: &mut dyn LogSink, from: u64, end: u64) {
    let bytes: Vec<u8> = (from..end).map(|at| (at / 8) as u8 | 1).collect();
    sink.write(lsn(from), &[std::io::IoSlice::new(&bytes)]).unwrap();
}

pub(super) fn predecessor(base: u64, epoch: u64, end: u64) -> Predecessor {
    Predecessor { base: lsn(base), epoch: Epoch::new(epoch), end: lsn(end) }
}

fn shape(store: &SegmentStore) -> Vec<(u64, u64, u64)> {
    let links = store.links();
    links.iter().map(|l| (l.name.base.get(), l.name.epoch.get(), l.cap.get())).collect()
}

#[test]
fn a_new_log_has_two_empty_segments_a_control_file_and_a_spare() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let found = survey(&wrap);
    assert_eq!(found.links, store.links());
    assert_eq!(found.links.len(), 2);
    assert_eq!((found.temporary.len(), found.dead.len()), (0, 0));
    assert!(found.control.both_whole() && !found.is_empty());
    assert_eq!(found.log_id, Some(store.log_id()));
    for name in [CONTROL_NAME, SPARE_NAME] {
        assert!(wrap.names().contains(&name.to_owned()), "{name}");
    }
}

#[test]
fn a_directory_with_a_log_is_not_created_again() {
    let wrap = Wrap::new();
    drop(create(&wrap));
    let again = SegmentStore::create(shared(&wrap), wrap.lock().unwrap(), options());
    assert!(matches!(again, Err(IoError::Exists { .. })));
    survey(&wrap);
}

#[test]
fn the_first_segment_is_placed_once() {
    let wrap = Wrap::new();
    let bare = SegmentStore::create_bare(shared(&wrap), wrap.lock().unwrap(), options()).unwrap();
    assert!(survey(&wrap).is_empty());
    let second = lsn(FIRST + SEGMENT);
    let expected = Placement { end: lsn(FIRST), active_end: second, ready_end: second };
    assert_eq!(bare.place_first().unwrap(), expected);
    assert!(matches!(bare.place_first(), Err(IoError::Exists { .. })));
    assert_eq!(survey(&wrap).links, bare.links());
}

#[test]
fn a_creation_cut_short_anywhere_is_finished_by_the_next() {
    let steps = {
        let wrap = Wrap::new();
        drop(create(&wrap));
        wrap.calls().len()
    };
    for cut in 0..steps {
        let wrap = Wrap::new();
        thread_local!(static LEFT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });
        LEFT.set(cut);
        wrap.fail_next(|_| {
            LEFT.set(LEFT.get().wrapping_sub(1));
            LEFT.get() == usize::MAX
        });
        let first = SegmentStore::create(shared(&wrap), wrap.lock().unwrap(), options());
        drop(first);
        let left = survey(&wrap);
        if left.is_empty() {
            create(&wrap);
        } else {
            let (store, _) = reopen(&wrap);
            store
                .resume_after(predecessor(FIRST, left.links[0].name.epoch.get(), FIRST), lsn(FIRST))
                .unwrap();
        }
        assert!(!survey(&wrap).is_empty(), "cut at {cut}");
    }
}

#[test]
fn an_unfinished_creation_which_holds_records_after_all_is_left_alone() {
    let wrap = Wrap::new();
    let options = options();
    let store = SegmentStore::create_bare(shared(&wrap), wrap.lock().unwrap(), options).unwrap();
    let mut run = store.write_run(Lsn::FIRST, 80, SegmentFlags::BORN_DURABLE, None).unwrap();
    run.write(&[7; 80]).unwrap();
    run.finish().unwrap();
    drop(store);
    drop(wrap.create("spare.tmp", 0).unwrap());
    assert!(survey(&wrap).is_empty());
    let before = wrap.names();
    let again = SegmentStore::create(shared(&wrap), wrap.lock().unwrap(), options);
    // Damage, or a control file that lies: nobody is told to take another directory.
    assert!(matches!(again, Err(IoError::Unsound { .. })), "{again:?}");
    assert_eq!(wrap.names(), before, "not even a temporary file is tidied away");
}

#[test]
fn r17_an_epoch_is_durable_before_anything_is_written_under_it() {
    let wrap = Wrap::new();
    drop(create(&wrap));
    wrap.forget_calls();
    let (store, before) = reopen(&wrap);
    assert_eq!(store.epoch(), before.highest_epoch.checked_add(1).unwrap());
    assert_eq!(store.seed().epoch(), store.epoch());
    for call in wrap.calls() {
        let name = match call {
            Call::Write { name, .. } | Call::SyncData { name, .. } => name,
            Call::Open(..) => continue,
            other => panic!("{other:?} before the epoch is spent"),
        };
        assert_eq!(name, CONTROL_NAME);
    }
    // Both slots name it: the loss of either does not give it back.
    let slots = survey(&wrap).control.slots;
    assert!(slots.iter().all(|slot| slot.whole().unwrap().epoch == store.epoch()));
}

#[test]
fn r17_a_lost_slot_may_have_spent_epochs_that_nobody_sees() {
    let wrap = Wrap::new();
    drop(create(&wrap));
    let file = wrap.open(CONTROL_NAME, crate::storage::Access::Write).unwrap();
    file.write_at(&[std::io::IoSlice::new(b"rubble")], 4096).unwrap();
    assert_eq!(reopen(&wrap).0.epoch(), Epoch::new(1001));
    wrap.remove(CONTROL_NAME).unwrap();
    let (store, survey) = reopen(&wrap);
    assert!(survey.control.both_lost());
    assert_eq!(store.epoch(), survey.highest_epoch.checked_add(1000).unwrap());
}

#[test]
fn r04_the_clean_mark_is_gone_from_both_slots_before_the_first_write() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    store.mark_clean(lsn(FIRST)).unwrap();
    drop(store);
    let mark = survey(&wrap).control.current().unwrap().clean;
    assert_eq!(mark, Some((Lsn::FIRST, Epoch::FIRST)));
    let (store, _) = reopen(&wrap);
    for slot in survey(&wrap).control.slots {
        assert_eq!(slot.whole().unwrap().clean, None);
    }
    drop(store);
}

#[test]
fn r04_nothing_is_written_after_the_mark() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    store.mark_clean(lsn(FIRST)).unwrap();
    wrap.forget_calls();
    let last = store.links().last().unwrap().cap;
    assert!(matches!(store.prepare(last, SEGMENT), Err(IoError::Closed { .. })));
    assert!(matches!(store.truncate_before(last), Err(IoError::Closed { .. })));
    assert!(matches!(store.discard_dead(), Err(IoError::Closed { .. })));
    assert!(matches!(store.mark_clean(lsn(FIRST)), Err(IoError::Closed { .. })));
    assert_eq!(wrap.calls(), []);
}

#[test]
fn a_clean_log_goes_on_in_place_and_its_successor_gets_the_new_epoch() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    write(store.appender().unwrap().as_mut(), FIRST, 8192);
    store.mark_clean(lsn(8192)).unwrap();
    drop(store);
    let (store, _) = reopen(&wrap);
    let placement = store.resume_in_place(lsn(8192)).unwrap();
    let (second, third) = (FIRST + SEGMENT, FIRST + 2 * SEGMENT);
    let expected = Placement { end: lsn(8192), active_end: lsn(second), ready_end: lsn(third) };
    assert_eq!(placement, expected);
    assert_eq!(shape(&store), [(FIRST, 1, second), (second, 2, third)]);
    let found = survey(&wrap);
    assert_eq!(found.links, store.links());
    assert_eq!(found.dead, []);
    assert_eq!(found.control.current().unwrap().newest_epoch, Epoch::new(2));
    write(store.appender().unwrap().as_mut(), 8192, third);
}

#[test]
fn a_clean_log_can_end_exactly_where_a_segment_does() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let second = FIRST + SEGMENT;
    write(store.appender().unwrap().as_mut(), FIRST, second);
    store.mark_clean(lsn(second)).unwrap();
    drop(store);
    let (store, _) = reopen(&wrap);
    let placement = store.resume_in_place(lsn(second)).unwrap();
    let third = second + SEGMENT;
    assert_eq!((placement.active_end, placement.ready_end), (lsn(third), lsn(third)));
    assert_eq!(shape(&store)[1..], [(second, 1, third)]);
    store.prepare(lsn(third), SEGMENT).unwrap();
    assert_eq!(shape(&store)[2..], [(third, 2, third + SEGMENT)]);
    write(store.appender().unwrap().as_mut(), second, third + 8);
}

#[test]
fn r12_a_clean_log_that_is_nearly_full_gets_a_successor_before_its_first_commit() {
    for (left, ready) in [(SEGMENT / 4, 0), (SEGMENT / 4 - 4096, SEGMENT), (0, SEGMENT)] {
        let wrap = Wrap::new();
        let bare = SegmentStore::create_bare(shared(&wrap), wrap.lock().unwrap(), options());
        let bare = bare.unwrap();
        bare.place_first().unwrap();
        let end = FIRST + SEGMENT - left;
        write(bare.appender().unwrap().as_mut(), FIRST, end);
        bare.mark_clean(lsn(end)).unwrap();
        drop(bare);
        let (store, _) = reopen(&wrap);
        let placement = store.resume_in_place(lsn(end)).unwrap();
        let second = FIRST + SEGMENT;
        assert_eq!(placement.ready_end, lsn(second + ready), "{left} bytes left");
        assert_eq!(survey(&wrap).links, store.links());
    }
}

#[test]
fn r08_an_unclean_log_goes_on_above_every_address() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    write(store.appender().unwrap().as_mut(), FIRST, 8192);
    drop(store);
    let (store, found) = reopen(&wrap);
    let placement = store.resume_after(predecessor(FIRST, 1, 8192), lsn(8192)).unwrap();
    let end = FIRST + 2 * SEGMENT;
    assert_eq!((found.address_end, placement.end), (lsn(end), lsn(end)));
    assert_eq!(shape(&store), [(FIRST, 1, 8192), (end, 2, end + SEGMENT)]);
    let header = store.links()[1].header;
    assert!(header.flags.contains(SegmentFlags::OPENING));
    assert_eq!(header.predecessor, Some(predecessor(FIRST, 1, 8192)));
    let found = survey(&wrap);
    assert_eq!(found.links, store.links());
    assert_eq!(found.dead.len(), 1);
}

#[test]
fn r01_a_run_is_live_only_when_it_is_whole_and_durable() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    write(store.appender().unwrap().as_mut(), FIRST, 8192);
    drop(store);
    let (store, before) = reopen(&wrap);
    let flags = SegmentFlags::OPENING.with(SegmentFlags::BORN_DURABLE);
    let at = predecessor(FIRST, 1, 5000);
    wrap.forget_calls();
    let mut run = store.write_run(lsn(5000), 400, flags, Some(at)).unwrap();
    run.write(&[1; 100]).unwrap();
    assert!(matches!(run.write(&[1; 301]), Err(IoError::OutOfRange { .. })));
    assert_eq!(survey(&wrap).links, before.links);
    run.write(&[2; 300]).unwrap();
    let name = run.finish().unwrap();
    let calls = wrap.calls();
    let position = |wanted: &dyn Fn(&Call) -> bool| calls.iter().rposition(wanted).unwrap();
    let written = position(&|call| matches!(call, Call::Write { .. }));
    let run_file = name.temporary();
    let synced = position(&|call| matches!(call, Call::SyncAll { name, .. } if *name == run_file));
    let renamed = position(&|call| matches!(call, Call::Rename(_, to) if *to == name.to_string()));
    let dir_synced = renamed + calls[renamed..].iter().position(|c| *c == Call::SyncDir).unwrap();
    assert!(written < synced && synced < renamed && renamed < dir_synced);
    // What the run replaces gives up its space only then.
    let cut = calls.iter().position(|call| matches!(call, Call::SetLen { .. })).unwrap();
    assert!(dir_synced < cut);
    assert_eq!(shape(&store), [(FIRST, 1, 5000), (5000, 2, 5400)]);
    assert_eq!(survey(&wrap).links, store.links());
    // File offset follows the address, and whole blocks are there.
    let link = store.links()[1];
    assert_eq!((link.offset_of(lsn(5000)), link.file_bytes), (4096, 8192));
}

#[test]
fn r01_a_run_dropped_or_too_short_leaves_nothing() {
    let wrap = Wrap::new();
    drop(create(&wrap));
    let (store, before) = reopen(&wrap);
    let names = wrap.names();
    let at = Some(predecessor(FIRST, 1, FIRST));
    let begin = || store.write_run(lsn(FIRST), 16, SegmentFlags::OPENING, at).unwrap();
    drop(begin());
    assert_eq!(wrap.names(), names);
    let mut short = begin();
    short.write(&[1; 8]).unwrap();
    assert!(matches!(short.finish(), Err(IoError::OutOfRange { .. })));
    assert_eq!(wrap.names(), names);
    assert_eq!(survey(&wrap).links, before.links);
}

#[test]
fn a_run_longer_than_the_buffer_arrives_whole() {
    let wrap = Wrap::new();
    let store = SegmentStore::create_bare(shared(&wrap), wrap.lock().unwrap(), options()).unwrap();
    let bytes: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
    let mut run = store.write_run(lsn(FIRST), 600_000, SegmentFlags::BORN_DURABLE, None).unwrap();
    for piece in bytes.chunks(70_001) {
        run.write(piece).unwrap();
    }
    run.finish().unwrap();
    let link = store.links()[0];
    let reader = crate::SegmentReader::open(store.storage().as_ref(), &link).unwrap();
    let mut back = vec![0; 700_000];
    assert_eq!(reader.read_at(lsn(FIRST), &mut back).unwrap(), 600_000);
    assert_eq!(back[..600_000], bytes);
}

#[test]
fn a_copy_is_empty_until_it_is_finished() {
    let wrap = Wrap::new();
    let store = SegmentStore::create_bare(shared(&wrap), wrap.lock().unwrap(), options()).unwrap();
    let flags = SegmentFlags::BORN_DURABLE;
    let mut run = store.write_run(lsn(8000), 80, flags, None).unwrap();
    run.write(&[1; 80]).unwrap();
    run.finish().unwrap();
    let flags = flags.with(SegmentFlags::AFTER_LOSS);
    let before = predecessor(8000, 1, 8080);
    let mut run = store.write_run(lsn(9000), 160, flags, Some(before)).unwrap();
    run.write(&[2; 160]).unwrap();
    run.finish().unwrap();
    assert!(survey(&wrap).is_empty());
    store.resume_after(predecessor(9000, 1, 9160), lsn(9160)).unwrap();
    assert_eq!(shape(&store)[..2], [(8000, 1, 8080), (9000, 1, 9160)]);
    let found = survey(&wrap);
    assert!(!found.is_empty());
    assert_eq!(found.links, store.links());
    assert_eq!(found.control.current().unwrap().head, lsn(8000));
}

#[test]
fn a_log_with_a_problem_is_not_taken_over() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let first = store.links()[0].name.to_string();
    drop(store);
    wrap.remove(&first).unwrap();
    let found = Survey::read(&wrap).unwrap();
    assert!(matches!(found.problems[..], [ChainProblem::Missing { .. }]));
    wrap.forget_calls();
    let lock = wrap.lock().unwrap();
    let refused = SegmentStore::reopen(shared(&wrap), lock, options(), &found);
    assert!(matches!(refused, Err(IoError::Unsound { .. })));
    assert_eq!(wrap.calls(), []);
}

#[test]
fn a_survey_that_somebody_has_overtaken_is_refused() {
    let wrap = Wrap::new();
    drop(create(&wrap));
    let old = survey(&wrap);
    drop(reopen(&wrap));
    let lock = wrap.lock().unwrap();
    let refused = SegmentStore::reopen(shared(&wrap), lock, options(), &old);
    assert!(matches!(refused, Err(IoError::Superseded { .. })));
}

#[test]
fn r15_the_lock_is_held_until_the_last_appender_is_gone() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let appender = store.appender().unwrap();
    drop(store);
    assert!(wrap.lock().is_err());
    drop(appender);
    assert!(wrap.lock().is_ok());
}

#[test]
fn r04_a_slot_that_only_the_cache_may_hold_is_written_again_before_the_other_one() {
    let wrap = Wrap::new();
    drop(create(&wrap)); // Five writes: the first slot counts.
    wrap.forget_calls();
    drop(reopen(&wrap));
    let control: Vec<_> = wrap
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            Call::Write { offset, .. } => Some(Some(offset)),
            Call::SyncData { .. } => Some(None),
            _ => None,
        })
        .collect();
    assert_eq!(control, [Some(0), None, Some(4096), None, Some(0), None]);
}
