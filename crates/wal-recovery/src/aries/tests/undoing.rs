//! Statements 27, 28, 30 to 32: undo at restart.

use std::collections::BTreeSet;

use wal_format::body::TxnState;
use wal_format::{Lsn, RecordKind};

use super::pages::{COUNTER, MemPages};
use super::restart::{Bench, OTHER, PAGE};
use crate::txn_log::TxnLog;

fn distinct(lsns: &[Lsn]) -> usize {
    lsns.iter().collect::<BTreeSet<_>>().len()
}

/// Three losers whose changes are interleaved, on two pages; and a winner.
fn three_losers() -> Bench {
    let bench = Bench::new();
    let mut winner = bench.begin();
    bench.set(&mut winner, PAGE, 9, 9);
    let mut losers: [_; 3] = std::array::from_fn(|_| bench.begin());
    for round in 1..4 {
        for (cell, txn) in (0..).zip(&mut losers) {
            bench.set(txn, PAGE, cell, round);
            bench.add(txn, OTHER, 1);
        }
    }
    winner.commit(0).unwrap();
    losers.into_iter().for_each(drop);
    bench
}

fn is_undone(pages: &MemPages) -> bool {
    (0..3).all(|cell| pages.cell(PAGE, cell) == 0)
        && pages.sum(COUNTER) == 0
        && pages.cell(PAGE, 9) == 9
}

#[test]
fn a27_undo_goes_on_behind_every_single_record_of_an_undo() {
    let bench = three_losers();
    let (whole, report) = bench.restart();
    assert_eq!((report.rolled_back, report.clrs), (3, 18));
    assert!(is_undone(&whole.pages));
    let start = bench.log.0.lock().end;
    let ends: Vec<Lsn> = whole.log.0.lock().records.range(start..).map(|(lsn, _)| *lsn).collect();
    assert_eq!(ends.len(), 3 + 18 + 3, "abort, compensations, end");
    for end in ends {
        // `whole` lost its pages, of which none was stolen.
        let after = whole.crash_at(end);
        let report = after.undo().unwrap();
        assert!(is_undone(&after.pages), "cut at {end}");
        let compensated = after.log.compensated();
        assert_eq!((compensated.len(), distinct(&compensated)), (18, 18), "cut at {end}");
        assert!(report.records_read <= 18 + 3 + 3 + 3);
    }
}

#[test]
fn a28_losers_are_undone_together_newest_record_first() {
    let bench = three_losers();
    let (after, _) = bench.restart();
    let compensated = after.log.compensated();
    assert_eq!(compensated.len(), 18);
    assert!(compensated.windows(2).all(|pair| pair[0] > pair[1]), "{compensated:?}");
}

#[test]
fn a30_an_end_record_follows_each_rollback_and_no_restart_does_it_again() {
    let bench = three_losers();
    let (after, _) = bench.restart();
    assert_eq!(after.log.all(RecordKind::END).len(), 4);
    assert!(after.manager.tables().txns.is_empty());
    let (again, report) = after.restart();
    assert_eq!((report.rolled_back, report.clrs, report.records_read), (0, 0, 0));
    assert_eq!(again.log.kinds(), after.log.kinds(), "nothing is left to log");
}

#[test]
fn a30_a_rollback_whose_end_record_was_lost_only_lacks_that() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    // Abort and compensation, not the end record.
    bench.log.burn_after(2);
    assert!(txn.abort(&mut bench.pages.clone()).is_err());
    let (after, report) = bench.restart();
    assert_eq!((report.rolled_back, report.clrs), (1, 0));
    assert_eq!(after.log.kinds().last(), Some(&RecordKind::END));
}

#[test]
fn a31_restarts_interrupted_again_and_again_converge_with_one_compensation_a_change() {
    let mut bench = three_losers();
    let mut restarts = 0;
    loop {
        restarts += 1;
        let after = bench.crash();
        after.log.burn_after(2);
        let done = after.undo().is_ok();
        after.log.0.lock().fuse = None;
        bench = after;
        if done {
            break;
        }
        assert!(restarts < 100, "it does not converge");
    }
    let compensated = bench.log.compensated();
    assert_eq!((compensated.len(), distinct(&compensated)), (18, 18));
    assert_eq!(bench.log.all(RecordKind::ABORT).len(), 3, "said once");
    assert!(is_undone(&bench.pages));
    assert!((12..=14).contains(&restarts), "{restarts} restarts of two records each");
}

#[test]
fn undo_of_n_records_costs_n_addressed_reads_however_long_the_log_is() {
    let reads = |others: usize| {
        let bench = Bench::new();
        let mut loser = bench.begin();
        for change in 0..50 {
            bench.set(&mut loser, PAGE, 0, change);
            for _ in 0..others {
                let mut txn = bench.begin();
                bench.set(&mut txn, OTHER, 0, 1);
                txn.commit(0).unwrap();
            }
        }
        drop(loser);
        let after = bench.crash();
        let report = after.undo().unwrap();
        let inner = after.log.0.lock();
        assert_eq!(inner.scans, 0, "the log is not scanned");
        assert_eq!(inner.reads.len() as u64, report.records_read);
        report.records_read
    };
    assert_eq!(reads(0), 51, "fifty changes and the begin record");
    assert_eq!(reads(20), 51);
}

#[test]
fn a32_a_physical_change_of_an_offline_page_is_compensated_without_it() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    bench.set(&mut txn, OTHER, 0, 1);
    bench.manager.log().wait_durable(bench.log.end()).unwrap();
    bench.pages.steal(&bench.manager, OTHER).unwrap();
    drop(txn);
    let after = bench.crash();
    after.pages.0.lock().offline.insert(OTHER);
    let report = after.undo().unwrap();
    assert_eq!((report.rolled_back, report.clrs), (1, 2), "nothing waits for the page");
    assert_eq!(after.manager.deferred_pages(), [OTHER]);
    assert_eq!(after.pages.cell(PAGE, 0), 0);
    // What it is owed stays in the table, so it holds the log.
    let rec_lsn = after.manager.tables().dirty.rec_lsn(OTHER).unwrap();
    assert!(after.manager.checkpoint(b"").unwrap().redo_from <= rec_lsn);
    let lsn = after.pages.lsn(OTHER);
    after.manager.page_written(OTHER, Lsn::MAX);
    assert!(after.manager.tables().dirty.rec_lsn(OTHER).is_some(), "no write is evidence, {lsn}");
}

#[test]
fn a32_a_page_that_lacks_changes_is_left_alone_until_it_is_recovered() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, OTHER, 0, 1);
    bench.add(&mut txn, OTHER, 1);
    drop(txn);
    let log = bench.log.crashed();
    let deferred = vec![OTHER];
    let manager = crate::aries::TxnManager::resume(log.as_log(), log.tables(), deferred);
    let pages = MemPages::default();
    let after = Bench { log, pages, manager };
    // The page is back, yet nobody has redone it. The engine would not know.
    let report = after.undo().unwrap();
    assert_eq!((report.rolled_back, report.deferred.len()), (0, 1));
    assert!(after.pages.0.lock().versions.is_empty());
    let mut txn = after.begin();
    assert!(after.try_set(&mut txn, OTHER, 0, 2).is_err());
    // Once it is redone up to the end, the rollback goes on.
    super::restart::redo(&after.log, &after.pages);
    assert!(!after.manager.page_is_back(OTHER, Lsn::FIRST), "not redone far enough");
    assert!(after.manager.page_is_back(OTHER, after.log.end()));
    let report = after.manager.rollback_abandoned(&mut after.pages.clone()).unwrap();
    assert_eq!((report.rolled_back, report.clrs), (1, 2));
    assert_eq!((after.pages.cell(OTHER, 0), after.pages.sum(COUNTER)), (0, 0));
}

#[test]
fn a32_bytes_of_a_page_that_is_back_and_lacks_changes_are_not_put_into_it() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, OTHER, 0, 1);
    drop(txn);
    let log = bench.log.crashed();
    let manager = crate::aries::TxnManager::resume(log.as_log(), log.tables(), vec![OTHER]);
    let after = Bench { log, pages: MemPages::default(), manager };
    let report = after.undo().unwrap();
    assert_eq!((report.rolled_back, report.clrs), (1, 1), "compensated in the log");
    // In the page its LSN would say that the changes before it are there too.
    assert!(after.pages.0.lock().versions.is_empty());
    assert_eq!(after.manager.deferred_pages(), [OTHER]);
}

#[test]
fn a32_a_logical_undo_that_needs_an_offline_page_waits_and_the_others_do_not() {
    let bench = Bench::new();
    let mut waits = bench.begin();
    let mut goes = bench.begin();
    bench.set(&mut waits, PAGE, 0, 1);
    bench.add(&mut waits, OTHER, 1);
    bench.set(&mut goes, PAGE, 1, 1);
    let (waits, goes) = { (waits.id(), goes.id()) };
    let after = bench.crash();
    after.pages.0.lock().offline.insert(OTHER);
    let report = after.undo().unwrap();
    assert_eq!((report.rolled_back, report.deferred.as_slice()), (1, &[waits][..]));
    let tables = after.manager.tables();
    assert!(tables.txns.get(goes).is_none());
    assert_eq!(tables.txns.get(waits).unwrap().state, TxnState::RollingBack, "without an end");
    assert_eq!(after.pages.cell(PAGE, 0), 1, "what is older waits with it");
    after.pages.0.lock().offline.clear();
    let report = after.manager.rollback_abandoned(&mut after.pages.clone()).unwrap();
    assert_eq!((report.rolled_back, report.clrs), (1, 2));
    assert_eq!((after.pages.cell(PAGE, 0), after.pages.sum(COUNTER)), (0, 0));
}

#[test]
fn progress_is_told_from_the_start_of_an_undo_to_its_end() {
    struct Calls(Vec<(Lsn, Lsn, Lsn)>);
    impl crate::Progress for Calls {
        fn advance(&mut self, _: crate::Phase, range: wal_format::LsnRange, at: Lsn) {
            self.0.push((range.start, at, range.end));
        }
    }
    let bench = three_losers();
    let after = bench.crash();
    let mut calls = Calls(Vec::new());
    after.manager.undo_losers(&mut after.pages.clone(), &mut calls).unwrap();
    let (first, last) = (calls.0[0], calls.0[calls.0.len() - 1]);
    assert_eq!((first.0, last.1), (first.1, last.2));
}
