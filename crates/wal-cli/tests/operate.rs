//! The commands that operate on a log, as a shell meets them: what they do, what they leave alone,
//! and how they end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod signal;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn wal(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wal")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn append(name: &str, input: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wal"))
        .args(["append", name, "--segment-bytes", "65536", "--durability", "written"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed: {}", stderr(output)))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command that must succeed prints, a JSON value a line.
fn json(args: &[&str]) -> Vec<Value> {
    let output = wal(args);
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct Log {
    dir: TempDir,
    path: PathBuf,
    name: String,
}

impl Log {
    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let name = path.to_str().unwrap().to_owned();
        Self { dir, path, name }
    }

    /// A closed log of several sealed segments.
    fn long() -> Self {
        let log = Self::empty();
        append(&log.name, &lines(400));
        log
    }

    fn sibling(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn segments(&self) -> Vec<PathBuf> {
        segments(&self.path)
    }

    /// Flips a bit in the body of line `number`.
    fn damage(&self, number: usize) {
        let text = format!("line {number} ");
        for file in self.segments() {
            let mut bytes = fs::read(&file).unwrap();
            if let Some(at) = bytes.windows(text.len()).position(|part| part == text.as_bytes()) {
                bytes[at] ^= 1;
                return fs::write(file, bytes).unwrap();
            }
        }
        panic!("no {text}");
    }

    /// Names and contents of all files but the lock's note.
    fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    }

    fn cat(name: &str) -> String {
        stdout(&wal(&["cat", name]))
    }
}

fn lines(count: usize) -> String {
    (1..=count).map(|number| format!("line {number} {}\n", "x".repeat(900))).collect()
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    files
}

/// A writer that has the log open until it is dropped.
struct Writer(Child);

impl Writer {
    fn of(name: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wal"))
            .args(["append", name, "--ack", "--segment-bytes", "65536"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"one more\n").unwrap();
        let mut acknowledged = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut acknowledged).unwrap();
        assert!(acknowledged.starts_with("1 "), "{acknowledged}");
        Self(child)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}

#[test]
fn salvage_saves_what_is_whole_reports_the_loss_and_leaves_the_original_alone() {
    let log = Log::long();
    log.damage(200);
    let (before, new) = (log.contents(), log.sibling("saved"));
    let output = wal(&["salvage", &log.name, &new, "--json"]);
    assert_eq!(code(&output), 4, "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "corrupt");
    assert_eq!(report["lost"].as_array().unwrap().len(), 1);
    assert!(report["lost_bytes"].as_u64().unwrap() >= 900 && report["affects_replay"] == true);
    assert!(report["lost"][0]["segment"].as_str().unwrap().ends_with(".wal"));
    assert_eq!(log.contents(), before);
    let saved = Log::cat(&new);
    assert_eq!(saved.lines().count(), 399);
    assert!(!saved.contains("line 200 ") && saved.contains("line 201 "));
    assert_eq!(code(&wal(&["verify", &new])), 0);
    let text = wal(&["salvage", &log.name, &log.sibling("again")]);
    assert!(stdout(&text).contains("lost ") && stdout(&text).contains("copied 4"), "{text:?}");
}

#[test]
fn salvage_of_a_whole_log_loses_nothing_and_says_so() {
    let log = Log::long();
    let output = wal(&["salvage", &log.name, &log.sibling("saved")]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("nothing that was promised is lost"));
    assert_eq!(Log::cat(&log.sibling("saved")), lines(400));
}

#[test]
fn a_place_that_is_taken_is_refused_with_the_reason_and_left_as_it_is() {
    let (log, other) = (Log::long(), Log::long());
    let half = log.sibling("half");
    fs::create_dir(&half).unwrap();
    fs::write(Path::new(&half).join("0000000000001000-0000000000000001.wal.tmp"), "x").unwrap();
    let full = log.sibling("full");
    fs::create_dir(&full).unwrap();
    fs::write(Path::new(&full).join("diary"), "x").unwrap();
    for command in ["salvage", "copy"] {
        for (place, why) in
            [(&other.name, "already holds a log"), (&half, "never finished"), (&full, "not empty")]
        {
            let output = wal(&[command, &log.name, place]);
            assert_eq!(code(&output), 1, "{command}");
            assert!(stderr(&output).contains(why), "{command}: {}", stderr(&output));
        }
    }
    assert_eq!(Log::cat(&other.name), lines(400));
    assert!(Path::new(&full).join("diary").exists());
}

#[test]
fn where_there_is_no_log_every_command_says_so_with_code_6_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none").to_str().unwrap().to_owned();
    let empty = dir.path().join("empty").to_str().unwrap().to_owned();
    let new = dir.path().join("new").to_str().unwrap().to_owned();
    fs::create_dir(&empty).unwrap();
    for name in [&none, &empty] {
        for args in [
            &["salvage", name, &new][..],
            &["copy", name, &new],
            &["truncate", name, "--before", "4096"],
            &["truncate", name, "--before", "4096", "--dry-run"],
            &["checkpoint", "list", name],
            &["hold", "list", name],
            &["hold", "place", name, "x"],
            &["hold", "drop", name, "x"],
            &["segments", name],
            &["scrub", name],
        ] {
            let output = wal(args);
            assert_eq!(code(&output), 6, "{args:?}: {}", stderr(&output));
        }
    }
    assert!(!Path::new(&none).exists() && !Path::new(&new).exists());
    let left: Vec<_> = fs::read_dir(&empty).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "lock"), "{left:?}");
}

#[test]
fn copy_of_a_running_log_is_whole_and_its_hold_is_gone_afterwards() {
    let log = Log::long();
    let writer = Writer::of(&log.name);
    let new = log.sibling("copy");
    let report = &json(&["copy", &log.name, &new, "--json"])[0];
    assert_eq!(report["verified"], true);
    assert_eq!(Log::cat(&new), lines(400) + "one more\n");
    assert!(json(&["hold", "list", &log.name, "--json"]).is_empty());
    drop(writer);
    // It is a log of its own.
    append(&new, "another\n");
    assert_eq!(Log::cat(&new).lines().last(), Some("another"));
    assert_eq!(Log::cat(&log.name).lines().last(), Some("one more"));
}

#[test]
fn copy_up_to_an_address_leaves_the_rest_out() {
    let log = Log::long();
    let records = json(&["dump", &log.name, "--json", "--kind", "data"]);
    let lsn =
        records.iter().filter(|line| line.get("lsn").is_some()).nth(10).unwrap()["lsn"].to_string();
    let new = log.sibling("copy");
    json(&["copy", &log.name, &new, "--to", &lsn, "--json"]);
    assert_eq!(Log::cat(&new), lines(10));
    let beyond = wal(&["copy", &log.name, &log.sibling("beyond"), "--to", "0x100000000"]);
    assert_ne!(code(&beyond), 0);
    assert!(!Path::new(&log.sibling("beyond")).exists(), "nothing half-made stays");
    assert!(json(&["hold", "list", &log.name, "--json"]).is_empty());
}

#[test]
fn copy_of_a_damaged_log_is_refused_with_code_4_and_leaves_nothing() {
    let log = Log::long();
    log.damage(200);
    let output = wal(&["copy", &log.name, &log.sibling("copy")]);
    assert_eq!(code(&output), 4, "{}", stderr(&output));
    assert!(stderr(&output).contains("salvage"), "{}", stderr(&output));
    assert!(!Path::new(&log.sibling("copy")).exists());
    assert!(json(&["hold", "list", &log.name, "--json"]).is_empty());
}

#[test]
fn truncate_removes_what_nothing_needs_and_a_dry_run_says_the_same_before() {
    let log = Log::long();
    let before = log.contents();
    let foreseen = json(&["truncate", &log.name, "--before", "200000", "--dry-run", "--json"]);
    assert_eq!(log.contents(), before);
    let done = json(&["truncate", &log.name, "--before", "200000", "--json"]);
    assert_eq!(
        (foreseen[0]["dry_run"].as_bool(), done[0]["dry_run"].as_bool()),
        (Some(true), Some(false))
    );
    // Not the bytes: the log may keep files of what is gone, to use them again.
    for field in ["segments", "head", "limit", "held_by"] {
        assert_eq!(foreseen[0][field], done[0][field], "{field}");
    }
    assert!(done[0]["segments"].as_u64().unwrap() >= 2 && done[0]["held_by"].is_null());
    assert_eq!(code(&wal(&["verify", &log.name])), 0);
    let kept = Log::cat(&log.name);
    assert!(!kept.contains("line 1 ") && kept.contains("line 400 "));
    assert_eq!(json(&["stat", &log.name, "--json"])[0]["head"], done[0]["head"]);
}

/// Its segments are still short: what is held back tells how long they will be.
#[test]
fn truncate_leaves_what_a_log_that_grows_holds_back_to_it() {
    const BYTES: u64 = 4 << 20;
    let log = Log::empty();
    let output = wal(&["append", &log.name, "--segment-bytes", &BYTES.to_string()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let files = fs::read_dir(&log.path).unwrap().map(|it| it.unwrap().path());
    let segments = files.filter(|path| path.extension() == Some("wal".as_ref()));
    let longest = segments.map(|path| fs::metadata(path).unwrap().len()).max();
    assert!(longest.unwrap() < BYTES, "no segment is of full length yet");
    let held = log.path.join("reserve-0000000000000001");
    fs::File::create_new(&held).unwrap().set_len(BYTES + 4096).unwrap();
    let output = wal(&["truncate", &log.name, "--before", "4096"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(fs::metadata(&held).unwrap().len(), BYTES + 4096);
}

#[test]
fn truncate_respects_a_hold_names_it_and_goes_on_once_it_is_dropped() {
    let log = Log::long();
    assert_eq!(code(&wal(&["hold", "place", &log.name, "replica", "--at", "70000"])), 0);
    for dry in [&["--dry-run"][..], &[]] {
        let mut args = vec!["truncate", &log.name, "--before", "200000", "--json"];
        args.extend(dry);
        let done = &json(&args)[0];
        assert_eq!((done["segments"].as_u64(), done["limit"].as_u64()), (Some(1), Some(70_000)));
        assert_eq!(done["held_by"], "hold `replica`");
    }
    assert_eq!(code(&wal(&["hold", "drop", &log.name, "replica"])), 0);
    let again = wal(&["hold", "drop", &log.name, "replica"]);
    assert_eq!(code(&again), 1);
    assert!(stderr(&again).contains("no hold"));
    let done = &json(&["truncate", &log.name, "--before", "200000", "--json"])[0];
    assert!(done["segments"].as_u64().unwrap() > 0 && done["held_by"].is_null());
}

#[test]
fn truncate_of_a_log_in_use_is_refused_with_code_7_and_changes_nothing() {
    let log = Log::long();
    let _writer = Writer::of(&log.name);
    let before = log.contents();
    let output = wal(&["truncate", &log.name, "--before", "200000"]);
    assert_eq!(code(&output), 7, "{}", stderr(&output));
    assert_eq!(log.contents(), before);
}

#[test]
fn a_hold_left_by_a_killed_copy_is_listed_with_its_dead_owner_until_it_is_dropped() {
    let log = Log::long();
    // As a copy that was killed leaves it: the owner is gone by the time it is listed.
    let owner = Command::new(env!("CARGO_BIN_EXE_wal"))
        .args(["hold", "place", &log.name, "wal-copy-1", "--limit", "1000", "--over", "warn"])
        .spawn()
        .unwrap();
    let pid = owner.id();
    assert!(owner.wait_with_output().unwrap().status.success());
    let holds = json(&["hold", "list", &log.name, "--json"]);
    assert_eq!((holds.len(), holds[0]["name"].as_str()), (1, Some("wal-copy-1")));
    assert_eq!(
        (holds[0]["owner"].as_u64(), holds[0]["limit_bytes"].as_u64()),
        (Some(pid.into()), Some(1000))
    );
    assert_eq!(holds[0]["over"], "warn");
    assert!(
        holds[0]["age_seconds"].is_u64() && holds[0]["kept_file_bytes"].as_u64().unwrap() > 300_000
    );
    if Path::new("/proc/self").exists() {
        assert_eq!(holds[0]["owner_runs"], false);
        let text = stdout(&wal(&["hold", "list", &log.name]));
        assert!(text.contains(&format!("process {pid}, not running")), "{text}");
    }
    // It is nobody's but the operator's: a writer that opens the log leaves it.
    append(&log.name, "more\n");
    assert_eq!(json(&["hold", "list", &log.name, "--json"]).len(), 1);
    assert_eq!(code(&wal(&["hold", "place", &log.name, "wal-copy-1"])), 1, "the name is taken");
    assert_eq!(code(&wal(&["hold", "drop", &log.name, "wal-copy-1"])), 0);
    assert_eq!(stdout(&wal(&["hold", "list", &log.name])), "no hold\n");
}

#[test]
fn a_damaged_hold_is_listed_as_such_and_keeps_everything() {
    let log = Log::long();
    fs::write(log.path.join("odd.hold"), "not a hold").unwrap();
    let holds = json(&["hold", "list", &log.name, "--json"]);
    assert!(holds[0]["fault"].as_str().unwrap().contains("damaged") && holds[0]["lsn"].is_null());
    let done = &json(&["truncate", &log.name, "--before", "200000", "--json"])[0];
    assert_eq!(
        (done["segments"].as_u64(), done["held_by"].as_str()),
        (Some(0), Some("hold `odd`"))
    );
    assert_eq!(code(&wal(&["hold", "drop", &log.name, "odd"])), 0);
    assert!(!log.path.join("odd.hold").exists());
}

#[test]
fn a_name_of_a_hold_cannot_lead_out_of_the_directory() {
    let log = Log::long();
    fs::write(log.dir.path().join("x.hold"), "x").unwrap();
    for command in ["place", "drop"] {
        let output = wal(&["hold", command, &log.name, "../x"]);
        assert_eq!(code(&output), 1, "{command}: {}", stderr(&output));
    }
    assert_eq!(fs::read(log.dir.path().join("x.hold")).unwrap(), b"x");
}

#[test]
fn checkpoint_list_tells_of_a_log_without_any_and_of_each_with_its_state() {
    let log = Log::long();
    assert_eq!(stdout(&wal(&["checkpoint", "list", &log.name])), "no checkpoint\n");
    assert!(json(&["checkpoint", "list", &log.name, "--json"]).is_empty());
    let path = log.sibling("with");
    let wal_log = wal::Wal::open(&path, wal::Options::default(), |_: &wal::ReplayRecord<'_>| {
        Ok::<(), std::io::Error>(())
    })
    .unwrap();
    for number in 0..3 {
        wal_log.append(b"a record").unwrap().wait_durable().unwrap();
        wal_log.checkpoint_begin().unwrap().complete(&[number; 100]).unwrap();
    }
    let checkpoints = wal_log.checkpoints();
    wal_log.close().unwrap();
    drop(wal_log);
    let listed = json(&["checkpoint", "list", &path, "--json"]);
    assert_eq!(listed.len(), 2, "two are retained");
    for (one, pointer) in listed.iter().zip(&checkpoints) {
        assert_eq!(one["begin"], pointer.begin.get());
        assert_eq!((one["usable"].as_bool(), one["body_bytes"].as_u64()), (Some(true), Some(116)));
    }
    assert_eq!(
        (listed[0]["newest"].as_bool(), listed[1]["newest"].as_bool()),
        (Some(false), Some(true))
    );
    let text = stdout(&wal(&["checkpoint", "list", &path]));
    assert!(text.contains("newest") && text.contains("to fall back on"), "{text}");
    // Both slots lost: the newest one is found by reading.
    fs::remove_file(Path::new(&path).join("control")).unwrap();
    let found = json(&["checkpoint", "list", &path, "--json"]);
    assert_eq!((found.len(), &found[0]["begin"]), (1, &listed[1]["begin"]));
}

#[test]
fn segments_that_are_ready_to_archive_are_told_with_a_checksum_that_stays_true() {
    let log = Log::long();
    let ready = |log: &Log| json(&["segments", &log.name, "--sealed", "--checksum", "--json"]);
    let first = ready(&log);
    assert!(first.len() >= 4, "{}", first.len());
    for row in &first {
        let bytes = fs::read(log.path.join(row["segment"].as_str().unwrap())).unwrap();
        let archive = usize::try_from(row["archive_bytes"].as_u64().unwrap()).unwrap();
        assert_eq!(row["crc32c"], format!("{:08x}", crc32c::crc32c(&bytes[..archive])));
        assert_eq!((row["sealed"].as_bool(), row["durable"].as_bool()), (Some(true), Some(true)));
        assert!(row["base"].as_u64() < row["end"].as_u64() && row["epoch"] == 1);
    }
    append(&log.name, &lines(200));
    let later = ready(&log);
    assert!(later.len() > first.len());
    assert_eq!(first, later[..first.len()], "what was archived once is never another");
    let all = json(&["segments", &log.name, "--json"]);
    assert!(all.len() > later.len() && all[0]["crc32c"].is_null());
    assert_eq!(all.last().unwrap()["sealed"], false);
    let text = stdout(&wal(&["segments", &log.name]));
    assert!(text.contains("sealed, durable") && text.contains("open"), "{text}");
}

/// How many bytes of segments a command reads, as the kernel counts them; `None` where it cannot.
fn bytes_read(args: &[&str]) -> Option<(i32, u64)> {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=pread64,preadv,read", "-o", trace.path().to_str().unwrap()])
        .arg(env!("CARGO_BIN_EXE_wal"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| !stderr(output).contains("strace"))?;
    let trace = fs::read_to_string(trace.path()).unwrap();
    let of_segments = trace.lines().filter(|line| line.contains(".wal>"));
    let counts =
        of_segments.filter_map(|line| line.rsplit("= ").next()?.trim().parse::<u64>().ok());
    Some((output.status.code()?, counts.sum()))
}

#[test]
fn verify_of_a_range_reads_what_the_range_needs_and_finds_damage_in_it_only() {
    let log = Log::long();
    let links = json(&["segments", &log.name, "--json"]);
    let base = |index: usize| links[index]["base"].as_u64().unwrap();
    // Line 10 is in the first segment, line 150 in the third.
    let (from, to) = ((base(1) + 1000).to_string(), (base(2)).to_string());
    let range = ["verify", &log.name, "--from", &from, "--to", &to];
    log.damage(10);
    log.damage(150);
    assert_eq!(code(&wal(&range)), 0);
    let told = &json(&[&range[..], &["--json"]].concat())[0];
    assert_eq!((&told["verdict"], &told["end"]), (&Value::from("clean-end"), &links[2]["base"]));
    assert!(told["records"].as_u64().unwrap() > 40, "{told}");
    for (from, to) in [(base(0), base(1)), (base(0), base(2)), (base(2), u64::MAX - 7)] {
        let (from, to) = (from.to_string(), to.to_string());
        let output = wal(&["verify", &log.name, "--from", &from, "--to", &to]);
        assert_eq!(code(&output), 4, "{from} to {to}: {}", stdout(&output));
    }
    let Some((0, some)) = bytes_read(&range) else { return eprintln!("SKIPPED: strace") };
    // Twice, and a header and a window each; the whole log has seven segments.
    assert!(some < 4 * 65_536, "{some} bytes");
}

#[test]
fn scrub_reads_every_sealed_record_and_finds_nothing_in_a_whole_log() {
    let log = Log::long();
    let rows = json(&["scrub", &log.name, "--rate", "0", "--json"]);
    let (summary, rows) = rows.split_last().unwrap();
    assert_eq!(summary["damaged"], 0);
    assert_eq!(summary["segments"], rows.len());
    let sealed = json(&["segments", &log.name, "--sealed", "--json"]);
    let names =
        |rows: &[Value]| -> Vec<Value> { rows.iter().map(|row| row["segment"].clone()).collect() };
    assert_eq!(names(rows), names(&sealed));
    assert!(rows.iter().all(|row| row["finding"] == "whole"));
    assert!(summary["records"].as_u64().unwrap() > 300);
}

#[test]
fn scrub_names_every_damaged_segment_and_goes_on_behind_it() {
    let log = Log::long();
    log.damage(10);
    log.damage(150);
    let before = log.contents();
    let output = wal(&["scrub", &log.name, "--rate", "0", "--json"]);
    assert_eq!(code(&output), 4, "{}", stderr(&output));
    let rows: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.last().unwrap()["damaged"], 2);
    let damaged: Vec<&Value> = rows.iter().filter(|row| row["finding"] == "damaged").collect();
    assert_eq!(damaged.len(), 2);
    assert!(damaged.iter().all(|row| row["at"].is_u64() && row["offset"].is_u64()));
    let text = wal(&["scrub", &log.name, "--rate", "0"]);
    assert_eq!(stdout(&text).matches("damaged: `").count(), 2);
    assert_eq!(log.contents(), before);
}

#[test]
fn scrub_tells_of_a_segment_that_is_missing() {
    let log = Log::long();
    fs::remove_file(&log.segments()[2]).unwrap();
    let output = wal(&["scrub", &log.name, "--rate", "0"]);
    assert_eq!(code(&output), 4, "{}", stdout(&output));
    assert!(stdout(&output).contains("are missing; restore them from a copy"));
    let rows = stdout(&wal(&["scrub", &log.name, "--rate", "0", "--json"]));
    let summary: Value = serde_json::from_str(rows.lines().last().unwrap()).unwrap();
    assert_eq!(summary["problems"].as_array().unwrap().len(), 1, "{summary}");
}

#[test]
fn scrub_names_every_damaged_place_of_a_segment_and_counts_what_verifies_between_them() {
    let log = Log::long();
    let whole = json(&["scrub", &log.name, "--rate", "0", "--json"]);
    let places = [10, 12, 13, 20];
    places.iter().for_each(|number| log.damage(*number));
    let output = wal(&["scrub", &log.name, "--rate", "0", "--json"]);
    assert_eq!(code(&output), 4, "{}", stderr(&output));
    let rows: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let records = |rows: &[Value]| rows.last().unwrap()["records"].as_u64().unwrap();
    assert_eq!(records(&rows), records(&whole) - places.len() as u64);
    let row = rows.iter().find(|row| row["finding"] == "damaged").unwrap();
    let listed = row["places"].as_array().unwrap();
    // Two of them lie side by side.
    assert_eq!((listed.len(), row["damaged_places"].as_u64()), (3, Some(3)));
    assert_eq!((&listed[0]["from"], &listed[0]["offset"]), (&row["at"], &row["offset"]));
    let bytes = |place: &Value| place["to"].as_u64().unwrap() - place["from"].as_u64().unwrap();
    assert_eq!(bytes(&listed[1]), 2 * bytes(&listed[0]));
    let all: u64 = listed.iter().map(bytes).sum();
    assert_eq!(rows.last().unwrap()["damaged_bytes"], all);
    let text = stdout(&wal(&["scrub", &log.name, "--rate", "0"]));
    assert_eq!(text.matches("damaged: `").count(), 3, "{text}");
    assert!(text.contains(&format!("1 damaged, in 3 places of {all} bytes")), "{text}");
}

#[test]
fn scrub_of_a_segment_with_many_damaged_places_lists_some_and_counts_all() {
    let log = Log::empty();
    let line = |number| format!("line {number} {}\n", "x".repeat(40));
    append(&log.name, &(1..=1500).map(line).collect::<String>());
    (0..70).for_each(|number| log.damage(10 + 2 * number));
    let output = wal(&["scrub", &log.name, "--rate", "0", "--json"]);
    let row: Value = serde_json::from_str(stdout(&output).lines().next().unwrap()).unwrap();
    assert_eq!(row["damaged_places"], 70);
    assert_eq!(row["places"].as_array().unwrap().len(), 64);
    let text = stdout(&wal(&["scrub", &log.name, "--rate", "0"]));
    assert!(text.contains("6 more places behind"), "{text}");
}

#[test]
fn scrub_beside_a_writer_leaves_its_segment_alone() {
    let log = Log::long();
    let _writer = Writer::of(&log.name);
    let rows = json(&["scrub", &log.name, "--rate", "0", "--json"]);
    assert_eq!(rows.last().unwrap()["damaged"], 0);
}

/// Sends a signal to a child, once: a second one would end it at once, whatever it has to finish.
fn interrupt(mut child: Child) -> Output {
    if child.try_wait().unwrap().is_none() {
        signal::send(&child, signal::SIGINT);
    }
    child.wait_with_output().unwrap()
}

#[test]
fn an_interrupted_scrub_reports_what_it_has_read_and_ends_by_the_signal() {
    let log = Log::long();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wal"))
        // At one megabyte a second all of it takes a third of a second; and ten of them three.
        .args(["scrub", &log.name, "--rate", "1", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_handlers(&mut child);
    let output = interrupt(child);
    if output.status.success() {
        return;
    }
    assert_eq!(output.status.signal(), Some(2), "{}", stderr(&output));
    let text = stdout(&output);
    let Some(last) = text.lines().last() else { return };
    let last: Value = serde_json::from_str(last).unwrap();
    assert!(last["not_read"].as_u64().unwrap() > 0, "{last}");
}

/// Waits until a child catches SIGINT, as far as the system tells.
fn wait_for_handlers(child: &mut Child) {
    let status = format!("/proc/{}/status", child.id());
    for _ in 0..1000 {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        if caught.is_some_and(|mask| mask & 0b10 != 0) || child.try_wait().unwrap().is_some() {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn an_interrupted_copy_leaves_neither_files_nor_its_hold() {
    let log = Log::empty();
    append(&log.name, &lines(20_000));
    let new = log.sibling("copy");
    let mut child = Command::new(env!("CARGO_BIN_EXE_wal"))
        .args(["copy", &log.name, &new])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_handlers(&mut child);
    let output = interrupt(child);
    assert!(json(&["hold", "list", &log.name, "--json"]).is_empty());
    if output.status.success() {
        // It was quicker than the signal: then the copy is whole.
        assert_eq!(Log::cat(&new).lines().count(), 20_000);
    } else {
        assert_eq!(output.status.signal(), Some(2), "{}", stderr(&output));
        assert!(!Path::new(&new).exists());
    }
}

#[test]
fn completions_know_every_command_and_each_has_a_manual_page() {
    let help = stdout(&wal(&["--help"]));
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() >= 14, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = wal(&["completions", shell]);
        assert_eq!(code(&output), 0);
        for command in &commands {
            assert!(stdout(&output).contains(command), "{shell}: {command}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(code(&wal(&["man", dir.path().to_str().unwrap()])), 0);
    for command in &commands {
        let page = fs::read_to_string(dir.path().join(format!("wal-{command}.1"))).unwrap();
        assert!(page.contains(".SH NAME") && page.contains(command), "{command}");
    }
    assert!(dir.path().join("wal.1").exists());
    assert_eq!(code(&wal(&["man", "/no/such/directory"])), 1);
}
