//! Logs and pages for the tests of ARIES: records made by hand, and an engine of plain arrays.
#![allow(dead_code, reason = "each test file uses its own part of this one")]

#[path = "../log_builder/mod.rs"]
pub(crate) mod log_builder;

mod toy;

use std::sync::{Arc, Mutex};

use wal_format::body::{
    AriesEnd, Begin, CheckpointBegin, CheckpointEnd, CheckpointPart, Clr, Compensation, DirtyPage,
    End, Logical, Outcome, PageFree, PageImage, Prepare, TxnEntry, TxnState, Update,
};
use wal_format::{
    CheckpointPointer, Lsn, PageId, RecordDraft, RecordFlags, RecordKind, RecordRef, TxnId,
    decode_record,
};
use wal_recovery::aries::{Aries, PageStore, Placed, TxnLog, TxnManager};
use wal_recovery::{RecoveryError, RecoveryLog, RecoveryReport, RecoveryStrategy};

#[allow(unused_imports, reason = "each test file uses its own part")]
pub(crate) use log_builder::{Built, LogBuilder, Txn, lsn, txn};
#[allow(unused_imports, reason = "each test file uses its own part")]
pub(crate) use toy::{ADD, PAGE_BYTES, Toy, ToyPage};

pub(crate) const SEGMENT_BYTES: u64 = 64 << 10;

pub(crate) fn page(number: u64) -> PageId {
    PageId::new(number)
}

/// Records of transactions on pages.
pub(crate) trait AriesLog {
    fn begin(&mut self, txn: &mut Txn) -> Lsn;
    /// One byte of a page, before and after.
    fn update(&mut self, txn: &mut Txn, page: u64, offset: u32, before: u8, after: u8) -> Lsn;
    fn logical(&mut self, txn: &mut Txn, page: u64, by: u8) -> Lsn;
    /// Puts `byte` back, as compensation of `compensated`; undo goes on at `undo_next`.
    fn clr(
        &mut self,
        txn: &mut Txn,
        undo_next: Lsn,
        compensated: Lsn,
        change: (u64, u32, u8),
    ) -> Lsn;
    fn prepare(&mut self, txn: &mut Txn, global_id: &str) -> Lsn;
    fn end(&mut self, txn: &mut Txn, outcome: Outcome) -> Lsn;
    fn image(&mut self, page: u64, bytes: &[u8]) -> Lsn;
    fn free(&mut self, page: u64) -> Lsn;
    fn checkpoint_begin(&mut self) -> Lsn;
    fn part(&mut self, begin: Lsn, index: u32, txns: &[TxnEntry], pages: &[(u64, Lsn)]) -> Lsn;
    fn checkpoint_end(&mut self, begin: Lsn, redo_from: Lsn, parts: u32) -> CheckpointPointer;
    /// Begin, one part, end.
    fn whole_checkpoint(&mut self, txns: &[TxnEntry], pages: &[(u64, Lsn)]) -> CheckpointPointer;
}

impl AriesLog for LogBuilder {
    fn begin(&mut self, txn: &mut Txn) -> Lsn {
        let body = Begin::default().encode();
        self.in_txn(txn, RecordKind::BEGIN, &body, RecordFlags::NONE)
    }

    fn update(&mut self, txn: &mut Txn, page: u64, offset: u32, before: u8, after: u8) -> Lsn {
        let (before, after) = ([before], [after]);
        let update = Update { page: PageId::new(page), offset, before: &before, after: &after };
        let body = update.parts(&update.encode_head()).concat();
        self.in_txn(txn, RecordKind::UPDATE, &body, RecordFlags::NONE)
    }

    fn logical(&mut self, txn: &mut Txn, page: u64, by: u8) -> Lsn {
        let (redo, undo) = ([by], [by.wrapping_neg()]);
        let page = PageId::new(page);
        let logical = Logical { page, operation: ADD, redo: &redo, undo: &undo };
        let body = logical.parts(&logical.encode_head()).concat();
        self.in_txn(txn, RecordKind::LOGICAL, &body, RecordFlags::NONE)
    }

    fn clr(
        &mut self,
        txn: &mut Txn,
        undo_next: Lsn,
        compensated: Lsn,
        (page, offset, byte): (u64, u32, u8),
    ) -> Lsn {
        let image = [byte];
        let action = Compensation::Bytes { page: PageId::new(page), offset, image: &image };
        let clr = Clr { undo_next, compensated, action };
        let body = clr.parts(&clr.encode_head()).concat();
        self.in_txn(txn, RecordKind::CLR, &body, RecordFlags::NONE)
    }

    fn prepare(&mut self, txn: &mut Txn, global_id: &str) -> Lsn {
        let (global_id, locks) = (global_id.as_bytes(), &b"locks"[..]);
        let prepare = Prepare { rollback_bytes: 1 << 10, global_id, locks };
        let body = prepare.parts(&prepare.encode_head().unwrap()).concat();
        self.in_txn(txn, RecordKind::PREPARE, &body, RecordFlags::NONE)
    }

    fn end(&mut self, txn: &mut Txn, outcome: Outcome) -> Lsn {
        let body = End { outcome }.encode();
        self.in_txn(txn, RecordKind::END, &body, RecordFlags::NONE)
    }

    fn image(&mut self, page: u64, bytes: &[u8]) -> Lsn {
        let image = PageImage { page: PageId::new(page), image: bytes };
        let body = image.parts(&image.encode_head().unwrap()).concat();
        self.kind(RecordKind::PAGE_IMAGE, &body)
    }

    fn free(&mut self, page: u64) -> Lsn {
        self.kind(RecordKind::PAGE_FREE, &PageFree { page: PageId::new(page) }.encode())
    }

    fn checkpoint_begin(&mut self) -> Lsn {
        self.kind(RecordKind::CHECKPOINT_BEGIN, &CheckpointBegin::default().encode())
    }

    fn part(&mut self, begin: Lsn, index: u32, txns: &[TxnEntry], pages: &[(u64, Lsn)]) -> Lsn {
        let dirty = |&(page, rec_lsn): &(u64, Lsn)| DirtyPage { page: PageId::new(page), rec_lsn };
        let pages: Vec<_> = pages.iter().map(dirty).collect();
        let mut body = Vec::new();
        CheckpointPart::encode_into(begin, index, txns, &pages, &mut body).unwrap();
        self.kind(RecordKind::CHECKPOINT_PART, &body)
    }

    fn checkpoint_end(&mut self, begin: Lsn, redo_from: Lsn, parts: u32) -> CheckpointPointer {
        let end = AriesEnd { parts, next_txn_id: 100, engine: b"the engine's" };
        let payload = end.parts(&end.encode_head()).concat();
        let end = CheckpointEnd { begin, redo_from, payload: &payload };
        let head = end.encode_head();
        let record = self.draft(RecordDraft::new(RecordKind::CHECKPOINT_END, &end.parts(&head)));
        let pointer = CheckpointPointer { begin, redo_from, record, end: self.at() };
        self.name_checkpoint(pointer);
        pointer
    }

    fn whole_checkpoint(&mut self, txns: &[TxnEntry], pages: &[(u64, Lsn)]) -> CheckpointPointer {
        let begin = self.checkpoint_begin();
        self.part(begin, 0, txns, pages);
        let firsts = txns.iter().map(|entry| entry.first_lsn);
        let needed = firsts.chain(pages.iter().map(|(_, rec_lsn)| *rec_lsn)).min();
        self.checkpoint_end(begin, needed.map_or(begin, |needed| needed.min(begin)), 1)
    }
}

/// An entry of the transaction table.
pub(crate) fn entry(txn: &Txn, state: TxnState, first: Lsn, undo_next: Lsn) -> TxnEntry {
    TxnEntry {
        txn_id: txn.id,
        state,
        first_lsn: first,
        last_lsn: txn.last,
        undo_next,
        prepare_lsn: Lsn::NONE,
    }
}

/// Analysis and redo, on one thread.
pub(crate) fn recover(built: &Built, pages: &mut Toy) -> Result<RecoveryReport, RecoveryError> {
    recover_with(Aries::new(), built, pages).1
}

pub(crate) fn recover_with(
    mut aries: Aries,
    built: &Built,
    pages: &mut impl PageStore,
) -> (Aries, Result<RecoveryReport, RecoveryError>) {
    let source = built.source();
    let log = RecoveryLog::new(&source, built.range())
        .with_checkpoint(built.checkpoints.last().copied())
        .with_checkpoints(&built.checkpoints);
    let report = aries.recover(&log, pages, &mut ());
    (aries, report)
}

/// A log that runs: what is appended goes on where a built one ends.
#[derive(Clone, Debug)]
pub(crate) struct Running(pub(crate) Arc<Mutex<RunningInner>>);

#[derive(Debug)]
pub(crate) struct RunningInner {
    pub(crate) builder: LogBuilder,
    /// Appends that still succeed; none fails when it is `None`.
    pub(crate) fuse: Option<u64>,
    /// Records by kind, in order.
    pub(crate) appended: Vec<RecordKind>,
    pub(crate) reads: u64,
    pub(crate) master: Option<CheckpointPointer>,
}

impl Running {
    pub(crate) fn new(builder: LogBuilder) -> Self {
        let inner =
            RunningInner { builder, fuse: None, appended: Vec::new(), reads: 0, master: None };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// The log as a crash leaves it, everything appended included.
    pub(crate) fn built(&self) -> Built {
        self.0.lock().unwrap().builder.clone().finish()
    }

    pub(crate) fn count(&self, kind: RecordKind) -> usize {
        self.0.lock().unwrap().appended.iter().filter(|appended| **appended == kind).count()
    }
}

impl TxnLog for Running {
    fn append(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<Placed, RecoveryError> {
        let mut inner = self.0.lock().unwrap();
        match &mut inner.fuse {
            Some(0) => return Err(RecoveryError::Log("the log is dead".into())),
            Some(left) => *left -= 1,
            None => {}
        }
        let lsn = inner.builder.draft(*draft);
        inner.appended.push(draft.kind);
        reserved(lsn);
        Ok(Placed { lsn, end: inner.builder.at() })
    }

    fn read<'b>(&self, lsn: Lsn, buf: &'b mut Vec<u8>) -> Result<RecordRef<'b>, RecoveryError> {
        let mut inner = self.0.lock().unwrap();
        inner.reads += 1;
        let bytes = inner.builder.bytes_at(lsn).expect("an address in the log");
        buf.clear();
        buf.extend_from_slice(bytes);
        Ok(decode_record(buf, lsn, &inner.builder.seed()).expect("a record of this opening"))
    }

    fn scan(
        &self,
        from: Lsn,
        visit: &mut dyn FnMut(&RecordRef<'_>) -> Result<(), RecoveryError>,
    ) -> Result<(), RecoveryError> {
        let built = self.built();
        let mut range = built.range();
        range.start = range.start.max(from);
        let mut scanner = built.source().scan(range);
        while let wal_recovery::Step::Record(record) = scanner.next()? {
            visit(&record)?;
        }
        Ok(())
    }

    fn wait_durable(&self, _end: Lsn) -> Result<(), RecoveryError> {
        match self.0.lock().unwrap().fuse {
            Some(0) => Err(RecoveryError::Log("the log is dead".into())),
            _ => Ok(()),
        }
    }

    fn end(&self) -> Lsn {
        self.0.lock().unwrap().builder.at()
    }

    fn durable(&self) -> Lsn {
        self.end()
    }

    fn body_bytes_max(&self) -> usize {
        1 << 20
    }

    fn reserve(&self, _bytes: u64) -> Result<(), RecoveryError> {
        Ok(())
    }

    fn release(&self, _bytes: u64) {}

    fn record_checkpoint(&self, pointer: CheckpointPointer) -> Result<(), RecoveryError> {
        let mut inner = self.0.lock().unwrap();
        inner.master = Some(pointer);
        inner.builder.name_checkpoint(pointer);
        Ok(())
    }

    fn unix_us(&self) -> u64 {
        0
    }
}

/// A whole restart: both halves, over a log that goes on.
pub(crate) fn restart(
    aries: Aries,
    running: &Running,
    pages: &mut impl PageStore,
) -> Result<(RecoveryReport, Arc<TxnManager>), RecoveryError> {
    let (mut aries, report) = recover_with(aries, &running.built(), pages);
    let mut report = report?;
    let log: Arc<dyn TxnLog> = Arc::new(running.clone());
    aries.finish(&log, pages, &mut report, &mut ())?;
    Ok((report, aries.into_manager().expect("a manager after the restart")))
}

/// The transactions that a manager knows.
pub(crate) fn known(manager: &TxnManager) -> Vec<TxnId> {
    manager.tables().txns.iter().map(|entry| entry.txn_id).collect()
}
