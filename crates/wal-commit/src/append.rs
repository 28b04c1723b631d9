//! Reserving addresses and encoding records, under one short lock.
//!
//! A reservation is one record, or all records of an atomic batch. It happens in one hold of the
//! lock, so a flush takes all of it or nothing, and the `reserved` hook sees addresses in order. What
//! it brings about (a sync that a limit asks for, a segment, a write) may come in another hold.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use wal_format::layout::BODY_BYTES_MAX;
use wal_format::{Lsn, RecordDraft, RecordFlags, RecordKind, encode_plain, encoded_bytes};

use crate::checksum;
use crate::config::Durability;
use crate::error::CommitError;
use crate::group::Want;
use crate::poison::PoisonCause;
use crate::reserve::{Layout, Plan, fits, step};
use crate::segments::Patience;
use crate::shared::{Guard, Phase, Shared, State};
use crate::timestamps::Together;
use crate::waiting::{Limit, Woken};
use crate::wake::Wakes;

/// Called under the lock with the index of a record in its batch, and its address.
pub(crate) type Hook<'h> = &'h mut dyn FnMut(usize, Lsn);

/// What is left to be done after a record was put where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Nothing,
    /// Somebody is to be told, or the buffer is to be written out.
    More,
    /// So is the sync which a limit has asked for.
    Sync,
}

/// The addresses that were given: of the first record, and behind the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) lsn: Lsn,
    pub(crate) end: Lsn,
}

/// Refuses bodies that no record can hold.
pub(crate) fn check_bodies(drafts: &[RecordDraft<'_>]) -> Result<(), CommitError> {
    let max = BODY_BYTES_MAX as u64;
    match drafts.iter().map(|draft| draft.body_bytes() as u64).max() {
        None => Err(CommitError::Empty),
        Some(bytes) if bytes > max => Err(CommitError::TooLong { bytes, max }),
        Some(_) => Ok(()),
    }
}

/// Bytes that each record takes in the log.
fn sizes<'d>(drafts: &'d [RecordDraft<'_>]) -> impl Iterator<Item = u64> + Clone + 'd {
    drafts.iter().map(|draft| draft.encoded_bytes() as u64)
}

impl Shared {
    /// Whether the records are more than one reservation may hold (rule 18).
    pub(crate) fn is_large(&self, drafts: &[RecordDraft<'_>]) -> Option<u64> {
        let bytes = sizes(drafts).fold(0, u64::saturating_add);
        (bytes > self.batch_bytes_max).then_some(bytes)
    }

    /// Appends one short record under the brief lock, where nothing is to be decided first. `None`,
    /// and nothing has changed, otherwise.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "what it returns stays in registers")]
    pub(crate) fn append_short(&self, kind: RecordKind, body: &[u8]) -> Option<Placed> {
        if !self.is_short(body) {
            return None;
        }
        let lsn = self.append_brief(kind, body)?;
        Some(Placed { lsn, end: step(lsn, encoded_bytes(body.len(), false) as u64) })
    }

    /// So short that it may be put in under the brief lock, where no foreign code, a clock, may run.
    #[inline]
    fn is_short(&self, body: &[u8]) -> bool {
        body.len() < self.short_below
    }

    /// As [`append_short`](Self::append_short), once it is known to be short: the address.
    ///
    /// What comes back is so little that it comes in registers. In memory it would stand behind
    /// all stores of the copy, and whoever reads it there in another width waits for them.
    #[inline(never)]
    fn append_brief(&self, kind: RecordKind, body: &[u8]) -> Option<Lsn> {
        let bytes = encoded_bytes(body.len(), false);
        let mut state = self.lock_brief()?;
        let lsn = self.place_clear(&mut state, kind, body, bytes)?;
        let due = self.counts_unasked && state.unasked.count(1, bytes as u64, &self.config);
        let leads = state.takes_what_waits();
        drop(state);
        if due || leads {
            self.after_append_brief(step(lsn, bytes as u64), due, leads);
        }
        Some(lsn)
    }

    /// Asks for the sync that is due, and writes out what waits, the baton in hand.
    #[cold]
    fn after_append_brief(&self, end: Lsn, due: bool, leads: bool) {
        let mut state = self.lock();
        if due {
            self.ask(&mut state, end, Durability::Durable);
        }
        if leads {
            // The record is in the log; a failure poisons, and whoever waits or appends is told.
            drop(self.lead(state, Durability::Written, None));
        }
    }

    /// Appends one record which takes so many bytes and fits into the buffer, and which
    /// [`append_short`](Self::append_short) did not take.
    pub(crate) fn append_one(
        &self,
        draft: &RecordDraft<'_>,
        bytes: usize,
    ) -> Result<Placed, CommitError> {
        // Who has looked away once, or has something to decide, need not do so again.
        let has_looked = matches!(draft.parts, [body] if self.is_short(body));
        let mut state = if has_looked { self.lock() } else { self.lock_to_append() };
        let patience = Patience::Wait;
        match self.place_here(&mut state, draft, bytes) {
            Some((placed, after)) => {
                self.after_place_here(state, after, patience);
                Ok(placed)
            }
            None => self.append_in(state, std::slice::from_ref(draft), &mut |_, _| {}, patience),
        }
    }

    /// What [`place_here`](Self::place_here) left to be done: the lock may be another hold of it.
    #[inline(never)]
    fn after_place_here(&self, mut state: Guard<'_>, after: After, patience: Patience) {
        if after == After::Nothing {
            return;
        }
        if after == After::Sync {
            let end = state.cursor.end();
            self.ask(&mut state, end, Durability::Durable);
        }
        self.after_reservation(&mut state, false);
        self.write_out(state, patience);
    }

    /// Appends records that fit into the buffer together, waiting for room and segments.
    pub(crate) fn append(
        &self,
        drafts: &[RecordDraft<'_>],
        hook: Hook<'_>,
        patience: Patience,
    ) -> Result<Placed, CommitError> {
        self.append_in(self.lock_to_append(), drafts, hook, patience)
    }

    /// As [`append`](Self::append), the lock in hand. Without any records: a mark alone, in a log
    /// that tells the time.
    fn append_in<'a>(
        &'a self,
        mut state: Guard<'a>,
        drafts: &[RecordDraft<'_>],
        hook: Hook<'_>,
        patience: Patience,
    ) -> Result<Placed, CommitError> {
        loop {
            state.appendable()?;
            if state.exclusive {
                state = self.make_room(state, patience)?;
                continue;
            }
            let room = state.parts.room() as u64;
            let usable = state.parts.usable() as u64;
            let together = Together::of(state.timestamps.as_ref(), drafts);
            match state.cursor.plan(together.sizes(), usable) {
                Plan::Place(layout) => {
                    if layout.end.get() - state.cursor.end().get() <= room {
                        return self.place(state, together, &layout, hook, patience);
                    }
                    state = self.make_room(state, patience)?;
                }
                Plan::PadFirst(range) if range.bytes() <= room => {
                    let padded = self.pad(&mut state, range);
                    state = self.unless_broken(state, padded)?;
                }
                Plan::PadFirst(_) => state = self.make_room(state, patience)?,
                Plan::NoSegment => state = self.need_segment(state, patience)?,
                // As an opening makes it, or a full disk: no reason to refuse what is allowed.
                Plan::TooLarge if state.cursor.successor_bytes() < self.segment_bytes => {
                    state = self.lengthen_successor(state, patience)?;
                }
                Plan::TooLarge => {
                    let bytes = sizes(drafts).fold(0, u64::saturating_add);
                    return Err(CommitError::BatchTooLong { bytes, max: self.batch_bytes_max });
                }
            }
        }
    }

    /// Puts a mark before a record that is too large for the buffer, if one is due. Others may get
    /// in between the two, with marks of their own: the record is behind all of them.
    pub(crate) fn mark_time_before(
        &self,
        draft: &RecordDraft<'_>,
        patience: Patience,
    ) -> Result<(), CommitError> {
        let state = self.lock_to_append();
        let drafts = std::slice::from_ref(draft);
        if Together::of(state.timestamps.as_ref(), drafts).time.is_none() {
            return Ok(());
        }
        if patience == Patience::Refuse && !state.group.is_idle() {
            return Err(CommitError::WouldBlock);
        }
        self.append_in(state, &[], &mut |_, _| {}, patience).map(drop)
    }

    /// Encodes a record right where the log ends, if that is [clear](State::is_clear); `None`, and
    /// nothing has changed, otherwise. Tells nobody: the lock may be the brief one.
    #[inline]
    fn place_clear(
        &self,
        state: &mut State,
        kind: RecordKind,
        body: &[u8],
        bytes: usize,
    ) -> Option<Lsn> {
        if !state.is_clear(bytes) {
            return None;
        }
        let (lsn, claim) = (state.cursor.end(), self.claim());
        let finishes = state.finishes(step(lsn, bytes as u64));
        let space = state.parts.peek(bytes)?;
        if !encode_plain(kind, RecordFlags::NONE, body, &self.seed, lsn, claim, space) {
            return None;
        }
        if finishes {
            checksum::finish(&self.seed, space).ok()?;
        }
        self.note_put(state, lsn, claim, (1, bytes))
    }

    /// As [`place_clear`](Self::place_clear), where what follows may be to be decided.
    fn place_here(
        &self,
        state: &mut State,
        draft: &RecordDraft<'_>,
        bytes: usize,
    ) -> Option<(Placed, After)> {
        let usual = state.poison.is_none() && state.phase == Phase::Open && !state.exclusive;
        let stands = fits(state.cursor.left(), bytes as u64) && state.parts.room() >= bytes;
        if !(usual && stands && state.parts.end() == state.cursor.end()) {
            return None;
        }
        if Together::of(state.timestamps.as_ref(), std::slice::from_ref(draft)).time.is_some() {
            return None;
        }
        let (lsn, claim) = (state.cursor.end(), self.claim());
        let space = state.parts.peek(bytes)?;
        checksum::encode(draft, &self.seed, lsn, claim, space).ok()?;
        self.note_put(state, lsn, claim, (1, bytes))?;
        let sync = self.counts_unasked && state.unasked.count(1, bytes as u64, &self.config);
        let prepare = state.wants_preparation() && self.has_helpers();
        let write = state.parts.pending() >= state.write_out_bytes && !state.group.is_busy();
        let after = match sync {
            true => After::Sync,
            false if prepare || write || state.hibernating => After::More,
            false => After::Nothing,
        };
        Some((Placed { lsn, end: step(lsn, bytes as u64) }, after))
    }

    /// Takes note of so many records, of so many bytes, that were put into the buffer where the log
    /// ends: moves that.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as of those above")]
    pub(crate) fn note_put(
        &self,
        state: &mut State,
        lsn: Lsn,
        claim: Option<Lsn>,
        (records, bytes): (u64, usize),
    ) -> Option<Lsn> {
        state.parts.extend(bytes)?;
        let end = step(lsn, bytes as u64);
        state.cursor.advance(end);
        state.note_claim(lsn, claim);
        state.data_end = end;
        self.marks.reserve(end);
        state.stats.records += records;
        state.stats.record_bytes += bytes as u64;
        Some(lsn)
    }

    /// Writes what waits in the buffer once it is enough to be worth a call, when nobody else uses
    /// the device: the longer it waits, the further it gets from the processor that copied it.
    pub(crate) fn write_out(&self, mut state: Guard<'_>, patience: Patience) {
        let enough = state.parts.pending() >= state.write_out_bytes;
        if enough && patience == Patience::Wait && state.group.take() {
            // The record is in the log; a failure poisons, and whoever waits or appends is told.
            drop(self.lead(state, Durability::Written, None));
        }
    }

    /// Encodes the records where the layout says, and tells the hook.
    fn place(
        &self,
        mut state: Guard<'_>,
        together: Together<'_>,
        layout: &Layout,
        hook: Hook<'_>,
        patience: Patience,
    ) -> Result<Placed, CommitError> {
        let (drafts, marks) = (together.drafts, together.marks());
        let encoded = self.encode(&mut state, together, layout);
        let mut state = self.unless_broken(state, encoded)?;
        let (records, bytes) = (drafts.len() as u64, sizes(drafts).sum::<u64>());
        state.stats.records += records;
        state.stats.record_bytes += bytes;
        self.count_unasked(&mut state, records, bytes);
        state.stats.batches += u64::from(drafts.len() > 1);
        self.after_reservation(&mut state, layout.crossing.is_some());
        let addresses = || layout.addresses(together.sizes()).skip(marks);
        let lsn = addresses().next().unwrap_or(layout.first);
        let told = catch_unwind(AssertUnwindSafe(|| {
            addresses().enumerate().for_each(|(index, lsn)| hook(index, lsn));
        }));
        self.write_out(self.after_hook(state, told), patience);
        Ok(Placed { lsn, end: layout.end })
    }

    /// What every reservation brings about: a segment is wanted, an idle log has woken up.
    pub(crate) fn after_reservation(&self, state: &mut Guard<'_>, rotated: bool) {
        if rotated {
            state.stats.rotations += 1;
            self.earmarks.publish(&state.cursor, state.held_back);
        }
        if state.wants_preparation() && self.has_helpers() {
            self.prepare.ring(state);
        }
        self.rouse(state);
    }

    /// Goes on after the hook, or poisons and lets its panic go on: what it had to keep in step
    /// with the log may not be.
    pub(crate) fn after_hook<'a>(
        &'a self,
        mut state: Guard<'a>,
        told: std::thread::Result<()>,
    ) -> Guard<'a> {
        let Err(panic) = told else {
            return state;
        };
        let mut wakes = Wakes::default();
        let cause = PoisonCause::panicked("the hook of an append");
        self.poison_locked(&mut state, cause, &mut wakes);
        drop(state);
        self.deliver(wakes);
        resume_unwind(panic);
    }

    /// Goes on unless an invariant is broken: a log that doubts itself stops promising.
    pub(crate) fn unless_broken<'a>(
        &'a self,
        mut state: Guard<'a>,
        outcome: Result<(), PoisonCause>,
    ) -> Result<Guard<'a>, CommitError> {
        let Err(cause) = outcome else {
            return Ok(state);
        };
        let mut wakes = Wakes::default();
        self.poison_locked(&mut state, cause.clone(), &mut wakes);
        drop(state);
        self.deliver(wakes);
        Err(CommitError::refused(cause))
    }

    /// Brings about room in the buffer: waits for a flush, or leads one.
    fn make_room<'a>(
        &'a self,
        mut state: Guard<'a>,
        patience: Patience,
    ) -> Result<Guard<'a>, CommitError> {
        if patience == Patience::Refuse && (self.has_helpers() || state.group.is_busy()) {
            let end = state.cursor.end();
            self.ask(&mut state, end, Durability::Written);
            return Err(CommitError::WouldBlock);
        }
        state.stats.room_waits += 1;
        if !state.group.take() {
            match self.sleep(state, Want::Room, true, Limit::None)? {
                Woken::Met => return Ok(self.lock()),
                Woken::Lead => state = self.lock(),
            }
        }
        // A failure poisons; the append finds that out for itself.
        drop(self.lead(state, Durability::Written, None));
        Ok(self.lock())
    }
}

impl State {
    /// Takes note of what the record at `lsn` says to be durable.
    #[inline]
    pub(crate) fn note_claim(&mut self, lsn: Lsn, claim: Option<Lsn>) {
        if claim == Some(self.claimed) {
            return;
        }
        // A distance too large for the header claims nothing (rule 11).
        let told = claim.filter(|durable| {
            lsn.distance_from(*durable).is_some_and(|bytes| bytes / 8 < u64::from(u32::MAX))
        });
        self.claimed = told.map_or(self.claimed, |durable| self.claimed.max(durable));
    }
}
