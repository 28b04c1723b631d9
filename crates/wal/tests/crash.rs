//! The whole log on the simulated disk: power cut during every operation of a workload, every
//! legal disk afterwards (or a seeded sample), and again during the recovery from it.
//!
//! The oracle: the engine's state after recovery is the state after some prefix of what was
//! issued, at least as long as what was acknowledged as durable. Batches and transactions are one
//! step, aborted transactions none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io;
use std::sync::Arc;

use wal::{
    CheckpointView, Error, Options, RedoOnly, RedoTarget, ReplayRecord, Storage, Threads, Wal,
};
use wal_sim::{CrashMode, SimDisk, SimRng};

/// Names the workload to replay; printed by every failure.
const SEED: u64 = 2026;
/// Crash states looked at for each place of the power cut.
const STATES: usize = 8;

/// What an engine holds: numbers, in the order in which they were applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Engine(Vec<u64>);

impl RedoTarget for Engine {
    type Error = io::Error;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), io::Error> {
        self.0 = checkpoint.payload.chunks(8).map(number).collect();
        Ok(())
    }

    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), io::Error> {
        self.0.push(number(record.body));
        Ok(())
    }
}

/// Bodies are a number and filling, so that records differ in length.
fn number(body: &[u8]) -> u64 {
    u64::from_le_bytes(body[..8].try_into().unwrap())
}

fn body(number: u64) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(8 + (number as usize * 37) % 700, number as u8);
    body
}

/// What was issued, step by step, and how many steps are acknowledged as durable.
#[derive(Clone, Debug, Default)]
struct Issued {
    steps: Vec<Vec<u64>>,
    acknowledged: usize,
    next: u64,
}

impl Issued {
    fn numbers(&mut self, count: u64) -> Vec<u64> {
        let first = self.next;
        self.next += count;
        (first..self.next).collect()
    }

    fn engine(&self) -> Vec<u64> {
        self.steps.concat()
    }

    /// Whether `found` is what some legal prefix of the steps leaves; the length of that prefix.
    fn explains(&self, found: &Engine) -> Option<usize> {
        let mut state = Vec::new();
        let mut explained = None;
        for steps in 0..=self.steps.len() {
            if steps > 0 {
                state.extend_from_slice(&self.steps[steps - 1]);
            }
            if steps >= self.acknowledged && state == found.0 {
                explained = Some(steps);
            }
        }
        explained
    }
}

fn options() -> Options {
    Options::default().segment_bytes(64 << 10).buffer_bytes(16 << 10).threads(Threads::None)
}

fn open(disk: &SimDisk, engine: &mut Engine) -> Result<Wal, Error> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    options().recover_with(RedoOnly::default()).open_in(storage, engine)
}

/// One random step. Errors end the workload: after a power cut nothing works.
fn step(wal: &Wal, rng: &mut SimRng, issued: &mut Issued) -> Result<(), Error> {
    match rng.below(12) {
        0..=3 => {
            let numbers = issued.numbers(1);
            issued.steps.push(numbers.clone());
            let ticket = wal.append(&body(numbers[0]))?;
            if rng.below(2) == 0 {
                ticket.wait_durable()?;
                issued.acknowledged = issued.steps.len();
            }
        }
        4..=5 => {
            let count = 2 + rng.below(4);
            let numbers = issued.numbers(count);
            issued.steps.push(numbers.clone());
            let bodies: Vec<_> = numbers.iter().map(|number| body(*number)).collect();
            wal.append_batch(&bodies)?.wait_durable()?;
            issued.acknowledged = issued.steps.len();
        }
        6..=7 => {
            let numbers = issued.numbers(3);
            let mut txn = wal.begin();
            for number in &numbers {
                txn.log(&body(*number))?;
            }
            issued.steps.push(numbers);
            txn.commit()?;
            issued.acknowledged = issued.steps.len();
        }
        8 => {
            let mut txn = wal.begin();
            for number in issued.numbers(2) {
                txn.log(&body(number))?;
            }
            txn.abort()?;
        }
        9 => {
            wal.sync()?;
            issued.acknowledged = issued.steps.len();
        }
        10 => {
            let checkpoint = wal.checkpoint_begin()?;
            let payload: Vec<u8> =
                issued.engine().iter().flat_map(|number| number.to_le_bytes()).collect();
            checkpoint.complete(&payload)?;
            issued.acknowledged = issued.steps.len();
        }
        _ => {
            let durable = wal.positions().durable;
            wal.truncate_before(durable)?;
        }
    }
    Ok(())
}

/// Runs until the power goes or the steps are done.
fn run(disk: &SimDisk, seed: u64, steps: u32, issued: &mut Issued) -> Result<(), Error> {
    let mut rng = SimRng::new(seed);
    let mut engine = Engine::default();
    let wal = open(disk, &mut engine)?;
    for _ in 0..steps {
        step(&wal, &mut rng, issued)?;
    }
    if rng.below(2) == 0 { wal.close() } else { Ok(()) }
}

/// Recovers, holds the result against what was issued, and shows that the log works again.
fn check(disk: &SimDisk, issued: &Issued, case: &str) {
    let mut engine = Engine::default();
    let wal = open(disk, &mut engine)
        .unwrap_or_else(|error| panic!("{case}: {error}; files: {:?}", disk.names()));
    let kept = issued.explains(&engine).unwrap_or_else(|| {
        panic!(
            "{case}: acknowledged {} of {} steps, {:?}, found {:?}",
            issued.acknowledged,
            issued.steps.len(),
            issued.engine(),
            engine.0
        )
    });
    let marker = u64::MAX;
    wal.append(&marker.to_le_bytes()).unwrap().wait_durable().unwrap();
    drop(wal);
    let mut again = Engine::default();
    let wal = open(&disk.crash(CrashMode::LoseAll), &mut again);
    wal.unwrap_or_else(|error| panic!("{case}, again: {error}"));
    let mut expected: Vec<u64> = issued.steps[..kept].concat();
    expected.push(marker);
    assert_eq!(again.0, expected, "{case}: what was found once is found again, and the new record");
}

/// Power goes during operation `op` of the recovery itself; then it recovers for good.
fn check_interrupted(disk: &SimDisk, issued: &Issued, rng: &mut SimRng, case: &str) {
    let rehearsal = disk.fork();
    open(&rehearsal, &mut Engine::default()).map(drop).unwrap();
    let ops = rehearsal.ops() - disk.ops();
    if ops == 0 {
        return;
    }
    let interrupted = disk.fork();
    let op = 1 + rng.below(ops);
    if std::env::var("DBG").is_ok() {
        eprintln!("{case} files {:?}", disk.names());
        for n in 1..=ops {
            let d = disk.fork();
            d.power_cut_at(disk.ops() + n);
            let _ = open(&d, &mut Engine::default());
            eprintln!("  {n}: {:?}", d.last_op());
        }
    }
    interrupted.power_cut_at(disk.ops() + op);
    let _cut = open(&interrupted, &mut Engine::default());
    let state = interrupted.crash(CrashMode::Random(rng.next_u64()));
    check(&state, issued, &format!("{case}, then during operation {op} of the recovery"));
}

fn explore(seed: u64, steps: u32) -> u64 {
    let disk = SimDisk::new();
    run(&disk, seed, steps, &mut Issued::default()).unwrap();
    let ops = disk.ops();
    let mut rng = SimRng::new(seed ^ 0xffff);
    let mut states = 0;
    for op in 1..=ops {
        let disk = SimDisk::new();
        disk.power_cut_at(op);
        let mut issued = Issued::default();
        let cut = run(&disk, seed, steps, &mut issued);
        assert!(disk.is_off(), "the power cut did not come: {cut:?}");
        for (number, state) in disk.crash_states(STATES, seed).torn().enumerate() {
            let case = format!("seed {seed}, cut during operation {op} of {ops}, state {number}");
            check_interrupted(&state, &issued, &mut rng, &case);
            check(&state, &issued, &case);
            states += 1;
        }
    }
    states
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_goes() {
    let states: u64 = (0..3).map(|run| explore(SEED + run, 40)).sum();
    assert!(states > 500, "only {states} crash states were looked at");
}

#[test]
fn a_log_that_acknowledges_without_a_sync_is_caught() {
    // The detector fires: what was acknowledged here was only written.
    let disk = SimDisk::new();
    let mut issued = Issued::default();
    let wal = open(&disk, &mut Engine::default()).unwrap();
    let numbers = issued.numbers(1);
    wal.append(&body(numbers[0])).unwrap().wait_written().unwrap();
    issued.steps.push(numbers);
    issued.acknowledged = 1;
    let mut engine = Engine::default();
    open(&disk.crash(CrashMode::LoseAll), &mut engine).unwrap();
    assert_eq!(issued.explains(&engine), None);
}
