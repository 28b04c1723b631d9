//! The tree as recovery sees it: pages with an LSN, and operations to redo and to undo.
//!
//! Physical changes, which are the parts of splits, need no more than `write`. Changes of entries
//! are redone on the very leaf they were logged for (a05), and undone wherever their key is by now.

use std::fmt;
use std::sync::Arc;

use wal::RecoveryError;
use wal::{
    Decision, EngineError, InDoubt, LogicalRedo, LogicalUndo, PageState, PageStore, UndoScope,
    WriteAhead,
};
use wal_format::{Lsn, PageId};

use crate::changes::Changes;
use crate::error::Error;
use crate::ops::{self, Op};
use crate::page::{BODY, Difference, Page, PageFault};
use crate::pool::{Cell, Created, Pool};
use crate::tree::Core;

/// Says what became of a transaction in doubt, by its global id.
pub type Resolver = Arc<dyn Fn(&[u8]) -> Decision + Send + Sync>;

/// A handle on the tree for recovery and rollback; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) core: Arc<Core>,
    pub(crate) resolver: Option<Resolver>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("core", &self.core).finish_non_exhaustive()
    }
}

impl Store {
    /// Changes a page which has been read, by what was logged at `lsn`.
    fn redo(
        &self,
        id: PageId,
        lsn: Lsn,
        change: impl FnOnce(&mut Page) -> Result<(), PageFault>,
    ) -> Result<(), Error> {
        let frame = self.core.pool.fetch(id)?;
        let mut cell = frame.write();
        let mut page = cell.page(id)?.clone();
        change(&mut page).map_err(|fault| Error::page(id, fault))?;
        self.core.pool.recovered(id, &mut cell, page, lsn);
        Ok(())
    }

    fn undo(&self, undo: &LogicalUndo<'_>, scope: &mut dyn UndoScope) -> Result<(), Error> {
        let op = Op::inverse(undo.operation, undo.undo)?;
        let key = op.key();
        let mut changes = Compensating { core: &self.core, scope };
        self.core.change(key, &mut changes, &mut |_| Ok(Some(op))).map(drop)
    }

    fn lock_in_doubt(&self, txn: &InDoubt<'_>) -> Result<(), Error> {
        let mut rest = txn.locks;
        while !rest.is_empty() {
            let (key, more) = ops::decode(rest).ok_or(Error::BadOperation { number: 0 })?;
            self.core.locks.exclusive(txn.txn, key)?;
            rest = more;
        }
        Ok(())
    }
}

fn put(page: &mut Page, offset: u32, bytes: &[u8]) -> Result<(), PageFault> {
    if bytes.is_empty() { Ok(()) } else { page.put(offset, bytes) }
}

impl PageStore for Store {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        let frame = self.core.pool.fetch(page).map_err(Error::into_engine_error)?;
        let state =
            frame.read().page(page).map_or(PageState::Torn, |page| PageState::At(page.lsn()));
        Ok(state)
    }

    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        self.redo(page, lsn, |page| put(page, offset, bytes)).map_err(Error::into_engine_error)
    }

    fn write_logged(
        &mut self,
        id: PageId,
        offset: u32,
        bytes: &[u8],
        log: &mut dyn FnMut() -> Result<Lsn, RecoveryError>,
    ) -> Result<(), EngineError> {
        let pool = &self.core.pool;
        let mut change = |cell: &mut Cell| {
            pool.before_change(id, cell)?;
            let mut page = cell.page(id)?.clone();
            put(&mut page, offset, bytes).map_err(|fault| Error::page(id, fault))?;
            cell.replace(page, log()?);
            Ok(())
        };
        let frame = pool.fetch(id).map_err(Error::into_engine_error)?;
        change(&mut frame.write()).map_err(Error::into_engine_error)
    }

    fn write_image(&mut self, page: PageId, image: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        let pool = &self.core.pool;
        // Empty: as if nothing had ever been applied to it.
        let whole = match image.len() {
            0 => Page::zeroed(pool.page_bytes()),
            bytes if bytes == pool.page_bytes() => Page::from_image(image),
            _ => return Err(Box::new(Error::page(page, PageFault::Damaged))),
        };
        let frame = pool.pin(page).map_err(Error::into_engine_error)?;
        let mut cell = frame.write();
        match image.len() {
            0 => pool.recovered(page, &mut cell, whole, lsn),
            _ => pool.restored(page, &mut cell, whole, lsn),
        }
        Ok(())
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        let frame = self.core.pool.fetch(page).map_err(Error::into_engine_error)?;
        self.core.pool.mark_dirty(page, &mut frame.write());
        Ok(())
    }

    fn redo_logical(&mut self, redo: &LogicalRedo<'_>, lsn: Lsn) -> Result<(), EngineError> {
        Op::decode(redo.operation, redo.redo)
            .and_then(|op| self.redo(redo.page, lsn, |page| op.apply(page)))
            .map_err(Error::into_engine_error)
    }

    fn undo_logical(
        &mut self,
        undo: &LogicalUndo<'_>,
        scope: &mut dyn UndoScope,
    ) -> Result<(), EngineError> {
        self.undo(undo, scope).map_err(Error::into_engine_error)
    }

    fn in_doubt(&mut self, txn: &InDoubt<'_>) -> Result<Decision, EngineError> {
        self.lock_in_doubt(txn).map_err(Error::into_engine_error)?;
        let decision = self.resolver.as_ref().map_or(Decision::Wait, |ask| ask(txn.global_id));
        if decision != Decision::Wait {
            // It ends before the tree is open: nobody can ask for its locks.
            self.core.locks.release(txn.txn);
        }
        Ok(decision)
    }

    fn log_runs(&mut self, log: &Arc<dyn WriteAhead>) -> Result<(), EngineError> {
        self.core.pool.log_runs(log);
        Ok(())
    }

    fn split(&mut self, workers: usize) -> Option<Vec<Box<dyn PageStore + Send + '_>>> {
        let handle = |_| -> Box<dyn PageStore + Send> { Box::new(self.clone()) };
        Some((0..workers).map(handle).collect())
    }
}

/// Changes that take back another: logged through the scope of one undo.
struct Compensating<'a> {
    core: &'a Core,
    scope: &'a mut dyn UndoScope,
}

impl Changes for Compensating<'_> {
    fn log_entry(&mut self, leaf: PageId, op: Op<'_>, _old: &[u8]) -> Result<Lsn, Error> {
        // Names the leaf that is really touched (a05).
        Ok(self.scope.compensate(leaf, op.number(), &op.redo())?)
    }

    fn log_bytes(&mut self, page: PageId, change: &Difference<'_>) -> Result<Lsn, Error> {
        Ok(self.scope.log_update(page, change.offset, change.before, change.after)?)
    }

    fn log_new(&mut self, pool: &Pool, id: PageId, page: &Page) -> Result<Created, Error> {
        match pool.log_image(id, page) {
            // Bytes may draw on the space that the transaction reserved for its rollback (a09).
            Err(error) if error.is_refusal() => {
                let lsn = self.scope.log_update(id, BODY as u32, &[], page.body())?;
                Ok(Created { lsn, imaged: false })
            }
            logged => logged,
        }
    }

    fn nested(
        &mut self,
        action: &mut dyn FnMut(&mut dyn Changes) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let outcome = action(self).and_then(|()| Ok(self.scope.end_nested()?));
        if let Err(error) = &outcome {
            // A rollback has no savepoint to go back to: half a split stays in memory.
            self.core.pool.poison(error);
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
