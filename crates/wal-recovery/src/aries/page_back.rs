//! What a page lacks, brought from the log in the order of the log: the only way out of the
//! deferred pages.
//!
//! A page is among those while it lacks a record, because it could not be reached or because the
//! engine failed to apply the record. Meanwhile others log changes of it without applying them, and
//! rollbacks must: so it is redone up to the end of the log, and leaves in the same step in which
//! nothing is found to have been logged behind that.
//!
//! Source: ARIES, "Selective or deferred restart" and "Media recovery"; statements 25 and 32.

use wal_format::{Lsn, PageId};

use super::change::Change;
use super::engine_call::call_engine;
use super::manager::TxnManager;
use super::pages::{PageState, PageStore};
use super::redo::Applier;
use super::torn::rebuild;
use crate::error::RecoveryError;
use crate::txn_log::TxnLog;

impl TxnManager {
    /// Redoes what `page` lacks, and takes it out of the deferred pages, unless it went past a record
    /// that is not in it: the page LSN hides that one from redo, and it is still to be settled.
    pub(super) fn bring_back<P: PageStore + ?Sized>(
        &self,
        page: PageId,
        pages: &mut P,
    ) -> Result<(), RecoveryError> {
        loop {
            let end = self.log.end();
            self.log.wait_durable(end)?;
            let rec_lsn = self.state().tables.dirty.rec_lsn(page).unwrap_or(end);
            let found = redo_page(&*self.log, page, rec_lsn, end, pages)?;
            // A rollback may have logged a change of it meanwhile, without applying it.
            if self.page_is_redone(page, found, end) {
                return Ok(());
            }
        }
    }

    /// Takes `page` out of those which lack changes: it was redone up to `redone_to`. Says no when
    /// it was changed again behind that; redo it further, and ask again. Deferred rollbacks then
    /// go on with [`rollback_abandoned`](Self::rollback_abandoned).
    #[must_use]
    pub fn page_is_back(&self, page: PageId, redone_to: Lsn) -> bool {
        self.page_is_redone(page, Lsn::NONE, redone_to)
    }

    /// As [`page_is_back`](Self::page_is_back), for a page that was found with LSN `found`. A record
    /// which it had passed was not redone, and is still to be settled.
    fn page_is_redone(&self, page: PageId, found: Lsn, redone_to: Lsn) -> bool {
        let mut state = self.state();
        let mut passed = false;
        for account in state.accounts.values_mut() {
            match account.unapplied {
                Some((lsn, of)) if of == page && lsn < found => passed = true,
                Some((lsn, of)) if of == page && lsn < redone_to => account.unapplied = None,
                _ => {}
            }
        }
        let whole = state.tables.dirty.last_lsn(page).is_none_or(|last| last < redone_to);
        if whole && !passed {
            state.deferred.remove(&page);
        }
        whole
    }
}

/// Redoes what concerns `page` in the log before `end`, all of which is durable. Gives the LSN
/// with which it was found: what lies before that was not looked at.
fn redo_page<P: PageStore + ?Sized>(
    log: &dyn TxnLog,
    page: PageId,
    rec_lsn: Lsn,
    end: Lsn,
    pages: &mut P,
) -> Result<Lsn, RecoveryError> {
    let offline = Err(RecoveryError::PageOffline { page });
    let found = match call_engine(rec_lsn, || pages.page_state(page))? {
        PageState::At(page_lsn) => page_lsn,
        PageState::Torn => Lsn::NONE,
        PageState::Offline => return offline,
    };
    let mut applier = Applier::of_page(page, rec_lsn, end);
    if rec_lsn < end {
        log.scan(rec_lsn, &mut |record| match Change::of(record)? {
            Some(change) if change.page == page && record.lsn() < end => {
                applier.take(pages, record.lsn(), &change)
            }
            _ => Ok(()),
        })?;
    }
    let unfinished = applier.finish(pages)?;
    if !unfinished.offline.is_empty() {
        return offline;
    }
    if unfinished.torn.is_empty() {
        return Ok(found);
    }
    // The log hands out what it retains; where that begins is seen from its first record.
    let mut head = None;
    log.scan(Lsn::FIRST, &mut |record| {
        head.get_or_insert(record.lsn());
        Ok(())
    })?;
    let Some(head) = head else { return Err(RecoveryError::TornPage { page, lsn: rec_lsn }) };
    rebuild(head, &unfinished.torn, pages, &mut |from, visit| log.scan(from, visit))?;
    Ok(found)
}
