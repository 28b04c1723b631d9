//! The contract suite on every backend there is: memory, a directory through the page cache and
//! past it, and the simulated disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use wal_io::Storage;
use wal_io::backend::FileStorage;
use wal_sim::SimDisk;
use wal_sim::contract;

/// A closure which names directories, new each time, in a temporary one that is gone with it.
fn directories(root: TempDir) -> impl Fn() -> PathBuf {
    let made = Cell::new(0);
    move || {
        made.set(made.get() + 1);
        root.path().join(made.get().to_string())
    }
}

mod memory {
    use std::sync::Arc;
    use wal_io::backend::MemoryStorage;

    wal_sim::contract_tests!(|| Arc::new(MemoryStorage::new()));
}

mod buffered {
    use std::sync::Arc;
    use wal_io::backend::FileStorage;

    wal_sim::contract_tests!({
        let directory = super::directories(tempfile::tempdir().unwrap());
        move || Arc::new(FileStorage::open(directory()).unwrap())
    });
}

mod simulated {
    use std::sync::Arc;
    use wal_sim::SimDisk;

    wal_sim::contract_tests!(|| Arc::new(SimDisk::new()));
}

mod simulated_in_blocks {
    use std::sync::Arc;
    use wal_sim::SimDisk;

    wal_sim::contract_tests!(|| Arc::new(SimDisk::with_block_bytes(4096)));
}

#[test]
#[cfg(target_os = "linux")]
fn direct_storage_keeps_the_contract() {
    use wal_io::backend::DirectStorage;
    let directory = directories(tempfile::tempdir().unwrap());
    // Only a refusal of direct I/O may skip the suite, not an error of any other kind.
    match DirectStorage::open(directory()) {
        Ok(_) => {}
        Err(error) if error.to_string().contains("refuses direct I/O") => {
            eprintln!("SKIPPED, nothing was checked: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    }
    if let Err(broken) = contract::run(|| Arc::new(DirectStorage::open(directory()).unwrap())) {
        panic!("{broken}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn buffered_storage_keeps_the_contract_on_a_file_system_in_memory() {
    let Ok(root) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("SKIPPED, nothing was checked: this machine has no /dev/shm");
        return;
    };
    let directory = directories(root);
    let make = || -> Arc<dyn Storage> { Arc::new(FileStorage::open(directory()).unwrap()) };
    if let Err(broken) = contract::run(make) {
        panic!("{broken}");
    }
}

#[test]
fn the_simulated_disk_keeps_the_contract_through_power_cuts() {
    for block_bytes in [1, 512, 4096] {
        let make = || SimDisk::with_block_bytes(block_bytes);
        if let Err(broken) = contract::run_with_power_cuts(make) {
            panic!("blocks of {block_bytes}: {broken}");
        }
    }
}
