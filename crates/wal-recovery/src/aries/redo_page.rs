//! Recovery of one page while the log runs, on its engine's call: one that was offline at restart
//! and is back, one that was found torn, or one to which the engine failed to apply a record.
//!
//! Source: ARIES, "Selective or deferred restart" and "Media recovery"; statements 25 and 32.

use wal_format::PageId;

use super::losers::UndoReport;
use super::manager::TxnManager;
use super::pages::PageStore;
use crate::error::RecoveryError;

impl TxnManager {
    /// Brings `page` up to date from the log, and goes on with the rollbacks that waited for it.
    ///
    /// For a page that is [deferred](Self::deferred_pages), which it may be because it could not be
    /// reached or because the engine failed to apply a record to it, and for one whose bytes were
    /// found torn while the log ran. Nobody else may change the page meanwhile; whatever waits for it
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
        self.bring_back(page, pages)?;
        self.rollback_abandoned(pages)
    }
}
