//! A chain of segments, to be read.

use std::sync::Arc;

use wal_format::layout::BLOCK_BYTES;
use wal_format::{DecodeError, Epoch, LogId, Lsn, LsnRange, RecordRef};
use wal_io::{ChainLink, SegmentReader, Storage};

use crate::epochs::decode_under_any;
use crate::error::RecoveryError;
use crate::scan::Scanner;
use crate::window::open_segment;

/// Reading ahead takes two.
pub(crate) const SCAN_THREADS: usize = 2;

/// A readable snapshot of a chain: where the segments were when it was made.
///
/// Cloning is cheap. Segments which are removed later can no longer be opened through it.
#[derive(Clone, Debug)]
pub struct LogSource {
    storage: Arc<dyn Storage>,
    links: Arc<[ChainLink]>,
    log_id: LogId,
    highest_epoch: Epoch,
    scan_threads: usize,
}

impl LogSource {
    /// The chain `links`, oldest first, of the log `log_id`.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, links: Vec<ChainLink>, log_id: LogId) -> Self {
        let highest_epoch = links.iter().map(|link| link.header.epoch).max().unwrap_or(Epoch::NONE);
        Self { storage, links: links.into(), log_id, highest_epoch, scan_threads: SCAN_THREADS }
    }

    /// The same chain, in which records may carry epochs up to `epoch`.
    ///
    /// Needed because a log that was reopened cleanly goes on in the segments of earlier epochs.
    #[must_use]
    pub fn with_highest_epoch(mut self, epoch: Epoch) -> Self {
        self.highest_epoch = self.highest_epoch.max(epoch);
        self
    }

    /// The same chain, which recovery scans on up to `threads` threads. Default: 2.
    #[must_use]
    pub const fn with_scan_threads(mut self, threads: usize) -> Self {
        self.scan_threads = threads;
        self
    }

    /// On how many threads recovery scans it at most: for [`scan_on`](Self::scan_on).
    #[must_use]
    pub const fn scan_threads(&self) -> usize {
        self.scan_threads
    }

    /// The place where the segments are.
    #[must_use]
    pub const fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The segments, oldest first.
    #[must_use]
    pub fn links(&self) -> &[ChainLink] {
        &self.links
    }

    /// The log.
    #[must_use]
    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The highest epoch that records may carry, as far as is known.
    #[must_use]
    pub const fn highest_epoch(&self) -> Epoch {
        self.highest_epoch
    }

    /// From the first address of the first segment to the end of the last.
    #[must_use]
    pub fn range(&self) -> LsnRange {
        let start = self.links.first().map_or(Lsn::NONE, |link| link.range().start);
        let end = self.links.last().map_or(Lsn::NONE, |link| link.range().end);
        LsnRange::new(start, end)
    }

    /// The segment which covers `lsn`, and its index.
    #[must_use]
    pub fn link_of(&self, lsn: Lsn) -> Option<(usize, &ChainLink)> {
        let index = self.links.partition_point(|link| link.range().end <= lsn);
        self.links.get(index).filter(|link| link.range().contains(lsn)).map(|link| (index, link))
    }

    /// Reads the records of `range` in order. Its start must be the start of a record, of a
    /// segment, or lie in a declared jump.
    #[must_use]
    pub fn scan(&self, range: LsnRange) -> Scanner {
        Scanner::new(
            Arc::clone(&self.storage),
            Arc::clone(&self.links),
            self.log_id,
            self.highest_epoch,
            range,
        )
    }

    /// As [`scan`](Self::scan), on up to `threads` threads: with two or more a helper reads ahead,
    /// and proves what the caller has not come to. Steps, stop and errors are the same.
    ///
    /// The helper starts once 2 MiB are read, if there is another processor, and ends with the
    /// scanner, at the latest after the run of 256 KiB at hand. Where no thread can be started the
    /// scan is on one.
    ///
    /// # Cost
    ///
    /// Four runs of 256 KiB beside the window, and what is known of the records in them: at most
    /// 5 MiB, where every body is empty.
    #[must_use]
    pub fn scan_on(&self, range: LsnRange, threads: usize) -> Scanner {
        let scanner = self.scan(range);
        if threads < 2 { scanner } else { scanner.with_helper() }
    }

    /// Reads the one record at `lsn` into `buf`, which is reused and grows as needed.
    ///
    /// # Errors
    ///
    /// - [`RecoveryError::OutOfRange`]: no segment covers `lsn`.
    /// - [`RecoveryError::Unreadable`]: no valid record stands there.
    /// - [`RecoveryError::Truncated`]: the segment was removed since the chain was read.
    /// - [`RecoveryError::OutOfMemory`], [`RecoveryError::Io`]: nothing is known about it; try
    ///   again.
    ///
    /// # Cost
    ///
    /// Opens the segment, and reads 4 KiB, then the rest of a longer record.
    pub fn read_record<'b>(
        &self,
        lsn: Lsn,
        buf: &'b mut Vec<u8>,
    ) -> Result<RecordRef<'b>, RecoveryError> {
        let Some((_, link)) = self.link_of(lsn) else {
            let LsnRange { start: head, end } = self.range();
            return Err(RecoveryError::OutOfRange { lsn, head, end });
        };
        let reader = open_segment(&*self.storage, link)?;
        self.read_through(&reader, lsn, link, buf)?;
        self.decode_held(lsn, link, buf)
    }

    /// Brings what stands at `lsn` into `buf`, through a reader of the segment of `link`; an error
    /// unless it is a whole and valid record.
    pub(crate) fn read_through(
        &self,
        reader: &SegmentReader,
        lsn: Lsn,
        link: &ChainLink,
        buf: &mut Vec<u8>,
    ) -> Result<(), RecoveryError> {
        let left = link.stored_end().distance_from(lsn).unwrap_or(0);
        read_into(reader, lsn, left.min(BLOCK_BYTES as u64), buf)?;
        match self.decode_at(lsn, link, buf) {
            Ok(_) => return Ok(()),
            Err(DecodeError::Incomplete { needed }) if needed <= left => {
                read_into(reader, lsn, needed, buf)?;
            }
            Err(_) => {}
        }
        self.decode_held(lsn, link, buf).map(drop)
    }

    /// The record at `lsn`, of the segment of `link`, whose bytes `buf` holds.
    pub(crate) fn decode_held<'b>(
        &self,
        lsn: Lsn,
        link: &ChainLink,
        buf: &'b [u8],
    ) -> Result<RecordRef<'b>, RecoveryError> {
        self.decode_at(lsn, link, buf).map_err(|source| RecoveryError::Unreadable {
            lsn,
            segment: link.name,
            offset: link.offset_of(lsn),
            source,
        })
    }

    fn decode_at<'b>(
        &self,
        lsn: Lsn,
        link: &ChainLink,
        bytes: &'b [u8],
    ) -> Result<RecordRef<'b>, DecodeError> {
        decode_under_any(bytes, lsn, self.log_id, link.header.epoch, self.highest_epoch)
    }
}

/// Fills `buf` with the `bytes` at `lsn`, or as many as there are.
pub(crate) fn read_into(
    reader: &SegmentReader,
    lsn: Lsn,
    bytes: u64,
    buf: &mut Vec<u8>,
) -> Result<(), RecoveryError> {
    let out_of_memory = RecoveryError::OutOfMemory { lsn, bytes };
    let Ok(len) = usize::try_from(bytes) else {
        return Err(out_of_memory);
    };
    buf.clear();
    buf.try_reserve(len).map_err(|_| out_of_memory)?;
    buf.resize(len, 0);
    let count = reader.read_at(lsn, buf)?;
    buf.truncate(count);
    Ok(())
}
