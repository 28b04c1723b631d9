//! raft-engine: one raft group a thread, its files filled with zeros beforehand and recycled.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use wal_bench::{Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "raft-engine",
    version: "0.4.2",
    options: "64 MiB files, 192 MiB of them prefilled, recycled, the first already used up; no \
              compression; a group a thread; one more thread gives up all entries and purges after \
              every 64 MiB",
    appends: "batches of 1 MiB of entries, sync=false, files that grow, nothing purged; read by opening \
              the engine, which verifies all and keeps where each entry is",
    caveat: "panics when a sync fails",
    committers: Committers::Threads,
    open,
};

const MIB: u64 = 1 << 20;
const FILE_BYTES: u64 = 64 * MIB;
const PREFILLED_BYTES: u64 = 2 * FILE_BYTES;

/// No thread has it.
const FILLING_GROUP: u64 = u64::MAX;

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let engine = Engine::open(config(dir, load.durable))?;
    if load.durable {
        // The first file is a new one, which grows: use it up, so that the run has a prefilled one.
        let mut batch = LogBatch::default();
        for index in 1..=FILE_BYTES / MIB {
            let mut entry = BytesValue { value: vec![0; MIB as usize], ..BytesValue::default() };
            if let Some(head) = entry.value.first_chunk_mut() {
                *head = index.to_le_bytes();
            }
            batch.add_entries::<Body>(FILLING_GROUP, &[entry])?;
            engine.write(&mut batch, false)?;
        }
        engine.sync()?;
        engine.compact_to(FILLING_GROUP, FILE_BYTES / MIB);
    }
    let engine = Arc::new(engine);
    let purging = load.durable.then(|| Purging::start(&engine));
    Ok(Box::new(Log { engine, body_bytes: load.body_bytes.max(1), purging }))
}

fn config(dir: &Path, durable: bool) -> Config {
    Config {
        dir: dir.display().to_string(),
        target_file_size: ReadableSize(FILE_BYTES),
        // What is to be read again must not be purged.
        purge_threshold: ReadableSize(if durable { PREFILLED_BYTES } else { 64 << 30 }),
        enable_log_recycle: true,
        prefill_for_recycle: durable,
        prefill_limit: Some(ReadableSize(PREFILLED_BYTES)),
        batch_compression_threshold: ReadableSize(0),
        ..Config::default()
    }
}

struct Log {
    engine: Arc<Engine>,
    body_bytes: usize,
    /// Of a log whose commits are durable.
    purging: Option<Purging>,
}

/// A thread which gives up all entries and purges, whenever so much more was written.
struct Purging {
    bytes: AtomicU64,
    due: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Purging {
    fn start(engine: &Arc<Engine>) -> Self {
        let (due, asked) = mpsc::channel();
        let engine = Arc::clone(engine);
        let thread = thread::spawn(move || {
            for () in asked {
                for group in engine.raft_groups() {
                    if let Some(last) = engine.last_index(group) {
                        engine.compact_to(group, last);
                    }
                }
                if engine.purge_expired_files().is_err() {
                    return;
                }
            }
        });
        Self { bytes: AtomicU64::new(0), due: Some(due), thread: Some(thread) }
    }

    fn written(&self, bytes: u64) -> Result<(), Failure> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before / FILE_BYTES != (before + bytes) / FILE_BYTES
            && let Some(due) = &self.due
        {
            due.send(()).map_err(|_| "the thread which purges has ended")?;
        }
        Ok(())
    }
}

impl Drop for Purging {
    fn drop(&mut self) {
        drop(self.due.take());
        if let Some(thread) = self.thread.take() {
            // Whoever asked it for more was told.
            let _ = thread.join();
        }
    }
}

/// An entry is the body itself; its first eight bytes are replaced by its index.
struct Body;

impl MessageExt for Body {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        entry.value.first_chunk().map_or(0, |index| u64::from_le_bytes(*index))
    }
}

/// Bytes of bodies in a batch that need not be durable.
const BATCH_BYTES: usize = 1 << 20;

/// What a thread writes with.
struct Writer<'a> {
    log: &'a Log,
    group: u64,
    index: u64,
    /// Entries of a batch.
    each: usize,
    entries: Vec<BytesValue>,
    batch: LogBatch,
}

impl Writer<'_> {
    fn write(&mut self) -> Result<(), Failure> {
        if self.entries.is_empty() {
            return Ok(());
        }
        self.batch.add_entries::<Body>(self.group, &self.entries)?;
        self.entries.clear();
        let written = self.log.engine.write(&mut self.batch, self.log.purging.is_some())?;
        match &self.log.purging {
            Some(purging) => purging.written(written as u64),
            None => Ok(()),
        }
    }
}

impl Committer for Writer<'_> {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.index += 1;
        let mut entry = BytesValue { value: body.to_vec(), ..BytesValue::default() };
        if let Some(head) = entry.value.first_chunk_mut() {
            *head = self.index.to_le_bytes();
        }
        self.entries.push(entry);
        if self.entries.len() >= self.each { self.write() } else { Ok(()) }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        // What it did not take is missing when all is read back.
        let _ = self.write();
    }
}

impl Peer for Log {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let each = if self.purging.is_some() { 1 } else { BATCH_BYTES / self.body_bytes };
        Ok(Box::new(Writer {
            log: self,
            group: thread as u64 + 1,
            index: 0,
            each,
            entries: Vec::with_capacity(each),
            batch: LogBatch::default(),
        }))
    }

    /// Opening reads and verifies the whole log, and keeps where each entry is, not the entry.
    fn scan(self: Box<Self>, dir: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        drop(self);
        clock.start();
        let engine = Engine::open(config(dir, false))?;
        let entries = |group| Some(engine.last_index(group)? + 1 - engine.first_index(group)?);
        Ok(engine.raft_groups().into_iter().filter_map(entries).sum())
    }
}
