//! A B+tree on pages, recovered by ARIES: **the example to read** for whoever puts a page store on
//! this log.
//!
//! One file of pages of one size, a pool of frames much smaller than the data, transactions over
//! many keys, a log. Small on purpose, and complete: what was committed survives any crash, also one
//! in the middle of recovery.
//!
//! ```
//! use std::sync::Arc;
//! use wal_btree::{Options, Tree};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let files = Arc::new(wal::FileStorage::open(dir.path())?);
//! let tree = Tree::open(Options::default(), files.clone(), files)?;
//!
//! let mut txn = tree.begin();
//! txn.insert(b"apple", b"green")?;
//! let savepoint = txn.savepoint()?;
//! txn.put(b"apple", b"red")?;
//! txn.rollback_to(savepoint)?;
//! txn.commit()?; // Durable from here on; no page was written.
//!
//! assert_eq!(tree.begin().get(b"apple")?.as_deref(), Some(&b"green"[..]));
//! tree.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What an engine owes the log, and where it is paid
//!
//! | what | where |
//! |---|---|
//! | a page's LSN changes together with its bytes, and is the last record applied (a21) | `page`, `pool`: `Cell::replace` |
//! | no page is written before the log is durable up to its LSN (a02) | `pool`: `write_copies` asks `before_page_write` |
//! | a page counts as written after the sync of its file, not after the write (a18) | `pool`: then `page_written` |
//! | a page is latched from before its record is logged until the change is applied (a14) | `tree`: `change_leaf` |
//! | redo touches the page it was logged for and depends on its bytes alone (a05, a26) | `ops`, `node` |
//! | undo finds the key wherever it is by now (a05) | `store`: `undo_logical` |
//! | changes of shape are nested top actions (a07) | `shape` |
//! | a freed page is forgotten before it is used again (a24) | `map`, `shape`: `replace_and_free` |
//! | a torn page can be restored (a25) | `pool`: `before_change` logs an image |
//! | locks of transactions in doubt come back (a29) | `transaction`: `prepare`; `store`: `in_doubt` |
//! | what restart finds newer than required is written again all the same (rule 1) | `store`: `mark_dirty` |
//! | a failed write or sync is never tried again (rule 6) | `pool`: poison |
//!
//! # What is simplified
//!
//! - One tree; entries of up to a quarter of a page.
//! - One latch on the shape of the tree: one split at a time, and nobody searches meanwhile.
//! - Nodes are removed when they are empty, never merged. A rollback leaves empty leaves behind.
//! - Locks are refused, never waited for.
//! - Space in the log for splits in a rollback is reserved once per leaf, not once per entry.
//! - No page is ever offline: a page that cannot be read stops the restart, which can be repeated.
//! - Two openings at once are kept apart by the log's lock; the page file has none of its own.
//!
//! [`RedoOnlyTree`] is the same tree on the other strategy.
//!
//! The modules below are in reading order: each uses only those above it.

mod page;

mod error;

mod node;

mod ops;

mod locks;

mod file;

mod pool;

mod changes;

mod tree;

mod map;

mod shape;

mod check;

mod store;

mod options;

mod transaction;

mod engine;

mod redo_only;

pub use engine::Tree;
pub use error::Error;
pub use options::Options;
pub use page::PageFault;
pub use redo_only::{RedoOnlyTransaction, RedoOnlyTree};
pub use store::Resolver;
pub use transaction::Transaction;
