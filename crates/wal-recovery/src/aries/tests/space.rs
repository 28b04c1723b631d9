//! Statement 9: a full log can always roll back, commit, and take a checkpoint.

use wal_format::PageId;

use super::log::MemLog;
use super::pages::COUNTER;
use super::restart::{Bench, PAGE};
use crate::aries::{Decision, Txn};

/// What the next checkpoints may have reserved for a record that was being appended.
const IN_FLIGHT: u64 = 200;

/// A full log, with transactions that have changed as much as it took.
fn filled(capacity: u64) -> (Bench, Vec<Txn>) {
    let bench = Bench::on(MemLog::with_capacity(capacity));
    let mut txns: Vec<Txn> = (0..5).map(|_| bench.begin()).collect();
    bench.pages.0.lock().nested_in_undo = true;
    'fill: for round in 0_u32.. {
        for (cell, txn) in (0..).zip(&mut txns) {
            let page = PageId::new(u64::from(round % 40));
            let done = match round % 3 {
                0 => bench.try_add(txn, page, 1),
                _ => bench.try_set(txn, page, cell, round as u8),
            };
            if done.is_err() {
                break 'fill;
            }
        }
    }
    (bench, txns)
}

/// Whether everything that is promised still fits.
pub(super) fn keeps_its_promises(bench: &Bench) -> bool {
    let inner = bench.log.0.lock();
    inner.used + inner.reserved <= inner.capacity.unwrap()
}

#[test]
fn a09_a_checkpoint_takes_nothing_from_what_rollbacks_were_promised() {
    let (bench, _txns) = filled(64 << 10);
    assert!(keeps_its_promises(&bench));
    bench.manager.checkpoint(&[0; 1024]).unwrap();
    assert!(keeps_its_promises(&bench));
}

#[test]
fn a09_fill_the_log_then_roll_everything_back() {
    let (bench, txns) = filled(64 << 10);
    let changes = bench.log.kinds().len();
    assert!(changes > 100, "{changes}");
    for txn in txns {
        txn.abort(&mut bench.pages.clone()).unwrap();
        assert!(keeps_its_promises(&bench));
    }
    assert_eq!(bench.pages.sum(COUNTER), 0);
    assert_eq!(bench.manager.active_transactions(), 0);
    bench.manager.checkpoint(&[0; 1024]).unwrap();
}

#[test]
fn a09_fill_the_log_then_take_a_checkpoint_then_roll_everything_back() {
    let (bench, txns) = filled(64 << 10);
    bench.manager.checkpoint(&[0; 1024]).unwrap();
    for txn in txns {
        txn.abort(&mut bench.pages.clone()).unwrap();
    }
    assert_eq!(bench.manager.active_transactions(), 0);
}

#[test]
fn a09_fill_the_log_then_commit_everything() {
    let (bench, txns) = filled(64 << 10);
    for txn in txns {
        txn.commit(0).unwrap();
    }
    assert_eq!(bench.manager.active_transactions(), 0);
}

#[test]
fn a09_fill_the_log_then_end_a_nested_action_and_roll_back() {
    let bench = Bench::on(MemLog::with_capacity(32 << 10));
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let nested = txn.nested_begin().unwrap();
    while bench.try_set(&mut txn, PAGE, 1, 1).is_ok() {}
    txn.nested_end(nested).unwrap();
    txn.abort(&mut bench.pages.clone()).unwrap();
    assert_eq!((bench.pages.cell(PAGE, 0), bench.pages.cell(PAGE, 1)), (0, 1));
}

#[test]
fn a09_a_full_log_undoes_its_losers_at_restart() {
    let (bench, txns) = filled(64 << 10);
    let after = bench.crash();
    drop(txns);
    after.pages.0.lock().nested_in_undo = true;
    after.undo().unwrap();
    assert_eq!(after.pages.sum(COUNTER), 0);
}

#[test]
fn a09_what_stays_in_doubt_over_a_restart_has_the_space_of_its_rollback_again() {
    let bench = Bench::on(MemLog::with_capacity(64 << 10));
    let mut txn = bench.begin();
    (0..50).for_each(|_| {
        bench.set(&mut txn, PAGE, 0, 1);
        bench.add(&mut txn, PAGE, 1);
    });
    txn.prepare(b"bank-7", b"").unwrap();
    let (id, promised) = (txn.id(), bench.reserved());
    drop(txn);
    let (after, _) = bench.restart();
    after.manager.settle_in_doubt(&mut after.pages.clone()).unwrap();
    // With what undo may log beside its compensations, which no other record tells.
    assert!(after.reserved() + IN_FLIGHT >= promised, "{} of {promised}", after.reserved());
    let mut others = after.begin();
    while after.try_set(&mut others, PAGE, 1, 1).is_ok() {}
    after.manager.resolve(id, Decision::Abort, &mut after.pages.clone()).unwrap();
    assert_eq!(after.pages.sum(COUNTER), 0);
}

#[test]
fn a09_a_doubt_for_whose_rollback_there_was_no_room_at_restart_gets_it_with_a_checkpoint() {
    let bench = Bench::on(MemLog::with_capacity(64 << 10));
    let mut txn = bench.begin();
    for _ in 0..100 {
        bench.set(&mut txn, PAGE, 0, 1);
    }
    txn.prepare(b"bank-7", b"").unwrap();
    let (id, promised) = (txn.id(), bench.reserved());
    drop(txn);
    let after = bench.crash();
    let full = after.reserved() + after.log.0.lock().used + 100;
    after.log.0.lock().capacity = Some(full);
    let counts = after.manager.settle_in_doubt(&mut after.pages.clone()).unwrap();
    assert_eq!((counts.waiting, counts.unreserved), (1, 1));
    // Even now it can be rolled back, if nobody else takes the room.
    after.log.0.lock().capacity = Some(64 << 10);
    after.manager.checkpoint(b"").unwrap();
    assert!(after.reserved() + IN_FLIGHT >= promised, "{} of {promised}", after.reserved());
    after.manager.resolve(id, Decision::Abort, &mut after.pages.clone()).unwrap();
    assert_eq!(after.pages.cell(PAGE, 0), 0);
}

#[test]
fn a09_everything_reserved_is_given_back() {
    let bench = Bench::new();
    bench.manager.checkpoint(b"").unwrap();
    let idle = bench.reserved();
    assert!(idle > 0, "the next checkpoint has its space");
    for ending in 0..4 {
        let mut txn = bench.begin();
        bench.set(&mut txn, PAGE, 0, 1);
        bench.add(&mut txn, PAGE, 1);
        let nested = txn.nested_begin().unwrap();
        bench.set(&mut txn, PAGE, 1, 1);
        txn.nested_end(nested).unwrap();
        assert!(bench.reserved() > idle);
        match ending {
            0 => drop(txn.commit(0).unwrap()),
            1 => txn.abort(&mut bench.pages.clone()).unwrap(),
            2 => {
                drop(txn);
                bench.manager.rollback_abandoned(&mut bench.pages.clone()).unwrap();
            }
            _ => {
                txn.prepare(b"bank-7", b"").unwrap();
                txn.abort(&mut bench.pages.clone()).unwrap();
            }
        }
        bench.pages.steal(&bench.manager, PAGE).unwrap();
        bench.manager.checkpoint(b"").unwrap();
        assert_eq!(bench.reserved(), idle, "ending {ending}");
    }
}

#[test]
fn a09_rollback_to_a_savepoint_gives_back_and_so_does_the_end_of_a_nested_action() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    // What the checkpoint of a grown table takes is reserved once, at the first change.
    let before = bench.reserved();
    let savepoint = txn.savepoint();
    for _ in 0..100 {
        bench.set(&mut txn, PAGE, 0, 2);
        bench.add(&mut txn, PAGE, 1);
    }
    assert!(bench.reserved() > before + 100 * 80);
    txn.rollback_to(&mut bench.pages.clone(), savepoint).unwrap();
    let slack = 200 * 24;
    assert!(bench.reserved() <= before + slack, "only the next checkpoint's share is left");
    let nested = txn.nested_begin().unwrap();
    let before = bench.reserved();
    (0..100).for_each(|_| {
        let _ = bench.set(&mut txn, PAGE, 0, 3);
    });
    txn.nested_end(nested).unwrap();
    assert!(bench.reserved() < before);
}

#[test]
fn a09_a_change_that_finds_no_room_for_its_rollback_is_refused_and_changes_nothing() {
    let (bench, mut txns) = filled(64 << 10);
    let (kinds, reserved) = (bench.log.kinds().len(), bench.reserved());
    for _ in 0..10 {
        assert!(bench.try_add(&mut txns[0], PAGE, 1).is_err());
    }
    assert_eq!((bench.log.kinds().len(), bench.reserved()), (kinds, reserved));
}
