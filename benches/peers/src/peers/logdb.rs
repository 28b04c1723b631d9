//! logdb: appends to a ring which one thread writes and syncs; a commit waits for its flush.

use std::path::Path;

use logdb::{Config, DurabilityMode, LogDb, WaitStrategy};

use crate::peer::{Committer, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "logdb",
    version: "0.6.0",
    options: "one shard, sync after every batch, append and flush, its thread yields instead of \
              sleeping",
    caveat: "burns CPU while waiting; a torn atomic batch leaves a part of it",
    in_tasks: false,
    open,
};

fn open(dir: &Path, _: Load) -> Result<Box<dyn Peer>, Failure> {
    let config = Config {
        data_dir: dir.to_owned(),
        durability_mode: DurabilityMode::Sync,
        wait_strategy: WaitStrategy { yield_count: u32::MAX - 64, ..WaitStrategy::default() },
        ..Config::default()
    };
    Ok(Box::new(Log(LogDb::open(config)?)))
}

struct Log(LogDb);

impl Peer for Log {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        Ok(Box::new(|body: &[u8]| {
            self.0.append(body)?;
            self.0.flush()?;
            Ok(())
        }))
    }
}
