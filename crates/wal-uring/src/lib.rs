//! A place to keep a log in that writes a flush and makes it durable in one submission to
//! io_uring. Linux only: elsewhere this crate is empty.
//!
//! [`UringStorage`] stands on a backend of `wal-io` and does everything through it but one thing,
//! [`write_durable_at`](wal_io::LogFile::write_durable_at). It is a backend like any other: a log
//! written through it is read by all of them, and the other way round.
//!
//! Where the kernel refuses io_uring, opening fails with [`UringError::Unavailable`]; what is used
//! instead is the caller's decision:
//!
//! ```
//! use std::sync::Arc;
//! use wal_io::{Storage, backend::FileStorage};
//! use wal_uring::{UringError, UringStorage};
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path();
//! let storage: Arc<dyn Storage> = match UringStorage::open(path) {
//!     Ok(storage) => Arc::new(storage),
//!     Err(UringError::Unavailable { .. }) => Arc::new(FileStorage::open(path)?),
//!     Err(error) => return Err(error.into()),
//! };
//! # drop(storage);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `unsafe` is in `ring` alone, where each use is argued.
//!
//! The modules below are in reading order: each uses only those above it.
#![cfg(target_os = "linux")]

mod error;
mod options;
mod kernel;
mod ring;
mod lanes;
mod file;
mod storage;

pub use error::UringError;
pub use options::{Joining, UringOptions};
pub use storage::{UringCounts, UringStorage};
