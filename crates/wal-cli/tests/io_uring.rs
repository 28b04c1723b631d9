//! `wal append --io-uring` when the kernel takes nothing from it.
#![cfg(all(target_os = "linux", feature = "io-uring"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Case, IO_URING, can_trace, can_write, lines, look, text, traced};

const ALONE: &[&str] = &["--single-threaded"];

#[test]
fn a_submission_that_is_refused_goes_by_two_calls_and_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    if !can_trace() || !can_write(IO_URING, home.path()) {
        return;
    }
    let input = lines(1, 6);
    let whole = traced(&home.path().join("whole"), &input, IO_URING, ALONE, None);
    let (submissions, syncs) = (whole.calls()["io_uring_enter"], count(&whole.trace, "fdatasync"));
    assert!(submissions > 3, "{submissions} flushes went through the ring");
    // The first is that of the opening, which tries the path.
    for number in 2..=submissions {
        let dir = home.path().join(number.to_string());
        let case = Case { call: "io_uring_enter".to_owned(), number };
        let run = traced(&dir, &input, IO_URING, ALONE, Some(&case.inject("error=EAGAIN")));
        assert!(run.output.status.success(), "{case:?}: {}", text(&run.output.stderr));
        assert_eq!(run.acknowledged().len(), input.len());
        let synced = count(&run.trace, "fdatasync");
        assert!(synced > syncs, "{case:?}: {synced} syncs instead of {syncs}");
        assert_eq!(look(&dir).lines, input);
    }
}

#[test]
fn a_system_without_io_uring_is_told_before_anything_is_made() {
    if !can_trace() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-o"]).arg(home.path().join("trace"));
    command.args(["-e", "trace=io_uring_setup", "-e", "inject=io_uring_setup:error=EPERM"]);
    command.arg(env!("CARGO_BIN_EXE_wal")).arg("append").arg(&dir).arg("--io-uring");
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("the system refuses io_uring"), "{said}");
    assert!(!dir.exists());
}

fn count(trace: &str, call: &str) -> usize {
    trace.lines().filter(|line| line.contains(&format!("{call}("))).count()
}
