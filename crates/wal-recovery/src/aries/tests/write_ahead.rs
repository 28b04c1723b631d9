//! Statement 2: the write-ahead rule, as a buffer pool asks for it.

use wal_format::Lsn;

use super::restart::{Bench, PAGE};
use crate::error::RecoveryError;

#[test]
fn a02_a_page_waits_for_its_log() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let lsn = bench.set(&mut txn, PAGE, 0, 1);
    assert!(bench.log.0.lock().durable <= lsn);
    bench.manager.before_page_write(PAGE, lsn).unwrap();
    assert!(bench.log.0.lock().durable > lsn);
    bench.manager.before_page_write(PAGE, lsn).unwrap();
    assert_eq!(bench.log.0.lock().waits, 1, "what is durable needs no wait");
}

#[test]
fn a02_a_page_lsn_beyond_the_end_of_the_log_is_an_error_and_not_a_wait() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let end = bench.log.0.lock().end;
    for page_lsn in [end, Lsn::MAX] {
        let error = bench.manager.before_page_write(PAGE, page_lsn).unwrap_err();
        assert!(matches!(error, RecoveryError::PageLsnBeyondEnd { page: PAGE, .. }), "{error}");
    }
    assert_eq!(bench.log.0.lock().waits, 0);
}

#[test]
fn a02_undo_refuses_a_page_from_beyond_the_end_of_the_log() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    bench.pages.0.lock().pages.get_mut(&PAGE).unwrap().lsn = Lsn::MAX;
    let error = txn.abort(&mut bench.pages.clone()).unwrap_err();
    assert!(matches!(error, RecoveryError::PageLsnBeyondEnd { page: PAGE, .. }), "{error}");
}

#[test]
fn a02_a_page_must_not_be_written_when_its_log_cannot_be() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let lsn = bench.set(&mut txn, PAGE, 0, 1);
    bench.log.0.lock().poisoned = true;
    assert!(bench.manager.before_page_write(PAGE, lsn).is_err());
    assert_eq!(bench.manager.dirty_pages(), 1);
}

#[test]
fn a02_a_page_to_which_nothing_was_ever_applied_needs_no_log() {
    let bench = Bench::new();
    bench.manager.before_page_write(PAGE, Lsn::NONE).unwrap();
    assert_eq!(bench.log.0.lock().waits, 0);
}

#[test]
fn a18_a_change_between_write_and_sync_keeps_the_page_dirty_since_that_change() {
    let bench = Bench::new();
    let pool = bench.manager.write_ahead();
    let mut txn = bench.begin();
    let first = bench.set(&mut txn, PAGE, 0, 1);
    pool.before_page_write(PAGE, first).unwrap();
    let second = bench.set(&mut txn, PAGE, 0, 2);
    pool.page_written(PAGE, first);
    assert_eq!(bench.manager.tables().dirty.rec_lsn(PAGE), Some(second));
    pool.before_page_write(PAGE, second).unwrap();
    pool.page_written(PAGE, second);
    assert_eq!(bench.manager.dirty_pages(), 0);
    let image = pool.log_image(PAGE, b"whole page").unwrap();
    assert_eq!(bench.manager.tables().dirty.rec_lsn(PAGE), Some(image));
}

#[test]
fn a02_a_page_whose_record_is_the_first_that_is_not_durable_waits_for_it() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let before = bench.set(&mut txn, PAGE, 0, 1);
    bench.manager.before_page_write(PAGE, before).unwrap();
    let lsn = bench.set(&mut txn, PAGE, 0, 2);
    assert_eq!(bench.log.0.lock().durable, lsn, "durable up to it, and not with it");
    bench.manager.before_page_write(PAGE, lsn).unwrap();
    assert!(bench.log.0.lock().durable > lsn);
}
