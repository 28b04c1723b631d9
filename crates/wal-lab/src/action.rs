//! What a workload is doing, and what a power cut can fall into: the steps of the protocol.

use std::fmt;

use wal_sim::Call;

/// One thing that a workload does with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Opening, creation and recovery included.
    Open,
    /// One record, waited for or not.
    Append,
    /// Enough records to enter the next segment.
    Rotate,
    /// A record larger than the buffer.
    Large,
    /// An atomic batch.
    Batch,
    /// A transaction, from its begin to its commit.
    Commit,
    /// A transaction that is given up.
    Abort,
    /// A record of a transaction which stays open over other actions.
    Span,
    /// A sync.
    Sync,
    /// A checkpoint with the engine's snapshot.
    Checkpoint,
    /// Truncation up to what nothing needs any more.
    Truncate,
    /// A retention hold: taken, moved, or let go.
    Hold,
    /// Reading forwards, backwards, and at the end.
    Read,
    /// Closing, and opening again.
    Reopen,
    /// Losing the handle without closing, and opening again.
    Restart,
    /// Several threads at once.
    Threads,
}

impl Action {
    /// Every action.
    pub const ALL: &'static [Self] = &[
        Self::Open,
        Self::Append,
        Self::Rotate,
        Self::Large,
        Self::Batch,
        Self::Commit,
        Self::Abort,
        Self::Span,
        Self::Sync,
        Self::Checkpoint,
        Self::Truncate,
        Self::Hold,
        Self::Read,
        Self::Reopen,
        Self::Restart,
        Self::Threads,
    ];

    /// The action in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Append => "append",
            Self::Rotate => "rotate",
            Self::Large => "large",
            Self::Batch => "batch",
            Self::Commit => "commit",
            Self::Abort => "abort",
            Self::Span => "span",
            Self::Sync => "sync",
            Self::Checkpoint => "checkpoint",
            Self::Truncate => "truncate",
            Self::Hold => "hold",
            Self::Read => "read",
            Self::Reopen => "reopen",
            Self::Restart => "restart",
            Self::Threads => "threads",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A step of the protocol as the disk sees it: a call, and the sort of file it is made on.
#[must_use]
pub fn protocol_step(call: Call, file: &str) -> String {
    let sort = match (call, file) {
        (Call::SyncDir, _) => return "sync directory".to_owned(),
        (_, name) if name.starts_with("control") => "control file",
        (_, name) if name.starts_with("spare") => "spare",
        (_, name) if name.ends_with(".tmp") => "segment in the making",
        (_, name) if name.ends_with(".old") => "retired segment",
        _ => "segment",
    };
    format!("{call} {sort}")
}

/// Steps of the protocol that every campaign of some size must have cut.
pub const STEPS: &[&str] = &[
    "create segment in the making",
    "write segment in the making",
    "sync segment in the making",
    "rename segment in the making",
    "write segment",
    "sync segment",
    "remove segment",
    "rename segment",
    "rename retired segment",
    "write control file",
    "sync control file",
    "sync directory",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_call_on_a_sort_of_file() {
        assert_eq!(protocol_step(Call::Sync, "control"), "sync control file");
        assert_eq!(protocol_step(Call::Write, "a-b.wal"), "write segment");
        assert_eq!(protocol_step(Call::Rename, "a-b.wal.tmp"), "rename segment in the making");
        assert_eq!(protocol_step(Call::Rename, "a-b.wal.old"), "rename retired segment");
        assert_eq!(protocol_step(Call::SyncDir, ""), "sync directory");
        assert!(STEPS.contains(&protocol_step(Call::Remove, "a-b.wal").as_str()));
    }
}
