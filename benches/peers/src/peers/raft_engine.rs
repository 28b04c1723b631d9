//! raft-engine: one raft group a thread, its files filled with zeros beforehand and recycled.

use std::path::Path;

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use wal_bench::{Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "raft-engine",
    version: "0.4.2",
    options: "64 MiB files, 128 MiB of them prefilled, recycled, the first already used up; no \
              compression; a group a thread",
    appends: "sync=false, files that grow, nothing purged; read by opening the engine, which \
              verifies all and keeps where each entry is",
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
    Ok(Box::new(Log { engine, durable: load.durable }))
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
    engine: Engine,
    durable: bool,
}

/// An entry is the body itself; its first eight bytes are replaced by its index.
struct Body;

impl MessageExt for Body {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        entry.value.first_chunk().map_or(0, |index| u64::from_le_bytes(*index))
    }
}

/// Entries kept of each group: what is older is given up, so that memory and files are bounded.
const ENTRIES_KEPT: u64 = 10_000;

impl Peer for Log {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let group = thread as u64 + 1;
        let mut batch = LogBatch::default();
        let mut entries = vec![BytesValue::default()];
        let mut index = 0_u64;
        Ok(Box::new(move |body: &[u8]| {
            index += 1;
            for entry in &mut entries {
                entry.value.clear();
                entry.value.extend_from_slice(body);
                if let Some(head) = entry.value.first_chunk_mut() {
                    *head = index.to_le_bytes();
                }
            }
            batch.add_entries::<Body>(group, &entries)?;
            self.engine.write(&mut batch, self.durable)?;
            if self.durable && index.is_multiple_of(ENTRIES_KEPT) {
                self.engine.compact_to(group, index);
                self.engine.purge_expired_files()?;
            }
            Ok(())
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
