//! What the published logs before this one offered, by the calls that take their place; and that
//! their faults are not here. `docs/parity.md` names the test for each row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use common::executor::block_on;
use common::{body, open, reopen, segments, small};
use wal::{
    Access, Due, Durability, ErrorKind, FileEntry, Log, LogFile, LogView, Maintainer, MemoryLog,
    MemoryStorage, Options, Storage, StorageLock, SyncPolicy, Threads, Triggers, Wal,
};

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

/// A place whose lock holds nobody back, and whose free space is what the test says.
#[derive(Debug)]
struct Lax {
    inner: Arc<dyn Storage>,
    free: Arc<AtomicU64>,
}

#[derive(Debug)]
struct NoLock;
impl StorageLock for NoLock {}

impl Storage for Lax {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.inner.list()
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn LogFile>> {
        self.inner.create(name, len)
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn LogFile>> {
        self.inner.open(name, access)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
    fn lock(&self) -> io::Result<Box<dyn StorageLock>> {
        Ok(Box::new(NoLock))
    }
    fn place(&self) -> String {
        self.inner.place()
    }
    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.free.load(Ordering::SeqCst)))
    }
}

fn lax() -> (Arc<dyn Storage>, Arc<AtomicU64>) {
    let free = Arc::new(AtomicU64::new(u64::MAX));
    (Arc::new(Lax { inner: memory(), free: free.clone() }), free)
}

/// A log in a place whose lock another writer has stolen.
fn stolen() -> (Wal, Wal) {
    let (storage, _) = lax();
    let (old, _) = reopen(&storage);
    old.append(b"acknowledged").unwrap().wait_durable().unwrap();
    let (new, found) = reopen(&storage);
    assert_eq!(found, [b"acknowledged"]);
    (old, new)
}

fn stopped(wal: &Wal) {
    let error = wal.append(b"late").and_then(|ticket| ticket.wait_durable()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
}

#[test]
fn a_superseded_writer_stops_acknowledging_at_its_next_rotation() {
    let (old, new) = stolen();
    let mut refused = None;
    for number in 0..200 {
        let done = old.append(&vec![number; 1000]).and_then(|ticket| ticket.wait_durable());
        if let Err(error) = done {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused.expect("the second segment is refused").kind(), ErrorKind::Poisoned);
    stopped(&old);
    new.append(b"goes on").unwrap().wait_durable().unwrap();
}

#[test]
fn a_superseded_writer_stops_acknowledging_at_every_write_of_the_control_file() {
    let (old, _new) = stolen();
    let error = old.checkpoint_begin().unwrap().complete(b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
    stopped(&old);

    let (old, _new) = stolen();
    assert_eq!(old.check_epoch().unwrap_err().kind(), ErrorKind::Poisoned);
    stopped(&old);

    let (old, new) = stolen();
    assert!(old.close().is_err(), "no clean mark over another writer's log");
    new.check_epoch().unwrap();
    new.append(b"goes on").unwrap().wait_durable().unwrap();
    new.close().unwrap();
}

fn same_through_the_trait(log: &dyn Log) {
    let first = log.append(b"one").unwrap();
    let (first_lsn, second) = (first.lsn(), log.append_batch(&[b"two", b"three"]).unwrap());
    second.wait_durable().unwrap();
    let ends = log.positions();
    assert!(first.is_durable() && ends.durable >= second.end());
    let read = log.read_many(first_lsn, usize::MAX).unwrap();
    let bodies: Vec<&[u8]> = read.records.iter().map(|record| &*record.body).collect();
    assert_eq!(bodies, [&b"one"[..], b"two", b"three"]);
    block_on(async {
        log.append_async(b"four").await.unwrap().await.unwrap();
        log.sync_async().await.unwrap();
        let pointer = log.checkpoint_async(b"snapshot".to_vec()).await.unwrap();
        assert_eq!(log.checkpoints().last(), Some(&pointer));
        log.truncate_before_async(pointer.begin).await.unwrap();
    });
    assert!(log.stats().commit.records >= 4);
    log.close().unwrap();
    assert_eq!(log.append(b"late").unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_log_in_files_and_one_in_memory_are_the_same_behind_one_trait_object() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = |_: &wal::ReplayRecord<'_>| Ok::<(), io::Error>(());
    let options = || Options::default().segment_bytes(64 << 10);
    let logs: [Box<dyn Log>; 2] = [
        Box::new(Wal::open(directory.path(), options(), nothing).unwrap()),
        Box::new(MemoryLog::new(Options::default()).unwrap()),
    ];
    for log in &logs {
        same_through_the_trait(log.as_ref());
    }
}

#[test]
fn a_log_in_memory_comes_back_from_its_storage_as_one_in_files_does() {
    let log = MemoryLog::new(small()).unwrap();
    log.append(b"kept").unwrap().wait_durable().unwrap();
    log.close().unwrap();
    assert_eq!(reopen(log.storage()).1, [b"kept"]);
}

#[test]
fn reads_take_a_limit_and_no_limit_is_too_large() {
    let (wal, _) = reopen(&memory());
    let first = wal.append(&body(0)).unwrap().lsn();
    for number in 1..50 {
        drop(wal.append(&body(number)).unwrap());
    }
    wal.sync().unwrap();
    let ten = wal.read_many(first, 10).unwrap();
    assert_eq!(ten.records.len(), 10);
    let rest = wal.read_many(ten.next, usize::MAX).unwrap();
    assert_eq!((rest.records.len(), rest.records[0].body.clone()), (40, body(10)));
    let end = wal.read_many(rest.next, usize::MAX).unwrap();
    assert_eq!((end.records.len(), end.next), (0, rest.next));
    assert_eq!(wal.read_many(first, 0).unwrap().next, first);
}

#[test]
fn a_read_without_a_limit_breaks_off_before_memory_does_and_goes_on() {
    let (wal, _) = reopen(&memory());
    let large = vec![7_u8; 3 << 20];
    let first = wal.append(&large).unwrap().lsn();
    for _ in 1..6 {
        wal.append(&large).unwrap().wait_durable().unwrap();
    }
    let some = wal.read_many(first, usize::MAX).unwrap();
    assert_eq!(some.records.len(), 3, "8 MiB are reached with the third");
    assert_eq!(wal.read_many(some.next, usize::MAX).unwrap().records.len(), 3);
}

/// An engine that keeps nothing: its snapshot is the count of records before it.
fn upkeep(wal: &Wal, triggers: &Triggers) -> Option<Due> {
    let done =
        wal.maintain(triggers, |begin| Ok::<_, io::Error>(Some(begin.get().to_le_bytes().into())));
    done.unwrap().map(|done| {
        assert!(done.checkpoint.is_some());
        done.due
    })
}

#[test]
fn a_checkpoint_is_due_by_records_bytes_time_and_a_disk_that_fills() {
    let (storage, free) = lax();
    let (wal, _) = reopen(&storage);
    let append = |bytes: usize| wal.append(&vec![1; bytes]).unwrap().wait_durable().unwrap();
    assert_eq!(upkeep(&wal, &Triggers::new()), None);

    let by_records = Triggers::new().records(3);
    append(1);
    append(1);
    assert_eq!(upkeep(&wal, &by_records), None);
    append(1);
    assert_eq!(upkeep(&wal, &by_records), Some(Due::Records));
    assert_eq!(upkeep(&wal, &by_records), None, "counted anew");

    let by_bytes = Triggers::new().bytes(10_000);
    assert_eq!(upkeep(&wal, &by_bytes), None);
    append(10_000);
    assert_eq!(upkeep(&wal, &by_bytes), Some(Due::Bytes));

    let by_time = Triggers::new().every(Duration::ZERO);
    assert_eq!(upkeep(&wal, &by_time), None, "nothing was appended");
    append(1);
    assert_eq!(upkeep(&wal, &by_time), Some(Due::Time));

    let by_space = Triggers::new().free_bytes_below(1 << 20);
    (0..3).for_each(|_| append(30_000));
    assert_eq!(upkeep(&wal, &by_space), None, "there is space");
    free.store(1 << 10, Ordering::SeqCst);
    assert_eq!(upkeep(&wal, &by_space), Some(Due::Space));
    assert_eq!(upkeep(&wal, &by_space), None, "nothing more could be given back");
}

#[test]
fn upkeep_truncates_what_two_checkpoints_leave_behind_and_counts_it() {
    let (wal, _) = reopen(&memory());
    let triggers = Triggers::new().bytes(100 << 10);
    let mut segments_removed = 0;
    for number in 0..600_usize {
        wal.append(&vec![number as u8; 1000]).unwrap().wait_durable().unwrap();
        let done = wal.maintain(&triggers, |_| Ok::<_, io::Error>(Some(Vec::new()))).unwrap();
        segments_removed += done.map_or(0, |done| done.truncated.segments);
    }
    assert!(segments_removed >= 4, "{segments_removed}");
    assert!(wal.stats().segments <= 6);
}

#[test]
fn a_snapshot_that_fails_leaves_the_log_as_it_was() {
    let (wal, _) = reopen(&memory());
    wal.append(b"x").unwrap().wait_durable().unwrap();
    let triggers = Triggers::new().records(1);
    let failing = |_| Err::<Option<Vec<u8>>, _>(io::Error::other("no space in the engine"));
    let error = wal.maintain(&triggers, failing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Replay);
    assert!(error.to_string().contains("no space in the engine"), "{error}");
    assert!(wal.checkpoints().is_empty());
    assert_eq!(upkeep(&wal, &triggers), Some(Due::Records), "still due");
}

#[test]
fn a_maintainer_takes_checkpoints_off_the_commit_path_and_stops_cleanly() {
    let storage = memory();
    let (wal, _) = open(&storage, small()).unwrap();
    let (told, heard) = channel();
    let committer = std::thread::current().id();
    let maintainer = Maintainer::start(
        &wal,
        Triggers::new().records(1),
        Duration::from_millis(1),
        move |begin| {
            assert_ne!(std::thread::current().id(), committer);
            told.send(begin).ok();
            Ok(Some(b"snapshot".to_vec()))
        },
    )
    .unwrap();
    wal.append(b"x").unwrap().wait_durable().unwrap();
    let begin = heard.recv().unwrap();
    maintainer.stop().unwrap();
    assert_eq!(wal.checkpoints().last().unwrap().begin, begin);
    wal.close().unwrap();
    assert!(LogView::open_in(storage).unwrap().is_clean());
}

#[test]
fn a_maintainer_ends_with_its_log() {
    let (wal, _) = reopen(&memory());
    let maintainer =
        Maintainer::start(&wal, Triggers::new().records(1), Duration::from_millis(1), |_| Ok(None))
            .unwrap();
    wal.close().unwrap();
    drop(maintainer);
    assert_eq!(wal.checkpoints(), []);
}

#[test]
fn a_periodic_log_syncs_by_itself_and_its_thread_stops_with_the_close() {
    let storage = memory();
    let every = Duration::from_millis(1);
    let options = small().threads(Threads::Helper).sync_policy(SyncPolicy::Periodic { every });
    let (wal, _) = open(&storage, options).unwrap();
    let ticket = wal.append(b"x").unwrap();
    ticket.wait(Durability::Written).unwrap();
    wal.wait_beyond(ticket.lsn(), None).unwrap();
    let weak = Arc::downgrade(&storage);
    wal.close().unwrap();
    drop((wal, ticket, storage));
    assert!(weak.upgrade().is_none(), "no thread holds the log any more");
}

#[test]
fn the_newest_of_several_checkpoints_counts_and_an_older_one_when_it_is_damaged() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    wal.append(&body(1)).unwrap().wait_durable().unwrap();
    let older = wal.checkpoint_begin().unwrap().complete(b"older").unwrap();
    wal.append(&body(2)).unwrap().wait_durable().unwrap();
    let newer = wal.checkpoint_begin().unwrap().complete(b"newer").unwrap();
    assert!(older.begin < newer.begin, "a checkpoint is named by where it begins");
    assert_eq!(wal.checkpoints(), [older, newer]);
    drop(wal);
    assert_eq!(LogView::open_in(storage).unwrap().checkpoint(), Some(newer));
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    wal.append(&body(1)).unwrap().wait_durable().unwrap();
    let older = wal.checkpoint_begin().unwrap().complete(b"older").unwrap();
    let newer = wal.checkpoint_begin().unwrap().complete(b"newer").unwrap();
    wal.append(&body(2)).unwrap().wait_durable().unwrap();
    drop(wal);
    let (name, at) = common::place_of(storage.as_ref(), newer.record.get());
    common::flip(storage.as_ref(), &name, (at + 30) * 8);
    let view = LogView::open_in(Arc::clone(&storage)).unwrap();
    assert_eq!(view.checkpoint(), Some(older));
    // It was durable, so its damage is no tail: an opening refuses, and a salvage goes back.
    let error = open(&storage, small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    let saved = wal::salvage_in(&storage, &memory(), &mut ()).unwrap();
    assert_eq!(saved.copied.checkpoint, Some(older));
}

#[test]
fn one_opening_tells_what_it_read_and_what_was_incomplete() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    let (mut whole, mut cut) = (wal.begin(), wal.begin());
    whole.log(b"whole").unwrap();
    cut.log(b"cut").unwrap();
    let committed = whole.commit().unwrap();
    drop((cut, wal));
    let (wal, found) = reopen(&storage);
    let report = wal.recovery();
    assert_eq!(found, [b"whole"]);
    assert_eq!((report.transactions.committed, report.transactions.unfinished), (1, 1));
    assert_eq!((report.records_replayed, report.openings), (1, 1));
    assert!(report.records_scanned >= 4 && report.bytes_scanned > 0, "{report:?}");
    assert!(report.range.contains(committed.lsn) && wal.positions().reserved > report.range.end);
    assert!(wal.stats().segments >= 1);
    assert!(report.is_complete());
}

#[test]
fn isolation_and_commit_timestamp_are_in_the_log() {
    use wal::Body;
    let storage = memory();
    let (wal, _) = reopen(&storage);
    let mut transaction = wal.begin();
    transaction.log(b"x").unwrap();
    let committed = transaction.commit_with(1_700_000_000, Durability::Durable).unwrap();
    let record = wal.read_at(committed.lsn).unwrap();
    let Some(Body::Commit(commit)) = Body::decode(record.header.kind, &record.body).unwrap() else {
        panic!("no commit at {}", committed.lsn);
    };
    assert_eq!(commit.timestamp, 1_700_000_000);

    let storage = memory();
    let mut pages = common::pages::Pages::open(&memory()).unwrap();
    let log = small().recover_with(wal::Aries::new()).open_pages_in(storage, &mut pages).unwrap();
    let mut transaction = log.begin_at(3);
    transaction.update(&mut pages, wal::PageId::new(1), 0, &[0; 4], &[1; 4]).unwrap();
    transaction.commit_with(7).unwrap();
    let mut reader = log.read_from(log.stats().head).unwrap();
    let (mut isolation, mut timestamp) = (None, None);
    while let Some(record) = reader.next().unwrap() {
        match Body::decode(record.kind(), record.body).unwrap() {
            Some(Body::Begin(begin)) => isolation = Some(begin.isolation),
            Some(Body::Commit(commit)) => timestamp = Some(commit.timestamp),
            _ => {}
        }
    }
    assert_eq!((isolation, timestamp), (Some(3), Some(7)));
}

#[test]
fn averages_and_positions_are_in_the_figures() {
    let (wal, _) = reopen(&memory());
    let tickets: Vec<_> = (0..10).map(|number| wal.append(&body(number)).unwrap()).collect();
    let before = wal.positions();
    assert!(before.durable < before.reserved, "current and synced end differ");
    wal.sync().unwrap();
    assert!(tickets.iter().all(wal::Ticket::is_durable));
    let stats = wal.stats();
    assert!(stats.commit.average_batch() >= 10.0, "{:?}", stats.commit);
    assert!(stats.commit.average_flush_time() > Duration::ZERO);
}

#[test]
fn segments_are_of_64_mib_unless_told_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = |_: &wal::ReplayRecord<'_>| Ok::<(), io::Error>(());
    let log = Wal::open(directory.path(), Options::default(), nothing).unwrap();
    // The first ones of an opening are smaller, so that it is quick; each is half as long again as the last one.
    for _ in 0..320 {
        log.append(&vec![1; 600 << 10]).unwrap().wait_durable().unwrap();
    }
    let view = LogView::open(directory.path()).unwrap();
    let capacities = view.survey().links.iter().map(|link| link.header.capacity_bytes);
    assert_eq!(capacities.max(), Some(64 << 20));
    log.close().unwrap();
}

#[test]
fn a_commit_that_nobody_joins_returns() {
    // One published log waits here for a second committer that never comes.
    for policy in [SyncPolicy::Group, SyncPolicy::EveryCommit] {
        let options = small().threads(Threads::Helper).sync_policy(policy);
        let (wal, _) = open(&memory(), options).unwrap();
        let mut transaction = wal.begin();
        transaction.log(b"alone").unwrap();
        let committed = transaction.commit().unwrap();
        assert!(wal.positions().durable > committed.lsn);
    }
}

#[test]
fn the_group_level_syncs() {
    let disk = wal_sim::SimDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let (wal, _) = open(&storage, small().sync_policy(SyncPolicy::Group)).unwrap();
    let mut transaction = wal.begin();
    transaction.log(b"grouped").unwrap();
    transaction.commit().unwrap();
    let after: Arc<dyn Storage> = Arc::new(disk.crash(wal_sim::CrashMode::LoseAll));
    assert_eq!(reopen(&after).1, [b"grouped"]);
}

#[test]
fn every_segment_is_read_at_recovery_and_each_record_once() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    for number in 0..300 {
        drop(wal.append(&[body(number), vec![b'.'; 1000]].concat()).unwrap());
    }
    wal.sync().unwrap();
    drop(wal);
    assert!(segments(storage.as_ref()).len() > 4);
    let (wal, found) = reopen(&storage);
    assert_eq!(found.len(), 300);
    for (number, found) in found.iter().enumerate() {
        assert!(found.starts_with(&body(number)), "record {number}");
    }
    assert_eq!(wal.recovery().records_replayed, 300);
}

#[test]
fn rotation_after_reopenings_overwrites_no_sealed_segment() {
    let storage = memory();
    let mut expected = Vec::new();
    for opening in 0..6 {
        let (wal, found) = reopen(&storage);
        assert_eq!(found, expected, "opening {opening}");
        for number in 0..100 {
            let body = [body(opening * 100 + number), vec![b'.'; 1000]].concat();
            wal.append(&body).unwrap().wait_durable().unwrap();
            expected.push(body);
        }
        // Every second ending is a crash.
        if opening % 2 == 0 {
            wal.close().unwrap();
        }
    }
    assert_eq!(reopen(&storage).1, expected);
}

#[test]
fn replay_is_not_confused_by_transaction_numbers_that_begin_anew() {
    let storage = memory();
    let (wal, _) = reopen(&storage);
    let mut unfinished = wal.begin();
    unfinished.log(b"never committed").unwrap();
    let id = unfinished.id();
    wal.sync().unwrap();
    // Dropped without an abort record, as if the process had died.
    drop(unfinished);
    drop(wal);
    let (wal, _) = reopen(&storage);
    let mut transaction = wal.begin();
    assert_eq!(transaction.id(), id, "numbers begin anew");
    transaction.log(b"committed").unwrap();
    transaction.commit().unwrap();
    drop(wal);
    assert_eq!(reopen(&storage).1, [b"committed"]);
}

#[test]
fn nothing_committed_behind_a_torn_tail_is_lost_at_a_later_opening() {
    let disk = wal_sim::SimDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let (wal, _) = reopen(&storage);
    wal.append(b"before").unwrap().wait_durable().unwrap();
    wal.append(&[5; 3000]).unwrap().wait(Durability::Written).unwrap();
    // A part of the last write survives: a torn tail.
    let torn: Arc<dyn Storage> = Arc::new(disk.crash(wal_sim::CrashMode::LoseAll));
    let name = segments(torn.as_ref())[0].clone();
    let place = common::place_of(torn.as_ref(), wal.positions().durable.get());
    assert_eq!(place.0, name);
    common::overwrite(torn.as_ref(), &name, place.1, &[0xab; 100]);
    let mut expected = vec![b"before".to_vec()];
    for number in 0..4 {
        let (wal, found) = reopen(&torn);
        assert_eq!(found, expected);
        wal.append(&body(number)).unwrap().wait_durable().unwrap();
        expected.push(body(number));
    }
    assert_eq!(reopen(&torn).1, expected);
}
