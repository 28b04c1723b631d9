//! The whole disk as one value: every call is a step of it, a copy of it is another disk.
//!
//! Leaves locks, handles as objects and the traits to `disk`. Steps are numbered: each call that
//! changes anything is one operation. When the power is cut during an operation, what it was to do
//! is done in the cache, where it may or may not survive, and the caller is told that the power
//! is off. A cut during operation n therefore allows all that a cut between n - 1 and n allows.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use wal_io::Access;

use crate::choice::Chooser;
use crate::directory::{Directory, Ino};
use crate::faults::{Call, Effect, Faults, SimError};
use crate::image::Image;
use crate::inode::Inode;
use crate::random::{SimRng, fold, fold_bytes};

/// When simulated time begins: the first of January 2025.
const EPOCH_US: u64 = 1_735_689_600_000_000;

/// The number of an open file.
pub(crate) type HandleId = u64;

/// Everything a disk is.
#[derive(Clone, Debug)]
pub(crate) struct State {
    dir: Directory,
    inodes: BTreeMap<Ino, Inode>,
    handles: BTreeMap<HandleId, Handle>,
    next_id: u64,
    pub(crate) locked: bool,
    pub(crate) block_bytes: usize,
    faults: Faults,
    fired: BTreeMap<Call, u64>,
    /// Operations begun.
    ops: u64,
    /// The operation during which the power goes.
    cut_at: Option<u64>,
    off: bool,
    last: Option<(Call, Arc<str>)>,
    /// What identities are drawn from.
    entropy: SimRng,
    /// Microseconds since the disk was made.
    clock_us: u64,
}

/// An open file description: what Linux keeps per `open`, the error state included.
#[derive(Clone, Debug)]
struct Handle {
    ino: Ino,
    name: Arc<str>,
    access: Access,
    /// Write-back errors of the file which this handle has reported.
    errors_seen: u64,
}

/// The last operation begun; when the power is off, the one it was cut in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastOp {
    /// Its number, from 1.
    pub op: u64,
    /// What was called.
    pub call: Call,
    /// On which file, by the name it was opened under; empty for the directory.
    pub name: String,
}

/// What is to happen in a step that was let through.
struct Step {
    /// The power goes during this operation.
    dying: bool,
    effect: Option<Effect>,
}

impl State {
    pub(crate) fn new(block_bytes: usize) -> Self {
        Self {
            dir: Directory::default(),
            inodes: BTreeMap::new(),
            handles: BTreeMap::new(),
            next_id: 1,
            locked: false,
            block_bytes,
            faults: Faults::default(),
            fired: BTreeMap::new(),
            ops: 0,
            cut_at: None,
            off: false,
            last: None,
            entropy: SimRng::new(0),
            clock_us: 0,
        }
    }

    // ---- Chance and time.

    pub(crate) fn draw(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            chunk.copy_from_slice(&self.entropy.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    pub(crate) fn unix_us(&self) -> u64 {
        EPOCH_US + self.clock_us
    }

    // ---- Power and faults.

    pub(crate) fn check_power(&self) -> io::Result<()> {
        if self.off { Err(SimError::PowerOff.into()) } else { Ok(()) }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.off
    }

    pub(crate) fn cut_now(&mut self) {
        self.off = true;
    }

    pub(crate) fn cut_at(&mut self, op: u64) {
        self.cut_at = Some(op);
        self.off |= op == 0;
    }

    pub(crate) fn ops(&self) -> u64 {
        self.ops
    }

    pub(crate) fn last_op(&self) -> Option<LastOp> {
        let (call, name) = self.last.as_ref()?;
        Some(LastOp { op: self.ops, call: *call, name: name.to_string() })
    }

    pub(crate) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    pub(crate) fn fired(&self) -> &BTreeMap<Call, u64> {
        &self.fired
    }

    /// Numbers the call and asks the plan what is to go wrong with it.
    fn begin(&mut self, call: Call, name: &Arc<str>) -> io::Result<Step> {
        self.check_power()?;
        self.clock_us += 1;
        if call.changes() {
            self.ops += 1;
            self.last = Some((call, Arc::clone(name)));
            self.off = self.cut_at.is_some_and(|cut| self.ops >= cut);
        }
        let effect = self.faults.meet(call, name);
        if effect.is_some() {
            *self.fired.entry(call).or_default() += 1;
        }
        if effect == Some(Effect::Interrupt) && !self.off {
            return Err(io::ErrorKind::Interrupted.into());
        }
        // An operation cut short by the power has no other fault besides.
        Ok(Step { dying: self.off, effect: effect.filter(|_| !self.off) })
    }

    // ---- The directory.

    pub(crate) fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        self.begin(Call::List, &"".into())?.failing()?;
        Ok(self.files().map(|(name, inode)| (name.to_owned(), inode.written().len())).collect())
    }

    pub(crate) fn create(&mut self, name: &str, len: u64) -> io::Result<HandleId> {
        self.check_power()?;
        if self.dir.written().contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let step = self.begin(Call::Create, &name.into())?;
        step.failing()?;
        if self.space_left() < len {
            return step.full();
        }
        let ino = self.take_id();
        let mut inode = Inode::default();
        inode.set_len(len);
        self.inodes.insert(ino, inode);
        self.dir.create(name, ino);
        step.end(())?;
        Ok(self.add_handle(ino, name, Access::Write))
    }

    pub(crate) fn open(&mut self, name: &str, access: Access) -> io::Result<HandleId> {
        self.begin(Call::Open, &name.into())?.failing()?;
        let ino = self.find(name)?;
        Ok(self.add_handle(ino, name, access))
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.check_power()?;
        let ino = self.find(from)?;
        let step = self.begin(Call::Rename, &from.into())?;
        step.failing()?;
        if from != to {
            self.dir.rename(from, to, ino);
        }
        step.end(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.check_power()?;
        let ino = self.find(name)?;
        let step = self.begin(Call::Remove, &name.into())?;
        step.failing()?;
        self.dir.remove(name, ino);
        step.end(())
    }

    pub(crate) fn sync_dir(&mut self) -> io::Result<()> {
        let step = self.begin(Call::SyncDir, &"".into())?;
        if step.dying {
            return step.end(());
        }
        if step.effect.is_some() {
            self.dir.fail_sync();
            return step.failing();
        }
        self.dir.sync();
        self.forget_unreachable();
        Ok(())
    }

    // ---- Files.

    pub(crate) fn read(
        &mut self,
        handle: HandleId,
        buf: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        let (ino, name) = self.handle(handle)?;
        let step = self.begin(Call::Read, &name)?;
        step.failing()?;
        let count = step.short(buf.len(), 1);
        Ok(self.inode(ino)?.written().read(&mut buf[..count], offset))
    }

    pub(crate) fn write(
        &mut self,
        handle: HandleId,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<usize> {
        self.check_power()?;
        let (ino, name) = self.writable(handle)?;
        let block = self.block_bytes as u64;
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        if !offset.is_multiple_of(block) || !end.is_multiple_of(block) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Nothing to write makes no file longer, however far away.
        if bytes.is_empty() {
            return Ok(0);
        }
        let step = self.begin(Call::Write, &name)?;
        step.failing()?;
        let count = step.short(bytes.len(), self.block_bytes).min(self.room_at(ino, offset)?);
        let count = count - count % self.block_bytes;
        if count == 0 && !bytes.is_empty() && !step.fails() {
            return step.full();
        }
        let through = self.access(handle)? == Access::WriteThrough;
        let inode = self.inode(ino)?;
        inode.write(&bytes[..count], offset);
        if step.effect == Some(Effect::LoseWriteback) {
            inode.fail_writeback();
            if through {
                return Err(SimError::Device.into());
            }
        } else if through && !step.dying && !step.fails() {
            inode.sync_range(offset, count);
        }
        step.end(count)
    }

    pub(crate) fn sync(&mut self, handle: HandleId) -> io::Result<()> {
        let (ino, name) = self.handle(handle)?;
        let step = self.begin(Call::Sync, &name)?;
        if step.dying {
            return step.end(());
        }
        let inode = self.inode(ino)?;
        if step.effect.is_some() {
            inode.fail_writeback();
        } else {
            inode.sync();
        }
        // As Linux does: an error is reported by the next sync of each handle, whoever calls it.
        let seen = self.handles.get_mut(&handle).ok_or_else(stale)?;
        let inode = self.inodes.get_mut(&ino).ok_or_else(stale)?;
        match inode.take_error(seen.errors_seen) {
            None => Ok(()),
            Some(errors) => {
                seen.errors_seen = errors;
                Err(SimError::Device.into())
            }
        }
    }

    pub(crate) fn len(&mut self, handle: HandleId) -> io::Result<u64> {
        self.check_power()?;
        let (ino, _) = self.handle(handle)?;
        Ok(self.inode(ino)?.written().len())
    }

    pub(crate) fn set_len(&mut self, handle: HandleId, len: u64) -> io::Result<()> {
        self.check_power()?;
        let (ino, name) = self.writable(handle)?;
        let step = self.begin(Call::SetLen, &name)?;
        step.failing()?;
        let more = len.saturating_sub(self.inode(ino)?.written().len());
        if more > self.space_left() {
            return step.full();
        }
        self.inode(ino)?.set_len(len);
        step.end(())
    }

    pub(crate) fn close(&mut self, handle: HandleId) {
        self.handles.remove(&handle);
        self.forget_unreachable();
    }

    pub(crate) fn open_handles(&self) -> usize {
        self.handles.len()
    }

    // ---- After a power cut.

    /// What the power cut leaves: nothing pending, nothing open, the power back on.
    pub(crate) fn survive(&self, chooser: &mut dyn Chooser) -> Self {
        let entries = self.dir.survive(chooser);
        let mut next = Self::new(self.block_bytes);
        next.next_id = self.next_id;
        next.entropy = self.entropy.clone();
        next.clock_us = self.clock_us;
        for ino in entries.values() {
            if let Some(inode) = self.inodes.get(ino) {
                next.inodes.insert(*ino, Inode::settled(inode.survive(chooser)));
            }
        }
        next.dir = Directory::settled(entries);
        next
    }

    /// The same files, what is pending included; nothing open, the power on.
    pub(crate) fn fork(&self) -> Self {
        let (dir, inodes) = (self.dir.clone(), self.inodes.clone());
        let mut fork = Self {
            dir,
            inodes,
            next_id: self.next_id,
            entropy: self.entropy.clone(),
            clock_us: self.clock_us,
            ..Self::new(self.block_bytes)
        };
        fork.forget_unreachable();
        fork
    }

    /// How many outcomes [`survive`](Self::survive) has under this choice of entries; any number
    /// above `limit` once it is exceeded.
    pub(crate) fn survivors(&self, chooser: &mut dyn Chooser, limit: u64) -> u64 {
        let entries = self.dir.survive(chooser);
        entries
            .values()
            .filter_map(|ino| self.inodes.get(ino))
            .map(|inode| inode.survivors(limit))
            .fold(1, u64::saturating_mul)
    }

    /// Names and bytes as programs see them, as one number.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.files().fold(0, |hash, (name, inode)| {
            fold(fold_bytes(hash, name.as_bytes()), inode.written().fingerprint())
        })
    }

    // ---- Looking at it and damaging it, whether the power is on or off.

    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &Inode)> {
        self.dir
            .written()
            .iter()
            .filter_map(|(name, ino)| Some((name.as_str(), self.inodes.get(ino)?)))
    }

    pub(crate) fn file(&self, name: &str) -> Option<&Inode> {
        self.inodes.get(self.dir.written().get(name)?)
    }

    pub(crate) fn file_mut(&mut self, name: &str) -> Option<&mut Inode> {
        self.inodes.get_mut(self.dir.written().get(name)?)
    }

    /// Adds, replaces or, without an image, removes a file; durable at once.
    pub(crate) fn put(&mut self, name: &str, image: Option<Image>) {
        let mut entries = self.dir.written().clone();
        entries.remove(name);
        if let Some(image) = image {
            let ino = self.take_id();
            self.inodes.insert(ino, Inode::settled(image));
            entries.insert(name.to_owned(), ino);
        }
        self.dir = Directory::settled(entries);
        self.forget_unreachable();
    }

    pub(crate) fn drop_caches(&mut self) {
        self.inodes.values_mut().for_each(Inode::drop_cache);
    }

    // ---- Helpers.

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn add_handle(&mut self, ino: Ino, name: &str, access: Access) -> HandleId {
        let id = self.take_id();
        let errors_seen = self.inodes.get(&ino).map_or(0, Inode::error_sample);
        self.handles.insert(id, Handle { ino, name: name.into(), access, errors_seen });
        id
    }

    fn find(&self, name: &str) -> io::Result<Ino> {
        self.dir.written().get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn handle(&self, handle: HandleId) -> io::Result<(Ino, Arc<str>)> {
        let handle = self.handles.get(&handle).ok_or_else(stale)?;
        Ok((handle.ino, Arc::clone(&handle.name)))
    }

    fn access(&self, handle: HandleId) -> io::Result<Access> {
        self.handles.get(&handle).map(|handle| handle.access).ok_or_else(stale)
    }

    fn writable(&self, handle: HandleId) -> io::Result<(Ino, Arc<str>)> {
        match self.access(handle)? {
            Access::Write | Access::WriteThrough => self.handle(handle),
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn inode(&mut self, ino: Ino) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or_else(stale)
    }

    /// Files without a name keep their space while they are open, as everywhere.
    fn space_left(&self) -> u64 {
        let Some(space) = self.faults.space() else { return u64::MAX };
        let taken = self.inodes.values().map(|inode| inode.written().len());
        space.saturating_sub(taken.fold(0, u64::saturating_add))
    }

    /// How many bytes can be written at `offset` before the device is full.
    fn room_at(&mut self, ino: Ino, offset: u64) -> io::Result<usize> {
        let end = self.space_left().saturating_add(self.inode(ino)?.written().len());
        Ok(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX))
    }

    /// Drops files which no handle holds and which no power cut can bring back.
    fn forget_unreachable(&mut self) {
        let (dir, handles) = (&self.dir, &self.handles);
        self.inodes.retain(|&ino, _| {
            dir.may_name(ino) || handles.values().any(|handle| handle.ino == ino)
        });
    }
}

impl Step {
    /// The error of a call that is to fail before it has any effect.
    fn failing(&self) -> io::Result<()> {
        if self.effect == Some(Effect::Fail) { Err(SimError::Device.into()) } else { Ok(()) }
    }

    fn fails(&self) -> bool {
        matches!(self.effect, Some(Effect::Fail | Effect::FailAfter(_)))
    }

    /// How many of `count` bytes are transferred, in whole blocks.
    fn short(&self, count: usize, block_bytes: usize) -> usize {
        match self.effect {
            Some(Effect::Short(bytes)) => (bytes - bytes % block_bytes).max(block_bytes).min(count),
            Some(Effect::FailAfter(bytes)) => (bytes - bytes % block_bytes).min(count),
            _ => count,
        }
    }

    /// The answer to a call that finds no space: it has no effect.
    fn full<T>(self) -> io::Result<T> {
        if self.dying {
            return Err(SimError::PowerOff.into());
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    /// What the caller is told once the step has had its effect.
    fn end<T>(self, value: T) -> io::Result<T> {
        if self.dying {
            return Err(SimError::PowerOff.into());
        }
        if self.fails() {
            return Err(SimError::Device.into());
        }
        Ok(value)
    }
}

/// A handle of a disk that was replaced under it; cannot happen through the public interface.
fn stale() -> io::Error {
    io::Error::other("the handle belongs to no open file")
}
