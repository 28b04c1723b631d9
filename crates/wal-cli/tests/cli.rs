//! The command as a shell meets it: output, exit codes, and what it leaves alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn run(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wal"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command which does not read its input may be gone by now.
    let _written = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed: {}", stderr(output)))
}

/// A closed log of ten records, `record 1` to `record 10`, with small segments.
fn log() -> (TempDir, PathBuf, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let name = path.to_str().unwrap().to_owned();
    let input: String = (1..=10).map(|number| format!("record {number}\n")).collect();
    let output = run(&["append", &name, "--segment-bytes", "65536"], &input);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    (dir, path, name)
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    files
}

/// Flips a bit of the first byte of `text` in the first segment.
fn damage(path: &Path, text: &str) {
    let file = &segments(path)[0];
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn verify(name: &str) -> (i32, Value) {
    let output = run(&["verify", name, "--json"], "");
    (code(&output), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn what_is_appended_is_what_cat_prints() {
    let (_dir, _, name) = log();
    let expected: String = (1..=10).map(|number| format!("record {number}\n")).collect();
    assert_eq!(stdout(&run(&["cat", &name], "")), expected);
    let limited = run(&["cat", &name, "--limit", "3"], "");
    assert_eq!((code(&limited), stdout(&limited).lines().count()), (0, 3));
    let json = stdout(&run(&["cat", &name, "--json"], ""));
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((first["body"].as_str(), first["kind"].as_str()), (Some("record 1"), Some("data")));
}

#[test]
fn eight_threads_acknowledge_every_line_once_and_keep_each_threads_order() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("log").to_str().unwrap().to_owned();
    let input: String = (1..=400).map(|number| format!("{number}\tline {number}\n")).collect();
    let args = [
        "append",
        &name,
        "--threads",
        "8",
        "--ack",
        "--numbered-input",
        "--segment-bytes",
        "65536",
    ];
    let output = run(&args, &input);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let mut acknowledged: Vec<u64> = stdout(&output)
        .lines()
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, (1..=400).collect::<Vec<_>>());
    let last: Value = serde_json::from_str(stderr(&output).lines().last().unwrap()).unwrap();
    assert_eq!(last["records"], 400);
    assert!(last["syncs"].as_u64().unwrap() > 0);
    let cat = stdout(&run(&["cat", &name], ""));
    let numbers: Vec<u64> =
        cat.lines().map(|line| line.split('\t').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers.len(), 400);
    for thread in 0..8 {
        let own: Vec<u64> = numbers.iter().copied().filter(|n| (n - 1) % 8 == thread).collect();
        assert!(own.is_sorted(), "thread {thread}: {own:?}");
    }
}

#[test]
fn one_thread_and_every_way_to_sync_keep_the_same_records() {
    for flags in [
        &["--sync-method", "full-sync"][..],
        &["--sync-method", "write-through"],
        &["--single-threaded"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("log").to_str().unwrap().to_owned();
        let mut args = vec!["append", &name, "--segment-bytes", "65536"];
        args.extend(flags);
        let output = run(&args, "one\ntwo\n");
        assert_eq!(code(&output), 0, "{flags:?}: {}", stderr(&output));
        assert_eq!(stdout(&run(&["cat", &name], "")), "one\ntwo\n", "{flags:?}");
    }
    assert_eq!(code(&run(&["append", "x", "--single-threaded", "--threads", "2"], "")), 2);
}

#[test]
fn a_whole_log_verifies_with_code_0_and_a_torn_one_with_code_3() {
    let (_dir, path, name) = log();
    let (exit, summary) = verify(&name);
    assert_eq!((exit, summary["verdict"].as_str()), (0, Some("clean-end")));
    assert_eq!(summary["clean"], true);
    // Half a record behind the end, and no control file to say that the log was closed.
    let end = summary["end"].as_u64().unwrap();
    let file = &segments(&path)[0];
    let mut bytes = fs::read(file).unwrap();
    bytes[end as usize..][..20].copy_from_slice(&[0x5a; 20]);
    fs::write(file, bytes).unwrap();
    fs::remove_file(path.join("control")).unwrap();
    let (exit, summary) = verify(&name);
    assert_eq!((exit, summary["verdict"].as_str()), (3, Some("torn-tail")));
    assert_eq!(run(&["cat", &name], "").stdout.iter().filter(|byte| **byte == b'\n').count(), 10);
}

#[test]
fn a_damaged_log_is_named_with_code_4_and_left_as_it_is() {
    let (_dir, path, name) = log();
    damage(&path, "record 4");
    let before = fs::read(&segments(&path)[0]).unwrap();
    let (exit, summary) = verify(&name);
    assert_eq!((exit, summary["verdict"].as_str()), (4, Some("corrupt")));
    assert!(summary["message"].as_str().unwrap().contains("damaged"));
    let append = run(&["append", &name], "one more\n");
    assert_eq!(code(&append), 4, "{}", stderr(&append));
    let cat = run(&["cat", &name], "");
    assert_eq!((code(&cat), stdout(&cat).lines().count()), (4, 3), "{}", stderr(&cat));
    assert_eq!(fs::read(&segments(&path)[0]).unwrap(), before);
}

#[test]
fn a_missing_segment_is_named_with_code_4() {
    let (_dir, path, name) = log();
    let filler = format!("{}\n", "x".repeat(1000)).repeat(300);
    assert_eq!(code(&run(&["append", &name, "--segment-bytes", "65536"], &filler)), 0);
    let files = segments(&path);
    assert!(files.len() > 3);
    fs::remove_file(&files[1]).unwrap();
    let (exit, summary) = verify(&name);
    assert_eq!((exit, summary["verdict"].as_str()), (4, Some("missing-segment")));
}

#[test]
fn a_log_of_a_newer_version_is_named_with_code_5() {
    let (_dir, path, name) = log();
    let (_other_dir, other, _) = log();
    let foreign = segments(&other)[0].file_name().unwrap().to_owned();
    fs::copy(other.join(&foreign), path.join(&foreign)).unwrap();
    let (exit, summary) = verify(&name);
    assert_eq!((exit, summary["verdict"].as_str()), (5, Some("foreign-segment")));
    assert!(summary["message"].as_str().unwrap().contains(foreign.to_str().unwrap()));
}

#[test]
fn where_there_is_no_log_the_code_is_6_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().to_str().unwrap();
    for command in ["cat", "dump", "verify", "stat"] {
        let output = run(&[command, name], "");
        assert_eq!(code(&output), 6, "{command}: {}", stderr(&output));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_wrong_command_line_is_code_2() {
    let (_dir, _, name) = log();
    assert_eq!(code(&run(&["append", &name, "--threads", "0"], "")), 2);
    assert_eq!(code(&run(&["dump", &name, "--kind", "no-such"], "")), 2);
    assert_eq!(code(&run(&["no-such"], "")), 2);
}

#[test]
fn dump_shows_every_header_field_and_takes_ranges_and_kinds() {
    let (_dir, _, name) = log();
    let lines = |args: &[&str]| -> Vec<Value> {
        let mut all = vec!["dump", &name, "--json"];
        all.extend(args);
        let output = run(&all, "");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let lines = stdout(&output);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let records = |args: &[&str]| -> Vec<Value> {
        lines(args).into_iter().filter(|line| line.get("lsn").is_some()).collect()
    };
    let all = records(&[]);
    assert!(lines(&[])[0]["segment"].is_string());
    for field in ["checksum", "body_len", "durable", "epoch", "kind", "flags", "txn", "prev_lsn"] {
        assert!(all[1].get(field).is_some(), "{field}");
    }
    let data = records(&["--kind", "data"]);
    assert_eq!(data.len(), 10);
    let (from, to) = (data[2]["lsn"].to_string(), data[5]["lsn"].to_string());
    let middle = records(&["--from", &from, "--to", &to]);
    assert_eq!(middle.len(), 3);
    assert_eq!(middle[0]["body"], "record 3");
    assert_eq!(records(&["--limit", "2"]).len(), 2);
}

#[test]
fn stat_counts_what_is_there() {
    let (_dir, _, name) = log();
    let output = run(&["stat", &name, "--json"], "");
    let stat: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), stat["engine_records"].as_u64()), (0, Some(10)));
    assert!(!stat["segments"].as_array().unwrap().is_empty());
    assert!(stdout(&run(&["stat", &name], "")).contains("10 of the engine"));
}

#[test]
fn help_teaches_the_exit_codes() {
    let help = stdout(&run(&["--help"], ""));
    for word in ["Exit codes", "append", "cat", "dump", "verify", "stat"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn a_file_that_is_not_there_leaves_no_log_behind() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("log").to_str().unwrap().to_owned();
    let output = run(&["append", &name, "no-such-file"], "");
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(!dir.path().join("log").exists());
}

#[test]
fn a_reader_that_goes_away_ends_a_reading_command_quietly_and_an_appending_one_with_code_1() {
    let (_dir, _, name) = log();
    let shell = |script: String| {
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let wal = env!("CARGO_BIN_EXE_wal");
    for command in ["stat", "verify", "dump", "cat"] {
        let (exit, errors) = shell(format!("set -o pipefail; {wal} {command} {name} | true"));
        assert_eq!((exit, errors.contains("panicked")), (Some(0), false), "{command}: {errors}");
    }
    // More acknowledgements than fit into a pipe.
    let script = format!("set -o pipefail; seq 1 50000 | {wal} append {name} --ack | true");
    assert_eq!(shell(script).0, Some(1));
}

#[test]
fn an_output_that_takes_nothing_is_an_error_and_no_panic() {
    if !Path::new("/dev/full").exists() {
        eprintln!("SKIPPED: there is no /dev/full here");
        return;
    }
    let (_dir, _, name) = log();
    for command in ["stat", "verify", "dump", "cat"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut wal = Command::new(env!("CARGO_BIN_EXE_wal"));
        let output =
            wal.args([command, &name]).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(code(&output), 1, "{command}: {}", stderr(&output));
    }
}

#[test]
fn every_reading_command_says_by_its_code_that_a_log_is_damaged() {
    let (_dir, path, name) = log();
    damage(&path, "record 4");
    for command in ["stat", "verify", "dump", "cat"] {
        let output = run(&[command, &name], "");
        assert_eq!(code(&output), 4, "{command}: {}", stderr(&output));
        assert!(!stdout(&output).contains("record 5"), "{command} went on behind the damage");
    }
}
