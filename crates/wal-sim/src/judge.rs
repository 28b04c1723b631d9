//! Judging: what one power cut can leave, each disk given to the check, and cut again in there.
//!
//! One judge works alone and in order, so that what it finds depends on nothing but its cuts; the
//! tallies of several are put together by `explore`. A disk that was judged before, with the same
//! promises to keep, is passed over.

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::case::{Case, Left, Step, seed_of};
use crate::choice::Reading;
use crate::coverage::Coverage;
use crate::crash_states::CrashStates;
use crate::disk::SimDisk;
use crate::explorer::{Explorer, choose_cuts};
use crate::fault_kind::FaultKind;
use crate::picture;
use crate::random::fold;
use crate::report::Failure;
use crate::state::{LastOp, State};

/// A failure is larger than an answer should be, so it travels boxed.
pub(crate) type Explored<T> = Result<T, Box<Failure>>;

/// Gives a disk to the user's check; the violation, in words.
pub(crate) type Check<'a, A> = &'a dyn Fn(SimDisk, &A) -> Option<String>;

/// What a judge has counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) coverage: Coverage,
    /// The states that differ in what was learned of them, in order.
    pub(crate) learned: Vec<u64>,
}

/// A judge of some cuts.
pub(crate) struct Judge<'a, A> {
    pub(crate) explorer: &'a Explorer,
    pub(crate) check: Check<'a, A>,
    /// Writes the notes of a workload out for a person.
    pub(crate) describe: fn(&A) -> String,
    pub(crate) tally: Tally,
    /// The cuts and crash states that lead to where we are.
    pub(crate) case: Case,
    /// The operation of the workload that was cut.
    pub(crate) during: Option<LastOp>,
    /// The operation that each step of the case was cut in, as far as it was in one.
    pub(crate) ops: Vec<Option<LastOp>>,
    /// The call that replays its cases.
    pub(crate) replay: &'static str,
    /// The states to judge at most.
    pub(crate) states_max: u64,
    /// Disks judged, with the depth they were judged at.
    judged: HashSet<u64>,
    learned: HashSet<u64>,
}

impl<'a, A> Judge<'a, A> {
    pub(crate) fn new(
        explorer: &'a Explorer,
        check: Check<'a, A>,
        describe: fn(&A) -> String,
    ) -> Self {
        Self {
            explorer,
            check,
            describe,
            tally: Tally::default(),
            case: Case::default(),
            during: None,
            ops: Vec::new(),
            replay: "replay",
            states_max: u64::MAX,
            judged: HashSet::new(),
            learned: HashSet::new(),
        }
    }

    fn is_over(&mut self) -> bool {
        let over = self.tally.coverage.states >= self.states_max;
        self.tally.coverage.cut_short |= over;
        over
    }

    /// Judges what `disk` can leave, which lost power during operation `cut` of the workload.
    pub(crate) fn cut(&mut self, disk: &SimDisk, told: &A, cut: u64) -> Explored<()> {
        self.during = disk.is_off().then(|| disk.last_op()).flatten();
        let coverage = &mut self.tally.coverage;
        coverage.cuts += 1;
        if let Some(op) = &self.during {
            *coverage.cuts_by_call.entry(op.call).or_default() += 1;
        }
        self.crash(disk, told, cut)
    }

    /// Forgets what was judged: from now on other promises are to be kept.
    pub(crate) fn new_promises(&mut self) {
        self.judged.clear();
    }

    /// Judges every disk that `disk`, which lost power during its operation `cut`, can leave; then
    /// the cuts in their judging: what shows after one cut is not told as a matter of two.
    fn crash(&mut self, disk: &SimDisk, told: &A, cut: u64) -> Explored<()> {
        let states = self.states(disk, cut);
        if self.case.steps.is_empty() {
            self.tally.coverage.exhaustive_cuts += u64::from(states.is_exhaustive());
        }
        let killed = self.explorer.kills.then(|| (Left::Killed, disk.fork()));
        let states = states.enumerate().map(|(number, state)| (Left::State(number), state));
        let befell = befell(disk);
        let op = disk.is_off().then(|| disk.last_op()).flatten();
        let mut deeper = Vec::new();
        for (left, state) in killed.into_iter().chain(states) {
            if self.is_over() {
                break;
            }
            self.case.steps.push(Step::new(cut, left));
            self.ops.push(op.clone());
            self.count_step();
            if self.is_new(&state, &befell) {
                self.count(&state, &befell);
                let snapshots = self.recover(disk, &state, told)?;
                deeper.extend(self.case.steps.last().cloned().zip(Some(snapshots)));
            } else {
                self.tally.coverage.repeated += 1;
            }
            self.ops.pop();
            self.case.steps.pop();
        }
        for (step, snapshots) in deeper {
            self.case.steps.push(step);
            self.ops.push(op.clone());
            self.cut_again(snapshots, told)?;
            self.ops.pop();
            self.case.steps.pop();
        }
        Ok(())
    }

    /// Whether the state was not judged before, at this depth and after the same faults.
    fn is_new(&mut self, state: &SimDisk, befell: &[FaultKind]) -> bool {
        let depth = self.case.steps.len() as u64;
        // The same bytes are another state while some of them may still be lost.
        let killed = self.case.steps.last().is_some_and(|step| step.left == Left::Killed);
        let pending = if killed { seed_of(1, &self.case.steps) } else { 0 };
        let history = befell.iter().fold(depth, |hash, &kind| fold(hash, kind as u64));
        self.judged.insert(fold(fold(state.look_fingerprint(), history), pending))
    }

    /// Counts a state, whether it was judged before or not, by the step that was cut.
    fn count_step(&mut self) {
        if let Some(op) = &self.during {
            let class = (self.explorer.class)(&op.name).to_owned();
            *self.tally.coverage.by_step.entry((op.call, class)).or_default() += 1;
        }
    }

    /// Counts a state, by what befell it.
    fn count(&mut self, state: &SimDisk, befell: &[FaultKind]) {
        let Some(step) = self.case.steps.last() else { return };
        let killed = step.left == Left::Killed;
        let coverage = &mut self.tally.coverage;
        coverage.states += 1;
        coverage.kills += u64::from(killed);
        coverage.hash = fold(fold(coverage.hash, step.cut), state.look_fingerprint());
        coverage.hash = fold(coverage.hash, u64::from(killed));
        *coverage.by_depth.entry(self.case.steps.len()).or_default() += 1;
        let loss = state.state.lock().loss;
        let crash = [
            (FaultKind::PowerCut, !killed),
            (FaultKind::ProcessKill, killed),
            (FaultKind::LostSector, loss.lost > 0 && !killed),
            (FaultKind::PartlyKept, loss.lost > 0 && loss.kept > 0 && !killed),
            (FaultKind::Reordered, loss.reordered > 0 && !killed),
            (FaultKind::TornSector, loss.torn > 0 && !killed),
            (FaultKind::LostName, loss.names > 0 && !killed),
            (FaultKind::RecycledSpace, loss.recycled > 0 && !killed),
        ];
        let met = crash.into_iter().filter(|(_, met)| *met).map(|(kind, _)| kind);
        for kind in met.clone() {
            *coverage.by_depth_fault.entry((self.case.steps.len(), kind)).or_default() += 1;
        }
        for kind in met.chain(befell.iter().copied()) {
            *coverage.by_fault.entry(kind).or_default() += 1;
        }
    }

    /// Judges one disk, which `cut` left; then its decay. Gives the moments of the judging, if the
    /// power is to be cut in there.
    fn recover(&mut self, cut: &SimDisk, state: &SimDisk, told: &A) -> Explored<Vec<State>> {
        let deeper = self.case.steps.len() < self.explorer.depth;
        let snapshots: Arc<Mutex<Vec<State>>> = Arc::default();
        let mut disk = state.fork();
        if deeper {
            let snapshots = Arc::clone(&snapshots);
            disk = disk.recorded(Arc::new(move |state| snapshots.lock().push(state)));
        }
        if let Some(reason) = self.judge(&disk, told) {
            return Err(self.shrunk(cut, state, told, reason));
        }
        if self.case.steps.len() == 1 {
            self.decay(cut, state, told)?;
        }
        // What follows has the disks of the judging for itself.
        drop(disk);
        Ok(std::mem::take(&mut *snapshots.lock()))
    }

    /// Cuts the power in the judging of which these are the moments.
    fn cut_again(&mut self, snapshots: Vec<State>, told: &A) -> Explored<()> {
        let explorer = self.explorer;
        let max = explorer.cuts_max.min(explorer.recovery_cuts_max);
        let seed = seed_of(explorer.seed, &self.case.steps);
        let cuts = choose_cuts(snapshots.len() as u64, seed, max);
        for (number, snapshot) in (1..).zip(snapshots) {
            if self.is_over() {
                break;
            }
            if cuts.contains(&number) {
                self.tally.coverage.cuts_in_recovery += 1;
                self.crash(&SimDisk::of(snapshot), told, number)?;
            }
        }
        Ok(())
    }

    /// Judges what decay makes of a state.
    fn decay(&mut self, cut: &SimDisk, state: &SimDisk, told: &A) -> Explored<()> {
        for way in 0..self.explorer.latent {
            let disk = state.fork();
            let Some(kind) = decay(&disk, self.explorer.seed, &self.case.steps, way) else {
                continue;
            };
            let coverage = &mut self.tally.coverage;
            coverage.states += 1;
            coverage.decayed += 1;
            coverage.hash = fold(coverage.hash, disk.look_fingerprint());
            *coverage.by_fault.entry(kind).or_default() += 1;
            if let Some(reason) = self.judge(&disk.fork(), told) {
                if let Some(last) = self.case.steps.last_mut() {
                    last.decay = Some(way);
                }
                return Err(self.failure(Some((cut, &disk)), Some(told), reason));
            }
        }
        Ok(())
    }

    /// Gives a disk to the check, and notes what the check learned of it: that and nothing else
    /// makes a state distinct.
    fn judge(&mut self, disk: &SimDisk, told: &A) -> Option<String> {
        let (violation, learned) = self.try_check(disk, told);
        if self.learned.insert(learned) {
            self.tally.learned.push(learned);
        }
        violation
    }

    /// Gives a disk to the check: the violation, and what was learned of the disk.
    pub(crate) fn try_check(&self, disk: &SimDisk, told: &A) -> (Option<String>, u64) {
        disk.state.lock().watch();
        let check = self.check;
        let violation = match catch_unwind(AssertUnwindSafe(|| check(disk.clone(), told))) {
            Ok(violation) => violation,
            Err(panic) => Some(message(&*panic)),
        };
        let learned = disk.state.lock().learned();
        (violation, learned)
    }

    /// The crash states of a cut: named by the seed, the way to it, and the cut.
    pub(crate) fn states(&self, disk: &SimDisk, cut: u64) -> CrashStates {
        let limit = self.explorer.states_at(self.case.steps.len() + 1);
        let seed = fold(seed_of(self.explorer.seed, &self.case.steps), cut);
        let states = disk.crash_states(limit, seed);
        if self.explorer.torn { states.torn() } else { states }
    }

    /// What is left of `disk`, which lost power in operation `cut`, by the name of a step.
    pub(crate) fn leave(&self, disk: &SimDisk, step: &Step) -> Option<SimDisk> {
        let left = match &step.left {
            Left::Killed => disk.fork(),
            Left::State(number) => self.states(disk, step.cut).nth(*number)?,
            Left::Script(script) => disk.crash_by(&mut Reading::new(script)),
        };
        if let Some(way) = step.decay {
            let mut steps = self.case.steps.clone();
            steps.push(Step::new(step.cut, step.left.clone()));
            decay(&left, self.explorer.seed, &steps, way)?;
        }
        Some(left)
    }

    /// The way to where we are, a line for each cut.
    fn way(&self) -> Vec<String> {
        let first = vec![self.during.clone()];
        let ops = if self.ops.is_empty() { &first } else { &self.ops };
        let steps = self.case.steps.iter().zip(ops).enumerate();
        steps.map(|(at, (step, op))| step.told(at, op.as_ref())).collect()
    }

    /// A failure: the disk that lost power and what was left of it, and what was promised.
    pub(crate) fn failure(
        &self,
        disks: Option<(&SimDisk, &SimDisk)>,
        told: Option<&A>,
        reason: String,
    ) -> Box<Failure> {
        let mut coverage = self.tally.coverage.clone();
        coverage.distinct = self.tally.learned.len() as u64;
        Box::new(Failure {
            way: self.way(),
            seed: self.explorer.seed,
            case: self.case.to_string(),
            found_as: self.case.to_string(),
            length: self.case.length,
            during: self.during.clone(),
            files: disks.map(|(_, left)| left.files()).unwrap_or_default(),
            picture: disks.map(|(cut, left)| picture::draw(cut, left)).unwrap_or_default(),
            told: told.map(self.describe).unwrap_or_default(),
            reason,
            command: self.explorer.command.clone(),
            call: self.replay,
            coverage,
        })
    }
}

/// Lets a state decay in the drawn way `way`; `steps` lead to the state before.
fn decay(disk: &SimDisk, seed: u64, steps: &[Step], way: usize) -> Option<FaultKind> {
    let seed = fold(seed_of(seed, steps), way as u64);
    let kind = FaultKind::LATENT[(seed % FaultKind::LATENT.len() as u64) as usize];
    disk.decay(kind, seed).map(|damage| damage.kind)
}

/// The live faults in the history of a disk.
fn befell(disk: &SimDisk) -> Vec<FaultKind> {
    let met: BTreeMap<FaultKind, u64> = disk.faults_met();
    met.into_keys().collect()
}

pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    text.or(owned).unwrap_or("a panic without a message").to_owned()
}
