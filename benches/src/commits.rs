//! Durable commits: a table of each load, each log beside the bare device and beside ours, and the
//! files.

use serde::Serialize;

use crate::peer::{Entry, Failure};
use crate::results::{Report, number};
use crate::run::Measured;
use crate::sheet::Sheet;
use crate::syncs::Syncs;
use crate::table::{STEADY, cell, print_table, ratio};
use crate::turns::{self, Arguments, Case, chosen};

/// Runs all that was asked for, prints a table of each load and writes the files, called `name`.
///
/// `rivals` are those which the best of is told.
///
/// # Errors
///
/// When a log is asked for which is not among `entries`, or files cannot be written. What a single
/// log did wrong is in its row.
pub fn run(
    name: &str,
    arguments: &Arguments,
    entries: &[Entry],
    rivals: &[&str],
) -> Result<(), Failure> {
    let report = Report::begin(name, &arguments.common);
    let chosen = chosen(&arguments.logs, entries)?;
    print_options(&chosen);
    println!("{}", how(arguments));
    let cases = turns::run(arguments, entries, |cases| print(cases, rivals))?;
    print_tasks(&cases, rivals);
    write(&report, arguments, &chosen, &cases)
}

/// How it was measured, in a sentence.
fn how(arguments: &Arguments) -> String {
    let Arguments { common, millis, warm_up_millis, .. } = arguments;
    format!(
        "medians of {} rounds in turns; {millis} ms each, after a warm-up of {warm_up_millis} ms",
        common.rounds
    )
}

/// Prints what each log is opened with.
pub fn print_options(entries: &[Entry]) {
    println!("Options, of each its fastest which are durable:");
    for entry in entries {
        println!("* {}", options_in_words(entry));
        if !entry.caveat.is_empty() {
            println!("  ({})", entry.caveat);
        }
    }
}

fn options_in_words(entry: &Entry) -> String {
    let name = format!("{} {}", entry.name, entry.version);
    format!("{}: {}", name.trim_end(), entry.options)
}

/// Prints one load: its cases have the bare device first.
fn print(cases: &[Case], rivals: &[&str]) {
    let Some(raw) = cases.first() else { return };
    let ours = case_of(cases, "wal");
    println!("\n{} threads, bodies of {} bytes", raw.threads, raw.body_bytes);
    let rows = cases.iter().map(|case| row(case, raw, ours)).collect();
    let head = [
        "log",
        "commits/s",
        "of raw",
        "wal is",
        "p50 µs",
        "of raw",
        "p99 µs",
        "of raw",
        "p99.9 µs",
        "of raw",
        "CPU µs/commit",
        "idle CPU",
        "syncs/commit",
        "stored B/commit",
        "device B/commit",
        "",
    ];
    print_table(&head, rows);
    if let Some((slowest, fastest)) = raw.rates()
        && fastest > slowest * STEADY
    {
        println!(
            "UNSTEADY: the bare device made {slowest:.0} to {fastest:.0} commits/s in these rounds; \
             the ratios mean little, measure again."
        );
    }
    let ours = ours.and_then(Case::rate);
    let of_ours = |other: Option<f64>| ratio(ours, other);
    if let Some(ratio) = of_ours(case_of(cases, "raw-two").and_then(Case::rate)) {
        println!("wal is {ratio:.2} of two bare writers.");
    }
    print_against(cases, rivals);
    if let Some((name, best)) = best_rival(cases, rivals)
        && let Some(ratio) = of_ours(Some(best))
    {
        println!("wal is {ratio:.2} of the best rival, {name}.");
        if let Some(tasks) = case_of(cases, "wal-tasks").and_then(Case::rate) {
            println!("wal-tasks is {:.2} of it.", tasks / best);
        }
    }
}

/// Prints p99 and processor time of ours, of those of each rival.
fn print_against(cases: &[Case], rivals: &[&str]) {
    let Some(ours) = case_of(cases, "wal") else { return };
    for what in ["p99", "CPU of a commit"] {
        let of = |case: &Case| if what == "p99" { case.micros(0.99) } else { case.cpu_micros() };
        let whole = cases.iter().filter(|case| rivals.contains(&case.entry.name));
        let whole = whole.filter(|case| case.rate().is_some() && !case.is_not_durable());
        let all: Vec<String> = whole
            .filter_map(|case| Some((case.entry.name, ratio(of(ours), of(case))?)))
            .map(|(name, ratio)| format!("{ratio:.2} of {name}'s"))
            .collect();
        if !all.is_empty() {
            println!("{what} of wal: {}.", all.join(", "));
        }
    }
}

/// Prints what tasks are of the best that a rival made of any load which tasks were run under.
fn print_tasks(all: &[Case], rivals: &[&str]) {
    for case in all.iter().filter(|case| case.entry.name == "wal-tasks") {
        if let Some((tasks, best)) = case.rate().zip(best_beside_tasks(case, all, rivals)) {
            let (name, threads, rate) = best;
            println!(
                "{} wal-tasks, bodies of {} bytes, are {:.2} of the best rival under as many threads \
                 or fewer that tasks were run under: {name} with {threads} threads.",
                case.threads,
                case.body_bytes,
                tasks / rate
            );
        }
    }
}

fn best_beside_tasks(
    tasks: &Case,
    all: &[Case],
    rivals: &[&str],
) -> Option<(&'static str, usize, f64)> {
    let beside = |case: &&Case| {
        rivals.contains(&case.entry.name)
            && !case.is_not_durable()
            && case.body_bytes == tasks.body_bytes
            && (turns::TASKS_MIN..=tasks.threads).contains(&case.threads)
    };
    all.iter()
        .filter(beside)
        .filter_map(|case| Some((case.entry.name, case.threads, case.rate()?)))
        .max_by(|one, other| one.2.total_cmp(&other.2))
}

/// The fastest of the logs which ours is held against, if one of them was run and is durable.
fn best_rival(cases: &[Case], rivals: &[&str]) -> Option<(&'static str, f64)> {
    cases
        .iter()
        .filter(|case| rivals.contains(&case.entry.name) && !case.is_not_durable())
        .filter_map(|case| Some((case.entry.name, case.rate()?)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
}

fn case_of<'a>(cases: &'a [Case], name: &str) -> Option<&'a Case> {
    cases.iter().find(|case| case.entry.name == name)
}

fn row(case: &Case, raw: &Case, ours: Option<&Case>) -> Vec<String> {
    let of_raw = |of: &dyn Fn(&Case) -> Option<f64>| cell(ratio(of(case), of(raw)), 2);
    let micros = |share| cell(case.micros(share), 0);
    vec![
        case.entry.name.to_owned(),
        cell(case.rate(), 0),
        of_raw(&Case::rate),
        cell(ratio(ours.and_then(Case::rate), case.rate()), 2),
        micros(0.5),
        of_raw(&|case| case.micros(0.5)),
        micros(0.99),
        of_raw(&|case| case.micros(0.99)),
        micros(0.999),
        of_raw(&|case| case.micros(0.999)),
        cell(case.cpu_micros(), 1),
        cell(case.median_of(|round| round.idle_cpu_share), 3),
        match case.syncs {
            Some(Syncs::PerCommit(syncs)) => format!("{syncs:.3}"),
            Some(Syncs::Hidden) => "hidden".to_owned(),
            None => String::new(),
        },
        cell(stored(case), 1),
        cell(device(case), 0),
        match (&case.failure, case.is_not_durable()) {
            (Some(failure), _) => failure.clone(),
            (None, true) => "NOT DURABLE".to_owned(),
            (None, false) => String::new(),
        },
    ]
}

/// Bytes by which the log grew a commit.
fn stored(case: &Case) -> Option<f64> {
    case.median_of(|round| Some(round.per_commit(round.stored_bytes? as f64)))
}

/// Bytes which the device wrote a commit.
fn device(case: &Case) -> Option<f64> {
    case.median_of(|round| Some(round.per_commit(round.device_bytes? as f64)))
}

#[derive(Serialize)]
struct Commits<'a> {
    rounds: u64,
    millis: u64,
    warm_up_millis: u64,
    idle_millis: u64,
    loads: Vec<Load<'a>>,
}

#[derive(Serialize)]
struct Load<'a> {
    log: &'a str,
    version: &'a str,
    options: &'a str,
    threads: usize,
    committers: usize,
    body_bytes: usize,
    syncs_per_commit: Option<f64>,
    syncs_per_commit_alone: Option<f64>,
    durable: Option<bool>,
    failure: Option<&'a str>,
    rounds: Vec<Round>,
}

/// What a turn measured, in few numbers.
#[derive(Serialize)]
pub(crate) struct Round {
    commits: u64,
    seconds: f64,
    cpu_seconds: f64,
    idle_cpu_share: Option<f64>,
    device_bytes: Option<u64>,
    stored_bytes: Option<u64>,
    p50_micros: f64,
    p99_micros: f64,
    p999_micros: f64,
}

impl From<&Measured> for Round {
    fn from(of: &Measured) -> Self {
        Self {
            commits: of.commits,
            seconds: of.seconds,
            cpu_seconds: of.cpu_seconds,
            idle_cpu_share: of.idle_cpu_share,
            device_bytes: of.device_bytes,
            stored_bytes: of.stored_bytes,
            p50_micros: of.latencies.within_micros(0.5),
            p99_micros: of.latencies.within_micros(0.99),
            p999_micros: of.latencies.within_micros(0.999),
        }
    }
}

fn write(
    report: &Report<'_>,
    arguments: &Arguments,
    entries: &[Entry],
    cases: &[Case],
) -> Result<(), Failure> {
    let whole = Commits {
        rounds: arguments.common.rounds,
        millis: arguments.millis,
        warm_up_millis: arguments.warm_up_millis,
        idle_millis: arguments.idle_millis,
        loads: cases.iter().map(load).collect(),
    };
    report.write_json(&whole)?;
    let mut sheet = sheet(cases, &whole.loads);
    sheet.notes.extend(entries.iter().map(options_in_words));
    report.write_csv("", &how(arguments), sheet)?;
    report.write_csv("-latencies", &how(arguments), curves(cases)?)
}

fn sheet(cases: &[Case], loads: &[Load<'_>]) -> Sheet {
    let mut sheet = Sheet::new(&[
        "log",
        "version",
        "threads",
        "body_bytes",
        "rounds",
        "commits_per_second",
        "commits_per_second_min",
        "commits_per_second_max",
        "p50_micros",
        "p99_micros",
        "p999_micros",
        "cpu_micros_per_commit",
        "idle_cpu_share",
        "syncs_per_commit",
        "stored_bytes_per_commit",
        "device_bytes_per_commit",
        "durable",
    ]);
    for (case, load) in cases.iter().zip(loads) {
        sheet.push([
            load.log.to_owned(),
            load.version.to_owned(),
            load.threads.to_string(),
            load.body_bytes.to_string(),
            load.rounds.len().to_string(),
            number(case.rate()),
            number(case.rates().map(|(slowest, _)| slowest)),
            number(case.rates().map(|(_, fastest)| fastest)),
            number(case.micros(0.5)),
            number(case.micros(0.99)),
            number(case.micros(0.999)),
            number(case.cpu_micros()),
            number(case.median_of(|round| round.idle_cpu_share)),
            number(load.syncs_per_commit),
            number(stored(case)),
            number(device(case)),
            load.durable.map_or("unknown".to_owned(), |durable| durable.to_string()),
        ]);
    }
    sheet
}

/// The latency curves of all rounds together.
fn curves(cases: &[Case]) -> Result<Sheet, Failure> {
    let mut sheet = Sheet::new(&["log", "threads", "body_bytes", "share", "micros"]);
    for case in cases {
        for (share, micros) in case.latencies()?.curve() {
            sheet.push([
                case.entry.name.to_owned(),
                case.threads.to_string(),
                case.body_bytes.to_string(),
                share.to_string(),
                micros.to_string(),
            ]);
        }
    }
    Ok(sheet)
}

fn load(case: &Case) -> Load<'_> {
    let number = |syncs| match syncs {
        Some(Syncs::PerCommit(syncs)) => Some(syncs),
        Some(Syncs::Hidden) | None => None,
    };
    Load {
        log: case.entry.name,
        version: case.entry.version,
        options: case.entry.options,
        threads: case.threads,
        committers: case.committers(),
        body_bytes: case.body_bytes,
        syncs_per_commit: number(case.syncs),
        syncs_per_commit_alone: number(case.syncs_alone),
        durable: number(case.syncs_alone).map(|_| !case.is_not_durable()),
        failure: case.failure.as_deref(),
        rounds: case.rounds.iter().map(Round::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latencies::Latencies;
    use crate::{bare, ours};

    const ENTRIES: [Entry; 2] = [bare::RAW, ours::ENTRY];

    fn case(entry: Entry, micros: &[u64]) -> Case {
        let mut case = Case::new(entry, 1, 128);
        for &micros in micros {
            let mut latencies = Latencies::new().unwrap();
            latencies.record(micros * 1000);
            case.rounds.push(Measured {
                commits: 1_000,
                seconds: micros as f64 / 100.0,
                cpu_seconds: 0.5,
                idle_cpu_share: None,
                device_bytes: Some(4_096_000),
                stored_bytes: Some(152_000),
                latencies,
            });
        }
        case
    }

    #[test]
    fn a_line_holds_the_medians_of_its_rounds() {
        let cases = [case(ENTRIES[0], &[100, 300, 200]), case(ENTRIES[1], &[])];
        let loads: Vec<Load<'_>> = cases.iter().map(load).collect();
        let sheet = Sheet::from_text(&sheet(&cases, &loads).to_text());
        let lines: Vec<_> = sheet.rows().collect();
        assert_eq!(lines[0].number("commits_per_second"), Some(500.0));
        assert_eq!(lines[0].number("commits_per_second_max"), Some(1000.0));
        assert_eq!(lines[0].number("device_bytes_per_commit"), Some(4096.0));
        assert_eq!(lines[0].number("stored_bytes_per_commit"), Some(152.0));
        assert_eq!((lines[1].text("log"), lines[1].number("p50_micros")), ("wal", None));
    }

    #[test]
    fn every_cell_of_a_row_has_its_head() {
        let raw = case(ENTRIES[0], &[100]);
        let ours = case(ENTRIES[1], &[200]);
        let cells = row(&ours, &raw, Some(&ours));
        assert_eq!(cells.len(), 16);
        assert_eq!(
            (cells[2].as_str(), cells[3].as_str(), cells[5].as_str()),
            ("0.50", "1.00", "2.00")
        );
    }

    #[test]
    fn tasks_are_held_against_the_best_of_the_loads_which_they_were_run_under() {
        let under = |threads, entry, micros| Case { threads, ..case(entry, &[micros]) };
        let tasks = under(1024, ours::IN_TASKS, 100);
        let all = [
            under(32, ENTRIES[0], 50),
            under(128, ENTRIES[0], 100),
            under(1024, ENTRIES[0], 200),
            Case { body_bytes: 4096, ..under(1024, ENTRIES[0], 10) },
            under(1024, ENTRIES[1], 20),
        ];
        let found = best_beside_tasks(&tasks, &all, &["raw"]);
        assert_eq!(found, Some(("raw", 128, 1000.0)));
        assert_eq!(best_beside_tasks(&tasks, &all, &["none"]), None);
    }

    #[test]
    fn the_best_rival_is_durable_and_named() {
        let mut cases = [case(ENTRIES[0], &[100]), case(ENTRIES[1], &[200])];
        assert_eq!(best_rival(&cases, &["raw", "wal"]).map(|best| best.0), Some("raw"));
        assert_eq!(best_rival(&cases, &["wal"]).map(|best| best.0), Some("wal"));
        cases[0].syncs_alone = Some(Syncs::PerCommit(0.0));
        assert_eq!(best_rival(&cases, &["raw", "wal"]).map(|best| best.0), Some("wal"));
    }
}
