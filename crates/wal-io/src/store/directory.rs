//! Files of a log directory, made and removed in the order that survives a crash.
//!
//! A segment takes its name complete: temporary name, contents, sync, rename, sync of the
//! directory. Nothing here knows the chain or the control file.

use std::io::{ErrorKind, IoSlice};

use wal_format::layout::BLOCK_BYTES;
use wal_format::{LogId, SegmentHeader};

use crate::chain::ChainLink;
use crate::error::{IoError, IoOp};
use crate::file_io::write_full_at;
use crate::segment_name::{SPARE_NAME, SegmentName, TEMPORARY_SUFFIX};
use crate::storage::{Access, LogFile, Preparation, Storage};

/// Whether a segment takes a name that nobody had, or that of an empty segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    New,
    Replacing,
}

/// The header block of a segment, as a length.
pub(super) const HEADER_BYTES: u64 = BLOCK_BYTES as u64;

pub(super) const fn name_of(header: &SegmentHeader) -> SegmentName {
    SegmentName { epoch: header.epoch, base: header.base }
}

/// Length of a segment's file: whole blocks, so that a direct backend can write its last one.
pub(super) fn file_bytes(capacity_bytes: u64) -> Option<u64> {
    capacity_bytes.checked_next_multiple_of(HEADER_BYTES)?.checked_add(HEADER_BYTES)
}

/// A link for a segment just made, not capped.
pub(super) fn link_of(header: SegmentHeader, file_bytes: u64) -> Result<ChainLink, IoError> {
    let cap = header
        .end()
        .ok_or(IoError::OutOfRange { what: "the end of a segment", lsn: header.base })?;
    Ok(ChainLink { name: name_of(&header), header, cap, file_bytes })
}

/// Creates the temporary file of a segment and writes its header; nothing is synced.
///
/// On an error no temporary file is left, as far as the storage lets it be removed.
pub(super) fn begin_segment(
    storage: &dyn Storage,
    header: &SegmentHeader,
    preparation: Preparation,
) -> Result<Box<dyn LogFile>, IoError> {
    let temporary = name_of(header).temporary();
    let len = file_bytes(header.capacity_bytes)
        .ok_or(IoError::OutOfRange { what: "the length of a segment", lsn: header.base })?;
    remove_if_there(storage, &temporary)?;
    let file = storage
        .create_for(&temporary, len, preparation)
        .map_err(|error| IoError::failed(IoOp::Create, &*temporary, error))?;
    match write_header(file.as_ref(), &temporary, header) {
        Ok(()) => Ok(file),
        Err(error) => {
            drop(file);
            abandon(storage, &temporary);
            Err(error)
        }
    }
}

pub(super) fn write_header(
    file: &dyn LogFile,
    name: &str,
    header: &SegmentHeader,
) -> Result<(), IoError> {
    let block = header.encode();
    // Checked before the write, and again by every reader after it.
    debug_assert_eq!(SegmentHeader::decode(&block), Ok(*header), "a header of ours decodes");
    write_full_at(file, name, &[IoSlice::new(&block)], 0)
}

/// Gives a finished temporary file its live name: sync, rename, sync the directory (rule 1).
///
/// When the sync fails, the file is removed and never used. When a later step fails, whether the
/// name is live is unknown (see [`leaves_names_unknown`]): a new name is then taken back, or a
/// later process would trust what only the cache shows.
pub(super) fn finish_segment(
    storage: &dyn Storage,
    file: Box<dyn LogFile>,
    name: SegmentName,
    naming: Naming,
) -> Result<(), IoError> {
    let temporary = name.temporary();
    let synced = file.sync_all();
    drop(file);
    if let Err(error) = synced {
        abandon(storage, &temporary);
        return Err(IoError::failed(IoOp::Sync, temporary, error));
    }
    let name = name.to_string();
    let named = storage
        .rename(&temporary, &name)
        .map_err(|error| IoError::failed(IoOp::Rename, temporary, error))
        .and_then(|()| sync_dir(storage));
    if named.is_err() && naming == Naming::New {
        abandon(storage, &name);
    }
    named
}

/// Makes an empty segment: its file is durable under its live name when this returns.
pub(super) fn make_segment(
    storage: &dyn Storage,
    header: SegmentHeader,
    naming: Naming,
    preparation: Preparation,
) -> Result<ChainLink, IoError> {
    let link = link_of(header, file_bytes(header.capacity_bytes).unwrap_or(u64::MAX))?;
    let file = begin_segment(storage, &header, preparation)?;
    finish_segment(storage, file, link.name, naming)?;
    tracing::debug!(segment = %link.name, bytes = link.file_bytes, "segment ready");
    Ok(link)
}

/// Gives the space of the empty segment `old` to a new one of the same length, without needing
/// any: at every moment the file is empty, so there is nothing in it to lose.
pub(super) fn recycle_segment(
    storage: &dyn Storage,
    old: SegmentName,
    header: SegmentHeader,
) -> Result<ChainLink, IoError> {
    let link = link_of(header, file_bytes(header.capacity_bytes).unwrap_or(u64::MAX))?;
    let temporary = link.name.temporary();
    remove_if_there(storage, &temporary)?;
    storage
        .rename(&old.to_string(), &temporary)
        .map_err(|error| IoError::failed(IoOp::Rename, old.to_string(), error))?;
    // The old name must be gone for good before the header under it changes.
    sync_dir(storage)?;
    let file = open_for_writing(storage, &temporary)?;
    write_header(file.as_ref(), &temporary, &header)?;
    finish_segment(storage, file, link.name, Naming::New)?;
    Ok(link)
}

/// Gives the space of the file `filler`, whose contents do not matter and whose length is right, to
/// a new segment.
///
/// A crash on the way leaves the file under its old or its temporary name, perhaps with a header
/// in its first block, which whoever takes it next writes over.
pub(super) fn segment_from_filler(
    storage: &dyn Storage,
    filler: &str,
    header: SegmentHeader,
    naming: Naming,
) -> Result<ChainLink, IoError> {
    let link = link_of(header, file_bytes(header.capacity_bytes).unwrap_or(u64::MAX))?;
    let temporary = link.name.temporary();
    remove_if_there(storage, &temporary)?;
    storage
        .rename(filler, &temporary)
        .map_err(|error| IoError::failed(IoOp::Rename, filler.to_owned(), error))?;
    let file = open_for_writing(storage, &temporary)?;
    file.expect_writes();
    write_header(file.as_ref(), &temporary, &header)?;
    finish_segment(storage, file, link.name, naming)?;
    tracing::debug!(segment = %link.name, "segment ready, in a file that was there");
    Ok(link)
}

/// Cuts a file to `len` bytes and makes that durable.
pub(super) fn shrink(storage: &dyn Storage, name: &str, len: u64) -> Result<(), IoError> {
    let file = open_for_writing(storage, name)?;
    file.set_len(len).map_err(|error| IoError::failed(IoOp::Length, name, error))?;
    file.sync_all().map_err(|error| IoError::failed(IoOp::Sync, name, error))
}

/// Makes the file that holds back space for an opening on a full disk (rule 16).
pub(super) fn make_spare(storage: &dyn Storage, len: u64) -> Result<(), IoError> {
    make_filler(storage, SPARE_NAME, len, Preparation::Reserved)
}

/// Makes a file of zeros whose only use is the space that it takes.
pub(super) fn make_filler(
    storage: &dyn Storage,
    name: &str,
    len: u64,
    preparation: Preparation,
) -> Result<(), IoError> {
    let temporary = format!("{name}{TEMPORARY_SUFFIX}");
    remove_if_there(storage, &temporary)?;
    let file = storage
        .create_for(&temporary, len, preparation)
        .map_err(|error| IoError::failed(IoOp::Create, &*temporary, error))?;
    if let Err(error) = file.sync_all() {
        drop(file);
        abandon(storage, &temporary);
        return Err(IoError::failed(IoOp::Sync, &*temporary, error));
    }
    drop(file);
    storage
        .rename(&temporary, name)
        .map_err(|error| IoError::failed(IoOp::Rename, &*temporary, error))?;
    sync_dir(storage)
}

/// Writes zeros over all of a file, durably.
pub(super) fn fill_with_zeros(storage: &dyn Storage, name: &str, len: u64) -> Result<(), IoError> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let file = open_for_writing(storage, name)?;
    let mut offset = 0;
    while offset < len {
        let now = usize::try_from(len - offset).unwrap_or(ZEROS.len()).min(ZEROS.len());
        let zeros = ZEROS.get(..now).unwrap_or(&ZEROS);
        write_full_at(file.as_ref(), name, &[IoSlice::new(zeros)], offset)?;
        offset += zeros.len() as u64;
    }
    file.sync_all().map_err(|error| IoError::failed(IoOp::Sync, name.to_owned(), error))
}

pub(super) fn open_for_writing(
    storage: &dyn Storage,
    name: &str,
) -> Result<Box<dyn LogFile>, IoError> {
    storage
        .open(name, Access::Write)
        .map_err(|error| IoError::failed(IoOp::Open, name.to_owned(), error))
}

/// Removes a file; returns whether there was one.
pub(super) fn remove_if_there(storage: &dyn Storage, name: &str) -> Result<bool, IoError> {
    match storage.remove(name) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(IoError::failed(IoOp::Remove, name.to_owned(), error)),
    }
}

/// Removes an unfinished file after a failure; what stays is removed by the next writer.
pub(super) fn abandon(storage: &dyn Storage, name: &str) {
    if let Err(error) = remove_if_there(storage, name) {
        tracing::warn!(file = name, %error, "an unfinished file is left behind");
    }
}

pub(super) fn sync_dir(storage: &dyn Storage) -> Result<(), IoError> {
    storage.sync_dir().map_err(|error| IoError::failed(IoOp::SyncDir, storage.place(), error))
}

/// Whether after this failure nobody can tell which names are live: no later success proves
/// anything about them, so the directory is not to be changed again by this handle.
pub(super) const fn leaves_names_unknown(error: &IoError) -> bool {
    matches!(error, IoError::Failed { op: IoOp::Rename | IoOp::SyncDir, .. })
}

/// A new random identity, for a new log in `storage` or a copy of one.
///
/// # Errors
///
/// [`IoError::Failed`]: there is no source of randomness.
pub fn random_log_id(storage: &dyn Storage) -> Result<LogId, IoError> {
    let mut bytes = [0_u8; 16];
    storage
        .entropy(&mut bytes)
        .map_err(|error| IoError::failed(IoOp::Create, "a random log id", error))?;
    Ok(LogId::from_bytes(bytes))
}
