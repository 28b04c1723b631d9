//! Waiting without a thread: the futures that the calls which wait are made of.
//!
//! Whoever polls queues with a waker and asks the serving thread; that one, or a committer, flushes.
//! A poll never writes or syncs as long as the log has its helper threads. Without them
//! ([`Threads::None`](crate::Threads::None)) there is nobody else, and the poll does it.
//!
//! Dropping a future withdraws its waker and changes nothing else: what it waited for happens, or
//! not, as if it had never been polled.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use wal_format::Lsn;

use crate::config::Durability;
use crate::error::CommitError;
use crate::group::{WaiterId, Want};
use crate::shared::{Guard, Shared};
use crate::waiting::Limit;
use crate::wake::Wake;

/// A place among those who wait, for as long as it is of use.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    queued: Option<WaiterId>,
}

impl Place {
    const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, queued: None }
    }

    /// Waits for `want` with the waker of `cx`, unless `settled` knows the answer.
    ///
    /// Both under one hold of the lock: nothing can happen in between and go unnoticed.
    fn wait<T>(
        &mut self,
        cx: &Context<'_>,
        want: Want,
        settled: impl FnOnce(&mut Guard<'_>) -> Option<T>,
    ) -> Option<T> {
        // Cloning and dropping a waker is foreign code: never under the lock, which is let go
        // before `wake` is dropped.
        let mut wake = Wake::Task(cx.waker().clone());
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if let Some(answer) = settled(&mut state) {
            return Some(answer);
        }
        if let Some(queued) = self.queued.and_then(|id| state.group.wake_of(id)) {
            std::mem::swap(queued, &mut wake);
            return None;
        }
        self.queued = Some(state.group.enlist(want, false, wake));
        if let Want::Reach { end, level } = want {
            shared.ask(&mut state, end, level);
        }
        None
    }

    fn leave(&mut self) {
        let Some(id) = self.queued.take() else {
            return;
        };
        let withdrawn = self.shared.lock().group.withdraw(id);
        drop(withdrawn);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Waits until everything before an address has reached a level. Made by
/// [`GroupCommit::reach`](crate::GroupCommit::reach) and [`Ticket::reach`](crate::Ticket::reach).
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Reach {
    place: Place,
    end: Lsn,
    level: Durability,
}

impl Reach {
    pub(crate) const fn new(shared: Arc<Shared>, end: Lsn, level: Durability) -> Self {
        Self { place: Place::new(shared), end, level }
    }
}

impl Future for Reach {
    type Output = Result<(), CommitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { place, end, level } = self.get_mut();
        let (shared, end, level) = (Arc::clone(&place.shared), *end, *level);
        if shared.marks.reached(end, level) {
            // Who brings it there takes all out who wait for that: nobody is left to withdraw.
            place.queued = None;
            return Poll::Ready(Ok(()));
        }
        if !shared.has_helpers() {
            return Poll::Ready(shared.wait(end, level, Limit::None));
        }
        let known = place.wait(cx, Want::Reach { end, level }, |state| {
            if shared.marks.reached(end, level) {
                return Some(Ok(()));
            }
            if level == Durability::Durable && !shared.promises {
                return Some(Err(CommitError::NotPromised));
            }
            if let Err(error) = state.waitable() {
                return Some(Err(error));
            }
            let reserved = state.cursor.end();
            (end > reserved).then_some(Err(CommitError::BeyondEnd { end, reserved }))
        });
        known.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Waits until something at or behind an address is durable; gives the durable end. Made by
/// [`GroupCommit::beyond`](crate::GroupCommit::beyond). It asks for no sync.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Beyond {
    place: Place,
    lsn: Lsn,
}

impl Beyond {
    pub(crate) const fn new(shared: Arc<Shared>, lsn: Lsn) -> Self {
        Self { place: Place::new(shared), lsn }
    }
}

impl Future for Beyond {
    type Output = Result<Lsn, CommitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { place, lsn } = self.get_mut();
        let (shared, lsn) = (Arc::clone(&place.shared), *lsn);
        let known = place.wait(cx, Want::Beyond(lsn), |state| {
            let durable = shared.marks.positions().durable;
            if durable > lsn {
                return Some(Ok(durable));
            }
            match state.waitable() {
                Err(CommitError::Abandoned) => Some(Err(CommitError::Closed)),
                Err(error) => Some(Err(error)),
                Ok(()) if !shared.promises => Some(Err(CommitError::NotPromised)),
                Ok(()) => None,
            }
        });
        known.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Waits for room: an append is tried, and tried again when room or a segment has come. Made by
/// [`GroupCommit::room`](crate::GroupCommit::room).
#[derive(Debug)]
pub struct Room {
    room: Place,
    segment: Place,
}

impl Room {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { room: Place::new(Arc::clone(&shared)), segment: Place::new(shared) }
    }

    /// Makes one `attempt`, one of the `try_` calls; pending while that says
    /// [`CommitError::WouldBlock`].
    ///
    /// Of a log without helper threads nothing would ever make room: the attempt is to block there.
    ///
    /// # Errors
    ///
    /// Those of the attempt.
    pub fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        mut attempt: impl FnMut() -> Result<T, CommitError>,
    ) -> Poll<Result<T, CommitError>> {
        match attempt() {
            Err(CommitError::WouldBlock) => {}
            known => return self.ready(known),
        }
        // Queued first and tried once more: room that came in between is not missed.
        let _: Option<()> = self.room.wait(cx, Want::Room, |_| None);
        let _: Option<()> = self.segment.wait(cx, Want::Segment, |_| None);
        match attempt() {
            Err(CommitError::WouldBlock) => Poll::Pending,
            known => self.ready(known),
        }
    }

    fn ready<T>(&mut self, known: T) -> Poll<T> {
        self.room.leave();
        self.segment.leave();
        Poll::Ready(known)
    }
}
