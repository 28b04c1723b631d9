//! Every call that waits, as a future: on an executor made by hand, which never syncs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::executor::{Watched, block_on, poll_once};
use common::{open, reopen, small};
use wal::{Durability, ErrorKind, Lsn, MemoryStorage, Options, Storage, SyncPolicy, Threads, Wal};

fn helped() -> Options {
    small().threads(Threads::Helper).idle_after(None)
}

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

#[test]
fn no_future_syncs_in_the_thread_of_its_executor() {
    let (storage, syncs_here) = Watched::here();
    let wal = open(&storage, helped()).unwrap().0;
    let before = syncs_here.load(Ordering::SeqCst);
    block_on(async {
        let lsn = wal.append_async(b"one").await.unwrap().await.unwrap();
        let ticket = wal.append_async(b"two").await.unwrap();
        ticket.reach(Durability::Durable).await.unwrap();
        let oversized = vec![3; 100 << 10];
        wal.append_async(&oversized).await.unwrap().await.unwrap();
        drop(wal.append_batch_async(&[b"four", b"five"]).await.unwrap());
        let end = wal.sync_async().await.unwrap();
        assert!(wal.positions().durable >= end);

        let mut transaction = wal.begin();
        transaction.log_async(b"six").await.unwrap();
        let committed = transaction.commit_async().await.unwrap();
        assert!(wal.wait_beyond_async(committed.lsn).await.unwrap() > committed.lsn);

        let mut tail = wal.tail(lsn).unwrap();
        assert_eq!(tail.next_async().await.unwrap().unwrap().body, b"one");

        let checkpoint = wal.checkpoint_begin_async().await.unwrap();
        let pointer = checkpoint.complete_async(b"snapshot".to_vec()).await.unwrap();
        wal.truncate_before_async(pointer.begin).await.unwrap();
        wal.close_async().await.unwrap();
    });
    assert_eq!(syncs_here.load(Ordering::SeqCst) - before, 0);
    let view = wal::LogView::open_in(storage).unwrap();
    assert!(view.is_clean());
}

#[test]
fn without_threads_every_future_is_ready_at_once() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    let ticket = poll_once(pin!(wal.append_async(b"one"))).unwrap().unwrap();
    poll_once(pin!(ticket)).unwrap().unwrap();
    poll_once(pin!(wal.sync_async())).unwrap().unwrap();
    let mut transaction = wal.begin();
    poll_once(pin!(transaction.log_async(b"two"))).unwrap().unwrap();
    poll_once(pin!(transaction.commit_async())).unwrap().unwrap();
    poll_once(pin!(wal.close_async())).unwrap().unwrap();
    drop(wal);
    assert_eq!(reopen(&storage).1, [b"one", b"two"]);
}

#[test]
fn a_thousand_tasks_append_through_a_small_buffer_and_each_record_is_there_once() {
    let storage = memory();
    let wal = open(&storage, helped()).unwrap().0;
    let mut tasks: Vec<_> = (0..1000_u32)
        .map(|number| {
            let wal = wal.clone();
            Some(Box::pin(async move {
                let mut body = number.to_le_bytes().to_vec();
                body.resize(500, 7);
                wal.append_async(&body).await.unwrap().await.unwrap()
            }))
        })
        .collect();
    // All are polled, over and over, as a busy executor would: no waker is needed for progress.
    let mut left = tasks.len();
    while left > 0 {
        for task in &mut tasks {
            if task.as_mut().is_some_and(|task| poll_once(task.as_mut()).is_some()) {
                *task = None;
                left -= 1;
            }
        }
        std::thread::yield_now();
    }
    wal.close().unwrap();
    drop(wal);
    let found = reopen(&storage).1;
    let numbers: BTreeSet<[u8; 4]> =
        found.iter().map(|body| body[..4].try_into().unwrap()).collect();
    assert_eq!((found.len(), numbers.len()), (1000, 1000));
}

#[test]
fn a_dropped_append_leaves_its_record_once_or_not_at_all_and_no_other_is_lost() {
    let storage = memory();
    let wal = open(&storage, helped()).unwrap().0;
    let (mut kept, mut dropped_ready) = (Vec::new(), Vec::new());
    for number in 0..600_u32 {
        let mut body = number.to_le_bytes().to_vec();
        body.resize(400, 1);
        if number % 3 == 0 {
            let ticket = block_on(wal.append_async(&body)).unwrap();
            kept.push((number, ticket));
        } else {
            let mut future = Box::pin(wal.append_async(&body));
            for _ in 0..number % 4 {
                if let Some(ticket) = poll_once(future.as_mut()) {
                    drop(ticket.unwrap());
                    dropped_ready.push(number);
                    break;
                }
            }
        }
    }
    let mut expected: BTreeSet<u32> = dropped_ready.into_iter().collect();
    for (number, ticket) in kept {
        block_on(ticket).unwrap();
        expected.insert(number);
    }
    wal.close().unwrap();
    drop(wal);
    let found: Vec<u32> = reopen(&storage)
        .1
        .iter()
        .map(|body| u32::from_le_bytes(body[..4].try_into().unwrap()))
        .collect();
    assert!(found.is_sorted_by(|a, b| a < b), "in order, and none twice");
    assert_eq!(found.into_iter().collect::<BTreeSet<u32>>(), expected);
}

#[test]
fn a_commit_dropped_at_any_poll_is_whole_or_not_there() {
    for polls in 0..4 {
        let storage = memory();
        let wal = open(&storage, helped()).unwrap().0;
        let mut transaction = wal.begin();
        transaction.log(b"a").unwrap();
        transaction.log(b"b").unwrap();
        {
            let mut commit = Box::pin(transaction.commit_async());
            for _ in 0..polls {
                if poll_once(commit.as_mut()).is_some() {
                    break;
                }
            }
        }
        assert_eq!(wal.stats().active_transactions, 0, "neither outcome leaves it running");
        wal.close().unwrap();
        drop(wal);
        let found = reopen(&storage).1;
        // One poll fixes the place of the commit record, for there is room.
        let whole: &[&[u8]] = if polls == 0 { &[] } else { &[b"a", b"b"] };
        assert_eq!(found, whole, "{polls} polls");
    }
}

#[test]
fn a_tail_waits_as_a_future_for_what_a_writer_appends_later() {
    let storage = memory();
    let wal = open(&storage, helped()).unwrap().0;
    let first = wal.append(b"first").unwrap();
    first.wait_durable().unwrap();
    let mut tail = wal.tail(first.end()).unwrap();
    {
        let mut next = pin!(tail.next_async());
        assert!(poll_once(next.as_mut()).is_none(), "nothing yet");
    }
    let writer = {
        let wal = wal.clone();
        std::thread::spawn(move || {
            for number in 0..200_u32 {
                wal.append(&number.to_le_bytes()).unwrap().wait_durable().unwrap();
            }
            wal.close().unwrap();
        })
    };
    let mut found = Vec::new();
    block_on(async {
        while let Some(record) = tail.next_async().await.unwrap() {
            found.push(u32::from_le_bytes(record.body.try_into().unwrap()));
        }
    });
    writer.join().unwrap();
    assert_eq!(found, (0..200).collect::<Vec<u32>>());
}

#[test]
fn a_close_that_nobody_waits_for_any_more_is_done_all_the_same() {
    let storage = memory();
    let wal = open(&storage, helped()).unwrap().0;
    drop(wal.append(b"kept").unwrap());
    {
        let mut close = pin!(wal.close_async());
        let _ = poll_once(close.as_mut());
    }
    // It is closed now or in a moment; a second close says so, or does it.
    let _ = wal.close();
    let mut waited = wal.tail(Lsn::FIRST).unwrap();
    while waited.next().unwrap().is_some() {}
    drop((wal, waited));
    let again = open(&storage, small().lock_wait(std::time::Duration::from_secs(10))).unwrap();
    assert_eq!(again.1, [b"kept"]);
}

#[test]
fn futures_of_a_closed_log_say_so() {
    let storage = memory();
    let wal = open(&storage, helped()).unwrap().0;
    wal.close().unwrap();
    let kind = |error: wal::Error| error.kind();
    assert_eq!(block_on(wal.append_async(b"x")).map_err(kind).unwrap_err(), ErrorKind::Closed);
    assert_eq!(block_on(wal.close_async()).map_err(kind).unwrap_err(), ErrorKind::Closed);
    let end = wal.positions().reserved;
    assert_eq!(block_on(wal.wait_beyond_async(end)).map_err(kind).unwrap_err(), ErrorKind::Closed);
}

#[test]
fn what_is_to_be_synced_by_records_becomes_durable_without_a_wait() {
    let storage = memory();
    let options = helped().sync_policy(SyncPolicy::Never).sync_after_records(Some(10));
    let wal: Wal = open(&storage, options).unwrap().0;
    // The record of the opening counts too: the tenth append may be the first of the next ten.
    let tickets: Vec<_> = (0..20).map(|_| wal.append(b"x").unwrap()).collect();
    wal.wait_beyond(tickets[9].lsn(), None).unwrap();
    let none = open(&memory(), small().sync_after_bytes(Some(1))).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Refused, "nobody would sync");
}
