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
//! # A lab for a toy engine
//!
//! `examples/toy_engine.rs` is a whole lab in one file, to begin one's own with: an engine with a log,
//! three planted bugs of its recovery, a workload that keeps a [`Ledger`], a check that asks it, floors,
//! and a command line with `--seed`, `--cases`, `--depth`, `--time`, `--json` and the replay of a case.
//! Each bug is found within a second:
//!
//! ```sh
//! cargo run --package wal-sim --example toy_engine -- --bug leaves-the-tail
//! ```
//!
//! # An engine of one's own, in a `#[test]`
//!
//! The log opens on a [`SimDisk`] as on any other storage: give it one, let it start no thread, and
//! [`Explorer::record`] looks at every moment of its life. The workload keeps [`Notes`] of what it
//! asked for and what it was promised; the check opens what a crash left, as the engine would after
//! a restart, and compares. This is `crates/wal/tests/own_engine.rs`, which is run:
//!
//! ```ignore
//! fn open(disk: &SimDisk) -> Result<Counter, wal::Error> {
//!     let options = Options::default().segment_bytes(64 << 10).threads(Threads::None);
//!     let mut sum = 0;
//!     let log = Wal::open_in(Arc::new(disk.clone()), options, |record| {
//!         sum += number(record.body)?;
//!         Ok::<(), Invalid>(())
//!     })?;
//!     Ok(Counter { log, sum })
//! }
//!
//! // Adds 1, 2, 4, ..., so that every sum tells which additions are in it.
//! fn workload(disk: &SimDisk, told: &Notes<Told>) {
//!     let Ok(mut counter) = open(disk) else { return };
//!     for shift in 0..10 {
//!         told.update(|told| told.asked |= 1 << shift);
//!         if counter.add(1 << shift).is_err() { return } // append, then wait until it is durable
//!         told.update(|told| told.promised |= 1 << shift);
//!     }
//! }
//!
//! fn check(disk: SimDisk, told: &Told) -> Result<(), String> {
//!     let counter = open(&disk).map_err(|error| error.to_string())?;
//!     match counter.sum {
//!         sum if sum == told.promised || sum == told.asked => Ok(()),
//!         sum => Err(format!("promised {}, found {sum}", told.promised)),
//!     }
//! }
//!
//! #[test]
//! fn what_the_counter_promised_survives_any_power_cut() {
//!     let explorer = Explorer::new(1).torn().kills().depth(2).live_faults(11).threads(2);
//!     let coverage = explorer.record(workload, check).unwrap_or_else(|failure| panic!("{failure}"));
//!     let floors = Floors::new().distinct(30).fault(FaultKind::TornSector, 15);
//!     assert_eq!(coverage.below(&floors), [""; 0]);
//! }
//! ```
//!
//! A check of an engine whose records are many keeps a [`Ledger`] in its notes: it knows batches,
//! aborted work, and that what was never promised may be there only as a prefix. With
//! [`latent`](Explorer::latent) decay the check asks [`SimDisk::damages`] first: then a refusal is
//! right, and silence about a loss is wrong. After a failed write-back and a kill, the kernel tells
//! the next process of the old error once: let the check open twice before it complains.
//!
//! What is found does not depend on the number of threads, and the log writes the same bytes each
//! time, because a simulated disk gives it randomness and time as well. A failure is shrunk, and
//! printed with a picture of what was durable, written and left, and with the name under which
//! [`Explorer::replay_recorded`] shows it again.
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

mod folder;

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
pub use folder::SimFolder;
pub use image::SECTOR_BYTES;
pub use model::Model;
pub use notes::Notes;
pub use oracle::{Found, Ledger, Violation};
pub use random::SimRng;
pub use report::Failure;
pub use state::{Damage, LastOp};
