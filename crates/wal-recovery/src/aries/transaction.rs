//! A transaction, as an engine uses it.
//!
//! ```text
//!   begin ─► update, log_update, log_logical ─► prepare ─► commit ─► (durable) ─► ended
//!              │  savepoint / rollback_to          │
//!              │  nested_begin / nested_end        └─────► abort ─► ended
//!              └─► abort, or dropped: rolled back by whoever looks after that
//! ```
//!
//! Left to others: locks between transactions, latches on pages, what is in a page.
//!
//! Invariant: while a [`Txn`] lives, nobody else logs for its transaction.
//!
//! Source: ARIES, "Normal processing" and "Nested top actions"; statements 1, 3 to 9, 13.

use std::sync::Arc;

use wal_format::body::{Begin, Clr, Logical, PageFree, PageImage, Prepare, Update};
use wal_format::{Lsn, PageId, RecordDraft, RecordKind, TxnId};

use super::engine_call::call_engine;
use super::manager::{Applied, TxnManager};
use super::marks::Marks;
use super::ordered_commit::{Committed, OrderedCommit};
use super::pages::{PageState, PageStore};
use super::reservation::{
    BEGIN_RECORD_BYTES, CLOSING_BYTES, logical_rollback_bytes, update_kept_bytes,
};
use super::tables::Effect;
use super::undo_scope::{may_apply, why_unfit};
use crate::error::RecoveryError;

/// A transaction. Dropped without an end it stays in the table, holds the log, and is rolled back
/// by [`TxnManager::rollback_abandoned`]; one that is prepared stays in doubt.
#[derive(Debug)]
pub struct Txn {
    pub(super) manager: Arc<TxnManager>,
    pub(super) id: TxnId,
    isolation: u8,
    /// Whether its begin record is logged.
    pub(super) begun: bool,
    /// Whether it has come to an end, as far as this handle goes.
    over: bool,
    /// It has seen changes whose commit record ends there.
    depends_on: Lsn,
    pub(super) marks: Marks,
}

impl TxnManager {
    /// Begins a transaction. Nothing is logged before its first change.
    ///
    /// `isolation` is the engine's number for the isolation level; 0 is none.
    #[must_use]
    pub fn begin(self: &Arc<Self>, isolation: u8) -> Txn {
        Txn {
            manager: Arc::clone(self),
            id: self.state().tables.txns.next_id(),
            isolation,
            begun: false,
            over: false,
            depends_on: Lsn::NONE,
            marks: Marks::default(),
        }
    }
}

impl Txn {
    /// Its identity, which no other transaction has of which a record is durable. One that lost every
    /// record to a crash leaves its identity to another.
    #[must_use]
    pub const fn id(&self) -> TxnId {
        self.id
    }

    /// Whether it has logged anything.
    #[must_use]
    pub const fn has_logged(&self) -> bool {
        self.begun
    }

    /// Its manager.
    #[must_use]
    pub const fn manager(&self) -> &Arc<TxnManager> {
        &self.manager
    }

    /// Logs a change of bytes and puts `after` into `page` at `offset`, with the LSN returned.
    ///
    /// `before` is what stands there; of the same length, or empty for a change that is never
    /// undone.
    ///
    /// # Durability
    ///
    /// None before the commit is durable.
    ///
    /// # Errors
    ///
    /// - Those of [`log_update`](Self::log_update): nothing changed.
    /// - [`RecoveryError::PageLsnBeyondEnd`]: the page is of another log. Who uses
    ///   [`log_update`](Self::log_update) sees to that. Nothing changed.
    /// - Those of the engine: the change is logged and not in the page. Abort the transaction.
    ///
    /// # Cost
    ///
    /// One append: a copy of both images. No system call.
    pub fn update<P: PageStore + ?Sized>(
        &mut self,
        pages: &mut P,
        page: PageId,
        offset: u32,
        before: &[u8],
        after: &[u8],
    ) -> Result<Lsn, RecoveryError> {
        let manager = Arc::clone(&self.manager);
        let at = manager.log.end();
        // Redo would pass over a change of a page whose LSN is said to lie behind it.
        if let PageState::At(page_lsn) = call_engine(at, || pages.page_state(page))? {
            manager.check_page_lsn(page, page_lsn)?;
        }
        manager.write_logged(self.id, at, (page, offset, after), pages, &mut || {
            self.log_update(page, offset, before, after)
        })
    }

    /// Logs a change of bytes. The caller puts them into the page, with the LSN returned, under
    /// the exclusive latch that it holds already.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::Misuse`]: the transaction can change nothing as it stands, or the images
    ///   do not fit. [`RecoveryError::PageOffline`]: the page lacks changes.
    /// - Those of the log: there may be no room for the record and for its rollback (statement 9).
    ///
    /// In each case nothing changed, and the caller changes nothing. Where the page came to lack
    /// changes in that very moment, the record is logged: then the transaction can only be rolled
    /// back.
    pub fn log_update(
        &mut self,
        page: PageId,
        offset: u32,
        before: &[u8],
        after: &[u8],
    ) -> Result<Lsn, RecoveryError> {
        let body = Update { page, offset, before, after };
        let unfit = why_unfit(&body, self.manager.log.body_bytes_max());
        unfit.map_or(Ok(()), |what| Err(self.misuse(what)))?;
        let kept = update_kept_bytes(before.len());
        let head = body.encode_head();
        let parts = body.parts(&head);
        self.log_change(page, RecordKind::UPDATE, Effect::Change(page), &parts, kept)
    }

    /// Logs an operation of the engine's. `redo` is given back to do it again on `page`, `undo` to
    /// take it back, wherever it is then.
    ///
    /// The compensation may log as many bytes as `redo` and `undo` have together. Where it may log
    /// more, such as the split of a page, use
    /// [`log_logical_reserving`](Self::log_logical_reserving).
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    pub fn log_logical(
        &mut self,
        page: PageId,
        operation: u32,
        redo: &[u8],
        undo: &[u8],
    ) -> Result<Lsn, RecoveryError> {
        self.log_logical_reserving(page, operation, redo, undo, 0)
    }

    /// As [`log_logical`](Self::log_logical), for an operation whose undo may log up to
    /// `more_bytes` beside its compensation, headers included.
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    pub fn log_logical_reserving(
        &mut self,
        page: PageId,
        operation: u32,
        redo: &[u8],
        undo: &[u8],
        more_bytes: u64,
    ) -> Result<Lsn, RecoveryError> {
        let kept = logical_rollback_bytes(redo.len(), undo.len()).saturating_add(more_bytes);
        let body = Logical { page, operation, redo, undo };
        let head = body.encode_head();
        let parts = body.parts(&head);
        self.log_change(page, RecordKind::LOGICAL, Effect::Change(page), &parts, kept)
    }

    /// Logs the whole of `page`; it has no undo. See [`TxnManager::log_image`].
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    pub fn log_image(&mut self, page: PageId, image: &[u8]) -> Result<Lsn, RecoveryError> {
        let body = PageImage { page, image };
        let head = body.encode_head().map_err(|source| self.manager.unfit(source))?;
        let parts = body.parts(&head);
        self.log_change(page, RecordKind::PAGE_IMAGE, Effect::Image(page), &parts, 0)
    }

    /// Logs that the life of `page` is over; it has no undo. See [`TxnManager::log_free`].
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    pub fn log_free(&mut self, page: PageId) -> Result<Lsn, RecoveryError> {
        let body = PageFree { page }.encode();
        self.log_change(page, RecordKind::PAGE_FREE, Effect::Free(page), &[&body], 0)
    }

    /// Puts the transaction in doubt: from here on only its coordinator decides. `locks` comes
    /// back at restart, for the engine to re-acquire them.
    ///
    /// # Durability
    ///
    /// The prepare record is durable when this returns.
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update), and an empty `global_id`. When the log cannot make it
    /// durable, the transaction may or may not be in doubt after a restart.
    pub fn prepare(&mut self, global_id: &[u8], locks: &[u8]) -> Result<Lsn, RecoveryError> {
        let rollback_bytes = {
            let state = self.manager.state();
            state.accounts.get(&self.id).map_or(CLOSING_BYTES, |account| account.reserved)
        };
        let body = Prepare { rollback_bytes, global_id, locks };
        let head = body.encode_head().map_err(|source| self.manager.unfit(source))?;
        let parts = body.parts(&head);
        let lsn = self.log_change(PageId::NONE, RecordKind::PREPARE, Effect::Prepare, &parts, 0)?;
        let bytes = RecordDraft::new(RecordKind::PREPARE, &parts).encoded_bytes() as u64;
        self.manager.log.wait_durable(lsn.checked_add(bytes).unwrap_or(Lsn::MAX))?;
        Ok(lsn)
    }

    /// It has seen changes of another transaction which has released its locks before its commit
    /// was durable. `end` is [`OrderedCommit::end`], or [`TxnManager::commits_end`].
    ///
    /// This one is then not acknowledged before that one is, even if it only reads.
    pub fn depends_on(&mut self, end: Lsn) {
        self.depends_on = self.depends_on.max(end);
    }

    /// Commits, and waits until that is durable. `timestamp` is the engine's; 0 is none.
    ///
    /// # Durability
    ///
    /// Durable when this returns, and so is all it [depends on](Self::depends_on).
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::CommitUnknown`]: promise nothing; a restart decides.
    /// - Others: not committed; it is among the [`abandoned`](TxnManager::abandoned).
    pub fn commit(self, timestamp: u64) -> Result<Committed, RecoveryError> {
        self.commit_ordered(timestamp)?.wait()
    }

    /// Commits without waiting: the order is fixed, and locks may be released (statement 3).
    /// Nobody may be told before [`OrderedCommit::wait`] has returned.
    ///
    /// # Durability
    ///
    /// None yet.
    ///
    /// # Errors
    ///
    /// Not committed; it is among the [`abandoned`](TxnManager::abandoned).
    pub fn commit_ordered(mut self, timestamp: u64) -> Result<OrderedCommit, RecoveryError> {
        let end = self.manager.log.end();
        if self.depends_on > end {
            return Err(RecoveryError::BeyondEnd { lsn: self.depends_on, end });
        }
        let (mut lsn, mut end) = (Lsn::NONE, self.depends_on);
        if self.begun {
            self.check_applied()?;
            let appended = self.manager.append_commit(self.id, timestamp);
            // A log that failed on the way may hold the record all the same.
            self.over = self.manager.is_committed(self.id);
            let placed = appended.map_err(|source| self.unless_committed(source))?;
            (lsn, end) = (placed.lsn, placed.end.max(end));
        }
        self.over = true;
        let committed = Committed { txn: self.id, lsn, end };
        Ok(OrderedCommit::new(Arc::clone(&self.manager), committed))
    }

    /// Takes everything back, and ends.
    ///
    /// # Errors
    ///
    /// Those of the log and of the engine. It is then among the
    /// [`abandoned`](TxnManager::abandoned), and its rollback goes on where it stopped.
    pub fn abort<P: PageStore + ?Sized>(mut self, pages: &mut P) -> Result<(), RecoveryError> {
        if self.begun {
            self.manager.roll_back(self.id, pages)?;
        }
        self.over = true;
        Ok(())
    }

    /// Logs one record that changes something, with room for its rollback.
    fn log_change(
        &mut self,
        page: PageId,
        kind: RecordKind,
        effect: Effect,
        parts: &[&[u8]],
        kept: u64,
    ) -> Result<Lsn, RecoveryError> {
        self.check_usable(page)?;
        let body_bytes: usize = parts.iter().map(|part| part.len()).sum();
        // The fixed head of its compensation is longer than its own.
        if body_bytes.saturating_add(Clr::HEAD_BYTES) > self.manager.log.body_bytes_max() {
            return Err(self.misuse("the change is too long for its rollback to be promised"));
        }
        self.ensure_begun()?;
        if effect == Effect::Prepare || kept == 0 {
            self.check(effect)?;
        }
        let manager = &self.manager;
        let own = wal_format::encoded_bytes(body_bytes, true) as u64;
        let append = || manager.append_as(Some(self.id), kind, effect, parts, Applied::Next);
        let logged = manager.with_space(own, kept, append)?;
        manager.state().account(self.id).reserved += kept;
        may_apply(logged, page)
    }

    /// Logs the begin record before the first change.
    pub(super) fn ensure_begun(&mut self) -> Result<(), RecoveryError> {
        if self.begun {
            return Ok(());
        }
        let (id, manager) = (self.id, &self.manager);
        let body = Begin { isolation: self.isolation }.encode();
        // Before it enters the table: nobody may take it for abandoned.
        manager.state().account(id).owned = true;
        let append = || manager.append(Some(id), RecordKind::BEGIN, Effect::Begin, &[&body]);
        match manager.with_space(BEGIN_RECORD_BYTES, CLOSING_BYTES, append) {
            Ok(_) => {
                manager.state().account(id).reserved += CLOSING_BYTES;
                self.begun = true;
                Ok(())
            }
            Err(error) => {
                manager.state().accounts.remove(&id);
                Err(error)
            }
        }
    }

    /// Whether it can log a change of `page`.
    pub(super) fn check_usable(&self, page: PageId) -> Result<(), RecoveryError> {
        if self.begun {
            self.check_applied()?;
            self.check(Effect::Change(page))?;
        }
        if self.manager.state().deferred.contains_key(&page) {
            return Err(RecoveryError::PageOffline { page });
        }
        Ok(())
    }

    /// Whether everything that it logged is in its pages.
    fn check_applied(&self) -> Result<(), RecoveryError> {
        if self.manager.state().account(self.id).unapplied.is_some() {
            return Err(self.misuse("a change of it was logged and is not in its page: abort"));
        }
        Ok(())
    }

    pub(super) fn check(&self, effect: Effect) -> Result<(), RecoveryError> {
        let refused = self.manager.state().tables.check(self.id, effect).is_err();
        if refused { Err(self.misuse("it can log no such record as it stands")) } else { Ok(()) }
    }

    pub(super) fn draw_down_to(&self, reserved: u64) {
        let surplus = self.manager.state().account(self.id).draw_down_to(reserved);
        self.manager.give_back(surplus);
    }

    /// A commit that failed, and is in the table nevertheless, may be found by a restart.
    fn unless_committed(&mut self, source: RecoveryError) -> RecoveryError {
        if !self.over {
            return source;
        }
        self.manager.disown(self.id);
        let lsn = self.manager.last_lsn(self.id);
        RecoveryError::CommitUnknown { txn: self.id, lsn, source: Box::new(source) }
    }

    pub(super) const fn misuse(&self, what: &'static str) -> RecoveryError {
        RecoveryError::Misuse { txn: self.id, what }
    }
}

impl Drop for Txn {
    fn drop(&mut self) {
        if self.begun && !self.over {
            self.manager.disown(self.id);
        }
    }
}
