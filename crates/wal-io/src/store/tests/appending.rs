//! Preparing and writing segments.

use std::io::IoSlice;

use wal_format::Lsn;

use super::opening::{FIRST, SEGMENT, create, lsn, options, shared, survey, write};
use super::wrap::{Call, Wrap};
use crate::error::IoError;
use crate::segment_name::CONTROL_NAME;
use crate::segment_reader::SegmentReader;
use crate::sink::Preparer;
use crate::storage::{Access, Storage};
use crate::store::SegmentStore;
use crate::sync_method::SyncMethod;

const SECOND: u64 = FIRST + SEGMENT;
const THIRD: u64 = SECOND + SEGMENT;

fn create_with(wrap: &Wrap, method: SyncMethod) -> std::sync::Arc<SegmentStore> {
    let options = options().with_sync_method(method);
    SegmentStore::create(shared(wrap), wrap.lock().unwrap(), options).unwrap()
}

#[test]
fn a_lone_write_and_sync_is_one_write_and_one_data_sync() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let mut sink = store.appender().unwrap();
    for at in [FIRST, FIRST + 512] {
        wrap.forget_calls();
        write(sink.as_mut(), at, at + 512);
        sink.sync().unwrap();
        let calls = wrap.calls();
        assert!(
            matches!(&calls[..], [Call::Write { bytes: 512, offset, .. }, Call::SyncData { .. }]
                if *offset == at),
            "{calls:?}"
        );
    }
    // Nothing new, nothing to sync.
    wrap.forget_calls();
    sink.sync().unwrap();
    assert_eq!(wrap.calls(), []);
}

#[test]
fn every_sync_method_does_what_it_says() {
    for (method, access, promises) in [
        (SyncMethod::DataSync, Access::Write, true),
        (SyncMethod::FullSync, Access::Write, true),
        (SyncMethod::WriteThrough, Access::WriteThrough, true),
        (SyncMethod::None, Access::Write, false),
    ] {
        let wrap = Wrap::new();
        let store = create_with(&wrap, method);
        wrap.forget_calls();
        let mut sink = store.appender().unwrap();
        write(sink.as_mut(), FIRST, FIRST + 80);
        sink.sync().unwrap();
        let calls = wrap.calls();
        assert!(matches!(&calls[0], Call::Open(_, found) if *found == access));
        let synced = match method {
            SyncMethod::DataSync => matches!(calls[2..], [Call::SyncData { .. }]),
            SyncMethod::FullSync => matches!(calls[2..], [Call::SyncAll { .. }]),
            SyncMethod::WriteThrough | SyncMethod::None => calls.len() == 2,
        };
        assert!(synced, "{method:?}: {calls:?}");
        assert_eq!(sink.can_promise(), promises);
    }
}

#[test]
fn r13_a_write_across_a_boundary_lands_in_both_segments_and_both_are_synced() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let mut sink = store.appender().unwrap();
    wrap.forget_calls();
    let (from, end) = (SECOND - 40, SECOND + 24);
    let bytes: Vec<u8> = (0..64).collect();
    let bufs = [&bytes[..7], &bytes[7..50], &bytes[50..]].map(IoSlice::new);
    sink.write(lsn(from), &bufs).unwrap();
    sink.sync().unwrap();
    let synced: Vec<_> =
        wrap.calls().into_iter().filter(|c| matches!(c, Call::SyncData { .. })).collect();
    assert_eq!(synced.len(), 2, "the sealed one and the new one");
    let mut back = Vec::new();
    for (link, from, end) in [(0, from, SECOND), (1, SECOND, end)] {
        let reader = SegmentReader::open(&wrap, &store.links()[link]).unwrap();
        let mut part = vec![0; (end - from) as usize];
        assert_eq!(reader.read_at(lsn(from), &mut part).unwrap(), part.len());
        back.extend(part);
    }
    assert_eq!(back, bytes);
    // The sealed one was let go: the next sync covers the new one only.
    wrap.forget_calls();
    write(sink.as_mut(), end, end + 8);
    sink.sync().unwrap();
    assert_eq!(wrap.calls().len(), 2);
}

#[test]
fn r06_each_flush_slot_has_its_own_open_file() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let mut slots = [store.appender().unwrap(), store.appender().unwrap()];
    wrap.forget_calls();
    for (index, slot) in slots.iter_mut().enumerate() {
        let at = FIRST + index as u64 * 4096;
        write(slot.as_mut(), at, at + 8);
        slot.sync().unwrap();
    }
    let handles: Vec<_> = wrap
        .calls()
        .iter()
        .map(|call| match call {
            Call::Write { handle, .. } | Call::SyncData { handle, .. } => *handle,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(handles[0], handles[1], "what is written is synced through the same open file");
    assert_eq!(handles[2], handles[3]);
    assert_ne!(handles[0], handles[2]);
}

#[test]
fn r12_the_next_segment_stands_ready_before_it_is_needed() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let mut sink = store.appender().unwrap();
    let fourth = store.prepare(lsn(THIRD), SEGMENT).unwrap();
    assert_eq!(fourth, lsn(THIRD + SEGMENT));
    wrap.forget_calls();
    write(sink.as_mut(), FIRST, fourth.get());
    for call in wrap.calls() {
        assert!(matches!(call, Call::Write { .. } | Call::Open(..)), "{call:?} in a rotation");
    }
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn r14_a_segment_is_registered_after_it_is_durable_and_before_it_is_written() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    wrap.forget_calls();
    store.prepare(lsn(THIRD), SEGMENT).unwrap();
    let calls = wrap.calls();
    let find = |wanted: &dyn Fn(&Call) -> bool| calls.iter().position(wanted).unwrap();
    let dir = find(&|call| *call == Call::SyncDir);
    let control = find(&|call| matches!(call, Call::SyncData { name, .. } if name == CONTROL_NAME));
    assert!(dir < control);
    assert_eq!(survey(&wrap).control.current().unwrap().newest_base, lsn(THIRD));
    // An address beyond what is registered is refused.
    let mut sink = store.appender().unwrap();
    let beyond = THIRD + SEGMENT;
    let error = sink.write(lsn(beyond), &[IoSlice::new(&[1; 8])]).unwrap_err();
    assert!(matches!(error, IoError::OutOfRange { lsn: at, .. } if at == lsn(beyond)));
    // And such a sink stops.
    let error = sink.write(lsn(FIRST), &[IoSlice::new(&[1; 8])]).unwrap_err();
    assert!(matches!(error, IoError::Poisoned { .. }));
}

#[test]
fn preparing_twice_is_preparing_once() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    wrap.forget_calls();
    assert_eq!(store.prepare(lsn(SECOND), SEGMENT).unwrap(), lsn(THIRD));
    assert_eq!(wrap.calls(), []);
}

#[test]
fn an_empty_successor_is_replaced_by_one_made_to_measure() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let mut sink = store.appender().unwrap();
    let before = store.links();
    // A whole number of blocks is made.
    let end = store.prepare(lsn(SECOND), SEGMENT * 3 + 1).unwrap();
    assert_eq!(end, lsn(SECOND + SEGMENT * 3 + 4096));
    assert_eq!(store.links()[1].name, before[1].name);
    assert_eq!(survey(&wrap).links, store.links());
    // And once written to, it stays.
    write(sink.as_mut(), FIRST, SECOND + 8);
    assert!(matches!(store.prepare(lsn(SECOND), SEGMENT), Err(IoError::OutOfRange { .. })));
}

#[test]
fn a_segment_can_only_follow_the_last_one() {
    let store = create(&Wrap::new());
    for base in [FIRST, SECOND + 8, THIRD + 4096] {
        let refused = store.prepare(lsn(base), SEGMENT);
        assert!(matches!(refused, Err(IoError::OutOfRange { .. })), "{base}");
    }
    assert!(matches!(store.prepare(lsn(THIRD), 0), Err(IoError::OutOfRange { .. })));
    assert!(matches!(store.prepare(lsn(THIRD), u64::MAX), Err(IoError::OutOfRange { .. })));
}

#[test]
fn no_space_while_preparing_leaves_no_file_and_a_usable_log() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let names = wrap.names();
    wrap.fill_up();
    assert!(store.prepare(lsn(THIRD), SEGMENT).unwrap_err().is_no_space());
    assert!(store.prepare(lsn(SECOND), 2 * SEGMENT).unwrap_err().is_no_space());
    assert_eq!(wrap.names(), names);
    assert_eq!(store.links().len(), 2);
    wrap.limit(u64::MAX);
    store.prepare(lsn(THIRD), SEGMENT).unwrap();
    write(store.appender().unwrap().as_mut(), FIRST, THIRD + 8);
}

#[test]
fn a_segment_whose_sync_failed_is_never_used() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let names = wrap.names();
    wrap.fail_next(|call| matches!(call, Call::SyncAll { .. }));
    assert!(matches!(store.prepare(lsn(THIRD), SEGMENT), Err(IoError::Failed { .. })));
    assert_eq!(wrap.names(), names, "its temporary file is gone");
    assert_eq!(store.links().len(), 2);
    // Another file may be tried.
    store.prepare(lsn(THIRD), SEGMENT).unwrap();
}

#[test]
fn after_a_failed_directory_sync_no_name_is_trusted_again() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    wrap.fail_next(|call| *call == Call::SyncDir);
    store.prepare(lsn(THIRD), SEGMENT).unwrap_err();
    wrap.forget_calls();
    let error = store.prepare(lsn(THIRD), SEGMENT).unwrap_err();
    assert!(matches!(error, IoError::Poisoned { .. }));
    assert_eq!(wrap.calls(), []);
    // What was not made durable is not there for a later process to trust.
    assert_eq!(survey(&wrap).links, store.links());
}

#[test]
fn a_sink_whose_sync_failed_never_promises_again() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    let mut sink = store.appender().unwrap();
    write(sink.as_mut(), FIRST, FIRST + 8);
    wrap.fail_next(|call| matches!(call, Call::SyncData { .. }));
    assert!(matches!(sink.sync(), Err(IoError::Failed { .. })));
    assert!(matches!(sink.sync(), Err(IoError::Poisoned { .. })));
    let error = sink.write(lsn(FIRST + 8), &[IoSlice::new(&[1; 8])]).unwrap_err();
    assert!(matches!(error, IoError::Poisoned { .. }));
}

#[test]
fn an_appender_writes_nothing_below_where_the_opening_placed_it() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    write(store.appender().unwrap().as_mut(), FIRST, 8192);
    drop(store);
    let (store, _) = super::opening::reopen(&wrap);
    assert!(matches!(store.appender(), Err(IoError::OutOfRange { .. })), "not placed yet");
    let before = super::opening::predecessor(FIRST, 1, 8192);
    store.resume_after(before, Lsn::FIRST).unwrap();
    let mut sink = store.appender().unwrap();
    let error = sink.write(lsn(FIRST), &[IoSlice::new(&[1; 8])]).unwrap_err();
    assert!(matches!(error, IoError::OutOfRange { .. }));
}

#[test]
fn a_control_file_that_failed_is_never_written_again() {
    let wrap = Wrap::new();
    let store = create(&wrap);
    wrap.fail_next(|call| matches!(call, Call::SyncData { name, .. } if name == CONTROL_NAME));
    store.prepare(lsn(THIRD), SEGMENT).unwrap_err();
    wrap.forget_calls();
    let error = store.mark_clean(lsn(FIRST)).unwrap_err();
    assert!(matches!(error, IoError::Poisoned { name } if name == CONTROL_NAME));
    let written = |call: &Call| matches!(call, Call::Write { .. } | Call::SyncData { .. });
    assert!(!wrap.calls().iter().any(written));
}
