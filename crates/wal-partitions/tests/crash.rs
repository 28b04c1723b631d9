//! Partitions on independent disks that lose power together: between any two operations of any two
//! of them, in recovery again, and in the recovery from that.
//!
//! The oracle: what was acknowledged is there, in every partition; of a batch across partitions all is
//! there or nothing; what a recovery found or gave up stays so; and within a partition nothing that
//! stands alone is missing before something that is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::io;

use common::{Op, Rig, opener};
use wal::{CheckpointView, RedoTarget, ReplayRecord};
use wal_partitions::{AcrossTicket, Error, Partitions};
use wal_sim::SimRng;

const PARTITIONS: usize = 3;
/// Crash states looked at for each place of the power cut.
const STATES: usize = 5;

/// What an engine holds of one partition: numbers, in the order of their log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Engine(Vec<u64>);

impl RedoTarget for Engine {
    type Error = io::Error;

    fn restore(&mut self, checkpoint: &CheckpointView<'_>) -> Result<(), io::Error> {
        self.0 = checkpoint.payload.chunks(8).map(number).collect();
        Ok(())
    }

    /// A snapshot may hold what follows its begin.
    fn redo(&mut self, record: &ReplayRecord<'_>) -> Result<(), io::Error> {
        let number = number(record.body);
        if !self.0.contains(&number) {
            self.0.push(number);
        }
        Ok(())
    }
}

fn number(body: &[u8]) -> u64 {
    u64::from_le_bytes(body[..8].try_into().unwrap())
}

/// Long enough that segments rotate within a run.
fn body(number: u64) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(8 + (number as usize * 997) % 3000, number as u8);
    body
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Asked,
    Promised,
    Never,
}

/// Something asked for: numbers in one partition or more.
#[derive(Clone, Debug)]
struct Step {
    parts: BTreeMap<usize, Vec<u64>>,
    fate: Fate,
}

#[derive(Clone, Debug, Default)]
struct Story {
    steps: Vec<Step>,
    next: u64,
}

impl Story {
    fn ask(&mut self, partitions: &[usize], count: u64) -> usize {
        let mut parts = BTreeMap::new();
        for partition in partitions {
            parts.insert(*partition, (self.next..self.next + count).collect());
            self.next += count;
        }
        self.steps.push(Step { parts, fate: Fate::Asked });
        self.steps.len() - 1
    }

    /// Everything alone in `partition` so far is promised.
    fn promise_all_of(&mut self, partition: usize) {
        for step in &mut self.steps {
            if step.parts.len() == 1
                && step.parts.contains_key(&partition)
                && step.fate != Fate::Never
            {
                step.fate = Fate::Promised;
            }
        }
    }

    /// Judges what is there; then holds later recoveries to it.
    fn judge(&mut self, found: &[Engine]) -> Result<(), String> {
        let mut places: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        for (partition, engine) in found.iter().enumerate() {
            for (at, number) in engine.0.iter().enumerate() {
                if places.insert(*number, (partition, at)).is_some() {
                    return Err(format!("record {number} is there twice"));
                }
            }
        }
        let mut missing_alone = [false; PARTITIONS];
        let mut last = [None; PARTITIONS];
        for step in &mut self.steps {
            let parts = step.parts.iter();
            let there: Vec<bool> = parts
                .flat_map(|(partition, numbers)| {
                    let places = &places;
                    numbers.iter().map(move |number| {
                        places.get(number).is_some_and(|(at, _)| at == partition)
                    })
                })
                .collect();
            let whole = there.iter().all(|there| *there);
            if !whole && there.iter().any(|there| *there) {
                return Err(format!("{:?} is there in part", step.parts));
            }
            match step.fate {
                Fate::Promised if !whole => {
                    return Err(format!("{:?} was promised and is gone", step.parts));
                }
                Fate::Never if whole => {
                    return Err(format!("{:?} was given up and is there", step.parts));
                }
                _ => {}
            }
            for (partition, numbers) in step.parts.iter().filter(|_| whole) {
                if step.parts.len() == 1 && missing_alone[*partition] {
                    return Err(format!("{numbers:?} is there, and something before it is not"));
                }
                for number in numbers {
                    let at = Some(places.remove(number).unwrap().1);
                    if at <= last[*partition] {
                        return Err(format!("record {number} is out of order"));
                    }
                    last[*partition] = at;
                }
            }
            if !whole && step.parts.len() == 1 && step.fate == Fate::Asked {
                missing_alone[*step.parts.keys().next().unwrap()] = true;
            }
            step.fate = if whole { Fate::Promised } else { Fate::Never };
        }
        match places.keys().next() {
            Some(number) => Err(format!("record {number} was never asked for")),
            None => Ok(()),
        }
    }
}

fn open(rig: &Rig) -> Result<(Partitions, Vec<Engine>), Error> {
    let mut engines = vec![Engine::default(); PARTITIONS];
    let partitions = opener().recover(&rig.storages().0, PARTITIONS, &mut engines)?;
    Ok((partitions, engines))
}

/// A run under way: the engine applies what is ordered, before it is durable.
struct Run {
    partitions: Partitions,
    engines: Vec<Engine>,
    waiting: Vec<(usize, AcrossTicket)>,
}

impl Run {
    fn begin(rig: &Rig, story: &mut Story) -> Result<Self, Error> {
        let (partitions, engines) = open(rig)?;
        story.judge(&engines).unwrap_or_else(|reason| panic!("opened with the power on: {reason}"));
        Ok(Self { partitions, engines, waiting: Vec::new() })
    }

    fn apply(&mut self, step: &Step) {
        for (partition, numbers) in &step.parts {
            self.engines[*partition].0.extend(numbers);
        }
    }

    /// One random action. Errors end the run: after a power cut nothing works.
    fn act(&mut self, rng: &mut SimRng, story: &mut Story) -> Result<(), Error> {
        let index = rng.below(PARTITIONS as u64) as usize;
        let partition = self.partitions.partition(index)?;
        match rng.below(14) {
            0..=2 => {
                let step = story.ask(&[index], 1);
                let number = story.steps[step].parts[&index][0];
                let ticket = partition.append(&body(number))?;
                self.apply(&story.steps[step]);
                if rng.below(3) == 0 {
                    ticket.wait_durable().map_err(|source| Error::Partition {
                        name: index.to_string(),
                        source: Box::new(source),
                    })?;
                    story.promise_all_of(index);
                }
            }
            3..=8 => self.across(rng, story)?,
            9 => {
                partition.sync()?;
                story.promise_all_of(index);
            }
            10..=11 => {
                let checkpoint = partition.checkpoint_begin()?;
                if rng.below(3) == 0 {
                    // Writers go on, and the snapshot holds what they did.
                    self.across(rng, story)?;
                }
                let snapshot: Vec<u8> =
                    self.engines[index].0.iter().flat_map(|number| number.to_le_bytes()).collect();
                checkpoint.complete(&snapshot)?;
                story.promise_all_of(index);
                partition.truncate_before(partition.positions().durable)?;
            }
            12 => {
                if let Some((step, ticket)) = self.waiting.pop() {
                    ticket.wait_durable()?;
                    story.steps[step].fate = Fate::Promised;
                }
            }
            _ => self.read(index, story)?,
        }
        Ok(())
    }

    fn across(&mut self, rng: &mut SimRng, story: &mut Story) -> Result<(), Error> {
        let mut participants: Vec<usize> = (0..PARTITIONS).collect();
        if rng.below(3) > 0 {
            participants.remove(rng.below(PARTITIONS as u64) as usize);
        }
        let step = story.ask(&participants, 1 + rng.below(2));
        let bodies: Vec<(usize, Vec<Vec<u8>>)> = story.steps[step]
            .parts
            .iter()
            .map(|(at, numbers)| (*at, numbers.iter().map(|number| body(*number)).collect()))
            .collect();
        let parts: Vec<(usize, &[Vec<u8>])> =
            bodies.iter().map(|(at, bodies)| (*at, bodies.as_slice())).collect();
        let ticket = self.partitions.append_across(&parts)?;
        self.apply(&story.steps[step]);
        match rng.below(4) {
            0 => {}
            1 => self.waiting.push((step, ticket)),
            _ => {
                ticket.wait_durable()?;
                story.steps[step].fate = Fate::Promised;
            }
        }
        Ok(())
    }

    /// What a reader shows of a batch is there in every participant, whatever happens from then on.
    fn read(&self, index: usize, story: &mut Story) -> Result<(), Error> {
        let partition = self.partitions.partition(index)?;
        let mut reader = partition.read_from(partition.head())?;
        while let Some(record) = reader.next()? {
            if record.kind() != wal::RecordKind::DATA {
                continue;
            }
            let number = number(record.body);
            let shown = |step: &&mut Step| {
                step.parts.get(&index).is_some_and(|numbers| numbers.contains(&number))
            };
            if let Some(step) = story.steps.iter_mut().find(shown) {
                assert_ne!(step.fate, Fate::Never, "a reader shows what never counts");
                step.fate = Fate::Promised;
            }
        }
        Ok(())
    }
}

/// Runs until the power goes or the steps are done.
fn run(rig: &Rig, seed: u64, steps: u32, story: &mut Story) -> Result<(), Error> {
    let mut rng = SimRng::new(seed);
    let mut run = Run::begin(rig, story)?;
    for _ in 0..steps {
        if rng.below(16) == 0 {
            drop(run);
            // What was only ordered may be gone; what was found is kept from now on.
            run = Run::begin(rig, story)?;
        }
        run.act(&mut rng, story)?;
    }
    if rng.below(2) == 0 { run.partitions.close() } else { Ok(()) }
}

/// Recovers, judges, and goes on: new work, a checkpoint of one partition, and a cut that leaves
/// nothing but what is durable.
fn check(rig: &Rig, mut story: Story, rng: &mut SimRng, case: &str) {
    let (partitions, engines) = open(rig).unwrap_or_else(|error| panic!("{case}: {error}"));
    story.judge(&engines).unwrap_or_else(|reason| panic!("{case}: {reason}\n{engines:?}"));
    let mut run = Run { partitions, engines, waiting: Vec::new() };
    for index in 0..PARTITIONS {
        run.read(index, &mut story).unwrap_or_else(|error| panic!("{case}, reading: {error}"));
    }
    for _ in 0..3 {
        run.act(rng, &mut story).unwrap_or_else(|error| panic!("{case}, going on: {error}"));
    }
    drop(run);
    let again = rig.crash_number(rng.below(4) as usize, rng);
    let (_, engines) = open(&again).unwrap_or_else(|error| panic!("{case}, again: {error}"));
    story.judge(&engines).unwrap_or_else(|reason| panic!("{case}, again: {reason}\n{engines:?}"));
}

/// Power goes during an operation of the recovery, on any disk; twice.
fn check_interrupted(rig: &Rig, story: &Story, rng: &mut SimRng, case: &str) -> u64 {
    let mut rig = rig.fork();
    for depth in 2..=3 {
        let rehearsal = rig.fork();
        let (storages, ops) = rehearsal.storages();
        let mut engines = vec![Engine::default(); PARTITIONS];
        opener().recover(&storages, PARTITIONS, &mut engines).map(drop).unwrap();
        let ops: Vec<Op> = ops.lock().unwrap().clone();
        let Some(op) = ops.get(rng.below(ops.len() as u64) as usize) else { return 0 };
        let interrupted = rig.fork();
        interrupted.power_cut_at(*op);
        drop(open(&interrupted));
        assert!(interrupted.is_off());
        rig = interrupted.crash_number(3, rng);
        let case = format!("{case}, then during {op:?} of recovery, {depth} cuts");
        check(&rig.fork(), story.clone(), rng, &case);
    }
    2
}

/// Cuts the power in every operation of the workload of `seed`; returns states judged.
fn explore(seed: u64, steps: u32, every: usize) -> u64 {
    let ops = rehearse(seed, steps);
    let mut rng = SimRng::new(seed ^ 0xffff);
    let mut states = 0;
    for op in ops.iter().skip(seed as usize % every).step_by(every) {
        let rig = Rig::new(PARTITIONS);
        rig.power_cut_at(*op);
        let mut story = Story::default();
        let cut = run(&rig, seed, steps, &mut story);
        assert!(rig.is_off(), "the power cut did not come: {cut:?}");
        for number in 0..STATES {
            let case = format!("seed {seed}, cut during {op:?}, state {number}");
            let state = rig.crash_number(number, &mut rng);
            if number == 3 {
                states += check_interrupted(&state, &story, &mut rng, &case);
            }
            check(&state, story.clone(), &mut rng, &case);
            states += 1;
        }
    }
    states
}

/// All operations of the workload, in order.
fn rehearse(seed: u64, steps: u32) -> Vec<Op> {
    let rig = Rig::new(PARTITIONS);
    run(&rig, seed, steps, &mut Story::default()).unwrap();
    // Each disk counts for itself: their operations together are all there are.
    let ops = rig.disks.iter().enumerate();
    ops.flat_map(|(disk, of)| (1..=of.ops()).map(move |op| (disk, op))).collect()
}

#[test]
fn a_batch_is_there_whole_or_not_at_all_wherever_the_power_goes() {
    let states: u64 = (1..=3).map(|seed| explore(seed, 24, 23)).sum();
    assert!(states > 180, "only {states} crash states were looked at");
}

/// As many cases as are asked for, every operation cut: `cargo xtask sim --workload partitions`.
#[test]
#[ignore = "the slice above runs always; this one as long as it is asked to"]
fn the_whole_exploration_of_partitions() {
    let asked = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (first, cases) = (asked("WAL_SIM_SEED", 1), asked("WAL_SIM_CASES", 16));
    let mut states = 0;
    for seed in first..first + cases {
        states += explore(seed, 40, 1);
        println!("partitions: seed {seed}, {states} states judged, nothing is broken");
    }
}
