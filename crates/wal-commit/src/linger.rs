//! Whether a committer lets others run before it sleeps. Decides nothing but when.
//!
//! To sleep and to be woken costs a committer about as much as letting others run eight times, and
//! all who wake behind it are late by what its waking takes: they are woken one by one.
//! Where many committers share few processors, each of those times lasts long, for all others
//! have their turn; so after a few of them the flush has landed, and nobody had to be woken. Where
//! a processor is free, one such time is over at once, and the committer sleeps: nobody spins.
//!
//! ```text
//! it pays while letting others run takes, in the mean, at least a sixteenth of what a sync takes,
//! or a 32nd where few are about
//! ```
//!
//! So a commit costs at most as much processor time more as letting others run 32 times does, or 64
//! times where few are about, however slow the device is.
//!
//! Whether it paid of late is kept for the whole log, so that a log for which it does not pay
//! tries it seldom.

use std::time::Duration;

use crate::sync::{FIXED, Tally};

/// What a turn must last at least in the mean: this part of a sync.
const PART: u32 = 16;
/// The same where few are about: there what is saved is most of what passes between two syncs.
const PART_OF_FEW: u32 = 32;
/// So many are few.
const FEW: u64 = 12;
/// How much of the past counts.
const SCORE_MAX: u64 = 16;
/// Where it does not pay, one in so many committers tries.
const SELDOM: u64 = 32;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Linger {
    /// Turns that paid, less those which did not. Two at once may count as one: it is a guess.
    score: Tally,
}

impl Linger {
    pub(crate) const fn new() -> Self {
        Self { score: Tally::new(0) }
    }

    /// Whether the committer that was the `arrival`th to wait lets others run before it sleeps.
    pub(crate) fn tries(&self, arrival: u64, usual_sync: Duration) -> bool {
        let tries = self.score.get() > 0 || arrival.is_multiple_of(SELDOM);
        // A model has no clock, and nothing is known before the first sync.
        !FIXED && !usual_sync.is_zero() && tries
    }

    /// What part of a sync a turn must last at least, where so many are `about`.
    pub(crate) const fn part(about: u64) -> u32 {
        if about <= FEW { PART_OF_FEW } else { PART }
    }

    /// How often a committer lets others run before it sleeps, at the most: where each time is as
    /// short as can be this is two syncs, and a committer waits for the end of a gathering, a write
    /// and a sync.
    pub(crate) const fn turns_max(part: u32) -> u32 {
        2 * part
    }

    /// Others ran `turns` times, for `spent` in all; whether to let them run once more. It is the
    /// mean that counts: a single time is short when all others happen to be on another processor.
    pub(crate) fn pays(
        &self,
        spent: Duration,
        turns: u32,
        usual_sync: Duration,
        part: u32,
    ) -> bool {
        let pays = spent >= (usual_sync / part).saturating_mul(turns);
        let score = self.score.get();
        self.score.set(if pays { (score + 1).min(SCORE_MAX) } else { score.saturating_sub(1) });
        pays
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(160);
    const LONG: Duration = Duration::from_micros(10);
    const SHORT: Duration = Duration::from_micros(9);

    #[test]
    fn only_a_crowded_processor_makes_it_pay() {
        let linger = Linger::new();
        assert!(linger.pays(LONG, 1, SYNC, PART));
        assert!(!linger.pays(SHORT, 1, SYNC, PART));
        assert!(!linger.pays(Duration::ZERO, 1, SYNC, PART), "nobody else had anything to do");
    }

    #[test]
    fn it_is_the_mean_of_the_turns_that_counts() {
        let linger = Linger::new();
        assert!(linger.pays(SHORT + (LONG + LONG - SHORT), 2, SYNC, PART), "a long one makes up");
        assert!(!linger.pays(SHORT + LONG, 2, SYNC, PART));
        assert!(!linger.pays(LONG, 2, SYNC, PART), "one long turn and one of nothing");
    }

    #[test]
    fn where_few_are_about_less_makes_it_pay_and_it_is_done_for_no_more_than_two_syncs() {
        let (few, many) = (Linger::part(FEW), Linger::part(FEW + 1));
        assert!(
            Linger::new().pays(SHORT, 1, SYNC, few) && !Linger::new().pays(SHORT, 1, SYNC, many)
        );
        assert!(
            [few, many].into_iter().all(|part| SYNC / part * Linger::turns_max(part) == 2 * SYNC)
        );
    }

    #[test]
    fn where_it_does_not_pay_it_is_tried_seldom_and_where_it_does_always() {
        let linger = Linger::new();
        let tries = |linger: &Linger| (1..=320).filter(|n| linger.tries(*n, SYNC)).count();
        assert_eq!(tries(&linger), 10);
        linger.pays(LONG, 1, SYNC, PART);
        assert_eq!(tries(&linger), 320);
        linger.pays(SHORT, 1, SYNC, PART);
        assert_eq!(tries(&linger), 10);
        assert!((0..1000).all(|_| linger.pays(LONG, 1, SYNC, PART)));
        assert!(!(0..SCORE_MAX).any(|_| linger.pays(SHORT, 1, SYNC, PART)));
        assert_eq!(tries(&linger), 10, "the past is forgotten");
    }

    #[test]
    fn nothing_is_tried_before_a_sync_was_measured() {
        let linger = Linger::new();
        linger.pays(LONG, 1, SYNC, PART);
        assert!(!linger.tries(32, Duration::ZERO));
    }
}
