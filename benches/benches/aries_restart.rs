//! Restart after a checkpoint, with the same work behind it, in logs of 10 MB to 1 GB: it depends
//! on the work since the checkpoint, not on the length of the log.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wal::{Aries, PageId, PageLog, SyncPolicy};
use wal_bench::{MemoryPages, PAGE_BYTES, describe, median, options, print_table};

const ROUNDS: usize = 5;
const LOG_BYTES: [u64; 3] = [10 << 20, 100 << 20, 1 << 30];
const PAGES: u64 = 1_000;
/// Changes behind the checkpoint, in all cases.
const SINCE: u64 = 20_000;

/// A log to be restarted from, and what its restarts took.
struct Case {
    bytes: u64,
    path: PathBuf,
    /// The pages as storage has them.
    written: MemoryPages,
    times: Vec<Duration>,
    scanned: u64,
    /// Bytes that the last restart read and wrote.
    moved: Moved,
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    describe(dir.path());
    let mut cases: Vec<Case> = LOG_BYTES.into_iter().map(|bytes| case(dir.path(), bytes)).collect();
    // In turns: what else the device has to do befalls all of them.
    for _ in 0..ROUNDS {
        for case in &mut cases {
            // A copy each time: an opening checkpoints what it has done.
            let copy = tempfile::tempdir_in(dir.path()).unwrap();
            copy_files(&case.path, copy.path());
            settle(dir.path());
            let before = Moved::so_far();
            let (time, records) = restart(copy.path(), &case.written);
            case.moved = Moved::so_far().since(before);
            case.times.push(time);
            case.scanned = records;
        }
    }
    let first = cases.first().map_or(Duration::ZERO, |case| median(&case.times)).as_secs_f64();
    let rows = cases.iter().map(|case| {
        let (least, most) = (case.times.iter().min().unwrap(), case.times.iter().max().unwrap());
        let of_first = |time: &Duration| format!("{:.2}", time.as_secs_f64() / first);
        vec![
            format!("{} MB", case.bytes >> 20),
            case.scanned.to_string(),
            format!("{:.1}", case.moved.read as f64 / 1e6),
            format!("{:.1}", case.moved.written as f64 / 1e6),
            of_first(&median(&case.times)),
            format!("{} to {}", of_first(least), of_first(most)),
        ]
    });
    let head =
        ["log", "records scanned", "MB read", "MB written", "time, of the smallest log's", "range"];
    print_table(&head, rows.collect());
    println!("peak memory of the process: {}", peak_memory());
}

fn case(dir: &Path, bytes: u64) -> Case {
    let path = dir.join(bytes.to_string());
    let written = make_log(&path, bytes);
    Case { bytes, path, written, times: Vec::new(), scanned: 0, moved: Moved::default() }
}

/// Waits until the device has taken all that was written, and given back all that was removed.
fn settle(dir: &Path) {
    rustix::fs::syncfs(std::fs::File::open(dir).unwrap()).unwrap();
}

/// Bytes that this process has read and written, whether a device was asked or not.
#[derive(Clone, Copy, Default)]
struct Moved {
    read: u64,
    written: u64,
}

impl Moved {
    fn so_far() -> Self {
        let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        Self { read: field("rchar:"), written: field("wchar:") }
    }

    const fn since(self, before: Self) -> Self {
        Self { read: self.read - before.read, written: self.written - before.written }
    }
}

/// Fills a log, takes a checkpoint, changes pages after it, and leaves without closing. Gives the
/// pages as storage had them at the checkpoint.
fn make_log(path: &Path, bytes: u64) -> MemoryPages {
    let mut pages = MemoryPages::new(PAGES as usize);
    let options = options().sync_policy(SyncPolicy::Never);
    let log = options.recover_with(Aries::new()).open_pages(path, &mut pages).unwrap();
    let image = vec![7_u8; PAGE_BYTES / 2];
    let mut number = 0;
    while log.positions().reserved.get() < bytes {
        change(&log, &mut pages, number, &image);
        number += 1;
    }
    // Everything is written, as far as the log is told.
    for page in (0..PAGES).map(PageId::new) {
        let lsn = *pages.get(page).unwrap().0;
        log.before_page_write(page, lsn).unwrap();
        log.page_written(page, lsn);
    }
    log.checkpoint(b"").unwrap();
    let written = pages.clone();
    for number in 0..SINCE {
        change(&log, &mut pages, number, &number.to_le_bytes());
    }
    log.sync().unwrap();
    written
}

fn change(log: &PageLog, pages: &mut MemoryPages, number: u64, bytes: &[u8]) {
    let mut txn = log.begin();
    txn.update(pages, PageId::new(number % PAGES), 64, b"", bytes).unwrap();
    // Not waited for: what is on the device when the restart begins is the copy of the log.
    drop(txn.commit_ordered(0).unwrap());
}

fn copy_files(from: &Path, to: &Path) {
    // The control file first: a segment that is being made ready meanwhile is registered behind that.
    std::fs::copy(from.join("control"), to.join("control")).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "control" && !name.to_string_lossy().ends_with(".tmp") {
            std::fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// The most memory that this process ever had, as the kernel says; it only grows.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown".to_owned(), |value| value.trim().to_owned())
}

fn restart(path: &Path, written: &MemoryPages) -> (Duration, u64) {
    let mut pages = written.clone();
    let started = Instant::now();
    let log = options().recover_with(Aries::new()).open_pages(path, &mut pages).unwrap();
    let time = started.elapsed();
    let scanned = log.recovery().records_scanned;
    assert_eq!(pages.get(PageId::new(0)).unwrap().1[64..72], (SINCE - PAGES).to_le_bytes());
    log.close().unwrap();
    (time, scanned)
}
