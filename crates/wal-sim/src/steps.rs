//! What each call does to a disk: one step of its state.
//!
//! Leaves locks, handles as objects and the traits to `disk`. A step checks power and arguments,
//! is numbered, meets its fault, has its effect, and answers.

use std::io;

use wal_io::Access;

use crate::directory::{Within, lies};
use crate::fault_kind::{Call, FaultKind};
use crate::faults::{Effect, SimError};
use crate::inode::Inode;
use crate::random::fold;
use crate::state::{HandleId, State, Step, Synced, stale};

impl State {
    // ---- The directory.

    pub(crate) fn list(&mut self, within: &Within) -> io::Result<Vec<(String, u64)>> {
        self.begin(Call::List, &"".into())?.failing()?;
        self.learn_names(within);
        let files = self.files().filter(|(name, _)| lies(name, within));
        Ok(files.map(|(name, inode)| (name.to_owned(), inode.written().len())).collect())
    }

    pub(crate) fn create(&mut self, name: &str, len: u64) -> io::Result<HandleId> {
        self.check_power()?;
        let exists = self.dir.written().contains_key(name);
        self.learn(|_| u64::from(exists));
        if exists {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let step = self.begin(Call::Create, &name.into())?;
        step.failing()?;
        if self.space_left() < len {
            return self.full(&step);
        }
        let ino = self.take_id();
        let mut inode = Inode::new(self.model.sector_bytes);
        inode.set_len(len);
        self.inodes.insert(ino, inode.into());
        self.dir.create(name, ino);
        self.note_space();
        step.end(())?;
        Ok(self.add_handle(ino, name, Access::Write))
    }

    pub(crate) fn open(&mut self, name: &str, access: Access) -> io::Result<HandleId> {
        self.begin(Call::Open, &name.into())?.failing()?;
        let ino = self.find(name);
        self.learn(|_| u64::from(ino.is_ok()));
        Ok(self.add_handle(ino?, name, access))
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.check_power()?;
        let ino = self.find(from);
        self.learn(|_| u64::from(ino.is_ok()));
        let ino = ino?;
        let step = self.begin(Call::Rename, &from.into())?;
        step.failing()?;
        if from != to {
            self.dir.rename(from, to, ino);
        }
        step.end(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.check_power()?;
        let ino = self.find(name);
        self.learn(|_| u64::from(ino.is_ok()));
        let ino = ino?;
        let step = self.begin(Call::Remove, &name.into())?;
        step.failing()?;
        self.dir.remove(name, ino);
        step.end(())
    }

    pub(crate) fn sync_dir(&mut self, within: &Within) -> io::Result<()> {
        let step = self.begin(Call::SyncDir, &within.clone().unwrap_or_default())?;
        if step.dying {
            return step.end(());
        }
        if step.fails() {
            self.dir.fail_sync(within);
            return step.failing();
        }
        self.settle(Synced::Directory(self.dir.mark(), within.clone()));
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
        let inode = self.inode(ino)?;
        let count = inode.written().readable(count, offset);
        if inode.has_unreadable(offset, count) {
            self.learn(|_| 2);
            return Err(SimError::Unreadable.into());
        }
        let count = inode.written().read(&mut buf[..count], offset);
        self.learn(|state| {
            state.inode(ino).map_or(0, |inode| inode.written().fingerprint_of(offset, count))
        });
        Ok(count)
    }

    pub(crate) fn write(
        &mut self,
        handle: HandleId,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<usize> {
        self.check_power()?;
        let (ino, name) = self.writable(handle)?;
        let block_bytes = self.model.block_bytes;
        let block = block_bytes as u64;
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
        let count = step.short(bytes.len(), block_bytes).min(self.room_at(ino, offset)?);
        let count = count - count % block_bytes;
        if count == 0 && !step.fails() {
            return self.full(&step);
        }
        // A sector that cannot be read cannot be written in part.
        if self.inode(ino)?.refuses(offset, count) {
            return step.end(()).and(Err(SimError::Unreadable.into()));
        }
        let through = self.access(handle)? == Access::WriteThrough;
        let inode = self.inode_mut(ino)?;
        inode.write(&bytes[..count], offset);
        if step.effect == Some(Effect::LoseWriteback) {
            inode.fail_writeback();
            if through {
                return Err(SimError::Device.into());
            }
        } else if through && !step.dying && !step.fails() {
            self.settle_range(ino, offset, count)?;
        }
        self.note_space();
        step.end(count)
    }

    fn settle_range(&mut self, ino: u64, offset: u64, count: usize) -> io::Result<()> {
        if self.model.lies > 0 {
            let mark = self.inode(ino)?.mark();
            self.settle(Synced::File(ino, mark));
        } else {
            self.inode_mut(ino)?.sync_range(offset, count);
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self, handle: HandleId) -> io::Result<()> {
        let (ino, name) = self.handle(handle)?;
        let step = self.begin(Call::Sync, &name)?;
        if step.dying {
            return step.end(());
        }
        if step.fails() {
            self.inode_mut(ino)?.fail_writeback();
        } else {
            let mark = self.inode(ino)?.mark();
            self.settle(Synced::File(ino, mark));
        }
        // As Linux does: an error is reported by the next sync of each handle, whoever calls it.
        let seen = self.handles.get(&handle).ok_or_else(stale)?.errors_seen;
        let Some(errors) = self.inode_mut(ino)?.take_error(seen) else { return Ok(()) };
        self.handles.get_mut(&handle).ok_or_else(stale)?.errors_seen = errors;
        Err(SimError::Device.into())
    }

    pub(crate) fn len(&mut self, handle: HandleId) -> io::Result<u64> {
        self.check_power()?;
        let (ino, _) = self.handle(handle)?;
        let len = self.inode(ino)?.written().len();
        self.learn(|_| fold(3, len));
        Ok(len)
    }

    pub(crate) fn set_len(&mut self, handle: HandleId, len: u64) -> io::Result<()> {
        self.check_power()?;
        let (ino, name) = self.writable(handle)?;
        let step = self.begin(Call::SetLen, &name)?;
        step.failing()?;
        let more = len.saturating_sub(self.inode(ino)?.written().len());
        if more > self.space_left() {
            return self.full(&step);
        }
        self.inode_mut(ino)?.set_len(len);
        self.note_space();
        step.end(())
    }

    pub(crate) fn close(&mut self, handle: HandleId) {
        self.handles.remove(&handle);
        self.forget_unreachable();
    }

    /// The answer to a call that finds no space: it has no effect.
    fn full<T>(&mut self, step: &Step) -> io::Result<T> {
        if step.dying {
            return Err(SimError::PowerOff.into());
        }
        self.meet(FaultKind::NoSpace);
        Err(io::ErrorKind::StorageFull.into())
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

    /// What the caller is told once the step has had its effect.
    fn end<T>(&self, value: T) -> io::Result<T> {
        if self.dying {
            return Err(SimError::PowerOff.into());
        }
        if self.fails() {
            return Err(SimError::Device.into());
        }
        Ok(value)
    }
}
