//! A moving view of one segment: what is read stays until something else is needed.
//!
//! Memory is [`WINDOW_BYTES`], and more only while a record is larger than that; a length is
//! never believed beyond what the segment's file still holds.

use wal_format::layout::RECORD_HEADER_BYTES;
use wal_format::{DecodeError, Lsn};
use wal_io::{ChainLink, SegmentReader, Storage};

use crate::error::RecoveryError;

/// Bytes read at a time, and held.
pub(crate) const WINDOW_BYTES: usize = 256 << 10;

/// A view of the bytes of one segment.
///
/// Invariant: `buffer[..held]` are the bytes from `start` on.
#[derive(Debug)]
pub(crate) struct Window {
    reader: SegmentReader,
    buffer: Vec<u8>,
    start: Lsn,
    held: usize,
}

impl Window {
    /// Opens the segment of `link`; nothing is read yet.
    pub(crate) fn open(storage: &dyn Storage, link: &ChainLink) -> Result<Self, RecoveryError> {
        let reader = SegmentReader::open(storage, link)?;
        Ok(Self { reader, buffer: Vec::new(), start: link.range().start, held: 0 })
    }

    /// The segment.
    pub(crate) fn link(&self) -> &ChainLink {
        self.reader.link()
    }

    /// Bytes that the file holds from `lsn` on.
    pub(crate) fn left(&self, lsn: Lsn) -> u64 {
        self.link().stored_end().distance_from(lsn).unwrap_or(0)
    }

    /// The bytes from `lsn` on: at least `want`, or all that are left.
    ///
    /// Errors: [`RecoveryError::OutOfMemory`], [`RecoveryError::Io`].
    pub(crate) fn bytes(&mut self, lsn: Lsn, want: usize) -> Result<&[u8], RecoveryError> {
        let left = usize::try_from(self.left(lsn)).unwrap_or(usize::MAX);
        if self.held(lsn).len() < want.min(left) {
            self.fill(lsn, want.max(WINDOW_BYTES).min(left))?;
        }
        Ok(self.held(lsn))
    }

    /// The bytes from `lsn` on that are in memory already.
    pub(crate) fn held(&self, lsn: Lsn) -> &[u8] {
        let held = self.buffer.get(..self.held).unwrap_or_default();
        lsn.distance_from(self.start)
            .and_then(|skip| usize::try_from(skip).ok())
            .and_then(|skip| held.get(skip..))
            .unwrap_or_default()
    }

    /// Decodes what stands at `lsn`, with as many bytes as its header plausibly asks for.
    ///
    /// `decode` is called again when it answers [`DecodeError::Incomplete`] and the segment still
    /// holds that much. The outer error is the machine's, the inner one that of the bytes.
    pub(crate) fn decode<T>(
        &mut self,
        lsn: Lsn,
        mut decode: impl FnMut(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Result<T, DecodeError>, RecoveryError> {
        let left = self.left(lsn);
        let mut want = RECORD_HEADER_BYTES;
        loop {
            let bytes = self.bytes(lsn, want)?;
            match decode(bytes) {
                Err(DecodeError::Incomplete { needed })
                    if needed <= left && needed > bytes.len() as u64 =>
                {
                    want = usize::try_from(needed)
                        .map_err(|_| RecoveryError::OutOfMemory { lsn, bytes: needed })?;
                }
                decided => return Ok(decided),
            }
        }
    }

    /// Makes the view start at `lsn` and hold `target` bytes, or as many as the file has.
    fn fill(&mut self, lsn: Lsn, target: usize) -> Result<(), RecoveryError> {
        // Whole units of 8 bytes are kept, so that what follows them has an address.
        let kept = self.held(lsn).len().min(target) / 8 * 8;
        let skipped = self.held.saturating_sub(self.held(lsn).len());
        self.buffer.copy_within(skipped..skipped + kept, 0);
        self.start = lsn;
        self.held = kept;
        if self.buffer.len() > target.max(WINDOW_BYTES) {
            // A large record has passed; its memory goes back.
            self.buffer.truncate(target);
            self.buffer.shrink_to_fit();
        }
        let more = target.saturating_sub(self.buffer.len());
        self.buffer
            .try_reserve_exact(more)
            .map_err(|_| RecoveryError::OutOfMemory { lsn, bytes: target as u64 })?;
        self.buffer.resize(self.buffer.len() + more, 0);
        let rest = self.buffer.get_mut(kept..target).unwrap_or_default();
        if let Some(at) = lsn.checked_add(kept as u64) {
            self.held += self.reader.read_at(at, rest)?;
        }
        Ok(())
    }
}
