//! Random histories of transactions over pages that are stolen and lost, against a model which
//! holds what must be there: after each restart, and at the end.
//!
//! Everything comes from the seed, so the number in a failure is enough to have it again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod aries_support;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use aries_support::{
    ADD, LogBuilder, PAGE_BYTES, Running, SEGMENT_BYTES, Toy, ToyPage, page, restart,
};
use wal_format::{Lsn, PageId, TxnId};
use wal_recovery::RecoveryError;
use wal_recovery::aries::{
    Aries, Decision, LogicalRedo, PageStore, Savepoint, Txn, TxnLog, TxnManager,
};

type Done = Result<(), RecoveryError>;
/// A page, and a byte in it.
type Cell = (u64, u32);

const PAGES: u64 = 6;
/// Bytes that transactions lock and change.
const LOCKED: u64 = 20;
/// Bytes behind them, changed by nested top actions alone.
const NESTED: u64 = 8;
/// The byte that logical operations add to.
const COUNTER: u32 = PAGE_BYTES as u32 - 1;
/// Restarts that may be cut short one after another.
const CUTS_MAX: usize = 3;

struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    /// Not zero: it changes whatever it is added to.
    fn byte(&mut self) -> u8 {
        self.below(255) as u8 + 1
    }
}

/// What a transaction has to take back.
#[derive(Clone, Copy)]
enum Deed {
    Set(Cell, u8),
    Add(u64, u8),
}

struct Live {
    txn: Txn,
    deeds: Vec<Deed>,
    savepoints: Vec<(Savepoint, usize)>,
}

/// A page in the file which no sync has followed, and what stood there before.
struct Unsynced {
    page: PageId,
    before: Option<ToyPage>,
    lsn: Lsn,
}

struct World {
    random: Random,
    seed: u64,
    running: Running,
    manager: Arc<TxnManager>,
    /// The pages in memory, and those in the file.
    cache: Toy,
    file: BTreeMap<PageId, ToyPage>,
    unsynced: Vec<Unsynced>,
    /// What must be in the pages.
    model: BTreeMap<Cell, u8>,
    locks: BTreeMap<Cell, TxnId>,
    live: Vec<Live>,
    doubt: BTreeMap<TxnId, Vec<Deed>>,
    /// Rolled back in the model, and in the pages only as far as their log lived.
    abandoned: Vec<TxnId>,
}

impl World {
    fn new(seed: u64) -> Self {
        let running = Running::new(LogBuilder::new(SEGMENT_BYTES));
        let log: Arc<dyn TxnLog> = Arc::new(running.clone());
        Self {
            random: Random::new(seed),
            seed,
            running,
            manager: TxnManager::new(log),
            cache: Toy::default(),
            file: BTreeMap::new(),
            unsynced: Vec::new(),
            model: BTreeMap::new(),
            locks: BTreeMap::new(),
            live: Vec::new(),
            doubt: BTreeMap::new(),
            abandoned: Vec::new(),
        }
    }

    fn step(&mut self) -> Done {
        match self.random.below(100) {
            0..=11 if self.live.len() < 5 => {
                let txn = self.manager.begin(0);
                self.live.push(Live { txn, deeds: Vec::new(), savepoints: Vec::new() });
                Ok(())
            }
            12..=70 if self.live.is_empty() => Ok(()),
            12..=43 => self.set(),
            44..=53 => self.add(),
            54..=58 => {
                let at = self.random.index(self.live.len());
                let Live { txn, deeds, savepoints } = &mut self.live[at];
                savepoints.push((txn.savepoint(), deeds.len()));
                Ok(())
            }
            59..=65 => self.rollback_to(),
            66..=70 => self.nested_top_action(),
            71..=80 if !self.live.is_empty() => self.end_one(),
            81..=83 => self.resolve(),
            84..=89 => self.write_page(),
            90..=92 => {
                let synced = mem::take(&mut self.unsynced);
                synced.iter().for_each(|write| self.manager.page_written(write.page, write.lsn));
                Ok(())
            }
            93..=95 => self.manager.checkpoint(b"").map(drop),
            96 => self.begin_new_life(),
            97 => self.image(),
            98 => self.crash(),
            99 => {
                self.manager.rollback_abandoned(&mut self.cache)?;
                mem::take(&mut self.abandoned).into_iter().for_each(|txn| self.unlock(txn));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn set(&mut self) -> Done {
        let at = self.random.index(self.live.len());
        let cell = (self.random.below(PAGES), self.random.below(LOCKED) as u32);
        let id = self.live[at].txn.id();
        if *self.locks.entry(cell).or_insert(id) != id {
            return Ok(());
        }
        let (before, after) = (self.value(cell), self.random.byte());
        self.put(at, cell, before, after)?;
        self.live[at].deeds.push(Deed::Set(cell, before));
        Ok(())
    }

    fn put(&mut self, at: usize, cell: Cell, before: u8, after: u8) -> Done {
        let txn = &mut self.live[at].txn;
        txn.update(&mut self.cache, page(cell.0), cell.1, &[before], &[after])?;
        self.model.insert(cell, after);
        Ok(())
    }

    fn add(&mut self) -> Done {
        let at = self.random.index(self.live.len());
        let (number, by) = (self.random.below(PAGES), self.random.byte());
        let live = &mut self.live[at];
        let lsn = live.txn.log_logical(page(number), ADD, &[by], &[by.wrapping_neg()])?;
        let redo = LogicalRedo { page: page(number), operation: ADD, redo: &[by] };
        self.cache.redo_logical(&redo, lsn).unwrap();
        live.deeds.push(Deed::Add(number, by));
        self.count(number, by);
        Ok(())
    }

    fn rollback_to(&mut self) -> Done {
        let at = self.random.index(self.live.len());
        let live = &mut self.live[at];
        if live.savepoints.is_empty() {
            return Ok(());
        }
        let which = self.random.index(live.savepoints.len());
        let (savepoint, deeds) = live.savepoints[which];
        live.txn.rollback_to(&mut self.cache, savepoint)?;
        // It can be used again; those after it cannot.
        live.savepoints.truncate(which + 1);
        let undone = live.deeds.split_off(deeds);
        self.take_back(&undone);
        Ok(())
    }

    /// Bytes that nobody locks; a crash in the middle takes them back.
    fn nested_top_action(&mut self) -> Done {
        let at = self.random.index(self.live.len());
        let nested = self.live[at].txn.nested_begin()?;
        let mut deeds = Vec::new();
        for _ in 0..=self.random.below(3) {
            let cell = (self.random.below(PAGES), (LOCKED + self.random.below(NESTED)) as u32);
            let (before, after) = (self.value(cell), self.random.byte());
            self.put(at, cell, before, after)?;
            deeds.push(Deed::Set(cell, before));
            match self.random.below(16) {
                0..=3 => self.write_page()?,
                4..=5 => drop(self.manager.checkpoint(b"")?),
                6 => {
                    self.take_back(&deeds);
                    return self.crash();
                }
                _ => {}
            }
        }
        self.live[at].txn.nested_end(nested).map(drop)
    }

    fn end_one(&mut self) -> Done {
        let at = self.random.index(self.live.len());
        let Live { mut txn, deeds, .. } = self.live.remove(at);
        let id = txn.id();
        match self.random.below(10) {
            0..=4 => {
                txn.commit(0)?;
                self.unlock(id);
            }
            5..=6 => {
                txn.abort(&mut self.cache)?;
                self.take_back(&deeds);
                self.unlock(id);
            }
            7 => {
                self.burn_after(6);
                let outcome = txn.abort(&mut self.cache);
                self.mend();
                self.take_back(&deeds);
                if outcome.is_ok() {
                    self.unlock(id);
                } else {
                    self.abandoned.push(id);
                }
            }
            _ => {
                txn.prepare(b"bank-7", b"")?;
                self.doubt.insert(id, deeds);
            }
        }
        Ok(())
    }

    fn resolve(&mut self) -> Done {
        let Some((id, deeds)) = self.doubt.pop_first() else { return Ok(()) };
        if self.random.one_in(2) {
            self.manager.resolve(id, Decision::Commit, &mut self.cache)?;
        } else {
            self.manager.resolve(id, Decision::Abort, &mut self.cache)?;
            self.take_back(&deeds);
        }
        self.unlock(id);
        Ok(())
    }

    fn write_page(&mut self) -> Done {
        let page = page(self.random.below(PAGES));
        match self.cache.pages.get(&page).copied() {
            Some(now) => self.write(page, now),
            None => Ok(()),
        }
    }

    fn write(&mut self, page: PageId, now: ToyPage) -> Done {
        self.manager.before_page_write(page, now.lsn)?;
        let before = self.file.insert(page, now);
        self.unsynced.push(Unsynced { page, before, lsn: now.lsn });
        Ok(())
    }

    fn image(&mut self) -> Done {
        let number = self.random.below(PAGES);
        let bytes = self.cache.bytes(number);
        let lsn = self.manager.log_image(page(number), &bytes)?;
        self.cache.write_image(page(number), &bytes, lsn).unwrap();
        Ok(())
    }

    /// Frees a page that nobody needs, and takes it again, with other bytes.
    fn begin_new_life(&mut self) -> Done {
        let number = self.random.below(PAGES);
        let deeds = self.live.iter().map(|live| &live.deeds).chain(self.doubt.values());
        let added = deeds.flatten().any(|deed| matches!(deed, Deed::Add(on, _) if *on == number));
        let locked = self.locks.keys().any(|cell| cell.0 == number);
        if added || locked || !self.abandoned.is_empty() {
            return Ok(());
        }
        self.manager.log_free(page(number))?;
        if self.random.one_in(2) {
            self.manager.checkpoint(b"")?;
        }
        let bytes: [u8; PAGE_BYTES] = std::array::from_fn(|_| self.random.byte());
        let lsn = self.manager.log_image(page(number), &bytes)?;
        self.cache.write_image(page(number), &bytes, lsn).unwrap();
        let cells = (0..).zip(bytes).map(|(at, byte)| ((number, at), byte));
        self.model.extend(cells);
        Ok(())
    }

    fn crash(&mut self) -> Done {
        for live in mem::take(&mut self.live) {
            self.take_back(&live.deeds);
            self.unlock(live.txn.id());
        }
        mem::take(&mut self.abandoned).into_iter().for_each(|txn| self.unlock(txn));
        self.lose_unsynced();
        for cut in (0..CUTS_MAX).rev() {
            if self.restart(cut > 0)? {
                break;
            }
        }
        while !self.manager.deferred_pages().is_empty() {
            self.cache.offline.clear();
            for page in self.manager.deferred_pages() {
                self.manager.recover_page(page, &mut self.cache)?;
            }
        }
        self.cache.offline.clear();
        self.manager.rollback_abandoned(&mut self.cache)?;
        let in_doubt: Vec<TxnId> = self.manager.in_doubt()?.iter().map(|doubt| doubt.txn).collect();
        assert_eq!(in_doubt, self.doubt.keys().copied().collect::<Vec<_>>(), "{}", self.seed);
        assert_eq!(self.manager.active_transactions(), self.doubt.len(), "{}", self.seed);
        self.check();
        Ok(())
    }

    /// Any write that no sync has followed may be lost.
    fn lose_unsynced(&mut self) {
        let all = self.random.one_in(2);
        for Unsynced { page, before, .. } in mem::take(&mut self.unsynced).into_iter().rev() {
            if all || self.random.one_in(2) {
                self.file.remove(&page);
                self.file.extend(before.map(|before| (page, before)));
            }
        }
    }

    /// Restarts on what the file holds; whether that was the last attempt. One that may be cut
    /// short, is at times: by the log, by the engine, or by the next crash.
    fn restart(&mut self, may_be_cut: bool) -> Result<bool, RecoveryError> {
        let parts = self.random.one_in(2).then_some(3);
        let mut cache = Toy { pages: self.file.clone(), parts, ..Toy::default() };
        let mut cut = false;
        if may_be_cut && self.random.one_in(2) {
            self.burn_after(12);
            cut = true;
        }
        if may_be_cut && self.random.one_in(4) {
            let behind = self.running.end().get() - Lsn::FIRST.get() + 300;
            cache.fails_at = Lsn::new(Lsn::FIRST.get() + (self.random.below(behind) & !7));
            cut = true;
        }
        if self.random.one_in(4) {
            cache.offline.insert(page(self.random.below(PAGES)));
        }
        // What a restart that failed has decided stays decided, and the model would not know.
        if !cut && self.random.one_in(4) {
            cache.decision = Some([Decision::Abort, Decision::Commit][self.random.index(2)]);
        }
        let aries = Aries::new().redo_threads(parts.unwrap_or(1));
        let outcome = restart(aries, &self.running, &mut cache);
        self.mend();
        cache.fails_at = None;
        let Ok((_, manager)) = outcome else {
            assert!(cut, "history {}: {:?}", self.seed, outcome.err());
            // Some of what it changed reached the file.
            let written = cache.pages.iter().filter(|_| self.random.one_in(2));
            self.file.extend(written.map(|(page, now)| (*page, *now)));
            return Ok(false);
        };
        self.manager = manager;
        self.cache = cache;
        self.settle_doubts();
        for (page, now) in self.cache.pages.clone() {
            if self.random.one_in(4) && !self.cache.offline.contains(&page) {
                self.write(page, now)?;
            }
        }
        let again = may_be_cut && self.random.one_in(4);
        if again {
            self.lose_unsynced();
        }
        Ok(!again)
    }

    fn settle_doubts(&mut self) {
        let Some(decision) = self.cache.decision.take() else { return };
        for (id, deeds) in mem::take(&mut self.doubt) {
            if decision == Decision::Abort {
                self.take_back(&deeds);
            }
            self.unlock(id);
        }
    }

    fn burn_after(&mut self, appends_max: u64) {
        let fuse = self.random.below(appends_max);
        self.running.0.lock().unwrap().fuse = Some(fuse);
    }

    fn mend(&self) {
        self.running.0.lock().unwrap().fuse = None;
    }

    fn value(&self, cell: Cell) -> u8 {
        self.model.get(&cell).copied().unwrap_or(0)
    }

    fn count(&mut self, page: u64, by: u8) {
        let sum = self.value((page, COUNTER)).wrapping_add(by);
        self.model.insert((page, COUNTER), sum);
    }

    fn take_back(&mut self, deeds: &[Deed]) {
        for deed in deeds.iter().rev() {
            match *deed {
                Deed::Set(cell, before) => drop(self.model.insert(cell, before)),
                Deed::Add(page, by) => self.count(page, by.wrapping_neg()),
            }
        }
    }

    fn unlock(&mut self, txn: TxnId) {
        self.locks.retain(|_, owner| *owner != txn);
    }

    fn check(&self) {
        let cells = (0..PAGES).flat_map(|page| (0..PAGE_BYTES as u32).map(move |at| (page, at)));
        let wrong: BTreeSet<Cell> =
            cells.filter(|cell| self.cache.byte(cell.0, cell.1) != self.value(*cell)).collect();
        assert_eq!(
            wrong,
            BTreeSet::new(),
            "history {}: bytes that are not as the model has them",
            self.seed
        );
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    let steps = 60 + world.random.below(140);
    for step in 0..steps {
        world.step().unwrap_or_else(|error| panic!("history {seed}, step {step}: {error}"));
    }
    world.crash().unwrap_or_else(|error| panic!("history {seed}, the last crash: {error}"));
}

#[test]
fn a31_any_history_ends_as_a_model_says_however_often_it_crashed() {
    (0..200).for_each(run);
}
