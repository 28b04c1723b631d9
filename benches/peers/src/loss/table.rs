//! Takes every log through every crash and prints what each lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::Serialize;
use wal_bench::{Failure, Machine, print_table};

use super::SUBJECTS;
use super::subject::{Subject, torn_body};
use super::syncs;
use super::tally::Tally;
use super::tear::{Rest, tear};

/// Which logs to crash, and where.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Logs to crash, all that were built in if none is named; ours always
    #[arg(long, value_delimiter = ',')]
    logs: Vec<String>,
    /// Commits of each process that writes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    commits: u64,
    /// Where the logs are written
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the counts are written as JSON; nowhere if it is not named
    #[arg(long)]
    results: Option<PathBuf>,
}

/// How a log is crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    /// The process dies after its last acknowledgement.
    Killed,
    /// It dies in a record more, which is torn; another process goes on.
    Torn(Rest),
}

impl Crash {
    const ALL: [Self; 3] = [Self::Killed, Self::Torn(Rest::Cut), Self::Torn(Rest::Zeros)];

    const fn in_words(self) -> &'static str {
        match self {
            Self::Killed => "killed after its last commit",
            Self::Torn(Rest::Cut) => "torn tail, file cut; then as many commits again",
            Self::Torn(Rest::Zeros) => "torn tail, zeros; then as many commits again",
        }
    }
}

/// What came of one log in one crash.
#[derive(Clone, Debug, Serialize)]
struct Row {
    log: &'static str,
    version: &'static str,
    way: &'static str,
    crash: &'static str,
    #[serde(flatten)]
    tally: Tally,
    /// Syncs which its commits made before it was killed, where they were counted.
    syncs: Option<usize>,
    /// The log's own words, where it refused something.
    said: Option<String>,
}

/// Crashes them, prints the table, and writes it.
///
/// # Errors
///
/// When our log lost a commit or refused anything; also when a result cannot be written. What others
/// lost is in their rows and is no error.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let machine = Machine::here(arguments.dir.as_deref());
    eprintln!("machine: {}", machine.in_words());
    let is_asked = |subject: &&Subject| {
        let named = arguments.logs.iter().any(|log| subject.name == log);
        subject.name == OURS || arguments.logs.is_empty() || named
    };
    let counts_syncs = syncs::can_be_counted();
    if !counts_syncs {
        println!("`strace` is not here: syncs are not counted");
    }
    let mut rows = Vec::new();
    for subject in SUBJECTS.iter().filter(is_asked) {
        for crash in Crash::ALL {
            rows.push(row(subject, crash, arguments, counts_syncs)?);
        }
    }
    print_rows(&rows);
    if let Some(results) = &arguments.results {
        write(results, &machine, &rows)?;
    }
    verdict(&rows)
}

const OURS: &str = "wal";

fn row(
    subject: &Subject,
    crash: Crash,
    arguments: &Arguments,
    counts_syncs: bool,
) -> Result<Row, Failure> {
    let run = Run { subject, place: fresh(arguments)?, commits: arguments.commits };
    let (tally, said) = run.through(crash)?;
    let mut row = Row {
        log: subject.name,
        version: subject.version,
        way: subject.way,
        crash: crash.in_words(),
        tally,
        syncs: None,
        said,
    };
    if crash == Crash::Killed && counts_syncs {
        let run = Run { place: fresh(arguments)?, ..run };
        match run.syncs() {
            Ok(syncs) => row.syncs = Some(syncs),
            Err(error) => row.said = Some(error.to_string()),
        }
    }
    Ok(row)
}

fn fresh(arguments: &Arguments) -> Result<tempfile::TempDir, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("wal-loss-");
    Ok(match &arguments.dir {
        Some(dir) => builder.tempdir_in(dir)?,
        None => builder.tempdir()?,
    })
}

/// One log in a directory of its own.
struct Run<'a> {
    subject: &'a Subject,
    place: tempfile::TempDir,
    commits: u64,
}

impl Run<'_> {
    fn log_dir(&self) -> Result<PathBuf, Failure> {
        let dir = self.place.path().join("log-dir");
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    fn through(&self, crash: Crash) -> Result<(Tally, Option<String>), Failure> {
        let ending = if crash == Crash::Killed { "die" } else { "die-writing" };
        let mut acknowledged = Told::by(&mut self.writer(0, ending)?)?;
        // A death by a signal is what was asked for; words before it are not.
        let mut said = acknowledged.error.take();
        if let Crash::Torn(rest) = crash {
            if said.is_none() {
                said = tear(&self.log_dir()?, &torn_body(), rest).err().map(|why| why.to_string());
            }
            let again = Told::by(&mut self.writer(self.commits, "close")?)?;
            acknowledged.numbers.extend(again.numbers);
            said = said.or(again.error);
        }
        let found = Told::by(&mut self.reader()?)?;
        Ok((Tally::new(&acknowledged.numbers, &found.numbers), said.or(found.error)))
    }

    /// Syncs of a process that commits as the others do.
    fn syncs(&self) -> Result<usize, Failure> {
        syncs::count(&self.writer(0, "leave")?, &self.place.path().join("trace"))
    }

    fn writer(&self, first: u64, ending: &str) -> Result<Command, Failure> {
        let mut command = self.command("loss-write")?;
        command.args(["--first", &first.to_string(), "--commits", &self.commits.to_string()]);
        command.args(["--ending", ending]);
        Ok(command)
    }

    fn reader(&self) -> Result<Command, Failure> {
        self.command("loss-read")
    }

    fn command(&self, verb: &str) -> Result<Command, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(verb).args(["--log", self.subject.name]).arg("--dir").arg(self.log_dir()?);
        Ok(command)
    }
}

/// What a process told before its end.
struct Told {
    numbers: Vec<u64>,
    /// Its words, where it failed by itself.
    error: Option<String>,
}

impl Told {
    fn by(command: &mut Command) -> Result<Self, Failure> {
        let output = command.stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        // A last line which is not whole was not told.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let numbers = whole.lines().map(str::parse).collect::<Result<_, _>>()?;
        let words = String::from_utf8_lossy(&output.stderr);
        let error = words.lines().rev().find_map(|line| line.strip_prefix("error: "));
        Ok(Self { numbers, error: error.map(str::to_owned) })
    }
}

fn print_rows(rows: &[Row]) {
    let head =
        ["log", "version", "crash", "acknowledged", "found", "lost", "which", "syncs", "said"];
    let cells = rows.iter().map(|row| {
        vec![
            row.log.to_owned(),
            row.version.to_owned(),
            row.crash.to_owned(),
            row.tally.acknowledged.to_string(),
            row.tally.found.to_string(),
            row.tally.lost.len().to_string(),
            row.tally.lost_in_words(),
            row.syncs.map_or_else(String::new, |syncs| syncs.to_string()),
            row.said.clone().unwrap_or_default(),
        ]
    });
    print_table(&head, cells.collect());
    let unsynced = rows.iter().filter(|row| row.is_not_synced());
    for row in unsynced {
        println!(
            "{}: {} syncs for {} acknowledged commits; what no sync covers is on no device, and a \
             loss of power may take it",
            row.log,
            row.syncs.unwrap_or_default(),
            row.tally.acknowledged
        );
    }
}

impl Row {
    /// Fewer syncs than commits of its one thread, each acknowledged before the next was asked for.
    fn is_not_synced(&self) -> bool {
        self.syncs.is_some_and(|syncs| syncs < self.tally.acknowledged)
    }
}

fn write(results: &Path, machine: &Machine, rows: &[Row]) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Whole<'a> {
        machine: &'a Machine,
        rows: &'a [Row],
    }
    fs::create_dir_all(results)?;
    let path = results.join(format!("peers-loss-{}.json", machine.taken));
    serde_json::to_writer_pretty(fs::File::create(&path)?, &Whole { machine, rows })?;
    println!("written: {}", path.display());
    Ok(())
}

/// Whether our log kept all that it acknowledged, refused nothing, and synced what it acknowledged.
fn verdict(rows: &[Row]) -> Result<(), Failure> {
    let mut ours = rows.iter().filter(|row| row.log == OURS).peekable();
    if ours.peek().is_none() {
        return Err("our log was not crashed".into());
    }
    for row in ours {
        let Row { crash, tally, said, .. } = row;
        if let Some(said) = said {
            return Err(format!("{crash}: our log said: {said}").into());
        }
        if !tally.lost.is_empty() || tally.acknowledged == 0 || row.is_not_synced() {
            let lost = tally.lost_in_words();
            return Err(format!("{crash}: our log does not keep its promise; lost: {lost}").into());
        }
    }
    println!("our log lost nothing that it acknowledged");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(log: &'static str, acknowledged: &[u64], found: &[u64]) -> Row {
        let tally = Tally::new(acknowledged, found);
        Row { log, version: "1", way: "", crash: "killed", tally, syncs: None, said: None }
    }

    #[test]
    fn only_what_ours_lost_is_a_failure() {
        assert!(verdict(&[row("wal", &[1, 2], &[1, 2]), row("aegis", &[1, 2], &[])]).is_ok());
        assert!(verdict(&[row("wal", &[1, 2], &[1]), row("aegis", &[1], &[1])]).is_err());
    }

    #[test]
    fn a_run_that_shows_nothing_of_ours_is_a_failure() {
        assert!(verdict(&[row("aegis", &[1], &[1])]).is_err());
        assert!(verdict(&[row("wal", &[], &[])]).is_err());
        let refused = Row { said: Some("no room".to_owned()), ..row("wal", &[1], &[1]) };
        assert!(verdict(&[refused]).is_err());
    }

    #[test]
    fn a_log_with_fewer_syncs_than_commits_is_not_synced() {
        let synced = |syncs| Row { syncs: Some(syncs), ..row("wal", &[1, 2], &[1, 2]) };
        assert!(!synced(2).is_not_synced());
        assert!(synced(1).is_not_synced());
        assert!(verdict(&[synced(1)]).is_err());
    }

    #[test]
    fn what_a_process_told_before_it_died_counts_and_half_a_line_does_not() {
        let mut command = Command::new("sh");
        command.args(["-c", "printf '1\\n2\\n3'; echo 'error: no room' >&2; kill -9 $$"]);
        let told = Told::by(&mut command).unwrap();
        assert_eq!(told.numbers, [1, 2]);
        assert_eq!(told.error.as_deref(), Some("no room"));
    }
}
