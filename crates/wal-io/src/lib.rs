//! Where the bytes of a log live: storage, segments and syncs.
//!
//! This crate makes files durable and keeps the chain of segments. It never looks inside the body
//! of a record, knows nothing of committers, and judges no damage: it reports what it sees.
//!
//! The modules below are in reading order: each uses only those above it.

mod error;
mod slices;
mod storage;
mod pass_on;
mod sync_method;

pub mod backend {
    //! Places to keep a log in.

    mod memory;
    mod filesystem;
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    mod aligned;
    mod positional;
    mod space;
    mod directory;
    mod buffered;
    #[cfg(target_os = "linux")]
    mod direct;

    pub use buffered::FileStorage;
    #[cfg(target_os = "linux")]
    pub use direct::DirectStorage;
    pub use filesystem::FilesystemKind;
    pub use memory::MemoryStorage;
}

mod segment_name;
mod file_io;
mod control_file;
mod hold_file;
mod chain;
mod build_chain;
mod survey;
mod segment_reader;
mod sink;
mod store;

pub use build_chain::{Chain, FoundSegment, build_chain};
pub use chain::{ChainLink, ChainProblem, DeadReason, DeadSegment, Survey};
pub use control_file::{ControlFile, ControlView, SlotState};
pub use error::{IoError, IoOp};
pub use file_io::{read_full_at, write_full_at};
pub use hold_file::{FoundHold, HoldFault, read_hold, read_holds, remove_hold, write_hold};
pub use segment_name::{
    CONTROL_NAME, LOCK_NAME, RESERVE_PREFIX, RETIRED_SUFFIX, SPARE_NAME, SegmentName,
    TEMPORARY_SUFFIX, is_temporary,
};
pub use segment_reader::SegmentReader;
pub use sink::{LogSink, Preparer, Rest, Rested};
pub use storage::{Access, FileEntry, LogFile, Preparation, Storage, StorageLock};
pub use store::{
    Discarded, Placement, RunWriter, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SegmentStore,
    StoreOptions, Truncation, random_log_id,
};
pub use sync_method::SyncMethod;
