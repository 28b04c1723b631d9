//! What a failure tells a person: what was promised, what is there, and how to see it again.
//!
//! Knows nothing of how cases are made; a case goes by its name, which a person can copy.

use std::fmt::{self, Write as _};

use thiserror::Error;

use crate::coverage::Coverage;
use crate::state::LastOp;

/// A case in which the check was not content, after shrinking.
#[derive(Clone, Debug, Error)]
pub struct Failure {
    /// The seed of the exploration.
    pub seed: u64,
    /// The name of the case, for `Explorer::replay` and its like.
    pub case: String,
    /// The name under which it was found, before it was shrunk.
    pub found_as: String,
    /// The length of the workload, where it has one.
    pub length: Option<usize>,
    /// The operation during which the workload lost power; none if it had ended.
    pub during: Option<LastOp>,
    /// Each cut on the way, in words: what ended there, and in which operation.
    pub way: Vec<String>,
    /// The files and lengths which the crash left.
    pub files: Vec<(String, u64)>,
    /// Of each file, what was durable, what was written and what survived: lines of text.
    pub picture: String,
    /// The notes of the workload when the power went: what was promised; empty if it took none.
    pub told: String,
    /// What the check said: what was found.
    pub reason: String,
    /// A command line in front of the seed and the case; empty if there is none.
    pub command: String,
    /// The call of `Explorer` that replays the case.
    pub(crate) call: &'static str,
    /// What had been explored when it happened.
    pub coverage: Coverage,
}

impl Failure {
    /// The command, or the call, which shows the failure again.
    #[must_use]
    pub fn replay(&self) -> String {
        let Self { seed, case, command, call, .. } = self;
        if command.is_empty() {
            format!("Explorer::new({seed}), same settings, .{call}(\"{case}\", ..)")
        } else {
            format!("{command} --seed {seed} --case '{case}'")
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.reason)?;
        for step in &self.way {
            writeln!(f, "  {step}")?;
        }
        if !self.told.is_empty() {
            writeln!(f, "  promised    {}", self.told)?;
        }
        let mut files = String::new();
        for (name, len) in &self.files {
            write!(files, " {name} ({len} bytes)")?;
        }
        writeln!(f, "  left behind {}", if files.is_empty() { " nothing" } else { &files })?;
        if !self.picture.is_empty() {
            writeln!(f, "{}", self.picture)?;
        }
        writeln!(f, "  explored    {}", self.coverage)?;
        if self.found_as != self.case {
            writeln!(f, "  shrunk from {}", self.found_as)?;
        }
        write!(f, "  replay      {}", self.replay())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault_kind::Call;

    fn failure() -> Failure {
        Failure {
            seed: 5,
            case: "17.=0,1".to_owned(),
            found_as: "17.3".to_owned(),
            length: None,
            during: Some(LastOp { op: 17, call: Call::Sync, name: "log".to_owned() }),
            way: vec!["process killed during operation 17: sync log".to_owned()],
            files: vec![("log".to_owned(), 40)],
            picture: "    log  = +".to_owned(),
            told: "Ledger of 3".to_owned(),
            reason: "record 2 is gone".to_owned(),
            command: String::new(),
            call: "replay_recorded",
            coverage: Coverage::default(),
        }
    }

    #[test]
    fn a_failure_says_what_where_and_how_to_see_it_again() {
        let text = failure().to_string();
        for part in [
            "record 2 is gone",
            "process killed during operation 17: sync log",
            "log (40 bytes)",
            "17.=0,1",
            "new(5)",
            "log  = +",
            "Ledger of 3",
            "shrunk from 17.3",
            ".replay_recorded(\"17.=0,1\", ..)",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    #[test]
    fn a_command_is_printed_ready_to_be_run() {
        let failure = Failure { command: "cargo xtask sim".to_owned(), ..failure() };
        assert_eq!(failure.replay(), "cargo xtask sim --seed 5 --case '17.=0,1'");
    }
}
