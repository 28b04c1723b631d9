//! The name of a case: enough, with the seed and the settings, to see it again.
//!
//! `17.3` is the power cut during operation 17 of the workload and the crash state with number 3;
//! in `17.k` only the process died; `17.=0x3,1` is the state made by these answers, which is how a
//! shrunk state is named. `17.3~0` decayed in the first of the drawn ways. `17.3/2.0` was cut again
//! during the second operation of recovery. `f4:` in front names a plan of live faults, `n12:` the
//! length of the workload.

use std::fmt;

use crate::choice::Script;
use crate::random::{fold, fold_bytes};
use crate::state::LastOp;

/// The way to a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Case {
    /// The length of the workload, where it has one.
    pub(crate) length: Option<usize>,
    /// The drawn plan of live faults, from 1; 0: none was drawn.
    pub(crate) plan: usize,
    pub(crate) steps: Vec<Step>,
}

/// One step on the way to a state: during which operation it ended, and what was left then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) cut: u64,
    pub(crate) left: Left,
    /// Which of the drawn decays came after it.
    pub(crate) decay: Option<usize>,
}

/// What is left when a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The crash state with this number: the power was cut.
    State(usize),
    /// The crash state that these answers make.
    Script(Script),
    /// Everything, durable or not: only the process died.
    Killed,
}

impl Step {
    pub(crate) fn new(cut: u64, left: Left) -> Self {
        Self { cut, left, decay: None }
    }

    /// What happened in this step, for people: the first is in the workload, others in recovery.
    pub(crate) fn told(&self, number: usize, op: Option<&LastOp>) -> String {
        let what = if self.left == Left::Killed { "process killed" } else { "power lost" };
        let place = match (number, op) {
            (0, None) => "after the last operation of the workload".to_owned(),
            (0, Some(LastOp { op, call, name })) => format!("during operation {op}: {call} {name}"),
            (_, None) => "after the last operation of that recovery".to_owned(),
            (_, Some(LastOp { op, call, name })) => {
                format!("during operation {op} of that recovery: {call} {name}")
            }
        };
        let decayed = if self.decay.is_some() { ", and what was left decayed" } else { "" };
        format!("{what} {place}{decayed}")
    }
}

/// The seed for what is drawn next on the way `steps`.
pub(crate) fn seed_of(seed: u64, steps: &[Step]) -> u64 {
    steps.iter().fold(seed, |seed, step| {
        let left = match &step.left {
            Left::State(number) => *number as u64,
            Left::Script(script) => fold_bytes(1, script.to_string().as_bytes()),
            Left::Killed => u64::MAX,
        };
        fold(fold(seed, step.cut), left)
    })
}

impl Case {
    /// Reads what `Display` writes; a name that is none has no steps.
    pub(crate) fn parse(name: &str) -> Self {
        let mut case = Self::default();
        let mut rest = name;
        if let Some((length, behind)) = numbered(rest, 'n') {
            (case.length, rest) = (Some(length), behind);
        }
        if let Some((plan, behind)) = numbered(rest, 'f') {
            (case.plan, rest) = (plan, behind);
        }
        let steps: Option<Vec<Step>> = rest.split('/').map(parse_step).collect();
        case.steps = steps.unwrap_or_default();
        case
    }
}

/// A number behind `mark` and before a colon, and what comes after it.
fn numbered(text: &str, mark: char) -> Option<(usize, &str)> {
    let (number, rest) = text.strip_prefix(mark)?.split_once(':')?;
    Some((number.parse().ok()?, rest))
}

fn parse_step(step: &str) -> Option<Step> {
    let (cut, left) = step.split_once('.')?;
    let (left, decay) = match left.split_once('~') {
        None => (left, None),
        Some((left, decay)) => (left, Some(decay.parse().ok()?)),
    };
    let left = match left.strip_prefix('=') {
        Some(script) => Left::Script(Script::parse(script)?),
        None if left == "k" => Left::Killed,
        None => Left::State(left.parse().ok()?),
    };
    Some(Step { cut: cut.parse().ok()?, left, decay })
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(length) = self.length {
            write!(f, "n{length}:")?;
        }
        if self.plan > 0 {
            write!(f, "f{}:", self.plan)?;
        }
        for (at, step) in self.steps.iter().enumerate() {
            write!(f, "{}{step}", if at > 0 { "/" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.left {
            Left::State(number) => write!(f, "{}.{number}", self.cut)?,
            Left::Script(script) => write!(f, "{}.={script}", self.cut)?,
            Left::Killed => write!(f, "{}.k", self.cut)?,
        }
        self.decay.map_or(Ok(()), |decay| write!(f, "~{decay}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_case_says_all_of_it() {
        let script = Script::parse("0x3,1t4-9").unwrap();
        let steps = vec![
            Step::new(17, Left::State(3)),
            Step { cut: 2, left: Left::Script(script), decay: Some(1) },
            Step::new(5, Left::Killed),
        ];
        for (length, plan) in [(None, 0), (Some(12), 0), (None, 4), (Some(3), 2)] {
            let case = Case { length, plan, steps: steps.clone() };
            assert_eq!(Case::parse(&case.to_string()), case);
        }
        let case = Case { length: Some(12), plan: 4, steps };
        assert_eq!(case.to_string(), "n12:f4:17.3/2.=0x3,1t4-9~1/5.k");
    }

    #[test]
    fn what_is_no_name_is_no_case() {
        for name in ["", "17", "17.x", "17.3/", "/17.3", "a.b", "f:1.1", "17.3~", "nx:1.1"] {
            assert_eq!(Case::parse(name).steps, [], "{name}");
        }
    }
}
