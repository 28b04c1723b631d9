//! Several threads on one log, under a scheduler which follows from the seed.
//!
//! Built with `--cfg shuttle` the commit path runs on shuttle's locks, and who goes on at each of
//! them, and at each write and sync of a segment, is drawn from the seed: crashes fall between any
//! two steps of a group, a rotation, a checkpoint, a truncation or a close, and are seen again.
//! Without it the workload `threads` runs on one thread, as any other.

use parking_lot::Mutex;
use wal_sim::SimDisk;

use crate::check::check;
use crate::figures::Figures;
use crate::profile::Profile;
use crate::run::run;
use crate::story::Story;

/// Whether this program was built for the scheduler.
pub const SCHEDULED: bool = cfg!(shuttle);

/// Runs a workload, whatever its kind.
#[cfg(not(shuttle))]
#[must_use]
pub fn workload(disk: &SimDisk, profile: &'static Profile, seed: u64, steps: u32) -> Story {
    run(disk, profile, seed, steps)
}

/// Judges a crash state.
///
/// # Errors
///
/// As [`check`].
#[cfg(not(shuttle))]
pub fn judge(
    disk: &SimDisk,
    story: &Story,
    profile: &'static Profile,
    figures: &Mutex<Figures>,
) -> Result<(), String> {
    check(disk, story, profile, figures)
}

#[cfg(shuttle)]
pub use scheduled::{judge, workload};

#[cfg(shuttle)]
mod scheduled {
    use std::sync::Arc;

    use shuttle::scheduler::RandomScheduler;
    use shuttle::{Config, FailurePersistence, MaxSteps, Runner, thread};
    use wal::{Error, ErrorKind, Fate, RedoOnly, Threads, Ticket, Wal};
    use wal_sim::SimRng;

    use super::*;
    use crate::action::Action;
    use crate::body::{Size, body};
    use crate::engine::{Engine, snapshot};
    use crate::profile::Kind;
    use crate::run::finish;
    use crate::witness::Witness;

    const STACK_BYTES: usize = 1 << 20;
    const STEPS_MAX: usize = 2_000_000;

    /// Runs `body` once under the scheduler of `seed`.
    fn scheduled<T: Send + 'static>(
        seed: u64,
        body: impl Fn() -> T + Send + Sync + 'static,
    ) -> Option<T> {
        let mut config = Config::new();
        config.stack_size = STACK_BYTES;
        config.failure_persistence = FailurePersistence::None;
        config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
        let done = Arc::new(Mutex::new(None));
        let theirs = Arc::clone(&done);
        Runner::new(RandomScheduler::new_from_seed(seed, 1), config).run(move || {
            let value = body();
            *theirs.lock() = Some(value);
        });
        let value = done.lock().take();
        value
    }

    /// Runs a workload, whatever its kind.
    #[must_use]
    pub fn workload(disk: &SimDisk, profile: &'static Profile, seed: u64, steps: u32) -> Story {
        let theirs = disk.clone();
        let story = scheduled(seed, move || match profile.kind {
            Kind::Threads => together(&theirs, profile, seed, steps),
            _ => run(&theirs, profile, seed, steps),
        });
        let story = story.unwrap_or_else(|| {
            let mut story = Story::default();
            story.broken = Some("the workload did not end".to_owned());
            story
        });
        finish(disk, story)
    }

    /// Judges a crash state.
    ///
    /// # Errors
    ///
    /// As [`check`].
    pub fn judge(
        disk: &SimDisk,
        story: &Story,
        profile: &'static Profile,
        figures: &Mutex<Figures>,
    ) -> Result<(), String> {
        let (disk, story) = (disk.clone(), story.clone());
        let judged = scheduled(0, move || {
            let figures = Mutex::new(Figures::default());
            let judged = check(&disk, &story, profile, &figures);
            (judged, figures.into_inner())
        });
        let Some((judged, counted)) = judged else {
            return Err("the recovery did not end".to_owned());
        };
        figures.lock().merge(&counted);
        judged
    }

    /// What all threads of a workload share. The story's lock is never held over a call of the
    /// log: the scheduler may switch threads in any of them.
    #[derive(Clone)]
    struct Shared {
        wal: Wal,
        story: Arc<Mutex<Story>>,
        /// An engine applies what it logs under one lock with the logging.
        turn: Arc<shuttle::sync::Mutex<()>>,
    }

    fn together(disk: &SimDisk, profile: &Profile, seed: u64, steps: u32) -> Story {
        let mut story = Story::default();
        let mut engine = Engine::default();
        let opened = profile
            .options()
            .threads(Threads::Helper)
            .flushes_in_flight(1 + (seed % 3) as usize)
            .recover_with(RedoOnly::default())
            .open_in(Arc::new(Witness::new(disk)), &mut engine);
        let Ok(wal) = opened else { return story };
        (story.openings, story.during) = (1, Action::Threads);
        let story = Arc::new(Mutex::new(story));
        let turn = Arc::new(shuttle::sync::Mutex::new(()));
        let shared = Shared { wal, story, turn };
        let mut rng = SimRng::new(seed);
        let mut threads: Vec<_> = (0..2 + rng.below(3))
            .map(|_| {
                spawn(&shared, rng.next_u64(), move |shared, rng| {
                    let done = (0..steps).try_for_each(|_| shared.commit(rng));
                    let poisoned = |error: &Error| error.kind() == ErrorKind::Poisoned;
                    let poisoned = done.as_ref().is_err_and(|error| poisoned(error));
                    shared.story.lock().poisonings += u64::from(poisoned);
                    done
                })
            })
            .collect();
        threads.push(spawn(&shared, rng.next_u64(), |shared, _| {
            (0..2).try_for_each(|_| shared.checkpoint())
        }));
        threads.push(spawn(&shared, rng.next_u64(), |shared, _| {
            (0..3).try_for_each(|_| {
                thread::yield_now();
                shared.wal.truncate_before(shared.wal.positions().durable).map(drop)
            })
        }));
        for thread in threads {
            let _ = thread.join();
        }
        let Shared { wal, story, .. } = shared;
        // Threads may have ended by a failure: what is acknowledged from now on must be true.
        if wal.sync().is_ok() {
            let durable = wal.positions().durable;
            let mut story = story.lock();
            story.promise(durable);
            if story.poisonings > 0 {
                story.broken = Some("a poisoned log acknowledged".to_owned());
            }
        }
        if rng.below(2) == 0 {
            story.lock().during = Action::Reopen;
            let _ = wal.close();
        }
        let durable = wal.positions().durable;
        drop(wal);
        let mut story = story.lock().clone();
        story.promise(durable);
        story
    }

    /// A thread that goes on until an error; after a power cut there is nothing but errors.
    fn spawn(
        shared: &Shared,
        seed: u64,
        body: impl FnOnce(&Shared, &mut SimRng) -> Result<(), Error> + Send + 'static,
    ) -> thread::JoinHandle<()> {
        let shared = shared.clone();
        thread::spawn(move || {
            let _ = body(&shared, &mut SimRng::new(seed));
        })
    }

    impl Shared {
        fn turn(&self) -> shuttle::sync::MutexGuard<'_, ()> {
            self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        /// One record, batch or transaction, waited for or not.
        fn commit(&self, rng: &mut SimRng) -> Result<(), Error> {
            let (count, size) = match rng.below(8) {
                0 => (1, Size::Large),
                1..=3 => (1, Size::Medium),
                4..=5 => (2 + rng.below(3), Size::Small),
                _ => (1, Size::Small),
            };
            let in_txn = rng.below(4) == 0 && size == Size::Small;
            let turn = self.turn();
            let (numbers, step) = {
                let mut story = self.story.lock();
                let numbers = story.numbers(count, size);
                (numbers.clone(), story.issue(numbers))
            };
            let bodies: Vec<Vec<u8>> = numbers.iter().map(|number| body(*number)).collect();
            let asked = if in_txn { self.transaction(&bodies) } else { self.append(&bodies) };
            let ticket = match asked {
                Ok(ticket) => ticket,
                Err(error) => {
                    if error.fate() == Fate::NotCommitted {
                        self.story.lock().never(step, "was refused");
                    }
                    return Err(error);
                }
            };
            self.story.lock().placed(step, ticket.lsn(), ticket.end());
            drop(turn);
            if rng.below(3) > 0 {
                ticket.wait_durable()?;
                self.story.lock().promise(ticket.end());
            }
            let written = self.wal.positions().written;
            self.story.lock().wrote(written);
            Ok(())
        }

        fn append(&self, bodies: &[Vec<u8>]) -> Result<Ticket, Error> {
            match bodies {
                [one] => self.wal.append(one),
                many => self.wal.append_batch(many),
            }
        }

        fn transaction(&self, bodies: &[Vec<u8>]) -> Result<Ticket, Error> {
            let mut txn = self.wal.begin();
            for body in bodies {
                txn.log(body)?;
            }
            txn.commit_ticket(0).map(|(_, ticket)| ticket)
        }

        fn checkpoint(&self) -> Result<(), Error> {
            let turn = self.turn();
            let checkpoint = self.wal.checkpoint_begin()?;
            let payload = {
                let mut story = self.story.lock();
                let payload = snapshot(&story.state_before(checkpoint.begin_lsn()));
                story.bytes += payload.len() as u64 + 200;
                payload
            };
            drop(turn);
            let pointer = checkpoint.complete(&payload)?;
            self.story.lock().promise(pointer.end);
            Ok(())
        }
    }
}
