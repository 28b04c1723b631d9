//! A ring of the kernel, and the memory that it reads: the one file with `unsafe`.
//!
//! ```text
//! memory ── filled by the caller ── submitted ── read by the kernel ── every part ended ── memory
//!                                       └────────── owed > 0 ──────────────┘
//! ```
//!
//! Who may touch the memory is one number, `owed`: the completions the kernel has not posted yet.
//! Invariants:
//! * the memory is allocated once, never grows, and is freed only when `owed` is 0 and the ring is
//!   closed: by the order of the fields, and by [`Drop`], which waits, also while a panic unwinds;
//! * while `owed` is above 0 nobody gets at the memory: [`Kernel::memory`] is the only way to it,
//!   and refuses;
//! * [`Kernel::run`] returns only when `owed` is 0, so the file it was lent stays open, and its
//!   number its own, for as long as the kernel may look at it.
//!
//! There is no polling thread of the kernel's: it reads the submission queue only in our calls.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode};

use crate::error::UringError;
use crate::kernel::{Ended, Kernel, Order, SyncEnd, Unsent};
use crate::options::{Joining, LANE_ALIGNMENT_BYTES, UringOptions};

/// A write and its sync.
const ENTRIES: u32 = 2;

/// Names the two parts of an order in their completions.
const WRITE: u64 = 1;
const SYNC: u64 = 2;

/// How long to wait before looking again, when the kernel refuses to let us wait.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// One ring and its memory. Used by one thread at a time.
pub(crate) struct Ring {
    // Closed before the memory is freed: fields are dropped in this order.
    io: IoUring,
    /// Never grows, so that its address stays.
    memory: Vec<u8>,
    /// The first aligned byte of it.
    start: usize,
    bytes: usize,
    registered: bool,
    /// Completions that the kernel owes for what it took.
    owed: usize,
    /// What was queued and not taken lies in the queue for good.
    stuck: bool,
}

impl Ring {
    /// A ring with memory of the size in `options`.
    ///
    /// # Errors
    ///
    /// [`UringError::Unavailable`] and [`UringError::Registration`].
    pub(crate) fn new(options: &UringOptions) -> Result<Self, UringError> {
        let io = build().map_err(|source| UringError::Unavailable { source })?;
        let bytes = options.lane_bytes;
        let refused = |source| UringError::Registration { bytes, source };
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(bytes + LANE_ALIGNMENT_BYTES)
            .map_err(|_| refused(io::ErrorKind::OutOfMemory.into()))?;
        memory.resize(bytes + LANE_ALIGNMENT_BYTES, 0_u8);
        let start = memory.as_ptr().align_offset(LANE_ALIGNMENT_BYTES);
        if start > LANE_ALIGNMENT_BYTES {
            return Err(refused(io::ErrorKind::OutOfMemory.into()));
        }
        let registered = options.registered;
        let mut ring = Self { io, memory, start, bytes, registered, owed: 0, stuck: false };
        if registered {
            ring.register().map_err(refused)?;
        }
        Ok(ring)
    }

    fn register(&mut self) -> io::Result<()> {
        let memory = self.memory.get_mut(self.start..self.start + self.bytes).unwrap_or_default();
        let whole = libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() };
        // SAFETY: base and length are those of a live slice of `memory`, which never grows and is
        // dropped after `io`, that is, after the ring is destroyed.
        unsafe { self.io.submitter().register_buffers(&[whole]) }
    }

    /// The parts of `order`. The second counts only for [`Joining::Linked`].
    fn entries(&self, order: &Order<'_>) -> io::Result<[Entry; 2]> {
        let memory = self.memory.get(self.start..self.start + self.bytes);
        let memory = memory.and_then(|memory| memory.get(..order.bytes));
        let memory = memory.ok_or(io::ErrorKind::InvalidInput)?.as_ptr();
        let bytes = u32::try_from(order.bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        let file = Fd(order.file.as_raw_fd());
        let (flags, how) = match order.joining {
            Joining::Durable => (Flags::empty(), libc::RWF_DSYNC),
            Joining::Linked => (Flags::IO_LINK, 0),
        };
        let write = if self.registered {
            opcode::WriteFixed::new(file, memory, bytes, 0)
                .offset(order.offset)
                .rw_flags(how)
                .build()
        } else {
            opcode::Write::new(file, memory, bytes).offset(order.offset).rw_flags(how).build()
        };
        let sync = opcode::Fsync::new(file).flags(FsyncFlags::DATASYNC).build();
        Ok([write.flags(flags).user_data(WRITE), sync.user_data(SYNC)])
    }

    /// Hands over `parts`. The flag says whether the kernel took them all at once, so that a link
    /// between them held.
    fn submit(&mut self, parts: &[Entry]) -> Result<bool, Unsent> {
        // SAFETY:
        // - the memory of the write is inside `memory`: it stays where it is, is not touched while
        //   `owed` is above 0, and `run` and `drop` wait until it is 0;
        // - the file is borrowed by the caller of `run`, which returns when `owed` is 0;
        // - a sync has no memory.
        let queued = unsafe { self.io.submission().push_multiple(parts) };
        if queued.is_err() {
            self.stuck = true;
            return Err(Unsent(io::Error::other("the submission queue is full")));
        }
        // From here on the kernel may read, whatever the call returns.
        self.owed = parts.len();
        let entered = self.io.submitter().submit_and_wait(parts.len());
        let left = self.io.submission().len();
        if left == parts.len() {
            self.owed = 0;
            self.stuck = true;
            let cause = entered.err().unwrap_or_else(|| io::Error::other("nothing was taken"));
            return Err(Unsent(cause));
        }
        Ok(left == 0)
    }

    /// Waits until the kernel owes nothing. There is no other way out: it may read the memory until
    /// then. The results are those of the write and of the sync.
    fn reap(&mut self) -> (Option<i32>, Option<i32>) {
        let (mut write, mut sync) = (None, None);
        loop {
            for completion in self.io.completion() {
                match completion.user_data() {
                    WRITE => write = Some(completion.result()),
                    _ => sync = Some(completion.result()),
                }
                self.owed = self.owed.saturating_sub(1);
            }
            if self.owed == 0 {
                return (write, sync);
            }
            // Hands over as well what the first call left, if it did.
            match self.io.submitter().submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Completions come without our help; only waiting for them is refused.
                Err(_) => thread::sleep(LOOK_AGAIN),
            }
        }
    }
}

/// A ring that runs completions in our own calls, or, on kernels before 5.19, one that interrupts.
fn build() -> io::Result<IoUring> {
    match IoUring::builder().setup_coop_taskrun().build(ENTRIES) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => IoUring::new(ENTRIES),
        built => built,
    }
}

impl Kernel for Ring {
    fn memory(&mut self) -> Option<&mut [u8]> {
        if self.owed != 0 || self.stuck {
            return None;
        }
        self.memory.get_mut(self.start..self.start + self.bytes)
    }

    fn run(&mut self, order: &Order<'_>) -> Result<Ended, Unsent> {
        if self.memory().is_none() {
            return Err(Unsent(io::ErrorKind::ResourceBusy.into()));
        }
        let entries = self.entries(order).map_err(Unsent)?;
        let parts = match order.joining {
            Joining::Durable => &entries[..1],
            Joining::Linked => &entries[..],
        };
        let together = self.submit(parts)?;
        let (write, sync) = self.reap();
        // Every part was answered, or `reap` would still wait; of an answer that carries no name of
        // ours nothing is believed.
        let unknown = -libc::EIO;
        let sync = match order.joining {
            Joining::Durable => SyncEnd::None,
            Joining::Linked if together => SyncEnd::Linked(sync.unwrap_or(unknown)),
            Joining::Linked => SyncEnd::Apart(sync.unwrap_or(unknown)),
        };
        Ok(Ended { write: write.unwrap_or(unknown), sync })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.owed != 0 {
            self.reap();
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("bytes", &self.bytes)
            .field("registered", &self.registered)
            .field("owed", &self.owed)
            .field("stuck", &self.stuck)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Outcome;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    /// A ring, unless this system refuses io_uring.
    fn ring(options: UringOptions) -> Option<Ring> {
        match Ring::new(&options.lane_bytes(8192)) {
            Ok(ring) => Some(ring),
            Err(error @ UringError::Unavailable { .. }) => {
                eprintln!("SKIPPED, nothing was checked: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn order(file: &File, bytes: usize, offset: u64, joining: Joining) -> Order<'_> {
        Order { file: file.as_fd(), bytes, offset, joining }
    }

    #[test]
    fn every_way_to_write_puts_the_memory_into_the_file() {
        for registered in [true, false] {
            for joining in [Joining::Durable, Joining::Linked] {
                let Some(mut ring) = ring(UringOptions::default().registered(registered)) else {
                    return;
                };
                let file = tempfile::tempfile().unwrap();
                for round in 0..5 {
                    ring.memory().unwrap()[..100].fill(round);
                    let order = order(&file, 100, u64::from(round) * 100, joining);
                    let ended = ring.run(&order).unwrap();
                    assert_eq!(ended.outcome(&order).unwrap(), Outcome::Durable(100), "{ended:?}");
                    assert_eq!(ring.owed, 0);
                }
                let mut back = [9; 500];
                file.read_exact_at(&mut back, 0).unwrap();
                assert!(back.chunks(100).zip(0..).all(|(part, round)| part == [round; 100]));
            }
        }
    }

    #[test]
    fn memory_is_out_of_reach_while_the_kernel_owes_an_answer() {
        let Some(mut ring) = ring(UringOptions::default()) else { return };
        let file = tempfile::tempfile().unwrap();
        let order = order(&file, 4096, 0, Joining::Linked);
        let parts = ring.entries(&order).unwrap();
        ring.memory().unwrap().fill(1);
        assert!(ring.submit(&parts).unwrap());
        assert_eq!(ring.owed, 2);
        assert!(ring.memory().is_none());
        assert!(ring.run(&order).is_err(), "nor is it handed over twice");
        assert_eq!(ring.reap(), (Some(4096), Some(0)));
        assert!(ring.memory().is_some());
    }

    #[test]
    fn a_ring_dropped_with_an_order_under_way_waits_for_its_end() {
        let Some(mut ring) = ring(UringOptions::default()) else { return };
        let file = tempfile::tempfile().unwrap();
        ring.memory().unwrap().fill(5);
        let parts = ring.entries(&order(&file, 8192, 0, Joining::Linked)).unwrap();
        ring.submit(&parts).unwrap();
        drop(ring);
        let mut back = [0; 8192];
        file.read_exact_at(&mut back, 0).unwrap();
        assert_eq!(back, [5; 8192]);
    }

    #[test]
    fn an_error_of_the_write_cancels_the_sync_linked_to_it() {
        let Some(mut ring) = ring(UringOptions::default()) else { return };
        let path = tempfile::NamedTempFile::new().unwrap();
        let read_only = File::open(path.path()).unwrap();
        let linked = order(&read_only, 10, 0, Joining::Linked);
        let ended = ring.run(&linked).unwrap();
        let cancelled = SyncEnd::Linked(-libc::ECANCELED);
        assert_eq!(ended, Ended { write: -libc::EBADF, sync: cancelled });
        assert!(ended.outcome(&linked).is_err());
        let durable = order(&read_only, 10, 0, Joining::Durable);
        let ended = ring.run(&durable).unwrap();
        assert_eq!(ended.outcome(&durable).unwrap_err().raw_os_error(), Some(libc::EBADF));
        // And the ring is as good as before.
        let file = tempfile::tempfile().unwrap();
        let order = order(&file, 10, 0, Joining::Durable);
        assert_eq!(ring.run(&order).unwrap().outcome(&order).unwrap(), Outcome::Durable(10));
    }

    #[test]
    fn an_order_longer_than_the_memory_is_not_sent() {
        let Some(mut ring) = ring(UringOptions::default()) else { return };
        let file = tempfile::tempfile().unwrap();
        assert!(ring.run(&order(&file, 8193, 0, Joining::Durable)).is_err());
        assert_eq!(file.metadata().unwrap().len(), 0);
        assert!(ring.memory().is_some());
    }
}
