//! A log that tells the time: what its readers see, what it survives, and that it is off by default.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::pages::{Fault, open_pages};
use common::{body, open, small};
use wal::{
    Access, Body, CheckpointView, CopyReport, ErrorKind, FileEntry, Follower, LogFile, LogView,
    Lsn, MemoryStorage, Options, RecordKind, RecordTimes, RedoOnly, RedoTarget, ReplayRecord,
    Storage, StorageLock, Until, Wal, restore_to_in, salvage_in,
};
use wal_sim::{Faults, SimDisk};

/// A storage whose clock a test sets.
#[derive(Clone, Debug)]
struct Clocked {
    inner: Arc<dyn Storage>,
    now_us: Arc<AtomicU64>,
}

impl Clocked {
    fn new(inner: Arc<dyn Storage>, now_us: u64) -> Self {
        Self { inner, now_us: Arc::new(AtomicU64::new(now_us)) }
    }

    fn set(&self, now_us: u64) {
        self.now_us.store(now_us, Ordering::Relaxed);
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }
}

impl Storage for Clocked {
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
        self.inner.lock()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn unix_us(&self) -> u64 {
        self.now_us.load(Ordering::Relaxed)
    }
}

/// An engine which keeps nothing.
struct Nothing;

impl RedoTarget for Nothing {
    type Error = io::Error;

    fn restore(&mut self, _: &CheckpointView<'_>) -> Result<(), io::Error> {
        Ok(())
    }

    fn redo(&mut self, _: &ReplayRecord<'_>) -> Result<(), io::Error> {
        Ok(())
    }
}

fn memory(now_us: u64) -> Clocked {
    Clocked::new(Arc::new(MemoryStorage::new()), now_us)
}

fn every(resolution: Duration) -> Options {
    small().timestamps(Some(resolution))
}

fn put(wal: &Wal, bytes: &[u8]) {
    wal.append(bytes).unwrap().wait_durable().unwrap();
}

/// A body, and since when it can be there.
type Timed = (Vec<u8>, Option<u64>);

/// What a look at the log shows: the times that it tells, and its bodies with their times.
fn look(storage: &Arc<dyn Storage>) -> (Vec<u64>, Vec<Timed>) {
    let view = LogView::open_in(Arc::clone(storage)).unwrap();
    let (mut told, mut bodies, mut times) = (Vec::new(), Vec::new(), RecordTimes::default());
    let ended = view.for_each(view.range(), |record| {
        let unix_us = times.observe(record);
        match Body::decode(record.kind(), record.body).ok().flatten() {
            Some(Body::Time(time)) => {
                assert!(record.kind().is_housekeeping());
                told.push(time.unix_us);
            }
            None if record.kind() == RecordKind::DATA => {
                bodies.push((record.body.to_vec(), unix_us));
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    assert!(ended.unwrap().is_none());
    (told, bodies)
}

#[test]
fn a_log_tells_no_time_unless_it_is_asked_to() {
    let disk = memory(50);
    let (wal, _) = open(&disk.storage(), small()).unwrap();
    (0..20).for_each(|number| put(&wal, &body(number)));
    wal.checkpoint_begin().unwrap().complete(b"").unwrap();
    assert_eq!(wal.stats().commit.time_marks, 0);
    let end = wal.positions().reserved;
    wal.close().unwrap();
    assert_eq!(look(&disk.storage()).0, []);
    // Byte for byte as long as its records are: nothing else was written.
    let sizes = (0..20).map(|number| (24 + body(number).len() as u64).next_multiple_of(8));
    let (opened, checkpoint) = (24 + 24, 24 + 24 + 16);
    let all = 4096 + opened + sizes.sum::<u64>() + checkpoint;
    assert_eq!(end, Lsn::new(all).unwrap());
}

#[test]
fn each_record_has_a_time_as_near_as_was_asked_for() {
    let disk = memory(1_000);
    let (wal, _) = open(&disk.storage(), every(Duration::from_micros(10))).unwrap();
    for (now_us, bytes) in [(1_005, b"a"), (1_011, b"b"), (1_012, b"c"), (1_040, b"d")] {
        disk.set(now_us);
        put(&wal, bytes);
    }
    let expected = [(b"a", 1_000), (b"b", 1_011), (b"c", 1_011), (b"d", 1_040)];
    let mut reader = wal.read_from(wal.head()).unwrap();
    let mut tail = wal.tail(wal.head()).unwrap();
    for (bytes, unix_us) in expected {
        assert_eq!(reader.next().unwrap().unwrap().body, bytes);
        assert_eq!(reader.unix_us(), Some(unix_us));
        assert_eq!(tail.next().unwrap().unwrap().body, bytes);
        assert_eq!(tail.unix_us(), Some(unix_us));
    }
    assert!(reader.next().unwrap().is_none(), "readers pass over marks");
    let mut follower = Follower::open_in(disk.storage()).unwrap();
    let mut marks = 0;
    wal.close().unwrap();
    follower
        .drain(|record| {
            marks += usize::from(record.kind() == RecordKind::TIME);
            ControlFlow::<()>::Continue(())
        })
        .unwrap();
    let (told, bodies) = look(&disk.storage());
    assert_eq!((marks, told), (2, vec![1_011, 1_040]), "whoever sees housekeeping sees marks");
    assert_eq!(bodies, expected.map(|(bytes, unix_us)| (bytes.to_vec(), Some(unix_us))));
}

#[test]
fn a_reader_that_jumps_does_not_guess_the_time() {
    let disk = memory(1_000);
    let (wal, _) = open(&disk.storage(), every(Duration::from_micros(10))).unwrap();
    put(&wal, b"a");
    let second = wal.append(b"b").unwrap().lsn();
    disk.set(1_020);
    put(&wal, b"c");
    let mut reader = wal.read_from(second).unwrap();
    assert_eq!(reader.unix_us(), None);
    reader.next().unwrap().unwrap();
    assert_eq!(reader.unix_us(), None, "nothing has told it the time yet");
    reader.next().unwrap().unwrap();
    assert_eq!(reader.unix_us(), Some(1_020));
    reader.seek(second).unwrap();
    reader.next().unwrap().unwrap();
    assert_eq!(reader.unix_us(), None, "a time from further on is not the record's");
}

#[test]
fn marks_split_neither_batches_nor_transactions_and_replay_does_not_see_them() {
    let disk = memory(7);
    let (wal, _) = open(&disk.storage(), every(Duration::ZERO)).unwrap();
    wal.append_batch(&[b"1", b"2", b"3"]).unwrap().wait_durable().unwrap();
    let mut txn = wal.begin();
    txn.log(b"4").unwrap();
    put(&wal, b"between");
    txn.log(b"5").unwrap();
    txn.commit().unwrap();
    put(&wal, &[6; 40_000]);
    assert_eq!(wal.stats().commit.time_marks, 1 + 2 + 1 + 1 + 1);
    drop(wal);
    let (wal, replayed) = open(&disk.storage(), small()).unwrap();
    let heads: Vec<u8> = replayed.iter().map(|body| body[0]).collect();
    assert_eq!(heads, *b"123b45\x06");
    assert_eq!(wal.recovery().records_skipped, 0, "a mark is known");
    assert!(wal.recovery().is_complete() && wal.recovery().batches.whole == 1);
}

#[test]
fn the_time_does_not_go_back_in_an_opening_nor_over_openings_and_checkpoints() {
    let disk = memory(1_000_000);
    let (wal, _) = open(&disk.storage(), every(Duration::ZERO)).unwrap();
    put(&wal, b"a");
    disk.set(900_000);
    put(&wal, b"b");
    disk.set(2_000_000);
    put(&wal, b"c");
    wal.close().unwrap();
    disk.set(1_500_000);
    let (wal, _) = open(&disk.storage(), every(Duration::from_secs(1000))).unwrap();
    put(&wal, b"d");
    // The next opening reads from here on, and learns the time from the mark before the end.
    wal.checkpoint_begin().unwrap().complete(b"").unwrap();
    drop(wal);
    disk.set(10);
    let opener = every(Duration::ZERO).recover_with(RedoOnly::default());
    let wal = opener.open_in(disk.storage(), &mut Nothing).unwrap();
    assert!(wal.recovery().records_replayed == 0, "it begins at the checkpoint");
    put(&wal, b"e");
    wal.close().unwrap();
    let (told, bodies) = look(&disk.storage());
    assert_eq!(told, [1_000_000, 1_000_000, 2_000_000, 2_000_000, 2_000_000]);
    let times: Vec<_> = bodies.iter().map(|(_, unix_us)| unix_us.unwrap()).collect();
    assert_eq!(times, [1_000_000, 1_000_000, 2_000_000, 2_000_000, 2_000_000]);
}

#[test]
fn a_copy_and_a_salvage_keep_the_times() {
    let disk = memory(70);
    let (wal, _) = open(&disk.storage(), every(Duration::ZERO)).unwrap();
    for number in 0..5 {
        disk.set(70 + number as u64);
        put(&wal, &body(number));
    }
    wal.close().unwrap();
    let before = look(&disk.storage());
    assert_eq!(before.0, [70, 71, 72, 73, 74]);
    let end = LogView::open_in(disk.storage()).unwrap().end();
    let copied = memory(1).storage();
    let report: CopyReport =
        restore_to_in(&disk.storage(), &copied, &Until::Lsn(end), &mut ()).unwrap();
    assert!(report.records > 0);
    assert_eq!(look(&copied), before);
    let salvaged = memory(1).storage();
    salvage_in(&disk.storage(), &salvaged, &mut ()).unwrap();
    assert_eq!(look(&salvaged).0, before.0);
}

#[test]
fn a_log_of_pages_refuses_to_tell_the_time() {
    let disk = memory(1).storage();
    let refused = open_pages(&disk, every(Duration::ZERO)).map(drop).unwrap_err();
    let Fault::Log(error) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("timestamps"), "{error}");
    let made = disk.list().unwrap().into_iter().filter(|entry| entry.name.ends_with(".wal"));
    assert_eq!(made.count(), 0, "no log was made");
}

#[test]
fn a_full_disk_refuses_record_and_mark_alike_and_loses_nothing() {
    let disk = SimDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let (wal, _) = open(&storage, every(Duration::ZERO)).unwrap();
    put(&wal, &body(0));
    disk.set_faults(Faults::new().space_bytes(400 << 10));
    let mut kept = vec![body(0)];
    let refused = loop {
        let next = vec![kept.len() as u8; 3_000];
        match wal.append(&next).and_then(|ticket| ticket.wait_durable()) {
            Ok(()) => kept.push(next),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
    assert_eq!(wal.stats().commit.time_marks, kept.len() as u64, "a refused append leaves no mark");
    drop(wal);
    disk.set_faults(Faults::new());
    assert_eq!(open(&storage, every(Duration::ZERO)).unwrap().1, kept);
}

/// Appends and batches with a mark each; what was acknowledged.
fn workload(disk: &SimDisk) -> Result<(), (wal::Error, Vec<Vec<u8>>)> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut acknowledged = Vec::new();
    let mut run = || {
        let (wal, _) = open(&storage, every(Duration::ZERO))?;
        for number in 0..12 {
            let bodies: Vec<Vec<u8>> = (0..1 + number % 3)
                .map(|member| vec![number as u8 * 4 + member as u8; 200 * number])
                .collect();
            wal.append_batch(&bodies)?.wait_durable()?;
            acknowledged.extend(bodies);
        }
        wal.close()
    };
    run().map_err(|error| (error, acknowledged))
}

#[test]
fn nothing_acknowledged_is_lost_in_a_log_that_tells_the_time() {
    let whole = SimDisk::new();
    workload(&whole).map_err(|(error, _)| error).unwrap();
    let mut states = 0;
    for op in 1..=whole.ops() {
        let disk = SimDisk::new();
        disk.power_cut_at(op);
        let Err((_, acknowledged)) = workload(&disk) else { panic!("the power cut did not come") };
        for state in disk.crash_states(4, op).torn() {
            let storage: Arc<dyn Storage> = Arc::new(state);
            let (wal, found) = open(&storage, every(Duration::ZERO)).unwrap();
            assert!(found.starts_with(&acknowledged), "operation {op}");
            put(&wal, b"after");
            wal.close().unwrap();
            let (told, bodies) = look(&storage);
            assert!(told.is_sorted(), "operation {op}: {told:?}");
            assert!(bodies.iter().all(|(_, unix_us)| unix_us.is_some()));
            states += 1;
        }
    }
    assert!(states > 50, "only {states} crash states were looked at");
}
