//! Engines that fail in the middle: nothing is lost, and everything can be repeated.

use super::pages::COUNTER;
use super::restart::{Bench, OTHER, PAGE};
use crate::error::RecoveryError;

#[test]
fn a31_an_engine_that_fails_at_any_change_of_a_rollback_finishes_it_when_it_works_again() {
    for works_for in 0..8 {
        let bench = Bench::new();
        bench.pages.0.lock().nested_in_undo = works_for % 2 == 1;
        let mut txn = bench.begin();
        bench.set(&mut txn, PAGE, 0, 1);
        bench.add(&mut txn, OTHER, 3);
        bench.set(&mut txn, PAGE, 0, 2);
        bench.add(&mut txn, PAGE, 4);
        bench.pages.0.lock().fuse = Some(works_for);
        let failed = txn.abort(&mut bench.pages.clone()).is_err();
        assert_eq!(failed, works_for < if works_for % 2 == 1 { 6 } else { 4 });
        bench.pages.0.lock().fuse = None;
        bench.manager.rollback_abandoned(&mut bench.pages.clone()).unwrap();
        assert_eq!((bench.pages.cell(PAGE, 0), bench.pages.sum(COUNTER)), (0, 0));
        assert_eq!(bench.log.all(wal_format::RecordKind::ABORT).len(), 1);
        // What was logged and not in its page was put there, so a restart agrees.
        let (after, report) = bench.restart();
        assert_eq!(report.clrs, 0);
        assert_eq!((after.pages.cell(PAGE, 0), after.pages.sum(COUNTER)), (0, 0));
    }
}

#[test]
fn a_change_that_was_logged_and_not_applied_must_be_rolled_back() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    bench.pages.0.lock().fuse = Some(0);
    assert!(matches!(bench.try_set(&mut txn, PAGE, 1, 1), Err(RecoveryError::Handler { .. })));
    bench.pages.0.lock().fuse = None;
    assert!(matches!(bench.try_set(&mut txn, PAGE, 2, 1), Err(RecoveryError::Misuse { .. })));
    let id = txn.id();
    assert!(matches!(txn.commit(0), Err(RecoveryError::Misuse { .. })));
    assert_eq!(bench.manager.abandoned(), [id]);
    bench.manager.rollback_abandoned(&mut bench.pages.clone()).unwrap();
    assert_eq!((bench.pages.cell(PAGE, 0), bench.pages.cell(PAGE, 1)), (0, 0));
}

#[test]
fn an_engine_that_panics_is_an_error_with_the_address_of_the_record() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let lsn = bench.set(&mut txn, PAGE, 0, 1);
    bench.pages.0.lock().panics = true;
    let error = txn.abort(&mut bench.pages.clone()).unwrap_err();
    assert!(matches!(error, RecoveryError::HandlerPanicked { lsn: at, .. } if at == lsn));
    bench.pages.0.lock().panics = false;
    bench.manager.rollback_abandoned(&mut bench.pages.clone()).unwrap();
    assert_eq!(bench.pages.cell(PAGE, 0), 0);
}

#[test]
fn a_logical_undo_without_a_compensation_is_an_error() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.add(&mut txn, PAGE, 1);
    bench.pages.0.lock().forgets_to_compensate = true;
    let error = txn.abort(&mut bench.pages.clone()).unwrap_err();
    assert!(error.to_string().contains("without a compensation"), "{error}");
    bench.pages.0.lock().forgets_to_compensate = false;
    bench.manager.rollback_abandoned(&mut bench.pages.clone()).unwrap();
    assert_eq!(bench.pages.sum(COUNTER), 0);
}

#[test]
fn a_torn_page_stops_an_undo_and_is_named() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let lsn = bench.set(&mut txn, PAGE, 0, 1);
    bench.pages.0.lock().torn.insert(PAGE);
    let error = txn.abort(&mut bench.pages.clone()).unwrap_err();
    assert!(matches!(error, RecoveryError::TornPage { page: PAGE, lsn: at } if at == lsn));
    bench.pages.0.lock().torn.clear();
    bench.manager.rollback_abandoned(&mut bench.pages.clone()).unwrap();
    assert_eq!(bench.pages.cell(PAGE, 0), 0);
}

#[test]
fn a_log_that_fails_within_an_engines_undo_is_named_as_it_is() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.add(&mut txn, PAGE, 1);
    bench.log.burn_after(1);
    let error = txn.abort(&mut bench.pages.clone()).unwrap_err();
    assert!(matches!(error, RecoveryError::Log(_)), "{error}");
    assert_eq!(bench.pages.cell(PAGE, COUNTER), 1);
}
