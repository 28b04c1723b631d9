//! What an exploration tells: what it covered, and the case in which it failed.
//!
//! Knows nothing of how cases are made; a case goes by its name, which a person can copy.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use thiserror::Error;

use crate::fault_kind::Call;
use crate::state::LastOp;

/// What was explored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Operations of the workload when nothing interrupts it.
    pub ops: u64,
    /// Power cuts made in the workload, the one after its end included.
    pub cuts: u64,
    /// Power cuts of which every crash state was judged.
    pub exhaustive_cuts: u64,
    /// Power cuts made in the check, that is, in recovery.
    pub cuts_in_recovery: u64,
    /// Crash states judged, those after the death of the process alone included.
    pub states: u64,
    /// States after the death of the process alone.
    pub kills: u64,
    /// Crash states that differ from all others in their bytes.
    pub distinct: u64,
    /// Crash states passed over because the same cut had left the same bytes before.
    pub repeated: u64,
    /// Power cuts in the workload, by the call they fell into.
    pub cuts_by_call: BTreeMap<Call, u64>,
    /// Live faults that hit the workload, by call, in all its runs.
    pub faults_by_call: BTreeMap<Call, u64>,
    /// Whether the limit on states ended the exploration early.
    pub cut_short: bool,
    /// A number for everything judged, in order: equal runs have equal hashes.
    pub hash: u64,
}

/// A case in which the check was not content.
#[derive(Clone, Debug, Error)]
pub struct Failure {
    /// The seed of the exploration.
    pub seed: u64,
    /// The name of the case, for `Explorer::replay`.
    pub case: String,
    /// The operation during which the workload lost power; none if it had ended.
    pub during: Option<LastOp>,
    /// The files and lengths which the crash left.
    pub files: Vec<(String, u64)>,
    /// What the check said.
    pub reason: String,
    /// What had been explored when it happened.
    pub coverage: Coverage,
}

/// One step on the way to a state: during which operation it ended, and what was left then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) cut: u64,
    pub(crate) left: Left,
}

/// What is left when a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The crash state with this number: the power was cut.
    State(usize),
    /// Everything, durable or not: only the process died.
    Killed,
}

/// The name of a case.
pub(crate) fn format_case(case: &[Step]) -> String {
    let step = |step: &Step| match step.left {
        Left::State(number) => format!("{}.{number}", step.cut),
        Left::Killed => format!("{}.k", step.cut),
    };
    case.iter().map(step).collect::<Vec<_>>().join("/")
}

/// The steps of a case; none if the name is not one.
pub(crate) fn parse_case(case: &str) -> Vec<Step> {
    let step = |step: &str| {
        let (cut, left) = step.split_once('.')?;
        let left = if left == "k" { Left::Killed } else { Left::State(left.parse().ok()?) };
        Some(Step { cut: cut.parse().ok()?, left })
    };
    case.split('/').map(step).collect::<Option<_>>().unwrap_or_default()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.reason)?;
        match &self.during {
            None => writeln!(f, "  power lost  after the last operation of the workload")?,
            Some(LastOp { op, call, name }) => {
                writeln!(f, "  power lost  during operation {op}: {call} {name}")?;
            }
        }
        let mut files = String::new();
        for (name, len) in &self.files {
            write!(files, " {name} ({len} bytes)")?;
        }
        writeln!(f, "  left behind {}", if files.is_empty() { " nothing" } else { &files })?;
        writeln!(f, "  explored    {}", self.coverage)?;
        write!(
            f,
            "  replay      Explorer::new({}), same settings, .replay(\"{}\", ..)",
            self.seed, self.case
        )
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states ({} distinct) from {} cuts in {} operations, {} of them exhaustive, and {} \
             cuts in recovery; hash {:016x}",
            self.states,
            self.distinct,
            self.cuts,
            self.ops,
            self.exhaustive_cuts,
            self.cuts_in_recovery,
            self.hash
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_case_says_all_of_it() {
        let first = Step { cut: 17, left: Left::State(3) };
        let second = Step { cut: 2, left: Left::Killed };
        for case in [vec![first], vec![first, second]] {
            assert_eq!(parse_case(&format_case(&case)), case);
        }
        assert_eq!(format_case(&[first, second]), "17.3/2.k");
    }

    #[test]
    fn what_is_no_name_is_no_case() {
        for name in ["", "17", "17.x", "17.3/", "/17.3", "a.b"] {
            assert_eq!(parse_case(name), [], "{name}");
        }
    }

    #[test]
    fn a_failure_says_what_where_and_how_to_see_it_again() {
        let failure = Failure {
            seed: 5,
            case: "17.3".to_owned(),
            during: Some(LastOp { op: 17, call: Call::Sync, name: "log".to_owned() }),
            files: vec![("log".to_owned(), 40)],
            reason: "record 2 is gone".to_owned(),
            coverage: Coverage::default(),
        };
        let text = failure.to_string();
        for part in
            ["record 2 is gone", "operation 17: sync log", "log (40 bytes)", "17.3", "new(5)"]
        {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}
