//! A moving view of one segment: what is read stays until something else is needed.
//!
//! Memory is [`WINDOW_BYTES`], and more only while a record is larger than that; a length is
//! never believed beyond what the segment's file still holds.

use wal_format::layout::RECORD_HEADER_BYTES;
use wal_format::{DecodeError, Lsn};
use wal_io::{ChainLink, IoError, SegmentReader, Storage};

use crate::error::RecoveryError;

/// Bytes read at a time, and held.
pub(crate) const WINDOW_BYTES: usize = 256 << 10;

/// Opens the segment of `link`; where the writer has removed it meanwhile, that is no failure of
/// the storage but [`RecoveryError::Truncated`] (rule 22).
pub(crate) fn open_segment(
    storage: &dyn Storage,
    link: &ChainLink,
) -> Result<SegmentReader, RecoveryError> {
    SegmentReader::open(storage, link).map_err(|error| match error {
        // At least this much is gone; whoever can ask for the chain knows better.
        IoError::Gone { .. } => RecoveryError::Truncated { lsn: link.name.base, head: link.cap },
        error => error.into(),
    })
}

/// A view of the bytes of one segment.
///
/// Invariant: `buffer[..held]` are the bytes from `start` on.
#[derive(Debug)]
pub(crate) struct Window {
    reader: SegmentReader,
    buffer: Vec<u8>,
    start: Lsn,
    held: usize,
    /// First address that the file does not hold.
    stored_end: Lsn,
}

impl Window {
    /// Opens the segment of `link`; nothing is read yet.
    pub(crate) fn open(storage: &dyn Storage, link: &ChainLink) -> Result<Self, RecoveryError> {
        let reader = open_segment(storage, link)?;
        let (start, stored_end) = (link.range().start, link.stored_end());
        Ok(Self { reader, buffer: Vec::new(), start, held: 0, stored_end })
    }

    /// The segment.
    pub(crate) fn link(&self) -> &ChainLink {
        self.reader.link()
    }

    /// Whether the bytes here are still those of the segment: once it was truncated, its file may
    /// be used again, and this handle shows what is written there now (rule 22).
    ///
    /// Errors: [`RecoveryError::Truncated`], [`RecoveryError::Io`].
    pub(crate) fn check_current(&self, storage: &dyn Storage) -> Result<(), RecoveryError> {
        match self.reader.verify(storage) {
            // A header that was damaged since is for whoever judges damage.
            Ok(()) | Err(IoError::Malformed { .. }) => Ok(()),
            Err(IoError::Gone { .. }) => {
                let link = self.link();
                Err(RecoveryError::Truncated { lsn: link.name.base, head: link.cap })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes that the file holds from `lsn` on.
    pub(crate) fn left(&self, lsn: Lsn) -> u64 {
        self.stored_end.distance_from(lsn).unwrap_or(0)
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

    /// Reads the bytes from `lsn` on into `buf`, past what the view holds; returns how many there
    /// are.
    pub(crate) fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, RecoveryError> {
        Ok(self.reader.read_at(lsn, buf)?)
    }

    /// The first address from `lsn` on at which anything else than zeros may stand, as far as the
    /// storage knows.
    pub(crate) fn data_from(&self, lsn: Lsn) -> Result<Lsn, RecoveryError> {
        Ok(self.reader.data_from(lsn)?)
    }

    /// The bytes from `lsn` on that are in memory already.
    #[inline]
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
    #[inline]
    pub(crate) fn decode<T>(
        &mut self,
        lsn: Lsn,
        mut decode: impl FnMut(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Result<T, DecodeError>, RecoveryError> {
        // Nearly always the record is in memory, whole.
        match decode(self.held(lsn)) {
            Err(DecodeError::Incomplete { .. }) => self.decode_more(lsn, decode),
            decided => Ok(decided),
        }
    }

    /// As [`decode`](Self::decode), where the view has to move.
    #[cold]
    fn decode_more<T>(
        &mut self,
        lsn: Lsn,
        mut decode: impl FnMut(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Result<T, DecodeError>, RecoveryError> {
        let left = self.left(lsn);
        let mut want = RECORD_HEADER_BYTES;
        loop {
            let bytes = self.bytes(lsn, want)?;
            match decode(bytes) {
                // A file that holds less than was asked for has shrunk since it was looked at: asking
                // again would not end.
                Err(DecodeError::Incomplete { needed })
                    if needed <= left && needed > bytes.len() as u64 && bytes.len() >= want =>
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

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::{Epoch, LogId, SegmentFlags, SegmentHeader};
    use wal_io::SegmentName;
    use wal_io::backend::MemoryStorage;

    /// A window on a segment whose file holds `stored` bytes of `capacity`.
    fn window(capacity: u64, stored: u64) -> Window {
        let header = SegmentHeader {
            log_id: LogId::from_bytes([1; 16]),
            base: Lsn::FIRST,
            epoch: Epoch::FIRST,
            capacity_bytes: capacity,
            created_unix_us: 0,
            flags: SegmentFlags::NONE,
            predecessor: None,
            head: Lsn::FIRST,
        };
        let name = SegmentName { epoch: header.epoch, base: header.base };
        let storage = MemoryStorage::new();
        storage.create(&name.to_string(), 4096 + stored).unwrap();
        let cap = header.end().unwrap();
        let link = ChainLink { name, header, cap, file_bytes: 4096 + stored };
        Window::open(&storage, &link).unwrap()
    }

    fn lsn(offset: u64) -> Lsn {
        Lsn::FIRST.checked_add(offset).unwrap()
    }

    #[test]
    fn memory_is_one_window_and_one_record_where_that_is_larger() {
        let mut window = window(64 << 20, 64 << 20);
        for offset in (0..4 << 20).step_by(4096) {
            assert!(window.bytes(lsn(offset), 4096).unwrap().len() >= 4096);
            assert!(window.buffer.capacity() <= WINDOW_BYTES);
        }
        let large = 8 << 20;
        assert!(window.bytes(lsn(4 << 20), large).unwrap().len() >= large);
        assert!(window.buffer.capacity() <= large);
        window.bytes(lsn(13 << 20), 24).unwrap();
        assert!(window.buffer.capacity() <= WINDOW_BYTES, "the memory goes back");
    }

    #[test]
    fn no_more_is_read_than_the_file_holds() {
        let mut window = window(1 << 20, 1000);
        assert_eq!(window.bytes(lsn(0), usize::MAX).unwrap().len(), 1000);
        assert_eq!(window.bytes(lsn(992), 24).unwrap().len(), 8);
        assert_eq!(window.bytes(lsn(1000), 24).unwrap().len(), 0);
        assert_eq!(window.bytes(lsn(1 << 19), 24).unwrap().len(), 0);
    }

    #[test]
    fn a_length_beyond_the_segment_allocates_nothing() {
        let mut window = window(1 << 20, 1 << 20);
        let needed = (1 << 20) + 1;
        let mut calls = 0;
        let decided = window.decode(lsn(0), |_| {
            calls += 1;
            Err::<(), _>(DecodeError::Incomplete { needed })
        });
        assert_eq!(decided.unwrap(), Err(DecodeError::Incomplete { needed }));
        assert!(calls <= 2, "{calls}");
        assert!(window.buffer.capacity() <= WINDOW_BYTES);
    }
}
