//! Statement 29: transactions in doubt.

use wal_format::RecordKind;

use super::restart::{Bench, PAGE};
use crate::aries::Decision;
use crate::error::RecoveryError;

fn prepared() -> (Bench, wal_format::TxnId) {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    txn.prepare(b"bank-7", b"row 17").unwrap();
    let id = txn.id();
    drop(txn);
    (bench, id)
}

#[test]
fn a29_a_prepare_is_durable_when_it_returns_and_nothing_can_be_changed_after_it() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let lsn = txn.prepare(b"bank-7", b"").unwrap();
    assert!(bench.log.0.lock().durable > lsn);
    let error = bench.try_set(&mut txn, PAGE, 0, 2).unwrap_err();
    assert!(matches!(error, RecoveryError::Misuse { .. }), "{error}");
    assert!(txn.prepare(b"bank-8", b"").is_err());
    txn.commit(0).unwrap();
    assert_eq!(bench.manager.active_transactions(), 0);
}

#[test]
fn a29_in_doubt_transactions_are_not_undone_and_get_their_locks_back() {
    let (bench, id) = prepared();
    let (after, report) = bench.restart();
    assert_eq!((report.rolled_back, report.clrs), (0, 0));
    assert_eq!(after.pages.cell(PAGE, 0), 1);
    let doubts = after.manager.in_doubt().unwrap();
    assert_eq!(doubts.len(), 1);
    let told = (doubts[0].txn, doubts[0].global_id.as_slice(), doubts[0].locks.as_slice());
    assert_eq!(told, (id, &b"bank-7"[..], &b"row 17"[..]));
    let counts = after.manager.settle_in_doubt(&mut after.pages.clone()).unwrap();
    assert_eq!(counts.waiting, 1, "a coordinator that cannot decide leaves it in doubt");
    assert_eq!(after.pages.0.lock().told, [(b"bank-7".to_vec(), b"row 17".to_vec())]);
    let (again, _) = after.restart();
    assert_eq!(again.manager.in_doubt().unwrap(), doubts, "and so it stays");
}

#[test]
fn a29_what_the_coordinator_decided_is_done() {
    for (decision, cell, outcome) in
        [(Decision::Commit, 1, RecordKind::COMMIT), (Decision::Abort, 0, RecordKind::ABORT)]
    {
        let (bench, id) = prepared();
        let (after, _) = bench.restart();
        after.pages.0.lock().decision = Some(decision);
        let counts = after.manager.settle_in_doubt(&mut after.pages.clone()).unwrap();
        assert_eq!(counts.committed + counts.rolled_back, 1);
        // What is to be rolled back has become one of the losers.
        after.manager.rollback_abandoned(&mut after.pages.clone()).unwrap();
        assert_eq!(after.pages.cell(PAGE, 0), cell);
        let kinds = after.log.kinds_of(id);
        assert!(kinds.contains(&outcome) && kinds.last() == Some(&RecordKind::END));
        assert!(after.manager.in_doubt().unwrap().is_empty());
    }
}

#[test]
fn a29_only_what_is_in_doubt_and_held_by_nobody_can_be_resolved() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let id = txn.id();
    let resolve = |decision| bench.manager.resolve(id, decision, &mut bench.pages.clone());
    assert!(matches!(resolve(Decision::Commit), Err(RecoveryError::Misuse { .. })));
    txn.prepare(b"bank-7", b"").unwrap();
    assert!(matches!(resolve(Decision::Abort), Err(RecoveryError::Misuse { .. })), "it is held");
    assert!(bench.manager.in_doubt().unwrap().is_empty());
    drop(txn);
    assert_eq!(bench.manager.abandoned(), [], "nobody rolls it back unasked");
    resolve(Decision::Wait).unwrap();
    resolve(Decision::Abort).unwrap();
    assert_eq!(bench.pages.cell(PAGE, 0), 0);
}

#[test]
fn a29_a_decision_whose_commit_is_not_durable_is_unknown() {
    let (bench, id) = prepared();
    bench.log.0.lock().poisoned = true;
    let error = bench.manager.resolve(id, Decision::Commit, &mut bench.pages.clone()).unwrap_err();
    assert!(matches!(error, RecoveryError::CommitUnknown { .. }), "{error}");
    assert_eq!(bench.manager.active_transactions(), 1);
}

#[test]
fn a29_an_empty_name_that_nobody_could_resolve_is_refused() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    assert!(matches!(txn.prepare(b"", b"lock"), Err(RecoveryError::Encode { .. })));
    txn.commit(0).unwrap();
}
