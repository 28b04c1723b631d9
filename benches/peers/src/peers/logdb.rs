//! logdb: appends to a ring which one thread writes and syncs; a commit waits for its flush.

use std::path::Path;

use logdb::{Config, DurabilityMode, LogDb, WaitStrategy};

use wal_bench::{Batches, Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "logdb",
    version: "0.6.0",
    options: "one shard, sync after every batch, append and flush, its thread yields instead of \
              sleeping",
    appends: "DurabilityMode::Async, batches of 256; flushed, then read by scan over the open log",
    caveat: "burns CPU while waiting; a torn atomic batch leaves a part of it",
    committers: Committers::Threads,
    open,
};

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let config = Config {
        data_dir: dir.to_owned(),
        durability_mode: if load.durable { DurabilityMode::Sync } else { DurabilityMode::Async },
        wait_strategy: WaitStrategy { yield_count: u32::MAX - 64, ..WaitStrategy::default() },
        ..Config::default()
    };
    let database = LogDb::open(config)?;
    Ok(Box::new(Log { database, durable: load.durable }))
}

struct Log {
    database: LogDb,
    durable: bool,
}

impl Peer for Log {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        if !self.durable {
            return Ok(Box::new(Batches::new(|bodies| {
                self.database.append_batch(bodies)?;
                Ok(())
            })));
        }
        // To watch its durable end instead takes it ten milliseconds: nobody asks it to sync then.
        Ok(Box::new(|body: &[u8]| {
            self.database.append(body)?;
            Ok(self.database.flush()?)
        }))
    }

    fn written(&self) -> Result<(), Failure> {
        while self.database.committed_cursor() < self.database.producer_cursor() {
            std::thread::yield_now();
        }
        Ok(())
    }

    fn scan(self: Box<Self>, _: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        // It reads only what is durable.
        self.database.flush()?;
        clock.start();
        let mut records = 0;
        for record in self.database.scan(0, self.database.producer_cursor())? {
            records += u64::from(!record?.content.is_empty());
        }
        Ok(records)
    }
}
