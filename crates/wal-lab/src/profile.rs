//! The catalogue of workloads: what each does, how often, on what disk, under what faults.

use std::io::IoSlice;
use std::time::Duration;

use wal::{Options, Storage, SyncMethod, SyncPolicy, Threads};
use wal_sim::{Call, FaultKind, Faults, Model, SimDisk, SimRng};

use crate::action::Action;

/// Every log of the lab has segments of the smallest size.
pub const SEGMENT_BYTES: u64 = 64 << 10;

/// A workload: chance with weights, on a kind of disk.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is for, in a line.
    pub about: &'static str,
    /// Writes start and end at multiples of this.
    pub block_bytes: usize,
    /// How bytes are made durable.
    pub method: SyncMethod,
    /// When, and what a commit waits for.
    pub policy: SyncPolicy,
    /// How often each action is drawn.
    pub weights: &'static [(Action, u64)],
    /// How many actions a run has.
    pub steps: u32,
    /// What goes wrong while the power is on.
    pub trouble: Trouble,
    /// What is done to the disk after the workload.
    pub kind: Kind,
    /// What kind of device it is.
    pub device: Device,
    /// Whether a campaign that names no workload runs it. The others were added since: the figures
    /// of a seed stay what they were.
    pub by_default: bool,
}

/// What kind of device the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// Sectors of 512 bytes; new space holds zeros.
    Plain,
    /// Sectors of 4 KiB; new space may show what a removed file held.
    Recycling,
    /// A cache that says it has synced, and does so some syncs later.
    Lying,
    /// Files that ask for a write and its sync in one call; the power can still go between the two.
    Joining,
}

/// What goes wrong while the power is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Syncs and directory syncs fail once, having dropped what they covered.
    Syncs,
    /// Writes fail, whole or in part; write-back fails unseen; calls are short or interrupted.
    Writes,
    /// The device fills up, and stays full for the recovery.
    Full,
    /// Reads fail, come short or are interrupted, in recovery too; calls take long.
    Reads,
    /// The disk itself is as it should be, but sectors cannot be read later, or are another file's.
    Sectors,
}

/// What is done to the disk after the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The power is cut at every operation, and again in recovery.
    Crashes,
    /// The bytes decay: one latent fault at a time.
    Decay,
    /// Several threads under a deterministic scheduler, then as `Crashes`.
    Threads,
}

const MIXED: &[(Action, u64)] = &[
    (Action::Append, 8),
    (Action::Rotate, 1),
    (Action::Batch, 4),
    (Action::Commit, 4),
    (Action::Abort, 2),
    (Action::Span, 2),
    (Action::Sync, 2),
    (Action::Checkpoint, 2),
    (Action::Truncate, 2),
    (Action::Hold, 1),
    (Action::Reopen, 1),
    (Action::Restart, 1),
];

const PLAIN: &[(Action, u64)] =
    &[(Action::Append, 8), (Action::Batch, 3), (Action::Commit, 3), (Action::Sync, 3)];

const ROTATING: &[(Action, u64)] = &[
    (Action::Append, 3),
    (Action::Rotate, 4),
    (Action::Batch, 3),
    (Action::Commit, 1),
    (Action::Span, 1),
    (Action::Sync, 1),
];

const LARGE: &[(Action, u64)] =
    &[(Action::Append, 4), (Action::Large, 4), (Action::Batch, 1), (Action::Sync, 1)];

const CHECKPOINTS: &[(Action, u64)] = &[
    (Action::Append, 3),
    (Action::Rotate, 3),
    (Action::Commit, 2),
    (Action::Span, 3),
    (Action::Checkpoint, 4),
    (Action::Truncate, 3),
    (Action::Hold, 2),
];

const QUEUE: &[(Action, u64)] = &[
    (Action::Append, 5),
    (Action::Rotate, 4),
    (Action::Truncate, 3),
    (Action::Hold, 2),
    (Action::Restart, 1),
];

const REUSING: &[(Action, u64)] = &[
    (Action::Append, 3),
    (Action::Rotate, 6),
    (Action::Sync, 2),
    (Action::Truncate, 5),
    (Action::Restart, 1),
    (Action::Reopen, 1),
];

const OPENINGS: &[(Action, u64)] = &[
    (Action::Append, 4),
    (Action::Batch, 2),
    (Action::Span, 2),
    (Action::Abort, 1),
    (Action::Reopen, 3),
    (Action::Restart, 3),
];

const READING: &[(Action, u64)] = &[
    (Action::Append, 4),
    (Action::Rotate, 2),
    (Action::Batch, 1),
    (Action::Commit, 1),
    (Action::Read, 4),
    (Action::Truncate, 1),
    (Action::Checkpoint, 1),
];

const BASE: Profile = Profile {
    name: "mixed",
    about: "everything, on a page cache with data syncs",
    block_bytes: 1,
    method: SyncMethod::DataSync,
    policy: SyncPolicy::EveryCommit,
    weights: MIXED,
    steps: 40,
    trouble: Trouble::None,
    kind: Kind::Crashes,
    device: Device::Plain,
    by_default: true,
};

/// Every workload.
pub static PROFILES: &[Profile] = &[
    BASE,
    Profile {
        name: "levels",
        about: "appends at all levels, batches, transactions; small and exhaustive",
        weights: PLAIN,
        steps: 14,
        ..BASE
    },
    Profile {
        name: "rotation",
        about: "segments filled, sealed and entered; batches over the boundary",
        weights: ROTATING,
        steps: 16,
        ..BASE
    },
    Profile {
        name: "large",
        about: "records past the buffer, and segments made to measure",
        weights: LARGE,
        steps: 14,
        ..BASE
    },
    Profile {
        name: "checkpoints",
        about: "snapshots with transactions open over them, truncation under holds",
        weights: CHECKPOINTS,
        steps: 24,
        ..BASE
    },
    Profile {
        name: "queue",
        about: "truncation without checkpoints, as a queue does",
        weights: QUEUE,
        steps: 24,
        ..BASE
    },
    Profile {
        name: "openings",
        about: "closed and reopened, or killed and recovered, again and again",
        weights: OPENINGS,
        steps: 20,
        ..BASE
    },
    Profile {
        name: "reading",
        about: "readers forwards, backwards and at the end of a log being written",
        weights: READING,
        steps: 24,
        ..BASE
    },
    Profile {
        name: "direct",
        about: "as mixed, in blocks of 4,096 bytes",
        block_bytes: 4096,
        steps: 32,
        ..BASE
    },
    Profile {
        name: "write-through",
        about: "as mixed, every write durable by itself, in blocks of 512 bytes",
        block_bytes: 512,
        method: SyncMethod::WriteThrough,
        steps: 32,
        ..BASE
    },
    Profile {
        name: "full-sync",
        about: "as mixed, with full syncs and groups",
        method: SyncMethod::FullSync,
        policy: SyncPolicy::Group,
        ..BASE
    },
    Profile {
        name: "never",
        about: "policy never: nothing is synced unless somebody waits",
        policy: SyncPolicy::Never,
        ..BASE
    },
    Profile {
        name: "failed-syncs",
        about: "syncs that fail once having dropped the data; poison, reopen, go on",
        trouble: Trouble::Syncs,
        ..BASE
    },
    Profile {
        name: "failed-writes",
        about: "writes that fail, in part, short, interrupted, or lost by write-back",
        trouble: Trouble::Writes,
        ..BASE
    },
    Profile {
        name: "full",
        about: "a device that fills up, and recovery on the full device",
        trouble: Trouble::Full,
        weights: ROTATING,
        steps: 30,
        ..BASE
    },
    Profile {
        name: "decay",
        about: "flipped bits, lost and stale sectors, misdirected writes, cut and missing files",
        kind: Kind::Decay,
        ..BASE
    },
    Profile {
        name: "recycled",
        about: "as mixed, on sectors of 4 KiB whose space held other files before",
        device: Device::Recycling,
        by_default: false,
        ..BASE
    },
    Profile {
        name: "reused",
        about: "a queue that goes on in the files of segments it truncated, again and again",
        weights: REUSING,
        steps: 24,
        by_default: false,
        ..BASE
    },
    Profile {
        name: "bad-reads",
        about: "reads that fail, come short or are interrupted, in recovery too; slow calls",
        weights: READING,
        steps: 24,
        trouble: Trouble::Reads,
        by_default: false,
        ..BASE
    },
    Profile {
        name: "lying-cache",
        about: "syncs that lie for a while: what still proves a loss must be believed",
        device: Device::Lying,
        by_default: false,
        ..BASE
    },
    Profile {
        name: "joined",
        about: "as mixed, a write and its sync in one call, as io_uring does them; either may fail",
        trouble: Trouble::Syncs,
        device: Device::Joining,
        by_default: false,
        ..BASE
    },
    Profile {
        name: "bad-sectors",
        about: "sectors that cannot be read any more, or show another file's bytes",
        trouble: Trouble::Sectors,
        kind: Kind::Decay,
        by_default: false,
        ..BASE
    },
    Profile {
        name: "threads",
        about: "committers, checkpointer and truncator under a deterministic scheduler",
        kind: Kind::Threads,
        policy: SyncPolicy::Group,
        steps: 6,
        by_default: false,
        ..BASE
    },
    Profile {
        name: "threads-failing",
        about: "as threads, with syncs that fail once having dropped the data",
        kind: Kind::Threads,
        policy: SyncPolicy::Group,
        trouble: Trouble::Syncs,
        steps: 6,
        by_default: false,
        ..BASE
    },
];

impl Profile {
    /// The workload of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// An empty disk.
    #[must_use]
    pub fn disk(&self) -> SimDisk {
        let model = Model::new().block_bytes(self.block_bytes);
        match self.device {
            Device::Plain => model.disk(),
            Device::Lying => model.lying_cache(3).disk(),
            Device::Joining => model.joined_sync().disk(),
            Device::Recycling => used_before(&model.sector_bytes(4096).recycled_space().disk()),
        }
    }

    /// The kinds of faults that it is there to meet: a campaign with it that does not is blind.
    #[must_use]
    pub fn fires(&self) -> Vec<FaultKind> {
        let mut kinds = match self.kind {
            Kind::Decay if self.trouble == Trouble::Sectors => {
                return vec![FaultKind::UnreadableSector, FaultKind::StaleSector];
            }
            Kind::Decay => {
                let whole = [FaultKind::BitFlip, FaultKind::ZeroedSector];
                return [&whole[..], &[FaultKind::LostWrite, FaultKind::MisdirectedWrite]].concat();
            }
            Kind::Crashes | Kind::Threads => FaultKind::CRASH.to_vec(),
        };
        kinds.retain(|kind| *kind != FaultKind::RecycledSpace || self.device == Device::Recycling);
        kinds.extend(match self.trouble {
            Trouble::None | Trouble::Sectors => &[][..],
            Trouble::Syncs => &[FaultKind::SyncFailed, FaultKind::DirectorySyncFailed],
            Trouble::Writes => &[
                FaultKind::WriteFailed,
                FaultKind::WritebackLost,
                FaultKind::ShortWrite,
                FaultKind::Interrupted,
                FaultKind::CallFailed,
            ],
            Trouble::Full => &[FaultKind::NoSpace],
            Trouble::Reads => &[
                FaultKind::ReadFailed,
                FaultKind::ShortRead,
                FaultKind::Interrupted,
                FaultKind::SlowCall,
            ],
        });
        kinds.extend((self.device == Device::Lying).then_some(FaultKind::LyingSync));
        kinds
    }

    /// How its log is kept.
    #[must_use]
    pub fn options(&self) -> Options {
        let buffer = if self.block_bytes > 1 { 32 << 10 } else { 16 << 10 };
        Options::default()
            .segment_bytes(SEGMENT_BYTES)
            .buffer_bytes(buffer)
            .threads(Threads::None)
            .sync_method(self.method)
            .sync_policy(self.policy)
            .slow_sync(None::<Duration>)
            .idle_after(None)
    }

    /// An action, drawn with the weights.
    pub fn draw(&self, rng: &mut SimRng) -> Action {
        let total = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = rng.below(total);
        for (action, weight) in self.weights {
            if left < *weight {
                return *action;
            }
            left -= weight;
        }
        Action::Append
    }

    /// What goes wrong, and when.
    #[must_use]
    pub fn faults(&self, seed: u64) -> Faults {
        let mut rng = SimRng::new(seed ^ 0x0fa1_7500);
        let faults = Faults::new();
        match self.trouble {
            Trouble::None => faults,
            Trouble::Syncs => match rng.below(4) {
                0 => faults.fail(Call::SyncDir, 2 + rng.below(8)),
                1 => faults.fail_on(Call::Sync, "control", 1 + rng.below(8)),
                2 => faults.fail_on(Call::Sync, ".wal", 3 + rng.below(16)),
                _ => {
                    let first = 3 + rng.below(12);
                    faults.fail(Call::Sync, first).fail(Call::Sync, first + 1 + rng.below(12))
                }
            },
            Trouble::Writes => {
                let nth = 4 + rng.below(24);
                match rng.below(6) {
                    0 => faults.fail(Call::Write, nth),
                    1 => faults.fail_write_after(nth, 1 + rng.below(3000) as usize),
                    2 => faults.fail_writeback(nth),
                    3 => faults.short_writes(512 + rng.below(2000) as usize),
                    4 => faults.interrupt_every(Call::Write, 2).short_write(nth, 100),
                    _ => faults.fail(Call::Rename, 2 + rng.below(6)),
                }
            }
            // Creation takes some 290,000 bytes.
            Trouble::Full => faults.space_bytes(300_000 + rng.below(500_000)),
            Trouble::Reads => bad_reads(&mut rng),
            Trouble::Sectors => faults,
        }
    }
}

/// Reads that fail once, come short, or are interrupted; or calls that take long.
pub(crate) fn bad_reads(rng: &mut SimRng) -> Faults {
    let faults = Faults::new();
    match rng.below(4) {
        0 => faults.fail(Call::Read, 1 + rng.below(24)),
        1 => faults.short_reads(1 + rng.below(2000) as usize),
        2 => faults.interrupt_every(Call::Read, 2),
        _ => faults.slow(Call::Sync, 2, 5_000_000).slow(Call::Write, 3, 2_000_000),
    }
}

/// The disk after a file was removed from it which held no zeros.
fn used_before(disk: &SimDisk) -> SimDisk {
    let fill = || -> std::io::Result<()> {
        let old = disk.create("old", 0)?;
        let noise = vec![0xa5; 3 * SEGMENT_BYTES as usize];
        old.write_at(&[IoSlice::new(&noise)], 0)?;
        old.sync_all()?;
        disk.remove("old")?;
        disk.sync_dir()
    };
    // On a disk without faults nothing of it fails; and the floors would show it.
    let _ = fill();
    disk.crash(wal_sim::CrashMode::LoseAll)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_has_a_name_of_its_own() {
        for profile in PROFILES {
            assert!(std::ptr::eq(Profile::named(profile.name).unwrap(), profile));
        }
    }

    #[test]
    fn every_kind_of_fault_is_met_by_some_workload() {
        let fired: Vec<FaultKind> = PROFILES.iter().flat_map(Profile::fires).collect();
        let kinds = FaultKind::CRASH.iter().chain(&FaultKind::LIVE).chain(&FaultKind::LATENT);
        for kind in kinds.chain(&[FaultKind::LyingSync]) {
            assert!(fired.contains(kind), "{kind}");
        }
    }

    #[test]
    fn every_action_is_drawn_by_some_workload() {
        let drawn = |action: Action| {
            PROFILES.iter().any(|profile| profile.weights.iter().any(|(one, _)| *one == action))
        };
        let others = [Action::Open, Action::Threads];
        assert!(Action::ALL.iter().all(|action| others.contains(action) || drawn(*action)));
    }
}
