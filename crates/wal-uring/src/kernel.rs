//! The kernel's end of a lane, as the rest of this crate sees it: memory that is handed over with
//! an order and comes back when the order has ended; and what an ending means.
//!
//! A trait, so that tests can be the kernel: hold the memory, write short, fail. Knows nothing of
//! rings. Invariant: bytes count as durable only if the kernel said so of a sync that began after
//! they were written.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use crate::options::Joining;

/// Write the first `bytes` of the lane's memory to `file` at `offset`, and make them durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    /// Open until the order has ended, for the borrow lasts as long as the call.
    pub(crate) file: BorrowedFd<'a>,
    /// 1 to the length of the memory.
    pub(crate) bytes: usize,
    pub(crate) offset: u64,
    pub(crate) joining: Joining,
}

/// How an order ended: for each part what the kernel reported, a number of bytes, 0 or a negated
/// error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) write: i32,
    pub(crate) sync: SyncEnd,
}

/// How the sync of an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncEnd {
    /// There was none: the write was to be durable by itself.
    None,
    /// Behind the write, or cancelled with it.
    Linked(i32),
    /// At any time: the kernel took the two one by one.
    Apart(i32),
}

/// The kernel took nothing of an order, and will not: it can be done in another way.
#[derive(Debug)]
pub(crate) struct Unsent(pub(crate) io::Error);

/// Memory, and a kernel that carries out one order at a time with it.
pub(crate) trait Kernel: Send + fmt::Debug {
    /// The memory; `None` while the kernel may still read it, and when the lane is of no more use.
    fn memory(&mut self) -> Option<&mut [u8]>;

    /// Hands over the memory with an order, and returns when every part of it has ended.
    ///
    /// # Errors
    ///
    /// [`Unsent`]. Whatever else happens is told by [`Ended`].
    fn run(&mut self, order: &Order<'_>) -> Result<Ended, Unsent>;
}

/// What an ending means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// So many bytes are durable.
    Durable(usize),
    /// So many bytes were written, and no sync was tried behind them: one must follow.
    Written(usize),
}

impl Ended {
    /// What became of `order`.
    ///
    /// | write | sync | outcome |
    /// |---|---|---|
    /// | error | any | the error |
    /// | whole or short | none was asked for | durable |
    /// | whole or short | linked: success | durable |
    /// | short | linked: cancelled | written |
    /// | whole or short | apart: success or cancelled | written |
    /// | whole or short | anything else | the error of the sync |
    ///
    /// # Errors
    ///
    /// That of the write or of the sync: nothing is known of the bytes. Never `Interrupted`, which
    /// would invite another try: a sync that failed is not tried again.
    pub(crate) fn outcome(self, order: &Order<'_>) -> io::Result<Outcome> {
        let bytes = match usize::try_from(self.write) {
            Ok(bytes) if bytes <= order.bytes => bytes,
            Ok(_) => return Err(io::Error::other("more bytes are reported than were given")),
            Err(_) => return Err(failure("the write", self.write)),
        };
        const CANCELLED: i32 = -libc::ECANCELED;
        match (order.joining, self.sync) {
            (Joining::Durable, SyncEnd::None) | (Joining::Linked, SyncEnd::Linked(0)) => {
                Ok(Outcome::Durable(bytes))
            }
            (Joining::Linked, SyncEnd::Linked(CANCELLED)) if bytes < order.bytes => {
                Ok(Outcome::Written(bytes))
            }
            (Joining::Linked, SyncEnd::Apart(0 | CANCELLED)) => Ok(Outcome::Written(bytes)),
            (Joining::Linked, SyncEnd::Linked(sync) | SyncEnd::Apart(sync)) if sync < 0 => {
                Err(failure("the sync", sync))
            }
            _ => Err(io::Error::other("an order did not end as it was given")),
        }
    }
}

/// The error that a negative result stands for.
fn failure(part: &str, result: i32) -> io::Error {
    let error = io::Error::from_raw_os_error(result.saturating_neg());
    if error.kind() == io::ErrorKind::Interrupted {
        return io::Error::other(format!("{part} was interrupted: what it did is not known"));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const CANCELLED: i32 = -libc::ECANCELED;

    fn outcome(joining: Joining, write: i32, sync: SyncEnd) -> io::Result<Outcome> {
        let file = tempfile::tempfile().unwrap();
        let order = Order { file: file.as_fd(), bytes: 100, offset: 0, joining };
        Ended { write, sync }.outcome(&order)
    }

    fn linked(write: i32, sync: i32) -> io::Result<Outcome> {
        outcome(Joining::Linked, write, SyncEnd::Linked(sync))
    }

    #[test]
    fn what_a_durable_write_reports_is_durable_and_no_more() {
        let durable = |bytes| outcome(Joining::Durable, bytes, SyncEnd::None);
        for (reported, bytes) in [(0, 0), (1, 1), (99, 99), (100, 100)] {
            assert_eq!(durable(reported).unwrap(), Outcome::Durable(bytes));
        }
        assert!(durable(101).is_err());
    }

    #[test]
    fn a_linked_write_is_durable_only_by_its_sync() {
        assert_eq!(linked(100, 0).unwrap(), Outcome::Durable(100));
        assert_eq!(linked(60, 0).unwrap(), Outcome::Durable(60));
        assert!(outcome(Joining::Linked, 100, SyncEnd::None).is_err(), "no word of the sync");
        let unasked = outcome(Joining::Durable, 100, SyncEnd::Linked(0));
        assert!(unasked.is_err(), "a sync nobody asked for");
    }

    #[test]
    fn a_short_write_that_broke_the_link_still_needs_its_sync() {
        assert_eq!(linked(60, CANCELLED).unwrap(), Outcome::Written(60));
        assert!(linked(100, CANCELLED).is_err(), "nothing broke the link");
    }

    #[test]
    fn a_sync_that_was_not_behind_the_write_proves_nothing() {
        let apart = |sync| outcome(Joining::Linked, 100, SyncEnd::Apart(sync));
        assert_eq!(apart(0).unwrap(), Outcome::Written(100));
        assert_eq!(apart(CANCELLED).unwrap(), Outcome::Written(100));
        assert_eq!(apart(-libc::EIO).unwrap_err().raw_os_error(), Some(libc::EIO));
    }

    #[test]
    fn errors_of_either_part_are_errors() {
        for (write, sync) in [(-libc::EIO, CANCELLED), (100, -libc::EIO), (60, -libc::EIO)] {
            assert_eq!(linked(write, sync).unwrap_err().raw_os_error(), Some(libc::EIO));
        }
        let full = outcome(Joining::Durable, -libc::ENOSPC, SyncEnd::None).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(outcome(Joining::Durable, i32::MIN, SyncEnd::None).is_err());
    }

    #[test]
    fn no_error_invites_another_try() {
        let interrupted = -libc::EINTR;
        for result in [
            linked(interrupted, CANCELLED),
            linked(100, interrupted),
            outcome(Joining::Durable, interrupted, SyncEnd::None),
        ] {
            let error = result.unwrap_err();
            assert_ne!(error.kind(), io::ErrorKind::Interrupted, "{error}");
        }
    }
}
