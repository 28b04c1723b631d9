//! Statement 8: rollback to a savepoint.

use wal_format::RecordKind;
use wal_format::body::TxnState;

use super::pages::COUNTER;
use super::restart::{Bench, OTHER, PAGE};
use crate::error::RecoveryError;

#[test]
fn a08_a_rollback_to_a_savepoint_takes_back_what_came_after_and_the_transaction_goes_on() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let savepoint = txn.savepoint();
    bench.set(&mut txn, PAGE, 0, 2);
    bench.add(&mut txn, OTHER, 7);
    txn.rollback_to(&mut bench.pages.clone(), savepoint).unwrap();
    assert_eq!((bench.pages.cell(PAGE, 0), bench.pages.sum(COUNTER)), (1, 0));
    let entry = *bench.manager.tables().txns.get(txn.id()).unwrap();
    assert_eq!(entry.state, TxnState::Active);
    bench.set(&mut txn, PAGE, 1, 3);
    txn.commit(0).unwrap();
    assert!(!bench.log.kinds().contains(&RecordKind::ABORT));
    let (after, _) = bench.restart();
    assert_eq!((after.pages.cell(PAGE, 0), after.pages.cell(PAGE, 1)), (1, 3));
}

#[test]
fn a08_a_later_total_rollback_skips_what_was_compensated() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let savepoint = txn.savepoint();
    (2..6).for_each(|to| {
        let _ = bench.set(&mut txn, PAGE, 0, to);
    });
    txn.rollback_to(&mut bench.pages.clone(), savepoint).unwrap();
    bench.set(&mut txn, PAGE, 1, 9);
    txn.abort(&mut bench.pages.clone()).unwrap();
    assert_eq!((bench.pages.cell(PAGE, 0), bench.pages.cell(PAGE, 1)), (0, 0));
    let mut compensated = bench.log.compensated();
    assert_eq!(compensated.len(), 6, "four, then the one behind the savepoint and the first");
    compensated.sort();
    compensated.dedup();
    assert_eq!(compensated.len(), 6, "each once");
}

#[test]
fn a08_nested_rollbacks_stay_bounded() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let outer = txn.savepoint();
    for round in 0..20 {
        bench.set(&mut txn, PAGE, 0, round + 1);
        let inner = txn.savepoint();
        bench.set(&mut txn, PAGE, 1, round + 1);
        txn.rollback_to(&mut bench.pages.clone(), inner).unwrap();
        txn.rollback_to(&mut bench.pages.clone(), inner).unwrap();
        if round % 5 == 4 {
            txn.rollback_to(&mut bench.pages.clone(), outer).unwrap();
        }
    }
    txn.abort(&mut bench.pages.clone()).unwrap();
    assert_eq!(bench.log.compensated().len(), 40, "one for each of the 40 changes");
    let pages = &bench.pages;
    assert_eq!((pages.cell(PAGE, 0), pages.cell(PAGE, 1)), (0, 0));
}

#[test]
fn a08_a_savepoint_before_the_first_change_takes_everything_back() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let start = txn.savepoint();
    txn.rollback_to(&mut bench.pages.clone(), start).unwrap();
    assert_eq!(bench.log.kinds(), [], "there was nothing to take back");
    bench.set(&mut txn, PAGE, 0, 1);
    txn.rollback_to(&mut bench.pages.clone(), start).unwrap();
    txn.commit(0).unwrap();
    assert_eq!(bench.pages.cell(PAGE, 0), 0);
}

#[test]
fn a08_a_savepoint_that_was_rolled_back_is_refused() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let outer = txn.savepoint();
    bench.set(&mut txn, PAGE, 0, 1);
    let inner = txn.savepoint();
    txn.rollback_to(&mut bench.pages.clone(), outer).unwrap();
    let mut other = bench.begin();
    for error in [
        txn.rollback_to(&mut bench.pages.clone(), inner).unwrap_err(),
        other.rollback_to(&mut bench.pages.clone(), outer).unwrap_err(),
    ] {
        assert!(matches!(error, RecoveryError::Misuse { .. }), "{error}");
    }
    txn.rollback_to(&mut bench.pages.clone(), outer).unwrap();
}

#[test]
fn a08_a_crash_in_a_partial_rollback_undoes_the_rest_and_nothing_twice() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let savepoint = txn.savepoint();
    (2..6).for_each(|to| {
        let _ = bench.set(&mut txn, PAGE, 0, to);
    });
    bench.log.burn_after(2);
    assert!(txn.rollback_to(&mut bench.pages.clone(), savepoint).is_err());
    drop(txn);
    let (after, report) = bench.restart();
    assert_eq!(report.clrs, 3);
    assert_eq!(after.log.compensated().len(), 5);
    assert_eq!(after.pages.cell(PAGE, 0), 0);
}
