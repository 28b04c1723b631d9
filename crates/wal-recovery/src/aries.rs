//! ARIES: recovery of engines that steal and do not force.
//!
//! Uncommitted changes may reach the pages on disk, and committed ones need not: restart repeats
//! history from the oldest change that may be missing, then takes back what never committed.
//!
//! Left to others: which log is proven (`examine`), making its tail safe (`resume`), where records
//! are appended ([`TxnLog`]), and the pages ([`PageStore`]).
//!
//! Source: Mohan, Haderle, Lindsay, Pirahesh, Schwarz, ARIES, ACM TODS 17(1), 1992.

mod pages;
mod txn_table;
mod dirty_pages;
mod tables;
mod engine_call;

mod change;
mod page_map;
mod walk;
mod checkpoint_read;
mod analysis;
mod redo;
mod parallel;
mod torn;

mod reservation;
mod manager;
mod page_back;
mod pool_log;
mod undo_scope;
mod settle;
mod undo;
mod losers;
mod doubt;
mod checkpoint;

mod marks;
mod ordered_commit;
mod transaction;
mod savepoint;

mod redo_page;
mod restart;
mod media;

#[cfg(test)]
mod tests;

pub use dirty_pages::DirtyPageTable;
pub use doubt::{InDoubtCounts, OwnedInDoubt};
pub use losers::UndoReport;
pub use manager::TxnManager;
pub use media::recover_copy;
pub use ordered_commit::{Committed, OrderedCommit};
pub use pages::{
    Decision, EngineError, InDoubt, LogicalRedo, LogicalUndo, PageState, PageStore, UndoScope,
    WriteAhead,
};
pub use restart::Aries;
pub use savepoint::{Nested, Savepoint};
pub use tables::{Effect, Tables};
pub use transaction::Txn;
pub use txn_table::TxnTable;

pub use crate::fault::TableFault;
pub use crate::txn_log::{Placed, TxnLog};
