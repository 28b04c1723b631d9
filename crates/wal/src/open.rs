//! Opening: lock, examine, judge, resume, replay, start committing.
//!
//! The order of the steps is `docs/design/0001-seams-between-crates.md`, section "Opening".

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wal_commit::{GroupCommit, Start, Timestamps};
use wal_format::body::Opened;
use wal_format::{Lsn, LsnRange, RecordDraft, RecordKind};
use wal_io::{IoError, IoOp, Placement, SegmentStore, Storage, StorageLock, Survey};
use wal_recovery::aries::TxnLog;
use wal_recovery::{
    Depth, LogSource, Progress, RecoveryLog, RecoveryReport, RecoveryStrategy, RedoOnly,
    ReplayRecord,
};

use crate::active::ActiveWork;
use crate::error::{Error, Refusal};
use crate::figures;
use crate::log::{Shared, Wal};
use crate::options::Options;
use crate::place;
use crate::published::Publisher;
use crate::since::Since;
use crate::txn_log::RunningLog;

impl Wal {
    /// Opens the log in the directory `path`, creating it if there is none, and hands every
    /// record which committed since the last checkpoint to `replay`, in order.
    ///
    /// An engine that restores checkpoints implements [`RedoTarget`](crate::RedoTarget) and opens
    /// through [`Options::recover_with`].
    ///
    /// # Durability
    ///
    /// What is replayed is durable: records that no evidence showed to be on the device were
    /// written again and synced first (rule 1).
    ///
    /// # Errors
    ///
    /// Nothing that was durable is lost by any of them; call again once the cause is gone.
    ///
    /// - [`Locked`](crate::ErrorKind::Locked), [`NotALog`](crate::ErrorKind::NotALog),
    ///   [`Foreign`](crate::ErrorKind::Foreign),
    ///   [`UnsupportedVersion`](crate::ErrorKind::UnsupportedVersion).
    /// - [`Damaged`](crate::ErrorKind::Damaged): something that was durable is damaged or missing;
    ///   nothing was changed.
    /// - [`Replay`](crate::ErrorKind::Replay): `replay` failed or panicked.
    /// - [`NoSpace`](crate::ErrorKind::NoSpace), [`Io`](crate::ErrorKind::Io).
    pub fn open<F, E>(
        path: impl AsRef<Path>,
        options: Options,
        mut replay: F,
    ) -> Result<Self, Error>
    where
        F: FnMut(&ReplayRecord<'_>) -> Result<(), E>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        options.recover_with(RedoOnly::default()).open(path, &mut replay)
    }

    /// As [`open`](Self::open), in any [`Storage`].
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_in<F, E>(
        storage: Arc<dyn Storage>,
        options: Options,
        mut replay: F,
    ) -> Result<Self, Error>
    where
        F: FnMut(&ReplayRecord<'_>) -> Result<(), E>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        options.recover_with(RedoOnly::default()).open_in(storage, &mut replay)
    }

    /// The default options.
    #[must_use]
    pub fn options() -> Options {
        Options::default()
    }
}

impl Options {
    /// The strategy which brings the engine back to where the log ends.
    #[must_use]
    pub fn recover_with<S>(self, strategy: S) -> Opener<S> {
        Opener { options: self, strategy, progress: Box::new(()) }
    }
}

/// Options together with a recovery strategy: ready to open.
pub struct Opener<S> {
    pub(crate) options: Options,
    pub(crate) strategy: S,
    progress: Box<dyn Progress>,
}

impl<S> std::fmt::Debug for Opener<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<S> Opener<S> {
    /// Who is told how far scanning, rewriting and replay have come.
    #[must_use]
    pub fn progress(self, progress: impl Progress + 'static) -> Self {
        Self { progress: Box::new(progress), ..self }
    }

    /// Opens the log in the directory `path` and recovers `engine` from it.
    ///
    /// # Errors
    ///
    /// As [`Wal::open`].
    pub fn open<E: ?Sized>(self, path: impl AsRef<Path>, engine: &mut E) -> Result<Wal, Error>
    where
        S: RecoveryStrategy<E>,
    {
        self.options.check()?;
        let storage = place::writable(path.as_ref(), &self.options)?;
        self.open_in(storage, engine)
    }

    /// As [`open`](Self::open), in any [`Storage`].
    ///
    /// # Errors
    ///
    /// As [`Wal::open`].
    pub fn open_in<E: ?Sized>(
        mut self,
        storage: Arc<dyn Storage>,
        engine: &mut E,
    ) -> Result<Wal, Error>
    where
        S: RecoveryStrategy<E>,
    {
        self.run(storage, engine).map(|(wal, _)| wal)
    }

    /// All steps of an opening; gives the log, and how its transactions see it.
    pub(crate) fn run<E: ?Sized>(
        &mut self,
        storage: Arc<dyn Storage>,
        engine: &mut E,
    ) -> Result<(Wal, Arc<dyn TxnLog>), Error>
    where
        S: RecoveryStrategy<E>,
    {
        let _span = tracing::info_span!("wal_open", place = %storage.place()).entered();
        let began = Instant::now();
        let Self { options, strategy, progress } = self;
        options.check()?;
        if strategy.undoes() && !options.sync_method.can_promise() {
            // Pages must not be written before their log is durable, which would be never.
            return Err(Refusal::NotPromised.into());
        }
        if strategy.undoes() && options.timestamps.is_some() {
            // What its rollbacks were promised does not count marks between their records.
            return Err(Refusal::NoTimestamps.into());
        }
        let lock = lock(storage.as_ref(), options.lock_wait)?;
        let survey = Survey::read(storage.as_ref())?;
        let OpenedStore { store, placement, mut recovery } = if survey.is_empty() {
            create(storage, lock, options, strategy, engine, &mut **progress)?
        } else {
            reopen(storage, lock, options, strategy, engine, &mut **progress)?
        };
        let told_us = recovery.times.unix_us().unwrap_or(0);
        let wal = start(store, placement, options.clone(), strategy.undoes(), told_us)?;
        let log: Arc<dyn TxnLog> = Arc::new(RunningLog::new(wal.clone()));
        strategy.finish(&log, engine, &mut recovery, &mut **progress)?;
        wal.shared().recovery.get_or_init(|| recovery);
        // Last: a hold that refuses appends must not refuse an opening.
        wal.note_persistent_holds()?;
        if let Some(interval) = options.publish_stats {
            let publisher = Publisher::start(
                Arc::clone(wal.shared().store.storage()),
                interval,
                figures::of(&wal),
            )?;
            wal.shared().publisher.get_or_init(|| publisher);
        }
        let (end, read) = (wal.positions().reserved, wal.recovery().records_scanned);
        tracing::info!(log_id = %wal.log_id(), epoch = %wal.epoch(), %end, records = read,
            elapsed_us = began.elapsed().as_micros() as u64, "log open");
        Ok((wal, log))
    }
}

struct OpenedStore {
    store: Arc<SegmentStore>,
    placement: Placement,
    recovery: RecoveryReport,
}

/// Time between two tries to get the lock.
const LOCK_RETRY: Duration = Duration::from_millis(5);

fn lock(storage: &dyn Storage, wait: Duration) -> Result<Box<dyn StorageLock>, Error> {
    let started = Instant::now();
    loop {
        let source = match storage.lock() {
            Ok(lock) => return Ok(lock),
            Err(source) => source,
        };
        let place = storage.place();
        if source.kind() != std::io::ErrorKind::WouldBlock {
            return Err(IoError::failed(IoOp::Lock, place, source).into());
        }
        if started.elapsed() >= wait {
            return Err(IoError::Locked { place }.into());
        }
        std::thread::sleep(LOCK_RETRY);
    }
}

fn create<S, E>(
    storage: Arc<dyn Storage>,
    lock: Box<dyn StorageLock>,
    options: &Options,
    strategy: &mut S,
    engine: &mut E,
    progress: &mut dyn Progress,
) -> Result<OpenedStore, Error>
where
    S: RecoveryStrategy<E>,
    E: ?Sized,
{
    if !options.create {
        return Err(Refusal::NoLog { place: storage.place() }.into());
    }
    let store = SegmentStore::create_bare(storage, lock, options.for_store())?;
    let placement = store.place_first()?;
    let mut recovery = RecoveryReport::default();
    if strategy.undoes() {
        // What it finds here, nothing, is what it finishes with.
        let source = LogSource::new(Arc::clone(store.storage()), store.links(), store.log_id());
        let log = RecoveryLog::new(&source, LsnRange::new(placement.end, placement.end));
        recovery = strategy.recover(&log, engine, progress)?;
    }
    Ok(OpenedStore { store, placement, recovery })
}

fn reopen<S, E>(
    storage: Arc<dyn Storage>,
    lock: Box<dyn StorageLock>,
    options: &Options,
    strategy: &mut S,
    engine: &mut E,
    progress: &mut dyn Progress,
) -> Result<OpenedStore, Error>
where
    S: RecoveryStrategy<E>,
    E: ?Sized,
{
    let threads = options.scan_threads();
    let examined = wal_recovery::examine_on(&storage, Depth::FromCheckpoint, threads, progress)?;
    tracing::info!(place = %storage.place(), verdict = %examined.verdict, end = %examined.end, "log examined");
    let resumed = wal_recovery::resume(storage, lock, options.for_store(), &examined)?;
    let range = LsnRange::new(resumed.source.range().start, resumed.end);
    // Oldest first. With both slots lost only the one that was found by scanning is known.
    let checkpoints = resumed.store.checkpoints();
    let source = resumed.source.with_scan_threads(threads);
    let log = RecoveryLog::new(&source, range)
        .with_checkpoint(examined.checkpoint)
        .with_checkpoints(&checkpoints)
        .with_verdict(&examined.verdict);
    let recovery = strategy.recover(&log, engine, progress)?;
    Ok(OpenedStore { store: resumed.store, placement: resumed.placement, recovery })
}

fn start(
    store: Arc<SegmentStore>,
    placement: Placement,
    options: Options,
    pages_only: bool,
    told_us: u64,
) -> Result<Wal, Error> {
    let start = Start {
        end: placement.end,
        durable: placement.end,
        active_end: placement.active_end,
        ready_end: placement.ready_end,
        seed: store.seed(),
    };
    let preparer: Arc<SegmentStore> = Arc::clone(&store);
    let now_us = store.storage().unix_us();
    let opened_unix_us = if options.timestamps.is_some() { now_us.max(told_us) } else { now_us };
    let timestamps = options.timestamps.map(|resolution| {
        let storage = Arc::clone(store.storage());
        Timestamps::new(resolution, opened_unix_us, move || storage.unix_us())
    });
    let sinks = (0..options.flushes_in_flight).map(|_| store.appender());
    let sinks = sinks.collect::<Result<Vec<_>, _>>()?;
    let config = options.for_commit();
    let commit = GroupCommit::start_with_timestamps(config, start, sinks, preparer, timestamps)?;
    let wal = Wal::new(Shared {
        commit,
        store,
        active: Mutex::new(ActiveWork::new(options.segment_bytes)),
        truncation: Mutex::default(),
        completion: Mutex::default(),
        opened_at: placement.end,
        pages_only,
        holds: Default::default(),
        options,
        publisher: OnceLock::new(),
        since: Mutex::new(Since::new(placement.end)),
        recovery: OnceLock::new(),
    });
    append_opened(&wal, placement.end, opened_unix_us)?;
    wal.shared().since.lock().records = wal.shared().commit.stats().records;
    Ok(wal)
}

/// First record of every opening (rule 7); it becomes durable with whatever follows it.
fn append_opened(wal: &Wal, previous_end: Lsn, opened_unix_us: u64) -> Result<(), Error> {
    let body = Opened { epoch: wal.epoch(), previous_end, opened_unix_us }.encode();
    let parts = [body.as_slice()];
    wal.append_any(&RecordDraft::new(RecordKind::OPENED, &parts), &mut |_| {}).map(drop)
}
