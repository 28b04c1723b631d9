//! A restart without a checkpoint: tables from all records, redo of all of them, then undo. And
//! what every test needs to begin.

use std::sync::Arc;

use wal_format::body::{Body, Compensation};
use wal_format::{Lsn, PageId};

use super::log::MemLog;
use super::pages::{ADD, MemPages};
use crate::aries::{LogicalRedo, PageStore, Txn, TxnManager, UndoReport};
use crate::error::RecoveryError;

pub(super) const PAGE: PageId = PageId::new(1);
pub(super) const OTHER: PageId = PageId::new(2);

pub(super) struct Bench {
    pub(super) log: MemLog,
    pub(super) pages: MemPages,
    pub(super) manager: Arc<TxnManager>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::on(MemLog::new())
    }

    pub(super) fn on(log: MemLog) -> Self {
        let manager = TxnManager::new(log.as_log());
        Self { log, pages: MemPages::default(), manager }
    }

    pub(super) fn begin(&self) -> Txn {
        self.manager.begin(0)
    }

    /// Changes a cell in `txn`.
    pub(super) fn set(&self, txn: &mut Txn, page: PageId, offset: u32, to: u8) -> Lsn {
        self.try_set(txn, page, offset, to).unwrap()
    }

    pub(super) fn try_set(
        &self,
        txn: &mut Txn,
        page: PageId,
        offset: u32,
        to: u8,
    ) -> Result<Lsn, RecoveryError> {
        let before = self.pages.cell(page, offset);
        txn.update(&mut self.pages.clone(), page, offset, &[before], &[to])
    }

    /// Adds to the counter of a page in `txn`, logically.
    pub(super) fn try_add(
        &self,
        txn: &mut Txn,
        page: PageId,
        by: u8,
    ) -> Result<Lsn, RecoveryError> {
        let mut inner = self.pages.0.lock();
        let lsn = txn.log_logical_reserving(page, ADD, &[by], &[by.wrapping_neg()], 256)?;
        inner.add(page, by, lsn).unwrap();
        Ok(lsn)
    }

    pub(super) fn add(&self, txn: &mut Txn, page: PageId, by: u8) -> Lsn {
        self.try_add(txn, page, by).unwrap()
    }

    /// A crash at which every record survived; then analysis and redo. Undo is not done yet.
    pub(super) fn crash(&self) -> Self {
        let end = self.log.0.lock().end;
        self.crash_at(end)
    }

    /// A crash which only the records before `end` survive.
    pub(super) fn crash_at(&self, end: Lsn) -> Self {
        self.crash_into(end, self.pages.crashed())
    }

    /// The same, with these pages in storage.
    pub(super) fn crash_into(&self, end: Lsn, pages: MemPages) -> Self {
        let log = self.log.cut(end);
        redo(&log, &pages);
        let manager = TxnManager::resume(log.as_log(), log.tables(), Vec::new());
        Self { log, pages, manager }
    }

    pub(super) fn undo(&self) -> Result<UndoReport, RecoveryError> {
        self.manager.undo_losers(&mut self.pages.clone(), &mut ())
    }

    /// A crash, and a whole restart.
    pub(super) fn restart(&self) -> (Self, UndoReport) {
        let after = self.crash();
        let report = after.undo().unwrap();
        (after, report)
    }

    pub(super) fn reserved(&self) -> u64 {
        self.log.0.lock().reserved
    }
}

/// Repeats history on the pages that storage held.
pub(super) fn redo(log: &MemLog, pages: &MemPages) {
    let mut pages = pages.clone();
    log.each(|record, body| {
        let lsn = record.lsn();
        let stale = |page| pages.lsn(page) < lsn;
        match body {
            Some(Body::Update(update)) if stale(update.page) => {
                pages.write(update.page, update.offset, update.after, lsn).unwrap();
            }
            Some(Body::Logical(logical)) if stale(logical.page) => {
                let (page, operation, redo) = (logical.page, logical.operation, logical.redo);
                pages.redo_logical(&LogicalRedo { page, operation, redo }, lsn).unwrap();
            }
            Some(Body::Clr(clr)) if !clr.page().is_none() && stale(clr.page()) => {
                match clr.action {
                    Compensation::Bytes { page, offset, image } => {
                        pages.write(page, offset, image, lsn).unwrap();
                    }
                    Compensation::Logical { page, operation, redo } => {
                        pages.redo_logical(&LogicalRedo { page, operation, redo }, lsn).unwrap();
                    }
                    Compensation::Nothing => {}
                }
            }
            _ => {}
        }
    });
}
