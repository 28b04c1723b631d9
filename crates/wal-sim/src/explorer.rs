//! The settings of an exploration.
//!
//! What is done with them is in the modules below. All of it follows from them and the seed.

use std::collections::BTreeSet;

use crate::coverage::Seen;
use crate::disk::SimDisk;
use crate::faults::Faults;
use crate::random::{SimRng, mix};

/// Settings of an exploration; see [`run`](Self::run) and [`record`](Self::record).
#[derive(Clone, Debug)]
pub struct Explorer {
    pub(crate) seed: u64,
    pub(crate) cuts_max: u64,
    pub(crate) states_per_cut: usize,
    pub(crate) recovery_cuts_max: u64,
    pub(crate) recovery_states_per_cut: usize,
    pub(crate) states_max: u64,
    pub(crate) depth: usize,
    pub(crate) torn: bool,
    pub(crate) kills: bool,
    pub(crate) latent: usize,
    pub(crate) live_faults: usize,
    pub(crate) live_cuts_max: u64,
    pub(crate) threads: usize,
    pub(crate) faults: Faults,
    pub(crate) start: SimDisk,
    pub(crate) class: fn(&str) -> &str,
    pub(crate) command: String,
    pub(crate) seen: Seen,
}

impl Explorer {
    /// An exploration drawn from `seed`, on an empty disk without faults: every operation if there
    /// are no more than 10,000, up to 64 states each, no cuts in recovery, whole sectors, one
    /// thread.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            cuts_max: 10_000,
            states_per_cut: 64,
            recovery_cuts_max: u64::MAX,
            recovery_states_per_cut: usize::MAX,
            states_max: u64::MAX,
            depth: 1,
            torn: false,
            kills: false,
            latent: 0,
            live_faults: 0,
            live_cuts_max: 32,
            threads: 1,
            faults: Faults::new(),
            start: SimDisk::new(),
            class: class_of,
            command: String::new(),
            seen: Seen::default(),
        }
    }

    /// Cuts at no more than `cuts` operations; if there are more, at some drawn from the seed.
    #[must_use]
    pub fn cuts_max(mut self, cuts: u64) -> Self {
        self.cuts_max = cuts;
        self
    }

    /// Judges no more than `states` crash states per cut: all when they are that few.
    #[must_use]
    pub fn states_per_cut(mut self, states: usize) -> Self {
        self.states_per_cut = states.max(1);
        self
    }

    /// Cuts at no more than `cuts` operations of each recovery; by default as in the workload.
    #[must_use]
    pub fn recovery_cuts_max(mut self, cuts: u64) -> Self {
        self.recovery_cuts_max = cuts;
        self
    }

    /// Judges no more than `states` per cut in recovery; by default as in the workload.
    #[must_use]
    pub fn recovery_states_per_cut(mut self, states: usize) -> Self {
        self.recovery_states_per_cut = states.max(1);
        self
    }

    /// Ends after `states` crash states in all. A recorded exploration ends with the group of cuts
    /// in which that number is reached.
    #[must_use]
    pub fn states_max(mut self, states: u64) -> Self {
        self.states_max = states;
        self
    }

    /// Cuts the power again inside the check, up to `depth` cuts in a row, the workload's included.
    ///
    /// What an interrupted check had done stays done: a check which appends records must accept
    /// them when it is run again on what is left.
    #[must_use]
    pub fn depth(mut self, depth: usize) -> Self {
        self.depth = depth.max(1);
        self
    }

    /// Lets unsynced sectors tear.
    #[must_use]
    pub fn torn(mut self) -> Self {
        self.torn = true;
        self
    }

    /// Lets the process die as well, with the power on: everything written is still seen, and what
    /// was not durable may yet be lost by a later power cut. That is what a [`depth`](Self::depth)
    /// of two is for: recovery must not take what it reads for durable.
    ///
    /// A check that wants to demand what was written, where it must still be there, asks
    /// [`SimDisk::lost_power`].
    #[must_use]
    pub fn kills(mut self) -> Self {
        self.kills = true;
        self
    }

    /// Lets each state that a cut in the workload leaves decay as well, in `ways` ways drawn from
    /// [`FaultKind::LATENT`](crate::FaultKind::LATENT), each judged for itself.
    ///
    /// A log cannot keep what the device lost: a check that is given decayed disks asks
    /// [`SimDisk::damages`], and then demands that nothing is invented, and that the loss is said.
    #[must_use]
    pub fn latent(mut self, ways: usize) -> Self {
        self.latent = ways;
        self
    }

    /// Runs the workload `plans` more times, each with one live fault drawn from
    /// [`FaultKind::LIVE`](crate::FaultKind::LIVE), and cuts the power in each as well. Only a
    /// [recorded](Self::record) exploration does so.
    #[must_use]
    pub fn live_faults(mut self, plans: usize) -> Self {
        self.live_faults = plans;
        self
    }

    /// Cuts at no more than `cuts` operations of a run with a drawn live fault; 32 by default.
    #[must_use]
    pub fn live_cuts_max(mut self, cuts: u64) -> Self {
        self.live_cuts_max = cuts;
        self
    }

    /// Judges on `threads` threads at once. Only a [recorded](Self::record) exploration does so;
    /// what it finds, its hash included, does not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Gives every run of the workload these faults; the check runs without faults.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Starts every run of the workload from a copy of `disk` as it is now, and with its model.
    #[must_use]
    pub fn start_from(mut self, disk: &SimDisk) -> Self {
        self.start = disk.fork();
        self
    }

    /// Sorts files into classes, by which coverage counts: a function from a file's name. By
    /// default the extension, or the whole name where there is none.
    #[must_use]
    pub fn file_class(mut self, class: fn(&str) -> &str) -> Self {
        self.class = class;
        self
    }

    /// A command line which replays a case when ` --seed S --case C` is put behind it; failures
    /// print it.
    #[must_use]
    pub fn command(mut self, command: &str) -> Self {
        command.clone_into(&mut self.command);
        self
    }

    /// Counts as distinct only what is not in `seen`, and adds to it.
    #[must_use]
    pub fn seen(mut self, seen: &Seen) -> Self {
        self.seen = seen.clone();
        self
    }

    /// A disk for a run of the workload.
    pub(crate) fn disk(&self, faults: Faults) -> SimDisk {
        let disk = self.start.fork();
        disk.set_faults(faults);
        disk
    }

    /// The budget of states for a cut at this depth.
    pub(crate) fn states_at(&self, depth: usize) -> usize {
        let limit = if depth > 1 { self.recovery_states_per_cut } else { usize::MAX };
        self.states_per_cut.min(limit)
    }
}

/// All of 1 to `ops`, or `max` of them drawn from `seed`, in order.
pub(crate) fn choose_cuts(ops: u64, seed: u64, max: u64) -> BTreeSet<u64> {
    if ops <= max {
        return (1..=ops).collect();
    }
    let mut rng = SimRng::new(mix(seed));
    let mut cuts = BTreeSet::new();
    while (cuts.len() as u64) < max {
        cuts.insert(1 + rng.below(ops));
    }
    cuts
}

/// The extension of a file name, or all of it.
fn class_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, extension)| extension)
}
