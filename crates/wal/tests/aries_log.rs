//! The page log end to end: what commits stays, what does not goes, whatever was written when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::pages::{Pages, open_pages};
use common::small;
use wal::{MemoryStorage, PageLog, Storage};

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

fn up(storage: &Arc<dyn Storage>) -> (PageLog, Pages) {
    open_pages(storage, small()).expect("the engine comes up")
}

/// One committed change.
fn commit(log: &PageLog, pages: &mut Pages, page: u64, slot: u64, value: u64) {
    let mut txn = log.begin();
    pages.put(&mut txn, page, slot, value).unwrap();
    txn.commit().unwrap();
}

#[test]
fn what_committed_is_redone_and_what_did_not_is_undone() {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    commit(&log, &mut pages, 1, 0, 10);
    let mut loser = log.begin();
    pages.put(&mut loser, 1, 1, 20).unwrap();
    pages.steal(1).unwrap();
    commit(&log, &mut pages, 1, 2, 30);
    drop((loser, log, pages));
    let (log, mut pages) = up(&storage);
    assert_eq!((pages.get(1, 0), pages.get(1, 1), pages.get(1, 2)), (10, 0, 30));
    let report = log.recovery().aries.clone().expect("a report of the three passes");
    assert_eq!((report.analysis.losers, report.undo.clrs, report.undo.transactions), (1, 1, 1));
}

#[test]
fn a_transaction_goes_back_to_its_savepoint_and_on() {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    let mut txn = log.begin();
    pages.put(&mut txn, 1, 0, 1).unwrap();
    let savepoint = txn.savepoint();
    pages.put(&mut txn, 1, 1, 2).unwrap();
    txn.rollback_to(&mut pages, savepoint).unwrap();
    pages.put(&mut txn, 1, 2, 3).unwrap();
    let committed = txn.commit_with(7).unwrap();
    assert_eq!(
        log.was_committed(committed.txn, committed.lsn).unwrap(),
        wal::CommitFate::Committed
    );
    drop((log, pages));
    let (_log, mut pages) = up(&storage);
    assert_eq!((pages.get(1, 0), pages.get(1, 1), pages.get(1, 2)), (1, 0, 3));
}
