//! The control file: two slots in blocks of their own, written alternately.
//!
//! [`ControlView`] is what a reader sees; it never writes. [`ControlFile`] belongs to the one
//! writer. Invariants:
//!
//! - at any moment at least one slot on the device is whole and tells the truth;
//! - a slot is synced before its contents count (rules 4, 14, 17);
//! - a slot which is not whole is written before a whole one is;
//! - after a failed write or sync this handle never writes again;
//! - a writer that finds a newer epoch or a higher sequence stops: somebody took the log over.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use wal_format::layout::{BLOCK_BYTES, CONTROL_SLOTS};
use wal_format::{ControlSlot, DecodeError, Epoch, Lsn};

use crate::error::{IoError, IoOp};
use crate::file_io::{read_full_at, write_full_at};
use crate::segment_name::{CONTROL_NAME, TEMPORARY_SUFFIX};
use crate::storage::{Access, LogFile, Storage};

const CONTROL_BYTES: usize = CONTROL_SLOTS * BLOCK_BYTES;

/// What one slot of the control file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// A slot that verifies.
    Whole(ControlSlot),
    /// Bytes that are not a slot, or one of a newer version.
    Damaged(DecodeError),
    /// No bytes: the file is not there, or ends before this slot.
    Missing,
}

impl SlotState {
    /// The slot, if it is whole.
    #[must_use]
    pub const fn whole(&self) -> Option<&ControlSlot> {
        match self {
            Self::Whole(slot) => Some(slot),
            Self::Damaged(_) | Self::Missing => None,
        }
    }
}

/// The control file as a reader finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlView {
    /// Both slots, in the order of the file.
    pub slots: [SlotState; CONTROL_SLOTS],
}

impl ControlView {
    /// Reads both slots. A file that is not there reads as two missing slots.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`] when the file cannot be opened or read; damage is not an error here.
    ///
    /// # Cost
    ///
    /// One open, one read of 8,192 bytes.
    pub fn read(storage: &dyn Storage) -> Result<Self, IoError> {
        match storage.open(CONTROL_NAME, Access::Read) {
            Ok(file) => Self::read_file(file.as_ref()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Self { slots: [SlotState::Missing, SlotState::Missing] })
            }
            Err(error) => Err(IoError::failed(IoOp::Open, CONTROL_NAME, error)),
        }
    }

    fn read_file(file: &dyn LogFile) -> Result<Self, IoError> {
        let mut bytes = [0_u8; CONTROL_BYTES];
        let count = read_full_at(file, CONTROL_NAME, &mut bytes, 0)?;
        let slot = |index: usize| match bytes.get(index * BLOCK_BYTES..count) {
            None | Some([]) => SlotState::Missing,
            Some(rest) => match ControlSlot::decode(rest) {
                Ok(slot) => SlotState::Whole(slot),
                Err(error) => SlotState::Damaged(error),
            },
        };
        Ok(Self { slots: [slot(0), slot(1)] })
    }

    /// The whole slot with the highest sequence: the one that counts.
    #[must_use]
    pub fn current(&self) -> Option<&ControlSlot> {
        self.whole().max_by_key(|slot| slot.sequence)
    }

    /// Whether both slots verify. If not, the opening is unclean (rule 4).
    #[must_use]
    pub fn both_whole(&self) -> bool {
        self.whole().count() == CONTROL_SLOTS
    }

    /// Whether nothing can be known from the control file: no slot verifies, and none is of a
    /// newer version, which is refused by name and not taken for lost.
    #[must_use]
    pub fn both_lost(&self) -> bool {
        self.whole().next().is_none() && self.newer_version().is_none()
    }

    /// The format version of a slot that a newer program wrote.
    #[must_use]
    pub fn newer_version(&self) -> Option<u32> {
        self.slots.iter().find_map(|slot| match slot {
            SlotState::Damaged(DecodeError::UnsupportedVersion { found }) => Some(*found),
            _ => None,
        })
    }

    /// Whether there is a control file at all.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.slots.iter().any(|slot| *slot != SlotState::Missing)
    }

    /// The slots that verify.
    pub(crate) fn whole(&self) -> impl Iterator<Item = &ControlSlot> {
        self.slots.iter().filter_map(SlotState::whole)
    }
}

/// The writer's side of the control file.
#[derive(Debug)]
pub struct ControlFile {
    file: Box<dyn LogFile>,
    /// What the device holds for certain, in the slot that counts.
    current: ControlSlot,
    /// A write or sync failed, or another writer was seen.
    poisoned: bool,
}

impl ControlFile {
    /// Makes a control file whose two slots hold `slot`, replacing one whose slots are lost.
    ///
    /// # Durability
    ///
    /// The file has its name, and both slots are durable, when this returns; before that the
    /// directory holds the old file, or none.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`]; a temporary file may be left, which the next writer removes.
    ///
    /// # Cost
    ///
    /// One write, one sync of the file, one of the directory.
    pub fn create(storage: &Arc<dyn Storage>, slot: &ControlSlot) -> Result<Self, IoError> {
        let temporary = format!("{CONTROL_NAME}{TEMPORARY_SUFFIX}");
        match storage.remove(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(IoError::failed(IoOp::Remove, temporary, error));
            }
            _ => {}
        }
        let current = ControlSlot { sequence: slot.sequence.saturating_add(1), ..slot.clone() };
        // In one piece: two of them are written as they are or copied first depending on where in
        // memory they happen to lie, and a system call's name is not to depend on that.
        let blocks = [encode(slot)?, encode(&current)?];
        let file = storage
            .create(&temporary, CONTROL_BYTES as u64)
            .map_err(|error| IoError::failed(IoOp::Create, &*temporary, error))?;
        write_full_at(file.as_ref(), &temporary, &[IoSlice::new(blocks.as_flattened())], 0)?;
        file.sync_all().map_err(|error| IoError::failed(IoOp::Sync, &*temporary, error))?;
        storage
            .rename(&temporary, CONTROL_NAME)
            .map_err(|error| IoError::failed(IoOp::Rename, &*temporary, error))?;
        storage.sync_dir().map_err(|error| IoError::failed(IoOp::SyncDir, CONTROL_NAME, error))?;
        let file = open_for_writing(storage.as_ref())?;
        Ok(Self { file, current, poisoned: false })
    }

    /// Opens the control file for writing, and writes the slot that counts once more, as it is.
    ///
    /// A sync that failed in an earlier process may have left that slot in the page cache only,
    /// and nobody can tell: before the other slot is touched, this one must be on the device.
    ///
    /// # Errors
    ///
    /// - [`IoError::Malformed`]: no slot verifies, or one is of a newer version. Nothing changed.
    /// - [`IoError::Failed`]: the file cannot be opened, read or written.
    ///
    /// # Cost
    ///
    /// One read of 8,192 bytes, one write of 4,096, one data sync.
    pub fn open(storage: &Arc<dyn Storage>) -> Result<Self, IoError> {
        let file = open_for_writing(storage.as_ref())?;
        let view = ControlView::read_file(file.as_ref())?;
        if let Some(found) = view.newer_version() {
            return Err(malformed(DecodeError::UnsupportedVersion { found }));
        }
        let Some(current) = view.current() else {
            return Err(malformed(DecodeError::BadMagic));
        };
        let index = view.slots.iter().position(|slot| slot.whole() == Some(current)).unwrap_or(0);
        write_slot(file.as_ref(), index, current)?;
        Ok(Self { file, current: current.clone(), poisoned: false })
    }

    /// What the slot that counts holds.
    #[must_use]
    pub const fn current(&self) -> &ControlSlot {
        &self.current
    }

    /// Whether this writer still has the log.
    ///
    /// # Errors
    ///
    /// [`IoError::Superseded`]: another writer has it; stop promising. [`IoError::Failed`].
    ///
    /// # Cost
    ///
    /// One read of 8,192 bytes.
    pub fn check_epoch(&mut self) -> Result<(), IoError> {
        let view = ControlView::read_file(self.file.as_ref())?;
        self.check_not_superseded(&view)
    }

    /// Applies `change` and writes the result to the slot that does not count yet.
    ///
    /// # Durability
    ///
    /// Durable when this returns. A crash before that leaves the old contents or the new ones.
    ///
    /// # Errors
    ///
    /// - [`IoError::Superseded`]: another writer has the log; stop promising.
    /// - [`IoError::Failed`]: what the slot holds is unknown; reopen the log.
    /// - [`IoError::Poisoned`]: an earlier update failed.
    ///
    /// # Cost
    ///
    /// One read of 8,192 bytes, one write of 4,096, one data sync.
    pub fn update(&mut self, change: impl FnOnce(&mut ControlSlot)) -> Result<(), IoError> {
        if self.poisoned {
            return Err(IoError::Poisoned { name: CONTROL_NAME.to_owned() });
        }
        let view = ControlView::read_file(self.file.as_ref())?;
        self.check_not_superseded(&view)?;
        let mut next = self.current.clone();
        change(&mut next);
        next.sequence = self.current.sequence.checked_add(1).ok_or(IoError::OutOfRange {
            what: "the sequence of the control file",
            lsn: Lsn::NONE,
        })?;
        assert_eq!(next.log_id, self.current.log_id, "a log keeps its identity");
        let written = write_slot(self.file.as_ref(), target_slot(&view), &next);
        match written {
            Ok(()) => {
                self.current = next;
                Ok(())
            }
            Err(error) => {
                // A slot that could not be encoded was not written.
                self.poisoned |= matches!(error, IoError::Failed { .. });
                Err(error)
            }
        }
    }

    /// Applies `change` and writes the result to both slots, one after the other, so that the
    /// loss of either one cannot bring back what was before.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    ///
    /// # Cost
    ///
    /// Twice that of [`update`](Self::update).
    pub fn update_both(&mut self, change: impl FnOnce(&mut ControlSlot)) -> Result<(), IoError> {
        self.update(change)?;
        self.update(|_| ())
    }

    /// A superseded writer stops acknowledging: the lock is advisory, the slots are the proof.
    fn check_not_superseded(&mut self, view: &ControlView) -> Result<(), IoError> {
        let newer = view
            .whole()
            .filter(|slot| {
                slot.epoch > self.current.epoch
                    || slot.sequence > self.current.sequence
                    || slot.log_id != self.current.log_id
            })
            .map(|slot| slot.epoch)
            .max();
        match newer {
            None => Ok(()),
            Some(newer) => {
                self.poisoned = true;
                Err(IoError::Superseded { ours: self.current.epoch, newer })
            }
        }
    }
}

/// Where the next slot goes: over one that is lost, else over the older one.
fn target_slot(view: &ControlView) -> usize {
    let sequence = |slot: &SlotState| slot.whole().map(|slot| slot.sequence);
    let [first, second] = &view.slots;
    // `None`, a slot that is lost, sorts below every sequence.
    if sequence(first) <= sequence(second) { 0 } else { 1 }
}

/// Writes one slot and makes it durable.
fn write_slot(file: &dyn LogFile, index: usize, slot: &ControlSlot) -> Result<(), IoError> {
    let block = encode(slot)?;
    let offset = (index * BLOCK_BYTES) as u64;
    write_full_at(file, CONTROL_NAME, &[IoSlice::new(&block)], offset)?;
    file.sync_data().map_err(|error| IoError::failed(IoOp::Sync, CONTROL_NAME, error))
}

fn open_for_writing(storage: &dyn Storage) -> Result<Box<dyn LogFile>, IoError> {
    storage
        .open(CONTROL_NAME, Access::Write)
        .map_err(|error| IoError::failed(IoOp::Open, CONTROL_NAME, error))
}

fn encode(slot: &ControlSlot) -> Result<[u8; BLOCK_BYTES], IoError> {
    debug_assert!(slot.epoch != Epoch::NONE, "an epoch is spent before the slot is written");
    slot.encode().map_err(|_| IoError::OutOfRange { what: "checkpoints", lsn: slot.head })
}

fn malformed(source: DecodeError) -> IoError {
    IoError::Malformed { name: CONTROL_NAME.to_owned(), offset: 0, source }
}

#[cfg(test)]
mod tests;
