//! Reading one segment of the chain by address.
//!
//! Knows where a segment ends for readers and never reads past it; does not know what a record
//! is. A reader in another process may meet a segment that the writer has removed or replaced:
//! that is [`IoError::Gone`], never damage (rule 22).

use std::io::ErrorKind;

use wal_format::Lsn;

use crate::chain::ChainLink;
use crate::error::{IoError, IoOp};
use crate::file_io::read_full_at;
use crate::storage::{Access, LogFile, Storage};
use crate::survey::read_header;

const RECORD_ALIGN_BYTES: u64 = wal_format::layout::RECORD_ALIGN_BYTES as u64;

/// One segment, open for reading through a handle of its own.
#[derive(Debug)]
pub struct SegmentReader {
    file: Box<dyn LogFile>,
    name: String,
    link: ChainLink,
}

impl SegmentReader {
    /// Opens the segment of `link`.
    ///
    /// # Errors
    ///
    /// - [`IoError::Gone`]: the log was truncated; take the chain anew.
    /// - [`IoError::Failed`]: the file cannot be opened.
    ///
    /// # Cost
    ///
    /// One open; the header is not read again, see [`verify`](Self::verify).
    pub fn open(storage: &dyn Storage, link: &ChainLink) -> Result<Self, IoError> {
        let name = link.name.to_string();
        match storage.open(&name, Access::Read) {
            Ok(file) => Ok(Self { file, name, link: *link }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(IoError::Gone { name }),
            Err(error) => Err(IoError::failed(IoOp::Open, name, error)),
        }
    }

    /// Reads from `lsn` on into `buf`; returns the bytes read.
    ///
    /// Short only at [`ChainLink::stored_end`] or where the file ends before that; 0 at and
    /// beyond it, and for an address below the base.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`] with the offset; what `buf` holds is then unknown.
    pub fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, IoError> {
        let Some(left) = self.link.stored_end().distance_from(lsn) else { return Ok(0) };
        if lsn < self.link.name.base {
            return Ok(0);
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..count).unwrap_or_default();
        read_full_at(self.file.as_ref(), &self.name, buf, self.link.offset_of(lsn))
    }

    /// The first address from `lsn` on at which anything else than zeros may stand;
    /// [`ChainLink::stored_end`] when there is none.
    ///
    /// # Errors
    ///
    /// [`IoError::Failed`].
    pub fn data_from(&self, lsn: Lsn) -> Result<Lsn, IoError> {
        let end = self.link.stored_end();
        let offset = self.link.offset_of(lsn);
        let data = self
            .file
            .data_from(offset)
            .map_err(|error| IoError::failed(IoOp::Read, self.name.clone(), error))?;
        let passed = data.saturating_sub(offset) / RECORD_ALIGN_BYTES * RECORD_ALIGN_BYTES;
        Ok(lsn.checked_add(passed).map_or(end, |at| at.min(end)).max(lsn))
    }

    /// Checks that the segment still has its name and its header. To be asked before bytes that
    /// do not verify are called damage (rule 22).
    ///
    /// # Errors
    ///
    /// - [`IoError::Gone`]: it was removed or replaced since the chain was read.
    /// - [`IoError::Malformed`]: it is there, and its header does not verify any more.
    /// - [`IoError::Failed`]: it cannot be read.
    pub fn verify(&self, storage: &dyn Storage) -> Result<(), IoError> {
        let found = read_header(storage, self.link.name)?.map(|found| found.header);
        match found {
            Some(Ok(header)) if header == self.link.header => Ok(()),
            Some(Ok(_)) | None => Err(IoError::Gone { name: self.name.clone() }),
            Some(Err(source)) => {
                Err(IoError::Malformed { name: self.name.clone(), offset: 0, source })
            }
        }
    }

    /// The segment as the chain knows it.
    #[must_use]
    pub const fn link(&self) -> &ChainLink {
        &self.link
    }
}
