//! A commit whose place is fixed, and which may not be durable yet: early lock release.
//!
//! Source: statements 3 and 4.

use std::sync::Arc;

use wal_format::body::Outcome;
use wal_format::{Lsn, TxnId};

use super::manager::TxnManager;
use crate::error::RecoveryError;

/// A commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// The transaction.
    pub txn: TxnId,
    /// Its commit record; [`Lsn::NONE`] if it logged nothing.
    pub lsn: Lsn,
    /// The end of what must be durable for it to be acknowledged.
    pub end: Lsn,
}

/// A commit in its place in the log. Dropped without [`wait`](Self::wait), it commits all the
/// same, and nobody knows when.
#[derive(Debug)]
#[must_use = "nobody may be told of the commit before `wait` has returned"]
pub struct OrderedCommit {
    manager: Arc<TxnManager>,
    committed: Committed,
    /// Whether this is the one to write the end record.
    owing: bool,
}

impl OrderedCommit {
    pub(super) const fn new(manager: Arc<TxnManager>, committed: Committed) -> Self {
        let owing = !committed.lsn.is_none();
        Self { manager, committed, owing }
    }

    /// The transaction.
    #[must_use]
    pub const fn txn(&self) -> TxnId {
        self.committed.txn
    }

    /// Its commit record; [`Lsn::NONE`] if it logged nothing.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.committed.lsn
    }

    /// The end of what must be durable before anybody is told; for
    /// [`Txn::depends_on`](super::Txn::depends_on) of those who see its changes.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.committed.end
    }

    /// Waits until the commit is durable, and everything that it depends on.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::CommitUnknown`]: promise nothing; a restart decides. The transaction stays
    /// in the table.
    pub fn wait(mut self) -> Result<Committed, RecoveryError> {
        let Committed { txn, lsn, end } = self.committed;
        if !end.is_none() {
            self.manager.log().wait_durable(end).map_err(|source| {
                let lsn = if lsn.is_none() { end } else { lsn };
                RecoveryError::CommitUnknown { txn, lsn, source: Box::new(source) }
            })?;
        }
        if self.owing {
            // Statement 4: commit is not end. It is durable, so an end record that finds no place
            // now is no failure: the next checkpoint, or restart, writes it.
            self.owing = self.manager.append_end(txn, Outcome::Committed).is_err();
        }
        Ok(self.committed)
    }
}

impl Drop for OrderedCommit {
    fn drop(&mut self) {
        if self.owing {
            self.manager.disown(self.committed.txn);
        }
    }
}
