//! The explorer in one run: the disk is copied at each operation while the workload goes on.
//!
//! A copy costs little, since copies share what they do not change, so that a workload of n
//! operations is run twice and not n times. The workload keeps [`Notes`] of what it asked for
//! and what it was promised; each copy comes with the notes of its moment. The judging is `court`'s.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::case::{Case, Left, Step};
use crate::court::{Court, Snapshot};
use crate::coverage::Coverage;
use crate::disk::SimDisk;
use crate::explore::{NOT_REPEATED, Outcome};
use crate::explorer::{Explorer, choose_cuts};
use crate::fault_kind::FaultKind;
use crate::faults::Faults;
use crate::judge::{Explored, message};
use crate::notes::Notes;
use crate::random::{SimRng, fold};
use crate::report::Failure;

/// One run of a workload: with these faults, at these cuts.
struct Plan {
    /// Its number among the drawn ones, from 1; 0: none was drawn.
    number: usize,
    faults: Faults,
    cuts_max: u64,
}

/// A recorded exploration of one workload.
struct Recording<'a, A, W, C> {
    explorer: &'a Explorer,
    workload: &'a W,
    court: Court<'a, A, C>,
}

type Snapshots<A> = Vec<Snapshot<A>>;

impl Explorer {
    /// Runs `workload`, which keeps notes, looks at disk and notes at each operation, and gives
    /// every disk that a power cut there can leave to `check`, with the notes of that moment.
    ///
    /// The workload notes what it asks for before it asks, and a promise once it is made; it stops
    /// at the first error. It must do the same each time: no clock but the disk's, no chance but
    /// from a seed, no threads that race. A panic in either is a violation; a check that is
    /// interrupted by a power cut of its own is not judged.
    ///
    /// ```
    /// use std::io::IoSlice;
    /// use wal_io::{LogFile, Storage};
    /// use wal_sim::{Explorer, Notes, SimDisk};
    ///
    /// let workload = |disk: &SimDisk, promised: &Notes<u64>| {
    ///     let Ok(file) = disk.create("log", 4096) else { return };
    ///     if file.sync_all().and_then(|()| disk.sync_dir()).is_err() { return }
    ///     for at in 0..8 {
    ///         if file.write_at(&[IoSlice::new(&[1; 512])], at * 512).is_err() { return }
    ///         if file.sync_data().is_err() { return }
    ///         promised.update(|promised| *promised = at + 1);
    ///     }
    /// };
    /// let check = |disk: SimDisk, promised: &u64| {
    ///     let found = disk.contents("log").unwrap_or_default();
    ///     let whole = found.chunks(512).take_while(|sector| sector[0] == 1).count() as u64;
    ///     if whole < *promised { Err(format!("{whole} of {promised} are there")) } else { Ok(()) }
    /// };
    /// let coverage = Explorer::new(1).torn().threads(2).record(workload, check)?;
    /// assert!(coverage.distinct > 8);
    /// # Ok::<(), Box<wal_sim::Failure>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first case, in the order of the cuts, in which the check was not content, shrunk.
    ///
    /// # Cost
    ///
    /// Two runs of the workload, and as many for each drawn [live fault](Self::live_faults); memory
    /// for the sectors that the run wrote.
    pub fn record<A, O: Outcome>(
        &self,
        workload: impl Fn(&SimDisk, &Notes<A>),
        check: impl Fn(SimDisk, &A) -> O + Sync,
    ) -> Result<Coverage, Box<Failure>>
    where
        A: Clone + Debug + Default + Send + Sync + 'static,
    {
        self.recording(None, &workload, &|disk, told: &A| check(disk, told).violation()).run()
    }

    /// As [`record`](Self::record), of a workload that takes a length: when it fails, the shortest
    /// length that still fails is looked for by halving.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record); the failure says its length.
    pub fn record_sized<A, O: Outcome>(
        &self,
        length: usize,
        workload: impl Fn(&SimDisk, &Notes<A>, usize),
        check: impl Fn(SimDisk, &A) -> O + Sync,
    ) -> Result<Coverage, Box<Failure>>
    where
        A: Clone + Debug + Default + Send + Sync + 'static,
    {
        let check = |disk: SimDisk, told: &A| check(disk, told).violation();
        let run = |length: usize| {
            let workload = |disk: &SimDisk, notes: &Notes<A>| workload(disk, notes, length);
            self.recording(Some(length), &workload, &check).run()
        };
        let mut failure = match run(length) {
            Ok(coverage) => return Ok(coverage),
            Err(failure) => failure,
        };
        // Longer workloads fail where shorter ones do, if not in every case: halving is good enough.
        let (mut passes, mut fails) = (0, length);
        while fails - passes > 1 {
            let middle = passes + (fails - passes) / 2;
            match run(middle) {
                Ok(_) => passes = middle,
                Err(shorter) => (fails, failure) = (middle, shorter),
            }
        }
        Err(failure)
    }

    /// Judges one case of a [recorded](Self::record) exploration by its name.
    ///
    /// # Errors
    ///
    /// The failure, if it is still there; or one that says that the case does not exist.
    pub fn replay_recorded<A, O: Outcome>(
        &self,
        case: &str,
        workload: impl Fn(&SimDisk, &Notes<A>),
        check: impl Fn(SimDisk, &A) -> O + Sync,
    ) -> Result<Coverage, Box<Failure>>
    where
        A: Clone + Debug + Default + Send + Sync + 'static,
    {
        let check = |disk: SimDisk, told: &A| check(disk, told).violation();
        self.recording(None, &workload, &check).replay(case)
    }

    /// As [`replay_recorded`](Self::replay_recorded), of a workload that takes a length, which is
    /// part of the name of the case.
    ///
    /// # Errors
    ///
    /// As [`replay_recorded`](Self::replay_recorded).
    pub fn replay_sized<A, O: Outcome>(
        &self,
        case: &str,
        workload: impl Fn(&SimDisk, &Notes<A>, usize),
        check: impl Fn(SimDisk, &A) -> O + Sync,
    ) -> Result<Coverage, Box<Failure>>
    where
        A: Clone + Debug + Default + Send + Sync + 'static,
    {
        let check = |disk: SimDisk, told: &A| check(disk, told).violation();
        let length = Case::parse(case).length.unwrap_or(0);
        let workload = |disk: &SimDisk, notes: &Notes<A>| workload(disk, notes, length);
        self.recording(Some(length), &workload, &check).replay(case)
    }

    fn recording<'a, A, W, C>(
        &'a self,
        length: Option<usize>,
        workload: &'a W,
        check: &'a C,
    ) -> Recording<'a, A, W, C> {
        let court = Court { explorer: self, length, check, notes: std::marker::PhantomData };
        Recording { explorer: self, workload, court }
    }
}

impl<A, W, C> Recording<'_, A, W, C>
where
    A: Clone + Debug + Default + Send + Sync + 'static,
    W: Fn(&SimDisk, &Notes<A>),
    C: Fn(SimDisk, &A) -> Option<String> + Sync,
{
    fn run(&self) -> Explored<Coverage> {
        let explorer = self.explorer;
        let mut coverage = Coverage::default();
        let plain =
            Plan { number: 0, faults: explorer.faults.clone(), cuts_max: explorer.cuts_max };
        let rehearsal = self.explore(&plain, &mut coverage)?;
        for number in 1..=explorer.live_faults {
            if coverage.cut_short {
                break;
            }
            let plan = self.draw(number, &rehearsal);
            self.explore(&plan, &mut coverage)?;
        }
        Ok(coverage)
    }

    /// The plan of live faults with this number: kinds take turns, as far as they can hit.
    fn draw(&self, number: usize, rehearsal: &SimDisk) -> Plan {
        let (calls, space_bytes) = (rehearsal.calls(), rehearsal.space_high_bytes());
        let mut rng = SimRng::new(fold(self.explorer.seed, number as u64));
        let kinds = FaultKind::LIVE.iter().cycle().skip(number - 1).take(FaultKind::LIVE.len());
        let mut drawn =
            kinds.filter_map(|&kind| Faults::drawn(kind, &calls, space_bytes, &mut rng));
        let faults = self.explorer.faults.clone().and(drawn.next().unwrap_or_default());
        Plan { number, faults, cuts_max: self.explorer.live_cuts_max }
    }

    /// One plan: rehearses, records, judges. Returns the disk of the rehearsal.
    fn explore(&self, plan: &Plan, coverage: &mut Coverage) -> Explored<SimDisk> {
        let rehearsal = self.explorer.disk(plan.faults.clone());
        self.workload(&rehearsal, &Notes::default(), plan)?;
        let ops = rehearsal.ops();
        coverage.ops += ops;
        for (call, count) in rehearsal.faults_fired() {
            *coverage.faults_by_call.entry(call).or_default() += count;
        }
        let cuts = choose_cuts(ops, fold(self.explorer.seed, plan.number as u64), plan.cuts_max);
        let snapshots = self.record(plan, cuts.clone(), &rehearsal)?;
        let Err(mut failure) = self.court.judge_all(plan.number, &snapshots, coverage) else {
            return Ok(rehearsal);
        };
        // Where cuts were drawn, the same may show in an earlier one.
        let failed = Case::parse(&failure.case).steps.first().map_or(0, |step| step.cut);
        let skipped: BTreeSet<u64> =
            (1..failed).filter(|cut| !cuts.contains(cut)).take(1000).collect();
        if !skipped.is_empty() {
            let snapshots = self.record(plan, skipped, &rehearsal)?;
            let mut more = Coverage::default();
            if let Err(earlier) = self.court.judge_all(plan.number, &snapshots, &mut more)
                && Case::parse(&earlier.case).steps.first().is_some_and(|step| step.cut < failed)
            {
                let (found_as, coverage) = (failure.found_as, failure.coverage);
                failure = Box::new(Failure { found_as, coverage, ..*earlier });
            }
        }
        Err(failure)
    }

    /// Runs the workload; a panic of it is a failure.
    fn workload(&self, disk: &SimDisk, notes: &Notes<A>, plan: &Plan) -> Explored<()> {
        let done = catch_unwind(AssertUnwindSafe(|| (self.workload)(disk, notes)));
        done.map_err(|panic| {
            let reason = format!("the workload panicked: {}", message(&*panic));
            self.failure_of(disk, plan, reason)
        })
    }

    /// A failure of the workload itself.
    fn failure_of(&self, disk: &SimDisk, plan: &Plan, reason: String) -> Box<Failure> {
        let mut judge = self.court.judge(plan.number);
        judge.case.steps = vec![Step::new(disk.ops(), Left::State(0))];
        judge.during = disk.last_op();
        judge.failure(Some((disk, disk)), None, reason)
    }

    /// The disk at each of `cuts`, and at the end, with the notes of the moment.
    fn record(
        &self,
        plan: &Plan,
        cuts: BTreeSet<u64>,
        rehearsal: &SimDisk,
    ) -> Explored<Snapshots<A>> {
        let notes = Notes::<A>::default();
        let snapshots: Arc<Mutex<Snapshots<A>>> = Arc::default();
        let (looked, kept) = (notes.clone(), Arc::clone(&snapshots));
        let disk = self.explorer.disk(plan.faults.clone()).recorded(Arc::new(move |state| {
            let cut = state.ops;
            if cuts.contains(&cut) {
                let (version, told) = looked.look();
                kept.lock().push(Snapshot { cut, disk: SimDisk::of(state), version, told });
            }
        }));
        self.workload(&disk, &notes, plan)?;
        if disk.ops() != rehearsal.ops() || disk.fingerprint() != rehearsal.fingerprint() {
            return Err(self.failure_of(&disk, plan, NOT_REPEATED.to_owned()));
        }
        let mut snapshots = std::mem::take(&mut *snapshots.lock());
        let (version, told) = notes.look();
        snapshots.push(Snapshot { cut: disk.ops() + 1, disk, version, told });
        Ok(snapshots)
    }

    fn replay(&self, name: &str) -> Explored<Coverage> {
        let case = Case::parse(name);
        let plain = Plan { number: 0, faults: self.explorer.faults.clone(), cuts_max: 0 };
        let mut rehearsal = self.explorer.disk(plain.faults.clone());
        self.workload(&rehearsal, &Notes::default(), &plain)?;
        let mut plan = plain;
        if case.plan > 0 {
            plan = self.draw(case.plan, &rehearsal);
            rehearsal = self.explorer.disk(plan.faults.clone());
            self.workload(&rehearsal, &Notes::default(), &plan)?;
        }
        let mut judge = self.court.judge(plan.number);
        let cut = case.steps.first().map_or(0, |step| step.cut);
        let snapshots = self.record(&plan, BTreeSet::from([cut]), &rehearsal)?;
        let Some(found) = snapshots.into_iter().find(|snapshot| snapshot.cut == cut) else {
            return Err(judge.failure(None, None, format!("case `{name}` does not exist")));
        };
        judge.replay(&case, name, found.disk, &found.told)
    }
}
