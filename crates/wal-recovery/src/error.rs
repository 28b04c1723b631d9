//! What keeps a log from being examined, resumed, read or replayed.
//!
//! The end of a log is no error, and neither is a torn tail: those are values. Each error says
//! what, where, and what to do next.

use thiserror::Error;
use wal_format::{DecodeError, EncodeError, LogId, Lsn, PageId, RecordKind, TxnId};
use wal_io::{IoError, SegmentName};

use crate::fault::{ChainFault, CheckpointFault, Nearest, PointFault, TableFault};
use crate::verdict::Verdict;

/// Why a log could not be examined, resumed, read or replayed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The storage failed. Nothing was concluded from it; try again once the cause is gone.
    #[error(transparent)]
    Io(#[from] IoError),
    /// There is no log in this place.
    #[error("there is no log in `{place}`; check the path, or create one")]
    NoLog {
        /// The place looked at.
        place: String,
    },
    /// The log is damaged or cannot be judged, and the policy is to stop. Nothing was changed.
    #[error("the log was not opened, nothing was changed: {0}")]
    Refused(Box<Verdict>),
    /// Memory for one record could not be had. This is not the end of the log.
    #[error("no memory for the record at {lsn} ({bytes} bytes); free some and try again")]
    OutOfMemory {
        /// Address of the record.
        lsn: Lsn,
        /// Bytes asked for.
        bytes: u64,
    },
    /// No valid record stands at an address where one is needed.
    #[error(
        "no record can be read at {lsn} (`{segment}`, byte {offset}): {source}; verify the log"
    )]
    Unreadable {
        /// The address.
        lsn: Lsn,
        /// The segment that covers it.
        segment: SegmentName,
        /// Where in its file, in bytes.
        offset: u64,
        /// Why.
        source: DecodeError,
    },
    /// The address lies outside what is retained.
    #[error("{lsn} is not in the log, which holds {head} up to {end}; ask for a retained address")]
    OutOfRange {
        /// The address asked for.
        lsn: Lsn,
        /// Lowest address retained.
        head: Lsn,
        /// First address after the log.
        end: Lsn,
    },
    /// The log is not what it was when it was examined; nothing was promised. Examine it again.
    #[error("the log changed at {lsn} since it was examined; examine it again")]
    Changed {
        /// Where the difference is.
        lsn: Lsn,
    },
    /// A record could not be encoded: a defect in this program, not in the log.
    #[error("the record at {lsn} could not be encoded: {source}; report this")]
    Encode {
        /// Where it was to stand.
        lsn: Lsn,
        /// Why.
        source: EncodeError,
    },
    /// A replay handler refused a record, or the payload of the checkpoint at its own address.
    /// Nothing in the log is lost; repair the engine and open again.
    #[error(
        "the engine refused the record at {lsn}: {source}; nothing in the log is lost, repair the \
         engine and open again"
    )]
    Handler {
        /// The record.
        lsn: Lsn,
        /// What the handler returned.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A replay handler panicked. Nothing in the log is lost; repair the engine and open again.
    #[error(
        "the engine panicked at the record at {lsn}: {message}; nothing in the log is lost, \
         repair the engine and open again"
    )]
    HandlerPanicked {
        /// The record.
        lsn: Lsn,
        /// The message of the panic.
        message: String,
    },
    /// The log has a checkpoint, and the engine is one that takes none back: without it the
    /// engine would lose what the checkpoint stands for. Nothing in the log is lost.
    #[error(
        "the log has a checkpoint at {lsn}, which a closure cannot take back; nothing in the log \
         is lost, implement RedoTarget::restore and open again, or, if it is a log of pages, open \
         it with `open_pages`"
    )]
    NoRestore {
        /// The record that completed the checkpoint.
        lsn: Lsn,
    },
    /// The records of a committed transaction do not link as they must: a defect in what wrote
    /// the log, since every record of it is valid.
    #[error(
        "transaction {txn}, committed at {commit}, has a broken chain at {lsn}: {why}; keep the \
         log and report this"
    )]
    BrokenChain {
        /// The transaction.
        txn: TxnId,
        /// Its commit record.
        commit: Lsn,
        /// The record where the chain breaks.
        lsn: Lsn,
        /// How.
        why: ChainFault,
    },
    /// A valid record has a body that its kind cannot have: a defect in what wrote the log.
    #[error(
        "the {kind} record at {lsn} has an impossible body: {source}; nothing in the log is lost, \
         keep it and report this"
    )]
    BadBody {
        /// The record.
        lsn: Lsn,
        /// Its kind.
        kind: RecordKind,
        /// Why.
        source: DecodeError,
    },
    /// The log holds a kind of record which the chosen strategy has no meaning for.
    #[error("{strategy} cannot replay the {kind} record at {lsn}; recover with what wrote it")]
    Unfit {
        /// The record.
        lsn: Lsn,
        /// Its kind.
        kind: RecordKind,
        /// The strategy, as it calls itself.
        strategy: &'static str,
    },
    /// The address lies in the log, but no record starts there.
    #[error("no record starts at {lsn}; {nearest}")]
    NotARecordStart {
        /// The address asked for.
        lsn: Lsn,
        /// Where records start instead.
        nearest: Nearest,
    },
    /// The record at the address is not one of the transaction asked for.
    #[error("the record at {lsn} is not one of transaction {txn}, but of {found}")]
    NotOfTransaction {
        /// The address asked for.
        lsn: Lsn,
        /// The transaction asked for.
        txn: TxnId,
        /// Whose record it is; [`TxnId::NONE`] for nobody's.
        found: TxnId,
    },
    /// A record that must be readable is not: the log is damaged there. Verify it, then salvage.
    #[error("the log is damaged at {lsn} (`{segment}`, byte {offset}); verify it, then salvage")]
    Corrupt {
        /// First address that cannot be read.
        lsn: Lsn,
        /// The segment that covers it.
        segment: SegmentName,
        /// Where in its file, in bytes.
        offset: u64,
    },
    /// The address was truncated away, perhaps while it was being read. Go on at the head.
    #[error("{lsn} is no longer in the log, which begins at {head}; go on from there")]
    Truncated {
        /// The address asked for.
        lsn: Lsn,
        /// Lowest address retained.
        head: Lsn,
    },
    /// The address lies at or beyond what may be read so far.
    #[error("{lsn} lies beyond {end}, the end of what may be read; wait for it, or ask below")]
    BeyondEnd {
        /// The address asked for.
        lsn: Lsn,
        /// First address that may not be read yet.
        end: Lsn,
    },
    /// A copy needs an empty place. Nothing was changed there; give another one.
    #[error("`{place}` already holds `{name}`; give an empty place to copy to")]
    NotEmpty {
        /// The place.
        place: String,
        /// A file that is there.
        name: String,
    },
    /// A copy was to have the identity of its source. Nothing was written; give it a random one.
    #[error("the copy cannot be log {log_id} too, its source is; give it an identity of its own")]
    SameLog {
        /// The identity.
        log_id: LogId,
    },
    /// The log which takes the records of a rollback or a checkpoint refused one. What it says
    /// about itself is the source; restart can be repeated.
    #[error("the log took no more records: {0}")]
    Log(Box<dyn std::error::Error + Send + Sync>),
    /// The log that a buffer pool was given is not open any more: its last handle is gone, or its
    /// opening failed. Nothing was done; the page must not be written.
    #[error(
        "the log is not open any more; open it again, and ask the one that `log_runs` gives then"
    )]
    LogClosed,
    /// The records of a transaction that is rolled back do not link as they must: a defect in what
    /// wrote the log, since every record of it is valid. The rollback can be repeated.
    #[error(
        "the rollback of transaction {txn} stops at {lsn}: {why}; keep the log and report this"
    )]
    BrokenUndo {
        /// The transaction.
        txn: TxnId,
        /// The record where the chain breaks.
        lsn: Lsn,
        /// How.
        why: ChainFault,
    },
    /// A transaction was asked for something that it cannot do as it stands. Nothing changed.
    #[error("transaction {txn} was left as it is: {what}")]
    Misuse {
        /// The transaction; [`TxnId::NONE`] where there is none.
        txn: TxnId,
        /// Why it cannot be done.
        what: &'static str,
    },
    /// The commit record is in the log, but it could not be made durable: a restart may find it or
    /// not. Promise nothing, keep what the transaction locked, and open the log again.
    #[error(
        "whether transaction {txn} committed at {lsn} is unknown until the log is opened again: \
         {source}"
    )]
    CommitUnknown {
        /// The transaction.
        txn: TxnId,
        /// Its commit record; for one that only read, the record it depends on ends there.
        lsn: Lsn,
        /// Why it could not be made durable.
        source: Box<RecoveryError>,
    },
    /// Records were lost before this log was salvaged. ARIES repeats history, and cannot do so
    /// across a gap: what stands behind it was done to pages that nobody can rebuild.
    #[error(
        "the records from {from} to {to} were lost; restore the pages and the log up to {from} \
         from copies"
    )]
    LostRecords {
        /// Where the log breaks off.
        from: Lsn,
        /// Where it goes on.
        to: Lsn,
    },
    /// A page does not say that it holds the change which was just applied to it, or says less
    /// than it said before: a defect in the engine. Nothing in the log is lost.
    #[error(
        "page {page} has LSN {found} after the change at {lsn} was applied to it: the engine must \
         set the LSN together with the bytes; nothing in the log is lost, repair it and open again"
    )]
    PageLsnNotSet {
        /// The page.
        page: PageId,
        /// The change.
        lsn: Lsn,
        /// What the page says.
        found: Lsn,
    },
    /// A page names a change that the log does not hold: the page is of another log, is damaged, or
    /// reached storage before its log did. Waiting would not help (ARIES statement 2).
    #[error(
        "page {page} has LSN {page_lsn}, but the log ends at {end}; it is of another log, or was \
         written before its log was durable: restore it from a copy"
    )]
    PageLsnBeyondEnd {
        /// The page.
        page: PageId,
        /// The LSN it bears.
        page_lsn: Lsn,
        /// The end of the log.
        end: Lsn,
    },
    /// A page cannot be reached now. What it is owed stays in the log; bring it online and recover
    /// it then.
    #[error("page {page} is offline; the log keeps what it is owed, recover it when it is back")]
    PageOffline {
        /// The page.
        page: PageId,
    },
    /// A page is torn, and the retained log holds neither an image of it nor its first record.
    #[error(
        "page {page} is torn, and the log holds no image to rebuild it from before {lsn}; restore it \
         from a copy"
    )]
    TornPage {
        /// The page.
        page: PageId,
        /// The oldest change to it that is known to be owed.
        lsn: Lsn,
    },
    /// A record cannot follow those before it: a defect in what wrote the log, since the record
    /// itself is valid.
    #[error("the record at {lsn} cannot stand there: {fault}; keep the log and report this")]
    Table {
        /// The record.
        lsn: Lsn,
        /// Why.
        fault: TableFault,
    },
    /// No checkpoint can be used, and without one the log does not reach back far enough.
    #[error(
        "the checkpoint at {lsn} cannot be used: {fault}; no other is left, restore from a copy"
    )]
    UnusableCheckpoint {
        /// Its end record; the start of the log when there is no checkpoint.
        lsn: Lsn,
        /// Why not.
        fault: CheckpointFault,
    },
    /// The log cannot be restored to that point. Nothing was written.
    #[error("cannot restore to {until}: {why}")]
    NoSuchPoint {
        /// The point, in words.
        until: String,
        /// Why not.
        why: PointFault,
    },
}
