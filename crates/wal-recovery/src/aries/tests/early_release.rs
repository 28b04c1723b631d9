//! Statement 3 with early lock release: nobody is told before what they have seen is durable.

use wal_format::{Lsn, RecordKind};

use super::restart::{Bench, PAGE};
use crate::error::RecoveryError;

#[test]
fn a03_an_ordered_commit_waits_for_nothing_and_its_wait_does() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let ordered = txn.commit_ordered(0).unwrap();
    assert_eq!(bench.log.0.lock().waits, 0);
    assert!(bench.log.0.lock().durable <= ordered.lsn());
    let lsn = ordered.lsn();
    ordered.wait().unwrap();
    assert!(bench.log.0.lock().durable > lsn);
}

#[test]
fn a03_a_reader_of_an_unfinished_commit_is_not_acknowledged_before_it() {
    let bench = Bench::new();
    let mut writer = bench.begin();
    bench.set(&mut writer, PAGE, 0, 1);
    let ordered = writer.commit_ordered(0).unwrap();
    let mut reader = bench.begin();
    reader.depends_on(ordered.end());
    reader.commit(0).unwrap();
    assert!(bench.log.0.lock().durable >= ordered.end(), "the reader has waited for the writer");
    drop(ordered);
}

#[test]
fn a03_a_reader_that_cannot_be_sure_of_its_writer_is_not_acknowledged() {
    let bench = Bench::new();
    let mut writer = bench.begin();
    bench.set(&mut writer, PAGE, 0, 1);
    let ordered = writer.commit_ordered(0).unwrap();
    let mut reader = bench.begin();
    assert_eq!(bench.manager.commits_end(), ordered.end());
    reader.depends_on(bench.manager.commits_end());
    bench.log.0.lock().poisoned = true;
    let error = reader.commit(0).unwrap_err();
    assert!(matches!(error, RecoveryError::CommitUnknown { .. }), "{error}");
}

#[test]
fn a03_a_reader_of_nothing_unfinished_waits_for_nothing() {
    let bench = Bench::new();
    bench.begin().commit(0).unwrap();
    assert_eq!(bench.log.0.lock().waits, 0);
}

#[test]
fn a03_what_depends_on_a_reader_depends_on_what_the_reader_saw() {
    let bench = Bench::new();
    let mut writer = bench.begin();
    bench.set(&mut writer, PAGE, 0, 1);
    let ordered = writer.commit_ordered(0).unwrap();
    let mut reader = bench.begin();
    reader.depends_on(ordered.end());
    let reader = reader.commit_ordered(0).unwrap();
    assert_eq!((reader.lsn(), reader.end()), (Lsn::NONE, ordered.end()));
}

#[test]
fn a_dependency_beyond_the_end_of_the_log_is_an_error_and_not_a_wait() {
    let bench = Bench::new();
    let mut reader = bench.begin();
    reader.depends_on(Lsn::MAX);
    assert!(matches!(reader.commit(0), Err(RecoveryError::BeyondEnd { .. })));
    assert_eq!(bench.log.0.lock().waits, 0);
}

#[test]
fn an_ordered_commit_that_nobody_waits_for_commits_all_the_same() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    drop(txn.commit_ordered(0).unwrap());
    assert_eq!(bench.manager.abandoned(), []);
    assert!(!bench.log.kinds().contains(&RecordKind::END), "not before it is durable");
    let (after, report) = bench.restart();
    assert_eq!((report.winners_ended, after.pages.cell(PAGE, 0)), (1, 1));
}
