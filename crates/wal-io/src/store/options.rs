//! What a store is told, and what it tells: plain values.

use wal_format::Lsn;
use wal_format::layout::{BLOCK_BYTES, CONTROL_CHECKPOINTS_MAX};

use crate::error::IoError;
use crate::sync_method::SyncMethod;

/// Smallest capacity of a normal segment, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// Largest capacity of a normal segment, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 40;

/// Capacity of the segment in which a log begins, and goes on after a crash, in bytes, unless
/// normal segments are shorter still.
///
/// Filling a whole segment with zeros takes longer than many a log lives, and nobody may commit
/// before it. This much is filled at once, and holds the commits that come while the next
/// segment is made ready off their path.
pub(super) const OPENING_BYTES: u64 = 1 << 20;

/// How a log directory is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Capacity of a normal segment, in bytes, without its header block: a multiple of 4,096,
    /// at least 64 KiB. Default: 64 MiB. A log begins, and goes on after a crash, with shorter
    /// ones: 1 MiB, then each up to half as long again as the one before.
    pub segment_bytes: u64,
    /// How written bytes are made durable. Default: [`SyncMethod::DataSync`].
    pub sync_method: SyncMethod,
    /// How many checkpoints are kept to fall back to: 1 to 8. Default: 2 (rule 5).
    pub retained_checkpoints: usize,
    /// How many truncated segments are kept at most, to become the next ones: up to 64; 0 removes
    /// each. Default: 2. What they held stays on the device until they are written over.
    pub recycled_segments: usize,
}

/// Largest number of truncated segments that are kept.
const RECYCLED_SEGMENTS_MAX: usize = 64;

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            sync_method: SyncMethod::default(),
            retained_checkpoints: 2,
            recycled_segments: 2,
        }
    }
}

impl StoreOptions {
    /// These options with segments of `segment_bytes`.
    #[must_use]
    pub const fn with_segment_bytes(mut self, segment_bytes: u64) -> Self {
        self.segment_bytes = segment_bytes;
        self
    }

    /// These options with another way of syncing.
    #[must_use]
    pub const fn with_sync_method(mut self, sync_method: SyncMethod) -> Self {
        self.sync_method = sync_method;
        self
    }

    /// These options with another number of checkpoints kept.
    #[must_use]
    pub const fn with_retained_checkpoints(mut self, retained_checkpoints: usize) -> Self {
        self.retained_checkpoints = retained_checkpoints;
        self
    }

    /// These options with another number of truncated segments kept.
    #[must_use]
    pub const fn with_recycled_segments(mut self, recycled_segments: usize) -> Self {
        self.recycled_segments = recycled_segments;
        self
    }

    /// Capacity of the segment that an opening makes.
    pub(super) fn opening_bytes(&self) -> u64 {
        self.segment_bytes.min(OPENING_BYTES)
    }

    /// Capacity of the segment that is made ahead of need behind one of `bytes`: half as long again at
    /// most, so that what is filled beside commits stays in proportion to what they wrote.
    pub(super) fn next_bytes(&self, bytes: u64) -> u64 {
        let longer = bytes.saturating_add(bytes / 2) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        longer.max(OPENING_BYTES).min(self.segment_bytes)
    }

    /// Checks that every option is within its range.
    ///
    /// # Errors
    ///
    /// [`IoError::BadOption`] names the first one that is not.
    pub fn check(&self) -> Result<(), IoError> {
        let bytes = self.segment_bytes;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes)
            || !bytes.is_multiple_of(BLOCK_BYTES as u64)
        {
            return Err(IoError::BadOption {
                option: "segment_bytes",
                value: bytes,
                requirement: "a multiple of 4,096 from 64 KiB to 1 TiB",
            });
        }
        if !(1..=CONTROL_CHECKPOINTS_MAX).contains(&self.retained_checkpoints) {
            return Err(IoError::BadOption {
                option: "retained_checkpoints",
                value: self.retained_checkpoints as u64,
                requirement: "from 1 to 8",
            });
        }
        if self.recycled_segments > RECYCLED_SEGMENTS_MAX {
            return Err(IoError::BadOption {
                option: "recycled_segments",
                value: self.recycled_segments as u64,
                requirement: "at most 64",
            });
        }
        Ok(())
    }
}

/// Where appending goes on after an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Address of the next record.
    pub end: Lsn,
    /// Where the active segment ends.
    pub active_end: Lsn,
    /// Where the last ready segment ends; `active_end` when there was no space for a successor.
    pub ready_end: Lsn,
}

/// What a truncation took off the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truncation {
    /// Segments that are gone from the log.
    pub segments: usize,
    /// How many of them are kept as files, to become the next segments.
    pub recycled: usize,
    /// Bytes of files removed.
    pub bytes: u64,
    /// Lowest base address that is left.
    pub head: Lsn,
}

/// What cleaning up after an opening removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Dead segment files removed.
    pub segments: usize,
    /// Temporary files removed.
    pub temporary: usize,
    /// Capped segments cut to their extent.
    pub shrunk: usize,
    /// Bytes of files given back in all.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        StoreOptions::default().check().unwrap();
    }

    #[test]
    fn segments_grow_by_half_from_a_mebibyte_to_what_is_asked_for() {
        let grown = |options: StoreOptions| {
            let longer = move |bytes: &u64| Some(options.next_bytes(*bytes));
            let all = std::iter::successors(Some(options.opening_bytes()), longer);
            all.take(12).map(|bytes| bytes >> 10).collect::<Vec<_>>()
        };
        let default = StoreOptions::default();
        let all = [1024, 1536, 2304, 3456, 5184, 7776, 11664, 17496, 26244, 39364, 59044, 65536];
        assert_eq!(grown(default), all);
        assert_eq!(grown(default.with_segment_bytes(64 << 10)), [64; 12]);
        let uneven = grown(default.with_segment_bytes(2 << 20));
        assert_eq!(uneven.get(..4), Some(&[1024, 1536, 2048, 2048][..]));
        // As a full disk leaves one.
        assert_eq!(default.next_bytes(64 << 10), OPENING_BYTES);
        assert_eq!(default.next_bytes(u64::MAX), default.segment_bytes);
    }

    #[test]
    fn options_out_of_range_are_named() {
        let refused = |options: StoreOptions, name: &str| {
            assert!(matches!(options.check(), Err(IoError::BadOption { option, .. })
                if option == name));
        };
        for bytes in [0, 4096, SEGMENT_BYTES_MIN + 8, SEGMENT_BYTES_MAX + 4096] {
            refused(StoreOptions::default().with_segment_bytes(bytes), "segment_bytes");
        }
        for count in [0, CONTROL_CHECKPOINTS_MAX + 1] {
            let options = StoreOptions::default().with_retained_checkpoints(count);
            refused(options, "retained_checkpoints");
        }
        refused(StoreOptions::default().with_recycled_segments(65), "recycled_segments");
    }
}
