//! Every call that waits, as a future that runs on any executor.
//!
//! | call | future | what a dropped future leaves |
//! |---|---|---|
//! | `append` | [`Wal::append_async`] | nothing, or the record once, in its place |
//! | `Ticket::wait` | [`Ticket`] itself, [`Ticket::reach`] | the record, as before |
//! | `sync` | [`Wal::sync_async`] | what was appended, as before |
//! | `commit` | [`Transaction::commit_async`] | an aborted transaction, or a commit nobody heard of |
//! | `Tail::next` | [`Tail::next_async`] | the reader, in front of the same record |
//! | `close`, `complete`, `truncate_before` | [`Wal::close_async`] and its like | the work, if it had begun |
//!
//! No future is ever in two minds: a record is appended in one poll, under one lock, or not. With
//! [`Threads::Helper`](crate::Threads::Helper) no poll makes a sync: records become durable by the
//! serving thread, or by a committer that blocks; what is rare and slow has a thread of its own for
//! as long as it takes. With [`Threads::None`](crate::Threads::None) there is no other thread, and a
//! poll does what the blocking call does.

use std::future::{Future, poll_fn};

use wal_commit::{CommitError, Durability, Threads};
use wal_format::body::Commit;
use wal_format::{CheckpointPointer, Lsn, RecordDraft, RecordKind, RecordRef, TxnLink};

use crate::background::OnThread;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, ErrorKind};
use crate::log::{Truncated, Wal};
use crate::page_transaction::OrderedCommit;
use crate::reader::Tail;
use crate::ticket::Ticket;
use crate::transaction::{Committed, Transaction};

impl Wal {
    /// As [`append`](Self::append); waits for room as a future.
    ///
    /// Dropped before it is ready, the record is not in the log; there is no state in between. A
    /// body larger than [`batch_bytes_max`](Self::batch_bytes_max) is copied once more and written
    /// by a thread of its own; dropped after the first poll, such a record may be in the log.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub async fn append_async(&self, body: &[u8]) -> Result<Ticket, Error> {
        self.append_kind_async(RecordKind::DATA, body).await
    }

    /// As [`append_kind`](Self::append_kind) and [`append_async`](Self::append_async).
    ///
    /// # Errors
    ///
    /// As [`append_kind`](Self::append_kind).
    pub async fn append_kind_async(&self, kind: RecordKind, body: &[u8]) -> Result<Ticket, Error> {
        self.check_kind(kind)?;
        let large = {
            let parts = [body];
            RecordDraft::new(kind, &parts).encoded_bytes() as u64 > self.batch_bytes_max()
        };
        if large && self.has_helpers() {
            let (wal, body) = (self.clone(), body.to_vec());
            return OnThread::new(move || wal.append_kind(kind, &body)).await;
        }
        self.append_in_polls(|wal| {
            let parts = [body];
            wal.try_draft(&RecordDraft::new(kind, &parts), &mut |_| {})
        })
        .await
    }

    /// As [`append_batch`](Self::append_batch); waits for room as a future. Dropped before it is
    /// ready, no record of the batch is in the log.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch).
    pub async fn append_batch_async<B: AsRef<[u8]> + Sync>(
        &self,
        bodies: &[B],
    ) -> Result<Ticket, Error> {
        self.append_in_polls(|wal| {
            let records: Vec<_> =
                bodies.iter().map(|body| (RecordKind::DATA, body.as_ref())).collect();
            let commit = &wal.shared().commit;
            if wal.has_helpers() {
                commit.try_append_batch_unhooked(&records)
            } else {
                commit.append_batch_unhooked(&records)
            }
        })
        .await
    }

    /// As [`sync`](Self::sync): everything appended before its first poll becomes durable.
    ///
    /// # Errors
    ///
    /// As [`sync`](Self::sync).
    pub async fn sync_async(&self) -> Result<Lsn, Error> {
        let commit = &self.shared().commit;
        // The answer of a poisoned log needs no wait.
        if !self.has_helpers() || commit.is_poisoned() {
            return self.sync();
        }
        let end = commit.positions().reserved;
        commit.reach(end, Durability::Durable).await?;
        Ok(end)
    }

    /// As [`wait_beyond`](Self::wait_beyond), without a limit; an executor has its own timeouts.
    ///
    /// # Errors
    ///
    /// As [`wait_beyond`](Self::wait_beyond).
    pub async fn wait_beyond_async(&self, lsn: Lsn) -> Result<Lsn, Error> {
        Ok(self.shared().commit.beyond(lsn).await?)
    }

    /// As [`truncate_before`](Self::truncate_before), by a thread of its own, which goes on when
    /// the future is dropped.
    ///
    /// # Errors
    ///
    /// As [`truncate_before`](Self::truncate_before).
    pub async fn truncate_before_async(&self, lsn: Lsn) -> Result<Truncated, Error> {
        self.aside(move |wal| wal.truncate_before(lsn)).await
    }

    /// As [`checkpoint_begin`](Self::checkpoint_begin), by a thread of its own.
    ///
    /// # Errors
    ///
    /// As [`checkpoint_begin`](Self::checkpoint_begin).
    pub async fn checkpoint_begin_async(&self) -> Result<Checkpoint, Error> {
        self.aside(Self::checkpoint_begin).await
    }

    /// As [`close`](Self::close), by a thread of its own. Dropped after its first poll, the log is
    /// closed all the same.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub async fn close_async(&self) -> Result<(), Error> {
        self.aside(Self::close).await
    }

    /// Does what may take long where no executor waits for it.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if !self.has_helpers() {
            return work(self);
        }
        let wal = self.clone();
        OnThread::new(move || work(&wal)).await
    }

    pub(crate) fn has_helpers(&self) -> bool {
        self.shared().commit.config().threads == Threads::Helper
    }

    /// One try to append, for a future; blocks only where there is nobody else to make room.
    fn try_draft(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<wal_commit::Ticket, CommitError> {
        let commit = &self.shared().commit;
        if self.has_helpers() {
            commit.try_append(draft, reserved)
        } else {
            commit.append(draft, reserved)
        }
    }

    async fn append_in_polls(
        &self,
        mut attempt: impl FnMut(&Self) -> Result<wal_commit::Ticket, CommitError> + Send,
    ) -> Result<Ticket, Error> {
        self.check_redo_only()?;
        self.shared().holds.admit(self.shared().commit.reserved())?;
        let mut room = self.shared().commit.room();
        let ticket = poll_fn(|cx| room.poll(cx, || attempt(self))).await?;
        Ok(Ticket::new(ticket))
    }
}

impl Ticket {
    /// As [`wait`](Self::wait), as a future that does not borrow the ticket.
    pub fn reach(
        &self,
        level: Durability,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (lsn, reach) = (self.lsn(), self.inner().reach(level));
        async move { reach.await.map_err(|error| Error::from(error).at(lsn)) }
    }
}

impl Transaction {
    /// As [`log`](Self::log); waits for room as a future.
    ///
    /// Dropped before it is ready, the record is not in the log, and the transaction can go on. A
    /// body larger than [`Wal::batch_bytes_max`] is written in the poll.
    ///
    /// # Errors
    ///
    /// As [`log`](Self::log).
    pub async fn log_async(&mut self, body: &[u8]) -> Result<Lsn, Error> {
        let ticket = self.append_async(RecordKind::DATA, body, false).await?;
        Ok(ticket.lsn())
    }

    /// As [`commit`](Self::commit), as a future.
    ///
    /// Dropped before the commit record has its place the transaction is aborted, after that it is
    /// committed, and only nobody heard of it. Whoever must know waits, or asks
    /// [`Wal::was_committed`] after a reopening.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub async fn commit_async(self) -> Result<Committed, Error> {
        let level = self.wal().shared().options.commit_level();
        self.commit_with_async(0, level).await
    }

    /// As [`commit_with`](Self::commit_with), as a future; see [`commit_async`](Self::commit_async).
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub async fn commit_with_async(
        mut self,
        timestamp: u64,
        level: Durability,
    ) -> Result<Committed, Error> {
        let body = Commit { timestamp }.encode();
        let ticket = self.append_async(RecordKind::COMMIT, &body, true).await?;
        let committed = Committed { txn: self.id(), lsn: ticket.lsn() };
        ticket.reach(level).await?;
        Ok(committed)
    }

    async fn append_async(
        &mut self,
        kind: RecordKind,
        body: &[u8],
        ends: bool,
    ) -> Result<Ticket, Error> {
        let link = TxnLink { txn_id: self.id(), prev_lsn: self.last_lsn() };
        let id = self.id();
        let ticket = self
            .wal()
            .append_in_polls(|wal| {
                let parts = [body];
                let draft = RecordDraft::new(kind, &parts).in_txn(link);
                wal.try_draft(&draft, &mut |lsn| wal.note_logged(kind, id, lsn))
            })
            .await?;
        self.note(ticket.lsn(), ends);
        Ok(ticket)
    }
}

impl OrderedCommit {
    /// As [`wait`](Self::wait), by a thread of its own. Dropped after its first poll, the commit
    /// becomes durable all the same.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub async fn wait_async(self) -> Result<Committed, Error> {
        OnThread::new(move || self.wait()).await
    }
}

impl Checkpoint {
    /// As [`complete`](Self::complete), by a thread of its own, which goes on when the future is
    /// dropped after its first poll.
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete).
    pub async fn complete_async(self, payload: Vec<u8>) -> Result<CheckpointPointer, Error> {
        OnThread::new(move || self.complete(&payload)).await
    }
}

impl Tail {
    /// As [`next`](Self::next), as a future. Dropped before it is ready, the reader stands where it
    /// stood. It reads in the poll, from the page cache as a rule; it never syncs.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn next_async(&mut self) -> Result<Option<RecordRef<'_>>, Error> {
        while !self.has_next()? {
            match self.wal().wait_beyond_async(self.position()).await {
                Ok(_) => {}
                // What became durable with the close itself is still to be read.
                Err(error) if error.kind() == ErrorKind::Closed => {
                    return if self.has_next()? { self.read_next() } else { Ok(None) };
                }
                Err(error) => return Err(error),
            }
        }
        self.read_next()
    }
}
