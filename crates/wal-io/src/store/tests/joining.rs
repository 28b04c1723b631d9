//! A write and its sync in one call, where the backend can: when, and when not.

use std::io::IoSlice;
use std::sync::Arc;

use super::opening::{FIRST, SEGMENT, lsn, options, shared, write};
use super::wrap::{Call, Wrap};
use crate::error::{IoError, IoOp};
use crate::sink::{LogSink, Preparer};
use crate::store::SegmentStore;
use crate::sync_method::SyncMethod;

const SECOND: u64 = FIRST + SEGMENT;

fn joining(method: SyncMethod) -> (Wrap, Arc<SegmentStore>) {
    let wrap = Wrap::new();
    wrap.join_syncs();
    let options = options().with_sync_method(method);
    let lock = crate::storage::Storage::lock(&wrap).unwrap();
    let store = SegmentStore::create(shared(&wrap), lock, options).unwrap();
    (wrap, store)
}

fn write_sync(sink: &mut dyn LogSink, from: u64, end: u64) -> Result<(), IoError> {
    sink.write_sync(lsn(from), &[IoSlice::new(&vec![7; (end - from) as usize])])
}

#[test]
fn a_lone_flush_is_one_call() {
    let (wrap, store) = joining(SyncMethod::DataSync);
    let mut sink = store.appender().unwrap();
    for at in [FIRST, FIRST + 512] {
        wrap.forget_calls();
        assert!(sink.joins_sync());
        write_sync(sink.as_mut(), at, at + 512).unwrap();
        let calls = wrap.calls();
        assert!(
            matches!(&calls[..], [Call::WriteDurable { bytes: 512, offset, .. }] if *offset == at),
            "{calls:?}"
        );
    }
    wrap.forget_calls();
    sink.sync().unwrap();
    assert_eq!(wrap.calls(), [], "nothing waits for a sync");
}

#[test]
fn bytes_that_wait_for_a_sync_get_one() {
    let (wrap, store) = joining(SyncMethod::DataSync);
    let mut sink = store.appender().unwrap();
    write(sink.as_mut(), FIRST, FIRST + 512);
    assert!(!sink.joins_sync(), "a joined call covers its own bytes only");
    wrap.forget_calls();
    write_sync(sink.as_mut(), FIRST + 512, FIRST + 1024).unwrap();
    let calls = wrap.calls();
    assert!(matches!(&calls[..], [Call::Write { .. }, Call::SyncData { .. }]), "{calls:?}");
    assert!(sink.joins_sync());
}

#[test]
fn r13_a_flush_across_a_boundary_syncs_both_segments() {
    let (wrap, store) = joining(SyncMethod::DataSync);
    store.prepare(lsn(SECOND), SEGMENT).unwrap();
    let mut sink = store.appender().unwrap();
    wrap.forget_calls();
    write_sync(sink.as_mut(), SECOND - 64, SECOND + 64).unwrap();
    let synced: Vec<String> = wrap
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            Call::SyncData { name, .. } => Some(name),
            Call::WriteDurable { .. } => panic!("one call covers one segment"),
            _ => None,
        })
        .collect();
    assert_eq!(synced.len(), 2, "{synced:?}");
    assert_ne!(synced[0], synced[1]);
}

#[test]
fn a_segment_left_behind_with_unsynced_bytes_is_synced_by_the_next_flush() {
    let (wrap, store) = joining(SyncMethod::DataSync);
    store.prepare(lsn(SECOND), SEGMENT).unwrap();
    let mut sink = store.appender().unwrap();
    // Both segments wait: the first was left.
    write(sink.as_mut(), SECOND - 64, SECOND + 64);
    wrap.forget_calls();
    write_sync(sink.as_mut(), SECOND + 64, SECOND + 128).unwrap();
    let syncs = |call: &&Call| matches!(call, Call::SyncData { .. });
    assert_eq!(wrap.calls().iter().filter(syncs).count(), 2, "{:?}", wrap.calls());
}

#[test]
fn only_data_syncs_are_joined() {
    for method in [SyncMethod::FullSync, SyncMethod::WriteThrough, SyncMethod::None] {
        let (wrap, store) = joining(method);
        let mut sink = store.appender().unwrap();
        assert!(!sink.joins_sync(), "{method:?}");
        write_sync(sink.as_mut(), FIRST, FIRST + 512).unwrap();
        let joined = |call: &Call| matches!(call, Call::WriteDurable { .. });
        assert!(!wrap.calls().iter().any(joined), "{method:?}");
    }
}

#[test]
fn r6_after_a_joined_call_that_failed_nothing_is_written_or_synced_again() {
    let (wrap, store) = joining(SyncMethod::DataSync);
    let mut sink = store.appender().unwrap();
    wrap.fail_next(|call| matches!(call, Call::WriteDurable { .. }));
    let error = write_sync(sink.as_mut(), FIRST, FIRST + 512).unwrap_err();
    assert!(matches!(&error, IoError::Failed { op: IoOp::WriteSync, .. }), "{error}");
    wrap.forget_calls();
    let again = write_sync(sink.as_mut(), FIRST, FIRST + 512).unwrap_err();
    assert!(matches!(again, IoError::Poisoned { .. }), "{again}");
    assert!(matches!(sink.sync().unwrap_err(), IoError::Poisoned { .. }));
    assert_eq!(wrap.calls(), []);
}
