//! What a recovery did: counts, places, and what it left out and why.
//!
//! Plain data with public fields, so that a caller can print it, compare it, or write it in any
//! format of its own. This file reads no log and decides nothing.
//!
//! Invariant: every record which was scanned is counted once in `records_scanned`, and a record
//! which an engine was given is counted once in `records_replayed`, and nowhere else.

mod aries;

use std::fmt;
use std::time::Duration;

use wal_format::{CheckpointPointer, LsnRange, RecordTimes};

pub use aries::{AnalysisReport, AriesReport, RedoReport, UndoCounts};

/// What became of the transactions which the scan met, counted at their last record.
///
/// A transaction which committed or aborted before the checkpoint's begin is in no count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionCounts {
    /// Committed, and replayed.
    pub committed: u64,
    /// Rolled back by their engine; no trace of them was replayed.
    pub aborted: u64,
    /// Neither committed nor aborted when the log ended or was opened again; not replayed.
    pub unfinished: u64,
    /// Committed, yet some of their records were lost before this log was salvaged; not replayed.
    pub incomplete: u64,
    /// Committed, yet some of their records lie below the head, truncated; not replayed.
    pub truncated: u64,
}

/// What became of the atomic batches which the scan met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// Whole, and replayed.
    pub whole: u64,
    /// Not whole; none of their records was replayed.
    pub void: u64,
    /// Cut by the head: their first records were truncated; none of the others was replayed.
    pub truncated: u64,
}

/// What a recovery read, replayed and left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The strategy, as it calls itself.
    pub strategy: &'static str,
    /// What was scanned: from where replay had to look, to the end of the log.
    pub range: LsnRange,
    /// The checkpoint whose payload the engine was given.
    pub checkpoint: Option<CheckpointPointer>,
    /// Records scanned, housekeeping included; each once, however often it was read again.
    pub records_scanned: u64,
    /// Bytes of the log scanned, headers and alignment included.
    pub bytes_scanned: u64,
    /// Records given to the engine; for ARIES, the changes that redo applied.
    pub records_replayed: u64,
    /// Bytes of body given to the engine. ARIES does not count them: 0.
    pub bytes_replayed: u64,
    /// Records of kinds that this version does not know and may skip.
    pub records_skipped: u64,
    /// What became of the transactions. For ARIES, those that came to an end since the checkpoint
    /// began, and its losers as unfinished; those in doubt are in its own report.
    pub transactions: TransactionCounts,
    /// The most transactions that were active at once: what memory grew with (rule 21).
    pub transactions_active_max: usize,
    /// What became of the atomic batches; ARIES has none.
    pub batches: BatchCounts,
    /// Openings of the log met in the range.
    pub openings: u64,
    /// Gaps met in the range which a salvage declared: records were lost there.
    pub losses: u64,
    /// The last time that the records of the range tell; ARIES does not look for it.
    pub times: RecordTimes,
    /// The verdict on the log, in words; empty when nobody judged it.
    pub verdict: String,
    /// Bytes of the unproven tail which the log left out, as the verdict counts them.
    pub dropped_bytes: u64,
    /// What the three passes of ARIES did; `None` for other strategies.
    pub aries: Option<AriesReport>,
    /// How long it took. Recovery sees no clock: whoever called it fills this in.
    pub elapsed: Option<Duration>,
}

impl RecoveryReport {
    /// Whether everything that committed in the range was replayed.
    ///
    /// False for a log which a salvage had to leave incomplete, and where a truncation cut
    /// transactions or a batch of the range. Unfinished and aborted transactions do not count:
    /// nobody was promised them.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        let cut = self.transactions.truncated + self.batches.truncated;
        self.transactions.incomplete == 0 && self.losses == 0 && cut == 0
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.strategy.is_empty() { "recovery" } else { self.strategy };
        write!(
            f,
            "{name}: scanned {} records, {} bytes, from {} to {}",
            self.records_scanned, self.bytes_scanned, self.range.start, self.range.end
        )?;
        if let Some(elapsed) = self.elapsed {
            write!(f, ", in {elapsed:.1?}")?;
        }
        match self.checkpoint {
            Some(pointer) => {
                write!(f, "\ncheckpoint: begun at {}, record {}", pointer.begin, pointer.record)?;
            }
            None => f.write_str("\ncheckpoint: none")?,
        }
        if self.aries.is_none() {
            self.fmt_replay(f)?;
        }
        if self.losses > 0 {
            write!(f, "\ngaps left by a salvage: {}", self.losses)?;
        }
        if self.records_skipped > 0 {
            write!(f, "\nrecords of unknown kinds skipped: {}", self.records_skipped)?;
        }
        if !self.verdict.is_empty() {
            write!(f, "\nverdict: {}", self.verdict)?;
        }
        if self.dropped_bytes > 0 {
            write!(f, "\ndropped: {} bytes of unproven tail", self.dropped_bytes)?;
        }
        if let Some(aries) = &self.aries {
            write!(f, "\n{aries}")?;
        }
        Ok(())
    }
}

impl RecoveryReport {
    /// What a strategy without passes of its own replayed.
    fn fmt_replay(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\nreplayed: {} records, {} bytes of body",
            self.records_replayed, self.bytes_replayed
        )?;
        let TransactionCounts { committed, aborted, unfinished, incomplete, truncated } =
            self.transactions;
        write!(
            f,
            "\ntransactions: {committed} committed, {aborted} aborted, {unfinished} unfinished"
        )?;
        if incomplete > 0 {
            write!(f, ", {incomplete} committed but incomplete after loss")?;
        }
        if truncated > 0 {
            write!(f, ", {truncated} committed but cut by truncation")?;
        }
        write!(f, "\nbatches: {} whole, {} void", self.batches.whole, self.batches.void)?;
        if self.batches.truncated > 0 {
            write!(f, ", {} cut by truncation", self.batches.truncated)?;
        }
        write!(f, "\nopenings: {}", self.openings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::Lsn;

    fn report() -> RecoveryReport {
        RecoveryReport {
            strategy: "redo-only",
            range: LsnRange::new(Lsn::FIRST, Lsn::new(8192).unwrap()),
            records_scanned: 3,
            ..RecoveryReport::default()
        }
    }

    #[test]
    fn a_plain_report_reads_as_a_few_lines_without_what_did_not_happen() {
        let text = report().to_string();
        assert!(text.starts_with("redo-only: scanned 3 records, 0 bytes, from 4096 to 8192\n"));
        assert!(text.contains("checkpoint: none"));
        for absent in ["salvage", "incomplete", "dropped", "verdict", "unknown"] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
    }

    #[test]
    fn what_aries_counts_in_its_own_way_is_not_said_in_that_of_others() {
        let aries = Some(AriesReport::default());
        let text =
            RecoveryReport { aries, verdict: "clean end".to_owned(), ..report() }.to_string();
        for absent in ["replayed", "batches", "transactions:", "openings"] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
        assert!(text.contains("verdict: clean end\nanalysis: "), "{text}");
    }

    #[test]
    fn what_was_left_out_is_said() {
        let mut report = report();
        report.transactions.incomplete = 2;
        report.transactions.truncated = 3;
        report.losses = 1;
        report.dropped_bytes = 77;
        report.verdict = "torn tail at 8192".to_owned();
        let text = report.to_string();
        assert!(!report.is_complete());
        for present in [
            "2 committed but incomplete",
            "3 committed but cut",
            "salvage: 1",
            "77 bytes",
            "torn tail",
        ] {
            assert!(text.contains(present), "{present} not in {text}");
        }
    }
}
