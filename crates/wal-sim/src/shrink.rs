//! Shrinking a failure: the same failure with fewer surviving sectors, names and lengths.
//!
//! A crash state is a series of answers, of which 0 leaves the oldest. Answers are set to 0, in
//! runs that get shorter, as long as the check goes on failing. What is left over is what matters.

use crate::case::Left;
use crate::choice::{Answer, Reading, Script};
use crate::disk::SimDisk;
use crate::judge::Judge;
use crate::report::Failure;

/// Checks made at most to shrink one state.
const TRIES_MAX: usize = 200;

impl<A> Judge<'_, A> {
    /// The failure of the state at the end of the case, which is what was left of `cut`, shrunk.
    pub(crate) fn shrunk(
        &mut self,
        cut: &SimDisk,
        state: &SimDisk,
        told: &A,
        reason: String,
    ) -> Box<Failure> {
        let found_as = self.case.to_string();
        let smaller = self.shrink(cut, told);
        let mut failure = match smaller {
            None => self.failure(Some((cut, state)), Some(told), reason),
            Some((script, reason)) => {
                let left = cut.crash_by(&mut Reading::new(&script));
                if let Some(last) = self.case.steps.last_mut() {
                    last.left = Left::Script(script);
                }
                self.failure(Some((cut, &left)), Some(told), reason)
            }
        };
        failure.found_as = found_as;
        failure
    }

    /// The smallest failing script found, with what the check says of it; none if the state found
    /// is as small, or is no crash state.
    fn shrink(&mut self, cut: &SimDisk, told: &A) -> Option<(Script, String)> {
        let last = self.case.steps.pop()?;
        let found = match &last.left {
            Left::State(number) => self.states(cut, last.cut).script(*number),
            Left::Script(_) | Left::Killed => None,
        };
        self.case.steps.push(last);
        let mut script = found?.trimmed();
        let mut tries = 0;
        let mut fails = |script: &Script| -> Option<String> {
            tries += 1;
            let disk = cut.crash_by(&mut Reading::new(script));
            if tries > TRIES_MAX { None } else { self.try_check(&disk, told).0 }
        };
        let mut best = None;
        let mut run = script.0.len();
        while run > 0 {
            for start in (0..script.0.len()).step_by(run).rev() {
                let end = (start + run).min(script.0.len());
                let smaller = without(&script, start, end);
                if smaller != script
                    && let Some(reason) = fails(&smaller)
                {
                    best = Some(reason);
                    script = smaller;
                }
            }
            run = if run == 1 { 0 } else { run.div_ceil(2) };
        }
        let whole = Script(script.0.iter().map(untorn).collect());
        if whole != script
            && let Some(reason) = fails(&whole)
        {
            (best, script) = (Some(reason), whole);
        }
        best.map(|reason| (script.trimmed(), reason))
    }
}

/// The script with some answers set to the oldest.
fn without(script: &Script, start: usize, end: usize) -> Script {
    let mut smaller = script.clone();
    if let Some(answers) = smaller.0.get_mut(start..end) {
        answers.fill(Answer::default());
    }
    smaller
}

fn untorn(answer: &Answer) -> Answer {
    Answer { choice: answer.choice, tear: None }
}
