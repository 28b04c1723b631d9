//! A log in memory: real records, at real addresses, with a limit, a fuse and a master record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wal_format::body::Body;
use wal_format::{
    CheckpointPointer, Epoch, LogId, Lsn, RecordDraft, RecordKind, RecordRef, RecordSeed, TxnId,
    decode_record,
};

use crate::aries::{Effect, Tables};
use crate::error::RecoveryError;
use crate::txn_log::{Placed, TxnLog};

fn seed() -> RecordSeed {
    RecordSeed::new(LogId::from_bytes([7; 16]), Epoch::FIRST)
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inner {
    pub(super) records: BTreeMap<Lsn, Vec<u8>>,
    pub(super) end: Lsn,
    pub(super) durable: Lsn,
    /// Bytes that fit in all; no limit when `None`.
    pub(super) capacity: Option<u64>,
    pub(super) used: u64,
    pub(super) reserved: u64,
    /// Appends that still succeed; then the log is dead, as after a crash.
    pub(super) fuse: Option<u64>,
    /// Records of this kind get an address, and then the log fails.
    pub(super) fails_behind: Option<RecordKind>,
    /// Waits fail from now on.
    pub(super) poisoned: bool,
    pub(super) master: Option<CheckpointPointer>,
    /// Where the log was durable to when the master record was written.
    pub(super) durable_at_master: Lsn,
    pub(super) reads: Vec<Lsn>,
    pub(super) scans: u64,
    pub(super) waits: u64,
    /// Others commit all the while: what is appended becomes durable by their syncs.
    pub(super) others_commit: bool,
    /// How much was not durable at each ride.
    pub(super) rides: Vec<u64>,
}

/// Clones share the same log.
#[derive(Clone, Debug)]
pub(super) struct MemLog(pub(super) Arc<Mutex<Inner>>);

pub(super) fn dead() -> RecoveryError {
    RecoveryError::Log("the log is dead".into())
}

fn full() -> RecoveryError {
    RecoveryError::Log("the log is full".into())
}

impl MemLog {
    pub(super) fn new() -> Self {
        let inner = Inner { end: Lsn::FIRST, durable: Lsn::FIRST, ..Inner::default() };
        Self(Arc::new(Mutex::new(inner)))
    }

    pub(super) fn with_capacity(bytes: u64) -> Self {
        let log = Self::new();
        log.0.lock().capacity = Some(bytes);
        log
    }

    /// What is left of the log when only the records before `end` survive.
    pub(super) fn cut(&self, end: Lsn) -> Self {
        let old = self.0.lock();
        let mut inner = Inner {
            records: old.records.range(..end).map(|(lsn, bytes)| (*lsn, bytes.clone())).collect(),
            end: end.min(old.end),
            capacity: old.capacity,
            master: old.master,
            ..Inner::default()
        };
        inner.durable = inner.end;
        inner.used = inner.records.values().map(|bytes| bytes.len() as u64).sum();
        Self(Arc::new(Mutex::new(inner)))
    }

    /// The same log after a crash at which everything survived.
    pub(super) fn crashed(&self) -> Self {
        let end = self.0.lock().end;
        self.cut(end)
    }

    pub(super) fn as_log(&self) -> Arc<dyn TxnLog> {
        Arc::new(self.clone())
    }

    pub(super) fn burn_after(&self, appends: u64) {
        self.0.lock().fuse = Some(appends);
    }

    /// Appends a record without anybody's leave: what a defect would have written.
    pub(super) fn forge(&self, draft: &RecordDraft<'_>) -> Lsn {
        self.append(draft, &mut |_| {}).unwrap().lsn
    }

    /// Calls `each` with every record, in order.
    pub(super) fn each(&self, mut each: impl FnMut(&RecordRef<'_>, Option<Body<'_>>)) {
        let inner = self.0.lock().clone();
        for (lsn, bytes) in &inner.records {
            let record = decode_record(bytes, *lsn, &seed()).unwrap();
            let body = Body::decode(record.kind(), record.body).unwrap();
            each(&record, body);
        }
    }

    pub(super) fn kinds(&self) -> Vec<RecordKind> {
        let mut kinds = Vec::new();
        self.each(|record, _| kinds.push(record.kind()));
        kinds
    }

    pub(super) fn kinds_of(&self, txn: TxnId) -> Vec<RecordKind> {
        let mut kinds = Vec::new();
        self.each(|record, _| {
            if record.txn.is_some_and(|link| link.txn_id == txn) {
                kinds.push(record.kind());
            }
        });
        kinds
    }

    /// Addresses of the records of a kind.
    pub(super) fn all(&self, kind: RecordKind) -> Vec<Lsn> {
        let mut found = Vec::new();
        self.each(|record, _| {
            if record.kind() == kind {
                found.push(record.lsn());
            }
        });
        found
    }

    /// What the compensation records of the log compensate, dummies left out.
    pub(super) fn compensated(&self) -> Vec<Lsn> {
        let mut found = Vec::new();
        self.each(|_, body| match body {
            Some(Body::Clr(clr)) if !clr.compensated.is_none() => found.push(clr.compensated),
            _ => {}
        });
        found
    }

    /// The tables as an analysis from the head of the log rebuilds them.
    pub(super) fn tables(&self) -> Tables {
        let mut tables = Tables::default();
        self.each(|record, body| {
            let effect = body.as_ref().map_or(Effect::None, Effect::of);
            let txn = record.txn.map(|link| link.txn_id);
            if let Some(link) = record.txn {
                let last = tables.txns.get(link.txn_id).map_or(Lsn::NONE, |entry| entry.last_lsn);
                assert_eq!(link.prev_lsn, last, "statement 1: the chain leaves nothing out");
            }
            tables.record(record.lsn(), txn, effect).unwrap();
        });
        tables
    }
}

impl TxnLog for MemLog {
    fn append(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<Placed, RecoveryError> {
        let mut inner = self.0.lock();
        let bytes = draft.encoded_bytes();
        match &mut inner.fuse {
            Some(0) => return Err(dead()),
            Some(left) => *left -= 1,
            None => {}
        }
        if inner.capacity.is_some_and(|capacity| inner.used + bytes as u64 > capacity) {
            return Err(full());
        }
        let lsn = inner.end;
        let mut record = vec![0; bytes];
        draft.encode_into(&seed(), lsn, None, &mut record).unwrap();
        reserved(lsn);
        inner.records.insert(lsn, record);
        inner.used += bytes as u64;
        inner.end = lsn.checked_add(bytes as u64).unwrap();
        if inner.fails_behind == Some(draft.kind) {
            inner.poisoned = true;
            return Err(dead());
        }
        Ok(Placed { lsn, end: inner.end })
    }

    fn read<'b>(&self, lsn: Lsn, buf: &'b mut Vec<u8>) -> Result<RecordRef<'b>, RecoveryError> {
        let mut inner = self.0.lock();
        inner.reads.push(lsn);
        let end = inner.end;
        let record = inner.records.get(&lsn).ok_or(RecoveryError::BeyondEnd { lsn, end })?;
        buf.clone_from(record);
        Ok(decode_record(buf, lsn, &seed()).unwrap())
    }

    fn scan(
        &self,
        from: Lsn,
        visit: &mut dyn FnMut(&RecordRef<'_>) -> Result<(), RecoveryError>,
    ) -> Result<(), RecoveryError> {
        let records = {
            let mut inner = self.0.lock();
            inner.scans += 1;
            inner.records.range(from..).map(|(lsn, at)| (*lsn, at.clone())).collect::<Vec<_>>()
        };
        records
            .iter()
            .try_for_each(|(lsn, bytes)| visit(&decode_record(bytes, *lsn, &seed()).unwrap()))
    }

    fn wait_durable(&self, end: Lsn) -> Result<(), RecoveryError> {
        let mut inner = self.0.lock();
        inner.waits += 1;
        assert!(end <= inner.end.checked_add(8).unwrap(), "a wait for what will never be");
        if inner.poisoned || inner.fuse == Some(0) {
            return Err(dead());
        }
        inner.durable = inner.end;
        Ok(())
    }

    fn ride(&self, lsn: Lsn, _at_most: Duration) -> Result<bool, RecoveryError> {
        let mut inner = self.0.lock();
        let behind = inner.end.distance_from(inner.durable).unwrap();
        inner.rides.push(behind);
        if inner.others_commit {
            inner.durable = inner.end;
        }
        Ok(lsn < inner.durable)
    }

    fn end(&self) -> Lsn {
        self.0.lock().end
    }

    fn durable(&self) -> Lsn {
        self.0.lock().durable
    }

    fn body_bytes_max(&self) -> usize {
        1 << 16
    }

    fn reserve(&self, bytes: u64) -> Result<(), RecoveryError> {
        let mut inner = self.0.lock();
        let wanted = inner.used + inner.reserved + bytes;
        if inner.capacity.is_some_and(|capacity| wanted > capacity) {
            return Err(full());
        }
        inner.reserved += bytes;
        Ok(())
    }

    fn release(&self, bytes: u64) {
        let mut inner = self.0.lock();
        inner.reserved = inner.reserved.checked_sub(bytes).expect("more given back than was taken");
    }

    fn record_checkpoint(&self, pointer: CheckpointPointer) -> Result<(), RecoveryError> {
        let mut inner = self.0.lock();
        if inner.poisoned {
            return Err(dead());
        }
        inner.master = Some(pointer);
        inner.durable_at_master = inner.durable;
        Ok(())
    }

    fn unix_us(&self) -> u64 {
        0
    }
}
