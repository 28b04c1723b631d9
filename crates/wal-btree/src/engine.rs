//! The tree as its users see it.

use std::io::ErrorKind;
use std::sync::Arc;

use wal::{
    Aries, CheckpointPointer, Decision, OwnedInDoubt, PageLog, RecoveryReport, Storage, TxnId,
};
use wal_io::{CONTROL_NAME, IoError, IoOp};

use crate::error::Error;
use crate::file::PageFile;
use crate::options::Options;
use crate::pool::Pool;
use crate::store::Store;
use crate::transaction::{Shared, Transaction};
use crate::tree::{Core, Pair};

/// A B+tree of byte strings, in one file of pages, with a log.
///
/// Clones share it, threads share it by reference. Dropped, it is as after a crash: the next opening
/// recovers it.
#[derive(Clone, Debug)]
pub struct Tree {
    shared: Arc<Shared>,
}

impl Tree {
    /// Opens the tree whose log is in `log` and whose pages are in `pages`, which may be the same
    /// place; makes it if there is none. Redoes what the pages lack, and takes back what never
    /// committed.
    ///
    /// The file with the pages does not name its log. Pages whose log is gone, or that are newer
    /// than the log, are refused; beside the log of another tree which goes further than they do,
    /// only what does not fit is noticed.
    ///
    /// # Durability
    ///
    /// What committed is there, whatever of the pages had reached storage.
    ///
    /// # Errors
    ///
    /// [`Error::Options`], [`Error::PagesMissing`], [`Error::LogMissing`]; those of the log, of redo and of undo as
    /// [`Error::Log`]. Nothing is lost by any of them: open again once the cause is gone.
    pub fn open(
        options: Options,
        log: Arc<dyn Storage>,
        pages: Arc<dyn Storage>,
    ) -> Result<Self, Error> {
        options.check()?;
        let file = match PageFile::open(&pages, &options.file_name, options.page_bytes)? {
            // A page is written when its log is durable: they do not belong together any more.
            Some(file) if file.holds_pages()? && !has_log(&log)? => {
                return Err(Error::LogMissing { name: options.file_name });
            }
            Some(file) => file,
            // The file is made before the log is: a log without it has lost its pages.
            None if has_log(&log)? => {
                return Err(Error::PagesMissing { name: options.file_name });
            }
            None => PageFile::create(&pages, &options.file_name, options.page_bytes)?,
        };
        let pool = Pool::new(file, options.frames, options.page_images);
        let core = Arc::new(Core::new(pool));
        let mut store = Store { core, resolver: options.resolver };
        let strategy = Aries::new().redo_threads(options.redo_threads);
        let log = options.log.recover_with(strategy).open_pages_in(log, &mut store)?;
        store.core.pool.log_runs(&log.write_ahead());
        store.core.check_root()?;
        Ok(Self { shared: Arc::new(Shared { store, log }) })
    }

    /// Begins a transaction. Nothing is logged before its first change.
    pub fn begin(&self) -> Transaction {
        Transaction::new(Arc::clone(&self.shared))
    }

    /// Takes a fuzzy checkpoint, which stops nobody (a10), and removes the log that nothing needs
    /// any more (a15). Pages that were dirty at the last checkpoint already are written first, so
    /// that no page holds the log for ever.
    ///
    /// # Durability
    ///
    /// The next restart begins with it once this returns.
    ///
    /// # Errors
    ///
    /// The previous checkpoint stays in force.
    pub fn checkpoint(&self) -> Result<CheckpointPointer, Error> {
        let Shared { store, log } = &*self.shared;
        store.core.pool.write_old()?;
        let pointer = log.checkpoint(&[])?;
        log.truncate()?;
        Ok(pointer)
    }

    /// Writes every dirty page, uncommitted changes included. No commit needs this: it makes the
    /// next opening short.
    ///
    /// # Errors
    ///
    /// A page cannot be written: the tree is poisoned then, unless the log refused.
    pub fn write_pages(&self) -> Result<(), Error> {
        self.shared.store.core.pool.write_all()
    }

    /// Checks the whole tree, and gives its contents in order of their keys, uncommitted changes
    /// included. Everybody else waits meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`], [`Error::Page`]: where, and what is wrong.
    pub fn check(&self) -> Result<Vec<Pair>, Error> {
        self.shared.store.core.check()
    }

    /// Transactions which only their coordinator may end.
    ///
    /// # Errors
    ///
    /// A prepare record cannot be read.
    pub fn in_doubt(&self) -> Result<Vec<OwnedInDoubt>, Error> {
        Ok(self.shared.log.in_doubt()?)
    }

    /// Does with a transaction in doubt what its coordinator decided, and gives its locks back.
    ///
    /// # Durability
    ///
    /// A commit is durable when this returns.
    ///
    /// # Errors
    ///
    /// It is not in doubt; nothing changed. Those of the log and the pages: call it again with the
    /// same decision, or reopen.
    pub fn resolve(&self, txn: TxnId, decision: Decision) -> Result<(), Error> {
        let Shared { store, log } = &*self.shared;
        store.core.pool.check()?;
        log.resolve(txn, decision, &mut store.clone())?;
        if decision != Decision::Wait {
            store.core.locks.release(txn);
        }
        Ok(())
    }

    /// The log below.
    #[must_use]
    pub fn log(&self) -> &PageLog {
        &self.shared.log
    }

    /// What the opening found, redid and undid.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        self.shared.log.recovery()
    }

    /// Pages in memory, and how many of them storage lacks.
    #[must_use]
    pub fn pages_in_memory(&self) -> (usize, usize) {
        self.shared.store.core.pool.count()
    }

    /// Writes all pages, takes a checkpoint and closes the log, for all clones: the next opening has
    /// nothing to redo. Transactions that are running are rolled back by it.
    ///
    /// # Errors
    ///
    /// What is committed is durable all the same.
    pub fn close(&self) -> Result<(), Error> {
        self.write_pages()?;
        self.checkpoint()?;
        Ok(self.shared.log.close()?)
    }
}

/// Whether a log was begun there.
fn has_log(log: &Arc<dyn Storage>) -> Result<bool, Error> {
    match log.list() {
        Ok(files) => Ok(files.iter().any(|file| file.name == CONTROL_NAME)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(IoError::failed(IoOp::List, log.place(), error).into()),
    }
}
