//! What names a partition and a batch, and the two kinds of records that this layer writes.

use std::fmt;

use wal::{Epoch, LogId, RecordKind};

/// Most partitions under one root.
pub const PARTITIONS_MAX: usize = 1024;

/// A batch across partitions: never used twice under one root.
///
/// The epoch of the first partition's log is spent durably at every opening, before anything is
/// appended; the number counts batches from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId {
    /// The log of the first partition.
    pub log: LogId,
    /// Which opening of that log began the batch.
    pub epoch: Epoch,
    /// Which batch of that opening it is, from 1.
    pub number: u64,
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch.get(), self.number)
    }
}

/// What became of a batch across partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Every part counts.
    Committed,
    /// No part counts, ever.
    Aborted,
}

/// Opens a part of a batch across partitions; its body is a `PartHead`.
pub const PART_KIND: RecordKind = kind(62);

/// Says what became of such a batch; its body is a `Note`.
pub const NOTE_KIND: RecordKind = kind(63);

const fn kind(index: u8) -> RecordKind {
    match RecordKind::engine(index) {
        Some(kind) => kind,
        None => RecordKind::DATA,
    }
}

const _: () = assert!(PART_KIND.get() == 0x7e && NOTE_KIND.get() == 0x7f);

/// Whether engines may use `kind` in a partition.
pub(crate) fn is_free(kind: RecordKind) -> bool {
    kind.is_engine() && kind != PART_KIND && kind != NOTE_KIND
}
