//! Holds that outlive their process: placed by others, seen by every truncation, durable, and
//! never granted on what is being removed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{body, open, reopen, small};
use wal::{
    Access, Error, ErrorKind, FileEntry, HoldFault, HoldLimit, LogFile, LogView, Lsn,
    MemoryStorage, Obligation, OverLimit, PersistentHold, Storage, StorageLock, Wal,
    drop_persistent_hold_in, persistent_holds_in,
};
use wal_sim::SimDisk;

/// A log of several segments, and the address of the first record of its second one.
fn long_log(storage: &Arc<dyn Storage>) -> (Wal, Lsn) {
    let (wal, _) = open(storage, small()).unwrap();
    fill(&wal, 200);
    (wal, Lsn::new(70_000 / 8 * 8).unwrap())
}

fn fill(wal: &Wal, records: usize) {
    for number in 0..records {
        let _ordered = wal.append(&[body(number), vec![b'.'; 1000]].concat()).unwrap();
    }
    wal.sync().unwrap();
}

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

fn place(storage: &Arc<dyn Storage>, name: &str, from: Option<Lsn>) -> PersistentHold {
    PersistentHold::place_in(Arc::clone(storage), name, from, None).unwrap()
}

fn limit(bytes: u64, over: OverLimit) -> Option<HoldLimit> {
    Some(HoldLimit { bytes, over })
}

#[test]
fn a_hold_of_another_process_keeps_what_the_writer_would_remove() {
    let storage = memory();
    let (wal, middle) = long_log(&storage);
    let hold = place(&storage, "copy", None);
    let done = wal.truncate_before(wal.positions().durable).unwrap();
    assert_eq!((done.segments, done.held_by), (0, Some(Obligation::Hold)));
    assert_eq!(done.limit, wal.head());
    hold.advance(middle).unwrap();
    let done = wal.truncate_before(wal.positions().durable).unwrap();
    assert_eq!((done.segments, done.limit), (1, middle));
    hold.release().unwrap();
    let done = wal.truncate_before(wal.positions().durable).unwrap();
    assert!(done.segments > 0 && done.held_by.is_none(), "{done:?}");
}

#[test]
fn a_hold_outlives_its_process_and_is_taken_over_by_its_name() {
    let storage = memory();
    let (wal, middle) = long_log(&storage);
    drop(wal.hold_persistent("queue", middle, None).unwrap());
    wal.close().unwrap();
    drop(wal);
    let (wal, _) = reopen(&storage);
    let done = wal.truncate_before(wal.positions().durable).unwrap();
    assert_eq!((done.limit, done.held_by), (middle, Some(Obligation::Hold)));
    let hold = wal.persistent_hold("queue").unwrap().unwrap();
    assert_eq!(hold.lsn().unwrap(), Some(middle));
    hold.advance(wal.positions().durable).unwrap();
    hold.advance(middle).unwrap();
    assert_eq!(hold.lsn().unwrap(), Some(wal.positions().durable), "never backwards");
    assert!(wal.truncate_before(wal.positions().durable).unwrap().held_by.is_none());
    assert!(wal.persistent_hold("other").unwrap().is_none());
}

#[test]
fn holds_are_listed_with_what_people_ask_for() {
    let storage = memory();
    let (wal, middle) = long_log(&storage);
    let _hold = PersistentHold::place_in(
        Arc::clone(&storage),
        "replica",
        Some(middle),
        limit(1 << 20, OverLimit::Warn),
    )
    .unwrap();
    let listed = persistent_holds_in(storage.as_ref()).unwrap();
    assert_eq!(wal.persistent_holds().unwrap(), listed);
    assert_eq!(listed.len(), 1);
    let hold = &listed[0];
    assert_eq!((hold.name.as_str(), hold.lsn, hold.fault), ("replica", Some(middle), None));
    assert_eq!(hold.limit, limit(1 << 20, OverLimit::Warn));
    assert_eq!(hold.owner, Some(std::process::id()));
    assert!(hold.placed_unix_us > 0 && hold.moved_unix_us == hold.placed_unix_us);
}

#[test]
fn what_is_gone_cannot_be_held_and_a_name_only_once() {
    let storage = memory();
    let (wal, middle) = long_log(&storage);
    wal.truncate_before(middle).unwrap();
    let kind = |result: Result<PersistentHold, Error>| result.unwrap_err().kind();
    let outside = |name, from| PersistentHold::place_in(Arc::clone(&storage), name, from, None);
    assert_eq!(kind(outside("late", Some(Lsn::FIRST))), ErrorKind::Truncated);
    assert_eq!(kind(wal.hold_persistent("late", Lsn::FIRST, None)), ErrorKind::Truncated);
    let _hold = outside("one", None).unwrap();
    assert_eq!(kind(outside("one", None)), ErrorKind::Refused);
    assert_eq!(kind(wal.hold_persistent("one", wal.head(), None)), ErrorKind::Refused);
    assert_eq!(kind(outside("../one", None)), ErrorKind::Refused);
    assert_eq!(kind(PersistentHold::place_in(memory(), "one", None, None)), ErrorKind::NotALog);
    assert_eq!(persistent_holds_in(storage.as_ref()).unwrap().len(), 1);
}

#[test]
fn a_hold_whose_file_is_damaged_keeps_everything_until_it_is_dropped_by_name() {
    let storage = memory();
    let (wal, middle) = long_log(&storage);
    let hold = place(&storage, "decayed", Some(middle));
    let file = storage.open("decayed.hold", Access::Write).unwrap();
    file.write_at(&[io::IoSlice::new(&[0xff])], 40).unwrap();
    let done = wal.truncate_before(wal.positions().durable).unwrap();
    assert_eq!((done.segments, done.held_by), (0, Some(Obligation::Hold)));
    let listed = persistent_holds_in(storage.as_ref()).unwrap();
    assert!(matches!(listed[0].fault, Some(HoldFault::Damaged(_))) && listed[0].lsn.is_none());
    assert_eq!(hold.advance(wal.positions().durable).unwrap_err().kind(), ErrorKind::Refused);
    assert!(drop_persistent_hold_in(storage.as_ref(), "decayed").unwrap().is_some());
    assert!(drop_persistent_hold_in(storage.as_ref(), "decayed").unwrap().is_none());
    assert!(drop_persistent_hold_in(storage.as_ref(), "../control").unwrap().is_none());
    assert!(wal.truncate_before(wal.positions().durable).unwrap().segments > 0);
}

#[test]
fn a_hold_over_its_limit_is_dropped_if_it_says_so_and_its_owner_is_told() {
    let storage = memory();
    let (wal, middle) = long_log(&storage);
    let over = |over| limit(1000, over);
    let hold = |name, how| {
        PersistentHold::place_in(Arc::clone(&storage), name, Some(middle), over(how)).unwrap()
    };
    let (dropped, warned) = (hold("dropped", OverLimit::DropHold), hold("warned", OverLimit::Warn));
    let done = wal.truncate_before(wal.positions().durable).unwrap();
    assert_eq!((done.limit, done.held_by), (middle, Some(Obligation::Hold)));
    assert_eq!((dropped.lsn().unwrap(), warned.lsn().unwrap()), (None, Some(middle)));
    assert_eq!(dropped.advance(done.limit).unwrap_err().kind(), ErrorKind::Truncated);
    // A later hold of the name is not the first one's to move or to release.
    let later = place(&storage, "dropped", None);
    assert_eq!(dropped.lsn().unwrap(), None);
    dropped.release().unwrap();
    assert_eq!(later.lsn().unwrap(), Some(wal.head()));
}

#[test]
fn a_hold_over_its_limit_refuses_appends_until_its_owner_moves_it() {
    let storage = memory();
    let (wal, middle) = long_log(&storage);
    let refusing = limit(1000, OverLimit::RefuseAppends);
    let hold =
        PersistentHold::place_in(Arc::clone(&storage), "slow", Some(middle), refusing).unwrap();
    let _ordered = wal.append(b"nobody has looked yet").unwrap();
    wal.truncate_before(wal.positions().durable).unwrap();
    assert_eq!(wal.append(b"too much is kept").unwrap_err().kind(), ErrorKind::Refused);
    drop(wal);
    let (wal, _) = reopen(&storage);
    assert_eq!(wal.append(b"known from the start").unwrap_err().kind(), ErrorKind::Refused);
    hold.advance(wal.positions().reserved).unwrap();
    let _ordered = wal.append(b"noticed at once").unwrap();
}

/// Says of each change that truncations and holds make whether the lock on holds was taken.
#[derive(Debug)]
struct Watched {
    inner: MemoryStorage,
    /// Whether to look: other changes need no lock.
    looking: AtomicBool,
    changes: AtomicU64,
    without_lock: AtomicU64,
}

impl Watched {
    fn look(&self) {
        if self.looking.load(Ordering::Relaxed) {
            self.changes.fetch_add(1, Ordering::Relaxed);
            if self.inner.lock_holds().is_ok() {
                self.without_lock.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Storage for Watched {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.look();
        self.inner.list()
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        self.look();
        self.inner.create(name, len)
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        self.inner.open(name, access)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.look();
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.look();
        self.inner.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.look();
        self.inner.sync_dir()
    }
    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        self.inner.lock()
    }
    fn lock_holds(&self) -> io::Result<Box<dyn StorageLock>> {
        self.inner.lock_holds()
    }
    fn place(&self) -> String {
        self.inner.place()
    }
}

#[test]
fn truncations_and_changes_of_holds_exclude_each_other_from_the_first_look_to_the_last_change() {
    let watched = Arc::new(Watched {
        inner: MemoryStorage::new(),
        looking: AtomicBool::new(false),
        changes: AtomicU64::new(0),
        without_lock: AtomicU64::new(0),
    });
    let storage: Arc<dyn Storage> = Arc::<Watched>::clone(&watched);
    let (wal, middle) = long_log(&storage);
    watched.looking.store(true, Ordering::Relaxed);
    let counts = |what: &str, run: &mut dyn FnMut()| {
        watched.changes.store(0, Ordering::Relaxed);
        run();
        assert!(watched.changes.load(Ordering::Relaxed) > 0, "{what} changes nothing");
        assert_eq!(watched.without_lock.load(Ordering::Relaxed), 0, "{what}");
    };
    let mut held = None;
    counts("placing", &mut || held = Some(place(&storage, "one", None)));
    counts("advancing", &mut || held.as_ref().unwrap().advance(middle).unwrap());
    counts("truncating", &mut || {
        assert_eq!(wal.truncate_before(wal.positions().durable).unwrap().segments, 1);
    });
    counts("releasing", &mut || held.take().unwrap().release().unwrap());
    counts("placing from within", &mut || drop(wal.hold_persistent("two", wal.head(), None)));
    counts("dropping", &mut || drop(drop_persistent_hold_in(storage.as_ref(), "two").unwrap()));
    // The detector fires.
    storage.sync_dir().unwrap();
    assert_eq!(watched.without_lock.load(Ordering::Relaxed), 1);
}

/// Whoever waits for the lock of holds gives up after some seconds, which one truncation may take
/// on a slow disk. Nothing has changed then, and a caller calls again.
fn patiently<T>(mut call: impl FnMut() -> Result<T, Error>) -> T {
    loop {
        match call() {
            Err(busy) if is_a_taken_lock(&busy) => {}
            result => return result.unwrap(),
        }
    }
}

fn is_a_taken_lock(error: &Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |by| by.source());
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| {
        cause.kind() == io::ErrorKind::WouldBlock // what `Storage::lock_holds` promises
    })
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_hold_is_ever_granted_on_what_a_running_writer_removes() {
    let dir = tempfile::tempdir().unwrap();
    let storage = || -> Arc<dyn Storage> { Arc::new(wal::FileStorage::open(dir.path()).unwrap()) };
    let (wal, _) = open(&storage(), small()).unwrap();
    let (stop, begun, ended) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fill(&wal, 70);
                begun.fetch_add(1, Ordering::Relaxed);
                patiently(|| wal.truncate_before(wal.positions().durable));
                ended.fetch_add(1, Ordering::Relaxed);
            }
        });
        let wait_for = |counter: &AtomicU64, more: u64| {
            let enough = counter.load(Ordering::Relaxed) + more;
            while counter.load(Ordering::Relaxed) < enough && !writer.is_finished() {
                std::thread::yield_now();
            }
        };
        // Also when an assertion below fails: else the writer would run for ever.
        let _ends = Ends(&stop);
        for number in 0..20 {
            // A storage of its own, as another process has.
            let name = format!("hold-{}", number % 3);
            let hold = patiently(|| PersistentHold::place_in(storage(), &name, None, None));
            let lsn = hold.lsn().unwrap().unwrap();
            for _ in 0..3 {
                let view = LogView::open_in(storage()).unwrap();
                assert!(view.head() <= lsn, "{} was removed under a hold at {lsn}", view.head());
            }
            if let Err(busy) = hold.release() {
                assert!(is_a_taken_lock(&busy), "{busy}");
                patiently(|| drop_persistent_hold_in(storage().as_ref(), &name));
            }
            if number % 2 == 0 {
                // The second one that ends has begun without a hold, and removes what it kept.
                wait_for(&ended, 2);
                assert!(wal.head() > lsn, "nothing was truncated beyond {lsn}");
            }
            // The next hold is placed while the writer truncates.
            wait_for(&begun, 1);
        }
    });
}

/// What the owner of a hold knows: where it certainly stands, and where it may.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Acknowledged and not about to be released.
    placed: bool,
    may_be_there: bool,
    at_least: Option<Lsn>,
    may_be_at: Vec<Lsn>,
}

fn live(disk: &SimDisk, known: &mut Known) -> Result<(), Error> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let (wal, _) = open(&storage, small())?;
    let append = |records: usize| -> Result<(), Error> {
        for _ in 0..records {
            let _ordered = wal.append(&[7; 8000])?;
        }
        wal.sync().map(drop)
    };
    append(12)?;
    let lsn = wal.head();
    known.may_be_there = true;
    known.may_be_at = vec![lsn];
    let hold = PersistentHold::place_in(Arc::clone(&storage), "replica", Some(lsn), None)?;
    (known.placed, known.at_least) = (true, Some(lsn));
    wal.truncate_before(wal.positions().durable)?;
    let middle = Lsn::new(70_000).unwrap();
    known.may_be_at.push(middle);
    hold.advance(middle)?;
    known.at_least = Some(middle);
    wal.truncate_before(wal.positions().durable)?;
    append(12)?;
    known.placed = false;
    hold.release()?;
    known.may_be_there = false;
    wal.truncate_before(wal.positions().durable)?;
    Ok(())
}

fn check(disk: &SimDisk, known: &Known, case: &str) {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let head = match LogView::open_in(Arc::clone(&storage)) {
        Ok(view) => view.head(),
        Err(error) if !known.placed && error.kind() == ErrorKind::NotALog => return,
        Err(error) => panic!("{case}: {error}"),
    };
    let (wal, _) = open(&storage, small()).unwrap_or_else(|error| panic!("{case}: {error}"));
    let holds = wal.persistent_holds().unwrap();
    assert!(holds.iter().all(|hold| hold.fault.is_none()), "{case}: {holds:?}");
    assert!(!known.placed || holds.len() == 1, "{case}: {known:?}, but {holds:?}");
    assert!(known.may_be_there || holds.is_empty(), "{case}: {known:?}, but {holds:?}");
    if let Some(lsn) = holds.first().and_then(|hold| hold.lsn) {
        assert!(known.may_be_at.contains(&lsn), "{case}: {lsn}");
        assert!(known.at_least.is_none_or(|at_least| lsn >= at_least), "{case}: went back");
        assert!(head <= lsn, "{case}: {head} is the head, {lsn} is held");
        wal.truncate_before(wal.positions().durable).unwrap();
        assert!(wal.head() <= lsn, "{case}: truncated past {lsn}");
    }
    assert!(storage.list().unwrap().iter().all(|entry| !entry.name.ends_with(".tmp")), "{case}");
}

#[test]
fn wherever_the_power_goes_a_hold_that_was_granted_is_there_and_nothing_it_keeps_is_gone() {
    let disk = SimDisk::new();
    live(&disk, &mut Known::default()).unwrap();
    let (ops, mut held) = (disk.ops(), 0);
    for op in 1..=ops {
        let disk = SimDisk::new();
        disk.power_cut_at(op);
        let mut known = Known::default();
        let cut = live(&disk, &mut known);
        assert!(disk.is_off(), "the power cut did not come: {cut:?}");
        held += u64::from(known.placed);
        for (number, state) in disk.crash_states(6, op).torn().enumerate() {
            check(&state, &known, &format!("cut during operation {op} of {ops}, state {number}"));
        }
    }
    assert!(held > 10, "only {held} cuts came while there was a hold");
}
