//! Random transactions, a crash after any record, and crashes in the undo that follows: in the end
//! the pages hold what committed, and each change was compensated at most once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use wal_format::body::{Body, Update};
use wal_format::{Lsn, PageId, RecordKind, TxnId};

use super::pages::{COUNTER, NESTED};
use super::restart::Bench;
use crate::aries::{Savepoint, Txn};
use crate::error::RecoveryError;

const PAGES: u64 = 3;
const SLOTS: usize = 4;

/// What somebody does in the transaction of a slot; one begins there when there is none.
#[derive(Clone, Copy, Debug)]
enum Op {
    Set(u64, u32, u8),
    Add(u64, u8),
    Nested(u64),
    Savepoint,
    RollbackTo(usize),
    Commit,
    Abort,
    Drop,
    Checkpoint,
    LookAfter,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..PAGES, 0..6_u32, 1..255_u8).prop_map(|(page, cell, to)| Op::Set(page, cell, to)),
        6 => (0..PAGES, 1..255_u8).prop_map(|(page, by)| Op::Add(page, by)),
        3 => (0..PAGES).prop_map(Op::Nested),
        3 => Just(Op::Savepoint),
        3 => (0..4_usize).prop_map(Op::RollbackTo),
        3 => Just(Op::Commit),
        2 => Just(Op::Abort),
        1 => Just(Op::Drop),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::LookAfter),
    ]
}

/// A change that was made, and what became of it.
#[derive(Debug)]
struct Change {
    lsn: Lsn,
    txn: TxnId,
    /// The cell and its value, or what was added to the counters.
    what: Result<(u64, u32, u8), u8>,
    taken_back: bool,
}

struct Slot {
    txn: Txn,
    savepoints: Vec<(Savepoint, usize)>,
}

struct Run {
    bench: Bench,
    slots: [Option<Slot>; SLOTS],
    changes: Vec<Change>,
    /// Who may change a cell, for as long as it is not certain what became of its change.
    locks: BTreeMap<(u64, u32), TxnId>,
}

impl Run {
    fn new(nested_in_undo: bool) -> Self {
        let bench = Bench::new();
        bench.pages.0.lock().nested_in_undo = nested_in_undo;
        Self { bench, slots: [const { None }; SLOTS], changes: Vec::new(), locks: BTreeMap::new() }
    }

    fn step(&mut self, slot: usize, op: Op) -> Result<(), RecoveryError> {
        let bench = &self.bench;
        match op {
            Op::Checkpoint => return bench.manager.checkpoint(b"").map(|_| ()),
            Op::LookAfter => {
                return bench.manager.rollback_abandoned(&mut bench.pages.clone()).map(|_| ());
            }
            _ => {}
        }
        let mut taken = self.slots[slot]
            .take()
            .unwrap_or_else(|| Slot { txn: bench.begin(), savepoints: Vec::new() });
        let txn = taken.txn.id();
        match op {
            Op::Set(page, cell, to) => {
                if *self.locks.entry((page, cell)).or_insert(txn) == txn {
                    let lsn = bench.try_set(&mut taken.txn, PageId::new(page), cell, to)?;
                    let what = Ok((page, cell, to));
                    self.changes.push(Change { lsn, txn, what, taken_back: false });
                }
            }
            Op::Add(page, by) => {
                let lsn = bench.try_add(&mut taken.txn, PageId::new(page), by)?;
                self.changes.push(Change { lsn, txn, what: Err(by), taken_back: false });
            }
            Op::Nested(page) => {
                let nested = taken.txn.nested_begin()?;
                for _ in 0..2 {
                    let before = bench.pages.cell(PageId::new(page), NESTED);
                    let after = before.wrapping_add(1);
                    bench.try_set(&mut taken.txn, PageId::new(page), NESTED, after)?;
                }
                taken.txn.nested_end(nested)?;
            }
            Op::Savepoint => {
                let savepoint = taken.txn.savepoint();
                taken.savepoints.push((savepoint, self.changes.len()));
            }
            Op::RollbackTo(index) => {
                if let Some((savepoint, changes)) = taken.savepoints.get(index).copied() {
                    taken.txn.rollback_to(&mut bench.pages.clone(), savepoint)?;
                    taken.savepoints.truncate(index + 1);
                    let mine = self.changes[changes..].iter_mut().filter(|at| at.txn == txn);
                    mine.for_each(|change| change.taken_back = true);
                }
            }
            Op::Commit => {
                taken.txn.commit(0)?;
                self.locks.retain(|_, holder| *holder != txn);
                return Ok(());
            }
            Op::Abort => {
                taken.txn.abort(&mut bench.pages.clone())?;
                self.locks.retain(|_, holder| *holder != txn);
                return Ok(());
            }
            // Its locks stay: nobody says when it is rolled back.
            _ => return Ok(()),
        }
        self.slots[slot] = Some(taken);
        Ok(())
    }

    /// What the cells must hold, and the sum of the counters, when these transactions committed.
    fn expected(&self, winners: &BTreeSet<TxnId>) -> (BTreeMap<(u64, u32), u8>, u8) {
        let (mut cells, mut sum) = (BTreeMap::new(), 0_u8);
        for change in &self.changes {
            if winners.contains(&change.txn) && !change.taken_back {
                match change.what {
                    Ok((page, cell, to)) => drop(cells.insert((page, cell), to)),
                    Err(by) => sum = sum.wrapping_add(by),
                }
            }
        }
        assert!(self.changes.is_sorted_by_key(|change| change.lsn));
        (cells, sum)
    }
}

fn winners(bench: &Bench) -> BTreeSet<TxnId> {
    let mut winners = BTreeSet::new();
    bench.log.each(|record, _| {
        if record.kind() == RecordKind::COMMIT {
            winners.insert(record.txn.unwrap().txn_id);
        }
    });
    winners
}

/// Nested changes that nothing compensated, and those whose dummy is missing.
fn nested_left(bench: &Bench) -> u8 {
    let compensated: BTreeSet<Lsn> = bench.log.compensated().into_iter().collect();
    let mut left = 0_u8;
    bench.log.each(|record, body| {
        if let Some(Body::Update(Update { offset: NESTED, .. })) = body
            && !compensated.contains(&record.lsn())
        {
            left = left.wrapping_add(1);
        }
    });
    left
}

/// A small generator: which address survives, which page was written.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }

    /// A crash: what is durable survives, and some of what is not; pages were written at any time.
    fn crash(&mut self, bench: &Bench) -> Bench {
        let cuts: Vec<Lsn> = {
            let inner = bench.log.0.lock();
            let lost = inner.records.range(inner.durable..).map(|(lsn, _)| *lsn);
            lost.chain([inner.end]).collect()
        };
        let end = cuts[self.roll(cuts.len())];
        let pages = bench.pages.stolen(end, |_| self.roll(3) == 0);
        bench.crash_into(end, pages)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a31_whatever_crashes_the_pages_hold_what_committed_and_nothing_is_compensated_twice(
        ops in prop::collection::vec((0..SLOTS, op()), 1..80),
        fuse in 0_u64..200,
        in_undo in prop::collection::vec(0_u64..12, 0..4),
        nested_in_undo: bool,
        seed: u64,
    ) {
        let mut run = Run::new(nested_in_undo);
        run.bench.log.burn_after(fuse);
        for (slot, op) in ops {
            if run.step(slot, op).is_err() {
                break;
            }
        }
        let mut dice = Dice(seed);
        let mut after = dice.crash(&run.bench);
        let winners = winners(&after);
        for appends in in_undo {
            after.log.burn_after(appends);
            if after.undo().is_ok() {
                break;
            }
            after = dice.crash(&after);
        }
        after.log.0.lock().fuse = None;
        after.undo().unwrap();

        let (cells, sum) = run.expected(&winners);
        for page in 0..PAGES {
            for cell in 0..6 {
                let expected = cells.get(&(page, cell)).copied().unwrap_or(0);
                prop_assert_eq!(after.pages.cell(PageId::new(page), cell), expected);
            }
        }
        prop_assert_eq!(after.pages.sum(COUNTER), sum);
        prop_assert_eq!(after.pages.sum(NESTED), nested_left(&after));
        let compensated = after.log.compensated();
        prop_assert_eq!(compensated.iter().collect::<BTreeSet<_>>().len(), compensated.len());
        prop_assert!(after.manager.tables().txns.is_empty());
        // And a restart from there has nothing to do.
        let (again, report) = after.restart();
        prop_assert_eq!((report.clrs, report.rolled_back, report.winners_ended), (0, 0, 0));
        prop_assert_eq!(again.pages.sum(COUNTER), sum);
    }
}
