//! The explorer: runs a workload, cuts the power at every operation, and has every disk judged.
//!
//! Knows no log: the caller gives a workload and a check. Everything follows from the seed and the
//! settings, so that the name of a case, such as `17.3`, is enough to see it again: the power cut
//! during operation 17, the crash state with number 3. `17.3/2.0` was cut again during the second
//! operation of the check; in `17.k` only the process died.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::crash_states::CrashStates;
use crate::disk::SimDisk;
use crate::faults::Faults;
use crate::random::{SimRng, fold, mix};
use crate::report::{Coverage, Failure, Left, Step, format_case, parse_case};
use crate::state::LastOp;

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

/// Settings of an exploration; see [`run`](Self::run).
#[derive(Clone, Debug)]
pub struct Explorer {
    seed: u64,
    cuts_max: u64,
    states_per_cut: usize,
    states_max: u64,
    depth: usize,
    torn: bool,
    kills: bool,
    faults: Faults,
    start: SimDisk,
}

/// A failure is larger than an answer should be, so it travels boxed.
type Explored<T> = Result<T, Box<Failure>>;

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

impl Explorer {
    /// An exploration drawn from `seed`, on an empty disk without faults: every operation if there
    /// are no more than 10,000, up to 64 states each, no cuts in recovery, whole sectors.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            cuts_max: 10_000,
            states_per_cut: 64,
            states_max: u64::MAX,
            depth: 1,
            torn: false,
            kills: false,
            faults: Faults::new(),
            start: SimDisk::new(),
        }
    }

    /// Cuts at no more than `cuts` operations; if there are more, at some drawn from the seed.
    #[must_use]
    pub fn cuts_max(mut self, cuts: u64) -> Self {
        self.cuts_max = cuts;
        self
    }

    /// Judges no more than `states` crash states per cut: all when they are that few.
    #[must_use]
    pub fn states_per_cut(mut self, states: usize) -> Self {
        self.states_per_cut = states.max(1);
        self
    }

    /// Ends after `states` crash states in all.
    #[must_use]
    pub fn states_max(mut self, states: u64) -> Self {
        self.states_max = states;
        self
    }

    /// Cuts the power again inside the check, up to `depth` cuts in a row, the workload's included.
    ///
    /// What an interrupted check had done stays done: a check which appends records must accept
    /// them when it is run again on what is left.
    #[must_use]
    pub fn depth(mut self, depth: usize) -> Self {
        self.depth = depth.max(1);
        self
    }

    /// Lets unsynced sectors tear.
    #[must_use]
    pub fn torn(mut self) -> Self {
        self.torn = true;
        self
    }

    /// Lets the process die as well, with the power on: everything written is still seen, and what
    /// was not durable may yet be lost by a later power cut. That is what a [`depth`](Self::depth)
    /// of two is for: recovery must not take what it reads for durable.
    #[must_use]
    pub fn kills(mut self) -> Self {
        self.kills = true;
        self
    }

    /// Gives every run of the workload these faults; the check runs without faults.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Starts every run of the workload from a copy of `disk` as it is now.
    #[must_use]
    pub fn start_from(mut self, disk: &SimDisk) -> Self {
        self.start = disk.fork();
        self
    }

    /// Runs `workload` once to count its operations, then once per power cut, and gives every disk
    /// a cut can leave to `check`, with what the workload returned: what was acknowledged.
    ///
    /// The workload stops at the first error and returns. It must do the same each time: no clock,
    /// no chance, no threads. A panic in either is a violation; a check that is interrupted by a
    /// power cut of its own is not judged.
    ///
    /// # Errors
    ///
    /// The first case in which the check was not content.
    pub fn run<A, O: Outcome>(
        &self,
        workload: impl Fn(&SimDisk) -> A,
        check: impl Fn(SimDisk, &A) -> O,
    ) -> Result<Coverage, Box<Failure>> {
        let mut run = Run::new(self, &check);
        let disk = self.disk();
        run.workload(&workload, &disk, 0)?;
        run.coverage.ops = disk.ops();
        let cuts = self.choose_cuts(disk.ops(), self.seed, self.cuts_max);
        // The end comes first: a log that fails without any interruption should say so.
        for cut in std::iter::once(disk.ops() + 1).chain(cuts) {
            if run.is_over() {
                break;
            }
            run.cut(&workload, cut)?;
        }
        Ok(run.coverage)
    }

    /// Judges one case by its name, with the settings under which it was found.
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
        let mut run = Run::new(self, &check);
        run.case = parse_case(case);
        let Some(&Step { cut, .. }) = run.case.first() else {
            return Err(run.failure(None, format!("`{case}` is not the name of a case")));
        };
        let mut disk = self.disk();
        disk.power_cut_at(cut);
        let acks = run.workload(&workload, &disk, cut)?;
        run.during = disk.is_off().then(|| disk.last_op()).flatten();
        for at in 0..run.case.len() {
            let step = run.case[at];
            if at > 0 {
                disk.power_cut_at(step.cut);
                let _ = run.judge(&disk, &acks);
            }
            let left = match step.left {
                Left::Killed => Some(disk.fork()),
                Left::State(number) => run.states(&disk, &run.case[..at], step.cut).nth(number),
            };
            let Some(left) = left else {
                return Err(run.failure(None, format!("case `{case}` does not exist")));
            };
            disk = left;
        }
        run.coverage.states = 1;
        match run.judge(&disk.fork(), &acks) {
            None => Ok(run.coverage),
            Some(reason) => Err(run.failure(Some(&disk), reason)),
        }
    }

    fn disk(&self) -> SimDisk {
        let disk = self.start.fork();
        disk.set_faults(self.faults.clone());
        disk
    }

    /// All of 1 to `ops`, or `max` of them, in order.
    fn choose_cuts(&self, ops: u64, seed: u64, max: u64) -> Vec<u64> {
        if ops <= max {
            return (1..=ops).collect();
        }
        let mut rng = SimRng::new(mix(seed));
        let mut cuts = BTreeSet::new();
        while (cuts.len() as u64) < max {
            cuts.insert(1 + rng.below(ops));
        }
        cuts.into_iter().collect()
    }
}

/// One exploration under way.
struct Run<'a, C> {
    explorer: &'a Explorer,
    check: &'a C,
    coverage: Coverage,
    seen: HashSet<u64>,
    /// The cuts and crash states that lead to where we are.
    case: Vec<Step>,
    during: Option<LastOp>,
}

impl<'a, C> Run<'a, C> {
    fn new(explorer: &'a Explorer, check: &'a C) -> Self {
        let (coverage, seen) = (Coverage::default(), HashSet::new());
        Self { explorer, check, coverage, seen, case: Vec::new(), during: None }
    }

    fn is_over(&mut self) -> bool {
        self.coverage.cut_short |= self.coverage.states >= self.explorer.states_max;
        self.coverage.cut_short
    }

    fn workload<A>(
        &mut self,
        workload: &impl Fn(&SimDisk) -> A,
        disk: &SimDisk,
        cut: u64,
    ) -> Explored<A> {
        let done = catch_unwind(AssertUnwindSafe(|| workload(disk)));
        for (call, count) in disk.faults_fired() {
            *self.coverage.faults_by_call.entry(call).or_default() += count;
        }
        done.map_err(|panic| {
            self.case = vec![Step { cut, left: Left::State(0) }];
            self.during = disk.last_op();
            self.failure(Some(disk), format!("the workload panicked: {}", message(&*panic)))
        })
    }

    /// Runs the workload into the power cut at `cut` and judges what it can leave.
    fn cut<A, O: Outcome>(&mut self, workload: &impl Fn(&SimDisk) -> A, cut: u64) -> Explored<()>
    where
        C: Fn(SimDisk, &A) -> O,
    {
        let disk = self.explorer.disk();
        disk.power_cut_at(cut);
        let acks = self.workload(workload, &disk, cut)?;
        self.during = disk.is_off().then(|| disk.last_op()).flatten();
        self.coverage.cuts += 1;
        if let Some(op) = &self.during {
            *self.coverage.cuts_by_call.entry(op.call).or_default() += 1;
        }
        if disk.is_off() != (cut <= self.coverage.ops) {
            self.case = vec![Step { cut, left: Left::State(0) }];
            let reason = "the workload does not do the same each time: it uses a clock, chance, \
                          or threads";
            return Err(self.failure(Some(&disk), reason.to_owned()));
        }
        self.crash(&disk, &acks, cut)
    }

    /// Judges every disk that `disk`, which lost power during its operation `cut`, can leave.
    fn crash<A, O: Outcome>(&mut self, disk: &SimDisk, acks: &A, cut: u64) -> Explored<()>
    where
        C: Fn(SimDisk, &A) -> O,
    {
        let states = self.states(disk, &self.case, cut);
        if self.case.is_empty() {
            self.coverage.exhaustive_cuts += u64::from(states.is_exhaustive());
        }
        let killed = self.explorer.kills.then(|| (Left::Killed, disk.fork()));
        let states = states.enumerate().map(|(number, state)| (Left::State(number), state));
        let mut seen_here = HashSet::new();
        for (left, state) in killed.into_iter().chain(states) {
            if self.is_over() {
                break;
            }
            // The same bytes are another state while some of them may still be lost.
            let kill = u64::from(left == Left::Killed);
            let fingerprint = fold(state.fingerprint(), kill);
            if !seen_here.insert(fingerprint) {
                self.coverage.repeated += 1;
                continue;
            }
            self.coverage.states += 1;
            self.coverage.kills += kill;
            self.coverage.distinct += u64::from(self.seen.insert(fingerprint));
            self.coverage.hash = fold(fold(self.coverage.hash, cut), fingerprint);
            self.case.push(Step { cut, left });
            self.recover(&state, acks)?;
            self.case.pop();
        }
        Ok(())
    }

    /// Judges one disk; then, if the depth allows, cuts the power during the judging.
    fn recover<A, O: Outcome>(&mut self, state: &SimDisk, acks: &A) -> Explored<()>
    where
        C: Fn(SimDisk, &A) -> O,
    {
        let disk = state.fork();
        if let Some(reason) = self.judge(&disk, acks) {
            return Err(self.failure(Some(state), reason));
        }
        if self.case.len() >= self.explorer.depth {
            return Ok(());
        }
        let seed = self.seed_of(&self.case);
        for cut in self.explorer.choose_cuts(disk.ops(), seed, self.explorer.cuts_max) {
            if self.is_over() {
                break;
            }
            let interrupted = state.fork();
            interrupted.power_cut_at(cut);
            // Whatever an interrupted recovery says is of no interest; what it leaves is.
            let _ = self.judge(&interrupted, acks);
            self.coverage.cuts_in_recovery += 1;
            self.crash(&interrupted, acks, cut)?;
        }
        Ok(())
    }

    fn judge<A, O: Outcome>(&self, disk: &SimDisk, acks: &A) -> Option<String>
    where
        C: Fn(SimDisk, &A) -> O,
    {
        let check = self.check;
        match catch_unwind(AssertUnwindSafe(|| check(disk.clone(), acks).violation())) {
            Ok(violation) => violation,
            Err(panic) => Some(message(&*panic)),
        }
    }

    /// The crash states of a cut: named by the seed, the way to it, and the cut.
    fn states(&self, disk: &SimDisk, way: &[Step], cut: u64) -> CrashStates {
        let states = disk.crash_states(self.explorer.states_per_cut, fold(self.seed_of(way), cut));
        if self.explorer.torn { states.torn() } else { states }
    }

    fn seed_of(&self, way: &[Step]) -> u64 {
        let step = |seed, step: &Step| {
            let left = match step.left {
                Left::State(number) => number as u64,
                Left::Killed => u64::MAX,
            };
            fold(fold(seed, step.cut), left)
        };
        way.iter().fold(self.explorer.seed, step)
    }

    fn failure(&self, disk: Option<&SimDisk>, reason: String) -> Box<Failure> {
        Box::new(Failure {
            seed: self.explorer.seed,
            case: format_case(&self.case),
            during: self.during.clone(),
            files: disk.map(SimDisk::files).unwrap_or_default(),
            reason,
            coverage: self.coverage.clone(),
        })
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    text.or(owned).unwrap_or("a panic without a message").to_owned()
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
    fn budgets_are_kept() {
        let explorer = Explorer::new(0).states_per_cut(4).cuts_max(3).states_max(10);
        let coverage = explorer.run(write_many, |_, &()| ()).unwrap();
        assert_eq!(coverage.states, 10);
        assert!(coverage.cut_short && coverage.cuts <= 4);
    }
}
