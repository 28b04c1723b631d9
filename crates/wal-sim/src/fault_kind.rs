//! The names of calls and of faults, by which plans are made and coverage is counted.
//!
//! Words only: what a fault does is known by whoever makes it.

use std::fmt;

/// A call that a fault can hit, and that coverage is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Call {
    /// Listing the directory.
    List,
    /// Creating a file.
    Create,
    /// Opening a file.
    Open,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Changing a file's length.
    SetLen,
    /// Making a file's contents durable.
    Sync,
    /// Making the directory's entries durable.
    SyncDir,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
}

impl Call {
    /// Whether the call changes anything that a power cut could catch half-way.
    #[must_use]
    pub const fn changes(self) -> bool {
        !matches!(self, Self::List | Self::Open | Self::Read)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::SetLen => "set length",
            Self::Sync => "sync",
            Self::SyncDir => "sync directory",
            Self::Rename => "rename",
            Self::Remove => "remove",
        })
    }
}

/// What can befall a log: on the power cut, while the power is on, or afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The power went; whatever was not durable survived in any part.
    PowerCut,
    /// Only the process died.
    ProcessKill,
    /// Something written and not synced was lost.
    LostSector,
    /// Of what was written and not synced some sectors survived, and others did not.
    PartlyKept,
    /// A later write survived, an earlier one did not.
    Reordered,
    /// A sector survived as a mix of old and new bytes.
    TornSector,
    /// A creation, renaming or removal was lost.
    LostName,
    /// A file that was never synced shows what a removed file held.
    RecycledSpace,
    /// A sync said that all was durable, and it was not.
    LyingSync,
    /// A sync failed, and what it covered may be lost.
    SyncFailed,
    /// A sync of the directory failed.
    DirectorySyncFailed,
    /// The kernel failed to write back, and said so at a later sync.
    WritebackLost,
    /// A write failed, perhaps half-way.
    WriteFailed,
    /// A read failed.
    ReadFailed,
    /// A write took less than it was given.
    ShortWrite,
    /// A read gave less than it was asked for.
    ShortRead,
    /// A call asked to be made again.
    Interrupted,
    /// The device was full.
    NoSpace,
    /// Another call failed: creating, opening, renaming, removing, listing, changing a length.
    CallFailed,
    /// A call took long.
    SlowCall,
    /// A bit of a durable file changed.
    BitFlip,
    /// A durable sector cannot be read.
    UnreadableSector,
    /// A durable sector holds what belongs into another one.
    MisdirectedWrite,
    /// A durable sector holds what it held before the last write to it.
    LostWrite,
    /// A durable sector holds what the same sector of another file holds.
    StaleSector,
    /// A durable sector holds zeros.
    ZeroedSector,
}

impl FaultKind {
    /// What a power cut or the death of a process does.
    pub const CRASH: [Self; 8] = [
        Self::PowerCut,
        Self::ProcessKill,
        Self::LostSector,
        Self::PartlyKept,
        Self::Reordered,
        Self::TornSector,
        Self::LostName,
        Self::RecycledSpace,
    ];

    /// How a part of what was not synced can survive: an exploration that never meets one of them
    /// behind a cut looks at the extremes only there.
    pub const PARTIAL: [Self; 3] = [Self::PartlyKept, Self::Reordered, Self::TornSector];

    /// What goes wrong while the power is on, and can be drawn from a seed.
    pub const LIVE: [Self; 11] = [
        Self::SyncFailed,
        Self::DirectorySyncFailed,
        Self::WritebackLost,
        Self::WriteFailed,
        Self::ReadFailed,
        Self::ShortWrite,
        Self::ShortRead,
        Self::Interrupted,
        Self::NoSpace,
        Self::CallFailed,
        Self::SlowCall,
    ];

    /// How durable bytes decay.
    pub const LATENT: [Self; 6] = [
        Self::BitFlip,
        Self::UnreadableSector,
        Self::MisdirectedWrite,
        Self::LostWrite,
        Self::StaleSector,
        Self::ZeroedSector,
    ];

    /// The name, as coverage prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PowerCut => "power cut",
            Self::ProcessKill => "process kill",
            Self::LostSector => "lost sector",
            Self::PartlyKept => "partly kept",
            Self::Reordered => "reordered writes",
            Self::TornSector => "torn sector",
            Self::LostName => "lost name",
            Self::RecycledSpace => "recycled space",
            Self::LyingSync => "lying sync",
            Self::SyncFailed => "failed sync",
            Self::DirectorySyncFailed => "failed directory sync",
            Self::WritebackLost => "lost write-back",
            Self::WriteFailed => "failed write",
            Self::ReadFailed => "failed read",
            Self::ShortWrite => "short write",
            Self::ShortRead => "short read",
            Self::Interrupted => "interrupted call",
            Self::NoSpace => "no space",
            Self::CallFailed => "failed call",
            Self::SlowCall => "slow call",
            Self::BitFlip => "bit flip",
            Self::UnreadableSector => "unreadable sector",
            Self::MisdirectedWrite => "misdirected write",
            Self::LostWrite => "lost write",
            Self::StaleSector => "stale sector",
            Self::ZeroedSector => "zeroed sector",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
