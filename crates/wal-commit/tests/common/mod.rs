//! A log directory in memory, as the commit path sees one: a sink, a preparer, and what they saw.
//!
//! The sink holds its caller to the contract: bytes come in the order of their addresses, whole
//! blocks in direct mode, never beyond a ready segment, and nothing after a failure.

// Each test file is a program of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use wal_commit::{CommitConfig, GroupCommit, Start, SyncPolicy, Threads, Ticket, Timestamps};
use wal_format::{
    Epoch, LogId, Lsn, RecordDraft, RecordFlags, RecordKind, RecordSeed, decode_record,
};
use wal_io::{IoError, IoOp, LogSink, Preparer};

pub fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw).expect("a multiple of 8")
}

pub fn seed() -> RecordSeed {
    RecordSeed::new(LogId::from_bytes([7; 16]), Epoch::FIRST)
}

type Hook = Arc<dyn Fn(u64) + Send + Sync>;

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    synced: u64,
    writes: u64,
    syncs: u64,
    /// Ends of the segments, by base.
    segments: BTreeMap<u64, u64>,
    /// What was written before what comes before it.
    ahead: BTreeMap<u64, Vec<u8>>,
    prepared: Vec<(u64, u64)>,
    fail_write: Option<u64>,
    fail_sync: Option<u64>,
    panic_sync: Option<u64>,
    fail_prepare: Option<fn() -> IoError>,
    failed: bool,
    on_write: Option<Hook>,
    on_sync: Option<Hook>,
    on_prepare: Option<Hook>,
}

/// What the sink and the preparer saw, and what they are to do next.
pub struct Disk {
    inner: Mutex<Inner>,
    start: u64,
    pub segment_bytes: u64,
    pub block_bytes: usize,
    pub can_promise: bool,
    overtaken: bool,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

/// A record as it stands on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub lsn: u64,
    pub end: u64,
    pub kind: RecordKind,
    pub flags: RecordFlags,
    pub durable: u64,
    pub body: Vec<u8>,
}

impl Disk {
    pub fn new(segment_bytes: u64) -> Self {
        let mut inner = Inner::default();
        inner.segments.insert(4096, 4096 + segment_bytes);
        inner.segments.insert(4096 + segment_bytes, 4096 + 2 * segment_bytes);
        let start = 4096;
        let inner = Mutex::new(inner);
        Self { inner, start, segment_bytes, block_bytes: 1, can_promise: true, overtaken: false }
    }

    /// The same disk, behind a backend that writes in blocks.
    pub fn direct(segment_bytes: u64, block_bytes: usize) -> Self {
        Self { block_bytes, ..Self::new(segment_bytes) }
    }

    /// The same disk, behind a backend that never syncs.
    pub fn without_syncs(segment_bytes: u64) -> Self {
        Self { can_promise: false, ..Self::new(segment_bytes) }
    }

    /// The same disk, where a flight may be written before the one before it is.
    pub fn of_flights(segment_bytes: u64) -> Self {
        Self { overtaken: true, ..Self::new(segment_bytes) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn written(&self) -> u64 {
        self.start + self.lock().bytes.len() as u64
    }

    pub fn synced(&self) -> u64 {
        self.lock().synced
    }

    /// Writes and syncs so far, failed ones included.
    pub fn calls(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.writes, inner.syncs)
    }

    pub fn prepared(&self) -> Vec<(u64, u64)> {
        self.lock().prepared.clone()
    }

    pub fn fail_write(&self, number: u64) {
        self.lock().fail_write = Some(number);
    }

    pub fn fail_sync(&self, number: u64) {
        self.lock().fail_sync = Some(number);
    }

    pub fn panic_in_sync(&self, number: u64) {
        self.lock().panic_sync = Some(number);
    }

    pub fn fail_prepare(&self, how: Option<fn() -> IoError>) {
        self.lock().fail_prepare = how;
    }

    /// Runs in each write, with its number, before it counts.
    pub fn on_write(&self, hook: impl Fn(u64) + Send + Sync + 'static) {
        self.lock().on_write = Some(Arc::new(hook));
    }

    /// Runs in each sync, with its number, before it counts.
    pub fn on_sync(&self, hook: impl Fn(u64) + Send + Sync + 'static) {
        self.lock().on_sync = Some(Arc::new(hook));
    }

    /// Runs in each preparation, with the base of the segment.
    pub fn on_prepare(&self, hook: impl Fn(u64) + Send + Sync + 'static) {
        self.lock().on_prepare = Some(Arc::new(hook));
    }

    /// Every record written, in order; each must be valid, contiguous and inside one segment.
    pub fn records(&self) -> Vec<Found> {
        let inner = self.lock();
        assert!(inner.ahead.is_empty(), "something before them was never written");
        let seed = seed();
        let mut found = Vec::new();
        let mut at = 0;
        while at < inner.bytes.len() {
            let address = self.start + at as u64;
            let record = decode_record(&inner.bytes[at..], lsn(address), &seed)
                .unwrap_or_else(|error| panic!("no record at {address}: {error}"));
            let end = record.end().get();
            let (_, segment_end) = inner.segments.range(..=address).next_back().expect("a base");
            assert!(end <= *segment_end, "the record at {address} spans two segments");
            let left = segment_end - end;
            assert!(left == 0 || left >= 24, "rule 13: {left} bytes are left at {end}");
            if record.kind() == RecordKind::PADDING {
                assert!(record.body.iter().all(|byte| *byte == 0), "padding is zero");
            }
            let durable = record.durable().expect("near enough").get();
            assert!(durable <= address, "a record cannot claim itself");
            found.push(Found {
                lsn: address,
                end,
                kind: record.kind(),
                flags: record.flags(),
                durable,
                body: record.body.to_vec(),
            });
            at += record.encoded_bytes();
        }
        assert_eq!(at, inner.bytes.len(), "the last record ends where the bytes do");
        found
    }

    /// The bodies of the engine's records, in order.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        let data = |found: &Found| found.kind == RecordKind::DATA;
        self.records().into_iter().filter(data).map(|found| found.body).collect()
    }

    /// Has the first segment alone.
    pub fn without_successor(&self) {
        self.lock().segments.pop_last();
    }

    pub fn start(&self) -> Start {
        let active_end = lsn(4096 + self.segment_bytes);
        let ready_end = lsn(4096 + 2 * self.segment_bytes);
        Start { end: lsn(4096), durable: lsn(4096), active_end, ready_end, seed: seed() }
    }
}

impl Inner {
    /// Puts the bytes where they belong, and behind them what came before its turn.
    fn place(&mut self, start: u64, at: u64, bytes: Vec<u8>) {
        assert_eq!(self.ahead.insert(at, bytes), None, "written once");
        while let Some(bytes) = self.ahead.remove(&(start + self.bytes.len() as u64)) {
            self.bytes.extend(bytes);
        }
    }
}

#[derive(Debug)]
pub struct Sink(pub Arc<Disk>);

impl LogSink for Sink {
    fn write(&mut self, at: Lsn, bufs: &[IoSlice<'_>]) -> Result<(), IoError> {
        let disk = &self.0;
        let (number, hook) = {
            let mut inner = disk.lock();
            assert!(!inner.failed, "a write after a failure");
            inner.writes += 1;
            (inner.writes, inner.on_write.clone())
        };
        if let Some(hook) = hook {
            hook(number);
        }
        let mut inner = disk.lock();
        if inner.fail_write == Some(number) {
            inner.failed = true;
            let source = io::Error::other("the device is gone");
            return Err(IoError::failed_at(IoOp::Write, "1.wal", at.get(), source));
        }
        let bytes: u64 = bufs.iter().map(|buf| buf.len() as u64).sum();
        let end = at.get() + bytes;
        let next = disk.start + inner.bytes.len() as u64;
        let in_turn = at.get() == next || disk.overtaken && at.get() > next;
        assert!(in_turn, "bytes at {at} where {next} is next: they come in order, and once");
        assert!(bytes > 0, "an empty write is a wasted system call");
        let block = disk.block_bytes as u64;
        assert!(at.get().is_multiple_of(block) && end.is_multiple_of(block), "whole blocks");
        let ready_end = *inner.segments.values().next_back().expect("a segment");
        assert!(end <= ready_end, "rule 12: nothing is written beyond the ready segments");
        let bytes = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        inner.place(disk.start, at.get(), bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), IoError> {
        let disk = &self.0;
        let (number, hook) = {
            let mut inner = disk.lock();
            assert!(!inner.failed, "a sync after a failure: never retried");
            inner.syncs += 1;
            (inner.syncs, inner.on_sync.clone())
        };
        if let Some(hook) = hook {
            hook(number);
        }
        let mut inner = disk.lock();
        if inner.panic_sync == Some(number) {
            inner.failed = true;
            drop(inner);
            panic!("deliberate: the backend panics");
        }
        if inner.fail_sync == Some(number) {
            inner.failed = true;
            let source = io::Error::other("the device lost its cache");
            return Err(IoError::failed_at(IoOp::Sync, "1.wal", inner.synced, source));
        }
        inner.synced = disk.start + inner.bytes.len() as u64;
        Ok(())
    }

    fn block_bytes(&self) -> usize {
        self.0.block_bytes
    }

    fn can_promise(&self) -> bool {
        self.0.can_promise
    }
}

#[derive(Debug)]
pub struct Prepare(pub Arc<Disk>);

impl Preparer for Prepare {
    fn prepare(&self, base: Lsn, capacity_bytes: u64) -> Result<Lsn, IoError> {
        let hook = self.0.lock().on_prepare.clone();
        if let Some(hook) = hook {
            hook(base.get());
        }
        let mut inner = self.0.lock();
        if let Some(how) = inner.fail_prepare {
            return Err(how());
        }
        let (last, end) = inner.segments.last_key_value().map(|(k, v)| (*k, *v)).expect("one");
        let replaces = base.get() == last && self.0.start + inner.bytes.len() as u64 <= last;
        assert!(base.get() == end || replaces, "{base} is not next");
        let end = base.get() + capacity_bytes.next_multiple_of(4096);
        inner.segments.insert(base.get(), end);
        inner.prepared.push((base.get(), capacity_bytes));
        Ok(lsn(end))
    }

    fn segment_bytes(&self) -> u64 {
        self.0.segment_bytes
    }
}

pub fn no_space() -> IoError {
    IoError::failed(IoOp::Create, "next.wal.tmp", io::ErrorKind::StorageFull.into())
}

pub fn rename_failed() -> IoError {
    IoError::failed(IoOp::Rename, "next.wal", io::Error::other("the directory is gone"))
}

pub fn superseded() -> IoError {
    IoError::Superseded { ours: Epoch::FIRST, newer: Epoch::new(2) }
}

/// A log without threads, on a disk with segments of 1 MiB.
pub fn inline() -> (GroupCommit, Arc<Disk>) {
    start(Disk::new(1 << 20), |config| config.threads = Threads::None)
}

/// A log with its helper threads, on a disk with segments of 1 MiB.
pub fn threaded() -> (GroupCommit, Arc<Disk>) {
    start(Disk::new(1 << 20), |_| {})
}

/// A log on `disk`. The idle clock is off: no test depends on time.
pub fn start(disk: Disk, change: impl FnOnce(&mut CommitConfig)) -> (GroupCommit, Arc<Disk>) {
    let disk = Arc::new(disk);
    let mut config = CommitConfig::default();
    config.buffer_bytes = 64 << 10;
    config.policy = SyncPolicy::EveryCommit;
    config.idle_after = None;
    config.slow_sync = None;
    change(&mut config);
    let (sink, preparer) = (Box::new(Sink(disk.clone())), Arc::new(Prepare(disk.clone())));
    (GroupCommit::start(config, disk.start(), vec![sink], preparer).expect("it starts"), disk)
}

/// A log without threads which tells the time, by a clock that a test sets. It told `last` before.
pub fn timed(
    disk: Disk,
    resolution: Duration,
    last: u64,
) -> (GroupCommit, Arc<Disk>, Arc<AtomicU64>) {
    let (disk, clock) = (Arc::new(disk), Arc::new(AtomicU64::new(last)));
    let mut config = CommitConfig::default();
    config.buffer_bytes = 64 << 10;
    config.threads = Threads::None;
    let now = clock.clone();
    let timestamps = Timestamps::new(resolution, last, move || now.load(Ordering::Relaxed));
    let (sink, preparer) = (Box::new(Sink(disk.clone())), Arc::new(Prepare(disk.clone())));
    let log = GroupCommit::start_with_timestamps(
        config,
        disk.start(),
        vec![sink],
        preparer,
        Some(timestamps),
    );
    (log.expect("it starts"), disk, clock)
}

/// Appends `body` as one record of the engine.
pub fn append(log: &GroupCommit, body: &[u8]) -> Ticket {
    try_to_append(log, body).expect("it appends")
}

pub fn try_to_append(log: &GroupCommit, body: &[u8]) -> Result<Ticket, wal_commit::CommitError> {
    log.append(&RecordDraft::new(RecordKind::DATA, &[body]), &mut |_| {})
}

/// As [`append`], the way of an append that finds nothing to decide.
pub fn append_unhooked(log: &GroupCommit, body: &[u8]) -> Ticket {
    log.append_unhooked(RecordKind::DATA, body).expect("it appends")
}

/// Lets one thread wait until another one has come somewhere.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: std::sync::Condvar,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub fn pass(&self) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
    }
}

/// Each sync opens the first gate, and waits for the second one.
pub fn stop_in_syncs(disk: &Disk) -> (Arc<Gate>, Arc<Gate>) {
    let (in_sync, go) = (Gate::new(), Gate::new());
    let (entered, wait) = (in_sync.clone(), go.clone());
    disk.on_sync(move |_| {
        entered.open();
        wait.pass();
    });
    (in_sync, go)
}
