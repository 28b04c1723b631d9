//! Where the bytes of a log live: storage, segments and syncs.
//!
//! This crate makes files durable and keeps the chain of segments. It never looks inside the body
//! of a record, knows nothing of committers, and judges no damage: it reports what it sees.
//!
//! The modules below are in reading order: each uses only those above it.

mod error;
mod storage;
mod sync_method;

pub mod backend {
    //! Places to keep a log in.

    mod memory;

    pub use memory::MemoryStorage;
}

pub use error::{IoError, IoOp};
pub use storage::{Access, FileEntry, LogFile, Storage, StorageLock};
pub use sync_method::SyncMethod;
