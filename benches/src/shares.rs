//! What one way of using the log costs against another: rows in turns, each round's figures held
//! against those of the first row in the same round, and the middle of these ratios told.
//!
//! Two tables: `watched`, what it costs to be listened to, beside a program from which events and
//! meters are compiled out; and `tasks`, commits awaited by tasks beside commits of threads.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::appends;
use crate::child::{Common, Turn, fresh, in_turns};
use crate::ours;
use crate::peer::{Entry, Failure};
use crate::results::{Report, number};
use crate::run;
use crate::sheet::Sheet;
use crate::table::{cell, middle, print_table, ratio};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Bytes of a body
    #[arg(long, default_value_t = 128)]
    body_bytes: usize,
    /// Milliseconds of measured time in each turn of commits
    #[arg(long, default_value_t = 300)]
    millis: u64,
    /// Milliseconds before it
    #[arg(long, default_value_t = 100)]
    warm_up_millis: u64,
    /// Mebibytes of bodies in each turn of appends
    #[arg(long, default_value_t = 64)]
    mebibytes: u64,
    /// `watched`: this program, built without events and meters
    #[arg(long)]
    silent: Option<PathBuf>,
    /// Rounds and places
    #[command(flatten)]
    common: Common,
}

/// What is done in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Work {
    /// Each durable, by so many threads or tasks.
    Commits(usize),
    /// None durable, by one thread.
    Appends,
}

/// Figures of one turn.
#[derive(Clone, Copy, Debug, Serialize)]
struct Figures {
    /// Of one commit or append, of all committers together.
    nanos: f64,
    cpu_nanos: f64,
    /// Of a commit, from asking to its answer.
    p50_micros: Option<f64>,
    p99_micros: Option<f64>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    work: Work,
    #[serde(skip)]
    log: &'static str,
    /// Another program than this one.
    #[serde(skip)]
    program: Option<PathBuf>,
    rounds: Vec<Option<Figures>>,
    failure: Option<String>,
}

impl Row {
    fn new(name: impl Into<String>, entry: &Entry, work: Work) -> Self {
        let (program, rounds, failure) = (None, Vec::new(), None);
        Self { name: name.into(), work, log: entry.name, program, rounds, failure }
    }

    fn take_turn(&mut self, arguments: &Arguments) {
        match self.turn(arguments) {
            Ok(figures) => self.rounds.push(Some(figures)),
            Err(failure) => {
                self.failure = Some(failure.to_string());
                self.rounds.push(None);
            }
        }
    }

    fn turn(&self, arguments: &Arguments) -> Result<Figures, Failure> {
        let dir = fresh(arguments.common.dir.as_deref())?;
        let turn = |verb| -> Result<Turn, Failure> {
            let turn = match &self.program {
                Some(program) => Turn::of(program, verb),
                None => Turn::new(verb)?,
            };
            let turn = turn.with("log", self.log).at("dir", dir.path());
            Ok(turn.with("body-bytes", arguments.body_bytes))
        };
        match self.work {
            Work::Commits(committers) => {
                let turn = turn("run")?.with("threads", committers);
                let turn = turn.with("millis", arguments.millis);
                let turn = turn.with("warm-up-millis", arguments.warm_up_millis);
                let measured: run::Measured = turn.take()?;
                Ok(Figures {
                    nanos: 1e9 / measured.rate(),
                    cpu_nanos: measured.per_commit(measured.cpu_seconds * 1e9),
                    p50_micros: Some(measured.latencies.within_micros(0.5)),
                    p99_micros: Some(measured.latencies.within_micros(0.99)),
                })
            }
            Work::Appends => {
                let turn = turn("append-once")?.with("threads", 1).with("read", false);
                let measured: appends::Measured =
                    turn.with("mebibytes", arguments.mebibytes).take()?;
                Ok(Figures {
                    nanos: 1e9 / measured.appended_a_second,
                    cpu_nanos: measured.cpu_nanos_per_append,
                    p50_micros: None,
                    p99_micros: None,
                })
            }
        }
    }

    fn middle(&self, of: fn(&Figures) -> Option<f64>) -> Option<f64> {
        middle(self.rounds.iter().flatten().filter_map(of))
    }

    /// A figure over that of `first` in the same round: the lower quarter, the middle, the upper
    /// quarter of all rounds that have both.
    fn against(&self, first: &Self, of: fn(&Figures) -> Option<f64>) -> Option<[f64; 3]> {
        let rounds = self.rounds.iter().zip(&first.rounds);
        let mut ratios: Vec<f64> = rounds
            .filter_map(|(ours, first)| ratio(of(ours.as_ref()?), of(first.as_ref()?)))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let at = |quarter: usize| ratios.get((ratios.len() * quarter / 4).min(ratios.len() - 1));
        (!ratios.is_empty()).then(|| [1, 2, 3].map(|quarter| at(quarter).copied().unwrap_or(1.0)))
    }
}

/// What it costs to be listened to: durable commits of one thread and of eight, and appends.
///
/// `listeners` are the rows beside the log to which nobody listens.
///
/// # Errors
///
/// When files cannot be written. What a single row did wrong is in it.
pub fn watched(arguments: &Arguments, listeners: &[Entry]) -> Result<(), Failure> {
    let loads = [
        ("durable commits of one thread", Work::Commits(1)),
        ("durable commits of eight threads", Work::Commits(8)),
        ("appends of one thread, none made durable", Work::Appends),
    ];
    let tables = loads.map(|(title, work)| {
        let mut rows = Vec::new();
        if let Some(program) = &arguments.silent {
            let row = Row::new("wal-silent", &ours::ENTRY, work);
            rows.push(Row { program: Some(program.clone()), ..row });
        }
        rows.push(Row::new("wal", &ours::ENTRY, work));
        rows.extend(listeners.iter().map(|entry| Row::new(entry.name, entry, work)));
        (title, rows)
    });
    run("watched", arguments, tables.into())
}

/// Commits awaited by tasks on one thread, beside commits of threads.
///
/// # Errors
///
/// As [`watched`].
pub fn tasks(arguments: &Arguments) -> Result<(), Failure> {
    let rows = vec![
        Row::new("1000 threads", &ours::ENTRY, Work::Commits(1_000)),
        Row::new("8 threads", &ours::ENTRY, Work::Commits(8)),
        Row::new("1000 tasks on one thread", &ours::IN_TASKS, Work::Commits(1_000)),
        Row::new("8 tasks on one thread", &ours::IN_TASKS, Work::Commits(8)),
    ];
    run("tasks", arguments, vec![("durable commits", rows)])
}

fn run(
    name: &str,
    arguments: &Arguments,
    mut tables: Vec<(&'static str, Vec<Row>)>,
) -> Result<(), Failure> {
    let report = Report::begin(name, &arguments.common);
    let how = format!(
        "{} rounds in turns; ratios are medians of those within a round; {} ms of commits after a \
         warm-up of {} ms, {} MiB of appends; bodies of {} bytes",
        arguments.common.rounds,
        arguments.millis,
        arguments.warm_up_millis,
        arguments.mebibytes,
        arguments.body_bytes
    );
    println!("{how}");
    for round in 0..arguments.common.rounds {
        for (_, rows) in &mut tables {
            in_turns(round, rows, |row| row.take_turn(arguments));
        }
    }
    tables.iter().for_each(|(title, rows)| print(title, rows));
    report.write_json(&tables)?;
    report.write_csv("", &how, sheet(&tables))
}

fn nanos(figures: &Figures) -> Option<f64> {
    Some(figures.nanos)
}

fn cpu_nanos(figures: &Figures) -> Option<f64> {
    Some(figures.cpu_nanos)
}

fn print(title: &str, rows: &[Row]) {
    let Some(first) = rows.first() else { return };
    println!("\n{title}");
    let told = |ratios: Option<[f64; 3]>| {
        let told = |[low, middle, high]: [f64; 3]| format!("{middle:.3} ({low:.3} to {high:.3})");
        ratios.map_or_else(String::new, told)
    };
    let cells = |row: &Row| {
        vec![
            row.name.clone(),
            cell(row.middle(nanos).map(|nanos| nanos / 1e3), 3),
            told(row.against(first, nanos)),
            cell(row.middle(cpu_nanos).map(|nanos| nanos / 1e3), 3),
            told(row.against(first, cpu_nanos)),
            cell(row.middle(|figures| figures.p50_micros), 1),
            cell(row.middle(|figures| figures.p99_micros), 1),
            row.failure.clone().unwrap_or_default(),
        ]
    };
    let of_first = format!("of {} (quarters)", first.name);
    let head = ["", "µs each", &of_first, "CPU µs each", &of_first, "p50 µs", "p99 µs", "failed"];
    print_table(&head, rows.iter().map(cells).collect());
}

fn sheet(tables: &[(&'static str, Vec<Row>)]) -> Sheet {
    let mut sheet = Sheet::new(&[
        "load",
        "row",
        "rounds",
        "nanos",
        "of_first",
        "of_first_low",
        "of_first_high",
        "cpu_nanos",
        "cpu_of_first",
        "cpu_of_first_low",
        "cpu_of_first_high",
        "p50_micros",
        "p99_micros",
    ]);
    for (title, rows) in tables {
        for row in rows {
            let against = |of| rows.first().and_then(|first| row.against(first, of));
            let mut cells = vec![(*title).to_owned(), row.name.clone()];
            cells.push(row.rounds.iter().flatten().count().to_string());
            for of in [nanos as fn(&Figures) -> Option<f64>, cpu_nanos] {
                let ratios = against(of);
                cells.push(number(row.middle(of)));
                let ratio = |at: usize| ratios.and_then(|ratios| ratios.get(at).copied());
                cells.extend([1, 0, 2].map(|at| number(ratio(at))));
            }
            cells.push(number(row.middle(|figures| figures.p50_micros)));
            cells.push(number(row.middle(|figures| figures.p99_micros)));
            sheet.push(cells);
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(nanos: &[Option<f64>]) -> Row {
        let figures = |nanos| Figures { nanos, cpu_nanos: 1.0, p50_micros: None, p99_micros: None };
        let mut row = Row::new("r", &ours::ENTRY, Work::Appends);
        row.rounds = nanos.iter().map(|nanos| nanos.map(figures)).collect();
        row
    }

    #[test]
    fn a_slow_round_of_the_machine_is_no_cost_of_a_row() {
        let first = row(&[Some(100.0), Some(1000.0), Some(200.0), None]);
        let other = row(&[Some(110.0), Some(1100.0), Some(220.0), Some(7.0)]);
        let [low, middle, high] = other.against(&first, nanos).unwrap();
        assert!([low, middle, high].iter().all(|ratio| (ratio - 1.1).abs() < 1e-9));
        assert_eq!(row(&[None]).against(&first, nanos), None);
    }

    #[test]
    fn every_row_is_in_the_file_against_the_first() {
        let tables = [("appends", vec![row(&[Some(100.0)]), row(&[Some(150.0)])])];
        let sheet = Sheet::from_text(&sheet(&tables).to_text());
        let ratios: Vec<_> = sheet.rows().map(|line| line.number("of_first")).collect();
        assert_eq!(ratios, [Some(1.0), Some(1.5)]);
    }
}
