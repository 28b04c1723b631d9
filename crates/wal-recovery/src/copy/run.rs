//! Writing the segments of a copy, under temporary names until all of them are durable.
//!
//! A copy that is interrupted leaves temporary names, which are no log. When every segment is
//! durable, names are given from the newest segment to the oldest: until the last name is there,
//! the chain lacks its beginning and is refused; after it, the copy is complete.

use std::io::IoSlice;

use wal_format::layout::BLOCK_BYTES;
use wal_format::{LogId, Lsn, RecordDraft, RecordRef, RecordSeed, SegmentHeader};
use wal_io::{IoError, IoOp, LogFile, SegmentName, Storage, write_full_at};

use crate::error::RecoveryError;

/// Bytes gathered for one write; a multiple of every block.
const WRITE_BYTES: usize = 1 << 20;

/// A segment being written.
#[derive(Debug)]
pub(super) struct RunFile {
    file: Box<dyn LogFile>,
    name: String,
    seed: RecordSeed,
    /// Bytes to be written at `offset`.
    buffer: Vec<u8>,
    offset: u64,
    /// Where the next record goes, and where the segment ends.
    at: Lsn,
    end: Lsn,
}

impl RunFile {
    /// Creates the segment of `header` under its temporary name.
    pub(super) fn create(
        storage: &dyn Storage,
        header: &SegmentHeader,
    ) -> Result<Self, RecoveryError> {
        let name = SegmentName { epoch: header.epoch, base: header.base }.temporary();
        // Whole blocks, so that a direct backend can write the last one.
        let bytes = header.capacity_bytes.next_multiple_of(BLOCK_BYTES as u64);
        let file = storage
            .create(&name, bytes.saturating_add(BLOCK_BYTES as u64))
            .map_err(|error| IoError::failed(IoOp::Create, &*name, error))?;
        let end = header
            .end()
            .ok_or(IoError::OutOfRange { what: "the end of a segment", lsn: header.base })?;
        let seed = RecordSeed::new(header.log_id, header.epoch);
        let buffer = header.encode().to_vec();
        Ok(Self { file, name, seed, buffer, offset: 0, at: header.base, end })
    }

    /// Writes `record` again, at its own address, as a record of the copy.
    pub(super) fn push(&mut self, record: &RecordRef<'_>) -> Result<(), RecoveryError> {
        let lsn = record.lsn();
        if lsn != self.at || record.end() > self.end {
            return Err(RecoveryError::Changed { lsn });
        }
        let parts = [record.body];
        let draft = RecordDraft {
            kind: record.kind(),
            flags: record.flags(),
            txn: record.txn,
            parts: &parts,
        };
        let start = self.buffer.len();
        let bytes = draft.encoded_bytes();
        self.buffer
            .try_reserve(bytes)
            .map_err(|_| RecoveryError::OutOfMemory { lsn, bytes: bytes as u64 })?;
        self.buffer.resize(start + bytes, 0);
        draft
            .encode_into(
                &self.seed,
                lsn,
                record.durable(),
                self.buffer.get_mut(start..).unwrap_or_default(),
            )
            .map_err(|source| RecoveryError::Encode { lsn, source })?;
        self.at = record.end();
        if self.buffer.len() >= WRITE_BYTES {
            self.write_blocks()?;
        }
        Ok(())
    }

    /// Makes the segment durable, still under its temporary name.
    pub(super) fn finish(mut self) -> Result<(), RecoveryError> {
        if self.at != self.end {
            return Err(RecoveryError::Changed { lsn: self.at });
        }
        self.seal()
    }

    /// As [`finish`](Self::finish), for a segment that holds no record.
    pub(super) fn finish_empty(mut self) -> Result<(), RecoveryError> {
        debug_assert_eq!(self.buffer.len(), BLOCK_BYTES, "nothing but the header");
        self.seal()
    }

    fn seal(&mut self) -> Result<(), RecoveryError> {
        self.buffer.resize(self.buffer.len().next_multiple_of(BLOCK_BYTES), 0);
        self.write_blocks()?;
        let synced = self.file.sync_all();
        synced.map_err(|error| IoError::failed(IoOp::Sync, &*self.name, error).into())
    }

    /// Writes what is gathered, but for the last, unfinished block.
    fn write_blocks(&mut self) -> Result<(), RecoveryError> {
        let whole = self.buffer.len() / BLOCK_BYTES * BLOCK_BYTES;
        let blocks = self.buffer.get(..whole).unwrap_or_default();
        write_full_at(self.file.as_ref(), &self.name, &[IoSlice::new(blocks)], self.offset)?;
        self.offset += whole as u64;
        self.buffer.drain(..whole);
        // One very large record need not keep its memory.
        self.buffer.shrink_to(2 * WRITE_BYTES);
        Ok(())
    }
}

/// Gives the segments their names, newest first, and makes the names durable.
pub(super) fn give_names(
    storage: &dyn Storage,
    names: &[SegmentName],
) -> Result<(), RecoveryError> {
    debug_assert!(names.is_sorted(), "oldest first");
    for name in names.iter().rev() {
        let temporary = name.temporary();
        storage
            .rename(&temporary, &name.to_string())
            .map_err(|error| IoError::failed(IoOp::Rename, temporary, error))?;
        // One at a time: no crash may leave an older name without a newer one.
        storage
            .sync_dir()
            .map_err(|error| IoError::failed(IoOp::SyncDir, storage.place(), error))?;
    }
    Ok(())
}

/// The identity of a copy must differ from that of its source (rule 8).
pub(super) fn check_identity(source: LogId, copy: LogId) -> Result<(), RecoveryError> {
    if source == copy {
        return Err(RecoveryError::SameLog { log_id: copy });
    }
    Ok(())
}
