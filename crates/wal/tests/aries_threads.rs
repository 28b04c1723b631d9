//! Several writers of pages at once, beside a pool which steals and checkpoints which truncate; the
//! power goes at any moment of it. What was acknowledged is there, whole transactions only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::small;
use wal::{
    Aries, EngineError, Error, Lsn, Options, PageId, PageLog, PageState, PageStore, RecoveryError,
    Threads,
};
use wal_sim::{CrashMode, SimDisk};

const WRITERS: u64 = 3;
const PAGES: u64 = 6;
const CRASHES: u64 = 24;
/// Commits between two power cuts.
const COMMITS: u64 = 25;

/// A page: its LSN, and a number for each writer.
type Page = (Lsn, [u64; WRITERS as usize]);

const EMPTY: Page = (Lsn::NONE, [0; WRITERS as usize]);

/// Pages, each under its latch, and what storage holds of them.
#[derive(Default)]
struct Pool {
    frames: Vec<Mutex<Page>>,
    stored: Mutex<BTreeMap<PageId, Page>>,
}

impl Pool {
    fn from_storage(stored: BTreeMap<PageId, Page>) -> Arc<Self> {
        let page = |page| stored.get(&PageId::new(page)).copied().unwrap_or(EMPTY);
        let frames = (0..PAGES).map(|number| Mutex::new(page(number))).collect();
        Arc::new(Self { frames, stored: Mutex::new(stored) })
    }

    fn frame(&self, page: PageId) -> &Mutex<Page> {
        &self.frames[page.get() as usize]
    }

    fn get(&self, page: u64, writer: u64) -> u64 {
        self.frames[page as usize].lock().unwrap().1[writer as usize]
    }

    /// Writes a page as it is now, committed or not.
    fn steal(&self, log: &PageLog, page: PageId) {
        let copy = *self.frame(page).lock().unwrap();
        if copy.0.is_none() {
            return;
        }
        log.before_page_write(page, copy.0).unwrap();
        self.stored.lock().unwrap().insert(page, copy);
        log.page_written(page, copy.0);
    }
}

/// A handle of one thread on the pool.
struct Handle(Arc<Pool>);

fn put(page: &mut Page, offset: u32, bytes: &[u8], lsn: Lsn) -> Result<(), EngineError> {
    if !bytes.is_empty() {
        page.1[offset as usize / 8] = u64::from_le_bytes(bytes.try_into()?);
    }
    page.0 = lsn;
    Ok(())
}

impl PageStore for Handle {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        Ok(PageState::At(self.0.frame(page).lock().unwrap().0))
    }

    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        put(&mut self.0.frame(page).lock().unwrap(), offset, bytes, lsn)
    }

    fn write_logged(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        log: &mut dyn FnMut() -> Result<Lsn, RecoveryError>,
    ) -> Result<(), EngineError> {
        let mut page = self.0.frame(page).lock().unwrap();
        let lsn = log()?;
        put(&mut page, offset, bytes, lsn)
    }

    fn mark_dirty(&mut self, _page: PageId) -> Result<(), EngineError> {
        Ok(())
    }

    fn split(&mut self, workers: usize) -> Option<Vec<Box<dyn PageStore + Send + '_>>> {
        let handle = |_| Box::new(Self(Arc::clone(&self.0))) as Box<dyn PageStore + Send + '_>;
        Some((0..workers).map(handle).collect())
    }
}

/// What one writer asked for, and what it was promised.
#[derive(Default)]
struct Said {
    asked: AtomicU64,
    promised: AtomicU64,
}

/// Ends the work of all when one thread ends, by a panic too: nobody waits for a dead one.
struct Stop<'s>(&'s AtomicBool);

impl Stop<'_> {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Transactions that put the same number into two pages, beside others that are taken back.
fn write(log: &PageLog, pool: &Arc<Pool>, writer: u64, said: &Said, stop: &Stop<'_>) {
    let mut pages = Handle(Arc::clone(pool));
    let offset = 8 * writer as u32;
    let mut number = pool.get(0, writer);
    let mut change = |txn: &mut wal::PageTransaction, page: u64, value: u64| -> Result<(), Error> {
        let before = pages.0.get(page, writer).to_le_bytes();
        txn.update(&mut pages, PageId::new(page), offset, &before, &value.to_le_bytes()).map(drop)
    };
    while !stop.is_set() {
        number += 1;
        let mut txn = log.begin();
        change(&mut txn, 0, number).unwrap();
        let savepoint = txn.savepoint();
        change(&mut txn, 2 + number % 4, number).unwrap();
        let mut handle = Handle(Arc::clone(pool));
        txn.rollback_to(&mut handle, savepoint).unwrap();
        change(&mut txn, 1, number).unwrap();
        if number.is_multiple_of(5) {
            txn.abort(&mut handle).unwrap();
            continue;
        }
        said.asked.store(number, Ordering::SeqCst);
        txn.commit().unwrap();
        said.promised.store(number, Ordering::SeqCst);
    }
}

/// What a power cut at this moment leaves: the log, the pages in storage, and the numbers between
/// which each writer's must be.
fn cut(
    disk: &SimDisk,
    pool: &Pool,
    said: &[Said],
    mode: CrashMode,
) -> (SimDisk, BTreeMap<PageId, Page>, Vec<(u64, u64)>) {
    let promised: Vec<u64> = said.iter().map(|said| said.promised.load(Ordering::SeqCst)).collect();
    // While storage takes no page, both are as they were at one moment.
    let stored = pool.stored.lock().unwrap();
    let (left, stored) = (disk.crash(mode), stored.clone());
    let asked = said.iter().map(|said| said.asked.load(Ordering::SeqCst));
    (left, stored, promised.into_iter().zip(asked).collect())
}

fn up(disk: &SimDisk, pool: &Arc<Pool>, options: Options, redo_threads: usize) -> PageLog {
    let opener = options.recover_with(Aries::new().redo_threads(redo_threads));
    opener.open_pages_in(Arc::new(disk.clone()), &mut Handle(Arc::clone(pool))).unwrap()
}

fn check(pool: &Pool, bounds: &[(u64, u64)]) {
    for (writer, (promised, asked)) in (0..).zip(bounds) {
        let (one, two) = (pool.get(0, writer), pool.get(1, writer));
        assert_eq!(one, two, "half of a transaction of writer {writer}");
        assert!((*promised..=*asked).contains(&one), "{one} of {promised} to {asked}");
        for page in 2..PAGES {
            assert_eq!(pool.get(page, writer), 0, "what was taken back came back on page {page}");
        }
    }
}

fn writers_and_power_cuts(options: &Options) {
    let disk = SimDisk::new();
    let pool = Pool::from_storage(BTreeMap::new());
    let log = up(&disk, &pool, options.clone(), 1);
    let said: Vec<Said> = (0..WRITERS).map(|_| Said::default()).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (log, pool, said, stop) = (&log, &pool, &said[writer as usize], Stop(&stop));
            scope.spawn(move || write(log, pool, writer, said, &stop));
        }
        scope.spawn(|| {
            let stop = Stop(&stop);
            for page in (0..PAGES).cycle().take_while(|_| !stop.is_set()) {
                pool.steal(&log, PageId::new(page));
            }
        });
        scope.spawn(|| {
            let stop = Stop(&stop);
            while !stop.is_set() {
                log.checkpoint(b"").unwrap();
                log.truncate().unwrap();
                thread::yield_now();
            }
        });
        let stop = Stop(&stop);
        for crash in 0..CRASHES {
            let sum = || said.iter().map(|said| said.promised.load(Ordering::SeqCst)).sum::<u64>();
            let start = sum();
            while sum() < start + COMMITS && !stop.is_set() {
                thread::yield_now();
            }
            let mode = match crash % 4 {
                0 => CrashMode::LoseAll,
                1 => CrashMode::KeepAll,
                2 => CrashMode::Random(crash),
                _ => CrashMode::Torn(crash),
            };
            let (left, stored, bounds) = cut(&disk, &pool, &said, mode);
            let again = Pool::from_storage(stored.clone());
            let restarted = up(&left, &again, options.clone(), 1 + (crash % 2) as usize);
            check(&again, &bounds);
            // The power goes again, and nothing of the pages was written meanwhile.
            let left = left.crash(CrashMode::LoseAll);
            drop(restarted);
            let again = Pool::from_storage(stored);
            let _log = up(&left, &again, options.clone(), 1);
            check(&again, &bounds);
        }
    });
    assert!(log.head() > Lsn::FIRST, "the log was never truncated while they wrote");
}

#[test]
fn a15_writers_a_pool_that_steals_and_checkpoints_survive_power_cuts_at_any_moment() {
    writers_and_power_cuts(&small());
}

#[test]
fn a15_the_same_with_threads_of_the_logs_own() {
    writers_and_power_cuts(&small().threads(Threads::Helper));
}
