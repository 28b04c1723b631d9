//! A log-structured engine on `wal`: the example to read for engines that recover by redo alone.
//!
//! Changes go to the log, then into a table in memory. A checkpoint writes that table to a file,
//! sorted and never changed again, and names the files that hold the data; the log before it can
//! then go. Opening takes the files named last, and replays what committed since.
//!
//! ```text
//!  put ──► log ──► memtable ──checkpoint──► 00000007.table     newest first
//!                     │                     00000004.table
//!  get ◄──────────────┴─────────────────────────┘
//! ```
//!
//! Why redo alone is enough: nothing reaches a file before it is committed (no-steal), and a file
//! is made durable before a checkpoint names it. The engine lives in the directory of its log; one
//! thread writes. Every block of a file carries a checksum that knows where it belongs.
//!
//! ```
//! use std::sync::Arc;
//! use wal_lsm::{Lsm, LsmOptions};
//!
//! let storage = Arc::new(wal::MemoryStorage::new());
//! let mut fruit = Lsm::open_in(storage.clone(), LsmOptions::default())?;
//! fruit.put(b"apple", b"green")?;
//! fruit.checkpoint()?;
//! let mut txn = fruit.begin();
//! txn.put(b"pear", b"yellow")?;
//! txn.delete(b"apple")?;
//! fruit.commit(txn)?;
//! fruit.close()?;
//!
//! let fruit = Lsm::open_in(storage, LsmOptions::default())?;
//! assert_eq!(fruit.get(b"pear")?.as_deref(), Some(&b"yellow"[..]));
//! assert_eq!(fruit.get(b"apple")?, None);
//! # Ok::<(), wal_lsm::LsmError>(())
//! ```
//!
//! The modules below are in reading order: each uses only those above it.

mod error;
mod entry;
mod block;
mod table;
mod merge;
mod manifest;
mod recovered;
mod transaction;
mod engine;

pub use engine::{Lsm, LsmOptions};
pub use entry::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use error::LsmError;
pub use recovered::Recovered;
pub use transaction::LsmTransaction;
