//! What a bank needs of an engine: balances, a journal, transactions with savepoints, two-phase
//! commit, checkpoints. Implemented by the page store of this crate, and by whoever wants to be
//! crashed the same way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wal::{Options, Progress, Storage, Threads};

use crate::error::BankError;
use crate::story::{Account, Books, Serial};

/// How long an opening waits for whoever has the log. A bank that is dropped waits for nothing: its
/// log is let go once the last sync returns, and a busy disk takes long over one.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// How a bank is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many accounts.
    pub accounts: Account,
    /// Pages in memory.
    pub pool_pages: usize,
    /// Whether pages may tear, and are logged whole on their first change.
    pub images: bool,
    /// Threads of redo.
    pub redo_threads: usize,
    /// Bytes of a segment of the log.
    pub segment_bytes: u64,
    /// Whether the log may have a thread.
    pub helper_thread: bool,
}

impl Shape {
    /// How the log is kept.
    #[must_use]
    pub fn log_options(&self) -> Options {
        let threads = if self.helper_thread { Threads::Helper } else { Threads::None };
        Options::default()
            .segment_bytes(self.segment_bytes)
            .buffer_bytes(16 << 10)
            .threads(threads)
            .slow_sync(None)
            .idle_after(None)
            .lock_wait(LOCK_WAIT)
    }
}

/// What a restart found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restart {
    /// Records that analysis read.
    pub analysed: u64,
    /// Committed transactions that lacked their end.
    pub winners: u64,
    /// Transactions to roll back.
    pub losers: u64,
    /// Transactions in doubt.
    pub in_doubt: u64,
    /// Pages of the dirty-page table.
    pub dirty_pages: u64,
    /// Changes that redo applied.
    pub redone: u64,
    /// Changes that redo passed over.
    pub skipped: u64,
    /// Torn pages brought back.
    pub torn: u64,
    /// Compensation records that undo wrote.
    pub clrs: u64,
    /// Records that undo read.
    pub undo_read: u64,
    /// Transactions rolled back.
    pub rolled_back: u64,
}

/// What the records of a log say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Changes.
    pub changes: u64,
    /// Compensations, without those which end nested top actions.
    pub compensations: u64,
    /// Changes that were compensated more than once.
    pub twice: u64,
}

/// An engine under a bank. One thread.
pub trait Engine: Sized {
    /// A transaction.
    type Txn;
    /// A place in a transaction.
    type Savepoint: Copy;

    /// Its name on the command line.
    const NAME: &'static str;
    /// Whether its openings tell how far they are.
    const TELLS_STEPS: bool;

    /// Opens the bank in `storage`, or makes it; asks `decisions` about transactions in doubt.
    ///
    /// # Errors
    ///
    /// The opening failed; nothing is lost.
    fn open(
        storage: Arc<dyn Storage>,
        shape: Shape,
        decisions: BTreeMap<Serial, bool>,
        progress: Box<dyn Progress>,
    ) -> Result<Self, BankError>;

    /// What the opening found and did.
    fn restart(&self) -> Restart;

    /// All books.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    fn books(&mut self) -> Result<Books, BankError>;

    /// Begins a transaction.
    fn begin(&mut self) -> Self::Txn;

    /// An entry in the journal of `account`, and its amount in the balance.
    ///
    /// # Errors
    ///
    /// Abort the transaction.
    fn post(
        &mut self,
        txn: &mut Self::Txn,
        account: Account,
        serial: Serial,
        amount: i64,
    ) -> Result<(), BankError>;

    /// Makes the entries of `account` one.
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post).
    fn fold(
        &mut self,
        txn: &mut Self::Txn,
        account: Account,
        serial: Serial,
    ) -> Result<(), BankError>;

    /// A place to roll back to.
    fn savepoint(&mut self, txn: &mut Self::Txn) -> Self::Savepoint;

    /// Takes back what was done since `to`.
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post).
    fn rollback_to(&mut self, txn: &mut Self::Txn, to: Self::Savepoint) -> Result<(), BankError>;

    /// Puts the transaction in doubt, with the accounts that it locked; durable when it returns.
    /// Its handle is given up.
    ///
    /// # Errors
    ///
    /// The log failed.
    fn prepare(
        &mut self,
        txn: Self::Txn,
        serial: Serial,
        locks: &[Account],
    ) -> Result<(), BankError>;

    /// Transactions in doubt, with their locks.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    fn in_doubt(&mut self) -> Result<BTreeMap<Serial, Vec<Account>>, BankError>;

    /// Ends a transaction in doubt; a commit is durable when it returns.
    ///
    /// # Errors
    ///
    /// The log failed; it may be decided or still in doubt.
    fn decide(&mut self, serial: Serial, commit: bool) -> Result<(), BankError>;

    /// Commits; durable when it returns.
    ///
    /// # Errors
    ///
    /// The log failed; it may have committed.
    fn commit(&mut self, txn: Self::Txn) -> Result<(), BankError>;

    /// Rolls back.
    ///
    /// # Errors
    ///
    /// The log failed.
    fn abort(&mut self, txn: Self::Txn) -> Result<(), BankError>;

    /// Writes some dirty pages; syncs them, if told to.
    ///
    /// # Errors
    ///
    /// The pages or the log failed.
    fn write_pages(&mut self, count: usize, sync: bool) -> Result<(), BankError>;

    /// Takes a fuzzy checkpoint.
    ///
    /// # Errors
    ///
    /// The log failed; the previous one stays in force.
    fn checkpoint(&mut self) -> Result<(), BankError>;

    /// Gives back the log that nothing needs.
    ///
    /// # Errors
    ///
    /// Files could not be removed.
    fn truncate(&mut self) -> Result<(), BankError>;

    /// Counts the records of the log.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    fn tally(&mut self) -> Result<Tally, BankError>;

    /// Closes the log cleanly.
    ///
    /// # Errors
    ///
    /// It is closed, but not cleanly.
    fn close(self) -> Result<(), BankError>;
}
