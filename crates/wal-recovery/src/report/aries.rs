//! What a restart by ARIES did: what each of its three passes found and did.

use std::fmt;

use wal_format::{CheckpointPointer, Lsn, LsnRange, PageId};

use crate::fault::CheckpointFault;

/// What analysis found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnalysisReport {
    /// What it read: from the begin of the checkpoint to the end of the log.
    pub range: LsnRange,
    /// The checkpoint it started from; `None` when it read the log from its first record.
    pub checkpoint: Option<CheckpointPointer>,
    /// Newer checkpoints which could not be used, newest first, and why not.
    pub passed_over: Vec<(CheckpointPointer, CheckpointFault)>,
    /// Records read.
    pub records: u64,
    /// Bytes of the log read, headers and alignment included.
    pub bytes: u64,
    /// Transactions that committed and lack only their end record.
    pub winners: usize,
    /// Transactions to be rolled back, those whose rollback had begun included.
    pub losers: usize,
    /// Transactions that only their coordinator may end.
    pub in_doubt: usize,
    /// Pages that may lack changes.
    pub dirty_pages: usize,
}

/// What redo did. Every record that changes a page is counted once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedoReport {
    /// What it read: from the oldest change that may be missing to the end of the log.
    pub range: LsnRange,
    /// Records read.
    pub records: u64,
    /// Bytes of the log read, headers and alignment included.
    pub bytes: u64,
    /// Changes applied, images included.
    pub applied: u64,
    /// Page images put in place.
    pub images: u64,
    /// Changes not applied: their page was in storage, or freed later.
    pub skipped_clean: u64,
    /// Changes not applied: they are older than the page's recLSN.
    pub skipped_before: u64,
    /// Changes not applied: the page holds them, by its LSN.
    pub skipped_newer: u64,
    /// Changes put off: their page is offline.
    pub put_off: u64,
    /// Pages that were offline: they stay in the dirty-page table, and hold truncation.
    pub deferred: Vec<PageId>,
    /// Torn pages which were rebuilt, from an image or from their first record.
    pub torn_rebuilt: u64,
    /// Threads that applied changes.
    pub threads: usize,
}

/// What undo did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UndoCounts {
    /// Transactions rolled back to their beginning.
    pub transactions: u64,
    /// Compensation records written.
    pub clrs: u64,
    /// Records fetched, each by its address.
    pub records_read: u64,
    /// End records written for transactions that had committed.
    pub winners_ended: u64,
    /// Transactions whose rollback waits for a page that is offline.
    pub deferred: u64,
    /// Transactions still in doubt.
    pub in_doubt: u64,
    /// The checkpoint taken at the end of restart, if one was.
    pub checkpoint: Option<Lsn>,
}

/// The three passes of one restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AriesReport {
    /// The first pass.
    pub analysis: AnalysisReport,
    /// The second pass.
    pub redo: RedoReport,
    /// The third pass; all zero until the log takes records again.
    pub undo: UndoCounts,
}

impl fmt::Display for AriesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { analysis, redo, undo } = self;
        write!(f, "{analysis}\n{redo}\n{undo}")
    }
}

impl fmt::Display for AnalysisReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "analysis: {} records from {} to {}, {} winners, {} losers, {} in doubt, {} dirty pages",
            self.records,
            self.range.start,
            self.range.end,
            self.winners,
            self.losers,
            self.in_doubt,
            self.dirty_pages
        )?;
        for (pointer, fault) in &self.passed_over {
            write!(f, "\ncheckpoint begun at {} passed over: {fault}", pointer.begin)?;
        }
        Ok(())
    }
}

impl fmt::Display for RedoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.range.is_empty() {
            return f.write_str("redo: nothing may be missing");
        }
        write!(
            f,
            "redo: {} records from {} to {}, {} changes applied, {} of them images; not applied: \
             {} of clean pages, {} before their recLSN, {} by page LSN",
            self.records,
            self.range.start,
            self.range.end,
            self.applied,
            self.images,
            self.skipped_clean,
            self.skipped_before,
            self.skipped_newer
        )?;
        if self.threads > 1 {
            write!(f, "; on {} threads", self.threads)?;
        }
        if self.torn_rebuilt > 0 {
            write!(f, "\ntorn pages rebuilt: {}", self.torn_rebuilt)?;
        }
        if !self.deferred.is_empty() {
            let (pages, changes) = (self.deferred.len(), self.put_off);
            write!(f, "\npages offline: {pages}, {changes} changes put off")?;
        }
        Ok(())
    }
}

impl fmt::Display for UndoCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "undo: {} transactions, {} compensations, {} records read, {} winners ended",
            self.transactions, self.clrs, self.records_read, self.winners_ended
        )?;
        if self.deferred > 0 {
            write!(f, "\nrollbacks that wait for a page: {}", self.deferred)?;
        }
        if self.in_doubt > 0 {
            write!(f, "\ntransactions in doubt: {}", self.in_doubt)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(raw: u64) -> Lsn {
        Lsn::new(raw).unwrap()
    }

    #[test]
    fn what_did_not_happen_is_not_said() {
        let text = AriesReport::default().to_string();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("redo: nothing may be missing"));
    }

    #[test]
    fn a_checkpoint_that_was_passed_over_is_named_with_its_fault() {
        let pointer = CheckpointPointer {
            begin: lsn(8192),
            redo_from: lsn(4096),
            record: lsn(8256),
            end: lsn(8320),
        };
        let fault = CheckpointFault::MissingParts { expected: 2, found: 1 };
        let analysis =
            AnalysisReport { passed_over: vec![(pointer, fault)], ..AnalysisReport::default() };
        let text = analysis.to_string();
        assert!(text.contains("begun at 8192 passed over: it has 2 parts, of which 1"), "{text}");
    }

    #[test]
    fn what_was_put_off_is_said() {
        let redo = RedoReport {
            range: LsnRange::new(lsn(4096), lsn(8192)),
            deferred: vec![PageId::new(3)],
            put_off: 7,
            torn_rebuilt: 2,
            ..RedoReport::default()
        };
        let text = redo.to_string();
        assert!(text.contains("pages offline: 1, 7 changes put off"), "{text}");
        assert!(text.contains("torn pages rebuilt: 2"), "{text}");
    }
}
