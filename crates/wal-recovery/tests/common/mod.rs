//! Logs built by hand, byte by byte, on a directory in memory.
//!
//! The builder writes what the test says, true or not: it is no writer of logs. Shared by the
//! test files of this crate; each uses a part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

pub mod session;

use std::io::IoSlice;
use std::sync::Arc;

use wal_format::body::Opened;
use wal_format::layout::{BLOCK_BYTES, RECORD_HEADER_BYTES};
use wal_format::{
    ControlSlot, Epoch, LogId, Lsn, LsnRange, Predecessor, RecordDraft, RecordFlags, RecordKind,
    RecordSeed, SegmentFlags, SegmentHeader, TxnId, TxnLink,
};
use wal_io::backend::MemoryStorage;
use wal_io::{Access, CONTROL_NAME, SegmentName, Storage, Survey};
use wal_recovery::{LogSource, Step, Stop};

/// Identity of the logs built here.
pub const LOG_ID: LogId = LogId::from_bytes(*b"a log under test");

/// Capacity of a segment, in bytes: small, so that every byte of a log can be visited.
pub const SEGMENT_BYTES: u64 = 8 << 10;

/// The address `raw`.
pub fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw).expect("a multiple of 8")
}

/// A log under construction.
///
/// Appending writes to the last segment at once; nothing is synced but in name: `durable` is what
/// the next records claim.
pub struct LogBuilder {
    pub storage: MemoryStorage,
    /// Capacity of the segments to come.
    pub segment_bytes: u64,
    pub segments: Vec<SegmentHeader>,
    /// The epoch of the records to come.
    pub epoch: Epoch,
    /// Address of the next record.
    pub end: Lsn,
    /// What the next records claim to be durable.
    pub durable: Option<Lsn>,
    pub control: ControlSlot,
    /// Addresses of all records, in order.
    pub records: Vec<Lsn>,
}

impl LogBuilder {
    /// A log with an empty first segment and a control file. No record claims anything yet.
    pub fn new() -> Self {
        Self::with_segment_bytes(SEGMENT_BYTES)
    }

    /// A log whose segments have another capacity.
    pub fn with_segment_bytes(segment_bytes: u64) -> Self {
        let mut log = Self {
            storage: MemoryStorage::new(),
            segment_bytes,
            segments: Vec::new(),
            epoch: Epoch::FIRST,
            end: Lsn::FIRST,
            durable: None,
            control: ControlSlot {
                log_id: LOG_ID,
                sequence: 1,
                epoch: Epoch::FIRST,
                head: Lsn::FIRST,
                newest_base: Lsn::FIRST,
                newest_epoch: Epoch::FIRST,
                durable: Lsn::FIRST,
                clean: None,
                checkpoints: Vec::new(),
            },
            records: Vec::new(),
        };
        log.add_segment(Lsn::FIRST, segment_bytes, SegmentFlags::NONE, None);
        log.write_control();
        log
    }

    /// The place as the crate under test sees it.
    pub fn shared(&self) -> Arc<dyn Storage> {
        Arc::new(self.storage.clone())
    }

    /// A copy that shares no byte with this one.
    pub fn copy(&self) -> MemoryStorage {
        copy_of(&self.storage)
    }

    /// Everything before the end counts as durable from now on.
    pub fn sync(&mut self) -> Lsn {
        self.durable = Some(self.end);
        self.end
    }

    /// Appends a record with an opaque body.
    pub fn data(&mut self, body: &[u8]) -> Lsn {
        self.append(&RecordDraft::new(RecordKind::DATA, &[body]))
    }

    /// Appends a record of `kind`.
    pub fn record(&mut self, kind: RecordKind, body: &[u8]) -> Lsn {
        self.append(&RecordDraft::new(kind, &[body]))
    }

    /// Appends a record with flags.
    pub fn flagged(&mut self, flags: RecordFlags, body: &[u8]) -> Lsn {
        self.append(&RecordDraft::new(RecordKind::DATA, &[body]).with_flags(flags))
    }

    /// Appends a record of a transaction.
    pub fn in_txn(&mut self, kind: RecordKind, txn: u64, prev_lsn: Lsn, body: &[u8]) -> Lsn {
        let link = TxnLink { txn_id: TxnId::new(txn), prev_lsn };
        self.append(&RecordDraft::new(kind, &[body]).in_txn(link))
    }

    /// Appends the record of an opening under `epoch`, which is in force from then on.
    pub fn opened(&mut self, epoch: u64) -> Lsn {
        self.epoch = Epoch::new(epoch);
        let body = Opened { epoch: self.epoch, previous_end: self.end, opened_unix_us: 0 };
        self.record(RecordKind::OPENED, &body.encode())
    }

    /// Appends any record, and moves to the next segment first if it does not fit.
    pub fn append(&mut self, draft: &RecordDraft<'_>) -> Lsn {
        let bytes = draft.encoded_bytes() as u64;
        let left = self.left();
        if bytes > left || (left - bytes > 0 && left - bytes < RECORD_HEADER_BYTES as u64) {
            self.rotate();
        }
        self.append_here(draft)
    }

    fn append_here(&mut self, draft: &RecordDraft<'_>) -> Lsn {
        let at = self.end;
        let mut out = vec![0; draft.encoded_bytes()];
        let seed = RecordSeed::new(LOG_ID, self.epoch);
        draft.encode_into(&seed, at, self.durable, &mut out).unwrap();
        self.write_at(at, &out);
        self.end = at.checked_add(out.len() as u64).unwrap();
        self.records.push(at);
        at
    }

    /// Bytes left in the last segment.
    pub fn left(&self) -> u64 {
        self.last().end().unwrap().distance_from(self.end).unwrap()
    }

    /// The header of the last segment.
    pub fn last(&self) -> &SegmentHeader {
        self.segments.last().unwrap()
    }

    /// Pads the last segment to its end and goes on in a new one.
    pub fn rotate(&mut self) {
        let left = self.left() as usize;
        if left > 0 {
            let body = vec![0; left - RECORD_HEADER_BYTES];
            self.append_here(&RecordDraft::new(RecordKind::PADDING, &[&body]));
        }
        let pred = self.predecessor();
        self.add_segment(self.end, self.segment_bytes, SegmentFlags::NONE, Some(pred));
    }

    /// What a segment after the last one, which ends at the end of the log, names.
    pub fn predecessor(&self) -> Predecessor {
        let last = self.last();
        Predecessor { base: last.base, epoch: last.epoch, end: self.end }
    }

    /// Goes on in a new segment of `epoch` at `base`, as an unclean opening does.
    pub fn open_again(&mut self, epoch: u64, base: Lsn) {
        let pred = self.predecessor();
        self.epoch = Epoch::new(epoch);
        self.control.epoch = self.epoch;
        self.add_segment(base, self.segment_bytes, SegmentFlags::OPENING, Some(pred));
        self.end = base;
        self.write_control();
    }

    /// Goes on in a segment that holds exactly `capacity_bytes`, as a rewritten tail does.
    pub fn add_born_durable(&mut self, capacity_bytes: u64) {
        let pred = self.predecessor();
        let flags = SegmentFlags::BORN_DURABLE.with(SegmentFlags::OPENING);
        self.epoch = self.epoch.checked_add(1).unwrap();
        self.add_segment(self.end, capacity_bytes, flags, Some(pred));
    }

    /// Adds a segment of the epoch in force, and names it in the control slot to be written.
    pub fn add_segment(
        &mut self,
        base: Lsn,
        capacity_bytes: u64,
        flags: SegmentFlags,
        predecessor: Option<Predecessor>,
    ) {
        let header = SegmentHeader {
            log_id: LOG_ID,
            base,
            epoch: self.epoch,
            capacity_bytes,
            created_unix_us: 0,
            flags,
            predecessor,
            head: self.control.head,
        };
        write_segment(&self.storage, &header);
        self.control.newest_base = base;
        self.control.newest_epoch = self.epoch;
        self.segments.push(header);
        self.write_control();
    }

    /// Writes both slots: the one before, and the one that counts.
    pub fn write_control(&mut self) {
        let older = ControlSlot { clean: None, ..self.control.clone() };
        self.control.sequence += 1;
        let blocks = [older.encode().unwrap(), self.control.encode().unwrap()];
        let _ = self.storage.create(CONTROL_NAME, 2 * BLOCK_BYTES as u64);
        write(&self.storage, CONTROL_NAME, 0, &blocks.concat());
    }

    /// Marks the log as cleanly closed at its end.
    pub fn close(&mut self) {
        self.sync();
        self.control.durable = self.end;
        self.control.clean = Some((self.end, self.epoch));
        self.write_control();
    }

    /// Says in the control file that all before `durable` was durable.
    pub fn claim_durable(&mut self, durable: Lsn) {
        self.control.durable = durable;
        self.write_control();
    }

    /// The file and offset of an address.
    pub fn place_of(&self, at: Lsn) -> (String, u64) {
        let header = self
            .segments
            .iter()
            .rfind(|header| header.base <= at && at < header.end().unwrap())
            .expect("an address in a segment");
        (name_of(header).to_string(), BLOCK_BYTES as u64 + (at.get() - header.base.get()))
    }

    /// Overwrites bytes of the log.
    pub fn write_at(&self, at: Lsn, bytes: &[u8]) {
        let (name, offset) = self.place_of(at);
        write(&self.storage, &name, offset, bytes);
    }

    /// Flips one bit of the log.
    pub fn flip(&self, at: Lsn, bit: u64) {
        let (name, offset) = self.place_of(at);
        flip(&self.storage, &name, offset * 8 + bit);
    }

    /// Zeroes the log from `at` on, within one segment: as if it had never been written.
    pub fn cut(&self, at: u64) {
        let (name, offset) = self.place_of(lsn(at / 8 * 8));
        cut(&self.storage, &name, offset + at % 8);
    }
}

/// The name of the segment with this header.
pub fn name_of(header: &SegmentHeader) -> SegmentName {
    SegmentName { epoch: header.epoch, base: header.base }
}

/// A record as the tests compare it: address, kind, body.
pub type Seen = (Lsn, RecordKind, Vec<u8>);

/// What a scan of a range yields: records, jumps, and where it stopped.
pub fn scan(source: &LogSource, range: LsnRange) -> (Vec<Seen>, Vec<(Lsn, Lsn, bool)>, Stop) {
    let mut scanner = source.scan(range);
    let (mut records, mut jumps) = (Vec::new(), Vec::new());
    loop {
        match scanner.next().unwrap() {
            Step::Record(record) => {
                records.push((record.lsn(), record.kind(), record.body.to_vec()));
            }
            Step::Jump { from, to, after_loss } => jumps.push((from, to, after_loss)),
            Step::Stopped(stop) => {
                assert_eq!(scanner.position(), stop.at);
                return (records, jumps, stop);
            }
        }
    }
}

/// The chain in a directory, as a survey finds it.
pub fn source_of(storage: &Arc<dyn Storage>) -> LogSource {
    let survey = Survey::read(&**storage).unwrap();
    assert_eq!(survey.problems, []);
    LogSource::new(Arc::clone(storage), survey.links, LOG_ID)
        .with_highest_epoch(survey.highest_epoch)
}

/// All records that a scan from the head yields.
pub fn records_of(storage: &Arc<dyn Storage>) -> Vec<Seen> {
    let source = source_of(storage);
    scan(&source, LsnRange::new(source.range().start, Lsn::MAX)).0
}

/// Creates the file of a segment.
pub fn write_segment(storage: &dyn Storage, header: &SegmentHeader) {
    let name = name_of(header).to_string();
    storage.create(&name, BLOCK_BYTES as u64 + header.capacity_bytes).unwrap();
    write(storage, &name, 0, &header.encode());
}

/// All bytes of a file.
pub fn read(storage: &dyn Storage, name: &str) -> Vec<u8> {
    let file = storage.open(name, Access::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    let count = file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(count, bytes.len());
    bytes
}

/// Overwrites bytes of a file.
pub fn write(storage: &dyn Storage, name: &str, offset: u64, bytes: &[u8]) {
    let file = storage.open(name, Access::Write).unwrap();
    assert_eq!(file.write_at(&[IoSlice::new(bytes)], offset).unwrap(), bytes.len());
}

/// Flips one bit of a file.
pub fn flip(storage: &dyn Storage, name: &str, bit: u64) {
    let file = storage.open(name, Access::Write).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, bit / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_at(&[IoSlice::new(&byte)], bit / 8).unwrap();
}

/// Zeroes a file from `offset` on.
pub fn cut(storage: &dyn Storage, name: &str, offset: u64) {
    let file = storage.open(name, Access::Write).unwrap();
    let len = file.len().unwrap();
    file.set_len(offset).unwrap();
    file.set_len(len).unwrap();
}

/// Names and contents of all files.
pub fn contents(storage: &dyn Storage) -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<String> =
        storage.list().unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), read(storage, &name))).collect()
}

/// A directory with the same files.
pub fn copy_of(storage: &dyn Storage) -> MemoryStorage {
    let copy = MemoryStorage::new();
    for (name, bytes) in contents(storage) {
        copy.create(&name, 0).unwrap();
        write(&copy, &name, 0, &bytes);
    }
    copy
}
