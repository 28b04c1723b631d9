//! What an engine must offer for its pages to be recovered.
//!
//! Physical changes need two things: the LSN of a page, and a way to put bytes into it. Logical
//! operations need their redo and their undo as well. Nothing here keeps state.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use wal_format::{Lsn, PageId, TxnId};

use crate::error::RecoveryError;

/// Whatever goes wrong in an engine.
pub type EngineError = Box<dyn Error + Send + Sync>;

/// What an engine knows of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageState {
    /// Readable; the LSN of the last change applied to it. [`Lsn::NONE`] for a page to which
    /// nothing was ever applied, one beyond the end of the file among them.
    At(Lsn),
    /// Not whole: its checksum does not fit. Only a page image can bring it back.
    Torn,
    /// Cannot be reached now, and may be later: its recovery is put off.
    Offline,
}

/// A logical change to be done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogicalRedo<'a> {
    /// The page that it touches.
    pub page: PageId,
    /// The engine's number for the operation.
    pub operation: u32,
    /// What the engine logged to do it again.
    pub redo: &'a [u8],
}

/// A logical change to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogicalUndo<'a> {
    /// The transaction that is rolled back.
    pub txn: TxnId,
    /// Address of the record to compensate.
    pub lsn: Lsn,
    /// The page that the change touched; what it did may have moved since.
    pub page: PageId,
    /// The engine's number for the operation.
    pub operation: u32,
    /// What the engine logged to take it back.
    pub undo: &'a [u8],
}

/// What an engine logs while it takes back one logical change.
///
/// [`compensate`](Self::compensate) is to be called exactly once, last, and under the latch of the
/// page. What must happen before, such as the split of a full page, is logged as a nested top
/// action: it stays, whatever becomes of the rollback.
///
/// Look at all pages that will be touched before anything is logged: what was logged by the time that
/// one is found offline is taken back, which costs log, and is done again after the next restart.
pub trait UndoScope {
    /// Logs bytes of a page, before and after, as part of a nested top action; the engine then
    /// puts them in place with the LSN returned.
    ///
    /// # Errors
    ///
    /// [`RecoveryError`]: give up and return it.
    fn log_update(
        &mut self,
        page: PageId,
        offset: u32,
        before: &[u8],
        after: &[u8],
    ) -> Result<Lsn, RecoveryError>;

    /// Ends the nested top action: everything logged in this scope so far is kept from now on.
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    fn end_nested(&mut self) -> Result<(), RecoveryError>;

    /// Logs the compensation record, which names the page that is really touched; the engine then
    /// applies `redo` to it with the LSN returned. [`PageId::NONE`] when nothing is left to change.
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    fn compensate(
        &mut self,
        page: PageId,
        operation: u32,
        redo: &[u8],
    ) -> Result<Lsn, RecoveryError>;
}

/// A transaction which only its coordinator may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InDoubt<'a> {
    /// The transaction.
    pub txn: TxnId,
    /// The coordinator's name for it.
    pub global_id: &'a [u8],
    /// What the engine logged to re-acquire its locks.
    pub locks: &'a [u8],
}

/// What the coordinator says of a transaction in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// It committed.
    Commit,
    /// It is to be rolled back.
    Abort,
    /// Nobody knows yet: it stays in doubt, and keeps its locks.
    Wait,
}

/// What a buffer pool asks of the log, whichever way it came by it: in normal running, and at
/// restart from [`PageStore::log_runs`] on. Each call may fail with [`RecoveryError::LogClosed`]
/// when nobody has the log open any more.
pub trait WriteAhead: Send + Sync + fmt::Debug {
    /// Whether `page`, as it was read from storage, can be one of this log's. Restart looks only at
    /// pages that may lack changes; a pool which asks for each page that it reads also finds those
    /// that are newer than a log which was restored to a point, or are of another log. The default
    /// does not look.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::PageLsnBeyondEnd`]: no record can have stood at `page_lsn`. The page must
    /// not be used; restore it from a copy.
    fn check_page_lsn(&self, page: PageId, page_lsn: Lsn) -> Result<(), RecoveryError> {
        let (_, _) = (page, page_lsn);
        Ok(())
    }

    /// The write-ahead rule: returns when the log is durable up to the record at `page_lsn`, so
    /// that `page` may be written as of it.
    ///
    /// # Errors
    ///
    /// [`RecoveryError`]: the page must not be written.
    fn before_page_write(&self, page: PageId, page_lsn: Lsn) -> Result<(), RecoveryError>;

    /// The page was written as of `page_lsn`, and its file was synced since.
    fn page_written(&self, page: PageId, page_lsn: Lsn);

    /// Logs the whole of `page`, so that a write of it that tears can be mended; the image's
    /// address is the page's LSN from then on.
    ///
    /// # Errors
    ///
    /// [`RecoveryError`]: nothing was logged.
    fn log_image(&self, page: PageId, image: &[u8]) -> Result<Lsn, RecoveryError>;
}

/// The pages of an engine, as recovery sees them.
///
/// The calls come from one thread at a time, and only for pages that the log names. An engine
/// whose pages are shared implements this for a handle, or for a reference.
///
/// What the engine guarantees: a page's LSN changes together with its bytes; no page reaches
/// storage before the log is durable up to its LSN; and a page is changed under an exclusive
/// latch which is held from before its record is logged until the change is applied.
pub trait PageStore {
    /// Gets back what the engine had put into the checkpoint with which restart begins: once,
    /// before redo, unless there is no checkpoint yet. The pages are still those of the crash, so
    /// what it says of them holds only once redo is through. It is empty as long as the engine took
    /// no checkpoint with one, since openings take checkpoints too. The default has no use for it.
    ///
    /// # Errors
    ///
    /// As [`page_state`](Self::page_state).
    fn restore_payload(&mut self, payload: &[u8]) -> Result<(), EngineError> {
        let _ = payload;
        Ok(())
    }

    /// What is known of `page`.
    ///
    /// # Errors
    ///
    /// The page cannot be read. Recovery stops and can be repeated.
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError>;

    /// Puts `bytes` into `page` at `offset`, and sets its LSN to `lsn`. With no bytes, only the
    /// LSN. Makes the page if there is none.
    ///
    /// # Errors
    ///
    /// As [`page_state`](Self::page_state).
    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError>;

    /// Changes `page` as [`write`](Self::write) does, with the LSN that `log` returns.
    ///
    /// `log` is to be called exactly once, under the exclusive latch of the page under which the
    /// bytes are put in place too. The default is for engines whose pages nobody else changes
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), and that of `log`.
    fn write_logged(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        log: &mut dyn FnMut() -> Result<Lsn, RecoveryError>,
    ) -> Result<(), EngineError> {
        let lsn = log()?;
        self.write(page, offset, bytes, lsn)
    }

    /// Makes `image` the whole page, whatever was there, and sets its LSN to `lsn`.
    ///
    /// An empty image makes the page what it was before anything was ever applied to it: so begins
    /// the rebuilding of a torn page from its first change on. The default cannot do that, and
    /// refuses it.
    ///
    /// # Errors
    ///
    /// As [`page_state`](Self::page_state).
    fn write_image(&mut self, page: PageId, image: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        if image.is_empty() {
            // What a torn page holds must not stay beneath the changes that are applied next.
            return Err(format!("this engine cannot empty page {page} to rebuild it").into());
        }
        self.write(page, 0, image, lsn)
    }

    /// Takes note that storage may lack what the page holds now, although nothing was changed: it
    /// is to be written and synced again before it counts as written.
    ///
    /// A page that restart finds newer than the log requires may be in the cache of the operating
    /// system only, and after a failed sync not even a later sync would write it (rule 1).
    ///
    /// # Errors
    ///
    /// As [`page_state`](Self::page_state).
    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError>;

    /// Hears that redo will soon change `bytes` of `page` from `offset` on, unless the page's LSN
    /// says that it holds the change; 0 `bytes` for an operation of the engine's own. An engine that
    /// reads pages from storage may begin to read this one, one that has them in memory may touch
    /// it, so that it is near when the change comes. The default does nothing.
    ///
    /// Only a hint, of up to sixteen changes at once: it may come more than once for a page, for a
    /// page that does not exist, and for bytes beyond its end. It must not wait.
    fn expect_change(&mut self, page: PageId, offset: u32, bytes: usize) {
        let _ = (page, offset, bytes);
    }

    /// Does a logical change again, and sets the LSN of its page to `lsn`.
    ///
    /// # Errors
    ///
    /// As [`page_state`](Self::page_state); an engine that logs none refuses, as this does.
    fn redo_logical(&mut self, redo: &LogicalRedo<'_>, lsn: Lsn) -> Result<(), EngineError> {
        let _ = lsn;
        Err(format!("this engine knows no logical operation {}", redo.operation).into())
    }

    /// Takes a logical change back, wherever it is now: finds the page, logs what it does through
    /// `scope`, and applies it.
    ///
    /// # Errors
    ///
    /// As [`redo_logical`](Self::redo_logical). What it logged and did not end is taken back before
    /// anything else happens, so look at every page first. [`RecoveryError::PageOffline`] puts the
    /// rollback off: this is called again once the page named lacks no changes and
    /// [`page_state`](Self::page_state) does not say that it is offline, or after a restart.
    fn undo_logical(
        &mut self,
        undo: &LogicalUndo<'_>,
        scope: &mut dyn UndoScope,
    ) -> Result<(), EngineError> {
        let _ = scope;
        Err(format!("this engine knows no logical operation {}", undo.operation).into())
    }

    /// Is told at restart of a transaction in doubt: gives it its locks back, and says what its
    /// coordinator decided, if it did.
    ///
    /// # Errors
    ///
    /// The locks cannot be had. Recovery stops and can be repeated.
    fn in_doubt(&mut self, txn: &InDoubt<'_>) -> Result<Decision, EngineError> {
        let _ = txn;
        Ok(Decision::Wait)
    }

    /// Is told once at restart, after redo and before undo, that the log takes records again. What
    /// undo changes must not reach storage before `log` says so: an engine that writes pages while
    /// losers are rolled back keeps it, and asks.
    ///
    /// Until then redo may have made pages dirty that do not fit in memory. They may be written
    /// without asking, since what they hold is durable in the log; nobody can be told of it yet.
    ///
    /// Keeping `log` does not keep the log open: when the opening fails, or the last handle is
    /// gone, it answers [`RecoveryError::LogClosed`] to everything. The next opening gives a new
    /// one, in place of which this one goes.
    ///
    /// # Errors
    ///
    /// As [`page_state`](Self::page_state).
    fn log_runs(&mut self, log: &Arc<dyn WriteAhead>) -> Result<(), EngineError> {
        let _ = log;
        Ok(())
    }

    /// Handles on the same pages for `workers` threads, each of which is given other pages; `None`
    /// when redo must stay on one thread.
    fn split(&mut self, workers: usize) -> Option<Vec<Box<dyn PageStore + Send + '_>>> {
        let _ = workers;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine of physical changes, which offers no more than it must.
    struct Least;

    impl PageStore for Least {
        fn page_state(&mut self, _page: PageId) -> Result<PageState, EngineError> {
            Ok(PageState::Torn)
        }

        fn write(&mut self, _: PageId, _: u32, _: &[u8], _: Lsn) -> Result<(), EngineError> {
            Ok(())
        }

        fn mark_dirty(&mut self, _page: PageId) -> Result<(), EngineError> {
            Ok(())
        }
    }

    #[test]
    fn a25_an_engine_that_cannot_empty_a_torn_page_says_so() {
        let page = PageId::new(7);
        assert!(Least.write_image(page, b"whole", Lsn::FIRST).is_ok());
        let refused = Least.write_image(page, b"", Lsn::NONE).unwrap_err();
        assert!(refused.to_string().contains("cannot empty page 7"), "{refused}");
    }
}
