//! okaywal: segments filled with zeros when they are created, recycled after each checkpoint.

use std::io;
use std::path::Path;

use okaywal::{
    Configuration, Entry as LogEntry, EntryId, LogManager, SegmentReader, WriteAheadLog,
};

use wal_bench::{Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "okaywal",
    version: "0.3.1",
    options: "16 MiB segments, checkpoint after 15 MiB, recycled; 64 KiB buffer",
    caveat: "a failed sync leaves every thread waiting for ever; a torn tail cannot be opened",
    committers: Committers::Threads,
    open,
};

const SEGMENT_BYTES: u32 = 16 << 20;
const CHECKPOINT_BYTES: u64 = 15 << 20;

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    if !load.durable {
        return Err("syncs every commit".into());
    }
    let log = Configuration::default_for(dir)
        .preallocate_bytes(SEGMENT_BYTES)
        .checkpoint_after_bytes(CHECKPOINT_BYTES)
        .buffer_bytes(64 << 10)
        .open(Nothing)?;
    // Segments are made when first needed: have them made now, so that none is in the figures.
    let block = vec![0_u8; 1 << 20];
    for _ in 0..4 * (CHECKPOINT_BYTES >> 20) {
        commit(&log, &block)?;
    }
    Ok(Box::new(Log(log)))
}

fn commit(log: &WriteAheadLog, body: &[u8]) -> io::Result<()> {
    let mut entry = log.begin_entry()?;
    entry.write_chunk(body)?;
    entry.commit()?;
    Ok(())
}

/// Nothing is recovered, and nothing kept at a checkpoint.
#[derive(Debug)]
struct Nothing;

impl LogManager for Nothing {
    fn recover(&mut self, _: &mut LogEntry<'_>) -> io::Result<()> {
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _: EntryId,
        _: &mut SegmentReader,
        _: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}

struct Log(WriteAheadLog);

impl Peer for Log {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        Ok(Box::new(|body: &[u8]| Ok(commit(&self.0, body)?)))
    }
}
