//! Space that is held back becomes segments when there is no other, here and after a reopening.

use super::opening::{
    FIRST, SEGMENT, create, lsn, options, predecessor, reopen, shared, survey, write,
};
use super::wrap::{Call, Wrap};
use crate::segment_name::RESERVE_PREFIX;
use crate::sink::Preparer;
use crate::storage::{Access, Storage};
use crate::store::SegmentStore;

fn held(wrap: &Wrap) -> usize {
    wrap.names().iter().filter(|name| name.starts_with(RESERVE_PREFIX)).count()
}

#[test]
fn nothing_is_held_back_unless_it_is_asked_for() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    store.prepare(lsn(FIRST + 2 * SEGMENT), SEGMENT).unwrap();
    assert_eq!((held(&wrap), store.held_back()), (0, 0));
    assert_eq!(store.hold_back(3).unwrap(), 3);
    assert_eq!((held(&wrap), store.held_back()), (3, 3));
    wrap.forget_calls();
    assert_eq!(store.hold_back(2).unwrap(), 3);
    assert_eq!(wrap.calls(), [], "there are more already");
}

#[test]
fn r12_on_a_full_disk_the_next_segment_is_made_in_space_that_was_held_back() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    store.hold_back(2).unwrap();
    wrap.fill_up();
    let mut base = FIRST + 2 * SEGMENT;
    for left in [1, 0] {
        let end = store.prepare(lsn(base), SEGMENT).unwrap();
        base += SEGMENT;
        assert_eq!((end, store.held_back(), held(&wrap)), (lsn(base), left, left as usize));
    }
    assert!(store.prepare(lsn(base), SEGMENT).unwrap_err().is_no_space());
    assert!(store.hold_back(1).unwrap_err().is_no_space());
    assert_eq!(survey(&wrap).links, store.links());
    // They are segments like others: empty, and as long.
    write(store.appender().unwrap().as_mut(), FIRST, base);
    let sizes: Vec<u64> = store.links().iter().map(|link| link.file_bytes).collect();
    assert_eq!(sizes, [SEGMENT + 4096; 4]);
}

#[test]
fn a_segment_out_of_held_back_space_holds_nothing_but_zeros() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    store.hold_back(1).unwrap();
    wrap.fill_up();
    store.prepare(lsn(FIRST + 2 * SEGMENT), SEGMENT).unwrap();
    let name = store.links().last().unwrap().name.to_string();
    let mut bytes = vec![1; SEGMENT as usize];
    let file = wrap.open(&name, Access::Read).unwrap();
    assert_eq!(file.read_at(&mut bytes, 4096).unwrap(), bytes.len());
    assert!(bytes.iter().all(|byte| *byte == 0));
}

#[test]
fn with_room_on_the_disk_held_back_space_stays_held_back() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    store.hold_back(1).unwrap();
    store.prepare(lsn(FIRST + 2 * SEGMENT), SEGMENT).unwrap();
    assert_eq!(store.held_back(), 1);
    // Unless there is more of it than is needed.
    wrap.forget_calls();
    store.prepare_from_held(lsn(FIRST + 3 * SEGMENT)).unwrap();
    assert_eq!(store.held_back(), 0);
    assert!(!wrap.calls().iter().any(|call| matches!(call, Call::Create(_))));
    store.prepare_from_held(lsn(FIRST + 4 * SEGMENT)).unwrap();
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn a_reopening_finds_what_was_held_back_and_removes_what_has_another_length() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    store.hold_back(2).unwrap();
    drop(store);
    wrap.create("reserve-00000000000000ff", 4096).unwrap();
    let (store, _) = reopen(&wrap);
    assert_eq!(store.held_back(), 2);
    store.resume_after(predecessor(FIRST, 1, FIRST), lsn(FIRST)).unwrap();
    store.discard_dead().unwrap();
    assert_eq!(held(&wrap), 2);
    assert_eq!(store.hold_back(3).unwrap(), 3);

    drop(store);
    let found = survey(&wrap);
    let larger = options().with_segment_bytes(2 * SEGMENT);
    let lock = wrap.lock().unwrap();
    let store = SegmentStore::reopen(shared(&wrap), lock, larger, &found).unwrap();
    assert_eq!(store.held_back(), 0, "they are too short for its segments");
}

#[test]
fn r16_an_opening_on_a_full_disk_may_begin_in_space_that_was_held_back() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    store.hold_back(1).unwrap();
    write(store.appender().unwrap().as_mut(), FIRST, 8192);
    drop(store);
    let (store, _) = reopen(&wrap);
    // The spare and the successor are given up, and somebody else takes their room.
    store.free_space(&mut store.work.lock(), lsn(8192)).unwrap();
    wrap.fill_up();
    let placement = store.resume_after(predecessor(FIRST, 1, 8192), lsn(8192)).unwrap();
    assert_eq!(placement.active_end, placement.end.checked_add(SEGMENT).unwrap());
    assert_eq!(held(&wrap), 0);
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn a_failure_on_the_way_to_a_segment_gives_the_file_up() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    store.hold_back(2).unwrap();
    wrap.fill_up();
    wrap.fail_next(|call| matches!(call, Call::SyncAll { .. }));
    let failed = store.prepare(lsn(FIRST + 2 * SEGMENT), SEGMENT).unwrap_err();
    assert!(!failed.is_no_space(), "{failed}");
    assert_eq!((store.held_back(), held(&wrap)), (1, 1));
    store.prepare(lsn(FIRST + 2 * SEGMENT), SEGMENT).unwrap();
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn a_file_that_cannot_be_made_durable_holds_nothing_back() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    wrap.fail_next(|call| matches!(call, Call::SyncAll { .. }));
    store.hold_back(1).unwrap_err();
    assert_eq!((store.held_back(), held(&wrap)), (0, 0));
    assert_eq!(store.hold_back(1).unwrap(), 1);
}
