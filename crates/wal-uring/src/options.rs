//! How a log is kept through io_uring.

/// How a write and its sync become one submission. Both give the same promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Joining {
    /// One write that completes when its bytes are durable (`RWF_DSYNC`).
    #[default]
    Durable,
    /// A write, and linked to it an `fdatasync` of the file, which starts when the write is done.
    Linked,
}

/// How a log is kept through io_uring. The defaults are argued in `docs/design/0006-io-uring.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UringOptions {
    pub(crate) direct: bool,
    pub(crate) joining: Joining,
    pub(crate) registered: bool,
    pub(crate) lanes: usize,
    pub(crate) lane_bytes: usize,
}

/// Unit of a lane's memory, and its alignment, in bytes.
pub(crate) const LANE_ALIGNMENT_BYTES: usize = 4096;

/// Most memory of a lane, in bytes.
const LANE_BYTES_MAX: usize = 16 << 20;

impl Default for UringOptions {
    fn default() -> Self {
        Self {
            direct: false,
            joining: Joining::default(),
            registered: true,
            lanes: 4,
            lane_bytes: 256 << 10,
        }
    }
}

impl UringOptions {
    /// Whether files are read and written past the page cache (`O_DIRECT`), as by
    /// [`DirectStorage`](wal_io::backend::DirectStorage). Default: off.
    #[must_use]
    pub const fn direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }

    /// How a write and its sync become one. Default: [`Joining::Durable`].
    #[must_use]
    pub const fn joining(mut self, joining: Joining) -> Self {
        self.joining = joining;
        self
    }

    /// Whether the memory of the lanes is registered, which spares the kernel to look it up and pin
    /// it for each flush. Registered memory counts against the limit of locked memory. Default: on.
    #[must_use]
    pub const fn registered(mut self, registered: bool) -> Self {
        self.registered = registered;
        self
    }

    /// How many flushes can be joined at once, 1 to 8; what is given beyond counts as the nearest.
    /// Each has a ring and memory of its own, made when the storage is opened. Default: 4.
    ///
    /// Of more flushes in flight the others write and sync by two calls.
    #[must_use]
    pub const fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = match lanes {
            0 => 1,
            1..=8 => lanes,
            _ => 8,
        };
        self
    }

    /// Bytes of memory of each lane, 4 KiB to 16 MiB in units of 4 KiB; what is given otherwise
    /// counts as the next such number. Default: 256 KiB.
    ///
    /// A longer flush writes and syncs by two calls: it is no worse for it.
    #[must_use]
    pub const fn lane_bytes(mut self, bytes: usize) -> Self {
        let bytes = if bytes > LANE_BYTES_MAX { LANE_BYTES_MAX } else { bytes };
        let units = bytes.div_ceil(LANE_ALIGNMENT_BYTES);
        self.lane_bytes = LANE_ALIGNMENT_BYTES * if units == 0 { 1 } else { units };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_counts_as_the_nearest() {
        let lanes = [0, 1, 8, 9].map(|count| UringOptions::default().lanes(count).lanes);
        assert_eq!(lanes, [1, 1, 8, 8]);
        let bytes = [0, 1, 4096, 4097, usize::MAX]
            .map(|bytes| UringOptions::default().lane_bytes(bytes).lane_bytes);
        assert_eq!(bytes, [4096, 4096, 4096, 8192, LANE_BYTES_MAX]);
    }
}
