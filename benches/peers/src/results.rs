//! The figures as files: one CSV with a line a log and load, one JSON with every round, both named
//! by the time they were taken and holding what machine they are of.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::peer::Failure;
use crate::run::Measured;
use crate::syncs::Syncs;
use crate::turns::{Arguments, Case};

/// What the figures are of.
#[derive(Serialize)]
struct Machine {
    taken: String,
    kernel: String,
    processors: usize,
    device_and_file_system: String,
    wal_options: String,
}

impl Machine {
    /// This one, and the device under `dir`.
    fn here(dir: Option<&Path>) -> Self {
        let dir = dir.map_or_else(std::env::temp_dir, Path::to_owned).display().to_string();
        let place = said("df", &["--output=source,fstype", &dir]);
        Self {
            taken: said("date", &["-u", "+%Y-%m-%dT%H%M%SZ"]),
            kernel: said("uname", &["-srm"]),
            processors: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            device_and_file_system: place.lines().last().unwrap_or("unknown").to_owned(),
            wal_options: format!("{:?}", wal_bench::options()),
        }
    }
}

/// Writes figures as `<name>-<time>.csv`, `lines` under the machine, and `.json`, `whole` beside it.
pub fn write(
    name: &str,
    results: &Path,
    device: Option<&Path>,
    lines: &[String],
    whole: &impl Serialize,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Report<'a, T> {
        machine: &'a Machine,
        figures: &'a T,
    }
    fs::create_dir_all(results)?;
    let machine = Machine::here(device);
    let path = |ending: &str| results.join(format!("{name}-{}.{ending}", machine.taken));
    let mut csv = fs::File::create(path("csv"))?;
    let Machine { taken, kernel, processors, device_and_file_system, wal_options } = &machine;
    writeln!(csv, "# taken {taken}, {kernel}, {processors} processors, {device_and_file_system}")?;
    writeln!(csv, "# wal options: {wal_options}")?;
    csv.write_all(lines.join("\n").as_bytes())?;
    csv.write_all(b"\n")?;
    let json = fs::File::create(path("json"))?;
    serde_json::to_writer_pretty(json, &Report { machine: &machine, figures: whole })?;
    println!("written: {} and .json", path("csv").display());
    Ok(())
}

#[derive(Serialize)]
struct Commits<'a> {
    rounds: u64,
    millis: u64,
    warm_up_millis: u64,
    loads: Vec<Load<'a>>,
}

#[derive(Serialize)]
struct Load<'a> {
    log: &'a str,
    version: &'a str,
    options: &'a str,
    threads: usize,
    body_bytes: usize,
    syncs_per_commit: Option<f64>,
    syncs_per_commit_alone: Option<f64>,
    durable: Option<bool>,
    failure: Option<&'a str>,
    rounds: &'a [Measured],
}

/// Writes the figures of commits.
pub fn write_commits(results: &Path, arguments: &Arguments, cases: &[Case]) -> Result<(), Failure> {
    let whole = Commits {
        rounds: arguments.rounds,
        millis: arguments.millis,
        warm_up_millis: arguments.warm_up_millis,
        loads: cases.iter().map(load).collect(),
    };
    let mut lines = vec![
        "log,version,threads,body_bytes,rounds,commits_per_second,p50_micros,p99_micros,\
         p999_micros,cpu_micros_per_commit,syncs_per_commit,durable"
            .to_owned(),
    ];
    lines.extend(cases.iter().zip(&whole.loads).map(|(case, load)| line(case, load)));
    write("peers-commits", results, arguments.dir.as_deref(), &lines, &whole)
}

/// A number, or nothing where there is none.
pub fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn line(case: &Case, load: &Load<'_>) -> String {
    let fields = [
        load.log.to_owned(),
        load.version.to_owned(),
        load.threads.to_string(),
        load.body_bytes.to_string(),
        load.rounds.len().to_string(),
        number(case.rate()),
        number(case.median(|round| round.p50_micros)),
        number(case.median(|round| round.p99_micros)),
        number(case.median(|round| round.p999_micros)),
        number(case.cpu_micros()),
        number(load.syncs_per_commit),
        load.durable.map_or("unknown".to_owned(), |durable| durable.to_string()),
    ];
    fields.join(",")
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
        body_bytes: case.body_bytes,
        syncs_per_commit: number(case.syncs),
        syncs_per_commit_alone: number(case.syncs_alone),
        durable: number(case.syncs_alone).map(|_| !case.is_not_durable()),
        failure: case.failure.as_deref(),
        rounds: &case.rounds,
    }
}

/// What a program says, in one line; "unknown" if it says nothing.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
