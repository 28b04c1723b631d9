//! Putting the records of one reservation into the buffer, where its layout says.
//!
//! The lock is held for all of it. Records which follow one another are put in one behind the other
//! in a single stretch; where a reservation steps into the next segment, one by one.

use wal_format::{Lsn, LsnRange, RecordDraft, RecordFlags, RecordKind};

use crate::checksum;
use crate::poison::PoisonCause;
use crate::reserve::{Layout, step};
use crate::shared::{Shared, State};
use crate::timestamps::{Together, note_mark};

/// The flags of member `index` of `count` (docs/design/0001, addresses).
pub(crate) fn batch_flags(index: usize, count: usize) -> RecordFlags {
    let mut flags = RecordFlags::NONE;
    if index > 0 {
        flags = flags.with(RecordFlags::BATCH_FOLLOWS);
    }
    if index + 1 < count {
        flags = flags.with(RecordFlags::BATCH_CONTINUES);
    }
    flags
}

/// The records of a batch, each with its flags.
fn members<'d>(drafts: &'d [RecordDraft<'d>]) -> impl Iterator<Item = RecordDraft<'d>> {
    let count = drafts.len();
    drafts.iter().enumerate().map(move |(index, draft)| draft.with_flags(batch_flags(index, count)))
}

fn broken() -> PoisonCause {
    PoisonCause::invariant("a planned record must fit into the buffer")
}

impl Shared {
    /// Puts records and padding into the buffer and moves the end of the log.
    pub(crate) fn encode(
        &self,
        state: &mut State,
        together: Together<'_>,
        layout: &Layout,
    ) -> Result<(), PoisonCause> {
        let (drafts, marks) = (together.drafts, together.marks());
        if let Some(time) = together.time {
            let (body, index) = (time.encode(), 0);
            self.encode_at(state, &RecordDraft::new(RecordKind::TIME, &[&body]), layout, index)?;
            note_mark(state.timestamps.as_mut(), time);
            state.stats.time_marks += 1;
        }
        if layout.crossing.is_none() {
            self.encode_run(state, drafts, layout.end)?;
        } else {
            for (index, draft) in members(drafts).enumerate() {
                self.encode_at(state, &draft, layout, marks + index)?;
            }
        }
        if state.cursor.end() != layout.end {
            return Err(PoisonCause::invariant("records end where they were planned to"));
        }
        state.data_end = layout.end;
        self.marks.reserve(layout.end);
        Ok(())
    }

    /// Puts records in from where the log ends to `end`, nothing between them.
    fn encode_run(
        &self,
        state: &mut State,
        drafts: &[RecordDraft<'_>],
        end: Lsn,
    ) -> Result<(), PoisonCause> {
        if drafts.is_empty() {
            return Ok(());
        }
        let (first, claim) = (next_lsn(state)?, self.claim());
        let planned = usize::try_from(LsnRange::new(first, end).bytes()).map_err(|_| broken())?;
        let mut rest = state.parts.extend(planned).ok_or_else(broken)?;
        let mut lsn = first;
        for draft in members(drafts) {
            let bytes = draft.encoded_bytes();
            let (space, behind) = rest.split_at_mut_checked(bytes).ok_or_else(broken)?;
            checksum::encode(&draft, &self.seed, lsn, claim, space).map_err(|_| broken())?;
            lsn = step(lsn, bytes as u64);
            rest = behind;
        }
        state.cursor.advance(lsn);
        // The nearest of them says it, if any can.
        state.note_claim(first, claim);
        Ok(())
    }

    /// Puts the record of this index in the layout where the log ends, behind the step into the
    /// successor if that comes before it.
    fn encode_at(
        &self,
        state: &mut State,
        draft: &RecordDraft<'_>,
        layout: &Layout,
        index: usize,
    ) -> Result<(), PoisonCause> {
        if let Some(crossing) = layout.crossing.filter(|crossing| crossing.index == index) {
            self.pad(state, crossing.padding)?;
            state.cursor.enter_successor();
        }
        let (lsn, claim) = (next_lsn(state)?, self.claim());
        let bytes = draft.encoded_bytes();
        let space = state.parts.extend(bytes).ok_or_else(broken)?;
        checksum::encode(draft, &self.seed, lsn, claim, space).map_err(|_| broken())?;
        state.cursor.advance(step(lsn, bytes as u64));
        state.note_claim(lsn, claim);
        Ok(())
    }
}

/// Where the log ends, and the buffer too.
fn next_lsn(state: &State) -> Result<Lsn, PoisonCause> {
    let lsn = state.cursor.end();
    if state.parts.end() != lsn {
        return Err(PoisonCause::invariant("the buffer ends where the log does"));
    }
    Ok(lsn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_batch_know_their_neighbours() {
        let both = RecordFlags::BATCH_FOLLOWS.with(RecordFlags::BATCH_CONTINUES);
        assert_eq!(batch_flags(0, 1), RecordFlags::NONE);
        assert_eq!(batch_flags(0, 2), RecordFlags::BATCH_CONTINUES);
        assert_eq!(batch_flags(1, 2), RecordFlags::BATCH_FOLLOWS);
        assert_eq!(batch_flags(1, 3), both);
    }
}
