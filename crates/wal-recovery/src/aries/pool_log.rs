//! What a buffer pool is handed: the log, for as long as somebody has it open.
//!
//! A pool outlives openings of its log: restart may fail, and is repeated with the same pool. So it
//! does not own the log, which would stay open and locked behind it.
//!
//! Invariant: no page is written through it once the log is gone; whoever opens the log next may
//! have redone or undone that page.

use std::sync::{Arc, Weak};

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
