//! Reading a checkpoint back: its end record, and its parts, wherever they stand between begin
//! and end.
//!
//! A checkpoint is used whole or not at all. What is wrong with it is a [`CheckpointFault`], and
//! an older one is tried then; that the storage fails is an error of its own.
//!
//! Source: ARIES, "Checkpoints"; statements 10 to 13.

use wal_format::body::{AriesEnd, CheckpointEnd, CheckpointPart, TxnEntry};
use wal_format::{CheckpointPointer, Lsn, LsnRange, RecordKind, RecordRef};

use super::page_map::PageMap;
use crate::error::RecoveryError;
use crate::fault::CheckpointFault;
use crate::scan::Step;
use crate::strategy::RecoveryLog;

/// Why a checkpoint was not read.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It cannot be used.
    Fault(CheckpointFault),
    /// Nothing is known about it.
    Failed(RecoveryError),
}

impl From<CheckpointFault> for Refusal {
    fn from(fault: CheckpointFault) -> Self {
        Self::Fault(fault)
    }
}

/// The tables of a checkpoint, as they were copied.
#[derive(Debug)]
pub(super) struct CheckpointTables {
    pub(super) pointer: CheckpointPointer,
    /// No transaction twice.
    pub(super) txns: Vec<TxnEntry>,
    /// Pages and their recLSN.
    pub(super) pages: PageMap<Lsn>,
    /// The lowest identity that was never given out.
    pub(super) next_txn_id: u64,
    /// The engine's own bytes.
    pub(super) payload: Vec<u8>,
}

/// Reads the checkpoint of `pointer`.
pub(super) fn read(
    log: &RecoveryLog<'_>,
    pointer: CheckpointPointer,
) -> Result<CheckpointTables, Refusal> {
    let range = log.range;
    let inside = range.start <= pointer.redo_from
        && pointer.redo_from <= pointer.begin
        && pointer.begin < pointer.record
        && pointer.end <= range.end;
    if !inside {
        return Err(CheckpointFault::NotRetained.into());
    }
    let mut tables = CheckpointTables {
        pointer,
        txns: Vec::new(),
        pages: PageMap::default(),
        next_txn_id: 0,
        payload: Vec::new(),
    };
    let expected = read_end(log, &mut tables)?;
    read_parts(log, &mut tables, expected)?;
    tables.check(range)?;
    Ok(tables)
}

/// Reads the end record; returns how many parts there are.
fn read_end(log: &RecoveryLog<'_>, tables: &mut CheckpointTables) -> Result<u32, Refusal> {
    let pointer = tables.pointer;
    let mut buffer = Vec::new();
    let record = match log.source.read_record(pointer.record, &mut buffer) {
        Ok(record) => record,
        Err(RecoveryError::Unreadable { .. } | RecoveryError::OutOfRange { .. }) => {
            return Err(CheckpointFault::NoEnd.into());
        }
        Err(error) => return Err(Refusal::Failed(error)),
    };
    if record.kind() != RecordKind::CHECKPOINT_END {
        return Err(CheckpointFault::OtherEnd.into());
    }
    let end = CheckpointEnd::decode(record.body).map_err(CheckpointFault::BadPayload)?;
    if (end.begin, end.redo_from) != (pointer.begin, pointer.redo_from) {
        return Err(CheckpointFault::OtherEnd.into());
    }
    let head = AriesEnd::decode(end.payload).map_err(CheckpointFault::BadPayload)?;
    tables.next_txn_id = head.next_txn_id;
    tables.payload.extend_from_slice(head.engine);
    Ok(head.parts)
}

/// Reads the parts, which stand in their order between begin and end.
fn read_parts(
    log: &RecoveryLog<'_>,
    tables: &mut CheckpointTables,
    expected: u32,
) -> Result<(), Refusal> {
    let pointer = tables.pointer;
    let mut scanner = log.source.scan(LsnRange::new(pointer.begin, pointer.record));
    let mut found = 0;
    loop {
        match scanner.next().map_err(Refusal::Failed)? {
            Step::Record(record) => {
                if record.lsn() == pointer.begin && record.kind() != RecordKind::CHECKPOINT_BEGIN {
                    return Err(CheckpointFault::BadAddress { lsn: pointer.begin }.into());
                }
                if record.kind() == RecordKind::CHECKPOINT_PART {
                    found += u32::from(tables.take_part(&record, found)?);
                }
            }
            Step::Jump { .. } => {}
            Step::Stopped(_) => break,
        }
    }
    if found == expected {
        return Ok(());
    }
    Err(CheckpointFault::MissingParts { expected, found }.into())
}

impl CheckpointTables {
    /// Takes in a part; `false` when it is of another checkpoint.
    fn take_part(&mut self, record: &RecordRef<'_>, place: u32) -> Result<bool, CheckpointFault> {
        let lsn = record.lsn();
        let bad = |source| CheckpointFault::BadPart { lsn, source };
        let part = CheckpointPart::decode(record.body).map_err(bad)?;
        if part.begin != self.pointer.begin {
            return Ok(false);
        }
        if part.index != place {
            return Err(CheckpointFault::PartOutOfPlace { lsn, index: part.index });
        }
        for entry in part.txns() {
            let entry = entry.map_err(bad)?;
            // What a table knows was logged before the part that holds it.
            if entry.last_lsn >= lsn {
                return Err(CheckpointFault::BadAddress { lsn: entry.last_lsn });
            }
            self.txns.push(entry);
        }
        for entry in part.dirty_pages() {
            let entry = entry.map_err(bad)?;
            if entry.rec_lsn >= lsn {
                return Err(CheckpointFault::BadAddress { lsn: entry.rec_lsn });
            }
            // Statement 16: for a page that is named twice, the older recLSN.
            let rec_lsn = self.pages.entry(entry.page).or_insert(entry.rec_lsn);
            *rec_lsn = entry.rec_lsn.min(*rec_lsn);
        }
        Ok(true)
    }

    /// Whether the log holds what the tables need, and the pointer says so.
    fn check(&mut self, range: LsnRange) -> Result<(), CheckpointFault> {
        let firsts = self.txns.iter().map(|entry| entry.first_lsn);
        let needed = firsts.chain(self.pages.values().copied()).min();
        match needed {
            Some(lsn) if lsn < range.start => return Err(CheckpointFault::NotRetained),
            Some(lsn) if lsn < self.pointer.redo_from => {
                return Err(CheckpointFault::BadAddress { lsn });
            }
            _ => {}
        }
        // One that was copied twice counts as it was copied last.
        self.txns.sort_by_key(|entry| (entry.txn_id, entry.last_lsn));
        self.txns.reverse();
        self.txns.dedup_by_key(|entry| entry.txn_id);
        Ok(())
    }
}
