//! What is known of segments that truncation retired: plain values.

use crate::chain::ChainLink;

/// Retired files that wait to be used again; behind `work`.
#[derive(Debug, Default)]
pub(super) struct Recycled {
    pub(super) names: Vec<String>,
    /// Whether the directory was synced since the names were seen or given.
    pub(super) settled: bool,
}

/// What becomes of the segments that truncation took off the chain.
#[derive(Debug, Default)]
pub(super) struct Retired {
    pub(super) kept: Vec<ChainLink>,
    pub(super) removed: Vec<ChainLink>,
}
