//! What a crash left: scan, verdicts, and strategies to recover an engine.
//!
//! This crate reads a log and judges it; it reads no clock, touches files only through `wal-io`,
//! and starts no thread but those of a parallel redo and the helper of a scan, which end with it. It
//! decides what is the log; what the log means is left to the engine.
//!
//! The modules below are in reading order: each uses only those above it.
#![deny(clippy::indexing_slicing)]

mod evidence;
mod verdict;

mod fault;
mod error;
mod progress;

mod epochs;
mod window;

mod scan;
mod source;
mod resync;

mod lookahead;
mod judge;
mod handing;
mod examine;
mod resume;

mod report;
mod txn_log;
mod strategy;

mod record_cache;
mod redo_only;
mod reader;
mod addressed;
mod diagnose;
mod follow;
mod copy;

pub mod aries;

#[cfg(test)]
extern crate self as wal_recovery;

pub use addressed::AddressedReader;
pub use copy::{CopyReport, LossReason, LossReport, LostRange, Until, restore_to, salvage};
pub use diagnose::{FlippedBit, FlippedPart, find_flipped_bit, find_flipped_header_bit};
pub use error::RecoveryError;
pub use evidence::{Claims, Evidence};
pub use examine::{Depth, Examination, ScanCounts, examine, examine_on, examine_visiting};
pub use fault::{ChainFault, CheckpointFault, Nearest, PointFault};
pub use follow::LogFollower;
pub use progress::{Phase, Progress};
pub use reader::{CommitFate, LinkSource, LogReader, LogSnapshot, OwnedRecord};
pub use redo_only::{CheckpointView, CommitMark, RedoOnly, RedoTarget, ReplayRecord};
pub use report::{
    AnalysisReport, AriesReport, BatchCounts, RecoveryReport, RedoReport, TransactionCounts,
    UndoCounts,
};
pub use resume::{Resumed, resume};
pub use resync::find_next_record;
pub use scan::{Scanner, Step, Stop, StopReason};
pub use source::LogSource;
pub use strategy::{RecoveryLog, RecoveryStrategy};
pub use verdict::{Dropped, Facts, ROWS, Row, StopClass, Verdict, VerdictKind, decide};
