//! What an engine may log while it takes back one logical change.
//!
//! A nested top action first, if it needs one, then exactly one compensation record.
//!
//! Source: ARIES, "Total or partial rollbacks" and "Nested top actions"; statements 5, 6, 7.

use wal_format::body::{Clr, Compensation, Update};
use wal_format::{Lsn, PageId, RecordKind, TxnId, encoded_bytes};

use super::manager::{Applied, TxnManager};
use super::pages::UndoScope;
use super::reservation::{DIRTY_ENTRY_BYTES, update_record_bytes, update_rollback_bytes};
use super::tables::Effect;
use crate::error::RecoveryError;
use crate::txn_log::Placed;

/// One logical change being taken back.
#[derive(Debug)]
pub(super) struct Scope<'m> {
    pub(super) manager: &'m TxnManager,
    pub(super) txn: TxnId,
    /// The record to compensate.
    pub(super) compensated: Lsn,
    /// The record of the transaction before that one.
    pub(super) undo_next: Lsn,
    /// The compensation record, once it is logged, and its page.
    pub(super) logged: Option<(Lsn, PageId)>,
}

impl Scope<'_> {
    /// Nothing may follow the compensation, and nothing may touch a page that lacks changes.
    fn check(&self, page: PageId) -> Result<(), RecoveryError> {
        if self.logged.is_some() {
            let what = "the change is compensated already; that comes last, and once";
            return Err(RecoveryError::Misuse { txn: self.txn, what });
        }
        if self.manager.state().deferred.contains_key(&page) {
            return Err(RecoveryError::PageOffline { page });
        }
        Ok(())
    }
}

impl UndoScope for Scope<'_> {
    fn log_update(
        &mut self,
        page: PageId,
        offset: u32,
        before: &[u8],
        after: &[u8],
    ) -> Result<Lsn, RecoveryError> {
        self.check(page)?;
        let body = Update { page, offset, before, after };
        if let Some(what) = why_unfit(&body, self.manager.log.body_bytes_max()) {
            return Err(RecoveryError::Misuse { txn: self.txn, what });
        }
        let own = update_record_bytes(before.len(), after.len());
        let kept = update_rollback_bytes(before.len());
        let append = || {
            let (head, effect) = (body.encode_head(), Effect::Change(page));
            let parts = body.parts(&head);
            let txn = Some(self.txn);
            self.manager.append_as(txn, RecordKind::UPDATE, effect, &parts, Applied::Next)
        };
        // A full log must not keep a rollback from going on: then it takes from what the
        // transaction reserved for that, and never from what others did (statement 9).
        let refused = self.manager.log.reserve(own + kept).err();
        let room = refused.is_none();
        if let Some(full) = refused
            && self.manager.state().lacking(self.txn, own) > 0
        {
            return Err(full);
        }
        let placed = append();
        let mut state = self.manager.state();
        let freed = match (&placed, room) {
            (Ok(_), true) => {
                state.account(self.txn).reserved += kept;
                own
            }
            (Err(_), true) => own + kept,
            (Ok(_), false) => state.draw_for_rollback(self.txn, own),
            (Err(_), false) => 0,
        };
        drop(state);
        self.manager.give_back(freed);
        may_apply(placed?, page)
    }

    fn end_nested(&mut self) -> Result<(), RecoveryError> {
        self.check(PageId::NONE)?;
        // A crash from here on finds the same change to compensate, and what it needed in place.
        let dummy = Clr::end_of_nested_top_action(self.compensated);
        self.manager.append_clr(self.txn, &dummy, Applied::Next).map(|_| ())
    }

    fn compensate(
        &mut self,
        page: PageId,
        operation: u32,
        redo: &[u8],
    ) -> Result<Lsn, RecoveryError> {
        self.check(page)?;
        let clr = Clr {
            undo_next: self.undo_next,
            compensated: self.compensated,
            action: Compensation::Logical { page, operation, redo },
        };
        let logged = self.manager.append_clr(self.txn, &clr, Applied::Next)?;
        self.logged = Some((logged.0.lsn, page));
        may_apply(logged, page)
    }
}

/// Why a change of bytes cannot be logged so that it can be taken back.
pub(super) fn why_unfit(update: &Update<'_>, body_bytes_max: usize) -> Option<&'static str> {
    let (before, after) = (update.before.len(), update.after.len());
    let unlike = before != after && before > 0 && after > 0;
    let reach = u64::from(update.offset) + before.max(after) as u64;
    if update.page.is_none() || unlike || reach > u64::from(u32::MAX) {
        return Some("the images are unlike, or no page has such a place");
    }
    // The fixed head of its compensation is longer than its own.
    let bytes = Update::HEAD_BYTES + Clr::HEAD_BYTES + before + after;
    (bytes > body_bytes_max).then_some("the change is too long for its rollback to be promised")
}

/// The address of a record for whoever applies it to `page` next, unless the page came to lack
/// changes before the record had its address.
pub(super) fn may_apply(
    (placed, applied): (Placed, Applied),
    page: PageId,
) -> Result<Lsn, RecoveryError> {
    match applied {
        Applied::Next => Ok(placed.lsn),
        Applied::Later => Err(RecoveryError::PageOffline { page }),
    }
}

impl TxnManager {
    /// Appends a compensation record, out of what its transaction reserved. Of a page that cannot
    /// be changed now it is applied later: from the moment the record has an address, the page is
    /// among the deferred ones.
    pub(super) fn append_clr(
        &self,
        txn: TxnId,
        clr: &Clr<'_>,
        applied: Applied,
    ) -> Result<(Placed, Applied), RecoveryError> {
        let (head, page) = (clr.encode_head(), clr.page());
        let effect = Effect::Compensation { page, undo_next: clr.undo_next };
        let parts = clr.parts(&head);
        let body_bytes: usize = parts.iter().map(|part| part.len()).sum();
        self.cover(txn, encoded_bytes(body_bytes, true) as u64)?;
        let logged = self.append_as(Some(txn), RecordKind::CLR, effect, &parts, applied)?;
        let (placed, _) = logged;
        let bytes = placed.end.distance_from(placed.lsn).unwrap_or(0);
        let drawn = {
            let mut state = self.state();
            let drawn = state.draw_for_rollback(txn, bytes);
            // It may have made a page dirty: that part goes to the next checkpoint.
            let entry = if page.is_none() { 0 } else { DIRTY_ENTRY_BYTES };
            let entry = state.draw_for_rollback(txn, entry);
            state.space.reserved += entry;
            drawn
        };
        self.give_back(drawn);
        Ok(logged)
    }

    /// Sees to it that `bytes` of the rollback of `txn` are reserved.
    pub(super) fn cover(&self, txn: TxnId, bytes: u64) -> Result<(), RecoveryError> {
        let lacking = self.state().lacking(txn, bytes);
        if lacking > 0 {
            self.log.reserve(lacking)?;
            self.state().account(txn).reserved += lacking;
        }
        Ok(())
    }
}
