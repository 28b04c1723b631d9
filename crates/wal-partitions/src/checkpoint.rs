//! A checkpoint of one partition, which never holds half of a batch.

use std::sync::Arc;

use wal::{CheckpointPointer, Lsn};

use crate::error::Error;
use crate::shared::Shared;

/// A checkpoint of one partition that has begun and is not complete; dropping it gives it up.
///
/// What the snapshot must hold is as for [`wal::Checkpoint`]; a part of a batch across partitions
/// counts as a record outside of a transaction. The snapshot may hold batches that are not durable
/// yet: completing waits until they are.
#[derive(Debug)]
#[must_use = "a checkpoint counts only once it is complete"]
pub struct Checkpoint {
    shared: Arc<Shared>,
    partition: usize,
    inner: wal::Checkpoint,
}

impl Checkpoint {
    pub(crate) fn begin(shared: &Arc<Shared>, partition: usize) -> Result<Self, Error> {
        let member = shared.member(partition)?;
        let inner =
            member.wal.checkpoint_begin().map_err(|source| Error::of(&member.name, source))?;
        Ok(Self { shared: Arc::clone(shared), partition, inner })
    }

    /// The address which separates what the snapshot must hold from what replay brings.
    #[must_use]
    pub const fn begin_lsn(&self) -> Lsn {
        self.inner.begin_lsn()
    }

    /// Completes the checkpoint with `payload`.
    ///
    /// First every batch across partitions that this one takes part in is settled: decided, and the
    /// outcome durable in the log of every participant. Behind the checkpoint nobody looks for a part.
    ///
    /// # Durability
    ///
    /// As [`wal::Checkpoint::complete`].
    ///
    /// # Errors
    ///
    /// As [`wal::Checkpoint::complete`]; [`Error::InDoubt`] when a batch cannot be settled, for one of
    /// its participants is poisoned. The previous checkpoint stays in force.
    ///
    /// # Cost
    ///
    /// As [`wal::Checkpoint::complete`], and at most two rounds of syncs of the partitions that share
    /// a batch with this one since their last sync; none if there is none.
    pub fn complete(self, payload: &[u8]) -> Result<CheckpointPointer, Error> {
        let Self { shared, partition, inner } = self;
        shared.across.settle_all_of(&shared.members, partition)?;
        let member = shared.member(partition)?;
        inner.complete(payload).map_err(|source| Error::of(&member.name, source))
    }
}
