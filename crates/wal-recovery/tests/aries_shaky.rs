//! Random histories on an engine that fails to apply what was logged, now and then, and whose pages
//! go offline: against a model of what was committed, in the pages and after a crash.
//!
//! Everything comes from the seed, so the number in a failure is enough to have it again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod aries_support;

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use aries_support::{LogBuilder, Running, SEGMENT_BYTES, Toy, known, page, restart};
use wal_format::{Lsn, PageId, TxnId};
use wal_recovery::RecoveryError;
use wal_recovery::aries::{Aries, EngineError, PageState, PageStore, Txn, TxnManager};

/// A page, and a byte in it.
type Cell = (u64, u32);

const PAGES: u64 = 2;
const BYTES: u64 = 8;
const STEPS: usize = 60;
const HISTORIES: u64 = 300;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// Pages of which one change in `odds` fails, half of those after it was made; none for 0.
struct Shaky<'p> {
    pages: &'p mut Toy,
    random: &'p mut Random,
    odds: u64,
    /// Who comes in once the latch is free, and before the failure is told.
    then: Option<Txn>,
}

impl PageStore for Shaky<'_> {
    fn page_state(&mut self, page: PageId) -> Result<PageState, EngineError> {
        self.pages.page_state(page)
    }

    fn write(&mut self, page: PageId, at: u32, bytes: &[u8], lsn: Lsn) -> Result<(), EngineError> {
        let fails = self.odds > 0 && self.random.one_in(self.odds);
        if !fails || self.random.one_in(2) {
            self.pages.write(page, at, bytes, lsn)?;
        }
        if !fails {
            return Ok(());
        }
        if let Some(then) = self.then.take() {
            let mut shaky = Shaky { pages: self.pages, random: self.random, odds: 3, then: None };
            // Whatever becomes of it: what it did not do is done later.
            let _ = then.abort(&mut shaky);
        }
        Err("the engine fails".into())
    }

    fn mark_dirty(&mut self, page: PageId) -> Result<(), EngineError> {
        self.pages.mark_dirty(page)
    }
}

struct World {
    random: Random,
    running: Running,
    manager: Arc<TxnManager>,
    pages: Toy,
    /// What was written of the pages.
    file: Toy,
    /// What was committed.
    model: BTreeMap<Cell, u8>,
    locks: BTreeMap<Cell, TxnId>,
    live: Vec<(Txn, Vec<(Cell, u8)>)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let running = Running::new(LogBuilder::new(4 * SEGMENT_BYTES));
        Self {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            manager: TxnManager::new(Arc::new(running.clone())),
            running,
            pages: Toy::default(),
            file: Toy::default(),
            model: BTreeMap::new(),
            locks: BTreeMap::new(),
            live: Vec::new(),
        }
    }

    fn step(&mut self) {
        let alive = known(&self.manager);
        self.locks.retain(|_, txn| alive.contains(txn));
        match self.random.below(24) {
            0..=8 => self.update(),
            9..=10 => self.commit(),
            11..=14 => self.abort(),
            15..=16 => {
                let odds = [0, 3][self.random.below(2) as usize];
                let (pages, random) = (&mut self.pages, &mut self.random);
                let _ =
                    self.manager.rollback_abandoned(&mut Shaky { pages, random, odds, then: None });
            }
            17..=18 => self.recover_pages(),
            19..=20 => {
                let page = page(self.random.below(PAGES));
                if !self.pages.offline.remove(&page) {
                    self.pages.offline.insert(page);
                }
            }
            21..=22 => self.write_pages(),
            _ if self.random.one_in(3) => self.crash(),
            _ => drop(self.manager.checkpoint(b"").unwrap()),
        }
    }

    fn any_live(&mut self) -> Option<(Txn, Vec<(Cell, u8)>)> {
        let count = self.live.len() as u64;
        (count > 0).then(|| self.live.swap_remove(self.random.below(count) as usize))
    }

    fn update(&mut self) {
        if self.live.len() < 4 {
            self.live.push((self.manager.begin(0), Vec::new()));
        }
        let Some((mut txn, mut done)) = self.any_live() else { return };
        let cell = (self.random.below(PAGES), self.random.below(BYTES) as u32);
        let locked = self.locks.get(&cell).is_some_and(|owner| *owner != txn.id());
        if !locked && !self.pages.offline.contains(&page(cell.0)) {
            let (before, after) =
                (self.pages.byte(cell.0, cell.1), self.random.below(255) as u8 + 1);
            let odds = if self.random.one_in(3) { 3 } else { 0 };
            let (pages, random) = (&mut self.pages, &mut self.random);
            let mut shaky = Shaky { pages, random, odds, then: None };
            let outcome = txn.update(&mut shaky, page(cell.0), cell.1, &[before], &[after]);
            if known(&self.manager).contains(&txn.id()) {
                self.locks.insert(cell, txn.id());
            }
            // Logged all the same: once its page is recovered, the change counts.
            if matches!(outcome, Ok(_) | Err(RecoveryError::Handler { .. })) {
                done.push((cell, after));
            }
        }
        self.live.push((txn, done));
    }

    fn commit(&mut self) {
        let Some((txn, done)) = self.any_live() else { return };
        // One that failed to apply a change cannot, and is among the abandoned.
        if txn.commit(0).is_ok() {
            self.model.extend(done);
        }
    }

    fn abort(&mut self) {
        let Some((txn, _)) = self.any_live() else { return };
        let odds = [0, 2, 4][self.random.below(3) as usize];
        let then = if self.random.one_in(3) { self.any_live().map(|(txn, _)| txn) } else { None };
        let (pages, random) = (&mut self.pages, &mut self.random);
        let _ = txn.abort(&mut Shaky { pages, random, odds, then });
    }

    fn recover_pages(&mut self) {
        for page in self.manager.deferred_pages() {
            let outcome = self.manager.recover_page(page, &mut self.pages);
            assert!(
                matches!(outcome, Ok(_) | Err(RecoveryError::PageOffline { .. })),
                "{outcome:?}"
            );
        }
    }

    fn write_pages(&mut self) {
        for (page, now) in self.pages.pages.clone() {
            let offline = self.pages.offline.contains(&page);
            if !offline && self.manager.before_page_write(page, now.lsn).is_ok() {
                self.file.pages.insert(page, now);
                self.manager.page_written(page, now.lsn);
            }
        }
    }

    fn crash(&mut self) {
        self.live.clear();
        self.locks.clear();
        let offline = mem::take(&mut self.pages.offline);
        let offline = if self.random.one_in(2) { offline } else { Default::default() };
        self.pages = Toy { pages: self.file.pages.clone(), offline, ..Toy::default() };
        self.manager = restart(Aries::new(), &self.running, &mut self.pages).unwrap().1;
    }

    fn check(&self, when: &str) {
        for cell in (0..PAGES).flat_map(|page| (0..BYTES as u32).map(move |at| (page, at))) {
            let committed = self.model.get(&cell).copied().unwrap_or(0);
            assert_eq!(self.pages.byte(cell.0, cell.1), committed, "{when}, byte {cell:?}");
        }
    }

    fn end(mut self) {
        self.pages.offline.clear();
        self.live.clear();
        for _ in 0..2 {
            self.manager.rollback_abandoned(&mut self.pages).unwrap();
            self.recover_pages();
        }
        assert_eq!((known(&self.manager), self.manager.deferred_pages()), (vec![], vec![]));
        self.check("while the log runs");
        self.crash();
        self.check("after a crash");
    }
}

#[test]
fn a31_whatever_an_engine_fails_to_apply_the_pages_end_as_they_were_committed() {
    for seed in 1..=HISTORIES {
        let history = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..STEPS).for_each(|_| world.step());
            world.end();
        });
        assert!(history.is_ok(), "history {seed}");
    }
}
