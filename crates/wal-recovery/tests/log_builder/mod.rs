//! Builds logs byte by byte, without a writer, so that a test can make any log it needs.
#![allow(dead_code, reason = "each test file uses its own part of this one")]

use std::io::IoSlice;
use std::sync::Arc;

use wal_format::body::{CheckpointEnd, Commit, Opened, RestorePoint};
use wal_format::layout::BLOCK_BYTES;
use wal_format::{
    CheckpointPointer, ControlSlot, Epoch, LogId, Lsn, LsnRange, Predecessor, RecordDraft,
    RecordFlags, RecordKind, RecordSeed, SegmentFlags, SegmentHeader, TxnId, TxnLink,
};
use wal_io::backend::MemoryStorage;
use wal_io::{Access, ChainLink, ControlFile, SegmentName, Storage};
use wal_recovery::LogSource;

pub(crate) const LOG: LogId = LogId::from_bytes(*b"a log of tests..");

/// A segment being built.
#[derive(Clone, Debug)]
struct Segment {
    header: SegmentHeader,
    bytes: Vec<u8>,
}

/// Writes records one after the other, as the log itself would.
#[derive(Clone, Debug)]
pub(crate) struct LogBuilder {
    segment_bytes: u64,
    segments: Vec<Segment>,
    epoch: Epoch,
    at: Lsn,
    checkpoints: Vec<CheckpointPointer>,
    promised: Option<Lsn>,
}

/// A transaction being written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Txn {
    pub(crate) id: TxnId,
    pub(crate) last: Lsn,
}

/// A log in memory.
pub(crate) struct Built {
    pub(crate) storage: MemoryStorage,
    pub(crate) links: Vec<ChainLink>,
    pub(crate) end: Lsn,
    pub(crate) epoch: Epoch,
    pub(crate) checkpoints: Vec<CheckpointPointer>,
}

pub(crate) fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw).unwrap()
}

pub(crate) fn txn(id: u64) -> Txn {
    Txn { id: TxnId::new(id), last: Lsn::NONE }
}

impl LogBuilder {
    /// An empty log of segments of `segment_bytes`, newly opened.
    pub(crate) fn new(segment_bytes: u64) -> Self {
        let mut builder = Self {
            segment_bytes,
            segments: Vec::new(),
            epoch: Epoch::FIRST,
            at: Lsn::FIRST,
            checkpoints: Vec::new(),
            promised: None,
        };
        builder.push_segment(Lsn::FIRST, segment_bytes, SegmentFlags::NONE);
        builder.opened(Lsn::FIRST);
        builder
    }

    /// Nothing from here on is ever said to be durable.
    pub(crate) fn promise_no_more(&mut self) {
        self.promised = Some(self.at);
    }

    /// Where the next record goes.
    pub(crate) fn at(&self) -> Lsn {
        self.at
    }

    fn push_segment(&mut self, base: Lsn, capacity_bytes: u64, flags: SegmentFlags) {
        let predecessor = self.segments.last().map(|segment| Predecessor {
            base: segment.header.base,
            epoch: segment.header.epoch,
            end: self.at,
        });
        let header = SegmentHeader {
            log_id: LOG,
            base,
            epoch: self.epoch,
            capacity_bytes,
            created_unix_us: 0,
            flags,
            predecessor,
            head: Lsn::FIRST,
        };
        self.segments.push(Segment { header, bytes: Vec::new() });
        self.at = base;
    }

    fn left(&self) -> u64 {
        let header = self.segments.last().unwrap().header;
        header.end().unwrap().get() - self.at.get()
    }

    /// Appends a record; rotates before it where it does not fit.
    pub(crate) fn draft(&mut self, draft: RecordDraft<'_>) -> Lsn {
        let needed = draft.encoded_bytes() as u64;
        let left = self.left();
        if needed > left || (left - needed > 0 && left - needed < 24) {
            self.rotate(needed);
        }
        self.write(draft)
    }

    fn write(&mut self, draft: RecordDraft<'_>) -> Lsn {
        let seed = RecordSeed::new(LOG, self.epoch);
        let mut bytes = vec![0; draft.encoded_bytes()];
        let at = self.at;
        let durable = self.promised.unwrap_or(at);
        draft.encode_into(&seed, at, Some(durable), &mut bytes).unwrap();
        self.segments.last_mut().unwrap().bytes.extend_from_slice(&bytes);
        self.at = lsn(at.get() + bytes.len() as u64);
        at
    }

    /// The bytes from `lsn` to the end of its segment.
    pub(crate) fn bytes_at(&self, lsn: Lsn) -> Option<&[u8]> {
        let holds = |segment: &&Segment| segment.header.base <= lsn;
        let segment = self.segments.iter().rev().find(holds)?;
        let offset = lsn.distance_from(segment.header.base)? as usize;
        segment.bytes.get(offset..).filter(|bytes| !bytes.is_empty())
    }

    /// What proves the records of the present opening.
    pub(crate) fn seed(&self) -> RecordSeed {
        RecordSeed::new(LOG, self.epoch)
    }

    /// The control file names this checkpoint too.
    pub(crate) fn name_checkpoint(&mut self, pointer: CheckpointPointer) {
        self.checkpoints.push(pointer);
    }

    /// Pads the segment to its end and goes on in the next one.
    pub(crate) fn rotate(&mut self, needed: u64) {
        let left = self.left();
        if left > 0 {
            let zeros = vec![0; left as usize - 24];
            self.write(RecordDraft::new(RecordKind::PADDING, &[&zeros]));
        }
        let base = self.at;
        self.push_segment(base, self.segment_bytes.max(needed + 24), SegmentFlags::NONE);
    }

    pub(crate) fn padding(&mut self, body_bytes: usize) -> Lsn {
        let zeros = vec![0; body_bytes];
        self.draft(RecordDraft::new(RecordKind::PADDING, &[&zeros]))
    }

    pub(crate) fn plain(&mut self, body: &str) -> Lsn {
        self.kind(RecordKind::DATA, body.as_bytes())
    }

    pub(crate) fn kind(&mut self, kind: RecordKind, body: &[u8]) -> Lsn {
        self.draft(RecordDraft::new(kind, &[body]))
    }

    /// One record with the flags of a batch member.
    pub(crate) fn member(&mut self, body: &str, flags: RecordFlags) -> Lsn {
        self.draft(RecordDraft::new(RecordKind::DATA, &[body.as_bytes()]).with_flags(flags))
    }

    /// The first `written` members of a batch.
    pub(crate) fn batch(&mut self, bodies: &[&str], written: usize) -> Vec<Lsn> {
        let last = bodies.len() - 1;
        let members = bodies.iter().enumerate().take(written);
        members.map(|(index, body)| self.member(body, batch_flags(index, last))).collect()
    }

    pub(crate) fn put(&mut self, txn: &mut Txn, body: &str) -> Lsn {
        self.in_txn(txn, RecordKind::DATA, body.as_bytes(), RecordFlags::NONE)
    }

    pub(crate) fn in_txn(
        &mut self,
        txn: &mut Txn,
        kind: RecordKind,
        body: &[u8],
        flags: RecordFlags,
    ) -> Lsn {
        let link = TxnLink { txn_id: txn.id, prev_lsn: txn.last };
        let parts = [body];
        txn.last = self.draft(RecordDraft::new(kind, &parts).in_txn(link).with_flags(flags));
        txn.last
    }

    pub(crate) fn commit(&mut self, txn: &mut Txn) -> Lsn {
        self.in_txn(txn, RecordKind::COMMIT, b"", RecordFlags::NONE)
    }

    pub(crate) fn commit_at(&mut self, txn: &mut Txn, timestamp: u64) -> Lsn {
        let body = Commit { timestamp }.encode();
        self.in_txn(txn, RecordKind::COMMIT, &body, RecordFlags::NONE)
    }

    pub(crate) fn abort(&mut self, txn: &mut Txn) -> Lsn {
        self.in_txn(txn, RecordKind::ABORT, b"", RecordFlags::NONE)
    }

    pub(crate) fn restore_point(&mut self, name: &str) -> Lsn {
        let body = RestorePoint { name }.encode().unwrap();
        self.kind(RecordKind::RESTORE_POINT, body)
    }

    pub(crate) fn checkpoint(
        &mut self,
        begin: Lsn,
        redo_from: Lsn,
        payload: &str,
    ) -> CheckpointPointer {
        let end = CheckpointEnd { begin, redo_from, payload: payload.as_bytes() };
        let head = end.encode_head();
        let record = self.draft(RecordDraft::new(RecordKind::CHECKPOINT_END, &end.parts(&head)));
        let pointer = CheckpointPointer { begin, redo_from, record, end: self.at };
        self.checkpoints.push(pointer);
        pointer
    }

    fn opened(&mut self, previous_end: Lsn) -> Lsn {
        let body = Opened { epoch: self.epoch, previous_end, opened_unix_us: 0 }.encode();
        self.draft(RecordDraft::new(RecordKind::OPENED, &[&body]))
    }

    /// Opens the log again after a clean close: it goes on in place.
    pub(crate) fn reopen(&mut self) -> Lsn {
        self.epoch = self.epoch.checked_add(1).unwrap();
        self.opened(self.at)
    }

    /// Opens the log again after a crash: it goes on in a new segment, further up.
    pub(crate) fn reopen_unclean(&mut self) -> Lsn {
        let end = self.at;
        self.epoch = self.epoch.checked_add(1).unwrap();
        let above = self.segments.last().unwrap().header.end().unwrap();
        let base = above.align_up(4096).unwrap().checked_add(4096).unwrap();
        self.push_segment(base, self.segment_bytes, SegmentFlags::OPENING);
        self.opened(end)
    }

    /// Goes on `bytes` further up, as a salvage does which found nothing there.
    pub(crate) fn lose(&mut self, bytes: u64) {
        let base = self.at.checked_add(bytes).unwrap();
        self.push_segment(base, self.segment_bytes, SegmentFlags::AFTER_LOSS);
    }

    /// The log, with a control file that names its newest segment and its checkpoints.
    pub(crate) fn finish(self) -> Built {
        let storage = MemoryStorage::new();
        let mut links = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let header = segment.header;
            let name = SegmentName { epoch: header.epoch, base: header.base };
            let file_bytes = BLOCK_BYTES as u64 + header.capacity_bytes;
            let file = storage.create(&name.to_string(), file_bytes).unwrap();
            let block = header.encode();
            file.write_at(&[IoSlice::new(&block), IoSlice::new(&segment.bytes)], 0).unwrap();
            let successor = self.segments.get(index + 1).map(|next| next.header);
            let cap = successor.and_then(|next| next.predecessor).map(|pred| pred.end);
            let cap = cap.unwrap_or(header.end().unwrap());
            links.push(ChainLink { name, header, cap, file_bytes });
        }
        let newest = self.segments.last().unwrap().header;
        let slot = ControlSlot {
            log_id: LOG,
            sequence: 1,
            epoch: self.epoch,
            head: Lsn::FIRST,
            newest_base: newest.base,
            newest_epoch: newest.epoch,
            durable: self.promised.unwrap_or(self.at),
            clean: None,
            checkpoints: self.checkpoints.iter().rev().take(2).rev().copied().collect(),
        };
        let shared: Arc<dyn Storage> = Arc::new(storage.clone());
        ControlFile::create(&shared, &slot).unwrap();
        let (end, epoch, checkpoints) = (self.at, self.epoch, self.checkpoints);
        Built { storage, links, end, epoch, checkpoints }
    }
}

/// The flags of member `index` of a batch whose last member is `last`.
pub(crate) fn batch_flags(index: usize, last: usize) -> RecordFlags {
    let mut flags = RecordFlags::NONE;
    if index < last {
        flags = flags.with(RecordFlags::BATCH_CONTINUES);
    }
    if index > 0 {
        flags = flags.with(RecordFlags::BATCH_FOLLOWS);
    }
    flags
}

impl Built {
    pub(crate) fn source(&self) -> LogSource {
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        LogSource::new(storage, self.links.clone(), LOG).with_highest_epoch(self.epoch)
    }

    pub(crate) fn range(&self) -> LsnRange {
        LsnRange::new(self.links[0].range().start, self.end)
    }

    /// Removes the first `count` segments, as a truncation does: the head first.
    pub(crate) fn truncate(&mut self, count: usize) {
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let head = self.links[count].name.base;
        let mut control = ControlFile::open(&storage).unwrap();
        control.update(|slot| slot.head = head).unwrap();
        control.update(|_| ()).unwrap();
        for link in self.links.drain(..count) {
            storage.remove(&link.name.to_string()).unwrap();
        }
    }

    /// The segment that covers `lsn`, and where in its file.
    pub(crate) fn place(&self, lsn: Lsn) -> (String, u64) {
        let link = self.links.iter().find(|link| link.range().contains(lsn)).unwrap();
        (link.name.to_string(), link.offset_of(lsn))
    }

    /// Flips a bit of the record at `lsn`, behind its header.
    pub(crate) fn damage(&self, lsn: Lsn) {
        let (name, offset) = self.place(lsn);
        self.flip(&name, offset + 25);
    }

    pub(crate) fn flip(&self, name: &str, offset: u64) {
        let file = self.storage.open(name, Access::Write).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, offset).unwrap();
        byte[0] ^= 0x10;
        file.write_at(&[IoSlice::new(&byte)], offset).unwrap();
    }

    /// Every file and its bytes.
    pub(crate) fn contents(&self) -> Vec<(String, Vec<u8>)> {
        contents(&self.storage)
    }
}

pub(crate) fn contents(storage: &MemoryStorage) -> Vec<(String, Vec<u8>)> {
    let entries = storage.list().unwrap();
    let read = |name: &str, len: u64| {
        let mut bytes = vec![0; len as usize];
        let file = storage.open(name, Access::Read).unwrap();
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
        bytes
    };
    let mut files: Vec<_> = entries
        .into_iter()
        .map(|entry| (entry.name.clone(), read(&entry.name, entry.len)))
        .collect();
    files.sort();
    files
}
