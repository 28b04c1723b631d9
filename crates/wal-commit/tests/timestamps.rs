//! Marks that tell the time: where they stand, when they are due, and that there are none else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Disk, Found, append, inline, timed};
use wal_commit::CommitError;
use wal_format::body::Time;
use wal_format::{RecordDraft, RecordFlags, RecordKind};

const SECOND: Duration = Duration::from_secs(1);

/// What each record is: the time it tells, or the length of its body. Padding is left out.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Time(u64),
    Data(usize),
}

fn seen(records: &[Found]) -> Vec<Seen> {
    let mut all = Vec::new();
    for found in records {
        match found.kind {
            RecordKind::PADDING => {}
            RecordKind::TIME => {
                assert_eq!(found.flags, RecordFlags::NONE, "a mark belongs to no batch");
                all.push(Seen::Time(Time::decode(&found.body).unwrap().unix_us));
            }
            _ => all.push(Seen::Data(found.body.len())),
        }
    }
    all
}

fn data(count: usize) -> Vec<Vec<u8>> {
    (1..=count).map(|bytes| vec![7; bytes]).collect()
}

#[test]
fn a_mark_goes_before_the_record_that_finds_the_resolution_passed() {
    let (log, disk, clock) = timed(Disk::new(1 << 20), SECOND, 5_000_000);
    drop(append(&log, b"1"));
    clock.store(5_999_999, Ordering::Relaxed);
    drop(append(&log, b"22"));
    clock.store(6_000_000, Ordering::Relaxed);
    let placed = append(&log, b"333");
    drop(append(&log, b"4444"));
    log.sync().unwrap();
    let expected = [1, 2].map(Seen::Data).into_iter().chain([Seen::Time(6_000_000)]);
    let expected: Vec<_> = expected.chain([3, 4].map(Seen::Data)).collect();
    assert_eq!(seen(&disk.records()), expected);
    let third = disk.records().into_iter().find(|found| found.body == b"333").unwrap();
    assert_eq!(placed.lsn().get(), third.lsn, "the ticket names the record and not the mark");
    assert_eq!((log.stats().records, log.stats().time_marks), (4, 1));
}

#[test]
fn with_no_resolution_each_append_gets_one_whichever_way_it_goes() {
    let (log, disk, clock) = timed(Disk::new(1 << 20), Duration::ZERO, 10);
    let bodies = data(3);
    let parts: Vec<[&[u8]; 1]> = bodies.iter().map(|body| [&body[..]]).collect();
    let drafts: Vec<_> =
        parts.iter().map(|parts| RecordDraft::new(RecordKind::DATA, parts)).collect();
    log.append_untracked(RecordKind::DATA, &bodies[0]).unwrap();
    clock.store(11, Ordering::Relaxed);
    let mut hooked = Vec::new();
    drop(log.append_batch(&drafts, &mut |index, lsn| hooked.push((index, lsn.get()))).unwrap());
    clock.store(12, Ordering::Relaxed);
    let body = vec![9; 100_000];
    drop(log.append(&RecordDraft::new(RecordKind::DATA, &[&body]), &mut |_| {}).unwrap());
    drop(log.append_unhooked(RecordKind::DATA, &body).unwrap());
    log.sync().unwrap();
    let records = disk.records();
    assert_eq!(
        seen(&records),
        [
            Seen::Time(10),
            Seen::Data(1),
            Seen::Time(11),
            Seen::Data(1),
            Seen::Data(2),
            Seen::Data(3),
            Seen::Time(12),
            Seen::Data(100_000),
            Seen::Time(12),
            Seen::Data(100_000),
        ]
    );
    let members: Vec<_> = (0..3).map(|index| (index, records[3 + index].lsn)).collect();
    assert_eq!(hooked, members, "the hook is told of the records and not of the mark");
}

#[test]
fn a_clock_that_jumps_back_repeats_the_last_time() {
    let (log, disk, clock) = timed(Disk::new(1 << 20), Duration::ZERO, 100);
    drop(append(&log, b"1"));
    clock.store(3, Ordering::Relaxed);
    drop(append(&log, b"22"));
    log.sync().unwrap();
    let expected = [Seen::Time(100), Seen::Data(1), Seen::Time(100), Seen::Data(2)];
    assert_eq!(seen(&disk.records()), expected);
}

#[test]
fn a_log_that_does_not_tell_the_time_has_no_marks() {
    let (log, disk) = inline();
    data(5).iter().for_each(|body| drop(append(&log, body)));
    log.sync().unwrap();
    assert!(disk.records().iter().all(|found| found.kind != RecordKind::TIME));
    assert_eq!(log.stats().time_marks, 0);
}

#[test]
fn r13_marks_and_records_of_every_size_fill_segments_without_a_gap() {
    let (log, disk, _clock) = timed(Disk::new(8192), Duration::ZERO, 1);
    let mut last = None;
    for bytes in (0..900).chain((0..900).rev()) {
        let body = vec![1; bytes];
        last = Some(append(&log, &body));
    }
    last.unwrap().wait_durable().unwrap();
    // The disk checks each record against the segments.
    let all = seen(&disk.records());
    assert_eq!(all.len(), 3600);
    let alternate = all.chunks(2).all(|pair| matches!(pair, [Seen::Time(1), Seen::Data(_)]));
    assert!(alternate, "each record has its mark");
}

#[test]
fn r18_the_largest_batch_has_room_for_its_mark() {
    for segment_bytes in [1 << 20, 8192] {
        let (log, disk, _clock) = timed(Disk::new(segment_bytes), Duration::ZERO, 1);
        let max = log.batch_bytes_max();
        let body = vec![1; (max / 2 - 24) as usize & !7];
        let parts = [&body[..]];
        let draft = RecordDraft::new(RecordKind::DATA, &parts);
        for _ in 0..20 {
            drop(log.append_batch(&[draft, draft], &mut |_, _| {}).unwrap());
        }
        let error = log.append_batch(&[draft, draft, draft], &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, CommitError::BatchTooLong { .. }), "{error}");
        log.sync().unwrap();
        assert_eq!(seen(&disk.records()).len(), 60);
    }
}

#[test]
fn a_refused_append_leaves_no_mark() {
    let (log, disk, _clock) = timed(Disk::new(8192), Duration::ZERO, 1);
    disk.fail_prepare(Some(common::no_space));
    let body = vec![1; 900];
    let appended = (0..100).take_while(|_| common::try_to_append(&log, &body).is_ok()).count();
    let parts = [&body[..]];
    let draft = RecordDraft::new(RecordKind::DATA, &parts);
    for _ in 0..5 {
        common::try_to_append(&log, &body).unwrap_err();
        log.try_append(&draft, &mut |_| {}).unwrap_err();
    }
    log.sync().unwrap();
    assert_eq!(seen(&disk.records()).len(), 2 * appended);
    assert_eq!(log.stats().time_marks, appended as u64);
}
