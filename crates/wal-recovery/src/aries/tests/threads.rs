//! Many threads at once, on one log and one set of pages.

use std::sync::Arc;

use wal_format::PageId;

use super::pages::COUNTER;
use super::restart::Bench;

#[test]
fn transactions_of_many_threads_keep_the_tables_in_the_order_of_the_log() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let bench = &bench;
            scope.spawn(move || {
                let page = PageId::new(thread);
                for round in 0..60_u8 {
                    let mut txn = bench.begin();
                    bench.set(&mut txn, page, 0, round);
                    // Counters are shared by all: their changes commute.
                    let shared = PageId::new(100 + u64::from(round % 3));
                    bench.add(&mut txn, shared, 1);
                    let savepoint = txn.savepoint();
                    bench.add(&mut txn, shared, 50);
                    txn.rollback_to(&mut bench.pages.clone(), savepoint).unwrap();
                    match round % 4 {
                        0 => txn.abort(&mut bench.pages.clone()).unwrap(),
                        1 => drop(txn),
                        _ => drop(txn.commit(0).unwrap()),
                    }
                    if round % 16 == thread as u8 {
                        bench.manager.checkpoint(b"").unwrap();
                        bench.manager.rollback_abandoned(&mut bench.pages.clone()).unwrap();
                    }
                }
            });
        }
    });
    bench.manager.rollback_abandoned(&mut bench.pages.clone()).unwrap();
    // Two of four rounds commit, in four threads.
    assert_eq!(bench.pages.sum(COUNTER), 4 * 30);
    assert!(bench.manager.tables().txns.is_empty());
    assert_eq!(bench.manager.tables(), bench.log.tables(), "as an analysis rebuilds them");
    let (after, report) = bench.restart();
    assert_eq!(report.clrs, 0);
    assert_eq!(after.pages.sum(COUNTER), 4 * 30);
}

#[test]
fn only_one_of_two_threads_rolls_an_abandoned_transaction_back() {
    for _ in 0..50 {
        let bench = Bench::new();
        let mut txn = bench.begin();
        (0..10).for_each(|_| {
            let _ = bench.add(&mut txn, PageId::new(1), 1);
        });
        drop(txn);
        let manager = Arc::clone(&bench.manager);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| manager.rollback_abandoned(&mut bench.pages.clone()).unwrap());
            }
        });
        assert_eq!(bench.log.compensated().len(), 10);
        assert_eq!(bench.pages.sum(COUNTER), 0);
    }
}
