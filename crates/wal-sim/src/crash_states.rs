//! All disks that one power cut can leave, or a fair sample of them.
//!
//! Few enough: every one, in a fixed order. Too many: the two extremes, then states drawn from a
//! seed, of which there is one at least: the newest goes first, then the oldest. Either way the number of a state names it for as long as the workload stays the same.

use crate::choice::{Chance, Chooser, Newest, Oldest, Paths, Script, Writing};
use crate::disk::SimDisk;
use crate::random::{fold, mix};

/// The disks a power cut can leave: an iterator, see [`SimDisk::crash_states`].
#[derive(Debug)]
pub struct CrashStates {
    disk: SimDisk,
    seed: u64,
    torn: bool,
    limit: usize,
    given: usize,
    /// Set when every state is to be given.
    all: Option<Paths>,
}

impl SimDisk {
    /// The disks which a power cut now, or the one that has happened, can leave: all of them when
    /// they are no more than `limit`, else `limit` of them, chosen by `seed`.
    ///
    /// Later changes to this disk do not show in them. Two of them may be equal.
    #[must_use]
    pub fn crash_states(&self, limit: usize, seed: u64) -> CrashStates {
        let disk = self.fork();
        let few = disk.count_crash_states(limit as u64) <= limit as u64;
        let all = few.then(Paths::default);
        CrashStates { disk, seed, torn: false, limit, given: 0, all }
    }

    /// How many states a power cut can leave; any number above `limit` once it is exceeded.
    fn count_crash_states(&self, limit: u64) -> u64 {
        let mut entries = Paths::default();
        let mut count = 0u64;
        while count <= limit && entries.advance() {
            let survivors = self.with(|state| state.survivors(&mut entries, limit));
            count = count.saturating_add(survivors);
        }
        count
    }
}

impl CrashStates {
    /// Lets sectors tear as well: half the sampled states are torn, and a full enumeration is
    /// followed by torn states up to half the limit.
    #[must_use]
    pub fn torn(mut self) -> Self {
        self.torn = true;
        self
    }

    /// Whether every state with whole sectors is given.
    #[must_use]
    pub fn is_exhaustive(&self) -> bool {
        self.all.is_some()
    }

    /// The answers that make the state with this number.
    pub(crate) fn script(mut self, number: usize) -> Option<Script> {
        if let Some(before) = number.checked_sub(1) {
            self.nth(before)?;
        }
        self.make(|disk, chooser| {
            let mut writing = Writing { from: chooser, script: Script::default() };
            disk.crash_by(&mut writing);
            writing.script
        })
    }

    /// Makes something of the next state.
    fn make<T>(&mut self, make: impl FnOnce(&SimDisk, &mut dyn Chooser) -> T) -> Option<T> {
        let number = self.given;
        self.given += 1;
        let mut sampled = number < self.limit;
        if let Some(paths) = self.all.as_mut() {
            if paths.advance() {
                return Some(make(&self.disk, paths));
            }
            // The enumeration is over; what is left of the budget goes to torn sectors.
            // With one state nothing was pending, so there is nothing to tear.
            let end = self.limit.min(paths.given() + self.limit / 2);
            sampled = self.torn && paths.given() > 1 && number < end;
        }
        let all = self.all.is_some();
        let seed = fold(mix(self.seed), number as u64);
        // A sample of extremes alone would never show a part of what was pending.
        let extremes = if all { 0 } else { self.limit.saturating_sub(1).min(2) };
        let odd = if extremes == 0 { seed } else { number as u64 } % 2 == 1;
        let torn = self.torn && (all || odd);
        let mut chance = Chance::new(seed, torn);
        let chooser: &mut dyn Chooser = match number {
            0 if extremes > 0 => &mut Oldest,
            1 if extremes > 1 => &mut Newest,
            _ => &mut chance,
        };
        sampled.then(|| make(&self.disk, chooser))
    }
}

impl Iterator for CrashStates {
    type Item = SimDisk;

    fn next(&mut self) -> Option<SimDisk> {
        self.make(|disk, chooser| disk.crash_by(chooser))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::IoSlice;

    use wal_io::Storage;

    use super::*;

    /// A file whose name is durable, with `sectors` unsynced sectors in a synced length.
    fn pending(sectors: usize) -> SimDisk {
        let disk = SimDisk::new();
        let file = disk.create("f", sectors as u64 * 512).unwrap();
        file.sync_all().unwrap();
        disk.sync_dir().unwrap();
        for sector in 0..sectors {
            file.write_at(&[IoSlice::new(&[1; 512])], sector as u64 * 512).unwrap();
        }
        disk
    }

    fn distinct(states: CrashStates) -> BTreeSet<u64> {
        states.map(|state| state.fingerprint()).collect()
    }

    #[test]
    fn few_states_are_all_given_once() {
        let states = pending(3).crash_states(8, 0);
        assert!(states.is_exhaustive());
        let all: Vec<u64> = states.map(|state| state.fingerprint()).collect();
        assert_eq!(all.len(), 8);
        assert_eq!(distinct(pending(3).crash_states(8, 0)).len(), 8);
    }

    #[test]
    fn too_many_states_are_sampled_with_both_extremes() {
        let disk = pending(20);
        let states = disk.crash_states(50, 9);
        assert!(!states.is_exhaustive());
        let sampled: Vec<u64> = states.map(|state| state.fingerprint()).collect();
        assert_eq!(sampled.len(), 50);
        assert!(sampled.contains(&disk.crash_by(&mut Oldest).fingerprint()));
        assert!(sampled.contains(&disk.crash_by(&mut Newest).fingerprint()));
    }

    #[test]
    fn the_smallest_samples_hold_states_between_the_extremes() {
        let disk = pending(20);
        let oldest = disk.crash_by(&mut Oldest).fingerprint();
        let newest = disk.crash_by(&mut Newest).fingerprint();
        for (limit, extremes) in [(1, 0), (2, 1), (3, 2)] {
            let drawn: Vec<u64> = (0..16)
                .flat_map(|seed| disk.crash_states(limit, seed).torn().skip(extremes))
                .map(|state| state.fingerprint())
                .filter(|state| ![oldest, newest].contains(state))
                .collect();
            assert!(drawn.len() > 8, "{limit} states for each cut: {drawn:?}");
        }
    }

    #[test]
    fn a_seed_names_the_same_states_again() {
        let sample = |seed| distinct(pending(20).crash_states(30, seed).torn());
        assert_eq!(sample(5), sample(5));
        assert_ne!(sample(5), sample(6));
    }

    #[test]
    fn tearing_adds_states_with_mixed_sectors() {
        let torn = pending(2)
            .crash_states(100, 1)
            .torn()
            .filter_map(|state| state.contents("f"))
            .any(|bytes| bytes[..512].contains(&0) && bytes[..512].contains(&1));
        assert!(torn, "no sampled state has a torn sector");
    }

    #[test]
    fn a_disk_with_nothing_pending_has_one_state() {
        let disk = pending(0);
        assert_eq!(disk.crash_states(10, 0).count(), 1);
    }

    #[test]
    fn the_script_of_a_state_makes_it_again() {
        use crate::choice::Reading;
        for (sectors, limit) in [(3, 20), (20, 30)] {
            let disk = pending(sectors);
            for (number, state) in disk.crash_states(limit, 4).torn().enumerate() {
                let script = disk.crash_states(limit, 4).torn().script(number).unwrap();
                let again = disk.crash_by(&mut Reading::new(&script));
                assert_eq!(again.fingerprint(), state.fingerprint(), "{number}: {script}");
            }
            assert!(disk.crash_states(limit, 4).torn().script(limit + 1).is_none());
        }
    }
}
