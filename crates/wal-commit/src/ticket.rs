//! A receipt for a record: its address, and ways to wait for what is promised about it.
//!
//! Dropping a ticket, or a future made of it, changes nothing about the record: it stays in the
//! log and becomes durable with the next sync that anybody asks for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use wal_format::Lsn;

use crate::append::Placed;
use crate::config::Durability;
use crate::error::CommitError;
use crate::futures::Reach;
use crate::group::{WaiterId, Want};
use crate::shared::{Shared, State};
use crate::signal::Signal;
use crate::waiting::Limit;
use crate::wake::{Callback, Wake, Wakes};

/// Says where a record is, and waits for what is promised about it.
///
/// As a [`Future`] it waits for [`Durability::Durable`] and gives the address of the record. It
/// runs on any executor. A helper thread syncs for it, so that no executor thread blocks in a
/// sync; with [`Threads::None`](crate::Threads::None) the poll itself syncs.
#[derive(Debug)]
#[must_use = "a record is only ordered until its ticket was waited for"]
pub struct Ticket {
    shared: Arc<Shared>,
    placed: Placed,
    /// The place of the future among the waiters, once it was polled.
    queued: Option<WaiterId>,
}

impl Ticket {
    pub(crate) const fn new(shared: Arc<Shared>, placed: Placed) -> Self {
        Self { shared, placed, queued: None }
    }

    /// Address of the record, or of the first record of the batch.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.placed.lsn
    }

    /// First address behind the record, or behind the last record of the batch.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.placed.end
    }

    /// Whether the record survives a power loss. Costs no lock.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.shared.marks.reached(self.placed.end, Durability::Durable)
    }

    /// Waits until the record, and everything before it, has reached `level`.
    ///
    /// # Errors
    ///
    /// - [`CommitError::NotPromised`]: the log never syncs (rule 11).
    /// - [`CommitError::Poisoned`]: it is not known whether the record survives; reopen the log.
    /// - [`CommitError::Abandoned`]: the log was dropped; reopen it.
    ///
    /// # Cost
    ///
    /// Nothing when the level is reached. A lone caller does one write, and one sync for
    /// [`Durability::Durable`]; of several callers, one does both for all of them.
    #[inline]
    pub fn wait(&self, level: Durability) -> Result<(), CommitError> {
        self.shared.wait(self.placed.end, level, Limit::None)
    }

    /// Waits until the record survives the death of the process. See [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_written(&self) -> Result<(), CommitError> {
        self.wait(Durability::Written)
    }

    /// Waits until the record survives a power loss. See [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_durable(&self) -> Result<(), CommitError> {
        self.wait(Durability::Durable)
    }

    /// As [`wait`](Self::wait), as a future. It does not need the ticket any more.
    pub fn reach(&self, level: Durability) -> Reach {
        Reach::new(Arc::clone(&self.shared), self.placed.end, level)
    }

    /// As [`wait_durable`](Self::wait_durable), for at most `timeout`.
    ///
    /// A timeout of zero only looks. The helper thread syncs on behalf of the caller, for a sync
    /// cannot be interrupted; with [`Threads::None`](crate::Threads::None) the caller may be the
    /// one who syncs, and then returns when that is over.
    ///
    /// # Errors
    ///
    /// [`CommitError::TimedOut`]: not known yet; the record may still become durable. Else as
    /// [`wait`](Self::wait).
    pub fn wait_durable_timeout(&self, timeout: Duration) -> Result<(), CommitError> {
        self.shared.wait(self.placed.end, Durability::Durable, Limit::of(Some(timeout)))
    }

    /// The future is gone that waited at this place.
    #[cold]
    fn withdraw(&self, id: WaiterId) {
        let withdrawn = self.shared.lock().group.withdraw(id);
        drop(withdrawn);
    }

    /// Calls `callback` once, with the address of the record when it is durable, or with the
    /// reason why that is not known.
    ///
    /// The callback runs in the caller when the outcome is known already or the log has no
    /// threads ([`Threads::None`](crate::Threads::None)), else in whichever thread finds out:
    /// a committer's or a helper's. No lock is held. It should be short. A panic in it poisons
    /// the log, and reaches nobody else. A panic of the backend, in a log without threads, goes on
    /// through this call, and the callback is dropped.
    pub fn on_durable(&self, callback: Callback) {
        let Placed { lsn, end } = self.placed;
        let want = Want::Reach { end, level: Durability::Durable };
        let known = if self.shared.has_helpers() {
            let mut state = self.shared.lock();
            match self.outcome(&state) {
                None => {
                    state.group.enlist(want, false, Wake::Callback(lsn, callback));
                    self.shared.ask(&mut state, end, Durability::Durable);
                    return;
                }
                Some(known) => known,
            }
        } else {
            self.wait_durable()
        };
        let mut wakes = Wakes::default();
        let signal = match known {
            Ok(()) => Signal::Met,
            Err(error) => Signal::Failed(error),
        };
        wakes.push(Wake::Callback(lsn, callback), signal);
        self.shared.deliver(wakes);
    }

    /// What is known about the durability of the record; `None` when it has to be waited for.
    fn outcome(&self, state: &State) -> Option<Result<(), CommitError>> {
        if self.is_durable() {
            return Some(Ok(()));
        }
        if !self.shared.promises {
            return Some(Err(CommitError::NotPromised));
        }
        state.waitable().err().map(Err)
    }

    /// Polls with the help of the serving thread.
    fn poll_queued(&mut self, cx: &Context<'_>) -> Poll<Result<Lsn, CommitError>> {
        let Placed { lsn, end } = self.placed;
        if self.is_durable() {
            return Poll::Ready(Ok(lsn));
        }
        let shared = Arc::clone(&self.shared);
        // Cloning and dropping a waker is foreign code: never under the lock, which is let go
        // before `waker` is dropped.
        let mut waker = Wake::Task(cx.waker().clone());
        let mut state = shared.lock();
        if let Some(known) = self.outcome(&state) {
            return Poll::Ready(known.map(|()| lsn));
        }
        if let Some(queued) = self.queued.and_then(|id| state.group.wake_of(id)) {
            std::mem::swap(queued, &mut waker);
            return Poll::Pending;
        }
        let want = Want::Reach { end, level: Durability::Durable };
        self.queued = Some(state.group.enlist(want, false, waker));
        shared.ask(&mut state, end, Durability::Durable);
        Poll::Pending
    }
}

impl Future for Ticket {
    type Output = Result<Lsn, CommitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = self.get_mut();
        if ticket.shared.has_helpers() {
            return ticket.poll_queued(cx);
        }
        Poll::Ready(ticket.wait_durable().map(|()| ticket.placed.lsn))
    }
}

impl Drop for Ticket {
    #[inline]
    fn drop(&mut self) {
        // Who makes it durable takes all out who wait for that: nobody is left to withdraw.
        if let Some(id) = self.queued
            && !self.is_durable()
        {
            self.withdraw(id);
        }
    }
}
