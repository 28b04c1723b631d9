//! Judging one crash state: restart, audit the books, and see that the bank is as good as new.
//!
//! A check may itself lose power, and be run again on what that leaves. What it found and promised
//! stands in a note on the disk, and so does the step of restart that it was in: no power cut takes
//! them away, and no bank reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use wal::{Lsn, LsnRange, Phase, Progress};
use wal_sim::{CrashMode, SimDisk};

use crate::engine::{Engine, Shape};
use crate::error::BankError;
use crate::figures::Figures;
use crate::story::{Books, Doubt, Effect, Serial, Story};

const NOTE: &str = "lab-note";
const STEP: &str = "lab-step";

/// In how many states a restart is cut in its analysis: one in so many. It writes nothing, so no
/// cut at an operation falls there.
const ANALYSIS_EVERY: u64 = 8;
/// In how many states the bank is closed, and opened once more.
const CLOSE_EVERY: u64 = 4;
/// Records that a restart may read when nothing was done since the checkpoint before.
const ANALYSED_MAX: u64 = 8;
/// Serials of what checks post lie above all others.
const CHECKS_FROM: Serial = 1 << 40;

/// What earlier checks of the same disk found and promised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Note {
    /// Transactions in doubt that a restart found, to be decided by the check.
    doubts: Option<Vec<Serial>>,
    /// How many of the commits that nobody was promised are there.
    kept: Option<usize>,
    /// Transfers asked for and promised by checks.
    asked: u64,
    promised: u64,
}

impl Note {
    fn read(disk: &SimDisk) -> Self {
        let bytes = disk.contents(NOTE).unwrap_or_default();
        serde_json::from_slice::<(Option<Vec<Serial>>, Option<usize>, u64, u64)>(&bytes)
            .map(|(doubts, kept, asked, promised)| Self { doubts, kept, asked, promised })
            .unwrap_or_default()
    }

    fn write(&self, disk: &SimDisk) {
        let parts = (&self.doubts, self.kept, self.asked, self.promised);
        disk.put_file(NOTE, &serde_json::to_vec(&parts).unwrap_or_default());
    }
}

/// What the check decides as the coordinator of a transaction that nobody decided.
const fn decision(serial: Serial) -> bool {
    serial.is_multiple_of(2)
}

/// Tells the disk which step of restart it is in.
struct Steps {
    disk: SimDisk,
    now: &'static str,
    /// Turns the power off in this one.
    off_in: Option<Phase>,
}

impl Steps {
    fn new(disk: &SimDisk, off_in: Option<Phase>) -> Box<Self> {
        disk.put_file(STEP, b"opening");
        Box::new(Self { disk: disk.clone(), now: "opening", off_in })
    }
}

impl Progress for Steps {
    fn advance(&mut self, phase: Phase, range: LsnRange, at: Lsn) {
        if self.off_in == Some(phase) {
            self.disk.power_off();
        }
        let step = match phase {
            Phase::Analysis => "analysis",
            Phase::Replay => "redo",
            // What follows the last compensation is the checkpoint that ends the restart.
            Phase::Undo if at >= range.end => "checkpoint",
            Phase::Undo => "undo",
            _ => "opening",
        };
        if self.now != step {
            self.now = step;
            self.disk.put_file(STEP, step.as_bytes());
        }
    }
}

/// The step in which the power went that left `disk`; none after a cut in the workload.
fn step_cut(disk: &SimDisk) -> Option<String> {
    disk.contents(STEP).map(|step| String::from_utf8_lossy(&step).into_owned())
}

/// Restarts the bank on `disk` and judges it by `story`.
///
/// # Errors
///
/// The promise that was broken, in words.
pub(crate) fn check<E: Engine>(
    disk: &SimDisk,
    story: &Story,
    shape: Shape,
    figures: &Mutex<Figures>,
) -> Result<(), String> {
    if let Some(broken) = &story.broken {
        return Err(broken.clone());
    }
    let salt = disk.fingerprint();
    if E::TELLS_STEPS && salt.is_multiple_of(ANALYSIS_EVERY) {
        let left = cut_in_analysis::<E>(disk, story, shape, salt)?;
        figures.lock().cut_in("analysis");
        judge::<E>(&left, story, shape, figures, salt)
            .map_err(|reason| format!("after a cut in analysis: {reason}"))?;
    }
    match step_cut(disk) {
        Some(step) => figures.lock().cut_in(&step),
        None => figures.lock().cut_in("the workload"),
    }
    judge::<E>(disk, story, shape, figures, salt)
}

/// What is left when the power goes while a restart analyses.
fn cut_in_analysis<E: Engine>(
    disk: &SimDisk,
    story: &Story,
    shape: Shape,
    salt: u64,
) -> Result<SimDisk, String> {
    let cut = disk.crash(CrashMode::KeepAll);
    let note = Note::read(&cut);
    let steps = Steps::new(&cut, Some(Phase::Analysis));
    drop(E::open(Arc::new(cut.clone()), shape, decisions(story, &note), steps));
    Ok(cut.crash(if cut.is_off() { CrashMode::Random(salt) } else { CrashMode::KeepAll }))
}

fn decisions(story: &Story, note: &Note) -> BTreeMap<Serial, bool> {
    let ours = note.doubts.iter().flatten().map(|serial| (*serial, decision(*serial)));
    story.decisions().into_iter().chain(ours).collect()
}

fn judge<E: Engine>(
    disk: &SimDisk,
    story: &Story,
    shape: Shape,
    figures: &Mutex<Figures>,
    salt: u64,
) -> Result<(), String> {
    let mut note = Note::read(disk);
    let decided = decisions(story, &note);
    let mut bank = E::open(Arc::new(disk.clone()), shape, decided, Steps::new(disk, None))
        .map_err(|error| format!("the bank does not open: {}", chain(&error)))?;
    figures.lock().add_restart(bank.restart());
    disk.put_file(STEP, b"after restart");
    settle_doubts(disk, story, &mut note, &mut bank).map_err(|error| said(&error))??;
    let books = bank.books().map_err(|error| said(&error))?;
    books.audit().map_err(|reason| format!("{reason}\n  found {books}"))?;
    identify(story, &mut note, &books)?;
    note.write(disk);
    let (expected, open) = go_on::<E>(disk, story, shape, &mut note, &mut bank, salt)
        .map_err(|error| format!("after a restart: {}", said(&error)))?;
    let mode = if salt & 64 == 0 { CrashMode::LoseAll } else { CrashMode::Random(salt) };
    let left = disk.crash(mode);
    // Cut while it was open: the next restart takes it back.
    drop(open);
    drop(bank);
    reopen::<E>(left, shape, expected, salt)
}

/// Transactions in doubt are those that should be, with their locks; then the check decides them.
fn settle_doubts<E: Engine>(
    disk: &SimDisk,
    story: &Story,
    note: &mut Note,
    bank: &mut E,
) -> Result<Result<(), String>, BankError> {
    let found = bank.in_doubt()?;
    if note.doubts.is_none() {
        for (serial, doubt) in &story.doubts {
            let open = doubt.decision.is_none();
            if open && doubt.promised && !found.contains_key(serial) {
                return Ok(Err(format!("transaction {serial}, prepared, is not in doubt")));
            }
            let locks = found.get(serial).cloned().unwrap_or_default();
            let lacks = doubt.effects.iter().any(|effect| match effect {
                Effect::Post { account, .. } | Effect::Fold { account, .. } => {
                    !locks.contains(account)
                }
            });
            if found.contains_key(serial) && lacks {
                return Ok(Err(format!("transaction {serial} in doubt lacks locks: {locks:?}")));
            }
        }
        let open = |serial: &Serial| {
            story.doubts.get(serial).is_some_and(|doubt| doubt.decision.is_none())
        };
        if let Some(serial) = found.keys().find(|serial| !open(serial)) {
            return Ok(Err(format!("transaction {serial} is in doubt, and was decided")));
        }
        note.doubts = Some(found.keys().copied().collect());
        note.write(disk);
    } else if !found.is_empty() {
        return Ok(Err(format!("decided, and still in doubt: {:?}", found.keys())));
    }
    for serial in found.keys() {
        bank.decide(*serial, decision(*serial))?;
    }
    Ok(Ok(()))
}

/// The books that the note allows, with so many transfers of checks in them.
fn expected(story: &Story, note: &Note, kept: usize, transfers: u64) -> Books {
    let there = |serial: Serial, doubt: &Doubt| match doubt.decision {
        Some(commit) => commit,
        None => decision(serial) && note.doubts.iter().flatten().any(|it| *it == serial),
    };
    let mut books = story.candidate(kept, there);
    for number in 0..transfers {
        books.apply(&transfer(&books, number));
    }
    books
}

/// The transfer of a check with this number.
fn transfer(books: &Books, number: u64) -> [Effect; 2] {
    let accounts = u64::from(u32::try_from(books.0.len()).unwrap_or(1)).max(1);
    let serial = CHECKS_FROM + 2 * number;
    let (from, to) = ((number % accounts) as u32, ((number + 1) % accounts) as u32);
    [
        Effect::Post { account: from, serial, amount: -1 },
        Effect::Post { account: to, serial: serial + 1, amount: 1 },
    ]
}

/// Finds out which of the books that may be there are there, and holds later checks to it.
fn identify(story: &Story, note: &mut Note, books: &Books) -> Result<(), String> {
    let kept = note.kept.map_or(0..story.candidates(), |kept| kept..kept + 1);
    for kept in kept.clone() {
        for transfers in note.promised..=note.asked {
            if expected(story, note, kept, transfers) == *books {
                (note.kept, note.asked, note.promised) = (Some(kept), transfers, transfers);
                return Ok(());
            }
        }
    }
    let nearest = expected(story, note, kept.start, note.promised);
    Err(format!(
        "the books are not those that were promised\n  found    {books}\n  promised {nearest}"
    ))
}

/// Goes on working: a transfer, one that stays open over a checkpoint, truncation.
fn go_on<E: Engine>(
    disk: &SimDisk,
    story: &Story,
    shape: Shape,
    note: &mut Note,
    bank: &mut E,
    salt: u64,
) -> Result<(Books, E::Txn), BankError> {
    let kept = note.kept.unwrap_or(0);
    let before = expected(story, note, kept, note.promised);
    let mut open = bank.begin();
    let last = shape.accounts.saturating_sub(1);
    let number = note.promised;
    let [from, to] = transfer(&before, number);
    let touched = [from, to].map(|effect| match effect {
        Effect::Post { account, .. } | Effect::Fold { account, .. } => account,
    });
    if !touched.contains(&last) {
        bank.post(&mut open, last, CHECKS_FROM - 1, -500)?;
        bank.write_pages(2, false)?;
    }
    note.asked = number + 1;
    note.write(disk);
    let mut txn = bank.begin();
    for effect in [from, to] {
        if let Effect::Post { account, serial, amount } = effect {
            bank.post(&mut txn, account, serial, amount)?;
        }
    }
    bank.commit(txn)?;
    note.promised = number + 1;
    note.write(disk);
    disk.put_file(STEP, b"checkpoint");
    if salt & 128 == 0 {
        bank.write_pages(usize::MAX, true)?;
    }
    bank.checkpoint()?;
    disk.put_file(STEP, b"after restart");
    bank.truncate()?;
    Ok((expected(story, note, kept, note.promised), open))
}

/// What was promised after a restart is there after the next, which converges.
fn reopen<E: Engine>(
    disk: SimDisk,
    shape: Shape,
    expected: Books,
    salt: u64,
) -> Result<(), String> {
    let open = |disk: &SimDisk| {
        E::open(Arc::new(disk.clone()), shape, BTreeMap::new(), Box::new(()))
            .map_err(|error| format!("restarted, worked, cut: does not open: {}", chain(&error)))
    };
    let mut bank = open(&disk)?;
    let books = bank.books().map_err(|error| said(&error))?;
    if books != expected {
        return Err(format!("restarted, worked, cut\n  found    {books}\n  promised {expected}"));
    }
    let tally = bank.tally().map_err(|error| said(&error))?;
    // Statement 31: what was taken back once stays so, however often the restart was cut.
    if tally.twice > 0 {
        return Err(format!("a change is compensated twice: {tally:?}"));
    }
    if !salt.is_multiple_of(CLOSE_EVERY) {
        return Ok(());
    }
    // With every page written, a checkpoint leaves the next restart nothing but itself to read.
    let idle = bank.write_pages(usize::MAX, true).and_then(|()| bank.checkpoint());
    idle.and_then(|()| bank.close()).map_err(|error| said(&error))?;
    let mut bank = open(&disk)?;
    let restart = bank.restart();
    let work = restart.losers + restart.winners + restart.dirty_pages + restart.redone;
    if work + restart.clrs > 0 || restart.analysed > ANALYSED_MAX {
        return Err(format!("a restart left work to the next: {restart:?}"));
    }
    let books = bank.books().map_err(|error| said(&error))?;
    if books == expected { Ok(()) } else { Err(format!("closed and opened: found {books}")) }
}

fn said(error: &BankError) -> String {
    chain(error)
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
