//! What the tests of this crate share: one sample of every kind of record.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod annotate;

use wal_format::body::{
    Abort, Begin, Body, CheckpointBegin, CheckpointEnd, CheckpointPart, Clr, Commit, Compensation,
    DirtyPage, End, Logical, Opened, Outcome, Padding, PageFree, PageImage, Prepare, RestorePoint,
    Time, TxnEntry, TxnState, Update, Watermark,
};
use wal_format::{
    Epoch, LogId, Lsn, PageId, RecordDraft, RecordFlags, RecordKind, RecordSeed, TxnId, TxnLink,
};

/// The log of all samples: bytes 00 to 0f.
pub(crate) const LOG_ID: LogId =
    LogId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
/// The epoch of all samples: more than a record header can hold.
pub(crate) const EPOCH: Epoch = Epoch::new(0x0001_0002);
/// One hundred times "a", and the LZ4 block that stands for it, written out by hand: one literal,
/// a match of 94 bytes one byte back, five literals.
pub(crate) const RAW: [u8; 100] = [b'a'; 100];
pub(crate) const COMPRESSED: &[u8] = b"\x64\0\0\0\x1fa\x01\0\x4b\x50aaaaa";

pub(crate) fn lsn(raw: u64) -> Lsn {
    Lsn::new(raw).unwrap()
}

pub(crate) fn seed() -> RecordSeed {
    RecordSeed::new(LOG_ID, EPOCH)
}

/// A record to be written, in full.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) kind: RecordKind,
    pub(crate) flags: RecordFlags,
    pub(crate) txn: Option<TxnLink>,
    pub(crate) body: Vec<u8>,
}

impl Sample {
    fn raw(name: &'static str, what: &'static str, kind: RecordKind, body: &[u8]) -> Self {
        let flags = RecordFlags::NONE;
        Self { name, what, kind, flags, txn: None, body: body.to_vec() }
    }

    fn of(name: &'static str, what: &'static str, body: Body<'_>) -> Self {
        Self::raw(name, what, kind_of(&body), &encode_body(&body).unwrap())
    }

    fn in_txn(self, prev_lsn: Lsn) -> Self {
        Self { txn: Some(TxnLink { txn_id: TxnId::new(7), prev_lsn }), ..self }
    }

    fn flagged(self, flags: RecordFlags) -> Self {
        Self { flags: self.flags.with(flags), ..self }
    }

    /// The record at `lsn`, written while everything before the log's second block was durable.
    pub(crate) fn encode(&self, seed: &RecordSeed, lsn: Lsn) -> Vec<u8> {
        let parts = [&self.body[..]];
        let draft =
            RecordDraft { kind: self.kind, flags: self.flags, txn: self.txn, parts: &parts };
        let mut out = vec![0xee; draft.encoded_bytes()];
        let durable = (lsn >= Lsn::FIRST).then_some(Lsn::FIRST);
        let written = draft.encode_into(seed, lsn, durable, &mut out).unwrap();
        assert_eq!(written, out.len());
        out
    }
}

/// The bytes of a body; `None` when an entry of a checkpoint part is no entry.
pub(crate) fn encode_body(body: &Body<'_>) -> Option<Vec<u8>> {
    Some(match body {
        Body::Padding(padding) => vec![0; padding.bytes],
        Body::Opened(opened) => opened.encode().to_vec(),
        Body::Watermark(Watermark) | Body::Abort(Abort) => Vec::new(),
        Body::Begin(begin) => begin.encode().to_vec(),
        Body::Update(update) => update.parts(&update.encode_head()).concat(),
        Body::Logical(logical) => logical.parts(&logical.encode_head()).concat(),
        Body::Clr(clr) => clr.parts(&clr.encode_head()).concat(),
        Body::Commit(commit) => commit.encode().to_vec(),
        Body::Prepare(prepare) => prepare.parts(&prepare.encode_head().unwrap()).concat(),
        Body::End(end) => end.encode().to_vec(),
        Body::CheckpointBegin(begin) => begin.encode().to_vec(),
        Body::CheckpointPart(part) => {
            let txns = part.txns().collect::<Result<Vec<_>, _>>().ok()?;
            let pages = part.dirty_pages().collect::<Result<Vec<_>, _>>().ok()?;
            part_body(part.begin, part.index, &txns, &pages)
        }
        Body::CheckpointEnd(end) => end.parts(&end.encode_head()).concat(),
        Body::PageImage(image) => image.parts(&image.encode_head().unwrap()).concat(),
        Body::RestorePoint(point) => point.encode().unwrap().to_vec(),
        Body::PageFree(free) => free.encode().to_vec(),
        Body::Time(time) => time.encode().to_vec(),
        other => panic!("no encoder for {other:?}"),
    })
}

pub(crate) fn part_body(begin: Lsn, index: u32, txns: &[TxnEntry], pages: &[DirtyPage]) -> Vec<u8> {
    let mut body = Vec::new();
    CheckpointPart::encode_into(begin, index, txns, pages, &mut body).unwrap();
    body
}

fn kind_of(body: &Body<'_>) -> RecordKind {
    match body {
        Body::Padding(_) => RecordKind::PADDING,
        Body::Opened(_) => RecordKind::OPENED,
        Body::Watermark(_) => RecordKind::WATERMARK,
        Body::Begin(_) => RecordKind::BEGIN,
        Body::Update(_) => RecordKind::UPDATE,
        Body::Logical(_) => RecordKind::LOGICAL,
        Body::Clr(_) => RecordKind::CLR,
        Body::Commit(_) => RecordKind::COMMIT,
        Body::Abort(_) => RecordKind::ABORT,
        Body::Prepare(_) => RecordKind::PREPARE,
        Body::End(_) => RecordKind::END,
        Body::CheckpointBegin(_) => RecordKind::CHECKPOINT_BEGIN,
        Body::CheckpointPart(_) => RecordKind::CHECKPOINT_PART,
        Body::CheckpointEnd(_) => RecordKind::CHECKPOINT_END,
        Body::PageImage(_) => RecordKind::PAGE_IMAGE,
        Body::RestorePoint(_) => RecordKind::RESTORE_POINT,
        Body::PageFree(_) => RecordKind::PAGE_FREE,
        Body::Time(_) => RecordKind::TIME,
        other => panic!("no kind for {other:?}"),
    }
}

/// One sample of every kind of record, and of every form that a kind takes.
pub(crate) fn samples() -> Vec<Sample> {
    let mut all = housekeeping_and_data();
    all.extend(transactions());
    all.extend(checkpoints_and_pages());
    all
}

fn housekeeping_and_data() -> Vec<Sample> {
    let opened =
        Opened { epoch: EPOCH, previous_end: lsn(4096), opened_unix_us: 1_700_000_000_000_000 };
    vec![
        Sample::of("opened", "the first record of an opening", Body::Opened(opened)),
        Sample::raw(
            "data",
            "an opaque body of the engine's",
            RecordKind::DATA,
            b"order 17: 3 x tea",
        ),
        Sample::raw("data-empty", "an empty body", RecordKind::DATA, b""),
        Sample::raw(
            "engine-skippable",
            "a kind of the engine's own in the range that old readers skip",
            RecordKind::new(0xc5).unwrap(),
            b"hint",
        ),
        Sample::raw(
            "data-compressed",
            "one hundred times the letter a",
            RecordKind::DATA,
            COMPRESSED,
        )
        .flagged(RecordFlags::COMPRESSED),
        Sample::of("padding", "16 bytes of nothing", Body::Padding(Padding { bytes: 16 })),
        Sample::of("watermark", "says only what is durable", Body::Watermark(Watermark)),
        Sample::of(
            "time",
            "what time it was; old readers pass over it",
            Body::Time(Time { unix_us: 1_700_000_000_000_002 }),
        ),
    ]
}

fn transactions() -> Vec<Sample> {
    let update = Update { page: PageId::new(3), offset: 128, before: b"tea", after: b"rum" };
    let logical = Logical { page: PageId::NONE, operation: 12, redo: b"put k", undo: b"delete k" };
    let put_back = Compensation::Bytes { page: PageId::new(3), offset: 128, image: b"tea" };
    let elsewhere =
        Compensation::Logical { page: PageId::new(4), operation: 13, redo: b"delete k" };
    let undone = |action| Clr { undo_next: lsn(4096), compensated: lsn(4104), action };
    let prepare = Prepare { rollback_bytes: 1234, global_id: b"branch-1", locks: b"\x01row 9" };
    let prev = lsn(4096);
    vec![
        Sample::of("begin", "a transaction begins", Body::Begin(Begin { isolation: 3 }))
            .in_txn(Lsn::NONE),
        Sample::of("update", "three bytes of a page change", Body::Update(update)).in_txn(prev),
        Sample::of("logical", "an operation on no page", Body::Logical(logical)).in_txn(prev),
        Sample::of("clr-bytes", "puts bytes back", Body::Clr(undone(put_back))).in_txn(prev),
        Sample::of("clr-logical", "compensates on another page", Body::Clr(undone(elsewhere)))
            .in_txn(prev),
        Sample::of(
            "clr-dummy",
            "ends a nested top action",
            Body::Clr(Clr::end_of_nested_top_action(prev)),
        )
        .in_txn(prev),
        Sample::of("commit", "committed", Body::Commit(Commit { timestamp: 42 })).in_txn(prev),
        Sample::of("abort", "rolling back", Body::Abort(Abort)).in_txn(prev),
        Sample::of("prepare", "in doubt", Body::Prepare(prepare)).in_txn(prev),
        Sample::of("end", "nothing left to do", Body::End(End { outcome: Outcome::RolledBack }))
            .in_txn(prev),
    ]
}

fn checkpoints_and_pages() -> Vec<Sample> {
    let begun = CheckpointBegin { begun_unix_us: 1_700_000_000_000_001 };
    let end = CheckpointEnd { begin: lsn(4184), redo_from: lsn(4096), payload: b"snapshot 1" };
    let image = PageImage { page: PageId::new(3), image: &[0xa5; 20] };
    let point = RestorePoint { name: "before the migration" };
    vec![
        Sample::of("checkpoint-begin", "a checkpoint begins", Body::CheckpointBegin(begun)),
        Sample::raw(
            "checkpoint-part",
            "two transactions, one of them in doubt, and one dirty page",
            RecordKind::CHECKPOINT_PART,
            &part_body(lsn(4184), 0, &txn_entries(), &dirty_pages()),
        ),
        Sample::of("checkpoint-end", "the checkpoint is complete", Body::CheckpointEnd(end)),
        Sample::of("page-image", "a whole (small) page", Body::PageImage(image)),
        Sample::of("restore-point", "a place with a name", Body::RestorePoint(point)),
        Sample::of(
            "page-free",
            "the page's life is over",
            Body::PageFree(PageFree { page: PageId::new(3) }),
        ),
    ]
}

pub(crate) fn txn_entries() -> [TxnEntry; 2] {
    let active = TxnEntry {
        txn_id: TxnId::new(7),
        state: TxnState::RollingBack,
        first_lsn: lsn(4096),
        last_lsn: lsn(4160),
        undo_next: lsn(4128),
        prepare_lsn: Lsn::NONE,
    };
    let prepared = TxnEntry {
        txn_id: TxnId::new(8),
        state: TxnState::Prepared,
        prepare_lsn: lsn(4168),
        last_lsn: lsn(4168),
        ..active
    };
    [active, prepared]
}

pub(crate) fn dirty_pages() -> [DirtyPage; 1] {
    [DirtyPage { page: PageId::new(3), rec_lsn: lsn(4112) }]
}

/// All samples one after another, from address `start` on, and where each record starts.
pub(crate) fn log_of_samples(start: Lsn) -> (Vec<u8>, Vec<usize>) {
    let (mut log, mut starts) = (Vec::new(), Vec::new());
    for sample in samples() {
        starts.push(log.len());
        let at = start.checked_add(log.len() as u64).unwrap();
        log.extend(sample.encode(&seed(), at));
    }
    (log, starts)
}
