//! A storage which is sound but for one flaw, and a disk which is.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;
use wal_io::{Access, FileEntry, LogFile, Storage, StorageLock};
use wal_sim::SimDisk;
use wal_sim::contract::PowerCut;

/// What is wrong. Each is a mistake somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Nothing,
    CreateKeepsWhatWasThere,
    CreateReplaces,
    OpenCreates,
    ReadsAreStale,
    ReadsGoOnPastTheEnd,
    ReadsNeedAlignment,
    GapsHoldGarbage,
    OnlyTheFirstBufferIsWritten,
    WritesSpoilTheNextByte,
    EmptyWritesExtend,
    CutBytesComeBack,
    ReadHandlesWrite,
    BlocksAreClaimedButNotKept,
    ImpossibleWritesSucceed,
    WriteThroughHandlesCannotSync,
    EmptyFilesAreNotListed,
    RenameKeepsTheOldName,
    RenameDoesNotReplace,
    RenameToItselfRemoves,
    RemoveEmptiesTheFile,
    LockDoesNotExclude,
    LockIsListed,
    HoldsLockDoesNotExclude,
    HoldsLockIsTheLock,
    PlaceIsEmpty,
    ClosingOneHandleClosesAll,
    HandlesStayWithTheirThread,
    // What only a loss of power, or a failing device, shows.
    SyncDataDoesNothing,
    WriteThroughIsPlain,
    SyncDirDoesNothing,
    CutLeavesGarbage,
    CutInventsAFile,
    RenameInTwoSteps,
    FailedSyncsAreHidden,
    HandlesShareADescription,
    LockSurvivesTheCut,
}

/// A [`SimDisk`] with one flaw.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    disk: SimDisk,
    flaw: Flaw,
    shared: Arc<Shared>,
}

/// What the flawed handles of one storage have in common.
#[derive(Debug, Default)]
struct Shared {
    handles: Mutex<BTreeMap<String, Arc<dyn LogFile>>>,
    closed: AtomicBool,
    locked: AtomicBool,
}

#[derive(Debug)]
struct Guard;

impl StorageLock for Guard {}

impl Broken {
    pub(crate) fn new(flaw: Flaw) -> Self {
        Self { disk: SimDisk::new(), flaw, shared: Arc::default() }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn wrap(&self, file: Box<dyn LogFile>, name: &str, access: Access) -> Box<dyn LogFile> {
        let mut inner: Arc<dyn LogFile> = Arc::from(file);
        if self.is(Flaw::HandlesShareADescription) {
            let mut handles = self.shared.handles.lock();
            inner = Arc::clone(handles.entry(name.to_owned()).or_insert(inner));
        }
        let mut snapshot = vec![0; inner.len().unwrap() as usize];
        inner.read_at(&mut snapshot, 0).unwrap();
        Box::new(BrokenFile {
            inner,
            storage: self.clone(),
            access,
            opened_by: thread::current().id(),
            snapshot: Mutex::new(snapshot),
            cut_off: Mutex::new(Vec::new()),
        })
    }
}

impl Storage for Broken {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let mut entries = self.disk.list()?;
        if self.is(Flaw::EmptyFilesAreNotListed) {
            entries.retain(|entry| entry.len > 0);
        }
        Ok(entries)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        if self.is(Flaw::CreateReplaces) && self.disk.names().iter().any(|known| known == name) {
            let file = self.disk.open(name, Access::Write)?;
            file.set_len(0)?;
            file.set_len(len)?;
            return Ok(self.wrap(file, name, Access::Write));
        }
        let file = self.disk.create(name, len)?;
        if self.is(Flaw::CreateKeepsWhatWasThere) && len > 0 {
            file.write_at(&[IoSlice::new(b"x")], len - 1)?;
        }
        Ok(self.wrap(file, name, Access::Write))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        if self.is(Flaw::OpenCreates) && !self.disk.names().iter().any(|known| known == name) {
            self.disk.create(name, 0)?;
        }
        let granted = match access {
            Access::Read if self.is(Flaw::ReadHandlesWrite) => Access::Write,
            Access::WriteThrough if self.is(Flaw::WriteThroughIsPlain) => Access::Write,
            other => other,
        };
        Ok(self.wrap(self.disk.open(name, granted)?, name, access))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let known = |name| self.disk.names().iter().any(|known| known == name);
        match self.flaw {
            Flaw::RenameDoesNotReplace if known(from) && known(to) => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            Flaw::RenameToItselfRemoves if from == to => self.disk.remove(from),
            Flaw::RenameKeepsTheOldName if known(from) => {
                let bytes = self.disk.contents(from).unwrap_or_default();
                self.disk.rename(from, to)?;
                self.disk.create(from, 0)?.write_at(&[IoSlice::new(&bytes)], 0).map(drop)
            }
            Flaw::RenameInTwoSteps if known(from) => {
                let bytes = self.disk.contents(from).unwrap_or_default();
                if known(to) {
                    self.disk.remove(to)?;
                }
                let copy = self.disk.create(to, 0)?;
                copy.write_at(&[IoSlice::new(&bytes)], 0)?;
                copy.sync_all()?;
                self.disk.remove(from)
            }
            _ => self.disk.rename(from, to),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if self.is(Flaw::RemoveEmptiesTheFile) {
            self.disk.open(name, Access::Write)?.set_len(0)?;
        }
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        if self.is(Flaw::SyncDirDoesNothing) { Ok(()) } else { self.disk.sync_dir() }
    }

    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        match self.flaw {
            Flaw::LockDoesNotExclude => Ok(Box::new(Guard)),
            Flaw::LockIsListed => {
                self.disk.create("lock", 0)?;
                self.disk.lock()
            }
            Flaw::LockSurvivesTheCut => {
                if self.shared.locked.swap(true, Ordering::Relaxed) {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(Box::new(Guard))
            }
            _ => self.disk.lock(),
        }
    }

    fn lock_holds(&self) -> io::Result<Box<dyn StorageLock>> {
        match self.flaw {
            Flaw::HoldsLockDoesNotExclude => Ok(Box::new(Guard)),
            Flaw::HoldsLockIsTheLock => self.disk.lock(),
            _ => self.disk.lock_holds(),
        }
    }

    fn place(&self) -> String {
        if self.is(Flaw::PlaceIsEmpty) { String::new() } else { self.disk.place() }
    }
}

#[derive(Debug)]
struct BrokenFile {
    inner: Arc<dyn LogFile>,
    storage: Broken,
    access: Access,
    opened_by: ThreadId,
    /// The bytes as they were when this handle was opened, with its own writes.
    snapshot: Mutex<Vec<u8>>,
    /// What the last cut took away.
    cut_off: Mutex<Vec<u8>>,
}

impl BrokenFile {
    fn is(&self, flaw: Flaw) -> bool {
        self.storage.is(flaw)
    }

    fn usable(&self) -> io::Result<()> {
        let closed = self.storage.shared.closed.load(Ordering::Relaxed);
        if self.is(Flaw::ClosingOneHandleClosesAll) && closed {
            return Err(io::Error::other("closed together with another handle"));
        }
        if self.is(Flaw::HandlesStayWithTheirThread) && thread::current().id() != self.opened_by {
            return Err(io::Error::other("opened by another thread"));
        }
        Ok(())
    }

    fn sync(&self, sync: impl Fn(&dyn LogFile) -> io::Result<()>) -> io::Result<()> {
        if self.is(Flaw::WriteThroughHandlesCannotSync) && self.access == Access::WriteThrough {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let result = sync(&*self.inner);
        if self.is(Flaw::FailedSyncsAreHidden) { Ok(()) } else { result }
    }
}

impl Drop for BrokenFile {
    fn drop(&mut self) {
        self.storage.shared.closed.store(true, Ordering::Relaxed);
    }
}

impl LogFile for BrokenFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.usable()?;
        match self.storage.flaw {
            Flaw::ReadsAreStale => {
                let snapshot = self.snapshot.lock();
                let rest = snapshot.get(offset as usize..).unwrap_or_default();
                let count = rest.len().min(buf.len());
                buf[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
            Flaw::ReadsGoOnPastTheEnd => {
                buf.fill(0);
                self.inner.read_at(buf, offset)?;
                Ok(buf.len())
            }
            Flaw::ReadsNeedAlignment if !offset.is_multiple_of(512) => {
                Err(io::ErrorKind::InvalidInput.into())
            }
            _ => self.inner.read_at(buf, offset),
        }
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.usable()?;
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let len = self.inner.len()?;
        let end = offset.checked_add(bytes.len() as u64);
        match self.storage.flaw {
            Flaw::ImpossibleWritesSucceed if end.is_none() => return Ok(bytes.len()),
            Flaw::OnlyTheFirstBufferIsWritten if bufs.len() > 1 => {
                self.inner.write_at(&[IoSlice::new(&vec![0; bytes.len()])], offset)?;
                self.inner.write_at(&bufs[..1], offset)?;
                return Ok(bytes.len());
            }
            Flaw::GapsHoldGarbage if offset > len && !bytes.is_empty() && end.is_some() => {
                self.inner.write_at(&[IoSlice::new(b"x")], offset - 1)?;
            }
            Flaw::EmptyWritesExtend if bytes.is_empty() && offset > len => {
                self.inner.set_len(offset)?;
            }
            Flaw::WritesSpoilTheNextByte if end.is_some_and(|end| end < len) => {
                self.inner.write_at(&[IoSlice::new(&[0])], offset + bytes.len() as u64)?;
            }
            _ => {}
        }
        let written = self.inner.write_at(&[IoSlice::new(&bytes)], offset)?;
        let mut snapshot = self.snapshot.lock();
        let end = offset as usize + written;
        if snapshot.len() < end {
            snapshot.resize(end, 0);
        }
        snapshot[offset as usize..end].copy_from_slice(&bytes[..written]);
        Ok(written)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.is(Flaw::SyncDataDoesNothing) {
            return Ok(());
        }
        self.usable()?;
        self.sync(|file| file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.usable()?;
        self.sync(|file| file.sync_all())
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if !self.is(Flaw::CutBytesComeBack) {
            return self.inner.set_len(len);
        }
        let mut cut_off = self.cut_off.lock();
        let before = self.inner.len()?;
        if len < before {
            cut_off.resize((before - len) as usize, 0);
            self.inner.read_at(&mut cut_off, len)?;
            return self.inner.set_len(len);
        }
        self.inner.set_len(len)?;
        let back = cut_off.len().min((len - before) as usize);
        self.inner.write_at(&[IoSlice::new(&cut_off[..back])], before).map(drop)
    }

    fn block_bytes(&self) -> usize {
        if self.is(Flaw::BlocksAreClaimedButNotKept) { 4096 } else { self.inner.block_bytes() }
    }
}

impl PowerCut for Broken {
    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    fn cut(&self, seed: u64) -> Arc<dyn Storage> {
        // The sound disk's own way to cut, so that only the flaw makes a difference.
        let mode = match seed {
            0 => wal_sim::CrashMode::LoseAll,
            1 => wal_sim::CrashMode::KeepAll,
            seed => wal_sim::CrashMode::Random(seed),
        };
        let disk = self.disk.crash(mode);
        match self.flaw {
            Flaw::CutInventsAFile => disk.put_file("found.000", b"x"),
            Flaw::CutLeavesGarbage => {
                for name in disk.names() {
                    // A file without bytes has none to spoil.
                    let _ = disk.overwrite(&name, 600, &[0]);
                }
            }
            _ => {}
        }
        let shared = match self.flaw {
            Flaw::LockSurvivesTheCut => Arc::clone(&self.shared),
            _ => Arc::default(),
        };
        Arc::new(Self { disk, flaw: self.flaw, shared })
    }

    fn fail_next_sync(&self) -> bool {
        self.disk.fail_next_sync()
    }
}
