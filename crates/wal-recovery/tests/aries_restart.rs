//! Whole restarts: both halves, crashes between and within them, pages that come back later, and
//! copies of pages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod aries_support;

use std::sync::Arc;

use aries_support::{
    AriesLog, LogBuilder, Running, SEGMENT_BYTES, Toy, Txn, known, lsn, page, recover,
    recover_with, restart, txn,
};
use wal_format::body::Outcome;
use wal_format::{Lsn, RecordKind};
use wal_recovery::aries::{Aries, Decision, TxnLog, recover_copy};
use wal_recovery::{
    PointFault, RecoveryError, RecoveryLog, RecoveryReport, RecoveryStrategy, Until,
};

fn builder() -> LogBuilder {
    LogBuilder::new(SEGMENT_BYTES)
}

#[test]
fn a30_a_restart_ends_with_a_checkpoint_and_the_next_one_has_nothing_to_undo() {
    let mut log = builder();
    let (mut loser, mut winner) = (txn(1), txn(2));
    log.begin(&mut loser);
    log.begin(&mut winner);
    log.update(&mut loser, 1, 0, 0, 1);
    log.update(&mut winner, 1, 1, 0, 1);
    log.commit(&mut winner);
    let running = Running::new(log);
    let mut pages = Toy::default();
    let (report, manager) = restart(Aries::new(), &running, &mut pages).unwrap();
    let undo = report.aries.unwrap().undo;
    assert_eq!((undo.transactions, undo.clrs, undo.winners_ended), (1, 1, 1));
    assert_eq!(undo.checkpoint, running.0.lock().unwrap().master.map(|pointer| pointer.begin));
    assert_eq!((known(&manager), running.count(RecordKind::END)), (vec![], 2));
    assert_eq!((pages.byte(1, 0), pages.byte(1, 1)), (0, 1));

    let (report, _) = restart(Aries::new(), &running, &mut pages).unwrap();
    let passes = report.aries.unwrap();
    assert_eq!((passes.analysis.losers, passes.analysis.winners), (0, 0));
    assert_eq!((passes.undo.clrs, passes.undo.winners_ended), (0, 0));
    assert!(passes.analysis.records < 10, "it began with the checkpoint");
}

#[test]
fn a29_a_transaction_in_doubt_is_not_undone_gets_its_locks_and_holds_the_log() {
    let mut log = builder();
    let mut owner = txn(1);
    let first = log.begin(&mut owner);
    log.update(&mut owner, 1, 0, 0, 1);
    log.prepare(&mut owner, "transfer 9");
    let running = Running::new(log);
    let mut pages = Toy::default();
    let (report, manager) = restart(Aries::new(), &running, &mut pages).unwrap();
    assert_eq!(report.aries.unwrap().undo.in_doubt, 1);
    assert_eq!(pages.doubts, [(b"transfer 9".to_vec(), b"locks".to_vec())]);
    assert_eq!((pages.byte(1, 0), manager.oldest_needed()), (1, first));
    manager.resolve(owner.id, Decision::Abort, &mut pages).unwrap();
    assert_eq!((pages.byte(1, 0), known(&manager)), (0, vec![]));
}

#[test]
fn finishing_what_was_not_begun_is_refused() {
    let log: Arc<dyn TxnLog> = Arc::new(Running::new(builder()));
    let mut report = RecoveryReport::default();
    let refused = Aries::new().finish(&log, &mut Toy::default(), &mut report, &mut ());
    assert!(matches!(refused, Err(RecoveryError::Misuse { .. })), "{refused:?}");
}

/// Losers of every sort, and a winner, on four pages.
fn work() -> LogBuilder {
    let mut log = builder();
    let mut owners: Vec<Txn> = (1..=4).map(txn).collect();
    for owner in &mut owners {
        log.begin(owner);
    }
    for round in 0..4 {
        for (index, owner) in owners.iter_mut().enumerate() {
            let number = ((index + round) % 4) as u64;
            log.update(owner, number, (4 * index + round) as u32, 0, 50 + round as u8);
            log.logical(owner, number, 1 << index);
        }
    }
    log.commit(&mut owners[0]);
    // The second was being rolled back when the crash came.
    log.abort(&mut owners[1]);
    log
}

/// What only the winner did.
fn winners(pages: &Toy) {
    for index in 0..4_u32 {
        for round in 0..4_u32 {
            let byte = pages.byte(u64::from((index + round) % 4), 4 * index + round);
            assert_eq!(byte, if index == 0 { 50 + round as u8 } else { 0 }, "{index}, {round}");
        }
    }
    assert!((0..4).all(|number| pages.byte(number, 31) == 1), "the counters");
}

#[test]
fn a31_a_restart_cut_off_at_every_record_it_appends_and_begun_again_converges() {
    let whole = Running::new(work());
    restart(Aries::new(), &whole, &mut Toy::default()).unwrap();
    let appended = whole.0.lock().unwrap().appended.len() as u64;
    assert_eq!(whole.count(RecordKind::CLR), 24, "one for each update of a loser");
    for first in 0..appended {
        for second in [0, 1, 2, 5, appended] {
            // Pages that undo changed reach storage, or none does: both crashes are met.
            for steals in [true, false] {
                let running = Running::new(work());
                let mut pages = Toy::default();
                for fuse in [first, second] {
                    running.0.lock().unwrap().fuse = Some(fuse);
                    let mut cache = pages.clone();
                    let outcome = restart(Aries::new(), &running, &mut cache);
                    assert_eq!(outcome.is_err(), running_is_dead(&running));
                    if steals {
                        pages = cache;
                    }
                }
                running.0.lock().unwrap().fuse = None;
                restart(Aries::new(), &running, &mut pages).unwrap();
                winners(&pages);
                assert_eq!(running.count(RecordKind::CLR), 24, "{first}, {second}: bounded");
                assert_eq!(running.count(RecordKind::END), 4, "{first}, {second}");
            }
        }
    }
}

fn running_is_dead(running: &Running) -> bool {
    running.0.lock().unwrap().fuse == Some(0)
}

#[test]
fn a32_a_page_that_is_offline_keeps_its_obligations_and_is_recovered_when_it_is_back() {
    let mut log = builder();
    let (mut loser, mut winner) = (txn(1), txn(2));
    log.begin(&mut loser);
    log.begin(&mut winner);
    let oldest = log.update(&mut winner, 1, 0, 0, 1);
    log.update(&mut loser, 1, 1, 0, 2);
    log.update(&mut loser, 2, 0, 0, 3);
    log.logical(&mut loser, 1, 9);
    log.commit(&mut winner);
    let running = Running::new(log);
    let mut pages = Toy { offline: [page(1)].into(), ..Toy::default() };
    let (report, manager) = restart(Aries::new(), &running, &mut pages).unwrap();
    let undo = report.aries.unwrap().undo;
    assert_eq!((undo.deferred, manager.deferred_pages()), (1, vec![page(1)]));
    assert!(manager.oldest_needed() <= oldest, "truncation is held");
    assert_eq!(pages.lsn(1), Lsn::NONE, "nothing was done to it");
    let still = manager.recover_page(page(1), &mut pages);
    assert!(matches!(still, Err(RecoveryError::PageOffline { .. })), "{still:?}");

    // Not even a crash makes it forget.
    let (_, manager) = restart(Aries::new(), &running, &mut pages).unwrap();
    assert_eq!(manager.deferred_pages(), [page(1)]);
    pages.offline.clear();
    manager.recover_page(page(1), &mut pages).unwrap();
    assert_eq!(manager.deferred_pages(), []);
    assert_eq!(known(&manager), [], "the rollback that waited is done");
    let bytes = pages.bytes(1);
    assert_eq!((bytes[0], bytes[1], bytes[31], pages.byte(2, 0)), (1, 0, 0, 0));
}

#[test]
fn a25_a_page_found_torn_while_the_log_runs_is_rebuilt() {
    let mut log = builder();
    let mut winner = txn(1);
    log.begin(&mut winner);
    log.update(&mut winner, 1, 0, 0, 1);
    log.update(&mut winner, 1, 1, 0, 2);
    log.commit(&mut winner);
    let running = Running::new(log);
    let mut pages = Toy::default();
    let (_, manager) = restart(Aries::new(), &running, &mut pages).unwrap();
    let last = pages.lsn(1);
    manager.before_page_write(page(1), last).unwrap();
    manager.page_written(page(1), last);
    pages.torn.insert(page(1));
    pages.pages.get_mut(&page(1)).unwrap().bytes = [0xee; 32];
    manager.recover_page(page(1), &mut pages).unwrap();
    assert_eq!((pages.bytes(1)[..3].to_vec(), pages.lsn(1)), (vec![1, 2, 0], last));
}

#[test]
fn a33_restart_recovers_pages_of_any_age_from_a_checkpoint_before_the_copy() {
    let mut log = builder();
    let mut early = txn(1);
    log.begin(&mut early);
    let one = log.update(&mut early, 1, 0, 0, 1);
    let two = log.update(&mut early, 2, 0, 0, 1);
    log.commit(&mut early);
    log.end(&mut early, Outcome::Committed);
    let pointer = log.whole_checkpoint(&[], &[(2, two)]);
    // The copy: page 1 before the next change, page 2 as storage has it, page 3 after its change.
    let mut late = txn(2);
    log.begin(&mut late);
    log.update(&mut late, 1, 1, 0, 7);
    let three = log.update(&mut late, 3, 0, 0, 3);
    log.commit_at(&mut late, 500);
    log.end(&mut late, Outcome::Committed);
    // A later checkpoint knows nothing of the copy's age.
    log.whole_checkpoint(&[], &[]);
    let built = log.finish();
    let mut copy = Toy::with(&[(1, one, &[1]), (3, three, &[3])]);
    let source = built.source();
    let view = RecoveryLog::new(&source, built.range()).with_checkpoint(Some(pointer));
    let report = recover_copy(&view, &mut copy, None, &mut ()).unwrap();
    assert_eq!(report.checkpoint, Some(pointer));
    assert_eq!(copy.bytes(1)[..2], [1, 7]);
    assert_eq!((copy.byte(2, 0), copy.byte(3, 0)), (1, 3));
}

/// Transfers 1 and 2 with timestamps, a restore point between, and a loser across all of it.
fn history() -> (LogBuilder, Lsn) {
    let mut log = builder();
    let (mut loser, mut one, mut two) = (txn(1), txn(2), txn(3));
    log.begin(&mut loser);
    log.begin(&mut one);
    log.update(&mut loser, 1, 5, 0, 99);
    log.logical(&mut loser, 1, 40);
    log.update(&mut one, 1, 0, 0, 1);
    log.commit_at(&mut one, 100);
    log.end(&mut one, Outcome::Committed);
    log.restore_point("before the second");
    let point = log.at();
    log.begin(&mut two);
    log.update(&mut two, 1, 0, 1, 2);
    log.commit_at(&mut two, 200);
    log.end(&mut two, Outcome::Committed);
    log.update(&mut loser, 2, 0, 0, 99);
    log.commit_at(&mut loser, 300);
    (log, point)
}

fn copy_at(until: Option<&Until>, copy: &mut Toy) -> Result<RecoveryReport, RecoveryError> {
    let built = history().0.finish();
    let source = built.source();
    let log = RecoveryLog::new(&source, built.range());
    let before = built.contents();
    let report = recover_copy(&log, copy, until, &mut ());
    assert_eq!(built.contents(), before, "nothing is logged");
    report
}

#[test]
fn a33_a_copy_is_recovered_to_an_address_a_time_or_a_restore_point() {
    let (_, point) = history();
    let named = Until::RestorePoint("before the second".to_owned());
    // Before the first later commit the second had done its update, and is a loser too.
    for (until, losers) in [(Until::Lsn(point), 1), (Until::CommitTimestamp(100), 2), (named, 1)] {
        let mut copy = Toy::default();
        let report = copy_at(Some(&until), &mut copy).unwrap();
        let undo = report.aries.unwrap().undo;
        assert_eq!((undo.transactions, undo.clrs), (losers, losers + 1), "{until}");
        let bytes = copy.bytes(1);
        assert_eq!((bytes[0], bytes[5], bytes[31]), (1, 0, 0), "{until}");
        assert_eq!(copy.byte(2, 0), 0, "{until}: what came later");
    }
    let mut copy = Toy::default();
    copy_at(None, &mut copy).unwrap();
    assert_eq!((copy.byte(1, 0), copy.byte(1, 5), copy.byte(2, 0)), (2, 99, 99));
}

#[test]
fn a33_a_copy_newer_than_the_point_is_refused_and_left_as_it_is() {
    let mut copy = Toy::default();
    copy_at(None, &mut copy).unwrap();
    let newer = copy.clone();
    let refused = copy_at(Some(&Until::CommitTimestamp(100)), &mut copy).unwrap_err();
    assert!(
        matches!(refused, RecoveryError::NoSuchPoint { why: PointFault::TooEarly { .. }, .. }),
        "{refused}"
    );
    assert_eq!(copy.pages, newer.pages);
    // Nor is one recovered twice: what undo did would be undone again.
    let mut copy = Toy::default();
    copy_at(Some(&Until::CommitTimestamp(100)), &mut copy).unwrap();
    let once = copy.clone();
    copy_at(Some(&Until::CommitTimestamp(100)), &mut copy).unwrap_err();
    assert_eq!(copy.pages, once.pages);
}

#[test]
fn a33_a_point_that_is_not_in_the_log_is_refused() {
    let nowhere = [
        Until::RestorePoint("nowhere".to_owned()),
        Until::CommitTimestamp(400),
        Until::Lsn(lsn(1 << 30)),
    ];
    for until in nowhere {
        let mut copy = Toy::default();
        let refused = copy_at(Some(&until), &mut copy).unwrap_err();
        assert!(matches!(refused, RecoveryError::NoSuchPoint { .. }), "{until}: {refused}");
        assert_eq!(copy.applied, []);
    }
}

#[test]
fn a_restart_says_what_each_pass_did() {
    let running = Running::new(work());
    let (report, _) = restart(Aries::new(), &running, &mut Toy::default()).unwrap();
    let text = report.to_string();
    for said in ["ARIES: scanned", "1 winners, 3 losers", "redo: ", "undo: 3 transactions, 24 comp"]
    {
        assert!(text.contains(said), "{said} not in {text}");
    }
}

#[test]
fn a20_recovery_of_a_log_that_was_never_checkpointed_begins_with_its_first_record() {
    let mut pages = Toy::default();
    let report = recover(&work().finish(), &mut pages).unwrap();
    assert_eq!(report.aries.unwrap().redo.applied, 32);
}

/// A page that was changed, written, left behind by a checkpoint, and freed behind that. Gives the
/// addresses of its changes, where a copy of the pages may have begun.
fn freed_behind_the_checkpoint() -> (LogBuilder, [Lsn; 2]) {
    let mut log = builder();
    let mut owner = txn(1);
    log.begin(&mut owner);
    let first = log.update(&mut owner, 1, 0, 0, 77);
    let second = log.update(&mut owner, 1, 0, 77, 78);
    log.commit(&mut owner);
    log.end(&mut owner, Outcome::Committed);
    log.whole_checkpoint(&[], &[]);
    log.free(1);
    (log, [first, second])
}

#[test]
fn a24_a_copied_page_freed_behind_the_checkpoint_is_not_given_the_changes_of_its_old_life() {
    let (mut log, [old, _]) = freed_behind_the_checkpoint();
    let mut next = txn(2);
    log.begin(&mut next);
    let new = log.update(&mut next, 1, 1, 0, 1);
    log.commit(&mut next);
    log.end(&mut next, Outcome::Committed);
    let mut copy = Toy::default();
    let (_, report) = recover_with(Aries::new().pages_copied_at(old), &log.finish(), &mut copy);
    report.unwrap();
    assert_eq!((copy.byte(1, 0), copy.byte(1, 1)), (0, 1));
    assert_eq!(copy.applied, [(page(1), new)]);
}

#[test]
fn a24_a_copied_page_that_was_freed_since_keeps_no_log_from_opening_when_it_is_torn() {
    let (log, [_, later]) = freed_behind_the_checkpoint();
    let mut copy = Toy { torn: [page(1)].into(), ..Toy::default() };
    let (_, report) = recover_with(Aries::new().pages_copied_at(later), &log.finish(), &mut copy);
    report.unwrap();
    assert_eq!(copy.applied, []);
}
