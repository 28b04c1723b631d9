//! A simulated disk, a crash explorer and a contract suite for write-ahead logs.
//!
//! The modules below are in reading order: each uses only those above it.

mod random;

mod image;

mod choice;

mod inode;

mod directory;

mod faults;

mod state;

mod disk;

mod crash_states;

pub use crash_states::CrashStates;
pub use disk::{CrashMode, SimDisk};
pub use faults::{Call, Faults, SimError};
pub use image::SECTOR_BYTES;
pub use random::SimRng;
pub use state::LastOp;
