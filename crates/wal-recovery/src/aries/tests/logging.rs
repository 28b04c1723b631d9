//! Statements 1, 3 to 6: what is logged, and when a commit counts.

use wal_format::body::{Body, Compensation, TxnState};
use wal_format::{Lsn, RecordKind};

use super::log::dead;
use super::pages::{COUNTER, MemPages};
use super::restart::{Bench, OTHER, PAGE};
use crate::error::RecoveryError;
use crate::txn_log::TxnLog;

#[test]
fn a01_every_record_names_the_one_before_it_and_addresses_only_grow() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let mut other = bench.begin();
    let lsns = [
        bench.set(&mut txn, PAGE, 0, 1),
        bench.set(&mut other, PAGE, 1, 1),
        bench.set(&mut txn, OTHER, 0, 2),
        bench.set(&mut txn, PAGE, 2, 3),
    ];
    assert!(lsns.is_sorted());
    txn.commit(0).unwrap();
    other.abort(&mut bench.pages.clone()).unwrap();
    // The rebuild checks that each record links to the last one of its transaction.
    assert!(bench.log.tables().txns.is_empty());
}

#[test]
fn a01_identities_are_not_used_again_after_a_restart() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let id = txn.id();
    drop(txn);
    let (after, _) = bench.restart();
    assert!(after.begin().id() > id);
}

#[test]
fn a_transaction_that_only_reads_logs_nothing() {
    let bench = Bench::new();
    let read = bench.begin().commit(0).unwrap();
    assert_eq!(read.lsn, Lsn::NONE);
    bench.begin().abort(&mut bench.pages.clone()).unwrap();
    drop(bench.begin());
    assert_eq!(bench.log.kinds(), []);
    assert_eq!(bench.manager.active_transactions(), 0);
}

#[test]
fn a03_a_commit_returns_when_its_record_is_durable() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let committed = txn.commit(7).unwrap();
    assert!(bench.log.0.lock().durable > committed.lsn);
}

#[test]
fn a03_a_commit_of_a_poisoned_log_is_unknown_and_its_transaction_is_not_ended() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let id = txn.id();
    bench.set(&mut txn, PAGE, 0, 1);
    bench.log.0.lock().poisoned = true;
    let error = txn.commit(0).unwrap_err();
    assert!(matches!(error, RecoveryError::CommitUnknown { txn, .. } if txn == id), "{error}");
    let state = bench.manager.tables().txns.get(id).unwrap().state;
    assert_eq!(state, TxnState::Committed);
    assert_eq!(bench.manager.end_committed().unwrap(), 0, "it may yet be lost");
    assert_eq!(bench.manager.abandoned(), [], "nor may it be rolled back");
    assert!(!bench.log.kinds().contains(&RecordKind::END));
}

#[test]
fn a03_a_commit_whose_record_has_an_address_when_the_log_fails_is_unknown() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    bench.log.0.lock().fails_behind = Some(RecordKind::COMMIT);
    let error = txn.commit(0).unwrap_err();
    let commit = bench.log.all(RecordKind::COMMIT)[0];
    assert!(matches!(error, RecoveryError::CommitUnknown { lsn, .. } if lsn == commit), "{error}");
    assert_eq!(bench.manager.abandoned(), [], "it must not be rolled back: a restart may find it");
    assert_eq!(bench.manager.active_transactions(), 1);
}

#[test]
fn a04_commit_then_end_and_only_then_out_of_the_table() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let id = txn.id();
    bench.set(&mut txn, PAGE, 0, 1);
    let ordered = txn.commit_ordered(0).unwrap();
    let entry = *bench.manager.tables().txns.get(id).expect("commit is not end");
    assert_eq!(entry.state, TxnState::Committed);
    ordered.wait().unwrap();
    assert_eq!(bench.manager.active_transactions(), 0);
    use RecordKind as K;
    assert_eq!(bench.log.kinds(), [K::BEGIN, K::UPDATE, K::COMMIT, K::END]);
}

#[test]
fn a04_a_winner_without_its_end_record_needs_only_that_at_restart() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let id = txn.id();
    bench.set(&mut txn, PAGE, 0, 1);
    // The crash comes between commit and end.
    bench.log.burn_after(1);
    let ordered = txn.commit_ordered(0).unwrap();
    assert!(ordered.wait().is_err());
    let (after, report) = bench.restart();
    assert_eq!((report.winners_ended, report.clrs, report.rolled_back), (1, 0, 0));
    assert_eq!(after.pages.cell(PAGE, 0), 1);
    use RecordKind as K;
    assert_eq!(after.log.kinds_of(id), [K::BEGIN, K::UPDATE, K::COMMIT, K::END]);
    let (_, again) = after.restart();
    assert_eq!(again.winners_ended, 0, "an end record is written once");
}

#[test]
fn a04_an_end_record_that_finds_no_place_is_written_by_the_next_checkpoint() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let ordered = txn.commit_ordered(0).unwrap();
    drop(ordered);
    let end = bench.log.end();
    bench.log.wait_durable(end).unwrap();
    assert_eq!(bench.manager.active_transactions(), 1);
    bench.manager.checkpoint(b"").unwrap();
    assert_eq!(bench.manager.active_transactions(), 0);
}

#[test]
fn a05_the_compensation_of_a_logical_change_names_the_page_really_touched() {
    let bench = Bench::new();
    bench.pages.0.lock().undo_on = Some(OTHER);
    let mut txn = bench.begin();
    let lsn = bench.add(&mut txn, PAGE, 5);
    txn.abort(&mut bench.pages.clone()).unwrap();
    assert_eq!(bench.pages.cell(PAGE, COUNTER), 5, "what is undone has moved");
    assert_eq!(bench.pages.sum(COUNTER), 0);
    let mut named = Vec::new();
    bench.log.each(|_, body| {
        if let Some(Body::Clr(clr)) = body {
            named.push((clr.page(), clr.compensated));
        }
    });
    assert_eq!(named, [(OTHER, lsn)]);
    // Redo finds it there too.
    let (after, _) = bench.restart();
    assert_eq!(after.pages.sum(COUNTER), 0);
    assert_eq!(after.pages.cell(PAGE, COUNTER), 5);
}

#[test]
fn a06_undo_next_of_a_compensation_is_what_comes_before_the_record_compensated() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let first = bench.set(&mut txn, PAGE, 0, 1);
    let second = bench.set(&mut txn, PAGE, 0, 2);
    let begin = bench.log.all(RecordKind::BEGIN)[0];
    txn.abort(&mut bench.pages.clone()).unwrap();
    let mut chain = Vec::new();
    bench.log.each(|_, body| {
        if let Some(Body::Clr(clr)) = body {
            assert!(matches!(clr.action, Compensation::Bytes { .. }));
            chain.push((clr.compensated, clr.undo_next));
        }
    });
    assert_eq!(chain, [(second, first), (first, begin)]);
    assert_eq!(bench.pages.cell(PAGE, 0), 0);
}

#[test]
fn a06_a_compensation_is_never_undone() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    bench.set(&mut txn, PAGE, 1, 1);
    // The rollback is cut behind its first compensation.
    bench.log.burn_after(2);
    assert!(txn.abort(&mut bench.pages.clone()).is_err());
    let (after, report) = bench.restart();
    assert_eq!(report.clrs, 1, "only what was not compensated yet");
    let compensated = after.log.compensated();
    assert_eq!(compensated.len(), 2);
    assert_ne!(compensated[0], compensated[1]);
    assert_eq!((after.pages.cell(PAGE, 0), after.pages.cell(PAGE, 1)), (0, 0));
}

#[test]
fn a_change_that_is_never_undone_is_passed_over() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    txn.update(&mut bench.pages.clone(), PAGE, 3, b"", &[9]).unwrap();
    bench.set(&mut txn, PAGE, 0, 1);
    txn.abort(&mut bench.pages.clone()).unwrap();
    assert_eq!((bench.pages.cell(PAGE, 3), bench.pages.cell(PAGE, 0)), (9, 0));
    assert_eq!(bench.log.compensated().len(), 1);
}

#[test]
fn what_cannot_be_undone_as_logged_is_refused_before_it_is_logged() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let long = vec![0; 1 << 16];
    let refused = [
        txn.log_update(PAGE, 0, b"two", b"unlike").unwrap_err(),
        txn.log_update(wal_format::PageId::NONE, 0, b"a", b"b").unwrap_err(),
        txn.log_update(PAGE, u32::MAX, b"a", b"b").unwrap_err(),
        txn.log_update(PAGE, 0, &long, &long).unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, RecoveryError::Misuse { .. }), "{error}");
    }
    assert_eq!(bench.log.kinds(), []);
}

#[test]
fn a_log_that_refuses_a_change_leaves_page_and_tables_as_they_were() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let before = bench.manager.tables();
    bench.log.burn_after(0);
    let error = bench.try_set(&mut txn, PAGE, 0, 2).unwrap_err();
    assert_eq!(error.to_string(), dead().to_string());
    assert_eq!(bench.pages.cell(PAGE, 0), 1);
    assert_eq!(bench.manager.tables(), before);
}

#[test]
fn a_handle_dropped_without_an_end_is_rolled_back_when_somebody_looks_after_it() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let id = txn.id();
    bench.set(&mut txn, PAGE, 0, 1);
    assert_eq!(bench.manager.abandoned(), [], "it is held");
    let first = bench.manager.tables().txns.get(id).unwrap().first_lsn;
    drop(txn);
    assert_eq!(bench.manager.abandoned(), [id]);
    assert_eq!(bench.manager.oldest_needed(), first, "it holds the log");
    let report = bench.manager.rollback_abandoned(&mut bench.pages.clone()).unwrap();
    assert_eq!((report.rolled_back, report.clrs), (1, 1));
    assert_eq!(bench.pages.cell(PAGE, 0), 0);
    assert_eq!(bench.manager.active_transactions(), 0);
}

#[test]
fn images_and_frees_have_no_undo() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    txn.log_image(OTHER, b"whole page").unwrap();
    txn.log_free(OTHER).unwrap();
    assert_eq!(bench.manager.tables().dirty.rec_lsn(OTHER), None, "freed, so not dirty");
    bench.manager.log_image(OTHER, b"its next life").unwrap();
    txn.abort(&mut MemPages::clone(&bench.pages)).unwrap();
    assert_eq!(bench.log.compensated().len(), 1);
}
