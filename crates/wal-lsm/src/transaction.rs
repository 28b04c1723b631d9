//! A transaction: its entries go to the log at once, and into the engine when it commits.
//!
//! Several may be open at a time, over checkpoints too: none of their entries reaches a file before
//! the commit, and the log keeps what they logged until then. Who changes the same keys is left to
//! the caller: the last to commit counts.

use wal::{Committed, Transaction};

use crate::entry::encode;
use crate::error::LsmError;
use crate::recovered::Memtable;

/// A transaction under way; dropping it gives it up.
#[derive(Debug)]
#[must_use = "a transaction which is dropped leaves nothing"]
pub struct LsmTransaction {
    log: Transaction,
    changes: Memtable,
}

impl LsmTransaction {
    pub(crate) fn new(log: Transaction) -> Self {
        Self { log, changes: Memtable::new() }
    }

    /// Sets `key` to `value`, once it commits.
    ///
    /// # Errors
    ///
    /// [`LsmError::Size`] or [`LsmError::Log`]; commit without it, or give up.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), LsmError> {
        self.change(key, Some(value))
    }

    /// Deletes `key`, once it commits.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn delete(&mut self, key: &[u8]) -> Result<(), LsmError> {
        self.change(key, None)
    }

    /// What this transaction did to `key`: `None` when nothing, `Some(None)` when it deleted it.
    #[must_use]
    pub fn own(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.changes.get(key).map(Option::as_deref)
    }

    fn change(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), LsmError> {
        let mut body = Vec::new();
        encode(key, value, &mut body)?;
        self.log.log(&body)?;
        self.changes.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        Ok(())
    }

    /// Makes the commit durable; returns what it changed.
    pub(crate) fn commit(self) -> Result<(Committed, Memtable), LsmError> {
        Ok((self.log.commit()?, self.changes))
    }
}
