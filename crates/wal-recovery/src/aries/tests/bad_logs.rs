//! Chains that no correct program writes: each is an error with a name, and changes nothing.

use wal_format::body::{Begin, Clr, Commit, Compensation, TxnEntry, TxnState, Update};
use wal_format::{Lsn, RecordDraft, RecordKind, TxnId, TxnLink};

use super::log::MemLog;
use super::pages::MemPages;
use super::restart::{Bench, PAGE};
use crate::aries::{Tables, TxnManager};
use crate::error::RecoveryError;
use crate::fault::ChainFault;

const TXN: TxnId = TxnId::new(5);

fn link(txn_id: TxnId, prev_lsn: Lsn) -> TxnLink {
    TxnLink { txn_id, prev_lsn }
}

fn begin(log: &MemLog, txn: TxnId) -> Lsn {
    let body = Begin { isolation: 0 }.encode();
    log.forge(&RecordDraft::new(RecordKind::BEGIN, &[&body]).in_txn(link(txn, Lsn::NONE)))
}

fn update(log: &MemLog, txn: TxnId, prev: Lsn) -> Lsn {
    let body = Update { page: PAGE, offset: 0, before: &[0], after: &[1] };
    let head = body.encode_head();
    log.forge(&RecordDraft::new(RecordKind::UPDATE, &body.parts(&head)).in_txn(link(txn, prev)))
}

fn dummy(log: &MemLog, prev: Lsn, undo_next: Lsn) -> Lsn {
    let body = Clr { undo_next, compensated: Lsn::NONE, action: Compensation::Nothing };
    let head = body.encode_head();
    log.forge(&RecordDraft::new(RecordKind::CLR, &body.parts(&head)).in_txn(link(TXN, prev)))
}

/// Undoes the one loser from `undo_next` on.
fn undo(log: &MemLog, undo_next: Lsn) -> RecoveryError {
    let mut tables = Tables::default();
    tables.txns.insert(TxnEntry {
        txn_id: TXN,
        state: TxnState::RollingBack,
        first_lsn: Lsn::FIRST,
        last_lsn: undo_next,
        undo_next,
        prepare_lsn: Lsn::NONE,
    });
    let manager = TxnManager::resume(log.as_log(), tables, Vec::new());
    let pages = MemPages::default();
    let bench = Bench { log: log.clone(), pages, manager };
    let error = bench.undo().unwrap_err();
    assert_eq!(bench.manager.abandoned(), [TXN], "it can be repeated");
    let again = bench.undo().unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    error
}

#[track_caller]
fn expect(error: &RecoveryError, at: Lsn, fault: ChainFault) {
    let found = match error {
        RecoveryError::BrokenUndo { txn: TXN, lsn, why } => Some((*lsn, *why)),
        _ => None,
    };
    assert_eq!(found, Some((at, fault)), "{error}");
}

#[test]
fn a_compensation_that_leads_forward_is_refused() {
    let log = MemLog::new();
    let begun = begin(&log, TXN);
    let to = begun.checked_add(4096).unwrap();
    let clr = dummy(&log, begun, to);
    expect(&undo(&log, clr), clr, ChainFault::PointsForward { to });
}

#[test]
fn a_compensation_that_leads_to_itself_is_no_endless_loop() {
    let log = MemLog::new();
    let begun = begin(&log, TXN);
    let end = log.0.lock().end;
    let clr = dummy(&log, begun, end);
    expect(&undo(&log, clr), clr, ChainFault::PointsForward { to: clr });
}

#[test]
fn a_record_of_another_transaction_is_not_undone() {
    let log = MemLog::new();
    let other = TxnId::new(6);
    let begun = begin(&log, other);
    let theirs = update(&log, other, begun);
    expect(&undo(&log, theirs), theirs, ChainFault::OtherTransaction { found: other });
}

#[test]
fn a_record_of_no_transaction_is_not_undone() {
    let log = MemLog::new();
    let nobodys = log.forge(&RecordDraft::new(RecordKind::CHECKPOINT_BEGIN, &[&[0; 8]]));
    let fault = ChainFault::OtherTransaction { found: TxnId::NONE };
    expect(&undo(&log, nobodys), nobodys, fault);
}

#[test]
fn a_transaction_without_its_begin_record_is_an_error() {
    let log = MemLog::new();
    let first = update(&log, TXN, Lsn::NONE);
    expect(&undo(&log, first), first, ChainFault::NoBegin);
}

#[test]
fn a_chain_that_goes_on_behind_a_commit_is_an_error() {
    let log = MemLog::new();
    let begun = begin(&log, TXN);
    let body = Commit { timestamp: 0 }.encode();
    let parts: [&[u8]; 1] = [&body];
    let commit = log.forge(&RecordDraft::new(RecordKind::COMMIT, &parts).in_txn(link(TXN, begun)));
    expect(&undo(&log, commit), commit, ChainFault::PassesAnEnd);
}

#[test]
fn an_address_without_a_record_is_an_error() {
    let log = MemLog::new();
    begin(&log, TXN);
    let error = undo(&log, Lsn::FIRST.checked_add(8).unwrap());
    assert!(matches!(error, RecoveryError::BeyondEnd { .. }), "{error}");
}
