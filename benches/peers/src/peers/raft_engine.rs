//! raft-engine: one raft group a thread, its files filled with zeros beforehand and recycled.

use std::path::Path;

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::peer::{Committer, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "raft-engine",
    version: "0.4.2",
    options: "64 MiB files, 256 MiB of them prefilled, recycled; no compression; a group a thread",
    caveat: "panics when a sync fails",
    in_tasks: false,
    open,
};

const MIB: u64 = 1 << 20;

fn open(dir: &Path, _: Load) -> Result<Box<dyn Peer>, Failure> {
    let config = Config {
        dir: dir.display().to_string(),
        target_file_size: ReadableSize(64 * MIB),
        purge_threshold: ReadableSize(192 * MIB),
        enable_log_recycle: true,
        prefill_for_recycle: true,
        prefill_limit: Some(ReadableSize(256 * MIB)),
        batch_compression_threshold: ReadableSize(0),
        ..Config::default()
    };
    Ok(Box::new(Log(Engine::open(config)?)))
}

struct Log(Engine);

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
            self.0.write(&mut batch, true)?;
            if index.is_multiple_of(ENTRIES_KEPT) {
                self.0.compact_to(group, index);
                self.0.purge_expired_files()?;
            }
            Ok(())
        }))
    }
}
