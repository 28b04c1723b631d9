//! What kind of device a simulated disk is.
//!
//! Settings only. The defaults are a device which keeps the storage contract; a cache that lies is
//! the one setting which does not.

/// Settings of a simulated disk; [`disk`](Self::disk) makes it.
///
/// ```
/// use wal_sim::Model;
///
/// // A drive of 4 KiB sectors, opened for direct I/O.
/// let disk = Model::new().sector_bytes(4096).block_bytes(4096).disk();
/// assert_eq!(disk.model().sector_size(), 4096);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub(crate) sector_bytes: usize,
    pub(crate) block_bytes: usize,
    pub(crate) lies: u64,
    pub(crate) recycles: bool,
    pub(crate) joins_sync: bool,
    pub(crate) seed: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// A device of 512-byte sectors which takes writes at any byte and keeps its promises.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sector_bytes: 512,
            block_bytes: 1,
            lies: 0,
            recycles: false,
            joins_sync: false,
            seed: 0,
        }
    }

    /// The unit in which unsynced bytes survive: 512 or 4,096; anything else is taken for 4,096.
    #[must_use]
    pub fn sector_bytes(mut self, bytes: usize) -> Self {
        self.sector_bytes = if bytes == 512 { 512 } else { 4096 };
        self
    }

    /// Writes must start and end at multiples of `bytes`: 1, or a power of two from 512 to 4,096;
    /// anything else is taken for 4,096.
    #[must_use]
    pub fn block_bytes(mut self, bytes: usize) -> Self {
        let legal = matches!(bytes, 1 | 512 | 1024 | 2048 | 4096);
        self.block_bytes = if legal { bytes } else { 4096 };
        self
    }

    /// A write cache that lies: what a sync covers becomes durable when `syncs` further syncs, of
    /// any file or of the directory, have returned. 0: it does not lie.
    ///
    /// No log survives this: it breaks clause 2 of the contract. An oracle must allow for the loss,
    /// and an oracle that sees none is blind.
    #[must_use]
    pub fn lying_cache(mut self, syncs: u64) -> Self {
        self.lies = syncs;
        self
    }

    /// After a power cut, the space of a file that was created and never synced may show what a
    /// removed file held. The contract allows it: only a sync covers the zeros of a new file.
    #[must_use]
    pub fn recycled_space(mut self) -> Self {
        self.recycles = true;
        self
    }

    /// Its files ask for a write and its sync in one call. The disk still does them one after the
    /// other, so that the power can go, and each can fail, between the two.
    #[must_use]
    pub fn joined_sync(mut self) -> Self {
        self.joins_sync = true;
        self
    }

    /// What the disk draws identities from.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The size of a sector in bytes.
    #[must_use]
    pub fn sector_size(&self) -> usize {
        self.sector_bytes
    }
}
