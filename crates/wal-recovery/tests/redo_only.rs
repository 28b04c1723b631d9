//! What redo-only recovery gives an engine, and what it never gives it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod log_builder;

use std::collections::BTreeMap;

use log_builder::{Built, LogBuilder, Txn, batch_flags, txn};
use proptest::prelude::*;
use wal_format::{CheckpointPointer, Lsn, LsnRange, RecordFlags, RecordKind};
use wal_recovery::{
    ChainFault, CheckpointView, Phase, Progress, RecoveryError, RecoveryLog, RecoveryReport,
    RecoveryStrategy, RedoOnly, RedoTarget, ReplayRecord,
};

/// An engine that remembers what it was given.
#[derive(Default)]
struct Engine {
    restored: Option<String>,
    done: Vec<String>,
}

impl RedoTarget for Engine {
    type Error = String;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), String> {
        assert!(self.done.is_empty(), "the checkpoint comes first");
        self.restored = Some(text(checkpoint.payload));
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), String> {
        self.done.push(text(record.body));
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn recover_from(
    built: &Built,
    checkpoint: Option<CheckpointPointer>,
    mut strategy: RedoOnly,
) -> Result<(Engine, RecoveryReport), RecoveryError> {
    let source = built.source();
    let log = RecoveryLog::new(&source, built.range()).with_checkpoint(checkpoint);
    let mut engine = Engine::default();
    let report = strategy.recover(&log, &mut engine, &mut ())?;
    Ok((engine, report))
}

fn recover(built: &Built) -> (Engine, RecoveryReport) {
    recover_from(built, built.checkpoints.last().copied(), RedoOnly::new()).unwrap()
}

/// What an engine is given of the log that `build` writes.
fn replayed(build: impl FnOnce(&mut LogBuilder)) -> (Vec<String>, RecoveryReport) {
    let mut log = LogBuilder::new(1 << 16);
    build(&mut log);
    let (engine, report) = recover(&log.finish());
    (engine.done, report)
}

fn fault(build: impl FnOnce(&mut LogBuilder)) -> ChainFault {
    let mut log = LogBuilder::new(1 << 16);
    build(&mut log);
    match recover_from(&log.finish(), None, RedoOnly::new()).map(|_| ()) {
        Err(RecoveryError::BrokenChain { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_records_come_back_in_the_order_of_the_log() {
    let (done, report) = replayed(|log| {
        for body in ["a", "b", "", "c"] {
            log.plain(body);
        }
    });
    assert_eq!(done, ["a", "b", "", "c"]);
    assert_eq!((report.records_replayed, report.bytes_replayed), (4, 3));
    assert_eq!((report.records_scanned, report.openings), (5, 1));
}

#[test]
fn a35_committed_transactions_replay_in_log_order_and_leave_nothing_of_the_others() {
    let (done, report) = replayed(|log| {
        let (mut a, mut b, mut c, mut d) = (txn(1), txn(2), txn(3), txn(4));
        log.put(&mut a, "a1");
        log.put(&mut b, "b1");
        log.plain("p");
        log.put(&mut c, "c1");
        log.put(&mut d, "d1");
        log.put(&mut a, "a2");
        log.put(&mut b, "b2");
        log.commit(&mut b);
        log.abort(&mut c);
        log.put(&mut a, "a3");
        log.commit(&mut a);
        log.put(&mut d, "d2");
    });
    assert_eq!(done, ["p", "b1", "b2", "a1", "a2", "a3"]);
    let counts = report.transactions;
    assert_eq!((counts.committed, counts.aborted, counts.unfinished), (2, 1, 1));
    assert_eq!(report.transactions_active_max, 4);
    assert!(report.is_complete());
}

#[test]
fn a_record_says_which_commit_made_it_count() {
    let mut log = LogBuilder::new(1 << 16);
    let mut a = txn(9);
    log.put(&mut a, "a");
    let commit = log.commit_at(&mut a, 77);
    log.plain("p");
    let built = log.finish();
    let mut seen = Vec::new();
    let mut engine = |record: &ReplayRecord<'_>| -> Result<(), String> {
        let mark = record.commit.map(|mark| (mark.lsn, mark.timestamp));
        seen.push((record.txn.map(|id| id.get()), mark));
        Ok(())
    };
    let source = built.source();
    let log = RecoveryLog::new(&source, built.range());
    RedoOnly::new().recover(&log, &mut engine, &mut ()).unwrap();
    assert_eq!(seen, [(Some(9), Some((commit, Some(77)))), (None, None)]);
}

#[test]
fn r03_a_closure_is_refused_where_a_checkpoint_would_have_to_be_taken_back() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("in the checkpoint");
    let begin = log.at();
    let pointer = log.checkpoint(begin, begin, "state");
    log.plain("after it");
    let built = log.finish();
    let source = built.source();
    let mut calls = 0;
    let mut closure = |_: &ReplayRecord<'_>| -> Result<(), String> {
        calls += 1;
        Ok(())
    };
    let plain = RecoveryLog::new(&source, built.range());
    let log = plain.with_checkpoint(Some(pointer));
    let error = RedoOnly::new().recover(&log, &mut closure, &mut ()).unwrap_err();
    assert!(matches!(error, RecoveryError::NoRestore { lsn } if lsn == pointer.record), "{error}");
    assert!(error.to_string().contains("implement RedoTarget::restore"), "{error}");
    // From the head on nothing has to be taken back.
    RedoOnly::new().recover(&plain, &mut closure, &mut ()).unwrap();
    assert_eq!(calls, 2, "the refusal gave the closure nothing");
}

#[test]
fn errors_of_a_replay_promise_only_that_nothing_is_lost() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("a");
    let built = log.finish();
    let source = built.source();
    let log = RecoveryLog::new(&source, built.range());
    let mut refuses = |_: &ReplayRecord<'_>| Err("no".to_owned());
    let mut panics = |_: &ReplayRecord<'_>| -> Result<(), String> { panic!("oh") };
    let refused = RedoOnly::new().recover(&log, &mut refuses, &mut ()).unwrap_err();
    let panicked = RedoOnly::new().recover(&log, &mut panics, &mut ()).unwrap_err();
    for error in [refused, panicked] {
        let text = error.to_string();
        assert!(text.contains("nothing in the log is lost"), "{text}");
        // An opening may have written the tail again before it called the engine.
        assert!(!text.contains("unchanged"), "{text}");
    }
}

#[test]
fn an_empty_transaction_commits_without_a_record() {
    let (done, report) = replayed(|log| {
        log.commit(&mut txn(1));
        log.kind(RecordKind::RESTORE_POINT, b"here");
    });
    assert!(done.is_empty());
    assert_eq!(report.transactions.committed, 1);
}

#[test]
fn a_batch_torn_at_any_member_leaves_nothing() {
    let bodies = ["m0", "m1", "m2", "m3"];
    for written in 1..=bodies.len() {
        let (done, report) = replayed(|log| {
            log.plain("before");
            log.batch(&bodies, written);
        });
        if written == bodies.len() {
            assert_eq!(done, ["before", "m0", "m1", "m2", "m3"]);
            assert_eq!((report.batches.whole, report.batches.void), (1, 0));
        } else {
            assert_eq!(done, ["before"], "{written} members written");
            assert_eq!((report.batches.whole, report.batches.void), (0, 1));
        }
    }
}

#[test]
fn a_batch_across_segments_with_padding_in_between_is_whole() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain(&"x".repeat(65_536 - 400));
    let long = "y".repeat(120);
    let members = log.batch(&[&long, &long, &long, &long], 4);
    let built = log.finish();
    assert_eq!(built.links.len(), 2);
    assert!(built.links[0].range().contains(members[0]));
    assert!(built.links[1].range().contains(members[3]));
    let (engine, report) = recover(&built);
    assert_eq!(engine.done.len(), 5);
    assert_eq!(report.batches.whole, 1);
}

#[test]
fn r07_an_opening_voids_unfinished_batches_and_transactions() {
    for unclean in [false, true] {
        let (done, report) = replayed(|log| {
            let mut a = txn(1);
            log.put(&mut a, "a1");
            log.batch(&["m0", "m1", "m2"], 2);
            if unclean {
                log.reopen_unclean();
            } else {
                log.reopen();
            }
            // What would have completed the batch does not any more.
            log.member("m2", batch_flags(2, 2));
            log.plain("after");
        });
        assert_eq!(done, ["after"]);
        assert_eq!((report.transactions.unfinished, report.batches.void), (1, 2));
        assert_eq!(report.openings, 2);
    }
}

#[test]
fn r07_a_commit_after_an_opening_cannot_finish_what_was_before_it() {
    let why = fault(|log| {
        let mut a = txn(1);
        log.put(&mut a, "a1");
        log.reopen();
        log.commit(&mut a);
    });
    assert!(matches!(why, ChainFault::CrossesOpening { .. }), "{why}");
}

#[test]
fn a35_transaction_ids_may_be_used_again_after_a_reopening() {
    let (done, report) = replayed(|log| {
        let (mut a, mut lost) = (txn(1), txn(2));
        log.put(&mut a, "first life");
        log.put(&mut lost, "unfinished");
        log.commit(&mut a);
        log.reopen_unclean();
        let (mut a, mut b) = (txn(1), txn(2));
        log.put(&mut b, "second life of 2");
        log.put(&mut a, "second life of 1");
        log.commit(&mut b);
        log.commit(&mut a);
    });
    assert_eq!(done, ["first life", "second life of 2", "second life of 1"]);
    assert_eq!(report.transactions.unfinished, 1);
}

#[test]
fn r03_a_checkpoint_with_active_transactions_replays_all_of_what_commits_after_its_begin() {
    let mut log = LogBuilder::new(1 << 16);
    let (mut early, mut long, mut stuck) = (txn(1), txn(2), txn(3));
    log.plain("old");
    let redo_from = log.put(&mut long, "long 1");
    log.put(&mut early, "early");
    log.plain("between");
    log.commit(&mut early);
    log.put(&mut stuck, "stuck");
    let begin = log.at();
    log.put(&mut long, "long 2");
    log.plain("new");
    log.checkpoint(begin, redo_from, "snapshot");
    log.commit(&mut long);
    log.abort(&mut stuck);
    let (engine, report) = recover(&log.finish());
    assert_eq!(engine.restored.as_deref(), Some("snapshot"));
    assert_eq!(engine.done, ["new", "long 1", "long 2"]);
    assert_eq!(report.range.start, redo_from);
    assert_eq!((report.transactions.committed, report.transactions.aborted), (1, 1));
}

#[test]
fn r03_a_transaction_that_began_before_the_scan_is_an_error_and_not_half_replayed() {
    let mut log = LogBuilder::new(1 << 16);
    let mut a = txn(1);
    log.put(&mut a, "a1");
    let begin = log.put(&mut a, "a2");
    // A false checkpoint: it forgot that the transaction was active.
    let pointer = log.checkpoint(begin, begin, "snapshot");
    log.commit(&mut a);
    let error = recover_from(&log.finish(), Some(pointer), RedoOnly::new()).map(|_| ());
    match error {
        Err(RecoveryError::BrokenChain { why: ChainFault::BeforeScan { start }, .. }) => {
            assert_eq!(start, begin);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pointer_that_names_no_checkpoint_is_refused() {
    let mut log = LogBuilder::new(1 << 16);
    let record = log.plain("not a checkpoint");
    let (begin, end) = (record, log.at());
    let pointer = CheckpointPointer { begin, redo_from: begin, record, end };
    let error = recover_from(&log.finish(), Some(pointer), RedoOnly::new()).map(|_| ());
    assert!(matches!(error, Err(RecoveryError::BadBody { .. })), "{error:?}");
}

#[test]
fn a_transaction_inside_a_batch_counts_only_with_the_batch() {
    for written in [2, 3] {
        let (done, _) = replayed(|log| {
            let mut a = txn(1);
            log.put(&mut a, "a1");
            log.in_txn(&mut a, RecordKind::DATA, b"a2", batch_flags(0, 2));
            log.in_txn(&mut a, RecordKind::COMMIT, b"", batch_flags(1, 2));
            if written == 3 {
                log.member("with it", batch_flags(2, 2));
            }
        });
        let expected: &[&str] = if written == 3 { &["a1", "a2", "with it"] } else { &[] };
        assert_eq!(done, expected);
    }
}

#[test]
fn a34_nothing_behind_a_gap_is_replayed() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("a");
    let damaged = log.plain("b");
    log.plain("c");
    let built = log.finish();
    built.damage(damaged);
    let source = built.source();
    let log = RecoveryLog::new(&source, built.range());
    let mut engine = Engine::default();
    let error = RedoOnly::new().recover(&log, &mut engine, &mut ()).unwrap_err();
    assert!(matches!(error, RecoveryError::Changed { lsn } if lsn == damaged), "{error}");
    assert_eq!(engine.done, ["a"]);
}

#[test]
fn a_log_after_loss_skips_the_transactions_that_lost_records_and_counts_them() {
    let mut log = LogBuilder::new(1 << 16);
    let (mut whole, mut cut) = (txn(1), txn(2));
    log.put(&mut whole, "w1");
    log.put(&mut cut, "c1");
    log.batch(&["m0", "m1"], 1);
    let lost = log.at();
    log.lose(4096);
    cut.last = lost;
    log.member("m1", batch_flags(1, 1));
    log.put(&mut whole, "w2");
    log.put(&mut cut, "c3");
    log.commit(&mut cut);
    log.commit(&mut whole);
    let (engine, report) = recover(&log.finish());
    assert_eq!(engine.done, ["w1", "w2"]);
    let counts = report.transactions;
    assert_eq!((counts.committed, counts.incomplete, report.losses), (1, 1, 1));
    assert_eq!(report.batches.void, 2);
    assert!(!report.is_complete());
}

/// A log whose first segment was truncated, and with it the beginnings of a transaction and of a
/// batch; its checkpoint wants to be replayed from the head.
fn cut_at_its_head() -> Built {
    let mut log = LogBuilder::new(1 << 16);
    let mut cut = txn(1);
    log.put(&mut cut, "c1");
    log.member("m0", batch_flags(0, 2));
    log.rotate(0);
    let head = log.member("m1", batch_flags(1, 2));
    log.in_txn(&mut txn(2), RecordKind::DATA, b"m2", batch_flags(2, 2));
    log.put(&mut cut, "c2");
    let begin = log.at();
    log.checkpoint(begin, head, "state");
    let mut whole = txn(3);
    log.put(&mut whole, "w");
    log.commit(&mut cut);
    log.commit(&mut whole);
    let mut built = log.finish();
    built.truncate(1);
    built
}

#[test]
fn r05_what_a_truncation_cut_is_skipped_and_counted_and_never_an_error() {
    let built = cut_at_its_head();
    let (engine, report) = recover_from(&built, None, RedoOnly::new()).unwrap();
    assert_eq!(engine.done, ["w"]);
    let counts = report.transactions;
    assert_eq!((counts.committed, counts.truncated, counts.incomplete), (1, 1, 0));
    assert_eq!((report.batches.truncated, report.batches.void), (1, 0));
    assert!(!report.is_complete());
    assert!(report.to_string().contains("1 committed but cut by truncation"), "{report}");
    // From the checkpoint on, below which the chain leads too.
    let (engine, report) = recover(&built);
    assert_eq!((engine.restored.as_deref(), &engine.done[..]), (Some("state"), &["w".into()][..]));
    assert_eq!((report.transactions.truncated, report.batches.truncated), (1, 1));
}

#[test]
fn a_transaction_whose_batch_a_truncation_cut_is_counted_with_it() {
    let mut log = LogBuilder::new(1 << 16);
    log.member("m0", batch_flags(0, 1));
    log.rotate(0);
    let mut cut = txn(1);
    log.in_txn(&mut cut, RecordKind::DATA, b"m1", batch_flags(1, 1));
    log.commit(&mut cut);
    let mut built = log.finish();
    built.truncate(1);
    let (engine, report) = recover(&built);
    assert!(engine.done.is_empty());
    let counts = report.transactions;
    assert_eq!((counts.committed, counts.truncated, counts.incomplete), (0, 1, 0));
}

#[test]
fn a_chain_that_names_no_record_above_the_head_is_broken_in_a_truncated_log_too() {
    let mut log = LogBuilder::new(1 << 16);
    log.rotate(0);
    let inside = log.plain("a body of some length");
    let mut broken = txn(1);
    broken.last = inside.checked_add(8).unwrap();
    log.commit(&mut broken);
    let mut built = log.finish();
    built.truncate(1);
    let error = recover_from(&built, None, RedoOnly::new()).map(drop).unwrap_err();
    let why = ChainFault::NotARecord;
    assert!(matches!(error, RecoveryError::BrokenChain { why: w, .. } if w == why), "{error}");
}

#[test]
fn a_transaction_with_a_record_in_a_batch_that_lost_members_is_incomplete() {
    for first_is_lost in [false, true] {
        let mut log = LogBuilder::new(1 << 16);
        let (mut cut, mut whole) = (txn(1), txn(2));
        if first_is_lost {
            log.lose(4096);
            log.in_txn(&mut cut, RecordKind::DATA, b"cut", batch_flags(1, 1));
        } else {
            log.in_txn(&mut cut, RecordKind::DATA, b"cut", batch_flags(0, 1));
            log.lose(4096);
        }
        log.put(&mut whole, "whole");
        // Every record of the chain is there; the batch it belongs to is not.
        log.commit(&mut cut);
        log.commit(&mut whole);
        let (engine, report) = recover(&log.finish());
        assert_eq!(engine.done, ["whole"]);
        let counts = report.transactions;
        assert_eq!((counts.committed, counts.incomplete, report.batches.void), (1, 1, 1));
    }
}

#[test]
fn a_chain_into_nothing_is_broken_where_no_loss_was_declared() {
    let why = fault(|log| {
        let mut a = txn(1);
        let first = log.put(&mut a, "0123456789abcdef0123456789abcdef");
        a.last = Lsn::new(first.get() + 8).unwrap();
        log.put(&mut a, "a2");
        log.commit(&mut a);
    });
    assert_eq!(why, ChainFault::NotARecord);
}

#[test]
fn r21_a_transaction_larger_than_the_bound_replays_whole_and_in_order() {
    let mut log = LogBuilder::new(1 << 16);
    let mut big = txn(1);
    let mut expected = Vec::new();
    for index in 0..2500 {
        let body = format!("record {index} of a large transaction, {}", "z".repeat(index % 90));
        log.put(&mut big, &body);
        expected.push(body);
        if index % 3 == 0 {
            let mut small = txn(2 + index as u64);
            log.put(&mut small, "small");
            log.abort(&mut small);
        }
    }
    log.commit(&mut big);
    let built = log.finish();
    assert!(built.links.len() > 3);
    for addresses in [2, 8, 1 << 16] {
        let strategy = RedoOnly::new().with_chain_addresses_max(addresses);
        let (engine, _) = recover_from(&built, None, strategy).unwrap();
        assert_eq!(engine.done, expected, "{addresses} addresses");
    }
}

#[test]
fn r21_memory_grows_with_active_transactions_and_not_with_committed_ones() {
    let mut log = LogBuilder::new(1 << 18);
    for index in 0..3000_u64 {
        let (mut a, mut b) = (txn(2 * index + 1), txn(2 * index + 2));
        log.put(&mut a, "a");
        log.put(&mut b, "b");
        log.commit(&mut b);
        log.commit(&mut a);
    }
    let (engine, report) = recover(&log.finish());
    assert_eq!(engine.done.len(), 6000);
    assert_eq!((report.transactions.committed, report.transactions_active_max), (6000, 2));
}

/// Fails or panics at one body, once.
struct Fragile {
    at: &'static str,
    panics: bool,
    done: usize,
}

impl RedoTarget for Fragile {
    type Error = &'static str;

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), &'static str> {
        if record.body == self.at.as_bytes() {
            assert!(!self.panics, "no room for {}", self.at);
            return Err("the engine is full");
        }
        self.done += 1;
        Ok(())
    }
}

#[test]
fn a_handler_that_fails_or_panics_stops_the_recovery_which_can_be_run_again() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("a");
    let at = log.plain("b");
    log.plain("c");
    let built = log.finish();
    let before = built.contents();
    let (source, range) = (built.source(), built.range());
    let log = RecoveryLog::new(&source, range);

    let mut engine = Fragile { at: "b", panics: false, done: 0 };
    let error = RedoOnly::new().recover(&log, &mut engine, &mut ()).unwrap_err();
    assert!(matches!(&error, RecoveryError::Handler { lsn, .. } if *lsn == at));
    assert!(error.to_string().contains("the engine is full"));

    engine.panics = true;
    let error = RedoOnly::new().recover(&log, &mut engine, &mut ()).unwrap_err();
    assert!(matches!(&error, RecoveryError::HandlerPanicked { lsn, message }
        if *lsn == at && message == "no room for b"));

    assert_eq!(engine.done, 2, "nothing behind the failure was given to it");
    assert_eq!(built.contents(), before);
    assert_eq!(recover(&built).0.done, ["a", "b", "c"]);
}

#[test]
fn records_of_another_strategy_are_refused_and_unknown_skippable_ones_counted() {
    let mut log = LogBuilder::new(1 << 16);
    log.kind(RecordKind::new(0x95).unwrap(), b"from the future");
    log.plain("a");
    let (engine, report) = recover(&log.finish());
    assert_eq!((engine.done.len(), report.records_skipped), (1, 1));

    let mut log = LogBuilder::new(1 << 16);
    let mut a = txn(1);
    log.in_txn(&mut a, RecordKind::CLR, b"", RecordFlags::NONE);
    let error = recover_from(&log.finish(), None, RedoOnly::new()).map(|_| ());
    let kind = RecordKind::CLR;
    assert!(matches!(error, Err(RecoveryError::Unfit { kind: found, .. }) if found == kind));
}

#[test]
fn a_commit_that_belongs_to_nobody_or_has_a_false_body_is_refused() {
    for body in [&b""[..], b"seven b"] {
        let mut log = LogBuilder::new(1 << 16);
        if body.is_empty() {
            log.kind(RecordKind::COMMIT, body);
        } else {
            log.in_txn(&mut txn(1), RecordKind::COMMIT, body, RecordFlags::NONE);
        }
        let error = recover_from(&log.finish(), None, RedoOnly::new()).map(|_| ());
        assert!(matches!(error, Err(RecoveryError::BadBody { .. })), "{error:?}");
    }
}

#[derive(Default)]
struct Calls(Vec<(Phase, Lsn)>);

impl Progress for Calls {
    fn advance(&mut self, phase: Phase, range: LsnRange, at: Lsn) {
        assert!(range.start <= at && at <= range.end);
        self.0.push((phase, at));
    }
}

#[test]
fn progress_goes_from_the_start_to_the_end_of_the_range() {
    let mut log = LogBuilder::new(1 << 16);
    log.plain("a");
    let built = log.finish();
    let (source, range) = (built.source(), built.range());
    let log = RecoveryLog::new(&source, range);
    let mut calls = Calls::default();
    RedoOnly::new().recover(&log, &mut Engine::default(), &mut calls).unwrap();
    assert_eq!(calls.0.first(), Some(&(Phase::Replay, range.start)));
    assert_eq!(calls.0.last(), Some(&(Phase::Replay, range.end)));
    assert!(calls.0.is_sorted_by_key(|(_, at)| *at));
}

/// What a writer may do next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Plain(usize),
    Put(usize, usize),
    Commit(usize),
    Abort(usize),
    Batch(usize, usize),
    Pad(usize),
    Rotate,
    Reopen,
    ReopenUnclean,
    Checkpoint,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0_usize..400).prop_map(Act::Plain),
        20 => (0_usize..6, 0_usize..400).prop_map(|(slot, bytes)| Act::Put(slot, bytes)),
        6 => (0_usize..6).prop_map(Act::Commit),
        2 => (0_usize..6).prop_map(Act::Abort),
        4 => (1_usize..6, 0_usize..6).prop_map(|(members, written)| Act::Batch(members, written)),
        2 => (0_usize..500).prop_map(Act::Pad),
        2 => Just(Act::Rotate),
        1 => Just(Act::Reopen),
        1 => Just(Act::ReopenUnclean),
        1 => Just(Act::Checkpoint),
    ]
}

/// What counts, and at which address: kept by hand, all of it in memory.
#[derive(Default)]
struct Model {
    counts: Vec<(Lsn, Vec<String>)>,
    active: BTreeMap<usize, (Txn, Lsn, Vec<String>)>,
    next_id: u64,
    next_body: usize,
}

impl Model {
    fn body(&mut self, bytes: usize) -> String {
        self.next_body += 1;
        format!("{} {}", self.next_body, "b".repeat(bytes))
    }

    fn act(&mut self, log: &mut LogBuilder, act: Act) {
        match act {
            Act::Plain(bytes) => {
                let body = self.body(bytes);
                self.counts.push((log.plain(&body), vec![body]));
            }
            Act::Put(slot, bytes) => {
                let body = self.body(bytes);
                self.next_id += 1;
                let fresh = || (txn(self.next_id), Lsn::NONE, Vec::new());
                let (txn, first, bodies) = self.active.entry(slot).or_insert_with(fresh);
                let lsn = log.put(txn, &body);
                *first = if first.is_none() { lsn } else { *first };
                bodies.push(body);
            }
            Act::Commit(slot) => {
                if let Some((mut txn, _, bodies)) = self.active.remove(&slot) {
                    self.counts.push((log.commit(&mut txn), bodies));
                }
            }
            Act::Abort(slot) => {
                if let Some((mut txn, ..)) = self.active.remove(&slot) {
                    log.abort(&mut txn);
                }
            }
            Act::Batch(members, written) => {
                let bodies: Vec<String> = (0..members).map(|_| self.body(20)).collect();
                let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
                let lsns = log.batch(&texts, written.min(members));
                if lsns.len() == members {
                    self.counts.push((*lsns.last().unwrap(), bodies));
                } else {
                    // Only a crash leaves part of a batch.
                    self.act(log, Act::ReopenUnclean);
                }
            }
            Act::Pad(bytes) => drop(log.padding(bytes)),
            Act::Rotate => log.rotate(0),
            Act::Reopen | Act::ReopenUnclean => {
                self.active.clear();
                // Identifiers start again.
                self.next_id = 0;
                match act {
                    Act::Reopen => drop(log.reopen()),
                    _ => drop(log.reopen_unclean()),
                }
            }
            Act::Checkpoint => {
                let begin = log.at();
                let firsts = self.active.values().map(|(_, first, _)| *first);
                let redo_from = firsts.min().unwrap_or(begin);
                log.kind(RecordKind::CHECKPOINT_BEGIN, b"");
                log.checkpoint(begin, redo_from, "snapshot");
            }
        }
    }

    fn expected(&self, from: Lsn) -> Vec<String> {
        let counting = self.counts.iter().filter(|(lsn, _)| *lsn >= from);
        counting.flat_map(|(_, bodies)| bodies.clone()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a35_any_history_replays_as_a_model_in_memory_says(
        acts in prop::collection::vec(act(), 0..250),
        rungs in 2_usize..40,
    ) {
        let mut log = LogBuilder::new(1 << 16);
        let mut model = Model::default();
        for act in acts {
            model.act(&mut log, act);
        }
        let built = log.finish();
        let strategy = RedoOnly::new().with_chain_addresses_max(rungs);
        let (engine, _) = recover_from(&built, None, strategy).unwrap();
        prop_assert_eq!(&engine.done, &model.expected(Lsn::NONE));
        for pointer in &built.checkpoints {
            let (engine, report) = recover_from(&built, Some(*pointer), strategy).unwrap();
            prop_assert_eq!(&engine.done, &model.expected(pointer.begin));
            prop_assert_eq!(engine.restored.as_deref(), Some("snapshot"));
            prop_assert_eq!(report.range.start, pointer.redo_from);
        }
    }
}
