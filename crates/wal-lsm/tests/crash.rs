//! The engine on the simulated disk: the power goes at every operation, in recovery too.
//!
//! Every batch and transaction writes one number under several keys, so that a part of one shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use wal::{Options, Threads};
use wal_lsm::{Lsm, LsmError, LsmOptions};
use wal_sim::{Call, CrashMode, Explorer, FaultKind, Floors, Model, Notes, SimDisk};

const KEYS: u8 = 3;

/// What was asked for and what was promised: the last number of each.
#[derive(Clone, Debug, Default)]
struct Told {
    asked: u32,
    promised: u32,
}

fn open(disk: &SimDisk) -> Result<Lsm, LsmError> {
    let log = Options::default()
        .segment_bytes(64 << 10)
        .buffer_bytes(16 << 10)
        .threads(Threads::None)
        .slow_sync(None)
        .idle_after(None);
    Lsm::open_in(Arc::new(disk.clone()), LsmOptions::default().log(log).tables_max(2))
}

/// Writes `number` under every key, with a deletion every third time.
fn write(lsm: &mut Lsm, number: u32) -> Result<(), LsmError> {
    let (value, keys) = (number.to_le_bytes(), (0..KEYS).map(|key| [key]).collect::<Vec<_>>());
    if number.is_multiple_of(2) {
        let changes: Vec<(&[u8], Option<&[u8]>)> =
            keys.iter().map(|key| (key.as_slice(), Some(value.as_slice()))).collect();
        return lsm.apply(&changes);
    }
    let mut txn = lsm.begin();
    let mut lost = lsm.begin();
    for key in &keys {
        lost.put(key, b"never")?;
        txn.delete(key)?;
        txn.put(key, &value)?;
    }
    lsm.commit(txn).map(drop)
}

fn workload(disk: &SimDisk, told: &Notes<Told>) {
    let Ok(mut lsm) = open(disk) else { return };
    for number in 1..=14 {
        told.update(|told| told.asked = number);
        if write(&mut lsm, number).is_err() {
            return;
        }
        told.update(|told| told.promised = number);
        if number % 3 == 0 && lsm.checkpoint().is_err() {
            return;
        }
        if number == 8 {
            drop(lsm);
            let Ok(again) = open(disk) else { return };
            lsm = again;
        }
    }
    let _ = lsm.close();
}

/// The one number that all keys hold; 0 when none is there.
fn number(lsm: &Lsm) -> Result<u32, String> {
    let all: Vec<(Vec<u8>, Vec<u8>)> =
        lsm.scan(b"").collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let mut numbers: Vec<&[u8]> = all.iter().map(|(_, value)| value.as_slice()).collect();
    numbers.dedup();
    match numbers[..] {
        [] => Ok(0),
        [value] if all.len() == usize::from(KEYS) => {
            Ok(u32::from_le_bytes(value.try_into().map_err(|_| "not a number")?))
        }
        _ => Err(format!("a part of a batch, or what never committed: {all:?}")),
    }
}

fn check(disk: SimDisk, told: &Told) -> Result<(), String> {
    let said = |error: LsmError| format!("promised {}: {error}", told.promised);
    let mut lsm = match open(&disk) {
        Ok(lsm) => lsm,
        Err(_) if disk.is_off() => return Ok(()),
        Err(error) => return Err(said(error)),
    };
    let found = number(&lsm)?;
    // An earlier check that was cut may have written 1,000.
    if !(told.promised..=told.asked).contains(&found) && found != 1000 {
        return Err(format!("promised {}, asked {}, found {found}", told.promised, told.asked));
    }
    let kept = lsm.tables();
    let table = |name: &String| name.ends_with(".table");
    if disk.names().iter().filter(|name| table(name)).count() > 2 * kept.len() + 3 {
        return Err(format!("files nobody needs are left: {:?}", disk.names()));
    }
    let usable = write(&mut lsm, 1000).and_then(|()| lsm.checkpoint());
    match usable {
        Err(_) if disk.is_off() => return Ok(()),
        usable => drop(usable.map_err(said)?),
    }
    let after = disk.crash(CrashMode::LoseAll);
    let lsm = open(&after).map_err(said)?;
    if number(&lsm)? == 1000 { Ok(()) } else { Err("what was written after it is gone".into()) }
}

#[test]
fn nothing_promised_is_lost_wherever_the_power_goes() {
    let explorer = Explorer::new(1).torn().kills().states_per_cut(12).threads(2);
    let coverage = explorer.record(workload, check).unwrap_or_else(|failure| panic!("{failure}"));
    let floors = Floors::new()
        .distinct(100)
        .faults(&[FaultKind::LostSector, FaultKind::TornSector, FaultKind::ProcessKill], 15)
        .step(Call::Write, "table", 20)
        .step(Call::Sync, "table", 5)
        .step(Call::Remove, "table", 5)
        .step(Call::Write, "control", 5);
    assert_eq!(coverage.below(&floors), [""; 0], "{}", coverage.to_json());
}

#[test]
fn nothing_promised_is_lost_when_recovery_is_cut_as_well() {
    let explorer = Explorer::new(2).torn().kills().depth(3).states_per_cut(2).cuts_max(12);
    let explorer = explorer.recovery_cuts_max(4).recovery_states_per_cut(1).threads(2);
    let coverage = explorer.record(workload, check).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(coverage.by_depth[&3] > 40, "{}", coverage.to_json());
    // In recovery too a part of what was not synced survives, and not the extremes only.
    let partly = [FaultKind::PartlyKept, FaultKind::Reordered];
    let floors = Floors::new().depth(2, &partly, 10).depth(3, &FaultKind::PARTIAL, 5);
    assert_eq!(coverage.below(&floors), [""; 0], "{}", coverage.to_json());
}

#[test]
fn a_cache_that_lies_is_caught() {
    // The detector fires: a table that was synced, and is not there, shows.
    let disk = Model::new().lying_cache(3).disk();
    let failure = Explorer::new(3).start_from(&disk).record(workload, check).unwrap_err();
    assert!(failure.reason.contains("promised"), "{failure}");
}
