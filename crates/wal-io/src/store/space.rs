//! Room for an opening on a full disk (rule 16).
//!
//! A spare file holds back space. An opening that finds none gives it up, and cuts files that lie
//! wholly beyond the end of the log to their header. Their names and headers stay, so nothing
//! looks missing and no address is used twice (rule 8); what they held was promised to nobody,
//! or the verdict would not have allowed this opening. Evidence of damage is never touched.

use wal_format::Lsn;

use super::directory::{HEADER_BYTES, make_spare, remove_if_there, shrink, sync_dir};
use super::options::{SEGMENT_BYTES_MIN, StoreOptions};
use super::segment_store::{SegmentStore, Work};
use crate::error::IoError;
use crate::segment_name::SPARE_NAME;

/// The spare covers a rewritten tail of this many bytes at most, or of a whole segment.
const SPARE_RUN_BYTES_MAX: u64 = 16 << 20;

/// Room for a rewritten tail and the smallest segment, headers included; and for the two headers
/// which stay of the segments that a crash loop makes and gives up, one after the other.
fn spare_bytes(options: &StoreOptions) -> u64 {
    options.segment_bytes.min(SPARE_RUN_BYTES_MAX) + SEGMENT_BYTES_MIN + 4 * HEADER_BYTES
}

impl SegmentStore {
    /// Makes the spare if there is none.
    pub(super) fn keep_spare(&self) -> Result<(), IoError> {
        let entries = self
            .storage
            .list()
            .map_err(|e| IoError::failed(crate::error::IoOp::List, self.storage.place(), e))?;
        if entries.iter().any(|entry| entry.name == SPARE_NAME) {
            return Ok(());
        }
        make_spare(self.storage.as_ref(), spare_bytes(&self.options))
    }

    /// As [`keep_spare`](Self::keep_spare), where the log can do without one for a while.
    pub(super) fn keep_spare_if_room(&self) {
        if let Err(error) = self.keep_spare() {
            tracing::warn!(%error, "no spare space is held back for the next opening");
        }
    }

    /// Gives up what an opening may give up; the log ends at `end` or before.
    pub(super) fn free_space(&self, work: &mut Work, end: Lsn) -> Result<(), IoError> {
        let storage = self.storage.as_ref();
        // Until the new segment is durable the old chain is the log: what evidence reaches into
        // stays whole, or a crash right here would leave what looks like damage (rule 10).
        let end = end.max(self.noted_durable());
        for temporary in std::mem::take(&mut work.temporary) {
            remove_if_there(storage, &temporary)?;
        }
        self.give_up_retired(work)?;
        remove_if_there(storage, SPARE_NAME)?;
        // Many filesystems give the space back only when the removal is durable.
        sync_dir(storage)?;
        for dead in work.dead.iter_mut().filter(|dead| dead.name.base >= end) {
            if dead.file_bytes > HEADER_BYTES {
                shrink(storage, &dead.name.to_string(), HEADER_BYTES)?;
                dead.file_bytes = HEADER_BYTES;
            }
        }
        let beyond = |base: Lsn, bytes: u64| base >= end && bytes > HEADER_BYTES;
        let links = self.links();
        for link in links.iter().filter(|link| beyond(link.name.base, link.file_bytes)) {
            shrink(storage, &link.name.to_string(), HEADER_BYTES)?;
            let mut chain = self.chain.lock();
            if let Some(same) = chain.links.iter_mut().find(|same| same.name == link.name) {
                same.file_bytes = HEADER_BYTES;
            }
        }
        tracing::warn!(place = %storage.place(), "the disk is full: spare space given up");
        Ok(())
    }
}
