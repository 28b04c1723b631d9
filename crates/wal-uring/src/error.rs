//! Why a log cannot be kept through io_uring.

use std::io;

use thiserror::Error;
use wal_io::IoError;

/// Why a [`UringStorage`](crate::UringStorage) cannot be opened. Nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UringError {
    /// The system has no io_uring, or does not allow it to this process: the kernel is too old or
    /// built without it, `kernel.io_uring_disabled` is set, or a filter refuses the call, as in
    /// many containers. Use another backend, or have it allowed.
    #[error(
        "the system refuses io_uring: {source}; use another backend, \
         or allow it (sysctl kernel.io_uring_disabled, seccomp)"
    )]
    Unavailable {
        /// What the system said.
        source: io::Error,
    },
    /// The memory of the lanes cannot be registered with the kernel. Raise the limit of locked
    /// memory, or ask for fewer or smaller lanes, or for
    /// [none registered](crate::UringOptions::registered).
    #[error(
        "{bytes} bytes cannot be registered with io_uring: {source}; \
         raise the limit of locked memory (ulimit -l), or ask for less"
    )]
    Registration {
        /// Bytes of one lane.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
    /// io_uring is there, and a first durable write through it, to a file without a name, failed.
    #[error("a durable write through io_uring fails in `{place}`: {source}; use another backend")]
    Refused {
        /// The directory.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The directory cannot be opened, as for the backend below.
    #[error(transparent)]
    Storage(#[from] IoError),
}
