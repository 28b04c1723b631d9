//! The bank: a workload whose books say by themselves whether recovery lost or invented anything.
//!
//! Transfers between accounts, in transactions short and long, with savepoints, voluntary aborts,
//! two-phase commits and fuzzy checkpoints, on pages in a pool that steals. Whatever crash, money
//! is conserved and each account matches its own journal; and the books are those that were
//! promised.
//!
//! The crash lab cuts the power at every operation of a bank and of its restarts (`lab`); real
//! processes are killed on real files (`kill`). The program `wal-bank` runs both.
//!
//! The modules below are in reading order: each uses only those above it.

mod error;
mod story;
mod engine;
mod records;
mod page;
mod pool;
mod vault;
mod paged;
mod treed;
mod teller;
mod figures;
mod check;
mod lab;
mod kill;

pub use engine::{Engine, Restart, Shape, Tally};
pub use error::BankError;
pub use figures::Figures;
pub use kill::{Killed, Kills, SHAPE as KILL_SHAPE, restart_only, work_until_killed};
pub use lab::{Broken, Case, Effort, FLAVOURS, Flavour};
pub use paged::PagedBank;
pub use story::{Account, Books, Doubt, Effect, Event, Ledger, PAID_IN, Serial, Story};
pub use teller::Teller;
pub use treed::TreeBank;

pub use wal_sim::Seen;
