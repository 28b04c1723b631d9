//! Taking a transaction back, record by record: the same code for a savepoint, an abort and a
//! restart.
//!
//! ```text
//!   begin ◄─ update 1 ◄─ update 2 ◄─ update 3 ◄─ CLR of 3 ◄─ CLR of 2        prev_lsn
//!                 ▲           ▲                       │           │
//!                 └───────────┼───────────────────────┼───────────┘          undo_next
//!                             └───────────────────────┘
//! ```
//!
//! Every record is read by its address. What was logged but did not reach its page, since the
//! engine failed in between, is settled first when the rollback is repeated.
//!
//! Invariants: each step goes to a lower address, so no chain can loop; no compensation record is
//! ever undone; between two steps no lock is held.
//!
//! Source: ARIES, "Total or partial rollbacks" and "Undo pass"; statements 5 to 8, 27, 31.

use std::mem;

use wal_format::body::{Body, Clr, Compensation, End, Logical, Outcome, TxnState, Update};
use wal_format::{Lsn, PageId, RecordKind, RecordRef, TxnId, TxnLink};

use super::engine_call::call_engine;
use super::manager::{Applied, TxnManager};
use super::pages::{LogicalUndo, PageState, PageStore};
use super::tables::Effect;
use super::undo_scope::{Scope, may_apply};
use crate::error::RecoveryError;
use crate::fault::ChainFault;
use crate::redo_only::bad_body;

/// A rollback under way, of one transaction or of several.
#[derive(Debug)]
pub(super) struct Undo<'m> {
    manager: &'m TxnManager,
    buf: Vec<u8>,
    /// Compensation records logged, without those that end nested top actions.
    pub(super) clrs: u64,
    /// Records read to undo them.
    pub(super) records_read: u64,
    /// The rollback of one of several stopped among changes of bytes, perhaps in half a nested top
    /// action. A logical undo could come upon that half, so none is tried any more.
    half_way: bool,
}

impl<'m> Undo<'m> {
    pub(super) const fn new(manager: &'m TxnManager) -> Self {
        Self { manager, buf: Vec::new(), clrs: 0, records_read: 0, half_way: false }
    }

    /// Makes sure that the transaction is being rolled back, and that what it logged so far is in
    /// its pages. Gives the first record to undo.
    pub(super) fn start<P: PageStore + ?Sized>(
        &mut self,
        txn: TxnId,
        pages: &mut P,
    ) -> Result<Lsn, RecoveryError> {
        let begun = self.start_in(txn, pages);
        self.half_way |= begun.is_err();
        begun.map(|()| self.manager.undo_next(txn))
    }

    fn start_in<P: PageStore + ?Sized>(
        &mut self,
        txn: TxnId,
        pages: &mut P,
    ) -> Result<(), RecoveryError> {
        let state = self.manager.state().tables.txns.get(txn).map(|entry| entry.state);
        if state != Some(TxnState::RollingBack) {
            self.manager.append_abort(txn)?;
        }
        self.manager.settle(txn, Lsn::NONE, pages)
    }

    /// Undoes what the transaction did after `until`.
    pub(super) fn back_to<P: PageStore + ?Sized>(
        &mut self,
        txn: TxnId,
        until: Lsn,
        pages: &mut P,
    ) -> Result<(), RecoveryError> {
        self.manager.settle(txn, until, pages)?;
        let mut cursor = self.manager.undo_next(txn);
        while cursor > until {
            cursor = self.step(txn, cursor, pages)?;
        }
        Ok(())
    }

    /// Undoes the record at `cursor`, if there is something to undo. Gives the one to undo next;
    /// [`Lsn::NONE`] at the beginning of the transaction.
    pub(super) fn step<P: PageStore + ?Sized>(
        &mut self,
        txn: TxnId,
        cursor: Lsn,
        pages: &mut P,
    ) -> Result<Lsn, RecoveryError> {
        let mut buf = mem::take(&mut self.buf);
        let mut between = false;
        let outcome = self.step_in(txn, cursor, pages, &mut buf, &mut between);
        self.buf = buf;
        self.half_way |= outcome.is_err() && !between;
        outcome
    }

    /// `between` tells whether an error left the transaction between two whole actions.
    fn step_in<P: PageStore + ?Sized>(
        &mut self,
        txn: TxnId,
        cursor: Lsn,
        pages: &mut P,
        buf: &mut Vec<u8>,
        between: &mut bool,
    ) -> Result<Lsn, RecoveryError> {
        let record = self.manager.log.read(cursor, buf)?;
        self.records_read += 1;
        let prev_lsn = link_of(&record, txn, cursor)?.prev_lsn;
        let broken = |why| RecoveryError::BrokenUndo { txn, lsn: cursor, why };
        let body =
            Body::decode(record.kind(), record.body).map_err(|source| bad_body(&record, source))?;
        match body {
            Some(Body::Begin(_)) => return Ok(Lsn::NONE),
            _ if prev_lsn.is_none() => return Err(broken(ChainFault::NoBegin)),
            Some(Body::Commit(_) | Body::End(_)) => {
                return Err(broken(ChainFault::PassesAnEnd));
            }
            // Statement 27: a compensation is never undone, it says where to go on.
            Some(Body::Clr(clr)) if clr.undo_next < cursor => return Ok(clr.undo_next),
            Some(Body::Clr(clr)) => {
                return Err(broken(ChainFault::PointsForward { to: clr.undo_next }));
            }
            Some(Body::Update(update)) if !update.before.is_empty() => {
                self.undo_update(txn, cursor, prev_lsn, &update, pages)?;
            }
            Some(Body::Logical(logical)) => {
                if self.half_way {
                    let what = "it waits for another rollback, which stopped half-way";
                    return Err(RecoveryError::Misuse { txn, what });
                }
                let outcome = self.undo_logical(txn, cursor, prev_lsn, &logical, pages);
                *between = self.manager.undo_next(txn) <= cursor;
                outcome?;
            }
            // Redo only, or no change at all: images, the abort record, the prepare record.
            _ => {}
        }
        Ok(prev_lsn)
    }

    /// Puts the before image back, wherever the page is in its history by now.
    fn undo_update<P: PageStore + ?Sized>(
        &mut self,
        txn: TxnId,
        lsn: Lsn,
        prev_lsn: Lsn,
        update: &Update<'_>,
        pages: &mut P,
    ) -> Result<(), RecoveryError> {
        let Update { page, offset, before, .. } = *update;
        // Statement 6: `undo_next` is what comes before the record compensated, not that record.
        let clr = Clr {
            undo_next: prev_lsn,
            compensated: lsn,
            action: Compensation::Bytes { page, offset, image: before },
        };
        let manager = self.manager;
        if self.reach(page, lsn, pages)? == Applied::Later {
            manager.append_clr(txn, &clr, Applied::Later)?;
        } else {
            let logged = manager.write_logged(txn, lsn, (page, offset, before), pages, &mut || {
                may_apply(manager.append_clr(txn, &clr, Applied::Next)?, page)
            });
            match logged {
                // Logged, and put off: the page lacks what must come before it.
                Err(RecoveryError::PageOffline { .. }) if manager.is_put_off(txn, lsn) => {}
                Err(RecoveryError::PageOffline { .. }) if manager.undo_next(txn) == lsn => {
                    manager.append_clr(txn, &clr, Applied::Later)?;
                }
                logged => drop(logged?),
            }
        }
        self.clrs += 1;
        Ok(())
    }

    /// Lets the engine take a logical change back (statement 5).
    fn undo_logical<P: PageStore + ?Sized>(
        &mut self,
        txn: TxnId,
        lsn: Lsn,
        prev_lsn: Lsn,
        logical: &Logical<'_>,
        pages: &mut P,
    ) -> Result<(), RecoveryError> {
        let Logical { page, operation, undo, .. } = *logical;
        let change = LogicalUndo { txn, lsn, page, operation, undo };
        let manager = self.manager;
        self.check_waiting(txn, lsn, pages)?;
        let mut scope = Scope { manager, txn, compensated: lsn, undo_next: prev_lsn, logged: None };
        let outcome = call_engine(lsn, || pages.undo_logical(&change, &mut scope));
        let logged = scope.logged;
        self.clrs += u64::from(logged.is_some());
        let outcome = match (outcome, logged) {
            (Err(error), Some((lsn, page))) => {
                manager.lacks(txn, page, lsn);
                Err(error)
            }
            (Err(error), None) => {
                if let RecoveryError::PageOffline { page } = error {
                    manager.state().account(txn).waits_for = Some((lsn, page));
                }
                Err(self.take_back_half(txn, lsn, error, pages))
            }
            (Ok(()), _) => Ok(()),
        };
        outcome?;
        if logged.is_none() {
            let source = "it took a logical change back without a compensation record".into();
            return Err(RecoveryError::Handler { lsn, source });
        }
        Ok(())
    }

    /// Whether the page is back for which the rollback of `txn` waits. Until then it is not tried:
    /// each time, the engine might log half a nested top action before it comes to that page.
    fn check_waiting<P: PageStore + ?Sized>(
        &self,
        txn: TxnId,
        lsn: Lsn,
        pages: &mut P,
    ) -> Result<(), RecoveryError> {
        let waits_for = self.manager.state().account(txn).waits_for;
        // A savepoint may lie between this record and the one that waited.
        let Some((_, page)) = waits_for.filter(|(waits, _)| *waits == lsn) else { return Ok(()) };
        let lacks_changes = self.manager.state().deferred.contains_key(&page);
        if lacks_changes || call_engine(lsn, || pages.page_state(page))? == PageState::Offline {
            return Err(RecoveryError::PageOffline { page });
        }
        self.manager.state().account(txn).waits_for = None;
        Ok(())
    }

    /// Takes back what the engine logged for the undo of the record at `lsn`, before it gave up
    /// with `error`: a nested top action that was not ended. It is nobody's to keep, and who else
    /// changes those bytes before this rollback goes on would lose the change to it. Gives `error`,
    /// or that of taking it back if the rollback were put off otherwise.
    fn take_back_half<P: PageStore + ?Sized>(
        &mut self,
        txn: TxnId,
        lsn: Lsn,
        error: RecoveryError,
        pages: &mut P,
    ) -> RecoveryError {
        let mut cursor = self.manager.undo_next(txn);
        // Changes of bytes, each of which can be taken back even where its page is offline.
        while cursor > lsn {
            cursor = match self.step(txn, cursor, pages) {
                Ok(next) => next,
                Err(worse) if matches!(error, RecoveryError::PageOffline { .. }) => return worse,
                Err(_) => return error,
            };
        }
        error
    }

    /// Whether `page` can be changed now, by the rollback of the record at `lsn`.
    fn reach<P: PageStore + ?Sized>(
        &self,
        page: PageId,
        lsn: Lsn,
        pages: &mut P,
    ) -> Result<Applied, RecoveryError> {
        let lacks_changes = self.manager.state().deferred.contains_key(&page);
        match call_engine(lsn, || pages.page_state(page)) {
            Ok(PageState::Offline) => Ok(Applied::Later),
            Ok(PageState::At(_)) if lacks_changes => Ok(Applied::Next),
            _ if lacks_changes => Ok(Applied::Later),
            Ok(PageState::At(page_lsn)) => {
                self.manager.check_page_lsn(page, page_lsn)?;
                Ok(Applied::Next)
            }
            Ok(PageState::Torn) => Err(RecoveryError::TornPage { page, lsn }),
            Err(error) => Err(error),
        }
    }
}

/// Where the record is linked into the chain of `txn`, if it is.
fn link_of(record: &RecordRef<'_>, txn: TxnId, lsn: Lsn) -> Result<TxnLink, RecoveryError> {
    let broken = |why| RecoveryError::BrokenUndo { txn, lsn, why };
    match record.txn {
        Some(link) if link.txn_id != txn => {
            Err(broken(ChainFault::OtherTransaction { found: link.txn_id }))
        }
        Some(link) if link.prev_lsn >= lsn => {
            Err(broken(ChainFault::PointsForward { to: link.prev_lsn }))
        }
        Some(link) => Ok(link),
        None => Err(broken(ChainFault::OtherTransaction { found: TxnId::NONE })),
    }
}

impl TxnManager {
    /// Whether the record at `lsn` is compensated, and the engine applied that or was told not to.
    fn is_put_off(&self, txn: TxnId, lsn: Lsn) -> bool {
        self.undo_next(txn) < lsn && self.state().account(txn).unapplied.is_none()
    }

    /// Lets the engine log and apply a change of bytes under one latch. `lsn` is named in its
    /// errors.
    pub(super) fn write_logged<P: PageStore + ?Sized>(
        &self,
        txn: TxnId,
        lsn: Lsn,
        (page, offset, bytes): (PageId, u32, &[u8]),
        pages: &mut P,
        log: &mut dyn FnMut() -> Result<Lsn, RecoveryError>,
    ) -> Result<Lsn, RecoveryError> {
        let mut logged = None;
        let mut refused = None;
        let outcome = call_engine(lsn, || {
            pages.write_logged(page, offset, bytes, &mut || {
                if logged.is_some() {
                    return Err(RecoveryError::Misuse { txn, what: "one change is logged once" });
                }
                match log() {
                    Ok(lsn) => {
                        logged = Some(lsn);
                        Ok(lsn)
                    }
                    Err(error) => {
                        // Kept here too, in case the engine makes something else of it.
                        let source = format!("not logged: {error}").into();
                        refused = Some(error);
                        Err(RecoveryError::Log(source))
                    }
                }
            })
        });
        if let Some(error) = refused {
            return Err(error);
        }
        let Some(logged) = logged else {
            outcome?;
            let source = "it changed a page without logging the change".into();
            return Err(RecoveryError::Handler { lsn, source });
        };
        if outcome.is_err() {
            self.lacks(txn, page, logged);
        }
        outcome.map(|()| logged)
    }

    /// Takes note that `page` lacks the record at `lsn`, which the engine failed to apply: until
    /// it is applied nobody else may change the page, for the page LSN would hide it.
    fn lacks(&self, txn: TxnId, page: PageId, lsn: Lsn) {
        let mut state = self.state();
        if !page.is_none() {
            state.account(txn).unapplied = Some((lsn, page));
            state.defer(page, lsn);
        }
    }

    /// Logs that `txn` is being rolled back.
    pub(super) fn append_abort(&self, txn: TxnId) -> Result<(), RecoveryError> {
        // Only what ran before a restart can lack the room of its last records.
        self.cover(txn, 0)?;
        let placed = self.append(Some(txn), RecordKind::ABORT, Effect::Abort, &[])?;
        let drawn = {
            let mut state = self.state();
            let bytes = placed.end.distance_from(placed.lsn).unwrap_or(0);
            state.account(txn).draw(bytes)
        };
        self.give_back(drawn);
        Ok(())
    }

    /// Logs that nothing is left to do for `txn`, and gives back what it had reserved.
    pub(super) fn append_end(&self, txn: TxnId, outcome: Outcome) -> Result<(), RecoveryError> {
        let body = End { outcome }.encode();
        self.append(Some(txn), RecordKind::END, Effect::End, &[&body])?;
        let reserved = self.state().accounts.remove(&txn).map_or(0, |account| account.reserved);
        self.give_back(reserved);
        Ok(())
    }
}
