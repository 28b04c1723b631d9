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
//! its last member. Where the log begins with such members, they were cut by a truncation and
//! are counted apart: below the head nothing is known, so nothing is missing.

use wal_format::{Lsn, RecordFlags, RecordKind};

/// What a record means for the batches of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchStep {
    /// The record stands alone: it counts now.
    Alone,
    /// The record belongs to a batch which is not complete yet, or to one that never will be.
    Held {
        /// Earlier members are missing, so it never will be; and why.
        orphan: Option<Cut>,
    },
    /// The record completes the batch that starts at `first`: all of it counts now.
    Whole {
        /// Address of the first member.
        first: Lsn,
    },
}

/// Where the earlier members of a batch have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// They were never whole, or are lost.
    Void,
    /// Below the head, by a truncation.
    Truncated,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No batch is open.
    #[default]
    Idle,
    /// As idle, and nothing but housekeeping was met since the head of a log.
    Head,
    /// A batch is open, and none of its members is missing so far.
    Open { first: Lsn },
    /// Members go by whose earlier members are missing.
    Orphaned { cut: Cut },
}

/// The state of the batch flags up to some position of the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BatchTracker {
    state: State,
    /// Batches which were not whole, each counted once.
    void: u64,
    /// Batches whose first members were truncated away; one at the most.
    truncated: u64,
}

impl BatchTracker {
    /// A tracker for a log that is read from its head, below which records may have stood.
    pub(super) const fn at_head() -> Self {
        Self { state: State::Head, void: 0, truncated: 0 }
    }

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
                BatchStep::Held { orphan: None }
            }
            (State::Open { .. }, true, true) => BatchStep::Held { orphan: None },
            (State::Open { first }, false, true) => {
                self.state = State::Idle;
                BatchStep::Whole { first }
            }
            (State::Idle | State::Head | State::Orphaned { .. }, _, true) => {
                let cut = self.cut();
                self.state = State::Orphaned { cut };
                if !continues {
                    self.interrupt();
                }
                BatchStep::Held { orphan: Some(cut) }
            }
        }
    }

    /// Why a member that goes by now has no earlier ones.
    const fn cut(&self) -> Cut {
        match self.state {
            State::Head => Cut::Truncated,
            State::Orphaned { cut } => cut,
            State::Idle | State::Open { .. } => Cut::Void,
        }
    }

    /// Nothing from here on completes what is unfinished: an opening (rule 7), a gap, the end.
    pub(super) fn interrupt(&mut self) {
        match self.state {
            State::Idle | State::Head => {}
            State::Orphaned { cut: Cut::Truncated } => self.truncated += 1,
            State::Open { .. } | State::Orphaned { cut: Cut::Void } => self.void += 1,
        }
        self.state = State::Idle;
    }

    /// Batches found void so far.
    pub(super) const fn void(&self) -> u64 {
        self.void
    }

    /// Batches found cut by a truncation so far.
    pub(super) const fn truncated(&self) -> u64 {
        self.truncated
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
    fn members_at_the_head_without_their_first_are_one_truncated_batch() {
        for flags in [&[LAST][..], &[MIDDLE, MIDDLE, LAST], &[MIDDLE]] {
            let mut tracker = BatchTracker::at_head();
            tracker.observe(Lsn::FIRST, RecordKind::PADDING, ALONE);
            for flags in flags {
                let step = tracker.observe(Lsn::FIRST, RecordKind::DATA, *flags);
                assert_eq!(step, BatchStep::Held { orphan: Some(Cut::Truncated) });
            }
            tracker.observe(Lsn::FIRST, RecordKind::DATA, ALONE);
            assert_eq!((tracker.truncated(), tracker.void()), (1, 0), "{flags:?}");
            let step = tracker.observe(Lsn::FIRST, RecordKind::DATA, LAST);
            assert_eq!(step, BatchStep::Held { orphan: Some(Cut::Void) }, "not at the head");
        }
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
        let orphan = BatchStep::Held { orphan: Some(Cut::Void) };
        assert_eq!(tracker.observe(at(48), RecordKind::DATA, LAST), orphan);
        assert_eq!(tracker.void(), 2, "the interrupted batch, and the orphaned member");
    }
}
