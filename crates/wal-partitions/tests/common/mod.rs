//! Several simulated disks that lose power together: one for the root, one for each partition.
//!
//! The disks are independent: what survives of one says nothing of another. A cut falls into one
//! operation of one disk; every other disk is off from then on.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

use wal::{Access, FileEntry, LogFile, Options, Storage, StorageLock, Threads};
use wal_partitions::Opener;
use wal_sim::{CrashMode, SimDisk, SimRng};

/// Small segments and no thread: quick, and the same on every run.
pub fn options() -> Options {
    Options::default()
        .segment_bytes(64 << 10)
        .buffer_bytes(16 << 10)
        .threads(Threads::None)
        .lock_wait(std::time::Duration::ZERO)
}

pub fn opener() -> Opener {
    Opener::new(options())
}

/// The disks of a root: its own first.
#[derive(Clone, Debug)]
pub struct Rig {
    pub disks: Vec<SimDisk>,
}

/// One operation: the disk, and its number there.
pub type Op = (usize, u64);

/// Operations, in their order.
pub type Ops = Arc<Mutex<Vec<Op>>>;

impl Rig {
    pub fn new(partitions: usize) -> Self {
        let disk = |index: usize| {
            let disk = SimDisk::new();
            // Equal disks draw equal identities: each draws another number of times before.
            (0..index).for_each(|_| disk.entropy(&mut [0; 16]).unwrap());
            disk
        };
        Self { disks: (0..=partitions).map(disk).collect() }
    }

    /// The storages, and the operations made through them, in order.
    pub fn storages(&self) -> (Vec<Arc<dyn Storage>>, Ops) {
        let ops = Ops::default();
        let all: Arc<Vec<SimDisk>> = Arc::new(self.disks.clone());
        let wired = |own| Wired { own, all: Arc::clone(&all), ops: Arc::clone(&ops) };
        let storages = (0..self.disks.len()).map(|own| Arc::new(wired(own)) as Arc<dyn Storage>);
        (storages.collect(), ops)
    }

    pub fn power_cut_at(&self, (disk, op): Op) {
        self.disks[disk].power_cut_at(op);
    }

    pub fn is_off(&self) -> bool {
        self.disks.iter().any(SimDisk::is_off)
    }

    /// What a power cut leaves of each disk, by itself.
    pub fn crash(&self, modes: &[CrashMode]) -> Self {
        let disks = self.disks.iter().zip(modes).map(|(disk, mode)| disk.crash(*mode)).collect();
        Self { disks }
    }

    pub fn crash_all(&self, mode: CrashMode) -> Self {
        self.crash(&vec![mode; self.disks.len()])
    }

    /// The extremes first, then one disk for itself, then anything.
    pub fn crash_number(&self, number: usize, rng: &mut SimRng) -> Self {
        let modes: Vec<CrashMode> = (0..self.disks.len())
            .map(|disk| match number {
                0 => CrashMode::LoseAll,
                1 => CrashMode::KeepAll,
                2 if disk % 2 == 0 => CrashMode::LoseAll,
                2 => CrashMode::KeepAll,
                _ => match rng.below(4) {
                    0 => CrashMode::LoseAll,
                    1 => CrashMode::KeepAll,
                    2 => CrashMode::Random(rng.next_u64()),
                    _ => CrashMode::Torn(rng.next_u64()),
                },
            })
            .collect();
        self.crash(&modes)
    }

    /// The death of the process: what was written is there.
    pub fn fork(&self) -> Self {
        Self { disks: self.disks.iter().map(SimDisk::fork).collect() }
    }
}

/// A disk that goes off with the others.
#[derive(Clone, Debug)]
struct Wired {
    own: usize,
    all: Arc<Vec<SimDisk>>,
    ops: Ops,
}

impl Wired {
    fn call<T>(&self, call: impl FnOnce(&SimDisk) -> io::Result<T>) -> io::Result<T> {
        let disk = &self.all[self.own];
        if self.all.iter().any(SimDisk::is_off) {
            disk.power_off();
        }
        let before = disk.ops();
        let result = call(disk);
        if disk.ops() > before {
            self.ops.lock().unwrap().push((self.own, disk.ops()));
        }
        result
    }

    fn file(&self, file: Box<dyn LogFile>) -> Box<dyn LogFile> {
        Box::new(WiredFile { wire: self.clone(), file })
    }
}

impl Storage for Wired {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.call(|disk| disk.list())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        self.call(|disk| disk.create(name, len)).map(|file| self.file(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        self.call(|disk| disk.open(name, access)).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(|disk| disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(|disk| disk.remove(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.call(|disk| disk.sync_dir())
    }

    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        self.call(|disk| disk.lock())
    }

    fn place(&self) -> String {
        format!("disk {}", self.own)
    }

    fn entropy(&self, buf: &mut [u8]) -> io::Result<()> {
        self.all[self.own].entropy(buf)
    }

    fn unix_us(&self) -> u64 {
        self.all[self.own].unix_us()
    }
}

#[derive(Debug)]
struct WiredFile {
    wire: Wired,
    file: Box<dyn LogFile>,
}

impl LogFile for WiredFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.wire.call(|_| self.file.read_at(buf, offset))
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.wire.call(|_| self.file.write_at(bufs, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.wire.call(|_| self.file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.wire.call(|_| self.file.sync_all())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.wire.call(|_| self.file.set_len(len))
    }

    fn block_bytes(&self) -> usize {
        self.file.block_bytes()
    }
}
