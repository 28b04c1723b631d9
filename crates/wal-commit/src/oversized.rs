//! Records too large for the buffer: written straight from the caller's memory (rule 18).
//!
//! The append takes the baton, keeps other appends out, drains the buffer and writes past it:
//!
//! ```text
//! in the active segment:      ... drained │ record │ [block padding]
//! in the next one that fits:  ... drained │ padding ║ record │ [block padding]
//! in one made to measure:     ... drained │ padding ║ record │ padding ║
//! ```
//!
//! A segment made to measure replaces the ready successor, under the same address. It is made
//! before anything is reserved, so that running out of space leaves the log as it was.

use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wal_format::layout::{RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES};
use wal_format::{Lsn, LsnRange, RecordDraft};

use crate::append::{Hook, Placed};
use crate::config::Durability;
use crate::driver::Flight;
use crate::error::CommitError;
use crate::group::Want;
use crate::padding::{padding_head, write_padding, zeros};
use crate::poison::PoisonCause;
use crate::reserve::{LargePlan, step};
use crate::segments::Patience;
use crate::shared::{Guard, Shared, State};
use crate::waiting::Limit;

/// Why an oversized record is not in the log.
enum Failure {
    /// Nothing was reserved; the log is as it was.
    Refused(CommitError),
    /// The log is, or is to be, poisoned.
    Broken(PoisonCause),
}

impl From<PoisonCause> for Failure {
    fn from(cause: PoisonCause) -> Self {
        Self::Broken(cause)
    }
}

/// The addresses of an oversized record and of the padding around it.
#[derive(Clone, Copy, Debug)]
struct Span {
    before: LsnRange,
    record: LsnRange,
    after: LsnRange,
    /// What was known to be durable when it was reserved.
    claim: Option<Lsn>,
}

impl Shared {
    /// Appends one record past the buffer. It is written when this returns, not synced.
    pub(crate) fn append_large(
        &self,
        draft: &RecordDraft<'_>,
        hook: Hook<'_>,
        patience: Patience,
    ) -> Result<Placed, CommitError> {
        let state = self.lock();
        state.appendable()?;
        if patience == Patience::Refuse && !state.group.is_idle() {
            return Err(CommitError::WouldBlock);
        }
        let mut state = self.take_baton(state)?;
        if let Err(error) = state.appendable() {
            drop(state);
            self.hand_on();
            return Err(error);
        }
        state.exclusive = true;
        let mut flight = Flight::begin(self, state, Durability::Written, None)?;
        let written = self.write_large(&mut flight, draft, hook);
        let landed = match written {
            Ok(span) => flight
                .land(Ok(()))
                .map(|()| Placed { lsn: span.record.start, end: span.record.end }),
            Err(Failure::Broken(cause)) => {
                flight.land(Err(cause.clone())).and(Err(CommitError::in_doubt(cause)))
            }
            Err(Failure::Refused(error)) => {
                drop(flight.land(Ok(())));
                Err(error)
            }
        };
        if !self.has_helpers() {
            self.prepare_ahead();
        }
        landed
    }

    fn write_large(
        &self,
        flight: &mut Flight<'_>,
        draft: &RecordDraft<'_>,
        hook: Hook<'_>,
    ) -> Result<Span, Failure> {
        flight.write_pending()?;
        let (state, fill) = self.large_segment(draft.encoded_bytes() as u64)?;
        let span = self.reserve_large(state, draft, fill, hook)?;
        if !span.before.is_empty() {
            write_padding(flight.sink()?, &self.seed, span.claim, span.before)?;
        }
        self.write_record(flight, draft, &span)?;
        flight.publish_written(span.after.end)?;
        Ok(span)
    }

    /// Makes sure that the active segment or its successor can hold `bytes`, the baton in hand.
    ///
    /// The flag says whether the record stands in a segment made to measure.
    fn large_segment(&self, bytes: u64) -> Result<(Guard<'_>, bool), Failure> {
        let mut made_to_measure = false;
        let mut state = self.lock();
        loop {
            if let Some(cause) = &state.poison {
                return Err(Failure::Broken(cause.clone()));
            }
            let (capacity_bytes, fill) = match state.cursor.plan_large(bytes, self.segment_bytes) {
                LargePlan::Active | LargePlan::Next { prepare_bytes: None, .. } => {
                    return Ok((state, made_to_measure));
                }
                LargePlan::Next { prepare_bytes: Some(capacity), fill, .. } => (capacity, fill),
            };
            if state.preparing {
                self.hurry(&mut state);
                self.sleep(state, Want::Segment, false, Limit::None).map_err(Failure::Refused)?;
                state = self.lock();
                continue;
            }
            state.stats.segment_waits += 1;
            state = self.prepare_large(state, capacity_bytes)?;
            made_to_measure = fill;
        }
    }

    /// Makes a segment ready behind the active one, in place of the successor that may be there.
    fn prepare_large<'a>(
        &'a self,
        state: Guard<'a>,
        capacity_bytes: u64,
    ) -> Result<Guard<'a>, Failure> {
        let (state, outcome) =
            self.replace_successor(state, capacity_bytes).map_err(Failure::Refused)?;
        match outcome {
            Ok(()) => Ok(state),
            Err(error) => Err(Failure::Refused(CommitError::unprepared(error))),
        }
    }

    /// Gives the record its address, and the padding around it theirs; tells the hook.
    fn reserve_large(
        &self,
        mut state: Guard<'_>,
        draft: &RecordDraft<'_>,
        fill: bool,
        hook: Hook<'_>,
    ) -> Result<Span, Failure> {
        let bytes = draft.encoded_bytes() as u64;
        let claim = self.claim();
        let next = state.cursor.plan_large(bytes, self.segment_bytes) != LargePlan::Active;
        let mut before = LsnRange::new(state.cursor.end(), state.cursor.end());
        if next {
            before.end = state.cursor.active_end();
            state.cursor.advance(before.end);
            state.cursor.enter_successor();
        }
        let lsn = state.cursor.end();
        let record = LsnRange::new(lsn, step(lsn, bytes));
        state.cursor.advance(record.end);
        let after = if fill {
            LsnRange::new(record.end, state.cursor.active_end())
        } else {
            let padding = state.cursor.block_padding(self.block_bytes.max(8));
            padding.unwrap_or(LsnRange::new(record.end, record.end))
        };
        state.cursor.advance(after.end);
        if !state.parts.jump(after.end) {
            return Err(PoisonCause::invariant("the buffer is drained for a large record").into());
        }
        self.marks.reserve(after.end);
        state.note_claim(lsn, claim);
        state.data_end = record.end;
        count(&mut state, bytes, before, after);
        self.after_reservation(&mut state, next);
        let told = catch_unwind(AssertUnwindSafe(|| hook(0, lsn)));
        drop(self.after_hook(state, told));
        Ok(Span { before, record, after, claim })
    }

    /// Writes the record from the caller's memory, and the padding behind it, in one call.
    fn write_record(
        &self,
        flight: &mut Flight<'_>,
        draft: &RecordDraft<'_>,
        span: &Span,
    ) -> Result<(), PoisonCause> {
        let lsn = span.record.start;
        let (head, head_bytes) = draft
            .encode_head(&self.seed, lsn, span.claim)
            .map_err(|_| PoisonCause::invariant("the length of the body was checked"))?;
        let align = RECORD_ALIGN_BYTES as u64;
        let unpadded = (head_bytes + draft.body_bytes()) as u64;
        let mut slices = vec![IoSlice::new(head.get(..head_bytes).unwrap_or(&head))];
        slices.extend(draft.parts.iter().map(|part| IoSlice::new(part)));
        slices.extend(zeros(unpadded.next_multiple_of(align) - unpadded).map(IoSlice::new));
        let padding = if span.after.is_empty() {
            None
        } else {
            let bytes = span.after.bytes();
            let head = padding_head(&self.seed, span.after.start, span.claim, bytes);
            Some(head.map_err(|_| PoisonCause::invariant("this padding is short"))?)
        };
        if let Some(padding) = &padding {
            slices.push(IoSlice::new(padding));
            let body = span.after.bytes() - RECORD_HEADER_BYTES as u64;
            slices.extend(zeros(body).map(IoSlice::new));
        }
        flight.sink()?.write(lsn, &slices).map_err(PoisonCause::write)
    }
}

fn count(state: &mut State, bytes: u64, before: LsnRange, after: LsnRange) {
    state.stats.records += 1;
    state.stats.record_bytes += bytes;
    state.stats.oversized += 1;
    for padding in [before, after] {
        if !padding.is_empty() {
            state.stats.count_padding(padding.bytes());
        }
    }
}
