//! okaywal: segments filled with zeros when they are created, recycled after each checkpoint.
//!
//! It syncs every entry. What is appended without a sync for each body is therefore chunks of one
//! entry, and reading them back is its recovery, the only pass over all of a log that it has.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use okaywal::{
    Configuration, Entry as LogEntry, EntryId, EntryWriter, LogManager, ReadChunkResult,
    SegmentReader, WriteAheadLog,
};

use wal_bench::{Clock, Committer, Committers, Entry, Failure, Load, Peer};

/// This log.
pub const ENTRY: Entry = Entry {
    name: "okaywal",
    version: "0.3.1",
    options: "64 MiB segments, checkpoint after 60 MiB, recycled; 64 KiB buffer",
    appends: "an entry of 1 MiB of bodies, each a chunk of it, and one sync an entry: it cannot \
              append without; read by opening it, every chunk checked",
    caveat: "a failed sync leaves every thread waiting for ever; a torn tail cannot be opened",
    committers: Committers::Threads,
    open,
};

const SEGMENT_BYTES: u32 = 64 << 20;
const CHECKPOINT_BYTES: u64 = 60 << 20;
const BUFFER_BYTES: usize = 64 << 10;

/// Bytes of the bodies in one entry, where bodies need not be durable each.
const ENTRY_BYTES: usize = 1 << 20;

/// What is to be read again must stay in one segment, which grows.
fn never_checkpointed(dir: &Path) -> Configuration {
    Configuration::default_for(dir)
        .preallocate_bytes(SEGMENT_BYTES)
        .checkpoint_after_bytes(u64::MAX)
        .buffer_bytes(BUFFER_BYTES)
}

fn open(dir: &Path, load: Load) -> Result<Box<dyn Peer>, Failure> {
    if !load.durable {
        let log = never_checkpointed(dir).open(Nothing)?;
        let chunks = ENTRY_BYTES.div_ceil(load.body_bytes.max(1));
        return Ok(Box::new(Chunked { log, chunks }));
    }
    let log = Configuration::default_for(dir)
        .preallocate_bytes(SEGMENT_BYTES)
        .checkpoint_after_bytes(CHECKPOINT_BYTES)
        .buffer_bytes(BUFFER_BYTES)
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

/// Bodies as chunks of entries.
struct Chunked {
    log: WriteAheadLog,
    /// Of an entry.
    chunks: usize,
}

impl Peer for Chunked {
    fn committer(&self, _: usize) -> Result<Box<dyn Committer + '_>, Failure> {
        Ok(Box::new(Chunks { log: &self.log, each: self.chunks, entry: None }))
    }

    fn scan(self: Box<Self>, dir: &Path, clock: &mut Clock) -> Result<u64, Failure> {
        let Self { log, .. } = *self;
        log.shutdown()?;
        clock.start();
        let met = Arc::new(AtomicU64::new(0));
        never_checkpointed(dir).open(Counting { met: Arc::clone(&met), body: Vec::new() })?;
        Ok(met.load(Ordering::SeqCst))
    }
}

/// What a thread appends with.
struct Chunks<'a> {
    log: &'a WriteAheadLog,
    /// Chunks of an entry.
    each: usize,
    /// The entry that is open, and how many it has.
    entry: Option<(EntryWriter<'a>, usize)>,
}

impl Committer for Chunks<'_> {
    fn commit(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (mut entry, chunks) = match self.entry.take() {
            Some(open) => open,
            None => (self.log.begin_entry()?, 0),
        };
        entry.write_chunk(body)?;
        if chunks + 1 < self.each {
            self.entry = Some((entry, chunks + 1));
        } else {
            entry.commit()?;
        }
        Ok(())
    }
}

impl Drop for Chunks<'_> {
    fn drop(&mut self) {
        if let Some((entry, _)) = self.entry.take() {
            // What it did not take is missing when all is read back.
            let _ = entry.commit();
        }
    }
}

/// Counts the chunks of whole entries, each checked.
#[derive(Debug)]
struct Counting {
    met: Arc<AtomicU64>,
    body: Vec<u8>,
}

impl LogManager for Counting {
    fn recover(&mut self, entry: &mut LogEntry<'_>) -> io::Result<()> {
        let mut chunks = 0;
        loop {
            let mut chunk = match entry.read_chunk()? {
                ReadChunkResult::Chunk(chunk) => chunk,
                ReadChunkResult::EndOfEntry => break,
                ReadChunkResult::AbortedEntry => return Ok(()),
            };
            self.body.resize(chunk.bytes_remaining() as usize, 0);
            chunk.read_exact(&mut self.body)?;
            chunks += u64::from(chunk.check_crc()?);
        }
        self.met.fetch_add(chunks, Ordering::SeqCst);
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
