//! Shared parts of the benchmarks: the machine they ran on, and the raw work they are held against.
//!
//! A figure means nothing alone: every benchmark has a baseline in the same group of the same run,
//! doing the same bytes without a log, and what counts is the ratio of the two.

mod memory_pages;
mod table;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use wal::Options;

pub use memory_pages::{MemoryPages, PAGE_BYTES, look_at};
pub use table::{Row, median, print_table};

/// Bodies measured, in bytes.
pub const BODY_BYTES: [usize; 2] = [128, 4096];

/// A body of `bytes` bytes which does not compress and is the same in every run.
#[must_use]
pub fn body(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// The options of every benchmark: the defaults.
#[must_use]
pub fn options() -> Options {
    Options::default()
}

/// A file of `bytes` bytes of written, synced zeros: what a prepared segment is.
///
/// # Errors
///
/// Whatever the file system reports.
pub fn prepared_file(path: &Path, bytes: u64) -> io::Result<File> {
    let file = File::create_new(path)?;
    let zeros = vec![0_u8; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(zeros.len() as u64);
        (&file).write_all(&zeros[..now as usize])?;
        left -= now;
    }
    file.sync_all()?;
    Ok(file)
}

/// One raw durable commit: one positional write and one `fdatasync`.
///
/// # Errors
///
/// Whatever the device reports.
pub fn raw_commit(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)?;
    file.sync_data()
}

/// Prints where the benchmark runs: kernel, processors, device and file system of `dir`.
pub fn describe(dir: &Path) {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
    };
    let threads = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    eprintln!("machine: {}, {threads} processors", said("uname", &["-srm"]));
    let dir = dir.display().to_string();
    let place = said("df", &["--output=source,fstype", &dir]);
    eprintln!("device and file system: {}", place.lines().last().unwrap_or("unknown"));
    eprintln!("log options: {:?}", options());
}
