//! How far a long operation has come.
//!
//! This crate reads no clock and prints nothing: whoever wants a bar, an estimate or a log line
//! implements [`Progress`].

use std::fmt;

use wal_format::{Lsn, LsnRange};

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Reading and verifying records.
    Scan,
    /// Searching behind the end for records and evidence.
    LookAhead,
    /// Reading ahead of the replay: what committed.
    Analysis,
    /// Applying records to the engine.
    Replay,
    /// Rolling back what never committed; from the newest change to the oldest.
    Undo,
    /// Copying records to another log.
    Copy,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scan => "scan",
            Self::LookAhead => "look ahead",
            Self::Analysis => "analysis",
            Self::Replay => "replay",
            Self::Undo => "undo",
            Self::Copy => "copy",
        })
    }
}

/// Is told how far an operation has come. `()` ignores it.
pub trait Progress {
    /// `phase` will have to pass `range` and has come to `at`, which only grows within a phase.
    ///
    /// Called at the start and the end of each phase, and at least once per 4 MiB of log.
    fn advance(&mut self, phase: Phase, range: LsnRange, at: Lsn);
}

impl Progress for () {
    fn advance(&mut self, _phase: Phase, _range: LsnRange, _at: Lsn) {}
}

/// Bytes of log between two calls.
const STRIDE_BYTES: u64 = 4 << 20;

/// Thins out the calls of one phase.
#[derive(Debug)]
pub(crate) struct Pace {
    phase: Phase,
    range: LsnRange,
    next: Lsn,
}

impl Pace {
    /// Starts `phase` over `range`.
    pub(crate) fn start(phase: Phase, range: LsnRange, progress: &mut dyn Progress) -> Self {
        progress.advance(phase, range, range.start);
        let mut pace = Self { phase, range, next: range.start };
        pace.put_off(range.start);
        pace
    }

    /// The phase has come to `at`.
    pub(crate) fn reach(&mut self, at: Lsn, progress: &mut dyn Progress) {
        if at >= self.next {
            progress.advance(self.phase, self.range, at);
            self.put_off(at);
        }
    }

    /// The phase is over, at `at`.
    pub(crate) fn finish(self, at: Lsn, progress: &mut dyn Progress) {
        progress.advance(self.phase, self.range, at);
    }

    fn put_off(&mut self, at: Lsn) {
        self.next = at.checked_add(STRIDE_BYTES).unwrap_or(Lsn::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Calls(Vec<u64>);

    impl Progress for Calls {
        fn advance(&mut self, _phase: Phase, _range: LsnRange, at: Lsn) {
            self.0.push(at.get());
        }
    }

    #[test]
    fn a_phase_reports_its_start_its_strides_and_its_end() {
        let end = Lsn::new(4096 + 3 * STRIDE_BYTES).unwrap();
        let mut calls = Calls(Vec::new());
        let mut pace = Pace::start(Phase::Scan, LsnRange::new(Lsn::FIRST, end), &mut calls);
        for raw in (4096..end.get()).step_by(4096) {
            pace.reach(Lsn::new(raw).unwrap(), &mut calls);
        }
        pace.finish(end, &mut calls);
        let strides: Vec<u64> = (0..4).map(|n| 4096 + n * STRIDE_BYTES).collect();
        assert_eq!(calls.0, strides);
    }
}
