//! The pool over a simulated disk, with a log that only counts.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use wal::RecoveryError;
use wal_io::Storage;
use wal_sim::{Call, Faults, SimDisk};

use super::*;

/// A log that takes note of what it is asked.
#[derive(Debug, Default)]
struct Told {
    images: Vec<PageId>,
    durable_up_to: BTreeMap<PageId, Lsn>,
    written: BTreeMap<PageId, Lsn>,
    next: u64,
    refuses: bool,
}

#[derive(Debug, Default)]
struct FakeLog(Mutex<Told>);

impl FakeLog {
    fn next(&self) -> Lsn {
        let mut told = self.0.lock();
        told.next += 8;
        Lsn::new(4096 + told.next).unwrap()
    }
}

impl WriteAhead for FakeLog {
    fn before_page_write(&self, page: PageId, page_lsn: Lsn) -> Result<(), RecoveryError> {
        let mut told = self.0.lock();
        if told.refuses {
            return Err(RecoveryError::PageOffline { page });
        }
        told.durable_up_to.insert(page, page_lsn);
        Ok(())
    }

    fn page_written(&self, page: PageId, page_lsn: Lsn) {
        self.0.lock().written.insert(page, page_lsn);
    }

    fn log_image(&self, page: PageId, _image: &[u8]) -> Result<Lsn, RecoveryError> {
        self.0.lock().images.push(page);
        Ok(self.next())
    }
}

fn pool(frames: usize) -> (Pool, Arc<FakeLog>, SimDisk) {
    let disk = SimDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let pool = Pool::new(PageFile::create(&storage, "pages", 512).unwrap(), frames, true);
    let log = Arc::new(FakeLog::default());
    let as_log: Arc<dyn WriteAhead> = Arc::clone(&log) as _;
    pool.log_runs(&as_log);
    (pool, log, disk)
}

fn change(pool: &Pool, log: &FakeLog, id: u64, value: u8) -> Result<Lsn, Error> {
    let id = PageId::new(id);
    let frame = pool.fetch(id)?;
    let mut cell = frame.write();
    pool.before_change(id, &mut cell)?;
    let mut page = cell.page(id)?.clone();
    page.put(100, &[value]).unwrap();
    let lsn = log.next();
    cell.replace(page, lsn);
    Ok(lsn)
}

fn value(pool: &Pool, id: u64) -> u8 {
    let frame = pool.fetch(PageId::new(id)).unwrap();
    let cell = frame.read();
    cell.page(PageId::new(id)).unwrap().bytes()[100]
}

#[test]
fn many_pages_go_through_a_few_frames() {
    let (pool, log, _disk) = pool(4);
    for id in 1..=50 {
        change(&pool, &log, id, id as u8).unwrap();
        assert!(pool.count().0 <= 4);
    }
    for id in (1..=50).rev() {
        assert_eq!(value(&pool, id), id as u8);
    }
}

#[test]
fn a02_a_page_is_written_only_after_the_log_is_durable_up_to_its_lsn() {
    let (pool, log, disk) = pool(4);
    let lsn = change(&pool, &log, 1, 1).unwrap();
    log.0.lock().refuses = true;
    let writes = disk.calls().get(&Call::Write).copied();
    assert!(matches!(pool.write_all(), Err(Error::Pages(_))));
    assert_eq!(disk.calls().get(&Call::Write).copied(), writes, "nothing was written");
    assert_eq!(pool.count().1, 1, "and the page is as dirty as before");
    log.0.lock().refuses = false;
    pool.write_all().unwrap();
    let told = log.0.lock();
    assert!(told.durable_up_to[&PageId::new(1)] >= lsn, "asked before the write");
    assert_eq!(told.written, told.durable_up_to, "and told after the sync");
}

#[test]
fn a25_the_first_change_of_a_clean_page_leaves_an_image_of_it() {
    let (pool, log, _disk) = pool(4);
    change(&pool, &log, 1, 1).unwrap();
    change(&pool, &log, 1, 2).unwrap();
    assert_eq!(log.0.lock().images.len(), 1, "one until it is written");
    pool.write_all().unwrap();
    assert_eq!(log.0.lock().images.len(), 1, "none for the write itself");
    change(&pool, &log, 1, 3).unwrap();
    assert_eq!(log.0.lock().images.len(), 2);
}

#[test]
fn a25_a_page_that_undo_made_dirty_gets_its_image_before_it_is_written() {
    let (pool, log, _disk) = pool(4);
    let id = PageId::new(1);
    let frame = pool.fetch(id).unwrap();
    let mut cell = frame.write();
    let page = cell.page(id).unwrap().clone();
    pool.recovered(id, &mut cell, page, log.next());
    drop(cell);
    pool.write_all().unwrap();
    assert_eq!(log.0.lock().images, [id]);
}

#[test]
fn a_failed_sync_poisons_the_pool() {
    for call in [Call::Write, Call::Sync] {
        let (pool, log, disk) = pool(4);
        change(&pool, &log, 1, 1).unwrap();
        disk.set_faults(Faults::new().fail(call, 1));
        assert!(matches!(pool.write_all(), Err(Error::Io(_))), "{call:?}");
        disk.set_faults(Faults::new());
        assert!(matches!(pool.write_all(), Err(Error::Poisoned { .. })), "never tried again");
        assert!(matches!(pool.fetch(PageId::new(1)), Err(Error::Poisoned { .. })));
        assert!(log.0.lock().written.is_empty(), "the log was not told that it was written");
    }
}

#[test]
fn a24_a_page_that_was_freed_is_not_written_any_more() {
    let (pool, log, _disk) = pool(4);
    change(&pool, &log, 1, 1).unwrap();
    // Somebody was about to write it.
    let frame = pool.fetch(PageId::new(1)).unwrap();
    pool.discard(PageId::new(1));
    pool.write_pages(&[frame]).unwrap();
    pool.write_all().unwrap();
    assert!(log.0.lock().written.is_empty());
}

#[test]
fn what_redo_has_written_is_told_when_the_log_runs() {
    let disk = SimDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk);
    let pool = Pool::new(PageFile::create(&storage, "pages", 512).unwrap(), 4, true);
    let log = Arc::new(FakeLog::default());
    for id in [1, 2, 3, 1] {
        let id = PageId::new(id);
        let frame = pool.fetch(id).unwrap();
        let mut cell = frame.write();
        let page = cell.page(id).unwrap().clone();
        pool.restored(id, &mut cell, page, log.next());
        drop(cell);
        if id.get() == 2 {
            pool.write_all().unwrap();
        }
    }
    let as_log: Arc<dyn WriteAhead> = Arc::clone(&log) as _;
    pool.log_runs(&as_log);
    let written: Vec<_> = log.0.lock().written.keys().copied().collect();
    assert_eq!(written, [PageId::new(2)], "1 changed again, 3 is still dirty");
}

#[test]
fn a25_what_redo_changed_without_an_image_stays_in_memory_until_the_log_takes_one() {
    let storage: Arc<dyn Storage> = Arc::new(SimDisk::new());
    let pool = Pool::new(PageFile::create(&storage, "pages", 512).unwrap(), 4, true);
    let log = Arc::new(FakeLog::default());
    for id in (1..=10).map(PageId::new) {
        let frame = pool.fetch(id).unwrap();
        let page = frame.read().page(id).unwrap().clone();
        pool.recovered(id, &mut frame.write(), page, log.next());
    }
    assert_eq!(pool.count(), (10, 10), "more than the frames asked for");
    let as_log: Arc<dyn WriteAhead> = Arc::clone(&log) as _;
    pool.log_runs(&as_log);
    pool.write_all().unwrap();
    assert_eq!((pool.count().1, log.0.lock().images.len()), (0, 10));
}

#[test]
fn a25_a_page_that_redo_found_as_new_as_the_log_goes_through_the_frames_all_the_same() {
    let storage: Arc<dyn Storage> = Arc::new(SimDisk::new());
    let pool = Pool::new(PageFile::create(&storage, "pages", 512).unwrap(), 4, true);
    for id in (1..=10).map(PageId::new) {
        let frame = pool.fetch(id).unwrap();
        pool.mark_dirty(id, &mut frame.write());
    }
    for id in (1..=10).map(PageId::new) {
        let frame = pool.fetch(id).unwrap();
        let page = frame.read().page(id).unwrap().clone();
        pool.recovered(id, &mut frame.write(), page, Lsn::FIRST);
    }
    assert!(pool.count().0 <= 4, "{:?}", pool.count());
}

#[test]
fn what_redo_changes_while_it_is_written_does_not_count_as_written() {
    let storage: Arc<dyn Storage> = Arc::new(SimDisk::new());
    let pool = Pool::new(PageFile::create(&storage, "pages", 512).unwrap(), 4, true);
    let log = FakeLog::default();
    let id = PageId::new(1);
    let frame = pool.fetch(id).unwrap();
    let page = frame.read().page(id).unwrap().clone();
    pool.restored(id, &mut frame.write(), page.clone(), log.next());
    let copy = pool.copy_dirty(&frame).unwrap().unwrap();
    pool.recovered(id, &mut frame.write(), page, log.next());
    pool.write_copies(&[copy]).unwrap();
    assert!(pool.redo.lock().written.is_empty());
}
