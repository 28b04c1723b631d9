//! A simulated disk, a crash explorer and a contract suite for write-ahead logs.
//!
//! The modules below are in reading order: each uses only those above it.

pub mod contract;

mod random;

mod image;

mod choice;

mod inode;

mod directory;

mod faults;

mod state;

mod disk;

mod power_cut;

mod crash_states;

mod oracle;

mod report;

mod explore;

pub use crash_states::CrashStates;
pub use disk::{CrashMode, SimDisk};
pub use explore::{Explorer, Outcome, explore};
pub use faults::{Call, Faults, SimError};
pub use image::SECTOR_BYTES;
pub use oracle::{Found, Ledger, Violation};
pub use random::SimRng;
pub use report::{Coverage, Failure};
pub use state::LastOp;
