//! Checkpoints: the engine's own snapshot, and from where its log must be replayed.

use wal_format::body::CheckpointEnd;
use wal_format::{CheckpointPointer, Lsn, RecordDraft, RecordKind};

use crate::error::{Error, Refusal};
use crate::log::Wal;

impl Wal {
    /// Begins a checkpoint. Take the engine's snapshot after this, then complete it.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append); [`Refused`](crate::ErrorKind::Refused) for a log kept without
    /// syncs.
    pub fn checkpoint_begin(&self) -> Result<Checkpoint, Error> {
        Checkpoint::begin(self)
    }
}

/// A checkpoint that has begun and is not complete; dropping it gives it up.
///
/// The snapshot that the engine takes now must hold every record appended outside of a
/// transaction, and every transaction committed, before [`begin_lsn`](Self::begin_lsn). Replay
/// brings the rest (rule 3). Writers go on meanwhile.
#[derive(Debug)]
#[must_use = "a checkpoint counts only once it is complete"]
pub struct Checkpoint {
    wal: Wal,
    begin: Lsn,
    redo_from: Lsn,
}

impl Checkpoint {
    pub(crate) fn begin(wal: &Wal) -> Result<Self, Error> {
        let shared = wal.shared();
        if !shared.options.sync_method.can_promise() {
            return Err(Refusal::NotPromised.into());
        }
        let mut redo_from = Lsn::NONE;
        let draft = RecordDraft::new(RecordKind::CHECKPOINT_BEGIN, &[]);
        let ticket = wal.append_draft(&draft, &mut |lsn| {
            // Under the reservation lock: no transaction can log its first record in between.
            let oldest = shared.transactions.lock().oldest();
            redo_from = oldest.map_or(lsn, |oldest| oldest.min(lsn));
        })?;
        Ok(Self { wal: wal.clone(), begin: ticket.lsn(), redo_from })
    }

    /// The address which separates what the snapshot must hold from what replay brings.
    #[must_use]
    pub const fn begin_lsn(&self) -> Lsn {
        self.begin
    }

    /// Completes the checkpoint with `payload`: what the engine needs to find its snapshot, or
    /// the snapshot itself. Returns its position in the log.
    ///
    /// # Durability
    ///
    /// Durable when it returns; the next opening starts from it. A crash before leaves the
    /// previous checkpoint in force.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`] and [`Ticket::wait_durable`](crate::Ticket::wait_durable).
    /// [`Io`](crate::ErrorKind::Io): the control file could not be written; the previous
    /// checkpoint stays in force.
    ///
    /// # Cost
    ///
    /// One record with its write and sync, and one write and sync of the control file.
    pub fn complete(self, payload: &[u8]) -> Result<CheckpointPointer, Error> {
        let shared = self.wal.shared();
        let head =
            CheckpointEnd { begin: self.begin, redo_from: self.redo_from, payload }.encode_head();
        let parts = [head.as_slice(), payload];
        let draft = RecordDraft::new(RecordKind::CHECKPOINT_END, &parts);
        let ticket = self.wal.append_draft(&draft, &mut |_| {})?;
        ticket.wait_durable()?;
        let pointer = CheckpointPointer {
            begin: self.begin,
            redo_from: self.redo_from,
            record: ticket.lsn(),
            end: ticket.end(),
        };
        shared.store.note_durable(pointer.end);
        shared.store.record_checkpoint(pointer)?;
        tracing::debug!(begin = %pointer.begin, record = %pointer.record, "checkpoint complete");
        Ok(pointer)
    }
}
