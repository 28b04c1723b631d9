//! Truncated segments that become the next ones, on the simulated disk: the power goes at every
//! operation of truncating, holding back, preparing, closing and going on, also on a full disk, and
//! at every operation of the next opening.
//!
//! No records here: bytes that tell their own address. What must hold after any cut: no problem is
//! found, what a sync covered is there, no address is used twice, and the log goes on, in what it
//! finds to be used again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use wal_format::{Lsn, Predecessor};
use wal_io::{
    ChainLink, IoError, IoOp, LogSink, Preparer, SegmentReader, SegmentStore, Storage,
    StoreOptions, Survey,
};
use wal_sim::{Call, CrashMode, Explorer, Faults, SimDisk};

const SEGMENT: u64 = 64 << 10;
const FIRST: u64 = 4096;

fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw).unwrap()
}

/// The base of the segment with this number, from 0, as long as none is skipped.
const fn base(number: u64) -> u64 {
    FIRST + number * SEGMENT
}

fn options() -> StoreOptions {
    StoreOptions::default().with_segment_bytes(SEGMENT)
}

/// The bytes of a range of addresses; never zero, and others in each segment.
fn bytes(range: Range<u64>) -> Vec<u8> {
    range.map(|at| (at / 8 % 255) as u8 + 1).collect()
}

/// What a caller was told, and what it tried.
#[derive(Clone, Debug, Default)]
struct Told {
    created: bool,
    /// Addresses that a sync covered and that no truncation may have taken.
    durable: Vec<Range<u64>>,
    /// Above every address that a write was begun at.
    tried: u64,
}

impl Told {
    fn end(&self) -> u64 {
        self.durable.last().map_or(FIRST, |range| range.end)
    }

    fn cover(&mut self, range: Range<u64>) {
        match self.durable.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.durable.push(range),
        }
    }
}

/// A log being written, and what its writer was told.
struct Writer<'a> {
    disk: SimDisk,
    store: Arc<SegmentStore>,
    sink: Box<dyn LogSink>,
    told: &'a RefCell<Told>,
}

impl<'a> Writer<'a> {
    fn of(
        disk: &SimDisk,
        store: Arc<SegmentStore>,
        told: &'a RefCell<Told>,
    ) -> Result<Self, IoError> {
        let sink = store.appender()?;
        Ok(Self { disk: disk.clone(), store, sink, told })
    }

    fn create(disk: &SimDisk, told: &'a RefCell<Told>) -> Result<Self, IoError> {
        let store = SegmentStore::create(Arc::new(disk.clone()), lock(disk)?, options())?;
        told.borrow_mut().created = true;
        Self::of(disk, store, told)
    }

    fn reopen_in_place(disk: &SimDisk, told: &'a RefCell<Told>, end: u64) -> Result<Self, IoError> {
        let store = take_over(disk)?;
        store.resume_in_place(lsn(end))?;
        store.discard_dead()?;
        Self::of(disk, store, told)
    }

    /// As after a crash; gives the address to go on at as well.
    fn reopen_after(
        disk: &SimDisk,
        told: &'a RefCell<Told>,
        end: u64,
    ) -> Result<(Self, u64), IoError> {
        let store = take_over(disk)?;
        store.note_durable(lsn(end));
        let holds = |link: &&ChainLink| link.name.base.get() < end && end <= link.cap.get();
        let links = store.links();
        let link = links.iter().find(holds).unwrap_or(&links[0]);
        let before = Predecessor { base: link.name.base, epoch: link.name.epoch, end: lsn(end) };
        let placement = store.resume_after(before, lsn(end))?;
        store.discard_dead()?;
        Ok((Self::of(disk, store, told)?, placement.end.get()))
    }

    fn write(&mut self, range: Range<u64>) -> Result<(), IoError> {
        let ready = self.store.links().last().map_or(0, |link| link.cap.get());
        let tried = self.told.borrow().tried.max(range.end.min(ready));
        self.told.borrow_mut().tried = tried;
        self.sink.write(lsn(range.start), &[IoSlice::new(&bytes(range.clone()))])?;
        self.sink.sync()?;
        self.store.note_durable(lsn(range.end));
        self.told.borrow_mut().cover(range);
        Ok(())
    }

    fn truncate_before(&self, at: u64) -> Result<usize, IoError> {
        {
            let mut told = self.told.borrow_mut();
            for range in &mut told.durable {
                range.start = range.start.max(at).min(range.end);
            }
            told.durable.retain(|range| !range.is_empty());
        }
        Ok(self.store.truncate_before(lsn(at))?.recycled)
    }

    fn prepare_next(&self) -> Result<u64, IoError> {
        let last = self.store.links().last().unwrap().cap;
        Ok(self.store.prepare(last, SEGMENT)?.get())
    }

    /// From now on there is no byte more than what is there.
    fn fill_up(&self) {
        let used = self.disk.files().iter().map(|(_, len)| *len).sum();
        self.disk.set_faults(Faults::new().space_bytes(used));
    }
}

fn lock(disk: &SimDisk) -> Result<Box<dyn wal_io::StorageLock>, IoError> {
    disk.lock().map_err(|error| IoError::failed(IoOp::Lock, "lock", error))
}

fn take_over(disk: &SimDisk) -> Result<Arc<SegmentStore>, IoError> {
    let lock = lock(disk)?;
    let survey = Survey::read(disk)?;
    assert_eq!(survey.problems, []);
    SegmentStore::reopen(Arc::new(disk.clone()), lock, options(), &survey)
}

fn told_by(script: impl FnOnce(&RefCell<Told>) -> Result<(), IoError>) -> Told {
    let told = RefCell::new(Told::default());
    let _ = script(&told);
    told.into_inner()
}

/// Two segments are truncated, written over, closed in, and gone on in; then truncated again.
fn a_life(disk: &SimDisk, told: &RefCell<Told>) -> Result<(), IoError> {
    let mut log = Writer::create(disk, told)?;
    log.prepare_next()?;
    log.write(FIRST..base(2) + 64)?;
    assert_eq!(log.truncate_before(base(2))?, 2);
    log.prepare_next()?;
    log.prepare_next()?;
    log.write(base(2) + 64..base(4) + 640)?;
    assert_eq!(log.truncate_before(base(3))?, 1);
    // In the middle of what the file held before.
    let end = base(4) + 640;
    log.store.mark_clean(lsn(end))?;
    drop(log);
    let mut log = Writer::reopen_in_place(disk, told, end)?;
    log.prepare_next()?;
    log.write(end..base(5) + 8)?;
    log.truncate_before(base(5))?;
    drop(log);
    let (mut log, at) = Writer::reopen_after(disk, told, base(5) + 8)?;
    log.write(at..at + 512)
}

/// The same on a full disk: truncated segments become space that is held back, and that becomes
/// segments, in this opening and in the next.
fn a_full_life(disk: &SimDisk, told: &RefCell<Told>) -> Result<(), IoError> {
    let mut log = Writer::create(disk, told)?;
    log.prepare_next()?;
    log.write(FIRST..base(2) + 64)?;
    log.store.hold_back(1)?;
    assert_eq!(log.truncate_before(base(2))?, 2);
    log.fill_up();
    assert_eq!(log.store.hold_back(3)?, 3);
    log.prepare_next()?;
    log.write(base(2) + 64..base(3) + 640)?;
    log.store.mark_clean(lsn(base(3) + 640))?;
    drop(log);
    let mut log = Writer::reopen_in_place(disk, told, base(3) + 640)?;
    log.prepare_next()?;
    log.write(base(3) + 640..base(4) + 640)?;
    assert_eq!(log.truncate_before(base(4))?, 2);
    log.prepare_next()?;
    log.write(base(4) + 640..base(5) + 640)
}

/// What must hold before anything is written.
fn look(disk: &SimDisk, told: &Told) -> Result<Survey, String> {
    let survey = Survey::read(disk).map_err(|error| error.to_string())?;
    if let Some(problem) = survey.problems.first() {
        return Err(format!("a crash is taken for damage: {problem}"));
    }
    if survey.is_empty() {
        return if told.created { Err("the log is gone".to_owned()) } else { Ok(survey) };
    }
    for range in &told.durable {
        if read(disk, &survey.links, range)? != bytes(range.clone()) {
            return Err(format!("{range:?} was durable and does not read back"));
        }
    }
    if survey.address_end.get() < told.tried {
        return Err(format!("r08: {} is below {}", survey.address_end, told.tried));
    }
    Ok(survey)
}

fn read(disk: &SimDisk, links: &[ChainLink], range: &Range<u64>) -> Result<Vec<u8>, String> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let Some(link) = links.iter().find(|link| link.range().contains(lsn(at))) else {
            return Err(format!("{at} is in no segment, {range:?} was durable"));
        };
        let mut buf = vec![0; (link.cap.get().min(range.end) - at) as usize];
        let reader = SegmentReader::open(disk, link).map_err(|error| error.to_string())?;
        let count = reader.read_at(lsn(at), &mut buf).map_err(|error| error.to_string())?;
        found.extend_from_slice(&buf[..count]);
        if count < buf.len() {
            break;
        }
        at += count as u64;
    }
    Ok(found)
}

/// What must hold on whatever a crash left; then the log goes on, in all that is to be used again.
fn check(disk: &SimDisk, told: &Told) -> Result<Told, String> {
    let survey = look(disk, told)?;
    if survey.is_empty() {
        return Ok(told.clone());
    }
    let again = RefCell::new(told.clone());
    go_on(disk, &again).map_err(|error| error.to_string())?;
    let again = again.into_inner();
    look(disk, &again).map(|_| again)
}

fn go_on(disk: &SimDisk, told: &RefCell<Told>) -> Result<(), IoError> {
    let (end, tried) = (told.borrow().end(), told.borrow().tried);
    let (mut log, at) = Writer::reopen_after(disk, told, end)?;
    assert!(at >= tried, "r08: {at} is used again, {tried} was tried");
    // Whatever the disk has, or what there is to be used again: what is held back last.
    let mut ready = at + SEGMENT;
    for _ in 0..3 {
        match log.prepare_next() {
            Ok(end) => ready = end,
            Err(error) if error.is_no_space() => break,
            Err(error) => return Err(error),
        }
    }
    let ready = ready.min(log.store.links().last().map_or(0, |link| link.cap.get()));
    log.write(at..ready)
}

fn explore(
    seed: u64,
    life: fn(&SimDisk, &RefCell<Told>) -> Result<(), IoError>,
    explorer: impl FnOnce(Explorer) -> Explorer,
) {
    let workload = |disk: &SimDisk| told_by(|told| life(disk, told));
    let covered = explorer(Explorer::new(seed).torn())
        .run(workload, |disk, told| check(&disk, told).map(drop))
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(!covered.cut_short && covered.ops > 60, "{covered:?}");
}

#[test]
fn the_scripts_run_to_their_ends_when_nothing_goes_wrong() {
    for life in [a_life, a_full_life] {
        let disk = SimDisk::new();
        let told = RefCell::new(Told::default());
        life(&disk, &told).unwrap();
        check(&disk, &told.into_inner()).unwrap();
    }
}

#[test]
fn no_crash_of_a_log_that_uses_its_files_again_is_taken_for_damage_or_loses_anything() {
    explore(11, a_life, |explorer| explorer.states_per_cut(4));
}

#[test]
fn no_crash_on_a_full_disk_that_holds_truncated_segments_back_loses_anything() {
    explore(12, a_full_life, |explorer| explorer.states_per_cut(4));
}

#[test]
fn the_next_opening_may_be_killed_or_lose_power_anywhere_as_well() {
    for (seed, life) in [(13, a_life as fn(&_, &_) -> _), (14, a_full_life)] {
        explore(seed, life, |explorer| {
            explorer.kills().depth(2).states_per_cut(2).cuts_max(12).recovery_cuts_max(12)
        });
    }
}

/// A call fails once; another process goes on in the same boot, trusting no cache; then the power
/// goes.
fn fail_once(
    life: fn(&SimDisk, &RefCell<Told>) -> Result<(), IoError>,
    call: Call,
    nth: u64,
) -> Option<()> {
    let disk = SimDisk::new();
    disk.set_faults(Faults::new().fail(call, nth));
    let told = told_by(|told| life(&disk, told));
    let fired = disk.faults_fired().values().sum::<u64>() > 0;
    disk.set_faults(Faults::new());
    let case = format!("{call:?} number {nth}");
    let again = check(&disk, &told).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
    let random = (0..3).map(CrashMode::Random);
    for mode in [CrashMode::LoseAll, CrashMode::KeepAll].into_iter().chain(random) {
        check(&disk.crash(mode), &again).unwrap_or_else(|w| panic!("{case}, {mode:?}: {w}"));
    }
    fired.then_some(())
}

#[test]
fn no_call_that_fails_once_loses_anything_to_a_restart_and_a_power_cut() {
    for call in [Call::Sync, Call::SyncDir, Call::Write, Call::Create, Call::Rename] {
        let failed = (1..).take_while(|nth| fail_once(a_life, call, *nth).is_some()).count();
        assert!(failed > 2, "{call:?}: only {failed}");
    }
}
