//! One buffer pool over several openings: what an opening that failed, or a log that was dropped,
//! leaves behind in it, and what it gets back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::IoSlice;
use std::sync::Arc;

use common::pages::{Pages, open_pages};
use common::small;
use wal::{
    Access, Aries, Decision, EngineError, Error, ErrorKind, InDoubt, Lsn, MemoryStorage, PageId,
    PageLog, PageState, PageStore, RecoveryError, Storage, Until, WriteAhead,
};

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

fn up(storage: &Arc<dyn Storage>) -> (PageLog, Pages) {
    open_pages(storage, small()).expect("the engine comes up")
}

/// Where the engine fails, once, after the log was handed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LogRuns,
    InDoubt,
    Undo,
}

/// A pool which is kept from one opening to the next.
struct Kept {
    pages: Pages,
    fails: Option<At>,
    rule: Option<Arc<dyn WriteAhead>>,
    payloads: Vec<Vec<u8>>,
    changed: u64,
}

impl Kept {
    fn new(storage: &Arc<dyn Storage>, fails: Option<At>) -> Self {
        let pages = Pages::open(storage).unwrap();
        Self { pages, fails, rule: None, payloads: Vec::new(), changed: 0 }
    }

    fn open(&mut self, storage: &Arc<dyn Storage>) -> Result<PageLog, Error> {
        small().recover_with(Aries::new()).open_pages_in(Arc::clone(storage), self)
    }

    fn pass(&mut self, at: At) -> Result<(), EngineError> {
        match self.fails.take_if(|fails| *fails == at && self.rule.is_some()) {
            Some(_) => Err("the disk is away for now".into()),
            None => Ok(()),
        }
    }
}

impl PageStore for Kept {
    fn restore_payload(&mut self, payload: &[u8]) -> Result<(), EngineError> {
        assert_eq!(self.changed, 0, "before redo");
        self.payloads.push(payload.to_vec());
        Ok(())
    }

    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        self.pages.page_state(page)
    }

    fn write(&mut self, p: PageId, at: u32, bytes: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        self.pass(At::Undo)?;
        self.changed += 1;
        self.pages.write(p, at, bytes, lsn)
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.pages.mark_dirty(page)
    }

    fn in_doubt(&mut self, _: &InDoubt<'_>) -> Result<Decision, EngineError> {
        self.pass(At::InDoubt)?;
        Ok(Decision::Abort)
    }

    fn log_runs(&mut self, log: &Arc<dyn WriteAhead>) -> Result<(), EngineError> {
        self.rule = Some(Arc::clone(log));
        self.pages.log_runs(log)?;
        self.pass(At::LogRuns)
    }
}

/// A log with a loser in it, and a transaction in doubt.
fn left_unfinished() -> Arc<dyn Storage> {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    let mut doubtful = log.begin();
    pages.put(&mut doubtful, 1, 0, 5).unwrap();
    doubtful.prepare(b"order 17", b"").unwrap();
    let mut loser = log.begin();
    pages.put(&mut loser, 2, 0, 6).unwrap();
    log.sync().unwrap();
    storage
}

#[test]
fn an_opening_that_failed_is_repeated_with_the_same_pool() {
    for at in [At::LogRuns, At::InDoubt, At::Undo] {
        let storage = left_unfinished();
        let mut pool = Kept::new(&storage, Some(at));
        let failed = pool.open(&storage).unwrap_err();
        assert_eq!((failed.kind(), pool.fails), (ErrorKind::Replay, None), "{at:?}: {failed}");
        pool.changed = 0;
        let log = pool.open(&storage).unwrap_or_else(|error| panic!("{at:?}: {error}"));
        assert_eq!((pool.pages.get(1, 0), pool.pages.get(2, 0)), (0, 0), "{at:?}");
        assert_eq!(log.stats().active_transactions, 0);
    }
}

#[test]
fn dropping_the_last_handle_closes_the_log_although_the_pool_remains() {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    let mut txn = log.begin();
    pages.put(&mut txn, 1, 0, 5).unwrap();
    drop(log);
    assert!(open_pages(&storage, small()).is_err(), "a transaction is a handle");
    drop(txn);
    up(&storage);
}

#[test]
fn what_the_pool_was_given_lets_no_page_be_written_once_the_log_is_gone() {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    let rule = log.write_ahead();
    let mut txn = log.begin();
    let lsn = pages.put(&mut txn, 1, 0, 5).unwrap();
    txn.commit().unwrap();
    drop(log);
    let page = PageId::new(1);
    let refused = [rule.before_page_write(page, lsn), rule.log_image(page, b"x").map(drop)];
    assert!(refused.iter().all(|said| matches!(said, Err(RecoveryError::LogClosed))));
    rule.page_written(page, lsn);
    let error = Error::from(RecoveryError::LogClosed);
    assert_eq!(error.kind(), ErrorKind::Closed);
    let (_log, mut pages) = up(&storage);
    assert_eq!(pages.get(1, 0), 5);
}

#[test]
fn the_payload_of_a_checkpoint_comes_back_before_redo() {
    let storage = memory();
    let mut pool = Kept::new(&storage, None);
    let log = pool.open(&storage).unwrap();
    assert_eq!((pool.payloads.len(), log.checkpoint_payload()), (0, None), "a new log has none");
    log.checkpoint(b"root 7").unwrap();
    let mut txn = log.begin();
    pool.pages.put(&mut txn, 1, 0, 5).unwrap();
    txn.commit().unwrap();
    drop(log);
    // Restart takes a checkpoint of its own, and hands the payload on with it.
    for _ in 0..2 {
        let mut pool = Kept::new(&storage, None);
        let log = pool.open(&storage).unwrap();
        assert_eq!(pool.payloads, [b"root 7"]);
        assert_eq!(log.checkpoint_payload(), Some(&b"root 7"[..]));
    }
}

#[test]
fn an_engine_that_refuses_the_payload_is_not_opened_and_asked_again() {
    struct Refuses(Pages);
    impl PageStore for Refuses {
        fn restore_payload(&mut self, payload: &[u8]) -> Result<(), EngineError> {
            Err(format!("what is {payload:?}?").into())
        }
        fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
            self.0.page_state(page)
        }
        fn write(&mut self, _: PageId, _: u32, _: &[u8], _: Lsn) -> Result<(), EngineError> {
            Err("never asked".into())
        }
        fn mark_dirty(&mut self, _: PageId) -> Result<(), EngineError> {
            Ok(())
        }
    }
    let storage = memory();
    let (log, _) = up(&storage);
    log.checkpoint(b"x").unwrap();
    drop(log);
    let mut engine = Refuses(Pages::open(&storage).unwrap());
    let opener = small().recover_with(Aries::new());
    let refused = opener.open_pages_in(Arc::clone(&storage), &mut engine).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Replay, "{refused}");
    up(&storage);
}

fn copy_pages(from: &Arc<dyn Storage>, to: &Arc<dyn Storage>) {
    let mut bytes = [0; 4 << 10];
    from.open("pages", Access::Read).unwrap().read_at(&mut bytes, 0).unwrap();
    to.create("pages", 0).unwrap().write_at(&[IoSlice::new(&bytes)], 0).unwrap();
}

/// The log restored to a point of yesterday, and no pages.
fn restored(storage: &Arc<dyn Storage>) -> Arc<dyn Storage> {
    let copy = memory();
    let until = Until::RestorePoint("yesterday".to_owned());
    wal::restore_to_in(storage, &copy, &until, &mut ()).unwrap();
    copy
}

fn put(log: &PageLog, pages: &mut Pages, page: u64, value: u64) -> Lsn {
    let mut txn = log.begin();
    let lsn = pages.put(&mut txn, page, 0, value).unwrap();
    txn.commit().unwrap();
    lsn
}

/// A fuzzy copy is older than what later checkpoints say was written.
#[test]
fn a33_a_copy_of_the_pages_gets_what_the_log_says_was_written_since() {
    let (storage, backup) = (memory(), memory());
    let (log, mut pages) = up(&storage);
    put(&log, &mut pages, 1, 10);
    pages.clean().unwrap();
    put(&log, &mut pages, 2, 20);
    log.checkpoint(b"").unwrap();
    let needed = log.oldest_needed();
    let _hold = log.hold("backup", needed, None).unwrap();
    copy_pages(&storage, &backup);
    put(&log, &mut pages, 1, 11);
    pages.clean().unwrap();
    for _ in 0..3 {
        log.checkpoint(b"").unwrap();
        log.truncate().unwrap();
    }
    let mut loser = log.begin();
    pages.put(&mut loser, 1, 1, 99).unwrap();
    log.restore_point("yesterday").unwrap();
    put(&log, &mut pages, 1, 12);
    let copy = restored(&storage);
    copy_pages(&backup, &copy);
    for copied in [true, false] {
        let mut pages = Pages::open(&copy).unwrap();
        let aries = if copied { Aries::new().pages_copied_at(needed) } else { Aries::new() };
        let log = small().recover_with(aries).open_pages_in(Arc::clone(&copy), &mut pages).unwrap();
        assert_eq!((pages.get(1, 0), pages.get(1, 1), pages.get(2, 0)), (11, 0, 20), "{copied}");
        assert!(log.dirty_pages() >= 2, "not written yet");
    }
}

#[test]
fn a33_lost_pages_come_back_from_an_older_copy_and_the_log_as_it_is() {
    let (storage, backup) = (memory(), memory());
    let (log, mut pages) = up(&storage);
    put(&log, &mut pages, 1, 10);
    pages.clean().unwrap();
    log.checkpoint(b"").unwrap();
    let needed = log.oldest_needed();
    let _hold = log.hold("backup", needed, None).unwrap();
    copy_pages(&storage, &backup);
    put(&log, &mut pages, 1, 11);
    pages.clean().unwrap();
    log.checkpoint(b"").unwrap();
    log.close().unwrap();
    drop((log, pages));
    storage.remove("pages").unwrap();
    copy_pages(&backup, &storage);
    let mut pages = Pages::open(&storage).unwrap();
    let opener = small().recover_with(Aries::new().pages_copied_at(needed));
    opener.open_pages_in(Arc::clone(&storage), &mut pages).unwrap();
    assert_eq!(pages.get(1, 0), 11);
}

#[test]
fn a33_a_copy_that_needs_more_of_the_log_than_there_is_is_refused() {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    put(&log, &mut pages, 1, 10);
    log.sync().unwrap();
    drop(log);
    for needed in [Lsn::MAX, Lsn::new(8).unwrap()] {
        let opener = small().recover_with(Aries::new().pages_copied_at(needed));
        let refused = opener.open_pages_in(Arc::clone(&storage), &mut pages).unwrap_err();
        let expected = if needed == Lsn::MAX { ErrorKind::BeyondEnd } else { ErrorKind::Truncated };
        assert_eq!((refused.kind(), refused.lsn()), (expected, Some(needed)), "{refused}");
    }
}

#[test]
fn a33_a_page_newer_than_the_log_is_refused_by_who_asks_and_never_written() {
    let storage = memory();
    let (log, mut pages) = up(&storage);
    put(&log, &mut pages, 1, 5);
    put(&log, &mut pages, 2, 5);
    pages.clean().unwrap();
    log.checkpoint(b"").unwrap();
    log.restore_point("yesterday").unwrap();
    let future = put(&log, &mut pages, 1, 6);
    pages.clean().unwrap();
    let copy = restored(&storage);
    copy_pages(&storage, &copy);
    let (log, mut pages) = up(&copy);
    assert!(future < log.positions().reserved, "a copy goes on above all addresses of its source");
    let (page, rule) = (PageId::new(1), log.write_ahead());
    assert_eq!(pages.page_state(page).unwrap(), PageState::At(future), "nothing looked at it");
    for refused in [
        log.check_page_lsn(page, future).unwrap_err(),
        rule.check_page_lsn(page, future).unwrap_err().into(),
        log.before_page_write(page, future).unwrap_err(),
    ] {
        assert_eq!((refused.kind(), refused.lsn()), (ErrorKind::Page, Some(future)), "{refused}");
    }
    let PageState::At(past) = pages.page_state(PageId::new(2)).unwrap() else { panic!("torn") };
    log.check_page_lsn(PageId::new(2), past).unwrap();
    log.check_page_lsn(PageId::new(3), Lsn::NONE).unwrap();
}
