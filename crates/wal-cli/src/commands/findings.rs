//! What `wal inspect` found, and the sentences that its text and its page share.

use wal::{LogView, PersistentHoldInfo};

use super::census::{Census, Tally};
use super::output::bytes_text;

/// What was found, for whoever shows it.
pub(crate) struct Found<'a> {
    pub(crate) view: &'a LogView,
    pub(crate) census: &'a Census,
    pub(crate) holds: &'a [PersistentHoldInfo],
}

/// From where to where, and how much of that is proven durable.
pub(crate) fn extent(view: &LogView) -> String {
    let links = &view.survey().links;
    let file_bytes: u64 = links.iter().map(|link| link.file_bytes).sum();
    let durable = view.durable().min(view.end());
    let durable = if durable < view.end() {
        format!("proven durable to {durable}")
    } else {
        "all of it proven durable".to_owned()
    };
    format!(
        "from {} to {} in {} segments of {}, {durable}",
        view.head(),
        view.end(),
        links.len(),
        bytes_text(file_bytes)
    )
}

/// Records, in one sentence.
pub(crate) fn census_text(census: &Census) -> String {
    let Tally { records, bytes, .. } = census.all;
    let engine = census.engine;
    format!(
        "{records} records of {}: {} of the engine with {} of body, {} housekeeping, {} commits, {} \
         batches; {} syncs seen",
        bytes_text(bytes),
        engine.records,
        bytes_text(engine.body_bytes),
        census.housekeeping,
        census.commits,
        census.batches,
        census.syncs
    )
}
