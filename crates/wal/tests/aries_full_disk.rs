//! Statement 9: what was promised a place has one, however full the disk is. The log is filled until
//! it refuses, and then everything is rolled back and a checkpoint taken, here and after a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::pages::{Pages, SLOTS, open_pages};
use common::small;
use wal::{
    EngineError, ErrorKind, HoldLimit, LogicalUndo, Lsn, Options, OverLimit, PageId, PageLog,
    PageState, PageStore, PageTransaction, Storage, Threads, UndoScope,
};
use wal_sim::{CrashMode, Faults, Model, SimDisk, SimRng};

const PAGES: u64 = 24;

fn up(disk: &SimDisk) -> (PageLog, Pages) {
    open_pages(&as_storage(disk), small()).expect("the engine comes up")
}

fn as_storage(disk: &SimDisk) -> Arc<dyn Storage> {
    Arc::new(disk.clone())
}

fn taken(disk: &SimDisk) -> u64 {
    disk.list().unwrap().iter().map(|entry| entry.len).sum()
}

/// One committed change.
fn commit(log: &PageLog, pages: &mut Pages, page: u64, slot: u64, value: u64) {
    let mut txn = log.begin();
    pages.put(&mut txn, page, slot, value).unwrap();
    txn.commit().unwrap();
}

/// From now on the disk has room for `more` bytes only.
fn leave_room(disk: &SimDisk, more: u64) {
    disk.set_faults(Faults::new().space_bytes(taken(disk) + more));
}

/// An engine whose pages all have their place on the disk, each with a committed number in it.
fn warm(disk: &SimDisk) -> (PageLog, Pages, Vec<u64>) {
    let (log, mut pages) = up(disk);
    let mut txn = log.begin();
    for page in 0..PAGES {
        pages.put(&mut txn, page, page % SLOTS, 1000 + page).unwrap();
    }
    txn.commit().unwrap();
    pages.clean().unwrap();
    let committed = pages.all(PAGES);
    (log, pages, committed)
}

/// Runs transactions until each of them is refused for want of space; gives them, still running.
fn fill(log: &PageLog, pages: &mut Pages, seed: u64) -> Vec<PageTransaction> {
    let mut rng = SimRng::new(seed);
    let mut running: Vec<PageTransaction> = (0..6).map(|_| log.begin()).collect();
    let mut refused = 0;
    while refused < 20 {
        // Each transaction has pages of its own, as locks would see to.
        let which = rng.below(running.len() as u64);
        let page = which + 6 * rng.below(PAGES / 6);
        let txn = &mut running[which as usize];
        match pages.put(txn, page, rng.below(SLOTS), rng.next_u64()) {
            Ok(_) if rng.below(40) == 0 => pages.steal(page).unwrap(),
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                refused += 1;
            }
        }
    }
    running
}

#[test]
fn a09_fill_the_log_roll_everything_back_it_succeeds() {
    for seed in 0..6 {
        let disk = SimDisk::new();
        let (log, mut pages, committed) = warm(&disk);
        leave_room(&disk, 300 << 10);
        let running = fill(&log, &mut pages, seed);
        leave_room(&disk, 0);
        for txn in running {
            txn.abort(&mut pages).unwrap();
        }
        log.checkpoint(b"full").unwrap();
        assert_eq!(pages.all(PAGES), committed);
        // With the pages written and the old checkpoints forgotten there is room again.
        pages.clean().unwrap();
        log.checkpoint(b"").unwrap();
        log.checkpoint(b"").unwrap();
        assert!(log.truncate().unwrap().segments > 0);
        commit(&log, &mut pages, 0, 0, 7);
    }
}

#[test]
fn a09_rollbacks_to_savepoints_and_checkpoints_take_turns_on_a_full_disk() {
    let disk = SimDisk::new();
    let (log, mut pages, committed) = warm(&disk);
    leave_room(&disk, 300 << 10);
    let mut first = log.begin();
    pages.put(&mut first, 5, 0, 1).unwrap();
    let savepoint = first.savepoint();
    let mut running = fill(&log, &mut pages, 9);
    leave_room(&disk, 0);
    first.rollback_to(&mut pages, savepoint).unwrap();
    while let Some(txn) = running.pop() {
        log.checkpoint(b"in between").unwrap();
        txn.abort(&mut pages).unwrap();
    }
    first.abort(&mut pages).unwrap();
    log.checkpoint(b"").unwrap();
    assert_eq!(pages.all(PAGES), committed);
}

#[test]
fn a09_a_commit_needs_no_space_that_it_was_not_promised() {
    let disk = SimDisk::new();
    let (log, mut pages, _) = warm(&disk);
    leave_room(&disk, 300 << 10);
    let running = fill(&log, &mut pages, 3);
    leave_room(&disk, 0);
    for txn in running {
        txn.commit().unwrap();
    }
    let committed = pages.all(PAGES);
    log.checkpoint(b"").unwrap();
    drop((log, pages));
    let crashed = disk.crash(CrashMode::LoseAll);
    leave_room(&crashed, 0);
    let (_log, mut pages) = up(&crashed);
    assert_eq!(pages.all(PAGES), committed);
}

/// A disk on which transactions filled the log, and the power went: full to the last byte.
fn crashed_full(seed: u64, mode: CrashMode) -> (SimDisk, Vec<u64>) {
    let disk = SimDisk::new();
    let (log, mut pages, committed) = warm(&disk);
    leave_room(&disk, 300 << 10);
    let running = fill(&log, &mut pages, seed);
    log.sync().unwrap();
    disk.power_off();
    drop((running, log, pages));
    (disk.crash(mode), committed)
}

#[test]
fn a09_a_restart_on_the_full_disk_rolls_everything_back() {
    for seed in 0..2 {
        for mode in [CrashMode::LoseAll, CrashMode::KeepAll, CrashMode::Random(seed)] {
            let (disk, committed) = crashed_full(seed, mode);
            leave_room(&disk, 0);
            let (log, mut pages) = up(&disk);
            assert_eq!(pages.all(PAGES), committed, "{mode:?}");
            assert!(log.recovery().aries.as_ref().unwrap().undo.transactions >= 5);
            pages.clean().unwrap();
            log.checkpoint(b"").unwrap();
            log.checkpoint(b"").unwrap();
            assert!(log.truncate().unwrap().segments > 0);
        }
    }
}

#[test]
fn a09_a_restart_on_the_full_disk_that_is_cut_anywhere_is_repeated_and_succeeds() {
    let (disk, committed) = crashed_full(1, CrashMode::LoseAll);
    let full = Faults::new().space_bytes(taken(&disk));
    let mut cuts = 0;
    for op in (1..).step_by(5) {
        let disk = disk.crash(CrashMode::KeepAll);
        disk.set_faults(full.clone());
        disk.power_cut_at(op);
        drop(open_pages(&as_storage(&disk), small()));
        if !disk.is_off() {
            break;
        }
        cuts += 1;
        for mode in [CrashMode::LoseAll, CrashMode::Random(op)] {
            let again = disk.crash(mode);
            again.set_faults(full.clone());
            let (_log, mut pages) = up(&again);
            assert_eq!(pages.all(PAGES), committed, "cut at {op}, {mode:?}");
        }
    }
    assert!(cuts > 10, "{cuts}");
}

#[test]
fn a09_holds_with_direct_io_where_every_flush_pads_a_block() {
    let (disk, pages_disk) = (Model::new().block_bytes(4096).disk(), SimDisk::new());
    let mut pages = Pages::open(&as_storage(&pages_disk)).unwrap();
    let options = Options::default().segment_bytes(1 << 20).buffer_bytes(64 << 10);
    let opener = options.threads(Threads::None).recover_with(wal::Aries::new());
    let log = opener.open_pages_in(as_storage(&disk), &mut pages).unwrap();
    // Eight hundred changes in a few flushes, to be taken back one by one.
    let mut long = log.begin();
    let mut savepoints = Vec::new();
    for number in 0..800 {
        savepoints.push(long.savepoint());
        pages.put(&mut long, 0, number % SLOTS, number).unwrap();
    }
    leave_room(&disk, 0);
    let mut other = log.begin();
    let refused = loop {
        match pages.put(&mut other, 1, 0, 5) {
            Ok(_) => pages.steal(1).unwrap(),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::NoSpace, "{refused}");
    while let Some(savepoint) = savepoints.pop() {
        long.rollback_to(&mut pages, savepoint).unwrap();
        // Each compensation is flushed on its own, and so takes a block.
        pages.steal(0).unwrap();
    }
    long.abort(&mut pages).unwrap();
    other.abort(&mut pages).unwrap();
    log.checkpoint(b"").unwrap();
    assert!(pages.all(2).iter().all(|number| *number == 0));
}

#[test]
fn a_log_that_reserves_nothing_holds_nothing_back() {
    let disk = SimDisk::new();
    let names = |disk: &SimDisk| -> Vec<String> {
        disk.list().unwrap().into_iter().map(|entry| entry.name).collect()
    };
    let (wal, _) = common::reopen(&as_storage(&disk));
    for number in 0..100 {
        drop(wal.append(&[number; 3000]).unwrap());
    }
    assert!(!names(&disk).iter().any(|name| name.starts_with("reserve-")), "{:?}", names(&disk));
    assert_eq!(wal.stats().reserved_bytes, 0);
    let pages_disk = SimDisk::new();
    let (log, _pages) = up(&pages_disk);
    assert!(names(&pages_disk).iter().any(|name| name.starts_with("reserve-")));
    assert!(log.stats().reserved_bytes > 0, "the next checkpoint has its room");
}

#[test]
fn space_that_a_large_rollback_would_have_taken_is_used_again() {
    let disk = SimDisk::new();
    let (log, mut pages, _) = warm(&disk);
    let held =
        || disk.list().unwrap().iter().filter(|entry| entry.name.starts_with("reserve-")).count();
    let mut txn = log.begin();
    for number in 0..6000 {
        pages.put(&mut txn, number % PAGES, number / PAGES % SLOTS, number).unwrap();
    }
    let most = held();
    assert!(most > 5, "{most}");
    txn.commit().unwrap();
    for number in 0..4000 {
        commit(&log, &mut pages, number % PAGES, 0, number);
    }
    assert!(held() <= 2, "{} of {most}", held());
}

/// Checkpoints on a full disk until one is refused; gives how many were taken.
fn checkpoints(log: &PageLog, payload: &[u8]) -> usize {
    for taken in 0..400 {
        if let Err(error) = log.checkpoint(payload) {
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
            return taken;
        }
    }
    panic!("they never use up what was put by for them");
}

#[test]
fn a09_checkpoints_of_a_full_log_leave_rollbacks_what_they_were_promised() {
    for payload_bytes in [0, 1024, 4000] {
        let disk = SimDisk::new();
        let (log, mut pages, committed) = warm(&disk);
        leave_room(&disk, 300 << 10);
        let running = fill(&log, &mut pages, 5);
        leave_room(&disk, 0);
        let full = taken(&disk);
        let before = log.checkpoints().first().copied();
        let taken_now = checkpoints(&log, &vec![7; payload_bytes]);
        assert!(taken_now > 0 || payload_bytes > 1024, "{payload_bytes}: there is room for one");
        assert_eq!(log.checkpoints().first().copied() == before, taken_now == 0);
        // The process may die here: the next one has what it needs, too.
        let crashed = disk.crash(CrashMode::KeepAll);
        crashed.set_faults(Faults::new().space_bytes(full));
        drop(up(&crashed));
        for txn in running {
            txn.abort(&mut pages).unwrap();
        }
        assert_eq!(pages.all(PAGES), committed);
        // Nobody is promised anything any more, so a checkpoint has what is left.
        log.checkpoint(b"").unwrap();
    }
}

/// An engine whose logical undo logs more than it said.
struct Greedy<'p>(&'p mut Pages);

impl PageStore for Greedy<'_> {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        self.0.page_state(page)
    }

    fn write(
        &mut self,
        page: PageId,
        offset: u32,
        bytes: &[u8],
        lsn: Lsn,
    ) -> Result<(), EngineError> {
        self.0.write(page, offset, bytes, lsn)
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.0.mark_dirty(page)
    }

    fn undo_logical(
        &mut self,
        undo: &LogicalUndo<'_>,
        scope: &mut dyn UndoScope,
    ) -> Result<(), EngineError> {
        for _ in 0..2_000 {
            let lsn = scope.log_update(undo.page, 400, &[0; 64], &[0; 64])?;
            self.0.write(undo.page, 400, &[0; 64], lsn)?;
        }
        scope.end_nested()?;
        let lsn = scope.compensate(undo.page, undo.operation, b"")?;
        self.0.write(undo.page, 0, &[], lsn)
    }
}

#[test]
fn a09_an_undo_that_logs_more_than_it_reserved_takes_nothing_from_others() {
    let disk = SimDisk::new();
    let (log, mut pages, committed) = warm(&disk);
    let mut greedy = log.begin();
    let page = PageId::new(PAGES + 1);
    let lsn = greedy.log_logical(page, 1, b"redo", b"undo").unwrap();
    pages.write(page, 0, &[], lsn).unwrap();
    leave_room(&disk, 300 << 10);
    let running = fill(&log, &mut pages, 5);
    leave_room(&disk, 0);
    let refused = greedy.abort(&mut Greedy(&mut pages)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoSpace, "{refused}");
    for txn in running {
        txn.abort(&mut pages).unwrap();
    }
    assert_eq!(pages.all(PAGES), committed);
    // Only its own rollback waits, and goes on when there is room.
    disk.set_faults(Faults::new());
    log.rollback_abandoned(&mut Greedy(&mut pages)).unwrap();
    assert!(log.abandoned().is_empty());
}

#[test]
fn a09_a_full_log_with_a_transaction_in_doubt_can_be_emptied() {
    let disk = SimDisk::new();
    let (log, mut pages, _) = warm(&disk);
    log.checkpoint(b"").unwrap();
    leave_room(&disk, 300 << 10);
    // Most of it is filled by what nobody needs any more.
    for n in 0..900 {
        let mut txn = log.begin();
        if pages.put(&mut txn, n % 4, n % SLOTS, n).is_err() {
            break;
        }
        txn.commit().unwrap();
    }
    let mut young = log.begin();
    pages.put(&mut young, 1, 5, 7).unwrap();
    young.prepare(b"g", b"").unwrap();
    drop(young);
    for bytes in [250, 1] {
        while log.restore_point(&"n".repeat(bytes)).is_ok() {}
    }
    leave_room(&disk, 0);
    pages.clean().unwrap();
    let before = log.head();
    // As many as are retained: what lies before the older one is given up.
    for _ in 0..2 {
        log.checkpoint(b"").unwrap();
        log.truncate().unwrap();
    }
    assert!(log.head() > before);
    commit(&log, &mut pages, 2, 2, 2);
}

#[test]
fn a_hold_over_its_limit_stops_neither_checkpoints_nor_rollbacks_that_need_more() {
    let disk = SimDisk::new();
    let (log, mut pages) = up(&disk);
    let mut greedy = log.begin();
    let page = PageId::new(PAGES + 1);
    let lsn = greedy.log_logical(page, 1, b"redo", b"undo").unwrap();
    pages.write(page, 0, &[], lsn).unwrap();
    let mut other = log.begin();
    pages.put(&mut other, 1, 0, 5).unwrap();
    let limit = HoldLimit { bytes: 0, over: OverLimit::RefuseAppends };
    let _hold = log.hold("replica", log.positions().durable, Some(limit)).unwrap();
    let refused = |error: wal::Error| assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    for _ in 0..5 {
        log.checkpoint(&[7; 2_000]).unwrap();
    }
    greedy.abort(&mut Greedy(&mut pages)).unwrap();
    log.log_image(page, &[7; 512]).unwrap();
    // New work it does stop.
    refused(pages.put(&mut other, 1, 1, 6).unwrap_err());
    refused(other.nested_begin().unwrap_err());
    refused(log.restore_point("here").unwrap_err());
    other.commit().unwrap();
}

#[test]
fn a09_more_bytes_than_there_can_be_are_refused_and_leave_nothing_behind() {
    let disk = SimDisk::new();
    let (log, mut pages) = up(&disk);
    log.checkpoint(b"").unwrap();
    let idle = log.stats().reserved_bytes;
    for more in [u64::MAX, u64::MAX - 200, u64::MAX / 2] {
        let mut txn = log.begin();
        let refused = txn.log_logical_reserving(PageId::new(1), 1, b"redo", b"undo", more);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::NoSpace, "{more}");
        txn.abort(&mut pages).unwrap();
        log.checkpoint(b"").unwrap();
        assert_eq!(log.stats().reserved_bytes, idle, "{more}");
    }
}
