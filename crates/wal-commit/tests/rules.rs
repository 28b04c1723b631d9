//! The rules of docs/rules.md which the commit path enforces, and segments: one test each.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{
    Disk, Gate, Prepare, Sink, append, inline, lsn, no_space, rename_failed, start, stop_in_syncs,
    threaded, try_to_append,
};
use wal_commit::{CommitConfig, CommitError, Durability, Fate, GroupCommit, SyncPolicy, Threads};
use wal_format::{Lsn, RecordDraft, RecordFlags, RecordKind};
use wal_io::{IoError, LogSink, Preparer};

/// A log without threads on segments of `segment_bytes`.
fn small(segment_bytes: u64) -> (GroupCommit, Arc<Disk>) {
    start(Disk::new(segment_bytes), |config| config.threads = Threads::None)
}

/// A log without threads whose sink writes blocks of `block_bytes`.
fn direct(segment_bytes: u64, block_bytes: usize) -> (GroupCommit, Arc<Disk>) {
    let disk = Disk::direct(segment_bytes, block_bytes);
    start(disk, |config| config.threads = Threads::None)
}

#[test]
fn r10_an_idle_log_writes_one_watermark_and_does_not_sync_it() {
    let (log, disk) = inline();
    assert_eq!(log.mark_idle().unwrap(), None, "an empty log has nothing to prove");
    let ticket = append(&log, b"x");
    assert_eq!(log.mark_idle().unwrap(), None, "what is not durable cannot be claimed");
    ticket.wait_durable().unwrap();
    let lsn = log.mark_idle().unwrap().expect("the window is open");
    assert_eq!(log.positions().durable, ticket.end());
    assert!(log.positions().written > ticket.end());
    assert_eq!(disk.calls(), (2, 1));
    let watermark = disk.records().pop().unwrap();
    assert_eq!((watermark.kind, watermark.lsn), (RecordKind::WATERMARK, lsn.get()));
    assert_eq!(watermark.durable, ticket.end().get(), "it proves the last group");
}

#[test]
fn r10_a_watermark_is_never_repeated_while_idle() {
    let (log, disk) = inline();
    append(&log, b"x").wait_durable().unwrap();
    assert!(log.mark_idle().unwrap().is_some());
    assert_eq!(log.mark_idle().unwrap(), None);
    log.sync().unwrap();
    assert_eq!(log.mark_idle().unwrap(), None, "a durable watermark asks for no other one");
    assert_eq!(disk.calls(), (2, 2));
    append(&log, b"y").wait_durable().unwrap();
    assert!(log.mark_idle().unwrap().is_some(), "a new group opens the window again");
    assert_eq!(log.stats().watermarks, 2);
}

#[test]
fn r10_a_watermark_is_not_worth_a_rotation() {
    let (log, disk) = small(4096);
    append(&log, &[1; 4096 - 24 - 2048 - 24]).wait_durable().unwrap();
    // Written first: a flush that is to be synced would take the rest along.
    append(&log, &[1; 2048 - 24]).wait_written().unwrap();
    log.sync().unwrap();
    let end = log.positions().reserved;
    assert_eq!(end, lsn(8192 - 24), "a watermark fits exactly");
    assert!(log.mark_idle().unwrap().is_some());
    append(&log, &[1; 1001]).wait_durable().unwrap();
    assert_eq!(disk.prepared().len(), 1);

    let (log, _disk) = small(4096);
    append(&log, &[1; 4096 - 2048 - 24]).wait_durable().unwrap();
    append(&log, &[1; 2048 - 24]).wait_durable().unwrap();
    assert_eq!(log.positions().reserved, lsn(8192), "the segment is full");
    assert_eq!(log.mark_idle().unwrap(), None);
}

#[test]
fn r10_the_helper_marks_an_idle_log() {
    let (log, disk) = start(Disk::new(1 << 20), |config| {
        config.idle_after = Some(std::time::Duration::from_millis(1));
    });
    let wrote = Gate::new();
    let tell = wrote.clone();
    // The first write is the commit, the second one nobody asked for.
    disk.on_write(move |number| {
        if number == 2 {
            tell.open();
        }
    });
    append(&log, b"x").wait_durable().unwrap();
    wrote.pass();
    log.close().unwrap();
    let kinds: Vec<_> = disk.records().iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [RecordKind::DATA, RecordKind::WATERMARK, RecordKind::PADDING]);
}

#[test]
fn r11_under_policy_never_a_durable_wait_forces_a_sync() {
    let (log, disk) = start(Disk::new(1 << 20), |config| {
        config.threads = Threads::None;
        config.policy = SyncPolicy::Never;
    });
    let ticket = append(&log, b"x");
    ticket.wait_written().unwrap();
    assert_eq!(disk.calls(), (1, 0));
    ticket.wait_durable().unwrap();
    assert_eq!(disk.calls(), (1, 1));
}

#[test]
fn r11_without_syncs_the_durable_end_stays_and_durable_is_refused() {
    for threads in [Threads::None, Threads::Helper] {
        let disk = Disk::without_syncs(1 << 20);
        let (log, disk) = start(disk, |config| config.threads = threads);
        let ticket = append(&log, b"x");
        let heard = Arc::new(AtomicBool::new(false));
        let tell = heard.clone();
        ticket.on_durable(Box::new(move |outcome| {
            assert!(matches!(outcome, Err(CommitError::NotPromised)));
            tell.store(true, Ordering::SeqCst);
        }));
        assert!(heard.load(Ordering::SeqCst));
        assert!(matches!(ticket.wait_durable(), Err(CommitError::NotPromised)));
        assert!(matches!(log.sync(), Err(CommitError::NotPromised)));
        assert!(matches!(log.wait_beyond(lsn(4096), None), Err(CommitError::NotPromised)));
        ticket.wait_written().unwrap();
        assert_eq!(log.mark_idle().unwrap(), None);
        let end = log.close().unwrap();
        assert_eq!((disk.written(), disk.calls().1), (end.get(), 0));
        assert_eq!(log.positions().durable, lsn(4096), "nothing became durable");
        let claims: Vec<_> = disk.records().iter().map(|found| found.durable).collect();
        assert!(claims.iter().all(|durable| *durable == 4096));
    }
}

#[test]
fn r12_the_next_segment_is_made_ready_before_it_is_needed() {
    let (log, disk) = small(8192);
    for _ in 0..8 {
        append(&log, &[1; 1001]).wait_durable().unwrap();
    }
    assert_eq!(log.stats().rotations, 1);
    assert_eq!(disk.prepared(), [(4096 + 2 * 8192, 8192)]);
    assert_eq!(log.stats().segment_waits, 0, "no append had to wait");
}

#[test]
fn r12_the_helper_prepares_the_next_segment_and_no_commit_waits() {
    let (log, disk) = start(Disk::new(8192), |_| {});
    let (began, go) = (Gate::new(), Gate::new());
    let (entered, wait) = (began.clone(), go.clone());
    disk.on_prepare(move |_| {
        entered.open();
        wait.pass();
    });
    // Into the second segment: the third one is wanted, and its preparation hangs.
    for _ in 0..8 {
        append(&log, &[1; 1001]).wait_durable().unwrap();
    }
    began.pass();
    append(&log, b"still going").wait_durable().unwrap();
    assert!(disk.prepared().is_empty());
    go.open();
    for _ in 0..30 {
        append(&log, &[1; 1001]).wait_durable().unwrap();
    }
    log.close().unwrap();
    assert_eq!(disk.bodies().len(), 39);
}

#[test]
fn r12_no_space_is_an_error_before_anything_is_reserved_and_the_log_goes_on() {
    for threads in [Threads::None, Threads::Helper] {
        let (log, disk) = start(Disk::new(8192), |config| config.threads = threads);
        disk.fail_prepare(Some(no_space));
        let mut accepted = 0;
        let error = loop {
            match try_to_append(&log, &[1; 1001]) {
                Ok(_) => accepted += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CommitError::NoSpace(_)), "{error}");
        assert_eq!(error.fate(), Fate::NotCommitted);
        let reserved = log.positions().reserved;
        assert!(try_to_append(&log, &[1; 1001]).is_err(), "still no space");
        assert_eq!(log.positions().reserved, reserved, "nothing was reserved");
        log.sync().unwrap();
        let small = append(&log, b"what fits is taken");
        small.wait_durable().unwrap();
        disk.fail_prepare(None);
        append(&log, &[1; 1001]).wait_durable().unwrap();
        assert_eq!(disk.bodies().len(), accepted + 2);
        assert!(!log.is_poisoned());
    }
}

#[test]
fn r12_a_try_reports_why_no_segment_is_ready() {
    let (log, disk) = start(Disk::new(8192), |_| {});
    disk.fail_prepare(Some(no_space));
    let draft = RecordDraft::new(RecordKind::DATA, &[&[1; 1001]]);
    let error = loop {
        match log.try_append(&draft, &mut |_| {}) {
            Ok(_) => {}
            Err(CommitError::WouldBlock) => std::thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CommitError::NoSpace(_)), "{error}");
    disk.fail_prepare(None);
    loop {
        match log.try_append(&draft, &mut |_| {}) {
            Ok(ticket) => break ticket.wait_durable().unwrap(),
            Err(_) => std::thread::yield_now(),
        }
    }
}

#[test]
fn r12_a_segment_whose_preparation_failed_is_never_used() {
    let (log, disk) = small(8192);
    disk.fail_prepare(Some(rename_failed));
    let error = loop {
        if let Err(error) = try_to_append(&log, &[1; 1001]) {
            break error;
        }
    };
    assert!(matches!(error, CommitError::NotPrepared(_)), "{error}");
    // The sink panics at a write beyond the segments which are ready.
    log.sync().unwrap();
    assert!(!log.is_poisoned());
    disk.fail_prepare(None);
    append(&log, &[1; 1001]).wait_durable().unwrap();
    assert_eq!(disk.prepared()[0], (4096 + 2 * 8192, 8192), "prepared again from scratch");
}

#[test]
fn r12_segments_are_padded_to_their_exact_capacity() {
    let (log, disk) = small(8192);
    for _ in 0..30 {
        append(&log, &[1; 1001]).wait_durable().unwrap();
    }
    let records = disk.records();
    let paddings: Vec<_> =
        records.iter().filter(|found| found.kind == RecordKind::PADDING).collect();
    assert!(paddings.len() >= 3);
    assert!(paddings.iter().all(|found| (found.end - 4096).is_multiple_of(8192)));
    assert_eq!(log.stats().paddings, paddings.len() as u64);
}

#[test]
fn r13_a_clean_close_pads_to_a_block_whatever_the_end_was() {
    for bytes in (0..4096 - 24).step_by(8) {
        let (log, disk) = small(16384);
        append(&log, &vec![1; bytes]).wait_written().unwrap();
        let end = log.close().unwrap();
        assert!(end.get().is_multiple_of(4096), "{bytes} bytes end at {end}");
        assert_eq!((disk.written(), disk.synced()), (end.get(), end.get()));
        // Valid records only, and never too little space left: checked by the reader.
        disk.records();
    }
}

#[test]
fn r13_direct_flushes_are_whole_blocks_whatever_the_record_was() {
    for block in [512, 4096] {
        for bytes in (0..600).step_by(8) {
            let (log, disk) = direct(65536, block);
            let first = append(&log, &vec![1; bytes]);
            first.wait_durable().unwrap();
            append(&log, b"next").wait_durable().unwrap();
            assert_eq!(disk.bodies().len(), 2, "the sink checks the blocks");
            assert!(log.positions().durable.get().is_multiple_of(block as u64));
        }
    }
}

#[test]
fn r13_direct_flushes_share_blocks_with_many_records_and_cross_segments() {
    let (log, disk) = direct(8192, 512);
    for index in 0..200_usize {
        let ticket = append(&log, &vec![1; index * 7 % 900]);
        if index % 3 == 0 {
            ticket.wait_durable().unwrap();
        }
    }
    log.close().unwrap();
    assert_eq!(disk.bodies().len(), 200);
    assert!(log.stats().rotations > 5);
}

#[test]
fn r13_a_direct_log_inside_a_block_is_not_started() {
    let disk = Arc::new(Disk::direct(65536, 4096));
    let mut at = disk.start();
    at.end = lsn(4096 + 24);
    at.durable = at.end;
    let (sink, preparer) = (Box::new(Sink(disk.clone())), Arc::new(Prepare(disk.clone())));
    let error = GroupCommit::start(CommitConfig::default(), at, vec![sink], preparer).unwrap_err();
    assert!(matches!(error, CommitError::Invalid { .. }));
    assert!(error.to_string().contains("close it cleanly"), "{error}");
    assert_eq!(disk.calls(), (0, 0));
}

/// Counts what is alive of a log, so that a test can see when it is let go.
#[derive(Debug)]
struct Kept<T>(T, Arc<Mutex<Vec<&'static str>>>, &'static str);

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.2);
    }
}

impl LogSink for Kept<Sink> {
    fn write(&mut self, at: Lsn, bufs: &[std::io::IoSlice<'_>]) -> Result<(), IoError> {
        self.0.write(at, bufs)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        self.0.sync()
    }

    fn block_bytes(&self) -> usize {
        self.0.block_bytes()
    }

    fn can_promise(&self) -> bool {
        self.0.can_promise()
    }
}

impl Preparer for Kept<Prepare> {
    fn prepare(&self, base: Lsn, capacity_bytes: u64) -> Result<Lsn, IoError> {
        self.0.prepare(base, capacity_bytes)
    }

    fn segment_bytes(&self) -> u64 {
        self.0.segment_bytes()
    }
}

type Gone = Arc<Mutex<Vec<&'static str>>>;

/// Waits until so many of a log are gone: its helper lets go of its share when it comes to run.
fn wait_gone(gone: &Gone, count: usize) {
    let began = Instant::now();
    while gone.lock().unwrap().len() < count {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?} of {count}", gone.lock().unwrap());
        std::thread::yield_now();
    }
}

fn kept(disk: Disk, threads: Threads) -> (GroupCommit, Arc<Disk>, Gone) {
    let (disk, gone) = (Arc::new(disk), Gone::default());
    let sink = Box::new(Kept(Sink(disk.clone()), gone.clone(), "sink"));
    let preparer = Arc::new(Kept(Prepare(disk.clone()), gone.clone(), "preparer"));
    let mut config = CommitConfig::default();
    config.threads = threads;
    (GroupCommit::start(config, disk.start(), vec![sink], preparer).unwrap(), disk, gone)
}

#[test]
fn r15_the_sink_goes_only_after_the_sync_in_flight_has_returned() {
    let (log, disk, gone) = kept(Disk::new(1 << 20), Threads::None);
    let (in_sync, go) = stop_in_syncs(&disk);
    let ticket = append(&log, b"in flight");
    let late = append(&log, b"late");
    let leader = std::thread::spawn(move || ticket.wait_durable());
    in_sync.pass();
    log.poison(wal_commit::PoisonCause::requested("test"));
    // Dropping does not block on the sync, which cannot return yet.
    drop(log);
    assert_eq!(*gone.lock().unwrap(), ["preparer"], "the sink is in use");
    go.open();
    assert!(leader.join().unwrap().is_err(), "poisoned meanwhile");
    assert_eq!(*gone.lock().unwrap(), ["preparer", "sink"]);
    assert!(late.wait_durable().is_err());
}

#[test]
fn r15_the_preparer_goes_only_after_the_preparation_in_flight_has_returned() {
    let (log, disk, gone) = kept(Disk::new(8192), Threads::Helper);
    let (began, go) = (Gate::new(), Gate::new());
    let (entered, wait) = (began.clone(), go.clone());
    disk.on_prepare(move |_| {
        entered.open();
        wait.pass();
    });
    for _ in 0..8 {
        append(&log, &[1; 1001]).wait_durable().unwrap();
    }
    began.pass();
    drop(log);
    wait_gone(&gone, 1);
    assert_eq!(*gone.lock().unwrap(), ["sink"], "the helper is still preparing");
    go.open();
    wait_gone(&gone, 2);
    assert_eq!(*gone.lock().unwrap(), ["sink", "preparer"]);
}

#[test]
fn r15_dropping_never_syncs_and_tells_those_who_wait() {
    for threads in [Threads::None, Threads::Helper] {
        let (log, disk, gone) = kept(Disk::new(1 << 20), threads);
        let ticket = append(&log, b"never waited for");
        drop(log);
        assert_eq!(disk.calls(), (0, 0));
        let error = ticket.wait_durable().unwrap_err();
        assert!(matches!(error, CommitError::Abandoned), "{error}");
        assert_eq!(error.fate(), Fate::Unknown);
        wait_gone(&gone, 2);
    }
}

#[test]
fn r18_a_batch_beyond_the_limit_is_refused_with_the_limit() {
    let (log, disk) = inline();
    let max = log.batch_bytes_max();
    let body = vec![1; max as usize / 2];
    let parts: [&[u8]; 1] = [&body];
    let draft = RecordDraft::new(RecordKind::DATA, &parts);
    let error = log.append_batch(&[draft, draft], &mut |_, _| panic!("refused")).unwrap_err();
    let CommitError::BatchTooLong { bytes, max: told } = error else {
        panic!("{error}");
    };
    assert_eq!((bytes, told), (2 * (max / 2 + 24).next_multiple_of(8), max));
    assert_eq!(error.fate(), Fate::NotCommitted);
    assert_eq!(log.positions().reserved, lsn(4096));
    log.sync().unwrap();
    assert_eq!(disk.calls(), (0, 0), "nothing is there to sync");
}

#[test]
fn r18_a_batch_is_at_most_half_a_segment() {
    let (log, _disk) = small(8192);
    assert_eq!(log.batch_bytes_max(), 4096);
}

#[test]
fn r18_a_body_longer_than_a_record_is_refused() {
    let (log, _disk) = inline();
    // One part many times: more than a record may hold, and hardly any memory.
    let piece = vec![0; 1 << 20];
    let parts = vec![&piece[..]; 1025];
    let draft = RecordDraft::new(RecordKind::DATA, &parts);
    let error = log.append(&draft, &mut |_| panic!("refused")).unwrap_err();
    assert!(matches!(error, CommitError::TooLong { max, .. } if max == 1 << 30), "{error}");
    assert_eq!(error.fate(), Fate::NotCommitted);
}

#[test]
fn r18_a_batch_across_a_boundary_is_flushed_as_one() {
    for first in (0..4000_usize).step_by(104) {
        let (log, disk) = small(8192);
        append(&log, &vec![1; 4000]).wait_durable().unwrap();
        append(&log, &vec![1; first]).wait_durable().unwrap();
        let before = disk.calls().0;
        let bodies: Vec<_> = (0..6_u8).map(|index| vec![index; 500]).collect();
        let parts: Vec<[&[u8]; 1]> = bodies.iter().map(|body| [&body[..]]).collect();
        let drafts: Vec<_> =
            parts.iter().map(|parts| RecordDraft::new(RecordKind::DATA, parts)).collect();
        let ticket = log.append_batch(&drafts, &mut |_, _| {}).unwrap();
        ticket.wait_durable().unwrap();
        assert_eq!(disk.calls().0, before + 1, "one write holds all of it");
        let records = disk.records();
        let members: Vec<_> = records
            .iter()
            .filter(|found| found.lsn >= ticket.lsn().get() && found.kind == RecordKind::DATA)
            .collect();
        assert_eq!(members.len(), 6);
        let continues = |found: &common::Found| found.flags.contains(RecordFlags::BATCH_CONTINUES);
        assert!(members[..5].iter().all(|found| continues(found)) && !continues(members[5]));
        assert_eq!(members[5].end, ticket.end().get());
    }
}

#[test]
fn r18_an_oversized_record_goes_into_the_active_segment_if_it_fits() {
    for log_and_disk in [inline(), threaded()] {
        let (log, disk) = log_and_disk;
        let body: Vec<u8> = (0..200_003_u32).map(|index| index as u8).collect();
        append(&log, b"before").wait(Durability::Ordered).unwrap();
        let mut hooked = None;
        let parts = [&body[..7], &body[7..]];
        let draft = RecordDraft::new(RecordKind::DATA, &parts);
        let ticket = log.append(&draft, &mut |lsn| hooked = Some(lsn)).unwrap();
        assert_eq!(hooked, Some(ticket.lsn()));
        append(&log, b"after").wait_durable().unwrap();
        assert!(ticket.is_durable());
        assert_eq!(disk.bodies(), [b"before".to_vec(), body, b"after".to_vec()]);
        assert_eq!(log.stats().oversized, 1);
    }
}

#[test]
fn r18_an_oversized_record_gets_a_segment_made_to_measure() {
    let (log, disk) = small(8192);
    append(&log, b"before").wait_durable().unwrap();
    let body = vec![9; 20_000];
    let ticket = append(&log, &body);
    // It replaced the empty successor, and was padded to the end like the one before it.
    assert_eq!(disk.prepared()[0], (4096 + 8192, 20_480));
    assert_eq!(ticket.lsn(), lsn(4096 + 8192));
    assert_eq!(log.positions().reserved, lsn(4096 + 8192 + 20_480));
    append(&log, b"after").wait_durable().unwrap();
    assert_eq!(disk.bodies(), [b"before".to_vec(), body, b"after".to_vec()]);
}

#[test]
fn r18_oversized_records_of_every_size_leave_a_sound_log() {
    for block in [1, 512, 4096] {
        for bytes in (8_192..8_192 + 4_200).step_by(248) {
            let (log, disk) = direct(16384, block);
            append(&log, b"before").wait(Durability::Ordered).unwrap();
            let body = vec![3; bytes];
            append(&log, &body).wait_written().unwrap();
            append(&log, &body).wait_written().unwrap();
            append(&log, b"after").wait_durable().unwrap();
            let sizes: Vec<_> = disk.bodies().iter().map(Vec::len).collect();
            assert_eq!(sizes, [6, bytes, bytes, 5]);
            log.close().unwrap();
        }
    }
}

#[test]
fn r18_an_oversized_record_without_space_leaves_the_log_as_it_was() {
    let (log, disk) = small(8192);
    append(&log, b"before").wait_durable().unwrap();
    let before = log.positions().reserved;
    for how in [no_space as fn() -> IoError, rename_failed] {
        disk.fail_prepare(Some(how));
        let error = try_to_append(&log, &[9; 20_000]).unwrap_err();
        assert_eq!(error.fate(), Fate::NotCommitted, "{error}");
        assert_eq!(log.positions().reserved, before);
    }
    disk.fail_prepare(None);
    append(&log, &[9; 20_000]).wait_durable().unwrap();
    append(&log, b"after").wait_durable().unwrap();
    assert_eq!(disk.bodies().len(), 3);
}

#[test]
fn r18_no_space_for_an_oversized_record_keeps_the_successor_that_was_ready() {
    let (log, disk) = small(8192);
    disk.fail_prepare(Some(no_space));
    try_to_append(&log, &[9; 20_000]).unwrap_err();
    for _ in 0..12 {
        append(&log, &[1; 1001]).wait_durable().unwrap();
    }
    assert_eq!(log.stats().rotations, 1, "it went on in the old successor");
}

#[test]
fn r18_oversized_records_from_many_threads_do_not_deadlock() {
    let (log, disk) = start(Disk::new(65536), |_| {});
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let log = log.clone();
            scope.spawn(move || {
                for round in 0..20 {
                    let bytes = if round % 4 == 0 { 90_000 } else { 300 };
                    append(&log, &vec![thread; bytes]).wait_durable().unwrap();
                }
            });
        }
    });
    log.close().unwrap();
    assert_eq!(disk.bodies().len(), 80);
}
