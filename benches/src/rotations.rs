//! Commits over many rotations: whether any waits for a segment.
//!
//! In the smallest segments more than one commit in a thousand enters one, so that p99.9 tells of
//! that. In longer ones fewer do, and what p99.9 tells of is the making of the next segment beside
//! the commits. The bare device makes as many commits in the same round. What counts is p99.9 over
//! p50, ours beside the bare device's.

use clap::Args;
use serde::Serialize;

use crate::child::{Common, fresh, in_turns};
use crate::commits::Round;
use crate::peer::{Entry, Failure};
use crate::results::{Report, number};
use crate::run::Measured;
use crate::sheet::Sheet;
use crate::table::{cell, middle, print_table, ratio};
use crate::turns::Case;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Numbers of committing threads; the bare device always has one
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8])]
    pub threads: Vec<usize>,
    /// Bytes of a body
    #[arg(long, default_value_t = 128)]
    pub body_bytes: usize,
    /// Kibibytes of a segment
    #[arg(long, value_delimiter = ',', default_values_t = [64, 1024])]
    pub segment_kib: Vec<u64>,
    /// Rotations which are to be crossed at least
    #[arg(long, default_value_t = 20)]
    pub rotations: u64,
    /// Commits that are to be made at least, so that p99.9 is not that of a handful
    #[arg(long, default_value_t = 30_000)]
    pub commits: u64,
    /// Rounds and places
    #[command(flatten)]
    pub common: Common,
}

impl Arguments {
    /// Commits of all threads together after which so many segments are full, whatever a log adds
    /// to a body.
    fn commits_over(&self, segment_bytes: u64) -> u64 {
        let full = (self.rotations + 1).saturating_mul(segment_bytes);
        (full / self.body_bytes as u64).max(self.commits)
    }
}

/// Rotations which a log crossed that grew so much.
const fn crossed(stored_bytes: u64, segment_bytes: u64) -> u64 {
    stored_bytes / segment_bytes
}

/// All logs of one load.
struct Load {
    segment_bytes: u64,
    cases: Vec<Case>,
}

/// p99.9 over p50.
fn spread(round: &Measured) -> f64 {
    let within = |share| round.latencies.within_micros(share);
    within(0.999) / within(0.5).max(f64::MIN_POSITIVE)
}

/// The middle of the rounds' spreads over the bare device's in the same round.
fn of_raw(case: &Case, raw: &Case) -> Option<f64> {
    let pairs = case.rounds.iter().zip(&raw.rounds);
    middle(pairs.map(|(ours, raw)| spread(ours) / spread(raw)))
}

/// Runs all in turns, prints a table of each load and writes the files; the bare device is the
/// first of `entries`.
///
/// # Errors
///
/// When files cannot be written. What a single log did wrong is in its row.
pub fn run(arguments: &Arguments, entries: &[Entry]) -> Result<(), Failure> {
    let common = &arguments.common;
    let report = Report::begin("rotations", common);
    let mut all = Vec::new();
    for segment_bytes in arguments.segment_kib.iter().map(|kib| kib << 10) {
        for &threads in &arguments.threads {
            let case = |entry: &Entry| Case::new(*entry, threads, arguments.body_bytes);
            let mut cases: Vec<Case> = entries.iter().map(case).collect();
            for round in 0..common.rounds {
                in_turns(round, &mut cases, |case| {
                    case.take_turn(|case| one_turn(arguments, segment_bytes, case));
                });
            }
            println!("\n{threads} threads, segments of {} KiB", segment_bytes >> 10);
            let load = Load { segment_bytes, cases };
            print(&load);
            all.push(load);
        }
    }
    report.write_json(&all.iter().flat_map(Load::rows).collect::<Vec<_>>())?;
    let how = format!(
        "medians of {} rounds in turns; bodies of {} bytes",
        common.rounds, arguments.body_bytes
    );
    report.write_csv("", &how, sheet(arguments, &all))
}

fn one_turn(arguments: &Arguments, segment_bytes: u64, case: &Case) -> Result<Measured, Failure> {
    let dir = fresh(arguments.common.dir.as_deref())?;
    let each = arguments.commits_over(segment_bytes).div_ceil(case.committers() as u64);
    let turn = case.turn(dir.path())?.with("commits", each);
    let measured: Measured = turn.with("segment-bytes", segment_bytes).take()?;
    match measured.stored_bytes.map(|bytes| crossed(bytes, segment_bytes)) {
        Some(crossed) if crossed < arguments.rotations => {
            Err(format!("only {crossed} rotations were crossed").into())
        }
        _ => Ok(measured),
    }
}

fn device(case: &Case) -> Option<f64> {
    case.median_of(|round| Some(round.per_commit(round.device_bytes? as f64)))
}

impl Load {
    fn rotations(&self, case: &Case) -> Option<f64> {
        case.median_of(|round| Some(crossed(round.stored_bytes?, self.segment_bytes) as f64))
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.cases.iter().map(|case| Row {
            log: case.entry.name,
            threads: case.threads,
            segment_bytes: self.segment_bytes,
            failure: case.failure.as_deref(),
            rounds: case.rounds.iter().map(Round::from).collect(),
        })
    }
}

fn print(load: &Load) {
    let Some(raw) = load.cases.first() else { return };
    let cells = |case: &Case| {
        vec![
            case.entry.name.to_owned(),
            cell(load.rotations(case), 0),
            cell(ratio(case.rate(), raw.rate()), 2),
            cell(case.micros(0.5), 0),
            cell(case.micros(0.999), 0),
            cell(case.median(spread), 2),
            cell(of_raw(case, raw), 2),
            cell(device(case), 0),
            case.failure.clone().unwrap_or_default(),
        ]
    };
    let head = [
        "log",
        "rotations",
        "commits/s of raw",
        "p50 µs",
        "p99.9 µs",
        "p99.9/p50",
        "of raw's in the round",
        "device B/commit",
        "",
    ];
    print_table(&head, load.cases.iter().map(cells).collect());
}

fn sheet(arguments: &Arguments, all: &[Load]) -> Sheet {
    let mut sheet = Sheet::new(&[
        "log",
        "threads",
        "body_bytes",
        "segment_bytes",
        "rounds",
        "rotations",
        "commits_per_second",
        "p50_micros",
        "p999_micros",
        "spread",
        "spread_of_raw",
        "device_bytes_per_commit",
    ]);
    for load in all {
        for case in &load.cases {
            let spread_of_raw = load.cases.first().and_then(|raw| of_raw(case, raw));
            sheet.push([
                case.entry.name.to_owned(),
                case.threads.to_string(),
                arguments.body_bytes.to_string(),
                load.segment_bytes.to_string(),
                case.rounds.len().to_string(),
                number(load.rotations(case)),
                number(case.rate()),
                number(case.micros(0.5)),
                number(case.micros(0.999)),
                number(case.median(spread)),
                number(spread_of_raw),
                number(device(case)),
            ]);
        }
    }
    sheet
}

#[derive(Serialize)]
struct Row<'a> {
    log: &'a str,
    threads: usize,
    segment_bytes: u64,
    failure: Option<&'a str>,
    rounds: Vec<Round>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latencies::Latencies;
    use crate::{bare, ours};

    const ENTRIES: [Entry; 2] = [bare::RAW, ours::ENTRY];

    fn arguments() -> Arguments {
        let common = Common { rounds: 2, dir: None, results: None };
        let (threads, segment_kib) = (vec![1], vec![64, 1024]);
        Arguments { threads, body_bytes: 128, segment_kib, rotations: 20, commits: 30_000, common }
    }

    fn round(median: u64, slow: u64) -> Measured {
        let mut latencies = Latencies::new().unwrap();
        (0..990).for_each(|_| latencies.record(median * 1000));
        (0..10).for_each(|_| latencies.record(slow * 1000));
        Measured {
            commits: 1000,
            seconds: 1.0,
            cpu_seconds: 1.0,
            idle_cpu_share: None,
            device_bytes: None,
            stored_bytes: Some(22 * 65_536),
            latencies,
        }
    }

    #[test]
    fn enough_commits_are_made_for_the_rotations() {
        let arguments = arguments();
        for segment_bytes in [64 << 10, 1 << 20] {
            let commits = arguments.commits_over(segment_bytes);
            assert!(commits >= arguments.commits);
            assert!(crossed(commits * 128, segment_bytes) >= arguments.rotations);
        }
    }

    #[test]
    fn the_spread_is_held_against_the_same_round_of_the_bare_device() {
        let mut cases = [Case::new(ENTRIES[0], 1, 128), Case::new(ENTRIES[1], 1, 128)];
        cases[0].rounds = vec![round(100, 1_000), round(100, 200)];
        cases[1].rounds = vec![round(100, 2_000), round(100, 400)];
        let found = of_raw(&cases[1], &cases[0]).unwrap();
        assert!((found - 2.0).abs() < 0.01, "{found}");
        let load = Load { segment_bytes: 65_536, cases: cases.into() };
        let text = sheet(&arguments(), &[load]).to_text();
        let sheet = Sheet::from_text(&text);
        assert_eq!(sheet.rows().nth(1).unwrap().number("rotations"), Some(22.0));
    }
}
