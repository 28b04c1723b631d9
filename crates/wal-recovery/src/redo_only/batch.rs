//! Which atomic batch is whole: a pure state machine over the batch flags.
//!
//! A batch is replayed whole or not at all. The tracker is shown every record in position order
//! and every place where earlier records can no longer be completed; it holds two addresses and
//! a count, whatever the size of the batch.
//!
//! ```text
//! first  CONTINUES            opens a batch
//! middle CONTINUES | FOLLOWS  belongs to the open one
//! last   FOLLOWS              completes it
//! ```
//!
//! Padding and watermarks between members are transparent: rotation and block alignment put them
//! there. A member whose earlier members are missing is void, and so is what follows it up to
//! its last member.

use wal_format::{Lsn, RecordFlags, RecordKind};

/// What a record means for the batches of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchStep {
    /// The record stands alone: it counts now.
    Alone,
    /// The record belongs to a batch which is not complete yet, or to one that never will be.
    Held {
        /// Earlier members are missing: it never will be.
        orphan: bool,
    },
    /// The record completes the batch that starts at `first`: all of it counts now.
    Whole {
        /// Address of the first member.
        first: Lsn,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No batch is open.
    #[default]
    Idle,
    /// A batch is open, and none of its members is missing so far.
    Open { first: Lsn },
    /// Members go by whose earlier members are missing.
    Orphaned,
}

/// The state of the batch flags up to some position of the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BatchTracker {
    state: State,
    /// Batches which were not whole, each counted once.
    void: u64,
}

impl BatchTracker {
    /// Takes notice of the next record in position order; padding and openings included.
    pub(super) fn observe(&mut self, lsn: Lsn, kind: RecordKind, flags: RecordFlags) -> BatchStep {
        if kind == RecordKind::OPENED {
            self.interrupt();
            return BatchStep::Alone;
        }
        if kind.is_housekeeping() {
            return BatchStep::Alone;
        }
        let continues = flags.contains(RecordFlags::BATCH_CONTINUES);
        let follows = flags.contains(RecordFlags::BATCH_FOLLOWS);
        match (self.state, continues, follows) {
            (_, false, false) => {
                self.interrupt();
                BatchStep::Alone
            }
            (_, true, false) => {
                self.interrupt();
                self.state = State::Open { first: lsn };
                BatchStep::Held { orphan: false }
            }
            (State::Open { .. }, true, true) => BatchStep::Held { orphan: false },
            (State::Open { first }, false, true) => {
                self.state = State::Idle;
                BatchStep::Whole { first }
            }
            (State::Idle | State::Orphaned, true, true) => {
                self.state = State::Orphaned;
                BatchStep::Held { orphan: true }
            }
            (State::Idle | State::Orphaned, false, true) => {
                self.void += 1;
                self.state = State::Idle;
                BatchStep::Held { orphan: true }
            }
        }
    }

    /// Nothing from here on completes what is unfinished: an opening (rule 7), a gap, the end.
    pub(super) fn interrupt(&mut self) {
        if self.state != State::Idle {
            self.void += 1;
        }
        self.state = State::Idle;
    }

    /// Batches found void so far.
    pub(super) const fn void(&self) -> u64 {
        self.void
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: RecordFlags = RecordFlags::NONE;
    const FIRST: RecordFlags = RecordFlags::BATCH_CONTINUES;
    const MIDDLE: RecordFlags = RecordFlags::BATCH_CONTINUES.with(RecordFlags::BATCH_FOLLOWS);
    const LAST: RecordFlags = RecordFlags::BATCH_FOLLOWS;

    /// Runs `flags` past a tracker, 32 bytes apart; gives the first members of whole batches.
    fn run(flags: &[RecordFlags]) -> (Vec<u64>, u64) {
        let mut tracker = BatchTracker::default();
        let mut whole = Vec::new();
        for (index, flags) in flags.iter().enumerate() {
            let lsn = Lsn::new(32 * index as u64).unwrap();
            if let BatchStep::Whole { first } = tracker.observe(lsn, RecordKind::DATA, *flags) {
                whole.push(first.get() / 32);
            }
        }
        tracker.interrupt();
        (whole, tracker.void())
    }

    #[test]
    fn a_batch_counts_at_its_last_member_and_not_before() {
        assert_eq!(run(&[FIRST, MIDDLE, LAST]), (vec![0], 0));
        assert_eq!(run(&[FIRST, MIDDLE]), (vec![], 1));
        assert_eq!(run(&[ALONE, FIRST, LAST, FIRST, LAST]), (vec![1, 3], 0));
    }

    #[test]
    fn members_without_their_first_are_one_void_batch() {
        assert_eq!(run(&[LAST]), (vec![], 1));
        assert_eq!(run(&[MIDDLE, MIDDLE, LAST, FIRST, LAST]), (vec![3], 1));
        assert_eq!(run(&[MIDDLE]), (vec![], 1));
    }

    #[test]
    fn a_batch_which_another_record_interrupts_is_void() {
        assert_eq!(run(&[FIRST, ALONE, LAST]), (vec![], 2));
        assert_eq!(run(&[FIRST, FIRST, LAST]), (vec![1], 1));
    }

    #[test]
    fn padding_is_transparent_and_an_opening_is_not() {
        let mut tracker = BatchTracker::default();
        let at = |raw| Lsn::new(raw).unwrap();
        tracker.observe(at(8), RecordKind::DATA, FIRST);
        assert_eq!(tracker.observe(at(16), RecordKind::PADDING, ALONE), BatchStep::Alone);
        let whole = BatchStep::Whole { first: at(8) };
        assert_eq!(tracker.observe(at(24), RecordKind::DATA, LAST), whole);
        tracker.observe(at(32), RecordKind::DATA, FIRST);
        assert_eq!(tracker.observe(at(40), RecordKind::OPENED, ALONE), BatchStep::Alone);
        let orphan = BatchStep::Held { orphan: true };
        assert_eq!(tracker.observe(at(48), RecordKind::DATA, LAST), orphan);
        assert_eq!(tracker.void(), 2, "the interrupted batch, and the orphaned member");
    }
}
