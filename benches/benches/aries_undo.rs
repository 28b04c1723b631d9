//! Rolling a transaction back, in logs of 10 MB to 1 GB, beside as many addressed reads of the
//! same files: the time per record must not grow with the log (ARIES: undo reads by address).
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use wal::{Aries, PageId, PageLog, PageTransaction, SyncPolicy};
use wal_bench::{MemoryPages, PAGE_BYTES, describe, median, options, print_table};

/// Records to undo, spread evenly over the log.
const UNDONE: u64 = 4_000;
const ROUNDS: usize = 5;
const LOG_BYTES: [u64; 3] = [10 << 20, 100 << 20, 1 << 30];
/// The page that the transaction changes; others fill the log.
const PAGE: PageId = PageId::new(0);
const OTHER: PageId = PageId::new(1);

fn main() {
    let dir = tempfile::tempdir().unwrap();
    describe(dir.path());
    let mut rows = Vec::new();
    let mut smallest = None;
    for bytes in LOG_BYTES {
        let (mut undo, mut raw) = (Vec::new(), Vec::new());
        // In turns, so that both meet the same noise.
        for _ in 0..ROUNDS {
            let (each, raw_each) = round(bytes);
            undo.push(each);
            raw.push(raw_each);
        }
        let (undo, raw) = (median(&undo).as_secs_f64(), median(&raw).as_secs_f64());
        let first = *smallest.get_or_insert(undo);
        rows.push(vec![
            format!("{} MB", bytes >> 20),
            UNDONE.to_string(),
            format!("{:.2}", undo / raw),
            format!("{:.2}", undo / first),
        ]);
    }
    let head = ["log", "records undone", "time a record / raw 4 KiB read", "of the smallest log's"];
    print_table(&head, rows);
}

/// Time a record to roll back one transaction, and a raw read, in a log of `bytes`.
fn round(bytes: u64) -> (Duration, Duration) {
    let dir = tempfile::tempdir().unwrap();
    let mut pages = MemoryPages::new(2);
    let options = options().sync_policy(SyncPolicy::Never);
    let log = options.recover_with(Aries::new()).open_pages(dir.path(), &mut pages).unwrap();
    let (txn, addresses) = fill(&log, bytes, &mut pages);
    log.sync().unwrap();
    warm(dir.path());
    let started = Instant::now();
    txn.abort(&mut pages).unwrap();
    let undo = started.elapsed();
    assert!(pages.get(PAGE).unwrap().1.iter().all(|byte| *byte == 0), "not everything was undone");
    let raw = raw_reads(dir.path(), &addresses);
    log.close().unwrap();
    let count = u32::try_from(UNDONE).unwrap();
    (undo / count, raw / count)
}

/// Spreads the changes of one transaction over a log which another one fills.
fn fill(log: &PageLog, bytes: u64, pages: &mut MemoryPages) -> (PageTransaction, Vec<u64>) {
    let mut txn = log.begin();
    let filler = vec![7_u8; 2048];
    let mut addresses = Vec::new();
    for number in 1..=UNDONE {
        let offset = u32::try_from(number as usize % (PAGE_BYTES / 8) * 8).unwrap();
        let here = pages.get(PAGE).unwrap().1[offset as usize..][..8].to_vec();
        let lsn = txn.update(pages, PAGE, offset, &here, &number.to_le_bytes()).unwrap();
        addresses.push(lsn.get());
        let mut other = log.begin();
        while log.positions().reserved.get() < bytes / UNDONE * number {
            other.update(pages, OTHER, 0, b"", &filler).unwrap();
        }
        other.commit().unwrap();
    }
    (txn, addresses)
}

/// Reads all files, so that neither side waits for the device: what is left is the work.
fn warm(log: &Path) {
    for entry in std::fs::read_dir(log).unwrap() {
        // The next segment may be taking its name just now.
        if let Ok(mut file) = File::open(entry.unwrap().path()) {
            std::io::copy(&mut file, &mut std::io::sink()).unwrap();
        }
    }
}

/// Reads 4 KiB from as many places of the same files, and nothing else.
fn raw_reads(log: &Path, addresses: &[u64]) -> Duration {
    let mut files: Vec<(u64, File)> = std::fs::read_dir(log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
        .map(|path| (path.metadata().unwrap().len(), File::open(path).unwrap()))
        .collect();
    files.retain(|(len, _)| *len >= 4096);
    let mut block = [0; 4096];
    let started = Instant::now();
    for address in addresses {
        let (len, file) = &files[*address as usize / 4096 % files.len()];
        let offset = *address % (len - 4095);
        file.read_exact_at(&mut block, offset).unwrap();
        black_box(&block);
    }
    started.elapsed()
}
