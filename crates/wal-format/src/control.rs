//! A slot of the control file: what must be found before the log is scanned.
//!
//! The file holds two slots in separate blocks. They are written alternately, each with a higher
//! sequence number, so one whole slot survives whatever happens to the other. When both are lost
//! the log still opens by scanning; what the slots alone could prove is then named as unproven.

use alloc::vec::Vec;

use crate::bytes::{all_zero, array_at, put, u32_at, u64_at};
use crate::error::{DecodeError, EncodeError};
use crate::fields::lsn_at;
use crate::ids::{Epoch, LogId};
use crate::layout::{
    BLOCK_BYTES, CHECKPOINT_POINTER_BEGIN, CHECKPOINT_POINTER_END, CHECKPOINT_POINTER_RECORD,
    CHECKPOINT_POINTER_REDO_FROM, CONTROL_CHECKPOINT_BYTES, CONTROL_CHECKPOINT_COUNT,
    CONTROL_CHECKPOINTS, CONTROL_CHECKPOINTS_MAX, CONTROL_CHECKSUM, CONTROL_CLEAN_END,
    CONTROL_CLEAN_EPOCH, CONTROL_DURABLE, CONTROL_EPOCH, CONTROL_HEAD, CONTROL_LOG_ID,
    CONTROL_MAGIC, CONTROL_MAGIC_AT, CONTROL_NEWEST_BASE, CONTROL_NEWEST_EPOCH, CONTROL_RESERVED,
    CONTROL_SEQUENCE, CONTROL_VERSION, FORMAT_VERSION,
};
use crate::lsn::Lsn;
use crate::segment_header::{open_block, seal_block};

/// Where a complete checkpoint is. All of it was durable before a slot named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPointer {
    /// The checkpoint's begin: its payload reflects what committed before this address (rule 3).
    pub begin: Lsn,
    /// Replay scans from here: the smaller of `begin` and the first record of every transaction
    /// active at `begin`.
    pub redo_from: Lsn,
    /// Address of the record that completes the checkpoint and holds its payload.
    pub record: Lsn,
    /// First address after that record.
    pub end: Lsn,
}

/// One slot of the control file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSlot {
    /// The log that this slot belongs to.
    pub log_id: LogId,
    /// Grows with every write; the whole slot with the higher number counts.
    pub sequence: u64,
    /// The last epoch spent (rule 17).
    pub epoch: Epoch,
    /// Lowest base address retained (rule 14).
    pub head: Lsn,
    /// Base of the newest segment that may hold records (rule 14).
    pub newest_base: Lsn,
    /// Epoch in the name of that segment.
    pub newest_epoch: Epoch,
    /// An address below which everything was durable when the slot was written.
    pub durable: Lsn,
    /// Where the log ended when it was closed cleanly, and under which epoch (rule 4).
    pub clean: Option<(Lsn, Epoch)>,
    /// Retained checkpoints, oldest first; at most
    /// [`CONTROL_CHECKPOINTS_MAX`](crate::layout::CONTROL_CHECKPOINTS_MAX).
    pub checkpoints: Vec<CheckpointPointer>,
}

impl ControlSlot {
    /// The block as it stands in the file.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BadField`]: more checkpoints than a slot can name.
    pub fn encode(&self) -> Result<[u8; BLOCK_BYTES], EncodeError> {
        if self.checkpoints.len() > CONTROL_CHECKPOINTS_MAX {
            return Err(EncodeError::BadField { field: "checkpoints" });
        }
        let mut block = [0_u8; BLOCK_BYTES];
        put(&mut block, CONTROL_MAGIC_AT, &CONTROL_MAGIC);
        put(&mut block, CONTROL_VERSION, &FORMAT_VERSION.to_le_bytes());
        put(&mut block, CONTROL_LOG_ID, self.log_id.as_bytes());
        put(&mut block, CONTROL_SEQUENCE, &self.sequence.to_le_bytes());
        put(&mut block, CONTROL_EPOCH, &self.epoch.get().to_le_bytes());
        put(&mut block, CONTROL_HEAD, &self.head.get().to_le_bytes());
        put(&mut block, CONTROL_NEWEST_BASE, &self.newest_base.get().to_le_bytes());
        put(&mut block, CONTROL_NEWEST_EPOCH, &self.newest_epoch.get().to_le_bytes());
        put(&mut block, CONTROL_DURABLE, &self.durable.get().to_le_bytes());
        if let Some((end, epoch)) = self.clean {
            put(&mut block, CONTROL_CLEAN_END, &end.get().to_le_bytes());
            put(&mut block, CONTROL_CLEAN_EPOCH, &epoch.get().to_le_bytes());
        }
        let count = self.checkpoints.len() as u32;
        put(&mut block, CONTROL_CHECKPOINT_COUNT, &count.to_le_bytes());
        for (index, pointer) in self.checkpoints.iter().enumerate() {
            let at = CONTROL_CHECKPOINTS + index * CONTROL_CHECKPOINT_BYTES;
            for (offset, lsn) in [
                (CHECKPOINT_POINTER_BEGIN, pointer.begin),
                (CHECKPOINT_POINTER_REDO_FROM, pointer.redo_from),
                (CHECKPOINT_POINTER_RECORD, pointer.record),
                (CHECKPOINT_POINTER_END, pointer.end),
            ] {
                put(&mut block, at + offset, &lsn.get().to_le_bytes());
            }
        }
        seal_block(&mut block, CONTROL_CHECKSUM);
        Ok(block)
    }

    /// Reads one slot; `bytes` may be longer than the block.
    ///
    /// # Errors
    ///
    /// As [`SegmentHeader::decode`](crate::SegmentHeader::decode). A slot which fails is as good
    /// as lost: use the other one, and treat the opening as unclean.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let block = open_block(bytes, &CONTROL_MAGIC, CONTROL_CHECKSUM, CONTROL_VERSION)?;
        let count = u32_at(block, CONTROL_CHECKPOINT_COUNT) as usize;
        if count > CONTROL_CHECKPOINTS_MAX {
            return Err(DecodeError::BadField { field: "checkpoints" });
        }
        let used = CONTROL_CHECKPOINTS + count * CONTROL_CHECKPOINT_BYTES;
        if u32_at(block, CONTROL_RESERVED) != 0 || !all_zero(block.get(used..).unwrap_or_default())
        {
            return Err(DecodeError::NotZero);
        }
        let checkpoints = (0..count)
            .map(|index| {
                decode_pointer(block, CONTROL_CHECKPOINTS + index * CONTROL_CHECKPOINT_BYTES)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let clean_end = lsn_at(block, CONTROL_CLEAN_END, "clean_end")?;
        let clean_epoch = Epoch::new(u64_at(block, CONTROL_CLEAN_EPOCH));
        let slot = Self {
            log_id: LogId::from_bytes(array_at(block, CONTROL_LOG_ID)),
            sequence: u64_at(block, CONTROL_SEQUENCE),
            epoch: Epoch::new(u64_at(block, CONTROL_EPOCH)),
            head: lsn_at(block, CONTROL_HEAD, "head")?,
            newest_base: lsn_at(block, CONTROL_NEWEST_BASE, "newest_base")?,
            newest_epoch: Epoch::new(u64_at(block, CONTROL_NEWEST_EPOCH)),
            durable: lsn_at(block, CONTROL_DURABLE, "durable")?,
            clean: (clean_epoch != Epoch::NONE).then_some((clean_end, clean_epoch)),
            checkpoints,
        };
        if slot.epoch == Epoch::NONE {
            return Err(DecodeError::BadField { field: "epoch" });
        }
        if slot.clean.is_none() && !clean_end.is_none() {
            return Err(DecodeError::BadField { field: "clean_end" });
        }
        Ok(slot)
    }
}

fn decode_pointer(block: &[u8], at: usize) -> Result<CheckpointPointer, DecodeError> {
    let lsn = |offset: usize| lsn_at(block, at + offset, "checkpoints");
    let pointer = CheckpointPointer {
        begin: lsn(CHECKPOINT_POINTER_BEGIN)?,
        redo_from: lsn(CHECKPOINT_POINTER_REDO_FROM)?,
        record: lsn(CHECKPOINT_POINTER_RECORD)?,
        end: lsn(CHECKPOINT_POINTER_END)?,
    };
    let ordered = Lsn::FIRST <= pointer.redo_from
        && pointer.redo_from <= pointer.begin
        && pointer.begin <= pointer.record
        && pointer.record < pointer.end;
    if ordered { Ok(pointer) } else { Err(DecodeError::BadField { field: "checkpoints" }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> ControlSlot {
        let lsn = |raw| Lsn::new(raw).unwrap();
        let pointer = |base| CheckpointPointer {
            begin: lsn(base + 64),
            redo_from: lsn(base),
            record: lsn(base + 128),
            end: lsn(base + 256),
        };
        ControlSlot {
            log_id: LogId::from_bytes([7; 16]),
            sequence: 12,
            epoch: Epoch::new(5),
            head: Lsn::FIRST,
            newest_base: lsn(1 << 20),
            newest_epoch: Epoch::new(4),
            durable: lsn(9000),
            clean: Some((lsn(8192), Epoch::new(5))),
            checkpoints: (1..=8).map(|n| pointer(n * 4096)).collect(),
        }
    }

    #[test]
    fn a_slot_comes_back_as_it_was() {
        let full = slot();
        assert_eq!(ControlSlot::decode(&full.encode().unwrap()), Ok(full));
        let bare = ControlSlot { clean: None, checkpoints: Vec::new(), ..slot() };
        assert_eq!(ControlSlot::decode(&bare.encode().unwrap()), Ok(bare));
    }

    #[test]
    fn every_flipped_bit_is_an_error() {
        let block = slot().encode().unwrap();
        // All of them under Miri would take an hour.
        for bit in (0..BLOCK_BYTES * 8).step_by(if cfg!(miri) { 97 } else { 1 }) {
            let mut damaged = block;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(ControlSlot::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn too_many_checkpoints_are_refused() {
        let mut slot = slot();
        let last = slot.checkpoints[0];
        slot.checkpoints.push(last);
        assert_eq!(slot.encode(), Err(EncodeError::BadField { field: "checkpoints" }));
    }

    #[test]
    fn a_count_beyond_the_slot_is_refused_before_anything_is_allocated() {
        let mut block = slot().encode().unwrap();
        for count in [9, u32::MAX] {
            put(&mut block, CONTROL_CHECKPOINT_COUNT, &count.to_le_bytes());
            seal_block(&mut block, CONTROL_CHECKSUM);
            assert_eq!(
                ControlSlot::decode(&block),
                Err(DecodeError::BadField { field: "checkpoints" })
            );
        }
    }

    #[test]
    fn pointers_out_of_order_are_refused() {
        for spoil in [
            |pointer: &mut CheckpointPointer| pointer.redo_from = Lsn::NONE,
            |pointer: &mut CheckpointPointer| pointer.begin = Lsn::FIRST,
            |pointer: &mut CheckpointPointer| pointer.record = Lsn::FIRST,
            |pointer: &mut CheckpointPointer| pointer.end = pointer.record,
        ] {
            let mut slot = slot();
            spoil(&mut slot.checkpoints[1]);
            assert_eq!(
                ControlSlot::decode(&slot.encode().unwrap()),
                Err(DecodeError::BadField { field: "checkpoints" })
            );
        }
    }
}
