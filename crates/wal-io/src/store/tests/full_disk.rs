//! Rule 16: an opening works on a full disk.

use wal_format::{Predecessor, SegmentFlags};

use super::opening::{FIRST, SEGMENT, create, lsn, predecessor, reopen, survey, write};
use super::wrap::Wrap;
use crate::chain::ChainLink;
use crate::segment_name::SPARE_NAME;
use crate::sink::Preparer;
use crate::store::SEGMENT_BYTES_MIN;

fn ends(link: &ChainLink, end: u64) -> Predecessor {
    predecessor(link.name.base.get(), link.name.epoch.get(), end)
}

#[test]
fn r16_an_unclean_opening_works_on_a_full_disk() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    write(store.appender().unwrap().as_mut(), FIRST, 12_288);
    drop(store);
    wrap.fill_up();
    let (store, before) = reopen(&wrap);
    let flags = SegmentFlags::OPENING.with(SegmentFlags::BORN_DURABLE);
    let at = Some(predecessor(FIRST, 1, 8192));
    let mut run = store.write_run(lsn(8192), 4096, flags, at).unwrap();
    run.write(&[3; 4096]).unwrap();
    run.finish().unwrap();
    let run = *store.links().last().unwrap();
    let placement = store.resume_after(ends(&run, 12_288), lsn(12_288)).unwrap();
    assert!(placement.end >= before.address_end, "rule 8");
    write(store.appender().unwrap().as_mut(), placement.end.get(), placement.active_end.get());
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn r16_an_opening_works_when_no_successor_could_be_made_before_the_crash() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let mut sink = store.appender().unwrap();
    wrap.fill_up();
    // Full to the last byte: no successor to give up, the whole tail unproven.
    write(sink.as_mut(), FIRST, FIRST + 2 * SEGMENT);
    assert!(store.prepare(lsn(FIRST + 2 * SEGMENT), SEGMENT).unwrap_err().is_no_space());
    drop((store, sink));
    let (store, _) = reopen(&wrap);
    let second = store.links()[1];
    let flags = SegmentFlags::OPENING.with(SegmentFlags::BORN_DURABLE);
    let base = FIRST + SEGMENT;
    let mut run = store.write_run(lsn(base), SEGMENT, flags, Some(ends(&second, base))).unwrap();
    run.write(&vec![3; SEGMENT as usize]).unwrap();
    run.finish().unwrap();
    let run = *store.links().last().unwrap();
    // What the run replaced has room for a segment; somebody else takes the rest of it.
    wrap.limit(wrap.used_bytes() + SEGMENT_BYTES_MIN + 4096);
    let placement = store.resume_after(ends(&run, base + SEGMENT), lsn(base)).unwrap();
    assert_eq!(placement.ready_end, placement.active_end, "no room for a successor");
    assert_eq!(placement.active_end, placement.end.checked_add(SEGMENT_BYTES_MIN).unwrap());
    assert_eq!(survey(&wrap).links, store.links());
    // Once there is room, the successor and the spare come back.
    wrap.limit(u64::MAX);
    store.prepare(placement.ready_end, SEGMENT).unwrap();
}

#[test]
fn r16_a_crash_loop_on_a_full_disk_keeps_opening_and_never_reuses_an_address() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    write(store.appender().unwrap().as_mut(), FIRST, 8192);
    drop(store);
    wrap.fill_up();
    let mut last = lsn(FIRST);
    for round in 0..6 {
        let (store, _) = reopen(&wrap);
        let placement = store.resume_after(predecessor(FIRST, 1, 8192), lsn(8192)).unwrap();
        assert!(placement.end >= last, "round {round}");
        last = placement.active_end;
        if round % 2 == 0 {
            store.discard_dead().unwrap();
        }
        assert_eq!(survey(&wrap).links, store.links());
    }
}

#[test]
fn r16_a_crash_after_the_space_was_given_up_loses_nothing() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    write(store.appender().unwrap().as_mut(), FIRST, 8192);
    drop(store);
    wrap.fill_up();
    let (store, before) = reopen(&wrap);
    store.free_space(&mut store.work.lock(), lsn(8192)).unwrap();
    drop(store);
    let after = survey(&wrap);
    assert_eq!(after.address_end, before.address_end, "rule 8");
    assert_eq!(after.links[0], before.links[0], "what holds records is as it was");
    assert!(wrap.used_bytes() < before.links.iter().map(|link| link.file_bytes).sum());
    let (store, _) = reopen(&wrap);
    store.resume_after(predecessor(FIRST, 1, 8192), lsn(8192)).unwrap();
}

#[test]
fn r16_a_clean_log_opens_on_a_full_disk_with_its_successor() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    store.mark_clean(lsn(FIRST)).unwrap();
    drop(store);
    wrap.fill_up();
    let (store, _) = reopen(&wrap);
    let placement = store.resume_in_place(lsn(FIRST)).unwrap();
    assert_eq!(placement.ready_end, lsn(FIRST + 2 * SEGMENT));
    assert!(wrap.names().contains(&SPARE_NAME.to_owned()));
}

#[test]
fn r16_a_log_closed_at_the_very_end_of_its_last_segment_opens_on_a_full_disk() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let mut sink = store.appender().unwrap();
    wrap.fill_up();
    let end = FIRST + 2 * SEGMENT;
    write(sink.as_mut(), FIRST, end);
    assert!(store.prepare(lsn(end), SEGMENT).unwrap_err().is_no_space());
    store.mark_clean(lsn(end)).unwrap();
    drop((store, sink));
    let (store, _) = reopen(&wrap);
    let placement = store.resume_in_place(lsn(end)).unwrap();
    assert!(placement.ready_end > placement.end, "the spare made room for the first record");
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn a_log_that_does_not_fit_can_be_created_once_there_is_room() {
    let wrap = Wrap::new();
    for limit in [0, 8192, 8192 + SEGMENT, 8192 + 2 * SEGMENT, 3 * SEGMENT] {
        wrap.limit(limit);
        let made = crate::store::SegmentStore::create(
            super::opening::shared(&wrap),
            crate::storage::Storage::lock(&wrap).unwrap(),
            super::opening::options(),
        );
        assert!(made.unwrap_err().is_no_space(), "{limit}");
        assert!(survey(&wrap).is_empty());
    }
    wrap.limit(u64::MAX);
    create(&wrap);
}
