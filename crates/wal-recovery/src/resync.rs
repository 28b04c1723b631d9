//! Finding a true record again behind a place that cannot be read.
//!
//! A true header carries exactly its own address, and its checksum holds under an epoch of the log:
//! what is found so is proven, whatever stands before it. Memory is one window.

use wal_format::layout::{RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES};
use wal_format::{DecodeError, Lsn, RecordRef, find_record_candidate};

use crate::epochs::decode_under_any;
use crate::error::RecoveryError;
use crate::source::LogSource;
use crate::window::Window;

/// The first address behind `at`, in the same segment, at which a record stands; `None` when there
/// is none up to the end of what the file holds.
///
/// # Errors
///
/// [`RecoveryError::OutOfRange`]: no segment covers `at`. [`RecoveryError::Truncated`]: it was
/// removed meanwhile. [`RecoveryError::Io`], [`RecoveryError::OutOfMemory`]: nothing is known.
///
/// # Cost
///
/// Reads from `at` to what is found, once, in windows of 256 KiB; CRC-32C over each record that
/// seems to stand there.
pub fn find_next_record(source: &LogSource, at: Lsn) -> Result<Option<Lsn>, RecoveryError> {
    let Some((_, link)) = source.link_of(at) else {
        let range = source.range();
        return Err(RecoveryError::OutOfRange { lsn: at, head: range.start, end: range.end });
    };
    next_record(source, &mut Window::open(&**source.storage(), link)?, at)
}

/// As [`find_next_record`], through a view of the segment.
pub(crate) fn next_record(
    source: &LogSource,
    window: &mut Window,
    behind: Lsn,
) -> Result<Option<Lsn>, RecoveryError> {
    let step = |at: Lsn, bytes: usize| at.checked_add(bytes as u64);
    let mut at = step(behind, RECORD_ALIGN_BYTES);
    while let Some(from) = at {
        let left = window.left(from);
        let bytes = window.bytes(from, RECORD_HEADER_BYTES)?;
        let is_last = bytes.len() as u64 >= left;
        at = match find_record_candidate(bytes, from) {
            Some(skipped) => {
                let Some(candidate) = step(from, skipped) else { return Ok(None) };
                if decode_at(source, window, candidate, |_| ())?.is_ok() {
                    return Ok(Some(candidate));
                }
                step(candidate, RECORD_ALIGN_BYTES)
            }
            None if is_last => return Ok(None),
            // A header which the end of the window cuts is met again in the next one.
            None => {
                let whole = bytes.len().saturating_sub(RECORD_HEADER_BYTES) + RECORD_ALIGN_BYTES;
                step(from, whole / RECORD_ALIGN_BYTES * RECORD_ALIGN_BYTES)
            }
        };
    }
    Ok(None)
}

/// Decodes the record at `at` under any epoch that can prove it, and shows it to `look`.
pub(crate) fn decode_at<T>(
    source: &LogSource,
    window: &mut Window,
    at: Lsn,
    mut look: impl FnMut(&RecordRef<'_>) -> T,
) -> Result<Result<T, DecodeError>, RecoveryError> {
    let (lowest, highest) = (window.link().header.epoch, source.highest_epoch());
    window.decode(at, |bytes| {
        decode_under_any(bytes, at, source.log_id(), lowest, highest).map(|record| look(&record))
    })
}
