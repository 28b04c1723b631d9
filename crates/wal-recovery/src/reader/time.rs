//! The time of the record that was read last.
//!
//! Times are told by records on the way: only a reader that went forwards without a gap knows them.

use wal_format::{Lsn, RecordRef, RecordTimes};

/// The times that were passed in one go.
#[derive(Debug, Default)]
pub(super) struct TimesPassed {
    times: RecordTimes,
    /// Start and end of the record passed last.
    last: (Lsn, Lsn),
}

impl TimesPassed {
    /// Takes notice of a record, read by a reader which stood at `from`.
    pub(super) fn pass(&mut self, from: Lsn, record: &RecordRef<'_>) {
        // Whoever stands before or behind the last record has missed none.
        if from != self.last.0 && from != self.last.1 {
            self.times = RecordTimes::default();
        }
        self.last = (record.lsn(), record.end());
        self.times.observe(record);
    }

    /// The last time that was told.
    pub(super) const fn unix_us(&self) -> Option<u64> {
        self.times.unix_us()
    }
}
