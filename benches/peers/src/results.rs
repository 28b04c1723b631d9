//! The figures as files: one CSV with a line a log and load, one JSON with every round, both named
//! by the time they were taken and holding what machine they are of.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::peer::Failure;
use crate::run::Measured;
use crate::syncs::Syncs;
use crate::turns::{Arguments, Case};

#[derive(Serialize)]
struct Report<'a> {
    taken: String,
    kernel: String,
    processors: usize,
    device_and_file_system: String,
    rounds: u64,
    millis: u64,
    warm_up_millis: u64,
    wal_options: String,
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

/// Writes both files into `dir`, which is made if need be.
pub fn write(dir: &Path, arguments: &Arguments, cases: &[Case]) -> Result<[PathBuf; 2], Failure> {
    fs::create_dir_all(dir)?;
    let taken = said("date", &["-u", "+%Y-%m-%dT%H%M%SZ"]);
    let path = |ending: &str| dir.join(format!("peers-{taken}.{ending}"));
    let place = arguments.dir.clone().unwrap_or_else(std::env::temp_dir).display().to_string();
    let place = said("df", &["--output=source,fstype", &place]);
    let report = Report {
        kernel: said("uname", &["-srm"]),
        processors: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        device_and_file_system: place.lines().last().unwrap_or("unknown").to_owned(),
        rounds: arguments.rounds,
        millis: arguments.millis,
        warm_up_millis: arguments.warm_up_millis,
        wal_options: format!("{:?}", wal_bench::options()),
        loads: cases.iter().map(load).collect(),
        taken: taken.clone(),
    };
    let (csv, json) = (path("csv"), path("json"));
    write_csv(&csv, &report, cases)?;
    serde_json::to_writer_pretty(fs::File::create(&json)?, &report)?;
    Ok([csv, json])
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

fn write_csv(path: &Path, report: &Report<'_>, cases: &[Case]) -> Result<(), Failure> {
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    let Report { taken, kernel, processors, device_and_file_system, .. } = report;
    writeln!(file, "# taken {taken}, {kernel}, {processors} processors, {device_and_file_system}")?;
    writeln!(file, "# wal options: {}", report.wal_options)?;
    writeln!(
        file,
        "log,version,threads,body_bytes,rounds,commits_per_second,p50_micros,p99_micros,\
         p999_micros,cpu_micros_per_commit,syncs_per_commit,durable"
    )?;
    for (case, load) in cases.iter().zip(&report.loads) {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
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
        writeln!(file, "{}", fields.join(","))?;
    }
    file.flush()?;
    Ok(())
}

/// What a program says, in one line; "unknown" if it says nothing.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
