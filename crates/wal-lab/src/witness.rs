//! A storage that remembers what was read through it.
//!
//! Two crash states are distinct only if they differ in bytes that recovery reads. The witness
//! folds all that is listed, opened and read into one number: equal numbers, equal recoveries.
//! It also hides the note in which a check keeps what earlier checks were promised.

use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;
use wal::{Access, FileEntry, LogFile, Storage, StorageLock};
use wal_sim::SimDisk;

/// The file of a check's own; no log ever sees it.
pub const NOTE: &str = "lab-note";

/// A [`SimDisk`] with a memory for what was read.
#[derive(Clone, Debug)]
pub struct Witness {
    disk: SimDisk,
    seen: Arc<Mutex<u64>>,
    /// Calls so far in which another thread may go on.
    #[cfg(shuttle)]
    calls: Arc<Mutex<u64>>,
}

impl Witness {
    /// A witness of `disk` which has seen nothing.
    #[must_use]
    pub fn new(disk: &SimDisk) -> Self {
        Self {
            disk: disk.clone(),
            seen: Arc::default(),
            #[cfg(shuttle)]
            calls: Arc::default(),
        }
    }

    /// A number for everything read so far, in order.
    #[must_use]
    pub fn seen(&self) -> u64 {
        *self.seen.lock()
    }

    /// For how many turns of the others the next call of the device lasts.
    #[cfg(shuttle)]
    fn turns(&self) -> u64 {
        let mut calls = self.calls.lock();
        *calls += 1;
        if fold(1, *calls).is_multiple_of(4) { 24 } else { 1 }
    }

    fn note(&self, bytes: &[u8]) {
        let mut seen = self.seen.lock();
        *seen = fold_bytes(*seen, bytes);
    }
}

fn fold(hash: u64, value: u64) -> u64 {
    let mixed = (hash.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

fn fold_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words
        .iter()
        .fold(fold(hash, bytes.len() as u64), |hash, word| fold(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| fold(hash, u64::from(*byte)))
}

impl Storage for Witness {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let mut files = self.disk.list()?;
        files.retain(|file| file.name != NOTE);
        for file in &files {
            self.note(file.name.as_bytes());
            self.note(&file.len.to_le_bytes());
        }
        Ok(files)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(File {
            file: self.disk.create(name, len)?,
            witness: self.clone(),
            live: false,
        }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        self.note(name.as_bytes());
        let live = name.ends_with(".wal");
        Ok(Box::new(File { file: self.disk.open(name, access)?, witness: self.clone(), live }))
    }

    fn overwrites_in_place(&self) -> bool {
        self.disk.overwrites_in_place()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        self.disk.lock()
    }

    fn lock_holds(&self) -> io::Result<Box<dyn StorageLock>> {
        self.disk.lock_holds()
    }

    fn place(&self) -> String {
        self.disk.place()
    }

    fn entropy(&self, buf: &mut [u8]) -> io::Result<()> {
        self.disk.entropy(buf)
    }

    fn unix_us(&self) -> u64 {
        self.disk.unix_us()
    }
}

#[derive(Debug)]
struct File {
    file: Box<dyn LogFile>,
    witness: Witness,
    /// A segment in use: written and synced by the commit path, which holds no lock meanwhile.
    live: bool,
}

impl File {
    /// Lets other threads go on here, when threads are scheduled. Some calls take so long that
    /// others begin and end meanwhile.
    fn pause(&self) {
        #[cfg(shuttle)]
        if self.live {
            for _ in 0..self.witness.turns() {
                shuttle::thread::yield_now();
            }
        }
        let _ = self.live;
    }
}

impl LogFile for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.file.read_at(buf, offset)?;
        self.witness.note(buf.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.pause();
        self.file.write_at(bufs, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.pause();
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn block_bytes(&self) -> usize {
        self.file.block_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_counts() {
        let disk = SimDisk::new();
        disk.put_file("log", &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let look = |disk: &SimDisk| {
            let witness = Witness::new(disk);
            let file = witness.open("log", Access::Read).unwrap();
            file.read_at(&mut [0; 4], 0).unwrap();
            witness.seen()
        };
        let before = look(&disk);
        disk.overwrite("log", 8, &[0]).unwrap();
        assert_eq!(look(&disk), before, "the ninth byte was not read");
        disk.overwrite("log", 3, &[0]).unwrap();
        assert_ne!(look(&disk), before);
    }

    #[test]
    fn the_note_is_not_seen() {
        let disk = SimDisk::new();
        disk.put_file(NOTE, &[1]);
        assert!(Witness::new(&disk).list().unwrap().is_empty());
    }
}
