//! A position in the log that can be waited for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use wal_commit::{CommitError, Durability};
use wal_format::Lsn;

use crate::error::Error;

/// A record on its way: ordered, and durable once one of its waits returns success.
///
/// Wait for it blocking, as a future on any runtime, or with a callback. Dropping a ticket, or a
/// future made of it, changes nothing about the record: it stays in the log.
#[derive(Debug)]
#[must_use = "the record is only ordered; wait for the level of durability that you need"]
pub struct Ticket {
    inner: wal_commit::Ticket,
}

impl Ticket {
    pub(crate) const fn new(inner: wal_commit::Ticket) -> Self {
        Self { inner }
    }

    pub(crate) const fn inner(&self) -> &wal_commit::Ticket {
        &self.inner
    }

    /// Address of the record; of the first one, for a batch.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.inner.lsn()
    }

    /// First address after the record or batch.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.inner.end()
    }

    /// Whether the record is durable by now; never waits.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.inner.is_durable()
    }

    /// Returns once the record is durable, and with it everything before it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned): reopen the log and ask
    /// [`was_committed`](crate::Wal::was_committed). [`ErrorKind::Refused`](crate::ErrorKind::Refused):
    /// the log is kept without syncs and cannot promise this.
    ///
    /// # Cost
    ///
    /// At most one write and one sync, shared with everybody who waits at the same time.
    #[inline]
    pub fn wait_durable(&self) -> Result<(), Error> {
        self.wait(Durability::Durable)
    }

    /// Returns once the backend took the record: it survives the death of this process.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned), as [`wait_durable`](Self::wait_durable).
    pub fn wait_written(&self) -> Result<(), Error> {
        self.wait(Durability::Written)
    }

    /// Returns once the record has reached `level`.
    ///
    /// # Errors
    ///
    /// As [`wait_durable`](Self::wait_durable).
    #[inline]
    pub fn wait(&self, level: Durability) -> Result<(), Error> {
        self.inner.wait(level).map_err(|error| self.error(error))
    }

    #[cold]
    fn error(&self, error: CommitError) -> Error {
        Error::from(error).at(self.lsn())
    }

    /// As [`wait_durable`](Self::wait_durable), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut): unknown, never failed. Wait again.
    pub fn wait_durable_timeout(&self, timeout: Duration) -> Result<(), Error> {
        self.inner.wait_durable_timeout(timeout).map_err(|error| Error::from(error).at(self.lsn()))
    }

    /// Calls `callback` once, from the thread that learns of it, when the record is durable or
    /// never will be. A callback that panics poisons the log. It may use the log, but must not
    /// close it; while it runs, others may wait for it.
    pub fn on_durable(self, callback: impl FnOnce(Result<Lsn, Error>) + Send + 'static) {
        let lsn = self.lsn();
        self.inner.on_durable(Box::new(move |outcome| {
            callback(outcome.map(|_| lsn).map_err(|error| Error::from(error).at(lsn)));
        }));
    }
}

/// Resolves to the record's address once it is durable. With
/// [`Threads::Helper`](crate::Threads::Helper) it never blocks the executor's thread in a sync; with
/// [`Threads::None`](crate::Threads::None) polling makes the sync itself. Cancel-safe: dropping the future neither loses nor repeats the record.
impl Future for Ticket {
    type Output = Result<Lsn, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lsn = self.lsn();
        let polled = Pin::new(&mut self.inner).poll(cx);
        polled.map(|outcome| outcome.map(|_| lsn).map_err(|error| Error::from(error).at(lsn)))
    }
}
