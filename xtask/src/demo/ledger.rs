//! What was promised, against what is there: the judge of the demonstration. Pure.
//!
//! The ledger knows every line, what was acknowledged for it and when, and what earlier looks at
//! the log showed. A look at the log is judged whole: nothing acknowledged may be missing or
//! altered, nothing may come twice, records of one thread stay in the order in which it appended
//! them, and what one recovery has shown, no later one may change.

use std::fmt;

use super::lines::{body, index_of};

/// The lines, and what is known of each.
pub(super) struct Ledger {
    lines: Vec<Vec<u8>>,
    /// The address with which each line was acknowledged.
    acknowledged: Vec<Option<u64>>,
    /// The lines in the log at the last look, in log order, by index.
    history: Vec<usize>,
    /// Lines given to the writer that runs now, in order.
    input: Vec<usize>,
    threads: usize,
    acknowledged_this_run: usize,
}

/// What one look at the log showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Acknowledged by the run before this look.
    pub(super) acknowledged: usize,
    /// Records in the log now.
    pub(super) in_log: usize,
    /// Of these, records which the look before did not show.
    pub(super) recovered: usize,
    /// Of these, records that nobody had been promised.
    pub(super) kept: usize,
    /// Acknowledged in any run, and not there as they were.
    pub(super) lost: usize,
    /// Everything that is wrong, the lost included.
    pub(super) problems: Vec<Problem>,
}

/// Something that a log may not do. Lines are numbered from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// An acknowledged line is not there.
    Lost { line: usize, lsn: u64 },
    /// A record says it is this line, and differs from it.
    Altered { line: usize },
    /// A record that nobody appended.
    Unknown { record: usize },
    /// A line is there twice.
    Twice { line: usize },
    /// A thread's lines are in another order than it appended them.
    OutOfOrder { line: usize, behind: usize },
    /// A record which an earlier recovery showed is not where it was.
    HistoryChanged { record: usize },
    /// An acknowledgement for a line that the writer did not have, or had acknowledged.
    FalseAcknowledgement { line: usize },
    /// A line is at another address than the acknowledgement said.
    WrongAddress { line: usize, promised: u64, found: u64 },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { line, lsn } => {
                write!(f, "line {line}, acknowledged at LSN {lsn}, is missing")
            }
            Self::Altered { line } => write!(f, "line {line} is not what was appended"),
            Self::Unknown { record } => write!(f, "record {record} was appended by nobody"),
            Self::Twice { line } => write!(f, "line {line} is in the log twice"),
            Self::OutOfOrder { line, behind } => {
                write!(f, "line {line} stands behind line {behind} of the same thread")
            }
            Self::HistoryChanged { record } => {
                write!(f, "record {record} is not what an earlier recovery showed")
            }
            Self::FalseAcknowledgement { line } => {
                write!(f, "line {line} was acknowledged without having been asked for")
            }
            Self::WrongAddress { line, promised, found } => {
                write!(f, "line {line} was acknowledged at LSN {promised} and is at {found}")
            }
        }
    }
}

impl Ledger {
    /// Nothing appended yet.
    pub(super) fn new(lines: Vec<Vec<u8>>, threads: usize) -> Self {
        let acknowledged = vec![None; lines.len()];
        let (history, input) = (Vec::new(), Vec::new());
        Self { lines, acknowledged, history, input, threads, acknowledged_this_run: 0 }
    }

    /// The lines themselves.
    pub(super) fn lines(&self) -> &[Vec<u8>] {
        &self.lines
    }

    /// How many lines have been acknowledged so far.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.iter().flatten().count()
    }

    /// A writer begins, with every line that the log does not hold. Its thread k takes the lines
    /// k, k + threads, … of the returned list.
    pub(super) fn begin_run(&mut self) -> &[usize] {
        let mut there = vec![false; self.lines.len()];
        for index in &self.history {
            if let Some(flag) = there.get_mut(*index) {
                *flag = true;
            }
        }
        self.input = (0..self.lines.len()).filter(|index| !there[*index]).collect();
        self.acknowledged_this_run = 0;
        &self.input
    }

    /// The writer said that the line with this number is durable at `lsn`.
    ///
    /// # Errors
    ///
    /// When it had no such line, or said so before.
    pub(super) fn acknowledge(&mut self, line: usize, lsn: u64) -> Result<(), Problem> {
        let false_one = Problem::FalseAcknowledgement { line };
        let index = line.checked_sub(1).ok_or(false_one.clone())?;
        let known = self.input.binary_search(&index).is_ok();
        match self.acknowledged.get_mut(index) {
            Some(place @ None) if known => {
                *place = Some(lsn);
                self.acknowledged_this_run += 1;
                Ok(())
            }
            _ => Err(false_one),
        }
    }

    /// Judges the log, given all its records in order, and remembers what it showed.
    pub(super) fn judge(&mut self, records: impl Iterator<Item = Vec<u8>>) -> Judgement {
        let mut look = Look::new(self);
        for record in records {
            look.take(&record);
        }
        let Look { seen, shown, mut problems, history_changed, .. } = look;
        if shown.len() < self.history.len() && !history_changed {
            problems.push(Problem::HistoryChanged { record: shown.len() + 1 });
        }
        let lost = |(index, lsn): (usize, &Option<u64>)| {
            lsn.filter(|_| !seen[index]).map(|lsn| Problem::Lost { line: index + 1, lsn })
        };
        let missing: Vec<Problem> = self.acknowledged.iter().enumerate().filter_map(lost).collect();
        let fresh = shown.get(self.history.len()..).unwrap_or_default();
        let judgement = Judgement {
            acknowledged: self.acknowledged_this_run,
            in_log: shown.len(),
            recovered: fresh.len(),
            kept: fresh.iter().filter(|index| self.is_unacknowledged(**index)).count(),
            lost: missing.len(),
            problems: missing.into_iter().chain(problems).collect(),
        };
        self.history = shown;
        judgement
    }

    /// Whether each acknowledged line is at the address that the acknowledgement said.
    pub(super) fn check_addresses(
        &self,
        records: impl Iterator<Item = (u64, usize)>,
    ) -> Vec<Problem> {
        records
            .filter_map(|(found, index)| {
                let promised = self.acknowledged.get(index).copied().flatten()?;
                let line = index + 1;
                (promised != found).then_some(Problem::WrongAddress { line, promised, found })
            })
            .collect()
    }

    fn is_unacknowledged(&self, index: usize) -> bool {
        self.acknowledged.get(index).is_some_and(Option::is_none)
    }
}

/// A look at the log, record by record.
struct Look<'a> {
    ledger: &'a Ledger,
    seen: Vec<bool>,
    /// The lines found, in log order; an unknown record is a line that does not exist.
    shown: Vec<usize>,
    history_changed: bool,
    /// The last place, in the input, of each thread's records.
    last_of_thread: Vec<Option<usize>>,
    problems: Vec<Problem>,
}

impl<'a> Look<'a> {
    fn new(ledger: &'a Ledger) -> Self {
        Self {
            ledger,
            seen: vec![false; ledger.lines.len()],
            shown: Vec::new(),
            history_changed: false,
            last_of_thread: vec![None; ledger.threads.max(1)],
            problems: Vec::new(),
        }
    }

    fn take(&mut self, record: &[u8]) {
        let place = self.shown.len();
        let index = self.identify(record, place);
        self.shown.push(index);
        match self.ledger.history.get(place) {
            Some(before) => {
                // One record too few moves all behind it: the first says enough.
                if *before != index && !self.history_changed {
                    self.history_changed = true;
                    self.problems.push(Problem::HistoryChanged { record: place + 1 });
                }
            }
            None => self.check_order(index),
        }
    }

    /// The index of the line that the record holds; one that no line has when it holds none.
    fn identify(&mut self, record: &[u8], place: usize) -> usize {
        let ledger = self.ledger;
        let Some(index) = index_of(record).filter(|index| *index < ledger.lines.len()) else {
            self.problems.push(Problem::Unknown { record: place + 1 });
            return usize::MAX;
        };
        if body(&ledger.lines, index) != record {
            self.problems.push(Problem::Altered { line: index + 1 });
            return usize::MAX;
        }
        if std::mem::replace(&mut self.seen[index], true) {
            self.problems.push(Problem::Twice { line: index + 1 });
        }
        index
    }

    /// A record of the last run stands behind the earlier ones of its thread.
    fn check_order(&mut self, index: usize) {
        let Ok(turn) = self.ledger.input.binary_search(&index) else {
            if index != usize::MAX {
                self.problems.push(Problem::Unknown { record: self.shown.len() });
            }
            return;
        };
        let thread = turn % self.last_of_thread.len();
        if let Some(last) = self.last_of_thread[thread].filter(|last| *last > turn) {
            let behind = self.ledger.input[last] + 1;
            self.problems.push(Problem::OutOfOrder { line: index + 1, behind });
        }
        self.last_of_thread[thread] = Some(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six lines, two threads, begun: thread 0 has lines 1, 3, 5 and thread 1 has 2, 4, 6.
    fn ledger() -> Ledger {
        let lines = (0..6).map(|n| format!("text {n}").into_bytes()).collect();
        let mut ledger = Ledger::new(lines, 2);
        assert_eq!(ledger.begin_run(), [0, 1, 2, 3, 4, 5]);
        ledger
    }

    fn records(ledger: &Ledger, lines: &[usize]) -> std::vec::IntoIter<Vec<u8>> {
        lines.iter().map(|line| body(&ledger.lines, line - 1)).collect::<Vec<_>>().into_iter()
    }

    fn problems(ledger: &mut Ledger, lines: &[usize]) -> Vec<Problem> {
        let records = records(ledger, lines);
        ledger.judge(records).problems
    }

    #[test]
    fn what_was_acknowledged_and_is_there_is_fine() {
        let mut ledger = ledger();
        ledger.acknowledge(2, 20).unwrap();
        ledger.acknowledge(1, 30).unwrap();
        let judgement = ledger.judge(records(&ledger, &[2, 1, 3]));
        let expected = Judgement {
            acknowledged: 2,
            in_log: 3,
            recovered: 3,
            kept: 1,
            lost: 0,
            problems: vec![],
        };
        assert_eq!(judgement, expected);
    }

    #[test]
    fn an_acknowledged_line_that_is_missing_is_lost() {
        let mut ledger = ledger();
        ledger.acknowledge(1, 8).unwrap();
        ledger.acknowledge(3, 16).unwrap();
        assert_eq!(problems(&mut ledger, &[1]), [Problem::Lost { line: 3, lsn: 16 }]);
    }

    #[test]
    fn an_acknowledged_line_that_was_altered_is_lost_too() {
        let mut ledger = ledger();
        ledger.acknowledge(1, 8).unwrap();
        let judgement = ledger.judge([b"1\ttext X".to_vec()].into_iter());
        assert_eq!(judgement.lost, 1);
        assert!(judgement.problems.contains(&Problem::Altered { line: 1 }));
    }

    #[test]
    fn a_record_that_nobody_appended_is_found() {
        let mut ledger = ledger();
        for record in [&b"99\tx"[..], b"", b"no number"] {
            let found = ledger.judge([record.to_vec()].into_iter()).problems;
            assert!(found.contains(&Problem::Unknown { record: 1 }), "{found:?}");
            ledger.history.clear();
        }
    }

    #[test]
    fn a_line_that_comes_twice_is_found() {
        assert_eq!(problems(&mut ledger(), &[1, 2, 1])[0], Problem::Twice { line: 1 });
    }

    #[test]
    fn order_counts_within_a_thread_and_not_between_threads() {
        assert!(problems(&mut ledger(), &[2, 4, 1, 6, 3]).is_empty());
        let found = problems(&mut ledger(), &[3, 2, 1]);
        assert_eq!(found, [Problem::OutOfOrder { line: 1, behind: 3 }]);
    }

    #[test]
    fn the_next_run_gets_what_the_log_does_not_hold_and_its_own_order() {
        let mut ledger = ledger();
        assert!(problems(&mut ledger, &[2, 1, 5]).is_empty());
        assert_eq!(ledger.begin_run(), [2, 3, 5]);
        // Thread 0 has lines 3 and 6 now, thread 1 has 4.
        assert!(problems(&mut ledger, &[2, 1, 5, 4, 3, 6]).is_empty());
        let judgement = ledger.judge(records(&ledger, &[2, 1, 5, 4, 3, 6]));
        assert_eq!((judgement.in_log, judgement.recovered), (6, 0));
    }

    #[test]
    fn what_one_recovery_showed_no_later_one_may_change() {
        let mut changed = ledger();
        assert!(problems(&mut changed, &[1, 2, 3]).is_empty());
        assert_eq!(problems(&mut changed, &[1, 3]), [Problem::HistoryChanged { record: 2 }]);
        let mut shortened = ledger();
        assert!(problems(&mut shortened, &[1, 2, 3]).is_empty());
        assert_eq!(problems(&mut shortened, &[1, 2]), [Problem::HistoryChanged { record: 3 }]);
    }

    #[test]
    fn an_acknowledgement_is_believed_once_and_for_known_lines_only() {
        let mut ledger = ledger();
        assert_eq!(ledger.acknowledge(1, 8), Ok(()));
        for line in [1, 0, 7] {
            assert_eq!(ledger.acknowledge(line, 8), Err(Problem::FalseAcknowledgement { line }));
        }
        assert_eq!(ledger.acknowledged(), 1);
    }

    #[test]
    fn an_acknowledged_address_must_hold_its_line() {
        let mut ledger = ledger();
        ledger.acknowledge(2, 40).unwrap();
        assert!(ledger.check_addresses([(40, 1), (48, 0)].into_iter()).is_empty());
        let wrong = Problem::WrongAddress { line: 2, promised: 40, found: 48 };
        assert_eq!(ledger.check_addresses([(48, 1)].into_iter()), [wrong]);
    }
}
