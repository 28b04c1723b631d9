//! logdb: appends to a ring which one thread writes and syncs; a commit waits for its flush.

use std::path::Path;

use logdb::{Config, DurabilityMode, LogDb, WaitStrategy};

use wal_bench::{Clock, Committer, Committers, Entry, Failure, Load, Peer};

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

/// Records of a batch that need not be durable: a small part of its ring.
const BATCH: usize = 256;

/// What a thread appends with where bodies need not be durable; they are all the same.
struct Batches<'a> {
    database: &'a LogDb,
    body: Vec<u8>,
    waiting: usize,
}

impl Batches<'_> {
    fn append(&mut self) -> Result<(), Failure> {
        if self.waiting > 0 {
            self.database.append_batch(&vec![self.body.as_slice(); self.waiting])?;
            self.waiting = 0;
        }
        Ok(())
    }
}

impl Committer for Batches<'_> {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        if self.body != body {
            self.append()?;
            self.body = body.to_vec();
        }
        self.waiting += 1;
        if self.waiting >= BATCH { self.append() } else { Ok(()) }
    }
}

impl Drop for Batches<'_> {
    fn drop(&mut self) {
        // What it did not take is missing when all is read back.
        let _ = self.append();
    }
}

impl Peer for Log {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        if !self.durable {
            return Ok(Box::new(Batches {
                database: &self.database,
                body: Vec::new(),
                waiting: 0,
            }));
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
