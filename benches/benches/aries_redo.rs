//! Analysis and redo with pages in memory, beside the scanner with an empty handler and a raw
//! CRC-32C of the same bytes; redo on two threads beside redo on one.
//!
//! Throughput of each pass over the bytes that it reads, in one run, and what it is of the
//! scanner's. Beside redo stands what no redo can do without: a scan which puts every change in
//! place and asks nothing. What two threads are worth on the machine at that moment is shown by
//! two checksums at once.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wal::{Aries, FileStorage, Lsn, PageId, SyncPolicy};
use wal_bench::{MemoryPages, PAGE_BYTES, describe, look_at, median, options, print_table};
use wal_format::body::Update;
use wal_format::{LsnRange, RecordKind};
use wal_io::Storage;
use wal_recovery::aries::{EngineError, PageState, PageStore};
use wal_recovery::{
    Depth, LogSource, Phase, Progress, RecoveryLog, RecoveryStrategy, Step, examine,
};

const ROUNDS: usize = 7;
const LOG_BYTES: u64 = 256 << 20;
/// Pages, and bytes of each image of a change, before and after. The pages of the first lie in a
/// processor's cache: what is measured is the log. Those of the others do not, as in most engines.
const CASES: [(usize, usize); 3] = [(250, 64), (4_000, 64), (4_000, 1_000)];

fn main() {
    let dir = tempfile::tempdir().unwrap();
    describe(dir.path());
    let mut rows = Vec::new();
    for (pages, bytes) in CASES {
        let path = dir.path().join(format!("{pages}-{bytes}"));
        make_log(&path, pages, bytes);
        measure(&path, pages, bytes, &mut rows);
    }
    print_table(&["pages", "change", "work", "MB/s", "of the scanner", "of 1 thread"], rows);
}

/// Changes all over the pages; nothing is ever written, so redo applies all of them.
fn make_log(path: &Path, count: usize, bytes: usize) {
    let mut pages = MemoryPages::new(count);
    let options = options().sync_policy(SyncPolicy::Never);
    let log = options.recover_with(Aries::new()).open_pages(path, &mut pages).unwrap();
    let image = vec![7_u8; bytes];
    let mut number = 0_u64;
    while log.positions().reserved.get() < LOG_BYTES {
        let mut txn = log.begin();
        for _ in 0..100 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let page = PageId::new((number >> 33) % count as u64);
            // All over the page: at one offset, all pages would compete for a few cache lines.
            let offset = (number >> 20) as usize % (PAGE_BYTES - bytes) / 8 * 8;
            txn.update(&mut pages, page, offset as u32, &image, &image).unwrap();
        }
        drop(txn.commit_ordered(0).unwrap());
    }
    log.sync().unwrap();
}

fn measure(path: &Path, pages: usize, bytes: usize, rows: &mut Vec<Vec<String>>) {
    let storage: Arc<dyn Storage> = Arc::new(FileStorage::open(path).unwrap());
    let examined = examine(&storage, Depth::Full, &mut ()).unwrap();
    let source = examined.source(&storage).unwrap();
    let range = LsnRange::new(source.range().start, examined.end);
    let mut times = [const { Vec::new() }; 8];
    for _ in 0..ROUNDS {
        times[0].push(timed(|| crc_of(&source, range)));
        times[1].push(timed(|| scan(&source, range)));
        let (analysis, redo) = recover(&source, range, &mut MemoryPages::new(pages), 1);
        times[2].push(analysis);
        times[3].push(redo);
        let (serial, redo) = recover_latched(&source, range, pages, 1);
        times[4].push(redo);
        let (parallel, redo) = recover_latched(&source, range, pages, 2);
        times[5].push(redo);
        times[6].push(scan_and_write(&source, range, pages));
        times[7].push(timed(|| crc_of_both(&source, range)));
        assert!(serial == parallel, "redo on two threads ends in other bytes");
    }
    let medians = times.map(|times| median(&times).as_secs_f64());
    let megabytes = range.bytes() as f64 / 1e6;
    let names = [
        "crc32c of the bytes",
        "scan, empty handler",
        "analysis",
        "redo",
        "redo, latched pages",
        "redo, latched pages, 2 threads",
        "scan and write, latched pages",
        "crc32c twice, on 2 threads",
    ];
    for (index, (name, time)) in names.into_iter().zip(medians).enumerate() {
        let of_one = match index {
            5 => format!("{:.2}", medians[4] / time),
            // What two threads of this machine are worth, at the moment.
            7 => format!("{:.2}", 2.0 * medians[0] / time),
            _ => String::new(),
        };
        rows.push(vec![
            pages.to_string(),
            format!("2 x {bytes} B"),
            name.to_owned(),
            format!("{:.0}", megabytes / time),
            format!("{:.2}", medians[1] / time),
            of_one,
        ]);
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed()
}

/// Reads the segments as they lie and checksums them.
fn crc_of(source: &LogSource, range: LsnRange) -> u32 {
    let mut buffer = vec![0_u8; 256 << 10];
    let mut crc = 0;
    for link in source.links() {
        let name = link.name.to_string();
        let file = source.storage().open(&name, wal_io::Access::Read).unwrap();
        let end = link.range().end.min(range.end);
        let mut left = end.distance_from(link.range().start).unwrap_or(0) as usize;
        let mut offset = link.offset_of(link.range().start);
        while left > 0 {
            let want = left.min(buffer.len());
            let read = file.read_at(&mut buffer[..want], offset).unwrap();
            crc = wal_format::crc32c_append(crc, &buffer[..read]);
            (left, offset) = (left - read, offset + read as u64);
        }
    }
    crc
}

/// The same twice, at the same time.
fn crc_of_both(source: &LogSource, range: LsnRange) -> u32 {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| crc_of(source, range));
        crc_of(source, range) ^ other.join().unwrap()
    })
}

fn scan(source: &LogSource, range: LsnRange) -> u64 {
    let mut scanner = source.scan(range);
    let mut records = 0;
    while !matches!(scanner.next().unwrap(), Step::Stopped(_)) {
        records += 1;
    }
    records
}

/// What no redo can do without: each change read and put in place, and nothing asked.
fn scan_and_write(source: &LogSource, range: LsnRange, count: usize) -> Duration {
    let pages: Vec<_> = (0..count).map(|_| Frame(Mutex::new(Page::default()))).collect();
    let mut engine = Shared(&pages);
    let mut scanner = source.scan(range);
    timed(|| {
        loop {
            match scanner.next().unwrap() {
                Step::Record(record) if record.kind() == RecordKind::UPDATE => {
                    let update = Update::decode(record.body).unwrap();
                    let lsn = record.lsn();
                    engine.write(update.page, update.offset, update.after, lsn).unwrap();
                }
                Step::Stopped(_) => break,
                _ => {}
            }
        }
    })
}

/// When each phase began and ended.
#[derive(Default)]
struct Phases(Vec<(Phase, Instant)>);

impl Progress for Phases {
    fn advance(&mut self, phase: Phase, _range: LsnRange, _at: Lsn) {
        self.0.push((phase, Instant::now()));
    }
}

impl Phases {
    fn time(&self, wanted: Phase) -> Duration {
        let mut times = self.0.iter().filter(|(phase, _)| *phase == wanted).map(|(_, at)| *at);
        let first = times.next().unwrap();
        times.next_back().unwrap_or(first) - first
    }
}

/// Time of analysis and of redo.
fn recover<E: PageStore>(
    source: &LogSource,
    range: LsnRange,
    engine: &mut E,
    threads: usize,
) -> (Duration, Duration) {
    let (mut phases, log) = (Phases::default(), RecoveryLog::new(source, range));
    let report = Aries::new().redo_threads(threads).recover(&log, engine, &mut phases).unwrap();
    assert_eq!(report.aries.unwrap().redo.threads, threads);
    (phases.time(Phase::Analysis), phases.time(Phase::Replay))
}

/// The pages, and the time of redo.
fn recover_latched(
    source: &LogSource,
    range: LsnRange,
    count: usize,
    threads: usize,
) -> (Vec<Page>, Duration) {
    let pages: Vec<_> = (0..count).map(|_| Frame(Mutex::new(Page::default()))).collect();
    let (_, redo) = recover(source, range, &mut Shared(&pages), threads);
    (pages.into_iter().map(|frame| frame.0.into_inner().unwrap()).collect(), redo)
}

#[derive(Clone, PartialEq, Eq)]
struct Page {
    lsn: Lsn,
    bytes: Vec<u8>,
}

impl Default for Page {
    fn default() -> Self {
        // Not zero: memory that nobody has touched would come from the kernel within the measure.
        Self { lsn: Lsn::NONE, bytes: vec![1; PAGE_BYTES] }
    }
}

/// A page and its latch, on cache lines of their own, as in any buffer pool.
#[repr(align(128))]
struct Frame(Mutex<Page>);

/// A handle on pages which have a latch each.
#[derive(Clone, Copy)]
struct Shared<'p>(&'p [Frame]);

impl PageStore for Shared<'_> {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        Ok(PageState::At(self.0[page.get() as usize].0.lock().unwrap().lsn))
    }

    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        let mut page = self.0[page.get() as usize].0.lock().unwrap();
        let offset = offset as usize;
        page.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        page.lsn = lsn;
        Ok(())
    }

    fn expect_change(&mut self, page: PageId, offset: u32, bytes: usize) {
        let page = self.0[page.get() as usize].0.lock().unwrap();
        look_at(&page.bytes, offset as usize, bytes);
    }

    fn mark_dirty(&mut self, _page: PageId) -> Result<(), EngineError> {
        Ok(())
    }

    fn split(&mut self, workers: usize) -> Option<Vec<Box<dyn PageStore + Send + '_>>> {
        Some((0..workers).map(|_| Box::new(*self) as Box<dyn PageStore + Send + '_>).collect())
    }
}
