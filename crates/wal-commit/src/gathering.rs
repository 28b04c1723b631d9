//! For how long a leader lets others come back before it takes the buffer: learned from whether
//! they did.
//!
//! Those who were answered by one sync come back within microseconds where they only commit, and
//! after who knows how long where they do something in between. Waiting for the former saves
//! a sync; waiting for the latter costs everybody who is there already.
//!
//! It decides only when something happens, never what.

use std::time::Duration;

use crate::sync::FIXED;

/// Shares are counted in so many parts of a usual sync.
const WHOLE: u32 = 16;
/// The least share: so little that a wait in vain does not show.
const LEAST: u32 = 1;
/// What this many wait for together is at most as many syncs: so more wait for a shorter time.
const TOGETHER: u32 = 32;

/// For how long it is worth while to wait for those who were answered last time.
#[derive(Debug)]
pub(crate) struct Gathering {
    share: u32,
}

impl Gathering {
    pub(crate) const fn new() -> Self {
        Self { share: WHOLE }
    }

    /// How long to wait at most, where a sync usually takes `sync` and so many committers are
    /// `about`. Zero: yield once.
    pub(crate) fn window(&self, sync: Duration, about: u64) -> Duration {
        if FIXED {
            return Duration::ZERO;
        }
        let about = u32::try_from(about.max(1)).unwrap_or(u32::MAX);
        let most = (sync.saturating_mul(TOGETHER) / about).max(sync / 4);
        (sync.saturating_mul(self.share) / WHOLE).min(most)
    }

    /// A wait is over; whether all came `in_time`.
    pub(crate) fn learn(&mut self, in_time: bool) {
        let share = if in_time { self.share * 2 } else { self.share / 2 };
        self.share = share.clamp(LEAST, WHOLE);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(160);

    #[test]
    fn who_waits_in_vain_waits_ever_shorter_and_who_does_not_waits_up_to_a_sync() {
        let mut gathering = Gathering::new();
        assert_eq!(gathering.window(SYNC, 8), SYNC);
        (0..10).for_each(|_| gathering.learn(false));
        assert_eq!(gathering.window(SYNC, 8), SYNC / 16);
        (0..10).for_each(|_| gathering.learn(true));
        assert_eq!(gathering.window(SYNC, 8), SYNC);
    }

    #[test]
    fn the_more_wait_the_shorter_and_none_less_than_a_quarter_of_a_sync() {
        let gathering = Gathering::new();
        assert_eq!(gathering.window(SYNC, 32), SYNC);
        assert_eq!(gathering.window(SYNC, 64), SYNC / 2);
        assert_eq!(gathering.window(SYNC, 1_000), SYNC / 4);
        assert_eq!(gathering.window(SYNC, u64::MAX), SYNC / 4);
        assert_eq!(gathering.window(SYNC, 0), SYNC);
    }
}
