//! The explorer: runs a workload, cuts the power at every operation, and has every disk judged.
//!
//! Knows no log: the caller gives a workload and a check. Everything follows from the seed and the
//! settings, so that the name of a case, such as `17.3`, is enough to see it again. Here the
//! workload is run once for each cut and tells what was promised when it returns; `record` runs it
//! once in all.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::case::{Case, Left, Step};
use crate::coverage::Coverage;
use crate::disk::SimDisk;
use crate::explorer::{Explorer, choose_cuts};
use crate::judge::{Explored, Judge, message};
use crate::report::Failure;

/// What a check may return: nothing, when it panics on a violation, or a result.
pub trait Outcome {
    /// The violation, in words.
    fn violation(self) -> Option<String>;
}

impl Outcome for () {
    fn violation(self) -> Option<String> {
        None
    }
}

impl<T, E: fmt::Display> Outcome for Result<T, E> {
    fn violation(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// Runs [`Explorer::run`] with default settings.
///
/// # Errors
///
/// The first case in which the check was not content.
pub fn explore<A, O: Outcome>(
    workload: impl Fn(&SimDisk) -> A,
    check: impl Fn(SimDisk, &A) -> O,
) -> Result<Coverage, Box<Failure>> {
    Explorer::new(0).run(workload, check)
}

pub(crate) const NOT_REPEATED: &str =
    "the workload does not do the same each time: it uses a clock, chance, or threads";

impl Explorer {
    /// Runs `workload` once to count its operations, then once per power cut, and gives every disk
    /// a cut can leave to `check`, with what the workload returned: what was acknowledged.
    ///
    /// The workload stops at the first error and returns. It must do the same each time: no clock,
    /// no chance, no threads. A panic in either is a violation; a check that is interrupted by a
    /// power cut of its own is not judged.
    ///
    /// [`record`](Self::record) does the same in one run of the workload.
    ///
    /// # Errors
    ///
    /// The first case in which the check was not content, shrunk.
    pub fn run<A, O: Outcome>(
        &self,
        workload: impl Fn(&SimDisk) -> A,
        check: impl Fn(SimDisk, &A) -> O,
    ) -> Result<Coverage, Box<Failure>> {
        let check = |disk: SimDisk, told: &A| check(disk, told).violation();
        let mut judge = Judge::new(self, &check, |_| String::new());
        judge.states_max = self.states_max;
        let disk = self.disk(self.faults.clone());
        told_by(&mut judge, &workload, &disk, 0)?;
        let ops = disk.ops();
        judge.tally.coverage.ops = ops;
        let cuts = choose_cuts(ops, self.seed, self.cuts_max);
        // The end comes first: a log that fails without any interruption should say so.
        for cut in std::iter::once(ops + 1).chain(cuts) {
            if judge.tally.coverage.cut_short {
                break;
            }
            let disk = self.disk(self.faults.clone());
            disk.power_cut_at(cut);
            let told = told_by(&mut judge, &workload, &disk, cut)?;
            if disk.is_off() != (cut <= ops) {
                judge.case =
                    Case { steps: vec![Step::new(cut, Left::State(0))], ..Case::default() };
                judge.during = disk.last_op();
                return Err(judge.failure(Some((&disk, &disk)), None, NOT_REPEATED.to_owned()));
            }
            judge.new_promises();
            judge.cut(&disk, &told, cut)?;
        }
        let mut coverage = judge.tally.coverage;
        coverage.distinct = self.seen.add(&judge.tally.learned);
        Ok(coverage)
    }

    /// Judges one case of a [run](Self::run) by its name, with the settings under which it was
    /// found.
    ///
    /// # Errors
    ///
    /// The failure, if it is still there; or one that says that the case does not exist.
    pub fn replay<A, O: Outcome>(
        &self,
        case: &str,
        workload: impl Fn(&SimDisk) -> A,
        check: impl Fn(SimDisk, &A) -> O,
    ) -> Result<Coverage, Box<Failure>> {
        let check = |disk: SimDisk, told: &A| check(disk, told).violation();
        let mut judge = Judge::new(self, &check, |_| String::new());
        let named = Case::parse(case);
        let disk = self.disk(self.faults.clone());
        let cut = named.steps.first().map_or(u64::MAX, |step| step.cut);
        disk.power_cut_at(cut);
        let told = told_by(&mut judge, &workload, &disk, cut)?;
        judge.replay(&named, case, disk, &told)
    }
}

impl<A> Judge<'_, A> {
    /// Judges the end of the way `named`, which begins on `disk`: cut in the first step's
    /// operation.
    pub(crate) fn replay(
        &mut self,
        named: &Case,
        name: &str,
        mut disk: SimDisk,
        told: &A,
    ) -> Result<Coverage, Box<Failure>> {
        self.case = Case { steps: Vec::new(), ..named.clone() };
        let Some(last) = named.steps.last() else {
            return Err(self.failure(None, None, format!("`{name}` is not the name of a case")));
        };
        self.during = disk.is_off().then(|| disk.last_op()).flatten();
        let mut left = None;
        for step in &named.steps {
            if let Some(state) = left.take() {
                disk = state;
                disk.power_cut_at(step.cut);
                let _ = self.try_check(&disk, told);
            }
            self.ops.push(disk.is_off().then(|| disk.last_op()).flatten());
            left = self.leave(&disk, step);
            self.case.steps.push(step.clone());
            if left.is_none() {
                return Err(self.failure(None, None, format!("case `{name}` does not exist")));
            }
        }
        let Some(state) = left else {
            return Err(self.failure(None, None, format!("case `{name}` does not exist")));
        };
        let mut coverage = Coverage { states: 1, ..Coverage::default() };
        if let Some(op) = &self.during {
            coverage.cuts_by_call.insert(op.call, 1);
        }
        coverage.hash = crate::random::fold(last.cut, state.look_fingerprint());
        match self.try_check(&state.fork(), told).0 {
            None => Ok(coverage),
            Some(reason) => Err(self.failure(Some((&disk, &state)), Some(told), reason)),
        }
    }
}

/// Runs the workload; a panic of it is a failure.
fn told_by<A>(
    judge: &mut Judge<'_, A>,
    workload: &impl Fn(&SimDisk) -> A,
    disk: &SimDisk,
    cut: u64,
) -> Explored<A> {
    let done = catch_unwind(AssertUnwindSafe(|| workload(disk)));
    for (call, count) in disk.faults_fired() {
        *judge.tally.coverage.faults_by_call.entry(call).or_default() += count;
    }
    done.map_err(|panic| {
        judge.case.steps = vec![Step::new(cut, Left::State(0))];
        judge.during = disk.last_op();
        let reason = format!("the workload panicked: {}", message(&*panic));
        judge.failure(Some((disk, disk)), None, reason)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{self, IoSlice};

    use wal_io::{Access, Storage};

    use super::*;

    /// Writes one sector, syncs file and directory, and says how far it came.
    fn write_and_sync(disk: &SimDisk) -> u8 {
        let steps = || -> io::Result<()> {
            let file = disk.create("f", 0)?;
            file.write_at(&[IoSlice::new(&[1; 512])], 0)?;
            file.sync_data()?;
            disk.sync_dir()
        };
        u8::from(steps().is_ok())
    }

    fn sound(disk: SimDisk, &acknowledged: &u8) -> Result<(), String> {
        let kept = disk.contents("f").is_some_and(|bytes| bytes == [1; 512]);
        if acknowledged == 1 && !kept { Err("lost".to_owned()) } else { Ok(()) }
    }

    fn demanding(disk: SimDisk, _: &u8) -> Result<(), String> {
        if disk.contents("f").is_some_and(|bytes| bytes.is_empty()) {
            return Err("an empty file".to_owned());
        }
        Ok(())
    }

    #[test]
    fn every_operation_and_the_end_are_cut() {
        let coverage = Explorer::new(0).run(write_and_sync, sound).unwrap();
        assert_eq!((coverage.ops, coverage.cuts, coverage.exhaustive_cuts), (4, 5, 5));
        assert_eq!(coverage.cuts_by_call.values().sum::<u64>(), 4);
        assert!(!coverage.cut_short);
        // No file; an empty one; one sector of zeros; one of ones.
        assert_eq!(coverage.distinct, 4);
    }

    #[test]
    fn the_same_seed_judges_the_same_states_in_the_same_order() {
        let hash = |seed| {
            let explorer = Explorer::new(seed).states_per_cut(3).torn();
            explorer.run(write_many, |_, &()| ()).unwrap().hash
        };
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }

    fn write_many(disk: &SimDisk) {
        let steps = || -> io::Result<()> {
            let file = disk.create("f", 4096)?;
            for sector in 0..8 {
                file.write_at(&[IoSlice::new(&[1; 512])], sector * 512)?;
            }
            Ok(())
        };
        let _ = steps();
    }

    #[test]
    fn a_violation_is_replayed_by_the_name_of_its_case() {
        let explorer = Explorer::new(3);
        let failure = explorer.run(write_and_sync, demanding).unwrap_err();
        assert_eq!(failure.reason, "an empty file");
        let again = explorer.replay(&failure.case, write_and_sync, demanding).unwrap_err();
        assert_eq!((again.reason, again.case), (failure.reason, failure.case.clone()));
        assert!(explorer.replay(&failure.case, write_and_sync, sound).is_ok());
    }

    #[test]
    fn a_case_that_does_not_exist_is_an_error() {
        for case in ["99.99", "1.1000", "nonsense"] {
            let failure = Explorer::new(0).replay(case, write_and_sync, sound).unwrap_err();
            assert!(failure.reason.contains("case"), "{failure}");
        }
    }

    #[test]
    fn a_panic_of_the_check_is_a_violation() {
        let failure = Explorer::new(0)
            .run(write_and_sync, |disk, _| assert!(!disk.names().is_empty(), "no file"))
            .unwrap_err();
        assert_eq!(failure.reason, "no file");
    }

    #[test]
    fn a_panic_of_the_workload_is_a_violation() {
        let failure = explore(|disk| disk.create("f", 0).map(drop).unwrap(), |_, ()| ());
        let failure = failure.unwrap_err();
        assert!(failure.reason.contains("the workload panicked"), "{failure}");
    }

    #[test]
    fn an_engine_that_tries_a_sync_again_until_it_succeeds_ends_in_a_failure_that_names_the_case() {
        let retry = |disk: &SimDisk| {
            let Ok(file) = disk.create("f", 512) else { return };
            while file.sync_data().is_err() {}
        };
        let failure = explore(retry, |_, &()| ()).unwrap_err();
        assert!(failure.reason.contains("a loop that no error ends"), "{failure}");
        assert_eq!(failure.case, "2.0");
        let again = Explorer::new(0).replay(&failure.case, retry, |_, &()| ()).unwrap_err();
        assert_eq!((again.reason, again.case), (failure.reason, failure.case));
    }

    #[test]
    fn a_check_that_tries_again_for_ever_ends_in_a_failure() {
        let wait_for_it = |disk: SimDisk, _: &u8| while disk.open("f", Access::Read).is_err() {};
        let failure = Explorer::new(0).run(write_and_sync, wait_for_it).unwrap_err();
        assert!(failure.reason.contains("a loop that no error ends"), "{failure}");
    }

    #[test]
    fn a_workload_that_does_not_repeat_itself_is_told_so() {
        let runs = Cell::new(0);
        let workload = |disk: &SimDisk| {
            runs.set(runs.get() + 1);
            if runs.get() == 1 {
                write_many(disk);
            }
        };
        let failure = explore(workload, |_, &()| ()).unwrap_err();
        assert!(failure.reason.contains("the same each time"), "{failure}");
    }

    /// A recovery in two steps, sound only if nothing comes between them.
    fn recover_in_two_steps(disk: SimDisk, _: &u8) -> Result<(), String> {
        if disk.contents("step").is_some_and(|bytes| bytes.is_empty()) {
            return Err("found half a recovery".to_owned());
        }
        let steps = || -> io::Result<()> {
            let step = match disk.create("step", 0) {
                Err(exists) if exists.kind() == io::ErrorKind::AlreadyExists => {
                    disk.open("step", Access::Write)?
                }
                step => step?,
            };
            disk.sync_dir()?;
            step.write_at(&[IoSlice::new(b"done")], 0)?;
            step.sync_data()
        };
        steps().map_err(|error| error.to_string())
    }

    #[test]
    fn only_depth_two_finds_a_recovery_that_cannot_be_interrupted() {
        let shallow = Explorer::new(0).run(write_and_sync, recover_in_two_steps);
        assert_eq!(shallow.unwrap().cuts_in_recovery, 0);
        let explorer = Explorer::new(0).depth(2);
        let failure = explorer.run(write_and_sync, recover_in_two_steps).unwrap_err();
        assert_eq!(failure.reason, "found half a recovery");
        assert!(failure.case.contains('/'), "{failure}");
        let again = explorer.replay(&failure.case, write_and_sync, recover_in_two_steps);
        assert_eq!(again.unwrap_err().reason, "found half a recovery");
    }

    /// A recovery that takes what it reads for durable, and then promises it.
    fn trust_the_cache(sync: bool) -> impl Fn(SimDisk, &u8) -> Result<(), String> {
        move |disk, _| {
            let promised = disk.contents("promised").is_some();
            let there = disk.contents("f").is_some_and(|bytes| bytes == [1; 512]);
            if promised && !there {
                return Err("a promise made by recovery was broken".to_owned());
            }
            let steps = || -> io::Result<()> {
                if there && !promised {
                    if sync {
                        disk.open("f", Access::Write)?.sync_data()?;
                        disk.sync_dir()?;
                    }
                    disk.create("promised", 0)?;
                    disk.sync_dir()?;
                }
                Ok(())
            };
            steps().map_err(|error| error.to_string())
        }
    }

    #[test]
    fn only_a_kill_and_then_a_power_cut_finds_a_recovery_that_trusts_the_cache() {
        let explore =
            |explorer: Explorer, sync| explorer.run(write_and_sync, trust_the_cache(sync));
        let deep = Explorer::new(0).depth(2);
        assert_eq!(explore(deep.clone(), false).unwrap().kills, 0);
        let failure = explore(deep.clone().kills(), false).unwrap_err();
        assert!(failure.case.contains('k'), "{failure}");
        let again = deep.clone().kills();
        let again = again.replay(&failure.case, write_and_sync, trust_the_cache(false));
        assert_eq!(again.unwrap_err().reason, failure.reason);
        assert!(explore(deep.kills(), true).unwrap().kills > 0);
    }

    #[test]
    fn a_failure_tells_every_cut_on_its_way_and_what_ended_there() {
        let explorer = Explorer::new(0).kills().depth(2);
        let failure = explorer.run(write_and_sync, trust_the_cache(false)).unwrap_err();
        let [first, second] = &failure.way[..] else { panic!("{failure}") };
        assert!(first.starts_with("process killed during operation"), "{failure}");
        assert!(second.starts_with("power lost during operation"), "{failure}");
        assert!(second.contains("of that recovery: "), "{failure}");
        assert!(failure.to_string().contains(second.as_str()), "{failure}");
        assert!(failure.coverage.distinct > 0, "what was seen until then counts: {failure}");
        let again = explorer.replay(&failure.case, write_and_sync, trust_the_cache(false));
        assert_eq!(again.unwrap_err().way, failure.way);
    }

    #[test]
    fn what_one_cut_shows_is_not_told_as_a_matter_of_two() {
        // Wrong after a kill and a cut in recovery, and wrong after the plain cut.
        let explorer = Explorer::new(0).kills().depth(2);
        let acknowledge_early = |disk: &SimDisk| -> u8 {
            let file = disk.create("f", 512);
            let named = file.is_ok() && disk.sync_dir().is_ok();
            drop(file.and_then(|file| file.write_at(&[IoSlice::new(&[1; 512])], 0)));
            u8::from(named)
        };
        let check = |disk: SimDisk, &acknowledged: &u8| -> Result<(), String> {
            let sound = sound(disk.clone(), &acknowledged);
            drop(disk.create("recovered", 0));
            sound
        };
        let failure = explorer.run(acknowledge_early, check).unwrap_err();
        assert_eq!(failure.way.len(), 1, "{failure}");
    }

    #[test]
    fn budgets_are_kept() {
        let explorer = Explorer::new(0).states_per_cut(4).cuts_max(3).states_max(10);
        let coverage = explorer.run(write_many, |_, &()| ()).unwrap();
        assert_eq!(coverage.states, 10);
        assert!(coverage.cut_short && coverage.cuts <= 4);
    }
}
