//! Directories of one simulated disk: several storages that share its power, its space, its syncs'
//! chance and nothing else.
//!
//! A file of the directory `orders` is the file `orders/NAME` of the disk. A directory is synced by
//! itself: that of its neighbours' names proves nothing of its own. Directories are there without
//! being made. Everything else is the disk's: one power cut, one plan of faults, one order of
//! operations, so that an exploration of the disk cuts between any two steps of any two of them.

use std::io;

use wal_io::{Access, FileEntry, LogFile, Storage, StorageLock};

use crate::directory::Within;
use crate::disk::SimDisk;

/// One directory of a [`SimDisk`], as a storage of its own.
///
/// ```
/// use wal_io::Storage;
/// use wal_sim::{CrashMode, SimDisk};
///
/// let disk = SimDisk::new();
/// let (root, orders) = (disk.root(), disk.folder("orders"));
/// orders.create("a", 0)?;
/// assert!(root.list()?.is_empty());
/// root.sync_dir()?; // Of the root's own names only.
/// assert!(disk.crash(CrashMode::LoseAll).names().is_empty());
/// orders.sync_dir()?;
/// assert_eq!(disk.crash(CrashMode::LoseAll).names(), ["orders/a"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SimFolder {
    disk: SimDisk,
    /// What the names of its files begin with.
    prefix: String,
}

impl SimDisk {
    /// The directory `name` of this disk: a plain name without `/`.
    #[must_use]
    pub fn folder(&self, name: &str) -> SimFolder {
        SimFolder { disk: self.clone(), prefix: format!("{name}/") }
    }

    /// The root directory of this disk: its files that lie in no [`folder`](Self::folder).
    #[must_use]
    pub fn root(&self) -> SimFolder {
        SimFolder { disk: self.clone(), prefix: String::new() }
    }
}

impl SimFolder {
    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn within(&self) -> Within {
        Some(self.prefix.as_str().into())
    }

    fn take(&self, lock: &str) -> io::Result<Box<dyn StorageLock>> {
        let name = self.full(lock);
        self.disk.ask(|state| {
            state.check_power()?;
            let free = state.locked_in.insert(name.clone());
            if free { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        })?;
        Ok(Box::new(FolderLock { disk: self.disk.clone(), name }))
    }
}

/// Held until it is dropped, or until the disk is another one.
#[derive(Debug)]
struct FolderLock {
    disk: SimDisk,
    name: String,
}

impl StorageLock for FolderLock {}

impl Drop for FolderLock {
    fn drop(&mut self) {
        self.disk.state.lock().locked_in.remove(&self.name);
    }
}

impl Storage for SimFolder {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let files = self.disk.ask(|state| state.list(&self.within()))?;
        let own = |(name, len): (String, u64)| {
            let name = name.strip_prefix(&self.prefix)?.to_owned();
            Some(FileEntry { name, len })
        };
        Ok(files.into_iter().filter_map(own).collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        self.disk.create(&self.full(name), len)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        self.disk.open(&self.full(name), access)
    }

    fn overwrites_in_place(&self) -> bool {
        self.disk.overwrites_in_place()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.full(from), &self.full(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(&self.full(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let within = self.within();
        self.disk.step(|state| state.sync_dir(&within))
    }

    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        self.take("lock")
    }

    fn lock_holds(&self) -> io::Result<Box<dyn StorageLock>> {
        self.take("holds.lock")
    }

    fn place(&self) -> String {
        match self.prefix.trim_end_matches('/') {
            "" => format!("{}, its root", self.disk.place()),
            name => format!("{}, {name}", self.disk.place()),
        }
    }

    fn entropy(&self, buf: &mut [u8]) -> io::Result<()> {
        self.disk.entropy(buf)
    }

    fn unix_us(&self) -> u64 {
        self.disk.unix_us()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::CrashMode;
    use crate::fault_kind::Call;
    use crate::faults::Faults;

    #[test]
    fn a_directory_keeps_the_contract_of_a_storage() {
        let kept = crate::contract::run(|| {
            let disk = SimDisk::new();
            // Neighbours, whose files are not its own.
            disk.root().create("neighbour", 8).unwrap();
            disk.folder("other").create("neighbour", 8).unwrap();
            std::sync::Arc::new(disk.folder("own"))
        });
        assert_eq!(kept, Ok(()));
    }

    #[test]
    fn a_failed_sync_of_one_directory_loses_nothing_of_another() {
        let disk = SimDisk::new();
        let (one, two) = (disk.folder("one"), disk.folder("two"));
        one.create("a", 0).unwrap();
        two.create("b", 0).unwrap();
        disk.set_faults(Faults::new().fail(Call::SyncDir, 1));
        one.sync_dir().unwrap_err();
        assert_eq!(disk.last_op().unwrap().name, "one/");
        // What the failed sync covered is lost for ever; what it did not cover is not.
        one.sync_dir().unwrap();
        two.sync_dir().unwrap();
        assert_eq!(disk.crash(CrashMode::LoseAll).names(), ["two/b"]);
    }

    #[test]
    fn locks_of_directories_exclude_for_themselves() {
        let disk = SimDisk::new();
        let held = disk.folder("one").lock().unwrap();
        assert!(disk.folder("one").lock().is_err());
        assert!(disk.folder("one").lock_holds().is_ok());
        assert!(disk.folder("two").lock().is_ok() && disk.root().lock().is_ok());
        drop(held);
        assert!(disk.folder("one").lock().is_ok());
    }
}
