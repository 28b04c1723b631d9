//! reasonkit-mem: an asynchronous interface over blocking calls, polled here to its end.

use std::path::Path;

use pollster::block_on;
use reasonkit_mem::storage::wal::{SyncMode, WalConfig, WalOperation, WriteAheadLog};
use uuid::Uuid;

use wal_bench::{Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "reasonkit",
    version: "0.1.7",
    options: "Immediate (sync each append), 64 MiB segments (its preallocation does nothing)",
    appends: "SyncMode::Async; read by recover over the open log",
    caveat: "what is appended after a torn tail is lost",
    committers: Committers::Threads,
    open,
};

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    let mode = if load.durable { SyncMode::Immediate } else { SyncMode::Async };
    let config = WalConfig::new(dir.to_owned()).with_sync_mode(mode);
    Ok(Box::new(Log(block_on(WriteAheadLog::new(config))?)))
}

struct Log(WriteAheadLog);

impl Peer for Log {
    fn committer(&self, thread: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        let mut number = (thread as u128) << 64;
        Ok(Box::new(move |body: &[u8]| {
            number += 1;
            let insert = WalOperation::Insert {
                id: Uuid::from_u128(number),
                // Text holds a byte a letter, so as many bytes as the body.
                content: body.iter().map(|byte| char::from(byte & 0x7f)).collect(),
                embedding: Vec::new(),
            };
            block_on(self.0.append(insert))?;
            Ok(())
        }))
    }

    fn scan(self: Box<Self>, _: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        clock.start();
        Ok(block_on(self.0.recover())?.entries_recovered as u64)
    }
}
