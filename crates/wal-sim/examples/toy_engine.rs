//! A toy engine under the crash explorer: four versions of its recovery, three of them wrong.
//!
//! The engine keeps records in one file. An append writes a record, a sync makes all before it
//! durable; an opening reads what is there, and makes it durable before anybody builds on it. Each planted bug leaves one
//! thing out of the opening, and is found within a second:
//!
//! ```sh
//! cargo run --package wal-sim --example toy_engine                          # sound: figures
//! cargo run --package wal-sim --example toy_engine -- --bug trusts-lengths  # found: how, and where
//! ```
//!
//! `--seed`, `--cases`, `--depth`, `--length`, `--time` (in seconds) and `--json` are those of any lab;
//! `--case` with `--seed` shows a failure again, as the failure prints it. Take this file as the
//! beginning of a lab for an engine of your own: replace `Engine`, and keep the rest.

use std::io::{self, IoSlice};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wal_io::{Access, LogFile, Storage};
use wal_sim::{
    Coverage, CrashMode, Explorer, Failure, FaultKind, Floors, Ledger, Notes, Seen, SimDisk,
};

// ---- The engine.

/// What an opening leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Nothing.
    None,
    /// The checksum: a record counts if its length does.
    TrustsLengths,
    /// Wiping what lies behind the last good record: it comes back when the gap is filled.
    LeavesTheTail,
    /// Writing and syncing what was found, which may be in the cache only.
    TrustsTheCache,
}

const FILE: &str = "toy.log";
const NEW_FILE: &str = "toy.tmp";
const FILE_BYTES: usize = 16 << 10;
/// The record's number, counted from 0, and the length of its body.
const HEAD_BYTES: usize = 8;
const SUM_BYTES: usize = 8;
/// Every body is as long, so that a new record fits where an old one was.
const BODY_BYTES: usize = 700;

/// A list of bodies that survives.
struct Engine {
    file: Box<dyn LogFile>,
    bodies: Vec<Vec<u8>>,
    end: usize,
}

impl Engine {
    /// Opens the file, if there is one, and recovers: what was read may be in the cache only, and
    /// behind it may lie what a crash cut off, so the good part becomes a new file.
    fn open(disk: &SimDisk, bug: Bug) -> io::Result<Self> {
        let mut bytes = vec![0; FILE_BYTES];
        let found = match disk.open(FILE, Access::Write) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(file) = &found {
            read_all(&**file, &mut bytes)?;
        }
        let mut bodies = Vec::new();
        let mut end = 0;
        while let Some(body) = decode(&bytes[end..], bodies.len(), bug) {
            end += HEAD_BYTES + body.len() + SUM_BYTES;
            bodies.push(body);
        }
        if bug != Bug::LeavesTheTail {
            bytes[end..].fill(0);
        }
        let file = match found {
            Some(file) if bug == Bug::TrustsTheCache => file,
            _ => replace(disk, &bytes)?,
        };
        Ok(Self { file, bodies, end })
    }

    /// Appends; the record is durable once a sync has returned.
    fn append(&mut self, body: &[u8]) -> io::Result<()> {
        let bytes = encode(self.bodies.len(), body);
        write_all(&*self.file, &bytes, self.end)?;
        self.end += bytes.len();
        self.bodies.push(body.to_vec());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// A new file with these bytes in place of the old one, once it is durable.
fn replace(disk: &SimDisk, bytes: &[u8]) -> io::Result<Box<dyn LogFile>> {
    match disk.remove(NEW_FILE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(NEW_FILE, bytes.len() as u64)?;
    write_all(&*file, bytes, 0)?;
    file.sync_all()?;
    disk.rename(NEW_FILE, FILE)?;
    disk.sync_dir()?;
    Ok(file)
}

fn encode(number: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes = (number as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
    bytes
}

/// The body of record `number` at the start of `bytes`, if one is there.
fn decode(bytes: &[u8], number: usize, bug: Bug) -> Option<Vec<u8>> {
    let found = u32::from_le_bytes(*bytes.first_chunk()?);
    let len = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?) as usize;
    let sum_at = HEAD_BYTES + len;
    let sum = u64::from_le_bytes(*bytes.get(sum_at..)?.first_chunk()?);
    let whole = bug == Bug::TrustsLengths || sum == checksum(&bytes[..sum_at]);
    (len > 0 && found as usize == number && whole).then(|| bytes[HEAD_BYTES..sum_at].to_vec())
}

fn checksum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, &byte: &u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Writes may be short, or interrupted.
fn write_all(file: &dyn LogFile, bytes: &[u8], offset: usize) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&[IoSlice::new(&bytes[done..])], (offset + done) as u64) {
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// So may reads. Stops where the file ends.
fn read_all(file: &dyn LogFile, bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], done as u64) {
            Ok(0) => return Ok(()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

// ---- The lab.

/// Identifiers from here on are those of records that the check appends.
const OURS: u64 = 1 << 32;

/// A body says which record it is, in every eight bytes.
fn body(id: u64) -> Vec<u8> {
    id.to_le_bytes().into_iter().cycle().take(BODY_BYTES).collect()
}

fn id(body: &[u8]) -> u64 {
    body.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
}

/// Appends `length` records, half of them after opening again, and syncs now and then. Stops at the
/// first error. Notes what it asks for before it asks, and a promise when it has it.
fn workload(disk: &SimDisk, told: &Notes<Ledger>, length: usize, bug: Bug) {
    let Ok(mut engine) = Engine::open(disk, bug) else { return };
    for number in 1..=length as u64 {
        if number == length as u64 / 2 {
            drop(engine);
            engine = match Engine::open(disk, bug) {
                Ok(engine) => engine,
                Err(_) => return,
            };
        }
        told.update(|ledger| ledger.append(number, body(number)));
        if engine.append(&body(number)).is_err() {
            return;
        }
        if number % 3 == 0 {
            if engine.sync().is_err() {
                return;
            }
            told.update(|ledger| ledger.acknowledge(number));
        }
    }
}

/// Opens what a crash left, asks the ledger, and sees that the engine is as good as new.
fn check(disk: &SimDisk, ledger: &Ledger, bug: Bug) -> Result<(), String> {
    let said = |error: io::Error| format!("it does not open: {error}");
    // A write-back that failed before the crash of a process is told to whoever syncs next, once.
    let opened = Engine::open(disk, bug).or_else(|_| Engine::open(disk, bug));
    let mut engine = opened.map_err(said)?;
    let mut expected = engine.bodies.clone();
    // A check that is cut and run again finds what it appended itself.
    let first = expected.iter().position(|body| id(body) >= OURS).unwrap_or(expected.len());
    let found = expected[..first].iter().map(|body| (id(body), body.clone()));
    ledger.check(found).map_err(|violation| violation.to_string())?;
    let next = body(OURS + (expected.len() - first) as u64);
    engine.append(&next).and_then(|()| engine.sync()).map_err(said)?;
    expected.push(next);
    drop(engine);
    let again = Engine::open(&disk.crash(CrashMode::LoseAll), bug).map_err(said)?;
    if again.bodies != expected {
        let ids: Vec<u64> = again.bodies.iter().map(|body| id(body)).collect();
        return Err(format!("{} records were there, then {ids:?}", expected.len()));
    }
    Ok(())
}

/// What is to be explored.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    /// What the engine leaves out.
    pub(crate) bug: Bug,
    /// The first seed; each case takes the next.
    pub(crate) seed: u64,
    /// How many cases.
    pub(crate) cases: u64,
    /// Power cuts in a row.
    pub(crate) depth: usize,
    /// How many records a workload appends at most.
    pub(crate) length: usize,
    /// No case is begun after this long.
    pub(crate) time: Option<Duration>,
}

impl Default for Lab {
    fn default() -> Self {
        Self { bug: Bug::None, seed: 1, cases: 4, depth: 2, length: 6, time: None }
    }
}

impl Lab {
    fn explorer(&self, seed: u64, seen: &Seen) -> Explorer {
        let bug = NAMES.iter().find(|(_, bug)| *bug == self.bug).map_or("none", |(name, _)| name);
        let Self { depth, length, .. } = self;
        Explorer::new(seed)
            .torn()
            .kills()
            .depth(self.depth)
            .states_per_cut(16)
            .recovery_cuts_max(6)
            .recovery_states_per_cut(3)
            .live_faults(11)
            .live_cuts_max(4)
            .seen(seen)
            .command(&format!(
                "cargo run --package wal-sim --example toy_engine -- --bug {bug} --depth {depth} \
                 --length {length}"
            ))
    }

    /// Explores all cases; `told` is called after each.
    ///
    /// # Errors
    ///
    /// The first broken promise, in the shortest workload and the smallest state that show it.
    pub(crate) fn run(&self, told: impl Fn(u64, &Coverage)) -> Result<Coverage, Box<Failure>> {
        let (seen, began) = (Seen::default(), Instant::now());
        let mut all = Coverage::default();
        for case in 0..self.cases {
            if self.time.is_some_and(|time| began.elapsed() >= time) {
                break;
            }
            let coverage = self.explorer(self.seed + case, &seen).record_sized(
                self.length,
                |disk, told, length| workload(disk, told, length, self.bug),
                |disk: SimDisk, ledger: &Ledger| check(&disk, ledger, self.bug),
            )?;
            all.merge(&coverage);
            told(case + 1, &all);
        }
        Ok(all)
    }

    /// Shows one case again.
    ///
    /// # Errors
    ///
    /// The failure, if it is still there.
    pub(crate) fn replay(&self, case: &str) -> Result<Coverage, Box<Failure>> {
        self.explorer(self.seed, &Seen::default()).replay_sized(
            case,
            |disk, told, length| workload(disk, told, length, self.bug),
            |disk: SimDisk, ledger: &Ledger| check(&disk, ledger, self.bug),
        )
    }
}

/// What a lab must have met to be believed.
#[must_use]
pub(crate) fn floors() -> Floors {
    let crash = [FaultKind::TornSector, FaultKind::LostSector, FaultKind::ProcessKill];
    Floors::new()
        .distinct(100)
        .faults(&crash, 50)
        .fault(FaultKind::SyncFailed, 5)
        .fault(FaultKind::WritebackLost, 5)
}

// ---- The command line.

const NAMES: [(&str, Bug); 4] = [
    ("none", Bug::None),
    ("trusts-lengths", Bug::TrustsLengths),
    ("leaves-the-tail", Bug::LeavesTheTail),
    ("trusts-the-cache", Bug::TrustsTheCache),
];

/// What was asked for: the lab, one case of it alone, and whether figures are to be JSON.
fn asked() -> Option<(Lab, Option<String>, bool)> {
    let (mut lab, mut case, mut json, mut cases) = (Lab::default(), None, false, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--json" {
            json = true;
            continue;
        }
        let value = words.next()?;
        match word.as_str() {
            "--bug" => lab.bug = NAMES.iter().find(|(name, _)| *name == value)?.1,
            "--seed" => lab.seed = value.parse().ok()?,
            "--cases" => cases = Some(value.parse().ok()?),
            "--depth" => lab.depth = value.parse().ok()?,
            "--length" => lab.length = value.parse().ok()?,
            "--time" => lab.time = Some(Duration::from_secs(value.parse().ok()?)),
            "--case" => case = Some(value),
            _ => return None,
        }
    }
    // Time is there to be used up.
    lab.cases = cases.unwrap_or(if lab.time.is_some() { u64::MAX } else { lab.cases });
    Some((lab, case, json))
}

fn main() -> ExitCode {
    let Some((lab, case, json)) = asked() else {
        let bugs = NAMES.map(|(name, _)| name).join("|");
        eprintln!(
            "--bug {bugs} --seed N --cases N --depth N --length N --time SECONDS --case C --json"
        );
        return ExitCode::from(2);
    };
    let began = Instant::now();
    let told = |case: u64, all: &Coverage| eprintln!("case {case}: {all}");
    let explored = match &case {
        Some(case) => lab.replay(case),
        None => lab.run(told),
    };
    let seconds = began.elapsed().as_secs_f64();
    match explored {
        Err(failure) => {
            println!("BROKEN after {seconds:.1} s: {failure}");
            ExitCode::FAILURE
        }
        Ok(_) if case.is_some() => {
            println!("nothing is broken in it");
            ExitCode::SUCCESS
        }
        Ok(all) => {
            println!("{}", if json { all.to_json() } else { all.to_string() });
            let below = all.below(&floors());
            below.iter().for_each(|below| eprintln!("below its floor: {below}"));
            if below.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}
