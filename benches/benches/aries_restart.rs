//! Restart after a checkpoint, with the same work behind it, in logs of 10 MB to 1 GB: it depends
//! on the work since the checkpoint, not on the length of the log.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use wal::{Aries, PageId, PageLog, SyncPolicy};
use wal_bench::{MemoryPages, PAGE_BYTES, describe, median, options, print_table};

const ROUNDS: usize = 5;
const LOG_BYTES: [u64; 3] = [10 << 20, 100 << 20, 1 << 30];
const PAGES: u64 = 1_000;
/// Changes behind the checkpoint, in all cases.
const SINCE: u64 = 20_000;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    describe(dir.path());
    let mut rows = Vec::new();
    let mut smallest = None;
    for bytes in LOG_BYTES {
        let path = dir.path().join(bytes.to_string());
        let written = make_log(&path, bytes);
        let mut times = Vec::new();
        let mut scanned = 0;
        for _ in 0..ROUNDS {
            // A copy each time: an opening checkpoints what it has done.
            let copy = tempfile::tempdir().unwrap();
            copy_files(&path, copy.path());
            let (time, records) = restart(copy.path(), &written);
            times.push(time);
            scanned = records;
        }
        let time = median(&times).as_secs_f64();
        let first = *smallest.get_or_insert(time);
        rows.push(vec![
            format!("{} MB", bytes >> 20),
            scanned.to_string(),
            format!("{:.2}", time / first),
            peak_memory(),
        ]);
        std::fs::remove_dir_all(&path).unwrap();
    }
    print_table(
        &["log", "records scanned", "time, of the smallest log's", "peak memory so far"],
        rows,
    );
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
        let lsn = pages.get(page).unwrap().0;
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
    txn.commit().unwrap();
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        std::fs::copy(&path, &copy).unwrap();
        // Or the restart would wait for the copy to reach the device.
        std::fs::File::open(&copy).unwrap().sync_all().unwrap();
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
