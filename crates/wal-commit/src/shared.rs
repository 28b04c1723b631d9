//! What all handles, tickets and helper threads of one log share, and the lock that guards it.
//!
//! One lock guards the state. It is held for the copy of a record and for decisions, never for
//! I/O and never while foreign code runs, but for the `reserved` hook of an append and the clock of
//! a log with timestamps, which ask for it. It is two in one (`state_lock`): `queue`, then `data`. Lock
//! order: the state, then the slot of one sleeping thread; never the other way.
//!
//! Invariants under the lock: `durable <= written <= reserved`; the buffer ends where the cursor
//! does; the sink is here exactly while nobody uses it; a poisoned log stays poisoned, and its
//! positions stay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use wal_format::{Lsn, LsnRange, RecordSeed};
use wal_io::{IoError, LogSink, Preparer};

use crate::buffer::Parts;
use crate::checksum::short_below;
use crate::clearance::Clearance;
use crate::config::{self, CommitConfig, Durability, Start, Threads};
use crate::earmark::Earmarks;
use crate::error::CommitError;
use crate::gate::Gate;
use crate::gathering::Gathering;
use crate::group::{Group, Next, Waiter, Want, Work};
use crate::limits::Unasked;
use crate::linger::Linger;
use crate::meters::Meters;
use crate::metrics::CommitStats;
use crate::padding::encode_padding;
use crate::poison::PoisonCause;
use crate::reserve::Cursor;
use crate::runway::{Answers, Runway};
use crate::signal::Signal;
use crate::square_root::Arrivals;
use crate::state_lock::{Bell, StateGuard, StateLock};
use crate::sync::{AtomicBool, BriefGuard, FIXED, Mutex, Ordering, Tally};
use crate::timestamps::{TIME_RECORD_BYTES, Timestamps};
use crate::tuner::Tuner;
use crate::wake::{Wake, Wakes};
use crate::watermark::Watermarks;

pub(crate) type Guard<'a> = StateGuard<'a, State>;

/// Whether the log takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// `close` has begun: no append, waits go on.
    Closing,
    /// Closed or dropped: nothing is written any more.
    Ended,
}

/// What the serving thread is asked for: positions to bring to a level.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) written: Lsn,
    pub(crate) durable: Lsn,
}

/// Everything that changes. Each field changes under the lock only.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// The first failure; never taken back.
    pub(crate) poison: Option<PoisonCause>,
    pub(crate) cursor: Cursor,
    pub(crate) parts: Parts,
    /// So many bytes in the buffer are written out by whoever appends, if nobody else does.
    pub(crate) write_out_bytes: usize,
    /// Whether a thread makes segments ahead of need.
    pub(crate) prepares_ahead: bool,
    /// Up to where an append finds nothing to decide.
    pub(crate) clearance: Clearance,
    pub(crate) group: Group<Wake, Arc<Gate>>,
    /// Flushes under way, and what they make of the log.
    pub(crate) runway: Runway,
    /// Up to where flushes in flight will answer who waits for durability.
    pub(crate) answering: Answers,
    /// One for each slot, with its flight while that does I/O; dropped when the log has ended
    /// (rule 15).
    pub(crate) sinks: SmallVec<[Option<Box<dyn LogSink>>; 1]>,
    /// Dropped when the log has ended; whoever is preparing has a count of its own.
    pub(crate) preparer: Option<Arc<dyn Preparer>>,
    /// How many segments are held back, as far as was last told.
    pub(crate) held_back: u64,
    /// Somebody is making a segment ready.
    pub(crate) preparing: bool,
    /// And somebody waits for it.
    pub(crate) hurried: bool,
    /// Why the last preparation failed; preparing ahead rests until an append asks again.
    pub(crate) prepare_failed: Option<Arc<IoError>>,
    /// An oversized record is being written past the buffer: appends wait.
    pub(crate) exclusive: bool,
    pub(crate) wish: Wish,
    /// What was appended since a limit had a sync asked for.
    pub(crate) unasked: Unasked,
    /// The serving thread sleeps without a deadline, for the log is idle: `rouse` it.
    pub(crate) hibernating: bool,
    pub(crate) stop: bool,
    /// End of the last record that is not housekeeping of the commit path.
    pub(crate) data_end: Lsn,
    /// The highest position that a record in the log says to be durable.
    pub(crate) claimed: Lsn,
    /// What a sync takes, of late.
    pub(crate) usual_sync: Duration,
    /// When the last flush was over, of those that have landed; never steps back.
    pub(crate) landed: Instant,
    /// For how long leaders wait for those who were answered last.
    pub(crate) gathering: Gathering,
    pub(crate) tuner: Tuner,
    pub(crate) arrivals: Arrivals,
    /// Has the log tell the time.
    pub(crate) timestamps: Option<Timestamps>,
    pub(crate) stats: CommitStats,
}

/// The log as its users and threads share it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: CommitConfig,
    pub(crate) seed: RecordSeed,
    pub(crate) marks: Watermarks,
    pub(crate) block_bytes: u64,
    /// Whether syncs make anything durable (rule 11).
    pub(crate) promises: bool,
    /// Whether a limit asks for a sync after so many records or bytes.
    pub(crate) counts_unasked: bool,
    /// Whether a sink may write and sync in one call.
    pub(crate) may_join: bool,
    pub(crate) segment_bytes: u64,
    /// Records whose body has fewer bytes are appended under the brief lock: none where a clock is
    /// asked before each append.
    pub(crate) short_below: usize,
    pub(crate) batch_bytes_max: u64,
    pub(crate) earmarks: Earmarks,
    /// The process that opened the log.
    opened_by: u32,
    state: StateLock<State>,
    /// Set with `State::poison`, for those who ask without the lock.
    poisoned: AtomicBool,
    /// Tells the thread which syncs on behalf of others.
    pub(crate) serve: Bell,
    /// Tells the thread which prepares segments.
    pub(crate) prepare: Bell,
    /// How many committers have joined a crowd, asked for a sync or relieved a leader.
    pub(crate) joined: Tally,
    pub(crate) linger: Linger,
    /// Never locked under the lock of the state: a recorder is foreign code.
    pub(crate) meters: Mutex<Meters>,
    /// When the log was opened, as far as this process goes.
    pub(crate) begun: Instant,
}

/// How many flushes may be in flight: one for each sink.
fn count_of(sinks: &[Box<dyn LogSink>]) -> Result<usize, CommitError> {
    let count = sinks.len();
    if (1..=Runway::SLOTS_MAX).contains(&count) {
        return Ok(count);
    }
    Err(CommitError::Invalid { what: "there must be 1 to 8 sinks", value: count as u64 })
}

impl Shared {
    pub(crate) fn new(
        config: CommitConfig,
        start: Start,
        sinks: Vec<Box<dyn LogSink>>,
        preparer: Arc<dyn Preparer>,
        timestamps: Option<Timestamps>,
    ) -> Result<Self, CommitError> {
        config.check()?;
        let slots = count_of(&sinks)?;
        let block_bytes = sinks.iter().map(|sink| sink.block_bytes()).max().unwrap_or(1);
        start.check(block_bytes)?;
        let usable = config.usable_part_bytes(slots, block_bytes)?;
        let part_bytes = config.part_bytes(slots);
        let segment_bytes = preparer.segment_bytes();
        let begun = Instant::now();
        let mark_bytes = timestamps.as_ref().map_or(0, |_| TIME_RECORD_BYTES);
        let batch_bytes_max = config::batch_bytes_max(usable as u64, segment_bytes, mark_bytes);
        let short_below = if mark_bytes > 0 { 0 } else { short_below(batch_bytes_max) };
        let promises = sinks.iter().all(|sink| sink.can_promise());
        let may_join = sinks.iter().any(|sink| sink.joins_sync());
        let earmarks = Earmarks::new(batch_bytes_max, segment_bytes, block_bytes as u64);
        let parts = Parts::new(start.end, slots + 1, part_bytes, usable);
        let mut state = State::new(&start, parts, sinks, preparer, timestamps, begun);
        earmarks.publish(&state.cursor, state.held_back);
        state.prepares_ahead = config.threads == Threads::Helper;
        if !FIXED {
            state.group.set_flights(1);
        }
        Ok(Self {
            seed: start.seed,
            marks: Watermarks::new(start.end, start.durable),
            block_bytes: block_bytes as u64,
            promises,
            counts_unasked: promises && config.limits_unasked(),
            may_join,
            segment_bytes,
            short_below,
            batch_bytes_max,
            earmarks,
            opened_by: std::process::id(),
            state: StateLock::new(state),
            poisoned: AtomicBool::new(false),
            serve: Bell::default(),
            prepare: Bell::default(),
            joined: Tally::new(0),
            linger: Linger::new(),
            meters: Mutex::new(Meters::default()),
            begun,
            config,
        })
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        self.state.lock()
    }

    /// As [`lock`](Self::lock), for an append: others hold it for less than going to sleep takes.
    pub(crate) fn lock_to_append(&self) -> Guard<'_> {
        self.state.lock_backing_off()
    }

    /// The state, for an append which decides nothing and tells nobody; see [`StateLock`].
    #[inline]
    pub(crate) fn lock_brief(&self) -> Option<BriefGuard<'_, State>> {
        self.state.lock_brief()
    }

    /// Whether the log has threads of its own.
    pub(crate) fn has_helpers(&self) -> bool {
        self.config.threads == Threads::Helper
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        // Pairs with the Release in `poison_locked`.
        self.poisoned.load(Ordering::Acquire)
    }

    /// Refuses to go on in a forked process.
    ///
    /// It costs a system call, so it is asked where the caller is about to sleep, prepare or
    /// close, never on the way of a lone commit.
    pub(crate) fn check_process(&self) -> Result<(), CommitError> {
        let here = std::process::id();
        if here == self.opened_by {
            return Ok(());
        }
        Err(CommitError::Forked { opened_by: self.opened_by, here })
    }

    /// What the next record may say to be durable.
    pub(crate) fn claim(&self) -> Option<Lsn> {
        Some(self.marks.durable()).filter(|durable| !durable.is_none())
    }

    /// Stops all promises, for ever. The first cause stays.
    pub(crate) fn poison(&self, cause: PoisonCause) {
        let mut wakes = Wakes::default();
        self.poison_locked(&mut self.lock(), cause, &mut wakes);
        self.deliver(wakes);
    }

    /// As [`poison`](Self::poison), under the lock; the wake-ups are delivered by the caller.
    pub(crate) fn poison_locked(
        &self,
        state: &mut Guard<'_>,
        cause: PoisonCause,
        wakes: &mut Wakes,
    ) {
        if state.poison.is_some() {
            return;
        }
        wakes.raise(cause.clone());
        // Pairs with the Acquire in `is_poisoned`.
        self.poisoned.store(true, Ordering::Release);
        let (waiters, gates) = state.group.everybody();
        wakes.push_gates(gates, Some(&CommitError::in_doubt(cause.clone())));
        for waiter in waiters {
            let cause = cause.clone();
            let error = match waiter.want {
                Want::Reach { .. } | Want::Beyond(_) => CommitError::in_doubt(cause),
                Want::Room | Want::Segment | Want::Baton => CommitError::refused(cause),
            };
            wakes.push(waiter.wake, Signal::Failed(error));
        }
        state.poison = Some(cause);
        // Who rests while it prepares a segment need not go on.
        self.prepare.ring(state);
    }

    /// Delivers wake-ups. The lock is not held. Foreign code which panics poisons the log.
    pub(crate) fn deliver(&self, wakes: Wakes) {
        if Meters::WANTED && wakes.has_alarm() {
            self.meters.lock().poisoned();
        }
        if wakes.deliver() {
            self.poison(PoisonCause::panicked("a callback or a waker"));
        }
    }

    /// Ends a turn with so many batons, or hands on one that was handed over.
    pub(crate) fn release_batons(
        &self,
        state: &mut State,
        batons: u32,
        commits: u64,
        wakes: &mut Wakes,
    ) {
        if std::mem::take(&mut state.exclusive) {
            push_all(wakes, state.group.waiting_for(Want::Room), &Signal::Met);
        }
        state.stats.largest_group = state.stats.largest_group.max(commits);
        let flown = state.answering.furthest();
        let work = state.work();
        match state.group.release(batons, commits, work, flown) {
            Some(Next::Waiter(waiter)) => wakes.lead(waiter.wake),
            Some(Next::Member(gate)) => wakes.lead_member(gate),
            None => {}
        }
        // Of room in the buffer they were told when it came; an oversized record waits for the device.
        if state.group.is_idle() {
            push_all(wakes, state.group.waiting_for(Want::Room), &Signal::Met);
        }
    }

    /// Takes note of how many segments are held back, and of what the cursor has become.
    pub(crate) fn count_held(&self, state: &mut State, held_back: u64) {
        state.held_back = held_back;
        self.earmarks.publish(&state.cursor, held_back);
    }

    /// Asks the serving thread to bring everything before `end` to `level`.
    pub(crate) fn ask(&self, state: &mut Guard<'_>, end: Lsn, level: Durability) {
        match level {
            Durability::Ordered => return,
            Durability::Written => state.wish.written = state.wish.written.max(end),
            Durability::Durable => {
                // Leaders look at it while they gather.
                self.joined.count();
                state.wish.durable = state.wish.durable.max(end);
            }
        }
        self.serve.ring(state);
    }

    /// Counts records appended, and has them synced when there are enough of them.
    pub(crate) fn count_unasked(&self, state: &mut Guard<'_>, records: u64, bytes: u64) {
        if self.counts_unasked && state.unasked.count(records, bytes, &self.config) {
            let end = state.cursor.end();
            self.ask(state, end, Durability::Durable);
        }
    }

    /// Puts a padding record into the buffer, at the end of the log. The segment stays.
    pub(crate) fn pad(&self, state: &mut State, range: LsnRange) -> Result<(), PoisonCause> {
        if range.is_empty() {
            return Ok(());
        }
        let broken = || PoisonCause::invariant("a padding record must fit into the buffer");
        if state.parts.end() != range.start {
            return Err(broken());
        }
        let space = state.parts.extend(range.bytes() as usize).ok_or_else(broken)?;
        encode_padding(&self.seed, range.start, self.claim(), space).map_err(|_| broken())?;
        state.cursor.advance(range.end);
        self.marks.reserve(range.end);
        state.stats.count_padding(range.bytes());
        Ok(())
    }

    /// Ends the log without a flush: everybody who waits is told, and the sink is let go by
    /// whoever uses it last (rule 15).
    pub(crate) fn end(&self) {
        let mut wakes = Wakes::default();
        let mut state = self.lock();
        state.phase = Phase::Ended;
        state.stop = true;
        let (waiters, gates) = state.group.everybody();
        let in_doubt = state.poison.clone().map(CommitError::in_doubt);
        wakes.push_gates(gates, Some(&in_doubt.unwrap_or(CommitError::Abandoned)));
        for waiter in waiters {
            let error = match (&state.poison, waiter.want) {
                (Some(cause), Want::Reach { .. }) => CommitError::in_doubt(cause.clone()),
                (None, Want::Reach { .. }) => CommitError::Abandoned,
                _ => CommitError::Closed,
            };
            wakes.push(waiter.wake, Signal::Failed(error));
        }
        let last = (std::mem::take(&mut state.sinks), state.preparer.take());
        self.serve.ring(&state);
        self.prepare.ring(&state);
        drop(state);
        self.deliver(wakes);
        drop(last);
    }
}

/// Tells all of them the same.
pub(crate) fn push_all(wakes: &mut Wakes, waiters: Vec<Waiter<Wake>>, signal: &Signal) {
    for waiter in waiters {
        wakes.push(waiter.wake, signal.clone());
    }
}

impl State {
    /// Of a log that goes on at `start`, nothing pending.
    fn new(
        start: &Start,
        parts: Parts,
        sinks: Vec<Box<dyn LogSink>>,
        preparer: Arc<dyn Preparer>,
        timestamps: Option<Timestamps>,
        now: Instant,
    ) -> Self {
        let slots = sinks.len();
        Self {
            phase: Phase::Open,
            poison: None,
            cursor: Cursor::new(start.end, start.active_end, start.ready_end),
            write_out_bytes: config::write_out_bytes(parts.usable()),
            parts,
            prepares_ahead: false,
            clearance: Clearance::NONE,
            group: Group::new(slots as u32),
            runway: Runway::new(start.end, start.durable),
            answering: Answers::of_slots(slots),
            sinks: sinks.into_iter().map(Some).collect(),
            held_back: preparer.held_back(),
            preparer: Some(preparer),
            preparing: false,
            hurried: false,
            prepare_failed: None,
            exclusive: false,
            wish: Wish::default(),
            unasked: Unasked::default(),
            hibernating: false,
            stop: false,
            data_end: start.end,
            claimed: start.end,
            usual_sync: Duration::ZERO,
            tuner: Tuner::new(if FIXED { 1 } else { slots as u32 }),
            arrivals: Arrivals::default(),
            landed: now,
            gathering: Gathering::new(),
            timestamps,
            stats: CommitStats::default(),
        }
    }

    /// What a flush could do now.
    pub(crate) fn work(&self) -> Work {
        if !self.parts.is_empty() {
            Work::Write
        } else if self.runway.unsynced() & self.idle_slots() != 0 {
            Work::Sync
        } else {
            Work::None
        }
    }

    /// A flush to `level` takes everything pending: up to where it answers those who wait for
    /// durability, if it does.
    pub(crate) fn seal(&mut self, level: Durability) -> Option<Lsn> {
        if self.exclusive {
            return None;
        }
        let end = self.cursor.end();
        self.group.seal(end);
        let answers = (level == Durability::Durable).then_some(end);
        if let Some(end) = answers {
            self.answering.begin(end);
        }
        answers
    }

    /// Whether the log takes records.
    pub(crate) fn appendable(&self) -> Result<(), CommitError> {
        match (&self.poison, self.phase) {
            (Some(cause), _) => Err(CommitError::refused(cause.clone())),
            (None, Phase::Open) => Ok(()),
            (None, Phase::Closing | Phase::Ended) => Err(CommitError::Closed),
        }
    }

    /// Whether a position that is not reached yet still can be.
    pub(crate) fn waitable(&self) -> Result<(), CommitError> {
        match (&self.poison, self.phase) {
            (Some(cause), _) => Err(CommitError::in_doubt(cause.clone())),
            (None, Phase::Open | Phase::Closing) => Ok(()),
            (None, Phase::Ended) => Err(CommitError::Abandoned),
        }
    }
}
