//! One module per command, and what they share.

pub(crate) mod output;
pub(crate) mod append;
pub(crate) mod cat;
pub(crate) mod dump;
pub(crate) mod verify;
pub(crate) mod stat;
pub(crate) mod probe_report;
pub(crate) mod probe;
