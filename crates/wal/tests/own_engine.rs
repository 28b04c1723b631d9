//! An engine of one's own, on top of the log, under the explorer of `wal-sim`: what its page shows,
//! executed. The engine counts what it was told to add; what it promised must be there after any
//! power cut, wherever it falls, in recovery too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::IoSlice;
use std::sync::Arc;

use wal::{Error, Options, Storage, Threads, Wal};
use wal_sim::{Call, Explorer, FaultKind, Floors, Model, Notes, Seen, SimDisk};

/// A counter that survives: its state is the sum of what its log holds.
struct Counter {
    log: Wal,
    sum: u64,
}

impl Counter {
    /// `Threads::None`: on the simulated disk nothing may happen by itself.
    fn open(disk: &SimDisk) -> Result<Self, Error> {
        let options = Options::default()
            .segment_bytes(64 << 10)
            .buffer_bytes(16 << 10)
            .threads(Threads::None);
        let mut sum = 0;
        let log = Wal::open_in(Arc::new(disk.clone()), options, |record| {
            let add: [u8; 8] = record.body.try_into().map_err(|_| "not a number")?;
            sum += u64::from_le_bytes(add);
            Ok::<(), &str>(())
        })?;
        Ok(Self { log, sum })
    }

    fn add(&mut self, number: u64) -> Result<(), Error> {
        self.log.append(&number.to_le_bytes())?.wait_durable()?;
        self.sum += number;
        Ok(())
    }
}

/// What was asked for, and what was promised.
#[derive(Clone, Debug, Default)]
struct Told {
    asked: u64,
    promised: u64,
}

/// Adds 1, then 2, 4 and so on, so that every sum tells which additions are in it.
fn workload(disk: &SimDisk, told: &Notes<Told>) {
    let Ok(mut counter) = Counter::open(disk) else { return };
    for shift in 0..10 {
        told.update(|told| told.asked |= 1 << shift);
        if counter.add(1 << shift).is_err() {
            return;
        }
        told.update(|told| told.promised |= 1 << shift);
    }
    let _ = counter.log.close();
}

fn check(disk: SimDisk, told: &Told) -> Result<(), String> {
    let counter = Counter::open(&disk).map_err(|error| error.to_string())?;
    match counter.sum {
        sum if sum == told.promised || sum == told.asked => Ok(()),
        sum => Err(format!("promised {}, asked {}, found {sum}", told.promised, told.asked)),
    }
}

#[test]
fn what_the_counter_promised_survives_any_power_cut() {
    let coverage = Explorer::new(1).torn().kills().record(workload, check).unwrap();
    let floors = Floors::new()
        .distinct(30)
        .faults(&[FaultKind::LostSector, FaultKind::TornSector, FaultKind::ProcessKill], 15)
        .fault(FaultKind::LostName, 1)
        .step(Call::Sync, "wal", 10)
        .step(Call::Write, "control", 4)
        .step(Call::SyncDir, "", 3);
    assert_eq!(coverage.below(&floors), [""; 0], "{}", coverage.to_json());
}

#[test]
fn it_survives_power_cuts_in_recovery() {
    let explorer = Explorer::new(2).kills().depth(2).states_per_cut(4);
    let explorer = explorer.recovery_cuts_max(4).recovery_states_per_cut(2).cuts_max(8);
    let coverage = explorer.record(workload, check).unwrap();
    assert!(coverage.cuts_in_recovery > 40, "{coverage}");
}

#[test]
fn it_survives_sectors_of_four_kilobytes_and_space_that_was_used_before() {
    let disk = Model::new().sector_bytes(4096).recycled_space().disk();
    // What a removed file leaves on the device: bytes that are no zeros.
    let old = disk.create("old", 0).unwrap();
    old.write_at(&[IoSlice::new(&[0xa5; 64 << 10])], 0).unwrap();
    old.sync_all().unwrap();
    drop(old);
    disk.remove("old").unwrap();
    disk.sync_dir().unwrap();
    let coverage = Explorer::new(3).start_from(&disk).torn().record(workload, check).unwrap();
    let floors = Floors::new().distinct(20).fault(FaultKind::RecycledSpace, 1);
    assert_eq!(coverage.below(&floors), [""; 0], "{}", coverage.to_json());
}

/// With live faults a promise still holds. An error of the kernel that nobody has seen is reported
/// to whoever syncs next, so the first opening may fail; the second must not.
fn check_after_faults(disk: SimDisk, told: &Told) -> Result<(), String> {
    drop(Counter::open(&disk));
    check(disk, told)
}

#[test]
fn it_keeps_its_promises_when_calls_fail() {
    let explorer = Explorer::new(7).kills().live_faults(11).live_cuts_max(6).states_per_cut(4);
    let coverage = explorer.record(workload, check_after_faults).unwrap();
    let hit: Vec<FaultKind> =
        FaultKind::LIVE.into_iter().filter(|kind| coverage.by_fault.contains_key(kind)).collect();
    assert!(hit.len() >= 6, "{}", coverage.to_json());
}

#[test]
fn three_recordings_of_a_seed_end_in_the_same_hash_on_any_number_of_threads() {
    let run = |threads| {
        let explorer = Explorer::new(4).torn().kills().depth(2).states_per_cut(2).cuts_max(8);
        let explorer = explorer.recovery_cuts_max(3).recovery_states_per_cut(2).live_faults(1);
        let explorer = explorer.live_cuts_max(4);
        let explorer = explorer.threads(threads).seen(&Seen::default());
        explorer.record(workload, check_after_faults).unwrap()
    };
    let (first, second, third) = (run(1), run(1), run(2));
    assert_eq!(first, second);
    assert_eq!(second, third);
    assert_ne!(first.hash, Explorer::new(5).torn().record(workload, check).unwrap().hash);
}

#[test]
fn a_cache_that_lies_is_caught() {
    // The detector fires: no log survives a device that promises what it does not keep.
    let disk = Model::new().lying_cache(3).disk();
    let failure = Explorer::new(6).start_from(&disk).record(workload, check).unwrap_err();
    let again = Explorer::new(6).start_from(&disk);
    let again = again.replay_recorded(&failure.case, workload, check).unwrap_err();
    assert_eq!(again.reason, failure.reason);
}
