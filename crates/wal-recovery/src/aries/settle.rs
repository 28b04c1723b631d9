//! What a transaction logged and the engine failed to apply, dealt with before its rollback goes on.
//!
//! The page's recovery brings such a record, unless the page went past it: then the page LSN hides
//! it from redo, and a compensation is logged once more, behind whatever hides it. That takes an
//! engine which let go of its latch between logging and applying, and failed.
//!
//! Invariants: nothing is applied here; until the page's recovery it is not written beyond the record.
//!
//! Source: ARIES, "Total or partial rollbacks"; statements 2, 6, 31, 32.

use wal_format::body::{Body, Clr, Compensation};
use wal_format::{Lsn, PageId, TxnId};

use super::manager::{Applied, TxnManager};
use super::pages::PageStore;
use crate::error::RecoveryError;
use crate::redo_only::bad_body;

impl TxnManager {
    /// Sees to it that nothing which `txn` logged can be lost behind a page LSN, before it is rolled
    /// back to `until`. Its page is brought back, if it can be reached.
    pub(super) fn settle<P: PageStore + ?Sized>(
        &self,
        txn: TxnId,
        until: Lsn,
        pages: &mut P,
    ) -> Result<(), RecoveryError> {
        let Some((lsn, page)) = self.state().account(txn).unapplied else { return Ok(()) };
        let offline = self.unless_offline(page, pages)?;
        if self.state().account(txn).unapplied.is_none() {
            return Ok(());
        }
        self.settle_hidden(txn, until, lsn, page, offline)?;
        self.state().account(txn).unapplied = None;
        self.unless_offline(page, pages).map(|_| ())
    }

    /// Brings `page` back; says whether it is offline instead.
    fn unless_offline<P: PageStore + ?Sized>(
        &self,
        page: PageId,
        pages: &mut P,
    ) -> Result<bool, RecoveryError> {
        match self.bring_back(page, pages) {
            Ok(()) => Ok(false),
            Err(RecoveryError::PageOffline { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Deals with a record which another one has passed, or may have, in a page that is `offline`.
    fn settle_hidden(
        &self,
        txn: TxnId,
        until: Lsn,
        lsn: Lsn,
        page: PageId,
        offline: bool,
    ) -> Result<(), RecoveryError> {
        let mut buf = Vec::new();
        let record = self.log.read(lsn, &mut buf)?;
        let body =
            Body::decode(record.kind(), record.body).map_err(|source| bad_body(&record, source))?;
        match body {
            // It is taken back next: by a record of its own, which no page LSN hides.
            Some(Body::Update(update)) if !update.before.is_empty() && lsn > until => {
                if self.undo_next(txn) == lsn { Ok(()) } else { Err(passed(lsn, page)) }
            }
            Some(Body::Clr(clr @ Clr { action: Compensation::Bytes { .. }, .. })) => {
                self.append_clr(txn, &clr, Applied::Later).map(|_| ())
            }
            _ if offline => Err(RecoveryError::PageOffline { page }),
            _ => Err(passed(lsn, page)),
        }
    }

    /// What is to be undone next for `txn`.
    pub(super) fn undo_next(&self, txn: TxnId) -> Lsn {
        self.state().tables.txns.get(txn).map_or(Lsn::NONE, |entry| entry.undo_next)
    }
}

fn passed(lsn: Lsn, page: PageId) -> RecoveryError {
    let source = format!(
        "page {page} went on before the change logged at {lsn} was in it: the engine must hold its \
         latch from logging to applying; a restart brings both"
    );
    RecoveryError::Handler { lsn, source: source.into() }
}
