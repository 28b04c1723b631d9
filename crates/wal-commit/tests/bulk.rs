//! Batches of plain records: the same log as batches of drafts make, and the same refusals.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Disk, append, inline, start};
use wal_commit::{CommitError, GroupCommit, PoisonCause, SyncPolicy, Threads, Ticket};
use wal_format::{RecordDraft, RecordKind};

type Records<'r> = Vec<(RecordKind, &'r [u8])>;

/// A log whose segments and buffer are so small that batches step over the ends of both.
fn small() -> (GroupCommit, Arc<Disk>) {
    start(Disk::new(64 << 10), |config| {
        config.threads = Threads::None;
        config.buffer_bytes = 32 << 10;
    })
}

fn append_drafts(
    log: &GroupCommit,
    records: &[(RecordKind, &[u8])],
) -> Result<Ticket, CommitError> {
    let parts: Vec<[&[u8]; 1]> = records.iter().map(|(_, body)| [*body]).collect();
    let drafts: Vec<_> = records
        .iter()
        .zip(&parts)
        .map(|((kind, _), parts)| RecordDraft::new(*kind, parts))
        .collect();
    log.append_batch(&drafts, &mut |_, _| {})
}

/// Bodies of many lengths, in batches of one record and more, of two kinds.
fn batches(source: &[u8]) -> impl Iterator<Item = Records<'_>> {
    (0..400).map(|batch| {
        let longest = [40, 130, source.len()][batch % 3];
        let kinds = [RecordKind::DATA, RecordKind::engine(5).unwrap()];
        let record = |index: usize| {
            (kinds[(batch + index) % 2], &source[..(batch * 31 + index * 17) % longest])
        };
        (0..1 + batch * 5 % 12).map(record).collect()
    })
}

#[test]
fn a_batch_of_plain_records_is_the_batch_of_their_drafts() {
    let source: Vec<u8> = (0..900_u32).map(|byte| (byte * 7) as u8).collect();
    let ((plain, found), (drafted, expected)) = (small(), small());
    for (number, records) in batches(&source).enumerate() {
        let ticket = plain.append_batch_unhooked(&records).unwrap();
        let same = append_drafts(&drafted, &records).unwrap();
        assert_eq!((ticket.lsn(), ticket.end()), (same.lsn(), same.end()));
        if number.is_multiple_of(9) {
            ticket.wait_durable().unwrap();
            same.wait_durable().unwrap();
        }
    }
    plain.sync().unwrap();
    drafted.sync().unwrap();
    assert_eq!(found.records(), expected.records());
    let counted = |log: &GroupCommit| {
        let stats = log.stats();
        (stats.records, stats.record_bytes, stats.batches, stats.rotations, stats.syncs)
    };
    assert_eq!(counted(&plain), counted(&drafted));
    assert!(plain.stats().rotations > 5, "{:?}", plain.stats());
}

#[test]
fn what_drafts_are_refused_for_plain_records_are_too() {
    let (log, disk) = inline();
    let most = log.batch_bytes_max();
    let long = vec![7; most as usize / 2];
    let two = [(RecordKind::DATA, long.as_slice()); 2];
    for append in [GroupCommit::append_batch_unhooked, GroupCommit::try_append_batch_unhooked] {
        assert!(matches!(append(&log, &[]), Err(CommitError::Empty)));
        let error = append(&log, &two).unwrap_err();
        assert!(matches!(error, CommitError::BatchTooLong { max, .. } if max == most), "{error}");
    }
    assert_eq!((log.stats().records, log.positions().reserved), (0, disk.start().end));
    log.close().unwrap();
    let error = log.append_batch_unhooked(&two[..1]).unwrap_err();
    assert!(matches!(error, CommitError::Closed), "{error}");
}

#[test]
fn a_batch_that_the_buffer_could_take_is_refused_where_a_segment_could_not() {
    let (log, _disk) = start(Disk::new(1 << 16), |config| config.buffer_bytes = 8 << 20);
    drop(append(&log, b"the first settles what the others find"));
    let most = log.batch_bytes_max();
    let body = vec![7; most as usize / 2 - 24];
    let records = [(RecordKind::DATA, body.as_slice()), (RecordKind::DATA, &body[..16])];
    let error = log.append_batch_unhooked(&[records[0], records[0], records[1]]).unwrap_err();
    assert!(matches!(error, CommitError::BatchTooLong { max, .. } if max == most), "{error}");
    let appended = log.append_batch_unhooked(&[records[0], records[0]]).unwrap();
    assert_eq!(appended.end().get() - appended.lsn().get(), most);
}

#[test]
fn a_poisoned_log_takes_no_batch() {
    let (log, _disk) = inline();
    drop(append(&log, b"the first settles what the others find"));
    let records = [(RecordKind::DATA, &b"x"[..]); 2];
    drop(log.append_batch_unhooked(&records).unwrap());
    log.poison(PoisonCause::requested("a test"));
    let error = log.append_batch_unhooked(&records).unwrap_err();
    assert!(matches!(error, CommitError::Poisoned { .. }), "{error}");
    assert_eq!(log.stats().records, 3);
}

#[test]
fn a_batch_counts_for_a_limit() {
    for (records, bytes) in [(Some(5), None), (None, Some(150))] {
        let (log, _disk) = start(Disk::new(1 << 16), |config| {
            config.policy = SyncPolicy::Never;
            (config.sync_after_records, config.sync_after_bytes) = (records, bytes);
        });
        drop(append(&log, b"the first settles what the others find"));
        let records = [(RecordKind::DATA, &b"x"[..]); 4];
        let ticket = log.append_batch_unhooked(&records).unwrap();
        log.wait_beyond(ticket.lsn(), Some(Duration::from_secs(60))).unwrap();
        assert_eq!(log.stats().syncs, 1);
    }
}

#[test]
fn who_appends_in_batches_writes_out_what_is_worth_a_call() {
    let (log, disk) = start(Disk::new(8 << 20), |config| {
        config.threads = Threads::None;
        config.buffer_bytes = 8 << 20;
    });
    let records = [(RecordKind::DATA, &[7; 488][..]); 64];
    let mut batches = 0;
    while disk.calls().0 == 0 {
        drop(log.append_batch_unhooked(&records).unwrap());
        batches += 1;
        assert!(batches <= 16, "an eighth of a part of 4 MiB is enough");
    }
    assert_eq!((batches, disk.calls()), (16, (1, 0)));
    assert_eq!(disk.bodies().len(), 16 * 64);
    // Whoever must not wait for a write, as a future in its poll, leaves that to others.
    for _ in 0..20 {
        drop(log.try_append_batch_unhooked(&records).unwrap());
    }
    assert_eq!(disk.calls(), (1, 0));
}

#[test]
fn a_batch_that_would_have_to_wait_is_refused_where_that_was_asked_for() {
    let (log, disk) = start(Disk::new(1 << 20), |_| {});
    let (in_sync, go) = common::stop_in_syncs(&disk);
    let full = vec![7; log.batch_bytes_max() as usize / 2];
    let records = [(RecordKind::DATA, full.as_slice())];
    drop(log.append_batch_unhooked(&records).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| log.sync().unwrap());
        in_sync.pass();
        let mut refused = false;
        for _ in 0..8 {
            refused |=
                matches!(log.try_append_batch_unhooked(&records), Err(CommitError::WouldBlock));
        }
        go.open();
        assert!(refused);
    });
    let before = log.stats().records;
    drop(log.append_batch_unhooked(&records).unwrap());
    assert_eq!(log.stats().records, before + 1);
}
