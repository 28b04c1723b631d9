//! The crash lab: the whole log on the simulated disk, cut, recovered and judged by the million.
//!
//! A [`Case`] is a workload of the catalogue in `profile` with a seed. Its exploration cuts the
//! power at every operation, recovers what may be left, asks the oracle in `story`, and cuts again
//! inside the recovery. A [`Campaign`] is many cases on all cores. The program `wal-lab` runs
//! them; `cargo xtask sim` and `cargo xtask mutants` run the program.
//!
//! Knows the log through its public calls only. Test code: it stops at nothing but a broken
//! promise, and is published nowhere.
//!
//! The modules below are in reading order: each uses only those above it.

pub mod body;
pub mod action;
pub mod engine;
pub mod reading;
pub mod look;
pub mod story;
pub mod witness;
pub mod profile;
pub mod run;
pub mod figures;
pub mod check;
pub mod decay;
pub mod threads;
pub mod case;
pub mod campaign;

pub use campaign::{Campaign, Outcome};
pub use case::{Broken, Case, Effort};
pub use figures::Figures;
pub use profile::{PROFILES, Profile};
