//! A writer killed by SIGKILL at every system call of a small run, on the real backends.
//!
//! By the number of the call, not by time. SIGKILL takes the process and not the machine: what
//! was written survives, and loss of power is the business of the simulated disk. What is tested
//! here is the real thing around it: locks that die with their owner, half-made files and
//! directories, a real directory's order, and the command's word against the kernel's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{BUFFERED, Backend, Case, DIRECT, IO_URING, IO_URING_DIRECT, WRITE_THROUGH};
use common::{
    append, assert_is_subset, can_trace, can_write, cases, copy, drawn, judge, lines, look, traced,
};

/// Without `cargo xtask inject --all`, one call in so many.
const STEP: u32 = 40;
const ALONE: &[&str] = &["--single-threaded"];

/// Kills a writer of `input[before..]`, which starts from `base`, at each call; returns the cases.
fn kill_at_each(
    home: &Path,
    base: Option<&Path>,
    input: &[String],
    before: usize,
    backend: Backend,
) -> usize {
    let fresh = |name: &str| {
        let dir = home.join(name);
        if let Some(base) = base {
            copy(base, &dir);
        }
        dir
    };
    let run =
        |dir: &Path, inject: Option<&str>| traced(dir, &input[before..], backend, ALONE, inject);
    let whole = run(&fresh("whole"), None);
    assert!(whole.output.status.success(), "{}", common::text(&whole.output.stderr));
    let calls = whole.calls();
    let cases = cases(&calls, STEP);
    for case in &cases {
        let dir = fresh(&format!("{}-{}", case.call, case.number));
        let killed = run(&dir, Some(&case.inject("signal=KILL")));
        let shown = format!("{} {case:?}", backend.name);
        assert!(killed.was_killed(), "{shown}: {:?}", killed.output);
        let acknowledged = killed.acknowledged().len();
        let outcome =
            std::panic::catch_unwind(|| judge(&dir, backend, input, before + acknowledged));
        assert!(outcome.is_ok(), "{shown}, after {acknowledged} acknowledgements");
        std::fs::remove_dir_all(&dir).unwrap();
    }
    // One beyond the last meets nothing: no call was missed.
    for (call, count) in calls.iter().filter(|(call, _)| common::all() || *call == "pwrite64") {
        let beyond = Case { call: call.clone(), number: count + 1 };
        let dir = fresh(&format!("{call}-beyond"));
        let run = run(&dir, Some(&beyond.inject("signal=KILL")));
        assert!(run.output.status.success(), "{} {beyond:?}", backend.name);
    }
    cases.len()
}

/// From nothing to a closed log of several segments.
fn kill_a_first_run(backend: Backend) {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    if !can_write(backend, home.path()) {
        return;
    }
    let cases = kill_at_each(home.path(), None, &lines(1, 12), 0, backend);
    println!("{}: {cases} kills from an empty directory", backend.name);
    assert!(cases > 10);
}

/// From a log whose writer was killed: recovery itself is killed.
fn kill_a_recovery(backend: Backend) {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    if !can_write(backend, home.path()) {
        return;
    }
    let input = lines(1, 14);
    let base = home.path().join("base");
    let whole = traced(&home.path().join("measure"), &input, backend, ALONE, None);
    let flush = if backend.flags.contains(&"--io-uring") { "io_uring_enter" } else { "pwrite64" };
    let middle = Case { call: flush.to_owned(), number: whole.calls()[flush] - 6 };
    let first = traced(&base, &input, backend, ALONE, Some(&middle.inject("signal=KILL")));
    assert!(first.was_killed());
    let before = look(&base).lines.len();
    assert!((first.acknowledged().len()..input.len()).contains(&before), "{before}");
    let cases = kill_at_each(home.path(), Some(&base), &input, before, backend);
    println!("{}: {cases} kills from an unclean log", backend.name);
    assert!(cases > 10);
}

#[test]
fn buffered_first_run_killed_at_any_call_keeps_what_it_acknowledged() {
    kill_a_first_run(BUFFERED);
}

#[test]
fn direct_first_run_killed_at_any_call_keeps_what_it_acknowledged() {
    kill_a_first_run(DIRECT);
}

#[test]
fn write_through_first_run_killed_at_any_call_keeps_what_it_acknowledged() {
    kill_a_first_run(WRITE_THROUGH);
}

#[test]
fn io_uring_first_run_killed_at_any_call_keeps_what_it_acknowledged() {
    kill_a_first_run(IO_URING);
}

#[test]
fn direct_io_uring_first_run_killed_at_any_call_keeps_what_it_acknowledged() {
    kill_a_first_run(IO_URING_DIRECT);
}

#[test]
fn io_uring_recovery_killed_at_any_call_recovers_the_next_time() {
    kill_a_recovery(IO_URING);
}

#[test]
fn buffered_recovery_killed_at_any_call_recovers_the_next_time() {
    kill_a_recovery(BUFFERED);
}

#[test]
fn direct_recovery_killed_at_any_call_recovers_the_next_time() {
    kill_a_recovery(DIRECT);
}

#[test]
fn write_through_recovery_killed_at_any_call_recovers_the_next_time() {
    kill_a_recovery(WRITE_THROUGH);
}

/// Kills four threads and the helper in the middle of many lines, `kills` times in a row on one
/// log. Which thread comes first to its own N-th call is the machine's choice; the seed is ours.
fn kill_a_large_run(backend: Backend, seed: u64, kills: u64) {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    if !can_write(backend, home.path()) {
        return;
    }
    let dir = home.path().join("log");
    let mut acknowledged = BTreeSet::new();
    let mut killed = 0;
    for round in 0..kills {
        let input = lines(round * 600 + 1, round * 600 + 600);
        let case = drawn(seed.wrapping_add(round));
        let run =
            traced(&dir, &input, backend, &["--threads", "4"], Some(&case.inject("signal=KILL")));
        assert!(run.was_killed() || run.output.status.success(), "{case:?}: {:?}", run.output);
        killed += u64::from(run.was_killed());
        acknowledged.extend(run.acknowledged());
        let left = look(&dir);
        assert!([0, 3].contains(&left.verify) || left.lines.is_empty(), "{case:?}: {left:?}");
        let shown = format!("{} seed {seed} round {round} {case:?}", backend.name);
        assert_is_subset(&acknowledged, &left.lines, &shown);
    }
    println!("{}: {killed} kills of a large run, {} lines kept", backend.name, acknowledged.len());
    assert!(killed > kills / 2 && acknowledged.len() > 100);
    let again = append(&dir, &lines(999_001, 999_002), backend, &[]);
    assert!(again.status.success(), "{}", common::text(&again.stderr));
    assert_eq!(look(&dir).verify, 0);
}

#[test]
fn a_large_run_with_threads_killed_anywhere_keeps_what_it_acknowledged() {
    let (kills, backends): (u64, &[Backend]) =
        if common::all() { (60, &[BUFFERED, DIRECT, WRITE_THROUGH]) } else { (4, &[BUFFERED]) };
    for (backend, seed) in backends.iter().zip(1..) {
        kill_a_large_run(*backend, seed * 0x5eed, kills);
    }
}

#[test]
fn the_judge_finds_one_missing_line() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let input = lines(1, 4);
    assert!(append(&dir, &input[..3], BUFFERED, &["--single-threaded"]).status.success());
    let judged = std::panic::catch_unwind(|| judge(&dir, BUFFERED, &input, 4));
    assert!(judged.is_err(), "three of four acknowledged lines are there");
    let other = lines(5, 8);
    assert!(std::panic::catch_unwind(|| judge(&dir, BUFFERED, &other, 0)).is_err(), "altered");
    judge(&dir, BUFFERED, &input, 3);
}
