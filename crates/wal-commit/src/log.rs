//! The handle that users and the layers above hold.
//!
//! It checks arguments, starts and stops the helper threads, and leaves the work to the files
//! above it.

mod batch;

use std::sync::Arc;
use std::time::Duration;

use wal_format::layout::BODY_BYTES_MAX;
use wal_format::{Lsn, LsnRange, RecordDraft, RecordKind};
use wal_io::{LogSink, Preparer};

use crate::append::{Hook, Placed, check_bodies};
use crate::config::{CommitConfig, Durability, Start};
use crate::error::CommitError;
use crate::futures::{Beyond, Reach, Room};
use crate::group::Want;
use crate::helper::Helpers;
use crate::metrics::CommitStats;
use crate::poison::PoisonCause;
use crate::segments::Patience;
use crate::shared::Shared;
use crate::sync::Mutex;
use crate::ticket::Ticket;
use crate::timestamps::Timestamps;
use crate::waiting::Limit;
use crate::watermark::Positions;

/// The commit path of one opening of a log. Clones are handles of the same log.
///
/// Dropping the last handle neither syncs nor blocks: what was not waited for is lost, as in a
/// crash, tickets that still wait get [`CommitError::Abandoned`], and the sink goes when the last
/// operation in flight has returned (rule 15). [`close`](Self::close) is the way to keep all.
///
/// After `fork`, only the process which opened the log may use it. That is checked wherever a
/// caller is about to sleep, to prepare a segment, or to close; not on the way of a lone append
/// and its sync, where it would cost a system call each time.
#[derive(Clone, Debug)]
pub struct GroupCommit {
    // Beside the handle and not only behind it: an append looks at one thing less.
    shared: Arc<Shared>,
    handle: Arc<Handle>,
}

/// What goes with the last handle.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    helpers: Mutex<Helpers>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Ends the log without a flush; the threads return by themselves.
        self.shared.end();
    }
}

impl GroupCommit {
    /// Takes a log over where the opening left it. There may be as many flushes in flight as
    /// there are sinks, 1 to 8; each sink has open files of its own (rule 6).
    ///
    /// # Errors
    ///
    /// [`CommitError::Invalid`]: a configuration or a start that cannot work, a direct sink at a
    /// start inside a block among them. [`CommitError::NoThread`]. Nothing was written.
    pub fn start(
        config: CommitConfig,
        start: Start,
        sinks: Vec<Box<dyn LogSink>>,
        preparer: Arc<dyn Preparer>,
    ) -> Result<Self, CommitError> {
        Self::start_with_timestamps(config, start, sinks, preparer, None)
    }

    /// As [`start`](Self::start), of a log that tells the time. Each batch may then take 32 bytes
    /// less, and so may a record in the buffer.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with_timestamps(
        config: CommitConfig,
        start: Start,
        sinks: Vec<Box<dyn LogSink>>,
        preparer: Arc<dyn Preparer>,
        timestamps: Option<Timestamps>,
    ) -> Result<Self, CommitError> {
        let shared = Arc::new(Shared::new(config, start, sinks, preparer, timestamps)?);
        let helpers = if shared.has_helpers() { Helpers::start(&shared)? } else { Helpers::none() };
        let helpers = Mutex::new(helpers);
        let handle = Arc::new(Handle { shared: Arc::clone(&shared), helpers });
        Ok(Self { shared, handle })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Appends one record.
    ///
    /// `reserved` is called with the address of the record, under the lock under which addresses
    /// are given: tables kept by address change without a race, and in order. It must be short
    /// and must not call the log. If it panics the log is poisoned.
    ///
    /// A record longer than [`batch_bytes_max`](Self::batch_bytes_max) is written from the memory
    /// of `draft`, while other appends wait; it is written, not synced, when this returns.
    ///
    /// # Durability
    ///
    /// None yet: the record is ordered. Wait for the ticket.
    ///
    /// # Errors
    ///
    /// - [`CommitError::TooLong`]: split the body.
    /// - [`CommitError::NoSpace`], [`CommitError::NotPrepared`]: no segment to go on in; nothing
    ///   changed, the next append tries again.
    /// - [`CommitError::Poisoned`]: drop the log and open it again. [`CommitError::Closed`].
    ///
    /// # Cost
    ///
    /// One copy and one checksum of the body, no system call, no allocation; at the end of a
    /// segment, padding. Waits for a flush when the buffer is full.
    pub fn append(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<Ticket, CommitError> {
        let drafts = std::slice::from_ref(draft);
        self.append_all(drafts, &mut |_, lsn| reserved(lsn), Patience::Wait)
    }

    /// As [`append`](Self::append), and refuses instead of waiting.
    ///
    /// An oversized record is still written by this call; it is refused only while somebody else
    /// uses the device.
    ///
    /// # Errors
    ///
    /// [`CommitError::WouldBlock`]: nothing changed, try again. Else as [`append`](Self::append).
    pub fn try_append(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<Ticket, CommitError> {
        let drafts = std::slice::from_ref(draft);
        self.append_all(drafts, &mut |_, lsn| reserved(lsn), Patience::Refuse)
    }

    /// Appends a record of one piece without a hook, and without a ticket: for whoever waits later, with
    /// [`wait`](Self::wait) or [`sync`](Self::sync), for many records at once. Returns the addresses
    /// that it takes.
    ///
    /// # Durability
    ///
    /// None yet: the record is ordered.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    ///
    /// # Cost
    ///
    /// As [`append`](Self::append), and less: it touches no memory that others share but that under
    /// the lock.
    #[inline]
    pub fn append_untracked(&self, kind: RecordKind, body: &[u8]) -> Result<LsnRange, CommitError> {
        let placed = self.append_plain(kind, body)?;
        Ok(LsnRange::new(placed.lsn, placed.end))
    }

    /// As [`append_untracked`](Self::append_untracked), with a ticket.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    #[inline]
    pub fn append_unhooked(&self, kind: RecordKind, body: &[u8]) -> Result<Ticket, CommitError> {
        let placed = self.append_plain(kind, body)?;
        Ok(Ticket::new(Arc::clone(self.shared()), placed))
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "what it returns stays in registers")]
    fn append_plain(&self, kind: RecordKind, body: &[u8]) -> Result<Placed, CommitError> {
        match self.shared().append_short(kind, body) {
            Some(placed) => Ok(placed),
            None => self.append_slowly(kind, body),
        }
    }

    /// As [`append_plain`](Self::append_plain), of a record that is long, or where there is
    /// something to decide.
    #[inline(never)]
    fn append_slowly(&self, kind: RecordKind, body: &[u8]) -> Result<Placed, CommitError> {
        let (shared, parts) = (self.shared(), [body]);
        let draft = RecordDraft::new(kind, &parts);
        let bytes = draft.encoded_bytes();
        if bytes as u64 <= shared.batch_bytes_max.min(BODY_BYTES_MAX as u64) {
            return shared.append_one(&draft, bytes);
        }
        check_bodies(std::slice::from_ref(&draft))?;
        shared.mark_time_before(&draft, Patience::Wait)?;
        shared.append_large(&draft, &mut |_, _| {}, Patience::Wait)
    }

    fn append_all(
        &self,
        drafts: &[RecordDraft<'_>],
        hook: Hook<'_>,
        patience: Patience,
    ) -> Result<Ticket, CommitError> {
        check_bodies(drafts)?;
        let shared = self.shared();
        let placed = match (shared.is_large(drafts), drafts) {
            (None, _) => shared.append(drafts, hook, patience)?,
            (Some(_), [draft]) => {
                shared.mark_time_before(draft, patience)?;
                shared.append_large(draft, hook, patience)?
            }
            (Some(bytes), _) => {
                return Err(CommitError::BatchTooLong { bytes, max: shared.batch_bytes_max });
            }
        };
        Ok(Ticket::new(Arc::clone(shared), placed))
    }

    /// Waits until everything before `end` has reached `level`, for at most `timeout`.
    ///
    /// Under every policy a wait for [`Durability::Durable`] syncs (rule 11). A timeout of zero
    /// only looks.
    ///
    /// # Errors
    ///
    /// - [`CommitError::TimedOut`]: not known yet.
    /// - [`CommitError::BeyondEnd`]: no record ends there.
    /// - [`CommitError::NotPromised`], [`CommitError::Poisoned`], [`CommitError::Abandoned`].
    pub fn wait(
        &self,
        end: Lsn,
        level: Durability,
        timeout: Option<Duration>,
    ) -> Result<(), CommitError> {
        self.shared().wait(end, level, Limit::of(timeout))
    }

    /// As [`wait`](Self::wait), as a future that runs on any executor and never syncs in a poll,
    /// unless the log has no helper threads. Dropping it changes nothing.
    pub fn reach(&self, end: Lsn, level: Durability) -> Reach {
        Reach::new(Arc::clone(self.shared()), end, level)
    }

    /// As [`wait_beyond`](Self::wait_beyond), as a future.
    pub fn beyond(&self, lsn: Lsn) -> Beyond {
        Beyond::new(Arc::clone(self.shared()), lsn)
    }

    /// For an append that waits for room as a future.
    #[must_use]
    pub fn room(&self) -> Room {
        Room::new(Arc::clone(self.shared()))
    }

    /// Lets the next leader expect as many others as if `committers` had been about: a model has no
    /// time to find that out.
    #[cfg(loom)]
    pub fn expect(&self, committers: u64) {
        self.shared().lock().group.expect(committers);
    }

    /// Makes everything appended so far durable; returns the end of it.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait); on a poisoned log always [`CommitError::Poisoned`].
    pub fn sync(&self) -> Result<Lsn, CommitError> {
        self.bring_to(Durability::Durable)
    }

    /// Writes everything appended so far, without a sync; returns the end of it.
    ///
    /// # Errors
    ///
    /// As [`sync`](Self::sync).
    pub fn flush(&self) -> Result<Lsn, CommitError> {
        self.bring_to(Durability::Written)
    }

    fn bring_to(&self, level: Durability) -> Result<Lsn, CommitError> {
        let shared = self.shared();
        let end = {
            let state = shared.lock();
            if let Some(cause) = &state.poison {
                return Err(CommitError::in_doubt(cause.clone()));
            }
            state.cursor.end()
        };
        if level == Durability::Durable && !shared.promises {
            return Err(CommitError::NotPromised);
        }
        shared.wait(end, level, Limit::None)?;
        Ok(end)
    }

    /// Where the next record goes, or padding before it. Costs no lock.
    #[inline]
    #[must_use]
    pub fn reserved(&self) -> Lsn {
        self.shared().marks.reserved()
    }

    /// How far the log has come. Costs no lock.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.shared().marks.positions()
    }

    /// Waits until something at or after `lsn` is durable; returns the end of what is.
    ///
    /// For readers which follow the log: it asks for no sync.
    ///
    /// # Errors
    ///
    /// - [`CommitError::Closed`]: the log has ended, and nothing at or after `lsn` will come.
    /// - [`CommitError::TimedOut`], [`CommitError::NotPromised`], [`CommitError::Poisoned`].
    pub fn wait_beyond(&self, lsn: Lsn, timeout: Option<Duration>) -> Result<Lsn, CommitError> {
        let shared = self.shared();
        let limit = Limit::of(timeout);
        loop {
            let state = shared.lock();
            let durable = shared.marks.positions().durable;
            if durable > lsn {
                return Ok(durable);
            }
            match state.waitable() {
                Err(CommitError::Abandoned) => return Err(CommitError::Closed),
                other => other?,
            }
            if !shared.promises {
                return Err(CommitError::NotPromised);
            }
            shared.sleep(state, Want::Beyond(lsn), false, limit)?;
        }
    }

    /// Counters since the log was opened.
    #[must_use]
    pub fn stats(&self) -> CommitStats {
        self.shared().lock().stats
    }

    /// Stops all promises, for ever. Everybody who waits is told; the first cause stays.
    pub fn poison(&self, cause: PoisonCause) {
        self.shared().poison(cause);
    }

    /// Whether the log has stopped promising. Costs no lock.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.shared().is_poisoned()
    }

    /// Why the log has stopped promising, if it has.
    #[must_use]
    pub fn poison_cause(&self) -> Option<PoisonCause> {
        self.shared().lock().poison.clone()
    }

    /// The most bytes that one batch, or one record in the buffer, may take in the log (rule 18).
    #[must_use]
    pub fn batch_bytes_max(&self) -> u64 {
        self.shared().batch_bytes_max
    }

    /// Promises that records of `bytes` in all, headers included, none longer than
    /// [`earmarked_record_bytes_max`](Self::earmarked_record_bytes_max), can be appended later,
    /// whatever becomes of the disk. 0 bytes are always promised.
    ///
    /// For logs all of whose appends are promised a place: promise, append, and then
    /// [take back](Self::unearmark) what was used. Who appends otherwise takes from the others.
    ///
    /// # Durability
    ///
    /// The space is on the disk; the promise is of this opening. The next one finds the space.
    ///
    /// # Errors
    ///
    /// [`CommitError::NoRoom`], [`CommitError::NoSpace`]: there is no room for that beside what is
    /// promised already; nothing changed. [`CommitError::NotPrepared`]: the space could not be
    /// taken. [`CommitError::Poisoned`], [`CommitError::Closed`].
    ///
    /// # Cost
    ///
    /// Two atomic instructions; a file as long as a segment, for about every segment promised.
    pub fn earmark(&self, bytes: u64) -> Result<(), CommitError> {
        self.shared().earmark(bytes)
    }

    /// Takes back a promise of `bytes`, after they were used or when they are not needed any more:
    /// never more than was promised.
    pub fn unearmark(&self, bytes: u64) {
        self.shared().unearmark(bytes);
    }

    /// The longest record that a promise covers, in bytes, header included.
    #[must_use]
    pub fn earmarked_record_bytes_max(&self) -> u64 {
        self.shared().earmarks.record_bytes_max
    }

    /// Bytes promised to later records.
    #[must_use]
    pub fn earmarked_bytes(&self) -> u64 {
        self.shared().earmarks.promised()
    }

    /// Whether a wait for [`Durability::Durable`] can succeed: the log syncs (rule 11).
    #[must_use]
    pub fn can_promise(&self) -> bool {
        self.shared().promises
    }

    /// The configuration that the log was started with.
    #[must_use]
    pub fn config(&self) -> &CommitConfig {
        &self.shared().config
    }

    /// Writes one watermark record if the log is idle and that proves anything (rule 10).
    ///
    /// Returns its address if one was written. The helper thread does this by itself; without
    /// threads the owner of the log may, when it knows that nothing will come for a while.
    ///
    /// # Durability
    ///
    /// The record is written, not synced; the durable end stays where it is.
    ///
    /// # Errors
    ///
    /// [`CommitError::Poisoned`], also when the write fails; [`CommitError::Abandoned`] after
    /// [`close`](Self::close).
    pub fn mark_idle(&self) -> Result<Option<Lsn>, CommitError> {
        self.shared().mark_idle()
    }

    /// Ends the log: refuses appends, stops the helper threads, writes everything, pads to 4,096
    /// (rule 13), syncs, and lets the sink go. Returns the end of the log.
    ///
    /// # Durability
    ///
    /// Everything before the end returned is durable, unless the log never syncs.
    ///
    /// # Errors
    ///
    /// [`CommitError::Poisoned`]: the log was, or is now, poisoned; it has ended, and is not
    /// clean. [`CommitError::Closed`]: it was closed before.
    pub fn close(&self) -> Result<Lsn, CommitError> {
        let shared = self.shared();
        shared.begin_close()?;
        self.handle.helpers.lock().join();
        let end = shared.finish_close();
        shared.end();
        end
    }
}
