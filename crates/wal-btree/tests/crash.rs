//! Power cuts and dying processes at every moment, in recovery too: the tree stays a tree, and holds
//! what was committed.
//!
//! A slice that a test run can afford; the crash lab goes on from here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};

use common::{Map, key, open};
use wal_btree::{Error, Tree};
use wal_sim::{Call, Explorer, FaultKind, Floors, Notes, SimDisk};

/// What was promised, and what a commit under way may have made of it.
#[derive(Clone, Debug, Default)]
struct Told {
    promised: Map,
    asked: Map,
}

/// Fills, overwrites and deletes by turns, with rollbacks, savepoints and checkpoints between, and
/// beside a long transaction, so that pages split, move and become empty; a pool of eight frames writes uncommitted changes all
/// the time. Ends when the power does.
fn workload(disk: &SimDisk, told: &Notes<Told>) {
    // An error is a crash that the workload survived; what it was promised it keeps.
    let _ = run(disk, told);
}

fn run(disk: &SimDisk, told: &Notes<Told>) -> Result<(), Error> {
    let tree = open(disk)?;
    let mut now = Map::new();
    // Never committed, over checkpoints and splits that others make in the same pages.
    let mut long = tree.begin();
    for round in 0..6_u32 {
        for number in (round * 12..round * 12 + 40).step_by(5) {
            let own = [&key(number)[..], b"-long"].concat();
            if long.put(&own, &[0xee; 30])?.is_some() {
                long.delete(&own)?;
            }
        }
        let mut next = now.clone();
        let mut txn = tree.begin();
        for number in (round * 12..round * 12 + 40).rev() {
            let value = vec![round as u8; 40 + (number % 60) as usize];
            txn.put(&key(number), &value)?;
            next.insert(key(number), value);
        }
        let savepoint = txn.savepoint()?;
        for number in 0..30 {
            txn.delete(&key(number + round * 11))?;
        }
        if round % 2 == 0 {
            txn.rollback_to(savepoint)?;
        } else {
            (0..30).for_each(|number| drop(next.remove(&key(number + round * 11))));
        }
        if round == 3 {
            txn.abort()?;
            continue;
        }
        told.update(|told| told.asked.clone_from(&next));
        txn.commit()?;
        told.update(|told| told.promised.clone_from(&next));
        now = next;
        if round % 2 == 1 {
            tree.checkpoint()?;
        }
    }
    long.abort()?;
    tree.close()
}

static IMAGES: AtomicU64 = AtomicU64::new(0);
static CLRS: AtomicU64 = AtomicU64::new(0);

fn count(tree: &Tree) {
    let report = tree.recovery().aries.clone().unwrap_or_default();
    IMAGES.fetch_add(report.redo.images, Ordering::Relaxed);
    CLRS.fetch_add(report.undo.clrs, Ordering::Relaxed);
}

fn check(disk: SimDisk, told: &Told) -> Result<(), String> {
    let tree = open(&disk).map_err(|error| format!("it does not open: {error}"))?;
    count(&tree);
    let found: Map = tree.check().map_err(|error| error.to_string())?.into_iter().collect();
    if found != told.promised && found != told.asked {
        let missing = told.promised.iter().filter(|(key, value)| found.get(*key) != Some(*value));
        let missing: Vec<_> = missing.map(|(key, _)| String::from_utf8_lossy(key)).collect();
        let (there, promised) = (found.len(), told.promised.len());
        return Err(format!("{promised} promised, {there} there, wrong or missing: {missing:?}"));
    }
    if !tree.log().abandoned().is_empty() {
        return Err("a loser was not rolled back".to_owned());
    }
    Ok(())
}

#[test]
fn committed_contents_and_the_shape_of_the_tree_survive_any_power_cut() {
    let explorer = Explorer::new(1).torn().kills().cuts_max(50).states_per_cut(5);
    let coverage = explorer.record(workload, check).unwrap_or_else(|failure| panic!("{failure}"));
    let floors = Floors::new()
        .distinct(100)
        .faults(&[FaultKind::LostSector, FaultKind::TornSector, FaultKind::ProcessKill], 10);
    assert_eq!(coverage.below(&floors), [""; 0], "{}", coverage.to_json());
    // a25: torn pages were there to restore; a27: losers were there to undo.
    assert!(IMAGES.load(Ordering::Relaxed) > 100, "{IMAGES:?}");
    assert!(CLRS.load(Ordering::Relaxed) > 100, "{CLRS:?}");
}

#[test]
fn a31_a_recovery_that_is_cut_and_cut_again_converges() {
    let explorer = Explorer::new(2).torn().kills().depth(3).cuts_max(8).states_per_cut(2);
    let explorer = explorer.recovery_cuts_max(3).recovery_states_per_cut(2);
    let coverage = explorer.record(workload, check).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(coverage.cuts_in_recovery > 30, "{coverage}");
    // In recovery too a part of what was not synced survives, and not the extremes only.
    let floors = Floors::new().depth(2, &FaultKind::PARTIAL, 5).depth(3, &FaultKind::PARTIAL, 20);
    assert_eq!(coverage.below(&floors), [""; 0], "{}", coverage.to_json());
}

/// An error of the kernel that nobody has seen is reported to whoever syncs next, so the first
/// opening may fail; the second must not.
fn check_after_faults(disk: SimDisk, told: &Told) -> Result<(), String> {
    drop(open(&disk));
    check(disk, told)
}

#[test]
fn a_call_that_fails_poisons_the_tree_and_costs_nothing_that_was_promised() {
    let explorer = Explorer::new(3).kills().live_faults(11).live_cuts_max(3).states_per_cut(2);
    let explorer = explorer.cuts_max(5);
    let coverage =
        explorer.record(workload, check_after_faults).unwrap_or_else(|failure| panic!("{failure}"));
    let hit = FaultKind::LIVE.into_iter().filter(|kind| coverage.by_fault.contains_key(kind));
    assert!(hit.count() >= 6, "{}", coverage.to_json());
}

#[test]
fn the_workload_runs_to_its_end_when_nothing_happens() {
    let (disk, told) = (SimDisk::new(), Notes::default());
    run(&disk, &told).unwrap();
    let written = disk.calls()[&Call::Write];
    assert!(written > 100, "and pages are stolen on the way: {written} writes");
}
