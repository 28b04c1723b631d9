//! `cargo xtask demo`: kill a writer again and again, and show that nothing acknowledged is lost.
//!
//! A child process, the `wal` command, appends the lines of a file from several threads and prints
//! each acknowledgement. It is killed with SIGKILL at moments drawn from a seed. After each kill
//! the log is verified and read back by commands of their own, then a new writer opens it, recovers
//! and goes on with the lines that the log does not hold. SIGKILL takes the process, not the
//! machine: loss of power is the business of the simulated disk.
//!
//! `ledger` judges, `protocol` reads what the command says, `writer` owns the child.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::outcome::{Failure, Outcome};
use crate::shell::{cargo, describe, run as run_command};
use crate::workspace::Workspace;

mod lines;
mod ledger;
mod protocol;
mod writer;
mod table;

use ledger::{Judgement, Ledger};
use table::{Row, grouped};
use writer::{Ending, Writer};

const DEFAULT_LINES: usize = 200_000;
/// How long after its last awaited acknowledgement a writer may live on, at the most. Long enough
/// for several flushes, so that the kill meets one at any point.
const DELAY_US_MAX: u64 = 3_000;
/// Problems printed in full.
const PROBLEMS_SHOWN: usize = 10;

/// Append a file from many threads, kill the writer, recover, go on; then print what happened
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Arguments {
    /// The text file to append, a record a line [default: docs/rules.md, repeated to 200,000 lines]
    pub(crate) file: Option<PathBuf>,
    /// Repeat or cut the file to this many lines
    #[arg(long, value_name = "N")]
    pub(crate) lines: Option<usize>,
    /// How often to kill the writer
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) kills: usize,
    /// How many threads append
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) threads: usize,
    /// Draw the moments of the kills from this seed [default: a new one, printed]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Kill a bank on pages instead: what each restart by ARIES found, redid and undid
    #[arg(long, conflicts_with_all = ["file", "lines", "threads"])]
    pub(crate) aries: bool,
}

/// When a writer is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    /// Once so many acknowledgements of this writer were read,
    acknowledgements: usize,
    /// and so much later.
    delay_us: u64,
}

/// Runs the demonstration.
///
/// # Errors
///
/// When anything acknowledged is missing, altered or out of order; when the log does not verify;
/// when a writer fails, or cannot be killed in time.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    if arguments.aries {
        return run_command(&mut bank(arguments));
    }
    let workspace = Workspace::load()?;
    let default_file = workspace.root.join("docs/rules.md");
    let file = arguments.file.as_deref().unwrap_or(&default_file);
    let count = arguments.lines.or(arguments.file.is_none().then_some(DEFAULT_LINES));
    let lines = lines::load(file, count)?;
    check_size(lines.len(), arguments)?;
    let seed = arguments.seed.unwrap_or_else(fresh_seed);

    run_command(cargo().args(["build", "--quiet", "--release", "--package", "wal-cli"]))?;
    let home = workspace.target_dir.join("demo");
    clear(&home)?;
    println!(
        "{} lines of {}, {} threads, {} kills, seed {seed}",
        grouped(lines.len() as u64),
        workspace.relative(file).display(),
        arguments.threads,
        arguments.kills
    );
    let mut demo = Demo {
        wal: workspace.target_dir.join("release/wal"),
        dir: home.join("log"),
        input: home.join("input.txt"),
        threads: arguments.threads,
        progress: progress(lines.len()),
        ledger: Ledger::new(lines, arguments.threads),
        rows: Vec::new(),
        problems: Vec::new(),
    };
    let outcome = demo.play(arguments.kills, &mut StdRng::seed_from_u64(seed));
    demo.progress.finish_and_clear();
    println!("{}", table::render(&demo.rows));
    let outcome = outcome.and_then(|()| demo.conclude(seed));
    demo.tell_more(&workspace);
    outcome
}

/// The bank, which kills itself: a program of its own.
fn bank(arguments: &Arguments) -> Command {
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "wal-bank", "--", "demo"]);
    command.args(["--kills", &arguments.kills.to_string(), "--seed", &seed.to_string()]);
    command
}

/// The state of the demonstration.
struct Demo {
    /// The `wal` command.
    wal: PathBuf,
    /// The log.
    dir: PathBuf,
    /// The lines for the next writer.
    input: PathBuf,
    threads: usize,
    progress: ProgressBar,
    ledger: Ledger,
    rows: Vec<Row>,
    problems: Vec<String>,
}

impl Demo {
    fn play(&mut self, kills: usize, random: &mut StdRng) -> Outcome {
        for kill in 1..=kills {
            let remaining = self.prepare()?;
            let moment = draw(random, remaining, kills - kill + 1);
            self.say(&format!(
                "writer {kill}: {} lines to go, SIGKILL {} µs after acknowledgement {}",
                grouped(remaining as u64),
                moment.delay_us,
                grouped(moment.acknowledgements as u64),
            ));
            let ending = self.write_until(Some(moment))?;
            ending.expect_killed()?;
            self.look(&format!("killed {kill}"), &ending)?;
        }
        let remaining = self.prepare()?;
        self.say(&format!("the last writer: {} lines to go", grouped(remaining as u64)));
        let ending = self.write_until(None)?;
        ending.expect_success()?;
        self.look("finished", &ending)?;
        self.check_addresses()
    }

    /// Writes the lines that the log does not hold to the input of the next writer.
    fn prepare(&mut self) -> Outcome<usize> {
        let remaining = self.ledger.begin_run().to_vec();
        lines::write_numbered(&self.input, self.ledger.lines(), &remaining)?;
        Ok(remaining.len())
    }

    /// Runs a writer, to its end or to the moment of its kill.
    fn write_until(&mut self, moment: Option<Moment>) -> Outcome<Ending> {
        let mut writer = Writer::start(&self.wal, &self.dir, &self.input, self.threads)?;
        let mut taken = 0;
        while let Some((line, lsn)) = writer.next()? {
            if let Err(problem) = self.ledger.acknowledge(line, lsn) {
                self.problems.push(problem.to_string());
            }
            self.progress.inc(1);
            taken += 1;
            if let Some(moment) = moment.filter(|moment| moment.acknowledgements == taken) {
                std::thread::sleep(Duration::from_micros(moment.delay_us));
                writer.kill()?;
            }
        }
        let ending = writer.finish()?;
        self.note_opening(&ending);
        Ok(ending)
    }

    /// What this writer found when it opened belongs into the row of the one before.
    fn note_opening(&mut self, ending: &Ending) {
        let Some(opening) = &ending.notes.opening else {
            self.problems.push("a writer did not say what it recovered".to_owned());
            return;
        };
        let Some(row) = self.rows.last_mut() else { return };
        row.dropped_bytes = Some(opening.dropped_bytes);
        row.recovery_us = Some(opening.recovery_us);
        let seen: usize = self.rows.iter().map(|row| row.recovered).sum();
        if opening.recovered_records != seen as u64 {
            self.problems.push(format!(
                "a writer recovered {} records, `wal cat` had shown {seen}",
                opening.recovered_records
            ));
        }
    }

    /// Verifies the log and reads all of it, without changing it.
    fn look(&mut self, title: &str, ending: &Ending) -> Outcome {
        let mut verify = self.command(&["verify", "--json"]);
        let output = verify.output().map_err(|error| Failure::at(&self.wal, &error))?;
        let verdict = protocol::verdict(&output.stdout).ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            Failure::new(format!("`{}` gave no verdict: {}", describe(&verify), said.trim()))
        })?;
        if !protocol::is_sound(&verdict) {
            self.problems.push(format!("{title}: the log is not whole, its verdict is {verdict}"));
        }
        let mut records = Vec::new();
        each_line(&mut self.command(&["cat"]), |line| records.push(line.to_vec()))?;
        let judgement = self.ledger.judge(records.into_iter());
        self.problems
            .extend(judgement.problems.iter().map(|problem| format!("{title}: {problem}")));
        self.rows.push(row(title, &judgement, ending));
        Ok(())
    }

    /// The addresses of all acknowledgements, against the addresses in the log.
    fn check_addresses(&mut self) -> Outcome {
        let mut records = Vec::new();
        let mut strange = 0_usize;
        each_line(&mut self.command(&["cat", "--json"]), |line| {
            match protocol::addressed(&String::from_utf8_lossy(line)) {
                Some(record) => records.push(record),
                None => strange += 1,
            }
        })?;
        if strange > 0 {
            self.problems.push(format!("`wal cat --json`: {strange} records without LSN and line"));
        }
        let wrong = self.ledger.check_addresses(records.into_iter());
        self.problems.extend(wrong.iter().map(ToString::to_string));
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.wal);
        let (verb, options) = arguments.split_at(1);
        command.args(verb).arg(&self.dir).args(options).stdin(Stdio::null());
        command
    }

    /// Tells what goes on, when no progress bar does.
    fn say(&self, text: &str) {
        if self.progress.is_hidden() {
            println!("{text}");
        } else {
            self.progress.set_message(text.to_owned());
        }
    }

    fn tell_more(&self, workspace: &Workspace) {
        let wal = workspace.relative(&self.wal).display();
        let dir = workspace.relative(&self.dir).display();
        println!("The log is still there. To see more, from the root of the repository:");
        for (arguments, what) in [
            (format!("stat {dir}"), "what it holds"),
            (format!("verify {dir}"), "whether it is whole"),
            (format!("cat {dir} | head"), "its records"),
            (format!("dump {dir} | head -n 40"), "every field of every header"),
        ] {
            println!("    {wal} {arguments}\n        {what}");
        }
    }

    fn conclude(&mut self, seed: u64) -> Outcome {
        let all = self.ledger.lines().len();
        let recovered: usize = self.rows.iter().map(|row| row.recovered).sum();
        if recovered != all {
            self.problems.push(format!("{recovered} records are in the log, for {all} lines"));
        }
        if self.problems.is_empty() {
            let killed = self.rows.len() - 1;
            println!(
                "Nothing lost in {killed} kills: each of {} lines is in the log once, as it was \
                 appended,\nin the order of its thread; {} were acknowledged, each at the address \
                 it is at.",
                grouped(all as u64),
                grouped(self.ledger.acknowledged() as u64)
            );
            return Ok(());
        }
        for problem in self.problems.iter().take(PROBLEMS_SHOWN) {
            println!("  {problem}");
        }
        Err(Failure::new(format!(
            "problems: {}; `--seed {seed}` draws the same moments again",
            self.problems.len()
        )))
    }
}

/// A short number which differs from one run to the next.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_micros())
}

/// A moment which leaves enough for the kills after it.
fn draw(random: &mut StdRng, remaining: usize, kills_left: usize) -> Moment {
    let share = (remaining / (kills_left + 1)).max(1);
    Moment {
        acknowledgements: random.random_range(share.div_ceil(4)..=share),
        delay_us: random.random_range(0..=DELAY_US_MAX),
    }
}

fn row(title: &str, judgement: &Judgement, ending: &Ending) -> Row {
    let ratio = ending.notes.counts.filter(|counts| counts.records > 0);
    Row {
        ending: title.to_owned(),
        acknowledged: judgement.acknowledged,
        recovered: judgement.recovered,
        lost: judgement.lost,
        kept: judgement.kept,
        dropped_bytes: None,
        syncs_per_commit: ratio.map(|counts| counts.syncs as f64 / counts.records as f64),
        recovery_us: None,
    }
}

fn check_size(lines: usize, arguments: &Arguments) -> Outcome {
    if !(1..=1024).contains(&arguments.threads) {
        return Err(Failure::new("--threads must be 1 to 1024"));
    }
    let enough = (arguments.kills + 1) * arguments.threads * 10;
    if lines < enough {
        return Err(Failure::new(format!(
            "{lines} lines are over before {} kills meet them; use --lines {enough} or more, which \
             repeats the file, or fewer --kills",
            arguments.kills
        )));
    }
    Ok(())
}

/// Removes what an earlier demonstration left, and nothing else.
fn clear(home: &Path) -> Outcome {
    match std::fs::remove_dir_all(home) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::at(home, &error));
        }
        _ => {}
    }
    std::fs::create_dir_all(home).map_err(|error| Failure::at(home, &error))
}

/// Runs a command and hands over each line of its output, without the line end.
fn each_line(command: &mut Command, mut take: impl FnMut(&[u8])) -> Outcome {
    let shown = describe(command);
    let failed = |error: std::io::Error| Failure::new(format!("`{shown}`: {error}"));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            take(line.strip_suffix(b"\n").unwrap_or(&line));
            line.clear();
        }
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("`{shown}` ended with {status}")))
    }
}

/// A bar on a terminal, nothing elsewhere.
fn progress(lines: usize) -> ProgressBar {
    let bar = ProgressBar::new(lines as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len}\n{msg}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_moments() {
        let moments = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            (1..=10).map(|left| draw(&mut random, 10_000, left)).collect::<Vec<_>>()
        };
        assert_eq!(moments(7), moments(7));
        assert_ne!(moments(7), moments(8));
    }

    #[test]
    fn every_moment_leaves_work_for_the_kills_after_it() {
        let mut random = StdRng::seed_from_u64(1);
        for start in [880, 20_000, 200_000] {
            let mut remaining = start;
            for left in (1..=10).rev() {
                let moment = draw(&mut random, remaining, left);
                assert!(moment.acknowledgements >= 1);
                remaining -= moment.acknowledgements;
                assert!(remaining >= start / 11, "{remaining} after {left} of {start}");
            }
        }
    }

    #[test]
    fn too_few_lines_are_refused_with_the_number_that_is_enough() {
        let arguments = Arguments { kills: 10, threads: 8, ..Arguments::default() };
        let failure = check_size(879, &arguments).unwrap_err().to_string();
        assert!(failure.contains("--lines 880"), "{failure}");
        assert!(check_size(880, &arguments).is_ok());
        let nobody = Arguments { threads: 0, ..arguments };
        assert!(check_size(880, &nobody).is_err());
    }

    /// A demonstration of 20 lines and one kill, with a writer that does all of its work, stays
    /// to be killed the first time, and spoils the log as `spoil` says when it is opened again.
    fn played(spoil: &str) -> Vec<String> {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("log");
        std::fs::create_dir(&dir).unwrap();
        let behave = format!(
            r#"log="$2/data"
            case "$1" in
            append)
                [ -e "$log" ] && again=yes || again=no
                touch "$log"
                echo '{{"recovered_records":'$(grep -c '' "$log")',"dropped_bytes":0,"recovery_us":5}}' >&2
                [ $again = yes ] && {{ {spoil}; }}
                cat "$3" >>"$log"
                cut -f 1 "$3" | sed 's/$/ 8/'
                [ $again = no ] && exec sleep 600
                exit 0 ;;
            verify) echo '{{"verdict":"clean-end"}}' ;;
            cat)
                case "$*" in
                *json*) cut -f 1 "$log" | sed 's/.*/{{"lsn":8,"body":"&\\tx"}}/' ;;
                *) cat "$log" ;;
                esac ;;
            esac"#
        );
        std::fs::write(dir.join("behave"), behave).unwrap();
        let lines = (0..20).map(|number| format!("text {number}").into_bytes()).collect();
        let mut demo = Demo {
            wal: Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/stand_in.sh"),
            dir,
            input: home.path().join("input"),
            threads: 2,
            progress: ProgressBar::hidden(),
            ledger: Ledger::new(lines, 2),
            rows: Vec::new(),
            problems: Vec::new(),
        };
        demo.play(1, &mut StdRng::seed_from_u64(3)).unwrap();
        let failed = demo.conclude(3).is_err();
        assert_eq!(failed, !demo.problems.is_empty());
        demo.problems
    }

    #[test]
    fn a_writer_that_keeps_its_promises_passes() {
        assert_eq!(played("true"), Vec::<String>::new());
    }

    #[test]
    fn a_writer_that_loses_an_acknowledged_line_fails() {
        let problems = played(r#"sed 3d "$log" >"$log.new"; mv "$log.new" "$log""#);
        assert!(problems[0].contains("line 3, acknowledged at LSN 8, is missing"), "{problems:?}");
    }

    #[test]
    fn a_writer_that_alters_an_acknowledged_line_fails() {
        let problems = played(r#"sed 's/text 4/text X/' "$log" >"$log.new"; mv "$log.new" "$log""#);
        assert!(problems.iter().any(|one| one.contains("line 5 is not what was")), "{problems:?}");
    }

    #[test]
    fn a_writer_that_changes_the_order_fails() {
        let problems = played(r#"sort -r "$log" >"$log.new"; mv "$log.new" "$log""#);
        assert!(problems.iter().any(|one| one.contains("an earlier recovery")), "{problems:?}");
    }

    #[test]
    fn clearing_takes_what_is_there_and_minds_not_when_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("demo");
        clear(&home).unwrap();
        std::fs::write(home.join("old"), "x").unwrap();
        clear(&home).unwrap();
        assert!(std::fs::read_dir(&home).unwrap().next().is_none());
    }

    #[test]
    fn lines_of_a_command_are_handed_over_and_its_failure_is_told() {
        let mut lines = Vec::new();
        let mut command = Command::new("printf");
        each_line(command.arg("a\\n\\nb"), |line| lines.push(line.to_vec())).unwrap();
        assert_eq!(lines, [&b"a"[..], b"", b"b"]);
        assert!(each_line(&mut Command::new("false"), |_| {}).is_err());
    }
}
