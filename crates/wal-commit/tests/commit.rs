//! Appends, levels, policies, groups and tickets, on a disk in memory.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Disk, Gate, append, inline, lsn, start, threaded};
use wal_commit::{CommitError, Durability, Fate, SyncPolicy, Threads};
use wal_format::{Lsn, RecordDraft, RecordFlags, RecordKind, TxnId, TxnLink};

#[test]
fn a_lone_committer_needs_one_write_and_one_sync() {
    for (log, disk) in [inline(), threaded()] {
        for round in 1..=3 {
            let ticket = append(&log, b"alone");
            ticket.wait_durable().unwrap();
            assert!(ticket.is_durable());
            assert_eq!(disk.calls(), (round, round));
        }
        assert_eq!(log.stats().waits_led, 3);
        assert_eq!(log.stats().waits_followed, 0);
    }
}

#[test]
fn a_lone_committer_needs_no_more_when_the_policy_gathers() {
    let (log, disk) = start(Disk::new(1 << 20), |config| config.policy = SyncPolicy::Group);
    for _ in 0..5 {
        append(&log, b"alone").wait_durable().unwrap();
    }
    assert_eq!(disk.calls(), (5, 5));
}

#[test]
fn a_record_is_on_the_disk_as_it_was_given() {
    let (log, disk) = inline();
    let link = TxnLink { txn_id: TxnId::new(3), prev_lsn: Lsn::NONE };
    let parts: [&[u8]; 3] = [b"a", b"", b"bcd"];
    let draft = RecordDraft::new(RecordKind::UPDATE, &parts).in_txn(link);
    let ticket = log.append(&draft, &mut |_| {}).unwrap();
    ticket.wait_written().unwrap();
    let found = &disk.records()[0];
    assert_eq!((found.lsn, found.end), (ticket.lsn().get(), ticket.end().get()));
    assert_eq!((found.kind, &found.body[..]), (RecordKind::UPDATE, &b"abcd"[..]));
    assert!(found.flags.contains(RecordFlags::IN_TXN));
}

#[test]
fn an_empty_body_is_a_record() {
    let (log, disk) = inline();
    let ticket = append(&log, b"");
    ticket.wait_durable().unwrap();
    assert_eq!(ticket.end().get() - ticket.lsn().get(), 24);
    assert_eq!(disk.bodies(), [b""]);
}

#[test]
fn each_level_does_what_it_needs_and_no_more() {
    let (log, disk) = inline();
    let ticket = append(&log, b"x");
    ticket.wait(Durability::Ordered).unwrap();
    assert_eq!(disk.calls(), (0, 0));
    ticket.wait(Durability::Written).unwrap();
    assert_eq!(disk.calls(), (1, 0));
    assert!(!ticket.is_durable());
    ticket.wait(Durability::Durable).unwrap();
    assert_eq!(disk.calls(), (1, 1), "what is written needs only a sync");
    ticket.wait(Durability::Durable).unwrap();
    assert_eq!(disk.calls(), (1, 1), "what is durable needs nothing");
}

#[test]
fn positions_move_in_order() {
    let (log, _disk) = inline();
    let end = append(&log, b"x").end();
    assert_eq!((log.positions().reserved, log.positions().written), (end, lsn(4096)));
    assert_eq!(log.flush().unwrap(), end);
    assert_eq!((log.positions().written, log.positions().durable), (end, lsn(4096)));
    assert_eq!(log.sync().unwrap(), end);
    assert_eq!(log.positions().durable, end);
}

#[test]
fn records_say_what_was_durable_when_they_were_made() {
    let (log, disk) = inline();
    let first = append(&log, b"1");
    append(&log, b"2").wait_durable().unwrap();
    let third = append(&log, b"3");
    log.flush().unwrap();
    let records = disk.records();
    assert_eq!(records[0].durable, first.lsn().get());
    assert_eq!(records[1].durable, first.lsn().get());
    assert_eq!(records[2].durable, third.lsn().get());
}

#[test]
fn a_position_beyond_the_end_is_refused() {
    let (log, _disk) = inline();
    for level in [Durability::Ordered, Durability::Written, Durability::Durable] {
        let error = log.wait(lsn(8192), level, None).unwrap_err();
        assert!(matches!(error, CommitError::BeyondEnd { .. }), "{error}");
    }
}

#[test]
fn a_timeout_of_zero_only_looks() {
    for (log, disk) in [inline(), threaded()] {
        let ticket = append(&log, b"x");
        let error = ticket.wait_durable_timeout(Duration::ZERO).unwrap_err();
        assert!(matches!(error, CommitError::TimedOut));
        assert_eq!(error.fate(), Fate::Unknown);
        assert_eq!(disk.calls(), (0, 0));
        ticket.wait_durable().unwrap();
        ticket.wait_durable_timeout(Duration::ZERO).unwrap();
    }
}

#[test]
fn a_wait_with_a_timeout_is_served_by_the_helper() {
    let (log, disk) = threaded();
    // Far longer than any test may take: it ends because the helper syncs.
    append(&log, b"x").wait_durable_timeout(Duration::from_secs(3600)).unwrap();
    assert_eq!(disk.calls(), (1, 1));
    assert_eq!(log.stats().waits_led, 1, "the helper led");
}

#[test]
fn a_wait_that_times_out_leaves_the_record_in_the_log() {
    let (log, disk) = threaded();
    let gate = Gate::new();
    let inside = gate.clone();
    disk.on_sync(move |_| inside.pass());
    let ticket = append(&log, b"slow");
    let error = ticket.wait_durable_timeout(Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, CommitError::TimedOut), "the sync cannot end before the gate opens");
    gate.open();
    ticket.wait_durable().unwrap();
    assert_eq!(disk.bodies(), [b"slow"]);
}

#[test]
fn hooks_see_addresses_in_order_from_all_threads() {
    let (log, disk) = threaded();
    let seen = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let draft = RecordDraft::new(RecordKind::DATA, &[b"hook"]);
                    // Only the lock of the log keeps these pushes in order.
                    let ticket =
                        log.append(&draft, &mut |lsn| seen.lock().unwrap().push(lsn)).unwrap();
                    ticket.wait_written().unwrap();
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted(), "addresses ascend");
    let on_disk: Vec<_> = disk.records().iter().map(|found| lsn(found.lsn)).collect();
    assert_eq!(seen, on_disk);
}

#[test]
fn three_hundred_committers_need_two_syncs() {
    // No more: a container may have a limit of a thousand threads.
    const COMMITTERS: u64 = 300;
    let (log, disk) = threaded();
    let appended = Arc::new(AtomicU64::new(0));
    let counter = appended.clone();
    disk.on_sync(move |_| {
        while counter.load(Ordering::SeqCst) < COMMITTERS {
            std::thread::yield_now();
        }
    });
    let workers: Vec<_> = (0..COMMITTERS)
        .map(|index| {
            let (log, appended) = (log.clone(), appended.clone());
            let body = move || {
                let ticket = append(&log, &index.to_le_bytes());
                appended.fetch_add(1, Ordering::SeqCst);
                ticket.wait_durable().unwrap();
            };
            std::thread::Builder::new().stack_size(128 << 10).spawn(body).unwrap()
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    // The first takes what was there; the second takes all the others.
    assert!(disk.calls().1 <= 2, "{} syncs", disk.calls().1);
    assert_eq!(disk.bodies().len() as u64, COMMITTERS);
}

#[test]
fn followers_whose_records_came_later_are_led_by_one_of_them() {
    let (log, disk) = threaded();
    let (in_sync, go) = (Gate::new(), Gate::new());
    let (entered, wait) = (in_sync.clone(), go.clone());
    disk.on_sync(move |number| {
        if number == 1 {
            entered.open();
            wait.pass();
        }
    });
    std::thread::scope(|scope| {
        scope.spawn(|| append(&log, b"leader").wait_durable().unwrap());
        in_sync.pass();
        // These come while the first sync runs; nothing else will ever wake them.
        let late: Vec<_> = (0..3).map(|_| append(&log, b"late")).collect();
        let wait = |ticket: wal_commit::Ticket| scope.spawn(move || ticket.wait_durable().unwrap());
        let waiters: Vec<_> = late.into_iter().map(wait).collect();
        go.open();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
    assert_eq!(disk.calls(), (2, 2));
}

#[test]
fn a_batch_is_one_reservation_with_flags() {
    let (log, disk) = inline();
    let bodies: [&[u8]; 3] = [b"one", b"two", b"three"];
    let parts: Vec<[&[u8]; 1]> = bodies.iter().map(|body| [*body]).collect();
    let drafts: Vec<_> =
        parts.iter().map(|parts| RecordDraft::new(RecordKind::DATA, parts)).collect();
    let mut hooked = Vec::new();
    let ticket = log.append_batch(&drafts, &mut |index, lsn| hooked.push((index, lsn))).unwrap();
    ticket.wait_durable().unwrap();
    let records = disk.records();
    let (first, rest) = (RecordFlags::BATCH_CONTINUES, RecordFlags::BATCH_FOLLOWS);
    let flags: Vec<_> = records.iter().map(|found| found.flags).collect();
    assert_eq!(flags, [first, first.with(rest), rest]);
    let seen: Vec<_> =
        records.iter().enumerate().map(|(index, found)| (index, lsn(found.lsn))).collect();
    assert_eq!(hooked, seen);
    assert_eq!((ticket.lsn(), ticket.end()), (lsn(records[0].lsn), lsn(records[2].end)));
    assert_eq!(log.stats().batches, 1);
}

#[test]
fn a_batch_of_one_is_a_plain_record_and_an_empty_one_is_refused() {
    let (log, disk) = inline();
    let draft = RecordDraft::new(RecordKind::DATA, &[b"one"]);
    log.append_batch(&[draft], &mut |_, _| {}).unwrap().wait_durable().unwrap();
    assert_eq!(disk.records()[0].flags, RecordFlags::NONE);
    let error = log.append_batch(&[], &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, CommitError::Empty));
    assert_eq!(error.fate(), Fate::NotCommitted);
}

#[test]
fn a_full_buffer_pushes_back_and_loses_nothing() {
    let (log, disk) = inline();
    // Nobody waits for anything: the appends themselves have to make room.
    for index in 0..1000_u32 {
        drop(append(&log, &[index as u8; 500]));
    }
    assert!(log.stats().room_waits > 0);
    assert_eq!(disk.calls().1, 0, "room needs a write, not a sync");
    log.sync().unwrap();
    assert_eq!(disk.bodies().len(), 1000);
}

#[test]
fn an_append_without_room_waits_for_the_flush_that_runs() {
    let (log, disk) = threaded();
    let (in_write, go) = (Gate::new(), Gate::new());
    let (entered, wait) = (in_write.clone(), go.clone());
    disk.on_write(move |number| {
        if number == 1 {
            entered.open();
            wait.pass();
        }
    });
    let half = vec![1; (log.batch_bytes_max() - 24) as usize];
    std::thread::scope(|scope| {
        let first = append(&log, &half);
        scope.spawn(move || first.wait_written().unwrap());
        in_write.pass();
        drop(append(&log, &half));
        let blocked = scope.spawn(|| append(&log, &half).wait_durable().unwrap());
        // It can only go on when the write that runs has ended.
        go.open();
        blocked.join().unwrap();
    });
    assert_eq!(disk.bodies().len(), 3);
}

#[test]
fn a_try_refuses_instead_of_waiting_for_room() {
    let (log, disk) = threaded();
    let (in_write, go) = (Gate::new(), Gate::new());
    let (entered, wait) = (in_write.clone(), go.clone());
    disk.on_write(move |number| {
        if number == 1 {
            entered.open();
            wait.pass();
        }
    });
    let body = vec![1; (log.batch_bytes_max() - 24) as usize];
    let parts: [&[u8]; 1] = [&body];
    let draft = RecordDraft::new(RecordKind::DATA, &parts);
    std::thread::scope(|scope| {
        let first = append(&log, &body);
        scope.spawn(move || first.wait_written().unwrap());
        in_write.pass();
        drop(log.try_append(&draft, &mut |_| {}).unwrap());
        let reserved = log.positions().reserved;
        let error = log.try_append(&draft, &mut |_| panic!("nothing is reserved")).unwrap_err();
        assert!(matches!(error, CommitError::WouldBlock));
        assert_eq!(error.fate(), Fate::NotCommitted);
        assert_eq!(log.positions().reserved, reserved);
        go.open();
    });
    // The helper was asked to write, so trying again must succeed in the end.
    let ticket = loop {
        match log.try_append(&draft, &mut |_| {}) {
            Ok(ticket) => break ticket,
            Err(CommitError::WouldBlock) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    ticket.wait_durable().unwrap();
    assert_eq!(disk.bodies().len(), 3);
}

#[test]
fn a_periodic_log_becomes_durable_by_itself() {
    let every = Duration::from_millis(1);
    let (log, disk) =
        start(Disk::new(1 << 20), |config| config.policy = SyncPolicy::Periodic { every });
    let ticket = append(&log, b"later");
    // No deadline: it returns because the helper syncs without being asked.
    log.wait_beyond(ticket.lsn(), None).unwrap();
    assert!(ticket.is_durable());
    assert!(disk.synced() >= ticket.end().get());
}

#[test]
fn a_slow_sync_is_counted() {
    let (log, _disk) = start(Disk::new(1 << 20), |config| config.slow_sync = Some(Duration::ZERO));
    append(&log, b"x").wait_durable().unwrap();
    assert_eq!(log.stats().slow_syncs, 1);
}

#[test]
fn a_tailing_reader_follows_the_durable_end() {
    let (log, _disk) = threaded();
    let error = log.wait_beyond(lsn(4096), Some(Duration::ZERO)).unwrap_err();
    assert!(matches!(error, CommitError::TimedOut));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| log.wait_beyond(lsn(4096), None).unwrap());
        let ticket = append(&log, b"news");
        ticket.wait_durable().unwrap();
        assert_eq!(reader.join().unwrap(), ticket.end());
    });
    let reader = {
        let (log, end) = (log.clone(), log.positions().durable);
        std::thread::spawn(move || log.wait_beyond(end, None))
    };
    let end = log.close().unwrap();
    match reader.join().unwrap() {
        // The last padding is news, if the reader came in time.
        Ok(durable) => assert_eq!(durable, end),
        Err(error) => assert!(matches!(error, CommitError::Closed), "{error}"),
    }
    assert!(matches!(log.wait_beyond(end, None), Err(CommitError::Closed)));
}

#[test]
fn closing_makes_everything_durable_and_refuses_more() {
    for (log, disk) in [inline(), threaded()] {
        let ticket = append(&log, b"last words");
        let end = log.close().unwrap();
        assert!(ticket.is_durable());
        ticket.wait_durable().unwrap();
        assert_eq!((disk.synced(), disk.written()), (end.get(), end.get()));
        let error = common::try_to_append(&log, b"too late").unwrap_err();
        assert!(matches!(error, CommitError::Closed));
        assert_eq!(error.fate(), Fate::NotCommitted);
        assert!(matches!(log.close(), Err(CommitError::Closed)));
    }
}

#[test]
fn appends_which_wait_for_room_are_refused_by_a_close() {
    let (log, disk) = threaded();
    let (in_write, go) = (Gate::new(), Gate::new());
    let (entered, wait) = (in_write.clone(), go.clone());
    disk.on_write(move |number| {
        if number == 1 {
            entered.open();
            wait.pass();
        }
    });
    let body = vec![1; (log.batch_bytes_max() - 24) as usize];
    let accepted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let first = append(&log, &body);
        scope.spawn(move || first.wait_written().unwrap());
        in_write.pass();
        for _ in 0..4 {
            scope.spawn(|| match common::try_to_append(&log, &body) {
                Ok(_) => drop(accepted.fetch_add(1, Ordering::SeqCst)),
                Err(error) => assert!(matches!(error, CommitError::Closed), "{error}"),
            });
        }
        go.open();
        log.close().unwrap();
    });
    let kept = disk.bodies().len() as u64;
    assert_eq!(kept, 1 + accepted.load(Ordering::SeqCst), "accepted means in the log");
}

#[test]
fn the_counters_tell_what_happened() {
    let (log, _disk) = inline();
    for _ in 0..3 {
        append(&log, b"12345678").wait_durable().unwrap();
    }
    drop(append(&log, b""));
    let stats = log.stats();
    assert_eq!((stats.records, stats.record_bytes), (4, 3 * 32 + 24));
    assert_eq!((stats.flushes, stats.syncs, stats.largest_group), (3, 3, 1));
    assert!(stats.sync_time >= stats.sync_time_max);
}

#[test]
fn threads_none_starts_no_thread_and_still_prepares() {
    let (log, disk) = start(Disk::new(8192), |config| config.threads = Threads::None);
    for _ in 0..100 {
        append(&log, &[1; 500]).wait_durable().unwrap();
    }
    assert!(disk.prepared().len() >= 5);
    assert_eq!(disk.bodies().len(), 100);
}
