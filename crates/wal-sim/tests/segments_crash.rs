//! The segments of a log on the simulated disk: the power goes at every operation of creating,
//! extending, truncating, reopening and closing, and at every operation of the next opening.
//!
//! No records here: bytes that tell their own address. What must hold after any cut: the survey
//! reports no problem; what a sync covered is there; no address and no epoch is used twice; a
//! clean mark never outlives a write; and the log can be taken over and written again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use wal_format::{CheckpointPointer, Epoch, Lsn, Predecessor, SegmentFlags};
use wal_io::{
    ChainLink, IoError, LogSink, Preparer, SegmentReader, SegmentStore, Storage, StoreOptions,
    Survey,
};
use wal_sim::{Call, CrashMode, Explorer, Faults, SimDisk};

const SEGMENT: u64 = 64 << 10;
const FIRST: u64 = 4096;

fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw).unwrap()
}

fn options() -> StoreOptions {
    StoreOptions::default().with_segment_bytes(SEGMENT)
}

/// The bytes of a range of addresses; never zero.
fn bytes(range: Range<u64>) -> Vec<u8> {
    range.map(|at| (at / 8 % 255) as u8 + 1).collect()
}

/// What a caller was told, and what it tried.
#[derive(Clone, Debug, Default)]
struct Told {
    created: bool,
    /// Addresses that a sync, or a finished run, covered and that no truncation may have taken.
    durable: Vec<Range<u64>>,
    /// Above every address that a write was begun at.
    tried: u64,
    /// The highest epoch that a write was begun under.
    epoch: u64,
    /// The mark that may be there: not yet overtaken by a reopening.
    mark: Option<u64>,
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

    fn release_before(&mut self, at: u64) {
        for range in &mut self.durable {
            range.start = range.start.max(at).min(range.end);
        }
        self.durable.retain(|range| !range.is_empty());
    }
}

/// A log being written, and what its writer was told.
struct Writer<'a> {
    store: Arc<SegmentStore>,
    sink: Box<dyn LogSink>,
    told: &'a RefCell<Told>,
}

impl<'a> Writer<'a> {
    fn create(disk: &SimDisk, told: &'a RefCell<Told>) -> Result<Self, IoError> {
        let store = SegmentStore::create(Arc::new(disk.clone()), lock(disk)?, options())?;
        told.borrow_mut().created = true;
        let sink = store.appender()?;
        Ok(Self { store, sink, told })
    }

    fn reopen_in_place(disk: &SimDisk, told: &'a RefCell<Told>, end: u64) -> Result<Self, IoError> {
        let store = take_over(disk)?;
        told.borrow_mut().mark = None;
        store.resume_in_place(lsn(end))?;
        store.discard_dead()?;
        let sink = store.appender()?;
        Ok(Self { store, sink, told })
    }

    /// As after a crash at `end`, of which the last `unproven` bytes are written again.
    fn reopen_after(
        disk: &SimDisk,
        told: &'a RefCell<Told>,
        end: u64,
        unproven: u64,
    ) -> Result<(Self, u64), IoError> {
        let store = take_over(disk)?;
        told.borrow_mut().mark = None;
        let from = end - unproven;
        let mut before = predecessor(&holder(&store.links(), from), from);
        if unproven > 0 {
            let flags = SegmentFlags::OPENING.with(SegmentFlags::BORN_DURABLE);
            let mut run = store.write_run(lsn(from), unproven, flags, Some(before))?;
            run.write(&bytes(from..end))?;
            let name = run.finish()?;
            before = Predecessor { base: name.base, epoch: name.epoch, end: lsn(end) };
        }
        let placement = store.resume_after(before, lsn(end))?;
        store.discard_dead()?;
        let sink = store.appender()?;
        Ok((Self { store, sink, told }, placement.end.get()))
    }

    fn write(&mut self, range: Range<u64>) -> Result<(), IoError> {
        {
            let mut told = self.told.borrow_mut();
            // The commit path hands out no address beyond what is ready; the sink refuses it.
            let ready = self.store.links().last().map_or(0, |link| link.cap.get());
            told.tried = told.tried.max(range.end.min(ready));
            told.epoch = told.epoch.max(self.store.epoch().get());
        }
        self.sink.write(lsn(range.start), &[IoSlice::new(&bytes(range.clone()))])?;
        self.sink.sync()?;
        self.store.note_durable(lsn(range.end));
        self.told.borrow_mut().cover(range);
        Ok(())
    }

    fn checkpoint(&self, at: u64) -> Result<(), IoError> {
        let begin = lsn(at);
        let end = lsn(at + 64);
        self.store.record_checkpoint(CheckpointPointer {
            begin,
            redo_from: begin,
            record: begin,
            end,
        })
    }

    fn truncate_before(&self, at: u64) -> Result<(), IoError> {
        self.told.borrow_mut().release_before(at);
        self.store.truncate_before(lsn(at)).map(drop)
    }

    fn prepare_next(&self) -> Result<(), IoError> {
        let last = self.store.links().last().unwrap().cap;
        self.store.prepare(last, SEGMENT).map(drop)
    }

    fn close(self, end: u64) -> Result<(), IoError> {
        self.told.borrow_mut().mark = Some(end);
        self.store.mark_clean(lsn(end))
    }
}

fn lock(disk: &SimDisk) -> Result<Box<dyn wal_io::StorageLock>, IoError> {
    disk.lock().map_err(|error| IoError::failed(wal_io::IoOp::Lock, "lock", error))
}

fn take_over(disk: &SimDisk) -> Result<Arc<SegmentStore>, IoError> {
    let lock = lock(disk)?;
    let survey = Survey::read(disk)?;
    assert_eq!(survey.problems, []);
    SegmentStore::reopen(Arc::new(disk.clone()), lock, options(), &survey)
}

fn predecessor(link: &ChainLink, end: u64) -> Predecessor {
    Predecessor { base: link.name.base, epoch: link.name.epoch, end: lsn(end) }
}

/// The link which holds the byte before `end`, or the first one.
fn holder(links: &[ChainLink], end: u64) -> ChainLink {
    let holds = |link: &&ChainLink| link.name.base.get() < end && end <= link.cap.get();
    *links.iter().find(holds).unwrap_or(&links[0])
}

/// Runs a script until the power goes; what was told until then counts.
fn told_by(script: impl FnOnce(&RefCell<Told>) -> Result<(), IoError>) -> Told {
    let told = RefCell::new(Told::default());
    let _ = script(&told);
    told.into_inner()
}

const SECOND: u64 = FIRST + SEGMENT;
const THIRD: u64 = SECOND + SEGMENT;

/// Two crashes, a truncation, a clean close and what comes after it.
fn a_life(disk: &SimDisk, told: &RefCell<Told>) -> Result<(), IoError> {
    let mut log = Writer::create(disk, told)?;
    log.write(FIRST..SECOND - 64)?;
    log.write(SECOND - 64..SECOND + 128)?;
    log.prepare_next()?;
    log.checkpoint(SECOND + 64)?;
    log.write(SECOND + 128..THIRD + 640)?;
    log.truncate_before(SECOND)?;
    drop(log);
    let (mut log, at) = Writer::reopen_after(disk, told, THIRD + 640, 600)?;
    log.write(at..at + 4096)?;
    // An opening leaves it to whoever needs it; the next one gives it a name of its own.
    log.prepare_next()?;
    log.close(at + 4096)?;
    let mut log = Writer::reopen_in_place(disk, told, at + 4096)?;
    log.write(at + 4096..at + SEGMENT + 8)?;
    log.prepare_next()?;
    drop(log);
    let (mut log, next) = Writer::reopen_after(disk, told, at + SEGMENT + 8, 0)?;
    log.write(next..next + 512)?;
    log.close(next + 512)
}

/// What must hold on whatever a crash left; then the log is taken over and everything is asked
/// again. Returns what was told by then.
fn check(disk: &SimDisk, told: &Told) -> Result<Told, String> {
    let survey = look(disk, told)?;
    if survey.is_empty() {
        let store = SegmentStore::create(
            Arc::new(disk.clone()),
            lock(disk).map_err(|error| error.to_string())?,
            options(),
        );
        drop(store.map_err(|error| error.to_string())?);
        let again = Told { created: true, ..told.clone() };
        return look(disk, &again).map(|_| again);
    }
    let again = RefCell::new(told.clone());
    let reopened = Writer::reopen_after(disk, &again, told.end(), 0);
    let (mut log, at) = reopened.map_err(|error| error.to_string())?;
    if at < told.tried {
        return Err(format!("r08: {at} is used again, {} was tried", told.tried));
    }
    if log.store.epoch() <= Epoch::new(told.epoch) {
        return Err(format!("r17: epoch {} is used again", log.store.epoch()));
    }
    log.write(at..at + 800).map_err(|error| error.to_string())?;
    drop(log);
    let again = again.into_inner();
    look(disk, &again).map(|_| again)
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
        let found = read(disk, &survey.links, range)?;
        if found != bytes(range.clone()) {
            return Err(format!("{range:?} was durable and does not read back"));
        }
    }
    if survey.address_end.get() < told.tried {
        return Err(format!("r08: {} is below {}", survey.address_end, told.tried));
    }
    let mark = survey.control.current().and_then(|slot| slot.clean);
    match mark {
        Some((end, _)) if told.mark != Some(end.get()) => {
            Err(format!("r04: the mark at {end} has come back, {:?}", told.mark))
        }
        _ => Ok(survey),
    }
}

/// Reads addresses through the chain, as a scan would.
fn read(disk: &SimDisk, links: &[ChainLink], range: &Range<u64>) -> Result<Vec<u8>, String> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let Some(link) = links.iter().find(|link| link.range().contains(lsn(at))) else {
            return Err(format!("{at} is in no segment, {range:?} was durable"));
        };
        let part = link.cap.get().min(range.end) - at;
        let mut buf = vec![0; part as usize];
        let reader = SegmentReader::open(disk, link).map_err(|error| error.to_string())?;
        let count = reader.read_at(lsn(at), &mut buf).map_err(|error| error.to_string())?;
        found.extend_from_slice(&buf[..count]);
        if count < buf.len() {
            break;
        }
        at += part;
    }
    Ok(found)
}

#[test]
fn r14_no_crash_in_the_life_of_a_log_is_taken_for_damage_or_loses_anything() {
    let workload = |disk: &SimDisk| told_by(|told| a_life(disk, told));
    let covered = Explorer::new(1)
        .states_per_cut(12)
        .torn()
        .run(workload, |disk, told| check(&disk, told).map(drop))
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(!covered.cut_short);
    assert!(covered.ops > 100, "{covered:?}");
    assert!(covered.states > covered.cuts, "{covered:?}");
}

#[test]
fn the_script_runs_to_its_end_when_nothing_goes_wrong() {
    let disk = SimDisk::new();
    let told = RefCell::new(Told::default());
    a_life(&disk, &told).unwrap();
    let told = told.into_inner();
    assert_eq!(told.durable.len(), 3, "{told:?}");
    let survey = look(&disk, &told).unwrap();
    let mark = survey.control.current().unwrap().clean;
    assert_eq!(mark.map(|(end, _)| end.get()), Some(told.end()));
}

/// On a direct backend: whole blocks only.
fn a_life_in_blocks(disk: &SimDisk, told: &RefCell<Told>) -> Result<(), IoError> {
    let mut log = Writer::create(disk, told)?;
    log.write(FIRST..SECOND + 4096)?;
    drop(log);
    let (mut log, at) = Writer::reopen_after(disk, told, SECOND + 4096, 40)?;
    log.write(at..at + 8192)?;
    log.close(at + 8192)?;
    let mut log = Writer::reopen_in_place(disk, told, at + 8192)?;
    log.write(at + 8192..at + 12_288)
}

#[test]
fn r13_segments_hold_on_a_disk_which_takes_whole_blocks_only() {
    let disk = SimDisk::with_block_bytes(4096);
    let workload = |disk: &SimDisk| told_by(|told| a_life_in_blocks(disk, told));
    let check = |disk: SimDisk, told: &Told| look(&disk, told).map(drop);
    let covered = Explorer::new(2)
        .start_from(&disk)
        .states_per_cut(8)
        .run(workload, check)
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(covered.ops > 50, "{covered:?}");
    let told = RefCell::new(Told::default());
    a_life_in_blocks(&disk, &told).unwrap();
    assert_eq!(look(&disk, &told.into_inner()).unwrap().problems, []);
}

/// A crash, an opening that rewrites its tail, and a crash of that opening.
fn one_crash(disk: &SimDisk, told: &RefCell<Told>) -> Result<(), IoError> {
    let mut log = Writer::create(disk, told)?;
    log.write(FIRST..SECOND + 1024)?;
    drop(log);
    let (mut log, at) = Writer::reopen_after(disk, told, SECOND + 1024, 512)?;
    log.write(at..at + 512)
}

#[test]
fn r01_an_opening_may_itself_be_interrupted_anywhere() {
    let workload = |disk: &SimDisk| told_by(|told| one_crash(disk, told));
    let covered = Explorer::new(3)
        .depth(2)
        .states_per_cut(2)
        .cuts_max(20)
        .run(workload, |disk, told| {
            // What an interrupted check wrote is not in `told`: addresses may be above it.
            check(&disk, told).map(drop)
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(covered.cuts_in_recovery > 100, "{covered:?}");
}

/// A call fails once; the writer stops, another process goes on in the same boot, trusting no
/// cache; then the power goes.
fn fail_once(call: Call, nth: u64) -> Option<()> {
    let disk = SimDisk::new();
    disk.set_faults(Faults::new().fail(call, nth));
    let told = told_by(|told| a_life(&disk, told));
    let fired = disk.faults_fired().values().sum::<u64>() > 0;
    disk.set_faults(Faults::new());
    let case = format!("{call:?} number {nth}");
    let again = check(&disk, &told).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
    let random = (0..6).map(CrashMode::Random);
    for mode in [CrashMode::LoseAll, CrashMode::KeepAll].into_iter().chain(random) {
        let left = disk.crash(mode);
        check(&left, &again).unwrap_or_else(|wrong| panic!("{case}, {mode:?}: {wrong}"));
    }
    fired.then_some(())
}

fn fail_each(call: Call) -> u64 {
    (1..).take_while(|nth| fail_once(call, *nth).is_some()).last().unwrap_or(0)
}

#[test]
fn a_sync_that_fails_anywhere_loses_nothing_to_a_restart_and_a_power_cut() {
    assert!(fail_each(Call::Sync) > 40);
}

#[test]
fn a_directory_sync_that_fails_anywhere_loses_nothing_to_a_restart_and_a_power_cut() {
    assert!(fail_each(Call::SyncDir) > 10);
}

#[test]
fn any_other_call_that_fails_anywhere_loses_nothing() {
    for (call, at_least) in [
        (Call::Write, 30),
        (Call::Create, 8),
        (Call::Rename, 8),
        (Call::Remove, 0),
        (Call::Open, 8),
    ] {
        let failed = fail_each(call);
        assert!(failed > at_least, "{call:?}: only {failed}");
    }
}

#[test]
fn r16_a_full_disk_at_any_size_loses_nothing_and_opens_again() {
    // From room for nothing to room for everything.
    for blocks in (0..160).step_by(3) {
        let disk = SimDisk::new();
        disk.set_faults(Faults::new().space_bytes(blocks * 4096));
        let told = told_by(|told| a_life(&disk, told));
        // Still full.
        if told.created {
            check(&disk, &told).unwrap_or_else(|wrong| panic!("{blocks} blocks: {wrong}"));
        }
        let left = disk.crash(CrashMode::Random(blocks));
        check(&left, &told).unwrap_or_else(|wrong| panic!("{blocks} blocks, crash: {wrong}"));
    }
}
