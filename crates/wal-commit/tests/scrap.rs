//! What is left of a segment when the next flush would lie in two files: it is padded away with the
//! flush before, so that no commit syncs two files one after the other.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{Disk, append, no_space, start, try_to_append};
use wal_commit::{GroupCommit, Threads};

const SEGMENT: u64 = 16 << 10;
const BASE: u64 = 4096;
/// Records of 152 bytes, after which 120 are left.
const RECORDS: u64 = 107;

fn log() -> (GroupCommit, Arc<Disk>) {
    start(Disk::new(SEGMENT), |config| config.threads = Threads::None)
}

/// Appends all that the segment holds but for one record.
fn fill(log: &GroupCommit) {
    for _ in 1..RECORDS {
        append(log, &[7; 128]).wait_durable().unwrap();
    }
}

#[test]
fn r13_a_flush_takes_what_is_left_of_a_segment_if_that_is_less_than_itself() {
    let (log, disk) = log();
    fill(&log);
    assert_eq!(log.stats().paddings, 0, "a record fits yet");
    let last = append(&log, &[7; 128]);
    last.wait_durable().unwrap();
    assert_eq!(last.end().get(), BASE + SEGMENT - 120);
    assert_eq!(log.positions().durable.get(), BASE + SEGMENT, "padded, and as durable as the rest");
    assert_eq!((log.stats().paddings, log.stats().padding_bytes), (1, 120));
    assert_eq!(disk.calls(), (RECORDS, RECORDS), "it took no call of its own");
    let next = append(&log, &[8; 128]);
    assert_eq!(next.lsn().get(), BASE + SEGMENT);
    next.wait_durable().unwrap();
    assert_eq!(disk.calls(), (RECORDS + 1, RECORDS + 1), "one file, one write");
    log.close().unwrap();
    assert_eq!(disk.bodies().len() as u64, RECORDS + 1);
}

#[test]
fn r13_more_than_a_thirty_second_of_a_segment_is_never_given_away() {
    let (log, _disk) = log();
    let records = RECORDS - 3;
    let tickets: Vec<_> = (0..records).map(|_| append(&log, &[7; 128])).collect();
    tickets.last().unwrap().wait_durable().unwrap();
    let left = SEGMENT - records * 152;
    assert!(left > SEGMENT / 32 && left < records * 152, "less than the flush, and too much");
    assert_eq!(log.stats().paddings, 0);
}

#[test]
fn what_is_only_written_is_not_padded() {
    let (log, disk) = log();
    fill(&log);
    append(&log, &[7; 128]).wait_written().unwrap();
    assert_eq!(log.stats().paddings, 0, "it will be synced together with what follows");
    append(&log, &[8; 128]).wait_durable().unwrap();
    assert_eq!(log.stats().paddings, 1, "to the end of the segment, as ever");
    log.close().unwrap();
    assert_eq!(disk.bodies().len() as u64, RECORDS + 1);
}

#[test]
fn r12_where_no_segment_follows_the_rest_is_kept_for_records() {
    let (log, disk) = log();
    disk.fail_prepare(Some(no_space));
    fill(&log);
    fill(&log);
    for _ in 0..2 {
        append(&log, &[7; 128]).wait_durable().unwrap();
    }
    assert_eq!(log.stats().paddings, 1, "of the first segment");
    let last = append(&log, &[8; 120 - 24]);
    last.wait_durable().unwrap();
    assert_eq!(last.end().get(), BASE + 2 * SEGMENT, "it has the last bytes that there are");
    assert!(try_to_append(&log, &[9]).is_err());
}
