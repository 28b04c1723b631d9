//! Analysis: what a restart makes of a checkpoint and of the records behind its begin.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod aries_support;

use aries_support::{
    AriesLog, Built, LogBuilder, Running, SEGMENT_BYTES, Toy, Txn, entry, known, lsn, page,
    recover, restart, txn,
};
use wal_format::body::{CheckpointEnd, Clr, Outcome, TxnEntry, TxnState};
use wal_format::{CheckpointPointer, Lsn, RecordFlags, RecordKind};
use wal_recovery::aries::{Aries, TableFault};
use wal_recovery::{AnalysisReport, AriesReport, CheckpointFault, RecoveryError, RedoReport};

fn builder() -> LogBuilder {
    LogBuilder::new(SEGMENT_BYTES)
}

fn passes(built: &Built) -> AriesReport {
    recover(built, &mut Toy::default()).unwrap().aries.unwrap()
}

fn analysis(built: &Built) -> AnalysisReport {
    passes(built).analysis
}

fn redo(built: &Built) -> RedoReport {
    passes(built).redo
}

fn refused(built: &Built) -> RecoveryError {
    recover(built, &mut Toy::default()).unwrap_err()
}

/// A transaction with one update of page `page`; its first record.
fn active(log: &mut LogBuilder, id: u64, page: u64) -> (Txn, Lsn) {
    let mut txn = txn(id);
    let first = log.begin(&mut txn);
    log.update(&mut txn, page, 0, 0, 1);
    (txn, first)
}

fn active_entry(txn: &Txn, first: Lsn) -> TxnEntry {
    entry(txn, TxnState::Active, first, txn.last)
}

#[test]
fn a16_analysis_starts_at_the_begin_of_the_checkpoint() {
    let mut log = builder();
    let (mut before, _) = active(&mut log, 1, 1);
    log.commit(&mut before);
    log.end(&mut before, Outcome::Committed);
    let begin = log.checkpoint_begin();
    // Between begin and end, and in no table.
    active(&mut log, 2, 2);
    log.part(begin, 0, &[], &[]);
    log.checkpoint_end(begin, begin, 1);
    let found = analysis(&log.finish());
    assert_eq!(found.range.start, begin, "neither the end record nor the head");
    assert_eq!(found.records, 5, "begin, two of the transaction, part, end");
    assert_eq!((found.losers, found.dirty_pages), (1, 1));
}

#[test]
fn a16_a_page_in_both_counts_from_the_older_rec_lsn() {
    let mut log = builder();
    let (mut owner, first) = active(&mut log, 1, 1);
    let old = owner.last;
    let begin = log.checkpoint_begin();
    log.update(&mut owner, 1, 1, 0, 2);
    log.part(begin, 0, &[active_entry(&owner, first)], &[(1, old)]);
    log.checkpoint_end(begin, first, 1);
    assert_eq!(redo(&log.finish()).range.start, old, "the table's, which is older");

    let mut log = builder();
    let (mut owner, first) = active(&mut log, 1, 1);
    let begin = log.checkpoint_begin();
    let older = log.update(&mut owner, 2, 0, 0, 1);
    let newer = log.update(&mut owner, 2, 0, 1, 2);
    log.part(begin, 0, &[active_entry(&owner, first)], &[(2, newer)]);
    log.checkpoint_end(begin, first, 1);
    assert_eq!(redo(&log.finish()).range.start, older, "the record's, which is older");
}

#[test]
fn a16_the_tables_do_not_overwrite_newer_state() {
    let mut log = builder();
    let (mut owner, first) = active(&mut log, 1, 1);
    let begin = log.checkpoint_begin();
    log.part(begin, 0, &[active_entry(&owner, first)], &[]);
    log.commit(&mut owner);
    log.checkpoint_end(begin, first, 1);
    let found = analysis(&log.finish());
    assert_eq!((found.winners, found.losers), (1, 0));
}

#[test]
fn a16_an_entry_newer_than_the_records_behind_the_begin_stands() {
    let mut log = builder();
    let mut owner = txn(1);
    let first = log.begin(&mut owner);
    let update = log.update(&mut owner, 1, 0, 0, 1);
    let begin = log.checkpoint_begin();
    log.abort(&mut owner);
    log.clr(&mut owner, first, update, (1, 0, 0));
    // Copied after the compensation: the abort record must not be taken in again.
    log.part(begin, 0, &[entry(&owner, TxnState::RollingBack, first, first)], &[(1, update)]);
    log.checkpoint_end(begin, first, 1);
    let running = Running::new(log);
    let (report, manager) = restart(Aries::new(), &running, &mut Toy::default()).unwrap();
    assert_eq!(report.aries.unwrap().undo.clrs, 0, "all was compensated");
    assert_eq!(known(&manager), []);
}

#[test]
fn a16_an_ended_transaction_is_not_brought_back() {
    let mut log = builder();
    let (mut owner, first) = active(&mut log, 1, 1);
    log.commit(&mut owner);
    let begin = log.checkpoint_begin();
    let copied = entry(&owner, TxnState::Committed, first, owner.last);
    log.part(begin, 0, &[copied], &[]);
    log.end(&mut owner, Outcome::Committed);
    log.checkpoint_end(begin, first, 1);
    let found = analysis(&log.finish());
    assert_eq!((found.winners, found.losers), (0, 0));
}

#[test]
fn a16_a_transaction_that_ended_before_its_table_was_copied_is_not_missed() {
    let mut log = builder();
    let (mut owner, _) = active(&mut log, 1, 1);
    let begin = log.checkpoint_begin();
    let late = log.update(&mut owner, 2, 0, 0, 1);
    log.commit(&mut owner);
    log.end(&mut owner, Outcome::Committed);
    log.part(begin, 0, &[], &[]);
    log.checkpoint_end(begin, begin, 1);
    let found = passes(&log.finish());
    assert_eq!((found.analysis.winners, found.analysis.losers), (0, 0));
    assert_eq!(found.redo.range.start, late, "its pages count all the same");
}

#[test]
fn a12_a_begin_without_an_end_is_ignored() {
    let mut log = builder();
    let (mut owner, first) = active(&mut log, 1, 1);
    let whole = log.whole_checkpoint(&[active_entry(&owner, first)], &[(1, owner.last)]);
    log.commit(&mut owner);
    log.end(&mut owner, Outcome::Committed);
    // A part of a checkpoint that never ended: what it says of the transaction is of no account.
    let cut_off = log.checkpoint_begin();
    log.part(cut_off, 0, &[active_entry(&txn_at(&owner), first)], &[(9, first)]);
    let found = analysis(&log.finish());
    assert_eq!(found.checkpoint, Some(whole));
    assert_eq!((found.losers, found.dirty_pages), (0, 1));
}

#[test]
fn a12_a_part_of_a_checkpoint_that_never_ended_is_of_no_account_within_another() {
    let mut log = builder();
    let (owner, first) = active(&mut log, 1, 1);
    let cut_off = log.checkpoint_begin();
    let begin = log.checkpoint_begin();
    log.part(cut_off, 0, &[], &[(9, first)]);
    log.part(begin, 0, &[active_entry(&owner, first)], &[(1, owner.last)]);
    let whole = log.checkpoint_end(begin, first, 1);
    let found = analysis(&log.finish());
    assert_eq!((found.checkpoint, found.passed_over), (Some(whole), vec![]));
    assert_eq!((found.losers, found.dirty_pages), (1, 1));
}

fn txn_at(owner: &Txn) -> Txn {
    Txn { id: owner.id, last: owner.last }
}

#[test]
fn a10_tables_over_many_parts_with_changes_in_between_are_read_whole() {
    let mut log = LogBuilder::new(8 << 10);
    let owners: Vec<(Txn, Lsn)> = (1..=60).map(|id| active(&mut log, id, id)).collect();
    let begin = log.checkpoint_begin();
    let entries: Vec<_> = owners.iter().map(|(txn, first)| active_entry(txn, *first)).collect();
    for (index, chunk) in entries.chunks(20).enumerate() {
        log.part(begin, index as u32, chunk, &[]);
        active(&mut log, 70 + index as u64, 70);
    }
    let pages: Vec<_> = owners.iter().map(|(txn, _)| (txn.id.get(), txn.last)).collect();
    for (index, chunk) in pages.chunks(25).enumerate() {
        log.part(begin, 3 + index as u32, &[], chunk);
    }
    log.checkpoint_end(begin, owners[0].1, 6);
    let found = analysis(&log.finish());
    assert_eq!(found.passed_over, []);
    assert_eq!((found.losers, found.dirty_pages), (63, 61));
}

#[test]
fn a17_a_compensation_moves_undo_next_and_enters_its_page() {
    let mut log = builder();
    let mut owner = txn(1);
    let first = log.begin(&mut owner);
    let one = log.update(&mut owner, 1, 0, 0, 11);
    let two = log.update(&mut owner, 2, 0, 0, 22);
    log.abort(&mut owner);
    // Both pages were written: only the compensation makes page 2 dirty again.
    log.whole_checkpoint(&[entry(&owner, TxnState::RollingBack, first, two)], &[]);
    let clr = log.clr(&mut owner, one, two, (2, 0, 0));
    let running = Running::new(log);
    let mut pages = Toy::with(&[(1, one, &[11]), (2, two, &[22])]);
    let (report, _) = restart(Aries::new(), &running, &mut pages).unwrap();
    let passes = report.aries.unwrap();
    assert_eq!(passes.redo.range.start, clr);
    assert_eq!(passes.redo.applied, 1, "the compensation");
    assert_eq!(passes.undo.clrs, 1, "the first update; the second is compensated");
    assert_eq!((pages.byte(1, 0), pages.byte(2, 0)), (0, 0));
}

#[test]
fn a18_a_page_stays_in_the_table_until_somebody_says_that_it_was_written() {
    let mut log = builder();
    let (mut owner, _) = active(&mut log, 1, 1);
    let change = owner.last;
    log.commit(&mut owner);
    log.end(&mut owner, Outcome::Committed);
    let running = Running::new(log);
    // Storage seems to hold the change already.
    let mut pages = Toy::with(&[(1, change, &[1])]);
    let (report, manager) = restart(Aries::new(), &running, &mut pages).unwrap();
    assert_eq!(report.aries.unwrap().redo.skipped_newer, 1);
    assert_eq!(pages.marked, [page(1)], "the engine is to write it");
    assert_eq!(manager.tables().dirty.rec_lsn(page(1)), Some(change));
    manager.before_page_write(page(1), change).unwrap();
    manager.page_written(page(1), change);
    assert!(manager.tables().dirty.is_empty());
}

#[test]
fn a19_redo_starts_at_the_smallest_rec_lsn_which_lies_before_the_checkpoint() {
    let mut log = builder();
    let (mut owner, first) = active(&mut log, 1, 1);
    let oldest = owner.last;
    let newer = log.update(&mut owner, 2, 0, 0, 1);
    log.padding(1000);
    let pointer = log.whole_checkpoint(&[active_entry(&owner, first)], &[(2, newer), (1, oldest)]);
    let found = passes(&log.finish());
    assert!(oldest < pointer.begin);
    assert_eq!(found.redo.range.start, oldest);
    assert_eq!(found.redo.applied, 2);
    assert_eq!(found.analysis.range.start, pointer.begin);
}

#[test]
fn identities_are_not_used_again_though_their_records_are_gone() {
    let mut log = builder();
    log.whole_checkpoint(&[], &[]);
    let running = Running::new(log);
    let (_, manager) = restart(Aries::new(), &running, &mut Toy::default()).unwrap();
    // The end record names 100 as the next one.
    assert_eq!(manager.tables().txns.last_id(), 99);
}

#[test]
fn the_engine_gets_its_own_bytes_back_from_the_checkpoint() {
    let mut log = builder();
    log.whole_checkpoint(&[], &[]);
    let (aries, report) =
        aries_support::recover_with(Aries::new(), &log.finish(), &mut Toy::default());
    report.unwrap();
    assert_eq!(aries.checkpoint_payload(), Some(&b"the engine's"[..]));
}

/// An older whole checkpoint, with one loser and one dirty page, and its log.
fn older() -> (LogBuilder, CheckpointPointer, Txn, Lsn) {
    let mut log = builder();
    let (owner, first) = active(&mut log, 1, 1);
    let pointer = log.whole_checkpoint(&[active_entry(&owner, first)], &[(1, owner.last)]);
    (log, pointer, owner, first)
}

fn falls_back(build: impl FnOnce(&mut LogBuilder, &Txn, Lsn)) -> CheckpointFault {
    let (mut log, pointer, owner, first) = older();
    build(&mut log, &owner, first);
    let report = recover(&log.finish(), &mut Toy::default()).unwrap();
    let found = report.aries.as_ref().unwrap().analysis.clone();
    assert_eq!(found.checkpoint, Some(pointer), "the older one is used");
    assert_eq!((found.losers, found.dirty_pages), (1, 1), "and nothing is missed");
    let [(_, fault)] = found.passed_over[..] else { panic!("one was passed over") };
    assert!(report.to_string().contains(&fault.to_string()), "{report}");
    fault
}

#[test]
fn a_checkpoint_that_lacks_a_part_is_passed_over_and_the_report_says_so() {
    let fault = falls_back(|log, owner, first| {
        let begin = log.checkpoint_begin();
        log.part(begin, 0, &[active_entry(owner, first)], &[]);
        log.checkpoint_end(begin, first, 2);
    });
    assert_eq!(fault, CheckpointFault::MissingParts { expected: 2, found: 1 });
}

#[test]
fn a_checkpoint_whose_parts_are_out_of_place_is_passed_over() {
    let fault = falls_back(|log, owner, first| {
        let begin = log.checkpoint_begin();
        log.part(begin, 1, &[active_entry(owner, first)], &[]);
        log.part(begin, 0, &[], &[]);
        log.checkpoint_end(begin, first, 2);
    });
    assert!(matches!(fault, CheckpointFault::PartOutOfPlace { index: 1, .. }), "{fault}");
}

#[test]
fn a_checkpoint_whose_part_is_damaged_is_passed_over() {
    let fault = falls_back(|log, _, first| {
        let begin = log.checkpoint_begin();
        log.kind(RecordKind::CHECKPOINT_PART, &[1; 20]);
        log.checkpoint_end(begin, first, 1);
    });
    assert!(matches!(fault, CheckpointFault::BadPart { .. }), "{fault}");
}

#[test]
fn a_checkpoint_that_knows_what_was_not_logged_yet_is_passed_over() {
    let fault = falls_back(|log, _, first| {
        let begin = log.checkpoint_begin();
        log.part(begin, 0, &[], &[(5, lsn(begin.get() + 8000))]);
        log.checkpoint_end(begin, first, 1);
    });
    assert!(matches!(fault, CheckpointFault::BadAddress { .. }), "{fault}");
    // A transaction's last record at the address of the very part, or behind it.
    for behind in [0, 8] {
        let mut unknown = Lsn::NONE;
        let fault = falls_back(|log, owner, first| {
            let begin = log.checkpoint_begin();
            unknown = lsn(log.at().get() + behind);
            let entry = TxnEntry { last_lsn: unknown, ..active_entry(owner, first) };
            log.part(begin, 0, &[entry], &[]);
            log.checkpoint_end(begin, first, 1);
        });
        assert!(matches!(fault, CheckpointFault::BadAddress { lsn } if lsn == unknown), "{fault}");
    }
}

#[test]
fn a_checkpoint_that_needs_more_than_it_says_is_passed_over() {
    let fault = falls_back(|log, owner, first| {
        let begin = log.checkpoint_begin();
        log.part(begin, 0, &[active_entry(owner, first)], &[]);
        // The first record of its transaction lies before.
        log.checkpoint_end(begin, begin, 1);
    });
    assert!(matches!(fault, CheckpointFault::BadAddress { .. }), "{fault}");
}

#[test]
fn a_checkpoint_of_a_redo_only_engine_is_passed_over() {
    let fault = falls_back(|log, _, first| {
        let begin = log.checkpoint_begin();
        log.checkpoint(begin, first, "a snapshot of something else");
    });
    assert!(matches!(fault, CheckpointFault::BadPayload(_)), "{fault}");
}

#[test]
fn a_pointer_to_something_else_is_passed_over() {
    let fault = falls_back(|log, _, first| {
        let begin = log.checkpoint_begin();
        let record = log.padding(40);
        let end = log.at();
        log.name_checkpoint(CheckpointPointer { begin, redo_from: first, record, end });
    });
    assert_eq!(fault, CheckpointFault::OtherEnd);
    let fault = falls_back(|log, _, first| {
        let begin = log.checkpoint_begin();
        let end = CheckpointEnd { begin: first, redo_from: first, payload: b"" };
        let record = log.kind(RecordKind::CHECKPOINT_END, &end.encode_head());
        let pointer = CheckpointPointer { begin, redo_from: first, record, end: log.at() };
        log.name_checkpoint(pointer);
    });
    assert_eq!(fault, CheckpointFault::OtherEnd);
}

#[test]
fn without_any_checkpoint_the_log_is_read_from_its_first_record() {
    let mut log = builder();
    active(&mut log, 1, 1);
    let begin = log.checkpoint_begin();
    log.checkpoint_end(begin, begin, 7);
    let found = analysis(&log.finish());
    assert_eq!(found.checkpoint, None);
    assert_eq!(found.passed_over.len(), 1);
    assert_eq!((found.range.start, found.losers), (Lsn::FIRST, 1));
}

#[test]
fn without_a_checkpoint_a_truncated_log_is_refused_and_not_half_recovered() {
    let mut log = LogBuilder::new(8 << 10);
    active(&mut log, 1, 1);
    log.rotate(100);
    active(&mut log, 2, 2);
    let mut built = log.finish();
    built.truncate(1);
    let error = refused(&built);
    assert!(
        matches!(error, RecoveryError::UnusableCheckpoint { fault, .. }
            if fault == CheckpointFault::NoneLeft),
        "{error}"
    );
}

#[test]
fn a_checkpoint_that_needs_what_was_truncated_is_refused() {
    let mut log = LogBuilder::new(8 << 10);
    let (owner, first) = active(&mut log, 1, 1);
    log.rotate(100);
    log.whole_checkpoint(&[active_entry(&owner, first)], &[]);
    let mut built = log.finish();
    built.truncate(1);
    let error = refused(&built);
    assert!(
        matches!(error, RecoveryError::UnusableCheckpoint { fault, .. }
            if fault == CheckpointFault::NotRetained),
        "{error}"
    );
}

#[test]
fn a_record_without_its_begin_is_a_typed_error() {
    let mut log = builder();
    let record = log.update(&mut txn(1), 1, 0, 0, 1);
    let error = refused(&log.finish());
    let RecoveryError::Table { lsn, fault } = error else { panic!("{error}") };
    assert_eq!((lsn, fault), (record, TableFault::NotBegun));

    // Behind the begin of a checkpoint it could have been a transaction that ended meanwhile; it
    // never did.
    let mut log = builder();
    let begin = log.checkpoint_begin();
    let record = log.update(&mut txn(1), 1, 0, 0, 1);
    log.part(begin, 0, &[], &[]);
    log.checkpoint_end(begin, begin, 1);
    let error = refused(&log.finish());
    assert!(matches!(error, RecoveryError::Table { lsn, .. } if lsn == record), "{error}");
}

#[test]
fn a_chain_that_skips_a_record_is_a_typed_error() {
    let mut log = builder();
    let (mut owner, first) = active(&mut log, 1, 1);
    let last = owner.last;
    owner.last = first;
    let record = log.update(&mut owner, 1, 1, 0, 1);
    let error = refused(&log.finish());
    let RecoveryError::Table { lsn, fault } = error else { panic!("{error}") };
    assert_eq!((lsn, fault), (record, TableFault::Unlinked { prev: first, last }));
}

#[test]
fn a_compensation_that_points_forward_or_out_of_its_transaction_is_a_typed_error() {
    let point_to = |to: fn(Lsn, Lsn) -> Lsn| {
        let mut log = builder();
        log.padding(200);
        let (mut owner, first) = active(&mut log, 1, 1);
        log.abort(&mut owner);
        let to = to(first, log.at());
        let clr =
            Clr { undo_next: to, compensated: Lsn::NONE, ..Clr::end_of_nested_top_action(to) };
        let body = clr.parts(&clr.encode_head()).concat();
        let record = log.in_txn(&mut owner, RecordKind::CLR, &body, RecordFlags::NONE);
        let error = refused(&log.finish());
        let RecoveryError::Table { lsn, fault } = error else { panic!("{error}") };
        assert_eq!((lsn, fault), (record, TableFault::UndoNext { to }));
    };
    point_to(|_, own| own);
    point_to(|_, own| lsn(own.get() + 800));
    point_to(|first, _| lsn(first.get() - 8));
}

#[test]
fn a_log_of_another_strategy_is_refused_and_not_taken_for_empty() {
    let mut log = builder();
    let record = log.plain("a change of an engine that logs its own");
    let error = refused(&log.finish());
    assert!(
        matches!(error, RecoveryError::Unfit { lsn, kind: RecordKind::DATA, .. } if lsn == record),
        "{error}"
    );
}

#[test]
fn a34_history_is_not_repeated_across_what_a_salvage_lost() {
    let mut log = builder();
    let (mut owner, _) = active(&mut log, 1, 1);
    log.lose(4096);
    log.commit(&mut owner);
    let mut pages = Toy::default();
    let error = recover(&log.finish(), &mut pages).unwrap_err();
    assert!(matches!(error, RecoveryError::LostRecords { .. }), "{error}");
    assert_eq!(pages.applied, [], "nothing was changed");
}

#[test]
fn a34_redo_does_not_cross_a_loss_before_the_checkpoint_either() {
    for threads in [1, 2] {
        let mut log = builder();
        let (owner, first) = active(&mut log, 1, 1);
        log.lose(4096);
        log.whole_checkpoint(&[active_entry(&owner, first)], &[(1, owner.last)]);
        let mut pages = Toy { parts: Some(threads), ..Toy::default() };
        let aries = Aries::new().redo_threads(threads);
        let (_, report) = aries_support::recover_with(aries, &log.finish(), &mut pages);
        let error = report.unwrap_err();
        assert!(matches!(error, RecoveryError::LostRecords { .. }), "{error}");
    }
}
