//! The tables in normal running, and everything that is appended while they run.
//!
//! ```text
//!   log's lock under which addresses are given
//!     └─ state: tables, accounts, space      never the other way round, and never held across a
//!                                            call into the engine, an append, or a wait
//! ```
//!
//! Left to others: what a transaction may do (`transaction`), undo, checkpoints.
//!
//! Invariants: the tables change in the order of the log, in the callback that is given a record's
//! address (statement 14); every append was reserved for, or is drawn from what was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::{fmt, mem};

use parking_lot::{Mutex, MutexGuard};
use wal_format::body::{PageFree, PageImage, TxnEntry, TxnState};
use wal_format::{Lsn, PageId, RecordDraft, RecordKind, TxnId, TxnLink};

use super::reservation::{
    Account, CHECKPOINTS_KEPT, CLOSING_BYTES, CheckpointSpace, END_RECORD_BYTES,
};
use super::tables::{Effect, Tables};
use crate::error::RecoveryError;
use crate::txn_log::{Placed, TxnLog};

/// What the lock protects.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) tables: Tables,
    /// One for every entry of the transaction table.
    pub(super) accounts: BTreeMap<TxnId, Account>,
    /// Pages which lack changes, until their recovery has brought them. With each the first record
    /// that the engine failed to apply, which the page LSN may hide; [`Lsn::MAX`] without one.
    pub(super) deferred: BTreeMap<PageId, Lsn>,
    pub(super) space: CheckpointSpace,
    /// From a restart's begin to its first checkpoint.
    pub(super) restarting: bool,
    /// The end of the newest commit record.
    pub(super) commits_end: Lsn,
}

impl State {
    /// What is missing for the checkpoints that are kept room for.
    pub(super) fn checkpoint_missing(&self) -> u64 {
        self.space.missing(CHECKPOINTS_KEPT, self.tables.txns.len(), self.tables.dirty.len())
    }

    /// What is missing for one checkpoint.
    pub(super) fn one_checkpoint_missing(&self) -> u64 {
        self.space.missing(1, self.tables.txns.len(), self.tables.dirty.len())
    }

    /// Whether a checkpoint could take from what a rollback was promised. At a restart that
    /// counts for less than a log that can be opened.
    pub(super) fn has_promised(&self) -> bool {
        !self.restarting && self.accounts.values().any(|account| account.reserved > 0)
    }

    /// The restart is over: from now on others are promised space, and a rollback that is not done
    /// waits rather than take from that.
    pub(super) fn end_restart(&mut self) {
        if mem::replace(&mut self.restarting, false) {
            self.accounts.values_mut().for_each(|account| account.unmetered = false);
        }
    }

    /// What the last records of `txn` take.
    fn closing_bytes(&self, txn: TxnId) -> u64 {
        match self.tables.txns.get(txn).map(|entry| entry.state) {
            // The abort record is logged by then.
            Some(TxnState::RollingBack) => END_RECORD_BYTES,
            _ => CLOSING_BYTES,
        }
    }

    /// What is missing for `bytes` more of the rollback of `txn`.
    pub(super) fn lacking(&self, txn: TxnId, bytes: u64) -> u64 {
        let closing = self.closing_bytes(txn);
        self.accounts.get(&txn).map_or(0, |account| account.lacking(bytes, closing))
    }

    /// Takes up to `bytes` of what is reserved for the rollback of `txn`; gives how many there were.
    pub(super) fn draw_for_rollback(&mut self, txn: TxnId, bytes: u64) -> u64 {
        let closing = self.closing_bytes(txn);
        self.account(txn).draw_for_rollback(bytes, closing)
    }

    /// Whether a record lies before `page_lsn` which the engine failed to apply to `page`.
    pub(super) fn hides(&self, page: PageId, page_lsn: Lsn) -> bool {
        self.deferred.get(&page).is_some_and(|failed| *failed < page_lsn)
    }

    /// `page` lacks changes; the engine failed to apply the one at `failed`.
    pub(super) fn defer(&mut self, page: PageId, failed: Lsn) {
        let first = self.deferred.entry(page).or_insert(failed);
        *first = failed.min(*first);
    }

    /// What becomes of the record at `lsn`, which is to be `applied` so. A page that lacks changes
    /// takes none before its recovery, for the page LSN would hide what it lacks.
    fn applied(
        &mut self,
        lsn: Lsn,
        txn: Option<TxnId>,
        effect: Effect,
        applied: Applied,
    ) -> Applied {
        let (Effect::Change(page) | Effect::Compensation { page, .. }) = effect else {
            return applied;
        };
        if page.is_none() {
            return applied;
        }
        if applied == Applied::Later {
            self.defer(page, Lsn::MAX);
        } else if !self.deferred.contains_key(&page) {
            return Applied::Next;
        } else if let (Some(txn), Effect::Change(_)) = (txn, effect) {
            self.account(txn).unapplied = Some((lsn, page));
        }
        Applied::Later
    }

    /// The account of a transaction.
    pub(super) fn account(&mut self, txn: TxnId) -> &mut Account {
        self.accounts.entry(txn).or_default()
    }

    /// Transactions in `state` which nobody holds.
    pub(super) fn unowned(&self, states: &[TxnState]) -> Vec<TxnEntry> {
        let owned = |txn| self.accounts.get(&txn).is_some_and(|account| account.owned);
        let wanted = |entry: &&TxnEntry| states.contains(&entry.state) && !owned(entry.txn_id);
        self.tables.txns.iter().filter(wanted).copied().collect()
    }
}

/// When a record gets into its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// As soon as it is logged.
    Next,
    /// With the page's recovery.
    Later,
}

/// Transactions and dirty pages of a log that runs.
///
/// Shared by all threads. See [`Txn`](super::Txn) for what a transaction does.
pub struct TxnManager {
    pub(super) log: Arc<dyn TxnLog>,
    state: Mutex<State>,
    /// Held by whoever takes a checkpoint, from its begin to its master record: checkpoints wait
    /// for one another, and nothing else waits for them.
    pub(super) checkpoints: Mutex<()>,
}

impl fmt::Debug for TxnManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("TxnManager")
            .field("transactions", &state.tables.txns.len())
            .field("dirty_pages", &state.tables.dirty.len())
            .finish_non_exhaustive()
    }
}

impl TxnManager {
    /// A manager for a new log: no transaction, no dirty page.
    #[must_use]
    pub fn new(log: Arc<dyn TxnLog>) -> Arc<Self> {
        Self::resume(log, Tables::default(), Vec::new())
    }

    /// Goes on with what analysis and redo left: nobody holds those transactions, and the pages
    /// in `deferred` could not be reached.
    #[must_use]
    pub fn resume(log: Arc<dyn TxnLog>, tables: Tables, deferred: Vec<PageId>) -> Arc<Self> {
        let deferred = deferred.into_iter().map(|page| (page, Lsn::MAX)).collect();
        let before = Account { unmetered: true, ..Account::default() };
        let accounts = tables.txns.iter().map(|entry| (entry.txn_id, before)).collect();
        let state = State { tables, accounts, deferred, restarting: true, ..State::default() };
        let manager = Self { log, state: Mutex::new(state), checkpoints: Mutex::new(()) };
        manager.refill_checkpoint_space();
        Arc::new(manager)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The log that it appends to.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn TxnLog> {
        &self.log
    }

    /// A copy of the tables as they are now.
    ///
    /// # Cost
    ///
    /// Copies both tables under the lock that every append takes: for tests and tools.
    #[must_use]
    pub fn tables(&self) -> Tables {
        self.state().tables.clone()
    }

    /// How many pages may be newer in memory than in storage.
    #[must_use]
    pub fn dirty_pages(&self) -> usize {
        self.state().tables.dirty.len()
    }

    /// How many transactions have begun and have not ended.
    #[must_use]
    pub fn active_transactions(&self) -> usize {
        self.state().tables.txns.len()
    }

    /// Pages which lack changes: they could not be reached so far, or the engine failed to apply a
    /// record to them. [`recover_page`](Self::recover_page) brings each back.
    #[must_use]
    pub fn deferred_pages(&self) -> Vec<PageId> {
        self.state().deferred.keys().copied().collect()
    }

    /// The lowest address that a restart would need if a checkpoint were complete now: the end of
    /// the log when nothing is dirty and nothing runs (statement 15).
    #[must_use]
    pub fn oldest_needed(&self) -> Lsn {
        // Before the lock, since the log's comes first. What enters the tables later lies behind.
        let end = self.log.end();
        self.state().tables.needed_from(end)
    }

    /// The end of the newest commit record: whoever waits for that waits for every commit whose
    /// changes it can have seen.
    #[must_use]
    pub fn commits_end(&self) -> Lsn {
        self.state().commits_end
    }

    /// Logs the whole of `page`, outside of every transaction. Redo puts it in place whatever the
    /// page LSN says, so it mends a torn write. Returns the page's new LSN.
    ///
    /// To be called under the latch of the page.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::PageOffline`]: the page lacks changes, and an image would hide them.
    /// - The log refuses it.
    ///
    /// In each case nothing was logged.
    pub fn log_image(&self, page: PageId, image: &[u8]) -> Result<Lsn, RecoveryError> {
        let body = PageImage { page, image };
        let head = body.encode_head().map_err(|source| self.unfit(source))?;
        self.append_page(RecordKind::PAGE_IMAGE, Effect::Image(page), &body.parts(&head))
    }

    /// Logs that the life of `page` is over, outside of every transaction: nothing older than this
    /// applies to its next one.
    ///
    /// # Errors
    ///
    /// As [`log_image`](Self::log_image).
    pub fn log_free(&self, page: PageId) -> Result<Lsn, RecoveryError> {
        let body = PageFree { page }.encode();
        self.append_page(RecordKind::PAGE_FREE, Effect::Free(page), &[&body])
    }

    fn append_page(
        &self,
        kind: RecordKind,
        effect: Effect,
        parts: &[&[u8]],
    ) -> Result<Lsn, RecoveryError> {
        if let Effect::Image(page) | Effect::Free(page) = effect
            && self.state().deferred.contains_key(&page)
        {
            return Err(RecoveryError::PageOffline { page });
        }
        let bytes = RecordDraft::new(kind, parts).encoded_bytes() as u64;
        // A pool asks before it writes a page, perhaps to make room for one that a rollback needs.
        self.with_room(bytes, 0, || self.append(None, kind, effect, parts)).map(|at| at.lsn)
    }

    /// Appends one record of a transaction, or of none, and takes it into the tables. Space is
    /// the caller's to see to.
    pub(super) fn append(
        &self,
        txn: Option<TxnId>,
        kind: RecordKind,
        effect: Effect,
        parts: &[&[u8]],
    ) -> Result<Placed, RecoveryError> {
        self.append_as(txn, kind, effect, parts, Applied::Next).map(|(placed, _)| placed)
    }

    /// As [`append`](Self::append), for a record that gets into its page as `applied` says, or
    /// later. Whether it may be applied is decided in one step with its address: what has a page
    /// deferred has an address before it, or behind it and then comes later too.
    pub(super) fn append_as(
        &self,
        txn: Option<TxnId>,
        kind: RecordKind,
        effect: Effect,
        parts: &[&[u8]],
        applied: Applied,
    ) -> Result<(Placed, Applied), RecoveryError> {
        let mut draft = RecordDraft::new(kind, parts);
        if let Some(txn_id) = txn {
            let state = self.state();
            state.tables.check(txn_id, effect).map_err(|_| RecoveryError::Misuse {
                txn: txn_id,
                what: "it can log no such record as it stands",
            })?;
            let prev_lsn = state.tables.txns.get(txn_id).map_or(Lsn::NONE, |entry| entry.last_lsn);
            draft = draft.in_txn(TxnLink { txn_id, prev_lsn });
        }
        let mut outcome = Ok(applied);
        let placed = self.log.append(&draft, &mut |lsn| {
            // Statement 14: the very address, before any later record can have one.
            let mut state = self.state();
            // In one step with the address: a page that comes back knows of this record, or not.
            let applied = state.applied(lsn, txn, effect, applied);
            let recorded = state.tables.record(lsn, txn, effect);
            outcome =
                recorded.map(|()| applied).map_err(|fault| RecoveryError::Table { lsn, fault });
        })?;
        outcome.map(|applied| (placed, applied))
    }

    /// Runs `append`, which is new work, with room for its `own` bytes, and for `kept` which stay
    /// reserved if it succeeds; the next checkpoint has room for what it adds to the tables.
    pub(super) fn with_space<T>(
        &self,
        own: u64,
        kept: u64,
        append: impl FnOnce() -> Result<T, RecoveryError>,
    ) -> Result<T, RecoveryError> {
        self.log.admit()?;
        self.with_room(own, kept, append)
    }

    /// As [`with_space`](Self::with_space), for what comes of work that was let in before.
    fn with_room<T>(
        &self,
        own: u64,
        kept: u64,
        append: impl FnOnce() -> Result<T, RecoveryError>,
    ) -> Result<T, RecoveryError> {
        let missing = {
            let mut state = self.state();
            state.space.in_flight += 1;
            state.checkpoint_missing()
        };
        // What an engine says of its undo may be any number; the log refuses what cannot be.
        let reserved = self.log.reserve(own.saturating_add(kept).saturating_add(missing));
        if reserved.is_ok() {
            self.state().space.reserved += missing;
        }
        let outcome = reserved.and_then(|()| {
            let outcome = append();
            self.log.release(if outcome.is_ok() { own } else { own + kept });
            outcome
        });
        self.state().space.in_flight -= 1;
        outcome
    }

    /// Makes the space of the next checkpoint what the tables call for now, and after that what
    /// rollbacks are owed since a restart, as far as there is room.
    pub(super) fn refill_checkpoint_space(&self) {
        let (missing, surplus) = {
            let mut state = self.state();
            let missing = state.checkpoint_missing();
            let surplus = if missing > 0 { 0 } else { state.checkpoint_surplus() };
            state.space.reserved -= surplus;
            (missing, surplus)
        };
        self.log.release(surplus);
        if missing > 0 && self.log.reserve(missing).is_ok() {
            self.state().space.reserved += missing;
        }
        self.pay_owed();
    }

    /// Reserves what could not be at the restart, for want of room.
    fn pay_owed(&self) {
        let owed = {
            let state = self.state();
            let owed = state.accounts.iter().filter(|(_, account)| account.owed > 0);
            owed.map(|(txn, _)| *txn).collect::<Vec<_>>()
        };
        for txn in owed {
            if self.pay(txn).is_err() {
                return;
            }
        }
    }

    /// Reserves what `txn` is owed.
    ///
    /// # Errors
    ///
    /// There is no room; it is still owed.
    pub(super) fn pay(&self, txn: TxnId) -> Result<(), RecoveryError> {
        let owed = self.state().account(txn).owed;
        self.log.reserve(owed)?;
        let mut state = self.state();
        match state.accounts.get_mut(&txn).filter(|account| account.owed == owed) {
            Some(account) => {
                (account.owed, account.unmetered) = (0, false);
                account.reserved += owed;
            }
            // Ended, or paid by somebody else meanwhile.
            None => {
                drop(state);
                self.give_back(owed);
            }
        }
        Ok(())
    }

    /// Nobody holds `txn` any more.
    pub(super) fn disown(&self, txn: TxnId) {
        if let Some(account) = self.state().accounts.get_mut(&txn) {
            account.owned = false;
        }
    }

    /// The last record of `txn`.
    pub(super) fn last_lsn(&self, txn: TxnId) -> Lsn {
        self.state().tables.txns.get(txn).map_or(Lsn::NONE, |entry| entry.last_lsn)
    }

    /// Whether the commit record of `txn` has its place in the log.
    pub(super) fn is_committed(&self, txn: TxnId) -> bool {
        let state = self.state();
        state.tables.txns.get(txn).is_some_and(|entry| entry.state == TxnState::Committed)
    }

    /// Gives back `bytes` that were drawn from an account.
    pub(super) fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.log.release(bytes);
        }
    }

    /// An encoder refused: a defect in the caller, at the end of the log.
    pub(super) fn unfit(&self, source: wal_format::EncodeError) -> RecoveryError {
        RecoveryError::Encode { lsn: self.log.end(), source }
    }
}

impl State {
    fn checkpoint_surplus(&self) -> u64 {
        let (txns, pages) = (self.tables.txns.len(), self.tables.dirty.len());
        let empty = CheckpointSpace { reserved: 0, ..self.space };
        self.space.reserved.saturating_sub(empty.missing(CHECKPOINTS_KEPT, txns, pages))
    }
}
