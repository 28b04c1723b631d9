//! Records that were logged and are not in their pages: the engine failed in between, or the page
//! could not be reached. Whoever changes the page next must not hide them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod aries_support;

use std::sync::{Arc, Mutex, OnceLock};

use aries_support::{
    ADD, AriesLog, LogBuilder, Running, SEGMENT_BYTES, Toy, entry, known, lsn, page, recover_with,
    restart, txn,
};
use wal_format::body::{Clr, Outcome, TxnState};
use wal_format::{CheckpointPointer, Lsn, PageId, RecordDraft, RecordKind, RecordRef, TxnId};
use wal_recovery::aries::{
    Aries, Decision, EngineError, LogicalRedo, LogicalUndo, PageState, PageStore, Placed, Txn,
    TxnLog, TxnManager, UndoScope, recover_copy,
};
use wal_recovery::{RecoveryError, RecoveryLog};

fn manager_on(running: &Running) -> Arc<TxnManager> {
    TxnManager::new(Arc::new(running.clone()))
}

/// A transaction whose rollback was cut short by the engine, at the compensation of its update.
fn half_rolled_back(running: &Running, manager: &Arc<TxnManager>, pages: &mut Toy) {
    let mut one = manager.begin(0);
    one.update(pages, page(1), 0, &[0], &[66]).unwrap();
    pages.fails_at = Some(lsn_of_the_next_clr(running));
    assert!(one.abort(pages).is_err());
    pages.fails_at = None;
    assert_eq!((running.count(RecordKind::CLR), pages.byte(1, 0)), (1, 66), "logged, not applied");
}

/// Behind the abort record: 24 bytes of header, 16 that link it into its transaction.
fn lsn_of_the_next_clr(running: &Running) -> Lsn {
    running.end().checked_add(40).unwrap()
}

#[test]
fn a06_a_compensation_that_is_not_in_its_page_keeps_others_from_changing_it() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    half_rolled_back(&running, &manager, &mut pages);

    let mut two = manager.begin(0);
    let refused = two.update(&mut pages, page(1), 8, &[0], &[2]);
    assert!(matches!(refused, Err(RecoveryError::PageOffline { .. })), "{refused:?}");
    manager.rollback_abandoned(&mut pages).unwrap();
    assert_eq!((known(&manager), pages.byte(1, 0)), (vec![], 0));
    two.update(&mut pages, page(1), 8, &[0], &[2]).unwrap();
    two.commit(0).unwrap();
    assert_eq!((pages.byte(1, 0), pages.byte(1, 8)), (0, 2));
}

#[test]
fn a06_a_compensation_that_another_change_has_passed_is_logged_and_applied_again() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    half_rolled_back(&running, &manager, &mut pages);
    // As if the engine had let go of its latch before the change was in the page.
    let mut two = manager.begin(0);
    let passed = two.update(&mut pages, page(2), 0, &[0], &[1]).unwrap();
    let mut pages = Toy::with(&[(1, passed, &[66])]);

    manager.rollback_abandoned(&mut pages).unwrap();
    assert_eq!(pages.byte(1, 0), 0);
    assert_eq!(running.count(RecordKind::CLR), 2, "redo must find it behind the page LSN");
}

#[test]
fn a32_a_rollback_beside_a_page_that_comes_back_leaves_it_deferred() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let (log, manager) = watched(running);
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    one.update(&mut pages, page(1), 0, &[0], &[66]).unwrap();
    pages.offline.insert(page(1));
    one.abort(&mut pages).unwrap();
    pages.offline.clear();
    assert!(!log.came_back.lock().unwrap().is_empty(), "it came back in that moment");
    assert_eq!((manager.deferred_pages(), pages.byte(1, 0)), (vec![page(1)], 66));
}

#[test]
fn a14_a_page_is_dirty_since_its_record_before_the_append_of_that_returns() {
    let (log, manager) = watched(Running::new(LogBuilder::new(SEGMENT_BYTES)));
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    let first = one.update(&mut pages, page(1), 0, &[0], &[1]).unwrap();
    one.update(&mut pages, page(1), 0, &[1], &[2]).unwrap();
    // Behind the begin record, and behind each change: a checkpoint copies the table at any time.
    assert_eq!(*log.dirty_since.lock().unwrap(), [None, Some(first), Some(first)]);
}

/// A log in which page 1 is said to be whole just before a compensation is given its address, and
/// which notes since when that page is dirty, just behind each record.
#[derive(Debug)]
struct Watched {
    inner: Running,
    comes_in: Mutex<Option<ComesIn>>,
    manager: OnceLock<Arc<TxnManager>>,
    came_back: Mutex<Vec<bool>>,
    dirty_since: Mutex<Vec<Option<Lsn>>>,
}

/// What happens just before the next change of bytes is given its address.
struct ComesIn(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for ComesIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ComesIn")
    }
}

fn watched(inner: Running) -> (Arc<Watched>, Arc<TxnManager>) {
    let (came_back, dirty_since) = (Mutex::default(), Mutex::default());
    let (manager, comes_in) = (OnceLock::new(), Mutex::default());
    let log = Arc::new(Watched { inner, comes_in, manager, came_back, dirty_since });
    let manager = TxnManager::new(log.clone());
    log.manager.set(Arc::clone(&manager)).unwrap();
    (log, manager)
}

impl TxnLog for Watched {
    fn append(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<Placed, RecoveryError> {
        let comes_in = self.comes_in.lock().unwrap().take_if(|_| draft.kind == RecordKind::UPDATE);
        if let Some(ComesIn(comes_in)) = comes_in {
            comes_in();
        }
        if let (RecordKind::CLR, Some(manager)) = (draft.kind, self.manager.get()) {
            let whole = manager.page_is_back(page(1), self.inner.end());
            self.came_back.lock().unwrap().push(whole);
        }
        let placed = self.inner.append(draft, reserved);
        if let Some(manager) = self.manager.get() {
            self.dirty_since.lock().unwrap().push(manager.tables().dirty.rec_lsn(page(1)));
        }
        placed
    }

    fn read<'b>(&self, lsn: Lsn, buf: &'b mut Vec<u8>) -> Result<RecordRef<'b>, RecoveryError> {
        self.inner.read(lsn, buf)
    }

    fn wait_durable(&self, end: Lsn) -> Result<(), RecoveryError> {
        self.inner.wait_durable(end)
    }

    fn end(&self) -> Lsn {
        self.inner.end()
    }

    fn durable(&self) -> Lsn {
        self.inner.durable()
    }

    fn body_bytes_max(&self) -> usize {
        self.inner.body_bytes_max()
    }

    fn reserve(&self, bytes: u64) -> Result<(), RecoveryError> {
        self.inner.reserve(bytes)
    }

    fn release(&self, bytes: u64) {
        self.inner.release(bytes);
    }

    fn record_checkpoint(&self, pointer: CheckpointPointer) -> Result<(), RecoveryError> {
        self.inner.record_checkpoint(pointer)
    }

    fn unix_us(&self) -> u64 {
        0
    }
}

#[test]
fn a32_an_aborted_doubt_whose_page_is_offline_does_not_keep_the_log_from_opening() {
    let mut log = LogBuilder::new(SEGMENT_BYTES);
    let mut owner = txn(1);
    log.begin(&mut owner);
    log.logical(&mut owner, 1, 5);
    log.prepare(&mut owner, "g");
    let running = Running::new(log);
    let offline = [page(1)].into();
    let mut pages = Toy { offline, decision: Some(Decision::Abort), ..Toy::default() };
    let (report, manager) = restart(Aries::new(), &running, &mut pages).unwrap();
    assert_eq!(report.aries.unwrap().undo.deferred, 1);
    assert_eq!(manager.abandoned(), [TxnId::new(1)]);
    pages.offline.clear();
    manager.recover_page(page(1), &mut pages).unwrap();
    assert_eq!((known(&manager), pages.byte(1, 0)), (vec![], 0));
}

#[test]
fn a28_an_aborted_doubt_is_undone_together_with_the_losers_newest_record_first() {
    let mut log = LogBuilder::new(SEGMENT_BYTES);
    let (mut doubt, mut loser) = (txn(1), txn(2));
    log.begin(&mut doubt);
    let older = log.logical(&mut doubt, 1, 5);
    log.prepare(&mut doubt, "g");
    log.begin(&mut loser);
    let newer = log.update(&mut loser, 1, 0, 0, 7);
    let running = Running::new(log);
    let mut pages = Toy { decision: Some(Decision::Abort), ..Toy::default() };
    let (report, _) = restart(Aries::new(), &running, &mut pages).unwrap();
    assert_eq!(report.aries.unwrap().undo.transactions, 2);
    assert_eq!(compensated(&running), [newer, older]);
}

/// What the compensations of the log undo, in its order.
fn compensated(running: &Running) -> Vec<Lsn> {
    let built = running.built();
    let source = built.source();
    let mut scanner = source.scan(built.range());
    let mut found = Vec::new();
    while let wal_recovery::Step::Record(record) = scanner.next().unwrap() {
        if record.kind() == RecordKind::CLR {
            found.push(Clr::decode(record.body).unwrap().compensated);
        }
    }
    found
}

#[test]
fn a33_a_copy_with_a_page_to_undo_that_cannot_be_reached_is_not_called_whole() {
    let mut log = LogBuilder::new(SEGMENT_BYTES);
    let mut loser = txn(1);
    let first = log.begin(&mut loser);
    let at = log.update(&mut loser, 1, 0, 0, 9);
    // Clean at the checkpoint: redo has no reason to look at it.
    let active = entry(&loser, TxnState::Active, first, at);
    let pointer = log.whole_checkpoint(&[active], &[]);
    log.restore_point("here");
    let built = log.finish();
    let source = built.source();
    let view = RecoveryLog::new(&source, built.range()).with_checkpoint(Some(pointer));
    let mut copy = Toy::with(&[(1, at, &[9])]);
    copy.offline.insert(page(1));
    let refused = recover_copy(&view, &mut copy, None, &mut ());
    assert!(matches!(refused, Err(RecoveryError::PageOffline { .. })), "{refused:?}");
    copy.offline.clear();
    recover_copy(&view, &mut copy, None, &mut ()).unwrap();
    assert_eq!(copy.byte(1, 0), 0);
}

#[test]
fn a18_a_page_said_to_be_written_as_of_the_future_stays_dirty() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    one.update(&mut pages, page(1), 0, &[0], &[66]).unwrap();
    manager.page_written(page(1), lsn(1 << 40));
    assert_eq!(manager.dirty_pages(), 1);
    manager.page_written(page(1), pages.lsn(1));
    assert_eq!(manager.dirty_pages(), 0);
}

#[test]
fn a01_identities_go_on_behind_the_last_number() {
    let mut log = LogBuilder::new(SEGMENT_BYTES);
    let mut loser = txn(u64::MAX);
    log.begin(&mut loser);
    log.update(&mut loser, 1, 0, 0, 9);
    let running = Running::new(log);
    let (_, manager) = restart(Aries::new(), &running, &mut Toy::default()).unwrap();
    assert_eq!(manager.begin(0).id(), TxnId::new(1));
}

#[test]
fn a18_a_page_written_in_the_middle_of_redo_stays_dirty_for_what_redo_did_after_it() {
    for parts in [None, Some(2)] {
        let mut log = LogBuilder::new(SEGMENT_BYTES);
        let mut winner = txn(1);
        log.begin(&mut winner);
        let older = log.update(&mut winner, 1, 0, 0, 1);
        let newer = log.update(&mut winner, 1, 1, 0, 2);
        log.commit(&mut winner);
        log.end(&mut winner, Outcome::Committed);
        // The second change lies before the begin: analysis never sees it.
        log.whole_checkpoint(&[], &[(1, older)]);
        let running = Running::new(log);
        let mut pages = Toy { parts, ..Toy::default() };
        let aries = Aries::new().redo_threads(parts.unwrap_or(1));
        let (_, manager) = restart(aries, &running, &mut pages).unwrap();

        // Stolen and synced between the two changes, and said so as soon as the log ran.
        manager.page_written(page(1), older);
        assert_eq!(manager.dirty_pages(), 1);
        manager.checkpoint(b"").unwrap();
        let mut left = Toy::with(&[(1, older, &[1])]);
        let (_, manager) = restart(Aries::new(), &running, &mut left).unwrap();
        assert_eq!(left.bytes(1)[..2], [1, 2], "the second change is committed");
        manager.page_written(page(1), newer);
        assert_eq!(manager.dirty_pages(), 0, "and now it is in storage");
    }
}

/// Its undo counts a page in byte 0 of page 2, and only then finds its own page offline.
struct Counting {
    pages: Toy,
    /// How many bytes it logs as the count before and after.
    images: (usize, usize),
}

impl PageStore for Counting {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        self.pages.page_state(page)
    }

    fn write(&mut self, page: PageId, at: u32, bytes: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        self.pages.write(page, at, bytes, lsn)
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.pages.mark_dirty(page)
    }

    fn redo_logical(&mut self, redo: &LogicalRedo<'_>, lsn: Lsn) -> Result<(), EngineError> {
        self.pages.redo_logical(redo, lsn)
    }

    fn undo_logical(
        &mut self,
        undo: &LogicalUndo<'_>,
        scope: &mut dyn UndoScope,
    ) -> Result<(), EngineError> {
        let count = self.pages.byte(2, 0);
        let (before, after) = (vec![count; self.images.0], vec![count + 1; self.images.1]);
        let lsn = scope.log_update(page(2), 0, &before, &after)?;
        self.pages.write(page(2), 0, &[count + 1], lsn)?;
        if self.pages.offline.contains(&undo.page) {
            return Err(RecoveryError::PageOffline { page: undo.page }.into());
        }
        scope.end_nested()?;
        self.pages.undo_logical(undo, scope)
    }
}

#[test]
fn a07_half_a_nested_top_action_of_a_rollback_that_is_put_off_is_taken_back_at_once() {
    let mut log = LogBuilder::new(SEGMENT_BYTES);
    let mut loser = txn(1);
    log.begin(&mut loser);
    log.logical(&mut loser, 1, 5);
    let running = Running::new(log);
    let pages = Toy { offline: [page(1)].into(), ..Toy::default() };
    let mut engine = Counting { pages, images: (1, 1) };
    let (_, manager) = restart(Aries::new(), &running, &mut engine).unwrap();
    assert_eq!((manager.abandoned(), engine.pages.byte(2, 0)), (vec![TxnId::new(1)], 0));

    // Somebody else counts, commits, and must not be overwritten when the rollback goes on.
    let mut other = manager.begin(0);
    let nested = other.nested_begin().unwrap();
    other.update(&mut engine, page(2), 0, &[0], &[1]).unwrap();
    other.nested_end(nested).unwrap();
    other.commit(0).unwrap();
    engine.pages.offline.clear();
    manager.recover_page(page(1), &mut engine).unwrap();
    assert_eq!(
        (known(&manager), engine.pages.byte(2, 0), engine.pages.byte(1, 31)),
        (vec![], 2, 0)
    );
}

#[test]
fn a07_an_undo_that_logs_images_which_cannot_be_taken_back_is_refused_as_a_transaction_is() {
    for images in [(1, 4), (1 << 19, 1 << 19)] {
        let mut log = LogBuilder::new(4 * SEGMENT_BYTES);
        let mut loser = txn(1);
        log.begin(&mut loser);
        log.logical(&mut loser, 1, 5);
        let running = Running::new(log);
        let mut engine = Counting { pages: Toy::default(), images };
        let failed = restart(Aries::new(), &running, &mut engine).unwrap_err();
        assert!(failed.to_string().contains("images") || failed.to_string().contains("too long"));
        assert_eq!(running.count(RecordKind::UPDATE), 0, "{images:?}");
    }
}

#[test]
fn a29_an_abort_that_failed_half_way_goes_on_when_it_is_decided_again() {
    let mut log = LogBuilder::new(SEGMENT_BYTES);
    let mut owner = txn(1);
    log.begin(&mut owner);
    log.update(&mut owner, 1, 0, 0, 5);
    log.prepare(&mut owner, "g");
    let running = Running::new(log);
    let mut pages = Toy::default();
    let (_, manager) = restart(Aries::new(), &running, &mut pages).unwrap();
    pages.torn.insert(page(1));
    assert!(manager.resolve(owner.id, Decision::Abort, &mut pages).is_err());
    pages.torn.clear();

    let refused = manager.resolve(owner.id, Decision::Commit, &mut pages);
    assert!(matches!(refused, Err(RecoveryError::Misuse { .. })), "it is being rolled back");
    manager.resolve(owner.id, Decision::Abort, &mut pages).unwrap();
    assert_eq!((known(&manager), pages.byte(1, 0)), (vec![], 0));
    let refused = manager.resolve(owner.id, Decision::Abort, &mut pages);
    assert!(matches!(refused, Err(RecoveryError::Misuse { .. })), "it is over");
}

/// Sets the LSN of a page at its first change, and later an older one.
struct Backwards {
    pages: Toy,
    older: Option<Lsn>,
}

impl PageStore for Backwards {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        self.pages.page_state(page)
    }

    fn write(&mut self, page: PageId, at: u32, bytes: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        self.pages.write(page, at, bytes, lsn)?;
        let older = *self.older.get_or_insert(lsn);
        self.pages.pages.get_mut(&page).unwrap().lsn = older;
        Ok(())
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.pages.mark_dirty(page)
    }
}

#[test]
fn a18_a_page_whose_lsn_goes_backwards_is_not_taken_for_clean() {
    let mut log = LogBuilder::new(SEGMENT_BYTES);
    let mut winner = txn(1);
    log.begin(&mut winner);
    log.update(&mut winner, 1, 0, 0, 1);
    log.update(&mut winner, 1, 1, 0, 2);
    log.commit(&mut winner);
    let running = Running::new(log);
    let mut engine = Backwards { pages: Toy::default(), older: None };
    let (_, manager) = restart(Aries::new(), &running, &mut engine).unwrap();
    let written = engine.pages.lsn(1);
    manager.page_written(page(1), written);
    manager.checkpoint(b"").unwrap();
    // Storage may lack what the page LSN does not tell of: it is done again.
    let mut left = Toy::with(&[(1, written, &[1])]);
    restart(Aries::new(), &running, &mut left).unwrap();
    assert_eq!(left.bytes(1)[..2], [1, 2]);
}

#[test]
fn the_engines_own_bytes_outlive_restarts_that_take_a_checkpoint_themselves() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    manager_on(&running).checkpoint(b"root 7").unwrap();
    for _ in 0..3 {
        let begun = running.count(RecordKind::CHECKPOINT_BEGIN);
        restart(Aries::new(), &running, &mut Toy::default()).unwrap();
        assert_eq!(running.count(RecordKind::CHECKPOINT_BEGIN), begun + 1);
        let (aries, report) = recover_with(Aries::new(), &running.built(), &mut Toy::default());
        report.unwrap();
        assert_eq!(aries.checkpoint_payload(), Some(&b"root 7"[..]));
    }
}

#[test]
fn a02_a_page_whose_lsn_lies_beyond_the_end_is_not_changed() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    // Pages of another history, beside a log that was restored to a point.
    let mut pages = Toy::with(&[(1, lsn(12_288), &[0])]);
    let mut one = manager.begin(0);
    let refused = one.update(&mut pages, page(1), 0, &[0], &[66]);
    assert!(matches!(refused, Err(RecoveryError::PageLsnBeyondEnd { .. })), "{refused:?}");
    assert_eq!((pages.byte(1, 0), running.count(RecordKind::UPDATE)), (0, 0));
    one.update(&mut pages, page(2), 0, &[0], &[1]).unwrap();
    one.commit(0).unwrap();
}

#[test]
fn a32_a_page_that_lacks_changes_takes_no_image_and_is_not_freed() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    half_rolled_back(&running, &manager, &mut pages);
    let image = manager.log_image(page(1), &[5; 32]);
    assert!(matches!(image, Err(RecoveryError::PageOffline { .. })), "{image:?}");
    let free = manager.log_free(page(1));
    assert!(matches!(free, Err(RecoveryError::PageOffline { .. })), "{free:?}");
    manager.rollback_abandoned(&mut pages).unwrap();
    manager.log_image(page(1), &[5; 32]).unwrap();
    manager.log_free(page(1)).unwrap();
}

/// Pages before whose next write another transaction comes in, and whose latch that one had first.
struct LateLatch<'p> {
    pages: &'p mut Toy,
    before: Option<Before<'p>>,
}

type Before<'p> = Box<dyn FnOnce(&mut Toy) + 'p>;

impl PageStore for LateLatch<'_> {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        self.pages.page_state(page)
    }

    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        self.pages.write(page, offset, bytes, lsn)
    }

    fn write_logged(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        log: &mut dyn FnMut() -> Result<Lsn, RecoveryError>,
    ) -> Result<(), EngineError> {
        if let Some(before) = self.before.take() {
            before(self.pages);
        }
        let lsn = log()?;
        self.pages.write(page, offset, bytes, lsn)
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.pages.mark_dirty(page)
    }
}

#[test]
fn a06_a_compensation_that_waited_for_the_latch_does_not_pass_one_that_failed() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    one.update(&mut pages, page(1), 0, &[0], &[66]).unwrap();
    let mut two = manager.begin(0);
    two.update(&mut pages, page(1), 8, &[0], &[77]).unwrap();
    let log = running.clone();
    let fails = move |pages: &mut Toy| {
        pages.fails_at = Some(lsn_of_the_next_clr(&log));
        assert!(one.abort(pages).is_err());
        pages.fails_at = None;
    };
    two.abort(&mut LateLatch { pages: &mut pages, before: Some(Box::new(fails)) }).unwrap();
    // Written as it is, and the power goes.
    let (_, manager) = restart(Aries::new(), &running, &mut pages).unwrap();
    assert_eq!((known(&manager), pages.byte(1, 0), pages.byte(1, 8)), (vec![], 0, 0));
}

/// Adds to the counter of page 1, logically.
fn add(one: &mut Txn, pages: &mut Toy, by: u8) {
    let lsn = one.log_logical(page(1), ADD, &[by], &[by.wrapping_neg()]).unwrap();
    pages.redo_logical(&LogicalRedo { page: page(1), operation: ADD, redo: &[by] }, lsn).unwrap();
}

#[test]
fn a32_a_rollback_goes_on_after_its_page_was_recovered_and_changed_by_others() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    add(&mut one, &mut pages, 5);
    let savepoint = one.savepoint();
    add(&mut one, &mut pages, 7);
    pages.fails_at = Some(running.end());
    assert!(one.rollback_to(&mut pages, savepoint).is_err(), "its compensation is logged only");
    pages.fails_at = None;
    manager.recover_page(page(1), &mut pages).unwrap();
    let mut two = manager.begin(0);
    two.update(&mut pages, page(1), 8, &[0], &[9]).unwrap();
    two.commit(0).unwrap();

    one.rollback_to(&mut pages, savepoint).unwrap();
    assert_eq!(pages.byte(1, 31), 5);
    one.abort(&mut pages).unwrap();
    assert_eq!((known(&manager), pages.byte(1, 31), pages.byte(1, 8)), (vec![], 0, 9));
}

#[test]
fn a32_a_change_without_an_undo_which_a_recovery_brought_is_owed_no_longer() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    one.update(&mut pages, page(2), 0, &[0], &[1]).unwrap();
    pages.fails_at = Some(running.end());
    one.update(&mut pages, page(1), 0, &[], &[66]).unwrap_err();
    pages.fails_at = None;
    manager.recover_page(page(1), &mut pages).unwrap();
    let mut two = manager.begin(0);
    two.update(&mut pages, page(1), 8, &[0], &[9]).unwrap();
    two.commit(0).unwrap();
    one.abort(&mut pages).unwrap();
    assert_eq!((known(&manager), pages.byte(1, 0), pages.byte(2, 0)), (vec![], 66, 0));
}

/// Pages whose next change is followed by an error.
struct FailsBehind<'p> {
    pages: &'p mut Toy,
    /// Whether the change is made before that.
    applies: bool,
    /// What comes in once the latch is free.
    then: Option<Before<'p>>,
}

/// As [`FailsBehind`], without the error.
struct GoesOnBehind<'p>(FailsBehind<'p>);

impl PageStore for GoesOnBehind<'_> {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        self.0.page_state(page)
    }

    fn write(&mut self, page: PageId, at: u32, bytes: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        self.0.write(page, at, bytes, lsn).or(Ok(()))
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.0.mark_dirty(page)
    }
}

impl PageStore for FailsBehind<'_> {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        self.pages.page_state(page)
    }

    fn write(&mut self, page: PageId, at: u32, bytes: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        if self.applies {
            self.pages.write(page, at, bytes, lsn)?;
        }
        if let Some(then) = self.then.take() {
            then(self.pages);
        }
        Err("the engine fails".into())
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.pages.mark_dirty(page)
    }
}

#[test]
fn a06_a_page_that_lacks_a_later_compensation_is_not_whole_when_an_earlier_one_is_settled() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    one.update(&mut pages, page(1), 0, &[0], &[66]).unwrap();
    let mut two = manager.begin(0);
    two.update(&mut pages, page(1), 8, &[0], &[77]).unwrap();
    let failed = one.abort(&mut FailsBehind { pages: &mut pages, applies: true, then: None });
    assert!(failed.is_err(), "its compensation is in the page all the same");
    // Logged for a page that may lack changes, so it is not applied.
    two.abort(&mut pages).unwrap();
    assert_eq!((manager.deferred_pages(), pages.byte(1, 8)), (vec![page(1)], 77));
    manager.rollback_abandoned(&mut pages).unwrap();
    assert_eq!((manager.deferred_pages(), pages.byte(1, 0), pages.byte(1, 8)), (vec![], 0, 0));
}

#[test]
fn a02_a_page_that_went_past_a_record_which_is_not_in_it_is_not_written() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    one.update(&mut pages, page(1), 0, &[0], &[66]).unwrap();
    let mut two = manager.begin(0);
    // The engine gave up, and let go of its latch before anybody was told.
    let passes = |pages: &mut Toy| {
        two.update(pages, page(1), 8, &[0], &[9]).unwrap();
    };
    let then: Option<Before<'_>> = Some(Box::new(passes));
    let gave_up = one.abort(&mut FailsBehind { pages: &mut pages, applies: false, then });
    assert!(gave_up.is_err());
    let page_lsn = pages.lsn(1);
    let refused = manager.before_page_write(page(1), page_lsn);
    assert!(matches!(refused, Err(RecoveryError::PageOffline { .. })), "{refused:?}");

    manager.recover_page(page(1), &mut pages).unwrap();
    assert_eq!((pages.byte(1, 0), pages.byte(1, 8)), (0, 9), "logged and applied again");
    let page_lsn = pages.lsn(1);
    manager.before_page_write(page(1), page_lsn).unwrap();
    two.commit(0).unwrap();
    assert_eq!(manager.deferred_pages(), []);
}

#[test]
fn a31_a_rollback_that_waits_for_a_page_logs_nothing_until_that_is_back() {
    let mut log = LogBuilder::new(SEGMENT_BYTES);
    let mut loser = txn(1);
    log.begin(&mut loser);
    log.logical(&mut loser, 1, 5);
    let running = Running::new(log);
    let pages = Toy { offline: [page(1)].into(), ..Toy::default() };
    let mut engine = Counting { pages, images: (1, 1) };
    let (_, manager) = restart(Aries::new(), &running, &mut engine).unwrap();
    assert_eq!(running.count(RecordKind::UPDATE), 1, "it is known by then for which page it waits");
    let end = running.end();
    for _ in 0..3 {
        let tried = manager.rollback_abandoned(&mut engine).unwrap();
        assert_eq!((tried.deferred, running.end()), (vec![TxnId::new(1)], end));
    }
    engine.pages.offline.clear();
    manager.recover_page(page(1), &mut engine).unwrap();
    assert_eq!((known(&manager), engine.pages.byte(1, 31)), (vec![], 0));
}

#[test]
fn a31_a_decided_abort_that_waits_for_a_page_logs_nothing_until_that_is_back() {
    let mut log = LogBuilder::new(SEGMENT_BYTES);
    let mut owner = txn(1);
    log.begin(&mut owner);
    log.logical(&mut owner, 1, 5);
    log.prepare(&mut owner, "g");
    let running = Running::new(log);
    let mut engine = Counting { pages: Toy::default(), images: (1, 1) };
    let (_, manager) = restart(Aries::new(), &running, &mut engine).unwrap();
    engine.pages.offline.insert(page(1));
    let mut ends = Vec::new();
    for _ in 0..3 {
        let waits = manager.resolve(owner.id, Decision::Abort, &mut engine);
        assert!(matches!(waits, Err(RecoveryError::PageOffline { .. })), "{waits:?}");
        ends.push(running.end());
    }
    assert_eq!((ends[1], ends[2]), (ends[0], ends[0]));
    engine.pages.offline.clear();
    manager.resolve(owner.id, Decision::Abort, &mut engine).unwrap();
    assert_eq!((known(&manager), engine.pages.byte(1, 31)), (vec![], 0));
}

#[test]
fn a30_a_rollback_that_cannot_go_on_keeps_no_other_from_its_end() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    let mut two = manager.begin(0);
    let mut three = manager.begin(0);
    three.update(&mut pages, page(5), 0, &[0], &[1]).unwrap();
    drop(three);
    // Passed by another change, and without a way back: it can only be redone by a restart.
    let passes = move |pages: &mut Toy| {
        two.update(pages, page(1), 8, &[0], &[9]).unwrap();
        two.commit(0).unwrap();
    };
    let then: Option<Before<'_>> = Some(Box::new(passes));
    let gave_up = {
        let mut gives_up = FailsBehind { pages: &mut pages, applies: false, then };
        one.update(&mut gives_up, page(1), 0, &[], &[66])
    };
    assert!(gave_up.is_err());
    let stuck = one.id();
    drop(one);

    assert!(manager.rollback_abandoned(&mut pages).is_err());
    assert_eq!((known(&manager), pages.byte(5, 0)), (vec![stuck], 0));
    let (_, manager) = restart(Aries::new(), &running, &mut Toy::default()).unwrap();
    assert_eq!(known(&manager), []);
}

#[test]
fn a07_no_logical_change_is_taken_back_beside_what_may_be_half_a_nested_top_action() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    let mut older = manager.begin(0);
    add(&mut older, &mut pages, 5);
    let mut newer = manager.begin(0);
    newer.update(&mut pages, page(2), 0, &[0], &[66]).unwrap();
    drop((older, newer));
    pages.torn.insert(page(2));
    assert!(manager.rollback_abandoned(&mut pages).is_err());
    assert_eq!((known(&manager).len(), pages.byte(1, 31)), (2, 5));
    pages.torn.clear();
    manager.rollback_abandoned(&mut pages).unwrap();
    assert_eq!((known(&manager), pages.byte(1, 31), pages.byte(2, 0)), (vec![], 0, 0));
}

#[test]
fn a31_a_page_is_not_whole_while_a_compensation_is_put_off_beside_its_recovery() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    let mut two = manager.begin(0);
    two.update(&mut pages, page(1), 8, &[0], &[77]).unwrap();
    half_rolled_back(&running, &manager, &mut pages);
    let aborts = move |pages: &mut Toy| two.abort(pages).unwrap();
    let then: Option<Before<'_>> = Some(Box::new(aborts));
    let hook = FailsBehind { pages: &mut pages, applies: true, then };
    manager.rollback_abandoned(&mut GoesOnBehind(hook)).unwrap();
    assert_eq!((manager.deferred_pages(), known(&manager)), (vec![], vec![]));
    assert_eq!((pages.byte(1, 0), pages.byte(1, 8)), (0, 0));
}

/// One's compensation failed, and Two's behind it before anybody was told of the first.
fn both_fail(manager: &Arc<TxnManager>, pages: &mut Toy) {
    let mut one = manager.begin(0);
    one.update(pages, page(1), 0, &[0], &[66]).unwrap();
    let mut two = manager.begin(0);
    two.update(pages, page(1), 8, &[0], &[77]).unwrap();
    let fails = move |pages: &mut Toy| {
        assert!(two.abort(&mut FailsBehind { pages, applies: false, then: None }).is_err());
    };
    let then: Option<Before<'_>> = Some(Box::new(fails));
    assert!(one.abort(&mut FailsBehind { pages, applies: false, then }).is_err());
}

#[test]
fn a21_compensations_that_failed_one_behind_the_other_get_into_their_page_in_order() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    both_fail(&manager, &mut pages);
    let before = pages.applied.len();
    manager.rollback_abandoned(&mut pages).unwrap();
    assert_eq!((known(&manager), pages.byte(1, 0), pages.byte(1, 8)), (vec![], 0, 0));
    assert!(pages.applied[before..].is_sorted(), "{:?}", &pages.applied[before..]);
}

#[test]
fn a32_what_went_past_a_record_is_not_forgotten_while_the_page_is_offline() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    one.update(&mut pages, page(1), 0, &[0], &[66]).unwrap();
    let mut two = manager.begin(0);
    let passes = move |pages: &mut Toy| {
        two.update(pages, page(1), 8, &[0], &[9]).unwrap();
        two.commit(0).unwrap();
    };
    let then: Option<Before<'_>> = Some(Box::new(passes));
    let failed = one.abort(&mut FailsBehind { pages: &mut pages, applies: false, then });
    assert!(failed.is_err());
    pages.offline.insert(page(1));
    manager.rollback_abandoned(&mut pages).unwrap();
    assert_eq!(known(&manager), [], "logged once more, for the page to come back");
    pages.offline.clear();
    let page_lsn = pages.lsn(1);
    let refused = manager.before_page_write(page(1), page_lsn);
    assert!(matches!(refused, Err(RecoveryError::PageOffline { .. })), "{refused:?}");
    manager.recover_page(page(1), &mut pages).unwrap();
    assert_eq!((pages.byte(1, 0), pages.byte(1, 8)), (0, 9));
    let (_, _) = restart(Aries::new(), &running, &mut pages).unwrap();
    assert_eq!((pages.byte(1, 0), pages.byte(1, 8)), (0, 9));
}

#[test]
fn a08_a_partial_rollback_does_not_wait_for_the_page_of_an_earlier_one() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let manager = manager_on(&running);
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    let first = one.savepoint();
    add(&mut one, &mut pages, 5);
    pages.offline.insert(page(1));
    let waits = one.rollback_to(&mut pages, first);
    assert!(matches!(waits, Err(RecoveryError::PageOffline { .. })), "{waits:?}");
    let second = one.savepoint();
    one.update(&mut pages, page(2), 0, &[0], &[1]).unwrap();
    let lsn = one.log_logical(page(2), ADD, &[5], &[251]).unwrap();
    pages.redo_logical(&LogicalRedo { page: page(2), operation: ADD, redo: &[5] }, lsn).unwrap();
    one.rollback_to(&mut pages, second).unwrap();
    assert_eq!((pages.byte(2, 0), pages.byte(2, 31)), (0, 0));
}

#[test]
fn a32_a_change_behind_a_compensation_that_was_put_off_since_it_looked_is_put_off_too() {
    let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
    let (log, manager) = watched(running.clone());
    let mut pages = Toy::default();
    let mut one = manager.begin(0);
    one.update(&mut pages, page(1), 16, &[0], &[33]).unwrap();
    let mut two = manager.begin(0);
    two.update(&mut pages, page(2), 0, &[0], &[1]).unwrap();
    // One's rollback had found the page offline; Two found it back, and not among the deferred.
    let mut as_one_saw_it = Toy { offline: [page(1)].into(), ..Toy::default() };
    let puts_off = move || one.abort(&mut as_one_saw_it).unwrap();
    *log.comes_in.lock().unwrap() = Some(ComesIn(Box::new(puts_off)));
    let refused = two.update(&mut pages, page(1), 8, &[0], &[9]);
    assert!(matches!(refused, Err(RecoveryError::PageOffline { .. })), "{refused:?}");
    assert_eq!((pages.byte(1, 8), manager.deferred_pages()), (0, vec![page(1)]));
    assert!(two.commit(0).is_err(), "its change is logged, so it can only be rolled back");
    let (_, manager) = restart(Aries::new(), &running, &mut pages).unwrap();
    assert_eq!((known(&manager), pages.byte(1, 8), pages.byte(1, 16)), (vec![], 0, 0));
}
