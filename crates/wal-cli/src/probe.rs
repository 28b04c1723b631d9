//! Measuring a device and a file system: what one durable write costs, by each way of making it.
//!
//! Bare files, without the log, so that the figures are a baseline for it. The files have no
//! names: nothing is left behind, however the process ends.

mod file;
pub(crate) mod way;
pub(crate) mod advice;
