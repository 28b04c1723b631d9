//! What the space of the next segment is made ready for.

use super::opening::{FIRST, lsn, options, predecessor, shared, survey, write};
use super::wrap::Wrap;
use crate::sink::Preparer;
use crate::storage::{Preparation, Storage};
use crate::store::SegmentStore;
use crate::store::options::OPENING_BYTES;

#[test]
fn zeros_are_written_ahead_where_syncs_are_many_and_only_reserved_where_they_are_few() {
    const SEGMENT: u64 = 4 << 20;
    let wrap = Wrap::new();
    let options = options().with_segment_bytes(SEGMENT);
    let store = SegmentStore::create(shared(&wrap), wrap.lock().unwrap(), options).unwrap();
    let mut sink = store.appender().unwrap();
    let mut sync = |times: u64| {
        for n in 0..times {
            write(sink.as_mut(), FIRST + 8 * n, FIRST + 8 * n + 8);
            sink.sync().unwrap();
        }
    };
    let base = |n: u64| lsn(FIRST + OPENING_BYTES + (n - 1) * SEGMENT);
    sync(63);
    store.prepare(base(2), SEGMENT).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Reserved));
    sync(64);
    store.prepare(base(3), SEGMENT).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Zeroed));
    store.prepare(base(4), SEGMENT).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Reserved), "none since the last one");
}

#[test]
fn a_log_that_has_just_begun_is_judged_by_the_bytes_it_has() {
    const SEGMENT: u64 = 4 << 20;
    let wrap = Wrap::new();
    let options = options().with_segment_bytes(SEGMENT);
    let bare = SegmentStore::create_bare(shared(&wrap), wrap.lock().unwrap(), options).unwrap();
    let placement = bare.place_first().unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Zeroed), "it begins with commits");
    let mut sink = bare.appender().unwrap();
    write(sink.as_mut(), FIRST, FIRST + (32 << 10));
    sink.sync().unwrap();
    bare.note_durable(lsn(FIRST + (32 << 10)));
    // One sync for 32 KiB will be some hundred for the 4 MiB of a segment.
    bare.prepare(placement.ready_end, SEGMENT).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Zeroed));
}

#[test]
fn a_try_that_failed_does_not_forget_how_the_log_is_used() {
    let wrap = Wrap::new();
    let options = options().with_segment_bytes(4 << 20);
    let bare = SegmentStore::create_bare(shared(&wrap), wrap.lock().unwrap(), options).unwrap();
    let base = bare.place_first().unwrap().ready_end;
    let mut sink = bare.appender().unwrap();
    write(sink.as_mut(), FIRST, FIRST + 4096);
    sink.sync().unwrap();
    bare.note_durable(lsn(FIRST + 4096));
    wrap.fill_up();
    assert!(bare.prepare(base, 4 << 20).unwrap_err().is_no_space());
    wrap.limit(u64::MAX);
    bare.prepare(base, 4 << 20).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Zeroed));
}

#[test]
fn addresses_that_a_crash_jumped_over_do_not_count_as_written() {
    const SEGMENT: u64 = 64 << 20;
    let wrap = Wrap::new();
    let options = options().with_segment_bytes(SEGMENT);
    drop(SegmentStore::create(shared(&wrap), wrap.lock().unwrap(), options).unwrap());
    let found = survey(&wrap);
    let store = SegmentStore::reopen(shared(&wrap), wrap.lock().unwrap(), options, &found).unwrap();
    let above = lsn(FIRST + 2 * SEGMENT);
    let placement = store.resume_after(predecessor(FIRST, 1, FIRST), above).unwrap();
    let mut sink = store.appender().unwrap();
    let end = lsn(placement.end.get() + 4096);
    write(sink.as_mut(), placement.end.get(), end.get());
    sink.sync().unwrap();
    store.note_durable(end);
    store.prepare(placement.ready_end, SEGMENT).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Zeroed));
}

#[test]
fn a_log_begins_in_a_short_segment_and_goes_on_in_normal_ones() {
    let wrap = Wrap::new();
    let options = options().with_segment_bytes(4 << 20);
    let bare = SegmentStore::create_bare(shared(&wrap), wrap.lock().unwrap(), options).unwrap();
    let placement = bare.place_first().unwrap();
    let end = FIRST + OPENING_BYTES;
    assert_eq!((placement.active_end, placement.ready_end), (lsn(end), lsn(end)));
    assert_eq!(bare.prepare(lsn(end), 4 << 20).unwrap(), lsn(end + (4 << 20)));
    assert_eq!(survey(&wrap).links, bare.links());
}
