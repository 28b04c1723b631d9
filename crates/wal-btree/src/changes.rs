//! How changes of the tree are logged, whoever makes them.
//!
//! A transaction logs with undo; a rollback logs compensations. What they do to the tree is the
//! same, so the tree knows only this.

use wal_format::{Lsn, PageId};

use crate::error::Error;
use crate::ops::Op;
use crate::page::{Difference, Page};
use crate::pool::{Created, Pool};

/// Where changes of pages are logged. All calls come under the latch of the page.
pub(crate) trait Changes {
    /// Logs a change of one entry; `old` is the value that the key had.
    ///
    /// # Errors
    ///
    /// Nothing was logged.
    fn log_entry(&mut self, leaf: PageId, op: Op<'_>, old: &[u8]) -> Result<Lsn, Error>;

    /// Logs bytes of a page, before and after; only within [`nested`](Self::nested).
    ///
    /// # Errors
    ///
    /// Nothing was logged.
    fn log_bytes(&mut self, page: PageId, change: &Difference<'_>) -> Result<Lsn, Error>;

    /// Logs all of a new page; only within [`nested`](Self::nested).
    ///
    /// # Errors
    ///
    /// Nothing was logged.
    fn log_new(&mut self, pool: &Pool, id: PageId, page: &Page) -> Result<Created, Error> {
        pool.log_image(id, page)
    }

    /// Runs `action` as a nested top action: once it is done it stays, whatever becomes of the
    /// transaction (a07). The caller holds the latch of the tree exclusively: nobody sees it half
    /// done.
    ///
    /// # Errors
    ///
    /// Those of `action`: what it had done is taken back before this returns, or else the tree is
    /// poisoned.
    fn nested(
        &mut self,
        action: &mut dyn FnMut(&mut dyn Changes) -> Result<(), Error>,
    ) -> Result<(), Error>;
}
