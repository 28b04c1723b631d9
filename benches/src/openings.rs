//! What a log costs that stays small: opened, given ten records, closed; opened again after that,
//! and after a kill. Beside it, in the same round, two empty files made and synced with their
//! directory, and the files of a new log made by hand with the same syncs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use wal::{ReplayRecord, Wal};

use crate::baseline;
use crate::child::{Common, fresh};
use crate::peer::Failure;
use crate::results::{Report, number};
use crate::sheet::Sheet;
use crate::table::{cell, middle, print_table, ratio};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Rounds and places
    #[command(flatten)]
    pub common: Common,
}

const STEPS: [&str; 7] = [
    "two empty files, synced, and their directory",
    "the files of a new log, by hand",
    "opening a new log",
    "ten records, made durable together",
    "closing it",
    "opening it again",
    "opening it after a kill",
];

/// Seconds of each step.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Round([f64; STEPS.len()]);

fn timed<T>(seconds: &mut f64, step: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let started = Instant::now();
    let done = step()?;
    *seconds = started.elapsed().as_secs_f64();
    Ok(done)
}

fn open(log: &Path) -> Result<Wal, Failure> {
    let replay = |_: &ReplayRecord<'_>| Ok::<(), io::Error>(());
    Ok(Wal::open(log, baseline::options(), replay)?)
}

fn two_files(dir: &Path) -> Result<(), Failure> {
    fs::create_dir(dir)?;
    for name in ["one", "two"] {
        File::create(dir.join(name))?.sync_all()?;
    }
    Ok(File::open(dir)?.sync_all()?)
}

/// The files of the new log in `log`, as long and as full, in `dir`: each synced under another name,
/// renamed, the directory synced; the control file written twice more.
fn by_hand(log: &Path, dir: &Path) -> Result<(), Failure> {
    fs::create_dir(dir)?;
    let directory = File::open(dir)?;
    File::open(dir.parent().unwrap_or(dir))?.sync_all()?;
    for entry in fs::read_dir(log)? {
        let entry = entry?;
        let (name, len) = (entry.file_name(), entry.metadata()?.len());
        let temporary = dir.join("temporary");
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        if name == "spare" {
            file.set_len(len)?;
        } else {
            io::copy(&mut io::Read::take(io::repeat(0), len), &mut file)?;
        }
        file.sync_all()?;
        fs::rename(&temporary, dir.join(&name))?;
        if name != "lock" {
            directory.sync_all()?;
        }
        if name == "control" {
            for _ in 0..2 {
                file.rewind()?;
                file.write_all(&[1; 4096])?;
                file.sync_data()?;
            }
        }
    }
    Ok(())
}

fn one_round(dir: &Path) -> Result<Round, Failure> {
    let mut round = Round::default();
    let [files, by_hand_, create, append, close, reopen, recover] = &mut round.0;
    let log = dir.join("log");
    let wal = timed(create, || open(&log))?;
    timed(append, || {
        for _ in 0..9 {
            drop(wal.append(&[7; 128])?);
        }
        Ok(wal.append(&[7; 128])?.wait_durable()?)
    })?;
    timed(close, || Ok(wal.close()?))?;
    drop(wal);
    timed(files, || two_files(&dir.join("files")))?;
    timed(by_hand_, || by_hand(&log, &dir.join("hand")))?;
    let wal = timed(reopen, || open(&log))?;
    wal.append(&[7; 128])?.wait_durable()?;
    drop(wal);
    let wal = timed(recover, || open(&log))?;
    wal.close()?;
    Ok(round)
}

/// Runs all rounds, prints the table and writes the files.
///
/// # Errors
///
/// When a log cannot be made or opened, or files cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let common = &arguments.common;
    let report = Report::begin("openings", common);
    // The first round pays for what the process does once.
    one_round(fresh(common.dir.as_deref())?.path())?;
    let rounds = (0..common.rounds)
        .map(|_| one_round(fresh(common.dir.as_deref())?.path()))
        .collect::<Result<Vec<_>, Failure>>()?;
    let median = |step: usize| middle(rounds.iter().filter_map(|round| round.0.get(step).copied()));
    let (files, hand) = (median(0), median(1));
    let of = |step, against: Option<f64>| ratio(median(step), against);
    println!("\na log that stays small");
    let cells = STEPS.iter().enumerate().map(|(step, name)| {
        vec![
            (*name).to_owned(),
            cell(median(step).map(|seconds| seconds * 1e3), 2),
            cell(of(step, files), 2),
            cell(of(step, hand), 2),
        ]
    });
    print_table(&["step", "ms", "of two files", "of the same by hand"], cells.collect());
    report.write_json(&rounds)?;
    let mut sheet = Sheet::new(&["step", "rounds", "seconds", "of_two_files", "of_by_hand"]);
    for (step, name) in STEPS.iter().enumerate() {
        let numbers = [median(step), of(step, files), of(step, hand)].map(number);
        let [seconds, of_files, of_hand] = numbers;
        let name = name.replace(',', "");
        sheet.push([name, rounds.len().to_string(), seconds, of_files, of_hand]);
    }
    report.write_csv("", &format!("medians of {} rounds", rounds.len()), sheet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_taken_and_timed() {
        let dir = tempfile::tempdir().unwrap();
        let round = one_round(dir.path()).unwrap();
        assert!(round.0.iter().all(|seconds| *seconds > 0.0), "{round:?}");
    }
}
