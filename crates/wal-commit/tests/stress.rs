//! Many threads, small buffers, small segments: the bytes are a log, and a promise is kept.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{Disk, append, start};
use wal_commit::{GroupCommit, SyncPolicy};
use wal_format::{RecordDraft, RecordKind};

const THREADS: u8 = 6;
const ROUNDS: u32 = 400;

/// A little pseudo-random sequence of its own: the same in every run.
fn next(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}

/// One committer: records and batches of many sizes, waited for at many levels.
fn work(log: &GroupCommit, disk: &Disk, thread: u8) -> u64 {
    let mut random = 0x9e37_79b9 ^ u32::from(thread);
    let mut appended = 0;
    for round in 0..ROUNDS {
        let bytes = next(&mut random) as usize % 700;
        let body = [&[thread], &round.to_le_bytes()[..], &vec![thread; bytes]].concat();
        let ticket = if round % 5 == 0 {
            let parts: [&[u8]; 1] = [&body];
            let draft = RecordDraft::new(RecordKind::DATA, &parts);
            appended += 3;
            log.append_batch(&[draft, draft, draft], &mut |_, _| {}).unwrap()
        } else if round % 5 == 1 {
            appended += 3;
            log.append_batch_unhooked(&[(RecordKind::DATA, body.as_slice()); 3]).unwrap()
        } else {
            appended += 1;
            append(log, &body)
        };
        match next(&mut random) % 4 {
            0 => {}
            1 => {
                ticket.wait_written().unwrap();
                assert!(disk.written() >= ticket.end().get(), "written before it was");
            }
            _ => {
                ticket.wait_durable().unwrap();
                assert!(disk.synced() >= ticket.end().get(), "promised before it was synced");
            }
        }
        let positions = log.positions();
        assert!(positions.durable <= positions.written && positions.written <= positions.reserved);
    }
    appended
}

fn run(block_bytes: usize, policy: SyncPolicy) {
    let disk = Disk::direct(16384, block_bytes);
    let (log, disk) = start(disk, |config| {
        config.buffer_bytes = 8192 + 4 * block_bytes;
        config.policy = policy;
    });
    // A sync that takes a while lets others come in between.
    disk.on_sync(|_| (0..10).for_each(|_| std::thread::yield_now()));
    let appended: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (log, disk) = (log.clone(), Arc::clone(&disk));
                scope.spawn(move || work(&log, &disk, thread))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    let end = log.close().unwrap();
    assert_eq!(disk.synced(), end.get());
    let bodies = disk.bodies();
    assert_eq!(bodies.len() as u64, appended);
    for thread in 0..THREADS {
        let rounds = bodies
            .iter()
            .filter(|body| body[0] == thread)
            .map(|body| u32::from_le_bytes(body[1..5].try_into().unwrap()));
        assert!(rounds.is_sorted(), "the records of one thread stay in its order");
    }
    assert_eq!(log.stats().records, appended);
}

#[test]
fn buffered_bytes_are_a_log_and_no_promise_comes_before_its_sync() {
    run(1, SyncPolicy::EveryCommit);
}

#[test]
fn gathered_bytes_are_a_log_and_no_promise_comes_before_its_sync() {
    run(1, SyncPolicy::Group);
}

#[test]
fn direct_bytes_are_a_log_and_no_promise_comes_before_its_sync() {
    run(512, SyncPolicy::Group);
}
