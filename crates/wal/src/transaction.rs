//! Redo-only transactions: several records which replay together, at their commit, or not at all.

use wal_commit::Durability;
use wal_format::body::Commit;
use wal_format::{Lsn, RecordDraft, RecordKind, TxnId, TxnLink};

use crate::error::Error;
use crate::log::Wal;
use crate::ticket::Ticket;

/// A transaction which committed: what to ask [`Wal::was_committed`] about later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Committed {
    /// The transaction.
    pub txn: TxnId,
    /// Address of its commit record.
    pub lsn: Lsn,
}

impl Wal {
    /// Begins a redo-only transaction.
    pub fn begin(&self) -> Transaction {
        Transaction::begin(self.clone())
    }

    /// Takes note of a transaction's record, under the reservation lock.
    pub(crate) fn note_logged(&self, kind: RecordKind, id: TxnId, lsn: Lsn) {
        let mut active = self.shared().active.lock();
        match kind {
            RecordKind::COMMIT => active.committed(id, lsn),
            RecordKind::ABORT => active.given_up(id),
            _ => active.logged(id, lsn),
        }
    }
}

/// A running redo-only transaction.
///
/// Its records are in the log, but replay only if its commit record is there too. For engines
/// which keep uncommitted changes out of their storage (no-steal). Dropping a transaction aborts
/// it without waiting for anything.
#[derive(Debug)]
#[must_use = "a transaction which is dropped is aborted"]
pub struct Transaction {
    wal: Wal,
    id: TxnId,
    last_lsn: Lsn,
    ended: bool,
}

impl Transaction {
    pub(crate) fn begin(wal: Wal) -> Self {
        let id = wal.shared().active.lock().next_txn();
        Self { wal, id, last_lsn: Lsn::NONE, ended: false }
    }

    /// Identity of the transaction, unique within this opening of the log.
    #[must_use]
    pub const fn id(&self) -> TxnId {
        self.id
    }

    /// Appends `body` as a record of the transaction; returns its address.
    ///
    /// # Durability
    ///
    /// None of its own; the commit covers it.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`]. The transaction is usable after
    /// [`Refused`](crate::ErrorKind::Refused) and [`NoSpace`](crate::ErrorKind::NoSpace).
    pub fn log(&mut self, body: &[u8]) -> Result<Lsn, Error> {
        self.log_kind(RecordKind::DATA, body)
    }

    /// As [`log`](Self::log), with a kind of the engine's.
    ///
    /// # Errors
    ///
    /// As [`log`](Self::log); [`Refused`](crate::ErrorKind::Refused) for a kind that is not the
    /// engine's.
    pub fn log_kind(&mut self, kind: RecordKind, body: &[u8]) -> Result<Lsn, Error> {
        self.wal.check_kind(kind)?;
        let ticket = self.append(kind, body, false)?;
        Ok(ticket.lsn())
    }

    /// Commits; returns when the commit has the durability of the log's policy: durable, unless
    /// the policy is `Periodic` or `Never`, or the log is kept without syncs.
    ///
    /// # Errors
    ///
    /// [`Error::fate`] says `NotCommitted` or `Unknown`; for the latter reopen the log and ask
    /// [`Wal::was_committed`] with this transaction and [`Error::lsn`].
    pub fn commit(self) -> Result<Committed, Error> {
        let level = self.wal.shared().options.commit_level();
        self.commit_with(0, level)
    }

    /// Commits with the engine's `timestamp` (0 for none) and waits for `level`.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn commit_with(self, timestamp: u64, level: Durability) -> Result<Committed, Error> {
        let (committed, ticket) = self.commit_ticket(timestamp)?;
        ticket.wait(level)?;
        Ok(committed)
    }

    /// Orders the commit and returns a ticket to wait for; nothing is promised before that.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`]; the transaction is then aborted.
    pub fn commit_ticket(mut self, timestamp: u64) -> Result<(Committed, Ticket), Error> {
        let body = Commit { timestamp }.encode();
        let ticket = self.append(RecordKind::COMMIT, &body, true)?;
        Ok((Committed { txn: self.id, lsn: ticket.lsn() }, ticket))
    }

    /// Gives the transaction up. Its records stay in the log and never replay.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`]. The transaction is given up all the same: without a commit record it
    /// cannot come back.
    pub fn abort(mut self) -> Result<(), Error> {
        if self.last_lsn.is_none() {
            self.ended = true;
            return Ok(());
        }
        self.append(RecordKind::ABORT, &[], true).map(drop)
    }

    fn append(&mut self, kind: RecordKind, body: &[u8], ends: bool) -> Result<Ticket, Error> {
        let parts = [body];
        let link = TxnLink { txn_id: self.id, prev_lsn: self.last_lsn };
        let draft = RecordDraft::new(kind, &parts).in_txn(link);
        let (wal, id) = (&self.wal, self.id);
        let ticket = wal.append_draft(&draft, &mut |lsn| wal.note_logged(kind, id, lsn))?;
        self.note(ticket.lsn(), ends);
        Ok(ticket)
    }

    pub(crate) const fn wal(&self) -> &Wal {
        &self.wal
    }

    /// Address of its last record.
    pub(crate) const fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// Its last record is at `lsn`, and perhaps it is over with that.
    pub(crate) const fn note(&mut self, lsn: Lsn, ends: bool) {
        self.last_lsn = lsn;
        self.ended |= ends;
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // No abort record: without a commit record the transaction cannot come back, and a drop
        // must neither wait for room nor fail.
        if !self.ended {
            self.wal.shared().active.lock().given_up(self.id);
        }
    }
}
