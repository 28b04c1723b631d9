//! The page log on the simulated disk, under the explorer: power cuts at every operation of a
//! workload, of the restart from it, and of the restart from that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::sync::Arc;

use common::pages::{Pages, SLOTS, open_pages};
use common::small;
use wal::{Lsn, PageLog, RecordKind, Storage};
use wal_format::body::Body;
use wal_sim::{CrashMode, Explorer, FaultKind, Floors, Notes, SimDisk};

const PAGES: u64 = 4;

fn as_storage(disk: &SimDisk) -> Arc<dyn Storage> {
    Arc::new(disk.clone())
}

fn up(disk: &SimDisk) -> (PageLog, Pages) {
    open_pages(&as_storage(disk), small()).expect("the engine comes up")
}

/// What the pages must hold: the numbers that were committed, and those with the commit that was
/// asked for and not acknowledged.
#[derive(Clone, Debug, Default)]
struct Told {
    promised: BTreeMap<(u64, u64), u64>,
    asked: BTreeMap<(u64, u64), u64>,
}

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Transactions that commit, abort, go back to savepoints and stay open, over pages which are
/// written at any time, with checkpoints in between.
fn work(disk: &SimDisk, told: &Notes<Told>) -> Done {
    let (log, mut pages) = open_pages(&as_storage(disk), small()).map_err(|_| "cut")?;
    let mut open = log.begin();
    for round in 1..=6_u64 {
        let mut txn = log.begin();
        let slot = round % SLOTS;
        pages.put(&mut txn, round % 2, slot, 10 * round)?;
        pages.put(&mut open, 3, slot, 7)?;
        let savepoint = txn.savepoint();
        pages.put(&mut txn, 2, slot, 99)?;
        pages.steal(2)?;
        txn.rollback_to(&mut pages, savepoint)?;
        pages.put(&mut txn, 2, 0, round)?;
        if round == 3 {
            pages.steal_all(&[0, 1, 3])?;
            txn.abort(&mut pages)?;
            continue;
        }
        told.update(|told| {
            told.asked = told.promised.clone();
            told.asked.insert((round % 2, slot), 10 * round);
            told.asked.insert((2, 0), round);
        });
        txn.commit()?;
        told.update(|told| told.promised = told.asked.clone());
        if round % 2 == 0 {
            log.checkpoint(b"")?;
            pages.steal(round % 4)?;
        }
    }
    log.truncate()?;
    pages.steal(3)?;
    log.sync()?;
    Ok(())
}

fn workload(disk: &SimDisk, told: &Notes<Told>) {
    let _cut = work(disk, told);
}

/// Every change is compensated once at the most, however often restart was cut short.
fn check_compensations(log: &PageLog) -> Result<(), String> {
    let mut compensated = BTreeSet::new();
    let mut reader = log.read_from(log.head()).map_err(|error| error.to_string())?;
    while let Some(record) = reader.next().map_err(|error| error.to_string())? {
        let body = Body::decode(record.kind(), record.body).map_err(|error| error.to_string())?;
        if let Some(Body::Clr(clr)) = body
            && !compensated.insert(clr.compensated)
        {
            return Err(format!(
                "{} is compensated twice, again at {}",
                clr.compensated,
                record.lsn()
            ));
        }
    }
    Ok(())
}

fn check(disk: SimDisk, told: &Told) -> Result<(), String> {
    let (log, mut pages) =
        open_pages(&as_storage(&disk), small()).map_err(|fault| format!("{fault:?}"))?;
    let mut found: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for page in 0..PAGES {
        for slot in 0..SLOTS {
            found.insert((page, slot), pages.get(page, slot));
        }
    }
    found.retain(|_, number| *number != 0);
    if found != told.promised && found != told.asked {
        return Err(format!("{told:?}, found {found:?}"));
    }
    log.sync().map_err(|error| error.to_string())?;
    check_compensations(&log)
}

#[test]
fn a31_a_restart_that_is_cut_at_any_operation_converges() {
    let explorer = Explorer::new(31).kills().depth(2).cuts_max(24).states_per_cut(3);
    let explorer = explorer.recovery_cuts_max(12).recovery_states_per_cut(2).threads(2);
    let coverage = explorer.record(workload, check).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(coverage.cuts_in_recovery > 300, "{coverage}");
}

#[test]
fn a31_a_restart_from_a_restart_that_was_cut_converges_too() {
    let explorer = Explorer::new(32).kills().depth(3).cuts_max(4).states_per_cut(2);
    let explorer = explorer.recovery_cuts_max(5).recovery_states_per_cut(2).threads(2);
    let coverage = explorer.record(workload, check).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(coverage.cuts_in_recovery > 60, "{coverage}");
}

#[test]
fn what_committed_is_there_and_nothing_else_after_a_cut_at_any_operation() {
    let explorer = Explorer::new(33).kills().threads(2).states_per_cut(12);
    let coverage = explorer.record(workload, check).unwrap_or_else(|failure| panic!("{failure}"));
    let floors = Floors::new()
        .distinct(100)
        .faults(&[FaultKind::LostSector, FaultKind::ProcessKill], 30)
        .fault(FaultKind::LostName, 1);
    assert_eq!(coverage.below(&floors), [""; 0], "{}", coverage.to_json());
}

/// An error of the kernel that nobody has seen is reported to whoever syncs next, so the first
/// opening may fail; the second must not.
fn check_after_faults(disk: SimDisk, told: &Told) -> Result<(), String> {
    drop(open_pages(&as_storage(&disk), small()));
    check(disk, told)
}

#[test]
fn what_committed_is_there_and_nothing_else_when_calls_fail() {
    let explorer = Explorer::new(34).kills().live_faults(8).live_cuts_max(4).cuts_max(4);
    let explorer = explorer.states_per_cut(3).threads(2);
    let coverage = explorer.record(workload, check_after_faults);
    let coverage = coverage.unwrap_or_else(|failure| panic!("{failure}"));
    let hit = FaultKind::LIVE.into_iter().filter(|kind| coverage.by_fault.contains_key(kind));
    assert!(hit.count() >= 5, "{}", coverage.to_json());
}

#[test]
fn a31_every_single_operation_of_one_restart_is_cut() {
    let told = Notes::default();
    let disk = SimDisk::new();
    workload(&disk, &told);
    disk.power_off();
    let told = told.get();
    let crashed = disk.crash(CrashMode::LoseAll);
    let mut op = 0;
    loop {
        op += 1;
        let disk = crashed.crash(CrashMode::KeepAll);
        disk.power_cut_at(op);
        drop(open_pages(&as_storage(&disk), small()));
        if !disk.is_off() {
            break;
        }
        for mode in [CrashMode::LoseAll, CrashMode::KeepAll, CrashMode::Random(op)] {
            let again = disk.crash(mode);
            check(again, &told).unwrap_or_else(|why| panic!("cut at {op}, {mode:?}: {why}"));
        }
    }
    assert!(op > 16, "{op} operations");
}

#[test]
fn a11_a_crash_between_end_record_and_master_leaves_two_checkpoints_and_the_master_s_counts() {
    let (mut older, mut newer, mut between) = (0, 0, 0);
    for op in 1.. {
        let disk = SimDisk::new();
        let (log, mut pages) = up(&disk);
        let mut txn = log.begin();
        pages.put(&mut txn, 1, 0, 5).unwrap();
        txn.commit().unwrap();
        let first = log.checkpoint(b"first").unwrap();
        disk.power_cut_at(disk.ops() + op);
        // The cut may fall into what follows the master record: then it did succeed.
        let _done_or_cut = log.checkpoint(b"second");
        if !disk.is_off() {
            break;
        }
        drop((log, pages));
        for mode in [CrashMode::LoseAll, CrashMode::KeepAll] {
            let disk = disk.crash(mode);
            let (log, mut pages) = up(&disk);
            assert_eq!(pages.get(1, 0), 5);
            let used = log.recovery().checkpoint.expect("a checkpoint was used");
            let ends = ends_before(&log, log.recovery().range.end);
            let newest = *ends.last().unwrap();
            if used.record == first.record {
                older += 1;
                between += u32::from(newest > first.record);
            } else {
                assert_eq!(used.record, newest, "the newest, then");
                newer += 1;
            }
        }
    }
    assert!(older > 0 && newer > 0 && between > 0, "{older}, {newer}, {between}");
}

/// The checkpoint-end records in the log before `end`.
fn ends_before(log: &PageLog, end: Lsn) -> Vec<Lsn> {
    let mut reader = log.read_from(log.head()).unwrap();
    let mut ends = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        if record.kind() == RecordKind::CHECKPOINT_END && record.lsn() < end {
            ends.push(record.lsn());
        }
    }
    ends
}

/// Numbers of the commits that are found again: page 1, in order of their slots.
fn found(pages: &mut Pages) -> usize {
    let numbers: Vec<u64> = (0..SLOTS).map(|slot| pages.get(1, slot)).collect();
    let count = numbers.iter().take_while(|number| **number != 0).count();
    assert!(numbers[count..].iter().all(|number| *number == 0), "a hole: {numbers:?}");
    count
}

#[test]
fn a34_with_pages_nothing_behind_a_gap_is_replayed_now_or_later() {
    let mut torn = 0;
    for seed in 0..60 {
        let disk = SimDisk::new();
        let (log, mut pages) = up(&disk);
        log.checkpoint(b"").unwrap();
        let mut commits = Vec::new();
        for slot in 0..40 {
            let mut txn = log.begin();
            pages.put(&mut txn, 1, slot, slot + 1).unwrap();
            commits.push(txn.commit_ordered(0).unwrap());
            if slot == 5 {
                commits.pop().unwrap().wait().unwrap();
            }
        }
        // Written, not synced: any of the sectors may be lost, with others behind it there.
        drop((commits, write_out(&log), pages, log));
        disk.power_off();
        let disk = disk.crash(CrashMode::Random(seed));
        let (log, mut pages) = up(&disk);
        let first = found(&mut pages);
        assert!(first >= 6, "{first} of 6 acknowledged");
        torn += u32::from((7..40).contains(&first));
        let mut txn = log.begin();
        pages.put(&mut txn, 2, 0, seed + 1).unwrap();
        txn.commit().unwrap();
        drop((log, pages));
        for _ in 0..2 {
            let disk = disk.crash(CrashMode::LoseAll);
            let (_log, mut pages) = up(&disk);
            assert_eq!((found(&mut pages), pages.get(2, 0)), (first, seed + 1), "seed {seed}");
        }
    }
    assert!(torn > 10, "{torn} tails were torn in the middle");
}

/// Has the log write what is in its buffer, without a sync: reading the newest record does that.
fn write_out(log: &PageLog) {
    let end = log.positions().reserved;
    let mut txn = log.begin();
    let mut nowhere = Nowhere;
    txn.log_update(wal::PageId::new(3), 16, &[0; 8], &[1; 8]).unwrap();
    txn.abort(&mut nowhere).unwrap();
    assert!(log.positions().written > end);
}

/// Pages that take whatever they are given.
struct Nowhere;

impl wal::PageStore for Nowhere {
    fn page_state(&mut self, _: wal::PageId) -> Result<wal::PageState, wal::EngineError> {
        Ok(wal::PageState::At(Lsn::NONE))
    }

    fn write(&mut self, _: wal::PageId, _: u32, _: &[u8], _: Lsn) -> Result<(), wal::EngineError> {
        Ok(())
    }

    fn mark_dirty(&mut self, _: wal::PageId) -> Result<(), wal::EngineError> {
        Ok(())
    }
}

#[test]
fn a34_redo_only_replays_nothing_behind_a_gap_now_or_later() {
    let mut torn = 0;
    for seed in 0..60 {
        let disk = SimDisk::new();
        let (wal, _) = common::reopen(&as_storage(&disk));
        for number in 0..40_u64 {
            let mut body = vec![0; 100];
            body[..8].copy_from_slice(&number.to_le_bytes());
            let ticket = wal.append(&body).unwrap();
            if number == 5 {
                ticket.wait_durable().unwrap();
            }
            if number == 39 {
                ticket.wait_written().unwrap();
            }
        }
        drop(wal);
        disk.power_off();
        let disk = disk.crash(CrashMode::Random(seed));
        let numbers = |bodies: &[Vec<u8>]| -> Vec<u64> {
            bodies.iter().map(|body| u64::from_le_bytes(body[..8].try_into().unwrap())).collect()
        };
        let (wal, bodies) = common::reopen(&as_storage(&disk));
        let first = numbers(&bodies);
        assert_eq!(first, (0..first.len() as u64).collect::<Vec<_>>());
        assert!(first.len() >= 6);
        torn += u32::from((7..40).contains(&first.len()));
        wal.append(&[0xff; 8]).unwrap().wait_durable().unwrap();
        drop(wal);
        let (_wal, bodies) = common::reopen(&as_storage(&disk.crash(CrashMode::LoseAll)));
        assert_eq!(numbers(&bodies[..first.len()]), first, "seed {seed}");
        assert_eq!(bodies[first.len()..], [vec![0xff; 8]]);
    }
    assert!(torn > 10, "{torn} tails were torn in the middle");
}

#[test]
fn a25_a_torn_page_is_mended_from_its_image() {
    let disk = SimDisk::new();
    let (log, mut pages) = up(&disk);
    let mut txn = log.begin();
    pages.put(&mut txn, 1, 0, 5).unwrap();
    pages.image(&log, 1).unwrap();
    pages.put(&mut txn, 1, 1, 6).unwrap();
    txn.commit().unwrap();
    pages.steal(1).unwrap();
    drop((log, pages));
    let disk = disk.crash(CrashMode::KeepAll);
    let file = disk.open("pages", wal::Access::Write).unwrap();
    file.write_at(&[IoSlice::new(&[0xee; 100])], 512 + 200).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let (_log, mut pages) = up(&disk);
    assert_eq!((pages.get(1, 0), pages.get(1, 1)), (5, 6));
}
