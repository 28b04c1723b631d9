//! Segments made ahead of need: how long they are, and how they are filled beside commits.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wal_format::{CheckpointPointer, Lsn};

use super::opening::{FIRST, lsn, options, shared, survey, write};
use super::wrap::{Call, Wrap};
use crate::error::IoError;
use crate::sink::{Preparer, Rested};
use crate::storage::{Preparation, Storage};
use crate::store::options::OPENING_BYTES;
use crate::store::{SegmentStore, StoreOptions};

const MEBIBYTE: u64 = 1 << 20;
const SEGMENT: u64 = 8 * MEBIBYTE;
/// What eight syncs of [`begun`] write, which begins with a header's block.
const FIRST_PIECE: u64 = 8 * 2 * 4096;

fn growing() -> StoreOptions {
    options().with_segment_bytes(SEGMENT)
}

/// A log in its first segment, in which `bytes` are written and durable.
fn begun(wrap: &Wrap, bytes: u64) -> (Arc<SegmentStore>, Lsn) {
    let store = SegmentStore::create_bare(shared(wrap), wrap.lock().unwrap(), growing()).unwrap();
    let placement = store.place_first().unwrap();
    let mut sink = store.appender().unwrap();
    write(sink.as_mut(), FIRST, FIRST + bytes);
    sink.sync().unwrap();
    store.note_durable(lsn(FIRST + bytes));
    (store, placement.ready_end)
}

fn capacities(store: &SegmentStore) -> Vec<u64> {
    store.links().iter().map(|link| link.header.capacity_bytes >> 10).collect()
}

/// The pieces that were filled, in order.
fn filled(wrap: &Wrap) -> Vec<(u64, u64)> {
    let pieces = wrap.calls().into_iter().filter_map(|call| match call {
        Call::Fill { offset, bytes, .. } => Some((offset, bytes)),
        _ => None,
    });
    pieces.collect()
}

#[test]
fn each_is_half_as_long_again_as_the_one_before_until_it_is_a_normal_one() {
    let wrap = Wrap::new();
    let (store, mut base) = begun(&wrap, 4096);
    for _ in 0..7 {
        base = store.prepare_next(base, None).unwrap();
    }
    assert_eq!(capacities(&store), [1024, 1536, 2304, 3456, 5184, 7776, 8192, 8192]);
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn where_a_truncated_file_is_there_to_be_used_it_is_a_normal_one_at_once() {
    let wrap = Wrap::new();
    let (store, base) = begun(&wrap, 4096);
    let first = store.prepare(base, SEGMENT).unwrap();
    let second = store.prepare(first, MEBIBYTE).unwrap();
    let mut sink = store.appender().unwrap();
    write(sink.as_mut(), base.get(), second.get());
    sink.sync().unwrap();
    store.note_durable(second);
    assert_eq!(store.truncate_before(first).unwrap().recycled, 1);
    store.prepare_next(second, None).unwrap();
    assert_eq!(capacities(&store), [1024, 8192]);
}

#[test]
fn r16_on_a_full_disk_it_is_made_in_space_that_is_held_back_which_is_of_normal_length() {
    let wrap = Wrap::new();
    let (store, base) = begun(&wrap, 4096);
    store.hold_back(1).unwrap();
    wrap.fill_up();
    store.prepare_next(base, None).unwrap();
    assert_eq!((capacities(&store), store.held_back()), (vec![1024, 8192], 0));
    let last = store.links().last().unwrap().cap;
    assert!(store.prepare_next(last, None).unwrap_err().is_no_space());
}

#[test]
fn a_clean_opening_keeps_the_short_successor_that_it_would_make() {
    let wrap = Wrap::new();
    let (store, base) = begun(&wrap, 4096);
    store.prepare_next(base, None).unwrap();
    store.mark_clean(lsn(FIRST + 4096)).unwrap();
    drop(store);
    let store =
        SegmentStore::reopen(shared(&wrap), wrap.lock().unwrap(), growing(), &survey(&wrap))
            .unwrap();
    let placement = store.resume_in_place(lsn(FIRST + 4096)).unwrap();
    assert_eq!((placement.active_end, capacities(&store)), (base, vec![1024, 1536]));
}

#[test]
fn a_clean_opening_drops_a_successor_shorter_than_it_would_make() {
    let wrap = Wrap::new();
    let (store, base) = begun(&wrap, 4096);
    store.prepare(base, 64 << 10).unwrap();
    store.mark_clean(lsn(FIRST + 4096)).unwrap();
    drop(store);
    let store =
        SegmentStore::reopen(shared(&wrap), wrap.lock().unwrap(), growing(), &survey(&wrap))
            .unwrap();
    store.resume_in_place(lsn(FIRST + 4096)).unwrap();
    assert_eq!(capacities(&store), [1024]);
}

#[test]
fn beside_commits_it_is_filled_in_small_pieces_with_a_rest_between_them() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    wrap.forget_calls();
    let met = RefCell::new(Vec::new());
    let rest = |time: Duration| {
        met.borrow_mut().push((filled(&wrap).len(), time));
        Rested::Over
    };
    store.prepare_next(base, Some(&rest)).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Gradual));
    let pieces = filled(&wrap);
    for piece in 1..pieces.len() {
        let rests =
            met.borrow().iter().filter(|(behind, _)| *behind == piece).map(|rest| rest.1).sum();
        let usual = Duration::from_millis(5)..Duration::from_millis(200);
        assert!(usual.contains(&rests), "{rests:?} until the log was known to stand still");
    }
    let mut at = 4096;
    for (offset, bytes) in pieces {
        assert!(offset == at && bytes <= 256 << 10, "{bytes} bytes at {offset}, not at {at}");
        at += bytes;
    }
    assert_eq!(
        at,
        4096 + OPENING_BYTES + OPENING_BYTES / 2,
        "all but the header, and that is written"
    );
    let calls = wrap.calls();
    let last_fill = calls.iter().rposition(|call| matches!(call, Call::Fill { .. }));
    let synced = calls.iter().position(|call| matches!(call, Call::SyncAll { .. }));
    assert!(last_fill < synced, "durable before it has a name");
}

#[test]
fn a_log_on_its_way_meets_a_piece_where_one_is_due_and_nowhere_else() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    wrap.forget_calls();
    let at = Cell::new(FIRST + 4096);
    let met = RefCell::new(Vec::new());
    let rest = |_: Duration| {
        let bytes = filled(&wrap).iter().map(|(_, bytes)| bytes).sum::<u64>();
        met.borrow_mut().push((at.get(), bytes));
        at.set((at.get() + 1000).min(base.get()));
        store.note_durable(lsn(at.get()));
        Rested::Over
    };
    store.prepare_next(base, Some(&rest)).unwrap();
    let way = base.get() - FIRST - 4096;
    let file = 4096 + 3 * OPENING_BYTES / 2;
    for (at, filled) in met.into_inner() {
        let wanted = (file * 6 * (at - FIRST - 4096) / (5 * way)).min(file);
        let most = wanted + 4 * FIRST_PIECE;
        assert!((wanted..=most).contains(&(4096 + filled)), "{filled} where {wanted} are due");
    }
    assert!(at.get() < base.get() - way / 10, "ready before it is needed");
}

#[test]
fn who_waits_for_nobody_fills_it_at_once() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    store.prepare_next(base, None).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Zeroed));
    assert_eq!(filled(&wrap), []);
}

#[test]
fn where_zeros_save_nothing_there_are_neither_pieces_nor_rests() {
    let wrap = Wrap::new();
    let (store, base) = begun(&wrap, 4096);
    let rest = |_: Duration| -> Rested { panic!("there is nothing to rest from") };
    store.prepare_next(base, Some(&rest)).unwrap();
    assert_eq!(filled(&wrap).len(), 1, "asked once");
    assert_eq!(capacities(&store), [1024, 1536]);
}

#[test]
fn r12_nobody_rests_while_the_log_fills_up_faster_than_the_next_segment() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    let rests = RefCell::new(Vec::new());
    let rest = |time: Duration| {
        rests.borrow_mut().push(time);
        // Its last fifth is still before it.
        store.note_durable(lsn(FIRST + (base.get() - FIRST) / 40 * 32));
        Rested::Over
    };
    store.prepare_next(base, Some(&rest)).unwrap();
    assert!(rests.borrow()[1..].iter().all(Duration::is_zero), "{rests:?}");
    let pieces: Vec<_> = filled(&wrap).into_iter().map(|(_, bytes)| bytes >> 10).collect();
    assert_eq!(pieces[..4], [64, 64, 128, 256], "who is late makes fewer syncs");
    assert!(pieces[4..].iter().all(|kib| *kib <= 256), "{pieces:?}, and none is long");
}

#[test]
fn r12_what_is_not_filled_when_the_log_is_nearly_there_stays_reserved() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    let rest = |_: Duration| {
        store.note_durable(lsn(base.get() - 4096));
        Rested::Over
    };
    store.prepare_next(base, Some(&rest)).unwrap();
    assert_eq!(filled(&wrap), [(4096, FIRST_PIECE)], "and no more");
    assert_eq!(capacities(&store), [1024, 1536]);
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn r12_whoever_waits_for_it_waits_for_no_rest_and_for_no_zeros() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    let rests = RefCell::new(Vec::new());
    let rest = |time: Duration| {
        rests.borrow_mut().push(time);
        // So late that no piece is followed by a rest, and it is heard all the same.
        store.note_durable(lsn(FIRST + (base.get() - FIRST) / 40 * 32));
        if rests.borrow().len() < 3 { Rested::Over } else { Rested::Hurry }
    };
    store.prepare_next(base, Some(&rest)).unwrap();
    assert_eq!(rests.borrow().len(), 3);
    assert_eq!(filled(&wrap).len(), 3);
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn r14_a_segment_tells_the_head_of_when_its_filling_was_over() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    let end = store.prepare(base, MEBIBYTE).unwrap();
    let mut sink = store.appender().unwrap();
    let behind = base.get() + 4096;
    for from in (FIRST + 4096..behind).step_by(64 << 10) {
        // Many syncs, or zeros are not worth their while.
        write(sink.as_mut(), from, behind.min(from + (64 << 10)));
        sink.sync().unwrap();
    }
    store.note_durable(lsn(base.get() + 4096));
    let rest = |_: Duration| {
        assert_eq!(store.truncate_before(base).unwrap().segments, 1);
        Rested::Hurry
    };
    store.prepare_next(end, Some(&rest)).unwrap();
    let made = *store.links().last().unwrap();
    assert_eq!((made.header.head, made.header.base), (base, end));
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn a_successor_longer_than_a_normal_one_is_replaced_without_a_rest() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    store.prepare(base, 2 * SEGMENT).unwrap();
    let rest = |_: Duration| -> Rested { panic!("the successor is on no chain meanwhile") };
    store.prepare_next(base, Some(&rest)).unwrap();
    assert!(store.links().last().unwrap().header.capacity_bytes <= SEGMENT);
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn in_a_rest_the_store_is_everybodys() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    let rests = Cell::new(0);
    let rest = |_: Duration| {
        rests.set(rests.get() + 1);
        store.truncate_before(lsn(FIRST)).unwrap();
        store.hold_back(1).unwrap();
        let at = |more| lsn(FIRST + 256 * rests.get() + more);
        let (redo_from, begin, record, end) = (at(0), at(64), at(128), at(256));
        store.record_checkpoint(CheckpointPointer { begin, redo_from, record, end }).unwrap();
        Rested::Over
    };
    store.prepare_next(base, Some(&rest)).unwrap();
    assert!(rests.get() > 0 && !store.checkpoints().is_empty());
    assert_eq!((capacities(&store), store.held_back()), (vec![1024, 1536], 1));
}

#[test]
fn two_who_prepare_the_same_segment_make_one() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    let end = thread::scope(|scope| {
        let other = Cell::new(None);
        let rest = |_: Duration| {
            if other.take().is_none() {
                let store = &store;
                other.set(Some(scope.spawn(move || store.prepare_next(base, None).unwrap())));
            }
            Rested::Hurry
        };
        let end = store.prepare_next(base, Some(&rest)).unwrap();
        assert_eq!(other.take().unwrap().join().unwrap(), end);
        end
    });
    assert_eq!((capacities(&store), store.links().last().unwrap().cap), (vec![1024, 1536], end));
}

#[test]
fn a_log_that_ends_gives_the_unfinished_file_up() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    let before = wrap.names();
    let given_up = store.prepare_next(base, Some(&|_| Rested::Stop)).unwrap_err();
    assert!(matches!(given_up, IoError::Closed { .. }), "{given_up}");
    assert_eq!((wrap.names(), capacities(&store)), (before, vec![1024]));
}

#[test]
fn r15_behind_a_close_nothing_of_the_directory_is_touched() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    let rest = |_: Duration| {
        store.release();
        wrap.forget_calls();
        Rested::Hurry
    };
    let refused = store.prepare_next(base, Some(&rest)).unwrap_err();
    assert!(matches!(refused, IoError::Closed { .. }), "{refused}");
    assert_eq!(wrap.calls(), []);
}

#[test]
fn what_cannot_be_filled_leaves_no_file_and_the_log_as_it_was() {
    let wrap = Wrap::new();
    wrap.fill_files();
    let (store, base) = begun(&wrap, 4096);
    let before = wrap.names();
    wrap.fail_next(|call| matches!(call, Call::Fill { offset, .. } if *offset > MEBIBYTE));
    let failed = store.prepare_next(base, Some(&|_| Rested::Over)).unwrap_err();
    assert!(matches!(failed, IoError::Failed { .. }), "{failed}");
    assert_eq!((wrap.names(), capacities(&store)), (before, vec![1024]));
    store.prepare_next(base, Some(&|_| Rested::Over)).unwrap();
}
