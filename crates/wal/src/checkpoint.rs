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
/// brings the rest (rule 3). Writers go on meanwhile, and truncation spares what replay from here
/// will need.
#[derive(Debug)]
#[must_use = "a checkpoint counts only once it is complete"]
pub struct Checkpoint {
    wal: Wal,
    number: u64,
    begin: Lsn,
    redo_from: Lsn,
}

impl Checkpoint {
    fn begin(wal: &Wal) -> Result<Self, Error> {
        let shared = wal.shared();
        if !shared.options.sync_method.can_promise() {
            return Err(Refusal::NotPromised.into());
        }
        let mut begun = (0, Lsn::NONE);
        let draft = RecordDraft::new(RecordKind::CHECKPOINT_BEGIN, &[]);
        let ticket = wal.append_draft(&draft, &mut |lsn| {
            // Under the reservation lock: no transaction can log its first record in between.
            begun = shared.active.lock().checkpoint_begins(lsn);
        })?;
        let (number, redo_from) = begun;
        Ok(Self { wal: wal.clone(), number, begin: ticket.lsn(), redo_from })
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
    /// [`Refused`](crate::ErrorKind::Refused) also when a checkpoint that began later is complete
    /// already: that one counts, and this one is not needed any more.
    /// [`Io`](crate::ErrorKind::Io): the control file could not be written; the previous
    /// checkpoint stays in force.
    ///
    /// # Cost
    ///
    /// One record with its write and sync, and one write and sync of the control file.
    pub fn complete(self, payload: &[u8]) -> Result<CheckpointPointer, Error> {
        let (begin, redo_from) = (self.begin, self.redo_from);
        let shared = self.wal.shared();
        let _one_at_a_time = shared.completion.lock();
        if let Some(newer) = shared.store.checkpoints().iter().find(|kept| kept.begin > begin) {
            return Err(Refusal::Outdated { begin, newer: newer.begin }.into());
        }
        let head = CheckpointEnd { begin, redo_from, payload }.encode_head();
        let parts = [head.as_slice(), payload];
        let draft = RecordDraft::new(RecordKind::CHECKPOINT_END, &parts);
        let ticket = self.wal.append_draft(&draft, &mut |_| {})?;
        ticket.wait_durable()?;
        let (record, end) = (ticket.lsn(), ticket.end());
        let pointer = CheckpointPointer { begin, redo_from, record, end };
        shared.store.note_durable(end);
        let recorded = shared.store.record_checkpoint(pointer);
        recorded.map_err(|error| self.wal.superseded(error))?;
        tracing::debug!(%begin, %record, "checkpoint complete");
        Ok(pointer)
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        // After a completion the pointer is recorded, and holds what is needed from now on.
        self.wal.shared().active.lock().checkpoint_ends(self.number);
    }
}
