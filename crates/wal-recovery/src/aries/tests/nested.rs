//! Statement 7: nested top actions, in normal running and within the undo of another change.

use wal_format::body::{Body, Clr};
use wal_format::{Lsn, RecordKind};

use super::pages::{COUNTER, NESTED};
use super::restart::{Bench, OTHER, PAGE};
use crate::error::RecoveryError;

#[test]
fn a07_a_nested_top_action_stays_when_its_transaction_is_rolled_back() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let nested = txn.nested_begin().unwrap();
    bench.set(&mut txn, OTHER, NESTED, 1);
    bench.set(&mut txn, PAGE, NESTED, 1);
    txn.nested_end(nested).unwrap();
    bench.set(&mut txn, PAGE, 1, 2);
    txn.abort(&mut bench.pages.clone()).unwrap();
    assert_eq!(bench.log.compensated().len(), 2);
    assert_eq!((bench.pages.cell(PAGE, 0), bench.pages.cell(PAGE, 1)), (0, 0));
    assert_eq!(bench.pages.sum(NESTED), 2);
}

#[test]
fn a07_a_crash_after_the_dummy_keeps_the_action_and_one_before_it_undoes_it() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let nested = txn.nested_begin().unwrap();
    bench.set(&mut txn, OTHER, NESTED, 1);
    let dummy = txn.nested_end(nested).unwrap();
    let after_dummy = bench.log.0.lock().end;
    for (end, kept) in [(dummy, 0), (after_dummy, 1)] {
        let after = bench.crash_at(end);
        after.undo().unwrap();
        assert_eq!(after.pages.cell(OTHER, NESTED), kept);
        assert_eq!(after.pages.cell(PAGE, 0), 0);
    }
}

#[test]
fn a07_a_nested_action_that_is_a_transactions_first_deed_leaves_nothing_to_undo() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let nested = txn.nested_begin().unwrap();
    bench.set(&mut txn, PAGE, NESTED, 1);
    txn.nested_end(nested).unwrap();
    drop(txn);
    let (after, report) = bench.restart();
    assert_eq!((report.clrs, report.rolled_back), (0, 1));
    assert_eq!(after.pages.cell(PAGE, NESTED), 1);
}

#[test]
fn a07_actions_nest_in_one_another() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let outer = txn.nested_begin().unwrap();
    bench.set(&mut txn, PAGE, 1, 1);
    let inner = txn.nested_begin().unwrap();
    bench.set(&mut txn, PAGE, 2, 1);
    txn.nested_end(inner).unwrap();
    let inner_only = bench.log.0.lock().end;
    bench.set(&mut txn, PAGE, 3, 1);
    txn.nested_end(outer).unwrap();
    let cells = |bench: &Bench| [0, 1, 2, 3].map(|cell| bench.pages.cell(PAGE, cell));
    let after = bench.crash_at(inner_only);
    after.undo().unwrap();
    assert_eq!(cells(&after), [0, 0, 1, 0]);
    txn.abort(&mut bench.pages.clone()).unwrap();
    assert_eq!(cells(&bench), [0, 1, 1, 1]);
}

#[test]
fn a07_a_rollback_over_an_open_action_voids_it() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let savepoint = txn.savepoint();
    let nested = txn.nested_begin().unwrap();
    bench.set(&mut txn, PAGE, 0, 1);
    txn.rollback_to(&mut bench.pages.clone(), savepoint).unwrap();
    let error = txn.nested_end(nested).unwrap_err();
    assert!(matches!(error, RecoveryError::Misuse { .. }), "{error}");
    let outer = txn.nested_begin().unwrap();
    let inner = txn.nested_begin().unwrap();
    txn.nested_end(outer).unwrap();
    assert!(txn.nested_end(inner).is_err(), "it would point into what is kept");
}

#[test]
fn a07_within_a_rollback_the_dummy_leads_back_to_the_change_being_undone() {
    let bench = Bench::new();
    bench.pages.0.lock().nested_in_undo = true;
    let mut txn = bench.begin();
    let first = bench.add(&mut txn, PAGE, 1);
    let second = bench.add(&mut txn, PAGE, 2);
    txn.abort(&mut bench.pages.clone()).unwrap();
    assert_eq!((bench.pages.sum(COUNTER), bench.pages.sum(NESTED)), (0, 2));
    let begin = bench.log.all(RecordKind::BEGIN)[0];
    let mut clrs = Vec::new();
    bench.log.each(|_, body| {
        if let Some(Body::Clr(Clr { undo_next, compensated, .. })) = body {
            clrs.push((undo_next, compensated));
        }
    });
    let none = Lsn::NONE;
    assert_eq!(clrs, [(second, none), (first, second), (first, none), (begin, first)]);
}

#[test]
fn a07_a_rollback_with_nested_actions_survives_a_crash_after_each_of_its_records() {
    let bench = Bench::new();
    bench.pages.0.lock().nested_in_undo = true;
    let mut txn = bench.begin();
    bench.add(&mut txn, PAGE, 1);
    bench.set(&mut txn, OTHER, 0, 3);
    bench.add(&mut txn, PAGE, 2);
    let start = bench.log.0.lock().end;
    txn.abort(&mut bench.pages.clone()).unwrap();
    let ends: Vec<Lsn> = bench.log.0.lock().records.range(start..).map(|(lsn, _)| *lsn).collect();
    assert_eq!(ends.len(), 9, "abort, two nested undos of three records, a plain one, end");
    for end in ends {
        let after = bench.crash_at(end);
        after.undo().unwrap();
        assert_eq!(after.pages.sum(COUNTER), 0, "cut at {end}");
        assert_eq!(after.pages.cell(OTHER, 0), 0, "cut at {end}");
        let mut compensated = after.log.compensated();
        let count = compensated.len();
        compensated.sort();
        compensated.dedup();
        assert_eq!(compensated.len(), count, "cut at {end}: nothing is compensated twice");
        assert!(after.manager.tables().txns.is_empty());
    }
}
