//! Measuring a device and a file system: what one durable write costs, by each way of making it.
//!
//! Through the backends of the log (`FileStorage`, `DirectStorage`), without the log itself, so
//! that the figures are a baseline for it: the same flags, the same preparation of space. All files
//! lie in one temporary directory, and have names as segments have: some file systems (Btrfs) skip
//! the log of a file without a name, and would look too fast.

mod aligned;
pub(crate) mod way;
pub(crate) mod ground;
pub(crate) mod trial;
pub(crate) mod rate;
pub(crate) mod place;
pub(crate) mod advice;
