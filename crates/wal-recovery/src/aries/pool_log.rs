//! What a buffer pool asks of the log before and after it writes a page, and what it is handed: the
//! log, for as long as somebody has it open.
//!
//! A pool outlives openings of its log: restart may fail, and is repeated with the same pool. So it
//! does not own the log, which would stay open and locked behind it.
//!
//! Invariant: no page is written through it once the log is gone; whoever opens the log next may
//! have redone or undone that page.

use std::sync::{Arc, Weak};

use wal_format::layout::RECORD_ALIGN_BYTES;
use wal_format::{Lsn, PageId};

use super::manager::TxnManager;
use super::pages::WriteAhead;
use crate::error::RecoveryError;

/// A log that others keep open.
#[derive(Debug)]
struct PoolLog {
    manager: Weak<TxnManager>,
}

impl TxnManager {
    /// What a buffer pool asks of this log. It keeps nothing open: once the last other handle is
    /// gone, it answers [`RecoveryError::LogClosed`].
    #[must_use]
    pub fn write_ahead(self: &Arc<Self>) -> Arc<dyn WriteAhead> {
        Arc::new(PoolLog { manager: Arc::downgrade(self) })
    }

    /// Whether `page`, as it was read from storage, can be one of this log's: a record can have
    /// stood at its LSN.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::PageLsnBeyondEnd`]: none can.
    pub fn check_page_lsn(&self, page: PageId, page_lsn: Lsn) -> Result<(), RecoveryError> {
        match self.log.ends_before(page_lsn) {
            Some(end) => Err(RecoveryError::PageLsnBeyondEnd { page, page_lsn, end }),
            None => Ok(()),
        }
    }

    /// The write-ahead rule (statement 2): returns when `page` may be written as of `page_lsn`.
    ///
    /// From here on changes of the page are told apart from what is about to be written.
    ///
    /// # Durability
    ///
    /// The log is durable up to and with the record at `page_lsn`.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::PageLsnBeyondEnd`]: no such record; at once, without waiting.
    /// - [`RecoveryError::PageOffline`]: the engine failed to apply a record to the page, and changed
    ///   it further. The page LSN would hide the record from a restart, so the page stays where it is
    ///   until the rollback of the transaction has gone on, and the page was recovered.
    /// - Those of the log. In each case the page must not be written.
    pub fn before_page_write(&self, page: PageId, page_lsn: Lsn) -> Result<(), RecoveryError> {
        if page_lsn.is_none() {
            return Ok(());
        }
        self.check_page_lsn(page, page_lsn)?;
        {
            let mut state = self.state();
            if state.hides(page, page_lsn) {
                return Err(RecoveryError::PageOffline { page });
            }
            state.tables.dirty.writing(page, page_lsn);
        }
        if self.log.durable() <= page_lsn {
            // Syncs end behind whole records: durable past its address is durable to its end.
            let inside = page_lsn.checked_add(RECORD_ALIGN_BYTES as u64);
            self.log.wait_durable(inside.unwrap_or(Lsn::MAX))?;
        }
        Ok(())
    }

    /// Storage durably holds `page` as of `page_lsn`. To be called after the engine's own sync, not
    /// after its write. An LSN which no record has proves nothing, and changes nothing.
    pub fn page_written(&self, page: PageId, page_lsn: Lsn) {
        if page_lsn >= self.log.end() {
            tracing::warn!(%page, %page_lsn, "a page was said to be written as of the future");
            return;
        }
        let mut state = self.state();
        // Of a page that lacks changes, no write is evidence.
        if !state.deferred.contains_key(&page) {
            state.tables.dirty.written(page, page_lsn);
        }
    }
}

impl PoolLog {
    fn manager(&self) -> Result<Arc<TxnManager>, RecoveryError> {
        self.manager.upgrade().ok_or(RecoveryError::LogClosed)
    }
}

impl WriteAhead for PoolLog {
    fn check_page_lsn(&self, page: PageId, page_lsn: Lsn) -> Result<(), RecoveryError> {
        self.manager()?.check_page_lsn(page, page_lsn)
    }

    fn before_page_write(&self, page: PageId, page_lsn: Lsn) -> Result<(), RecoveryError> {
        self.manager()?.before_page_write(page, page_lsn)
    }

    fn page_written(&self, page: PageId, page_lsn: Lsn) {
        // Without a table there is nothing to take the page out of: the next opening looks at it.
        if let Ok(manager) = self.manager() {
            manager.page_written(page, page_lsn);
        }
    }

    fn log_image(&self, page: PageId, image: &[u8]) -> Result<Lsn, RecoveryError> {
        self.manager()?.log_image(page, image)
    }
}
