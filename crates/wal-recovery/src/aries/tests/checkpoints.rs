//! Statements 10 to 15: fuzzy checkpoints, and what they say the log is needed for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wal_format::body::{AriesEnd, Body, CheckpointEnd, DirtyPage, TxnEntry, TxnState};
use wal_format::{CheckpointPointer, Lsn, PageId, RecordDraft, RecordKind, RecordRef};

use super::log::MemLog;
use super::restart::{Bench, OTHER, PAGE};
use crate::aries::reservation::{ENGINE_PAYLOAD_BYTES, checkpoint_bytes};
use crate::aries::{Effect, Tables, Txn, TxnManager};
use crate::error::RecoveryError;
use crate::txn_log::{Placed, TxnLog};

/// What a checkpoint holds.
#[derive(Debug, Default)]
struct Held {
    parts: Vec<u32>,
    txns: Vec<TxnEntry>,
    pages: Vec<DirtyPage>,
    engine: Vec<u8>,
    named: u32,
    next_txn_id: u64,
}

fn held(log: &MemLog, pointer: &CheckpointPointer) -> Held {
    let mut held = Held::default();
    log.each(|record, body| match body {
        Some(Body::CheckpointPart(part)) if part.begin == pointer.begin => {
            assert!(pointer.begin < record.lsn() && record.lsn() < pointer.record);
            held.parts.push(part.index);
            held.txns.extend(part.txns().map(Result::unwrap));
            held.pages.extend(part.dirty_pages().map(Result::unwrap));
        }
        Some(Body::CheckpointEnd(CheckpointEnd { begin, redo_from, payload }))
            if begin == pointer.begin =>
        {
            assert_eq!((record.lsn(), redo_from), (pointer.record, pointer.redo_from));
            let end = AriesEnd::decode(payload).unwrap();
            held.engine = end.engine.to_vec();
            (held.named, held.next_txn_id) = (end.parts, end.next_txn_id);
        }
        _ => {}
    });
    held
}

#[test]
fn a10_the_tables_go_into_as_many_parts_as_they_need() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    for page in 0..2_500 {
        txn.log_update(PageId::new(page), 0, &[0], &[1]).unwrap();
    }
    let pointer = bench.manager.checkpoint(b"root 7").unwrap();
    let held = held(&bench.log, &pointer);
    let parts: Vec<_> = (0..11).collect();
    assert_eq!(held.parts, parts, "one of transactions, ten of pages");
    assert_eq!((held.named, held.engine.as_slice()), (11, &b"root 7"[..]));
    assert_eq!(held.next_txn_id, txn.id().get() + 1);
    let tables = bench.manager.tables();
    assert_eq!(held.pages, tables.dirty.iter().collect::<Vec<_>>());
    assert_eq!(held.txns, tables.txns.iter().copied().collect::<Vec<_>>());
}

/// A log on which somebody else works between any two records of a checkpoint.
struct Meddled {
    log: MemLog,
    part: Box<dyn Fn(&MemLog) + Send + Sync>,
}

impl std::fmt::Debug for Meddled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("meddling")
    }
}

impl TxnLog for Meddled {
    fn append(
        &self,
        draft: &RecordDraft<'_>,
        reserved: &mut dyn FnMut(Lsn),
    ) -> Result<Placed, RecoveryError> {
        let placed = self.log.append(draft, reserved)?;
        if matches!(draft.kind, RecordKind::CHECKPOINT_BEGIN | RecordKind::CHECKPOINT_PART) {
            (self.part)(&self.log);
        }
        Ok(placed)
    }

    fn read<'b>(&self, lsn: Lsn, buf: &'b mut Vec<u8>) -> Result<RecordRef<'b>, RecoveryError> {
        self.log.read(lsn, buf)
    }

    fn wait_durable(&self, end: Lsn) -> Result<(), RecoveryError> {
        self.log.wait_durable(end)
    }

    fn ride(&self, lsn: Lsn, at_most: Duration) -> Result<bool, RecoveryError> {
        self.log.ride(lsn, at_most)
    }

    fn end(&self) -> Lsn {
        self.log.end()
    }

    fn durable(&self) -> Lsn {
        self.log.durable()
    }

    fn body_bytes_max(&self) -> usize {
        self.log.body_bytes_max()
    }

    fn reserve(&self, bytes: u64) -> Result<(), RecoveryError> {
        self.log.reserve(bytes)
    }

    fn release(&self, bytes: u64) {
        self.log.release(bytes);
    }

    fn record_checkpoint(&self, pointer: CheckpointPointer) -> Result<(), RecoveryError> {
        self.log.record_checkpoint(pointer)
    }

    fn unix_us(&self) -> u64 {
        0
    }
}

/// What a restart from the checkpoint knows: its parts, and every record behind its begin.
fn analysed(log: &MemLog, pointer: &CheckpointPointer) -> Tables {
    let held = held(log, pointer);
    let mut tables = Tables::default();
    held.txns.iter().for_each(|entry| tables.txns.insert(*entry));
    let copied = tables.txns.clone();
    log.each(|record, body| {
        let (lsn, txn) = (record.lsn(), record.txn.map(|link| link.txn_id));
        let old = txn.and_then(|txn| copied.get(txn)).is_some_and(|entry| lsn <= entry.last_lsn);
        if lsn < pointer.begin {
            return;
        }
        let effect = body.as_ref().map_or(Effect::None, Effect::of);
        if old || tables.record(lsn, txn, effect).is_err() {
            tables.record_page(lsn, effect);
        }
    });
    held.pages.iter().for_each(|dirt| tables.dirty.merge(dirt.page, dirt.rec_lsn));
    tables
}

#[test]
fn a10_updates_go_on_while_a_checkpoint_is_taken_and_none_is_missed() {
    let log = MemLog::new();
    let meddler: Arc<parking_lot::Mutex<Option<Arc<TxnManager>>>> = Arc::default();
    let left_running: Arc<parking_lot::Mutex<Vec<Txn>>> = Arc::default();
    let (theirs, kept) = (Arc::clone(&meddler), Arc::clone(&left_running));
    let part = move |_: &MemLog| {
        let manager = theirs.lock().clone().unwrap();
        let mut txn = manager.begin(0);
        // Pages before, among and behind those which are copied.
        for page in [1, 1_400, 9_000] {
            txn.log_update(PageId::new(page), 0, &[1], &[2]).unwrap();
        }
        txn.commit(0).unwrap();
        let mut running = manager.begin(0);
        running.log_update(PageId::new(9_001), 0, &[1], &[2]).unwrap();
        kept.lock().push(running);
    };
    let meddled = Meddled { log: log.clone(), part: Box::new(part) };
    let manager = TxnManager::new(Arc::new(meddled));
    *meddler.lock() = Some(Arc::clone(&manager));
    let mut txn = manager.begin(0);
    for page in 0..2_500 {
        txn.log_update(PageId::new(page), 0, &[0], &[1]).unwrap();
    }
    let pointer = manager.checkpoint(b"").unwrap();
    let (found, real) = (analysed(&log, &pointer), manager.tables());
    assert_eq!(found.txns.iter().collect::<Vec<_>>(), real.txns.iter().collect::<Vec<_>>());
    for dirt in real.dirty.iter() {
        let rec_lsn = found.dirty.rec_lsn(dirt.page).expect("a dirty page is missed");
        assert!(rec_lsn <= dirt.rec_lsn && pointer.redo_from <= rec_lsn, "{dirt:?}");
    }
    // Both hold the manager, which holds the log, which holds them.
    meddler.lock().take();
    drop(std::mem::take(&mut *left_running.lock()));
}

#[test]
fn a10_a_large_checkpoint_never_puts_much_before_the_commits_of_others() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    for page in 0..20_000 {
        txn.log_update(PageId::new(page), 0, &[], &[1]).unwrap();
    }
    bench.manager.log().wait_durable(bench.log.end()).unwrap();
    let waits = bench.log.0.lock().waits;
    let begin = bench.manager.checkpoint(b"").unwrap().begin;
    let bytes = bench.log.end().distance_from(begin).unwrap();
    assert!(bytes > 20_000 * 16, "{bytes} bytes");
    let waits = bench.log.0.lock().waits - waits;
    assert!(waits >= bytes / (96 << 10), "{waits} waits for {bytes} bytes");
}

#[test]
fn a10_a_checkpoint_beside_commits_asks_for_no_sync_before_its_last_record() {
    let bench = Bench::new();
    bench.manager.checkpoint(b"").unwrap();
    let mut txn = bench.begin();
    for page in 0..20_000 {
        txn.log_update(PageId::new(page), 0, &[], &[1]).unwrap();
    }
    bench.manager.log().wait_durable(bench.log.end()).unwrap();
    let waits = {
        let mut inner = bench.log.0.lock();
        inner.others_commit = true;
        inner.waits
    };
    let pointer = bench.manager.checkpoint(b"").unwrap();
    let inner = bench.log.0.lock();
    assert_eq!(
        inner.waits - waits,
        1,
        "the end record must be durable; nothing else is waited for"
    );
    assert!(inner.durable_at_master >= pointer.end);
    let most = inner.rides.iter().max().copied().unwrap_or_default();
    assert!(most < 9 << 10, "{most} bytes of it in one group of somebody else's");
}

/// A log whose restart is over, with so many dirty pages, and all of it durable.
fn many_dirty(pages: u64) -> (Bench, Txn) {
    let bench = Bench::new();
    bench.manager.checkpoint(b"").unwrap();
    let mut txn = bench.begin();
    for page in 0..pages {
        txn.log_update(PageId::new(page), 0, &[], &[1]).unwrap();
    }
    bench.manager.log().wait_durable(bench.log.end()).unwrap();
    (bench, txn)
}

#[test]
fn a10_a_checkpoint_goes_on_in_larger_steps_where_nobody_commits() {
    let (bench, _txn) = many_dirty(20_000);
    let waits = bench.log.0.lock().waits;
    let begin = bench.manager.checkpoint(b"").unwrap().begin;
    let bytes = bench.log.end().distance_from(begin).unwrap();
    let inner = bench.log.0.lock();
    assert_eq!(inner.rides.len(), 1, "it looks out for others once, and nobody came");
    assert!(inner.waits - waits <= bytes / (64 << 10) + 2, "{} waits", inner.waits - waits);
}

#[test]
fn a10_a_checkpoint_of_few_entries_looks_out_for_nobody() {
    let (bench, _txn) = many_dirty(200);
    let waits = bench.log.0.lock().waits;
    bench.manager.checkpoint(b"").unwrap();
    let inner = bench.log.0.lock();
    assert_eq!((inner.rides.len(), inner.waits - waits), (0, 1));
}

#[test]
fn a30_the_checkpoint_that_ends_a_restart_looks_out_for_nobody() {
    let (bench, txn) = many_dirty(20_000);
    txn.commit(0).unwrap();
    let (after, _) = bench.restart();
    after.manager.checkpoint(b"").unwrap();
    assert!(after.log.0.lock().rides.is_empty(), "nobody else has the log yet");
}

#[test]
fn a10_a_checkpoint_that_was_alone_notices_who_comes() {
    let log = MemLog::new();
    let parts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&parts);
    let part = move |log: &MemLog| {
        // From some part on somebody commits all the while.
        if counted.fetch_add(1, Ordering::Relaxed) >= 45 {
            log.forge(&RecordDraft::new(RecordKind::engine(0).unwrap(), &[b"row"]));
            log.0.lock().others_commit = true;
        }
    };
    let manager = TxnManager::new(Arc::new(Meddled { log: log.clone(), part: Box::new(part) }));
    manager.checkpoint(b"").unwrap();
    let mut txn = manager.begin(0);
    for page in 0..40_000 {
        txn.log_update(PageId::new(page), 0, &[], &[1]).unwrap();
    }
    manager.log().wait_durable(log.end()).unwrap();
    parts.store(0, Ordering::Relaxed);
    let waits = log.0.lock().waits;
    manager.checkpoint(b"").unwrap();
    let inner = log.0.lock();
    assert!(inner.rides.len() > 20, "of {parts:?} parts only {} rode", inner.rides.len());
    let with_others = inner.rides.last().copied().unwrap();
    assert!(with_others < 9 << 10, "{with_others} bytes at a time beside others");
    assert!(inner.waits - waits <= 5, "{} syncs of its own", inner.waits - waits);
}

#[test]
fn a09_a_checkpoint_takes_no_more_than_is_kept_for_one() {
    for (txns, pages) in [(0, 1), (1, 249), (1, 250), (249, 251), (251, 500), (600, 1_751)] {
        let bench = Bench::new();
        let mut running: Vec<_> = (0..txns.max(1)).map(|_| bench.begin()).collect();
        let count = running.len();
        for page in 0..pages.max(txns as u64) {
            let txn = &mut running[page as usize % count];
            txn.log_update(PageId::new(page % pages), 0, &[], &[1]).unwrap();
        }
        let tables = bench.manager.tables();
        let kept = checkpoint_bytes(tables.txns.len(), tables.dirty.len());
        let pointer = bench.manager.checkpoint(&[7; ENGINE_PAYLOAD_BYTES]).unwrap();
        let took = pointer.end.distance_from(pointer.begin).unwrap();
        assert!(took <= kept, "{took} bytes, and {kept} kept, of {txns} and {pages} entries");
    }
}

#[test]
fn a11_the_master_record_changes_only_after_the_end_record_is_durable() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let pointer = bench.manager.checkpoint(b"").unwrap();
    let inner = bench.log.0.lock();
    assert_eq!(inner.master, Some(pointer));
    assert!(inner.durable_at_master >= pointer.end);
}

#[test]
fn a11_a_checkpoint_cut_short_leaves_the_master_record_alone() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    let first = bench.manager.checkpoint(b"").unwrap();
    for appends in 0..4 {
        bench.log.burn_after(appends);
        assert!(bench.manager.checkpoint(b"").is_err(), "cut after {appends} records");
        assert_eq!(bench.log.0.lock().master, Some(first));
    }
    bench.log.0.lock().fuse = None;
    bench.log.0.lock().poisoned = true;
    assert!(bench.manager.checkpoint(b"").is_err(), "complete, but not durable");
    assert_eq!(bench.log.0.lock().master, Some(first));
}

#[test]
fn a12_a_begin_without_an_end_hinders_no_later_checkpoint() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    bench.log.burn_after(2);
    assert!(bench.manager.checkpoint(b"").is_err());
    bench.log.0.lock().fuse = None;
    let pointer = bench.manager.checkpoint(b"").unwrap();
    let held = held(&bench.log, &pointer);
    assert_eq!((held.parts.as_slice(), held.named), (&[0, 1][..], 2), "none of the one cut short");
}

#[test]
fn a13_every_state_is_kept_as_it_is_and_what_ended_is_left_out() {
    let bench = Bench::new();
    let [mut active, mut rolling, mut prepared, mut committed, mut ended] =
        std::array::from_fn(|_| bench.begin());
    let txns = [&mut active, &mut rolling, &mut prepared, &mut committed, &mut ended];
    for (cell, txn) in (0..).zip(txns) {
        bench.set(txn, PAGE, cell, 1);
        bench.set(txn, PAGE, cell, 2);
    }
    let (active_id, rolling_id) = (active.id(), rolling.id());
    ended.commit(0).unwrap();
    let prepare_lsn = prepared.prepare(b"bank-7", b"lock").unwrap();
    // The engine fails in the middle of a rollback.
    bench.pages.0.lock().fuse = Some(1);
    assert!(rolling.abort(&mut bench.pages.clone()).is_err());
    let ordered = committed.commit_ordered(0).unwrap();
    let pointer = bench.manager.checkpoint(b"").unwrap();
    let held = held(&bench.log, &pointer);
    let states: Vec<_> = held.txns.iter().map(|entry| (entry.txn_id, entry.state)).collect();
    assert_eq!(
        states,
        [
            (active_id, TxnState::Active),
            (rolling_id, TxnState::RollingBack),
            (prepared.id(), TxnState::Prepared),
            (ordered.txn(), TxnState::Committed),
        ]
    );
    assert_eq!(held.txns[2].prepare_lsn, prepare_lsn);
    let last_clr = bench.log.all(RecordKind::CLR)[1];
    assert_eq!(held.txns[1].last_lsn, last_clr);
    assert!(held.txns[1].undo_next < held.txns[1].last_lsn);
    drop(active);
}

#[test]
fn a14_the_dirty_page_table_has_the_very_address_of_each_record() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    let first = bench.set(&mut txn, PAGE, 0, 1);
    let second = bench.set(&mut txn, OTHER, 0, 1);
    bench.set(&mut txn, PAGE, 1, 1);
    let dirty = bench.manager.tables().dirty;
    assert_eq!((dirty.rec_lsn(PAGE), dirty.rec_lsn(OTHER)), (Some(first), Some(second)));
    assert_eq!(bench.manager.tables(), bench.log.tables(), "as an analysis rebuilds them");
}

#[test]
fn a14_a_page_written_and_dirtied_again_is_dirty_since_then() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    bench.pages.steal(&bench.manager, PAGE).unwrap();
    assert_eq!(bench.manager.dirty_pages(), 0);
    let again = bench.set(&mut txn, PAGE, 0, 2);
    let pointer = bench.manager.checkpoint(b"").unwrap();
    let held = held(&bench.log, &pointer);
    assert_eq!(held.pages, [DirtyPage { page: PAGE, rec_lsn: again }]);
}

#[test]
fn a15_redo_from_is_the_least_of_begin_dirty_pages_and_transactions() {
    let bench = Bench::new();
    let nothing = bench.manager.checkpoint(b"").unwrap();
    assert_eq!(nothing.redo_from, nothing.begin);
    let mut old = bench.begin();
    bench.set(&mut old, PAGE, 0, 1);
    let begin = bench.manager.tables().txns.get(old.id()).unwrap().first_lsn;
    let mut txn = bench.begin();
    let dirty = bench.set(&mut txn, OTHER, 0, 1);
    txn.commit(0).unwrap();
    bench.pages.steal(&bench.manager, PAGE).unwrap();
    let pointer = bench.manager.checkpoint(b"").unwrap();
    assert_eq!(pointer.redo_from, begin, "the oldest transaction, although its page is clean");
    assert_eq!(bench.manager.oldest_needed(), begin);
    old.commit(0).unwrap();
    let pointer = bench.manager.checkpoint(b"").unwrap();
    assert_eq!(pointer.redo_from, dirty, "the oldest change that is only in memory");
    bench.pages.steal(&bench.manager, OTHER).unwrap();
    let pointer = bench.manager.checkpoint(b"").unwrap();
    assert_eq!(pointer.redo_from, pointer.begin);
    assert_eq!(bench.manager.oldest_needed(), bench.log.end());
}

#[test]
fn a15_a_transaction_in_doubt_holds_the_log() {
    let bench = Bench::new();
    let mut txn = bench.begin();
    bench.set(&mut txn, PAGE, 0, 1);
    txn.prepare(b"bank-7", b"").unwrap();
    let first = bench.manager.tables().txns.get(txn.id()).unwrap().first_lsn;
    bench.pages.steal(&bench.manager, PAGE).unwrap();
    let after = bench.crash();
    after.undo().unwrap();
    assert_eq!(after.manager.checkpoint(b"").unwrap().redo_from, first);
}

#[test]
fn checkpoints_of_two_threads_follow_one_another() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..20).for_each(|_| {
                    let _ = bench.manager.checkpoint(b"").unwrap();
                })
            });
        }
    });
    let ends = bench.log.all(RecordKind::CHECKPOINT_END);
    assert_eq!(ends.len(), 80);
    let kinds = bench.log.kinds();
    let alternate = [RecordKind::CHECKPOINT_BEGIN, RecordKind::CHECKPOINT_END];
    assert!(kinds.chunks(2).all(|pair| pair == alternate), "no two at once");
    assert_eq!(bench.log.0.lock().master.unwrap().record, ends[79], "the newest counts");
}
