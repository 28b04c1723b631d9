//! Independent write-ahead logs under one root, opened and recovered by one call, with batches
//! across them that a crash leaves whole or not at all.
//!
//! [`Partitions`] is the set, [`Partition`] one log of it, [`AcrossTicket`] a batch on its way.
//! Which key goes to which partition is the engine's choice.
//!
//! ```
//! use std::io;
//! use wal::{MemoryStorage, Options, Storage};
//! use wal_partitions::Opener;
//! # use std::sync::Arc;
//! # let storages: Vec<Arc<dyn Storage>> =
//! #     (0..3).map(|_| Arc::new(MemoryStorage::new()) as Arc<dyn Storage>).collect();
//!
//! let opener = Opener::new(Options::default());
//! let partitions = opener.open(&storages, 2, |partition, record| {
//!     println!("{partition}: {:?}", record.body);
//!     Ok::<(), io::Error>(())
//! })?;
//! let debit = b"account 7: -30".as_slice();
//! let credit = b"account 12: +30".as_slice();
//! partitions.append_across(&[(0, &[debit]), (1, &[credit])])?.wait_durable()?;
//! partitions.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The protocol, and why it is right wherever a crash falls, is in `docs/design/0008-partitions.md`;
//! its cost is one round of syncs, made at the same time, for the batch, and a record of 64 bytes for
//! each participant behind it.
//!
//! The modules below are in reading order: each uses only those above it.

mod id;
mod body;
mod error;
mod manifest;
mod layout;
mod place;
mod inspect;
mod resolve;
mod filter;
mod member;
mod across;
mod shared;
mod ticket;
mod checkpoint;
mod reader;
mod partitions;
mod open;

pub use across::AcrossStats;
pub use checkpoint::Checkpoint;
pub use error::Error;
pub use id::{BatchId, NOTE_KIND, Outcome, PART_KIND, PARTITIONS_MAX};
pub use layout::Layout;
pub use open::Opener;
pub use partitions::{Partition, Partitions, PartitionsStats};
pub use place::{Directories, Places};
pub use reader::{Reader, Tail};
pub use ticket::AcrossTicket;
