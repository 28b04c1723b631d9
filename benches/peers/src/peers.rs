//! How each log is opened and committed to: one file a library, all to the same trait.
//!
//! Each is a feature of this package, so that one can be built without the others.

#[cfg(feature = "aegis")]
mod aegis;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "logdb")]
mod logdb;
#[cfg(feature = "motedb")]
mod motedb;
#[cfg(feature = "okaywal")]
mod okaywal;
#[cfg(feature = "raft-engine")]
mod raft_engine;
#[cfg(feature = "reasonkit")]
mod reasonkit;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sochdb")]
mod sochdb;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "wal-db")]
mod wal_db;

use wal_bench::{
    BARE, BARE_APPENDS, BARE_TWO, Entry, OUR_READINGS, OURS, OURS_IN_BATCHES, OURS_IN_TASKS,
    OURS_NEW,
};

/// The libraries which this program was built with.
const LIBRARIES: &[Entry] = &[
    #[cfg(feature = "rocksdb")]
    rocksdb::ENTRY,
    #[cfg(feature = "raft-engine")]
    raft_engine::ENTRY,
    #[cfg(feature = "okaywal")]
    okaywal::ENTRY,
    #[cfg(feature = "logdb")]
    logdb::ENTRY,
    #[cfg(feature = "wal-db")]
    wal_db::ENTRY,
    #[cfg(feature = "fjall")]
    fjall::ENTRY,
    #[cfg(feature = "sqlite")]
    sqlite::ENTRY,
    #[cfg(feature = "sochdb")]
    sochdb::ENTRY,
    #[cfg(feature = "aegis")]
    aegis::ENTRY,
    #[cfg(feature = "reasonkit")]
    reasonkit::ENTRY,
    #[cfg(feature = "motedb")]
    motedb::ENTRY,
    #[cfg(feature = "motedb")]
    motedb::RECOMMENDED,
];

/// Those which the aims of this repository are held against; the best changes with the threads.
pub const RIVALS: [&str; 4] = ["rocksdb", "raft-engine", "okaywal", "logdb"];

/// What commits are measured of: the bare device first, then this repository's log.
pub fn commits() -> Vec<Entry> {
    [&[BARE, BARE_TWO, OURS, OURS_IN_TASKS, OURS_NEW], LIBRARIES].concat()
}

/// What appends are measured of: the same, what each part of an append costs bare, and ours appended
/// to in two ways and read in three.
pub fn appends() -> Vec<Entry> {
    [&BARE_APPENDS[..], &[OURS, OURS_IN_BATCHES], &OUR_READINGS, LIBRARIES].concat()
}
