//! A simulated disk, a crash explorer and a contract suite for write-ahead logs.
//!
//! [`SimDisk`] is a [`wal_io::Storage`] in memory which keeps what was written apart from what is
//! durable. [`Explorer`] runs a workload on it, cuts the power at every operation, makes the disks
//! which the cut can leave, and has each judged; [`Ledger`] judges logs. [`contract::run`] holds any
//! other storage to the contract. All of it follows from a seed: no clock, no thread, no chance.
//!
//! A toy engine keeps a number in a file which it replaces as a whole. It syncs the new file before
//! it renames it, and forgets that the rename itself must be made durable:
//!
//! ```
//! use std::io::{self, IoSlice};
//! use wal_io::{Access, LogFile, Storage};
//! use wal_sim::{SimDisk, explore};
//!
//! fn save(disk: &dyn Storage, number: u8, sync_dir: bool) -> io::Result<()> {
//!     let file = disk.create("number.tmp", 0)?;
//!     file.write_at(&[IoSlice::new(&[number])], 0)?;
//!     file.sync_all()?;
//!     disk.rename("number.tmp", "number")?;
//!     if sync_dir { disk.sync_dir() } else { Ok(()) }
//! }
//!
//! fn load(disk: &dyn Storage) -> u8 {
//!     let mut number = [0];
//!     let file = disk.open("number", Access::Read);
//!     file.and_then(|file| file.read_at(&mut number, 0)).map_or(0, |_| number[0])
//! }
//!
//! // Saves until the power goes; returns the last number that `save` promised to keep.
//! let workload = |sync_dir| {
//!     move |disk: &SimDisk| {
//!         (1..=3).take_while(|&number| save(disk, number, sync_dir).is_ok()).last().unwrap_or(0)
//!     }
//! };
//! let check = |disk: SimDisk, &promised: &u8| match load(&disk) {
//!     found if found < promised => Err(format!("{promised} was saved, {found} is there")),
//!     _ => Ok(()),
//! };
//!
//! let failure = explore(workload(false), check).unwrap_err();
//! assert!(failure.reason.ends_with("was saved, 0 is there"));
//! println!("{failure}"); // When the power went, what was left, and how to replay it.
//!
//! assert!(explore(workload(true), check).is_ok(), "with the missing line it is sound");
//! ```
//!
//! The modules below are in reading order: each uses only those above it.

pub mod contract;

mod random;

mod image;

mod choice;

mod inode;

mod remains;

mod directory;

mod fault_kind;

mod faults;

mod model;

mod state;

mod steps;

mod after;

mod disk;

mod damage;

mod power_cut;

mod crash_states;

mod oracle;

mod notes;

mod case;

mod coverage;

mod report;

mod explorer;

mod picture;

mod judge;

mod shrink;

mod court;

mod explore;

mod record;

pub use coverage::{Coverage, Floors, Seen};
pub use crash_states::CrashStates;
pub use disk::{CrashMode, SimDisk};
pub use explore::{Outcome, explore};
pub use explorer::Explorer;
pub use fault_kind::{Call, FaultKind};
pub use faults::{Faults, SimError};
pub use image::SECTOR_BYTES;
pub use model::Model;
pub use notes::Notes;
pub use oracle::{Found, Ledger, Violation};
pub use random::SimRng;
pub use report::Failure;
pub use state::{Damage, LastOp};
