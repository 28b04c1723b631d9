//! Between a log and its engine: what counts goes through, what this layer wrote does not.

use std::collections::BTreeSet;
use std::error::Error;

use wal::{CheckpointView, RedoTarget, ReplayRecord};

use crate::id::BatchId;
use crate::inspect::{Heading, heading};

/// An engine that is given no record of an aborted batch, and none of this layer.
///
/// The members of a part follow its head without anything between them: they are one atomic batch.
pub(crate) struct Filter<'a, E: ?Sized> {
    own: usize,
    engine: &'a mut E,
    aborted: &'a BTreeSet<BatchId>,
    /// Members of the present part still to come, if they are not to be replayed.
    to_skip: u32,
}

impl<'a, E: ?Sized> Filter<'a, E> {
    pub(crate) fn new(own: usize, engine: &'a mut E, aborted: &'a BTreeSet<BatchId>) -> Self {
        Self { own, engine, aborted, to_skip: 0 }
    }
}

impl<E: RedoTarget + ?Sized> RedoTarget for Filter<'_, E> {
    type Error = Box<dyn Error + Send + Sync>;

    fn restores(&self) -> bool {
        self.engine.restores()
    }

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), Self::Error> {
        self.engine.restore(checkpoint).map_err(Into::into)
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), Self::Error> {
        match heading(self.own, record)? {
            Heading::Part(head) if self.aborted.contains(&head.id) => self.to_skip = head.members,
            Heading::Part(_) | Heading::Note(_) => {}
            Heading::Engine if self.to_skip > 0 => self.to_skip -= 1,
            Heading::Engine => return self.engine.redo(record).map_err(Into::into),
        }
        Ok(())
    }
}
