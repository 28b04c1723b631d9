//! Running a workload: one log, one thread, actions drawn from the seed, until the power goes.
//!
//! Whatever the log promises goes into the [`Story`]. A failure that poisons the log is followed
//! by attempts to get a promise out of it, which must fail, and then by a reopening.

use std::sync::Arc;
use std::time::Duration;

use wal::{
    Durability, Error, ErrorKind, Fate, Hold, Lsn, RedoOnly, Storage, SyncPolicy, Transaction, Wal,
};
use wal_sim::{SimDisk, SimRng};

use crate::action::{Action, protocol_step};
use crate::body::{Size, body};
use crate::engine::{Engine, snapshot};
use crate::look::below_head;
use crate::profile::{Profile, Trouble};
use crate::reading;
use crate::story::{StepId, Story};
use crate::witness::Witness;

/// Failures in a row after which a workload gives up.
const REOPENINGS_MAX: u32 = 4;

/// Bytes that a commit record takes: its header, its transaction, its timestamp.
const COMMIT_BYTES: u64 = 48;

/// Runs `steps` actions of `profile` on `disk`, all drawn from `seed`.
#[must_use]
pub fn run(disk: &SimDisk, profile: &Profile, seed: u64, steps: u32) -> Story {
    let mut run = Run::new(disk, profile, seed);
    for _ in 0..=steps {
        if run.disk.is_off() || run.story.broken.is_some() {
            break;
        }
        run.step();
    }
    if run.rng.below(2) == 0 && !run.disk.is_off() {
        run.story.during = Action::Reopen;
        run.txn = None;
        if let Some(wal) = run.wal.take() {
            let closed = wal.close();
            run.story.promise(wal.positions().durable);
            drop(closed);
        }
    }
    let Run { story, .. } = run;
    finish(disk, story)
}

/// Adds what the disk was doing when the power went.
pub(crate) fn finish(disk: &SimDisk, mut story: Story) -> Story {
    let last = disk.last_op().filter(|_| disk.is_off());
    story.cut = last.map(|op| protocol_step(op.call, &op.name));
    story
}

/// Opens the log of `profile` on `disk`.
///
/// # Errors
///
/// As [`wal::Opener::open_in`].
pub fn open(storage: Arc<dyn Storage>, profile: &Profile) -> Result<(Wal, Engine), Error> {
    let mut engine = Engine::default();
    let wal = profile.options().recover_with(RedoOnly::default()).open_in(storage, &mut engine)?;
    Ok((wal, engine))
}

/// A workload under way.
struct Run<'a> {
    disk: SimDisk,
    profile: &'a Profile,
    rng: SimRng,
    story: Story,
    wal: Option<Wal>,
    txn: Option<(Transaction, StepId)>,
    hold: Option<Hold>,
    failures: u32,
}

impl<'a> Run<'a> {
    fn new(disk: &SimDisk, profile: &'a Profile, seed: u64) -> Self {
        // Workloads which differ in the disk only do not do the same things.
        let salt = profile.name.bytes().fold(0, |salt, byte| salt * 31 + u64::from(byte));
        let (rng, story) = (SimRng::new(seed ^ salt << 20), Story::default());
        let disk = disk.clone();
        Self { disk, profile, rng, story, wal: None, txn: None, hold: None, failures: 0 }
    }

    /// One action, and what follows from its failure.
    fn step(&mut self) {
        let done = match self.wal.take() {
            None => self.reopen(Action::Open),
            Some(wal) => {
                let action = self.profile.draw(&mut self.rng);
                self.story.during = action;
                self.act_on(wal, action)
            }
        };
        match done {
            Ok(()) => self.failures = 0,
            Err(_) if self.disk.is_off() => {}
            Err(error) => self.after_failure(&error),
        }
    }

    fn act_on(&mut self, wal: Wal, action: Action) -> Result<(), Error> {
        if action == Action::Restart {
            (self.txn, self.hold) = (None, None);
            drop(wal);
            return self.reopen(Action::Restart);
        }
        if action == Action::Reopen {
            (self.txn, self.hold) = (None, None);
            let closed = wal.close();
            self.story.promise(wal.positions().durable);
            if closed.is_ok() {
                drop(wal);
                return self.reopen(Action::Reopen);
            }
            self.wal = Some(wal);
            return closed;
        }
        let done = self.act(&wal, action);
        self.told_by(&wal);
        self.check_order(&wal);
        self.wal = Some(wal);
        done
    }

    /// What the log says of itself is a promise.
    fn told_by(&mut self, wal: &Wal) {
        let positions = wal.positions();
        self.story.promise(positions.durable);
        self.story.wrote(positions.written);
    }

    fn check_order(&mut self, wal: &Wal) {
        let positions = wal.positions();
        if positions.durable > positions.written || positions.written > positions.reserved {
            self.story.broken = Some(format!("positions out of order: {positions:?}"));
        }
    }

    /// Decides whether the log is usable, and reopens it if not.
    fn after_failure(&mut self, error: &Error) {
        let usable = matches!(
            error.kind(),
            ErrorKind::Refused | ErrorKind::NoSpace | ErrorKind::WouldBlock | ErrorKind::Truncated
        );
        if usable && self.wal.is_some() {
            self.story.refusals += 1;
            return;
        }
        // What could not be read may be called damage, as long as it is read at the next opening.
        if error.kind() == ErrorKind::Damaged && self.profile.trouble != Trouble::Reads {
            self.story.broken = Some(format!("taken for damage: {error}"));
            return;
        }
        self.failures += 1;
        if let Some(wal) = self.wal.take() {
            self.story.poisonings += u64::from(error.kind() == ErrorKind::Poisoned);
            // A control file that failed stops what needs it; commits do not, and stay true.
            let of_control = matches!(self.story.during, Action::Truncate | Action::Checkpoint);
            if error.kind() == ErrorKind::Poisoned && !of_control {
                self.prod(&wal);
            } else if self.failures == 1 && self.story.during != Action::Reopen {
                self.go_on(&wal);
            }
        }
        (self.txn, self.hold) = (None, None);
        if self.failures > REOPENINGS_MAX {
            // The disk will not have it; what was promised is judged all the same.
            self.disk.power_off();
        }
    }

    /// A poisoned log never acknowledges.
    fn prod(&mut self, wal: &Wal) {
        let before = wal.positions().durable;
        let promised = wal.sync().is_ok()
            || wal.append(b"12345678").is_ok_and(|ticket| ticket.wait_durable().is_ok())
            || wal.close().is_ok()
            || wal.positions().durable > before;
        if promised {
            self.story.broken = Some("a poisoned log acknowledged".to_owned());
        }
        self.story.promise(before);
    }

    /// A log that failed and is not poisoned is held to whatever it acknowledges from then on.
    fn go_on(&mut self, wal: &Wal) {
        let numbers = self.story.numbers(1, Size::Small);
        let asked = self.ask(numbers, |bodies| wal.append(&bodies[0]));
        if let Ok(ticket) = asked
            && ticket.wait_durable().is_ok()
        {
            self.story.promise(ticket.end());
        }
        if let Ok(end) = wal.sync() {
            self.story.promise(end);
        }
        self.told_by(wal);
        self.check_order(wal);
    }

    fn reopen(&mut self, action: Action) -> Result<(), Error> {
        self.story.during = action;
        (self.txn, self.hold) = (None, None);
        drop(self.wal.take());
        let (wal, engine) = open(Arc::new(Witness::new(&self.disk)), self.profile)?;
        self.story.openings += 1;
        if let Err(reason) = self.story.recovered(&engine.found) {
            let picture = self.story.picture(&engine.found, 20);
            self.story.broken = Some(format!("after a reopening: {reason}\n{picture}"));
        }
        self.wal = Some(wal);
        Ok(())
    }

    fn act(&mut self, wal: &Wal, action: Action) -> Result<(), Error> {
        match action {
            Action::Append => self.append(wal, Size::Small),
            Action::Large => {
                let size = if self.rng.below(4) == 0 { Size::Huge } else { Size::Large };
                self.append(wal, size)
            }
            Action::Rotate => self.rotate(wal),
            Action::Batch => self.batch(wal),
            Action::Commit => self.commit(wal),
            Action::Abort => self.abort(wal),
            Action::Span => self.span(wal),
            Action::Sync => wal.sync().map(|end| self.story.promise(end)),
            Action::Checkpoint => self.checkpoint(wal),
            Action::Truncate => self.truncate(wal),
            Action::Hold => self.hold(wal),
            Action::Read => self.read(wal),
            Action::Open | Action::Threads | Action::Restart | Action::Reopen => Ok(()),
        }
    }

    /// Asks for a step, and tells the story what came of it.
    fn ask(
        &mut self,
        numbers: Vec<u64>,
        ask: impl FnOnce(&[Vec<u8>]) -> Result<wal::Ticket, Error>,
    ) -> Result<wal::Ticket, Error> {
        let bodies: Vec<Vec<u8>> = numbers.iter().map(|number| body(*number)).collect();
        let step = self.story.issue(numbers);
        let asked = ask(&bodies);
        match &asked {
            Ok(ticket) => self.story.placed(step, ticket.lsn(), ticket.end()),
            Err(error) => self.note_failure(step, error),
        }
        asked
    }

    fn note_failure(&mut self, step: StepId, error: &Error) {
        if error.fate() == Fate::NotCommitted {
            self.story.never(step, "was refused");
        }
    }

    fn wait(&mut self, ticket: &wal::Ticket) -> Result<(), Error> {
        match self.rng.below(5) {
            0 | 1 => Ok(()),
            2 => {
                ticket.wait_written()?;
                self.story.wrote(ticket.end());
                Ok(())
            }
            _ => {
                ticket.wait(Durability::Durable)?;
                self.story.promise(ticket.end());
                Ok(())
            }
        }
    }

    fn append(&mut self, wal: &Wal, size: Size) -> Result<(), Error> {
        let numbers = self.story.numbers(1, size);
        let try_it = self.rng.below(8) == 0;
        let ticket = self.ask(numbers, |bodies| {
            if try_it { wal.try_append(&bodies[0]) } else { wal.append(&bodies[0]) }
        })?;
        self.wait(&ticket)
    }

    fn rotate(&mut self, wal: &Wal) -> Result<(), Error> {
        for _ in 0..8 + self.rng.below(10) {
            let numbers = self.story.numbers(1, Size::Medium);
            let ticket = self.ask(numbers, |bodies| wal.append(&bodies[0]))?;
            if self.rng.below(4) == 0 {
                self.wait(&ticket)?;
            }
        }
        Ok(())
    }

    fn batch(&mut self, wal: &Wal) -> Result<(), Error> {
        let count = 2 + self.rng.below(5);
        let numbers = self.story.numbers(count, Size::Small);
        let ticket = self.ask(numbers, |bodies| wal.append_batch(bodies))?;
        self.wait(&ticket)
    }

    fn commit(&mut self, wal: &Wal) -> Result<(), Error> {
        // A transaction that was left open may commit with nothing more in it.
        let (mut txn, step, least) = match self.txn.take() {
            Some((txn, step)) => (txn, step, 0),
            None => (wal.begin(), self.begun(), 1),
        };
        for _ in 0..least + self.rng.below(3) {
            let number = self.story.numbers(1, Size::Small)[0];
            self.story.add(step, number);
            txn.log(&body(number))?;
        }
        self.story.attempt(step);
        if self.rng.below(2) == 0 {
            return self.commit_by_policy(wal, txn, step);
        }
        let ticket = match txn.commit_ticket(0) {
            Ok((committed, ticket)) => {
                self.story.placed(step, committed.lsn, ticket.end());
                ticket
            }
            Err(error) => {
                self.note_failure(step, &error);
                return Err(error);
            }
        };
        self.wait(&ticket)
    }

    /// Commits as the policy says: when it returns, the commit has the level that it promises.
    fn commit_by_policy(&mut self, wal: &Wal, txn: Transaction, step: StepId) -> Result<(), Error> {
        let committed = match txn.commit() {
            Ok(committed) => committed,
            Err(error) => {
                self.note_failure(step, &error);
                return Err(error);
            }
        };
        let (lsn, positions) = (committed.lsn, wal.positions());
        let end = lsn.checked_add(COMMIT_BYTES).unwrap_or(Lsn::MAX);
        self.story.placed(step, lsn, end);
        let reached = match self.profile.policy {
            SyncPolicy::EveryCommit | SyncPolicy::Group => positions.durable,
            _ => positions.written,
        };
        if reached < end {
            self.story.broken = Some(format!("the commit at {lsn} returned at {reached}"));
        }
        self.story.wrote(end);
        Ok(())
    }

    fn abort(&mut self, wal: &Wal) -> Result<(), Error> {
        let step = self.story.issue(Vec::new());
        self.story.never(step, "was aborted");
        let mut txn = wal.begin();
        for number in self.story.numbers(2, Size::Small) {
            self.story.add(step, number);
            txn.log(&body(number))?;
        }
        if self.rng.below(2) == 0 { txn.abort() } else { Ok(()) }
    }

    /// One more record of a transaction that is left open.
    fn span(&mut self, wal: &Wal) -> Result<(), Error> {
        let (mut txn, step) = match self.txn.take() {
            Some(open) => open,
            None => (wal.begin(), self.begun()),
        };
        let number = self.story.numbers(1, Size::Small)[0];
        self.story.add(step, number);
        // Without one of its records a transaction is given up.
        txn.log(&body(number))?;
        self.txn = Some((txn, step));
        Ok(())
    }

    /// A transaction of which nothing may be found unless its commit is asked for.
    fn begun(&mut self) -> StepId {
        let step = self.story.issue(Vec::new());
        self.story.never(step, "was never committed");
        step
    }

    fn checkpoint(&mut self, wal: &Wal) -> Result<(), Error> {
        let checkpoint = wal.checkpoint_begin()?;
        let payload = snapshot(&self.story.state_before(checkpoint.begin_lsn()));
        if self.rng.below(3) == 0 {
            // Writers go on meanwhile.
            self.append(wal, Size::Small)?;
        }
        self.story.bytes += payload.len() as u64 + 200;
        if self.rng.below(8) > 0 {
            let pointer = checkpoint.complete(&payload)?;
            self.story.promise(pointer.end);
        }
        Ok(())
    }

    fn truncate(&mut self, wal: &Wal) -> Result<(), Error> {
        let durable = wal.positions().durable;
        let held = self.hold.as_ref().and_then(Hold::lsn);
        let unguarded = wal.checkpoints().is_empty();
        if unguarded {
            // Without a checkpoint the call itself says that the engine needs nothing before.
            self.story.release(durable);
        }
        let done = wal.truncate_before(durable)?;
        let past_hold = held.is_some_and(|held| done.head > held);
        if past_hold || done.head > durable {
            self.story.broken = Some(format!("truncated past {durable} or a hold: {done:?}"));
        }
        // A removal that fails leaves files for the next opening.
        if self.profile.trouble == Trouble::None {
            // The segment that is being written stays, though all before its end be released.
            let limit = Lsn::new(done.limit.get().saturating_sub(8)).unwrap_or(done.head);
            if let Some(name) = below_head(&self.disk, limit.max(done.head)) {
                self.story.broken = Some(format!("`{name}` is kept by {done:?}"));
            }
            if done.held_by.is_none() && done.limit < durable {
                self.story.broken =
                    Some(format!("asked up to {durable}, nobody objects: {done:?}"));
            }
        }
        if let Some(held) = held {
            let mut reader = wal.read_from(held)?;
            reading::forwards(&mut reader, Lsn::MAX, 1).map(drop)?;
        }
        Ok(())
    }

    fn hold(&mut self, wal: &Wal) -> Result<(), Error> {
        let durable = wal.positions().durable;
        match self.hold.take() {
            None => self.hold = Some(wal.hold("lab", durable, None)?),
            Some(hold) if self.rng.below(2) == 0 => {
                hold.advance(durable);
                self.hold = Some(hold);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Everything durable forwards, from the middle, then back, then the end: what was appended,
    /// and the same each way.
    fn read(&mut self, wal: &Wal) -> Result<(), Error> {
        let (head, durable) = (wal.head(), wal.positions().durable);
        let mut reader = wal.read_from(head)?;
        let there = reading::forwards(&mut reader, Lsn::MAX, usize::MAX)?;
        if let Err(reason) = self.story.read(&there, head, durable) {
            self.story.broken = Some(reason);
        }
        let middle = there.get(there.len() / 2..).unwrap_or_default();
        if let Some(&(lsn, _)) = middle.first() {
            let behind = reading::forwards(&mut wal.read_from(lsn)?, Lsn::MAX, usize::MAX)?;
            if behind != middle {
                self.story.broken = Some(format!("a log reads differently from {lsn} on"));
            }
        }
        let mut back = reading::backwards(&mut reader)?;
        back.reverse();
        if there != back {
            self.story.broken = Some("a log reads differently backwards".to_owned());
        }
        if let Some(&(lsn, number)) = there.last() {
            let mut tail = wal.tail(lsn)?;
            let next = tail.next_timeout(Duration::ZERO)?.map(|record| reading::entry(&record));
            if next != Some((lsn, number)) {
                self.story.broken = Some(format!("the tail at {lsn} gives {next:?}"));
            }
        }
        Ok(())
    }
}
