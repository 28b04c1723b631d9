//! One module per command, and what they share.

pub(crate) mod output;
pub(crate) mod place;
pub(crate) mod new_log;
pub(crate) mod append;
pub(crate) mod cat;
pub(crate) mod dump;
pub(crate) mod verify;
pub(crate) mod stat;
pub(crate) mod probe_report;
pub(crate) mod probe;
pub(crate) mod salvage;
pub(crate) mod copy;
pub(crate) mod checkpoint;
pub(crate) mod hold;
pub(crate) mod truncate;
pub(crate) mod segments;
pub(crate) mod scrub;
pub(crate) mod completions;
