//! A batch across partitions on its way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use wal::{Durability, Lsn, Ticket};

use crate::across::Entry;
use crate::error::Error;
use crate::id::BatchId;
use crate::shared::{Ordered, Shared};

/// A batch on its way: ordered in every partition, and durable as a whole once one of its waits
/// returns success.
///
/// Wait for it blocking, or as a future on any runtime. Dropping it changes nothing about the batch.
#[must_use = "the batch is only ordered; wait for the level of durability that you need"]
pub struct AcrossTicket {
    shared: Arc<Shared>,
    /// `None` for a batch within one partition.
    entry: Option<Arc<Entry>>,
    places: Vec<(usize, Lsn)>,
    tickets: Mutex<Vec<(usize, Ticket)>>,
}

impl AcrossTicket {
    pub(crate) fn new(shared: &Arc<Shared>, (entry, tickets): Ordered) -> Self {
        let places = tickets.iter().map(|(partition, ticket)| (*partition, ticket.lsn())).collect();
        Self { shared: Arc::clone(shared), entry, places, tickets: Mutex::new(tickets) }
    }

    /// Identity of the batch; `None` for one within a single partition.
    #[must_use]
    pub fn id(&self) -> Option<BatchId> {
        self.entry.as_ref().map(|entry| entry.id)
    }

    /// The partitions that take part, ascending, and where their part begins in the log of each.
    #[must_use]
    pub fn places(&self) -> &[(usize, Lsn)] {
        &self.places
    }

    /// Whether the whole batch is durable by now; never waits for the device.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.tickets.lock().iter().all(|(_, ticket)| ticket.is_durable())
    }

    /// Returns once every part is durable: from then on a crash leaves all of the batch.
    ///
    /// # Errors
    ///
    /// [`Error::InDoubt`]: some partition cannot make its part durable. The next opening finds all
    /// of the batch or nothing.
    ///
    /// # Cost
    ///
    /// One round of syncs, one for each participant, made at the same time where the logs have
    /// threads ([`wal::Threads::Helper`]), and shared with everybody who waits there. The notes
    /// which follow are not waited for.
    pub fn wait_durable(&self) -> Result<(), Error> {
        self.wait(Durability::Durable)
    }

    /// Returns once every part has reached `level`.
    ///
    /// # Errors
    ///
    /// As [`wait_durable`](Self::wait_durable).
    pub fn wait(&self, level: Durability) -> Result<(), Error> {
        let mut tickets = self.tickets.lock();
        if level == Durability::Durable {
            begin_syncs(&mut tickets);
        }
        for (partition, ticket) in tickets.iter() {
            ticket.wait(level).map_err(|source| self.failed(*partition, source))?;
        }
        drop(tickets);
        if level == Durability::Durable { self.decided() } else { Ok(()) }
    }

    /// Every part is durable: says so to whoever asks from now on.
    fn decided(&self) -> Result<(), Error> {
        match &self.entry {
            Some(entry) => self.shared.across.decide(&self.shared.members, entry, true).map(drop),
            None => Ok(()),
        }
    }

    fn failed(&self, partition: usize, source: wal::Error) -> Error {
        let name = self.shared.members.get(partition).map(|member| member.name.clone());
        let name = name.unwrap_or_default();
        match &self.entry {
            Some(entry) => Error::InDoubt { batch: entry.id, name, source: Some(Box::new(source)) },
            None => Error::of(&name, source),
        }
    }
}

/// Lets the helper threads of all but the first begin their syncs, while the caller makes the first.
fn begin_syncs(tickets: &mut [(usize, Ticket)]) {
    let mut context = Context::from_waker(Waker::noop());
    for (_, ticket) in tickets.iter_mut().skip(1) {
        // Without helper threads this makes the sync itself; its outcome is asked for again.
        let _ = Pin::new(ticket).poll(&mut context);
    }
}

/// Resolves once the whole batch is durable. With [`wal::Threads::Helper`] it never blocks the
/// executor's thread in a sync. Cancel-safe: dropping the future neither loses nor repeats anything.
impl Future for AcrossTicket {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut pending = false;
        let mut failed = None;
        for (partition, ticket) in this.tickets.get_mut() {
            match Pin::new(ticket).poll(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(source)) if failed.is_none() => failed = Some((*partition, source)),
                Poll::Ready(Err(_)) => {}
                Poll::Pending => pending = true,
            }
        }
        if let Some((partition, source)) = failed {
            return Poll::Ready(Err(this.failed(partition, source)));
        }
        if pending {
            return Poll::Pending;
        }
        if let Some(entry) = &this.entry {
            let _ = this.shared.across.decide_at_once(&this.shared.members, entry);
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for AcrossTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcrossTicket")
            .field("id", &self.id())
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}
