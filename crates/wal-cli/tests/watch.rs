//! `bench`, `top` and `demo`, as a shell meets them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod signal;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

fn wal(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wal")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn bench_tells_both_sides_in_json_and_removes_what_it_made() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["bench", name(dir.path()), "--seconds", "1", "--threads", "3", "--json"];
    let output = wal(&[&args[..], &["--record-bytes", "5000"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((told["threads"].as_u64(), told["record_bytes"].as_u64()), (Some(3), Some(5000)));
    for side in ["raw", "log"] {
        let side = &told[side];
        // Five turns, in which each thread commits once at the least.
        assert!(side["commits"].as_u64().unwrap() >= 15, "{side}");
        assert!(side["per_second"].as_f64().unwrap() > 0.0);
        assert!(side["p50_us"].as_u64() <= side["p99_us"].as_u64());
    }
    assert!(told["ratio"].as_f64().unwrap() > 0.0 && told["log_syncs"].as_u64().unwrap() > 0);
    assert!(is_empty(dir.path()));
}

#[test]
fn bench_that_is_interrupted_removes_what_it_made_and_ends_by_the_signal() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wal"))
        .args(["bench", name(dir.path()), "--seconds", "3600"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while is_empty(dir.path()) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it made anything");
        std::thread::sleep(Duration::from_millis(5));
    }
    signal::send(&child, signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(2), "{}", text(&output.stderr));
    assert!(is_empty(dir.path()));
}

#[test]
fn bench_where_there_is_no_directory_is_code_6_and_a_wrong_size_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    assert_eq!(wal(&["bench", name(&missing)]).status.code(), Some(6));
    assert_eq!(wal(&["bench", name(dir.path()), "--threads", "0"]).status.code(), Some(2));
    assert!(is_empty(dir.path()));
}

fn log(path: &Path, publish: Option<Duration>) -> wal::Wal {
    let options = wal::Options::default().segment_bytes(1 << 16).publish_stats(publish);
    wal::Wal::open(path, options, |_: &wal::ReplayRecord<'_>| Ok::<(), std::io::Error>(())).unwrap()
}

fn top(path: &Path) -> Value {
    let output = wal(&["top", name(path), "--once", "--json", "--interval", "100"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn top_of_a_log_that_publishes_knows_its_rates_and_of_another_says_that_it_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let running = log(&path, Some(Duration::from_millis(10)));
    let _held = running.hold("tail", running.head(), None).unwrap();
    let _kept = running.hold_persistent("replica", running.head(), None).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                running.append(b"a record").unwrap().wait_durable().unwrap();
            }
        });
        // A machine that does much else may give either process no time between two looks.
        let told = (0..100)
            .map(|_| top(&path))
            .find(|told| told["records_per_second"].as_f64() > Some(0.0));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        told.unwrap()
    });
    for figure in ["bytes_per_second", "syncs_per_second", "records_per_flush", "sync_us"] {
        assert!(told[figure].as_f64().unwrap() > 0.0, "{figure}: {told}");
    }
    assert!(told["durable_lag_bytes"].is_u64() && told["published"]["durable"].is_u64());
    assert_eq!(told["holds"][0]["name"], "replica");
    assert_eq!(told["holds_in_memory"][0]["name"], "tail");
    running.close().unwrap();
    drop(running);

    let silent = log(&path, None);
    let told = top(&path);
    assert!(told["published"].is_null() && told["records_per_second"].is_null());
    assert!(told["segments"].as_u64().unwrap() > 0 && told["durable_noted"].is_u64());
    let shown = wal(&["top", name(&path), "--once", "--interval", "50"]);
    assert!(text(&shown.stdout).contains("not known"), "{}", text(&shown.stdout));
    assert!(!text(&shown.stdout).contains('\x1b'), "no terminal, no redrawing");
    silent.close().unwrap();
}

#[test]
fn top_says_of_figures_that_are_old_that_their_process_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    log(&path, None).close().unwrap();
    let old = "wal-stats 1\nsequence 1\nunix_us 1\nprocess 1\ninterval_us 1000\nend 1\n";
    fs::write(path.join("stats"), old).unwrap();
    let told = top(&path);
    assert_eq!(told["stale"], true);
    assert!(told["records_per_second"].is_null());
    let shown = text(&wal(&["top", name(&path), "--once", "--interval", "50"]).stdout);
    assert!(shown.contains("gone, or stopped"), "{shown}");
    fs::write(path.join("stats"), [0xff; 4096]).unwrap();
    assert!(top(&path)["published"].is_null(), "nonsense is nothing published");
}

#[test]
fn top_of_no_log_is_code_6() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(wal(&["top", name(dir.path()), "--once"]).status.code(), Some(6));
    assert!(is_empty(dir.path()));
}

#[test]
fn demo_goes_as_promised_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wal"))
        .arg("demo")
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}{}", text(&output.stderr));
    for step in ["acknowledged when it died", "recovers by opening", "decays", "salvage", "lost"] {
        assert!(told.contains(step), "{step}: {told}");
    }
    assert!(!told.contains(name(dir.path())), "paths are short: {told}");
    assert!(is_empty(dir.path()));
}
