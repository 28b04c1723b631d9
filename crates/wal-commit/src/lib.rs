//! Ordering, group commit and durability: who waits for whom.
//!
//! Appends get addresses and encode into a buffer under one short lock. A committer whose record
//! is not durable takes everything pending and flushes it for all (greedy natural batching); one
//! of those who came meanwhile does the next flush. A lone committer needs one write, one sync,
//! and nobody else. A failed write or sync poisons the log: it is never retried, and nothing is
//! promised any more.
//!
//! This crate knows addresses, not files: it writes through [`wal_io::LogSink`] and has segments
//! made ready by a [`wal_io::Preparer`]. What a crash left behind is not its business.
//!
//! ```text
//! durable <= written <= reserved          exclusive ends; each only grows
//! ```
//!
//! The modules below are in reading order: each uses only those above it. The decisions are pure
//! and tested alone: where records go (`reserve`), who leads (`group`), what an idle log should
//! do (`idle`). `tests/model.rs` runs small logs through every interleaving.
//! `docs/design/0003-group-commit.md` says why it is built this way.

mod sync;
mod state_lock;
mod poison;
mod error;
mod config;
mod metrics;
mod watermark;
mod meters;
mod reserve;
mod timestamps;
mod checksum;
mod buffer;
mod runway;
mod offer;
mod group;
mod tuner;
mod square_root;
mod gathering;
mod signal;
mod gate;
mod linger;
mod wake;
mod padding;
mod earmark;
mod limits;
mod clearance;
mod shared;
mod flush_padding;
mod settle;
mod slots;
mod waiting;
mod segments;
mod promise;
mod gather;
mod driver;
mod place;
mod append;
mod bulk;
mod oversized;
mod close;
mod idle;
mod futures;
mod ticket;
mod helper;
mod log;

pub use config::{CommitConfig, Durability, Start, SyncPolicy, Threads};
pub use error::{CommitError, Fate};
pub use futures::{Beyond, Reach, Room};
pub use log::GroupCommit;
#[cfg(feature = "metrics")]
pub use meters::{METERS, Meter, MeterKind};
pub use metrics::CommitStats;
pub use poison::{PoisonCause, PoisonKind};
pub use ticket::Ticket;
pub use timestamps::Timestamps;
pub use watermark::Positions;
