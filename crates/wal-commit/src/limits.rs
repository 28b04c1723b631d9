//! How much may wait for a sync that nobody asked for: by records and by bytes.
//!
//! The third limit, by time, is [`SyncPolicy::Periodic`](crate::SyncPolicy::Periodic). Counted where
//! records are reserved; when a limit is reached the serving thread is asked to sync, and the
//! append goes on. Nobody waits here.

use crate::config::CommitConfig;

/// What was appended since a sync was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unasked {
    records: u64,
    bytes: u64,
}

impl Unasked {
    /// Counts a reservation; returns whether a limit is reached, and then counts anew.
    pub(crate) fn count(&mut self, records: u64, bytes: u64, config: &CommitConfig) -> bool {
        self.records = self.records.saturating_add(records);
        self.bytes = self.bytes.saturating_add(bytes);
        let due = config.sync_after_records.is_some_and(|limit| self.records >= limit)
            || config.sync_after_bytes.is_some_and(|limit| self.bytes >= limit);
        if due {
            *self = Self::default();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(records: Option<u64>, bytes: Option<u64>) -> CommitConfig {
        CommitConfig {
            sync_after_records: records,
            sync_after_bytes: bytes,
            ..CommitConfig::default()
        }
    }

    #[test]
    fn without_limits_nothing_is_ever_due() {
        assert!(!Unasked::default().count(u64::MAX, u64::MAX, &limits(None, None)));
    }

    #[test]
    fn whichever_limit_is_reached_first_counts_and_both_begin_anew() {
        let config = limits(Some(3), Some(100));
        let mut unasked = Unasked::default();
        assert!(!unasked.count(2, 40, &config));
        assert!(unasked.count(1, 10, &config), "three records");
        assert!(!unasked.count(1, 99, &config));
        assert!(unasked.count(1, 1, &config), "a hundred bytes");
        assert_eq!(unasked, Unasked::default());
    }
}
