//! The facade as its users meet it: levels, batches, transactions, checkpoints, truncation, holds,
//! readers, closing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::{body, contents, open, reopen, small};
use wal::{
    CheckpointView, Durability, ErrorKind, HoldLimit, LogView, Lsn, MemoryStorage, Obligation,
    OverLimit, RecordKind, RedoOnly, RedoTarget, ReplayRecord, Storage, SyncMethod, SyncPolicy,
};
use wal_sim::{CrashMode, SimDisk};

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

#[test]
fn each_level_survives_what_the_table_of_promises_says() {
    let levels = [Durability::Ordered, Durability::Written, Durability::Durable];
    for (level, process_death, power_loss) in levels
        .into_iter()
        .zip([false, true, true])
        .zip([false, false, true])
        .map(|((a, b), c)| (a, b, c))
    {
        let disk = SimDisk::new();
        let (wal, _) = reopen(&(Arc::new(disk.clone()) as _));
        wal.append(b"body").unwrap().wait(level).unwrap();
        let found_after = |mode| {
            let storage: Arc<dyn Storage> = Arc::new(disk.crash(mode));
            reopen(&storage).1.len() == 1
        };
        assert_eq!(found_after(CrashMode::KeepAll), process_death, "{level:?}, process death");
        assert_eq!(found_after(CrashMode::LoseAll), power_loss, "{level:?}, power loss");
    }
}

#[test]
fn bodies_of_every_size_come_back_the_empty_one_included() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    // Larger than a batch, a segment and the buffer: the last ones take a segment of their own.
    let sizes = [0, 1, 7, 8, 9, 100, 4096, 5000, 16 << 10, 60 << 10, 65 << 10, 300 << 10];
    let bodies: Vec<Vec<u8>> = sizes.iter().map(|size| vec![(*size % 251) as u8; *size]).collect();
    for body in &bodies {
        wal.append(body).unwrap().wait_durable().unwrap();
    }
    drop(wal);
    assert_eq!(reopen(&storage).1, bodies);
}

#[test]
fn r18_a_batch_larger_than_half_the_buffer_is_refused_and_nothing_changes() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    let before = wal.positions().reserved;
    let error = wal.append_batch(&vec![vec![1_u8; 1000]; 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert_eq!(wal.append_batch::<&[u8]>(&[]).unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(wal.positions().reserved, before);
    wal.append_batch(&vec![vec![1_u8; 100]; 20]).unwrap().wait_durable().unwrap();
    drop(wal);
    assert_eq!(reopen(&storage).1.len(), 20);
}

#[test]
fn transactions_replay_at_their_commit_and_aborted_ones_never() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    let (mut early, mut late, mut lost) = (wal.begin(), wal.begin(), wal.begin());
    early.log(b"early 1").unwrap();
    late.log(b"late 1").unwrap();
    lost.log(b"lost").unwrap();
    early.log(b"early 2").unwrap();
    let dropped = {
        let mut dropped = wal.begin();
        dropped.log(b"dropped").unwrap();
        dropped.id()
    };
    wal.append(b"plain").unwrap().wait_durable().unwrap();
    let committed = late.commit().unwrap();
    early.commit().unwrap();
    lost.abort().unwrap();
    assert_ne!(committed.txn, dropped);
    wal.close().unwrap();
    drop(wal);
    let found = reopen(&storage).1;
    let found: Vec<&str> = found.iter().map(|body| std::str::from_utf8(body).unwrap()).collect();
    assert_eq!(found, ["plain", "late 1", "early 1", "early 2"]);
}

#[derive(Default)]
struct Engine {
    restored: Vec<u8>,
    redone: Vec<Vec<u8>>,
}

impl RedoTarget for Engine {
    type Error = io::Error;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), io::Error> {
        self.restored = checkpoint.payload.to_vec();
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), io::Error> {
        self.redone.push(record.body.to_vec());
        Ok(())
    }
}

fn recover(storage: &Arc<dyn Storage>) -> (wal::Wal, Engine) {
    let mut engine = Engine::default();
    let opener = small().recover_with(RedoOnly::default());
    (opener.open_in(Arc::clone(storage), &mut engine).unwrap(), engine)
}

#[test]
fn r03_a_checkpoint_has_a_beginning() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    wal.append(b"before").unwrap().wait_durable().unwrap();
    let mut spanning = wal.begin();
    spanning.log(b"spanning 1").unwrap();
    let mut done = wal.begin();
    done.log(b"done").unwrap();
    done.commit().unwrap();
    let checkpoint = wal.checkpoint_begin().unwrap();
    wal.append(b"during").unwrap().wait_durable().unwrap();
    spanning.log(b"spanning 2").unwrap();
    let pointer = checkpoint.complete(b"snapshot").unwrap();
    assert!(pointer.redo_from < pointer.begin, "a transaction was active at the begin");
    spanning.commit().unwrap();
    drop(wal);
    let (_wal, engine) = recover(&storage);
    assert_eq!(engine.restored, b"snapshot");
    assert_eq!(engine.redone, [&b"during"[..], b"spanning 1", b"spanning 2"]);
}

#[test]
fn a_checkpoint_given_up_leaves_the_previous_one_in_force() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    wal.checkpoint_begin().unwrap().complete(b"first").unwrap();
    drop(wal.checkpoint_begin().unwrap());
    drop(wal);
    assert_eq!(recover(&storage).1.restored, b"first");
}

/// Appends until the log has this many segments; the address of the first record of each.
fn fill(wal: &wal::Wal, segments: u64) {
    while wal.stats().segments < segments {
        wal.append(&[7; 3000]).unwrap().wait_durable().unwrap();
    }
}

#[test]
fn r05_truncation_respects_fall_back_transactions_and_holds() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    fill(&wal, 4);
    let first = wal.checkpoint_begin().unwrap().complete(b"1").unwrap();
    fill(&wal, 7);
    let mut txn = wal.begin();
    let started = txn.log(b"open").unwrap();
    wal.checkpoint_begin().unwrap().complete(b"2").unwrap();
    let hold = wal.hold("replica", Lsn::FIRST, None).unwrap();

    let held = wal.truncate_before(Lsn::MAX).unwrap();
    assert_eq!((held.segments, held.held_by), (0, Some(Obligation::Hold)));
    drop(hold);
    let fallback = wal.truncate_before(Lsn::MAX).unwrap();
    assert!(fallback.segments > 0);
    assert_eq!((fallback.limit, fallback.held_by), (first.redo_from, Some(Obligation::Checkpoint)));
    assert!(fallback.head <= first.redo_from);
    fill(&wal, 9);
    wal.checkpoint_begin().unwrap().complete(b"3").unwrap();
    wal.checkpoint_begin().unwrap().complete(b"4").unwrap();
    let active = wal.truncate_before(Lsn::MAX).unwrap();
    assert_eq!(active.limit, started, "a running transaction keeps its first record");
    txn.commit().unwrap();
    drop(wal);
    assert_eq!(recover(&storage).1.redone, [b"open"]);
}

#[test]
fn a_hold_over_its_limit_refuses_appends_until_it_moves() {
    let (wal, _) = reopen(&memory());
    let limit = HoldLimit { bytes: 10_000, over: OverLimit::RefuseAppends };
    let hold = wal.hold("consumer", Lsn::FIRST, Some(limit)).unwrap();
    let error = loop {
        match wal.append(&[1; 500]) {
            Ok(ticket) => ticket.wait_durable().unwrap(),
            Err(error) => break error,
        }
        assert!(wal.positions().reserved.get() < 20_000, "appends were never refused");
    };
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("consumer"), "{error}");
    hold.advance(wal.positions().durable);
    wal.append(b"again").unwrap().wait_durable().unwrap();
    assert_eq!(wal.stats().holds.len(), 1);
}

#[test]
fn readers_go_both_ways_and_say_what_is_wrong_with_an_address() {
    let (wal, _) = reopen(&memory());
    let mut lsns = Vec::new();
    for number in 0..200 {
        let ticket = wal.append(&body(number).repeat(20)).unwrap();
        ticket.wait_durable().unwrap();
        lsns.push(ticket.lsn());
    }
    let mut reader = wal.read_from(lsns[0]).unwrap();
    for lsn in &lsns {
        assert_eq!(reader.next().unwrap().unwrap().lsn(), *lsn);
    }
    assert!(reader.next().unwrap().is_none(), "the end of what is durable");
    for lsn in lsns.iter().rev() {
        assert_eq!(reader.prev().unwrap().unwrap().lsn(), *lsn);
    }
    let kind_at = |lsn| wal.read_at(lsn).map(drop).unwrap_err().kind();
    assert_eq!(kind_at(Lsn::new(lsns[5].get() + 8).unwrap()), ErrorKind::NotARecordStart);
    assert_eq!(kind_at(Lsn::new(1 << 40).unwrap()), ErrorKind::BeyondEnd);
    assert_eq!(kind_at(Lsn::new(8).unwrap()), ErrorKind::Truncated);
    assert_eq!(wal.read_at(lsns[7]).unwrap().body, body(7).repeat(20));
}

#[test]
fn a_tailing_reader_never_passes_the_durable_end() {
    let (wal, _) = reopen(&memory());
    let first = wal.append(b"durable").unwrap();
    first.wait_durable().unwrap();
    wal.append(b"written").unwrap().wait_written().unwrap();
    let mut tail = wal.tail(first.lsn()).unwrap();
    assert_eq!(tail.next_timeout(Duration::ZERO).unwrap().unwrap().body, b"durable");
    assert!(tail.next_timeout(Duration::ZERO).unwrap().is_none(), "written is not durable");
    wal.sync().unwrap();
    assert_eq!(tail.next_timeout(Duration::ZERO).unwrap().unwrap().body, b"written");
    wal.close().unwrap();
    assert!(tail.next().unwrap().is_none(), "a closed log ends the tail");
}

#[test]
fn a_tailing_reader_follows_a_writer_across_segments() {
    let (wal, _) = open(&memory(), small().threads(wal::Threads::Helper)).unwrap();
    let start = wal.positions().reserved;
    let writer = wal.clone();
    let thread = std::thread::spawn(move || {
        for number in 0..500 {
            writer.append(&body(number).repeat(10)).unwrap().wait_durable().unwrap();
        }
        writer.close().unwrap();
    });
    let mut tail = wal.tail(start).unwrap();
    let mut seen = 0;
    while let Some(record) = tail.next().unwrap() {
        assert_eq!(record.body, body(seen).repeat(10));
        seen += 1;
    }
    thread.join().unwrap();
    assert_eq!(seen, 500);
}

#[test]
fn r04_a_clean_close_goes_on_in_place_and_a_drop_does_not_count_as_one() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    wal.append(b"one").unwrap().wait_durable().unwrap();
    wal.close().unwrap();
    drop(wal);
    assert!(LogView::open_in(Arc::clone(&storage)).unwrap().is_clean());
    let (wal, _) = reopen(&storage);
    assert_eq!(wal.stats().segments, 1, "the same segment");
    wal.append(b"two").unwrap().wait_durable().unwrap();
    drop(wal);
    assert!(!LogView::open_in(Arc::clone(&storage)).unwrap().is_clean());
    assert_eq!(reopen(&storage).1, [b"one", b"two"]);
}

#[test]
fn after_close_nothing_is_appended_others_may_open_and_readers_still_read() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    let clone = wal.clone();
    let durable = wal.append(b"one").unwrap();
    wal.close().unwrap();
    assert!(durable.is_durable());
    assert_eq!(clone.append(b"late").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(clone.close().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(clone.read_at(durable.lsn()).unwrap().body, b"one");
    assert_eq!(reopen(&storage).1, [b"one"]);
}

#[test]
fn r11_a_log_without_syncs_refuses_to_call_anything_durable() {
    let storage = memory();
    let options = small().sync_method(SyncMethod::None);
    let (wal, _) = open(&storage, options.clone()).unwrap();
    let ticket = wal.append(b"cached").unwrap();
    ticket.wait_written().unwrap();
    assert_eq!(ticket.wait_durable().unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(wal.checkpoint_begin().unwrap_err().kind(), ErrorKind::Refused);
    assert!(wal.positions().durable <= ticket.lsn());
    drop(wal);
    assert_eq!(open(&storage, options).unwrap().1, [b"cached"]);
}

#[test]
fn r11_under_policy_never_a_durable_wait_forces_a_sync() {
    let disk = SimDisk::new();
    let (wal, _) =
        open(&(Arc::new(disk.clone()) as _), small().sync_policy(SyncPolicy::Never)).unwrap();
    let mut txn = wal.begin();
    txn.log(b"only written").unwrap();
    txn.commit().unwrap();
    assert_eq!(wal.stats().commit.syncs, 0, "a commit under this policy does not sync");
    wal.append(b"asked for").unwrap().wait_durable().unwrap();
    assert_eq!(wal.stats().commit.syncs, 1);
    let storage: Arc<dyn Storage> = Arc::new(disk.crash(CrashMode::LoseAll));
    assert_eq!(reopen(&storage).1.len(), 2);
}

#[test]
fn a_record_of_the_logs_own_kinds_is_refused() {
    let (wal, _) = reopen(&memory());
    let error = wal.append_kind(RecordKind::COMMIT, b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    let mine = RecordKind::engine(7).unwrap();
    wal.append_kind(mine, b"mine").unwrap().wait_durable().unwrap();
}

#[test]
fn a_timeout_means_unknown_and_never_failed() {
    let (wal, _) = reopen(&memory());
    let ticket = wal.append(b"slow").unwrap();
    match ticket.wait_durable_timeout(Duration::ZERO) {
        Ok(()) => {}
        Err(error) => {
            assert_eq!((error.kind(), error.fate()), (ErrorKind::TimedOut, wal::Fate::Unknown))
        }
    }
    ticket.wait_durable().unwrap();
    assert!(ticket.is_durable());
}

#[test]
fn a_second_writer_is_refused_and_a_reader_is_not() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    wal.append(b"one").unwrap().wait_durable().unwrap();
    let error = open(&storage, small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    let before = contents(storage.as_ref());
    let view = LogView::open_in(Arc::clone(&storage)).unwrap();
    let mut bodies = Vec::new();
    view.replay(&mut |record: &ReplayRecord<'_>| {
        bodies.push(record.body.to_vec());
        Ok::<(), io::Error>(())
    })
    .unwrap();
    assert_eq!(bodies, [b"one"]);
    assert_eq!(contents(storage.as_ref()), before, "reading changed a byte");
    drop(wal);
    open(&storage, small()).unwrap();
}

#[test]
fn eight_threads_share_syncs_and_lose_nothing() {
    let disk = SimDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let (wal, _) = open(&storage, small().threads(wal::Threads::Helper)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let wal = &wal;
            scope.spawn(move || {
                for number in 0..100_u64 {
                    let body = (thread << 32 | number).to_le_bytes();
                    wal.append(&body).unwrap().wait_durable().unwrap();
                }
            });
        }
    });
    assert!(wal.stats().commit.syncs <= 800);
    let storage: Arc<dyn Storage> = Arc::new(disk.crash(CrashMode::LoseAll));
    let found = reopen(&storage).1;
    assert_eq!(found.len(), 800);
    for thread in 0..8_u64 {
        let numbers: Vec<u64> = found
            .iter()
            .map(|body| u64::from_le_bytes(body[..].try_into().unwrap()))
            .filter(|value| value >> 32 == thread)
            .map(|value| value & 0xffff_ffff)
            .collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "thread {thread}");
    }
}

#[test]
fn r05_a_transaction_that_commits_behind_the_limit_is_kept_whole() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    wal.append(&vec![1; 60_000]).unwrap().wait_durable().unwrap();
    let mut txn = wal.begin();
    let started = txn.log(&[2; 3000]).unwrap();
    for _ in 0..3 {
        txn.log(&[2; 3000]).unwrap();
    }
    let committed = txn.commit().unwrap();
    // The commit lies in the second segment, the first record in the first one.
    let done = wal.truncate_before(committed.lsn).unwrap();
    assert_eq!((done.segments, done.limit), (0, started));
    assert_eq!(done.held_by, Some(Obligation::Transaction));
    wal.append(b"after").unwrap().wait_durable().unwrap();
    wal.close().unwrap();
    drop(wal);
    assert_eq!(reopen(&storage).1.len(), 1 + 4 + 1);
    // In a later opening nobody knows where that transaction began: the log stays whole.
    let (wal, _) = reopen(&storage);
    assert_eq!(wal.truncate_before(committed.lsn).unwrap().segments, 0);
    drop(wal);
    assert_eq!(reopen(&storage).1.len(), 1 + 4 + 1);
}

#[test]
fn r05_a_checkpoint_that_has_begun_is_spared_by_truncation() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    let checkpoint = wal.checkpoint_begin().unwrap();
    fill(&wal, 5);
    let done = wal.truncate_before(Lsn::MAX).unwrap();
    assert_eq!((done.segments, done.held_by), (0, Some(Obligation::Checkpoint)));
    checkpoint.complete(b"snap").unwrap();
    wal.close().unwrap();
    drop(wal);
    assert_eq!(recover(&storage).1.restored, b"snap");
}

#[test]
fn an_outdated_checkpoint_is_refused_and_the_newer_one_counts() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    let older = wal.checkpoint_begin().unwrap();
    wal.append(b"between").unwrap().wait_durable().unwrap();
    wal.checkpoint_begin().unwrap().complete(b"newer").unwrap();
    let error = older.complete(b"older").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("outdated"), "{error}");
    drop(wal);
    assert_eq!(recover(&storage).1.restored, b"newer");
}

#[test]
fn no_truncation_passes_a_hold_that_was_granted() {
    let options = small().threads(wal::Threads::Helper);
    let (wal, _) = open(&memory(), options).unwrap();
    fill(&wal, 4);
    std::thread::scope(|scope| {
        let truncating = scope.spawn(|| {
            for _ in 0..200 {
                wal.append(&[7; 3000]).unwrap().wait_durable().unwrap();
                wal.truncate_before(Lsn::MAX).unwrap();
            }
        });
        while !truncating.is_finished() {
            let lsn = wal.head();
            if let Ok(hold) = wal.hold("reader", lsn, None) {
                assert!(wal.head() <= lsn, "the head passed a hold at {lsn}");
                std::thread::yield_now();
                assert!(wal.head() <= lsn, "the head passed a hold at {lsn}");
                drop(hold);
            }
        }
    });
}

#[test]
fn was_committed_is_unknown_while_the_commit_is_on_its_way() {
    let (wal, _) = reopen(&memory());
    let mut txn = wal.begin();
    txn.log(b"one").unwrap();
    let (committed, ticket) = txn.commit_ticket(0).unwrap();
    let fate = || wal.was_committed(committed.txn, committed.lsn).unwrap();
    assert_eq!(fate(), wal::CommitFate::Unknown);
    ticket.wait_durable().unwrap();
    assert_eq!(fate(), wal::CommitFate::Committed);
}

#[test]
fn without_syncs_a_commit_is_written_and_a_tail_is_refused() {
    let storage = memory();
    let options = small().sync_method(SyncMethod::None);
    let (wal, _) = open(&storage, options.clone()).unwrap();
    let mut txn = wal.begin();
    txn.log(b"one").unwrap();
    txn.commit().unwrap();
    assert_eq!(wal.tail(Lsn::FIRST).unwrap_err().kind(), ErrorKind::Refused);
    drop(wal);
    assert_eq!(open(&storage, options).unwrap().1, [b"one"]);
}

#[test]
fn a_callback_may_use_the_log() {
    for threads in [wal::Threads::Helper, wal::Threads::None] {
        let (wal, _) = open(&memory(), small().threads(threads)).unwrap();
        let (done, outcome) = std::sync::mpsc::channel();
        let inner = wal.clone();
        wal.append(b"first").unwrap().on_durable(move |durable| {
            durable.unwrap();
            for _ in 0..100 {
                let _ordered = inner.append(&[3; 2000]).unwrap();
            }
            inner.append(b"second").unwrap().wait_durable().unwrap();
            inner.sync().unwrap();
            done.send(()).unwrap();
        });
        wal.sync().unwrap();
        outcome.recv().unwrap();
        wal.close().unwrap();
    }
}

#[test]
fn a_log_that_was_dropped_can_be_opened_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        let options = wal::Options::default().segment_bytes(64 << 10);
        let wal =
            wal::Wal::open(dir.path(), options, |_: &ReplayRecord<'_>| Ok::<(), io::Error>(()));
        wal.unwrap().append(&[9; 40_000]).unwrap().wait_durable().unwrap();
    }
}

#[test]
fn readers_which_stand_at_the_end_of_a_crashed_log_see_what_the_next_opening_appends() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    let first = wal.append(b"before").unwrap();
    first.wait_durable().unwrap();
    let lsn = first.lsn();
    drop((first, wal));
    let (wal, _) = reopen(&storage);
    let mut reader = wal.read_from(lsn).unwrap();
    let mut tail = wal.tail(lsn).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().body, b"before");
    assert_eq!(tail.next_timeout(Duration::ZERO).unwrap().unwrap().body, b"before");
    assert!(reader.next().unwrap().is_none());
    assert!(tail.next_timeout(Duration::from_millis(1)).unwrap().is_none());
    wal.append(b"after").unwrap().wait_durable().unwrap();
    assert_eq!(reader.next().unwrap().unwrap().body, b"after");
    assert_eq!(tail.next().unwrap().unwrap().body, b"after");
    assert_eq!(reader.prev().unwrap().unwrap().body, b"after");
    assert_eq!(reader.prev().unwrap().unwrap().body, b"before");
    wal.close().unwrap();
    assert!(tail.next().unwrap().is_none(), "a closed log ends the tail");
}

#[test]
fn r18_a_clean_reopening_with_larger_segments_takes_larger_records_at_once() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    wal.append(b"small").unwrap().wait_durable().unwrap();
    wal.close().unwrap();
    drop(wal);
    let larger = small().segment_bytes(4 << 20).buffer_bytes(1 << 20);
    let (wal, _) = open(&storage, larger.clone()).unwrap();
    wal.append(&[5; 100 << 10]).unwrap().wait_durable().unwrap();
    wal.append_batch(&vec![[6; 1000]; 100]).unwrap().wait_durable().unwrap();
    drop(wal);
    assert_eq!(open(&storage, larger).unwrap().1.len(), 102);
}

#[test]
fn a_closure_is_refused_where_a_checkpoint_would_be_lost() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    wal.checkpoint_begin().unwrap().complete(b"the whole state").unwrap();
    wal.close().unwrap();
    let error = open(&storage, small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Replay, "{error}");
    assert!(error.lsn().is_some() && error.to_string().contains("restore"), "{error}");
    assert_eq!(recover(&storage).1.restored, b"the whole state");
}
