//! Padding that a flush ends with: up to the end of a block, and of a segment that is as good as full.

use wal_format::layout::BLOCK_BYTES;

use crate::config::Durability;
use crate::poison::PoisonCause;
use crate::shared::{Shared, State};

/// What is left of a segment is not worth another sync if it is at most so much.
const SCRAP_BYTES: u64 = BLOCK_BYTES as u64;
/// The same, as a part of a normal segment.
const SCRAP_PART: u64 = 32;

impl Shared {
    /// Pads the flush that is about to be taken for `level`, where that is of use.
    ///
    /// Each flush of a direct backend ends on a block boundary: no two share a block. And one that
    /// would leave less of the segment than it takes itself takes that too: the next one would most
    /// likely lie in two files, which is two syncs, one after the other.
    pub(crate) fn pad_flush(
        &self,
        state: &mut State,
        level: Durability,
    ) -> Result<(), PoisonCause> {
        if self.block_bytes > 1
            && let Some(range) = state.cursor.block_padding(self.block_bytes)
        {
            self.pad(state, range)?;
        }
        let flush_bytes = state.parts.pending() as u64;
        let scrap = flush_bytes.min(SCRAP_BYTES).min(self.segment_bytes / SCRAP_PART);
        match state.cursor.scrap(scrap.min(state.parts.room() as u64)) {
            Some(range) if level == Durability::Durable => self.pad(state, range),
            _ => Ok(()),
        }
    }
}
