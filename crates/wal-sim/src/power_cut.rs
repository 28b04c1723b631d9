//! The simulated disk as the contract suite wants it: cut by a seed.

use std::sync::Arc;

use wal_io::Storage;

use crate::contract::PowerCut;
use crate::disk::{CrashMode, SimDisk};
use crate::fault_kind::Call;
use crate::faults::Faults;

impl PowerCut for SimDisk {
    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// Seeds 0 and 1 are the extremes: nothing, and everything, of what was not durable survives.
    fn cut(&self, seed: u64) -> Arc<dyn Storage> {
        self.power_off();
        Arc::new(self.crash(match seed {
            0 => CrashMode::LoseAll,
            1 => CrashMode::KeepAll,
            even if even % 2 == 0 => CrashMode::Random(even),
            odd => CrashMode::Torn(odd),
        }))
    }

    /// Replaces the disk's plan of faults.
    fn fail_next_sync(&self) -> bool {
        self.set_faults(Faults::new().fail(Call::Sync, 1));
        true
    }
}
