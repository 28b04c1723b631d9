//! The log of an engine that keeps pages: [`PageLog`].
//!
//! ```text
//!   engine ── begin, update, commit ──► PageLog ── records ──► Wal
//!     │                                    ▲
//!   buffer pool ── before_page_write ──────┘     no page before its log (write-ahead rule)
//! ```
//!
//! Wiring only: transactions, checkpoints and restart are `wal-recovery`'s. It offers no way to
//! append a record that restart could make nothing of.

use std::fmt;
use std::sync::Arc;

use wal_commit::Positions;
use wal_format::body::RestorePoint;
use wal_format::{CheckpointPointer, Epoch, LogId, Lsn, PageId, RecordDraft, RecordKind, TxnId};
use wal_recovery::aries::{
    Decision, OwnedInDoubt, PageStore, TxnLog, TxnManager, UndoReport, WriteAhead,
};
use wal_recovery::{CommitFate, OwnedRecord, RecoveryReport};

use crate::error::{Error, Refusal};
use crate::holds::{Hold, HoldLimit};
use crate::log::{Stats, Truncated, Wal};
use crate::page_transaction::PageTransaction;
use crate::reader::{Reader, Tail};

/// An open log whose transactions change pages, which may be written at any time after their log.
///
/// Clones share it; threads share it by reference. From
/// [`Opener::open_pages`](crate::Opener::open_pages).
///
/// Dropping the last handle is as a crash: what was not synced is lost, transactions that were
/// running are rolled back by the next opening, and the directory can be opened again. Handles are
/// its clones, its transactions, commits that are not waited for yet, and readers; what
/// [`write_ahead`](Self::write_ahead) gives, and [`PageStore::log_runs`], is none.
#[derive(Clone)]
pub struct PageLog {
    wal: Wal,
    log: Arc<dyn TxnLog>,
    manager: Arc<TxnManager>,
    /// The engine's bytes from the checkpoint with which this opening began.
    payload: Option<Arc<[u8]>>,
}

impl PageLog {
    pub(crate) const fn new(
        wal: Wal,
        log: Arc<dyn TxnLog>,
        manager: Arc<TxnManager>,
        payload: Option<Arc<[u8]>>,
    ) -> Self {
        Self { wal, log, manager, payload }
    }

    pub(crate) const fn wal(&self) -> &Wal {
        &self.wal
    }

    /// Begins a transaction. Nothing is logged before its first change.
    pub fn begin(&self) -> PageTransaction {
        self.begin_at(0)
    }

    /// As [`begin`](Self::begin), with the engine's number for the isolation level; 0 is none.
    pub fn begin_at(&self, isolation: u8) -> PageTransaction {
        PageTransaction::new(self.manager.begin(isolation))
    }

    /// Takes a fuzzy checkpoint, with `payload` in it for the engine's own use: the next opening
    /// gives it back through [`PageStore::restore_payload`], before redo, and by
    /// [`checkpoint_payload`](Self::checkpoint_payload). Nobody is stopped.
    ///
    /// # Durability
    ///
    /// Durable when it returns; the next restart begins with it. A crash before that leaves the
    /// previous one in force.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused): the payload is too long.
    /// [`Io`](crate::ErrorKind::Io), [`Poisoned`](crate::ErrorKind::Poisoned): the previous
    /// checkpoint stays in force. [`NoSpace`](crate::ErrorKind::NoSpace): on a full disk there
    /// is room for one with up to 1 KiB of payload; for another only where nothing is taken that was
    /// promised to a rollback.
    ///
    /// # Cost
    ///
    /// A record for 250 transactions or dirty pages, and two syncs: of its end, and of the control
    /// file. More than 4 KiB of them go along with the commits of others, 4 KiB with each, so that
    /// they hold up nobody; where nobody commits for 5 ms, one sync more for each 64 KiB.
    pub fn checkpoint(&self, payload: &[u8]) -> Result<CheckpointPointer, Error> {
        Ok(self.manager.checkpoint(payload)?)
    }

    /// The engine's own bytes from the checkpoint with which this opening began; `None` for a new
    /// log. The checkpoint that ends an opening takes them along; one that is taken later does not.
    #[must_use]
    pub fn checkpoint_payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    /// Removes the segments that nothing needs: neither restart from the oldest retained
    /// checkpoint, with its oldest dirty page and its oldest transaction, nor any hold.
    ///
    /// What a checkpoint needs is decided when it is taken. To give up more of the log, write the
    /// oldest dirty pages, take as many checkpoints as are retained, and truncate.
    ///
    /// # Errors
    ///
    /// As [`Wal::truncate_before`].
    pub fn truncate(&self) -> Result<Truncated, Error> {
        self.wal.truncate_before(self.positions().durable)
    }

    /// Gives this place of the log a name, to restore a copy to; returns its address.
    ///
    /// # Durability
    ///
    /// Durable when it returns, and so is everything before it.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused): the name has no or more than 255 bytes. Else as
    /// [`Wal::append`] and [`Ticket::wait_durable`](crate::Ticket::wait_durable).
    pub fn restore_point(&self, name: &str) -> Result<Lsn, Error> {
        let point = RestorePoint { name };
        let body = point.encode().map_err(|_| Refusal::RestorePointName { bytes: name.len() })?;
        let parts = [body];
        let draft = RecordDraft::new(RecordKind::RESTORE_POINT, &parts);
        let bytes = draft.encoded_bytes() as u64;
        self.log.admit()?;
        self.log.reserve(bytes)?;
        let placed = self.log.append(&draft, &mut |_| {});
        self.log.release(bytes);
        let placed = placed?;
        self.log.wait_durable(placed.end)?;
        Ok(placed.lsn)
    }

    /// The write-ahead rule: returns when `page` may be written to storage as of `page_lsn`.
    ///
    /// # Durability
    ///
    /// The log is durable up to and with the record at `page_lsn`.
    ///
    /// # Errors
    ///
    /// [`Page`](crate::ErrorKind::Page): no such record is in the log, so the page is not one of
    /// this log. Else those of the log. In each case the page must not be written.
    ///
    /// # Cost
    ///
    /// Nothing when that much is durable; else one sync, shared with whoever waits as well.
    pub fn before_page_write(&self, page: PageId, page_lsn: Lsn) -> Result<(), Error> {
        Ok(self.manager.before_page_write(page, page_lsn)?)
    }

    /// Storage durably holds `page` as of `page_lsn`: it was written, **and its file synced** since.
    /// Said too early, a checkpoint gives up the only copy of its changes.
    pub fn page_written(&self, page: PageId, page_lsn: Lsn) {
        self.manager.page_written(page, page_lsn);
    }

    /// Whether `page`, as it was read from storage, can be one of this log's: restart looks only at
    /// pages that may lack changes. For the pool to ask with each page that it reads.
    ///
    /// # Errors
    ///
    /// [`Page`](crate::ErrorKind::Page): no record can have stood at `page_lsn`. The page is newer
    /// than this log, which may have been restored to a point, or is of another one.
    ///
    /// # Cost
    ///
    /// Compares `page_lsn` with the ends of the log, and no more.
    pub fn check_page_lsn(&self, page: PageId, page_lsn: Lsn) -> Result<(), Error> {
        Ok(self.manager.check_page_lsn(page, page_lsn)?)
    }

    /// These calls, and images, for a buffer pool that does not know the log; the same that
    /// [`PageStore::log_runs`](crate::PageStore::log_runs) is given at restart.
    ///
    /// It is no handle: it does not keep the log open. Once the last handle is gone it lets no page
    /// be written, and says [`RecoveryError::LogClosed`](crate::RecoveryError::LogClosed).
    #[must_use]
    pub fn write_ahead(&self) -> Arc<dyn WriteAhead> {
        self.manager.write_ahead()
    }

    /// Logs the whole of `page`, outside of every transaction: redo puts it in place whatever the
    /// page holds, so it mends a torn write. Returns the page's new LSN. To be called under the
    /// page's latch.
    ///
    /// # Errors
    ///
    /// As [`PageTransaction::log_image`].
    pub fn log_image(&self, page: PageId, image: &[u8]) -> Result<Lsn, Error> {
        Ok(self.manager.log_image(page, image)?)
    }

    /// Logs that the life of `page` is over, outside of every transaction.
    ///
    /// # Errors
    ///
    /// As [`PageTransaction::log_free`].
    pub fn log_free(&self, page: PageId) -> Result<Lsn, Error> {
        Ok(self.manager.log_free(page)?)
    }

    /// Transactions which only their coordinator may end, and which no handle holds: those that
    /// restart found, and prepared ones whose handle was dropped.
    ///
    /// # Errors
    ///
    /// A prepare record cannot be read.
    pub fn in_doubt(&self) -> Result<Vec<OwnedInDoubt>, Error> {
        Ok(self.manager.in_doubt()?)
    }

    /// Does with a transaction in doubt what its coordinator decided; its locks can go then.
    /// [`Decision::Wait`] changes nothing.
    ///
    /// # Durability
    ///
    /// A commit is durable when this returns. An abort need not be: after a crash the transaction
    /// may be in doubt again, and its coordinator is asked again.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused): it is not in doubt; nothing changed. Those of the
    /// engine and of the log, in an abort: the decision stands; the rollback goes on when this is
    /// called again with it, or with [`rollback_abandoned`](Self::rollback_abandoned). In a commit:
    /// as [`OrderedCommit::wait`](crate::OrderedCommit::wait).
    pub fn resolve<P: PageStore + ?Sized>(
        &self,
        txn: TxnId,
        decision: Decision,
        pages: &mut P,
    ) -> Result<(), Error> {
        Ok(self.manager.resolve(txn, decision, pages)?)
    }

    /// Rolls back the transactions whose handles were dropped without an end, and goes on with
    /// rollbacks that waited for a page.
    ///
    /// # Errors
    ///
    /// As [`PageTransaction::abort`], the first of them: one that stops keeps no other from its end.
    /// Nothing is undone twice when it is called again.
    pub fn rollback_abandoned<P: PageStore + ?Sized>(
        &self,
        pages: &mut P,
    ) -> Result<UndoReport, Error> {
        Ok(self.manager.rollback_abandoned(pages)?)
    }

    /// Transactions that nobody holds and that are to be rolled back.
    #[must_use]
    pub fn abandoned(&self) -> Vec<TxnId> {
        self.manager.abandoned()
    }

    /// How many pages may be newer in memory than in storage.
    #[must_use]
    pub fn dirty_pages(&self) -> usize {
        self.manager.dirty_pages()
    }

    /// Pages that lack changes, since they could not be reached so far or the engine failed to apply a
    /// record to them; the log keeps what they are owed. For [`recover_page`](Self::recover_page).
    #[must_use]
    pub fn deferred_pages(&self) -> Vec<PageId> {
        self.manager.deferred_pages()
    }

    /// Brings `page` up to date from the log: one of the [deferred](Self::deferred_pages) that can be
    /// reached, or one that was found torn since. Rollbacks that waited for it go on.
    ///
    /// Nobody else may change the page meanwhile.
    ///
    /// # Errors
    ///
    /// [`Page`](crate::ErrorKind::Page): it is still offline, or torn and the log does not reach
    /// back far enough. Those of the engine and of the log: call it again.
    ///
    /// # Cost
    ///
    /// One sync, and a scan of the log from the oldest change that the page lacks; for a torn page
    /// more than one.
    pub fn recover_page<P: PageStore + ?Sized>(
        &self,
        page: PageId,
        pages: &mut P,
    ) -> Result<UndoReport, Error> {
        Ok(self.manager.recover_page(page, pages)?)
    }

    /// The lowest address that a restart would need if a checkpoint were complete now.
    #[must_use]
    pub fn oldest_needed(&self) -> Lsn {
        self.manager.oldest_needed()
    }

    /// The end of the newest commit: whoever waits for that has waited for every commit whose
    /// changes can have been seen. For [`PageTransaction::depends_on`].
    #[must_use]
    pub fn commits_end(&self) -> Lsn {
        self.manager.commits_end()
    }

    /// Keeps the log from `lsn` on until the hold is dropped or advanced.
    ///
    /// # Errors
    ///
    /// As [`Wal::hold`].
    pub fn hold(&self, name: &str, lsn: Lsn, limit: Option<HoldLimit>) -> Result<Hold, Error> {
        self.wal.hold(name, lsn, limit)
    }

    /// A reader over what is durable, from `lsn` forwards and backwards.
    ///
    /// # Errors
    ///
    /// As [`Wal::read_from`].
    pub fn read_from(&self, lsn: Lsn) -> Result<Reader, Error> {
        self.wal.read_from(lsn)
    }

    /// The durable record at `lsn`, with a body of its own.
    ///
    /// # Errors
    ///
    /// As [`Wal::read_at`].
    pub fn read_at(&self, lsn: Lsn) -> Result<OwnedRecord, Error> {
        self.wal.read_at(lsn)
    }

    /// A reader which follows the durable end as it grows, from `lsn` on.
    ///
    /// # Errors
    ///
    /// As [`Wal::tail`].
    pub fn tail(&self, lsn: Lsn) -> Result<Tail, Error> {
        self.wal.tail(lsn)
    }

    /// Whether the transaction `txn`, whose commit was to be at `lsn`, is committed.
    ///
    /// One that was prepared is [`InDoubt`](CommitFate::InDoubt) until it is
    /// [resolved](Self::resolve), also when a commit of it was lost with the end of the log; after
    /// that the answer is as it was resolved, for the same `lsn`.
    ///
    /// # Errors
    ///
    /// As [`Wal::was_committed`].
    pub fn was_committed(&self, txn: TxnId, lsn: Lsn) -> Result<CommitFate, Error> {
        match self.wal.was_committed(txn, lsn)? {
            // Its commit record may be lost; its prepare record is not.
            CommitFate::NotCommitted if self.manager.is_prepared(txn, lsn) => {
                Ok(CommitFate::InDoubt)
            }
            fate => Ok(fate),
        }
    }

    /// Makes everything logged so far durable; returns the durable end.
    ///
    /// # Errors
    ///
    /// As [`Wal::sync`].
    pub fn sync(&self) -> Result<Lsn, Error> {
        self.wal.sync()
    }

    /// Reserved, written and durable ends of the log; each is at most the one before.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.wal.positions()
    }

    /// Lowest address that is still there.
    #[must_use]
    pub fn head(&self) -> Lsn {
        self.wal.head()
    }

    /// Identity of the log.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.wal.log_id()
    }

    /// Which opening of the log this is.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.wal.epoch()
    }

    /// Checkpoints to fall back on, oldest first.
    #[must_use]
    pub fn checkpoints(&self) -> Vec<CheckpointPointer> {
        self.wal.checkpoints()
    }

    /// What the opening found, redid and undid.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        self.wal.recovery()
    }

    /// Figures of the log as it runs.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let active_transactions = self.manager.active_transactions() as u64;
        let dirty_pages = self.manager.dirty_pages() as u64;
        Stats { active_transactions, dirty_pages, ..self.wal.stats() }
    }

    /// Closes the log for all its clones: everything logged becomes durable, and the next opening
    /// goes on where this one ended.
    ///
    /// It rolls nothing back. Transactions that are running are rolled back by the next opening,
    /// those in doubt stay so, and dirty pages are redone; an engine that wants a quick opening
    /// ends its transactions, writes its pages and takes a checkpoint first. The next opening may
    /// change the pages: from now on this pool must write none of them.
    ///
    /// # Errors
    ///
    /// As [`Wal::close`].
    pub fn close(&self) -> Result<(), Error> {
        self.wal.close()
    }
}

impl fmt::Debug for PageLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageLog")
            .field("log_id", &self.log_id())
            .field("positions", &self.positions())
            .field("transactions", &self.manager)
            .finish()
    }
}
