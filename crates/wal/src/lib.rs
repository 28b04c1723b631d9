#![doc = include_str!("../../../README.md")]
//!
//! # In this crate
//!
//! [`Wal`] is the log, [`Options`] how it is kept, [`Ticket`] a record on its way, [`Transaction`]
//! several records that count together, [`Checkpoint`] what keeps replay short, [`LogView`] a log
//! looked at without opening it. The promises are those of [`Durability`].
//!
//! An engine that keeps pages, and writes them when it likes, opens a [`PageLog`] for its
//! [`PageStore`] and runs [`PageTransaction`]s.

mod error;
mod holds;
mod options;
mod background;
mod since;
mod place;
mod persistent_hold;
mod published;
mod ticket;

mod active;
mod log;
mod append;
mod holding;
mod figures;
mod transaction;
mod batch;
mod checkpoint;
mod reader;
mod txn_log;
mod page_transaction;
mod page_log;
mod open;
mod open_pages;
mod view;
mod follow;
mod copy;
mod scrub;
mod many;
mod asynchronous;
mod log_trait;
mod upkeep;
#[cfg(feature = "serde")]
mod typed;

pub use checkpoint::Checkpoint;
pub use copy::{restore_to, restore_to_in, salvage, salvage_in};
pub use error::{Error, ErrorKind};
pub use follow::Follower;
pub use holds::{Hold, HoldInfo, HoldLimit, OverLimit};
pub use log::{Obligation, Stats, Truncated, Wal};
pub use log_trait::{Log, LogFuture, MemoryLog};
pub use many::Records;
pub use open::Opener;
pub use options::Options;
pub use page_log::PageLog;
pub use page_transaction::{OrderedCommit, PageTransaction};
pub use persistent_hold::{
    PersistentHold, PersistentHoldInfo, drop_persistent_hold, drop_persistent_hold_in,
    persistent_holds, persistent_holds_in,
};
pub use published::PublishedStats;
pub use reader::{Reader, Tail};
pub use scrub::{DamagedPlace, Finding, Scrub, Scrubbed};
pub use ticket::Ticket;
pub use transaction::{Committed, Transaction};
#[cfg(feature = "serde")]
pub use typed::{Operation, Row};
pub use upkeep::{Due, Maintained, Maintainer, Triggers};
pub use view::LogView;

pub use wal_commit::{CommitStats, Durability, Fate, Positions, SyncPolicy, Threads};
pub use wal_format::body::{Body, Compensation, Outcome, TxnState};
pub use wal_format::layout::BODY_BYTES_MAX;
#[cfg(feature = "serde")]
pub use wal_format::payload::PayloadCodec;
#[cfg(feature = "bincode")]
pub use wal_format::payload::{Bincode, BincodeError};
pub use wal_format::{
    CheckpointPointer, DecodeError, EncodeError, Epoch, LogId, Lsn, LsnRange, PageId, RecordDraft,
    RecordFlags, RecordHeader, RecordKind, RecordRef, RecordTimes, TxnId, TxnLink, crc32c_append,
};
#[cfg(target_os = "linux")]
pub use wal_io::backend::DirectStorage;
pub use wal_io::backend::{FileStorage, FilesystemKind, MemoryStorage};
pub use wal_io::{
    Access, ChainLink, ChainProblem, ControlView, DeadReason, DeadSegment, FileEntry, HoldFault,
    IoError, IoOp, LogFile, Preparation, SegmentName, SlotState, Storage, StorageLock, Survey,
    SyncMethod,
};
pub use wal_recovery::aries::{
    Aries, Decision, EngineError, InDoubt, LogicalRedo, LogicalUndo, Nested, OwnedInDoubt,
    PageState, PageStore, Placed, Savepoint, TableFault, TxnLog, UndoReport, UndoScope, WriteAhead,
};
pub use wal_recovery::{
    AnalysisReport, AriesReport, BatchCounts, ChainFault, CheckpointFault, CheckpointView, Claims,
    CommitFate, CommitMark, CopyReport, Dropped, Evidence, FlippedBit, FlippedPart, LogSource,
    LossReason, LossReport, LostRange, Nearest, OwnedRecord, Phase, PointFault, Progress,
    RecoveryError, RecoveryLog, RecoveryReport, RecoveryStrategy, RedoOnly, RedoReport, RedoTarget,
    ReplayRecord, TransactionCounts, UndoCounts, Until, Verdict, VerdictKind,
};
#[cfg(all(target_os = "linux", feature = "io-uring"))]
pub use wal_uring::{Joining, UringCounts, UringError, UringOptions, UringStorage};
