//! This repository's log through io_uring, and as it is without, with one flush in flight and with
//! several: what the ring gains, and which way of using it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use wal::{Joining, ReplayRecord, Storage, UringOptions, UringStorage, Wal};

use crate::baseline;
use crate::ours::{self, ENTRY};
use crate::peer::{Entry, Failure, Load, Peer};

/// Flushes in flight in the rows that have several.
const SEVERAL: usize = 4;

/// Rows in pairs: the backend without the ring, and with it.
pub const ENTRIES: [Entry; 9] = [
    Entry {
        name: "wal-uring",
        options: "io_uring, durable writes",
        open: |dir, load| ring(dir, load, UringOptions::default(), 1),
        ..ENTRY
    },
    Entry {
        name: "wal-uring-plain",
        options: "as wal-uring, memory not registered",
        open: |dir, load| ring(dir, load, UringOptions::default().registered(false), 1),
        ..ENTRY
    },
    Entry {
        name: "wal-uring-linked",
        options: "as wal-uring, a write linked to an fdatasync",
        open: |dir, load| ring(dir, load, UringOptions::default().joining(Joining::Linked), 1),
        ..ENTRY
    },
    Entry {
        name: "wal-direct",
        options: "direct I/O",
        open: |dir, load| calls(dir, load, true, 1),
        ..ENTRY
    },
    Entry {
        name: "wal-uring-direct",
        options: "io_uring, direct I/O",
        open: |dir, load| ring(dir, load, UringOptions::default().direct(true), 1),
        ..ENTRY
    },
    Entry {
        name: "wal-4",
        options: "four flushes in flight",
        open: |dir, load| calls(dir, load, false, SEVERAL),
        ..ENTRY
    },
    Entry {
        name: "wal-uring-4",
        options: "io_uring, four flushes in flight",
        open: |dir, load| ring(dir, load, UringOptions::default(), SEVERAL),
        ..ENTRY
    },
    Entry {
        name: "wal-direct-4",
        options: "direct I/O, four flushes in flight",
        open: |dir, load| calls(dir, load, true, SEVERAL),
        ..ENTRY
    },
    Entry {
        name: "wal-uring-direct-4",
        options: "io_uring, direct I/O, four flushes in flight",
        open: |dir, load| ring(dir, load, UringOptions::default().direct(true), SEVERAL),
        ..ENTRY
    },
];

/// Why this system cannot be measured, if it cannot.
#[must_use]
pub fn refused() -> Option<String> {
    UringStorage::available().err().map(|error| error.to_string())
}

fn calls(dir: &Path, load: Load, direct: bool, flushes: usize) -> Result<Box<dyn Peer>, Failure> {
    let options = baseline::options().direct(direct).flushes_in_flight(flushes);
    let replay = |_: &ReplayRecord<'_>| Ok::<(), io::Error>(());
    ours::opened(Wal::open(dir.join("log"), options, replay)?, load)
}

fn ring(
    dir: &Path,
    load: Load,
    options: UringOptions,
    flushes: usize,
) -> Result<Box<dyn Peer>, Failure> {
    let storage: Arc<dyn Storage> = Arc::new(UringStorage::open_with(dir.join("log"), options)?);
    let options = baseline::options().flushes_in_flight(flushes);
    let replay = |_: &ReplayRecord<'_>| Ok::<(), io::Error>(());
    ours::opened(Wal::open_in(storage, options, replay)?, load)
}
