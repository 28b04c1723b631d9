//! Truncated segments become the next ones, and nothing of what they held comes back.

use super::opening::{
    FIRST, SEGMENT, create, lsn, options, predecessor, reopen, shared, survey, write,
};
use super::wrap::{Call, Wrap};
use crate::backend::MemoryStorage;
use crate::segment_name::{RESERVE_PREFIX, RETIRED_SUFFIX};
use crate::sink::Preparer;
use crate::storage::{Access, Storage};
use crate::store::{SegmentStore, StoreOptions, Truncation};

/// Files that wait to be used again.
fn retired(wrap: &Wrap) -> usize {
    wrap.names().iter().filter(|name| name.ends_with(RETIRED_SUFFIX)).count()
}

/// A log of so many full segments, all durable, and an empty one.
fn filled(wrap: &Wrap, options: StoreOptions, segments: u64) -> std::sync::Arc<SegmentStore> {
    let store = SegmentStore::create(shared(wrap), wrap.lock().unwrap(), options).unwrap();
    for n in 2..=segments {
        store.prepare(lsn(FIRST + n * SEGMENT), SEGMENT).unwrap();
    }
    let end = FIRST + segments * SEGMENT;
    write(store.appender().unwrap().as_mut(), FIRST, end + 8);
    store.note_durable(lsn(end));
    store
}

#[test]
fn a_truncated_segment_becomes_the_next_one_without_a_new_file() {
    let wrap = Wrap::new();
    let store = filled(&wrap, options(), 1);
    let old = store.links()[0].name.to_string();
    let done = store.truncate_before(lsn(FIRST + SEGMENT)).unwrap();
    let head = lsn(FIRST + SEGMENT);
    assert_eq!(done, Truncation { segments: 1, recycled: 1, bytes: 0, head });
    assert!(!wrap.names().contains(&old));
    wrap.forget_calls();
    let base = FIRST + 2 * SEGMENT;
    store.prepare(lsn(base), SEGMENT).unwrap();
    let calls = wrap.calls();
    assert!(!calls.iter().any(|call| matches!(call, Call::Create(_))), "{calls:?}");
    assert_eq!(retired(&wrap), 0);
    assert_eq!(survey(&wrap).links, store.links());
    write(store.appender().unwrap().as_mut(), base, base + SEGMENT);
}

#[test]
fn the_old_name_is_gone_for_good_before_the_header_changes() {
    let wrap = Wrap::new();
    let store = filled(&wrap, options(), 1);
    wrap.forget_calls();
    store.truncate_before(lsn(FIRST + SEGMENT)).unwrap();
    store.prepare(lsn(FIRST + 2 * SEGMENT), SEGMENT).unwrap();
    let calls = wrap.calls();
    let at = |wanted: &dyn Fn(&Call) -> bool| calls.iter().position(wanted).unwrap();
    let renamed = at(&|call| matches!(call, Call::Rename(_, to) if to.ends_with(RETIRED_SUFFIX)));
    let header = at(&|call| matches!(call, Call::Write { name, .. } if name.ends_with(".wal.tmp")));
    let settled = renamed + calls[renamed..].iter().position(|c| *c == Call::SyncDir).unwrap();
    let synced = at(&|call| matches!(call, Call::SyncAll { name, .. } if name.ends_with(".tmp")));
    let live = at(&|call| matches!(call, Call::Rename(_, to) if to.ends_with(".wal")));
    assert!(settled < header && header < synced && synced < live, "{calls:?}");
}

#[test]
fn no_more_are_kept_than_the_options_say() {
    for max in [0, 1, 2] {
        let wrap = Wrap::new();
        let store = filled(&wrap, options().with_recycled_segments(max), 3);
        let done = store.truncate_before(lsn(FIRST + 3 * SEGMENT)).unwrap();
        assert_eq!((done.segments, done.recycled), (3, max));
        assert_eq!(done.bytes, (3 - max as u64) * (SEGMENT + 4096));
        assert_eq!(retired(&wrap), max);
    }
}

#[test]
fn a_segment_into_which_a_flush_may_still_write_is_not_used_again() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let mut late = store.appender().unwrap();
    write(late.as_mut(), FIRST, FIRST + 8);
    write(store.appender().unwrap().as_mut(), FIRST + SEGMENT, FIRST + SEGMENT + 8);
    // Nothing says that what lies between is durable.
    let done = store.truncate_before(lsn(FIRST + SEGMENT)).unwrap();
    assert_eq!((done.segments, done.recycled), (1, 0));
    store.prepare(lsn(FIRST + 2 * SEGMENT), SEGMENT).unwrap();
    write(late.as_mut(), FIRST + 8, FIRST + 4096);
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn where_writes_copy_nothing_is_kept() {
    let storage: std::sync::Arc<dyn Storage> = std::sync::Arc::new(MemoryStorage::new());
    assert!(!storage.overwrites_in_place());
    let store = SegmentStore::create(storage.clone(), storage.lock().unwrap(), options()).unwrap();
    write(store.appender().unwrap().as_mut(), FIRST, FIRST + SEGMENT + 8);
    store.note_durable(lsn(FIRST + SEGMENT));
    let done = store.truncate_before(lsn(FIRST + SEGMENT)).unwrap();
    assert_eq!((done.segments, done.recycled), (1, 0));
}

#[test]
fn a_reopening_takes_over_what_was_retired_and_removes_what_is_too_much() {
    let wrap = Wrap::new();
    drop({
        let store = filled(&wrap, options(), 2);
        store.truncate_before(lsn(FIRST + 2 * SEGMENT)).unwrap();
        store
    });
    assert_eq!(retired(&wrap), 2);
    wrap.create("00000000000f0000-0000000000000001.wal.old", 4096).unwrap();
    let (store, found) = reopen(&wrap);
    assert_eq!((found.retired.len(), retired(&wrap)), (3, 2), "one is too short");
    wrap.forget_calls();
    let end = FIRST + 2 * SEGMENT + 8;
    let placement = store.resume_after(predecessor(FIRST + 2 * SEGMENT, 1, end), lsn(end)).unwrap();
    assert_eq!(retired(&wrap), 1, "the log goes on in one of them");
    assert_eq!(placement.active_end, placement.end.checked_add(SEGMENT).unwrap());
    let calls = wrap.calls();
    let settled = calls.iter().position(|call| *call == Call::SyncDir).unwrap();
    let taken = calls.iter().position(|call| matches!(call, Call::Rename(..))).unwrap();
    assert!(settled < taken, "the names found may be in the cache only");
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn r16_an_opening_on_a_full_disk_goes_on_in_a_retired_file() {
    let wrap = Wrap::new();
    drop({
        let store = filled(&wrap, options(), 1);
        store.truncate_before(lsn(FIRST + SEGMENT)).unwrap();
        store
    });
    wrap.fill_up();
    let (store, _) = reopen(&wrap);
    let end = FIRST + SEGMENT + 8;
    store.resume_after(predecessor(FIRST + SEGMENT, 1, end), lsn(end)).unwrap();
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn r04_a_log_closed_in_a_file_used_before_ends_where_nothing_stands() {
    let wrap = Wrap::new();
    let store = filled(&wrap, options(), 1);
    store.truncate_before(lsn(FIRST + SEGMENT)).unwrap();
    let base = FIRST + 2 * SEGMENT;
    store.prepare(lsn(base), SEGMENT).unwrap();
    write(store.appender().unwrap().as_mut(), FIRST + SEGMENT, base + 4096);
    let name = store.links()[1].name.to_string();
    let mut behind = [0; 8192];
    let file = wrap.open(&name, Access::Read).unwrap();
    file.read_at(&mut behind, 8192).unwrap();
    assert!(behind.iter().all(|byte| *byte != 0), "what the file held before");
    store.mark_clean(lsn(base + 4096)).unwrap();
    file.read_at(&mut behind, 8192).unwrap();
    assert!(behind[..4096].iter().all(|byte| *byte == 0));
    assert!(behind[4096..].iter().all(|byte| *byte != 0));
}

#[test]
fn a_failure_on_the_way_gives_the_file_up() {
    let wrap = Wrap::new();
    let store = filled(&wrap, options(), 1);
    store.truncate_before(lsn(FIRST + SEGMENT)).unwrap();
    wrap.fail_next(|call| matches!(call, Call::SyncAll { .. }));
    store.prepare(lsn(FIRST + 2 * SEGMENT), SEGMENT).unwrap_err();
    store.prepare(lsn(FIRST + 2 * SEGMENT), SEGMENT).unwrap();
    assert_eq!(retired(&wrap), 0);
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn r16_what_was_retired_is_room_for_whatever_the_log_needs_on_a_full_disk() {
    let wrap = Wrap::new();
    let store = filled(&wrap, options(), 3);
    store.truncate_before(lsn(FIRST + 3 * SEGMENT)).unwrap();
    wrap.fill_up();
    assert_eq!(store.hold_back(1).unwrap(), 1, "space that is promised");
    assert_eq!(retired(&wrap), 1);
    // A segment made to measure, which no retired file is.
    let end = store.prepare(lsn(FIRST + 4 * SEGMENT), SEGMENT - 4096).unwrap();
    assert_eq!((end, retired(&wrap)), (lsn(FIRST + 5 * SEGMENT - 4096), 0));
    store.prepare(end, SEGMENT).unwrap();
    assert_eq!(store.held_back(), 0, "what was promised is a segment");
    assert!(store.hold_back(1).unwrap_err().is_no_space());
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn a_truncated_segment_that_is_held_back_holds_zeros_once_its_old_name_is_gone_for_good() {
    let wrap = Wrap::new();
    let store = filled(&wrap, options(), 1);
    store.truncate_before(lsn(FIRST + SEGMENT)).unwrap();
    wrap.fill_up();
    drop(store);
    let (store, _) = reopen(&wrap);
    wrap.forget_calls();
    assert_eq!(store.hold_back(1).unwrap(), 1);
    let calls = wrap.calls();
    let at = |wanted: &dyn Fn(&Call) -> bool| calls.iter().position(wanted).unwrap();
    let settled = at(&|call| *call == Call::SyncDir);
    let written = at(&|call| matches!(call, Call::Write { .. }));
    let synced = at(&|call| matches!(call, Call::SyncAll { .. }));
    let renamed = at(&|call| matches!(call, Call::Rename(..)));
    assert!(settled < written && written < synced && synced < renamed, "{calls:?}");
    let name = wrap.names().into_iter().find(|name| name.starts_with(RESERVE_PREFIX)).unwrap();
    let mut bytes = vec![1; SEGMENT as usize + 4096];
    assert_eq!(
        wrap.open(&name, Access::Read).unwrap().read_at(&mut bytes, 0).unwrap(),
        bytes.len()
    );
    assert!(bytes.iter().all(|byte| *byte == 0));
}

#[test]
fn a_retired_file_of_addresses_that_are_to_come_is_removed() {
    let wrap = Wrap::new();
    drop(create(&wrap));
    for base in [FIRST, FIRST + 3 * SEGMENT] {
        wrap.create(&format!("{base:016x}-0000000000000002.wal.old"), SEGMENT + 4096).unwrap();
    }
    drop(reopen(&wrap));
    assert_eq!(retired(&wrap), 0, "the log begins at the first address");
}

#[test]
fn r12_a_successor_is_replaced_in_space_that_is_held_back_when_there_is_no_other() {
    for held_first in [false, true] {
        let wrap = Wrap::new();
        let bare = SegmentStore::create_bare(shared(&wrap), wrap.lock().unwrap(), options());
        let store = bare.unwrap();
        store.place_first().unwrap();
        let base = lsn(FIRST + SEGMENT);
        store.prepare(base, SEGMENT / 2).unwrap();
        store.hold_back(1).unwrap();
        wrap.fill_up();
        let end = if held_first {
            store.prepare_from_held(base).unwrap()
        } else {
            store.prepare(base, SEGMENT).unwrap()
        };
        assert_eq!((end, store.held_back()), (lsn(FIRST + 2 * SEGMENT), 0));
        assert_eq!(survey(&wrap).links, store.links());
        write(store.appender().unwrap().as_mut(), FIRST, FIRST + 2 * SEGMENT);
    }
}

#[test]
fn a_replacement_that_fails_at_its_last_step_leaves_a_segment_under_the_name() {
    for step in [
        |call: &Call| matches!(call, Call::Rename(_, to) if to.ends_with(".wal")),
        |call: &Call| *call == Call::SyncDir,
    ] {
        let wrap = Wrap::new();
        let bare = SegmentStore::create_bare(shared(&wrap), wrap.lock().unwrap(), options());
        let store = bare.unwrap();
        store.place_first().unwrap();
        let base = lsn(FIRST + SEGMENT);
        store.prepare(base, SEGMENT / 2).unwrap();
        store.hold_back(1).unwrap();
        wrap.fill_up();
        wrap.fail_next(step);
        store.prepare(base, SEGMENT).unwrap_err();
        // It is registered as the newest: without it the next opening would call it missing.
        assert!(survey(&wrap).links.iter().any(|link| link.name.base == base));
    }
}
