//! The figures of a load as a table: each log beside the bare device and beside ours.

use crate::peers::RIVALS;
use crate::syncs::Syncs;
use crate::turns::Case;

/// Prints what each log is opened with.
pub fn print_options(cases: &[&crate::peer::Entry]) {
    println!("Options, of each its fastest which are durable:");
    for entry in cases {
        let name = format!("{} {}", entry.name, entry.version);
        println!("* {}: {}", name.trim_end(), entry.options);
        if !entry.caveat.is_empty() {
            println!("  ({})", entry.caveat);
        }
    }
}

/// What the bare device may differ by from round to round for the ratios to mean something.
const STEADY: f64 = 1.5;

/// Prints one load: its cases have the bare device first.
pub fn print(cases: &[Case]) {
    let Some((raw, first)) = cases.first().zip(cases.get(1).or(cases.first())) else { return };
    let (raw_rate, ours) = (raw.rate(), rate_of(cases, "wal"));
    println!("\n{} threads, bodies of {} bytes", first.threads, first.body_bytes);
    let rows = cases.iter().map(|case| row(case, raw_rate, ours)).collect();
    let head = [
        "log",
        "commits/s",
        "of raw",
        "wal is",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "CPU µs/commit",
        "syncs/commit",
        "",
    ];
    wal_bench::print_table(&head, rows);
    if let Some((slowest, fastest)) = raw.rates()
        && fastest > slowest * STEADY
    {
        println!(
            "UNSTEADY: the bare device made {slowest:.0} to {fastest:.0} commits/s in these rounds; \
             the ratios mean little, measure again."
        );
    }
    if let Some((name, best)) = best_rival(cases)
        && let Some(ours) = ours
    {
        println!("wal is {:.2} of the best rival, {name}.", ours / best);
        if let Some(tasks) = rate_of(cases, "wal-tasks") {
            println!("wal-tasks is {:.2} of it.", tasks / best);
        }
    }
}

/// The fastest of the logs which ours is held against, if one of them was run and is durable.
fn best_rival(cases: &[Case]) -> Option<(&'static str, f64)> {
    cases
        .iter()
        .filter(|case| RIVALS.contains(&case.entry.name) && !case.is_not_durable())
        .filter_map(|case| Some((case.entry.name, case.rate()?)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
}

fn rate_of(cases: &[Case], name: &str) -> Option<f64> {
    cases.iter().find(|case| case.entry.name == name).and_then(Case::rate)
}

fn row(case: &Case, raw: Option<f64>, ours: Option<f64>) -> Vec<String> {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(String::new, |value| format!("{value:.digits$}"))
    };
    let ratio = |part: Option<f64>, whole: Option<f64>| part.zip(whole).map(|(a, b)| a / b);
    let mut name = case.entry.name.to_owned();
    if name == "raw" {
        name = format!("raw, {}", if case.threads == 1 { "one thread" } else { "a file each" });
    }
    let note = match (&case.failure, case.is_not_durable()) {
        (Some(failure), _) => failure.clone(),
        (None, true) => "NOT DURABLE".to_owned(),
        (None, false) => String::new(),
    };
    vec![
        name,
        number(case.rate(), 0),
        number(ratio(case.rate(), raw), 2),
        number(ratio(ours, case.rate()), 2),
        number(case.median(|round| round.p50_micros), 0),
        number(case.median(|round| round.p99_micros), 0),
        number(case.median(|round| round.p999_micros), 0),
        number(case.cpu_micros(), 1),
        match case.syncs {
            Some(Syncs::PerCommit(syncs)) => format!("{syncs:.3}"),
            Some(Syncs::Hidden) => "hidden".to_owned(),
            None => "not counted".to_owned(),
        },
        note,
    ]
}
