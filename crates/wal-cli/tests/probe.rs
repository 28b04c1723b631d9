//! `wal probe` as a shell meets it: what it tells, what it leaves behind, how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod signal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use signal::SIGINT;

const WAYS: usize = 23;
const SIGTERM: i32 = 15;

fn wal(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wal"));
    command.arg("probe").args(args).arg(dir);
    command
}

fn run(args: &[&str], dir: &Path) -> Output {
    wal(args, dir).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

/// Told as JSON, after the shortest time.
fn told(dir: &Path) -> Value {
    let output = run(&["--seconds", "1", "--json"], dir);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn json_has_every_figure_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let told = told(dir.path());
    assert!(is_empty(dir.path()));
    let place = &told["place"];
    assert_eq!(place["dir"].as_str(), dir.path().to_str());
    for field in ["file_system", "kernel", "processors"] {
        assert!(!place[field].is_null(), "{field}");
    }
    for field in ["file_system_block_bytes", "mount", "device", "load_before"] {
        assert!(place.get(field).is_some(), "{field}");
    }
    assert_eq!(told["rounds"], 5);
    assert!(told["seconds"].as_f64().unwrap() > 0.0);
    assert!(told["spread"].as_f64().unwrap() >= 1.0);

    let (ways, refused) =
        (told["ways"].as_array().unwrap(), told["not_supported"].as_array().unwrap());
    assert_eq!(ways.len() + refused.len(), WAYS);
    assert!(refused.iter().all(|it| !it["why"].as_str().unwrap().is_empty()));
    assert_eq!(ways[0]["name"], "data_sync");
    for way in ways {
        // Each way has five rounds, in which each of its writers writes once at the least.
        assert!(way["writes"].as_u64().unwrap() >= 5 * way["writers"].as_u64().unwrap(), "{way}");
        let (p50, p99) = (way["p50_us"].as_f64().unwrap(), way["p99_us"].as_f64().unwrap());
        assert!(p50 <= p99 && p99 <= way["max_us"].as_f64().unwrap(), "{way}");
        for field in ["about", "bytes", "per_second", "spread"] {
            assert!(!way[field].is_null(), "{field} of {way}");
        }
        let base = ways.iter().find(|it| it["name"] == way["baseline"]).unwrap();
        for (ratio, of) in
            [("p50_ratio", "p50_us"), ("p99_ratio", "p99_us"), ("per_second_ratio", "per_second")]
        {
            let expected = way[of].as_f64().unwrap() / base[of].as_f64().unwrap();
            assert!((way[ratio].as_f64().unwrap() - expected).abs() < 1e-9, "{ratio} of {way}");
        }
    }
    let rates = told["rates"].as_array().unwrap();
    assert!(rates.len() >= 2);
    assert!(rates.iter().all(|it| it["bytes_per_second"].as_f64().unwrap() > 0.0));
}

#[test]
fn what_is_recommended_is_what_a_log_takes_and_says_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let told = told(dir.path());
    let recommended = &told["recommended"];
    assert!(recommended["code"].as_str().unwrap().starts_with("Options::default()"));
    for field in ["sync_method", "sync_policy", "direct", "flushes_in_flight"] {
        assert!(!recommended[field].is_null(), "{field}");
    }
    let ways: Vec<&Value> =
        told["ways"].as_array().unwrap().iter().map(|way| &way["name"]).collect();
    let reasons = recommended["reasons"].as_array().unwrap();
    let warnings = told["warnings"].as_array().unwrap();
    assert!(!reasons.is_empty());
    for said in reasons.iter().chain(warnings) {
        assert!(said["from"].as_array().unwrap().iter().all(|it| ways.contains(&it)), "{said}");
    }
    let flags = recommended["append_flags"].as_array().unwrap();
    let followed = Command::new(env!("CARGO_BIN_EXE_wal"))
        .arg("append")
        .args(flags.iter().map(|flag| flag.as_str().unwrap()))
        .arg(dir.path().join("log"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(followed.status.code(), Some(0), "{}", stderr(&followed));
}

#[test]
fn a_person_is_told_the_same_without_colours_where_there_is_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["--seconds", "1"], dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["| data_sync ", "files_8", "CRC-32C", "recommended: Options::default()"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert!(!text.contains('\x1b'), "{text}");
    assert_eq!(output.stderr, b"", "no progress bar");
}

#[test]
fn a_directory_that_is_not_there_and_a_file_are_code_6_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "text").unwrap();
    for path in [dir.path().join("none"), file.clone()] {
        let output = run(&[], &path);
        assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
        assert!(stderr(&output).contains(path.to_str().unwrap()), "{}", stderr(&output));
        assert_eq!(output.stdout, b"");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "text");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_directory_that_cannot_be_written_to_is_code_1_and_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // Who may do everything may write there; nobody makes directories in this one.
    let all_powerful = fs::write(dir.path().join("probe"), "").is_ok();
    let place = if all_powerful { Path::new("/proc/self/net") } else { dir.path() };
    if !place.is_dir() {
        eprintln!("SKIPPED: there is no directory here that cannot be written to");
        return;
    }
    let output = run(&[], place);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains(place.to_str().unwrap()), "{}", stderr(&output));
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_failure_half_way_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    // Files may have a mebibyte: less than the first one wants. To be refused, not killed.
    let script = format!(
        "trap '' XFSZ; ulimit -f 1024; exec '{}' probe '{}'",
        env!("CARGO_BIN_EXE_wal"),
        dir.path().display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains(dir.path().to_str().unwrap()), "{}", stderr(&output));
    assert_eq!(output.stdout, b"");
    assert!(is_empty(dir.path()));
}

#[test]
fn a_senseless_time_is_code_2() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&["--seconds", "0"], dir.path()).status.code(), Some(2));
    assert!(is_empty(dir.path()));
}

#[test]
fn a_signal_ends_it_by_that_signal_and_nothing_is_left_behind() {
    for signal in [SIGINT, SIGTERM] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = wal(&["--seconds", "3600"], dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Its directory is there once it has asked to be told of signals.
        while is_empty(dir.path()) && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        signal::send(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(signal), "{}", stderr(&output));
        assert!(stderr(&output).contains("nothing is left behind"), "{}", stderr(&output));
        assert!(is_empty(dir.path()));
        assert_eq!(output.stdout, b"");
    }
}
