//! Copies of a log into a new directory: what can be saved of a damaged one, or its state at an
//! earlier point. The source is never changed, and the copy is a log of its own (rule 8).

use std::path::Path;
use std::sync::Arc;

use wal_io::{Storage, random_log_id};
use wal_recovery::{CopyReport, LossReport, Progress, Until};

use crate::error::Error;
use crate::options::Options;
use crate::place;

/// Copies every provable record of the log in `source` into a new log in `destination`, an empty
/// or missing directory, and reports what is lost.
///
/// Replaying the copy skips transactions and batches that miss records, and counts them.
///
/// # Durability
///
/// The copy is durable when this returns. Interrupted before, `destination` holds no log.
///
/// # Errors
///
/// [`Refused`](crate::ErrorKind::Refused): `destination` is not empty.
/// [`NotALog`](crate::ErrorKind::NotALog), [`Io`](crate::ErrorKind::Io): nothing was changed in
/// `source`; clear `destination` and try again.
///
/// # Cost
///
/// Reads the source three times, without what the file system keeps as holes, and writes the copy
/// once. Where its account of holes is in doubt too, [`salvage_in`] a
/// [`FileStorage`](crate::FileStorage) reads all.
pub fn salvage(
    source: impl AsRef<Path>,
    destination: impl AsRef<Path>,
    progress: &mut dyn Progress,
) -> Result<LossReport, Error> {
    let (source, destination) = places(source.as_ref(), destination.as_ref())?;
    salvage_in(&source, &destination, progress)
}

/// As [`salvage`], in any [`Storage`].
///
/// # Errors
///
/// As [`salvage`].
pub fn salvage_in(
    source: &Arc<dyn Storage>,
    destination: &Arc<dyn Storage>,
    progress: &mut dyn Progress,
) -> Result<LossReport, Error> {
    let log_id = random_log_id(destination.as_ref())?;
    Ok(wal_recovery::salvage(source, destination, log_id, progress)?)
}

/// Copies the log in `source` up to a point into a new log in `destination`, an empty or missing
/// directory. Transactions that commit later are unfinished in the copy, and do not replay.
///
/// Of the engine's own files it needs a copy which was finished before the point. For a log of pages,
/// one that was taken while the engine ran is opened with
/// [`Aries::pages_copied_at`](crate::Aries::pages_copied_at).
///
/// # Durability
///
/// As [`salvage`].
///
/// # Errors
///
/// [`Refused`](crate::ErrorKind::Refused): `destination` is not empty, or the point is not in the
/// log. [`Damaged`](crate::ErrorKind::Damaged): the log is damaged before the point; salvage it.
pub fn restore_to(
    source: impl AsRef<Path>,
    destination: impl AsRef<Path>,
    until: &Until,
    progress: &mut dyn Progress,
) -> Result<CopyReport, Error> {
    let (source, destination) = places(source.as_ref(), destination.as_ref())?;
    restore_to_in(&source, &destination, until, progress)
}

/// As [`restore_to`], in any [`Storage`].
///
/// # Errors
///
/// As [`restore_to`].
pub fn restore_to_in(
    source: &Arc<dyn Storage>,
    destination: &Arc<dyn Storage>,
    until: &Until,
    progress: &mut dyn Progress,
) -> Result<CopyReport, Error> {
    let log_id = random_log_id(destination.as_ref())?;
    Ok(wal_recovery::restore_to(source, destination, until, log_id, progress)?)
}

type Places = (Arc<dyn Storage>, Arc<dyn Storage>);

fn places(source: &Path, destination: &Path) -> Result<Places, Error> {
    // The source first: a mistyped path must not leave an empty directory behind.
    let source = place::viewed(source)?;
    Ok((source, place::writable(destination, &Options::default())?))
}
