//! One opening of a log by hand: examine, resume, append, sync, close. No commit path.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::IoSlice;
use std::sync::Arc;

use wal_format::body::Opened;
use wal_format::layout::{BLOCK_BYTES, RECORD_HEADER_BYTES};
use wal_format::{Lsn, LsnRange, RecordDraft, RecordKind};
use wal_io::{LogSink, SegmentStore, Storage, StoreOptions};
use wal_recovery::{Depth, Examination, RecoveryError, Resumed, examine, resume};

use super::{Seen, scan};

/// The smallest segments that a store makes.
pub fn options() -> StoreOptions {
    StoreOptions::default().with_segment_bytes(64 << 10)
}

/// A log that is open for writing.
pub struct Session {
    pub examined: Examination,
    pub resumed: Resumed,
    sink: Box<dyn LogSink>,
    /// Address of the next record.
    pub end: Lsn,
    durable: Lsn,
}

/// Makes a new log, with its first opened record, unsynced.
pub fn create(storage: &Arc<dyn Storage>) -> Result<(), RecoveryError> {
    let store = SegmentStore::create(Arc::clone(storage), storage.lock().unwrap(), options())?;
    let mut sink = store.appender()?;
    write_record(&store, &mut *sink, Lsn::FIRST, Lsn::FIRST, &opened(&store, Lsn::FIRST))?;
    Ok(())
}

fn opened(store: &SegmentStore, previous_end: Lsn) -> (RecordKind, Vec<u8>) {
    let body = Opened { epoch: store.epoch(), previous_end, opened_unix_us: 0 };
    (RecordKind::OPENED, body.encode().to_vec())
}

fn write_record(
    store: &SegmentStore,
    sink: &mut dyn LogSink,
    at: Lsn,
    durable: Lsn,
    (kind, body): &(RecordKind, Vec<u8>),
) -> Result<Lsn, RecoveryError> {
    let parts = [&body[..]];
    let draft = RecordDraft::new(*kind, &parts);
    let mut out = vec![0; draft.encoded_bytes()];
    draft.encode_into(&store.seed(), at, Some(durable), &mut out).unwrap();
    sink.write(at, &[IoSlice::new(&out)])?;
    Ok(at.checked_add(out.len() as u64).unwrap())
}

impl Session {
    /// Opens the log, and writes the opened record, unsynced.
    pub fn open(storage: &Arc<dyn Storage>) -> Result<Self, RecoveryError> {
        let lock = storage.lock().map_err(|_| RecoveryError::NoLog { place: "locked".into() })?;
        let examined = examine(storage, Depth::FromCheckpoint, &mut ())?;
        let resumed = resume(Arc::clone(storage), lock, options(), &examined)?;
        let sink = resumed.store.appender()?;
        let (end, durable) = (resumed.placement.end, resumed.end);
        let mut session = Self { examined, resumed, sink, end, durable };
        let first = opened(&session.resumed.store, session.resumed.end);
        session.append(first.0, &first.1)?;
        Ok(session)
    }

    /// What the opening found, housekeeping left out.
    pub fn replayed(&self) -> Vec<Seen> {
        let source = &self.resumed.source;
        let range = LsnRange::new(source.range().start, self.resumed.end);
        let (mut records, _, stop) = scan(source, range);
        assert!(stop.at >= self.resumed.end, "{stop:?} before {}", self.resumed.end);
        records.retain(|(_, kind, _)| !kind.is_housekeeping());
        records
    }

    pub fn append(&mut self, kind: RecordKind, body: &[u8]) -> Result<Lsn, RecoveryError> {
        let (at, record) = (self.end, (kind, body.to_vec()));
        let durable = self.durable.min(at);
        self.end = write_record(&self.resumed.store, &mut *self.sink, at, durable, &record)?;
        Ok(at)
    }

    pub fn data(&mut self, body: &[u8]) -> Result<Lsn, RecoveryError> {
        self.append(RecordKind::DATA, body)
    }

    pub fn sync(&mut self) -> Result<(), RecoveryError> {
        self.sink.sync()?;
        self.durable = self.end;
        self.resumed.store.note_durable(self.end);
        Ok(())
    }

    /// Pads to a block, syncs, and marks the log clean.
    pub fn close(mut self) -> Result<Lsn, RecoveryError> {
        let block = BLOCK_BYTES as u64;
        let mut padded = self.end.align_up(block).unwrap();
        let left = padded.distance_from(self.end).unwrap();
        if left > 0 && left < RECORD_HEADER_BYTES as u64 {
            padded = padded.checked_add(block).unwrap();
        }
        let left = padded.distance_from(self.end).unwrap() as usize;
        if left > 0 {
            self.append(RecordKind::PADDING, &vec![0; left - RECORD_HEADER_BYTES])?;
        }
        self.sync()?;
        self.resumed.store.mark_clean(self.end)?;
        Ok(self.end)
    }
}
