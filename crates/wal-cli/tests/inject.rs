//! Each system call of a small run failing once, on the three real backends.
//!
//! The call does not happen; the writer is told EIO, ENOSPC or, of a sync, EINTR. A record whose write or sync failed
//! is never acknowledged and neither is any later one; nothing is tried again; whatever was
//! acknowledged survives; the next writer recovers and goes on. What fails while the next segment
//! is made ready concerns no record yet, and does not end the run until that segment is needed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{BUFFERED, Backend, Case, DIRECT, Traced, WRITE_THROUGH, text};
use common::{append, assert_is_subset, can_trace, can_write, cases, copy, drawn, judge, lines};
use common::{look, traced};

/// Without `cargo xtask inject --all`, one call in so many.
const STEP: u32 = 40;
const ALONE: &[&str] = &["--single-threaded"];
/// What each error can be the answer to.
const ERRORS: &[(&str, &[&str])] = &[
    (
        "EIO",
        &[
            "pwrite64",
            "pwritev",
            "fdatasync",
            "fsync",
            "rename",
            "renameat",
            "renameat2",
            "unlink",
            "unlinkat",
            "openat",
            "ftruncate",
            "fallocate",
            "mkdir",
            "mkdirat",
            "flock",
        ],
    ),
    (
        "ENOSPC",
        &[
            "pwrite64",
            "pwritev",
            "openat",
            "ftruncate",
            "fallocate",
            "rename",
            "mkdir",
            "fdatasync",
        ],
    ),
];

/// A log to start from, if any, and what to append to it.
struct Scene<'a> {
    home: &'a Path,
    base: Option<&'a Path>,
    input: &'a [String],
    /// Lines of `input` which `base` holds.
    before: usize,
    backend: Backend,
}

impl Scene<'_> {
    fn run(&self, name: &str, inject: Option<&str>) -> (PathBuf, Traced) {
        let dir = self.home.join(name);
        if let Some(base) = self.base {
            copy(base, &dir);
        }
        let run = traced(&dir, &self.input[self.before..], self.backend, ALONE, inject);
        (dir, run)
    }

    /// Lets each call fail once; returns how many did, and how many of them ended the run.
    fn fail_each(&self) -> (usize, usize) {
        let (_, whole) = self.run("whole", None);
        assert!(whole.output.status.success(), "{}", text(&whole.output.stderr));
        let mut calls = whole.calls();
        let (mut failed, mut ended) = (0, 0);
        for (error, names) in ERRORS {
            calls.retain(|call, _| call != "write");
            let concerned = cases(&calls, STEP);
            for case in concerned.iter().filter(|case| names.contains(&case.call.as_str())) {
                failed += 1;
                ended += usize::from(self.fail(case, error));
            }
        }
        (failed, ended)
    }

    /// One case; whether it ended the run.
    fn fail(&self, case: &Case, error: &str) -> bool {
        let name = format!("{}-{}-{error}", case.call, case.number);
        let (dir, run) = self.run(&name, Some(&case.inject(&format!("error={error}"))));
        let shown = format!("{} {case:?} {error}", self.backend.name);
        let code = run.output.status.code();
        let said = text(&run.output.stderr);
        assert!(matches!(code, Some(0 | 1)), "{shown}: {code:?}, {said}");
        assert!(code == Some(0) || said.contains("wal: "), "{shown} says nothing: {said}");
        let after = After::the_injected(&run.trace).unwrap_or_else(|| panic!("{shown}: not met"));
        if after.is_of_records() {
            assert_eq!(code, Some(1), "{shown}: {said}");
            assert!(said.contains(".wal`"), "{shown} does not say where: {said}");
            assert_eq!(after.acknowledgements(), 0, "{shown}: acknowledged after it");
            assert_eq!(after.calls_on_records(), 0, "{shown}: written or synced after it");
        }
        let acknowledged = run.acknowledged().len();
        let whole = self.before + acknowledged == self.input.len();
        assert!(code == Some(1) || whole, "{shown}: success, and {acknowledged} acknowledged");
        let outcome = std::panic::catch_unwind(|| {
            judge(&dir, self.backend, self.input, self.before + acknowledged);
        });
        assert!(outcome.is_ok(), "{shown}, after {acknowledged} acknowledgements: {said}");
        std::fs::remove_dir_all(&dir).unwrap();
        code == Some(1)
    }
}

/// What the writer did from the injected failure on.
struct After<'a> {
    call: &'a str,
    rest: Vec<&'a str>,
}

impl<'a> After<'a> {
    fn the_injected(trace: &'a str) -> Option<Self> {
        let mut lines = trace.lines();
        let call = lines.find(|line| line.ends_with("(INJECTED)"))?;
        Some(Self { call, rest: lines.collect() })
    }

    /// Whether the call that failed wrote or synced records.
    fn is_of_records(&self) -> bool {
        is_of_records(self.call)
    }

    /// Whether the next call is the same one.
    fn is_repeated(&self) -> bool {
        let what = |line: &'a str| line.split(" = ").next();
        self.rest.first().is_some_and(|next| what(next) == what(self.call))
    }

    fn acknowledgements(&self) -> usize {
        self.rest.iter().filter(|line| line.contains(" write(1<")).count()
    }

    fn calls_on_records(&self) -> usize {
        self.rest.iter().filter(|line| is_of_records(line)).count()
    }
}

/// Segments are filled under their final names; what ends in `.tmp` is being prepared.
fn is_of_records(line: &str) -> bool {
    let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let file = call.split(['<', '>']).nth(1).unwrap_or_default();
    ["pwrite64(", "pwritev(", "fdatasync(", "fsync("].iter().any(|name| call.starts_with(name))
        && file.ends_with(".wal")
}

fn fail_a_first_run(backend: Backend) {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    if !can_write(backend, home.path()) {
        return;
    }
    let input = lines(1, 12);
    let scene = Scene { home: home.path(), base: None, input: &input, before: 0, backend };
    let (failed, ended) = scene.fail_each();
    println!("{}: {failed} calls failed, {ended} of them ended the run", backend.name);
    assert!(ended > 5 && failed > ended);
}

fn fail_a_recovery(backend: Backend) {
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
    let middle = Case { call: "pwrite64".to_owned(), number: whole.calls()["pwrite64"] - 6 };
    let first = traced(&base, &input, backend, ALONE, Some(&middle.inject("signal=KILL")));
    assert!(first.was_killed());
    let before = look(&base).lines.len();
    let base = Some(base.as_path());
    let scene = Scene { home: home.path(), base, input: &input, before, backend };
    let (failed, ended) = scene.fail_each();
    println!("{}: {failed} calls of a recovery failed, {ended} ended the run", backend.name);
    assert!(ended > 5 && failed > ended);
}

#[test]
fn buffered_run_ends_at_a_failed_write_or_sync_and_keeps_what_it_acknowledged() {
    fail_a_first_run(BUFFERED);
}

#[test]
fn direct_run_ends_at_a_failed_write_or_sync_and_keeps_what_it_acknowledged() {
    fail_a_first_run(DIRECT);
}

#[test]
fn write_through_run_ends_at_a_failed_write_and_keeps_what_it_acknowledged() {
    fail_a_first_run(WRITE_THROUGH);
}

#[test]
fn buffered_recovery_in_which_a_call_fails_is_done_again_by_the_next() {
    fail_a_recovery(BUFFERED);
}

#[test]
fn direct_recovery_in_which_a_call_fails_is_done_again_by_the_next() {
    fail_a_recovery(DIRECT);
}

#[test]
fn write_through_recovery_in_which_a_call_fails_is_done_again_by_the_next() {
    fail_a_recovery(WRITE_THROUGH);
}

/// Four threads and the helper, one call failing at a place drawn from a seed, again and again on
/// one log. A failed call of records ends each run.
#[test]
fn a_large_run_with_threads_in_which_a_call_fails_keeps_what_it_acknowledged() {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let mut acknowledged = BTreeSet::new();
    let mut met = 0;
    for round in 0..if common::all() { 40 } else { 4 } {
        let input = lines(round * 600 + 1, round * 600 + 600);
        let case = drawn(0x000e_1000 + round);
        if case.call == "write" {
            // A failing standard output or error is the command's own affair.
            continue;
        }
        let inject = case.inject("error=EIO");
        let run = traced(&dir, &input, BUFFERED, &["--threads", "4"], Some(&inject));
        let code = run.output.status.code();
        let shown = format!("round {round} {case:?}: {}", text(&run.output.stderr));
        assert!(matches!(code, Some(0 | 1)), "{code:?} {shown}");
        if let Some(after) = After::the_injected(&run.trace) {
            met += 1;
            assert!(code == Some(1) || !after.is_of_records(), "{shown}");
        }
        acknowledged.extend(run.acknowledged());
        assert_is_subset(&acknowledged, &look(&dir).lines, &shown);
    }
    println!("{met} failures in large runs, {} lines kept", acknowledged.len());
    assert!(met > 0 && acknowledged.len() > 100);
    let again = append(&dir, &lines(999_001, 999_002), BUFFERED, &[]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(look(&dir).verify, 0);
}

#[test]
fn an_interrupted_write_is_gone_on_with() {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let input = lines(1, 12);
    let dir = home.path().join("log");
    let run = traced(&dir, &input, BUFFERED, ALONE, Some("pwrite64:error=EINTR:when=1+2"));
    assert!(run.trace.contains("(INJECTED)"));
    assert!(run.output.status.success(), "{}", text(&run.output.stderr));
    assert_eq!(run.acknowledged().len(), 12);
    judge(&dir, BUFFERED, &input, 12);
}

#[test]
fn an_interrupted_sync_has_failed_and_is_not_repeated() {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let input = lines(1, 4);
    let scene =
        Scene { home: home.path(), base: None, input: &input, before: 0, backend: BUFFERED };
    let (_, whole) = scene.run("whole", None);
    let mut of_records = 0;
    for call in ["fdatasync", "fsync"] {
        for number in 1..=whole.calls()[call] {
            let case = Case { call: call.to_owned(), number };
            scene.fail(&case, "EINTR");
            let (dir, run) = scene.run("again", Some(&case.inject("error=EINTR")));
            std::fs::remove_dir_all(dir).unwrap();
            let after = After::the_injected(&run.trace).unwrap();
            assert!(!after.is_repeated(), "{case:?}: {}", run.trace);
            of_records += usize::from(after.is_of_records());
        }
    }
    assert!(of_records >= 4, "{of_records}");
}

#[test]
fn an_interrupted_write_that_syncs_is_not_repeated() {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let input = lines(1, 6);
    let scene =
        Scene { home: home.path(), base: None, input: &input, before: 0, backend: WRITE_THROUGH };
    let (_, whole) = scene.run("whole", None);
    let mut of_records = 0;
    for number in 1..=whole.calls()["pwrite64"] {
        let case = Case { call: "pwrite64".to_owned(), number };
        let (dir, run) = scene.run("again", Some(&case.inject("error=EINTR")));
        let after = After::the_injected(&run.trace).unwrap();
        if after.is_of_records() {
            of_records += 1;
            assert_eq!(run.output.status.code(), Some(1), "{case:?}: {}", run.trace);
            assert!(!after.is_repeated(), "{case:?}: {}", run.trace);
            judge(&dir, WRITE_THROUGH, &input, run.acknowledged().len());
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
    assert!(of_records >= 4, "{of_records}");
}

#[test]
fn what_follows_a_failure_is_read_from_the_trace() {
    let trace = "\
7 write(1</x>, \"1 40\", 5) = 5
7 fdatasync(5</l/0000-01.wal>) = -1 EIO (Input/output error) (INJECTED)
7 fdatasync(5</l/0000-01.wal>) = 0
7 pwrite64(6</l/0001-01.wal.tmp>, [], 1, 0) = 9
7 write(1</x>, \"2 40\", 5) = 5
7 write(2</x>, \"no\", 2) = 2
";
    let after = After::the_injected(trace).unwrap();
    assert!(after.is_of_records());
    assert_eq!((after.acknowledgements(), after.calls_on_records()), (1, 1));
    assert!(after.is_repeated());
    assert!(After::the_injected("7 fsync(5</l>) = 0\n").is_none());
}
