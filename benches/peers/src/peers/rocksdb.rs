//! RocksDB: one key a write, with `sync`; its log files written and recycled before the run.

use std::path::Path;

use rocksdb::{DB, DBCompressionType, Options, WriteBatch, WriteBatchIterator, WriteOptions};

use wal_bench::{Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "rocksdb",
    version: "0.25.0 (11.8.1)",
    options: "sync=true, recycle_log_file_num=2 with both written beforehand, 64 MiB \
              memtables written concurrently, pipelined up to 32 threads, no compression, no compaction",
    appends: "batches of 1 MiB of bodies, sync=false, no recycling, a memtable of 8 GiB; read by get_updates_since(0) over the \
              open database",
    caveat: "a database: it sorts the bodies and writes them once more after every 64 MiB",
    committers: Committers::Threads,
    open,
};

const MEMTABLE_BYTES: usize = 64 << 20;
const MEMTABLE_BYTES_NO_FLUSH: usize = 8 << 30;

/// With more threads, pipelined writes make it slower; with so many or fewer, faster.
const PIPELINED_MAX: usize = 32;

/// Log files which are kept to be written again.
const RECYCLED_LOGS: usize = 2;

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let mut options = Options::default();
    options.create_if_missing(true);
    if load.durable {
        options.set_recycle_log_file_num(RECYCLED_LOGS);
        options.set_write_buffer_size(MEMTABLE_BYTES);
    } else {
        // What is to be read again must stay in log files.
        options.set_write_buffer_size(MEMTABLE_BYTES_NO_FLUSH);
    }
    options.set_max_write_buffer_number(8);
    options.set_allow_concurrent_memtable_write(true);
    options.set_enable_write_thread_adaptive_yield(true);
    options.set_enable_pipelined_write(load.threads <= PIPELINED_MAX);
    options.set_compression_type(DBCompressionType::None);
    options.set_disable_auto_compactions(true);
    options.set_stats_dump_period_sec(0);
    let database = DB::open(&options, dir)?;
    if !load.durable {
        return Ok(Box::new(Log { database, durable: false }));
    }
    // A log file is recycled when its memtable is written out: fill and write out one for each.
    let block = vec![0_u8; 1 << 20];
    for log in 0..=RECYCLED_LOGS as u64 {
        for number in 0..(MEMTABLE_BYTES >> 20) as u64 - 4 {
            database.put([log.to_be_bytes(), number.to_be_bytes()].concat(), &block)?;
        }
        database.flush()?;
    }
    Ok(Box::new(Log { database, durable: true }))
}

struct Log {
    database: DB,
    durable: bool,
}

/// Counts what a batch in the log holds.
struct Counted(u64);

impl WriteBatchIterator for Counted {
    fn put(&mut self, _: &[u8], _: &[u8]) {
        self.0 += 1;
    }

    fn delete(&mut self, _: &[u8]) {}
}

/// Bytes of bodies in a batch that need not be durable.
const BATCH_BYTES: usize = 1 << 20;

/// What a thread writes with where bodies need not be durable.
struct Batches<'a> {
    database: &'a DB,
    options: WriteOptions,
    number: u64,
    batch: WriteBatch,
}

impl Committer for Batches<'_> {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.number += 1;
        self.batch.put(self.number.to_be_bytes(), body);
        if self.batch.size_in_bytes() >= BATCH_BYTES {
            let full = std::mem::take(&mut self.batch);
            self.database.write_opt(full, &self.options)?;
        }
        Ok(())
    }
}

impl Drop for Batches<'_> {
    fn drop(&mut self) {
        // What it did not take is missing when all is read back.
        let _ = self.database.write_opt(std::mem::take(&mut self.batch), &self.options);
    }
}

impl Peer for Log {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        if !self.durable {
            return Ok(Box::new(Batches {
                database: &self.database,
                options: WriteOptions::default(),
                number: (thread as u64) << 32,
                batch: WriteBatch::default(),
            }));
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        let mut number = (thread as u64) << 32;
        Ok(Box::new(move |body: &[u8]| {
            number += 1;
            self.database.put_opt(number.to_be_bytes(), body, &options)?;
            Ok(())
        }))
    }

    fn scan(self: Box<Self>, _: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        clock.start();
        let mut counted = Counted(0);
        for batch in self.database.get_updates_since(0)? {
            let (_, batch) = batch?;
            batch.iterate(&mut counted);
        }
        Ok(counted.0)
    }
}
