//! Statement 9, one promise at a time: each test misses the space of one kind of record.

use wal_format::{Lsn, PageId};

use super::log::MemLog;
use super::pages::{ADD, COUNTER, MemPages, NESTED};
use super::restart::{Bench, OTHER, PAGE};
use super::space::keeps_its_promises;
use crate::aries::{
    Decision, EngineError, LogicalUndo, PageState, PageStore, Txn, TxnManager, UndoScope,
};
use crate::error::RecoveryError;

const CAPACITY: u64 = 64 << 10;

/// Fills the log with changes of a transaction of its own.
fn fill(manager: &std::sync::Arc<TxnManager>, pages: &MemPages) -> Txn {
    let mut txn = manager.begin(0);
    while txn.update(&mut pages.clone(), OTHER, 0, &[0], &[0]).is_ok() {}
    txn
}

/// Everything that rollbacks and the next checkpoint were promised is still there, and enough.
fn abort_and_checkpoint(bench: &Bench, txn: Txn) {
    assert!(keeps_its_promises(bench));
    txn.abort(&mut bench.pages.clone()).unwrap();
    assert!(keeps_its_promises(bench));
    bench.manager.checkpoint(&[0; 1024]).unwrap();
}

#[test]
fn a09_what_cannot_be_undone_has_room_for_its_commit_and_its_end() {
    let bench = Bench::on(MemLog::with_capacity(CAPACITY));
    let mut txns: Vec<Txn> = Vec::new();
    loop {
        let mut txn = bench.begin();
        if txn.update(&mut bench.pages.clone(), PAGE, 0, &[], &[1]).is_err() {
            break;
        }
        txns.push(txn);
    }
    assert!(txns.len() > 50);
    for txn in txns {
        txn.commit(0).unwrap();
        assert!(keeps_its_promises(&bench));
    }
    // The last one may have begun, and found no room for its change.
    bench.manager.rollback_abandoned(&mut bench.pages.clone()).unwrap();
    assert_eq!(bench.manager.active_transactions(), 0);
    bench.manager.checkpoint(&[0; 1024]).unwrap();
}

#[test]
fn a09_nested_top_actions_take_nothing_from_what_was_promised_before() {
    let bench = Bench::on(MemLog::with_capacity(CAPACITY));
    let mut txn = bench.begin();
    for _ in 0..40 {
        txn.update(&mut bench.pages.clone(), PAGE, 0, &[0], &[0]).unwrap();
    }
    for _ in 0..300 {
        let nested = txn.nested_begin().unwrap();
        txn.nested_end(nested).unwrap();
    }
    let other = fill(&bench.manager, &bench.pages);
    abort_and_checkpoint(&bench, txn);
    drop(other);
}

#[test]
fn a09_a_compensation_as_long_as_its_before_image_has_room() {
    for bytes in [1_usize, 8, 9, 16] {
        let bench = Bench::on(MemLog::with_capacity(CAPACITY));
        let image = vec![0; bytes];
        let mut txn = bench.begin();
        while txn.update(&mut bench.pages.clone(), PAGE, 0, &image, &image).is_ok() {}
        abort_and_checkpoint(&bench, txn);
    }
}

/// How an engine takes a logical change back.
enum Undoing {
    /// With a compensation of so many bytes.
    With(usize),
    /// With so many nested changes; then the log is filled, and it gives up.
    GivingUpAfter(u8, std::sync::Arc<TxnManager>, Option<Txn>),
}

struct Engine {
    pages: MemPages,
    undoing: Undoing,
}

impl PageStore for Engine {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        self.pages.page_state(page)
    }

    fn write(&mut self, page: PageId, at: u32, bytes: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        self.pages.write(page, at, bytes, lsn)
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.pages.mark_dirty(page)
    }

    fn undo_logical(
        &mut self,
        undo: &LogicalUndo<'_>,
        scope: &mut dyn UndoScope,
    ) -> Result<(), EngineError> {
        match &mut self.undoing {
            Undoing::With(bytes) => {
                let lsn = scope.compensate(undo.page, ADD, &vec![0; *bytes])?;
                self.pages.write(undo.page, 0, &[], lsn)
            }
            Undoing::GivingUpAfter(changes, manager, filler) => {
                for change in 0..*changes {
                    let lsn = scope.log_update(PAGE, NESTED, &[change], &[change + 1])?;
                    self.pages.write(PAGE, NESTED, &[change + 1], lsn)?;
                }
                *filler = Some(fill(manager, &self.pages));
                Err("the engine gives up".into())
            }
        }
    }
}

#[test]
fn a09_a_compensation_as_long_as_redo_and_undo_together_has_room() {
    let bench = Bench::on(MemLog::with_capacity(CAPACITY));
    let mut txn = bench.begin();
    while txn.log_logical(PAGE, ADD, &[0; 100], &[0; 150]).is_ok() {}
    let mut engine = Engine { pages: bench.pages.clone(), undoing: Undoing::With(250) };
    txn.abort(&mut engine).unwrap();
    assert!(keeps_its_promises(&bench));
    bench.manager.checkpoint(&[0; 1024]).unwrap();
}

#[test]
fn a09_what_an_undo_changes_on_its_way_has_room_to_be_taken_back() {
    let bench = Bench::on(MemLog::with_capacity(CAPACITY));
    let mut txn = bench.begin();
    txn.log_logical(PAGE, ADD, &[1], &[1]).unwrap();
    let undoing = Undoing::GivingUpAfter(100, bench.manager.clone(), None);
    let mut engine = Engine { pages: bench.pages.clone(), undoing };
    let failed = txn.abort(&mut engine);
    assert!(matches!(failed, Err(RecoveryError::Handler { .. })), "{failed:?}");
    assert_eq!(bench.pages.cell(PAGE, NESTED), 0, "half an action is taken back on a full log");
    assert!(keeps_its_promises(&bench));
    let Undoing::GivingUpAfter(_, _, Some(filler)) = engine.undoing else { unreachable!() };
    abort_and_checkpoint(&bench, filler);
}

#[test]
fn a09_what_stays_in_doubt_over_a_restart_takes_nothing_from_others() {
    let bench = Bench::on(MemLog::with_capacity(CAPACITY));
    let mut txn = bench.begin();
    for _ in 0..150 {
        bench.set(&mut txn, PAGE, 0, 1);
    }
    txn.prepare(b"bank-7", b"").unwrap();
    let id = txn.id();
    drop(txn);
    let (after, _) = bench.restart();
    after.manager.settle_in_doubt(&mut after.pages.clone()).unwrap();
    let others = fill(&after.manager, &after.pages);
    after.manager.resolve(id, Decision::Abort, &mut after.pages.clone()).unwrap();
    abort_and_checkpoint(&after, others);
}

#[test]
fn a09_a_rollback_that_waited_since_a_restart_takes_nothing_from_what_was_promised_since() {
    let bench = Bench::on(MemLog::with_capacity(CAPACITY));
    let mut loser = bench.begin();
    for _ in 0..60 {
        bench.add(&mut loser, PAGE, 1);
    }
    let after = bench.crash();
    drop(loser);
    after.pages.0.lock().offline.insert(PAGE);
    assert_eq!(after.undo().unwrap().deferred.len(), 1);
    after.manager.checkpoint(b"").unwrap();
    let others = fill(&after.manager, &after.pages);
    after.pages.0.lock().offline.clear();
    // What it may take was reserved before the restart, and is not known since: it waits.
    let refused = after.undo();
    assert!(matches!(refused, Err(RecoveryError::Log(_))), "{refused:?}");
    abort_and_checkpoint(&after, others);
    after.log.0.lock().capacity = Some(2 * CAPACITY);
    after.undo().unwrap();
    assert_eq!((after.manager.active_transactions(), after.pages.sum(COUNTER)), (0, 0));
}

#[test]
fn a30_a_rollback_without_room_keeps_no_other_from_its_end() {
    let bench = Bench::on(MemLog::with_capacity(CAPACITY));
    let mut loser = bench.begin();
    for _ in 0..60 {
        bench.add(&mut loser, PAGE, 1);
    }
    let waits = loser.id();
    let after = bench.crash();
    drop(loser);
    after.pages.0.lock().offline.insert(PAGE);
    after.undo().unwrap();
    after.manager.checkpoint(b"").unwrap();
    drop(fill(&after.manager, &after.pages));
    after.pages.0.lock().offline.clear();
    let refused = after.manager.rollback_abandoned(&mut after.pages.clone());
    assert!(matches!(refused, Err(RecoveryError::Log(_))), "{refused:?}");
    assert_eq!(after.manager.abandoned(), [waits], "the other one has what it was promised");
}

#[test]
fn a09_a_doubt_without_space_takes_nothing_from_others_when_it_is_decided() {
    let bench = Bench::on(MemLog::with_capacity(CAPACITY));
    let mut txn = bench.begin();
    for _ in 0..150 {
        bench.set(&mut txn, PAGE, 0, 1);
    }
    txn.prepare(b"bank-7", b"").unwrap();
    let id = txn.id();
    drop(txn);
    let after = bench.crash();
    let left = after.reserved() + after.log.0.lock().used + 8_000;
    after.log.0.lock().capacity = Some(left);
    let counts = after.manager.settle_in_doubt(&mut after.pages.clone()).unwrap();
    assert_eq!((counts.waiting, counts.unreserved), (1, 1));
    after.manager.checkpoint(b"").unwrap();
    let others = fill(&after.manager, &after.pages);
    let refused = after.manager.resolve(id, Decision::Abort, &mut after.pages.clone());
    assert!(matches!(refused, Err(RecoveryError::Log(_))), "{refused:?}");
    abort_and_checkpoint(&after, others);
    after.log.0.lock().capacity = Some(2 * CAPACITY);
    after.manager.resolve(id, Decision::Abort, &mut after.pages.clone()).unwrap();
    assert_eq!((after.manager.active_transactions(), after.pages.cell(PAGE, 0)), (0, 0));
}
