//! Transactions on pages: [`PageTransaction`], and a commit that is not waited for yet.
//!
//! Thin: what a transaction logs, and when, is decided in `wal-recovery`; here its errors become
//! those of the log.

use wal_format::{Lsn, PageId, TxnId};
use wal_recovery::RecoveryError;
use wal_recovery::aries::{self, Nested, PageStore, Savepoint, Txn};

use crate::error::Error;
use crate::transaction::Committed;

/// A running transaction on pages; from [`PageLog::begin`](crate::PageLog::begin).
///
/// Every change is logged before it is made, with what takes it back, and with room in the log to
/// do so. Changed pages may reach storage before the commit, or long after it.
///
/// Dropped without an end it is rolled back by
/// [`PageLog::rollback_abandoned`](crate::PageLog::rollback_abandoned), or by the next opening; it
/// holds the log until then. One that is prepared stays in doubt.
///
/// Locks between transactions are the engine's, and so are latches: whoever calls one of the `log_`
/// methods holds the page's exclusive latch from before the call until the change is in the page.
#[derive(Debug)]
#[must_use = "a transaction that is dropped holds the log until it is rolled back"]
pub struct PageTransaction {
    inner: Txn,
}

impl PageTransaction {
    pub(crate) const fn new(inner: Txn) -> Self {
        Self { inner }
    }

    /// Its identity. No other transaction has that of one with a durable record, truncated since or
    /// not, reopenings included; one of which a crash took every record leaves it to another.
    #[must_use]
    pub const fn id(&self) -> TxnId {
        self.inner.id()
    }

    /// Whether it has logged anything. One that only reads never does.
    #[must_use]
    pub const fn has_logged(&self) -> bool {
        self.inner.has_logged()
    }

    /// Logs a change of bytes and puts `after` into `page` at `offset`, with the LSN returned.
    ///
    /// `before` is what stands there; of the same length, or empty for a change that is never
    /// undone.
    ///
    /// # Durability
    ///
    /// None before the commit.
    ///
    /// # Errors
    ///
    /// - [`Refused`](crate::ErrorKind::Refused): the images do not fit, or are too long, or the
    ///   transaction can change nothing as it stands. [`Page`](crate::ErrorKind::Page): the page is
    ///   offline. [`NoSpace`](crate::ErrorKind::NoSpace): there is no room for the record and its
    ///   rollback. Nothing changed, and the transaction can be aborted.
    /// - [`Replay`](crate::ErrorKind::Replay): the engine failed; the change is logged and not in
    ///   the page. Abort.
    /// - [`Poisoned`](crate::ErrorKind::Poisoned): reopen.
    ///
    /// # Cost
    ///
    /// One append: a copy of both images. No system call.
    pub fn update<P: PageStore + ?Sized>(
        &mut self,
        pages: &mut P,
        page: PageId,
        offset: u32,
        before: &[u8],
        after: &[u8],
    ) -> Result<Lsn, Error> {
        Ok(self.inner.update(pages, page, offset, before, after)?)
    }

    /// As [`update`](Self::update), for a caller that puts the bytes and the LSN returned into the
    /// page itself.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update), without those of the engine.
    pub fn log_update(
        &mut self,
        page: PageId,
        offset: u32,
        before: &[u8],
        after: &[u8],
    ) -> Result<Lsn, Error> {
        Ok(self.inner.log_update(page, offset, before, after)?)
    }

    /// Logs an operation of the engine's: `redo` comes back to do it again on `page`, `undo` to take
    /// it back, wherever it is by then. The caller does it, with the LSN returned.
    ///
    /// Its undo may log as many bytes as `redo` and `undo` have together; see
    /// [`log_logical_reserving`](Self::log_logical_reserving) for more.
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    pub fn log_logical(
        &mut self,
        page: PageId,
        operation: u32,
        redo: &[u8],
        undo: &[u8],
    ) -> Result<Lsn, Error> {
        Ok(self.inner.log_logical(page, operation, redo, undo)?)
    }

    /// As [`log_logical`](Self::log_logical), for an operation whose undo may log `more_bytes`
    /// beside its compensation, headers included: the split of a page, for example.
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    pub fn log_logical_reserving(
        &mut self,
        page: PageId,
        operation: u32,
        redo: &[u8],
        undo: &[u8],
        more_bytes: u64,
    ) -> Result<Lsn, Error> {
        Ok(self.inner.log_logical_reserving(page, operation, redo, undo, more_bytes)?)
    }

    /// Logs the whole of `page`: redo puts it in place whatever the page holds, so it mends a torn
    /// write. It has no undo.
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    pub fn log_image(&mut self, page: PageId, image: &[u8]) -> Result<Lsn, Error> {
        Ok(self.inner.log_image(page, image)?)
    }

    /// Logs that the life of `page` is over: nothing older applies to its next one. It has no undo.
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    pub fn log_free(&mut self, page: PageId) -> Result<Lsn, Error> {
        Ok(self.inner.log_free(page)?)
    }

    /// A place to which [`rollback_to`](Self::rollback_to) goes back.
    #[must_use]
    pub fn savepoint(&mut self) -> Savepoint {
        self.inner.savepoint()
    }

    /// Takes back what was done since `to`; the transaction goes on. The savepoint can be used
    /// again, those taken after it cannot.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused): a savepoint of another transaction, or one that is
    /// void. Those of the engine and of the log: call it again, or abort.
    pub fn rollback_to<P: PageStore + ?Sized>(
        &mut self,
        pages: &mut P,
        to: Savepoint,
    ) -> Result<(), Error> {
        Ok(self.inner.rollback_to(pages, to)?)
    }

    /// Begins a nested top action: what is logged up to [`nested_end`](Self::nested_end) stays,
    /// whatever becomes of this transaction.
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update).
    pub fn nested_begin(&mut self) -> Result<Nested, Error> {
        Ok(self.inner.nested_begin()?)
    }

    /// Ends a nested top action. A crash before this is in the log undoes it, after that keeps it.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::ErrorKind::Refused): it is of another transaction, or was rolled back.
    pub fn nested_end(&mut self, nested: Nested) -> Result<Lsn, Error> {
        Ok(self.inner.nested_end(nested)?)
    }

    /// Puts the transaction in doubt: only its coordinator decides from here on. After a restart
    /// `locks` comes back through [`PageStore::in_doubt`](crate::PageStore::in_doubt).
    ///
    /// # Durability
    ///
    /// The prepare record is durable when this returns.
    ///
    /// # Errors
    ///
    /// As [`log_update`](Self::log_update); [`Poisoned`](crate::ErrorKind::Poisoned): whether it is
    /// in doubt shows after reopening.
    pub fn prepare(&mut self, global_id: &[u8], locks: &[u8]) -> Result<Lsn, Error> {
        Ok(self.inner.prepare(global_id, locks)?)
    }

    /// It has seen changes of a commit that was [ordered](Self::commit_ordered), which ends at
    /// `end`, and is not acknowledged before that one is durable, even if it only reads.
    pub fn depends_on(&mut self, end: Lsn) {
        self.inner.depends_on(end);
    }

    /// Commits.
    ///
    /// # Durability
    ///
    /// Durable when this returns, and so is all that it [depends on](Self::depends_on).
    ///
    /// # Errors
    ///
    /// [`Error::fate`] says `NotCommitted`, and the transaction is to be rolled back with
    /// [`rollback_abandoned`](crate::PageLog::rollback_abandoned); or `Unknown`: reopen.
    pub fn commit(self) -> Result<Committed, Error> {
        self.commit_with(0)
    }

    /// Commits with the engine's `timestamp`, to which a copy can be restored; 0 is none.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn commit_with(self, timestamp: u64) -> Result<Committed, Error> {
        self.commit_ordered(timestamp)?.wait()
    }

    /// Commits without waiting: its place is fixed and locks may be released early. Nobody may be
    /// told before [`OrderedCommit::wait`] has returned.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit); not committed.
    pub fn commit_ordered(self, timestamp: u64) -> Result<OrderedCommit, Error> {
        let inner = self.inner.commit_ordered(timestamp).map_err(|error| match error {
            RecoveryError::CommitUnknown { .. } => Error::from(error),
            error => Error::from(error).not_committed(),
        })?;
        Ok(OrderedCommit { inner })
    }

    /// Takes everything back, and ends the transaction.
    ///
    /// # Durability
    ///
    /// None is needed: whatever a crash takes of the rollback is done again.
    ///
    /// # Errors
    ///
    /// Those of the engine and of the log. The rollback goes on where it stopped with
    /// [`rollback_abandoned`](crate::PageLog::rollback_abandoned), or at the next opening. A full
    /// disk is none: there is always room for this.
    pub fn abort<P: PageStore + ?Sized>(self, pages: &mut P) -> Result<(), Error> {
        Ok(self.inner.abort(pages)?)
    }
}

/// A commit in its place in the log, which may not be durable yet.
#[derive(Debug)]
#[must_use = "nobody may be told of the commit before `wait` has returned"]
pub struct OrderedCommit {
    inner: aries::OrderedCommit,
}

impl OrderedCommit {
    /// The transaction, and its commit record; [`Lsn::NONE`] if it logged nothing.
    #[must_use]
    pub const fn committed(&self) -> Committed {
        Committed { txn: self.inner.txn(), lsn: self.inner.lsn() }
    }

    /// For [`PageTransaction::depends_on`] of those who see its changes.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.inner.end()
    }

    /// Waits until the commit is durable, and all that it depends on.
    ///
    /// # Errors
    ///
    /// Unknown: promise nothing, reopen, and ask
    /// [`was_committed`](crate::PageLog::was_committed).
    pub fn wait(self) -> Result<Committed, Error> {
        let aries::Committed { txn, lsn, .. } = self.inner.wait()?;
        Ok(Committed { txn, lsn })
    }
}
