//! The page log end to end: what commits stays, what does not goes, whatever was written when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::pages::{Fault, Pages, SLOTS, open_pages};
use common::{open, small};
use wal::{
    Aries, CommitFate, Decision, ErrorKind, Lsn, MemoryStorage, Obligation, PageId, PageLog,
    RecordKind, Storage, SyncMethod, Until, Wal,
};
use wal_sim::{CrashMode, SimDisk};

fn as_storage(disk: &SimDisk) -> Arc<dyn Storage> {
    Arc::new(disk.clone())
}

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
    let done = txn.commit_with(7).unwrap();
    assert_eq!(log.was_committed(done.txn, done.lsn).unwrap(), CommitFate::Committed);
    drop((log, pages));
    let (_log, mut pages) = up(&storage);
    assert_eq!((pages.get(1, 0), pages.get(1, 1), pages.get(1, 2)), (1, 0, 3));
}

#[test]
fn a01_transaction_identifiers_never_come_back() {
    let storage = memory();
    let mut seen = BTreeSet::new();
    for round in 0..5 {
        let (log, mut pages) = up(&storage);
        for _ in 0..3 {
            let mut txn = log.begin();
            assert!(seen.insert(txn.id()), "{} again, in opening {round}", txn.id());
            pages.put(&mut txn, 1, 0, round).unwrap();
            txn.commit().unwrap();
        }
        pages.clean().unwrap();
        if round % 2 == 0 {
            // Nothing of those transactions is left in the log but the end of a checkpoint.
            log.checkpoint(b"").unwrap();
            log.checkpoint(b"").unwrap();
            log.truncate().unwrap();
            log.close().unwrap();
        }
    }
}

#[test]
fn a02_a_page_is_not_written_before_its_log_and_not_at_all_with_an_lsn_beyond_it() {
    let (log, mut pages) = up(&memory());
    let mut txn = log.begin();
    let lsn = pages.put(&mut txn, 1, 0, 5).unwrap();
    assert!(log.positions().durable <= lsn);
    log.before_page_write(PageId::new(1), lsn).unwrap();
    assert!(log.positions().durable > lsn);
    let end = log.positions().reserved;
    let refused = log.before_page_write(PageId::new(1), end).unwrap_err();
    assert_eq!((refused.kind(), refused.lsn()), (ErrorKind::Page, Some(end)));
    txn.abort(&mut pages).unwrap();
}

#[test]
fn a03_whoever_depends_on_an_early_release_is_not_acknowledged_before_it() {
    let (log, mut pages) = up(&memory());
    let mut first = log.begin();
    pages.put(&mut first, 1, 0, 5).unwrap();
    let ordered = first.commit_ordered(0).unwrap();
    assert!(log.positions().durable < ordered.end());
    let mut reader = log.begin();
    reader.depends_on(ordered.end());
    reader.commit().unwrap();
    assert!(log.positions().durable >= ordered.end(), "the reader waited for what it saw");
    assert_eq!(ordered.end(), log.commits_end());
    ordered.wait().unwrap();
}

#[test]
fn a15_truncation_is_held_by_the_oldest_of_all_obligations() {
    let (log, mut pages) = up(&memory());
    let fill = |log: &PageLog, pages: &mut Pages| {
        for number in 0..1500 {
            commit(log, pages, 9, number % SLOTS, number);
        }
        pages.steal(9).unwrap();
    };
    // As many checkpoints as are retained, so that the last one counts.
    let truncate = |log: &PageLog| {
        log.checkpoint(b"").unwrap();
        log.checkpoint(b"").unwrap();
        log.truncate().unwrap()
    };
    let dirty = {
        let mut txn = log.begin();
        let lsn = pages.put(&mut txn, 1, 0, 1).unwrap();
        txn.commit().unwrap();
        lsn
    };
    fill(&log, &mut pages);
    let mut doubt = log.begin();
    pages.put(&mut doubt, 2, 0, 2).unwrap();
    let doubt_first = log.oldest_needed();
    doubt.prepare(b"global", b"locks").unwrap();
    pages.steal(2).unwrap();
    let doubt_id = doubt.id();
    drop(doubt);
    fill(&log, &mut pages);
    let mut active = log.begin();
    pages.put(&mut active, 3, 0, 3).unwrap();
    pages.steal(3).unwrap();
    fill(&log, &mut pages);
    let held_at = log.positions().durable;
    let hold = log.hold("replica", held_at, None).unwrap();
    fill(&log, &mut pages);

    let by_page = truncate(&log);
    assert_eq!((by_page.limit, by_page.held_by), (dirty, Some(Obligation::Checkpoint)));
    assert_eq!(doubt_first, dirty, "the oldest need is that of the dirty page");
    pages.steal(1).unwrap();
    let by_doubt = truncate(&log);
    assert!(by_doubt.limit > by_page.limit && by_doubt.segments > 0);
    log.resolve(doubt_id, Decision::Abort, &mut pages).unwrap();
    pages.clean().unwrap();
    let by_active = truncate(&log);
    assert!(by_active.limit > by_doubt.limit && by_active.segments > 0);
    active.commit().unwrap();
    let by_hold = truncate(&log);
    assert_eq!((by_hold.limit, by_hold.held_by), (held_at, Some(Obligation::Hold)));
    assert!(by_hold.segments > 0);
    drop(hold);
    let free = truncate(&log);
    assert!(free.limit > held_at && free.segments > 0);
    assert_eq!((pages.get(1, 0), pages.get(2, 0), pages.get(3, 0)), (1, 0, 3));
}

#[test]
fn a29_a_transaction_in_doubt_survives_openings_until_it_is_resolved() {
    for decision in [Decision::Commit, Decision::Abort] {
        let storage = memory();
        let (log, mut pages) = up(&storage);
        let mut txn = log.begin();
        pages.put(&mut txn, 1, 0, 5).unwrap();
        txn.prepare(b"order 17", b"page 1").unwrap();
        drop((txn, log, pages));
        for _ in 0..2 {
            let (log, mut pages) = up(&storage);
            assert_eq!(pages.doubts, [(b"order 17".to_vec(), b"page 1".to_vec())]);
            assert_eq!((pages.get(1, 0), log.in_doubt().unwrap().len()), (5, 1));
            log.close().unwrap();
        }
        let (log, mut pages) = up(&storage);
        let doubt = log.in_doubt().unwrap().remove(0);
        log.resolve(doubt.txn, decision, &mut pages).unwrap();
        let left = if decision == Decision::Commit { 5 } else { 0 };
        assert_eq!((pages.get(1, 0), log.in_doubt().unwrap().len()), (left, 0));
        let again = log.resolve(doubt.txn, decision, &mut pages).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Refused);
        log.close().unwrap();
        let (_log, mut pages) = up(&storage);
        assert_eq!((pages.get(1, 0), pages.doubts.len()), (left, 0));
    }
}

#[test]
fn a29_what_became_of_a_prepared_transaction_is_open_until_it_is_resolved() {
    for (decision, fate) in
        [(Decision::Commit, CommitFate::Committed), (Decision::Abort, CommitFate::NotCommitted)]
    {
        let disk = SimDisk::new();
        let (log, mut pages) = up(&as_storage(&disk));
        let mut txn = log.begin();
        let changed = pages.put(&mut txn, 1, 0, 5).unwrap();
        let prepared = txn.prepare(b"order 17", b"").unwrap();
        let lost = txn.commit_ordered(0).unwrap();
        let (id, commit) = (lost.committed().txn, lost.committed().lsn);
        disk.power_off();
        drop((lost, log, pages));
        let storage = as_storage(&disk.crash(CrashMode::LoseAll));
        for _ in 0..2 {
            let (log, _pages) = up(&storage);
            for lsn in [changed, prepared, commit] {
                assert_eq!(log.was_committed(id, lsn).unwrap(), CommitFate::InDoubt, "{lsn}");
            }
        }
        let (log, mut pages) = up(&storage);
        log.resolve(id, decision, &mut pages).unwrap();
        log.sync().unwrap();
        drop((log, pages));
        let (log, _pages) = up(&storage);
        for lsn in [changed, prepared, commit] {
            assert_eq!(log.was_committed(id, lsn).unwrap(), fate, "{lsn}");
        }
    }
}

#[test]
fn a_commit_that_was_lost_is_not_taken_for_that_of_a_later_transaction_with_its_number() {
    let disk = SimDisk::new();
    let (log, mut pages) = up(&as_storage(&disk));
    let mut txn = log.begin();
    pages.put(&mut txn, 1, 0, 5).unwrap();
    let ordered = txn.commit_ordered(0).unwrap();
    let lost = ordered.committed();
    disk.power_off();
    drop((ordered, log, pages));
    let (log, mut pages) = up(&as_storage(&disk.crash(CrashMode::LoseAll)));
    let mut txn = log.begin();
    assert_eq!(txn.id(), lost.txn, "nothing in the log has that number");
    pages.put(&mut txn, 1, 0, 6).unwrap();
    txn.commit().unwrap();
    assert_eq!(log.was_committed(lost.txn, lost.lsn).unwrap(), CommitFate::NotCommitted);
}

#[test]
fn a_transaction_that_is_dropped_holds_the_log_until_it_is_rolled_back() {
    let (log, mut pages) = up(&memory());
    let mut txn = log.begin();
    let id = txn.id();
    pages.put(&mut txn, 1, 0, 5).unwrap();
    drop(txn);
    assert_eq!((log.abandoned(), log.stats().active_transactions), (vec![id], 1));
    let report = log.rollback_abandoned(&mut pages).unwrap();
    assert_eq!((report.rolled_back, report.clrs, pages.get(1, 0)), (1, 1, 0));
    assert_eq!((log.abandoned(), log.stats().active_transactions), (vec![], 0));
}

#[test]
fn a_log_that_is_closed_with_transactions_running_leaves_them_to_the_next_opening() {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    let mut txn = log.begin();
    pages.put(&mut txn, 1, 0, 5).unwrap();
    pages.clean().unwrap();
    log.close().unwrap();
    let closed = pages.put(&mut txn, 1, 1, 6).unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed, "the error of the log comes back whole");
    drop((txn, log, pages));
    let (log, mut pages) = up(&storage);
    assert_eq!(pages.get(1, 0), 0);
    assert_eq!(log.recovery().aries.as_ref().unwrap().undo.transactions, 1);
}

#[test]
fn a_rollback_reads_records_that_are_not_written_yet() {
    let (log, mut pages) = up(&memory());
    let before = log.stats().commit.syncs;
    let mut txn = log.begin();
    for slot in 0..5 {
        pages.put(&mut txn, 1, slot, 5).unwrap();
    }
    let written = log.positions().written;
    assert!(written < log.positions().reserved, "they are in the buffer");
    txn.abort(&mut pages).unwrap();
    assert_eq!(pages.all(2).iter().filter(|number| **number != 0).count(), 0);
    assert_eq!(log.stats().commit.syncs, before, "and reading them needed no sync");
}

#[test]
fn a33_a_copy_is_restored_to_a_restore_point() {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    commit(&log, &mut pages, 1, 0, 10);
    let mut loser = log.begin();
    pages.put(&mut loser, 1, 1, 20).unwrap();
    let lsn = log.restore_point("before the sale").unwrap();
    assert!(log.positions().durable > lsn);
    assert_eq!(log.read_at(lsn).unwrap().header.kind, RecordKind::RESTORE_POINT);
    commit(&log, &mut pages, 1, 0, 11);
    loser.commit().unwrap();
    log.close().unwrap();
    let copy = memory();
    let until = Until::RestorePoint("before the sale".to_owned());
    wal::restore_to_in(&storage, &copy, &until, &mut ()).unwrap();
    let (_log, mut pages) = up(&copy);
    assert_eq!((pages.get(1, 0), pages.get(1, 1)), (10, 0));
}

#[test]
fn a32_a_page_that_is_offline_at_restart_gets_what_it_is_owed_when_it_is_back() {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    commit(&log, &mut pages, 1, 0, 10);
    commit(&log, &mut pages, 2, 0, 20);
    let mut loser = log.begin();
    let owed = log.oldest_needed();
    pages.put(&mut loser, 1, 1, 11).unwrap();
    log.sync().unwrap();
    drop((loser, log, pages));
    let page = PageId::new(1);
    let mut pages = Pages::open(&storage).unwrap();
    pages.offline = vec![page];
    let opener = small().recover_with(Aries::new());
    let log = opener.open_pages_in(Arc::clone(&storage), &mut pages).unwrap();
    assert_eq!((pages.get(2, 0), log.deferred_pages()), (20, vec![page]));
    let mut txn = log.begin();
    let refused = txn.log_update(page, 16, &[0; 8], &[1; 8]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Page);
    let still = log.recover_page(page, &mut pages).unwrap_err();
    assert_eq!(still.kind(), ErrorKind::Page);
    log.checkpoint(b"").unwrap();
    assert!(log.checkpoints().iter().all(|kept| kept.redo_from <= owed), "the log keeps it");
    pages.offline.clear();
    log.recover_page(page, &mut pages).unwrap();
    assert_eq!((pages.get(1, 0), pages.get(1, 1)), (10, 0));
    assert_eq!((log.deferred_pages().len(), log.stats().active_transactions), (0, 0));
}

#[test]
fn a25_a_page_found_torn_while_the_log_runs_is_rebuilt() {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    commit(&log, &mut pages, 1, 0, 10);
    commit(&log, &mut pages, 1, 1, 11);
    pages.clean().unwrap();
    common::overwrite(&*storage, "pages", 512 + 100, &[0xee; 50]);
    pages.forget();
    let page = PageId::new(1);
    assert_eq!(wal::PageStore::page_state(&mut pages, page).unwrap(), wal::PageState::Torn);
    log.recover_page(page, &mut pages).unwrap();
    assert_eq!((pages.get(1, 0), pages.get(1, 1)), (10, 11));
}

#[test]
fn a_restore_point_needs_a_name() {
    let (log, _pages) = up(&memory());
    for name in ["", &"x".repeat(256)] {
        assert_eq!(log.restore_point(name).unwrap_err().kind(), ErrorKind::Refused);
    }
    log.restore_point(&"x".repeat(255)).unwrap();
}

#[test]
fn a_log_recovered_by_undo_refuses_every_record_that_is_none_of_a_transaction_on_pages() {
    let storage = memory();
    let mut pages = Pages::open(&storage).unwrap();
    let wal = small().recover_with(Aries::new()).open_in(Arc::clone(&storage), &mut pages).unwrap();
    let end = wal.positions().reserved;
    let refused = |error: wal::Error| {
        assert_eq!((error.kind(), error.fate()), (ErrorKind::Refused, wal::Fate::NotCommitted));
        assert!(error.to_string().contains("open_pages"), "{error}");
    };
    refused(wal.append(b"x").unwrap_err());
    refused(wal.try_append(b"x").unwrap_err());
    refused(wal.append_batch(&[b"x"]).unwrap_err());
    refused(wal.begin().log(b"x").unwrap_err());
    refused(wal.begin().commit().unwrap_err());
    refused(wal.checkpoint_begin().unwrap_err());
    assert_eq!(wal.positions().reserved, end, "nothing was appended");
}

#[test]
fn a_log_of_pages_is_refused_by_redo_only_and_the_other_way_round() {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    commit(&log, &mut pages, 1, 0, 10);
    log.close().unwrap();
    drop((log, pages));
    let refused = open(&storage, small()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Replay, "{refused}");
    let (_log, mut pages) = up(&storage);
    assert_eq!(pages.get(1, 0), 10, "the refusal changed nothing");

    let storage = memory();
    let (wal, _) = open(&storage, small()).unwrap();
    wal.append(b"a record of a redo-only engine").unwrap().wait_durable().unwrap();
    drop(wal);
    let Err(Fault::Log(refused)) = open_pages(&storage, small()) else { panic!("it opened") };
    assert_eq!(refused.kind(), ErrorKind::Replay, "{refused}");
    assert_eq!(open(&storage, small()).unwrap().1.len(), 1);
}

#[test]
fn a_log_of_pages_needs_syncs() {
    let options = small().sync_method(SyncMethod::None);
    let Err(Fault::Log(refused)) = open_pages(&memory(), options) else { panic!("it opened") };
    assert_eq!(refused.kind(), ErrorKind::Refused);
}

#[test]
fn a_body_whose_rollback_could_not_be_promised_is_refused() {
    let (log, mut pages) = up(&memory());
    let mut txn = log.begin();
    let large = vec![1; 64 << 10];
    let refused = txn.log_update(PageId::new(1), 0, &large, &large).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    pages.put(&mut txn, 1, 0, 5).unwrap();
    txn.commit().unwrap();
    assert_eq!(log.checkpoint(&large).unwrap_err().kind(), ErrorKind::Refused);
    log.checkpoint(&large[..1024]).unwrap();
}

#[test]
fn a_hold_over_its_limit_stops_new_work_and_no_rollback() {
    let (log, mut pages) = up(&memory());
    let mut running = log.begin();
    pages.put(&mut running, 1, 0, 5).unwrap();
    let limit = wal::HoldLimit { bytes: 0, over: wal::OverLimit::RefuseAppends };
    let hold = log.hold("replica", log.positions().durable, Some(limit)).unwrap();
    assert_eq!(pages.put(&mut running, 1, 1, 6).unwrap_err().kind(), ErrorKind::Refused);
    running.abort(&mut pages).unwrap();
    assert_eq!(pages.get(1, 0), 0);
    drop(hold);
    commit(&log, &mut pages, 1, 1, 6);
}

#[test]
fn a35_redo_only_keeps_no_trace_of_what_did_not_commit_and_uses_identifiers_again() {
    let storage = memory();
    let mut ids = Vec::new();
    for round in 0..3 {
        let (wal, _) = open(&storage, small()).unwrap();
        let mut aborted = wal.begin();
        aborted.log(b"aborted").unwrap();
        let mut unfinished = wal.begin();
        unfinished.log(b"unfinished").unwrap();
        let mut first = wal.begin();
        let mut second = wal.begin();
        first.log(format!("first {round}").as_bytes()).unwrap();
        second.log(format!("second {round}").as_bytes()).unwrap();
        ids.push((first.id(), second.id()));
        aborted.abort().unwrap();
        second.commit().unwrap();
        first.commit().unwrap();
        drop((unfinished, wal));
    }
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    let expected: Vec<Vec<u8>> = (0..3)
        .flat_map(|round| {
            [format!("second {round}").into_bytes(), format!("first {round}").into_bytes()]
        })
        .collect();
    assert_eq!(open(&storage, small()).unwrap().1, expected, "in the order of their commits");
}

#[test]
fn a35_pages_keep_no_trace_of_what_did_not_commit() {
    let storage = memory();
    for round in 1..4 {
        let (log, mut pages) = up(&storage);
        let mut aborted = log.begin();
        pages.put(&mut aborted, 1, 0, 100).unwrap();
        let mut unfinished = log.begin();
        pages.put(&mut unfinished, 2, 0, 100).unwrap();
        commit(&log, &mut pages, 3, round, round);
        pages.clean().unwrap();
        aborted.abort(&mut pages).unwrap();
        drop((unfinished, log, pages));
    }
    let (_log, mut pages) = up(&storage);
    assert_eq!((pages.get(1, 0), pages.get(2, 0)), (0, 0));
    assert_eq!([pages.get(3, 1), pages.get(3, 2), pages.get(3, 3)], [1, 2, 3]);
}

#[test]
fn an_engine_that_panics_at_restart_is_an_error_and_restart_can_be_repeated() {
    struct Panics;
    impl wal::PageStore for Panics {
        fn page_state(&mut self, _: PageId) -> Result<wal::PageState, wal::EngineError> {
            panic!("the pool is gone")
        }
        fn write(&mut self, _: PageId, _: u32, _: &[u8], _: Lsn) -> Result<(), wal::EngineError> {
            Err("never asked".into())
        }
        fn mark_dirty(&mut self, _: PageId) -> Result<(), wal::EngineError> {
            Ok(())
        }
    }
    let storage = memory();
    let (log, mut pages) = up(&storage);
    commit(&log, &mut pages, 1, 0, 10);
    drop((log, pages));
    let opener = small().recover_with(Aries::new());
    let refused = opener.open_pages_in(Arc::clone(&storage), &mut Panics).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Replay);
    assert!(refused.to_string().contains("the pool is gone"), "{refused}");
    let (_log, mut pages) = up(&storage);
    assert_eq!(pages.get(1, 0), 10);
}

#[test]
fn the_pages_log_works_in_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let storage: Arc<dyn Storage> =
        Arc::new(wal::FileStorage::open(directory.path().join("pages")).unwrap());
    for round in 0..3 {
        let mut pages = Pages::open(&storage).unwrap();
        let options = Wal::options().segment_bytes(64 << 10);
        let log = options.recover_with(Aries::new()).open_pages(&path, &mut pages).unwrap();
        assert_eq!((pages.get(1, 0), pages.get(1, 1)), (round, 0));
        commit(&log, &mut pages, 1, 0, round + 1);
        let mut loser = log.begin();
        pages.put(&mut loser, 1, 1, 5).unwrap();
        pages.clean().unwrap();
        if round == 1 {
            log.close().unwrap();
        }
    }
}
