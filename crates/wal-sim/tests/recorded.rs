//! Recorded explorations: one run, every cut, the promises of each moment; what counts as another
//! state, how failures shrink, and that threads change nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use wal_io::{Access, LogFile, Storage};
use wal_sim::{Call, Explorer, FaultKind, Faults, Floors, Model, Notes, Seen, SimDisk, SimError};

/// Writes sector `at` of `file`, full of `fill`.
fn put(file: &dyn LogFile, at: u64, fill: u8) -> io::Result<()> {
    let count = file.write_at(&[IoSlice::new(&[fill; 512])], at * 512)?;
    if count == 512 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// A file of `sectors` sectors whose name and zeros are durable.
fn make(disk: &SimDisk, sectors: u64) -> io::Result<Box<dyn LogFile>> {
    let file = disk.create("log.dat", sectors * 512)?;
    file.sync_all()?;
    disk.sync_dir()?;
    Ok(file)
}

/// Appends `length` sectors of 1, 2, 3, each promised once it is synced, every other sync left out
/// if the log is `hasty`.
fn append(disk: &SimDisk, notes: &Notes<u64>, length: usize, hasty: bool) -> io::Result<()> {
    let file = make(disk, 64)?;
    for at in 0..length as u64 {
        put(&*file, at, at as u8 + 1)?;
        if !hasty || at % 2 == 0 {
            file.sync_data()?;
        }
        notes.update(|promised| *promised = at + 1);
    }
    Ok(())
}

fn sound(disk: &SimDisk, notes: &Notes<u64>) {
    let _ = append(disk, notes, 8, false);
}

fn hasty(disk: &SimDisk, notes: &Notes<u64>) {
    let _ = append(disk, notes, 8, true);
}

/// How many sectors are there, without a gap.
fn recovered(disk: &SimDisk) -> u64 {
    let Ok(file) = disk.open("log.dat", Access::Read) else { return 0 };
    let mut sector = [0; 512];
    (0..64)
        .take_while(|&at| {
            let read = file.read_at(&mut sector, at * 512);
            read.is_ok_and(|count| count == 512) && sector == [at as u8 + 1; 512]
        })
        .count() as u64
}

fn check(disk: SimDisk, promised: &u64) -> Result<(), String> {
    match recovered(&disk) {
        found if found < *promised => Err(format!("{promised} promised, {found} found")),
        _ => Ok(()),
    }
}

// ---- What is explored.

#[test]
fn one_run_judges_what_a_run_for_each_cut_judges() {
    let judged = Mutex::new(BTreeSet::new());
    let note = |disk: &SimDisk, promised: u64| {
        judged.lock().unwrap().insert((disk.fingerprint(), promised));
    };
    let recorded = Explorer::new(1)
        .record(sound, |disk, &promised: &u64| {
            note(&disk, promised);
            check(disk, &promised)
        })
        .unwrap();
    let in_one_run = std::mem::take(&mut *judged.lock().unwrap());
    let run = Explorer::new(1)
        .run(
            |disk| {
                let notes = Notes::default();
                sound(disk, &notes);
                *notes.get()
            },
            |disk, &promised| {
                note(&disk, promised);
                check(disk, &promised)
            },
        )
        .unwrap();
    assert_eq!((recorded.ops, recorded.cuts), (run.ops, run.cuts));
    assert_eq!(in_one_run, *judged.lock().unwrap());
    assert_eq!(recorded.distinct, run.distinct);
    assert!(recorded.states < run.states, "what one cut left was judged again for the next");
}

#[test]
fn the_workload_runs_twice_however_many_cuts_there_are() {
    let runs = AtomicU64::new(0);
    let workload = |disk: &SimDisk, notes: &Notes<u64>| {
        runs.fetch_add(1, Ordering::Relaxed);
        sound(disk, notes);
    };
    assert!(Explorer::new(0).record(workload, check).unwrap().cuts > 15);
    assert_eq!(runs.into_inner(), 2);
}

#[test]
fn a_promise_without_a_sync_is_caught_and_replayed() {
    let failure = Explorer::new(1).record(hasty, check).unwrap_err();
    assert_eq!(failure.reason, "2 promised, 1 found");
    assert_eq!(failure.told, "2");
    let again = Explorer::new(1).replay_recorded(&failure.case, hasty, check).unwrap_err();
    assert_eq!((again.reason, again.case), (failure.reason, failure.case.clone()));
    assert!(Explorer::new(1).replay_recorded(&failure.case, sound, check).is_ok());
    for case in ["99.0", "x", "3.999"] {
        let none = Explorer::new(1).replay_recorded(case, sound, check).unwrap_err();
        assert!(none.reason.contains("case"), "{none}");
    }
}

#[test]
fn coverage_is_counted_by_fault_and_by_step_above_its_floors() {
    let explorer = Explorer::new(1).torn().kills().latent(2);
    let coverage = explorer
        .record(sound, |disk, _: &u64| -> Result<u64, String> { Ok(recovered(&disk)) })
        .unwrap();
    let floors = Floors::new()
        .distinct(20)
        .faults(&[FaultKind::PowerCut, FaultKind::ProcessKill], 8)
        .fault(FaultKind::LostSector, 4)
        .fault(FaultKind::TornSector, 4)
        .fault(FaultKind::LostName, 1)
        .step(Call::Write, "dat", 8)
        .step(Call::Sync, "dat", 8)
        .step(Call::SyncDir, "", 1);
    assert_eq!(coverage.below(&floors), [""; 0], "{}", coverage.to_json());
    assert!(
        coverage.decayed > 8 && FaultKind::LATENT.iter().any(|kind| coverage.by_fault[kind] > 0)
    );
    let classed = Explorer::new(1).file_class(|name| if name.is_empty() { "" } else { "file" });
    let coverage = classed.record(sound, check).unwrap();
    assert!(coverage.by_step.contains_key(&(Call::Sync, "file".to_owned())));
}

#[test]
fn budgets_are_kept_to_the_group() {
    let coverage = Explorer::new(1).states_max(5).record(sound, check).unwrap();
    assert!(coverage.cut_short && (5..12).contains(&coverage.states), "{coverage}");
}

// ---- What counts as another state.

#[test]
fn states_that_differ_where_nobody_reads_are_one() {
    let workload = |disk: &SimDisk, _: &Notes<()>| {
        let steps = || -> io::Result<()> {
            let file = make(disk, 8)?;
            (0..6).try_for_each(|at| put(&*file, at, 9))
        };
        let _ = steps();
    };
    let reading = |sectors: u64| {
        move |disk: SimDisk, (): &()| {
            let Ok(file) = disk.open("log.dat", Access::Read) else { return };
            for at in 0..sectors {
                file.read_at(&mut [0; 512], at * 512).unwrap_or(0);
            }
        }
    };
    let distinct = |sectors| Explorer::new(0).record(workload, reading(sectors)).unwrap().distinct;
    // No file and an empty one read the same from the second byte on: only the open tells.
    assert_eq!(distinct(0), 2);
    assert_eq!(distinct(1), 4, "no file, an empty one, zeros, nines");
    assert_eq!(distinct(2), 6);
    assert_eq!(distinct(6), 66);
}

#[test]
fn lengths_and_names_are_read_as_well_as_bytes() {
    let workload = |disk: &SimDisk, _: &Notes<()>| {
        let grow = || disk.open("f", Access::Write)?.set_len(2048);
        let _ = grow();
    };
    let disk = SimDisk::new();
    disk.put_file("f", &[1; 512]);
    let explorer = Explorer::new(0).start_from(&disk);
    let blind = |disk: SimDisk, (): &()| drop(disk.open("f", Access::Read));
    let look = |disk: SimDisk, (): &()| drop(disk.open("f", Access::Read).unwrap().len());
    let list = |disk: SimDisk, (): &()| drop(disk.list());
    assert_eq!(explorer.record(workload, blind).unwrap().distinct, 1);
    for distinct in [explorer.record(workload, look), explorer.record(workload, list)] {
        assert_eq!(distinct.unwrap().distinct, 2);
    }
}

#[test]
fn only_a_later_write_without_an_earlier_one_is_out_of_order() {
    let workload = |disk: &SimDisk, _: &Notes<()>| {
        let steps = || -> io::Result<()> {
            let file = make(disk, 8)?;
            file.write_at(&[IoSlice::new(&[1; 1024])], 512).map(drop)
        };
        let _ = steps();
    };
    let read = |disk: SimDisk, (): &()| drop(disk.contents("log.dat"));
    let coverage = Explorer::new(0).record(workload, read).unwrap();
    assert_eq!(coverage.by_fault[&FaultKind::Reordered], 1, "{}", coverage.to_json());
}

/// Promises that `f` is there once it sees it, and makes the promise durable, not the name.
fn trusting(disk: SimDisk, (): &()) -> Result<(), &'static str> {
    let there = disk.contents("f").is_some();
    if disk.contents("promise").is_some_and(|promise| promise == [1]) && !there {
        return Err("f was promised and is gone");
    }
    let promise = || -> io::Result<()> {
        let file = disk.open("promise", Access::Write)?;
        file.write_at(&[IoSlice::new(&[1])], 0)?;
        file.sync_data()
    };
    if there {
        let _ = promise();
    }
    Ok(())
}

#[test]
fn a_kill_is_judged_again_when_other_bytes_may_still_be_lost() {
    let start = SimDisk::new();
    start.put_file("f", b"");
    start.put_file("promise", b"0");
    // Back under its name; but that is not durable, while at the start it was.
    let workload = |disk: &SimDisk, _: &Notes<()>| {
        let steps = || -> io::Result<()> {
            disk.sync_dir()?;
            disk.rename("f", "g")?;
            disk.rename("g", "f")
        };
        let _ = steps();
    };
    let explorer = Explorer::new(0).start_from(&start).kills();
    assert!(explorer.record(workload, trusting).is_ok());
    let failure = explorer.depth(2).record(workload, trusting).unwrap_err();
    assert!(failure.case.contains(".k/"), "{failure}");
}

#[test]
fn what_was_judged_is_judged_again_only_for_other_promises() {
    let judged = AtomicU64::new(0);
    let count = |disk: SimDisk, promised: &u64| {
        judged.fetch_add(1, Ordering::Relaxed);
        check(disk, promised)
    };
    let coverage = Explorer::new(0).record(sound, count).unwrap();
    assert_eq!(judged.load(Ordering::Relaxed), coverage.states);
    // The disk is the same before and after a promise; judged for both.
    assert!(coverage.states > coverage.distinct && coverage.repeated > 0, "{coverage}");
}

#[test]
fn explorations_that_share_what_was_seen_do_not_count_it_twice() {
    let seen = Seen::default();
    let explore = |seed| Explorer::new(seed).seen(&seen).record(sound, check).unwrap();
    let (first, second) = (explore(1), explore(2));
    assert_eq!((second.distinct, first.distinct), (0, seen.len()));
    assert_eq!(first.states, second.states);
}

#[test]
fn a_sector_that_cannot_be_read_is_another_state() {
    let disk = SimDisk::new();
    disk.put_file("f", &[1; 1024]);
    let spoilt = disk.fork();
    spoilt.spoil_sector("f", 1).unwrap();
    assert_ne!(disk.fingerprint(), spoilt.fingerprint());
}

// ---- Shrinking.

#[test]
fn a_failure_keeps_only_the_sectors_that_matter() {
    let workload = |disk: &SimDisk, _: &Notes<()>| {
        let steps = || -> io::Result<()> {
            let file = make(disk, 40)?;
            let bytes: Vec<u8> = (1..=40u8).flat_map(|at| [at; 512]).collect();
            file.write_at(&[IoSlice::new(&bytes)], 0).map(drop)
        };
        let _ = steps();
    };
    // Sectors 7 and 30, together, are more than this recovery can bear.
    let check = |disk: SimDisk, (): &()| {
        let bytes = disk.contents("log.dat").unwrap_or_default();
        let holds = |at: usize| bytes.get(at * 512).is_some_and(|&byte| byte > 0);
        if holds(7) && holds(30) { Err("7 and 30") } else { Ok(()) }
    };
    let explorer = Explorer::new(3).torn();
    let failure = explorer.record(workload, check).unwrap_err();
    assert!(failure.picture.contains(": -7 + -22 + -9\n"), "{failure}");
    assert_ne!(failure.case, failure.found_as);
    assert!(failure.to_string().contains("shrunk from"), "{failure}");
    for case in [&failure.case, &failure.found_as] {
        assert_eq!(explorer.replay_recorded(case, workload, check).unwrap_err().reason, "7 and 30");
    }
}

#[test]
fn a_failure_found_in_a_drawn_cut_is_shown_in_the_earliest() {
    let explorer = Explorer::new(2).cuts_max(3);
    let failure = explorer.record(hasty, check).unwrap_err();
    assert_eq!(failure.reason, "2 promised, 1 found");
    assert_ne!(failure.case, failure.found_as);
    let again = explorer.replay_recorded(&failure.case, hasty, check).unwrap_err();
    assert_eq!(again.reason, failure.reason);
}

#[test]
fn a_workload_with_a_length_is_shortened() {
    let workload = |disk: &SimDisk, notes: &Notes<u64>, length: usize| {
        let steps = || -> io::Result<()> {
            append(disk, notes, length.min(5), false)?;
            if length > 5 {
                // From the sixth on it does not sync.
                let file = disk.open("log.dat", Access::Write)?;
                for at in 5..length as u64 {
                    put(&*file, at, at as u8 + 1)?;
                    notes.update(|promised| *promised = at + 1);
                }
            }
            Ok(())
        };
        let _ = steps();
    };
    let explorer = Explorer::new(0).command("cargo run --");
    let failure = explorer.record_sized(40, workload, check).unwrap_err();
    assert_eq!((failure.length, failure.reason.as_str()), (Some(6), "6 promised, 5 found"));
    assert!(failure.replay().starts_with("cargo run -- --seed 0 --case 'n6:"), "{failure}");
    let again = explorer.replay_sized(&failure.case, workload, check).unwrap_err();
    assert_eq!(again.reason, failure.reason);
    assert!(explorer.record_sized(5, workload, check).is_ok());
}

// ---- Faults that are drawn.

#[test]
fn decay_is_told_to_the_check_and_replayed() {
    let strict = |disk: SimDisk, promised: &u64| {
        let damages = disk.damages();
        check(disk, promised).map_err(|reason| format!("{reason} after {}", damages.len()))
    };
    let explorer = Explorer::new(1).latent(4);
    let failure = explorer.record(sound, strict).unwrap_err();
    assert!(failure.case.contains('~') && failure.reason.ends_with("after 1"), "{failure}");
    let again = explorer.replay_recorded(&failure.case, sound, strict).unwrap_err();
    assert_eq!(again.reason, failure.reason);
    let lenient = |disk: SimDisk, promised: &u64| {
        if disk.damages().is_empty() { check(disk, promised) } else { Ok(()) }
    };
    assert!(explorer.record(sound, lenient).unwrap().decayed > 10);
}

/// As `sound`, but a sync that fails is made again.
fn stubborn(disk: &SimDisk, notes: &Notes<u64>) {
    let steps = || -> io::Result<()> {
        let file = make(disk, 8)?;
        for at in 0..8 {
            put(&*file, at, at as u8 + 1)?;
            file.sync_data().or_else(|_| file.sync_data())?;
            notes.update(|promised| *promised = at + 1);
        }
        Ok(())
    };
    let _ = steps();
}

#[test]
fn drawn_live_faults_catch_a_sync_that_is_retried() {
    assert!(Explorer::new(0).record(stubborn, check).is_ok(), "it takes a fault to show");
    let explorer = Explorer::new(0).live_faults(11);
    let failure = explorer.record(stubborn, check).unwrap_err();
    assert!(failure.case.starts_with('f'), "{failure}");
    let again = explorer.replay_recorded(&failure.case, stubborn, check).unwrap_err();
    assert_eq!(again.reason, failure.reason);
}

#[test]
fn drawn_live_faults_hit_and_are_counted() {
    let coverage = Explorer::new(5).live_faults(22).record(sound, check).unwrap();
    let kinds = [
        FaultKind::SyncFailed,
        FaultKind::DirectorySyncFailed,
        FaultKind::WritebackLost,
        FaultKind::WriteFailed,
        FaultKind::ShortWrite,
        FaultKind::SlowCall,
        FaultKind::NoSpace,
        FaultKind::CallFailed,
    ];
    assert_eq!(coverage.below(&Floors::new().faults(&kinds, 1)), [""; 0], "{}", coverage.to_json());
}

#[test]
fn faults_of_the_plan_are_met_in_the_recorded_run() {
    let faults = Faults::new().fail(Call::Sync, 4);
    let coverage = Explorer::new(1).faults(faults).record(sound, check).unwrap();
    assert_eq!(coverage.faults_by_call[&Call::Sync], 1);
    assert!(coverage.by_fault[&FaultKind::SyncFailed] > 0);
}

#[test]
fn a_lying_cache_is_caught_and_counted() {
    let disk = Model::new().lying_cache(2).disk();
    let failure = Explorer::new(1).start_from(&disk).record(sound, check).unwrap_err();
    assert!(failure.reason.contains("promised"), "{failure}");
}

// ---- Cuts in recovery.

/// Marks the log as recovered before it is, so that a second recovery trusts it.
fn careless(disk: SimDisk, promised: &u64) -> Result<(), String> {
    let found = recovered(&disk);
    let steps = || -> io::Result<()> {
        if disk.open("mark", Access::Read).is_err() {
            let mark = disk.create("mark", 0)?;
            disk.sync_dir()?;
            mark.write_at(&[IoSlice::new(&[found as u8])], 0)?;
            mark.sync_data()?;
        }
        Ok(())
    };
    let marked = disk.contents("mark");
    if marked.is_some_and(|mark| mark.first().is_none_or(|&mark| u64::from(mark) < *promised)) {
        return Err("the mark is less than what was promised".to_owned());
    }
    match steps() {
        Err(error) if SimError::of(&error) != Some(SimError::PowerOff) => Err(error.to_string()),
        _ => Ok(()),
    }
}

#[test]
fn a_cut_in_a_recorded_recovery_is_found_shrunk_and_replayed() {
    assert!(Explorer::new(0).record(sound, careless).is_ok());
    let explorer = Explorer::new(0).depth(3).recovery_cuts_max(9).recovery_states_per_cut(4);
    let failure = explorer.record(sound, careless).unwrap_err();
    assert!(failure.case.contains('/'), "{failure}");
    let again = explorer.replay_recorded(&failure.case, sound, careless).unwrap_err();
    assert_eq!(again.reason, failure.reason);
}

#[test]
fn depth_three_cuts_three_times_in_a_row() {
    let recovering = |disk: SimDisk, _: &u64| {
        let _ = disk.create("again", 0).and_then(|file| file.sync_all());
        let _ = disk.remove("again");
    };
    let explorer = Explorer::new(0).depth(3).cuts_max(4).kills();
    let coverage = explorer.record(sound, recovering).unwrap();
    assert_eq!(coverage.by_depth.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    let deeper: u64 = coverage.by_depth.values().sum();
    assert_eq!(deeper, coverage.states);
    let explorer = Explorer::new(0).depth(2).recovery_cuts_max(1);
    let coverage = explorer.record(sound, recovering).unwrap();
    assert_eq!(coverage.cuts_in_recovery, coverage.by_depth[&1], "one for each state");
    let explorer = explorer.recovery_states_per_cut(1);
    let coverage = explorer.record(sound, recovering).unwrap();
    assert!(coverage.by_depth[&2] <= coverage.cuts_in_recovery, "one of each cut at most");
}

// ---- Threads.

#[test]
fn threads_change_neither_what_is_found_nor_its_hash() {
    let explore = |threads| {
        let explorer = Explorer::new(9).torn().kills().latent(1).live_faults(4).depth(2);
        let explorer = explorer.recovery_cuts_max(2).threads(threads).seen(&Seen::default());
        explorer.record(sound, |disk, promised: &u64| {
            let _ = disk.create("again", 0);
            if disk.damages().is_empty() { check(disk, promised) } else { Ok(()) }
        })
    };
    let one = explore(1).unwrap();
    for threads in [1, 2, 5] {
        assert_eq!(explore(threads).unwrap(), one);
    }
    let failed = |threads| *Explorer::new(9).threads(threads).record(hasty, check).unwrap_err();
    let (first, second) = (failed(1), failed(4));
    assert_eq!((first.case, first.coverage), (second.case, second.coverage));
}

// ---- Mistakes of the user.

#[test]
fn a_panic_of_the_workload_or_the_check_is_a_failure() {
    let panics = |disk: &SimDisk, _: &Notes<()>| drop(disk.open("none", Access::Read).unwrap());
    let failure = Explorer::new(0).record(panics, |_, ()| ()).unwrap_err();
    assert!(failure.reason.contains("the workload panicked"), "{failure}");
    let failure = Explorer::new(0).record(sound, |disk, _: &u64| {
        assert!(!disk.names().is_empty(), "no file");
    });
    assert_eq!(failure.unwrap_err().reason, "no file");
}

#[test]
fn a_workload_that_does_not_repeat_itself_is_told_so() {
    let runs = AtomicU64::new(0);
    let workload = |disk: &SimDisk, _: &Notes<()>| {
        let fill = runs.fetch_add(1, Ordering::Relaxed) as u8;
        let _ = make(disk, 8).and_then(|file| put(&*file, 0, fill));
    };
    let failure = Explorer::new(0).record(workload, |_, ()| ()).unwrap_err();
    assert!(failure.reason.contains("the same each time"), "{failure}");
}
