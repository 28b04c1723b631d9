//! Opening a log for an engine that keeps pages.
//!
//! The steps are those of every opening (`open`), with analysis and redo before the commit path
//! starts, and undo and a checkpoint after.

use std::path::Path;
use std::sync::Arc;

use wal_io::Storage;
use wal_recovery::aries::{Aries, PageStore};

use crate::error::{Error, Refusal};
use crate::open::Opener;
use crate::page_log::PageLog;
use crate::place;

impl Opener<Aries> {
    /// Opens the log in the directory `path`, creating it if there is none, and brings `pages` to
    /// what the log proves: what may be missing is redone, what never committed is undone.
    ///
    /// Transactions in doubt keep their locks; pages that are offline are left for later.
    ///
    /// # Durability
    ///
    /// The checkpoint that ends the recovery is durable when this returns. The pages need not be:
    /// they are dirty, as in normal running.
    ///
    /// # Errors
    ///
    /// As [`Wal::open`](crate::Wal::open), and:
    ///
    /// - [`Refused`](crate::ErrorKind::Refused): the options say to sync nothing.
    /// - [`Page`](crate::ErrorKind::Page): a page is torn and cannot be rebuilt, or is of another
    ///   log.
    ///
    /// The recovery can be repeated after each of them, by this process and with the same `pages`,
    /// and after a crash at any point of it. The log is closed then: what
    /// [`PageStore::log_runs`] may have handed out lets no page be written any more.
    ///
    /// # Cost
    ///
    /// Reads the log from the oldest change that a page may lack, once; one addressed read for each
    /// record to undo.
    pub fn open_pages<P: PageStore + ?Sized>(
        self,
        path: impl AsRef<Path>,
        pages: &mut P,
    ) -> Result<PageLog, Error> {
        self.options.check()?;
        let storage = place::writable(path.as_ref(), &self.options)?;
        self.open_pages_in(storage, pages)
    }

    /// As [`open_pages`](Self::open_pages), in any [`Storage`].
    ///
    /// # Errors
    ///
    /// As [`open_pages`](Self::open_pages).
    pub fn open_pages_in<P: PageStore + ?Sized>(
        mut self,
        storage: Arc<dyn Storage>,
        pages: &mut P,
    ) -> Result<PageLog, Error> {
        let (wal, log) = self.run(storage, pages)?;
        let payload = self.strategy.take_checkpoint_payload();
        let manager = self.strategy.into_manager().ok_or(Refusal::Unfinished)?;
        Ok(PageLog::new(wal, log, manager, payload.map(Arc::from)))
    }
}
