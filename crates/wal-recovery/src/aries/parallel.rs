//! Redo on several threads, by page: the same changes in the same order for each page, so the
//! same bytes as redo on one.
//!
//! ```text
//!   log ─► cut into runs ─► proven, sorted by page ─► runs in order ─┬─► part 0 ─► pages of part 0
//!          (one at a time)  (any number at a time)                   └─► part 1 ─► pages of part 1
//! ```
//!
//! Every thread owns the pages of one part and applies their changes, run after run. While it has
//! none to apply, it cuts the next run, proves its records and notes where those of each part
//! stand. So the checksums, most of the work where pages are in memory, are shared like the rest;
//! a run is read once, its bodies are borrowed by all parts, and its buffer is used again. The
//! number of runs in memory is bounded.
//!
//! Invariants: a part takes runs in the order of the log, each once; a run leaves memory when
//! every part has taken it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex, MutexGuard};
use wal_format::Lsn;

use super::change::Change;
use super::page_map::part_of;
use super::pages::PageStore;
use super::redo::{Applier, Place, Unfinished, redo_range};
use super::tables::Tables;
use super::walk::next_run;
use crate::error::RecoveryError;
use crate::progress::{Pace, Phase, Progress};
use crate::report::RedoReport;
use crate::scan::{Run, Scanner};
use crate::source::LogSource;

/// How often a thread gives way before it sleeps: another needs less time for its part of a run
/// than the kernel for waking somebody.
const YIELDS: u32 = 1_000;

/// A run whose records are proven.
#[derive(Debug)]
struct Proven {
    /// The thread that cut it, and cuts into this memory again: its cache holds it.
    owner: usize,
    run: Option<Run>,
    bytes: Vec<u8>,
    /// Where the changes of each part stand in `bytes`, in order.
    parts: Vec<Vec<Place>>,
}

impl Proven {
    const fn empty(owner: usize) -> Self {
        Self { owner, run: None, bytes: Vec::new(), parts: Vec::new() }
    }
}

/// What the threads share.
#[derive(Debug)]
struct Queue {
    /// Runs that some part has not taken yet; `None` while one is being proven.
    runs: VecDeque<Option<Arc<Proven>>>,
    /// The number of the first of them; runs are numbered in the order of the log.
    first: u64,
    /// How many runs each part has taken.
    taken: Vec<u64>,
    /// A thread is cutting.
    cutting: bool,
    /// The log has no more runs.
    exhausted: bool,
    /// Memory to be used again, by owner.
    spare: Vec<Vec<Proven>>,
    /// The failure at the lowest address so far; everybody stops.
    failed: Option<(Lsn, RecoveryError)>,
    records: u64,
    bytes: u64,
}

/// What a thread does next.
enum Task {
    Apply(Arc<Proven>),
    Cut(Proven),
    Done,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    scanner: Mutex<Scanner>,
    end: Lsn,
    runs_max: usize,
}

/// Does what [`redo`](super::redo::redo) does, on `threads` threads; `None` when the engine cannot
/// hand out its pages to so many.
pub(super) fn redo_in_parallel<E: PageStore + ?Sized>(
    source: &LogSource,
    tables: &Tables,
    end: Lsn,
    threads: usize,
    engine: &mut E,
    progress: &mut dyn Progress,
) -> Result<Option<(RedoReport, Unfinished)>, RecoveryError> {
    let Some(range) = redo_range(tables, end) else {
        return Ok(Some((RedoReport::default(), Unfinished::default())));
    };
    let Some(handles) = engine.split(threads).filter(|handles| handles.len() == threads) else {
        return Ok(None);
    };
    let shared = Shared::new(source.scan(range), end, threads);
    let mut pace = Pace::start(Phase::Replay, range, progress);
    let mut workers: Vec<_> = handles
        .into_iter()
        .enumerate()
        .map(|(part, pages)| {
            let mine = |page| Applier::is_of_part(page, part, threads);
            Worker { part, pages, applier: Applier::new(tables, end, mine), shared: &shared }
        })
        .collect();
    let here = workers.pop();
    let (others, mine) = thread::scope(|scope| {
        let running: Vec<_> = workers
            .into_iter()
            .map(|worker| scope.spawn(move || worker.run(&mut |_| ())))
            .collect();
        let mine = here.map(|worker| worker.run(&mut |at| pace.reach(at, progress)));
        let others: Vec<_> = running.into_iter().map(thread::ScopedJoinHandle::join).collect();
        (others, mine)
    });
    let queue = shared.queue.into_inner();
    if let Some((_, error)) = queue.failed {
        return Err(error);
    }
    let (records, bytes) = (queue.records, queue.bytes);
    let mut report = RedoReport { range, records, bytes, threads, ..RedoReport::default() };
    let mut unfinished = Unfinished::default();
    for part in others.into_iter().chain(mine.map(Ok)) {
        // A thread that panicked has broken off the others by its failure, which is in the queue.
        let Ok(Some((counts, rest))) = part else {
            return Err(RecoveryError::Changed { lsn: range.start });
        };
        report.add(&counts);
        unfinished.torn.extend(rest.torn);
        unfinished.offline.extend(rest.offline);
        unfinished.last.extend(rest.last);
    }
    unfinished.torn.sort_unstable();
    unfinished.offline.sort_unstable();
    pace.finish(range.end, progress);
    Ok(Some((report, unfinished)))
}

/// The sums of what the parts did.
trait Sum {
    fn add(&mut self, part: &Self);
}

impl Sum for RedoReport {
    fn add(&mut self, part: &Self) {
        self.applied += part.applied;
        self.images += part.images;
        self.skipped_clean += part.skipped_clean;
        self.skipped_before += part.skipped_before;
        self.skipped_newer += part.skipped_newer;
        self.put_off += part.put_off;
        self.torn_rebuilt += part.torn_rebuilt;
    }
}

impl Shared {
    fn new(scanner: Scanner, end: Lsn, threads: usize) -> Self {
        let queue = Queue {
            runs: VecDeque::new(),
            first: 0,
            taken: vec![0; threads],
            cutting: false,
            exhausted: false,
            spare: (0..threads).map(|_| Vec::new()).collect(),
            failed: None,
            records: 0,
            bytes: 0,
        };
        Self {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            scanner: Mutex::new(scanner),
            end,
            runs_max: 2 * threads + 2,
        }
    }

    /// Waits for something that `part` can do.
    fn next(&self, part: usize) -> Task {
        let mut queue = self.queue.lock();
        let mut patience = YIELDS;
        loop {
            if queue.failed.is_some() {
                return Task::Done;
            }
            let taken = queue.taken.get(part).copied().unwrap_or(0);
            let next = usize::try_from(taken - queue.first).unwrap_or(usize::MAX);
            // Applying comes first: it is what frees memory.
            if let Some(Some(run)) = queue.runs.get(next) {
                return Task::Apply(Arc::clone(run));
            }
            if queue.exhausted && next >= queue.runs.len() {
                return Task::Done;
            }
            if !queue.cutting && !queue.exhausted && queue.runs.len() < self.runs_max {
                queue.cutting = true;
                let spare = queue.spare.get_mut(part).and_then(Vec::pop);
                return Task::Cut(spare.unwrap_or(Proven::empty(part)));
            }
            if patience > 0 {
                patience -= 1;
                MutexGuard::unlocked(&mut queue, thread::yield_now);
            } else {
                self.changed.wait(&mut queue);
            }
        }
    }

    /// `part` has applied its next run.
    fn took(&self, part: usize, run: Arc<Proven>) {
        drop(run);
        let mut queue = self.queue.lock();
        if let Some(taken) = queue.taken.get_mut(part) {
            *taken += 1;
        }
        let slowest = queue.taken.iter().copied().min().unwrap_or(0);
        while queue.first < slowest {
            queue.first += 1;
            if let Some(Some(run)) = queue.runs.pop_front()
                && let Ok(run) = Arc::try_unwrap(run)
                && let Some(spare) = queue.spare.get_mut(run.owner)
            {
                spare.push(run);
            }
        }
        drop(queue);
        self.changed.notify_all();
    }

    /// Cuts the next run and proves it.
    fn cut(&self, mut proven: Proven, parts: usize) -> Result<(), (Lsn, RecoveryError)> {
        let mut scanner = self.scanner.lock();
        let at = scanner.position();
        let run =
            next_run(&mut scanner, self.end, &mut proven.bytes).map_err(|error| (at, error))?;
        let mut queue = self.queue.lock();
        queue.cutting = false;
        let Some(run) = run else {
            queue.exhausted = true;
            drop((queue, scanner));
            self.changed.notify_all();
            return Ok(());
        };
        // The number is taken before the next cut can begin: numbers follow addresses.
        let number = queue.first + queue.runs.len() as u64;
        queue.runs.push_back(None);
        drop((queue, scanner));
        self.changed.notify_all();
        let records = sort(&run, &mut proven, parts).map_err(|error| (run.start, error))?;
        let mut queue = self.queue.lock();
        queue.records += records;
        queue.bytes += proven.bytes.len() as u64;
        let place = usize::try_from(number - queue.first).unwrap_or(usize::MAX);
        if let Some(slot) = queue.runs.get_mut(place) {
            *slot = Some(Arc::new(proven));
        }
        drop(queue);
        self.changed.notify_all();
        Ok(())
    }

    fn fail(&self, lsn: Lsn, error: RecoveryError) {
        let mut queue = self.queue.lock();
        if queue.failed.as_ref().is_none_or(|(lowest, _)| lsn < *lowest) {
            queue.failed = Some((lsn, error));
        }
        drop(queue);
        self.changed.notify_all();
    }
}

/// Proves the records of a run and notes where the changes of each part stand.
fn sort(run: &Run, proven: &mut Proven, parts: usize) -> Result<u64, RecoveryError> {
    proven.run = Some(*run);
    proven.parts.resize(parts, Vec::new());
    proven.parts.iter_mut().for_each(Vec::clear);
    let Proven { bytes, parts: places, .. } = proven;
    run.prove(bytes, |offset, record| {
        let Some(change) = Change::of(record)? else { return Ok(()) };
        if let Some(places) = places.get_mut(part_of(change.page, parts)) {
            places.push(Place::new(offset, record, &change)?);
        }
        Ok(())
    })
}

/// One thread, and the pages that are its own.
struct Worker<'s, 'e> {
    part: usize,
    pages: Box<dyn PageStore + Send + 'e>,
    applier: Applier,
    shared: &'s Shared,
}

/// Breaks the others off when the thread that holds it panics: they would wait for ever.
struct Alarm<'s>(&'s Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(Lsn::NONE, RecoveryError::Changed { lsn: Lsn::NONE });
        }
    }
}

impl Worker<'_, '_> {
    /// Works until nothing is left; `None` when somebody failed.
    fn run(mut self, reached: &mut dyn FnMut(Lsn)) -> Option<(RedoReport, Unfinished)> {
        let _alarm = Alarm(self.shared);
        let parts = self.shared.queue.lock().taken.len();
        loop {
            match self.shared.next(self.part) {
                Task::Apply(run) => {
                    if let Err((lsn, error)) = self.apply(&run) {
                        self.shared.fail(lsn, error);
                        return None;
                    }
                    reached(run.run.map_or(Lsn::NONE, |proven| proven.start));
                    self.shared.took(self.part, run);
                }
                Task::Cut(proven) => {
                    if let Err((lsn, error)) = self.shared.cut(proven, parts) {
                        self.shared.fail(lsn, error);
                        return None;
                    }
                }
                Task::Done => break,
            }
        }
        if self.shared.queue.lock().failed.is_some() {
            return None;
        }
        match self.applier.finish(&mut *self.pages) {
            Ok(unfinished) => Some((self.applier.report, unfinished)),
            Err(error) => {
                self.shared.fail(self.shared.end, error);
                None
            }
        }
    }

    /// Applies what a run holds for the pages of this part.
    fn apply(&mut self, run: &Proven) -> Result<(), (Lsn, RecoveryError)> {
        let places = run.parts.get(self.part).map(Vec::as_slice).unwrap_or_default();
        let Some(proven) = &run.run else { return Ok(()) };
        self.applier.take_run(&mut *self.pages, proven, places, &run.bytes)
    }
}
