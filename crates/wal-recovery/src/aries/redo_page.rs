//! Recovery of one page while the log runs: one that was offline at restart and is back, or one
//! that was found torn.
//!
//! Source: ARIES, "Selective or deferred restart" and "Media recovery"; statements 25 and 32.

use wal_format::{Lsn, PageId};

use super::change::Change;
use super::engine_call::call_engine;
use super::losers::UndoReport;
use super::manager::TxnManager;
use super::pages::{PageState, PageStore};
use super::redo::Applier;
use super::torn::rebuild;
use crate::error::RecoveryError;
use crate::txn_log::TxnLog;

impl TxnManager {
    /// Brings `page` up to date from the log, and goes on with the rollbacks that waited for it.
    ///
    /// For a page that was [deferred](Self::deferred_pages), and for one whose bytes were found
    /// torn while the log ran. Nobody else may change the page meanwhile; whatever waits for it
    /// goes on afterwards.
    ///
    /// # Durability
    ///
    /// What is applied is durable in the log. The page is dirty from its recLSN on, as before.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::PageOffline`]: it still cannot be reached; nothing changed.
    /// - [`RecoveryError::TornPage`]: the log does not reach back far enough.
    /// - [`RecoveryError::Log`]: the log cannot be scanned while it runs, or failed.
    /// - As restart. Can be repeated.
    ///
    /// # Cost
    ///
    /// One wait for the log, one scan of it from the page's recLSN; for a torn page three, two of
    /// them from the head.
    pub fn recover_page<P: PageStore + ?Sized>(
        &self,
        page: PageId,
        pages: &mut P,
    ) -> Result<UndoReport, RecoveryError> {
        loop {
            let end = self.log().end();
            self.log().wait_durable(end)?;
            let rec_lsn = self.state().tables.dirty.rec_lsn(page).unwrap_or(end);
            let found = redo_page(&**self.log(), page, rec_lsn, end, pages)?;
            // A rollback may have logged a change of it meanwhile, without applying it.
            if self.page_is_redone(page, found, end) {
                break;
            }
        }
        self.rollback_abandoned(pages)
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
