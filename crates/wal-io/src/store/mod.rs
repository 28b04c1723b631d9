//! The writer's side of a log directory.

mod options;

pub use options::{
    Discarded, Placement, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, StoreOptions, Truncation,
};
