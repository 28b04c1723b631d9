//! The writer's side of a log directory: what makes, orders and removes its files.
//!
//! The modules below are in reading order: each uses only those above it.

mod options;
mod retired_files;
mod directory;
mod segment_store;
mod space;
mod held_back;
mod recycle;
mod create;
mod run;
mod resume;
mod gradual;
mod prepare;
mod appender;
mod retire;

#[cfg(test)]
mod tests;

pub use directory::random_log_id;
pub use options::{
    Discarded, Placement, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, StoreOptions, Truncation,
};
pub use run::RunWriter;
pub use segment_store::SegmentStore;
