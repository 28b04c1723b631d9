//! Judging many cuts at once, with the same answer whoever judges which.
//!
//! Cuts between which no promise was made form groups. Threads judge groups in any order; tallies
//! are put together in the order of the cuts, and what comes behind the first failure is dropped.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::coverage::Coverage;
use crate::disk::SimDisk;
use crate::explorer::Explorer;
use crate::judge::{Explored, Judge, Tally};

/// Cuts in one group at most, so that threads share the work evenly.
const GROUP_MAX: usize = 32;

/// Letters of the notes that a failure prints.
const TOLD_MAX: usize = 2000;

/// The disk at one operation, cut there, and what was promised until then.
pub(crate) struct Snapshot<A> {
    pub(crate) cut: u64,
    pub(crate) disk: SimDisk,
    /// How often the notes had been changed.
    pub(crate) version: u64,
    pub(crate) told: Arc<A>,
}

/// A court of judges: what they all know.
pub(crate) struct Court<'a, A, C> {
    pub(crate) explorer: &'a Explorer,
    pub(crate) length: Option<usize>,
    pub(crate) check: &'a C,
    pub(crate) notes: std::marker::PhantomData<A>,
}

impl<A, C> Court<'_, A, C>
where
    A: Clone + Debug + Send + Sync,
    C: Fn(SimDisk, &A) -> Option<String> + Sync,
{
    /// Judges all snapshots, on as many threads as asked, and adds up what was found in order.
    pub(crate) fn judge_all(
        &self,
        plan: usize,
        snapshots: &[Snapshot<A>],
        coverage: &mut Coverage,
    ) -> Explored<()> {
        let groups = groups(snapshots);
        let next = AtomicUsize::new(0);
        // The groups from here on need not be judged: one before them failed, or was enough.
        let stop = AtomicUsize::new(groups.len());
        let done: Mutex<Vec<Option<Explored<Tally>>>> =
            Mutex::new(groups.iter().map(|_| None).collect());
        let merged = Mutex::new((0, coverage, Ok(())));
        let work = || {
            loop {
                // Relaxed: the counter hands out numbers; what is found goes through the locks.
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= stop.load(Ordering::Relaxed) {
                    return;
                }
                let Some(group) = groups.get(number) else { return };
                let found = self.judge_group(plan, group);
                if let Some(slot) = done.lock().get_mut(number) {
                    *slot = Some(found);
                }
                self.merge(&done, &mut merged.lock(), &stop);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.explorer.threads.min(groups.len()) {
                scope.spawn(work);
            }
            work();
        });
        merged.into_inner().2
    }

    /// Adds up what is next in order and was judged; stops all at a failure or a full budget.
    fn merge(
        &self,
        done: &Mutex<Vec<Option<Explored<Tally>>>>,
        (at, coverage, result): &mut (usize, &mut Coverage, Explored<()>),
        stop: &AtomicUsize,
    ) {
        while *at < stop.load(Ordering::Relaxed) {
            let found = done.lock().get_mut(*at).and_then(Option::take);
            let Some(found) = found else { return };
            *at += 1;
            let tally = match found {
                Ok(tally) => tally,
                Err(mut failure) => {
                    coverage.merge(&failure.coverage);
                    failure.coverage = coverage.clone();
                    *result = Err(failure);
                    stop.store(0, Ordering::Relaxed);
                    return;
                }
            };
            coverage.merge(&tally.coverage);
            coverage.distinct += self.explorer.seen.add(&tally.learned);
            if coverage.states >= self.explorer.states_max {
                coverage.cut_short = true;
                stop.store(0, Ordering::Relaxed);
            }
        }
    }

    fn judge_group(&self, plan: usize, group: &[Snapshot<A>]) -> Explored<Tally> {
        let mut judge = self.judge(plan);
        for Snapshot { cut, disk, told, .. } in group {
            judge.cut(disk, told, *cut)?;
        }
        Ok(judge.tally)
    }

    /// A judge who has judged nothing yet.
    pub(crate) fn judge(&self, plan: usize) -> Judge<'_, A> {
        let mut judge = Judge::new(self.explorer, self.check, describe::<A>);
        judge.case.plan = plan;
        judge.case.length = self.length;
        judge.replay = if self.length.is_some() { "replay_sized" } else { "replay_recorded" };
        judge
    }
}

/// Neighbours with the same notes, in groups of limited size.
fn groups<A>(snapshots: &[Snapshot<A>]) -> Vec<&[Snapshot<A>]> {
    let same = |one: &Snapshot<A>, next: &Snapshot<A>| one.version == next.version;
    snapshots.chunk_by(same).flat_map(|group| group.chunks(GROUP_MAX)).collect()
}

/// The notes for a person, cut where they are long.
fn describe<A: Debug>(told: &A) -> String {
    let mut text = format!("{told:?}");
    if let Some((end, _)) = text.char_indices().nth(TOLD_MAX) {
        text.truncate(end);
        text.push_str(" and so on");
    }
    text
}
