//! The workload: one teller, several transactions at a time, all drawn from a seed.
//!
//! Locks are by account, and the teller's: what a transaction touched no other touches before it
//! has ended, one in doubt keeps its locks over restarts. What is asked and promised is told to
//! whoever listens, before it is asked and once it is promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wal::Storage;
use wal_sim::SimRng;

use crate::engine::{Engine, Shape};
use crate::error::BankError;
use crate::story::{Account, Effect, Event, PAID_IN, Serial, Story};

/// Long transactions at a time.
const OPEN_MAX: usize = 3;
/// Entries of a journal that are not folded yet.
const ENTRIES_MAX: usize = 5;

/// A transaction under way.
struct Open<E: Engine> {
    txn: E::Txn,
    serial: Serial,
    effects: Vec<Effect>,
    locks: BTreeSet<Account>,
    /// Where to go back to, and what was done until there.
    savepoint: Option<(E::Savepoint, usize)>,
}

/// A teller at work.
pub struct Teller<E: Engine> {
    storage: Arc<dyn Storage>,
    shape: Shape,
    engine: Option<E>,
    rng: SimRng,
    /// Its own copy of the story, to know what should be there.
    pub story: Story,
    open: Vec<Open<E>>,
    next_serial: Serial,
    /// Entries by account, to know when to fold.
    entries: BTreeMap<Account, usize>,
    /// The books are taken as the first opening finds them, and who is in doubt is rolled back.
    adopts: bool,
    told: Box<dyn FnMut(&Event)>,
}

/// What a teller does next, and how often of a hundred times.
const WEIGHTS: &[(u64, Step)] = &[
    (26, Step::Transfer),
    (22, Step::LongTransfer),
    (8, Step::LongEnd),
    (7, Step::Savepoint),
    (6, Step::Abort),
    (6, Step::Prepare),
    (5, Step::Decide),
    (8, Step::Checkpoint),
    (4, Step::Truncate),
    (6, Step::WritePages),
    (2, Step::Restart),
];

#[derive(Clone, Copy, Debug)]
enum Step {
    Transfer,
    LongTransfer,
    LongEnd,
    Savepoint,
    Abort,
    Prepare,
    Decide,
    Checkpoint,
    Truncate,
    WritePages,
    Restart,
}

impl<E: Engine> Teller<E> {
    /// A teller who goes on where `story` ends, with serials from `next_serial` on.
    pub fn new(
        storage: Arc<dyn Storage>,
        shape: Shape,
        seed: u64,
        story: Story,
        next_serial: Serial,
        told: impl FnMut(&Event) + 'static,
    ) -> Self {
        Self {
            storage,
            shape,
            engine: None,
            rng: SimRng::new(seed),
            story,
            open: Vec::new(),
            next_serial,
            entries: BTreeMap::new(),
            adopts: false,
            told: Box::new(told),
        }
    }

    /// Takes the books as they are found, once: for a bank whose story is told elsewhere.
    #[must_use]
    pub fn adopting(self) -> Self {
        Self { adopts: true, ..self }
    }

    /// Works for so many steps, or until something fails.
    ///
    /// # Errors
    ///
    /// What failed; on a disk that lost its power, anything.
    pub fn work(&mut self, steps: usize) -> Result<(), BankError> {
        self.restart()?;
        for _ in 0..steps {
            if self.story.broken.is_some() {
                break;
            }
            self.step()?;
        }
        Ok(())
    }

    /// Closes the bank cleanly, with whatever is open.
    ///
    /// # Errors
    ///
    /// It is closed, but not cleanly.
    pub fn close(mut self) -> Result<(), BankError> {
        self.open.clear();
        self.engine.take().map_or(Ok(()), Engine::close)
    }

    fn tell(&mut self, event: Event) {
        self.story.tell(&event);
        (self.told)(&event);
    }

    fn engine(&mut self) -> Result<&mut E, BankError> {
        self.engine.as_mut().ok_or_else(|| BankError::Books("the bank is closed".to_owned()))
    }

    fn serial(&mut self) -> Serial {
        self.next_serial += 1;
        self.next_serial
    }

    fn step(&mut self) -> Result<(), BankError> {
        let mut left = self.rng.below(WEIGHTS.iter().map(|(weight, _)| weight).sum());
        let mut drawn = Step::Transfer;
        for (weight, step) in WEIGHTS {
            drawn = *step;
            if left < *weight {
                break;
            }
            left -= weight;
        }
        match drawn {
            Step::Transfer => self.short(true),
            Step::Abort => self.short(false),
            Step::LongTransfer => self.long_transfer(),
            Step::LongEnd => self.long_end(),
            Step::Savepoint => self.savepoint(),
            Step::Prepare => self.prepare(),
            Step::Decide => self.decide(),
            Step::Checkpoint => self.checkpoint(),
            Step::Truncate => self.engine()?.truncate(),
            Step::WritePages => {
                let (count, sync) = (1 + self.rng.below(4) as usize, self.rng.below(3) == 0);
                self.engine()?.write_pages(count, sync)
            }
            Step::Restart => self.restart(),
        }
    }

    /// Opens the bank again, as after the death of the process, and looks whether all is there.
    fn restart(&mut self) -> Result<(), BankError> {
        self.open.clear();
        drop(self.engine.take());
        let (storage, shape) = (Arc::clone(&self.storage), self.shape);
        let mut engine = E::open(storage, shape, self.story.decisions(), Box::new(()))?;
        if std::mem::take(&mut self.adopts) {
            // Presumed abort: what nobody knows of did not commit.
            for serial in engine.in_doubt()?.into_keys() {
                engine.decide(serial, false)?;
            }
            self.story = Story::of(engine.books()?);
        }
        self.story.settle(usize::MAX);
        let decided = self.story.doubts.iter().filter(|(_, doubt)| doubt.decision.is_some());
        let decided: Vec<Serial> = decided.map(|(serial, _)| *serial).collect();
        let in_doubt: Vec<Serial> = engine.in_doubt()?.into_keys().collect();
        let books = engine.books()?;
        self.engine = Some(engine);
        // The decision was told to the restart: that ended them.
        decided.into_iter().for_each(|serial| self.tell(Event::Ended(serial)));
        let doubts: Vec<Serial> = self.story.doubts.keys().copied().collect();
        if in_doubt != doubts {
            self.story.broken = Some(format!("in doubt are {in_doubt:?}, should be {doubts:?}"));
        }
        let expected = self.story.candidate(0, |_, doubt| doubt.promised);
        if books != expected {
            self.story.broken = Some(format!("reopened: {books}\n  should be {expected}"));
        }
        self.entries = books.0.iter().map(|(account, it)| (*account, it.entries.len())).collect();
        if books.0.values().all(|ledger| ledger.entries.is_empty()) {
            return self.pay_in();
        }
        Ok(())
    }

    /// The first transaction: each account gets what it begins with.
    fn pay_in(&mut self) -> Result<(), BankError> {
        let mut first = self.begin()?;
        for account in 0..self.shape.accounts {
            self.post(&mut first, account, PAID_IN)?;
        }
        self.commit(first)
    }

    fn begin(&mut self) -> Result<Open<E>, BankError> {
        let serial = self.serial();
        let txn = self.engine()?.begin();
        let (effects, locks) = (Vec::new(), BTreeSet::new());
        Ok(Open { txn, serial, effects, locks, savepoint: None })
    }

    fn post(&mut self, open: &mut Open<E>, account: Account, amount: i64) -> Result<(), BankError> {
        let serial = self.serial();
        open.locks.insert(account);
        self.engine()?.post(&mut open.txn, account, serial, amount)?;
        open.effects.push(Effect::Post { account, serial, amount });
        Ok(())
    }

    /// A transfer between two accounts that nobody else has locked, and the fold of a long journal.
    fn transfer(&mut self, open: &mut Open<E>) -> Result<(), BankError> {
        let doubts = self.story.doubts.values().flat_map(|doubt| &doubt.effects);
        let doubts = doubts.map(|effect| match effect {
            Effect::Post { account, .. } | Effect::Fold { account, .. } => *account,
        });
        let locked: BTreeSet<Account> =
            self.open.iter().flat_map(|other| other.locks.iter().copied()).chain(doubts).collect();
        let free: Vec<Account> =
            (0..self.shape.accounts).filter(|account| !locked.contains(account)).collect();
        if free.len() < 2 {
            return Ok(());
        }
        let from = self.rng.below(free.len() as u64) as usize;
        let to = (from + 1 + self.rng.below(free.len() as u64 - 1) as usize) % free.len();
        let amount = 1 + self.rng.below(90) as i64;
        let (Some(&from), Some(&to)) = (free.get(from), free.get(to)) else { return Ok(()) };
        self.post(open, from, -amount)?;
        self.post(open, to, amount)?;
        for account in [from, to] {
            let entries = self.entries.entry(account).or_default();
            *entries += 1;
            if *entries > ENTRIES_MAX {
                *entries = 1;
                let serial = self.serial();
                self.engine()?.fold(&mut open.txn, account, serial)?;
                open.effects.push(Effect::Fold { account, serial });
            }
        }
        Ok(())
    }

    fn commit(&mut self, open: Open<E>) -> Result<(), BankError> {
        let Open { txn, serial, effects, .. } = open;
        self.tell(Event::Asked(serial, effects));
        self.engine()?.commit(txn)?;
        self.tell(Event::Promised(serial));
        Ok(())
    }

    /// A transaction which begins and ends in one step.
    fn short(&mut self, commits: bool) -> Result<(), BankError> {
        let mut open = self.begin()?;
        self.transfer(&mut open)?;
        if commits { self.commit(open) } else { self.engine()?.abort(open.txn) }
    }

    /// A transfer more in a transaction that stays open.
    fn long_transfer(&mut self) -> Result<(), BankError> {
        let mut open = if self.open.len() < OPEN_MAX && self.rng.below(2) == 0 {
            self.begin()?
        } else {
            match self.take_open() {
                Some(open) => open,
                None => self.begin()?,
            }
        };
        let own = std::mem::take(&mut open.locks);
        let again = self.rng.below(3) == 0;
        match (own.iter().next(), own.iter().next_back()) {
            // The same accounts again: several changes of one place in one transaction.
            (Some(&from), Some(&to)) if again && from != to => {
                let amount = 1 + self.rng.below(50) as i64;
                self.post(&mut open, from, -amount)?;
                self.post(&mut open, to, amount)?;
            }
            _ => self.transfer(&mut open)?,
        }
        open.locks.extend(own);
        self.open.push(open);
        Ok(())
    }

    fn take_open(&mut self) -> Option<Open<E>> {
        if self.open.is_empty() {
            return None;
        }
        let at = self.rng.below(self.open.len() as u64) as usize;
        Some(self.open.swap_remove(at))
    }

    fn long_end(&mut self) -> Result<(), BankError> {
        let Some(open) = self.take_open() else { return Ok(()) };
        if self.rng.below(3) > 0 { self.commit(open) } else { self.engine()?.abort(open.txn) }
    }

    /// Sets a savepoint in a long transaction, or goes back to it; it may be used again.
    fn savepoint(&mut self) -> Result<(), BankError> {
        let Some(mut open) = self.take_open() else { return Ok(()) };
        match open.savepoint {
            Some((savepoint, done)) => {
                self.engine()?.rollback_to(&mut open.txn, savepoint)?;
                open.effects.truncate(done);
                if self.rng.below(2) == 0 {
                    open.savepoint = None;
                }
            }
            None => {
                let savepoint = self.engine()?.savepoint(&mut open.txn);
                open.savepoint = Some((savepoint, open.effects.len()));
                self.open.push(open);
                return self.long_transfer();
            }
        }
        self.open.push(open);
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), BankError> {
        let Some(open) = self.take_open().filter(|open| !open.effects.is_empty()) else {
            return Ok(());
        };
        let Open { txn, serial, effects, locks, .. } = open;
        self.tell(Event::Preparing(serial, effects));
        let locks: Vec<Account> = locks.into_iter().collect();
        self.engine()?.prepare(txn, serial, &locks)?;
        self.tell(Event::Prepared(serial));
        Ok(())
    }

    /// The coordinator decides, and then tells the bank.
    fn decide(&mut self) -> Result<(), BankError> {
        let Some(&serial) = self.story.doubts.keys().next() else { return Ok(()) };
        let commit = self.rng.below(2) == 0;
        self.tell(Event::Decided(serial, commit));
        self.engine()?.decide(serial, commit)?;
        self.tell(Event::Ended(serial));
        Ok(())
    }

    /// A fuzzy checkpoint, with some pages written before it or none.
    fn checkpoint(&mut self) -> Result<(), BankError> {
        if self.rng.below(2) == 0 {
            self.engine()?.write_pages(usize::MAX, true)?;
        }
        self.engine()?.checkpoint()
    }
}
