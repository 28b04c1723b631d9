//! How written bytes are made durable.

/// How a log makes its bytes durable. `docs/durability.md` says what each survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyncMethod {
    /// `fdatasync` after the write: contents, and what is needed to find them.
    #[default]
    DataSync,
    /// `fsync` after the write: contents and all metadata.
    FullSync,
    /// Files opened with `O_DSYNC`: the write itself returns when the bytes are durable.
    WriteThrough,
    /// No record is ever synced. The log then promises nothing beyond `Written`. Its control file
    /// and the names and headers of its segments still are, so that it opens after a power loss.
    None,
}

impl SyncMethod {
    /// Whether this method ever makes anything durable.
    #[must_use]
    pub const fn can_promise(self) -> bool {
        !matches!(self, Self::None)
    }
}
