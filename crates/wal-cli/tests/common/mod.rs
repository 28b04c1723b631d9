//! What the tests against a real kernel share: the command under `strace`, and the judge.
//!
//! The writer runs in one thread, so the same input makes the same system calls each time and a
//! case is two things: the name of a call and its number. `strace` counts, not a clock.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Set by `cargo xtask inject --all`: every call instead of a slice.
const ALL: &str = "WAL_INJECT_ALL";
/// Small, so that a few lines meet every step of a rotation.
pub(crate) const SEGMENT_BYTES: &str = "65536";
/// What changes a file or a directory, or makes a change durable, or tells somebody. A question
/// mark lets `strace` pass over a call that this machine does not have.
const CALLS: &str = "pwritev,pwrite64,write,fdatasync,fsync,?rename,renameat,renameat2,?unlink,\
                     unlinkat,openat,ftruncate,fallocate,?mkdir,mkdirat,flock,?io_uring_enter";

/// A way to write to a real kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) flags: &'static [&'static str],
}

pub(crate) const BUFFERED: Backend = Backend { name: "buffered", flags: &[] };
pub(crate) const DIRECT: Backend = Backend { name: "direct", flags: &["--direct"] };
pub(crate) const WRITE_THROUGH: Backend =
    Backend { name: "write-through", flags: &["--sync-method", "write-through"] };

pub(crate) const IO_URING: Backend = Backend { name: "io_uring", flags: &["--io-uring"] };
pub(crate) const IO_URING_DIRECT: Backend =
    Backend { name: "io_uring, direct", flags: &["--io-uring", "--direct"] };

/// Whether every case is asked for.
pub(crate) fn all() -> bool {
    std::env::var_os(ALL).is_some()
}

/// Whether calls can be counted here; says so loudly where they cannot.
pub(crate) fn can_trace() -> bool {
    let tried = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => true,
        Ok(output) => skip(&format!("strace: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => skip(&format!("strace: {error}")),
    }
}

/// Says on the terminal that a test did not run; `false`, for the caller to return on.
pub(crate) fn skip(why: &str) -> bool {
    // The test harness swallows what `eprintln!` says in a test that passes.
    let _said = std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes());
    false
}

/// Whether the file system under `dir` takes `O_DIRECT`.
pub(crate) fn can_write(backend: Backend, dir: &Path) -> bool {
    let probe = dir.join("probe");
    let output = append(&probe, &[], backend, &["--single-threaded"]);
    // What is refused has made nothing.
    if probe.exists() {
        fs::remove_dir_all(&probe).unwrap();
    }
    output.status.success() || skip(&format!("{}: {}", backend.name, text(&output.stderr).trim()))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Lines `from` to `to`, each starting with its number; every fifth is long.
pub(crate) fn lines(from: u64, to: u64) -> Vec<String> {
    let length = |number: u64| if number % 5 == 3 { 24_000 } else { 90 };
    (from..=to)
        .map(|number| {
            let fill = format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut line = format!("{number}\t{}", fill.repeat(length(number) / fill.len()));
            line.push('.');
            line
        })
        .collect()
}

/// `wal append` without `strace`, to its end.
pub(crate) fn append(dir: &Path, input: &[String], backend: Backend, more: &[&str]) -> Output {
    let mut command = wal();
    command.args(append_arguments(dir, backend)).args(more);
    feed(command, input)
}

pub(crate) fn wal() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wal"))
}

fn append_arguments(dir: &Path, backend: Backend) -> Vec<String> {
    let mut arguments = vec!["append".to_owned(), dir.to_str().unwrap().to_owned()];
    arguments
        .extend(["--ack", "--numbered-input", "--segment-bytes", SEGMENT_BYTES].map(Into::into));
    arguments.extend(backend.flags.iter().map(|&flag| flag.to_owned()));
    arguments
}

fn feed(mut command: Command, input: &[String]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes: String = input.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    // Input in a thread of its own: a writer that dies early must not hold us up, nor we it.
    let feeder = std::thread::spawn(move || pipe.write_all(bytes.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // A writer that was killed leaves its input unread.
    let _written = feeder.join().unwrap();
    output
}

/// A writer that ran under `strace`.
pub(crate) struct Traced {
    pub(crate) output: Output,
    /// A line for each call.
    pub(crate) trace: String,
}

impl Traced {
    /// Whether the injected SIGKILL met it.
    pub(crate) fn was_killed(&self) -> bool {
        self.output.status.signal() == Some(9)
    }

    /// Numbers of the acknowledged lines, in the order of their acknowledgements.
    pub(crate) fn acknowledged(&self) -> Vec<u64> {
        acknowledged(&self.output)
    }

    /// How often each call was made.
    pub(crate) fn calls(&self) -> BTreeMap<String, u32> {
        let mut calls = BTreeMap::new();
        for line in self.trace.lines() {
            let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
            if let Some((name, _)) = call.split_once('(')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                *calls.entry(name.to_owned()).or_default() += 1;
            }
        }
        calls
    }
}

/// Numbers that a writer acknowledged. A line that was cut short tells nothing.
pub(crate) fn acknowledged(output: &Output) -> Vec<u64> {
    text(&output.stdout)
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

/// `wal append` under `strace`; `inject` is what to do to which call, in `strace`'s words.
pub(crate) fn traced(
    dir: &Path,
    input: &[String],
    backend: Backend,
    threads: &[&str],
    inject: Option<&str>,
) -> Traced {
    let trace = dir.with_extension("trace");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-y", "-s", "16", "-o"])
        .arg(&trace)
        .arg("-e")
        .arg(format!("trace={CALLS}"));
    if let Some(inject) = inject {
        command.arg("-e").arg(format!("inject={inject}"));
    }
    command.arg(env!("CARGO_BIN_EXE_wal")).args(append_arguments(dir, backend)).args(threads);
    let output = feed(command, input);
    Traced { output, trace: fs::read_to_string(trace).unwrap() }
}

/// A call, and which one of that name, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) call: String,
    pub(crate) number: u32,
}

impl Case {
    /// In `strace`'s words.
    pub(crate) fn inject(&self, what: &str) -> String {
        format!("{}:{what}:when={}", self.call, self.number)
    }
}

/// Every call of a run, or without [`all`] the first and last of each name and every `step`-th.
pub(crate) fn cases(calls: &BTreeMap<String, u32>, step: u32) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut passed = 0;
    for (call, &count) in calls {
        for number in 1..=count {
            passed += 1;
            if all() || number == count || passed % step == 0 {
                cases.push(Case { call: call.clone(), number });
            }
        }
    }
    cases
}

/// What is left of a log.
#[derive(Debug)]
pub(crate) struct Left {
    /// Lines that are there, in order.
    pub(crate) lines: Vec<String>,
    /// What `wal verify` returns to the shell.
    pub(crate) verify: i32,
}

pub(crate) fn look(dir: &Path) -> Left {
    let cat = wal().arg("cat").arg(dir).output().unwrap();
    let verify = wal().arg("verify").arg(dir).output().unwrap();
    let lines = text(&cat.stdout).lines().map(str::to_owned).collect();
    let verify = verify.status.code().unwrap();
    // `cat` fails only where `verify` says why.
    assert!(cat.status.success() || cat.status.code() == Some(verify), "{}", text(&cat.stderr));
    Left { lines, verify }
}

/// The judge, for a writer in one thread: what is there is a prefix of `input`, of at least
/// `acknowledged` lines; the log is whole or torn; and a new writer takes the rest.
pub(crate) fn judge(dir: &Path, backend: Backend, input: &[String], acknowledged: usize) {
    let left = look(dir);
    let found = left.lines.len();
    assert!(found >= acknowledged, "{acknowledged} lines were acknowledged, {found} are there");
    assert!(found <= input.len() && left.lines == input[..found], "altered or out of order");
    match left.verify {
        0 | 3 => {}
        // Killed before there was a log.
        6 => assert_eq!(found, 0),
        other => panic!("wal verify returns {other}"),
    }
    let again = append(dir, &input[found..], backend, &["--single-threaded"]);
    assert!(again.status.success(), "the next writer: {}", text(&again.stderr));
    assert_eq!(self::acknowledged(&again).len(), input.len() - found);
    let left = look(dir);
    assert_eq!((left.verify, left.lines.len()), (0, input.len()));
    assert!(left.lines == input, "altered by the next writer");
}

/// A number that follows from `seed` and looks like none of its neighbours.
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A call of a large run, and which one of its thread, drawn from `seed`.
pub(crate) fn drawn(seed: u64) -> Case {
    const CALLS: &[(&str, u32)] = &[
        ("pwrite64", 150),
        ("fdatasync", 120),
        ("write", 150),
        ("fallocate", 8),
        ("rename", 8),
        ("fsync", 12),
    ];
    let draw = mixed(seed);
    let (call, most) = CALLS[(draw % CALLS.len() as u64) as usize];
    Case { call: call.to_owned(), number: 1 + (draw >> 8) as u32 % most }
}

/// Every acknowledged line is there, once and unaltered; so is every other line that is there.
pub(crate) fn assert_is_subset(acknowledged: &BTreeSet<u64>, found: &[String], shown: &str) {
    let numbers: Vec<u64> =
        found.iter().map(|line| line.split('\t').next().unwrap().parse().unwrap()).collect();
    for (number, line) in numbers.iter().zip(found) {
        assert_eq!(*line, lines(*number, *number)[0], "{shown}: altered");
    }
    let set: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(set.len(), numbers.len(), "{shown}: twice");
    let missing: Vec<&u64> = acknowledged.difference(&set).collect();
    assert!(missing.is_empty(), "{shown}: {missing:?} were acknowledged and are lost");
}

/// A copy of the directory `from`, which has no directories in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
