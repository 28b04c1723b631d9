//! Reading a log in one pass, and on two threads: the same records and the same verdict.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::{self, IoSlice};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use common::{open, reopen, small};
use wal::{
    Access, ErrorKind, LogFile, LogView, Lsn, LsnRange, MemoryStorage, Storage, Threads,
    VerdictKind,
};

/// A log of `records` in segments of 64 KiB, opened twice. 20,000 are so long that a helper is there
/// for the second half of them.
fn log(records: u32) -> Arc<dyn Storage> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    for half in 0..2 {
        let (wal, _) = reopen(&storage);
        for n in 0..records / 2 {
            drop(wal.append(format!("{n:180} of half {half}").as_bytes()).unwrap());
        }
        wal.close().unwrap();
    }
    storage
}

type Seen = Vec<(Lsn, Vec<u8>)>;

/// As the verdict comes first.
fn opened(storage: &Arc<dyn Storage>, threads: usize) -> (LogView, Seen, Option<ErrorKind>) {
    let view = LogView::open_in(Arc::clone(storage)).unwrap().scan_threads(threads);
    let mut seen = Seen::new();
    let all = LsnRange::new(view.head(), Lsn::MAX);
    let met = view.for_each(all, |record| {
        seen.push((record.lsn(), record.body.to_vec()));
        ControlFlow::<()>::Continue(())
    });
    let error = met.err().map(|error| error.kind());
    (view, seen, error)
}

/// As the records come first.
fn scanned(storage: &Arc<dyn Storage>, threads: usize) -> (LogView, Seen) {
    let mut seen = Seen::new();
    let found = LogView::scan_in(Arc::clone(storage), threads, |record| {
        seen.push((record.lsn(), record.body.to_vec()));
        ControlFlow::<()>::Continue(())
    });
    match found.unwrap() {
        ControlFlow::Continue(view) => (view, seen),
        ControlFlow::Break(()) => panic!("nobody broke off"),
    }
}

fn check(storage: &Arc<dyn Storage>) -> (VerdictKind, usize) {
    let (view, seen, error) = opened(storage, 1);
    for threads in [1, 2] {
        let (again, seen_again, error_again) = opened(storage, threads);
        assert_eq!((&seen, error, view.end()), (&seen_again, error_again, again.end()));
        let (once, seen_once) = scanned(storage, threads);
        assert_eq!(seen, seen_once, "{threads}");
        assert_eq!(format!("{:?}", view.verdict()), format!("{:?}", once.verdict()));
        assert_eq!((view.range(), view.is_clean()), (once.range(), once.is_clean()));
    }
    (view.verdict().kind(), seen.len())
}

/// Flips a bit of the record at `at`.
fn damage(storage: &Arc<dyn Storage>, at: Lsn) {
    let view = LogView::open_in(Arc::clone(storage)).unwrap();
    let link = view.survey().links.iter().find(|link| link.range().contains(at)).unwrap();
    let file = storage.open(&link.name.to_string(), Access::Write).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, link.offset_of(at) + 26).unwrap();
    file.write_at(&[IoSlice::new(&[byte[0] ^ 4])], link.offset_of(at) + 26).unwrap();
}

#[test]
fn one_pass_gives_what_two_do() {
    let (verdict, records) = check(&log(20_000));
    assert_eq!(verdict, VerdictKind::CleanEnd);
    assert!(records > 20_000);
}

#[test]
fn one_pass_tells_at_its_end_that_something_is_missing() {
    let storage = log(20_000);
    let (_, seen) = scanned(&storage, 1);
    damage(&storage, seen[15_000].0);
    let (verdict, records) = check(&storage);
    assert_eq!((verdict, records), (VerdictKind::Corrupt, 15_000));
}

#[test]
fn who_breaks_off_is_told_no_verdict() {
    let storage = log(20_000);
    for threads in [1, 2] {
        let mut left = 17_000;
        let found = LogView::scan_in(Arc::clone(&storage), threads, |record| {
            left -= 1;
            if left == 0 { ControlFlow::Break(record.lsn()) } else { ControlFlow::Continue(()) }
        });
        let (_, seen) = scanned(&storage, 1);
        assert_eq!(found.unwrap().break_value(), Some(seen[16_999].0));
    }
}

#[test]
fn an_open_log_is_read_beside_its_writer() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (wal, _) = reopen(&storage);
    let mut last = Lsn::FIRST;
    for n in 0..500_u32 {
        let ticket = wal.append(&n.to_le_bytes()).unwrap();
        ticket.wait_durable().unwrap();
        last = ticket.lsn();
    }
    let (_, seen) = scanned(&storage, 2);
    assert!(seen.iter().any(|(lsn, _)| *lsn == last));
}

/// Counts how often the helper of a scan opens a file.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn Storage>,
    opened_by_helper: AtomicU64,
}

impl Storage for Watched {
    wal_io::pass_on_names!(inner);

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        self.inner.create(name, len)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        let is_helper = thread::current().name() == Some("wal-scan");
        self.opened_by_helper.fetch_add(u64::from(is_helper), Ordering::Relaxed);
        self.inner.open(name, access)
    }
}

/// Whether a helper was there while `what` was done.
fn is_helped(log: &Arc<dyn Storage>, what: impl FnOnce(Arc<dyn Storage>)) -> bool {
    let watched = Arc::new(Watched { inner: Arc::clone(log), opened_by_helper: AtomicU64::new(0) });
    what(Arc::<Watched>::clone(&watched));
    watched.opened_by_helper.load(Ordering::Relaxed) > 0
}

#[test]
fn a_long_log_is_opened_and_looked_at_with_a_helper_unless_it_is_refused_one() {
    let (long, short) = (log(20_000), log(2_000));
    let opening = |log: &Arc<dyn Storage>, threads| {
        is_helped(log, |storage| {
            let (_, records) = open(&storage, small().threads(threads)).unwrap();
            assert!(records.len() >= 2_000);
        })
    };
    let looking = |log, threads| is_helped(log, |storage| drop(opened(&storage, threads)));
    let in_one_pass = |log, threads| is_helped(log, |storage| drop(scanned(&storage, threads)));
    assert!(!opening(&long, Threads::None) && !in_one_pass(&long, 1), "one thread was asked for");
    assert!(!opening(&short, Threads::Helper) && !looking(&short, 2) && !in_one_pass(&short, 2));
    // Where there is one processor a helper would be in the way.
    let is_used = thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
    assert_eq!(opening(&long, Threads::Helper), is_used);
    assert_eq!((looking(&long, 2), in_one_pass(&long, 2)), (is_used, is_used));
}
