//! The engine under the log: it remembers, in order, which records it was given.
//!
//! Its snapshot is the list itself, so that a checkpoint which holds too much or too little shows.

use std::io;

use wal::{CheckpointView, Lsn, RedoTarget, ReplayRecord};

use crate::body;

/// One record as a replay gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Its number.
    pub number: u64,
    /// Where it counts in the log: its own address, that of the commit for a record of a
    /// transaction; `None` when it came with a checkpoint.
    pub lsn: Option<Lsn>,
}

/// Numbers of records, in the order in which they were applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// What was applied.
    pub found: Vec<Replayed>,
}

impl Engine {
    /// The numbers alone.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        self.found.iter().map(|found| found.number).collect()
    }
}

/// The payload of a checkpoint which holds these records.
#[must_use]
pub fn snapshot(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The numbers in a payload.
#[must_use]
pub fn numbers(payload: &[u8]) -> Vec<u64> {
    payload.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

impl RedoTarget for Engine {
    type Error = io::Error;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), io::Error> {
        let restored = |number| Replayed { number, lsn: None };
        self.found = numbers(checkpoint.payload).into_iter().map(restored).collect();
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), io::Error> {
        let Some(number) = body::read(record.body) else {
            return Err(io::Error::other(format!("the record at {} was altered", record.lsn)));
        };
        let lsn = record.commit.map_or(record.lsn, |commit| commit.lsn);
        self.found.push(Replayed { number, lsn: Some(lsn) });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_back() {
        assert_eq!(numbers(&snapshot(&[3, 1, 1 << 60])), [3, 1, 1 << 60]);
    }
}
