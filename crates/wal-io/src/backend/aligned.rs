//! Memory which starts at a multiple of 4,096 bytes, for direct I/O. No `unsafe`: each buffer is
//! allocated a little larger and used from its first aligned byte on.
//!
//! Invariants: `start + len` lies within `memory`, which never grows after `new`, so its address,
//! and with it the alignment, stays. A pool lends a buffer to one call at a time.

use std::io;
use std::ops::{Deref, DerefMut};

use parking_lot::Mutex;

/// Alignment of every buffer, and the largest block a device may ask for, in bytes.
pub(super) const ALIGNMENT_BYTES: usize = 4096;

/// Most bytes one direct call carries through a bounce buffer; longer ones are done in part.
pub(super) const BOUNCE_BYTES: usize = 1 << 20;

/// Most idle buffers a pool keeps: 4 MiB.
const IDLE_BUFFERS_MAX: usize = 4;

/// A zeroed buffer whose address is a multiple of [`ALIGNMENT_BYTES`].
#[derive(Debug)]
pub(super) struct AlignedBuf {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// A buffer of `len` zeros.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let total = len.checked_add(ALIGNMENT_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut memory = Vec::new();
        memory.try_reserve_exact(total).map_err(|_| io::ErrorKind::OutOfMemory)?;
        memory.resize(total, 0);
        let start = memory.as_ptr().align_offset(ALIGNMENT_BYTES);
        // `align_offset` may decline to answer; then there is no aligned memory to be had.
        if start >= ALIGNMENT_BYTES {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Self { memory, start, len })
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

/// Buffers of [`BOUNCE_BYTES`] to be used again and again.
#[derive(Debug, Default)]
pub(super) struct BouncePool {
    /// At most [`IDLE_BUFFERS_MAX`]; changed under its lock by `with`.
    idle: Mutex<Vec<AlignedBuf>>,
}

impl BouncePool {
    /// Calls `work` with a buffer of [`BOUNCE_BYTES`] whose contents are whatever was left there.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`, or those of `work`.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut AlignedBuf) -> io::Result<T>,
    ) -> io::Result<T> {
        let idle = self.idle.lock().pop();
        let mut buf = match idle {
            Some(buf) => buf,
            None => AlignedBuf::new(BOUNCE_BYTES)?,
        };
        let done = work(&mut buf);
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_BUFFERS_MAX {
            idle.push(buf);
        }
        done
    }
}

/// Whether the memory of `bytes` starts at a multiple of `alignment`, a power of two.
pub(super) fn is_aligned(bytes: &[u8], alignment: usize) -> bool {
    bytes.as_ptr().addr() & (alignment - 1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_every_length_are_aligned_and_zero() {
        for len in [0, 1, 511, 4096, 4097, 100_000] {
            let buf = AlignedBuf::new(len).unwrap();
            assert_eq!(buf.len(), len);
            assert!(is_aligned(&buf, ALIGNMENT_BYTES));
            assert!(buf.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn a_moved_buffer_stays_aligned_and_keeps_its_bytes() {
        let mut buf = AlignedBuf::new(10).unwrap();
        buf[9] = 7;
        let moved = Box::new(buf);
        assert!(is_aligned(&moved, ALIGNMENT_BYTES));
        assert_eq!(moved[9], 7);
    }

    #[test]
    fn a_buffer_larger_than_memory_is_an_error() {
        let error = AlignedBuf::new(usize::MAX - 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn an_odd_address_is_not_aligned() {
        let buf = AlignedBuf::new(4096).unwrap();
        assert!(!is_aligned(&buf[1..], 512));
        assert!(is_aligned(&buf[512..], 512));
    }

    #[test]
    fn a_pool_lends_its_buffers_again_also_after_an_error() {
        let pool = BouncePool::default();
        let first = pool.with(|buf| Ok(buf.as_ptr().addr())).unwrap();
        pool.with(|_| Err::<(), _>(io::ErrorKind::Other.into())).unwrap_err();
        let again = pool.with(|buf| Ok(buf.as_ptr().addr())).unwrap();
        assert_eq!(first, again);
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_bound() {
        fn nest(pool: &BouncePool, depth: usize) -> io::Result<()> {
            pool.with(|_| if depth == 0 { Ok(()) } else { nest(pool, depth - 1) })
        }
        let pool = BouncePool::default();
        nest(&pool, 2 * IDLE_BUFFERS_MAX).unwrap();
        assert_eq!(pool.idle.lock().len(), IDLE_BUFFERS_MAX);
    }
}
