//! Opening: every log, the batches across them, then the engine.
//!
//! ```text
//! lock the root ─ manifest ─ is each log in its place? ─ open each log, replay nothing
//!   ─ decide what is undecided ─ write and sync the notes ─ replay to the engine
//! ```
//!
//! Nothing is given to the engine, and nothing is appended but notes, before every decision is
//! durable. A crash anywhere leaves what the next opening handles alike.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wal::{
    IoError, IoOp, LogId, Options, RecoveryReport, RedoTarget, ReplayRecord, Storage, StorageLock,
    Survey, Wal,
};

use crate::across::Across;
use crate::body::Note;
use crate::error::Error;
use crate::filter::Filter;
use crate::id::{BatchId, NOTE_KIND, Outcome};
use crate::inspect::{Inspect, Inspection, Prior, Told, ask};
use crate::layout::Layout;
use crate::manifest::{Manifest, check_names};
use crate::member::{HOLD, Member};
use crate::partitions::Partitions;
use crate::place::{Directories, Places};
use crate::resolve::{Contradiction, Resolution, questions, resolve, undecided};
use crate::shared::Shared;

impl Partitions {
    /// Opens the partitions under the directory `path`, creating them if there are none, and hands
    /// every record that counts to `replay`: partition by partition, each in the order of its log.
    ///
    /// An engine that restores checkpoints, or recovers partitions at the same time, opens through
    /// [`Opener`].
    ///
    /// # Durability
    ///
    /// What is replayed is durable, and so is what became of every batch across partitions.
    ///
    /// # Errors
    ///
    /// Nothing that was durable is lost by any of them; call again once the cause is gone.
    ///
    /// - [`Error::Partition`]: a log is damaged, locked, or replay failed; it is named.
    /// - [`Error::Missing`], [`Error::Foreign`], [`Error::OtherPartitions`], [`Error::Manifest`],
    ///   [`Error::ManifestLost`]: this is not the set of logs that was created.
    /// - [`Error::Root`], [`Error::Refused`].
    pub fn open<F, E>(
        path: impl AsRef<Path>,
        layout: impl Into<Layout>,
        options: Options,
        replay: F,
    ) -> Result<Self, Error>
    where
        F: FnMut(usize, &ReplayRecord<'_>) -> Result<(), E>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Opener::new(options).open(&Directories::new(path), layout, replay)
    }
}

/// How partitions are opened: ready to open.
#[derive(Clone, Debug)]
pub struct Opener {
    options: Options,
    create: bool,
    lock_wait: Duration,
    threads: usize,
}

impl Opener {
    /// Every log is kept by `options`. They may not say to create none: see
    /// [`create`](Self::create).
    #[must_use]
    pub fn new(options: Options) -> Self {
        let lock_wait = Duration::from_secs(1);
        Self { options, create: true, lock_wait, threads: 1 }
    }

    /// Whether partitions are created where there are none. Default: yes.
    #[must_use]
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Recovers up to `threads` partitions at the same time. Default: 1.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Opens and recovers as [`Partitions::open`] does, in any places.
    ///
    /// # Errors
    ///
    /// As [`Partitions::open`].
    pub fn open<F, E>(
        &self,
        places: &dyn Places,
        layout: impl Into<Layout>,
        mut replay: F,
    ) -> Result<Partitions, Error>
    where
        F: FnMut(usize, &ReplayRecord<'_>) -> Result<(), E>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (opened, prepared) = self.prepare(places, layout.into())?;
        let mut reports = Vec::with_capacity(prepared.logs.len());
        for (index, log) in prepared.logs.iter().enumerate() {
            let mut engine = |record: &ReplayRecord<'_>| replay(index, record);
            reports.push(log.replay(index, &mut engine, &prepared.aborted)?);
        }
        opened.finish(prepared, reports)
    }

    /// Opens, and recovers each partition into the target with its number; up to
    /// [`threads`](Self::threads) of them at the same time.
    ///
    /// # Errors
    ///
    /// As [`Partitions::open`]; [`Error::Refused`] when the targets are not as many as the
    /// partitions.
    pub fn recover<T: RedoTarget + Send>(
        &self,
        places: &dyn Places,
        layout: impl Into<Layout>,
        targets: &mut [T],
    ) -> Result<Partitions, Error> {
        let layout = layout.into();
        if targets.len() != layout.names.len() {
            let (targets, partitions) = (targets.len(), layout.names.len());
            let what = format!("{targets} targets for {partitions} partitions");
            return Err(Error::refused(what));
        }
        let (opened, prepared) = self.prepare(places, layout)?;
        let work: Vec<(&Log, &mut T)> = prepared.logs.iter().zip(targets).collect();
        let aborted = &prepared.aborted;
        let reports = in_threads(self.threads, work, |index, (log, target)| {
            log.replay(index, target, aborted)
        });
        let reports = reports.into_iter().collect::<Result<Vec<_>, _>>()?;
        opened.finish(prepared, reports)
    }

    /// All that comes before the engine.
    fn prepare(&self, places: &dyn Places, layout: Layout) -> Result<(Opened, Prepared), Error> {
        check_names(&layout.names)?;
        let root = places.root().map_err(Error::root)?;
        let lock = lock(root.as_ref(), self.lock_wait)?;
        let manifest = Manifest::read(root.as_ref())?;
        if let Some(manifest) = &manifest {
            check_same(manifest, &layout)?;
        } else if !self.create {
            return Err(Error::NoPartitions { place: root.place() });
        }
        let storages = storages(places, &layout)?;
        if let Some(manifest) = &manifest {
            check_places(manifest, &storages)?;
        }
        let options = self.options.clone().create(manifest.is_none());
        let work: Vec<(String, Arc<dyn Storage>)> =
            layout.names.iter().cloned().zip(storages).collect();
        let logs = in_threads(self.threads, work, |index, (name, storage)| {
            Log::open(index, name, storage, options.clone())
        });
        let logs = logs.into_iter().collect::<Result<Vec<_>, _>>()?;
        let manifest = match manifest {
            Some(manifest) => manifest,
            None => create_manifest(root.as_ref(), &logs)?,
        };
        let resolutions = self.resolve(&logs)?;
        let promises = logs.iter().all(|log| log.wal.can_promise());
        write_notes(&logs, &resolutions, promises)?;
        let prepared = Prepared::of(logs, &resolutions);
        Ok((Opened { manifest, lock, promises }, prepared))
    }

    /// Decides every batch that some log leaves open.
    fn resolve(&self, logs: &[Log]) -> Result<Vec<Resolution>, Error> {
        let contradiction = |Contradiction { partition, what }: Contradiction| {
            let name = logs.get(partition).map(|log| log.name.clone()).unwrap_or_default();
            Error::Contradiction { name, what }
        };
        let told: Vec<&Told> = logs.iter().map(|log| &log.told).collect();
        let undecided = undecided(&told).map_err(contradiction)?;
        let work: Vec<(usize, BTreeSet<BatchId>)> = questions(&undecided).into_iter().collect();
        let answered = in_threads(self.threads, work, |_, (partition, asked)| {
            let log = logs.get(partition);
            let prior = log.and_then(|log| log.prior.as_ref().map(|prior| (log, prior)));
            let Some((log, prior)) = prior else { return Ok((partition, Default::default())) };
            let answer = ask(partition, prior, &asked);
            answer.map(|answer| (partition, answer)).map_err(|source| Error::of(&log.name, source))
        });
        let answers = answered.into_iter().collect::<Result<BTreeMap<_, _>, Error>>()?;
        resolve(undecided, &answers).map_err(contradiction)
    }
}

/// A set of partitions that is open and has not met its engine.
struct Opened {
    manifest: Manifest,
    lock: Box<dyn StorageLock>,
    promises: bool,
}

/// Its logs, every batch decided.
struct Prepared {
    logs: Vec<Log>,
    aborted: BTreeSet<BatchId>,
    recovered: u64,
    voided: u64,
}

impl Prepared {
    fn of(logs: Vec<Log>, resolutions: &[Resolution]) -> Self {
        let mut aborted: BTreeSet<BatchId> =
            logs.iter().flat_map(|log| log.told.aborted.iter().copied()).collect();
        let ended = |outcome| resolutions.iter().filter(move |one| one.outcome == outcome);
        aborted.extend(ended(Outcome::Aborted).map(|one| one.id));
        let recovered = ended(Outcome::Committed).count() as u64;
        let voided = ended(Outcome::Aborted).count() as u64;
        Self { logs, aborted, recovered, voided }
    }
}

impl Opened {
    fn finish(self, prepared: Prepared, reports: Vec<RecoveryReport>) -> Result<Partitions, Error> {
        let Prepared { logs, aborted, recovered, voided } = prepared;
        let first = logs.first().map(|log| (log.wal.log_id(), log.wal.epoch()));
        let (log, epoch) = first.ok_or_else(|| Error::refused("no partitions"))?;
        let mut members = Vec::with_capacity(logs.len());
        for (log, recovery) in logs.into_iter().zip(reports) {
            members.push(Arc::new(log.member(recovery, self.promises)?));
        }
        let across = Across::new(log, epoch, aborted).with_decided(recovered, voided);
        tracing::info!(partitions = members.len(), recovered, voided, "partitions opened");
        let lock = Mutex::new(Some(self.lock));
        Ok(Partitions::new(Shared { members, across, root: self.manifest.root, lock }))
    }
}

/// One log, open, of which nothing was given to the engine.
struct Log {
    name: String,
    wal: Wal,
    /// `None` for a log just made.
    prior: Option<Prior>,
    told: Told,
}

impl Log {
    fn open(
        index: usize,
        name: String,
        storage: Arc<dyn Storage>,
        options: Options,
    ) -> Result<Self, Error> {
        let mut inspection = Inspection::of(index);
        let opened = options.recover_with(Inspect).open_in(storage, &mut inspection);
        let wal = opened.map_err(|source| Error::of(&name, source))?;
        let Inspection { prior, told, .. } = inspection;
        Ok(Self { name, wal, prior, told })
    }

    fn replay<T: RedoTarget + ?Sized>(
        &self,
        index: usize,
        engine: &mut T,
        aborted: &BTreeSet<BatchId>,
    ) -> Result<RecoveryReport, Error> {
        let Some(prior) = &self.prior else { return Ok(RecoveryReport::default()) };
        let mut engine = Filter::new(index, engine, aborted);
        prior.replay(&mut engine).map_err(|source| Error::of(&self.name, source))
    }

    fn member(self, recovery: RecoveryReport, promises: bool) -> Result<Member, Error> {
        let Self { name, wal, .. } = self;
        let reserved = wal.positions().reserved;
        let hold = wal.hold(HOLD, reserved, None).map_err(|source| Error::of(&name, source))?;
        Ok(Member { name, wal, promises, hold, recovery })
    }
}

/// Time between two tries to get the lock.
const LOCK_RETRY: Duration = Duration::from_millis(5);

fn lock(root: &dyn Storage, wait: Duration) -> Result<Box<dyn StorageLock>, Error> {
    let started = Instant::now();
    loop {
        match root.lock() {
            Ok(lock) => return Ok(lock),
            Err(source) if source.kind() != std::io::ErrorKind::WouldBlock => {
                return Err(Error::root(IoError::failed(IoOp::Lock, root.place(), source)));
            }
            Err(_) if started.elapsed() >= wait => {
                return Err(Error::root(IoError::Locked { place: root.place() }));
            }
            Err(_) => std::thread::sleep(LOCK_RETRY),
        }
    }
}

fn check_same(manifest: &Manifest, layout: &Layout) -> Result<(), Error> {
    let found = manifest.names();
    if found == layout.names {
        return Ok(());
    }
    let shown = |names: &[String]| match names {
        [first, .., last] => format!("{first} to {last} ({})", names.len()),
        few => few.join(", "),
    };
    Err(Error::OtherPartitions { found: shown(&found), asked: shown(&layout.names) })
}

fn storages(places: &dyn Places, layout: &Layout) -> Result<Vec<Arc<dyn Storage>>, Error> {
    let one = |(index, name): (usize, &String)| {
        places.partition(index, name).map_err(|source| Error::of(name, source))
    };
    layout.names.iter().enumerate().map(one).collect()
}

/// Refuses a missing log, and one that lies in the place of another, before anything is changed.
fn check_places(manifest: &Manifest, storages: &[Arc<dyn Storage>]) -> Result<(), Error> {
    for ((name, expected), storage) in manifest.partitions.iter().zip(storages) {
        let survey = Survey::read(storage.as_ref()).map_err(|source| Error::of(name, source))?;
        let (name, expected) = (name.clone(), *expected);
        match survey.log_id {
            Some(found) if found == expected => {}
            Some(found) => {
                let owner = manifest.partitions.iter().find(|(_, log)| *log == found);
                let belongs_to = owner.map(|(name, _)| name.clone());
                return Err(Error::Foreign { name, expected, found, belongs_to });
            }
            // Files without a log id: the opening says what is wrong with them.
            None if !survey.is_empty() => {}
            None => return Err(Error::Missing { name, expected }),
        }
    }
    Ok(())
}

/// Binds new logs to their root. Only logs that nobody has used are new.
fn create_manifest(root: &dyn Storage, logs: &[Log]) -> Result<Manifest, Error> {
    if let Some(used) = logs.iter().find(|log| log.told.used) {
        return Err(Error::ManifestLost { name: used.name.clone() });
    }
    let mut id = [0; 16];
    root.entropy(&mut id)
        .map_err(|source| Error::root(IoError::failed(IoOp::Read, "entropy", source)))?;
    let partitions: Vec<(String, LogId)> =
        logs.iter().map(|log| (log.name.clone(), log.wal.log_id())).collect();
    let manifest = Manifest { root: id, partitions };
    manifest.write(root)?;
    Ok(manifest)
}

/// Makes every decision durable in every log that holds a part and does not know it.
fn write_notes(logs: &[Log], resolutions: &[Resolution], promises: bool) -> Result<(), Error> {
    let mut written = BTreeSet::new();
    for Resolution { id, outcome, write_to } in resolutions {
        let body = Note { id: *id, outcome: *outcome }.encode();
        for partition in write_to {
            let Some(log) = logs.get(*partition) else { continue };
            let ticket = log.wal.append_kind(NOTE_KIND, &body);
            let _ordered = ticket.map_err(|source| Error::of(&log.name, source))?;
            written.insert(*partition);
        }
    }
    for partition in written {
        if let Some(log) = logs.get(partition).filter(|_| promises) {
            log.wal.sync().map_err(|source| Error::of(&log.name, source))?;
        }
    }
    Ok(())
}

/// Does `work` on each item, up to `threads` at the same time; gives the results in order.
fn in_threads<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(usize, T) -> R + Sync,
) -> Vec<R> {
    if threads <= 1 || items.len() <= 1 {
        return items.into_iter().enumerate().map(|(index, item)| work(index, item)).collect();
    }
    let count = items.len().min(threads);
    let queue = Mutex::new(items.into_iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                loop {
                    let Some((index, item)) = queue.lock().next() else { return };
                    let result = work(index, item);
                    done.lock().insert(index, result);
                }
            });
        }
    });
    done.into_inner().into_values().collect()
}
