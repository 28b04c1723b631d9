//! Making the next segment ready, outside of the lock and off the commit path (rule 12).
//!
//! As soon as the log enters the last segment that is ready, the next one is wanted (after an
//! opening, as soon as it is used in earnest): the preparing thread makes it, with rests so that
//! commits are not kept from the device, or, without threads, the next leader after its flush.
//! How long it is the preparer decides. An append which needs a segment that is not there makes it
//! itself, or waits for whoever is at it, who rests no more then, and is told when that fails. Then
//! nothing was reserved, and the log stays usable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wal_format::Lsn;
use wal_format::layout::BLOCK_BYTES;
use wal_io::{IoError, IoOp, Preparer, Rest, Rested};

use crate::error::CommitError;
use crate::group::Want;
use crate::poison::PoisonCause;
use crate::shared::{Guard, Phase, Shared, State, push_all};
use crate::signal::Signal;
use crate::sync::FIXED;
use crate::waiting::Limit;
use crate::wake::Wakes;

/// So many syncs are left alone before a segment is begun.
const FIRST_REST_SYNCS: u32 = 4;
/// A slow device must not make it late, nor a log that is through this part of what it has left by
/// then.
const FIRST_REST_MAX: Duration = Duration::from_millis(20);
const PART_LEFT_ALONE: u64 = 4;

/// Whether an append waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Wait,
    /// The `try_` variants.
    Refuse,
}

impl State {
    /// Whether a segment should be made ready ahead of need.
    pub(crate) fn wants_preparation(&self) -> bool {
        self.cursor.wants_ahead()
            && !self.preparing
            && self.prepare_failed.is_none()
            && self.poison.is_none()
            && self.phase == Phase::Open
    }
}

impl Shared {
    /// Makes the next segment ready if it is wanted. A failure is remembered, not reported: the
    /// append that needs the segment tries again.
    pub(crate) fn prepare_ahead(&self) {
        let state = self.lock();
        if state.wants_preparation() {
            drop(self.prepare_next(state, None));
        }
    }

    /// Brings about a segment behind the last ready one, for an append that needs it.
    pub(crate) fn need_segment<'a>(
        &'a self,
        mut state: Guard<'a>,
        patience: Patience,
    ) -> Result<Guard<'a>, CommitError> {
        state.stats.segment_waits += 1;
        if state.preparing {
            self.hurry(&mut state);
            if patience == Patience::Refuse {
                return Err(CommitError::WouldBlock);
            }
            self.sleep(state, Want::Segment, false, Limit::None)?;
            return Ok(self.lock());
        }
        if patience == Patience::Refuse && self.has_helpers() {
            // The answer to the last try, and a request for another one.
            let failed = state.prepare_failed.take();
            self.prepare.ring(&state);
            return Err(failed.map_or(CommitError::WouldBlock, CommitError::unprepared));
        }
        self.prepare_next(state, None)
    }

    /// Somebody waits for the segment that is being made.
    pub(crate) fn hurry(&self, state: &mut Guard<'_>) {
        state.hurried = true;
        self.prepare.ring(state);
    }

    /// Lets so much time go by between two pieces of a segment, unless somebody waits for it or the
    /// log ends. For the thread that prepares.
    pub(crate) fn rest(&self, time: Duration) -> Rested {
        // A model has no clock: every rest is over at once, and others may come in between.
        let deadline = Instant::now().checked_add(time).filter(|_| !FIXED);
        let mut state = self.lock();
        let mut late = deadline.is_none();
        loop {
            match deadline {
                _ if state.stop || state.poison.is_some() => return Rested::Stop,
                _ if state.hurried => return Rested::Hurry,
                Some(deadline) if !late => {
                    (state, late) = state.wait_until(&self.prepare, deadline);
                }
                _ => return Rested::Over,
            }
        }
    }

    /// Puts a normal segment in the place of a ready successor which is shorter.
    ///
    /// Also for the `try_` variants: it happens seldom, while segments grow, and nobody else would.
    pub(crate) fn lengthen_successor<'a>(
        &'a self,
        state: Guard<'a>,
        patience: Patience,
    ) -> Result<Guard<'a>, CommitError> {
        if state.preparing {
            return self.need_segment(state, patience);
        }
        let (state, outcome) = self.replace_successor(state, self.segment_bytes)?;
        match outcome {
            Ok(()) => Ok(state),
            Err(error) => Err(CommitError::unprepared(error)),
        }
    }

    /// Makes a segment ready behind the active one, in place of the successor that may be there;
    /// nobody else is preparing.
    pub(crate) fn replace_successor<'a>(
        &'a self,
        mut state: Guard<'a>,
        capacity_bytes: u64,
    ) -> Result<(Guard<'a>, Result<(), Arc<IoError>>), CommitError> {
        let base = state.cursor.active_end();
        let before = state.cursor.ready_end();
        state.cursor.forget_successor();
        self.earmarks.publish(&state.cursor, state.held_back);
        let size = Size::Exactly(capacity_bytes);
        let (mut state, outcome) = self.prepare_segment(state, base, size)?;
        // The successor which was there still is, unless the failure may have touched it.
        if let Err(error) = &outcome
            && before > base
            && leaves_the_successor(error)
            && state.cursor.active_end() == base
            && state.cursor.grow(before)
        {
            state.prepare_failed = None;
            self.earmarks.publish(&state.cursor, state.held_back);
        }
        Ok((state, outcome))
    }

    /// Makes a segment ready behind the last one: with `rest`, beside others who commit.
    pub(crate) fn prepare_next<'a>(
        &'a self,
        state: Guard<'a>,
        rest: Option<Rest<'_>>,
    ) -> Result<Guard<'a>, CommitError> {
        let base = state.cursor.ready_end();
        let (state, outcome) = self.prepare_segment(state, base, Size::Next(rest))?;
        match outcome {
            Ok(()) => Ok(state),
            Err(error) => Err(CommitError::unprepared(error)),
        }
    }

    /// Makes the segment at `base` ready; nobody else is preparing.
    ///
    /// The outcome is stored and those who wait for a segment are told.
    fn prepare_segment<'a>(
        &'a self,
        mut state: Guard<'a>,
        base: Lsn,
        size: Size<'_>,
    ) -> Result<(Guard<'a>, Result<(), Arc<IoError>>), CommitError> {
        self.check_process()?;
        let Some(preparer) = state.preparer.clone() else {
            return Err(CommitError::Closed);
        };
        state.preparing = true;
        // More is held back than is promised: a rollback that needed much of it is over.
        let surplus = size.may_be_normal(self.segment_bytes)
            && base == state.cursor.ready_end()
            && self.earmarks.is_surplus(state.held_back);
        let (each, left) = (first_rest(state.usual_sync), state.cursor.left());
        drop(state);
        let preparation = Preparation { shared: self, ended: false };
        let begun_at = self.marks.reserved();
        let is_fast = || {
            let gone = self.marks.reserved().distance_from(begun_at);
            gone.is_some_and(|bytes| bytes > left / PART_LEFT_ALONE)
        };
        let rested = match size {
            Size::Next(Some(rest)) => rest_first(rest, each, is_fast),
            _ => Rested::Over,
        };
        let outcome = match size {
            _ if rested == Rested::Stop => Err(IoError::Closed { place: "the log".to_owned() }),
            _ if surplus => preparer.prepare_from_held(base),
            Size::Exactly(capacity_bytes) => preparer.prepare(base, capacity_bytes),
            Size::Next(rest) => preparer.prepare_next(base, rest),
        };
        Ok(preparation.end(base, size, outcome.map_err(Arc::new), preparer))
    }
}

/// Each of the [`FIRST_REST_SYNCS`] rests before a segment is begun, where a sync usually takes
/// `usual_sync`.
///
/// It is wanted when the log enters the last one, and whoever enters that syncs two files, which is
/// the slowest commit there is even with the device to itself.
fn first_rest(usual_sync: Duration) -> Duration {
    usual_sync.min(FIRST_REST_MAX / FIRST_REST_SYNCS)
}

/// Rests before a segment is begun, but for a log that `is_fast`.
fn rest_first(rest: Rest<'_>, each: Duration, is_fast: impl Fn() -> bool) -> Rested {
    let mut rested = Rested::Over;
    for _ in 0..FIRST_REST_SYNCS {
        if each.is_zero() || rested != Rested::Over || is_fast() {
            break;
        }
        rested = rest(each);
    }
    rested
}

/// How long a segment is to be.
#[derive(Clone, Copy)]
enum Size<'r> {
    /// So many bytes, rounded up to whole blocks.
    Exactly(u64),
    /// What the preparer sees fit.
    Next(Option<Rest<'r>>),
}

impl Size<'_> {
    /// Whether a normal segment would do.
    fn may_be_normal(self, segment_bytes: u64) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == segment_bytes,
            Self::Next(_) => true,
        }
    }

    /// Whether a segment of `bytes` is what was asked for.
    fn allows(self, bytes: u64, segment_bytes: u64) -> bool {
        let whole = |bytes: u64| bytes.next_multiple_of(BLOCK_BYTES as u64);
        match self {
            Self::Exactly(wanted) => bytes == whole(wanted),
            Self::Next(_) => bytes > 0 && bytes <= whole(segment_bytes),
        }
    }
}

/// Whether a failed replacement certainly happened before the successor's name was touched.
fn leaves_the_successor(error: &IoError) -> bool {
    matches!(error, IoError::Failed { op: IoOp::Create | IoOp::Write | IoOp::Length, .. })
}

/// A preparation under way. One that is left early, by a panic, poisons the log.
struct Preparation<'a> {
    shared: &'a Shared,
    ended: bool,
}

impl<'a> Preparation<'a> {
    fn end(
        mut self,
        base: Lsn,
        size: Size<'_>,
        outcome: Result<Lsn, Arc<IoError>>,
        preparer: Arc<dyn Preparer>,
    ) -> (Guard<'a>, Result<(), Arc<IoError>>) {
        self.ended = true;
        let shared = self.shared;
        let mut wakes = Wakes::default();
        let mut state = shared.lock();
        // Given up, since the log ends: nothing failed.
        let given_up = state.phase != Phase::Open || state.stop || state.poison.is_some();
        let given_up = given_up && matches!(&outcome, Err(error) if is_closed(error));
        if let Err(error) = &outcome
            && !given_up
        {
            tracing::warn!(%base, %error, "the next segment could not be made ready");
        }
        (state.preparing, state.hurried) = (false, false);
        let signal = match &outcome {
            Ok(end) => {
                state.stats.segments_prepared += 1;
                state.prepare_failed = None;
                let bytes = end.distance_from(base).unwrap_or(0);
                if !(size.allows(bytes, shared.segment_bytes) && state.cursor.grow(*end)) {
                    let cause =
                        PoisonCause::invariant("a segment is ready which was not asked for");
                    shared.poison_locked(&mut state, cause, &mut wakes);
                }
                Signal::Met
            }
            // Whoever waits looks again, and is told of the close.
            Err(_) if given_up => Signal::Met,
            Err(error) => {
                state.stats.preparations_failed += 1;
                state.prepare_failed = Some(Arc::clone(error));
                if matches!(**error, IoError::Superseded { .. }) {
                    let cause = PoisonCause::storage(Arc::clone(error));
                    shared.poison_locked(&mut state, cause, &mut wakes);
                }
                Signal::Failed(CommitError::unprepared(Arc::clone(error)))
            }
        };
        // Together with the segment: what became one is not counted twice.
        shared.count_held(&mut state, preparer.held_back());
        push_all(&mut wakes, state.group.waiting_for(Want::Segment), &signal);
        drop(state);
        drop(preparer);
        shared.deliver(wakes);
        (shared.lock(), outcome.map(|_| ()))
    }
}

fn is_closed(error: &IoError) -> bool {
    matches!(error, IoError::Closed { .. })
}

impl Drop for Preparation<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.shared.lock().preparing = false;
        self.shared.poison(PoisonCause::panicked("the preparation of a segment"));
        // A log that was poisoned before tells nobody again: a close may be waiting since then.
        let mut wakes = Wakes::default();
        let mut state = self.shared.lock();
        push_all(&mut wakes, state.group.waiting_for(Want::Segment), &Signal::Met);
        drop(state);
        self.shared.deliver(wakes);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const SYNC: Duration = Duration::from_micros(80);

    /// The rests of a log that is through a quarter after so many of them, and in which they end so.
    fn rests(each: Duration, fast_after: usize, end: Rested) -> (Vec<Duration>, Rested) {
        let rests = RefCell::new(Vec::new());
        let rest = |time| {
            rests.borrow_mut().push(time);
            end
        };
        let rested = rest_first(&rest, each, || rests.borrow().len() >= fast_after);
        (rests.into_inner(), rested)
    }

    #[test]
    fn a_segment_is_begun_four_syncs_after_it_is_wanted_but_for_a_slow_device() {
        assert_eq!(rests(first_rest(SYNC), 9, Rested::Over), (vec![SYNC; 4], Rested::Over));
        assert_eq!(first_rest(Duration::from_secs(1)), Duration::from_millis(5));
        let at_once = (Vec::new(), Rested::Over);
        assert_eq!(
            rests(first_rest(Duration::ZERO), 9, Rested::Over),
            at_once,
            "none was seen yet"
        );
    }

    #[test]
    fn r12_a_log_that_will_need_it_soon_is_not_waited_for() {
        assert_eq!(rests(SYNC, 1, Rested::Over), (vec![SYNC], Rested::Over));
        assert_eq!(rests(SYNC, 0, Rested::Over), (Vec::new(), Rested::Over));
    }

    #[test]
    fn whoever_waits_or_ends_is_heard_in_the_first_rest() {
        for end in [Rested::Hurry, Rested::Stop] {
            assert_eq!(rests(SYNC, 9, end), (vec![SYNC], end));
        }
    }
}
