//! Six logs that every command must meet: healthy, torn, damaged, foreign, huge and empty.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use wal::{CheckpointView, Options, RedoTarget, ReplayRecord, Wal};

/// Bytes that the huge log's segment can hold; nearly all of it a hole.
pub(crate) const HUGE_BYTES: u64 = 10 << 30;
/// What a record says in which the damaged log has a flipped bit.
const DAMAGED: &str = "record 4";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Closed; with a transaction, an aborted one, a batch and a checkpoint.
    Healthy,
    /// Not closed; half a record behind the end.
    Torn,
    /// A bit is flipped where a later record proves that it was durable.
    Damaged,
    /// A segment of another log lies in it.
    Foreign,
    /// 10 GiB of which a few KiB were written.
    Huge,
    /// Opened and closed.
    Empty,
}

impl State {
    pub(crate) const ALL: [Self; 6] =
        [Self::Healthy, Self::Torn, Self::Damaged, Self::Foreign, Self::Huge, Self::Empty];
}

/// A log in a directory of its own.
pub(crate) struct TestLog {
    _dir: TempDir,
    pub(crate) path: PathBuf,
}

impl TestLog {
    pub(crate) fn new(state: State) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Self { _dir: dir, path };
        match state {
            State::Healthy => log.fill(true),
            State::Torn => {
                log.fill(false);
                let end = log.end();
                let (file, bytes) = log.first_segment();
                let offset = end as usize;
                assert!(bytes.len() > offset + 64, "the end is in the first segment");
                let file = fs::OpenOptions::new().write(true).open(file).unwrap();
                file.write_all_at(&[0x5a; 20], end).unwrap();
            }
            State::Damaged => {
                log.fill(false);
                let (file, bytes) = log.first_segment();
                let text = DAMAGED.as_bytes();
                let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
                let file = fs::OpenOptions::new().write(true).open(file).unwrap();
                file.write_all_at(&[bytes[at] ^ 8], at as u64).unwrap();
            }
            State::Foreign => {
                log.fill(true);
                let other = Self::new(State::Empty);
                let (file, _) = other.first_segment();
                fs::copy(&file, log.path.join("00000000000f1000-0000000000000009.wal")).unwrap();
            }
            State::Huge => {
                log.fill(true);
                log.grow(HUGE_BYTES);
            }
            State::Empty => open(&log.path).close().unwrap(),
        }
        log
    }

    pub(crate) fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Files, their lengths and the first MiB of each: whether a command changed anything.
    pub(crate) fn contents(&self) -> BTreeMap<String, (u64, Vec<u8>)> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&self.path).unwrap() {
            let entry = entry.unwrap();
            let (mut start, len) = (Vec::new(), entry.metadata().unwrap().len());
            fs::File::open(entry.path()).unwrap().take(1 << 20).read_to_end(&mut start).unwrap();
            files.insert(entry.file_name().into_string().unwrap(), (len, start));
        }
        files
    }

    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "wal"));
        files.sort();
        files
    }

    fn first_segment(&self) -> (PathBuf, Vec<u8>) {
        let file = self.segments()[0].clone();
        let bytes = fs::read(&file).unwrap();
        (file, bytes)
    }

    fn end(&self) -> u64 {
        wal::LogView::open(&self.path).unwrap().end().get()
    }

    fn fill(&self, close: bool) {
        let wal = open(&self.path);
        for number in 1..=10 {
            wal.append(format!("record {number}").as_bytes()).unwrap().wait_durable().unwrap();
        }
        let mut txn = wal.begin();
        txn.log(b"within a transaction").unwrap();
        txn.log(b"and again").unwrap();
        txn.commit().unwrap();
        let mut lost = wal.begin();
        lost.log(b"aborted").unwrap();
        lost.abort().unwrap();
        let batch = [b"batch 1".as_slice(), b"batch 2", &[0xff, 0x00]];
        wal.append_batch(&batch).unwrap().wait_durable().unwrap();
        wal.checkpoint_begin().unwrap().complete(b"snapshot 1").unwrap();
        wal.append(b"the last one").unwrap().wait_durable().unwrap();
        if close {
            wal.close().unwrap();
        }
    }

    /// Declares that the last segment holds `bytes`, and makes its file as long, as a hole.
    fn grow(&self, bytes: u64) {
        let path = self.segments().pop().unwrap();
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut header = vec![0; 4096];
        file.read_exact_at(&mut header, 0).unwrap();
        header[48..56].copy_from_slice(&bytes.to_le_bytes());
        let checksum = crc32c::crc32c(&header[12..]);
        header[8..12].copy_from_slice(&checksum.to_le_bytes());
        file.write_all_at(&header, 0).unwrap();
        file.set_len(4096 + bytes).unwrap();
    }
}

/// An engine that keeps nothing.
struct Nothing;

impl RedoTarget for Nothing {
    type Error = io::Error;

    fn restore(&mut self, _: &CheckpointView<'_>) -> Result<(), io::Error> {
        Ok(())
    }

    fn redo(&mut self, _: &ReplayRecord<'_>) -> Result<(), io::Error> {
        Ok(())
    }
}

pub(crate) fn open(path: &Path) -> Wal {
    let options = Options::default().segment_bytes(64 << 10).buffer_bytes(16 << 10);
    options.recover_with(wal::RedoOnly::default()).open(path, &mut Nothing).unwrap()
}

pub(crate) fn wal(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wal")).args(args).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn wal_with_input(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wal"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed: {}", stderr(output)))
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command prints with `--json`, a value a line.
pub(crate) fn json(args: &[&str]) -> Vec<serde_json::Value> {
    let mut all = args.to_vec();
    all.push("--json");
    let output = wal(&all);
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
