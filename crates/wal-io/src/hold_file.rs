//! The files of persistent holds: listing, writing, removing.
//!
//! One small file a hold, replaced by a rename, so that it holds one state or the next. What is
//! found and cannot be read as a hold is named with the reason, never passed over: nobody knows
//! what it keeps. Who may call what while is the caller's part: see [`Storage::lock_holds`].

use std::io::{ErrorKind, IoSlice};

use wal_format::layout::BLOCK_BYTES;
use wal_format::{DecodeError, EncodeError, HoldRecord, LogId};

use crate::error::{IoError, IoOp};
use crate::file_io::{read_full_at, write_full_at};
use crate::segment_name::TEMPORARY_SUFFIX;
use crate::storage::{Access, LogFile, Storage};

const HOLD_SUFFIX: &str = ".hold";

/// How often a file that an opening has taken for one left behind is made again.
const ATTEMPTS_MAX: usize = 8;

/// A hold as its file was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundHold {
    /// The name of the hold, as that of its file tells it.
    pub name: String,
    /// What the file holds; or why it is none, or is not of this name or log.
    pub record: Result<HoldRecord, HoldFault>,
}

/// Why the file of a hold cannot be trusted. Such a hold keeps everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HoldFault {
    /// Its bytes are no hold.
    #[error("its file is damaged: {0}")]
    Damaged(DecodeError),
    /// It was renamed.
    #[error("its file was renamed")]
    Misplaced,
    /// It was copied here from another log.
    #[error("it holds another log ({found})")]
    Foreign {
        /// The log that it holds.
        found: LogId,
    },
}

/// Every hold of the directory, in order of names. `log_id`, where it is known, is the log there.
///
/// # Errors
///
/// [`IoError::Failed`]: nothing is known about the holds; nothing may be truncated.
///
/// # Cost
///
/// One list; one open and one read of 4,096 bytes a hold.
pub fn read_holds(storage: &dyn Storage, log_id: Option<LogId>) -> Result<Vec<FoundHold>, IoError> {
    let entries =
        storage.list().map_err(|error| IoError::failed(IoOp::List, storage.place(), error))?;
    let mut holds = Vec::new();
    for entry in entries {
        let Some(name) = entry.name.strip_suffix(HOLD_SUFFIX) else { continue };
        holds.extend(read_hold(storage, log_id, name)?);
    }
    holds.sort_unstable_by(|one, two| one.name.cmp(&two.name));
    Ok(holds)
}

/// The hold of this name, if there is one.
///
/// # Errors
///
/// As [`read_holds`].
pub fn read_hold(
    storage: &dyn Storage,
    log_id: Option<LogId>,
    name: &str,
) -> Result<Option<FoundHold>, IoError> {
    let file_name = file_name(name);
    let file = match storage.open(&file_name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(IoError::failed(IoOp::Open, file_name, error)),
    };
    let mut block = [0_u8; BLOCK_BYTES];
    let count = read_full_at(file.as_ref(), &file_name, &mut block, 0)?;
    let record = HoldRecord::decode(block.get(..count).unwrap_or_default())
        .map_err(HoldFault::Damaged)
        .and_then(|record| match log_id {
            Some(log_id) if record.log_id != log_id => {
                Err(HoldFault::Foreign { found: record.log_id })
            }
            _ if record.name != name => Err(HoldFault::Misplaced),
            _ => Ok(record),
        });
    Ok(Some(FoundHold { name: name.to_owned(), record }))
}

/// Writes the file of a hold, replacing what it held before.
///
/// # Durability
///
/// The hold is durable when this returns. A crash before that leaves what was there before, or
/// the new state, whole.
///
/// # Errors
///
/// - [`IoError::BadOption`]: the name is none.
/// - [`IoError::Failed`]: what was there before is there still, or it is not known which of the
///   two the next crash leaves.
///
/// # Cost
///
/// A file made, written, synced and renamed; one sync of the directory.
pub fn write_hold(storage: &dyn Storage, hold: &HoldRecord) -> Result<(), IoError> {
    let block = hold.encode().map_err(|error| refused(hold, &error))?;
    let name = file_name(&hold.name);
    let temporary = format!("{name}{TEMPORARY_SUFFIX}");
    let mut attempt = 1;
    loop {
        write_temporary(storage, &temporary, &block)?;
        match storage.rename(&temporary, &name) {
            Ok(()) => break,
            // An opening removes what it takes for left behind; this was not.
            Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS_MAX => {}
            Err(error) => return Err(IoError::failed(IoOp::Rename, temporary, error)),
        }
        attempt += 1;
    }
    storage.sync_dir().map_err(|error| IoError::failed(IoOp::SyncDir, storage.place(), error))
}

fn write_temporary(
    storage: &dyn Storage,
    temporary: &str,
    block: &[u8; BLOCK_BYTES],
) -> Result<(), IoError> {
    remove_if_there(storage, temporary)?;
    let written = storage
        .create(temporary, BLOCK_BYTES as u64)
        .map_err(|error| IoError::failed(IoOp::Create, temporary, error))
        .and_then(|file| write_and_sync(file.as_ref(), temporary, block));
    if written.is_err() {
        // Best effort: what stays is removed by the next opening.
        let _removed = remove_if_there(storage, temporary);
    }
    written
}

fn write_and_sync(file: &dyn LogFile, name: &str, block: &[u8]) -> Result<(), IoError> {
    write_full_at(file, name, &[IoSlice::new(block)], 0)?;
    file.sync_all().map_err(|error| IoError::failed(IoOp::Sync, name, error))
}

/// Removes the file of a hold; returns whether there was one.
///
/// # Durability
///
/// The hold is gone for good when this returns.
///
/// # Errors
///
/// [`IoError::Failed`]: it is there, or may come back with a crash; call again.
///
/// # Cost
///
/// One removal, one sync of the directory.
pub fn remove_hold(storage: &dyn Storage, name: &str) -> Result<bool, IoError> {
    let there = remove_if_there(storage, &file_name(name))?;
    if there {
        storage
            .sync_dir()
            .map_err(|error| IoError::failed(IoOp::SyncDir, storage.place(), error))?;
    }
    Ok(there)
}

fn remove_if_there(storage: &dyn Storage, name: &str) -> Result<bool, IoError> {
    match storage.remove(name) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(IoError::failed(IoOp::Remove, name.to_owned(), error)),
    }
}

fn file_name(name: &str) -> String {
    format!("{name}{HOLD_SUFFIX}")
}

fn refused(hold: &HoldRecord, error: &EncodeError) -> IoError {
    match error {
        EncodeError::BadField { field: "name" } => IoError::BadOption {
            option: "the length of the name of a hold",
            value: hold.name.len() as u64,
            requirement: "1 to 128, all ASCII letters, digits, `.`, `_` or `-`, the first no `.`",
        },
        _ => IoError::BadOption {
            option: "what a hold does over its limit",
            value: hold.limit.map_or(0, |(_, over)| over.into()),
            requirement: "not 0",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::MemoryStorage;
    use wal_format::Lsn;

    const LOG: LogId = LogId::from_bytes([7; 16]);

    fn hold(name: &str, lsn: u64) -> HoldRecord {
        HoldRecord {
            log_id: LOG,
            lsn: Lsn::new(lsn).unwrap(),
            limit: None,
            placed_unix_us: 1,
            moved_unix_us: 2,
            owner: 3,
            name: name.to_owned(),
        }
    }

    fn records(storage: &MemoryStorage) -> Vec<HoldRecord> {
        let found = read_holds(storage, Some(LOG)).unwrap();
        found.into_iter().map(|found| found.record.unwrap()).collect()
    }

    #[test]
    fn holds_are_listed_as_they_were_last_written_until_they_are_removed() {
        let storage = MemoryStorage::new();
        write_hold(&storage, &hold("two", 8192)).unwrap();
        write_hold(&storage, &hold("one", 4096)).unwrap();
        write_hold(&storage, &hold("two", 16384)).unwrap();
        assert_eq!(records(&storage), [hold("one", 4096), hold("two", 16384)]);
        assert!(remove_hold(&storage, "one").unwrap());
        assert!(!remove_hold(&storage, "one").unwrap());
        assert_eq!(records(&storage), [hold("two", 16384)]);
        assert_eq!(storage.list().unwrap().len(), 1, "nothing temporary stays");
    }

    #[test]
    fn other_files_are_no_holds() {
        let storage = MemoryStorage::new();
        for name in ["control", "hold", "x.hold.tmp", "0000000000001000-0000000000000001.wal"] {
            storage.create(name, 4096).unwrap();
        }
        assert!(read_holds(&storage, Some(LOG)).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_trusted_is_named_with_the_reason() {
        let storage = MemoryStorage::new();
        storage.create("empty.hold", 0).unwrap();
        write_hold(
            &storage,
            &HoldRecord { log_id: LogId::from_bytes([8; 16]), ..hold("alien", 8192) },
        )
        .unwrap();
        write_hold(&storage, &hold("old", 4096)).unwrap();
        storage.rename("old.hold", "new.hold").unwrap();
        let faults: Vec<_> = read_holds(&storage, Some(LOG))
            .unwrap()
            .into_iter()
            .map(|found| (found.name, found.record.unwrap_err()))
            .collect();
        assert_eq!(
            faults,
            [
                ("alien".to_owned(), HoldFault::Foreign { found: LogId::from_bytes([8; 16]) }),
                (
                    "empty".to_owned(),
                    HoldFault::Damaged(DecodeError::Incomplete { needed: BLOCK_BYTES as u64 })
                ),
                ("new".to_owned(), HoldFault::Misplaced),
            ]
        );
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused_and_nothing_is_made() {
        let storage = MemoryStorage::new();
        let error = write_hold(&storage, &hold("../x", 4096)).unwrap_err();
        assert!(matches!(error, IoError::BadOption { .. }), "{error}");
        assert!(storage.list().unwrap().is_empty());
    }
}
