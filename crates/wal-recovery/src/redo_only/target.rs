//! What an engine implements to be recovered by redo, and what it is given.

use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wal_format::{Lsn, RecordFlags, RecordKind, TxnId};

use crate::error::RecoveryError;

/// A checkpoint of the engine's own making, as it comes back.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CheckpointView<'a> {
    /// The checkpoint's begin: replay gives again what committed at or after it.
    pub begin: Lsn,
    /// Address of the record that completed it.
    pub record: Lsn,
    /// What the engine stored, byte for byte; compressed if it was stored so.
    pub payload: &'a [u8],
    /// Whether the payload is compressed, as the record says.
    pub compressed: bool,
}

impl<'a> CheckpointView<'a> {
    /// A checkpoint begun at `begin` and completed by the record at `record`; to try an engine.
    #[must_use]
    pub const fn new(begin: Lsn, record: Lsn, payload: &'a [u8]) -> Self {
        Self { begin, record, payload, compressed: false }
    }
}

/// The commit that makes a record count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitMark {
    /// Address of the commit record.
    pub lsn: Lsn,
    /// The engine's commit timestamp, if it gave one.
    pub timestamp: Option<u64>,
}

/// One record to be done again.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReplayRecord<'a> {
    /// Address of the record: unique for ever, so a measure of what was applied already.
    pub lsn: Lsn,
    /// What the record is; the engine's own kinds, or one of the format's data kinds.
    pub kind: RecordKind,
    /// The body as stored; compressed where [`compressed`](Self::compressed) says so.
    pub body: &'a [u8],
    /// Whether the body is compressed.
    pub compressed: bool,
    /// The transaction, for a record in one. Unique within one opening of the log only.
    pub txn: Option<TxnId>,
    /// The commit of that transaction; `None` for plain records and members of a batch.
    pub commit: Option<CommitMark>,
}

impl<'a> ReplayRecord<'a> {
    /// A plain record; to try an engine. The other fields may be set from here.
    #[must_use]
    pub const fn new(lsn: Lsn, kind: RecordKind, body: &'a [u8]) -> Self {
        Self { lsn, kind, body, compressed: false, txn: None, commit: None }
    }
}

/// An engine which recovers by doing committed work again, and by nothing else.
///
/// It never lets an uncommitted change reach storage (no-steal). A recovery may be interrupted
/// and run again from its start, and a checkpoint may already hold some of what is replayed after
/// its begin: [`redo`](Self::redo) of something already applied must leave the same state.
///
/// A closure that takes a [`ReplayRecord`] is such an engine, without checkpoints: it cannot
/// recover from a log that has one.
pub trait RedoTarget {
    /// Why the engine refuses.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Whether [`restore`](Self::restore) takes checkpoints back.
    ///
    /// Where it does not, a log with a checkpoint is refused with [`RecoveryError::NoRestore`]:
    /// the records before the checkpoint are not replayed, so the engine would lose them.
    fn restores(&self) -> bool {
        true
    }

    /// Takes back the newest complete checkpoint. Called at most once, before any record.
    ///
    /// The default is for engines whose state lies elsewhere: it leaves the payload where it is.
    ///
    /// # Errors
    ///
    /// Whatever stops the recovery: it ends with [`RecoveryError::Handler`], and nothing in the
    /// log is lost.
    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), Self::Error> {
        let _ = checkpoint;
        Ok(())
    }

    /// Does `record` again.
    ///
    /// Plain records come in the order of the log; an atomic batch comes where its last record
    /// stands, a transaction where its commit record stands, each in its own order.
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore). A panic ends the recovery too, with
    /// [`RecoveryError::HandlerPanicked`].
    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), Self::Error>;
}

impl<F, Er> RedoTarget for F
where
    F: FnMut(&ReplayRecord<'_>) -> Result<(), Er>,
    Er: Into<Box<dyn Error + Send + Sync>>,
{
    type Error = Er;

    fn restores(&self) -> bool {
        false
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), Er> {
        self(record)
    }
}

/// Runs a handler on the record at `lsn`; its error and its panic become errors of ours.
///
/// The engine may be half-changed by a panic. It is handed back to its owner together with the
/// error and never called again by this recovery, so unwind safety is its owner's to judge.
#[inline]
pub(crate) fn guarded<Er>(
    lsn: Lsn,
    handler: impl FnOnce() -> Result<(), Er>,
) -> Result<(), RecoveryError>
where
    Er: Into<Box<dyn Error + Send + Sync>>,
{
    match catch_unwind(AssertUnwindSafe(handler)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(RecoveryError::Handler { lsn, source: error.into() }),
        Err(panic) => Err(panicked(lsn, panic.as_ref())),
    }
}

/// The engine panicked over the record at `lsn`.
#[cold]
pub(crate) fn panicked(lsn: Lsn, panic: &(dyn Any + Send)) -> RecoveryError {
    RecoveryError::HandlerPanicked { lsn, message: panic_message(panic) }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "no message".to_owned()
    }
}

/// Whether `record` is compressed.
pub(super) const fn is_compressed(flags: RecordFlags) -> bool {
    flags.contains(RecordFlags::COMPRESSED)
}
