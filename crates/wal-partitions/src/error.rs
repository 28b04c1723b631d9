//! The one error type: which partition, what, and what next.

use wal::{ErrorKind, Fate, LogId};

use crate::id::BatchId;

/// An error of a set of partitions. [`kind`](Self::kind) says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log of one partition refused or failed; the others are as they were.
    #[error("partition `{name}`: {source}")]
    Partition {
        /// The partition.
        name: String,
        /// What its log said.
        #[source]
        source: Box<wal::Error>,
    },
    /// The root could not be read, written or locked.
    #[error("the root of the partitions: {source}")]
    Root {
        /// What the storage said.
        #[source]
        source: Box<wal::Error>,
    },
    /// There is no manifest, and the options say not to create one.
    #[error("there are no partitions in `{place}`, and the options say not to create them")]
    NoPartitions {
        /// The root.
        place: String,
    },
    /// The manifest cannot be read. Nothing was changed: restore it from a copy.
    #[error("the manifest of the partitions in `{place}` cannot be used: {what}")]
    Manifest {
        /// The root.
        place: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is no manifest, but a log with records stands where a new partition was to be. Nothing
    /// of it was replayed: restore the manifest, or move the log away.
    #[error("partition `{name}` holds records, but there is no manifest; restore it from a copy")]
    ManifestLost {
        /// The partition.
        name: String,
    },
    /// The number or names of the partitions are fixed when they are created. Nothing was changed.
    #[error("the root holds the partitions {found}, asked for were {asked}; they cannot change")]
    OtherPartitions {
        /// What the manifest says.
        found: String,
        /// What the call said.
        asked: String,
    },
    /// The log of a partition is not there. Nothing was changed: bring it back.
    #[error("partition `{name}` is missing: there is no log {expected} in its place")]
    Missing {
        /// The partition.
        name: String,
        /// Its log.
        expected: LogId,
    },
    /// Another log lies in the place of a partition. Nothing was changed: put each in its place.
    #[error("in the place of partition `{name}`, log {expected}, lies log {found}{}", Whose(.belongs_to))]
    Foreign {
        /// The partition.
        name: String,
        /// Its log.
        expected: LogId,
        /// The log that lies there.
        found: LogId,
        /// The partition whose log that is, if it is one of this root's.
        belongs_to: Option<String>,
    },
    /// A part of a batch was refused, so the batch did not happen; no part of it will ever count.
    #[error("batch {batch} did not happen, for partition `{name}` refused its part: {source}")]
    NotCommitted {
        /// The batch.
        batch: BatchId,
        /// The partition.
        name: String,
        /// What its log said.
        #[source]
        source: Box<wal::Error>,
    },
    /// Whether a batch counts is not known before the partitions are opened again: all of it will,
    /// or nothing. Partitions that took no part go on, the others too, but for checkpoints behind
    /// it.
    #[error(
        "whether batch {batch} counts is known at the next opening: partition `{name}`{}",
        Because(.source)
    )]
    InDoubt {
        /// The batch.
        batch: BatchId,
        /// The partition that cannot make its part, or its outcome, durable.
        name: String,
        /// What its log said.
        #[source]
        source: Option<Box<wal::Error>>,
    },
    /// Records of this layer contradict one another: the log of another opening, or a defect. Keep
    /// the files.
    #[error("partition `{name}` contradicts the others: {what}")]
    Contradiction {
        /// The partition.
        name: String,
        /// What it says.
        what: String,
    },
    /// The call cannot be served as it was made; nothing changed.
    #[error("{what}")]
    Refused {
        /// Why.
        what: String,
    },
}

/// To whom a log belongs that lies in the wrong place.
struct Whose<'a>(&'a Option<String>);

impl std::fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(name) => write!(f, ", that of partition `{name}`"),
            None => f.write_str(", of no partition of this root"),
        }
    }
}

/// What the log of a partition said, if it said anything.
struct Because<'a>(&'a Option<Box<wal::Error>>);

impl std::fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(source) => write!(f, ": {source}"),
            None => f.write_str(" did not say whether it took its part"),
        }
    }
}

impl Error {
    /// What kind of failure it was, and so what the caller does next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Partition { source, .. }
            | Self::Root { source }
            | Self::NotCommitted { source, .. } => source.kind(),
            Self::InDoubt { source, .. } => {
                source.as_ref().map_or(ErrorKind::Poisoned, |source| source.kind())
            }
            Self::NoPartitions { .. } => ErrorKind::NotALog,
            Self::Manifest { .. }
            | Self::ManifestLost { .. }
            | Self::Missing { .. }
            | Self::Contradiction { .. } => ErrorKind::Damaged,
            Self::Foreign { .. } => ErrorKind::Foreign,
            Self::OtherPartitions { .. } | Self::Refused { .. } => ErrorKind::Refused,
        }
    }

    /// For a failed commit or batch: whether it certainly did not happen, or nobody can say before
    /// the partitions are opened again.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Partition { source, .. } => source.fate(),
            Self::NotCommitted { .. } | Self::Refused { .. } => Fate::NotCommitted,
            _ => Fate::Unknown,
        }
    }

    /// The partition concerned, if it is one.
    #[must_use]
    pub fn partition(&self) -> Option<&str> {
        match self {
            Self::Partition { name, .. }
            | Self::ManifestLost { name }
            | Self::Missing { name, .. }
            | Self::Foreign { name, .. }
            | Self::NotCommitted { name, .. }
            | Self::InDoubt { name, .. }
            | Self::Contradiction { name, .. } => Some(name),
            _ => None,
        }
    }

    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self::Refused { what: what.into() }
    }

    pub(crate) fn root(source: impl Into<wal::Error>) -> Self {
        Self::Root { source: Box::new(source.into()) }
    }

    pub(crate) fn of(name: &str, source: impl Into<wal::Error>) -> Self {
        Self::Partition { name: name.to_owned(), source: Box::new(source.into()) }
    }
}
