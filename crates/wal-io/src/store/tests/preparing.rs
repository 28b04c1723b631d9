//! What the space of the next segment is made ready for.

use super::opening::{FIRST, lsn, options, shared, write};
use super::wrap::Wrap;
use crate::sink::Preparer;
use crate::storage::{Preparation, Storage};
use crate::store::SegmentStore;

#[test]
fn zeros_are_written_ahead_where_syncs_are_many_and_only_reserved_where_they_are_few() {
    const SEGMENT: u64 = 4 << 20;
    let wrap = Wrap::new();
    let options = options().with_segment_bytes(SEGMENT);
    let store = SegmentStore::create(shared(&wrap), wrap.lock().unwrap(), options).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Zeroed), "nothing is known yet");
    let mut sink = store.appender().unwrap();
    let mut sync = |times: u64| {
        for n in 0..times {
            write(sink.as_mut(), FIRST + 8 * n, FIRST + 8 * n + 8);
            sink.sync().unwrap();
        }
    };
    let base = |n: u64| lsn(FIRST + n * SEGMENT);
    sync(7);
    store.prepare(base(2), SEGMENT).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Reserved));
    sync(8);
    store.prepare(base(3), SEGMENT).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Zeroed));
    store.prepare(base(4), SEGMENT).unwrap();
    assert_eq!(wrap.last_preparation(), Some(Preparation::Reserved), "none since the last one");
}
